//! Audits of small journals written by hand: honest ones, and ones with a planted fault.

use std::path::Path;

use prost::Message;

use crate::cli::audit::compare::compare;
use crate::cli::audit::recount::Recount;
use crate::cli::audit::{AuditError, AuditReport, audit, report, take};
use crate::journal::file::{FileLog, Options, scan};
use crate::journal::{BlockBuilder, LogError, ShardLog};
use crate::node::Files;
use crate::state::State;
use crate::state::ledger::Posting;
use crate::types::ids::{BatchNo, IdKind, JournalId, Shard, mint};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    AccountPut, CampaignPut, Charge, ClickMatched, Decision, Fact, Granted, ImpressionSeen,
    LineKind, OutcomeDeclined, Showing,
};
use crate::types::proto::v1::{Account, Budget, Campaign, LedgerAccount, Money};

pub(super) const VIEWER_SHARD: u8 = 3;
pub(super) const ACCOUNT: u64 = mint(IdKind::Account, 1);
pub(super) const CAMPAIGN: u64 = mint(IdKind::Campaign, 1);
const AD: u64 = mint(IdKind::Ad, 1);
const GRANT: u64 = 77;
pub(super) const DAY_MS: i64 = 86_400_000;

pub(super) fn money(micros: i64) -> Option<Money> {
    Some(Money { micros, currency: "MXN".into() })
}

pub(super) fn campaign(daily: i64) -> Kind {
    let budget = Some(Budget { daily: money(daily), lifetime: money(1_000) });
    let campaign = Campaign { id: CAMPAIGN, account_id: ACCOUNT, budget, ..Campaign::default() };
    Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) }))
}

pub(super) fn granted(grant: u64, amount: i64) -> Kind {
    Kind::Granted(Granted {
        grant,
        account: ACCOUNT,
        line_kind: LineKind::Campaign.into(),
        line: CAMPAIGN,
        day: 0,
        amount,
        until_ms: DAY_MS,
        ..Granted::default()
    })
}

pub(super) fn showing(view: u64) -> Option<Showing> {
    let (viewer, ad) = (u64::from(VIEWER_SHARD) << 58 | 9, AD);
    let (campaign, account) = (CAMPAIGN, ACCOUNT);
    Some(Showing { view, viewer, ad, campaign, account, ..Showing::default() })
}

fn charge(grant: u64, amount: i64) -> Option<Charge> {
    Some(Charge { amount, campaign_grant: grant, over_delivered: 1, ..Charge::default() })
}

fn seen(view: u64, grant: u64, amount: i64) -> Kind {
    let charge = charge(grant, amount);
    Kind::ImpressionSeen(ImpressionSeen { showing: showing(view), charge, ..Default::default() })
}

fn matched(outcome: u64, view: u64) -> Kind {
    Kind::ClickMatched(ClickMatched {
        outcome,
        showing: showing(view),
        implied_tap: true,
        ..ClickMatched::default()
    })
}

/// An account, a campaign of 100 micros a day, its grant, and an impression of 60.
fn honest() -> Vec<(u8, Kind)> {
    let account = Account { id: ACCOUNT, currency: "MXN".into(), ..Account::default() };
    let put = Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) }));
    vec![
        (64, put),
        (64, campaign(100)),
        (0, granted(GRANT, 100)),
        (VIEWER_SHARD, seen(1, GRANT, 60)),
    ]
}

/// Writes each fact as a batch of its own, a second after the one before.
pub(super) fn write(dir: &Path, facts: &[(u8, Kind)]) {
    let journal = JournalId([7; 16]);
    let options = Options { segment_bytes: 1 << 16, ..Options::default() };
    let mut log = FileLog::create(&Files::new(dir).journal(), journal, &options).unwrap();
    for (number, (shard, kind)) in (1..).zip(facts) {
        let tail = log.tail(Shard::new(*shard).unwrap()).unwrap();
        let mut builder = BlockBuilder::new(Shard::new(*shard).unwrap(), tail.next);
        let facts = vec![Fact { kind: Some(kind.clone()) }];
        let decision = Decision { at_ms: number * 1_000, facts };
        builder.push(&decision.encode_to_vec(), 1);
        log.submit(builder.seal(journal, BatchNo(number as u64), BatchNo(0), tail.hash));
    }
    Box::new(log).close().unwrap();
}

pub(super) fn audited(facts: &[(u8, Kind)]) -> AuditReport {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), facts);
    audit(dir.path()).unwrap()
}

/// Tells that the audit finds exactly this fault.
fn finds(more: Vec<(u8, Kind)>, what: &str) -> AuditReport {
    let report = audited(&[honest(), more].concat());
    assert!(!report.equal, "{report}");
    assert!(report.differences.iter().any(|found| found.contains(what)), "{what}: {report}");
    report
}

#[test]
fn an_honest_journal_is_equal_and_says_what_it_covers() {
    let report = audited(&honest());
    assert!(report.equal && report.complete, "{report}");
    assert_eq!((report.first_batch, report.last_batch, report.facts), (1, 4, 4));
    assert_eq!(report.first_time, "1970-01-01T00:00:01Z");
    assert_eq!(report.last_time, "1970-01-01T00:00:04Z");
    assert_eq!((report.impressions, report.invoices), (1, 1));
    assert_eq!(report.invoiced_micros["MXN"], 60);
    assert_eq!((report.spend_micros["MXN"], report.over_delivered_micros["MXN"]), (60, 1));
    assert!(report.to_string().contains("invoiced        0.000060 MXN"), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["over_budget_micros"], 0);
}

#[test]
fn a_view_that_is_billed_twice_is_found() {
    finds(vec![(VIEWER_SHARD, seen(1, GRANT, 10))], "this view was billed before");
}

#[test]
fn a_charge_above_the_budget_is_found_to_the_micro() {
    let report = finds(vec![(VIEWER_SHARD, seen(2, GRANT, 41))], "1 above a budget");
    assert_eq!(report.over_budget_micros, 1);
    let equal = audited(&[honest(), vec![(VIEWER_SHARD, seen(2, GRANT, 40))]].concat());
    assert!(equal.equal, "{equal}");
}

#[test]
fn a_lowered_budget_counts_from_where_it_stands_in_the_journal() {
    let lowered = vec![(64, campaign(50)), (0, granted(78, 0)), (VIEWER_SHARD, seen(2, 78, 0))];
    let equal = audited(&[honest(), lowered].concat());
    assert!(equal.equal, "{equal}");
    let stale = vec![(64, campaign(50)), (VIEWER_SHARD, seen(2, GRANT, 40))];
    assert_eq!(finds(stale, "above a budget").over_budget_micros, 40);
    finds(vec![(64, campaign(50)), (0, granted(78, 1))], "above what");
}

#[test]
fn a_charge_without_its_grant_is_found() {
    finds(vec![(VIEWER_SHARD, seen(2, 0, 1))], "names no grant");
    finds(vec![(VIEWER_SHARD, seen(2, 99, 1))], "never given");
}

#[test]
fn an_outcome_that_is_credited_twice_is_found() {
    let twice = vec![(VIEWER_SHARD, matched(5, 1)), (VIEWER_SHARD, matched(5, 2))];
    finds(twice, "this outcome was credited before");
    let declined = OutcomeDeclined { outcome: 6, ..OutcomeDeclined::default() };
    let declined = Kind::OutcomeDeclined(Box::new(declined));
    let equal = audited(&[honest(), vec![(VIEWER_SHARD, matched(5, 1)), (9, declined)]].concat());
    assert!(equal.equal, "{equal}");
    assert_eq!((equal.credits, equal.conversations, equal.taps), (2, 1, 1));
}

#[test]
fn a_wrong_figure_of_the_node_is_found_wherever_it_is() {
    type Doctor = fn(&mut State);
    let doctors: [(&str, Doctor); 5] = [
        ("invoice of account", |state| {
            let purse = state.purses[0].purses.get_mut(&ACCOUNT).unwrap();
            purse.days.get_mut(&0).unwrap().charged += 1;
        }),
        ("LEDGER_ACCOUNT_OVER_DELIVERED", |state| {
            let debit = LedgerAccount::Unspecified;
            let posting = Posting { debit, credit: LedgerAccount::OverDelivered, amount: 1 };
            state.purses[0].purses.get_mut(&ACCOUNT).unwrap().ledger.post([posting]);
        }),
        ("hour 0", |state| {
            let ad = state.tallies[0].ads.get_mut(&AD).unwrap();
            ad.hours.get_mut(&(0, 0, 0)).unwrap().spend -= 1;
        }),
        ("that rates come from", |state| {
            state.tallies[0].ads.get_mut(&AD).unwrap().totals.impressions[0] += 1;
        }),
        ("credits", |state| {
            state.shards[usize::from(VIEWER_SHARD)].credits.pop_back();
        }),
    ];
    for (what, doctor) in doctors {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[honest(), vec![(VIEWER_SHARD, matched(5, 1))]].concat());
        let (mut recount, mut state) = (Recount::default(), State::default());
        let scanned = scan(&Files::new(dir.path()).journal(), |block| {
            take(&mut recount, &mut state, block).unwrap();
        });
        assert_eq!(compare(&recount, &state), Vec::<String>::new());
        doctor(&mut state);
        let report = report(&scanned.unwrap(), None, recount, &state);
        assert!(!report.equal && report.differences.len() == 1, "{what}: {report}");
        assert!(report.differences[0].contains(what), "{what}: {report}");
    }
}

#[test]
fn a_folder_without_a_journal_is_an_error_and_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let error = audit(dir.path()).unwrap_err();
    assert!(matches!(error, AuditError::Log(LogError::Absent(_))), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_first_differences_are_listed_and_the_rest_counted() {
    let again = (0..30).map(|_| (VIEWER_SHARD, seen(1, GRANT, 0))).collect();
    let report = finds(again, "billed before");
    assert_eq!((report.differences.len(), report.differences_left_off), (20, 40));
}
