//! The one path of serving: targeting, schedule, feedback, caps, distance, budget, score, auction, slots.
//!
//! Written plainly: every live ad of the country is looked at, one after the other. It stays as the
//! oracle of the index.

use std::cmp::Reverse;

use crate::decide::auction::{hold_of, price_of, value_of};
use crate::decide::board::{Board, Rates};
use crate::decide::onlooker::Onlooker;
use crate::decide::shelf::{Row, Shelf};
use crate::decide::slots::places;
use crate::types::dice::Dice;
use crate::types::proto::v1::NoAdReason;
use crate::types::request::{AdRequest, Policy};
use crate::types::time::Moment;

/// Why an ad stayed out of a tray. Counted and reported, never raised as an error. Numbers are
/// journaled: those of `NoAdReason` where it has one, ours from 500.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u16)]
pub enum Skip {
    /// Not for this viewer or placement.
    NotTargeted = 2,
    /// Before its start or after its end.
    OutsideSchedule = 3,
    /// A budget has nothing free.
    BudgetSpent = 4,
    /// The viewer has seen its ad set often enough.
    FrequencyCapped = 5,
    /// The viewer hid the ad or its business.
    HiddenByViewer = 6,
    /// The advertiser or category stands in the tray, or was shown to the viewer just now.
    Separation = 8,
    /// Its value is under the feed's floor.
    BelowFloor = 9,
    /// The viewer's cap record has no room for another ad set.
    CapStateFull = 11,
    /// Others were worth more.
    Outbid = 500,
}

impl Skip {
    /// Every reason, in the order of the path.
    pub const ALL: [Self; 9] = [
        Self::NotTargeted,
        Self::OutsideSchedule,
        Self::HiddenByViewer,
        Self::CapStateFull,
        Self::FrequencyCapped,
        Self::Separation,
        Self::BudgetSpent,
        Self::BelowFloor,
        Self::Outbid,
    ];

    /// Returns how far along the path an ad got: its place in [`Self::ALL`].
    pub const fn stage(self) -> usize {
        match self {
            Self::NotTargeted => 0,
            Self::OutsideSchedule => 1,
            Self::HiddenByViewer => 2,
            Self::CapStateFull => 3,
            Self::FrequencyCapped => 4,
            Self::Separation => 5,
            Self::BudgetSpent => 6,
            Self::BelowFloor => 7,
            Self::Outbid => 8,
        }
    }

    /// Returns the slot's reason when this is how far the best ad for it got.
    const fn of_slot(self) -> NoAdReason {
        match self {
            Self::NotTargeted => NoAdReason::NotTargeted,
            Self::OutsideSchedule => NoAdReason::OutsideSchedule,
            Self::BudgetSpent => NoAdReason::BudgetSpent,
            Self::FrequencyCapped => NoAdReason::FrequencyCapped,
            Self::HiddenByViewer => NoAdReason::HiddenByViewer,
            // An ad that was outbid had a slot to itself unless separation took it.
            Self::Separation | Self::Outbid => NoAdReason::Separation,
            Self::BelowFloor => NoAdReason::BelowFloor,
            Self::CapStateFull => NoAdReason::CapStateFull,
        }
    }
}

/// One ad in one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Its row on the shelf.
    pub row: u32,
    /// Price of one billed event, micros.
    pub price: i64,
    /// The rates that it was valued with.
    pub rates: Rates,
    /// What to hold until it is seen, micros.
    pub hold: i64,
}

/// A filled tray: places in order, each with an ad or the reason for none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tray {
    /// Position and filling.
    pub slots: Vec<(u16, Result<Placed, NoAdReason>)>,
}

/// Counts why rows were passed over. Rows that are never looked at were not targeted.
pub trait Passes {
    /// Notes that a row was passed over.
    fn pass(&mut self, row: u32, skip: Skip);
}

/// Bids that are put in order at once: mostly more than a tray needs, so that the others need none.
const SORTED_FIRST: usize = 64;

#[derive(Clone, Copy)]
struct Bid {
    row: u32,
    value: i64,
    lot: u64,
    rates: Rates,
}

/// Fills a tray.
#[allow(clippy::too_many_arguments, reason = "everything a pure decision depends on is named here")]
pub fn select(
    shelf: &Shelf,
    board: &Board,
    onlooker: &Onlooker,
    policy: &Policy,
    request: &AdRequest,
    now: Moment,
    dice: &mut impl Dice,
    passes: &mut impl Passes,
) -> Tray {
    let places = places(policy, request);
    let wanted = places.iter().filter(|place| place.allowed).count();
    if wanted == 0 {
        let refused =
            |place: &crate::decide::slots::Place| (place.position, Err(NoAdReason::FeedPolicy));
        return Tray { slots: places.iter().map(refused).collect() };
    }
    let mut bids = Vec::new();
    let mut furthest = Skip::NotTargeted;
    for index in shelf.in_country(request.profile.country) {
        let row = &shelf.rows[index as usize];
        match offer(row, board, onlooker, policy, request, now) {
            Ok((value, rates)) => bids.push(Bid { row: index, value, lot: dice.roll(), rates }),
            Err(skip) => {
                if skip.stage() > furthest.stage() {
                    furthest = skip;
                }
                passes.pass(index, skip);
            }
        }
    }
    let winners = separate(shelf, &mut bids, wanted, passes);
    if winners.len() < bids.len() && winners.len() <= wanted {
        furthest = Skip::Separation;
    }
    let empty = if shelf.rows.is_empty() { NoAdReason::NoLiveAds } else { furthest.of_slot() };
    let mut placed = (0..wanted).map(|slot| place(shelf, policy, &winners, slot));
    let fill = |place: &crate::decide::slots::Place| {
        let filling = if place.allowed {
            placed.next().flatten().ok_or(empty)
        } else {
            Err(NoAdReason::FeedPolicy)
        };
        (place.position, filling)
    };
    Tray { slots: places.iter().map(fill).collect() }
}

/// Returns what a row is worth for this viewer now, or why it stays out.
fn offer(
    row: &Row,
    board: &Board,
    onlooker: &Onlooker,
    policy: &Policy,
    request: &AdRequest,
    now: Moment,
) -> Result<(i64, Rates), Skip> {
    // Only rows of the viewer's country are offered.
    if !row.target.matches_at_home(&request.profile, request.placement) {
        return Err(Skip::NotTargeted);
    }
    if now.0 < row.start_ms || now.0 >= row.end_ms {
        return Err(Skip::OutsideSchedule);
    }
    onlooker.admits(&row.passing(), now)?;
    let rates = board.rates(row.ad);
    let value = value_of(row.billing, row.bid, rates);
    // What one showing costs at the most, on the average: a thousandth of what a thousand are worth.
    if board.free(row, now) < (value / 1_000).max(1) {
        return Err(Skip::BudgetSpent);
    }
    if value < policy.floor_cpm_micros.max(1) {
        return Err(Skip::BelowFloor);
    }
    Ok((value, rates))
}

/// Orders the bids by value, equal ones by lot, and returns the best of each advertiser and category:
/// one more than there are slots, since that one sets the last price.
fn separate(shelf: &Shelf, bids: &mut [Bid], wanted: usize, passes: &mut impl Passes) -> Vec<Bid> {
    let order = |bid: &Bid| (Reverse(bid.value), bid.lot);
    if bids.len() > SORTED_FIRST {
        bids.select_nth_unstable_by_key(SORTED_FIRST, order);
    }
    let sorted = bids.len().min(SORTED_FIRST);
    bids[..sorted].sort_unstable_by_key(order);
    let mut best: Vec<Bid> = Vec::with_capacity(wanted + 1);
    for at in 0..bids.len() {
        if at == SORTED_FIRST && best.len() <= wanted {
            bids[at..].sort_unstable_by_key(order);
        }
        let bid = bids[at];
        let row = &shelf.rows[bid.row as usize];
        let clash = best.iter().any(|other| {
            let other = &shelf.rows[other.row as usize];
            // Two ads of one ad set could exceed its cap in one tray, whoever they are of.
            other.business == row.business
                || other.ad_set == row.ad_set
                || (row.category != 0 && other.category == row.category)
        });
        if best.len() > wanted {
            passes.pass(bid.row, Skip::Outbid);
        } else if clash {
            passes.pass(bid.row, Skip::Separation);
        } else {
            best.push(bid);
        }
    }
    if let Some(next) = best.get(wanted) {
        passes.pass(next.row, Skip::Outbid);
    }
    best
}

/// Returns the winner of a slot at the price that the next one sets.
fn place(shelf: &Shelf, policy: &Policy, winners: &[Bid], slot: usize) -> Option<Placed> {
    let bid = winners.get(slot)?;
    let next = winners.get(slot + 1).map_or(policy.floor_cpm_micros, |next| next.value);
    let row = &shelf.rows[bid.row as usize];
    let cpm = next.max(policy.floor_cpm_micros);
    let price = price_of(row.billing, row.bid, bid.rates, cpm);
    let hold = hold_of(row.billing, price, bid.rates);
    Some(Placed { row: bid.row, price, rates: bid.rates, hold })
}
