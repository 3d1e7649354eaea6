//! Audits of ledgers: an honest one, and ones in which a single transfer was altered.

use std::fs;
use std::path::Path;

use prost::Message;

use crate::cli::audit::samples::{
    ACCOUNT, CAMPAIGN, DAY_MS, VIEWER_SHARD, audited, campaign, granted, money, showing, write,
};
use crate::cli::audit::{AuditReport, audit, transfers};
use crate::decide::credits::credit_id;
use crate::journal::file::scan;
use crate::journal::{Block, BlockBuilder};
use crate::node::Files;
use crate::state::ledger::Seal;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    AccountPut, Charge, Decision, EventCredited, Funded, Granted, ImpressionSeen, LineKind,
    ServedMinute,
};
use crate::types::proto::v1::{Account, BillingEvent, BillingMode, TransferKind};

const GRANT: u64 = 70;
const OF_CAMPAIGN: u64 = 71;

fn account() -> Kind {
    let account = Account {
        id: ACCOUNT,
        currency: "MXN".into(),
        time_zone: "UTC".into(),
        billing_mode: BillingMode::Prepaid.into(),
        spend_limit: money(1_000),
        ..Account::default()
    };
    Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) }))
}

fn funded(id: u8, kind: TransferKind, amount: i64) -> Kind {
    let (transfer, kind) = (vec![id; 16], kind.into());
    Kind::Funded(Box::new(Funded { transfer, account: ACCOUNT, kind, amount, ..Funded::default() }))
}

fn of_account(grant: u64, back: [i64; 2], from: [i64; 2]) -> Kind {
    Kind::Granted(Granted {
        grant,
        account: ACCOUNT,
        line_kind: LineKind::Account.into(),
        line: ACCOUNT,
        day: 0,
        amount: from[0] + from[1],
        until_ms: DAY_MS,
        from_promo: from[0],
        from_prepaid: from[1],
        back_promo: back[0],
        back_prepaid: back[1],
    })
}

fn seen(view: u64, promo: i64, prepaid: i64) -> Kind {
    let charge = Charge {
        amount: promo + prepaid,
        promo,
        prepaid,
        account_grant: GRANT,
        campaign_grant: OF_CAMPAIGN,
        ..Charge::default()
    };
    let (showing, charge) = (showing(view), Some(charge));
    Kind::ImpressionSeen(ImpressionSeen { showing, charge, ..ImpressionSeen::default() })
}

fn credited(view: u64, promo: i64, prepaid: i64) -> Kind {
    let id = credit_id(&showing(view).unwrap(), BillingEvent::Impressions);
    Kind::EventCredited(Box::new(EventCredited {
        transfer: id.to_vec(),
        showing: showing(view),
        billing: 1,
        amount: promo + prepaid,
        promo,
        prepaid,
        batch: 5,
        reason: "bots".into(),
        ..EventCredited::default()
    }))
}

/// Seals what stands before, as the writer does once a minute.
fn sealed(facts: &[(u8, Kind)]) -> Kind {
    let mut seal = Seal::default();
    for (_, fact) in facts {
        match fact {
            Kind::Funded(fact) => seal.add(Seal::of_funded(fact)),
            Kind::Granted(fact) => seal.add(Seal::of_granted(fact)),
            Kind::ImpressionSeen(fact) => {
                seal.add(Seal::of_charge(&fact.showing.unwrap(), &fact.charge.unwrap()));
            }
            Kind::EventCredited(fact) => seal.add(Seal::of_credit(fact)),
            _ => {}
        }
    }
    let (ledger_hash, ledger_transfers) = (seal.hash, seal.transfers);
    Kind::ServedMinute(ServedMinute { ledger_hash, ledger_transfers, ..ServedMinute::default() })
}

/// 30 of promo credit and 100 of money come in, 90 are charged, 40 given back and granted again.
fn honest() -> Vec<(u8, Kind)> {
    let mut facts = vec![
        (64, account()),
        (64, campaign(500)),
        (0, granted(OF_CAMPAIGN, 500)),
        (1, funded(1, TransferKind::Promo, 30)),
        (1, funded(2, TransferKind::Funding, 100)),
        (1, of_account(GRANT, [0, 0], [30, 100])),
        (VIEWER_SHARD, seen(1, 30, 20)),
        (VIEWER_SHARD, seen(2, 0, 40)),
        (VIEWER_SHARD, credited(2, 0, 40)),
        (1, of_account(GRANT + 2, [0, 40], [0, 80])),
        (1, of_account(GRANT + 3, [0, 80], [0, 80])),
    ];
    facts.push((0, sealed(&facts)));
    facts
}

/// Tells that the audit finds this fault behind the honest facts.
fn finds(more: Vec<(u8, Kind)>, what: &str) -> AuditReport {
    let report = audited(&[honest(), more].concat());
    assert!(!report.equal, "{what}: {report}");
    assert!(report.differences.iter().any(|found| found.contains(what)), "{what}: {report}");
    report
}

#[test]
fn an_honest_ledger_is_equal() {
    let report = audited(&honest());
    assert!(report.equal, "{report}");
    assert_eq!((report.transfers, report.credited_micros["MXN"]), (9, 40));
}

#[test]
fn a_transfer_that_may_not_be_is_found() {
    let shard = VIEWER_SHARD;
    finds(vec![(1, funded(2, TransferKind::Funding, 100))], "is there twice");
    finds(vec![(shard, credited(2, 0, 40))], "its credit is there twice");
    finds(vec![(shard, credited(1, 31, 19))], "50 given back of 50 charged");
    finds(vec![(shard, credited(1, 30, 21))], "51 given back of 50 charged");
    finds(vec![(shard, credited(9, 0, 1))], "a credit of what was not charged");
    finds(vec![(shard, seen(3, 1, 0))], "of its grant is promo credit");
    finds(vec![(1, funded(3, TransferKind::Withdrawal, 1))], "prepaid is -1, below zero");
    finds(vec![(1, of_account(99, [0, 80], [0, 81]))], "is 81: the account has 80");
    finds(vec![(1, of_account(99, [0, 79], [0, 80]))], "went back of");
    let paid_out =
        vec![(1, of_account(99, [0, 80], [0, 60])), (1, funded(3, TransferKind::Withdrawal, 20))];
    // The writer puts both into one decision; here the grant stands in a batch before.
    finds(paid_out, "is 60: the account has 80");
}

#[test]
fn a_transfer_that_was_altered_by_one_micro_is_found_though_every_checksum_is_right() {
    let facts = honest();
    let mut altered = 0;
    for place in 0..facts.len() {
        let mut copy = facts.clone();
        match &mut copy[place].1 {
            Kind::Funded(fact) => fact.amount += 1,
            Kind::Granted(fact) => fact.amount -= 1,
            Kind::ImpressionSeen(fact) => fact.charge.as_mut().unwrap().amount += 1,
            Kind::EventCredited(fact) => fact.amount -= 1,
            _ => continue,
        }
        altered += 1;
        let report = audited(&copy);
        assert!(!report.equal, "transfer {place}: {report}");
        assert!(report.differences.iter().any(|found| found.contains("seal")), "{report}");
    }
    assert_eq!(altered, 9);
}

#[test]
fn an_owed_charge_that_was_altered_shows_in_the_seal_alone() {
    let charged = |amount| {
        let charge = Charge { amount, campaign_grant: OF_CAMPAIGN, ..Charge::default() };
        let (showing, charge) = (showing(1), Some(charge));
        Kind::ImpressionSeen(ImpressionSeen { showing, charge, ..ImpressionSeen::default() })
    };
    let invoiced = |amount| {
        let account = Account { id: ACCOUNT, currency: "MXN".into(), ..Account::default() };
        let put = Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) }));
        let first = vec![(64, put), (64, campaign(500)), (0, granted(OF_CAMPAIGN, 500))];
        [first, vec![(VIEWER_SHARD, charged(amount))]].concat()
    };
    let seal = (0, sealed(&invoiced(60)));
    let report = audited(&[invoiced(60), vec![seal.clone()]].concat());
    assert!(report.equal, "{report}");
    let report = audited(&[invoiced(59), vec![seal]].concat());
    assert_eq!((report.equal, report.differences.len()), (false, 1), "{report}");
}

/// Writes a journal, changes its first segment's bytes, and tells whether the audit still holds.
fn holds_after(change: impl FnOnce(&Path, &mut Vec<u8>)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &honest());
    let journal = Files::new(dir.path()).journal();
    let files = fs::read_dir(&journal).unwrap().flatten().map(|entry| entry.path());
    let mut segments: Vec<_> =
        files.filter(|path| fs::metadata(path).unwrap().len() > 1_000).collect();
    segments.sort();
    let mut bytes = fs::read(&segments[0]).unwrap();
    change(dir.path(), &mut bytes);
    fs::write(&segments[0], bytes).unwrap();
    audit(dir.path()).is_ok_and(|report| report.equal)
}

/// Returns the block of the first charge, and where it stands in the segment.
fn first_charge(dir: &Path, bytes: &[u8]) -> (Block, usize) {
    let mut found = None;
    scan(&Files::new(dir).journal(), |block| {
        if block.shard.number() == VIEWER_SHARD && found.is_none() {
            found = Some(block.clone());
        }
    })
    .unwrap();
    let block: Block = found.unwrap();
    let place = bytes.windows(block.bytes.len()).position(|part| part == &block.bytes[..]);
    (block, place.unwrap())
}

#[test]
fn a_byte_that_was_altered_is_found_and_so_is_a_block_that_was_sealed_again() {
    assert!(holds_after(|_, _| ()));
    assert!(!holds_after(|dir, bytes| {
        let (block, place) = first_charge(dir, bytes);
        bytes[place + block.bytes.len() - 1] ^= 1;
    }));
    assert!(!holds_after(|dir, bytes| {
        let (block, place) = first_charge(dir, bytes);
        let mut decision = Decision::decode(block.decisions().next().unwrap()).unwrap();
        let Some(Kind::ImpressionSeen(fact)) = &mut decision.facts[0].kind else { panic!() };
        fact.charge.as_mut().unwrap().amount += 1;
        let mut builder = BlockBuilder::new(block.shard, block.first);
        builder.push(&decision.encode_to_vec(), 1);
        let (journal, previous) = (block.journal(), block.previous());
        let again = builder.seal(journal, block.batch, block.durable(), previous);
        assert_eq!(again.bytes.len(), block.bytes.len());
        bytes[place..place + again.bytes.len()].copy_from_slice(&again.bytes);
    }));
}

#[test]
fn every_transfer_is_listed_with_both_sides_and_its_event() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &honest());
    let mut out = Vec::new();
    transfers::list(dir.path(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row["id"].as_str()).collect();
    assert_eq!((rows.len(), ids.len()), (11, 11));
    let charge = rows.iter().find(|row| row["kind"] == "CHARGE").unwrap();
    assert_eq!((&charge["debit"], &charge["credit"]), (&"GRANTED".into(), &"SPENT".into()));
    assert_eq!((&charge["amount_micros"], &charge["currency"]), (&50.into(), &"MXN".into()));
    assert_eq!(
        (&charge["event"]["view"], &charge["event"]["billed"]),
        (&1.into(), &"impressions".into())
    );
    assert_eq!(rows[0]["id"], "01".repeat(16));
    let credit = rows.iter().find(|row| row["kind"] == "CREDIT").unwrap();
    assert_eq!((&credit["credit"], &credit["reason"]), (&"PREPAID".into(), &"bots".into()));
    assert_eq!(CAMPAIGN, showing(1).unwrap().campaign);
}
