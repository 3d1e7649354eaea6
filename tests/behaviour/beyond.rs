//! What is shown beyond a budget: ours to bear, measured by billed event and volume. The figures stand in
//! `decide/forecast/bound.rs` and in the README. `BEYOND_DAYS=2 cargo test --test behaviour beyond --
//! --nocapture` measures all of them, some minutes long, and holds them against those.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use munadi::decide::forecast::over_delivery_ppm;
use munadi::node::dice::SeededDice;
use munadi::types::dice::Dice;
use munadi::types::proto::v1::BillingEvent;
use munadi::types::request::Claim;
use munadi::types::time::{DAY_MS, MINUTE_MS, SECOND_MS};

use crate::stage::{Offer, Shop, Shown, Stage, whole};

/// What people do, in thousandths: of those who see the ad, and of those who tapped it. As the priors of
/// predicted rates have it.
const TAP_PER_MILLE: u64 = 10;
const OPEN_PER_MILLE: u64 = 400;

/// Viewers that come for each that the budget can pay for: the budget is what ends a day.
const SUPPLY: u64 = 3;

/// Price of 1,000 impressions, micros: what a conversation of one unit is worth at those rates.
const CPM_MICROS: i64 = 4_000_000;

enum Deed {
    See(Box<Shown>),
    Tap(Box<Shown>),
    Open(Box<Shown>, u64),
}

struct Town {
    stage: Stage,
    shop: Shop,
    dice: SeededDice,
    agenda: BinaryHeap<Reverse<(i64, u64)>>,
    deeds: std::collections::BTreeMap<u64, Deed>,
    viewers: u64,
}

impl Town {
    fn new(billing: BillingEvent, billed_a_day: u64) -> Self {
        let mut stage = Stage::at("2026-11-23T00:00:00Z");
        stage.policy.floor_cpm_micros = CPM_MICROS;
        let bid = match billing {
            BillingEvent::Conversations => 1_000_000,
            BillingEvent::LinkClicks => 400_000,
            _ => CPM_MICROS / 1_000,
        };
        let budget = bid * billed_a_day as i64;
        // Bids above the floor, so that predictions may be off.
        let bid = bid * 3;
        let campaign = (Some(budget), None);
        let shop = stage.shop(&Offer { billing, bid, campaign, ..Offer::default() });
        let (agenda, deeds) = Default::default();
        Self { stage, shop, dice: SeededDice::new(billed_a_day), agenda, deeds, viewers: 0 }
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.dice.roll() % 1_000 < per_mille
    }

    fn plan(&mut self, seconds: u64, least: u64, deed: Deed) {
        let at = self.stage.now.0 + (least + self.dice.roll() % seconds) as i64 * SECOND_MS;
        let number = self.deeds.len() as u64 + self.viewers * 4;
        let number = (number..).find(|number| !self.deeds.contains_key(number)).unwrap();
        self.agenda.push(Reverse((at, number)));
        self.deeds.insert(number, deed);
    }

    /// A viewer comes, and sees the ad within a minute if there is one.
    fn come(&mut self) {
        self.viewers += 1;
        if let Ok(shown) = self.stage.try_show(&format!("v{}", self.viewers)) {
            self.plan(60, 1, Deed::See(Box::new(shown)));
        }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::See(shown) => {
                self.stage.see(&shown);
                if self.chance(TAP_PER_MILLE) {
                    self.plan(20, 1, Deed::Tap(shown));
                }
            }
            Deed::Tap(shown) => {
                self.stage.tap(&shown);
                if self.chance(OPEN_PER_MILLE) {
                    self.plan(120, 5, Deed::Open(shown, self.viewers));
                }
            }
            Deed::Open(shown, contact) => {
                let click = Claim::Click(self.stage.click(&shown));
                let shop = self.shop;
                self.stage.open_chat(&shop, &format!("c{contact}"), Some(click));
            }
        }
    }

    /// Runs so many days with so many viewers each.
    fn run(&mut self, days: i64, viewers_a_day: u64) {
        let end = self.stage.now.0 + days * DAY_MS;
        let step = DAY_MS / viewers_a_day as i64;
        let (mut next, mut minute) = (self.stage.now.0, self.stage.now.0);
        while self.stage.now.0 < end {
            let due = self.agenda.peek().map_or(i64::MAX, |Reverse((at, _))| *at);
            self.stage.now.0 = due.min(next).min(minute).max(self.stage.now.0);
            if self.stage.now.0 >= minute {
                minute += MINUTE_MS;
                self.stage.settle();
            } else if due <= next {
                let Some(Reverse((_, number))) = self.agenda.pop() else { continue };
                let deed = self.deeds.remove(&number);
                deed.into_iter().for_each(|deed| self.act(deed));
            } else {
                next += step;
                self.come();
            }
        }
    }
}

/// Returns charged and over-delivered micros, and billed events a day.
fn measure(billing: BillingEvent, billed_a_day: u64, days: i64) -> (i64, i64) {
    let mut town = Town::new(billing, billed_a_day);
    let seen_for_one = match billing {
        BillingEvent::Conversations => 1_000 * 1_000 / (TAP_PER_MILLE * OPEN_PER_MILLE),
        BillingEvent::LinkClicks => 1_000 / TAP_PER_MILLE,
        _ => 1,
    };
    town.run(days, billed_a_day * seen_for_one * SUPPLY);
    let row =
        &town.stage.front.report(crate::stage::ALL, &whole(), town.stage.now).unwrap().0.rows[0];
    (row.spend_micros, row.over_delivered_micros)
}

#[test]
fn what_is_shown_beyond_a_budget_is_little_and_never_charged() {
    let days = std::env::var("BEYOND_DAYS").ok().and_then(|days| days.parse().ok());
    let quick = [
        (BillingEvent::Impressions, 300, 5_000),
        (BillingEvent::Impressions, 3_000, 5_000),
        (BillingEvent::LinkClicks, 100, 60_000),
        (BillingEvent::Conversations, 3, 500_000),
        (BillingEvent::Conversations, 10, 300_000),
        (BillingEvent::Conversations, 100, 50_000),
    ];
    let volumes = [3, 10, 100, 1_000];
    let every = |billing| {
        volumes.map(|volume: u64| (billing, volume, over_delivery_ppm(billing, volume as f64)))
    };
    let long: Vec<_> =
        [BillingEvent::Impressions, BillingEvent::LinkClicks, BillingEvent::Conversations]
            .into_iter()
            .flat_map(every)
            .collect();
    let cases = if days.is_some() { &long[..] } else { &quick[..] };
    for &(billing, billed_a_day, ppm_max) in cases {
        let quick = if billed_a_day < 20 { 10 } else { 2 };
        // As many events of each volume, about.
        let days = days.map_or(quick, |days: i64| days * (300 / billed_a_day as i64).max(1));
        let (spent, beyond) = measure(billing, billed_a_day, days);
        let ppm = beyond * 1_000_000 / spent.max(1);
        eprintln!(
            "{billing:?} {billed_a_day} a day, {days} days: {spent} charged, {beyond} beyond, {ppm} ppm"
        );
        assert!(
            spent > 0 && ppm <= i64::from(ppm_max),
            "{billing:?}, {billed_a_day} a day: {ppm} ppm"
        );
    }
}
