//! One core's gate: what it takes, what it refuses, and what it tells whom it refuses.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::Response;
use metrics::Counter;

use crate::guard::Class;
use crate::node::Gauge;
use crate::node::clock::{Clock, SystemClock};
use crate::rpc::admission::ahead::Ahead;
use crate::rpc::admission::calls::Calls;
use crate::rpc::admission::rates::{RateKey, Rates};
use crate::rpc::admission::refused::{Answers, Refused, Turn};
use crate::rpc::admission::shed::Shed;
use crate::rpc::admission::turns::{Numbers, Place, Point, STEP, whole};
use crate::rpc::limits::{Limits, at_work_max};
use crate::types::hash::mix;

/// Why calls are refused, as metrics say it.
const CAUSES: [&str; 3] = ["overload", "at_work", "rate"];

/// What stands before the services of one core.
pub(super) struct Gate {
    limits: Limits,
    pub(super) gauge: Gauge,
    pub(super) rates: Arc<Rates>,
    answers: Arc<Answers>,
    clock: SystemClock,
    /// [`Shed`], as the core's watch last found it.
    shed: [AtomicU64; 4],
    /// When the watch must look again at the latest, in nanoseconds of the clock. `u64::MAX`: none watches.
    due: AtomicU64,
    /// The connections of each class.
    numbers: [Mutex<Numbers>; Class::ALL.len()],
    at_work: [AtomicUsize; Class::ALL.len()],
    ahead: Ahead,
    calls: [AtomicU64; Class::ALL.len()],
    /// Lots that were drawn.
    lots: AtomicU64,
    /// Whether what is still to come must be read soon.
    is_stopping: AtomicBool,
    /// By class and cause, looked up when the first such call is refused.
    counters: [[OnceLock<Counter>; CAUSES.len()]; Class::ALL.len()],
}

impl Gate {
    pub(super) fn new(
        limits: Limits,
        gauge: Gauge,
        rates: Arc<Rates>,
        answers: Arc<Answers>,
    ) -> Self {
        Self {
            limits,
            gauge,
            rates,
            answers,
            clock: SystemClock::default(),
            shed: Shed::default().to_bits().map(AtomicU64::new),
            due: AtomicU64::new(u64::MAX),
            numbers: Default::default(),
            at_work: Default::default(),
            ahead: Ahead::default(),
            calls: Default::default(),
            lots: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
            counters: Default::default(),
        }
    }

    /// Tells whether anything is refused for load, and deadlines are capped by class.
    pub(super) const fn sheds(&self) -> bool {
        self.limits.shed
    }

    /// Refuses this much from now on.
    pub(super) fn use_shed(&self, shed: Shed) {
        // Whoever reads half of it meanwhile uses it for one call.
        for (bits, part) in self.shed.iter().zip(shed.to_bits()) {
            bits.store(part, Ordering::Relaxed);
        }
    }

    /// Returns the clock by which [`Self::must_look_by`] is told.
    pub(super) const fn clock(&self) -> &SystemClock {
        &self.clock
    }

    /// Notes when the watch will look again, if its core is not late.
    pub(super) fn must_look_by(&self, due: Duration) {
        self.due.store(due.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Returns how much is refused now.
    pub(super) fn shed(&self) -> Shed {
        if !self.limits.shed {
            return Shed::default();
        }
        self.measured().with_queue(self.gauge.waiting())
    }

    fn measured(&self) -> Shed {
        Shed::from_bits(self.shed.each_ref().map(|bits| bits.load(Ordering::Relaxed)))
    }

    /// Returns whose turn to read it is.
    pub(super) const fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Tells whether a connection is left unread now.
    pub(super) fn leaves_unread(&self, calls: &Calls) -> bool {
        if !self.limits.shed || self.is_stopping() {
            return false;
        }
        let Some(class) = calls.class() else { return false };
        let unread = self.measured().unread(class, self.late());
        unread > 0.0 && {
            let count = self.with_numbers(class, |numbers| numbers.count());
            let point = Point::after(self.clock.monotonic());
            Place::of(calls.number()).waits(point, whole(unread, count))
        }
    }

    /// Returns how late the watch is.
    fn late(&self) -> Duration {
        let due = Duration::from_nanos(self.due.load(Ordering::Relaxed));
        self.clock.monotonic().saturating_sub(due)
    }

    /// Numbers a connection of a class, until it is given back.
    pub(super) fn take_number(&self, class: Class) -> u64 {
        self.with_numbers(class, Numbers::take)
    }

    /// Ends what [`Self::take_number`] began.
    pub(super) fn give_back(&self, class: Class, number: u64) {
        self.with_numbers(class, |numbers| numbers.give_back(number));
    }

    fn with_numbers<T>(&self, class: Class, work: impl FnOnce(&mut Numbers) -> T) -> T {
        let numbers = &self.numbers[class.index()];
        work(&mut numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Passes a call by its class and connection alone, or refuses it for load: the first question, as it costs
    /// least. `calls`: those of its connection; `None`: it is a message of a stream.
    pub(super) fn pass(
        &self,
        class: Class,
        shed: Shed,
        calls: Option<&Calls>,
    ) -> Result<(), Refused> {
        if !shed.spares(class) {
            return Ok(());
        }
        let own = calls.filter(|calls| calls.class() == Some(class));
        let is_behind = calls.is_some_and(Calls::are_behind);
        let share = match own {
            // What waited for so long is of no use any more, where others are left unread.
            _ if is_behind && shed.unread(class, Duration::ZERO) > 0.0 => 1.0,
            Some(_) => shed.share(class),
            // No part of these waits with its connection.
            None => 1.0 - (1.0 - shed.share(class)) * (1.0 - shed.unread(class, Duration::ZERO)),
        };
        let roll = self.roll(class);
        if share < 1.0 && roll as f64 >= share * u64::MAX as f64 {
            return Ok(());
        }
        let level = shed.level().max(class.index() as u8 + 1);
        Err(self.counted(Refused::Overloaded { class, level, turn: Turn::of(roll) }))
    }

    /// Takes a call that has passed, or refuses it. What it takes stands in `Seat` until its answer begins.
    pub(super) fn enter(
        self: &Arc<Self>,
        class: Class,
        key: Option<&RateKey>,
    ) -> Result<Seat, Refused> {
        self.keep_rate(class, key)?;
        let most = if self.limits.shed { at_work_max(class) } else { usize::MAX };
        // Taken first, so that two calls at once don't share the last place.
        let seat = Seat { gate: Arc::clone(self), class };
        if self.at_work[class.index()].fetch_add(1, Ordering::Relaxed) >= most {
            return Err(self.counted(Refused::AtWork { class, turn: Turn::of(self.roll(class)) }));
        }
        Ok(seat)
    }

    /// Takes one message of a stream, or refuses it.
    pub(super) fn check(&self, class: Class, key: Option<&RateKey>) -> Result<(), Refused> {
        self.pass(class, self.shed(), None)?;
        self.keep_rate(class, key)
    }

    /// Returns the answer to a whole call. `key`: who makes it.
    pub(super) fn answer<Answer: Default>(&self, refused: Refused, key: &str) -> Response<Answer> {
        self.answers.answer(refused, key)
    }

    /// Draws a lot: a number that says nothing of the one before.
    pub(super) fn lot(&self) -> u64 {
        mix(self.lots.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets no connection be read slowly any more.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    fn keep_rate(&self, class: Class, key: Option<&RateKey>) -> Result<(), Refused> {
        let Some(key) = key else { return Ok(()) };
        let refused = |late| self.counted(Refused::TooOften { class, late });
        self.rates.check(class, key).map_err(refused)
    }

    fn counted(&self, refused: Refused) -> Refused {
        let cause = match refused {
            Refused::Overloaded { .. } => 0,
            Refused::AtWork { .. } => 1,
            Refused::TooOften { .. } => 2,
        };
        let class = refused.class();
        let look_up = || metrics::counter!("munadi_calls_refused_total", "cause" => CAUSES[cause], "class" => class.name());
        self.counters[class.index()][cause].get_or_init(look_up).increment(1);
        refused
    }

    fn roll(&self, class: Class) -> u64 {
        self.calls[class.index()].fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP)
    }
}

#[cfg(test)]
impl Gate {
    /// Returns the gate of a core without a node.
    pub(super) fn of_nothing(limits: Limits) -> Arc<Self> {
        let rates = Arc::new(Rates::new(&limits));
        Arc::new(Self::new(limits, Gauge::of_nothing(), rates, Arc::default()))
    }
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
    use std::time::Duration;

    use tonic::{Code, Status};
    use tonic_types::StatusExt;

    use super::*;
    use crate::guard::{Caller, Role};
    use crate::node::Pressure;
    use crate::rpc::admission::shed::Controller;
    use crate::rpc::limits::RETRY_AFTER;
    use crate::types::proto::v1::CredentialKind;

    /// Takes a call or refuses it, as a server does.
    fn take(gate: &Arc<Gate>, class: Class, key: Option<&RateKey>) -> Result<Seat, Refused> {
        gate.pass(class, gate.shed(), None)?;
        gate.enter(class, key)
    }

    fn status(gate: &Gate, refused: Refused, key: &str) -> Status {
        let answer: Response<()> = gate.answer(refused, key);
        Status::from_header_map(answer.headers()).unwrap()
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
        (0..1_000).filter(|_| take(gate, class, None).is_ok()).count()
    }

    #[test]
    fn just_the_share_is_refused() {
        let gate = Gate::of_nothing(SHED);
        let shed = shed_after(3);
        gate.use_shed(shed);
        let (share, unread) =
            (shed.share(Class::Reports), shed.unread(Class::Reports, Duration::ZERO));
        assert!((0.05..0.95).contains(&share) && unread > 0.05, "{shed:?}");
        // Whose connection is not told takes a part of what is left unread.
        let wanted = 1_000.0 * (1.0 - share) * (1.0 - unread);
        let taken = taken(&gate, Class::Reports) as f64;
        assert!((taken - wanted).abs() <= 10.0, "{taken} instead of {wanted}");
    }

    #[test]
    fn the_lowest_class_goes_first_and_two_never_go() {
        let gate = Gate::of_nothing(SHED);
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
        let off = Gate::of_nothing(Limits::OFF);
        off.use_shed(shed_after(200));
        assert_eq!(taken(&off, Class::Reports), 1_000, "nothing is refused that is not asked for");
    }

    #[test]
    fn a_class_has_so_many_places() {
        let gate = Gate::of_nothing(SHED);
        let most = at_work_max(Class::Reports);
        let mut seats: Vec<_> =
            (0..most).map(|_| take(&gate, Class::Reports, None).unwrap()).collect();
        let refused = take(&gate, Class::Reports, None).err().unwrap();
        assert!(matches!(refused, Refused::AtWork { class: Class::Reports, .. }));
        assert!(take(&gate, Class::Serving, None).is_ok());
        seats.pop();
        assert!(take(&gate, Class::Reports, None).is_ok(), "a refusal keeps no place");
    }

    #[test]
    fn who_is_refused_learns_why_and_when_to_come_again() {
        let gate = Gate::of_nothing(Limits { reports_per_s: 1, ..SHED });
        let key = RateKey::of(&Caller {
            tenant: 4,
            role: Role::Analytics,
            credential: CredentialKind::Key,
            key_id: "analyst".into(),
            end: None,
        });
        let refused = std::iter::repeat_with(|| take(&gate, Class::Reports, Some(&key)))
            .find_map(Result::err)
            .unwrap();
        let status = status(&gate, refused, &key.id);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_EXCEEDED");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "key:analyst");
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");

        gate.use_shed(shed_after(200));
        let mut waits = Vec::new();
        for _ in 0..100 {
            let refused = take(&gate, Class::Events, Some(&key)).err().unwrap();
            let details = super::tests::status(&gate, refused, &key.id).get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((&*info.reason, &*info.metadata["level"]), ("OVERLOADED", "3"));
            assert_eq!(info.metadata["class"], "events");
            waits.push(details.retry_info().unwrap().retry_delay.unwrap());
        }
        assert!(waits.iter().all(|it| (RETRY_AFTER / 2..=RETRY_AFTER * 3 / 2).contains(it)));
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 4, "they don't come back together");
    }
}
