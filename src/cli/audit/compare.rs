//! The comparison: the recount beside what the node's own fold says.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::cli::audit::recount::{Counts, CreditRow, Recount};
use crate::state::State;
use crate::state::purses::Purse;
use crate::state::tallies::Tally;
use crate::types::proto::journal::v1::LineKind;
use crate::types::time::DAY_MS;

/// The node forgets rows of the attribution stream after this long.
const CREDIT_MEMORY_MS: i64 = 95 * DAY_MS;

/// Returns every difference, in words.
pub(super) fn compare(recount: &Recount, state: &State) -> Vec<String> {
    let mut found = Vec::new();
    ads(recount, state, &mut found);
    invoices(recount, state, &mut found);
    lines(recount, state, &mut found);
    credits(recount, state, &mut found);
    found
}

fn differ<T: Debug + PartialEq>(found: &mut Vec<String>, what: &str, counted: T, node: T) {
    if counted != node {
        found.push(format!("{what}: counted {counted:?}, the node has {node:?}"));
    }
}

fn counts_of(tally: &Tally) -> Counts {
    Counts {
        impressions: tally.impressions,
        viewable: tally.viewable,
        taps: tally.taps,
        conversations: tally.conversations,
        first_replies: tally.first_replies,
        conversions: tally.conversions,
        values: tally.values.clone(),
        spend: tally.spend,
        over_delivered: tally.over_delivered,
    }
}

fn ads(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let mut node = BTreeMap::new();
    let mut totals = BTreeMap::<u64, [u64; 3]>::new();
    for (ad, tally) in state.tallies.iter().flat_map(|chunk| &chunk.ads) {
        totals.insert(*ad, tally.totals.funnel());
        let hours = tally.hours.iter();
        node.extend(hours.map(|(hour, tally)| ((*ad, i64::from(*hour)), counts_of(tally))));
    }
    let mut counted = BTreeMap::<u64, [u64; 3]>::new();
    for ((ad, _), counts) in &recount.ads {
        let sums = counted.entry(*ad).or_default();
        let more = [counts.impressions, counts.taps, counts.conversations];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    for (ad, hour) in keys(&recount.ads, &node) {
        let key = (ad, hour);
        let (ours, theirs) = (recount.ads.get(&key), node.get(&key));
        let what = format!("ad {ad}, hour {hour}");
        differ(
            found,
            &what,
            ours.cloned().unwrap_or_default(),
            theirs.cloned().unwrap_or_default(),
        );
    }
    for ad in keys(&counted, &totals) {
        let (ours, theirs) = (counted.get(&ad), totals.get(&ad));
        let what = format!("ad {ad}, impressions, taps and conversations in all");
        differ(
            found,
            &what,
            ours.copied().unwrap_or_default(),
            theirs.copied().unwrap_or_default(),
        );
    }
}

fn invoices(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let (mut node, mut over_delivered) = (BTreeMap::new(), BTreeMap::new());
    for (account, purse) in purses(state) {
        node.extend(purse.invoices.iter().map(|(day, amount)| ((account, *day), *amount)));
        over_delivered.insert(account, purse.over_delivered);
    }
    for (account, day) in keys(&recount.invoices, &node) {
        let of = |map: &BTreeMap<(u64, i32), i64>| map.get(&(account, day)).copied().unwrap_or(0);
        let what = format!("invoice of account {account}, day {day}, micros");
        differ(found, &what, of(&recount.invoices), of(&node));
    }
    for account in keys(&recount.over_delivered, &over_delivered) {
        let of = |map: &BTreeMap<u64, i64>| map.get(&account).copied().unwrap_or(0);
        let what = format!("account {account}, delivered beyond budgets, micros");
        differ(found, &what, of(&recount.over_delivered), of(&over_delivered));
    }
}

fn lines(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let purses: BTreeMap<u64, &Purse> = purses(state).collect();
    for ((kind, id), book) in &recount.lines {
        let Ok(line_kind) = LineKind::try_from(*kind) else { continue };
        let purse = purses.get(&book.account);
        let line = purse.and_then(|purse| purse.line(line_kind, *id));
        let what = format!("{} {id}", line_kind.as_str_name());
        differ(found, &format!("{what}, life"), book.life, line.map_or(0, |line| line.life));
        // The node keeps the latest days only.
        for (day, amount) in line.iter().flat_map(|line| &line.days) {
            let ours = book.days.get(day).copied().unwrap_or(0);
            differ(found, &format!("{what}, day {day}"), ours, *amount);
        }
        if let Some(grant) = line.and_then(|line| line.current()) {
            let ours = recount.grants.get(&grant.id).map_or(0, |book| book.spent);
            differ(found, &format!("{what}, grant {}", grant.id), ours, grant.spent);
        }
    }
}

fn credits(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let latest = recount.span.map_or(0, |(_, last)| last);
    for (shard, part) in state.shards.iter().enumerate() {
        let ours = &recount.credits[shard];
        let theirs: Vec<_> = part.credits.iter().map(row_of).collect();
        // What the node has forgotten must be old.
        let forgotten = ours.len().saturating_sub(theirs.len());
        let old = |row: &CreditRow| row.at_ms < latest - CREDIT_MEMORY_MS;
        if !ours[..forgotten].iter().all(old) || ours[forgotten..] != theirs {
            let different = ours[forgotten..].iter().zip(&theirs).find(|(a, b)| a != b);
            let what =
                format!("shard {shard}, credits; first that differs {different:?}; how many");
            found.push(format!("{what}: counted {}, the node has {}", ours.len(), theirs.len()));
        }
    }
}

fn row_of(credit: &crate::state::credit::Credit) -> CreditRow {
    CreditRow {
        seq: credit.seq,
        at_ms: credit.at_ms,
        outcome: credit.row.outcome_id,
        ad: credit.row.ad_id,
        charged: credit.row.charged_micros,
    }
}

fn purses(state: &State) -> impl Iterator<Item = (u64, &Purse)> {
    state.purses.iter().flat_map(|chunk| &chunk.purses).map(|(account, purse)| (*account, purse))
}

/// Returns the keys of either map, each once.
fn keys<K: Copy + Ord, A, B>(ours: &BTreeMap<K, A>, theirs: &BTreeMap<K, B>) -> Vec<K> {
    let mut keys: Vec<K> = ours.keys().chain(theirs.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
