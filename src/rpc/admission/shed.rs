//! How much of each class of calls is refused, as a function of what was measured. Pure.
//!
//! One number says it all: from 0 to 1 reports are refused more and more, from 1 to 2 serving too, from 2 to 3
//! events too. It follows how long work waits as PIE follows a router's queue (RFC 8033, 4.2): it moves by how
//! far the wait is from its target and by how it changed, so that a short peak costs a few reports and a lasting
//! overload settles where just as much is taken as can be done.

use std::time::Duration;

use crate::guard::Class;
use crate::node::{Pressure, QUEUE_MAX};
use crate::rpc::limits::LAG_TARGET;

/// How long a call that is ready may wait for its core, on average of a window: the target of DAGOR, the
/// overload control of a chat platform (Zhou and others, SoCC 2018), is the same 20 ms.
pub(super) const WAIT_TARGET: Duration = Duration::from_millis(20);

/// Over how long the wait is averaged: the period in which a kernel hands out shares of a core.
pub(super) const WINDOW: Duration = Duration::from_millis(100);

/// How much the shed rises in a window whose wait is twice its target, as long as that lasts. This, `TREND` and
/// `LOAD_MAX` are what keeps a simulated core busiest from 1.2 to 10 times its capacity (`simulated`).
const RISE: f64 = 0.03;

/// How much it moves with a wait that grew or shrank by its target.
const TREND: f64 = 0.1;

/// How much it falls in a window without any wait: from everything to nothing in under four seconds.
const FALL: f64 = 0.08;

/// Times its target that a wait counts for at the most: one window, however bad, costs reports alone.
const LOAD_MAX: f64 = 7.0;
const _: () = assert!(RISE * (LOAD_MAX - 1.0) + TREND * LOAD_MAX < 1.0);

/// Where the shed is at its highest: reports, serving and events are all refused.
const SHED_MAX: f64 = 3.0;

/// The share of the queue from which on no report is taken, then no serving: the writer must catch up at once,
/// before the queue itself turns events away.
const QUEUE_REPORTS: usize = QUEUE_MAX / 2;
const QUEUE_SERVING: usize = QUEUE_MAX / 4 * 3;
const _: () = assert!(QUEUE_REPORTS < QUEUE_SERVING && QUEUE_SERVING < QUEUE_MAX);

/// How much is refused now.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Shed(f64);

/// Moves the shed window by window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Controller {
    shed: Shed,
    /// The wait of the last window, in its target.
    load: f64,
}

impl Controller {
    /// Takes a window in which calls waited for their core for so long on average, and at whose end the node was
    /// under this pressure. Returns what is refused in the next one.
    pub(super) fn after(&mut self, wait: Duration, pressure: Pressure) -> Shed {
        let of_wait = wait.as_secs_f64() / WAIT_TARGET.as_secs_f64();
        let of_lag = pressure.lag.as_secs_f64() / LAG_TARGET.as_secs_f64();
        let of_queue = pressure.waiting as f64 / QUEUE_REPORTS as f64;
        let load = of_wait.max(of_lag).max(of_queue).min(LOAD_MAX);
        let pull = if load > 1.0 { RISE } else { FALL };
        let change = pull * (load - 1.0) + TREND * (load - self.load);
        self.load = load;
        self.shed = Shed((self.shed.0 + change).clamp(0.0, SHED_MAX));
        self.shed
    }
}

impl Shed {
    /// Returns the shed with what a filled queue asks for on the spot.
    pub(super) fn with_queue(self, waiting: usize) -> Self {
        let least = match waiting {
            QUEUE_SERVING.. => 2.0,
            QUEUE_REPORTS.. => 1.0,
            _ => 0.0,
        };
        Self(self.0.max(least))
    }

    /// Returns the share of a class's calls that is refused, 0 to 1.
    pub(super) fn share(self, class: Class) -> f64 {
        let begins = match class {
            Class::Reports => 0.0,
            Class::Serving => 1.0,
            Class::Events => 2.0,
            Class::Administration | Class::Health => return 0.0,
        };
        (self.0 - begins).clamp(0.0, 1.0)
    }

    /// Returns 0 where nothing is refused, 1 where reports are, 2 where serving is too, 3 where events are too.
    pub(super) fn level(self) -> u8 {
        self.0.ceil() as u8
    }

    /// Returns it for an atomic.
    pub(super) const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Returns what [`Self::to_bits`] made.
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PRESSURE: Pressure = Pressure { waiting: 0, lag: Duration::ZERO };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Returns the shed after so many windows with this wait.
    fn after(controller: &mut Controller, windows: u32, wait: Duration) -> Shed {
        (0..windows).fold(controller.shed, |_, _| controller.after(wait, NO_PRESSURE))
    }

    #[test]
    fn reports_go_first_then_serving_then_events() {
        let mut controller = Controller::default();
        let mut levels = Vec::new();
        for _ in 0..200 {
            let shed = controller.after(ms(40), NO_PRESSURE);
            levels.push(shed.level());
            let [reports, serving, events] =
                [Class::Reports, Class::Serving, Class::Events].map(|class| shed.share(class));
            assert!(serving <= 0.0 || reports >= 1.0, "{shed:?}");
            assert!(events <= 0.0 || serving >= 1.0, "{shed:?}");
            assert!(shed.share(Class::Administration) <= 0.0);
            assert!(shed.share(Class::Health) <= 0.0);
        }
        assert!(levels.is_sorted());
        levels.dedup();
        assert_eq!(levels, [1, 2, 3]);
        assert!(controller.shed.share(Class::Events) >= 1.0);
    }

    #[test]
    fn one_bad_window_costs_no_ad() {
        for wait in [ms(21), ms(100), ms(10_000)] {
            let mut controller = Controller::default();
            let shed = controller.after(wait, NO_PRESSURE);
            assert!(shed.share(Class::Reports) > 0.0, "{wait:?}: {shed:?}");
            assert!(shed.share(Class::Serving) <= 0.0, "{wait:?}: {shed:?}");
            let shed = after(&mut controller, 3, Duration::ZERO);
            assert_eq!(shed.level(), 0, "{wait:?}: {shed:?}");
        }
    }

    #[test]
    fn what_stays_below_the_target_is_no_overload() {
        let mut controller = Controller::default();
        after(&mut controller, 1_000, ms(19));
        assert_eq!(controller.shed.level(), 0);
    }

    #[test]
    fn all_is_taken_again_within_four_seconds() {
        let mut controller = Controller::default();
        let full = after(&mut controller, 40, ms(400));
        assert!(full.share(Class::Events) >= 1.0);
        let windows = 4_000 / WINDOW.as_millis() as u32;
        assert_eq!(after(&mut controller, windows, Duration::ZERO).level(), 0);
    }

    #[test]
    fn a_slow_disk_and_a_long_queue_count_too() {
        let lag = Pressure { lag: 2 * LAG_TARGET, ..NO_PRESSURE };
        let queue = Pressure { waiting: QUEUE_MAX, ..NO_PRESSURE };
        for pressure in [lag, queue] {
            let shed = Controller::default().after(Duration::ZERO, pressure);
            assert!(shed.share(Class::Reports) > 0.0, "{pressure:?}: {shed:?}");
        }
    }

    #[test]
    fn a_filling_queue_is_answered_on_the_spot() {
        for (waiting, level) in
            [(0, 0), (QUEUE_REPORTS - 1, 0), (QUEUE_REPORTS, 1), (QUEUE_SERVING, 2), (QUEUE_MAX, 2)]
        {
            assert_eq!(Shed::default().with_queue(waiting).level(), level, "{waiting}");
        }
        let high = after(&mut Controller::default(), 40, ms(400));
        assert_eq!(high.with_queue(QUEUE_REPORTS), high, "it never lowers what was measured");
    }

    #[test]
    fn an_atomic_keeps_it() {
        let shed = after(&mut Controller::default(), 3, ms(33));
        assert_eq!(Shed::from_bits(shed.to_bits()), shed);
    }
}
