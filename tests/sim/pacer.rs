//! A daily budget paced minute by minute in a generated market: the engine's own controller, plan and landscape.

use munadi::decide::board::MULTIPLIER_ONE;
use munadi::decide::explain::{Bars, Judged, Lost, judge};
use munadi::decide::groups::Member;
use munadi::decide::index::Draft;
use munadi::decide::pacing::landscape::Landscape;
use munadi::decide::pacing::plan::{Plan, Shape, Slot, WEEK_HOURS};
use munadi::decide::pacing::{Controller, Minute, multiplier_of};
use munadi::decide::select::{Asked, Tray};
use munadi::decide::skip::Skip;
use munadi::decide::target::Told;
use munadi::types::hash::mix;
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// Minutes of a day.
const MINUTES: u32 = 24 * 60;

/// Minutes in which the landscape of a new budget sets its multiplier at once, as the node's pacer has it.
const NEW_MINUTES: u32 = 5;

/// How much of a minute's average price the running one takes, as there.
const PRICE_KEEP: f64 = 0.9;

/// Viewers whose requests tell the landscape: of a large market few, as of the node's walks.
const LANDSCAPE_VIEWERS: u64 = 2_000;

/// One budget on its first day: it begins at its ceiling and knows nothing but the market's hours.
pub(crate) struct Pacer {
    budget: f64,
    plan: Plan,
    begin: i64,
    controller: Controller,
    landscape: Landscape,
    /// Of so many viewers one tells the landscape.
    sampled_of: u64,
    told: Told,
    minute: u32,
    /// What was spent until then, micros.
    before: f64,
    /// What one win costs about, micros, and what came since the last minute.
    price: f64,
    served: (f64, u32),
}

impl Pacer {
    /// Returns the pacer of a day's budget; `yesterday` are the market's requests of the day before.
    pub(crate) fn new(budget: i64, begin: i64, yesterday: &[(i64, u64)], people: u64) -> Self {
        let mut hours = [0.0; WEEK_HOURS];
        for (at, _) in yesterday {
            let hour = (at.rem_euclid(DAY_MS) / HOUR_MS) as usize;
            hours.iter_mut().skip(hour).step_by(24).for_each(|count| *count += 1.0);
        }
        let slots = (0..24).map(|hour| Slot { minutes: 60, hour, open: true });
        Self {
            budget: budget as f64,
            plan: Plan::new(&Shape::of(&hours), slots),
            begin,
            controller: Controller::new(0.0),
            landscape: Landscape::default(),
            sampled_of: (people / LANDSCAPE_VIEWERS).max(1),
            told: Told::default(),
            minute: 0,
            before: 0.0,
            price: 0.0,
            served: (0.0, 0),
        }
    }

    pub(crate) fn multiplier(&self) -> u32 {
        multiplier_of(self.controller.log_m())
    }

    /// Takes in what one that was handed out costs about, micros.
    pub(crate) fn serve(&mut self, hold: i64) {
        self.served = (self.served.0 + hold as f64, self.served.1 + 1);
    }

    /// Takes in what the tray of a sampled viewer asked of the ad, whether it got it or not.
    pub(crate) fn look(&mut self, asked: &Asked<'_>, tray: &Tray, draft: &Draft) {
        let viewer = asked.request.viewer.expect("named");
        if !mix(viewer).is_multiple_of(self.sampled_of) {
            return;
        }
        let (entry, bars) = (draft.entry(), Bars::of(tray, asked));
        let (worth, rates) = asked.worth(entry);
        self.told.take(&asked.request.profile, asked.request.placement, asked.now);
        let won = bars.won.iter().find(|won| won.ad == entry.ad);
        let price = match judge(draft, asked, &bars, &self.told) {
            Judged::Placed => won.map(|won| won.hold as f64 * 1_000.0),
            Judged::Lost(Lost {
                skip:
                    Skip::Outbid
                    | Skip::BelowFloor
                    | Skip::InterruptionCost
                    | Skip::Separation
                    | Skip::BudgetSpent,
                ..
            }) => {
                let needed = bars.needed(entry.ad, Member::of(entry, worth, rates, 0).group);
                needed.map(|needed| (needed.max(bars.floor()) - worth.quality) as f64)
            }
            Judged::Lost(_) | Judged::Mismatch(_) => None,
        };
        if let Some(price) = price {
            let value = entry.value(rates, MULTIPLIER_ONE) as f64;
            self.landscape.add(value, price, price / 1_000.0, self.sampled_of as f64);
        }
    }

    /// Steps through the minutes that have passed, by what was spent until now.
    pub(crate) fn pass(&mut self, now: i64, spent: f64) {
        let until = ((now - self.begin) / MINUTE_MS) as u32;
        while self.minute < until {
            self.minute += 1;
            self.step(spent);
        }
    }

    fn step(&mut self, spent: f64) {
        let (held, served) = std::mem::take(&mut self.served);
        if served > 0 {
            let price = held / f64::from(served);
            let known = if self.price > 0.0 { self.price } else { price };
            self.price = PRICE_KEEP * known + (1.0 - PRICE_KEEP) * price;
        }
        let minute = Minute {
            spent: spent - self.before,
            left: self.budget - spent,
            plan_now: self.plan.between(self.minute - 1, self.minute),
            plan_left: self.plan.left(self.minute),
            plan_whole: self.plan.left(0),
            minutes_left: MINUTES.saturating_sub(self.minute),
            win_price: self.price,
        };
        self.before = spent;
        self.landscape.pass(minute.plan_now, self.controller.log_m());
        if minute.left <= 0.0 || minute.plan_left <= 0.0 {
            return;
        }
        let wanted = self.landscape.threshold(minute.left / minute.plan_left);
        match wanted.filter(|_| self.minute <= NEW_MINUTES) {
            Some(log_m) => self.controller = Controller::new(log_m),
            None => self.controller.step(&minute, Some(&self.landscape)),
        }
    }
}
