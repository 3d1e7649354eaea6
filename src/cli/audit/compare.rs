//! The comparison: the recount beside what the node's own fold says.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::{ToSpan, civil};

use crate::cli::audit::ledger::DayBook;
use crate::cli::audit::recount::{Counts, CreditRow, Recount};
use crate::cli::audit::steps::Steps;
use crate::report::invoices::{Asked, invoices as node_invoices};
use crate::state::State;
use crate::state::ledger::{LEDGER_ACCOUNTS, Sums};
use crate::state::purses::{AccountDay, Purse};
use crate::state::tallies::{AdTally, Tally};
use crate::types::proto::journal::v1::LineKind;
use crate::types::proto::v1::LedgerAccount;
use crate::types::time::{DAY_MS, Moment};

/// The node forgets rows of the attribution stream after this long.
const CREDIT_MEMORY_MS: i64 = 95 * DAY_MS;

/// Returns every difference, in words.
pub(in crate::cli) fn compare(recount: &Recount, state: &State) -> Vec<String> {
    let mut found = Vec::new();
    ads(recount, state, &mut found);
    steps(recount, state, &mut found);
    invoices(recount, state, &mut found);
    ledgers(recount, state, &mut found);
    // They are made of days, whose differences were named already.
    if found.is_empty() {
        months(recount, state, &mut found);
    }
    lines(recount, state, &mut found);
    credits(recount, state, &mut found);
    let last_ms = recount.span.map_or(0, |(_, last)| last);
    recount.prices.compare(state, last_ms, &mut found);
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
        // Compared by itself: the node keeps waits in bins.
        steps: Steps::default(),
    }
}

/// Compares what came of taps in chats, and what models give for it, ad by ad and hour by hour.
fn steps(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let all = state.tallies.iter().flat_map(|chunk| &chunk.ads);
    let hours = |(ad, tally): (&u64, &AdTally)| {
        let ad = *ad;
        tally.by_hour().into_iter().map(move |(hour, it)| ((ad, i64::from(hour)), it))
    };
    let node: BTreeMap<(u64, i64), Tally> = all.flat_map(hours).collect();
    let (none, nothing) = (Tally::default(), Counts::default());
    for key in keys(&recount.ads, &node) {
        let counted = recount.ads.get(&key).unwrap_or(&nothing);
        let tally = node.get(&key).unwrap_or(&none);
        let difference = counted.steps.difference(tally);
        found.extend(difference.map(|what| format!("ad {}, hour {}, chats: {what}", key.0, key.1)));
    }
    let earned: BTreeMap<_, _> = recount.earned.places().map(|place| (place, ())).collect();
    for (ad, hour) in keys(&earned, &node) {
        let tally = node.get(&(ad, hour)).unwrap_or(&none);
        let difference = recount.earned.difference(ad, hour, tally);
        found.extend(difference.map(|what| format!("ad {ad}, hour {hour}, credits: {what}")));
    }
}

fn ads(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let mut node = BTreeMap::new();
    let mut totals = BTreeMap::<u64, [u64; 3]>::new();
    for (ad, tally) in state.tallies.iter().flat_map(|chunk| &chunk.ads) {
        totals.insert(*ad, tally.totals.funnel());
        let hours = tally.by_hour().into_iter();
        node.extend(hours.map(|(hour, tally)| ((*ad, i64::from(hour)), counts_of(&tally))));
    }
    for (ad, hour) in keys(&recount.ads, &node) {
        let key = (ad, hour);
        let (ours, theirs) = (recount.ads.get(&key), node.get(&key));
        let what = format!("ad {ad}, hour {hour}");
        let ours = Counts { steps: Steps::default(), ..ours.cloned().unwrap_or_default() };
        differ(found, &what, ours, theirs.cloned().unwrap_or_default());
    }
    for ad in keys(&recount.learned, &totals) {
        let (ours, theirs) = (recount.learned.get(&ad), totals.get(&ad));
        let what = format!("ad {ad}, impressions, taps and conversations that rates come from");
        differ(
            found,
            &what,
            ours.copied().unwrap_or_default(),
            theirs.copied().unwrap_or_default(),
        );
    }
}

fn invoices(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let mut node = BTreeMap::new();
    for (account, purse) in purses(state) {
        node.extend(purse.days.iter().map(|(day, sums)| ((account, *day), day_of(sums))));
    }
    let counted = &recount.postings.days;
    for (account, day) in keys(counted, &node) {
        let of = |map: &BTreeMap<(u64, i32), DayBook>| {
            map.get(&(account, day)).copied().unwrap_or_default()
        };
        let what = format!("invoice of account {account}, day {day}, micros");
        differ(found, &what, of(counted), of(&node));
    }
}

fn day_of(day: &AccountDay) -> DayBook {
    let paid = [day.charged, day.promo, day.prepaid];
    DayBook {
        money: [paid[0], paid[1], paid[2], day.over_delivered, day.invalid, day.credited],
        events: [day.events, day.invalid_events, day.credited_events],
    }
}

fn ledgers(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let counted = &recount.postings;
    let (mut sums, mut fundings) = (BTreeMap::new(), BTreeMap::new());
    let (mut credits, mut promo) = (BTreeMap::new(), BTreeMap::new());
    let mut transfers = 0;
    for chunk in &state.purses {
        transfers += chunk.seal.transfers;
    }
    for (account, purse) in purses(state) {
        for number in 1..LEDGER_ACCOUNTS as i32 {
            let name = LedgerAccount::try_from(number).unwrap_or_default();
            let Sums { debits, credits } = purse.ledger.sums(name);
            if (debits, credits) != (0, 0) {
                sums.insert((account, number), (debits, credits));
            }
        }
        for (id, it) in &purse.fundings {
            fundings.insert((account, *id), (it.kind, it.amount, it.reason.clone()));
        }
        for ((batch, day), it) in &purse.credits {
            let parts = [it.amount, it.promo, it.prepaid, it.events as i64];
            credits.insert((account, *batch, *day), parts);
        }
        promo.insert(account, purse.funds().granted_promo);
    }
    for key in keys(&counted.sums, &sums) {
        let name = LedgerAccount::try_from(key.1).unwrap_or_default().as_str_name();
        let of = |map: &BTreeMap<_, _>| map.get(&key).copied().unwrap_or_default();
        let what = format!("account {}, {name}, debits and credits", key.0);
        differ(found, &what, of(&counted.sums), of(&sums));
    }
    for key in keys(&counted.fundings, &fundings) {
        let what = format!("account {}, transfer {:032x}", key.0, key.1);
        differ(found, &what, counted.fundings.get(&key), fundings.get(&key));
    }
    for key in keys(&counted.credits, &credits) {
        let what = format!("account {}, credits of request {:x}, day {}", key.0, key.1, key.2);
        differ(found, &what, counted.credits.get(&key), credits.get(&key));
    }
    for account in keys(&counted.granted_promo, &promo) {
        let of = |map: &BTreeMap<u64, i64>| map.get(&account).copied().unwrap_or_default();
        let what = format!("account {account}, promo credit that is granted");
        differ(found, &what, of(&counted.granted_promo), of(&promo));
    }
    differ(found, "how many transfers", counted.transfers, transfers);
}

/// Compares the node's invoices, which are by month, with the days they are of.
fn months(recount: &Recount, state: &State, found: &mut Vec<String>) {
    let purses: BTreeMap<u64, &Purse> = purses(state).collect();
    for row in state.catalog.accounts.after(0) {
        let Some(purse) = purses.get(&row.id) else { continue };
        let mut counted = BTreeMap::<String, DayBook>::new();
        for ((_, day), book) in recount.postings.days.range((row.id, i32::MIN)..=(row.id, i32::MAX))
        {
            let date = civil::date(1970, 1, 1).checked_add(day.days()).unwrap_or_default();
            let sums = counted.entry(date.strftime("%Y-%m").to_string()).or_default();
            sums.money.iter_mut().zip(book.money).for_each(|(sum, more)| *sum += more);
            sums.events.iter_mut().zip(book.events).for_each(|(sum, more)| *sum += more);
        }
        let asked = Asked { before: i32::MAX, limit: usize::MAX, now: Moment(0) };
        let mut node = BTreeMap::new();
        for it in node_invoices(&row, purse, asked).0 {
            let what = format!("account {}, invoice of {}", row.id, it.month);
            let lost = it.over_delivered_micros + it.invalid_micros;
            differ(found, &format!("{what}, gross"), it.charged_micros + lost, it.gross_micros);
            let net = it.charged_micros - it.credited_micros;
            differ(found, &format!("{what}, net"), net, it.net_micros);
            differ(found, &format!("{what}, payable"), net + it.rounding_micros, it.payable_micros);
            let paid = [it.charged_micros, it.promo_micros, it.prepaid_micros];
            let rest = [it.over_delivered_micros, it.invalid_micros, it.credited_micros];
            let money = [paid[0], paid[1], paid[2], rest[0], rest[1], rest[2]];
            let events = [it.charged_events, it.invalid_events, it.credited_events];
            node.insert(it.month, DayBook { money, events });
        }
        if counted != node {
            let account = row.id;
            found.push(format!("account {account}, by month: counted {counted:?}, is {node:?}"));
        }
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
        revision: credit.row.revision,
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
