//! `munadi audit --transfers`: every transfer of the journal, one JSON object a line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use prost::Message;
use serde::Serialize;

use crate::cli::audit::ledger::{account_of, legs};
use crate::cli::audit::recount::Recount;
use crate::cli::audit::{AuditError, output};
use crate::journal::Block;
use crate::journal::file::{boundaries, scan_within};
use crate::node::Files;
use crate::node::base::{Base, joined};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ClickMatched, Decision, Showing};
use crate::types::proto::v1::LedgerAccount;

/// One transfer as it is printed.
#[derive(Debug, Serialize)]
struct Row<'a> {
    /// 32 hexadecimal digits: an operator's own, a credit's, or made from what the transfer is of.
    id: String,
    /// `FUNDING`, `PROMO`, `WITHDRAWAL`, `GRANT`, `GRANT_BACK`, `CHARGE`, `CREDIT` or `OVER_DELIVERY`.
    kind: &'a str,
    account: u64,
    debit: &'a str,
    credit: &'a str,
    amount_micros: i64,
    currency: &'a str,
    /// Of charges and credits: the view's id, and the event that was billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    time: String,
    shard: u8,
    sequence: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Event {
    view: u64,
    ad: u64,
    billed: &'static str,
}

/// Prints every transfer, in the journal's order; with a base, which is returned, those behind it.
///
/// # Errors
/// When the journal can't be read or the rows can't be printed.
pub(super) fn list(dir: &Path, out: &mut dyn Write) -> Result<Option<Base>, AuditError> {
    let files = Files::new(dir);
    let journal = files.journal();
    let boundaries = boundaries(&journal)?;
    let base = joined(&files, &boundaries)?;
    let (mut currencies, mut failed) = (BTreeMap::new(), None);
    let mut first = boundaries[0].segment;
    if let Some(base) = &base {
        base.check()?;
        (currencies, first) = (Recount::of_base(base)?.currencies(), base.segment());
    }
    scan_within(&journal, first..u64::MAX, |block| {
        if failed.is_none() {
            failed = list_block(block, &mut currencies, out).err();
        }
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => {
            out.flush()?;
            Ok(base)
        }
    }
}

fn list_block(
    block: &Block,
    currencies: &mut BTreeMap<u64, String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut sequence = block.first.0;
    for bytes in block.decisions() {
        let decision = Decision::decode(bytes).map_err(io::Error::other)?;
        let time = output::time(decision.at_ms);
        for fact in decision.facts.iter().filter_map(|fact| fact.kind.as_ref()) {
            if let Kind::AccountPut(fact) = fact
                && let Some(row) = &fact.account
            {
                currencies.insert(row.id, row.currency.clone());
            }
            list_fact(fact, currencies, (&time, block.shard.number(), sequence), out)?;
            sequence += 1;
        }
    }
    Ok(())
}

fn list_fact(
    fact: &Kind,
    currencies: &BTreeMap<u64, String>,
    (time, shard, sequence): (&str, u8, u64),
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(account) = account_of(fact) else { return Ok(()) };
    let (event, reason) = about(fact);
    for leg in legs(fact) {
        let name = |number| LedgerAccount::try_from(number).unwrap_or_default().as_str_name();
        let short = |name: &'static str| name.trim_start_matches("LEDGER_ACCOUNT_");
        let row = Row {
            id: id_of(fact, leg.debit, leg.credit),
            kind: leg.kind,
            account,
            debit: short(name(leg.debit)),
            credit: short(name(leg.credit)),
            amount_micros: leg.amount,
            currency: currencies.get(&account).map_or("?", String::as_str),
            event,
            reason,
            time: time.to_owned(),
            shard,
            sequence,
        };
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Returns what a match charges, by its number: the tap that it implies, or the conversation.
const fn billed_by(fact: &ClickMatched) -> u32 {
    if fact.tap_billed { 2 } else { 3 }
}

fn about(fact: &Kind) -> (Option<Event>, &str) {
    let event = |showing: &Option<Showing>, billed: u32| {
        let billed = match billed {
            1 => "impressions",
            2 => "taps",
            _ => "conversations",
        };
        showing.map(|showing| Event { view: showing.view, ad: showing.ad, billed })
    };
    match fact {
        Kind::ImpressionSeen(fact) => (event(&fact.showing, 1), ""),
        Kind::Tapped(fact) => (event(&fact.showing, 2), ""),
        Kind::ClickMatched(fact) => (event(&fact.showing, billed_by(fact)), ""),
        Kind::EventCredited(fact) => (event(&fact.showing, fact.billing), &fact.reason),
        Kind::Funded(fact) => (None, &fact.reason),
        _ => (None, ""),
    }
}

/// Returns a transfer's id. Of several that one fact makes each has its own: the first half of BLAKE3 over
/// what the fact is of and both sides.
fn id_of(fact: &Kind, debit: i32, credit: i32) -> String {
    let of_view = |billed: u64, showing: &Option<Showing>| {
        showing.map_or([0; 3], |showing| [billed, showing.account, showing.view])
    };
    let name = match fact {
        Kind::Funded(fact) => return hex(&fact.transfer),
        Kind::Granted(fact) => [4, fact.account, fact.grant],
        Kind::ImpressionSeen(fact) => of_view(1, &fact.showing),
        Kind::Tapped(fact) => of_view(2, &fact.showing),
        Kind::ClickMatched(fact) => of_view(billed_by(fact).into(), &fact.showing),
        Kind::EventCredited(fact) => of_view(u64::from(fact.billing) + 4, &fact.showing),
        _ => [0; 3],
    };
    let mut hasher = blake3::Hasher::new();
    for number in name {
        hasher.update(&number.to_be_bytes());
    }
    hasher.update(&debit.to_be_bytes()).update(&credit.to_be_bytes());
    hex(&hasher.finalize().as_bytes()[..16])
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_listed_by_what_it_charges() {
        let listed = |tap_billed| {
            let showing = Some(Showing { view: 7, account: 1, ..Showing::default() });
            let fact = ClickMatched { showing, tap_billed, ..ClickMatched::default() };
            let fact = Kind::ClickMatched(fact);
            (about(&fact).0.map(|event| event.billed), id_of(&fact, 1, 2))
        };
        let (tap, chat) = (listed(true), listed(false));
        assert_eq!((tap.0, chat.0), (Some("taps"), Some("conversations")));
        assert_ne!(tap.1, chat.1);
    }
}
