//! Who may pay for conversations: looked at once a minute, and shown to serving on the board.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::openings::{NORM_DAYS, Share, issue_of, share_of, usual};
use crate::node::live::Live;
use crate::state::CHUNKS_MAX;
use crate::state::catalog::Catalog;
use crate::state::desks::Told;
use crate::types::proto::v1::{AdSet, AdSetIssue, BillingEvent};
use crate::types::time::{DAY_MS, Moment};

/// The ad sets that are written to be billed by conversations, and the minute of the last look.
#[derive(Debug, Default)]
pub(in crate::node) struct Openings {
    ad_sets: BTreeSet<u64>,
    minute: Option<u32>,
}

impl Openings {
    /// Returns those of a catalog; the first look judges them.
    pub(in crate::node) fn of(catalog: &Catalog) -> Self {
        let mut openings = Self::default();
        for row in catalog.ad_sets.after(0) {
            openings.note(&row);
        }
        openings
    }

    /// Takes a written ad set. What it is billed by never changes.
    pub(in crate::node) fn note(&mut self, row: &AdSet) {
        if row.billing_event() == BillingEvent::Conversations {
            self.ad_sets.insert(row.id);
        }
    }

    /// Judges every ad set once a minute. Tokens that are out keep what they say.
    pub(in crate::node) fn look(&mut self, live: &Live, now: Moment) {
        if self.minute == Some(now.minute()) || self.ad_sets.is_empty() {
            return;
        }
        self.minute = Some(now.minute());
        let issues = issues(live, now);
        let catalog = live.catalog();
        for ad_set in &self.ad_sets {
            let endpoints = catalog.ads_of_ad_set(*ad_set).filter_map(|ad| catalog.family(ad));
            let mut found = endpoints.filter_map(|family| issues.get(&family.endpoint).copied());
            live.board.set_issue(*ad_set, found.next().unwrap_or_default());
        }
    }
}

/// Returns the endpoints with an issue. Thousands of locks that nobody holds, and a look at each endpoint that was
/// ever tapped.
fn issues(live: &Live, now: Moment) -> BTreeMap<u64, AdSetIssue> {
    let today = now.0.div_euclid(DAY_MS).max(0) as u32;
    let since = today.saturating_sub(NORM_DAYS);
    let mut told: Vec<(u64, Told, Told)> = Vec::new();
    for chunk in 0..CHUNKS_MAX {
        let desks = live.desks_at(chunk);
        told.extend(desks.desks.iter().map(|(id, desk)| (*id, desk.told, desk.told_since(since))));
    }
    let catalog = live.catalog();
    let channel = |endpoint| catalog.endpoints.get(endpoint).map_or(0, |row| row.channel);
    let mut shares: BTreeMap<i32, Vec<Share>> = BTreeMap::new();
    for (endpoint, _, week) in &told {
        if let Some(share) = share_of(week) {
            shares.entry(channel(*endpoint)).or_default().push(share);
        }
    }
    let usual_of: BTreeMap<i32, Share> =
        shares.into_iter().map(|(channel, shares)| (channel, usual(shares))).collect();
    let mut issues = BTreeMap::new();
    for (endpoint, ever, week) in told {
        // Only a busy endpoint is compared with its channel.
        let busy = share_of(&week).is_some();
        let usual = if busy { usual_of.get(&channel(endpoint)).copied() } else { None };
        let issue = issue_of(&ever, &week, usual.unwrap_or_default());
        if issue != AdSetIssue::Unspecified {
            issues.insert(endpoint, issue);
        }
    }
    issues
}
