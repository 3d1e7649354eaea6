//! What serving reads of the money without waiting: left and held by budget line, action rates by ad.
//!
//! The writer stores, doors load. The only atomics of the pure rooms: a stale read costs an ad shown
//! beyond its budget, which is ours to bear and is counted; it never costs a charge.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::decide::shelf::Row;
use crate::state::{CHUNKS_MAX, PER_CHUNK, chunk_of};
use crate::types::ids::number_of;
use crate::types::request::SHOW_BY_S_MAX;
use crate::types::time::Moment;

/// Minutes for which an unseen ad's price stays held: the longest `show_by`, and one.
pub const HOLD_MINUTES: u32 = 16;

const _: () = assert!(HOLD_MINUTES * 60 > SHOW_BY_S_MAX as u32);

/// Bits of the amount in one cell of a hold ring; above them is the minute.
const AMOUNT_BITS: u32 = 40;
const AMOUNT_MAX: u64 = (1 << AMOUNT_BITS) - 1;
const MINUTE_MASK: u64 = (1 << (u64::BITS - AMOUNT_BITS)) - 1;

/// One budget as serving sees it.
#[derive(Debug, Default)]
pub struct Line {
    left: AtomicI64,
    until_ms: AtomicI64,
    /// A ring by minute of issue: 24 bits of minute, 40 bits of micros. A cell of another minute is
    /// void, so holds lapse without anybody clearing them.
    held: [AtomicU64; HOLD_MINUTES as usize],
    /// The sum of the ring as of a minute, packed as its cells are: so that serving reads one number.
    sum: AtomicU64,
}

impl Line {
    /// Stores what may still be charged until a moment.
    pub fn set(&self, left: i64, until_ms: i64) {
        self.left.store(left, Relaxed);
        self.until_ms.store(until_ms, Relaxed);
    }

    /// Returns what is neither charged nor held, micros; 0 when the grant has ended.
    pub fn free(&self, now: Moment) -> i64 {
        let left = self.left.load(Relaxed);
        if left == i64::MAX {
            return left;
        }
        if now.0 >= self.until_ms.load(Relaxed) { 0 } else { left - self.held(now) }
    }

    /// Returns what is held for ads not seen yet, micros.
    pub fn held(&self, now: Moment) -> i64 {
        let (minute, sum) = unpack(self.sum.load(Relaxed));
        if minute == u64::from(now.minute()) & MINUTE_MASK && minute != 0 {
            return sum as i64;
        }
        self.sum_at(u64::from(now.minute()))
    }

    fn sum_at(&self, minute: u64) -> i64 {
        let young = |cell: &AtomicU64| {
            let (cell_minute, amount) = unpack(cell.load(Relaxed));
            let age = (minute & MINUTE_MASK).wrapping_sub(cell_minute) & MINUTE_MASK;
            if age < u64::from(HOLD_MINUTES) { amount as i64 } else { 0 }
        };
        self.held.iter().map(young).sum()
    }

    /// Holds an amount that was issued in this minute.
    pub fn hold(&self, minute: u32, amount: i64) {
        self.change(minute, |held| held.saturating_add(amount.max(0) as u64));
    }

    /// Gives back an amount that was issued in this minute, if its cell still stands.
    pub fn release(&self, minute: u32, amount: i64) {
        self.change(minute, |held| held.saturating_sub(amount.max(0) as u64));
    }

    /// Sums the ring anew as of the minute that was last summed, or a later one.
    fn note_sum(&self, minute: u64) {
        let minute = minute.max(unpack(self.sum.load(Relaxed)).0);
        let sum = (self.sum_at(minute) as u64).min(AMOUNT_MAX);
        self.sum.store(minute << AMOUNT_BITS | sum, Relaxed);
    }

    fn change(&self, minute: u32, by: impl Fn(u64) -> u64) {
        let cell = &self.held[(minute % HOLD_MINUTES) as usize];
        let minute = u64::from(minute) & MINUTE_MASK;
        let update = |packed| {
            let (cell_minute, amount) = unpack(packed);
            let held = if cell_minute == minute { amount } else { 0 };
            Some((minute << AMOUNT_BITS) | by(held).min(AMOUNT_MAX))
        };
        // The closure always gives a value, so this cannot fail.
        let _ = cell.fetch_update(Relaxed, Relaxed, update);
        self.note_sum(minute);
    }
}

const fn unpack(packed: u64) -> (u64, u64) {
    (packed >> AMOUNT_BITS, packed & AMOUNT_MAX)
}

/// Cells by number, in chunks that are made when first used.
#[derive(Debug)]
struct Cells<T>(Box<[OnceLock<Box<[T]>>]>);

impl<T: Default> Default for Cells<T> {
    fn default() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(CHUNKS_MAX).collect())
    }
}

impl<T: Default> Cells<T> {
    fn at(&self, id: u64) -> &T {
        let make = || std::iter::repeat_with(T::default).take(PER_CHUNK as usize).collect();
        let chunk = self.0[chunk_of(id)].get_or_init(make);
        &chunk[(number_of(id) % PER_CHUNK) as usize]
    }
}

/// Everything serving reads that the writer keeps up to date.
#[derive(Debug, Default)]
pub struct Board {
    accounts: Cells<Line>,
    campaigns: Cells<Line>,
    ad_sets: Cells<Line>,
    rates: Cells<AtomicU32>,
}

impl Board {
    /// Returns an account's line.
    pub fn account(&self, id: u64) -> &Line {
        self.accounts.at(id)
    }

    /// Returns a campaign's line.
    pub fn campaign(&self, id: u64) -> &Line {
        self.campaigns.at(id)
    }

    /// Returns an ad set's line.
    pub fn ad_set(&self, id: u64) -> &Line {
        self.ad_sets.at(id)
    }

    /// Returns the lines that a charge for this row draws on.
    pub fn lines(&self, row: &Row) -> [&Line; 3] {
        [self.account(row.account), self.campaign(row.campaign), self.ad_set(row.ad_set)]
    }

    /// Returns what all lines of a row have free, micros.
    pub fn free(&self, row: &Row, now: Moment) -> i64 {
        self.lines(row).iter().map(|line| line.free(now)).min().unwrap_or_default()
    }

    /// Stores an ad's predicted rates.
    pub fn set_rates(&self, ad: u64, rates: Rates) {
        self.rates.at(ad).store(u32::from(rates.tap) << 16 | u32::from(rates.chat), Relaxed);
    }

    /// Returns an ad's predicted rates.
    pub fn rates(&self, ad: u64) -> Rates {
        match self.rates.at(ad).load(Relaxed) {
            0 => Rates::learned([0; 3]),
            packed => Rates { tap: (packed >> 16) as u16, chat: packed as u16 },
        }
    }
}

/// Predicted action rates in 1/65,535: of a tap once seen, of a conversation once tapped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Taps per impression.
    pub tap: u16,
    /// Conversations per tap.
    pub chat: u16,
}

/// Impressions that the prior tap rate weighs as much as. Ours: large enough that a new ad's first
/// taps don't decide its fate.
const PRIOR_IMPRESSIONS: u64 = 400;
/// Taps in those: 1 %.
const PRIOR_TAPS: u64 = 4;
/// Taps that the prior chat rate weighs as much as.
const PRIOR_OPENED_TAPS: u64 = 20;
/// Conversations in those: 40 %.
const PRIOR_CONVERSATIONS: u64 = 8;

impl Rates {
    /// Returns the Bayesian averages of an ad's impressions, taps and conversations.
    pub fn learned([impressions, taps, conversations]: [u64; 3]) -> Self {
        Self {
            tap: rate(taps + PRIOR_TAPS, impressions + PRIOR_IMPRESSIONS),
            chat: rate(conversations + PRIOR_CONVERSATIONS, taps + PRIOR_OPENED_TAPS),
        }
    }
}

fn rate(part: u64, whole: u64) -> u16 {
    (part * u64::from(u16::MAX) / whole).clamp(1, u64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::MINUTE_MS;

    #[test]
    fn a_hold_lapses_when_its_ad_can_no_longer_be_seen() {
        let line = Line::default();
        line.set(100, i64::MAX);
        line.hold(5, 30);
        line.hold(6, 10);
        assert_eq!(line.free(Moment(6 * MINUTE_MS)), 60);
        assert_eq!(line.free(Moment(21 * MINUTE_MS)), 90);
        assert_eq!(line.free(Moment(22 * MINUTE_MS)), 100);
    }

    #[test]
    fn a_release_takes_from_its_own_minute_only() {
        let line = Line::default();
        line.hold(5, 30);
        line.release(5, 50);
        line.hold(6, 10);
        line.release(22, 10);
        assert_eq!(line.held(Moment(7 * MINUTE_MS)), 0, "minute 22 shares the cell of minute 6");
    }

    #[test]
    fn a_line_that_was_never_granted_gives_nothing() {
        assert_eq!(Line::default().free(Moment(0)), 0);
    }

    #[test]
    fn rates_start_at_the_prior_and_follow_the_counts() {
        let share = |rate: u16| f64::from(rate) / 65_535.0;
        assert!((share(Rates::learned([0; 3]).tap) - 0.01).abs() < 1e-3);
        assert!((share(Rates::learned([40_000, 4_000, 400]).tap) - 0.1).abs() < 2e-3);
        assert!((share(Rates::learned([40_000, 4_000, 400]).chat) - 0.1).abs() < 2e-3);
    }
}
