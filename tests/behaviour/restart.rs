//! Dying and coming back: the journal is the truth, a checkpoint only a shorter way to it.

use std::ops::ControlFlow;
use std::sync::Arc;

use munadi::cli::audit::audit;
use munadi::journal::ShardLog;
use munadi::journal::memory::MemoryLog;
use munadi::node::clock::MovedClock;
use munadi::node::{Node, NodeOptions, fold};
use munadi::types::ids::SeqVector;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::{Dimension, EventKind, NoAdReason};
use munadi::types::request::{Change, Claim, Incoming, Origin, Resource, Verdict};
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};
use munadi::types::token::ViewToken;

use crate::stage::{ALL, FEED, Offer, Shop, Shown, Stage, at, event, near, whole};

/// Lets people look, tap, chat and buy.
fn live(stage: &mut Stage, shop: &Shop, from: usize) -> Vec<Shown> {
    let mut all = Vec::new();
    for number in from..from + 12 {
        let name = format!("viewer {number}");
        let shown = stage.tapped(&name);
        let click = stage.click(&shown);
        stage.open_chat(shop, &name, Some(Claim::Click(click)));
        stage.answer(shop, &name, &name);
        stage.convert(shop, &name, Origin::Click(click));
        stage.wait(11 * MINUTE_MS);
        all.push(shown);
    }
    stage.settle();
    all
}

/// Returns everything that can be asked for, in one text.
fn everything(stage: &Stage, shop: &Shop) -> String {
    let report = stage.report(&[Dimension::Ad, Dimension::Hour]);
    let rows = stage.front.pull(ALL, &SeqVector::default(), stage.now.plus_ms(HOUR_MS)).0;
    let chats: Vec<_> =
        (0..12).map(|number| stage.conversation(shop, &format!("viewer {number}"))).collect();
    format!("{report:?} {rows:?} {chats:?}")
}

#[test]
fn a_node_that_comes_back_from_its_journal_knows_the_same() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    live(&mut stage, &shop, 0);
    stage.wait(MINUTE_MS);
    stage.settle();
    let before = everything(&stage, &shop);
    let stage = stage.restarted();
    assert!(stage.opened.replayed > 0 && !stage.opened.checkpoint);
    assert_eq!(everything(&stage, &shop), before);
}

#[test]
fn a_checkpoint_and_the_tail_are_the_same_as_the_whole_journal() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    live(&mut stage, &shop, 0);
    let checkpoint = stage.checkpoint();
    let shown = live(&mut stage, &shop, 12);
    stage.wait(MINUTE_MS);
    stage.settle();
    let before = everything(&stage, &shop);
    let Stage { disk, ring, now, .. } = stage;
    let mut stage = Stage::open(disk.clone(), ring.clone(), now, Some(&checkpoint)).unwrap();
    assert!(stage.opened.checkpoint);
    let whole = Stage::open(disk, ring, now, None).unwrap();
    assert!(stage.opened.replayed < whole.opened.replayed);
    assert_eq!(everything(&stage, &shop), before);
    assert_eq!(everything(&whole, &shop), before);
    for shown in shown {
        assert_eq!(stage.happen(&shown, EventKind::Impression), Verdict::Already);
        assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    }
}

#[test]
fn a_checkpoint_that_is_ahead_of_the_journal_is_refused() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.show("a");
    let checkpoint_before = stage.checkpoint();
    stage.see(&shown);
    let ahead = stage.checkpoint();
    // Power is cut: the impression was never durable, though the checkpoint has it.
    let stage = stage.losing(1);
    let Stage { disk, ring, now, .. } = stage;
    let mut stage = Stage::open(disk.clone(), ring.clone(), now, Some(&ahead)).unwrap();
    assert!(!stage.opened.checkpoint, "only the log counts");
    assert_eq!(stage.report(&[]).rows, []);
    assert_eq!(stage.see(&shown), 1_000_000);
    let stage = Stage::open(disk, ring, now, Some(&checkpoint_before)).unwrap();
    assert!(stage.opened.checkpoint);
    assert!(stage.get(munadi::types::request::ResourceKind::Ad, shop.ad).is_ok());
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    live(&mut stage, &shop, 0);
    stage.wait(MINUTE_MS);
    stage.settle();
    let before = everything(&stage, &shop);
    let mut checkpoint = stage.checkpoint();
    let middle = checkpoint.len() / 2;
    checkpoint[middle] ^= 1;
    let Stage { disk, ring, now, .. } = stage;
    let stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert!(!stage.opened.checkpoint);
    assert_eq!(everything(&stage, &shop), before);
}

#[test]
fn a_credit_that_was_under_way_when_the_node_died_is_given_once() {
    for lost in 0..3 {
        let mut stage = Stage::new();
        let shop = stage.shop(&Offer::default());
        let shown = stage.tapped("a");
        let proof = Some(Claim::Click(stage.click(&shown)));
        stage.open_chat(&shop, "contact", proof);
        let mut stage = stage.losing(lost);
        // Where the opening itself was lost, nobody was told that it was stored: it is sent again.
        stage.open_chat(&shop, "contact", proof);
        let rows = stage.credits();
        assert_eq!((rows.len(), rows[0].ad_id), (1, shop.ad), "{lost} batches lost");
        let touch = stage.conversation(&shop, "contact").latest_touch.unwrap();
        assert_eq!(touch.click_id, shown.token.view);
        assert_eq!(stage.report(&[]).rows[0].conversations, 1);
    }
}

#[test]
fn two_starts_with_one_seed_give_no_name_twice() {
    let mut stage = Stage::new();
    stage.shop(&Offer { campaign: (Some(1_000_000), None), ..Offer::default() });
    let first = stage.show("a");
    stage.see(&first);
    stage.now = at("2026-11-24T12:00:00Z");
    let mut stage = stage.restarted();
    let second = stage.show("a");
    assert_ne!(second.token.view, first.token.view);
    assert_eq!(stage.see(&second), 1_000_000, "the new day's grant is not the old one");
    assert_eq!(stage.try_show("b").unwrap_err(), NoAdReason::BudgetSpent);
}

/// Starts a node on a folder and calls it as the doors do.
fn with_node<T>(
    dir: &std::path::Path,
    time: &str,
    act: impl AsyncFnOnce(&Node, &MovedClock) -> T,
) -> T {
    let clock = Arc::new(MovedClock::at(at(time)));
    let options = NodeOptions { feeds: vec![FEED], approve_ads: true, ..NodeOptions::default() };
    let node = Node::start(dir, Arc::clone(&clock) as Arc<_>, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(act(&node, &clock));
    node.stop().unwrap();
    result
}

async fn create(node: &Node, request_id: &str, row: Resource) -> u64 {
    let write = Stage::writing(crate::stage::TENANT, request_id, Change::Create(row));
    node.mutate(write).await.unwrap().id()
}

#[test]
fn a_node_on_a_folder_serves_counts_and_comes_back_and_its_audit_is_equal() {
    let dir = tempfile::tempdir().unwrap();
    let offer = Offer { campaign: (Some(5_500_000), None), ..Offer::default() };
    let tokens = with_node(dir.path(), "2026-11-23T12:00:00Z", async |node, clock| {
        let account = create(node, "account", Resource::Account(offer.account_row())).await;
        let business = munadi::types::proto::v1::Business {
            account_id: account,
            name: "Tacos".into(),
            ..Default::default()
        };
        let business = create(node, "business", Resource::Business(business)).await;
        let endpoint = munadi::types::proto::v1::ChannelEndpoint {
            business_id: business,
            channel: offer.channel.into(),
            address: "tacos_bot".into(),
            ..Default::default()
        };
        let endpoint = create(node, "endpoint", Resource::Endpoint(endpoint)).await;
        let campaign =
            create(node, "campaign", Resource::Campaign(offer.campaign_row(account))).await;
        let ad_set = create(node, "ad set", Resource::AdSet(offer.ad_set_row(campaign))).await;
        create(node, "ad", Resource::Ad(offer.ad_row(ad_set, endpoint))).await;
        let stage = Stage::new();
        let mut tokens = Vec::new();
        for number in 0..8 {
            let request = stage.tray_of(&format!("viewer {number}"));
            for slot in node.request_ads(FEED, &near(), &request).slots() {
                let Some(munadi::types::proto::v1::slot::Filling::Ad(ad)) = slot.filling else {
                    continue;
                };
                let token = node.opener().open_view(&ad.view_token, node.now().seconds()).unwrap();
                tokens.push(token);
            }
            // Holds lapse, so more is served than can be paid.
            clock.set(node.now().plus_ms(9 * MINUTE_MS));
        }
        assert!(tokens.len() > 5, "{}", tokens.len());
        tokens
    });
    let seen = |token: ViewToken| {
        let at = Some(Moment::from_seconds(token.issued));
        Incoming::Ad { token, kind: EventKind::Impression, at, suspect: None, network: 0 }
    };
    with_node(dir.path(), "2026-11-23T14:00:00Z", async |node, _| {
        assert!(node.opened().checkpoint, "the stop left one");
        for _ in 0..2 {
            let items: Vec<_> = tokens.iter().copied().map(seen).collect();
            node.record(items).unwrap().await.unwrap();
        }
        let now = node.settled().await.unwrap();
        let rows = node.front().report(ALL, &whole(), now).unwrap().0.rows;
        let row = &rows[0];
        assert_eq!((row.impressions, row.spend_micros), (tokens.len() as u64, 5_500_000));
        let running = audit(dir.path()).unwrap();
        assert!(running.equal, "a running node's journal can be audited: {running}");
    });
    let report = audit(dir.path()).unwrap();
    assert!(report.equal && report.complete, "{report}");
    assert_eq!(report.invoiced_micros["MXN"], 5_500_000);
    assert_eq!((report.impressions, report.over_budget_micros), (tokens.len() as u64, 0));
}

#[test]
fn a_clock_that_steps_back_moves_no_money_to_an_earlier_day() {
    let mut stage = Stage::at("2026-11-24T00:00:00Z");
    stage.shop(&Offer { campaign: (Some(1_000_000), None), ..Offer::default() });
    let first = stage.show("a");
    // The promise is forgotten with the node, so the last micro is promised twice.
    let mut stage = stage.restarted();
    let second = event(&stage.show("b"), EventKind::Impression);
    stage.see(&first);
    stage.now = at("2026-11-23T23:59:00Z");
    let verdict = stage.record(second);
    assert!(
        matches!(verdict, Verdict::Refused(_) | Verdict::Recorded { charged: 0, .. }),
        "{verdict:?}"
    );
    let rows = stage.report(&[Dimension::Day]).rows;
    assert_eq!(rows.iter().map(|row| row.spend_micros).sum::<i64>(), 1_000_000);
}

/// Returns how many transfers the journal has, and how many its last seal covers.
fn transfers_and_sealed(stage: &Stage) -> (u64, u64) {
    let (mut transfers, mut sealed) = (0, 0);
    let read = MemoryLog::open(&stage.disk).read_from(&SeqVector::default(), &mut |block| {
        let folded = fold(block, |_, fact| match fact {
            Kind::Granted(_) => transfers += 1,
            Kind::ImpressionSeen(fact) if fact.charge.is_some() => transfers += 1,
            Kind::ServedMinute(fact) => sealed = sealed.max(fact.ledger_transfers),
            _ => {}
        });
        folded.unwrap();
        ControlFlow::Continue(())
    });
    read.unwrap();
    (transfers, sealed)
}

#[test]
fn transfers_that_a_crash_left_unsealed_are_sealed_by_the_next_start() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    assert_eq!(stage.see(&shown), 1_000_000);
    let (transfers, sealed) = transfers_and_sealed(&stage);
    assert!(sealed < transfers, "the minute is not over");
    let mut stage = stage.restarted();
    // Nothing happens any more.
    stage.wait(MINUTE_MS);
    stage.settle();
    assert_eq!(transfers_and_sealed(&stage), (transfers, transfers));
}
