//! What one budget has left and what is held of it. Its atomics are those of the file above: the machine's, or ones
//! whose turns a test chooses.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::{AtomicI64, AtomicU64, OnceLock};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::request::SHOW_BY_S_MAX;
use crate::types::time::Moment;

/// Minutes for which an unseen ad's price stays held: the longest `show_by`, and one.
pub const HOLD_MINUTES: u32 = 16;

const _: () = assert!(HOLD_MINUTES * 60 > SHOW_BY_S_MAX as u32);

/// Bits of the amount in one cell of a hold ring, for the largest there is; above them is the minute, which comes
/// again after eleven days.
const AMOUNT_BITS: u32 = 50;
const AMOUNT_MAX: u64 = (1 << AMOUNT_BITS) - 1;
const MINUTE_MASK: u64 = (1 << (u64::BITS - AMOUNT_BITS)) - 1;

const _: () = assert!(AMOUNT_MAX > AMOUNT_MICROS_MAX as u64);

/// One budget as serving sees it.
#[derive(Debug, Default)]
pub struct Line {
    left: AtomicI64,
    until_ms: AtomicI64,
    /// The sum of the ring as of a minute, packed as its cells are: so that serving reads one number.
    sum: AtomicU64,
    /// A ring by minute of issue: 14 bits of minute, 50 bits of micros. A cell of another minute is
    /// void, so holds lapse without anybody clearing them. Made with the first hold: most ad sets spend
    /// their campaign's money and have no limit of their own.
    held: OnceLock<Box<Ring>>,
}

type Ring = [AtomicU64; HOLD_MINUTES as usize];

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

    /// Tells whether the line has a limit.
    pub fn is_limited(&self) -> bool {
        self.left.load(Relaxed) != i64::MAX
    }

    /// Returns what of its limit is neither charged nor held, micros; `None`: it has none, or no grant now.
    pub fn granted(&self, now: Moment) -> Option<i64> {
        let is_granted = self.is_limited() && now.0 < self.until_ms.load(Relaxed);
        is_granted.then(|| self.left.load(Relaxed) - self.held(now))
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
            if age(minute, cell_minute) < u64::from(HOLD_MINUTES) { amount as i64 } else { 0 }
        };
        self.held.get().map_or(0, |ring| ring.iter().map(young).sum())
    }

    /// Holds an amount that was issued in this minute. A line without a limit holds nothing.
    pub fn hold(&self, minute: u32, amount: i64) {
        if self.left.load(Relaxed) != i64::MAX {
            self.held.get_or_init(Box::default);
            self.change(minute, |held| held.saturating_add(amount.max(0) as u64));
        }
    }

    /// Gives back an amount that was issued in this minute, if its cell still stands.
    pub fn release(&self, minute: u32, amount: i64) {
        self.change(minute, |held| held.saturating_sub(amount.max(0) as u64));
    }

    /// Sums the ring anew as of the minute that was last summed, or a later one.
    fn note_sum(&self, minute: u64) {
        let mut known = self.sum.load(Acquire);
        loop {
            let last = unpack(known).0;
            let is_later = age(last, minute) < u64::from(HOLD_MINUTES);
            let minute = if is_later { last } else { minute };
            let sum = (self.sum_at(minute) as u64).min(AMOUNT_MAX);
            let packed = minute << AMOUNT_BITS | sum;
            // Whoever changed the ring meanwhile may have seen more of it: its sum is not written over.
            match self.sum.compare_exchange(known, packed, AcqRel, Acquire) {
                Ok(_) => return,
                Err(newer) => known = newer,
            }
        }
    }

    fn change(&self, minute: u32, by: impl Fn(u64) -> u64) {
        let Some(ring) = self.held.get() else { return };
        let cell = &ring[(minute % HOLD_MINUTES) as usize];
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

/// Returns how many minutes after another one a minute is.
const fn age(minute: u64, earlier: u64) -> u64 {
    minute.wrapping_sub(earlier) & MINUTE_MASK
}
