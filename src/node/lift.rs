//! Lift: what experiments have measured, gathered from the buckets of all viewers.

use crate::node::front::Front;
use crate::node::running::Node;
use crate::report::lift::{Estimate, Interval, Sums, estimate, sample_ratio_p_value};
use crate::state::BUCKETS;
use crate::state::credit::timestamp;
use crate::state::exposures::{Done, Exposure, LIFT_WINDOW_MS};
use crate::types::ids::number_of;
use crate::types::proto::v1::{
    Experiment, GetLiftResponse, LiftEstimate, LiftGroup, LiftInterval, Money,
};
use crate::types::refusal::Refusal;
use crate::types::request::{Resource, ResourceKind, Scope};
use crate::types::time::Moment;

/// Micros of one unit of a currency.
const UNIT: f64 = 1_000_000.0;

/// What is counted: conversations, conversions and their value.
const METRICS: usize = 3;

/// One group of an experiment.
#[derive(Default)]
struct Group {
    settled: u64,
    viewers: u64,
    done: [u64; 2],
    value: i64,
    all: [Sums; METRICS],
    /// Of viewers whose window is over.
    closed: [Sums; METRICS],
}

impl Group {
    fn add(&mut self, exposure: &Exposure, now: Moment) {
        let (after, before) = (metrics(&exposure.after), metrics(&exposure.before));
        let is_closed = exposure.first_ms + LIFT_WINDOW_MS <= now.0;
        self.viewers += 1;
        self.settled += u64::from(is_closed);
        self.done[0] += u64::from(exposure.after.conversations);
        self.done[1] += u64::from(exposure.after.conversions);
        self.value = self.value.saturating_add(exposure.after.value);
        for (metric, (after, before)) in after.into_iter().zip(before).enumerate() {
            self.all[metric].add(after, before);
            if is_closed {
                self.closed[metric].add(after, before);
            }
        }
    }

    fn told(&self, currency: &str) -> LiftGroup {
        LiftGroup {
            viewers: self.viewers,
            settled_viewers: self.settled,
            conversations: self.done[0],
            conversions: self.done[1],
            value: Some(Money { micros: self.value, currency: currency.to_owned() }),
        }
    }
}

fn metrics(done: &Done) -> [f64; METRICS] {
    [done.conversations.into(), done.conversions.into(), done.value as f64 / UNIT]
}

impl Front {
    /// Returns what an experiment has shown up to now.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign experiment.
    pub fn lift(&self, scope: Scope, id: u64, now: Moment) -> Result<GetLiftResponse, Refusal> {
        let found = self.get(scope, ResourceKind::Experiment, id);
        let found =
            found.map_err(|refusal| Refusal { field: "experiment_id".into(), ..refusal })?;
        let Resource::Experiment(experiment) = found else { return Ok(GetLiftResponse::default()) };
        let [treated, control] = self.measured(number_of(id) as u32, now);
        let currency = {
            let catalog = self.0.catalog();
            catalog.currency_of(experiment.account_id).unwrap_or_default().to_owned()
        };
        let [conversations, conversions, value] =
            std::array::from_fn(|metric| told(&treated, &control, metric));
        let Experiment { control_micros, start_time, .. } = experiment;
        Ok(GetLiftResponse {
            treated: Some(treated.told(&currency)),
            control: Some(control.told(&currency)),
            conversations,
            conversions,
            value,
            start_time,
            complete_up_to: Some(timestamp(now.0)),
            sample_ratio_p_value: sample_ratio_p_value(
                treated.viewers,
                control.viewers,
                control_micros,
            ),
            experiment: Some(experiment),
        })
    }

    /// Gathers both groups, bucket by bucket: nobody waits for longer than one takes.
    fn measured(&self, experiment: u32, now: Moment) -> [Group; 2] {
        let [mut treated, mut control] = <[Group; 2]>::default();
        for bucket in 0..BUCKETS {
            let cell = self.0.cell_at(bucket);
            let exposures = cell.facts.measured.values().flat_map(|known| &known.exposures);
            for exposure in exposures.filter(|known| known.experiment == experiment) {
                let group = if exposure.control { &mut control } else { &mut treated };
                group.add(exposure, now);
            }
        }
        [treated, control]
    }
}

fn told(treated: &Group, control: &Group, metric: usize) -> Option<LiftEstimate> {
    let found = estimate(&treated.all[metric], &control.all[metric])?;
    let closed = estimate(&treated.closed[metric], &control.closed[metric]);
    let Estimate { difference, relative, smallest_found, explained, .. } = found;
    Some(LiftEstimate {
        incremental: Some(wire(difference.times(treated.viewers as f64))),
        difference: Some(wire(difference)),
        relative_lift: relative.map(wire),
        sequential: closed.and_then(|closed| closed.always_valid).map(wire),
        smallest_detectable_difference: smallest_found,
        explained_variance: explained,
    })
}

const fn wire(interval: Interval) -> LiftInterval {
    LiftInterval { estimate: interval.at, lower: interval.low, upper: interval.high }
}

impl Node {
    /// Returns what an experiment has shown, once everything before is durable; see [`Front::lift`].
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign experiment, `Busy` or `Unavailable`.
    pub async fn lift(&self, scope: Scope, id: u64) -> Result<GetLiftResponse, Refusal> {
        let now = self.settled().await?;
        self.front().lift(scope, id, now)
    }
}
