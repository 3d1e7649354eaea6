//! The audit beside real days: an honest journal is equal, and one altered price of a message is found.
//! `AUDIT_EVENTS=10000000 cargo test --release --test behaviour recounted` audits the journal of a large crowd.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::cli::audit::{AuditReport, audit};
use munadi::journal::file::{FileLog, Options};
use munadi::journal::{BlockBuilder, ShardLog};
use munadi::node::Files;
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::ids::{BatchNo, SeqVector};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{Decision, MessagePriced};
use munadi::types::proto::v1::{MessageCategory, PriceReason};
use prost::Message;

use crate::message_costs::Town;
use crate::site::Site;
use crate::stage::Stage;

/// Audits a copy of a journal with one price of it altered.
pub(crate) fn audited(stage: &Stage, alter: impl Fn(&mut MessagePriced)) -> AuditReport {
    audited_with(stage, |kind| {
        if let Kind::MessagePriced(fact) = kind {
            alter(fact);
        }
    })
}

/// Copies a journal into a folder, its facts altered and everything sealed again, and audits the copy.
pub(crate) fn audited_with(stage: &Stage, alter: impl Fn(&mut Kind)) -> AuditReport {
    let folder = tempfile::tempdir().unwrap();
    let (source, journal) = (stage.writer.log(), stage.writer.log().journal_id());
    let options = Options { segment_bytes: 1 << 17, ..Options::default() };
    let path = Files::new(folder.path()).journal();
    let mut copy = FileLog::create(&path, journal, &options).unwrap();
    let whole = source.read_from(&SeqVector::default(), &mut |block| {
        let tail = copy.tail(block.shard).unwrap();
        let mut builder = BlockBuilder::new(block.shard, block.first);
        for bytes in block.decisions() {
            let mut decision = Decision::decode(bytes).unwrap();
            for fact in &mut decision.facts {
                fact.kind.iter_mut().for_each(&alter);
            }
            builder.push(&decision.encode_to_vec(), decision.facts.len() as u32);
        }
        copy.submit(builder.seal(journal, block.batch, BatchNo(0), tail.hash));
        ControlFlow::Continue(())
    });
    whole.unwrap();
    Box::new(copy).close().unwrap();
    audit(folder.path()).unwrap()
}

/// Returns the journal's prices, in its order.
fn prices(stage: &Stage) -> Vec<MessagePriced> {
    let found = std::cell::RefCell::new(Vec::new());
    audited(stage, |fact| found.borrow_mut().push(fact.clone()));
    found.into_inner()
}

#[test]
fn message_costs_are_counted_again_by_category_and_an_altered_one_is_found() {
    let town = Town::of_every_price();
    let report = audited(&town.stage, |_| {});
    assert!(report.equal, "{report}");
    let told: BTreeMap<_, _> = report
        .message_costs
        .iter()
        .map(|(category, sums)| (&**category, (sums["MXN"].messages, sums["MXN"].micros)))
        .collect();
    let expected = [
        ("authentication", (1, 170_000)),
        ("marketing", (2, 600_000)),
        ("service", (2, 0)),
        ("utility", (3, 410_000)),
    ];
    assert_eq!(told, BTreeMap::from(expected));
    let all = prices(&town.stage);
    let reasons = |reason| all.iter().filter(|fact| fact.reason() == reason).count();
    for reason in [
        PriceReason::Regular,
        PriceReason::FreeAllowance,
        PriceReason::FreeEntryPoint,
        PriceReason::Unpriced,
    ] {
        assert!(reasons(reason) > 0, "{reason:?}");
    }
    type Altered = (&'static str, fn(&mut MessagePriced), fn(&MessagePriced) -> bool);
    let altered: [Altered; 8] = [
        ("amount", |fact| fact.amount += 1, |_| true),
        ("the account's amount", |fact| fact.account_amount -= 1, |_| true),
        (
            "both",
            |fact| (fact.amount, fact.account_amount) = (fact.amount + 1, fact.account_amount + 1),
            |_| true,
        ),
        (
            "category",
            |fact| {
                let other = match fact.category() {
                    MessageCategory::Marketing => MessageCategory::Utility,
                    _ => MessageCategory::Marketing,
                };
                fact.category = other.into();
            },
            |fact| fact.reason() == PriceReason::Regular,
        ),
        ("ad", |fact| fact.ad = if fact.ad == 0 { 77 } else { 0 }, |_| true),
        (
            "reason",
            |fact| fact.reason = PriceReason::FreeCustomerService.into(),
            |fact| fact.amount != 0 || fact.free_month != 0,
        ),
        ("free month", |fact| fact.free_month += 1, |_| true),
        ("time", |fact| fact.event_ms -= 86_400_000, |fact| fact.amount == 200_000),
    ];
    for (what, alter, fits) in altered {
        let places: Vec<_> = (0..all.len()).filter(|place| fits(&all[*place])).collect();
        assert!(!places.is_empty(), "{what}");
        for place in places {
            let count = std::cell::Cell::new(0);
            let report = audited(&town.stage, |fact| {
                if count.replace(count.get() + 1) == place {
                    alter(fact);
                }
            });
            assert!(!report.equal, "{what} of {:?}", all[place]);
        }
    }
}

/// Events of a crowd unless the environment says otherwise.
const EVENTS: u64 = 1_000;

#[test]
fn the_journal_of_a_crowd_is_recounted_to_the_micro() {
    let told = std::env::var("AUDIT_EVENTS").ok().and_then(|text| text.parse().ok());
    let events: u64 = told.unwrap_or(EVENTS);
    let site = Site::of((events * 16).clamp(256 << 10, 64 << 20));
    let shops = site.shops();
    let done = site.crowd(&shops, events);
    site.deliver(done.chats);
    let (impressions, taps, _, spend) = site.reported();
    assert_eq!((impressions, taps), (done.impressions, done.taps));
    assert!(spend >= done.charged && done.charged > 0 && done.chats > 0, "{done:?}");
    let (room, _) = site.stop();
    let clock = SystemClock::default();
    let before = clock.monotonic();
    let report = audit(&room.path().join("node")).unwrap();
    println!(
        "{} events, {} facts audited in {:?}",
        done.events(),
        report.facts,
        clock.monotonic() - before
    );
    assert!(report.equal && report.complete, "{report}");
    let counted = (report.impressions, report.taps, report.conversations);
    assert_eq!(counted, (done.impressions, done.taps, done.chats));
    assert!(report.over_budget_micros == 0 && report.invoiced_micros["MXN"] == spend, "{report}");
}
