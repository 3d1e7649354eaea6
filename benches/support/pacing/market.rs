//! A market of many paced campaigns that meet in the engine's own auction for a day.

use munadi::decide::auction::{Candidate, Scratch, Terms, Win, clear};
use munadi::decide::pacing::cost_cap::{Cost, CostCap};
use munadi::decide::pacing::landscape::Landscape;
use munadi::decide::pacing::plan::{Plan, Shape};
use munadi::decide::pacing::{Controller, Minute, multiplier_of};
use munadi::types::request::ATTENTION_ONE;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::pacing::bound;
use crate::pacing::cells::day_of;
use crate::pacing::data::bell;
use crate::pacing::day::DAY_MINUTES;

/// Slots of a tray, and the chance that each is seen.
pub(crate) const WEIGHTS: [f64; 3] = [1.0, 0.8, 0.6];

/// How large a market is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) campaigns: usize,
    /// Kinds of viewers: a campaign wants some of them.
    pub(crate) kinds: usize,
    pub(crate) requests: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self { campaigns: 200, kinds: 40, requests: 60_000 };
    pub(crate) const TINY: Self = Self { campaigns: 12, kinds: 4, requests: 2_000 };
}

/// One advertiser's campaign.
pub(crate) struct Campaign {
    /// What a goal event is worth to it, micros; to one with a cost cap, the cap.
    pub(crate) worth: f64,
    pub(crate) capped: bool,
    /// Micros.
    pub(crate) budget: i64,
    /// Mean rate of goal events by kind of viewer; 0: not wanted.
    pub(crate) rates: Vec<f64>,
}

impl Campaign {
    /// Returns the bid for a goal event at multiplier 1.
    fn ceiling(&self) -> f64 {
        if self.capped { 4.0 * self.worth } else { self.worth }
    }
}

/// A request: a kind of viewer, and what this one does beyond its kind by campaign.
pub(crate) struct Request {
    minute: u32,
    pub(crate) kind: usize,
    seed: u64,
}

impl Request {
    /// Returns the campaigns that want it and their rates of goal events.
    pub(crate) fn rates(&self, campaigns: &[Campaign]) -> Vec<(usize, f64)> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.seed);
        let rates =
            campaigns.iter().enumerate().map(|(at, campaign)| (at, campaign.rates[self.kind]));
        rates
            .filter(|of| of.1 > 0.0)
            .map(|of| (of.0, of.1 * (0.5 * bell(&mut random)).exp()))
            .collect()
    }
}

/// What a day of the market came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Value by the bound of the linear programme: a campaign's counts up to its budget.
    pub(crate) value_of_bound: f64,
    /// The most that was spent above a budget, micros.
    pub(crate) over: i64,
    /// Share of the budgets that was spent.
    pub(crate) spent: f64,
    /// Campaigns that spent 98 % and more.
    pub(crate) exhausted: usize,
    /// The most that a predicted event cost above its cap, as a share of it.
    pub(crate) breach: f64,
}

/// How a campaign's day stands.
struct Standing {
    controller: Controller,
    cap: CostCap,
    landscape: Landscape,
    log_m: f64,
    spent: i64,
    before: i64,
    events: f64,
    wins: u32,
}

/// Lets a market run for two days, and judges the second.
pub(crate) fn run(seed: u64, size: Size) -> Result<Report, Box<dyn std::error::Error>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let campaigns = campaigns(&mut random, size);
    let plan = day_of(&Shape::default(), 0);
    let mut standings: Vec<_> = campaigns
        .iter()
        .map(|_| Standing {
            controller: Controller::new(-1.0),
            cap: CostCap::default(),
            landscape: Landscape::default(),
            log_m: -1.0,
            spent: 0,
            before: 0,
            events: 0.0,
            wins: 0,
        })
        .collect();
    for day in 0..2 {
        let requests = requests(&mut random, size);
        begin(&campaigns, &mut standings, &plan, day);
        let mut next = requests.iter().peekable();
        for minute in 0..DAY_MINUTES {
            while let Some(request) = next.next_if(|request| request.minute == minute) {
                serve(request, &campaigns, &mut standings, &mut random);
            }
            end_minute(minute, &campaigns, &mut standings, &plan);
        }
        if day == 1 {
            let bound = bound::bound(&campaigns, &requests, size.kinds)?;
            return Ok(report(&campaigns, &standings, bound));
        }
    }
    Err("no day".into())
}

fn campaigns(random: &mut Xoshiro256PlusPlus, size: Size) -> Vec<Campaign> {
    let slots = WEIGHTS.iter().sum::<f64>() * size.requests as f64;
    let campaign = |at: usize| {
        let wanted = random.random_range(0.15..0.5);
        let own = 0.01 * (0.5 * bell(random)).exp();
        let rates: Vec<_> = (0..size.kinds)
            .map(
                |_| if random.random_bool(wanted) { own * (0.4 * bell(random)).exp() } else { 0.0 },
            )
            .collect();
        let worth = 2_000_000.0 * (0.5 * bell(random)).exp();
        let mean = rates.iter().sum::<f64>() / size.kinds as f64;
        // From a fraction of its fair share of the market to several times that.
        let share = slots / size.campaigns as f64 * (0.9 * bell(random)).exp();
        let budget = (share * mean / wanted * worth) as i64;
        Campaign { worth, capped: at % 5 == 4, budget, rates }
    };
    (0..size.campaigns).map(campaign).collect()
}

fn requests(random: &mut Xoshiro256PlusPlus, size: Size) -> Vec<Request> {
    let mut requests: Vec<_> = (0..size.requests)
        .map(|_| Request {
            minute: random.random_range(0..DAY_MINUTES),
            kind: random.random_range(0..size.kinds),
            seed: random.random(),
        })
        .collect();
    requests.sort_by_key(|request| request.minute);
    requests
}

fn begin(campaigns: &[Campaign], standings: &mut [Standing], plan: &Plan, day: u32) {
    for (campaign, standing) in campaigns.iter().zip(standings) {
        let known = (day > 0).then_some(&standing.landscape);
        standing.controller = Controller::begin(campaign.budget as f64, plan.left(0), known, -1.0);
        standing.cap = CostCap::default();
        (standing.spent, standing.before, standing.wins, standing.events) = (0, 0, 0, 0.0);
        standing.log_m = bid_of(campaign, standing);
    }
}

fn bid_of(campaign: &Campaign, standing: &Standing) -> f64 {
    let own = standing.controller.log_m();
    let cap = standing.cap.log_m(campaign.worth, campaign.ceiling());
    if campaign.capped { own.min(cap) } else { own }
}

/// Fills one tray, and lets the viewer see some of it.
fn serve(
    request: &Request,
    campaigns: &[Campaign],
    standings: &mut [Standing],
    random: &mut Xoshiro256PlusPlus,
) {
    let rates = request.rates(campaigns);
    let value = |of: &(usize, f64)| campaigns[of.0].ceiling() * of.1 * 1_000.0;
    let candidates: Vec<_> = rates
        .iter()
        .map(|of| {
            let (campaign, standing) = (of.0 as u64, &standings[of.0]);
            let full = value(of) as i128;
            let bid = (full * i128::from(multiplier_of(standing.log_m)) >> 30) as i64;
            // The hard stop: the most that one impression may cost is left.
            let left = campaigns[of.0].budget - standing.spent;
            let bid = if bid / 1_000 > left { 0 } else { bid };
            let lot = random.random();
            Candidate {
                ad: campaign,
                business: campaign,
                group: campaign,
                value: bid,
                quality: 0,
                lot,
            }
        })
        .collect();
    let attention = WEIGHTS.map(|weight| (weight * f64::from(ATTENTION_ONE)) as u32);
    let terms = Terms {
        places: &[2, 6, 10],
        attention: &attention,
        min_gap: 4,
        most: WEIGHTS.len(),
        interruption: 0,
        floor: 0,
    };
    let mut wins: Vec<Win> = Vec::new();
    clear(&candidates, &terms, &mut Scratch::default(), &mut wins);
    let mut totals: Vec<_> = candidates.iter().map(|candidate| candidate.value).collect();
    totals.sort_unstable_by(|one, other| other.cmp(one));
    let at = |rank: usize| totals.get(rank).copied().unwrap_or_default() as f64;
    for (number, of) in rates.iter().enumerate() {
        let won = wins.iter().find(|win| win.candidate == number);
        // What it takes to be in the tray, and what that costs: the last slot's price, or the one that was won.
        let (needed, cost) = match won {
            Some(win) => (at(WEIGHTS.len()), win.pay_cpm as f64 * WEIGHTS[win.place]),
            None => (at(WEIGHTS.len() - 1), at(WEIGHTS.len() - 1) * WEIGHTS[2]),
        };
        standings[of.0].landscape.add(value(of), needed, cost / 1_000.0, 1.0);
    }
    for win in &wins {
        if random.random::<f64>() < WEIGHTS[win.place] {
            let of = rates[win.candidate];
            let standing = &mut standings[of.0];
            standing.spent += win.pay_cpm / 1_000;
            standing.events += of.1;
            standing.wins += 1;
        }
    }
}

fn end_minute(minute: u32, campaigns: &[Campaign], standings: &mut [Standing], plan: &Plan) {
    let (plan_now, plan_left) = (plan.between(minute, minute + 1), plan.left(minute + 1));
    for (campaign, standing) in campaigns.iter().zip(standings) {
        standing.landscape.pass(plan_now, standing.log_m);
        let spent = standing.spent as f64;
        let told = Minute {
            spent: (standing.spent - standing.before) as f64,
            left: campaign.budget as f64 - spent,
            plan_now,
            plan_left,
            plan_whole: plan.left(0),
            minutes_left: DAY_MINUTES - minute - 1,
            win_price: spent / f64::from(standing.wins.max(1)),
        };
        standing.before = standing.spent;
        standing.controller.step(&told, Some(&standing.landscape));
        if campaign.capped {
            let cost = Cost {
                cap: campaign.worth,
                ceiling: campaign.ceiling(),
                spent,
                predicted: standing.events,
                plan_left,
                ..Cost::default()
            };
            standing.cap.step(&cost, Some(&standing.landscape));
        }
        standing.log_m = bid_of(campaign, standing);
    }
}

fn report(campaigns: &[Campaign], standings: &[Standing], bound: f64) -> Report {
    let both = || campaigns.iter().zip(standings);
    let value: f64 = both().map(|(of, day)| (of.worth * day.events).min(of.budget as f64)).sum();
    let budgets: i64 = campaigns.iter().map(|campaign| campaign.budget).sum();
    let spent: i64 = standings.iter().map(|standing| standing.spent).sum();
    let breach = both()
        .filter(|(of, day)| of.capped && day.events > 0.0)
        .map(|(of, day)| day.spent as f64 / day.events / of.worth - 1.0);
    Report {
        value_of_bound: value / bound,
        over: both().map(|(of, day)| (day.spent - of.budget).max(0)).max().unwrap_or_default(),
        spent: spent as f64 / budgets as f64,
        exhausted: both().filter(|(of, day)| day.spent * 100 >= of.budget * 98).count(),
        breach: breach.fold(f64::NEG_INFINITY, f64::max),
    }
}
