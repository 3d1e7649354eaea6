//! From ad to chat: who opened it, by which ad, and when it was first answered.

use munadi::types::proto::v1::{
    BillingEvent, Channel, DeclineReason, Direction, EntryPoint, MatchKind, Outcome,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Incoming, Opening, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::stage::{Offer, Shop, Stage, charged, refused};

/// Returns a stage with one ad on a channel, billed by conversations.
pub(crate) fn by_conversation(channel: Channel) -> (Stage, Shop) {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 3_000_000;
    let billing = BillingEvent::Conversations;
    let shop = stage.shop(&Offer { channel, billing, ..Offer::default() });
    (stage, shop)
}

fn counts(stage: &Stage) -> (u64, u64, u64, i64) {
    let row = stage.report(&[]).rows.first().cloned().unwrap_or_default();
    (row.taps, row.conversations, row.first_replies, row.spend_micros)
}

#[test]
fn a_click_token_leads_from_the_tap_to_the_chat_and_is_charged_once() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let click = stage.click(&shown);
    let proof = Some(Claim::Click(click));
    charged(&stage.open_chat(&shop, "contact", proof));
    assert_eq!(stage.open_chat(&shop, "contact", proof), Verdict::Already);
    let mut stage = stage.restarted();
    assert_eq!(stage.open_chat(&shop, "contact", proof), Verdict::Already);
    let price = shown.token.price_micros;
    assert!(price > 0);
    assert_eq!(counts(&stage), (1, 1, 0, price));
    let chat = stage.conversation(&shop, "contact");
    let touch = chat.first_touch.unwrap();
    assert_eq!(
        (touch.ad_id, touch.ad_set_id, touch.campaign_id),
        (shop.ad, shop.ad_set, shop.campaign)
    );
    assert_eq!((touch.click_id, touch.match_kind()), (shown.token.view, MatchKind::ClickToken));
    assert_eq!(chat.latest_touch, Some(touch));
    let credits = stage.credits();
    assert_eq!(credits.len(), 1);
    assert_eq!((credits[0].outcome(), credits[0].charged_micros), (Outcome::Conversation, price));
}

#[test]
fn a_prefill_code_leads_to_the_chat_where_the_channel_drops_tokens() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let shown = stage.tapped("a");
    let proof = Some(Claim::Code(stage.code(&shown)));
    charged(&stage.open_chat(&shop, "contact", proof));
    stage.settle();
    let touch = stage.conversation(&shop, "contact").first_touch.unwrap();
    assert_eq!((touch.ad_id, touch.match_kind()), (shop.ad, MatchKind::PrefillCode));
    assert_eq!(counts(&stage), (1, 1, 0, shown.token.price_micros));
}

#[test]
fn a_code_that_nobody_tapped_or_of_another_endpoint_is_no_touch() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let other = stage.shop(&Offer { channel: Channel::Whatsapp, bid: 1, ..Offer::default() });
    let shown = stage.show("a");
    stage.see(&shown);
    let code = Some(Claim::Code(stage.code(&shown)));
    charged(&stage.open_chat(&shop, "before the tap", code));
    stage.tap(&shown);
    charged(&stage.open_chat(&other, "elsewhere", code));
    let credits = stage.credits();
    let reasons: Vec<_> = credits.iter().map(|row| row.decline_reason()).collect();
    assert_eq!(reasons, [DeclineReason::NoTouch, DeclineReason::NoTouch]);
    assert_eq!(counts(&stage), (1, 0, 0, 0));
    charged(&stage.open_chat(&shop, "after it", code));
    assert_eq!(counts(&stage).1, 1);
}

#[test]
fn a_chat_without_a_proof_is_organic_and_costs_nothing() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    stage.tapped("a");
    charged(&stage.open_chat(&shop, "contact", None));
    assert_eq!(stage.open_chat(&shop, "contact", None), Verdict::Already);
    let chat = stage.conversation(&shop, "contact");
    assert_eq!((chat.first_touch, chat.entry_point()), (None, EntryPoint::BusinessProfile));
    let credits = stage.credits();
    assert_eq!(credits.len(), 1);
    assert_eq!(credits[0].decline_reason(), DeclineReason::AttributeToOtherSource);
    assert_eq!(counts(&stage), (1, 0, 0, 0));
}

#[test]
fn a_replayed_click_earns_nothing_for_a_second_chat() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let proof = Some(Claim::Click(stage.click(&shown)));
    stage.open_chat(&shop, "first", proof);
    charged(&stage.open_chat(&shop, "second", proof));
    stage.settle();
    assert_eq!(counts(&stage), (1, 1, 0, shown.token.price_micros));
    assert_eq!(stage.conversation(&shop, "second").first_touch, None);
    let mut rows = stage.credits();
    rows.retain(|row| row.ad_id == 0);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].decline_reason(), DeclineReason::Duplicated);
}

#[test]
fn a_click_token_proves_a_tap_that_was_not_reported_and_the_late_tap_counts_no_more() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.show("a");
    let proof = Some(Claim::Click(stage.click(&shown)));
    stage.open_chat(&shop, "contact", proof);
    assert_eq!(counts(&stage), (1, 1, 0, 0), "a view that was not recorded costs nothing");
    // The feed's batch comes after the chat platform's webhook.
    stage.see(&shown);
    let tap = munadi::types::proto::v1::EventKind::Tap;
    assert_eq!(stage.happen(&shown, tap), Verdict::Already);
    assert_eq!(counts(&stage), (1, 1, 0, 0));
}

#[test]
fn a_chat_reopened_by_another_ad_keeps_its_first_and_its_latest_touch() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let first = stage.tapped("a");
    let click = stage.click(&first);
    stage.open_chat(&shop, "contact", Some(Claim::Click(click)));
    stage.answer(&shop, "contact", "hello");
    stage.wait(HOUR_MS);
    let second = stage.tapped("a");
    let click = stage.click(&second);
    stage.open_chat(&shop, "contact", Some(Claim::Click(click)));
    let chat = stage.conversation(&shop, "contact");
    assert_eq!(chat.first_touch.unwrap().click_id, first.token.view);
    assert_eq!(chat.latest_touch.unwrap().click_id, second.token.view);
    assert_eq!(counts(&stage).1, 2);
    stage.answer(&shop, "contact", "hello again");
    assert_eq!(counts(&stage).2, 2, "each touch has its first answer");
}

#[test]
fn the_first_answer_counts_once_for_the_ad_that_led_here() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let click = stage.click(&shown);
    stage.open_chat(&shop, "contact", Some(Claim::Click(click)));
    let inbound = stage.receipt(&shop, "contact", "question", Direction::Inbound);
    charged(&stage.record(inbound));
    assert_eq!(counts(&stage).2, 0);
    stage.wait(MINUTE_MS);
    charged(&stage.answer(&shop, "contact", "answer"));
    assert_eq!(stage.answer(&shop, "contact", "answer"), Verdict::Already);
    stage.answer(&shop, "contact", "more");
    assert_eq!(counts(&stage).2, 1);
    let chat = stage.conversation(&shop, "contact");
    assert_eq!((chat.inbound_messages, chat.outbound_messages), (1, 2));
    assert_eq!(chat.first_reply_time.unwrap().seconds, i64::from(stage.now.seconds()));
    let end = chat.service_window_end.unwrap().seconds * 1_000;
    assert_eq!(end, stage.now.0 - MINUTE_MS + DAY_MS);
}

#[test]
fn an_answer_that_comes_before_the_match_is_settled_counts_once_too() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let proof = Some(Claim::Click(stage.click(&shown)));
    let chat = stage.chat(&shop, "contact");
    let opened = Incoming::Opened { chat, opening: Opening::by_message(EntryPoint::Ad, proof) };
    let answer = stage.receipt(&shop, "contact", "answer", Direction::Outbound);
    // Both in one batch: the match comes in a later one.
    stage.record_all(vec![opened, answer]);
    assert_eq!(counts(&stage).2, 1);
    stage.answer(&shop, "contact", "more");
    assert_eq!(counts(&stage).2, 1);
}

#[test]
fn a_message_of_an_unknown_chat_is_refused() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let verdict = stage.answer(&shop, "nobody", "hello");
    assert_eq!(refused(&verdict), Reason::ConversationUnknown);
}

#[test]
fn a_business_speaks_for_its_own_endpoints_only() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let other = stage.shop(&Offer { bid: 1, ..Offer::default() });
    let mixed = Shop { endpoint: other.endpoint, ..shop };
    let verdict = stage.open_chat(&mixed, "contact", None);
    assert_eq!(refused(&verdict), Reason::EndpointForeign);
    let foreign = Shop { tenant: 99, ..shop };
    assert_eq!(refused(&stage.open_chat(&foreign, "contact", None)), Reason::NotFound);
    let shown = stage.tapped("a");
    let click = Some(Claim::Click(stage.click(&shown)));
    let verdict = stage.open_chat(&other, "contact", click);
    assert_eq!(refused(&verdict), Reason::EndpointForeign);
    assert_eq!(stage.credits(), []);
}

#[test]
fn an_opening_before_its_click_token_or_from_the_future_is_refused() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let proof = Some(Claim::Click(stage.click(&shown)));
    for (ms, reason) in [
        (-1_000, Reason::EventBeforeToken),
        (5 * MINUTE_MS + 1, Reason::EventFromFuture),
        (-4 * DAY_MS, Reason::EventTooOld),
    ] {
        let mut chat = stage.chat(&shop, "contact");
        chat.at = Some(stage.now.plus_ms(ms));
        let opened = Incoming::Opened { chat, opening: Opening::by_message(EntryPoint::Ad, proof) };
        assert_eq!(refused(&stage.record(opened)), reason, "{ms}");
    }
}

#[test]
fn a_chat_opened_eight_days_after_its_tap_is_outside_the_window() {
    for (ms, conversations) in [(7 * DAY_MS, 1), (7 * DAY_MS + 1, 0)] {
        let (mut stage, shop) = by_conversation(Channel::Telegram);
        let shown = stage.tapped("a");
        let proof = Some(Claim::Click(stage.click(&shown)));
        stage.wait(ms);
        stage.open_chat(&shop, "contact", proof);
        assert_eq!(counts(&stage).1, conversations, "{ms}");
        let reason = stage.credits()[0].decline_reason();
        assert_eq!(reason == DeclineReason::OutOfLookbackWindow, conversations == 0);
    }
}
