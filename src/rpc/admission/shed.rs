//! How much of each class of calls is refused, as a function of what was measured. Pure.
//!
//! One number says what becomes of calls that are read: from 0 to 1 reports are refused more and more, from 1 to 2
//! serving too, from 2 to 3 events too. It follows how long work waits as PIE follows a router's queue (RFC 8033,
//! 4.2): it moves by how far the wait is from its target and by how it changed, so that a short peak costs a few
//! reports and a lasting overload settles where just as much is taken as can be done.
//!
//! To refuse a call costs a third of what it costs to do it (`tests/overload`), almost all of it the work of its
//! HTTP/2 stream: a core that refuses one by one at five times its load does little else. What is not read costs
//! nothing. So where much of a class is refused for longer, a share of its connections is left unread, just so
//! large that little of what is read must be refused, and no lower class is taken meanwhile.

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
const RISE: f64 = 0.06;

/// How much it moves with a wait that grew or shrank by its target.
const TREND: f64 = 0.1;

/// How much it falls in a window without any wait: from everything to nothing in a second, but for what is left
/// unread.
const FALL: f64 = 0.30;

/// Times its target that a wait counts for at the most: one window, however bad, costs reports alone.
const LOAD_MAX: f64 = 6.0;
const _: () = assert!(RISE * (LOAD_MAX - 1.0) + TREND * LOAD_MAX < 1.0);

/// Where the shed is at its highest: reports, serving and events are all refused.
const SHED_MAX: f64 = 3.0;

/// The classes that are ever refused for load.
const SHED_CLASSES: usize = 3;
const _: () = assert!(Class::Events.index() + 1 == SHED_CLASSES);

/// The share of what is read that may be refused: more of it, and another part of the connections is left unread.
const REFUSED_AIM: f64 = 0.05;

/// How far of its way there the share of connections that are read goes in a window.
const AIM_GAIN: f64 = 0.2;

/// How much the share that is read grows in a window without any wait: by this part of it, and at the least by that
/// of all. A connection that is read again brings what waited at its caller, so a few at a time.
const GIVE: f64 = 0.15;
const GIVE_LEAST: f64 = 0.02;

/// Times its target that a wait may be while any is given.
const CALM: f64 = 0.75;

/// Less than this is none: of connections that are read, and of those that are not.
const READ_LEAST: f64 = 0.01;
const UNREAD_LEAST: f64 = 0.001;

/// How late a core may be at this moment before connections of reports wait for it, those of serving, those of
/// events, and when none of the latter is read: what is not yet read waits better at its caller than here.
const LATE: [Duration; SHED_CLASSES + 1] = [
    WAIT_TARGET,
    Duration::from_millis(40),
    Duration::from_millis(160),
    Duration::from_millis(640),
];

/// The share of the queue from which on no report is taken, then no serving: the writer must catch up at once,
/// before the queue itself turns events away.
const QUEUE_REPORTS: usize = QUEUE_MAX / 2;
const QUEUE_SERVING: usize = QUEUE_MAX / 4 * 3;
const _: () = assert!(QUEUE_REPORTS < QUEUE_SERVING && QUEUE_SERVING < QUEUE_MAX);

/// How much is refused now, and how much left unread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shed {
    number: f64,
    /// The share of each class's connections that is not read.
    unread: [f64; SHED_CLASSES],
}

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
        self.shed.number = (self.shed.number + change).clamp(0.0, SHED_MAX);
        for class in 0..SHED_CLASSES {
            let unread = self.shed.unread_after(class, load);
            self.shed.unread[class] = unread;
            if unread > 0.0 {
                self.shed.number = self.shed.number.max(class as f64);
            }
        }
        self.shed
    }
}

impl Shed {
    /// Returns the share of a class's connections that is left unread after a window of such a load.
    fn unread_after(self, class: usize, load: f64) -> f64 {
        let refused = self.refused(class);
        let read = 1.0 - self.unread[class];
        let wanted = (read * (1.0 - refused) / (1.0 - REFUSED_AIM)).min(1.0);
        let mut next = read + AIM_GAIN * (wanted - read);
        if self.number <= class as f64 && load < CALM {
            next += (read * GIVE + GIVE_LEAST) * (1.0 - load / CALM);
        }
        if load <= 1.0 && refused >= 1.0 {
            // The wait is over: what is still refused falls by itself.
            next = next.max(read);
        }
        match 1.0 - next {
            ..UNREAD_LEAST => 0.0,
            _ if next < READ_LEAST && next <= read => 1.0,
            unread => unread,
        }
    }

    /// Returns the shed with what a filled queue asks for on the spot.
    pub(super) fn with_queue(self, waiting: usize) -> Self {
        let least = match waiting {
            QUEUE_SERVING.. => 2.0,
            QUEUE_REPORTS.. => 1.0,
            _ => 0.0,
        };
        Self { number: self.number.max(least), ..self }
    }

    /// Returns the share of a class's calls that is refused, of those that are read, 0 to 1.
    pub(super) fn share(self, class: Class) -> f64 {
        if class.index() < SHED_CLASSES { self.refused(class.index()) } else { 0.0 }
    }

    /// Returns the share of a class's connections that is not to be read, 0 to 1, by a core that is so late now.
    pub(super) fn unread(self, class: Class, late: Duration) -> f64 {
        let class = class.index();
        if class >= SHED_CLASSES {
            return 0.0;
        }
        let (begins, ends) = (LATE[class].as_secs_f64(), LATE[class + 1].as_secs_f64());
        let of_late = (late.as_secs_f64() - begins) / (ends - begins);
        self.unread[class].max(of_late.clamp(0.0, 1.0))
    }

    /// Tells whether calls of a class that is spared are of no use any more after so long.
    pub(super) fn is_stale(self, class: Class, waited: Duration) -> bool {
        let latest = LATE.get(class.index() + 1);
        self.spares(class) && latest.is_some_and(|latest| waited >= *latest)
    }

    /// Tells whether anything of a class is refused or left unread for longer.
    pub(super) fn spares(self, class: Class) -> bool {
        self.share(class) > 0.0 || self.unread(class, Duration::ZERO) > 0.0
    }

    /// Returns 0 where nothing is refused, 1 where reports are, 2 where serving is too, 3 where events are too.
    pub(super) fn level(self) -> u8 {
        let unread = self.unread.iter().rposition(|unread| *unread > 0.0);
        let of_unread = unread.map_or(0, |class| class as u8 + 1);
        (self.number.ceil() as u8).max(of_unread)
    }

    fn refused(self, class: usize) -> f64 {
        (self.number - class as f64).clamp(0.0, 1.0)
    }

    /// Returns it for atomics.
    pub(super) fn to_bits(self) -> [u64; SHED_CLASSES + 1] {
        let [reports, serving, events] = self.unread;
        [self.number, reports, serving, events].map(f64::to_bits)
    }

    /// Returns what [`Self::to_bits`] made.
    pub(super) fn from_bits(bits: [u64; SHED_CLASSES + 1]) -> Self {
        let [number, reports, serving, events] = bits.map(f64::from_bits);
        Self { number, unread: [reports, serving, events] }
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
    fn all_is_taken_again_within_five_seconds() {
        let mut controller = Controller::default();
        let full = after(&mut controller, 100, ms(400));
        assert!(full.share(Class::Events) >= 1.0);
        assert!(full.unread(Class::Events, Duration::ZERO) >= 1.0);
        let windows = 5_000 / WINDOW.as_millis() as u32;
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
    fn what_is_refused_for_long_is_left_unread_and_no_lower_class_is_taken_meanwhile() {
        let mut controller = Controller::default();
        let mut most: f64 = 0.0;
        // A wait that just stays at its target keeps what is refused.
        let mut shed = after(&mut controller, 22, ms(40));
        let refused = shed.share(Class::Serving);
        assert!((0.3..0.9).contains(&refused), "{shed:?}");
        for _ in 0..100 {
            shed = controller.after(WAIT_TARGET, NO_PRESSURE);
            most = most.max(shed.unread(Class::Serving, Duration::ZERO));
        }
        assert!(most > 0.9, "{shed:?}");
        // It ends, and reports wait until all of serving is read.
        let mut reports = 0.0;
        for _ in 0..50 {
            shed = controller.after(Duration::ZERO, NO_PRESSURE);
            if shed.unread(Class::Serving, Duration::ZERO) > 0.0 {
                assert!(shed.share(Class::Reports) >= 1.0 && shed.level() >= 2, "{shed:?}");
                reports += 1.0;
            }
        }
        assert!(reports > 5.0, "it is given back little by little");
        assert_eq!(shed, Shed::default());
    }

    #[test]
    fn a_core_that_is_late_reads_reports_no_more_then_serving_then_events() {
        let shed = Shed::default();
        for (late, wanted) in [
            (0, [0.0, 0.0, 0.0]),
            (20, [0.0, 0.0, 0.0]),
            (30, [0.5, 0.0, 0.0]),
            (100, [1.0, 0.5, 0.0]),
            (400, [1.0, 1.0, 0.5]),
            (9_999, [1.0, 1.0, 1.0]),
        ] {
            let unread = [Class::Reports, Class::Serving, Class::Events]
                .map(|class| shed.unread(class, ms(late)));
            let near = |(unread, wanted): (&f64, &f64)| (unread - wanted).abs() < 1e-9;
            assert!(unread.iter().zip(&wanted).all(near), "{late}: {unread:?}");
            assert!(shed.unread(Class::Administration, ms(late)) <= 0.0);
            assert!(shed.unread(Class::Health, ms(late)) <= 0.0);
        }
    }

    #[test]
    fn an_atomic_keeps_it() {
        let shed = after(&mut Controller::default(), 3, ms(33));
        assert_eq!(Shed::from_bits(shed.to_bits()), shed);
    }
}
