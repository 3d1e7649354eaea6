//! How often one caller may call, by class.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::guard::{Caller, Class};
use crate::rpc::limits::{BURST_SECONDS, Limits, RATE_KEYS_MAX};
use crate::types::proto::v1::CredentialKind;

type Limiter<C> =
    RateLimiter<RateKey, DashMapStateStore<RateKey>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Whose rate it is. Keys, subjects of tokens and serial numbers of certificates are named by different hands, and
/// may be alike.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct RateKey {
    credential: CredentialKind,
    tenant: u32,
    pub(super) id: Arc<str>,
}

impl RateKey {
    pub(super) fn of(caller: &Caller) -> Self {
        let Caller { credential, tenant, .. } = *caller;
        Self { credential, tenant, id: Arc::clone(&caller.key_id) }
    }
}

/// A call beyond its key's rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooOften {
    /// When the next call would be taken.
    pub(super) wait: Duration,
    /// What is allowed, calls a second.
    pub(super) per_s: u32,
}

/// The rates of every key, for all cores of a server.
pub(super) struct Rates<C: Clock = MonotonicClock> {
    clock: C,
    limiters: [Option<Limiter<C>>; Class::ALL.len()],
    /// Whether as many keys are remembered as may be: further ones share a rate.
    full: AtomicBool,
    others: RateKey,
}

impl Rates<MonotonicClock> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self::by_clock(limits, MonotonicClock)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn by_clock(limits: &Limits, clock: C) -> Self {
        let limiter = |class: Class| {
            let per_s = NonZeroU32::new(limits.per_s(class))?;
            let burst = per_s.saturating_mul(NonZeroU32::new(BURST_SECONDS)?);
            let quota = Quota::per_second(per_s).allow_burst(burst);
            Some(RateLimiter::dashmap_with_clock(quota, clock.clone()))
        };
        let limiters = Class::ALL.map(limiter);
        // Nobody has this name: theirs are not empty.
        let credential = CredentialKind::Unspecified;
        let others = RateKey { credential, tenant: 0, id: "".into() };
        Self { clock, limiters, full: AtomicBool::new(false), others }
    }

    /// Counts a call of a key, or tells when it may come again.
    pub(super) fn check(&self, class: Class, key: &RateKey) -> Result<(), TooOften> {
        let Some(limiter) = &self.limiters[class.index()] else { return Ok(()) };
        let key = if self.full.load(Ordering::Relaxed) { &self.others } else { key };
        limiter.check_key(key).map_err(|until| {
            let quota = until.quota();
            TooOften {
                wait: until.wait_time_from(self.clock.now()),
                per_s: quota.burst_size().get() / BURST_SECONDS,
            }
        })
    }

    /// Forgets keys that have not called for so long that nothing is counted of them.
    pub(super) fn tidy(&self) {
        let mut full = false;
        for limiter in self.limiters.iter().flatten() {
            limiter.retain_recent();
            full |= limiter.len() >= RATE_KEYS_MAX;
        }
        self.full.store(full, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::guard::Role;

    const LIMITS: Limits = Limits { events_per_s: 10, reports_per_s: 1, ..Limits::OFF };

    fn rates() -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::by_clock(&LIMITS, clock.clone()), clock)
    }

    fn key(name: &str) -> RateKey {
        RateKey { credential: CredentialKind::Key, tenant: 4, id: name.into() }
    }

    #[test]
    fn a_key_has_its_burst_and_then_its_rate() {
        let (rates, clock) = rates();
        let feed = key("feed");
        for _ in 0..10 * BURST_SECONDS {
            assert_eq!(rates.check(Class::Events, &feed), Ok(()));
        }
        let late = rates.check(Class::Events, &feed).unwrap_err();
        assert_eq!(late, TooOften { wait: Duration::from_millis(100), per_s: 10 });
        clock.advance(late.wait);
        assert_eq!(rates.check(Class::Events, &feed), Ok(()), "as was told");
        assert!(rates.check(Class::Events, &feed).is_err());
    }

    #[test]
    fn keys_and_classes_are_counted_apart() {
        let (rates, _) = rates();
        let (one, other) = (key("one"), key("other"));
        while rates.check(Class::Reports, &one).is_ok() {}
        assert_eq!(rates.check(Class::Reports, &other), Ok(()));
        assert_eq!(rates.check(Class::Events, &one), Ok(()));
        for _ in 0..10_000 {
            assert_eq!(rates.check(Class::Serving, &one), Ok(()), "no limit is no limit");
        }
    }

    /// Whoever issues tokens or certificates gives out names: one of them may be another tenant's key's.
    #[test]
    fn nobody_takes_of_the_rate_of_another_who_has_the_same_name() {
        let (rates, _) = rates();
        let of = |credential, tenant| {
            let (role, key_id) = (Role::Analytics, "m-a".into());
            RateKey::of(&Caller { tenant, role, credential, key_id, end: None })
        };
        let own = of(CredentialKind::Key, 4);
        while rates.check(Class::Reports, &own).is_ok() {}
        for (credential, tenant) in
            [(CredentialKind::Key, 5), (CredentialKind::Token, 4), (CredentialKind::Certificate, 4)]
        {
            let other = of(credential, tenant);
            assert_eq!(rates.check(Class::Reports, &other), Ok(()), "{other:?}");
        }
        assert!(rates.check(Class::Reports, &own).is_err());
    }

    #[test]
    fn only_so_many_keys_are_remembered() {
        let (rates, clock) = rates();
        for number in 0..RATE_KEYS_MAX {
            assert_eq!(rates.check(Class::Reports, &key(&number.to_string())), Ok(()));
        }
        rates.tidy();
        while rates.check(Class::Reports, &key("a")).is_ok() {}
        assert!(rates.check(Class::Reports, &key("b")).is_err(), "they share what is left");
        clock.advance(Duration::from_secs(60));
        rates.tidy();
        assert_eq!(rates.limiters[Class::Reports.index()].as_ref().unwrap().len(), 0);
        while rates.check(Class::Reports, &key("a")).is_ok() {}
        assert_eq!(rates.check(Class::Reports, &key("b")), Ok(()), "each has its own again");
    }
}
