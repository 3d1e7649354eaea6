//! Reopening a long journal: what it knows is right, and how long it took is printed.

use std::sync::Arc;

use munadi::cli::audit::audit;
use munadi::journal::file::{FileLog, Options};
use munadi::journal::{BlockBuilder, ShardLog};
use munadi::node::clock::{Clock, SystemClock};
use munadi::node::{Files, Node, NodeOptions};
use munadi::report::query::Query;
use munadi::types::ids::{BatchNo, IdKind, JournalId, SHARDS, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, Charge, Decision, EndpointPut, Fact,
    Granted, ImpressionSeen, LineKind, Showing,
};
use munadi::types::proto::v1;
use munadi::types::request::Scope;
use munadi::types::time::{DAY_MS, Moment};
use prost::Message;

use crate::number_of;

/// Events unless the environment says otherwise.
const EVENTS: u64 = 50_000;

/// Events of one batch: a busy node's group commit.
const PER_BATCH: u64 = 4_096;

/// What an impression costs, micros.
const PRICE: i64 = 1_000;

const GRANT: u64 = 1;

fn id(kind: IdKind) -> u64 {
    mint(kind, 1)
}

fn catalog() -> Vec<Kind> {
    let account = v1::Account {
        id: id(IdKind::Account),
        currency: "MXN".into(),
        time_zone: "UTC".into(),
        ..Default::default()
    };
    let business =
        v1::Business { id: id(IdKind::Business), account_id: account.id, ..Default::default() };
    let endpoint = v1::ChannelEndpoint {
        id: id(IdKind::Endpoint),
        business_id: business.id,
        channel: v1::Channel::Telegram.into(),
        ..Default::default()
    };
    let daily = Some(v1::Money { micros: i64::MAX / 2, currency: "MXN".into() });
    let campaign = v1::Campaign {
        id: id(IdKind::Campaign),
        account_id: account.id,
        budget: Some(v1::Budget { daily, lifetime: None }),
        ..Default::default()
    };
    let ad_set =
        v1::AdSet { id: id(IdKind::AdSet), campaign_id: campaign.id, ..Default::default() };
    let destination = Some(v1::ChatDestination { endpoint_id: endpoint.id, ..Default::default() });
    let ad = v1::Ad { id: id(IdKind::Ad), ad_set_id: ad_set.id, destination, ..Default::default() };
    vec![
        Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })),
        Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })),
        Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })),
        Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })),
        Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })),
        Kind::AdPut(Box::new(AdPut { ad: Some(ad) })),
    ]
}

/// Returns the impression of one viewer in its shard.
fn impression(number: u64, at: Moment) -> Kind {
    // Fibonacci hashing spreads viewers over shards and buckets as a keyed hash would.
    let viewer = (number % 200_000).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let showing = Showing {
        view: number + 1,
        viewer,
        ad: id(IdKind::Ad),
        ad_set: id(IdKind::AdSet),
        campaign: id(IdKind::Campaign),
        account: id(IdKind::Account),
        business: id(IdKind::Business),
        feed: 1,
        issued_s: at.seconds(),
    };
    let charge = Charge {
        amount: PRICE,
        campaign_grant: GRANT,
        day: (at.0 / DAY_MS) as i32,
        ..Charge::default()
    };
    Kind::ImpressionSeen(ImpressionSeen {
        showing: Some(showing),
        event_ms: at.0,
        charge: Some(charge),
        ..ImpressionSeen::default()
    })
}

/// A log that takes one batch of decisions after the other.
struct Pen {
    log: FileLog,
    batch: u64,
    at: Moment,
}

impl Pen {
    fn write(&mut self, facts: impl Iterator<Item = (Shard, Kind)>) {
        self.batch += 1;
        let tails: Vec<_> = Shard::all().map(|shard| self.log.tail(shard).unwrap()).collect();
        let mut builders: Vec<_> = Shard::all()
            .zip(&tails)
            .map(|(shard, tail)| BlockBuilder::new(shard, tail.next))
            .collect();
        for (shard, kind) in facts {
            let decision = Decision { at_ms: self.at.0, facts: vec![Fact { kind: Some(kind) }] };
            builders[shard.index()].push(&decision.encode_to_vec(), 1);
        }
        let journal = self.log.journal_id();
        let sealed = builders.iter_mut().zip(&tails).filter(|(builder, _)| !builder.is_empty());
        let blocks = sealed.map(|(builder, tail)| {
            builder.seal(journal, BatchNo(self.batch), BatchNo(0), tail.hash)
        });
        let blocks = blocks.collect();
        self.log.submit_all(blocks);
    }
}

#[test]
fn a_long_journal_reopens_with_every_event_counted() {
    let folder = tempfile::tempdir().unwrap();
    let events = number_of("KILL9_EVENTS", EVENTS);
    let clock = SystemClock::default();
    // A moment of today, so that the day's grant still stands.
    let at = clock.now();
    let journal = Files::new(folder.path()).journal();
    let log = FileLog::create(&journal, JournalId([3; 16]), &Options::default()).unwrap();
    let mut pen = Pen { log, batch: 0, at };
    pen.write(catalog().into_iter().map(|kind| (Shard::CATALOG, kind)));
    let until_ms = (at.0 / DAY_MS + 1) * DAY_MS;
    let granted = Kind::Granted(Granted {
        grant: GRANT,
        account: id(IdKind::Account),
        line_kind: LineKind::Campaign.into(),
        line: id(IdKind::Campaign),
        day: (at.0 / DAY_MS) as i32,
        amount: i64::MAX / 2,
        until_ms,
        ..Granted::default()
    });
    pen.write([(Shard::new(0).unwrap(), granted)].into_iter());
    for first in (0..events).step_by(PER_BATCH as usize) {
        let numbers = first..(first + PER_BATCH).min(events);
        pen.write(numbers.map(|number| {
            let kind = impression(number, at);
            let Kind::ImpressionSeen(fact) = &kind else { unreachable!("an impression") };
            let viewer = fact.showing.unwrap().viewer;
            (Shard::new((viewer >> 58) as u8).unwrap(), kind)
        }));
    }
    Box::new(pen.log).close().unwrap();
    assert_eq!(SHARDS, 64, "a viewer's shard is its first 6 bits");

    let before = clock.monotonic();
    let options = NodeOptions::default();
    let node = Node::start(folder.path(), Arc::new(SystemClock::default()), &options).unwrap();
    let took = clock.monotonic() - before;
    println!("{events} events reopened in {took:?}");
    assert_eq!(node.opened().replayed, events + 7);
    let query = Query { end_hour: u32::MAX, limit: 10, ..Query::default() };
    let scope = Scope { tenant: 0, any: true };
    let (report, _) = node.front().report(scope, &query, node.now()).unwrap();
    let row = &report.rows[0];
    assert_eq!((row.impressions, row.spend_micros), (events, events as i64 * PRICE));
    node.stop().unwrap();
    let report = audit(folder.path()).unwrap();
    assert!(report.equal, "{report}");
    assert_eq!(report.impressions, events);
}
