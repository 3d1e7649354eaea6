//! What was measured, beside what is asked: one table and one line of JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Class, Tally};

/// What is asked (RELIABILITY, R15): the share of the peak that is done at so many times the capacity, the 99th
/// percentile of what is taken beside that of an idle server, the growth of memory, the time until all is normal.
const GOODPUT: [(f64, f64); 2] = [(5.0, 0.90), (10.0, 0.80)];
const P99_TIMES: f64 = 3.0;
const GROWTH: f64 = 0.25;
const NORMAL: Duration = Duration::from_secs(5);

/// One rate that was offered.
pub(crate) struct Run {
    /// Times the capacity.
    pub(crate) times: f64,
    pub(crate) tally: Tally,
    /// Of memory, at its highest.
    pub(crate) growth: f64,
    /// How long it took afterwards until all was taken again; `None`: it was never.
    pub(crate) normal: Option<Duration>,
}

/// A whole measurement.
pub(crate) struct Measured {
    /// What held the server back.
    pub(crate) by: &'static str,
    /// How long each rate was offered.
    pub(crate) life: Duration,
    /// Calls a second.
    pub(crate) capacity: f64,
    pub(crate) idle: Tally,
    pub(crate) runs: Vec<Run>,
    /// Events that were acknowledged, and of these the ones that the journal does not hold.
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
}

impl Measured {
    /// Returns a line a rate.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "held back: {}; {:.0} calls a second at the peak; events acknowledged {}, lost {}\n",
            self.by, self.capacity, self.acknowledged, self.lost
        );
        text += "times | goodput | p99 ms serving, events, reports (idle) | refused serving, events, reports | \
                 late | memory | normal after | as asked\n";
        for run in &self.runs {
            let each = |cell: &dyn Fn(Class) -> String| Class::ALL.map(cell).join(", ");
            let p99 = each(&|class| {
                let (now, idle) = (run.tally.of(class).p99_ms(), self.idle.of(class).p99_ms());
                format!("{now:.1} ({idle:.1})")
            });
            let refused = each(&|class| {
                let of = run.tally.of(class);
                let refused = of.refused.iter().sum::<u64>() + of.at_work;
                format!("{:.0} %", 100.0 * refused as f64 / of.sent.max(1) as f64)
            });
            let late: u64 = Class::ALL.iter().map(|class| run.tally.of(*class).late).sum();
            let normal = run.normal.map_or("never".to_owned(), |it| format!("{it:.1?}"));
            let _ = writeln!(
                text,
                "{:5} | {:.3} | {p99} | {refused} | {late} | {:+.0} % | {normal} | {}",
                run.times,
                self.goodput(run),
                100.0 * run.growth,
                self.is_as_asked(run)
            );
        }
        text
    }

    /// Returns everything, as one JSON object.
    pub(crate) fn line(&self) -> String {
        let runs: Vec<Value> = self.runs.iter().map(|run| self.run(run)).collect();
        json!({
            "bench": "overload", "held_back": self.by, "seconds": self.life.as_secs(),
            "capacity_per_s": self.capacity, "acknowledged": self.acknowledged, "lost": self.lost,
            "as_asked": self.lost == 0 && self.runs.iter().all(|run| self.is_as_asked(run)),
            "runs": runs,
        })
        .to_string()
    }

    fn run(&self, run: &Run) -> Value {
        let mut object = json!({
            "times": run.times, "goodput_share": self.goodput(run), "memory_growth": run.growth,
            "normal_after_s": run.normal.map(|it| it.as_secs_f64()),
            "as_asked": self.is_as_asked(run),
        });
        for class in Class::ALL {
            let of = run.tally.of(class);
            object[class.name()] = json!({
                "sent": of.sent, "done": of.latencies.len(), "refused_by_level": of.refused,
                "at_work": of.at_work, "late": of.late, "failed": of.failed,
                "p99_ms": of.p99_ms(), "idle_p99_ms": self.idle.of(class).p99_ms(),
            });
        }
        object
    }

    /// Returns how much was done, of the peak.
    fn goodput(&self, run: &Run) -> f64 {
        run.tally.done() as f64 / self.life.as_secs_f64() / self.capacity
    }

    fn is_as_asked(&self, run: &Run) -> bool {
        let wanted = GOODPUT.iter().filter(|(times, _)| run.times >= *times);
        let least = wanted.map(|(_, share)| *share).fold(1.0, f64::min);
        let is_enough = run.times < GOODPUT[0].0 || self.goodput(run) >= least;
        let p99 = |class: &Class| {
            run.tally.of(*class).p99_ms() <= P99_TIMES * self.idle.of(*class).p99_ms()
        };
        is_enough
            && Class::ALL.iter().all(p99)
            && run.growth <= GROWTH
            && run.normal.is_some_and(|it| it <= NORMAL)
    }
}
