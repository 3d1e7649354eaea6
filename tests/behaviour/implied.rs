//! Taps that their chat tells of before their feed does, where taps are what is paid for.

use munadi::node::Follower;
use munadi::report::invoices::Asked;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::{BillingEvent, EntryPoint, EventKind, InvalidReason};
use munadi::types::request::{
    Claim, EventFilter, Incoming, Invalidation, Opening, Origin, Verdict,
};
use munadi::types::time::MINUTE_MS;
use munadi::types::token::{ClickToken, PackedPrice};

use crate::audited::audited_with;
use crate::billing::{finding, invalidate};
use crate::stage::{ALL, FEED, Offer, Shop, Shown, Stage, charged, event};

/// Returns a stage with one ad in a Telegram chat, paid for by tap.
fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    // Alone in the auction, an ad costs what the feed asks.
    stage.policy.floor_cpm_micros = 100_000;
    let shop = stage.shop(&Offer { billing: BillingEvent::LinkClicks, ..Offer::default() });
    (stage, shop)
}

/// Shows the ad to somebody who looks at it; returns what a tap on it costs.
fn seen(stage: &mut Stage, name: &str) -> (Shown, i64) {
    let shown = stage.show(name);
    assert_eq!(stage.see(&shown), 0, "an impression costs nothing");
    stage.wait(5_000);
    let price = shown.token.price_micros;
    assert!(price > 0);
    (shown, price)
}

/// Opens the chat by the click token of a shown ad, and lets all that follows be done.
fn open(stage: &mut Stage, shop: &Shop, shown: &Shown, contact: &str) {
    let claim = Some(Claim::Click(stage.click(shown)));
    assert_eq!(charged(&stage.open_chat(shop, contact, claim)), 0);
    stage.settle();
}

/// Returns taps, conversations and spend of everything.
fn counts(stage: &Stage) -> (u64, u64, i64) {
    let row = stage.report(&[]).rows.first().cloned().unwrap_or_default();
    (row.taps, row.conversations, row.spend_micros)
}

fn is_equal(stage: &Stage) {
    let report = audited_with(stage, |_| ());
    assert!(report.equal, "{report}");
}

#[test]
fn a_tap_is_charged_once_whichever_of_feed_and_chat_tells_of_it_first() {
    for feed_first in [false, true] {
        let (mut stage, shop) = staged();
        let (shown, price) = seen(&mut stage, "ana");
        if feed_first {
            assert_eq!(stage.tap(&shown), price);
        }
        open(&mut stage, &shop, &shown, "ana");
        assert_eq!(counts(&stage), (1, 1, price), "the feed first: {feed_first}");
        assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
        let mut stage = stage.restarted();
        assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
        let claim = Some(Claim::Click(stage.click(&shown)));
        assert_eq!(stage.open_chat(&shop, "ana", claim), Verdict::Already);
        open(&mut stage, &shop, &shown, "somebody else");
        assert_eq!(counts(&stage), (1, 1, price), "the feed first: {feed_first}");
        let rows = stage.credits();
        assert!(rows.iter().all(|row| row.charged_micros == 0), "no conversation was paid for");
        is_equal(&stage);
    }
}

#[test]
fn the_opening_that_comes_with_the_tap_in_one_report_pays_it_once() {
    let (mut stage, shop) = staged();
    let (shown, price) = seen(&mut stage, "ana");
    let claim = Some(Claim::Click(stage.click(&shown)));
    let (chat, opening) = (stage.chat(&shop, "ana"), Opening::by_message(EntryPoint::Ad, claim));
    let opened = Incoming::Opened { chat, opening };
    stage.record_all(vec![opened, event(&shown, EventKind::Tap)]);
    assert_eq!(counts(&stage), (1, 1, price));
    is_equal(&stage);
}

#[test]
fn a_tap_whose_view_is_not_recorded_when_its_chat_opens_costs_nothing() {
    let (mut stage, shop) = staged();
    let shown = stage.show("ana");
    stage.wait(5_000);
    open(&mut stage, &shop, &shown, "ana");
    assert_eq!(counts(&stage), (1, 1, 0));
    assert_eq!(stage.see(&shown), 0);
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    let stage = stage.restarted();
    assert_eq!(counts(&stage), (1, 1, 0));
    is_equal(&stage);
}

#[test]
fn a_tap_on_an_invalid_view_costs_nothing_and_says_what_it_would_have() {
    let (mut stage, shop) = staged();
    let shown = stage.show("ana");
    let (token, kind) = (shown.token, EventKind::Impression);
    let suspect = Some(InvalidReason::UserAgent);
    stage.record(Incoming::Ad { token, kind, at: None, suspect, network: 0 });
    open(&mut stage, &shop, &shown, "ana");
    assert_eq!(counts(&stage), (0, 0, 0));
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    let asked = Asked { before: i32::MAX, limit: 12, now: stage.now };
    let (invoices, _) = stage.front.invoices(ALL, shop.account, asked).unwrap();
    let told = invoices.iter().map(|it| (it.charged_events, it.invalid_events, it.invalid_micros));
    assert_eq!(told.collect::<Vec<_>>(), [(0, 1, token.price_micros)]);
    is_equal(&stage);
}

#[test]
fn it_is_given_back_once_as_a_tap_of_its_feed() {
    let (mut stage, shop) = staged();
    let (shown, price) = seen(&mut stage, "ana");
    open(&mut stage, &shop, &shown, "ana");
    let all = finding(&stage, &shop);
    let billed = |request_id: &str, billing, dry_run| {
        let filter = EventFilter {
            feed: FEED,
            billed: vec![billing],
            taps_per_viewer_min: 1,
            ..all.filter.clone()
        };
        let body_hash = [request_id.len() as u8; 16];
        Invalidation { request_id: request_id.into(), body_hash, filter, dry_run, ..all.clone() }
    };
    let chats = billed("chats", BillingEvent::Conversations, true);
    assert_eq!(invalidate(&mut stage, &chats, 0).unwrap().events, 0, "no conversation is paid for");
    let taps = billed("taps", BillingEvent::LinkClicks, false);
    let answer = invalidate(&mut stage, &taps, 9).unwrap();
    assert_eq!((answer.events, answer.credited[0].micros), (1, price));
    let again = billed("again", BillingEvent::LinkClicks, false);
    let again = invalidate(&mut stage, &again, 9).unwrap();
    assert_eq!((again.events, again.credited_before), (0, 1));
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    let stage = stage.restarted();
    let balance = stage.front.balance(ALL, shop.account).unwrap();
    assert_eq!((balance.spent_micros, balance.refunded_micros), (price, price));
    is_equal(&stage);
}

#[test]
fn an_audit_finds_a_tap_that_was_left_out_of_the_bill() {
    let (mut stage, shop) = staged();
    let (shown, _) = seen(&mut stage, "ana");
    open(&mut stage, &shop, &shown, "ana");
    let report = audited_with(&stage, |fact| {
        if let Kind::ClickMatched(fact) = fact {
            (fact.charge, fact.tap_billed) = (None, false);
        }
    });
    let found = report.differences.iter().any(|what| what.contains("implies a tap of"));
    assert!(!report.equal && found, "{report}");
}

#[test]
fn the_link_of_a_tap_that_is_paid_for_forwards_and_leaves_its_price_to_the_chat() {
    let (mut stage, shop) = staged();
    let (shown, price) = seen(&mut stage, "ana");
    let click = stage.click(&shown);
    assert!(click.per_tap);
    assert_eq!(click.price.micros(), price, "as it was agreed");
    let text = stage.front.sealer().seal_click_text(&click);
    let followed = stage.front.follow(&text, &Follower::default(), stage.now).unwrap();
    assert_eq!((followed.link, followed.counts), (shown.ad.chat_link.clone(), None));
    open(&mut stage, &shop, &shown, "ana");
    assert_eq!(counts(&stage), (1, 1, price));
}

#[test]
fn an_old_click_token_without_the_price_implies_a_tap_for_nothing() {
    let (mut stage, shop) = staged();
    let (shown, _) = seen(&mut stage, "ana");
    let click = stage.click(&shown);
    let old = ClickToken { per_tap: false, price: PackedPrice(0), ..click };
    assert_eq!(charged(&stage.open_chat(&shop, "ana", Some(Claim::Click(old)))), 0);
    stage.settle();
    assert_eq!(counts(&stage), (1, 1, 0));
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    is_equal(&stage);
}

#[test]
fn a_sale_by_its_click_token_alone_leaves_the_tap_to_be_told_and_paid() {
    let (mut stage, shop) = staged();
    let (shown, price) = seen(&mut stage, "ana");
    let origin = Origin::Click(stage.click(&shown));
    assert_eq!(charged(&stage.convert(&shop, "sale", origin)), 0);
    stage.settle();
    assert_eq!(counts(&stage), (0, 0, 0));
    stage.wait(MINUTE_MS);
    open(&mut stage, &shop, &shown, "ana");
    assert_eq!(counts(&stage), (1, 1, price));
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    is_equal(&stage);
}
