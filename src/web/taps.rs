//! Which taps of followed links are counted: whoever knows a link can follow it as often as a machine can, and each
//! that is counted stands in the journal for good.

use std::num::NonZeroU32;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::node::dice::fill_from_system;
use crate::types::hash::mix;
use crate::types::request::Incoming;
use crate::web::limits::{
    LINK_BUCKETS, LINK_TAPS_BURST, LINK_TAPS_PER_S, SOURCE_TAPS_BURST, SOURCE_TAPS_PER_S,
};

type Limiter<K, S, C> = RateLimiter<K, S, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// How often taps are counted, for all cores of a door.
pub(super) struct Taps<C: Clock = MonotonicClock> {
    /// By a link's bucket: there are only so many, whatever is followed.
    links: Limiter<u16, DashMapStateStore<u16>, C>,
    /// All entry sources together. An ad's tap counts once for each view, so views bound those.
    sources: Limiter<NotKeyed, InMemoryState, C>,
    /// Nobody outside knows which links share a bucket.
    seed: u64,
}

impl Taps<MonotonicClock> {
    pub(super) fn new() -> Self {
        let mut seed = [0; 8];
        fill_from_system(&mut seed);
        Self::by_clock(MonotonicClock, u64::from_le_bytes(seed))
    }
}

impl<C: Clock + Clone> Taps<C> {
    fn by_clock(clock: C, seed: u64) -> Self {
        let number = |number| NonZeroU32::new(number).expect("no rate is zero");
        let quota = |per_s, burst| Quota::per_second(number(per_s)).allow_burst(number(burst));
        let links = quota(LINK_TAPS_PER_S, LINK_TAPS_BURST);
        let sources = quota(SOURCE_TAPS_PER_S, SOURCE_TAPS_BURST);
        Self {
            links: RateLimiter::dashmap_with_clock(links, clock.clone()),
            sources: RateLimiter::direct_with_clock(sources, clock),
            seed,
        }
    }

    /// Tells whether one more tap is counted.
    pub(super) fn counts(&self, tap: &Incoming) -> bool {
        let (link, is_source) = match tap {
            Incoming::SourceTapped { source, .. } => (*source, true),
            Incoming::Ad { token, .. } => (token.view, false),
            // Nothing else stands behind a link.
            _ => return true,
        };
        let bucket = (mix(link ^ self.seed) % u64::from(LINK_BUCKETS)) as u16;
        self.links.check_key(&bucket).is_ok() && (!is_source || self.sources.check().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::types::proto::v1::EventKind;
    use crate::types::token::ViewToken;

    fn taps() -> (Taps<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Taps::by_clock(clock.clone(), 7), clock)
    }

    const fn of_source(source: u64) -> Incoming {
        Incoming::SourceTapped { source, country: 0, at: None }
    }

    fn of_view(view: u64) -> Incoming {
        let token = ViewToken { view, ..ViewToken::default() };
        Incoming::Ad { token, kind: EventKind::Tap, at: None, suspect: None, network: 0 }
    }

    /// Follows until a tap is not counted, and returns how many were.
    fn counted(taps: &Taps<FakeRelativeClock>, tap: impl Fn(u64) -> Incoming) -> u32 {
        let first = (0..u64::from(SOURCE_TAPS_BURST) * 2).find(|nth| !taps.counts(&tap(*nth)));
        first.expect("a tap is not counted") as u32
    }

    #[test]
    fn a_link_counts_its_burst_and_then_its_rate() {
        let (taps, clock) = taps();
        for tap in [of_source(1), of_view(2)] {
            assert_eq!(counted(&taps, |_| tap.clone()), LINK_TAPS_BURST, "{tap:?}");
        }
        assert!(taps.counts(&of_source(3)), "another link");
        clock.advance(Duration::from_secs(1));
        assert_eq!(counted(&taps, |_| of_source(1)), LINK_TAPS_PER_S);
    }

    #[test]
    fn sources_together_count_no_more_than_the_door_does_and_ads_go_on() {
        let (taps, clock) = taps();
        // Each is followed a few times: fewer than one link may be.
        assert_eq!(counted(&taps, |nth| of_source(nth / 4)), SOURCE_TAPS_BURST);
        assert!(taps.counts(&of_view(u64::MAX)), "a tap on an ad counts for its view");
        clock.advance(Duration::from_secs(1));
        assert_eq!(counted(&taps, |nth| of_source(1_000_000 + nth / 4)), SOURCE_TAPS_PER_S);
    }

    #[test]
    fn whatever_is_followed_there_are_only_so_many_buckets() {
        let (taps, _) = taps();
        for link in 0..4 * u64::from(LINK_BUCKETS) {
            taps.counts(&of_view(link));
        }
        assert!(taps.links.len() <= usize::from(LINK_BUCKETS), "{}", taps.links.len());
    }
}
