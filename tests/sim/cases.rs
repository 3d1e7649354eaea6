//! Many short lives of a node under faults, around the turns of days: nothing is charged above a budget.
//!
//! `SIM_CASE=7 cargo sim no_case` replays one; `SIM_CASES=10000 cargo sim no_case -- --nocapture` runs more.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::audit::Finding;
use crate::coverage::Coverage;
use crate::luck::Luck;
use crate::shop::ZONES;
use crate::traffic::{DAY, HOUR, Task};
use crate::world::World;

/// Lives of one run of the push.
const CASES: u64 = 200;

/// Lives that run at once.
const THREADS: usize = 2;

/// When days begin or are longer or shorter than others, and where.
const TURNS: [(&str, &str); 12] = [
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/New_York", "2026-03-09T04:00:00Z"),
    ("America/New_York", "2026-11-02T05:00:00Z"),
    ("Pacific/Auckland", "2026-04-04T14:00:00Z"),
    ("Pacific/Auckland", "2026-09-26T14:00:00Z"),
    ("Pacific/Auckland", "2026-04-05T12:00:00Z"),
    ("Pacific/Auckland", "2026-09-27T11:00:00Z"),
    ("America/Sao_Paulo", "2026-03-01T03:00:00Z"),
    ("America/Mexico_City", "2027-01-01T06:00:00Z"),
    ("Asia/Kolkata", "2026-06-30T18:30:00Z"),
    ("America/New_York", "2028-03-01T05:00:00Z"),
];

/// What cases came to.
#[derive(Default)]
struct Totals {
    cases: u64,
    steps: u64,
    facts: u64,
    batches: u64,
    restarts: u64,
    charges: u64,
    charged: i64,
    over_delivered: i64,
    transfers: u64,
    credits: u64,
    given_back: i64,
    coverage: Coverage,
}

impl Totals {
    fn take(&mut self, world: &World) {
        let books = &world.ledger.books;
        self.cases += 1;
        self.steps += world.steps;
        self.facts += world.ledger.facts;
        self.batches += books.entries.batches;
        self.restarts += world.generation;
        self.charges += books.charges;
        self.charged += books.charged;
        self.over_delivered += books.over_delivered;
        self.transfers += books.entries.fundings + books.entries.withdrawals;
        self.credits += books.entries.credits;
        self.given_back += books.entries.given_back;
        self.coverage.add(&world.coverage);
    }

    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.steps += other.steps;
        self.facts += other.facts;
        self.batches += other.batches;
        self.restarts += other.restarts;
        self.charges += other.charges;
        self.charged += other.charged;
        self.over_delivered += other.over_delivered;
        self.transfers += other.transfers;
        self.credits += other.credits;
        self.given_back += other.given_back;
        self.coverage.add(&other.coverage);
    }
}

impl World {
    /// Opens few shops of random kinds, for a short run; one of them in this zone.
    pub(crate) fn open_few_shops(&mut self, zone: &str) -> Finding {
        self.brief = true;
        for index in 0..1 + self.luck.below(3) as usize {
            let few = ZONES.iter().find(|(name, _)| *name == zone).filter(|_| index == 0);
            let (zone, currency) = few.copied().unwrap_or_else(|| *self.luck.pick(&ZONES));
            let prepaid = self.luck.chance(600);
            let shop = self.open_shop(index, zone, currency, prepaid)?;
            for _ in 0..1 + self.luck.below(2) {
                self.random_campaign(&shop)?;
            }
        }
        self.read_journal()?;
        self.set_calm(false);
        self.schedule(0, Task::Session);
        for (most, task) in [
            (HOUR, Task::Write),
            (2 * HOUR, Task::Checkpoint),
            (2 * HOUR, Task::Kill),
            (6 * HOUR, Task::Clock),
            (6 * HOUR, Task::Rates),
            (2 * HOUR, Task::Money),
            (3 * HOUR, Task::Find),
            (HOUR, Task::Lower),
            (2 * HOUR, Task::Cards),
            (2 * HOUR, Task::Step),
        ] {
            let after_ms = self.chaos.between(0, most);
            self.schedule(after_ms, task);
        }
        self.schedule(DAY, Task::Rotate);
        Ok(())
    }
}

/// Lives one case; returns what it reached, or the first difference.
fn live(case: u64) -> Result<World, String> {
    let mut luck = Luck::new(case ^ 0x5eed_ca5e);
    let (zone, turn) = TURNS[(case % TURNS.len() as u64) as usize];
    let turn: Timestamp = turn.parse().expect("a moment");
    let start_ms = turn.as_millisecond() - luck.between(-HOUR, 20 * HOUR);
    let steps = luck.between(60, 151) as u64;
    let mut world = World::starting(case, start_ms);
    let mut lived = || {
        world.open_few_shops(zone)?;
        while world.steps < steps {
            world.advance()?;
        }
        world.finish()
    };
    let found = lived();
    let (step, now) = (world.steps, world.now_ms);
    found.map_err(|what| {
        format!(
            "case {case}, step {step}, time {now}: {what}\n\
             replay: SIM_CASE={case} cargo sim no_case -- --nocapture"
        )
    })?;
    Ok(world)
}

#[test]
fn no_case_of_many_is_charged_above_a_budget() {
    let (first, count) = match crate::number("SIM_CASE") {
        Some(case) => (case, 1),
        None => (0, crate::number("SIM_CASES").unwrap_or(CASES)),
    };
    let next = AtomicU64::new(first);
    let run = || {
        let mut totals = Totals::default();
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= first + count {
                return totals;
            }
            let world = live(case).unwrap_or_else(|what| panic!("{what}"));
            totals.take(&world);
        }
    };
    let mut all = Totals::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().for_each(|it| all.add(&it.join().expect("its finding is above")));
    });
    let Totals { cases, steps, facts, batches, restarts, charges, charged, .. } = all;
    let Totals { over_delivered, transfers, credits, given_back, .. } = all;
    eprintln!(
        "{cases} cases: {steps} steps, {facts} facts in {batches} batches, {restarts} \
         restarts, {charges} charges of {charged} micros, 0 above a budget, {over_delivered} \
         over-delivered, {transfers} transfers, {credits} credits of {given_back}\n{}",
        all.coverage
    );
    if count < CASES {
        return;
    }
    let all_there = [restarts, charges, transfers, credits].iter().all(|count| *count > 0);
    assert!(all_there && over_delivered > 0, "a workload that reaches nothing proves nothing");
    for (family, name) in [
        ("fault", "killed"),
        ("fault", "late"),
        ("fault", "sent again"),
        ("fault", "checkpoint used"),
        ("fault", "answer lost but written"),
        ("money", "clipped"),
        ("money", "nothing left"),
        ("money", "budget lowered"),
        ("money", "new day"),
        ("money", "exchange rates"),
        ("money", "given back"),
    ] {
        assert!(all.coverage.count(family, name) > 0, "never reached: {family}: {name}");
    }
}
