//! What a node counts for its operator, and whether it is ready. The names are in `types/meters.rs`.
//!
//! Counters that every call touches are looked up once; what can be read at any time is read when it is asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use metrics::Counter;

use crate::journal::Block;
use crate::node::live::Live;
use crate::node::running::Node;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, Showing};
use crate::types::time::{Moment, SECOND_MS};

/// How long a batch may wait for the disk, or the writer stand still, before the node is not ready, milliseconds.
/// A hundred times what a slow disk takes to sync.
pub const READY_LAG_MS_MAX: i64 = 5 * SECOND_MS;

/// Why calls should be sent elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unready {
    /// The journal can't be written any more.
    Stopped,
    /// What was decided has waited too long for the disk, or the writer stands still.
    Lagging,
}

impl Unready {
    /// Returns the reason's name, for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "JOURNAL_STOPPED",
            Self::Lagging => "JOURNAL_LAGGING",
        }
    }
}

/// Counters that are looked up once, and what the writer tells of itself.
#[derive(Debug)]
pub(in crate::node) struct Meters {
    /// Requests for ads.
    pub(in crate::node) ad_requests: Counter,
    /// Events handed to the writer.
    pub(in crate::node) events: Counter,
    /// When the writer last did a round, by the clock, milliseconds; 0: never.
    stepped_ms: AtomicI64,
    /// When the oldest batch that is not durable was cut, by the journal's time, milliseconds; 0: all are durable.
    waiting_ms: AtomicI64,
    /// When the last checkpoint was kept, by the monotonic clock, milliseconds.
    checkpoint_ms: AtomicU64,
}

impl Meters {
    /// Looks the counters up: whoever exposes them must have said so before.
    pub(in crate::node) fn register() -> Self {
        Self {
            ad_requests: metrics::counter!("munadi_ad_requests_total"),
            events: metrics::counter!("munadi_events_total"),
            stepped_ms: AtomicI64::new(0),
            waiting_ms: AtomicI64::new(0),
            checkpoint_ms: AtomicU64::new(0),
        }
    }

    /// Notes a round of the writer, and when its oldest batch that is not durable was cut.
    pub(in crate::node) fn note_step(&self, now: Moment, waiting: Option<Moment>) {
        self.stepped_ms.store(now.0, Relaxed);
        self.waiting_ms.store(waiting.map_or(0, |cut| cut.0), Relaxed);
    }

    /// Notes that a checkpoint was kept, and how long it took.
    pub(in crate::node) fn note_checkpoint(&self, now: Duration, took: Duration) {
        self.checkpoint_ms.store(now.as_millis() as u64, Relaxed);
        metrics::gauge!("munadi_checkpoint_seconds").set(took);
    }

    /// Returns how long the journal is behind, milliseconds: what its oldest batch has waited, or how long the
    /// writer has not moved. A clock that was set back makes it too small, never too large.
    fn lag_ms(&self, now: Moment) -> i64 {
        let waiting_ms = self.waiting_ms.load(Relaxed);
        let waited = if waiting_ms == 0 { 0 } else { now.0 - waiting_ms };
        // A round is done every 20 ms, busy or not.
        let stood = now.0 - self.stepped_ms.load(Relaxed);
        let stood = if stood < SECOND_MS { 0 } else { stood };
        waited.max(stood).max(0)
    }
}

/// Counts a batch that was handed to the journal.
pub(in crate::node) fn count_batch(blocks: &[Block]) {
    let facts: u64 = blocks.iter().map(|block| u64::from(block.count)).sum();
    let bytes: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    metrics::histogram!("munadi_journal_batch_facts").record(facts as f64);
    metrics::counter!("munadi_journal_bytes_total").increment(bytes as u64);
}

/// What was charged and what was given away, by currency. Accounts have few currencies, so it stays small.
#[derive(Debug, Default)]
pub(in crate::node) struct Spend(BTreeMap<String, [Counter; 2]>);

impl Spend {
    /// Counts the charge of a fact, if it has one.
    pub(in crate::node) fn note(&mut self, live: &Live, fact: &Kind) {
        let Some((showing, charge)) = charge_of(fact) else { return };
        let catalog = live.catalog();
        let currency = catalog.currency_of(showing.account).unwrap_or("unknown");
        if !self.0.contains_key(currency) {
            let label = || currency.to_owned();
            let spend = metrics::counter!("munadi_spend_micros_total", "currency" => label());
            let over =
                metrics::counter!("munadi_over_delivered_micros_total", "currency" => label());
            self.0.insert(currency.to_owned(), [spend, over]);
        }
        if let Some([spend, over]) = self.0.get(currency) {
            spend.increment(charge.amount.max(0) as u64);
            over.increment(charge.over_delivered.max(0) as u64);
        }
    }
}

fn charge_of(fact: &Kind) -> Option<(&Showing, &Charge)> {
    let (showing, charge) = match fact {
        Kind::ImpressionSeen(fact) => (&fact.showing, &fact.charge),
        Kind::Tapped(fact) => (&fact.showing, &fact.charge),
        Kind::ClickMatched(fact) => (&fact.showing, &fact.charge),
        _ => return None,
    };
    showing.as_ref().zip(charge.as_ref())
}

impl Node {
    /// Tells whether calls may be sent here: the state is recovered, the journal can be written, and what waits
    /// for the disk has not waited long.
    ///
    /// # Errors
    /// With the reason why they should go elsewhere.
    pub fn readiness(&self) -> Result<(), Unready> {
        let live = &self.front().0;
        if live.progress.is_stopped() {
            return Err(Unready::Stopped);
        }
        if live.meters.lag_ms(self.now()) > READY_LAG_MS_MAX {
            return Err(Unready::Lagging);
        }
        Ok(())
    }

    /// Sets every gauge that can be read at any time to what holds now. Waits for nothing but short locks.
    pub fn show_meters(&self) {
        let live = &self.front().0;
        let (work, events) = (self.queue.waiting(), self.queue.events());
        metrics::gauge!("munadi_queue_work").set(work as f64);
        metrics::gauge!("munadi_queue_events").set(events as f64);
        metrics::gauge!("munadi_live_ads").set(live.live_ads() as f64);
        metrics::gauge!("munadi_ready").set(f64::from(u8::from(self.readiness().is_ok())));
        metrics::gauge!("munadi_journal_lag_batches").set(live.progress.behind() as f64);
        let lag_s = live.meters.lag_ms(self.now()) as f64 / SECOND_MS as f64;
        metrics::gauge!("munadi_journal_lag_seconds").set(lag_s);
        let kept = Duration::from_millis(live.meters.checkpoint_ms.load(Relaxed));
        let age = self.clock.monotonic().saturating_sub(kept);
        metrics::gauge!("munadi_checkpoint_age_seconds").set(age);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_lags_by_its_oldest_batch_or_by_a_writer_that_stands_still() {
        let meters = Meters::register();
        let now = Moment(1_000_000);
        assert!(meters.lag_ms(now) > READY_LAG_MS_MAX, "a writer that never moved is not ready");
        meters.note_step(now, None);
        assert_eq!(meters.lag_ms(now), 0);
        assert_eq!(meters.lag_ms(Moment(now.0 + SECOND_MS - 1)), 0, "a round is never that exact");
        assert_eq!(meters.lag_ms(Moment(now.0 + 7_000)), 7_000);
        meters.note_step(now, Some(Moment(now.0 - 300)));
        assert_eq!(meters.lag_ms(now), 300);
        assert_eq!(meters.lag_ms(Moment(now.0 - 10_000)), 0, "the clock was set back");
    }

    #[test]
    fn only_billed_events_have_a_charge() {
        let billed = Kind::Tapped(crate::types::proto::journal::v1::Tapped {
            showing: Some(Showing::default()),
            charge: Some(Charge { amount: 5, ..Charge::default() }),
            ..Default::default()
        });
        assert_eq!(charge_of(&billed).map(|(_, charge)| charge.amount), Some(5));
        assert!(charge_of(&Kind::ImpressionSeen(Default::default())).is_none());
        assert!(charge_of(&Kind::Watched(Default::default())).is_none());
    }
}
