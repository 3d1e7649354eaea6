//! One unit while it is paced: its controllers, and the sums of the last minute.

use std::sync::Arc;

use crate::decide::pacing::cost_cap::{Cost, CostCap};
use crate::decide::pacing::goals::GoalCount;
use crate::decide::pacing::{Controller, LOG_M_MIN, LOG_ONE, Minute, joined};
use crate::decide::purse::{LineId, Terms};
use crate::node::live::Live;
use crate::node::pacer::plans::{Plans, Span, Spanned};
use crate::node::pacer::shared::{Shared, Wanted};
use crate::node::pacer::unit::{Cluster, Set, Times, Unit};
use crate::node::pacer::{Stepped, own_row};
use crate::state::Map;
use crate::state::paces::{Goals, Pace, Paces};
use crate::types::day::Day;
use crate::types::proto::journal::v1::LineKind;
use crate::types::time::{MINUTE_MS, Moment};

/// A change of a logarithm below this, in 1/65,536, is neither journaled nor shown: a tenth of a percent.
const LOG_STEP: i32 = 64;

/// Minutes in which the landscape of a unit that is new, or was written, sets its multiplier at once.
const NEW_MINUTES: u32 = 5;

/// How much of a minute's average price the running one takes.
const PRICE_KEEP: f64 = 0.9;

/// What was charged and held on a line.
#[derive(Clone, Copy, Debug, Default)]
struct Money {
    life: i64,
    today: i64,
    held: i64,
}

impl Money {
    /// Returns what came to it since before.
    fn since(self, before: Option<Self>) -> f64 {
        before.map_or(0, |it| self.life - it.life + self.held - it.held) as f64
    }
}

/// An ad set's numbers beside the shared ones.
#[derive(Debug)]
struct Apart {
    controller: Controller,
    cost: CostCap,
    before: Option<Money>,
    /// What was journaled last.
    row: Option<Pace>,
    /// Whether that counts: its cap or minimum binds, or it has a cost cap.
    counts: bool,
}

/// A unit while it is paced.
#[derive(Debug)]
pub(super) struct Run {
    unit: Unit,
    controller: Controller,
    /// Beside each set of the unit.
    apart: Vec<Option<Apart>>,
    before: Option<Money>,
    /// What was journaled last of the unit.
    row: Option<Pace>,
    /// When it was stepped last, on which day, and how often.
    stepped: Option<(Moment, i32)>,
    steps: u32,
    /// What one impression costs about, micros.
    price: f64,
    /// Price and count of what was served since the last step.
    served: (i64, u32),
}

/// What one minute's steps share.
pub(super) struct Round<'a> {
    pub(super) live: &'a Live,
    pub(super) plans: &'a mut Plans,
    pub(super) shared: &'a mut Shared,
    pub(super) goals: &'a mut Map<u64, GoalCount>,
    pub(super) now: Moment,
    pub(super) stepped: &'a mut Stepped,
}

/// Since when something is stepped, and on which day.
#[derive(Clone, Copy)]
struct Since {
    from: Moment,
    day: Day,
}

/// What a budget has left and when it can be spent.
struct Left {
    micros: f64,
    plan: Arc<Spanned>,
    /// Traffic of a day's whole plan; 0 of a life's, which begins carefully nowhere but on its first day.
    whole: f64,
}

impl Left {
    /// Returns what an average day of traffic would get.
    fn of_day(&self, now: Moment) -> f64 {
        self.micros / self.plan.left(now)
    }

    fn minute(&self, spent: f64, from: Moment, now: Moment, win_price: f64) -> Minute {
        Minute {
            spent,
            left: self.micros,
            plan_now: self.plan.between(from, now),
            plan_left: self.plan.left(now),
            plan_whole: self.whole,
            minutes_left: self.plan.minutes_left(now),
            win_price,
        }
    }
}

impl Run {
    /// Begins by what was journaled, else at `first`. `written`: the budget may be another one now.
    pub(super) fn begin(unit: Unit, paces: &Paces, first: f64, written: bool) -> Self {
        let row = paces.lines.get(&unit.id).copied();
        let controller = match row {
            Some(row) => Controller::restore(row.log_mu, row.integral),
            None => Controller::new(first),
        };
        let apart = |set: &Set| {
            let row = own_row(paces, set.id, unit.id);
            let cost = row.map_or_else(CostCap::default, |row| CostCap::restore(row.log_cap));
            let own = match row.filter(|_| set.id != unit.id) {
                Some(row) => Controller::restore(row.log_mu, row.integral),
                None => controller,
            };
            set.is_apart().then_some(Apart {
                controller: own,
                cost,
                before: None,
                row,
                counts: row.is_some(),
            })
        };
        let apart = unit.sets.iter().map(apart).collect();
        let steps = if row.is_some() && !written { NEW_MINUTES } else { 0 };
        let (before, stepped, price, served) = (None, None, 0.0, (0, 0));
        Self { unit, controller, apart, before, row, stepped, steps, price, served }
    }

    pub(super) const fn cluster(&self) -> &Cluster {
        &self.unit.cluster
    }

    pub(super) fn log_m(&self) -> f64 {
        self.controller.log_m()
    }

    /// Takes in what was served.
    pub(super) fn note_price(&mut self, held: i64, served: u32) {
        self.served = (self.served.0.saturating_add(held), self.served.1 + served);
    }

    /// Steps the unit's controllers by one minute.
    pub(super) fn step(&mut self, round: &mut Round<'_>) {
        let now = round.now;
        let day = round.plans.day(&self.unit.times.zone, now);
        let money = round.money(self.unit.line, day);
        let before = self.stepped.filter(|(_, known)| *known == day.number).map(|(at, _)| at);
        let fresh_day = self.stepped.is_some() && before.is_none();
        let span = Since { from: before.unwrap_or(Moment(now.0 - MINUTE_MS)), day };
        self.note_average();
        self.steps += 1;
        let own = round.tightest(self.unit.terms, money, &self.unit.times, day);
        match round.within(own, &self.unit, day) {
            Some(left) => {
                let spent = if fresh_day { 0.0 } else { money.since(self.before) };
                let minute = left.minute(spent, span.from, now, self.price);
                let mut landscapes = round.live.landscapes.lock();
                let landscape =
                    landscapes.after(self.unit.id, minute.plan_now, self.controller.log_m());
                let wanted = landscape.and_then(|it| it.threshold(left.of_day(now)));
                let new = fresh_day || self.steps <= NEW_MINUTES;
                match wanted.filter(|_| new && minute.plan_left > 0.0) {
                    // Where all is spent nothing is steered: what is bid then waits for the next money.
                    _ if minute.left <= 0.0 => {}
                    Some(log_m) if fresh_day => {
                        let Minute { left, plan_left, .. } = minute;
                        self.controller = Controller::begin(left, plan_left, landscape, log_m);
                    }
                    Some(log_m) => self.controller = Controller::new(log_m),
                    None if self.before.is_some() && !fresh_day => {
                        self.controller.step(&minute, landscape);
                    }
                    None => {}
                }
            }
            // Nothing to spread it over.
            None => self.controller = Controller::new(0.0),
        }
        (self.before, self.stepped) = (Some(money), Some((now, day.number)));
        self.step_sets(round, span);
    }

    fn note_average(&mut self) {
        let (held, served) = std::mem::take(&mut self.served);
        if served > 0 {
            let price = held as f64 / f64::from(served);
            let known = self.price > 0.0;
            self.price =
                if known { PRICE_KEEP * self.price + (1.0 - PRICE_KEEP) * price } else { price };
        }
    }

    /// Steps what single ad sets have beside the shared multiplier, and notes what has changed.
    fn step_sets(&mut self, round: &mut Round<'_>, span: Since) {
        let minute = round.now.minute();
        let shared = Pace {
            minute,
            log_mu: self.controller.log_mu(),
            integral: self.controller.integral(),
            ..Pace::default()
        };
        let alone = self.unit.line.kind == LineKind::AdSet;
        let (mut own, mut ended) = (Vec::with_capacity(self.apart.len()), false);
        for (set, apart) in self.unit.sets.iter().zip(&mut self.apart) {
            let pace = apart.as_mut().and_then(|apart| {
                let pace = apart.step(set, self.controller, self.price, round, span);
                ended |= apart.counts && pace.is_none();
                apart.counts = pace.is_some();
                let integral = if alone { shared.integral } else { apart.controller.integral() };
                pace.map(|pace| Pace { integral, ..pace })
            });
            own.push(pace);
        }
        self.note(shared, &own, ended, alone, round.stepped);
    }

    /// Notes rows that have changed, and the multipliers that they show.
    fn note(
        &mut self,
        shared: Pace,
        own: &[Option<Pace>],
        ended: bool,
        alone: bool,
        stepped: &mut Stepped,
    ) {
        let campaign = self.unit.campaign;
        // A unit of one ad set has one row.
        let of_unit = if alone { own.first().copied().flatten().unwrap_or(shared) } else { shared };
        let written = ended || has_moved(self.row, of_unit);
        if written {
            stepped.journal(campaign, of_unit.row(self.unit.id));
            self.row = Some(of_unit);
        }
        for ((set, apart), own) in self.unit.sets.iter().zip(&mut self.apart).zip(own) {
            let own = own.filter(|_| !alone);
            let Some((apart, pace)) = apart.as_mut().zip(own) else {
                if written {
                    stepped.shown.push((set.id, of_unit.log_mu));
                }
                continue;
            };
            // Its row must not be older than the unit's.
            if written || has_moved(apart.row, pace) {
                stepped.journal(campaign, pace.row(set.id));
                stepped.shown.push((set.id, pace.log_mu));
                apart.row = Some(pace);
            }
        }
    }
}

impl Apart {
    /// Steps what the ad set has of its own; returns what to journal where that counts.
    fn step(
        &mut self,
        set: &Set,
        shared: Controller,
        price: f64,
        round: &mut Round<'_>,
        span: Since,
    ) -> Option<Pace> {
        let money = round.money(set.line, span.day);
        let bound = self.bound(set, shared, money, price, round, span);
        let mut goals = Goals::default();
        let capped = set.capped.and_then(|capped| {
            let count = round.goals.get_mut(&set.id)?;
            count.pass(span.day, round.now);
            goals = count.told();
            let cost = Cost {
                cap: capped.cap,
                ceiling: capped.ceiling,
                spent: money.today as f64,
                plan_left: round.plan(&set.times.day(span.day)).left(round.now),
                ..Cost::of(goals)
            };
            let landscapes = round.live.landscapes.lock();
            // That of several ad sets is none of this one.
            self.cost.step(&cost, landscapes.of(set.landscape));
            Some(self.cost.log_m(capped.cap, capped.ceiling))
        });
        self.before = Some(money);
        if bound.is_none() && capped.is_none() {
            return None;
        }
        let log_m = bound.unwrap_or(shared.log_m());
        let log_m = capped.map_or(log_m, |capped| log_m.min(capped));
        Some(Pace {
            minute: round.now.minute(),
            log_mu: (log_m.max(LOG_M_MIN) * LOG_ONE).floor() as i32,
            integral: 0,
            log_cap: self.cost.log_cap(),
            goals,
        })
    }

    /// Steps the ad set's own controller; returns its logarithm where the ad set's cap or minimum binds.
    fn bound(
        &mut self,
        set: &Set,
        shared: Controller,
        money: Money,
        price: f64,
        round: &mut Round<'_>,
        span: Since,
    ) -> Option<f64> {
        let wanting = set.minimum.filter(|minimum| money.today + money.held < *minimum);
        let terms = match wanting {
            Some(minimum) => Terms { daily: Some(minimum), ..Terms::default() },
            None if set.own.limited() => set.own,
            None => {
                self.controller = shared;
                return None;
            }
        };
        let left = round.tightest(terms, money, &set.times, span.day)?;
        if self.before.is_some() {
            let spent = money.since(self.before);
            self.controller.step(&left.minute(spent, span.from, round.now, price), None);
        }
        let own = self.controller.log_m();
        let least = wanting.map(|_| own);
        let most = if wanting.is_some() { None } else { Some(own) };
        let log_m = joined(shared.log_m(), least, most);
        let binds = log_m.total_cmp(&shared.log_m()).is_ne();
        if !binds {
            // It begins where the shared one is, whenever it binds again.
            self.controller = shared;
        }
        binds.then_some(log_m)
    }
}

impl Round<'_> {
    fn plan(&mut self, span: &Span) -> Arc<Spanned> {
        self.plans.of(span, self.live, self.now)
    }

    fn money(&self, line: LineId, day: Day) -> Money {
        let purses = self.live.purses(line.account);
        let purse = purses.purses.get(&line.account);
        let known = purse.and_then(|purse| purse.line(line.kind, line.id));
        let today = known.and_then(|line| line.days.get(&day.number)).copied().unwrap_or_default();
        let life = known.map_or(0, |line| line.life);
        Money { life, today, held: self.live.board_line(line).held(self.now) }
    }

    /// Returns the budget that has the least for an average day of traffic; `None`: there is none to be
    /// spread.
    fn tightest(&mut self, terms: Terms, money: Money, times: &Times, day: Day) -> Option<Left> {
        let of_life = terms.lifetime.map(|lifetime| lifetime - money.life - money.held);
        let mut of_day = terms.daily.map(|daily| daily - money.today - money.held);
        let life_span = times.life(day);
        if life_span.is_none() {
            // A life without an end is no plan, but no day has more than it.
            of_day = of_day.map(|left| left.min(of_life.unwrap_or(i64::MAX)));
        }
        let of_day = of_day.map(|micros| self.today(micros, times, day));
        let of_life = of_life.zip(life_span).map(|(micros, span)| {
            let micros = micros.max(0) as f64;
            Left { micros, plan: self.plan(&span), whole: 0.0 }
        });
        match (of_day, of_life) {
            (Some(of_day), Some(of_life)) => {
                let least = of_life.of_day(self.now) < of_day.of_day(self.now);
                Some(if least { of_life } else { of_day })
            }
            (one, other) => one.or(other),
        }
    }
}

impl Round<'_> {
    /// Returns so many micros that are to be spent by the end of the day.
    fn today(&mut self, micros: i64, times: &Times, day: Day) -> Left {
        let plan = self.plan(&times.day(day));
        Left { micros: micros.max(0) as f64, whole: plan.left(day.start), plan }
    }

    /// Returns what a unit has once its part of the lines above it is looked at. What has nothing of its own
    /// to be spread may spend all of theirs by the end of the day.
    fn within(&mut self, own: Option<Left>, unit: &Unit, day: Day) -> Option<Left> {
        let mut least = own;
        for line in &unit.above {
            let board = self.live.board_line(*line);
            let free = match board.granted(self.now) {
                Some(free) => free,
                // Until it is granted again, what has nothing else waits as it is.
                None if least.is_none() && board.is_limited() => 0,
                None => continue,
            };
            let left = least.unwrap_or_else(|| self.today(free, &unit.times, day));
            let (micros, free) = (left.micros, free.max(0) as f64);
            let (daily, plan) = (left.whole > 0.0, left.plan.left(self.now));
            let part = if unit.runs && plan > 0.0 {
                let today = if daily { plan } else { left.plan.between(self.now, day.until) };
                let wanted = Wanted { today: micros * today / plan, ever: micros };
                self.shared.part(*line, free, wanted, daily)
            } else {
                1.0
            };
            least = Some(Left { micros: free.min(micros * part), ..left });
        }
        least
    }
}

/// Tells whether a row says something else than the last, beyond noise.
fn has_moved(last: Option<Pace>, now: Pace) -> bool {
    let Some(last) = last else { return true };
    let far = |one: i32, other: i32| one.abs_diff(other) >= LOG_STEP as u32;
    let ends = |log_mu: i32| log_mu == 0;
    far(last.log_mu, now.log_mu)
        || ends(last.log_mu) != ends(now.log_mu)
        || far(last.log_cap, now.log_cap)
        || last.goals != now.goals
}
