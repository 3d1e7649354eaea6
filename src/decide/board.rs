//! What serving reads of the money without waiting: left and held by budget line, action rates by ad.
//!
//! The writer stores, doors load. The only atomics of the pure rooms: a stale read costs an ad shown
//! beyond its budget, which is ours to bear and is counted; it never costs a charge.

mod line;

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crate::decide::rates::Factors;
pub use crate::decide::rates::Rates;
use crate::state::totals::{PLACEMENTS, placement_slot};
use crate::state::{CHUNKS_MAX, PER_CHUNK, chunk_of};
use crate::types::ids::number_of;
use crate::types::proto::v1::{AdSetIssue, Placement};
use crate::types::time::Moment;

pub use line::{HOLD_MINUTES, Line};

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

/// A multiplier of 1: multipliers are parts of this. The finest step is a thousand-millionth, since a
/// ceiling that the engine gives itself may be far above what is needed.
pub const MULTIPLIER_ONE: u32 = 1 << 30;

/// What an ad's row was built with, and what it is worth now.
#[derive(Debug, Default)]
struct AdCell {
    /// From the highest bits: tap, chat, viewable and sale rate.
    rates: AtomicU64,
    /// The highest rates that the bound of its row allows for, packed alike. 0: it has no row.
    ceilings: AtomicU64,
    /// Hide rate above epoch.
    state: AtomicU32,
}

/// The bit of an ad set whose schedule is closed.
const CLOSED: u32 = 1 << 31;

#[derive(Debug, Default)]
struct PaceCell {
    /// What is taken off a multiplier of 1, so that a new cell paces nothing; the highest bit: closed.
    off: AtomicU32,
    /// The highest multiplier that the bounds of the ad set's rows allow for; 0: it has no rows.
    ceiling: AtomicU32,
    /// The multiplier that waits for rows whose bounds allow for it; 0: none does.
    wanted: AtomicU32,
    /// An [`AdSetIssue`] for which conversations are billed by tap; 0: there is none.
    issue: AtomicU32,
}

/// What serving reads of one ad, in one look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AdNow {
    /// Its predicted action rates.
    pub rates: Rates,
    /// How often viewers hide or report it once seen, in 1/65,535.
    pub hide: u16,
    /// The epoch of its live row; 0: it has none.
    pub epoch: u16,
}

impl AdNow {
    /// Returns the same with its rates in a placement.
    pub const fn in_placement(self, factors: Factors) -> Self {
        Self { rates: self.rates.in_placement(factors), ..self }
    }
}

/// The lines that a charge draws on, by the numbers of account, campaign and ad set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LineNumbers(pub [u32; 3]);

/// Everything serving reads that the writer keeps up to date.
#[derive(Debug, Default)]
pub struct Board {
    accounts: Cells<Line>,
    campaigns: Cells<Line>,
    ad_sets: Cells<Line>,
    paces: Cells<PaceCell>,
    ads: Cells<AdCell>,
    /// By placement: what is taken off factors of 1, so that a new board takes nothing off.
    placements: [AtomicU32; PLACEMENTS],
}

impl Board {
    /// Returns an account's line. Takes an id or its number, as all of these do.
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

    /// Returns the lines that a charge draws on.
    pub fn lines(&self, LineNumbers([account, campaign, ad_set]): LineNumbers) -> [&Line; 3] {
        let (account, campaign) = (self.account(account.into()), self.campaign(campaign.into()));
        [account, campaign, self.ad_set(ad_set.into())]
    }

    /// Returns what all of these lines have free, micros.
    pub fn free(&self, numbers: LineNumbers, now: Moment) -> i64 {
        self.lines(numbers).iter().map(|line| line.free(now)).min().unwrap_or_default()
    }

    /// Stores an ad's predicted rates and how often it is hidden; tells whether they have outgrown the
    /// bound of its row, which must then be built anew.
    pub fn set_rates(&self, ad: u64, rates: Rates, hide: u16) -> bool {
        let cell = self.ads.at(ad);
        let epoch = cell.state.load(Relaxed) & EPOCH_MASK;
        // The writer alone stores here, so nothing comes between.
        cell.state.store(u32::from(hide) << 16 | epoch, Release);
        cell.rates.store(pack_rates(rates), SeqCst);
        self.outgrown(ad)
    }

    /// Tells whether an ad's rates are above those that its row was built for.
    pub fn outgrown(&self, ad: u64) -> bool {
        let cell = self.ads.at(ad);
        // Whoever stores one and then reads the other sees what the other side stored, or is seen by it.
        let rates = unpack_rates(cell.rates.load(SeqCst));
        let ceilings = cell.ceilings.load(SeqCst);
        ceilings != 0 && rates.above(unpack_rates(ceilings))
    }

    /// Returns what is known of an ad now.
    pub fn ad(&self, ad: u64) -> AdNow {
        let cell = self.ads.at(ad);
        let state = cell.state.load(Acquire);
        let (hide, epoch) = ((state >> 16) as u16, state as u16);
        AdNow { rates: unpack_rates(cell.rates.load(Relaxed)), hide, epoch }
    }

    /// Stores what rates in a placement are of those in the best one.
    pub fn set_factors(&self, placement: Placement, Factors { tap, viewable }: Factors) {
        let off = |factor: u16| u32::from(u16::MAX - factor);
        let cell = &self.placements[placement_slot(placement as u32)];
        cell.store(off(tap) << 16 | off(viewable), Relaxed);
    }

    /// Returns what rates in a placement are of those in the best one.
    pub fn factors(&self, placement: Placement) -> Factors {
        let off = self.placements[placement_slot(placement as u32)].load(Relaxed);
        Factors { tap: u16::MAX - (off >> 16) as u16, viewable: u16::MAX - off as u16 }
    }

    /// Makes the rows of this epoch the ad's live ones; 0: none is.
    pub fn set_epoch(&self, ad: u64, epoch: u16) {
        let cell = self.ads.at(ad);
        let hide = cell.state.load(Relaxed) & !EPOCH_MASK;
        cell.state.store(hide | u32::from(epoch), Release);
    }

    /// Stores the highest rates that the bounds of an ad's rows allow for: all of them are new.
    pub fn set_ceilings(&self, ad: u64, ceilings: Rates) {
        self.ads.at(ad).ceilings.store(pack_rates(ceilings), SeqCst);
    }

    /// Notes that some of an ad's rows were built anew for these rates: the lowest count.
    pub fn lower_ceilings(&self, ad: u64, ceilings: Rates) {
        let lowest = |known| {
            let lower = if known == 0 { ceilings } else { unpack_rates(known).least(ceilings) };
            Some(pack_rates(lower))
        };
        // The closure always gives a value, so this cannot fail.
        let _ = self.ads.at(ad).ceilings.fetch_update(SeqCst, SeqCst, lowest);
    }

    /// Stores an ad set's pacing multiplier, at most [`MULTIPLIER_ONE`]. One above its rows' ceiling is for
    /// [`Board::want_multiplier`].
    pub fn set_multiplier(&self, ad_set: u64, multiplier: u32) {
        let cell = self.paces.at(ad_set);
        let closed = cell.off.load(Relaxed) & CLOSED;
        // The writer alone stores here, so nothing comes between.
        cell.off.store(MULTIPLIER_ONE.saturating_sub(multiplier) | closed, SeqCst);
        cell.wanted.store(0, SeqCst);
    }

    /// Notes a multiplier that rows of the ad set are to be built for: it counts once they are published.
    pub fn want_multiplier(&self, ad_set: u64, multiplier: u32) {
        self.paces.at(ad_set).wanted.store(multiplier, SeqCst);
    }

    /// Returns the multiplier that rows built now must allow for.
    pub fn multiplier_ahead(&self, ad_set: u64) -> u32 {
        self.multiplier(ad_set).max(self.paces.at(ad_set).wanted.load(SeqCst))
    }

    /// Lets the multiplier count that waited for its rows, if one did.
    pub fn settle_multiplier(&self, ad_set: u64) {
        match self.paces.at(ad_set).wanted.load(SeqCst) {
            0 => {}
            wanted => self.set_multiplier(ad_set, wanted),
        }
    }

    /// Returns an ad set's pacing multiplier.
    pub fn multiplier(&self, ad_set: u64) -> u32 {
        MULTIPLIER_ONE - (self.paces.at(ad_set).off.load(Relaxed) & !CLOSED)
    }

    /// Stores whether an ad set's own schedule keeps it from being served now.
    pub fn set_closed(&self, ad_set: u64, is_closed: bool) {
        let cell = self.paces.at(ad_set);
        let off = cell.off.load(Relaxed) & !CLOSED;
        cell.off.store(off | if is_closed { CLOSED } else { 0 }, SeqCst);
    }

    /// Tells whether an ad set's own schedule keeps it from being served now.
    pub fn is_closed(&self, ad_set: u64) -> bool {
        self.paces.at(ad_set).off.load(Relaxed) & CLOSED != 0
    }

    /// Stores why an ad set that pays for conversations is billed by tap; unspecified: it is not.
    pub fn set_issue(&self, ad_set: u64, issue: AdSetIssue) {
        self.paces.at(ad_set).issue.store(issue as u32, Relaxed);
    }

    /// Returns why an ad set that pays for conversations is billed by tap; unspecified: it is not.
    pub fn issue(&self, ad_set: u64) -> AdSetIssue {
        AdSetIssue::try_from(self.paces.at(ad_set).issue.load(Relaxed) as i32).unwrap_or_default()
    }

    /// Stores the highest multiplier that the bounds of an ad set's rows allow for: all of them are new.
    pub fn set_pace_ceiling(&self, ad_set: u64, ceiling: u32) {
        self.paces.at(ad_set).ceiling.store(ceiling, SeqCst);
    }

    /// Notes that some of an ad set's rows were built anew for this multiplier: the lowest counts.
    pub fn lower_pace_ceiling(&self, ad_set: u64, ceiling: u32) {
        let lowest = |known| Some(if known == 0 { ceiling } else { ceiling.min(known) });
        // As above.
        let _ = self.paces.at(ad_set).ceiling.fetch_update(SeqCst, SeqCst, lowest);
    }

    /// Returns the highest multiplier that the bounds of an ad set's rows allow for.
    pub fn pace_ceiling(&self, ad_set: u64) -> u32 {
        self.paces.at(ad_set).ceiling.load(SeqCst)
    }
}

const EPOCH_MASK: u32 = 0xFFFF;

fn pack_rates(Rates { tap, chat, viewable, sale }: Rates) -> u64 {
    u64::from(tap) << 48 | u64::from(chat) << 32 | u64::from(viewable) << 16 | u64::from(sale)
}

const fn unpack_rates(packed: u64) -> Rates {
    if packed == 0 {
        return Rates::NEW;
    }
    Rates {
        tap: (packed >> 48) as u16,
        chat: (packed >> 32) as u16,
        viewable: (packed >> 16) as u16,
        sale: packed as u16,
    }
}

/// Returns the highest multiplier that a row built now allows for: a quarter above this one.
pub fn multiplier_with_room(multiplier: u32) -> u32 {
    (multiplier + multiplier / 4 + 1).min(MULTIPLIER_ONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::money::AMOUNT_MICROS_MAX;
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
    fn the_largest_amount_is_held_whole() {
        let line = Line::default();
        line.set(AMOUNT_MICROS_MAX, i64::MAX);
        line.hold(5, AMOUNT_MICROS_MAX - 7);
        assert_eq!(line.free(Moment(6 * MINUTE_MS)), 7);
        line.release(5, AMOUNT_MICROS_MAX - 7);
        assert_eq!(line.held(Moment(6 * MINUTE_MS)), 0);
    }

    #[test]
    fn holds_lapse_in_their_time_where_the_minutes_begin_anew() {
        let line = Line::default();
        line.set(100, i64::MAX);
        let first = (1 << 14) - 2;
        (0..4).for_each(|after| line.hold(first + after, 1));
        let held = |after: u32| line.held(Moment(i64::from(first + after) * MINUTE_MS));
        assert_eq!([3, 15, 16, 18, 19].map(held), [4, 4, 3, 1, 0]);
        line.release(first, 1);
        assert_eq!(held(3), 3, "of a minute before that");
    }

    #[test]
    fn a_line_that_was_never_granted_gives_nothing() {
        assert_eq!(Line::default().free(Moment(0)), 0);
    }

    #[test]
    fn an_ad_outgrows_its_row_when_a_rate_does() {
        let board = Board::default();
        let rates = |tap, chat| Rates { tap, chat, ..Rates::NEW };
        assert!(!board.set_rates(7, rates(60_000, 60_000), 0), "it has no row");
        let low = rates(400, 1_000);
        board.set_rates(7, low, 3);
        board.set_epoch(7, 9);
        board.set_ceilings(7, low);
        assert_eq!(board.ad(7), AdNow { rates: low, hide: 3, epoch: 9 });
        assert!(!board.set_rates(7, rates(400, 999), 0));
        assert!(board.set_rates(7, rates(401, 1_000), 0));
        assert_eq!(board.ad(7).epoch, 9);
    }

    #[test]
    fn a_placement_takes_nothing_off_until_it_is_told_to() {
        let board = Board::default();
        assert_eq!(board.factors(Placement::Feed), Factors::ONE);
        let half = Factors { tap: 32_768, viewable: 1 };
        board.set_factors(Placement::Feed, half);
        assert_eq!(board.factors(Placement::Feed), half);
        assert_eq!(board.factors(Placement::Status), Factors::ONE);
    }

    #[test]
    fn an_ad_set_paces_nothing_until_it_is_told_to() {
        let board = Board::default();
        assert_eq!(board.multiplier(3), MULTIPLIER_ONE);
        board.set_pace_ceiling(3, multiplier_with_room(6_554));
        assert_eq!(board.pace_ceiling(3), 8_193);
        board.set_multiplier(3, 8_193);
        board.want_multiplier(3, 9_000);
        assert_eq!((board.multiplier(3), board.multiplier_ahead(3)), (8_193, 9_000));
        board.settle_multiplier(3);
        assert_eq!((board.multiplier(3), board.multiplier_ahead(3)), (9_000, 9_000));
    }
}
