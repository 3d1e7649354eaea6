//! Last touch over a history of another system: for each outcome the last tap of its viewer on an ad of its
//! account within 7 days, else the last view within one.
//!
//! Nothing is known here of ad sets' own windows, of proofs and of invalid traffic: it is the plain question that
//! an analyst asks of such files, to hold it beside what was attributed live.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::state::Map;
use crate::types::time::DAY_MS;

/// How long a tap earns, microseconds.
pub const TAP_WINDOW_US: i64 = 7 * DAY_MS * 1_000;

/// How long a view earns, microseconds.
pub const VIEW_WINDOW_US: i64 = DAY_MS * 1_000;

/// Bits of the sieve for each outcome: of the touches of others one in sixteen is looked up in vain.
const SIEVE_BITS: usize = 16;

/// A conversation or conversion.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PastOutcome {
    /// Whether it is a conversion.
    pub is_conversion: bool,
    /// Its name in the other system.
    pub event_id: String,
    /// When it happened, microseconds since 1970.
    pub event_us: i64,
    /// Whose it is, as the other system calls them.
    pub viewer: String,
    /// With whom.
    pub account: u64,
    /// Of a conversion.
    pub name: String,
    /// Of a conversion.
    pub value_micros: Option<i64>,
    /// ISO 4217; empty where there is no value.
    pub currency: String,
}

/// A touch that an outcome may be credited to. Of two at one moment the ad with the higher id is the later one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PastTouch {
    /// When it happened, microseconds since 1970.
    pub event_us: i64,
    /// The ad.
    pub ad: u64,
}

/// What an outcome is credited to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credited {
    /// A tap.
    Tap(PastTouch),
    /// A view; there was no tap in time.
    View(PastTouch),
    /// There was no touch in time.
    Nothing,
}

/// The last touch of each outcome, by its place among all.
pub type Found = Vec<Option<PastTouch>>;

/// Some outcomes that seek their last touch of one kind.
pub struct Seekers<'a> {
    outcomes: &'a [PastOutcome],
    window_us: i64,
    state: FixedState,
    /// Places of outcomes by the hash of viewer and account.
    by_hash: Map<u64, Vec<usize>>,
    /// Bits of the hashes that there are: most touches are nobody's, and are passed over by one look.
    sieve: Vec<u64>,
    /// How far a hash is shifted to its bit.
    shift: u32,
    first_us: i64,
    last_us: i64,
}

impl<'a> Seekers<'a> {
    /// Returns the outcomes at these places as seekers of touches that are no older than a window.
    pub fn of(outcomes: &'a [PastOutcome], places: &[usize], window_us: i64) -> Self {
        let bits = (places.len() * SIEVE_BITS).next_power_of_two().max(64);
        let mut seekers = Self {
            outcomes,
            window_us,
            state: FixedState::default(),
            by_hash: Map::default(),
            sieve: vec![0; bits / 64],
            shift: u64::BITS - bits.trailing_zeros(),
            first_us: i64::MAX,
            last_us: i64::MIN,
        };
        for &place in places {
            let outcome = &outcomes[place];
            let hash = seekers.hash(&outcome.viewer, outcome.account);
            let bit = (hash >> seekers.shift) as usize;
            seekers.sieve[bit / 64] |= 1 << (bit % 64);
            seekers.by_hash.entry(hash).or_default().push(place);
            seekers.first_us = seekers.first_us.min(outcome.event_us.saturating_sub(window_us));
            seekers.last_us = seekers.last_us.max(outcome.event_us);
        }
        seekers
    }

    /// Tells whether any of them may be credited to a touch between two moments, both included.
    pub const fn want(&self, first_us: i64, last_us: i64) -> bool {
        first_us <= self.last_us && self.first_us <= last_us
    }

    /// Keeps a touch for the outcomes that it is the last one of.
    pub fn meet(&self, found: &mut Found, viewer: &str, account: u64, touch: PastTouch) {
        let hash = self.hash(viewer, account);
        let bit = (hash >> self.shift) as usize;
        if self.sieve[bit / 64] >> (bit % 64) & 1 == 0 {
            return;
        }
        for &place in self.by_hash.get(&hash).into_iter().flatten() {
            let outcome = &self.outcomes[place];
            let age_us = outcome.event_us.saturating_sub(touch.event_us);
            let is_theirs = outcome.account == account && outcome.viewer == viewer;
            if is_theirs && (0..=self.window_us).contains(&age_us) {
                found[place] = found[place].max(Some(touch));
            }
        }
    }

    fn hash(&self, viewer: &str, account: u64) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(viewer.as_bytes());
        hasher.write_u64(account);
        hasher.finish()
    }
}

/// Joins what several readers have found, each in a part of the touches.
pub fn latest(mut one: Found, other: &Found) -> Found {
    one.iter_mut().zip(other).for_each(|(one, other)| *one = (*one).max(*other));
    one
}

/// Returns the places of outcomes that no tap was found for.
pub fn without_tap(taps: &Found) -> Vec<usize> {
    (0..taps.len()).filter(|place| taps[*place].is_none()).collect()
}

/// Returns what each outcome is credited to.
pub fn credited(taps: &Found, views: &Found) -> Vec<Credited> {
    let credit = |(tap, view): (&Option<PastTouch>, &Option<PastTouch>)| match (tap, view) {
        (Some(tap), _) => Credited::Tap(*tap),
        (None, Some(view)) => Credited::View(*view),
        (None, None) => Credited::Nothing,
    };
    taps.iter().zip(views).map(credit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A touch as a file has it: whether it is a tap, viewer, account, moment and ad.
    type Told = (bool, String, u64, PastTouch);

    fn find(outcomes: &[PastOutcome], touches: &[Told]) -> Vec<Credited> {
        let all: Vec<usize> = (0..outcomes.len()).collect();
        let pass = |places: &[usize], is_tap: bool, window_us| {
            let seekers = Seekers::of(outcomes, places, window_us);
            // Two readers, each with every other touch.
            let part = |parity: usize| {
                let mut found = vec![None; outcomes.len()];
                let of_kind = touches.iter().filter(|touch| touch.0 == is_tap);
                for (_, viewer, account, touch) in of_kind.skip(parity).step_by(2) {
                    seekers.meet(&mut found, viewer, *account, *touch);
                }
                found
            };
            latest(part(0), &part(1))
        };
        let taps = pass(&all, true, TAP_WINDOW_US);
        let views = pass(&without_tap(&taps), false, VIEW_WINDOW_US);
        credited(&taps, &views)
    }

    /// The slow, obvious twin: for each outcome all touches are looked at.
    fn plain(outcomes: &[PastOutcome], touches: &[Told]) -> Vec<Credited> {
        let last = |outcome: &PastOutcome, is_tap: bool, window_us: i64| {
            let theirs = touches.iter().filter(|(tap, viewer, account, touch)| {
                *tap == is_tap
                    && *viewer == outcome.viewer
                    && *account == outcome.account
                    && touch.event_us <= outcome.event_us
                    && outcome.event_us - touch.event_us <= window_us
            });
            theirs.map(|(_, _, _, touch)| *touch).max_by_key(|touch| (touch.event_us, touch.ad))
        };
        let credit = |outcome| {
            let view = || last(outcome, false, VIEW_WINDOW_US).map(Credited::View);
            last(outcome, true, TAP_WINDOW_US).map(Credited::Tap).or_else(view)
        };
        outcomes.iter().map(|outcome| credit(outcome).unwrap_or(Credited::Nothing)).collect()
    }

    #[test]
    fn random_histories_are_credited_as_the_plain_twin_does() {
        let mut kinds = [0; 3];
        for seed in 0..2_000_u64 {
            let mut state = seed;
            let mut roll = |end: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % end
            };
            // A few moments, a quarter of a day apart, so that windows end exactly and moments repeat.
            let moment =
                |roll: &mut dyn FnMut(u64) -> u64| (roll(40) * 6 * 3_600_000_000 + roll(2)) as i64;
            let outcomes: Vec<_> = (0..roll(6))
                .map(|number| PastOutcome {
                    event_id: number.to_string(),
                    viewer: format!("v{}", roll(3)),
                    account: 1 + roll(2),
                    event_us: moment(&mut roll),
                    ..PastOutcome::default()
                })
                .collect();
            let touches: Vec<Told> = (0..roll(30))
                .map(|_| {
                    let (viewer, account) = (format!("v{}", roll(3)), 1 + roll(2));
                    let touch = PastTouch { event_us: moment(&mut roll), ad: roll(9) };
                    (roll(4) == 0, viewer, account, touch)
                })
                .collect();
            let found = find(&outcomes, &touches);
            assert_eq!(found, plain(&outcomes, &touches), "seed {seed}");
            for credit in found {
                kinds[match credit {
                    Credited::Tap(_) => 0,
                    Credited::View(_) => 1,
                    Credited::Nothing => 2,
                }] += 1;
            }
        }
        assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}");
    }

    #[test]
    fn only_the_time_that_counts_is_wanted() {
        let outcome = PastOutcome { event_us: TAP_WINDOW_US, ..PastOutcome::default() };
        let outcomes = [outcome];
        let seekers = Seekers::of(&outcomes, &[0], VIEW_WINDOW_US);
        let first = TAP_WINDOW_US - VIEW_WINDOW_US;
        assert!(seekers.want(0, first) && seekers.want(TAP_WINDOW_US, i64::MAX));
        assert!(!seekers.want(0, first - 1) && !seekers.want(TAP_WINDOW_US + 1, i64::MAX));
        assert!(!Seekers::of(&outcomes, &[], VIEW_WINDOW_US).want(0, 1));
    }
}
