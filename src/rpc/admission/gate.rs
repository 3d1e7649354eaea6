//! One core's gate: what it takes, what it refuses, and what it tells whom it refuses.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::guard::{Class, ERROR_DOMAIN};
use crate::node::Gauge;
use crate::rpc::admission::rates::{Rates, TooOften};
use crate::rpc::admission::shed::Shed;
use crate::rpc::limits::{Limits, RETRY_AFTER, at_work_max};
use crate::types::refusal::{Reason, Refusal};

/// The golden ratio's part of 2^64: its multiples fall evenly, so that even of few calls just the share is
/// refused that should be (Weyl).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Why a call is not taken. Nothing of it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refused {
    /// The node has more to do than it can.
    Overloaded { class: Class, level: u8, retry: Duration },
    /// Too many of its class are at work.
    AtWork { class: Class, retry: Duration },
    /// Its key called too often.
    TooOften { class: Class, late: TooOften },
}

impl Refused {
    /// Returns the status of a whole call. `key`: whose rate it was.
    pub(super) fn status(self, key: &str) -> Status {
        let Refusal { reason, message, .. } = self.refusal();
        let mut about = HashMap::new();
        about.insert("class".to_owned(), self.class().name().to_owned());
        if let Self::Overloaded { level, .. } = self {
            about.insert("level".to_owned(), level.to_string());
        }
        let mut details = ErrorDetails::with_error_info(reason.name(), ERROR_DOMAIN, about);
        details.set_retry_info(Some(self.retry()));
        if let Self::TooOften { class, late } = self {
            let allowed = format!("{} calls a second of class {}", late.per_s, class.name());
            details.add_quota_failure_violation(format!("key:{key}"), allowed);
        }
        Status::with_error_details(Code::ResourceExhausted, message, details)
    }

    /// Returns the same for one message of a stream.
    pub(super) fn refusal(self) -> Refusal {
        let (reason, message) = match self {
            Self::Overloaded { .. } => (
                Reason::Overloaded,
                "the node is overloaded: nothing was done; send it again later",
            ),
            Self::AtWork { .. } => {
                let message =
                    "too many such calls are at work: nothing was done; send it again later";
                (Reason::Overloaded, message)
            }
            Self::TooOften { .. } => {
                let message =
                    "this key calls too often: nothing was done; send it again later, and slower";
                (Reason::RateExceeded, message)
            }
        };
        Refusal::new(reason, "", message)
    }

    const fn class(self) -> Class {
        match self {
            Self::Overloaded { class, .. }
            | Self::AtWork { class, .. }
            | Self::TooOften { class, .. } => class,
        }
    }

    const fn retry(self) -> Duration {
        match self {
            Self::Overloaded { retry, .. } | Self::AtWork { retry, .. } => retry,
            Self::TooOften { late, .. } => late.wait,
        }
    }

    fn count(self) {
        let class = self.class().name();
        let cause = match self {
            Self::Overloaded { .. } => "overload",
            Self::AtWork { .. } => "at_work",
            Self::TooOften { .. } => "rate",
        };
        metrics::counter!("munadi_calls_refused_total", "cause" => cause, "class" => class)
            .increment(1);
    }
}

/// What stands before the services of one core.
pub(super) struct Gate {
    limits: Limits,
    pub(super) gauge: Gauge,
    pub(super) rates: Arc<Rates>,
    /// [`Shed`], as the core's watch last found it.
    shed: AtomicU64,
    at_work: [AtomicUsize; Class::ALL.len()],
    calls: [AtomicU64; Class::ALL.len()],
}

impl Gate {
    pub(super) fn new(limits: Limits, gauge: Gauge, rates: Arc<Rates>) -> Self {
        Self {
            limits,
            gauge,
            rates,
            shed: AtomicU64::new(Shed::default().to_bits()),
            at_work: Default::default(),
            calls: Default::default(),
        }
    }

    /// Tells whether anything is refused for load, and deadlines are capped by class.
    pub(super) const fn sheds(&self) -> bool {
        self.limits.shed
    }

    /// Refuses this much from now on.
    pub(super) fn use_shed(&self, shed: Shed) {
        self.shed.store(shed.to_bits(), Ordering::Relaxed);
    }

    /// Takes a call, or refuses it before anything of it is read. What it takes stands in `Seat` until its
    /// answer begins.
    pub(super) fn enter(
        self: &Arc<Self>,
        class: Class,
        key: Option<&Arc<str>>,
    ) -> Result<Seat, Refused> {
        self.check(class, key)?;
        let most = if self.limits.shed { at_work_max(class) } else { usize::MAX };
        // Taken first, so that two calls at once don't share the last place.
        let seat = Seat { gate: Arc::clone(self), class };
        if self.at_work[class.index()].fetch_add(1, Ordering::Relaxed) >= most {
            let refused = Refused::AtWork { class, retry: retry(self.roll(class)) };
            refused.count();
            return Err(refused);
        }
        Ok(seat)
    }

    /// Takes one message of a stream, or refuses it.
    pub(super) fn check(&self, class: Class, key: Option<&Arc<str>>) -> Result<(), Refused> {
        let refused = match self.overloaded(class) {
            Some(refused) => Some(refused),
            None => key.and_then(|key| {
                let late = self.rates.check(class, key).err()?;
                Some(Refused::TooOften { class, late })
            }),
        };
        let Some(refused) = refused else { return Ok(()) };
        refused.count();
        Err(refused)
    }

    fn overloaded(&self, class: Class) -> Option<Refused> {
        if !self.limits.shed {
            return None;
        }
        let shed = Shed::from_bits(self.shed.load(Ordering::Relaxed));
        let shed = shed.with_queue(self.gauge.waiting());
        let share = shed.share(class);
        if share <= 0.0 {
            return None;
        }
        let roll = self.roll(class);
        let refuses = (roll as f64) < share * u64::MAX as f64 || share >= 1.0;
        // Other bits than the share's, so that those refused together don't come back together.
        let retry = retry(roll.rotate_left(32));
        refuses.then_some(Refused::Overloaded { class, level: shed.level(), retry })
    }

    fn roll(&self, class: Class) -> u64 {
        self.calls[class.index()].fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP)
    }
}

/// Returns when to come again: [`RETRY_AFTER`], half as much less or more.
fn retry(roll: u64) -> Duration {
    let part = (roll >> 32) as u32;
    RETRY_AFTER / 2 + RETRY_AFTER.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// The place of a call that is at work.
pub(super) struct Seat {
    gate: Arc<Gate>,
    class: Class,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gate.at_work[self.class.index()].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Pressure;
    use crate::rpc::admission::shed::Controller;

    fn gate(limits: Limits) -> Arc<Gate> {
        Arc::new(Gate::new(limits, Gauge::of_nothing(), Arc::new(Rates::new(&limits))))
    }

    const SHED: Limits = Limits { shed: true, ..Limits::OFF };

    /// Returns the shed after so many windows of a long wait.
    fn shed_after(windows: usize) -> Shed {
        let mut controller = Controller::default();
        let wait = Duration::from_millis(60);
        let after = |_, _| controller.after(wait, Pressure::default());
        (0..windows).fold(Shed::default(), after)
    }

    fn taken(gate: &Arc<Gate>, class: Class) -> usize {
        (0..1_000).filter(|_| gate.enter(class, None).is_ok()).count()
    }

    #[test]
    fn just_the_share_is_refused() {
        let gate = gate(SHED);
        let shed = shed_after(3);
        gate.use_shed(shed);
        let share = shed.share(Class::Reports);
        assert!((0.05..0.95).contains(&share), "{share}");
        let wanted = 1_000.0 * (1.0 - share);
        let taken = taken(&gate, Class::Reports) as f64;
        assert!((taken - wanted).abs() <= 10.0, "{taken} instead of {wanted}");
    }

    #[test]
    fn the_lowest_class_goes_first_and_two_never_go() {
        let gate = gate(SHED);
        let mut before = [1_000; 3];
        for windows in (0..120).step_by(10) {
            gate.use_shed(shed_after(windows));
            let now = [Class::Reports, Class::Serving, Class::Events].map(|it| taken(&gate, it));
            assert!(now[1] == 1_000 || now[0] == 0, "{now:?}");
            assert!(now[2] == 1_000 || now[1] == 0, "{now:?}");
            assert!(now.iter().zip(before).all(|(now, before)| *now <= before + 10), "{now:?}");
            assert_eq!(taken(&gate, Class::Administration), 1_000);
            assert_eq!(taken(&gate, Class::Health), 1_000);
            before = now;
        }
        assert_eq!(before, [0; 3]);
        let off = super::tests::gate(Limits::OFF);
        off.use_shed(shed_after(200));
        assert_eq!(taken(&off, Class::Reports), 1_000, "nothing is refused that is not asked for");
    }

    #[test]
    fn a_class_has_so_many_places() {
        let gate = gate(SHED);
        let most = at_work_max(Class::Reports);
        let mut seats: Vec<_> =
            (0..most).map(|_| gate.enter(Class::Reports, None).unwrap()).collect();
        let refused = gate.enter(Class::Reports, None).err().unwrap();
        assert!(matches!(refused, Refused::AtWork { class: Class::Reports, .. }));
        assert!(gate.enter(Class::Serving, None).is_ok());
        seats.pop();
        assert!(gate.enter(Class::Reports, None).is_ok(), "a refusal keeps no place");
    }

    #[test]
    fn who_is_refused_learns_why_and_when_to_come_again() {
        let gate = gate(Limits { reports_per_s: 1, ..SHED });
        let key: Arc<str> = "analyst".into();
        let refused = std::iter::repeat_with(|| gate.enter(Class::Reports, Some(&key)))
            .find_map(Result::err)
            .unwrap();
        let status = refused.status(&key);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_EXCEEDED");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "key:analyst");
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");

        gate.use_shed(shed_after(200));
        let mut waits = Vec::new();
        for _ in 0..100 {
            let status = gate.enter(Class::Events, Some(&key)).err().unwrap().status(&key);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((&*info.reason, &*info.metadata["level"]), ("OVERLOADED", "3"));
            assert_eq!(info.metadata["class"], "events");
            waits.push(details.retry_info().unwrap().retry_delay.unwrap());
        }
        assert!(waits.iter().all(|it| (RETRY_AFTER / 2..=RETRY_AFTER * 3 / 2).contains(it)));
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 50, "they don't come back together");
    }
}
