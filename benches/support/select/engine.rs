//! The engine's index, as the bench sees it: the only file that knows its interface.

use std::sync::atomic::{AtomicBool, Ordering};

use munadi::decide::auction::value_of;
use munadi::decide::board::{Board, Rates};
use munadi::state::catalog::Catalog;
use munadi::types::proto::v1::BillingEvent;

use crate::support::select::Method;
use crate::support::select::facts::ad_id;
use crate::support::select::scan::Scan;
use crate::support::select::spec::{Billing, MULTIPLIER_ONE, Query, Spec};
use crate::support::select::worth::{Best, Worth};

/// Returns what 1,000 impressions of an ad are worth before pacing, micros.
pub(crate) fn unpaced(spec: &Spec) -> i64 {
    let billing = match spec.billing {
        Billing::Impressions => BillingEvent::Impressions,
        Billing::Taps => BillingEvent::LinkClicks,
        Billing::Chats => BillingEvent::Conversations,
    };
    value_of(billing, spec.bid, Rates::learned([0; 3]))
}

/// Returns what is left of a value under a pacing multiplier, micros.
pub(crate) fn paced(value: i64, multiplier: u32) -> i64 {
    (i128::from(value) * i128::from(multiplier) / i128::from(MULTIPLIER_ONE)) as i64
}

/// Returns the board of ads with enough money, their multipliers as they are before the index is built.
pub(crate) fn board(_specs: &[Spec]) -> Board {
    Board::default()
}

/// Sets the multipliers that hold when ads are asked for.
pub(crate) fn pace(_board: &Board, _specs: &[Spec]) {}

/// A viewer's request as the door hands it on.
pub(crate) struct Request {
    query: Query,
}

impl Request {
    /// Returns the request of a viewer.
    pub(crate) fn of(query: &Query) -> Self {
        Self { query: query.clone() }
    }
}

/// What readers and the writer of an index share.
pub(crate) type Shared = ();

/// The index with what one thread keeps from one request to the next.
pub(crate) struct Engine {
    scan: Scan,
    worth: Worth,
    found: Vec<u32>,
    best: Vec<(u64, i64)>,
}

impl Engine {
    /// Builds the index of a catalog's live ads.
    pub(crate) fn build(_catalog: &Catalog, _board: &Board, specs: &[Spec]) -> Self {
        let (scan, worth) = (Scan::build(specs), Worth::of(specs));
        Self { scan, worth, found: Vec::new(), best: Vec::new() }
    }

    /// Returns what changes reach the index by.
    pub(crate) fn shared(&self) -> Shared {}

    /// Returns the best `most` ads for a viewer with their total values, the best first.
    pub(crate) fn top(&mut self, _board: &Board, request: &Request, most: usize) -> &[(u64, i64)] {
        let query = &request.query;
        self.found.clear();
        std::hint::black_box(query.roll);
        self.scan.matches(query, &mut self.found);
        let mut best = Best::new(most);
        self.found.iter().for_each(|index| best.offer(*index, self.worth.total(*index)));
        self.best.clear();
        let sorted = best.drain_sorted().into_iter();
        self.best.extend(sorted.map(|(index, total)| (ad_id(index as usize), total)));
        &self.best
    }
}

/// What was changed while ads were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Churn {
    /// Single changes that were shown to readers.
    pub(crate) updates: u64,
    /// Whole indexes that were built and put in place.
    pub(crate) rebuilds: u64,
}

/// Changes 1,000 ads a second, and builds the index anew all the while, until it is told to stop.
pub(crate) fn churn(
    _index: &Shared,
    catalog: &Catalog,
    board: &Board,
    specs: &[Spec],
    stop: &AtomicBool,
) -> Churn {
    let mut churn = Churn::default();
    while !stop.load(Ordering::Relaxed) {
        std::hint::black_box(Engine::build(catalog, board, specs));
        churn.rebuilds += 1;
    }
    churn
}
