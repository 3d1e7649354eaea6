//! What messages cost at their channel: priced once, by dated rules and cards, as a memo.

use munadi::state::tariffs::list_cards;
use munadi::tokens::message_number;
use munadi::types::proto::journal::v1::VolumeTierPut;
use munadi::types::proto::v1;
use munadi::types::proto::v1::MessageCategory::{Marketing, Service, Utility};
use munadi::types::proto::v1::{
    Channel, Direction, EntryPoint, MessageCategory, MessageStatus, Money, NextMessage,
    PriceReason, RateCard,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Chat, Incoming, ListChange, Opening, Receipt, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, Moment};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, calls};
use crate::stage::{Offer, Shop, Stage, charged, refused};

/// Mexico, two letters as a big-endian number.
const MEXICO: u16 = 0x4D58;

fn open_shop(time: &str) -> (Stage, Shop) {
    let mut stage = Stage::at(time);
    let shop = stage.shop(&Offer { channel: Channel::Whatsapp, ..Offer::default() });
    (stage, shop)
}

fn mexican(stage: &Stage, shop: &Shop, contact: &str) -> Chat {
    Chat { country: MEXICO, ..stage.chat(shop, contact) }
}

/// Somebody from Mexico writes; maybe from an ad.
fn write(stage: &mut Stage, shop: &Shop, contact: &str, free_entry: bool) {
    let opening = Opening { free_entry, ..Opening::by_message(EntryPoint::BusinessProfile, None) };
    let chat = mexican(stage, shop, contact);
    charged(&stage.record(Incoming::Opened { chat, opening }));
}

fn send(
    stage: &mut Stage,
    shop: &Shop,
    (contact, id): (&str, &str),
    category: MessageCategory,
    status: MessageStatus,
) -> Verdict {
    let message = message_number(&stage.ring.contact, shop.endpoint, id);
    let template = category != Service;
    let delivered = Receipt::delivered(message, Direction::Outbound, category);
    let receipt = Receipt { status, template, ..delivered };
    let chat = mexican(stage, shop, contact);
    stage.record(Incoming::Message { chat, receipt })
}

/// Returns what a conversation has cost: category, messages, micros.
fn costs(stage: &Stage, shop: &Shop, contact: &str) -> Vec<(MessageCategory, u64, i64)> {
    let chat = stage.front.with_prices(stage.conversation(shop, contact), stage.now);
    let micros = |cost: &v1::MessageCost| cost.cost.as_ref().map_or(0, |cost| cost.micros);
    let told = |cost: &v1::MessageCost| (cost.category(), cost.messages, micros(cost));
    chat.message_costs.iter().map(told).collect()
}

fn next(stage: &Stage, shop: &Shop, contact: &str, category: MessageCategory) -> NextMessage {
    let chat = stage.front.with_prices(stage.conversation(shop, contact), stage.now);
    chat.next_messages.into_iter().find(|next| next.category() == category).unwrap()
}

#[test]
fn a_message_is_priced_at_the_first_word_that_it_arrived_and_never_again() {
    let (mut stage, shop) = open_shop("2026-10-15T12:00:00Z");
    write(&mut stage, &shop, "a", false);
    let one = ("a", "m1");
    charged(&send(&mut stage, &shop, one, Utility, MessageStatus::Sent));
    assert_eq!(costs(&stage, &shop, "a"), [], "sent is not delivered");
    charged(&send(&mut stage, &shop, one, Utility, MessageStatus::Read));
    let paid = [(Utility, 1, 8_500)];
    assert_eq!(costs(&stage, &shop, "a"), paid, "read without delivered");
    for status in [MessageStatus::Delivered, MessageStatus::Read, MessageStatus::Sent] {
        assert_eq!(send(&mut stage, &shop, one, Utility, status), Verdict::Already);
    }
    send(&mut stage, &shop, ("a", "m2"), Utility, MessageStatus::Failed);
    let question = stage.receipt(&shop, "a", "m3", Direction::Inbound);
    charged(&stage.record(question));
    assert_eq!(costs(&stage, &shop, "a"), paid);
    let mut stage = stage.restarted();
    assert_eq!(costs(&stage, &shop, "a"), paid);
    assert_eq!(send(&mut stage, &shop, one, Utility, MessageStatus::Read), Verdict::Already);
    let whole = stage.report(&[]);
    assert!(whole.rows.iter().all(|row| row.spend_micros == 0), "it is in no purse");
}

#[test]
fn a_number_has_a_thousand_free_replies_a_month_over_all_its_conversations() {
    let (mut stage, shop) = open_shop("2026-10-30T12:00:00Z");
    write(&mut stage, &shop, "a", false);
    write(&mut stage, &shop, "b", false);
    for number in 0..999 {
        let contact = if number % 2 == 0 { "a" } else { "b" };
        let id = format!("m{number}");
        charged(&send(&mut stage, &shop, (contact, &id), Service, MessageStatus::Delivered));
    }
    let mut stage = stage.restarted();
    let reply = next(&stage, &shop, "a", Service);
    assert_eq!((reply.reason(), reply.allowed), (PriceReason::FreeAllowance, true));
    charged(&send(&mut stage, &shop, ("a", "m999"), Service, MessageStatus::Delivered));
    let spent = |stage: &Stage| {
        let all = ["a", "b"].map(|contact| costs(stage, &shop, contact));
        all.iter().flatten().map(|(_, messages, micros)| (*messages, *micros)).collect::<Vec<_>>()
    };
    assert_eq!(spent(&stage), [(501, 0), (499, 0)], "the 1,000th is free");
    let reply = next(&stage, &shop, "b", Service);
    let price = Some(Money { micros: 8_500, currency: "USD".into() });
    assert_eq!((reply.reason(), reply.cost), (PriceReason::Regular, price));
    charged(&send(&mut stage, &shop, ("b", "m1000"), Service, MessageStatus::Delivered));
    assert_eq!(spent(&stage), [(501, 0), (500, 8_500)], "the 1,001st costs what utility does");
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, .. } = stage;
    let stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert_eq!(spent(&stage), [(501, 0), (500, 8_500)]);
    // In November the next ones are free again.
    let november = v1::Conversation { ..stage.conversation(&shop, "b") };
    let told = stage.front.with_prices(november, Moment::of_date(2026, 11, 1));
    let reply = told.next_messages.into_iter().find(|next| next.category() == Service).unwrap();
    assert_eq!(reply.reason(), PriceReason::FreeAllowance);
}

#[test]
fn a_window_counts_that_was_open_when_a_message_was_sent() {
    let (mut stage, shop) = open_shop("2026-08-15T12:00:00Z");
    write(&mut stage, &shop, "a", false);
    stage.wait(DAY_MS - 1);
    charged(&send(&mut stage, &shop, ("a", "m1"), Utility, MessageStatus::Sent));
    stage.wait(2 * HOUR_MS);
    charged(&send(&mut stage, &shop, ("a", "m1"), Utility, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 1, 0)], "delivered behind its end");
    charged(&send(&mut stage, &shop, ("a", "m2"), Utility, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 2, 8_500)]);
}

#[test]
fn a_receipt_without_a_country_is_priced_by_the_conversations() {
    let (mut stage, shop) = open_shop("2026-08-15T12:00:00Z");
    write(&mut stage, &shop, "a", false);
    let tell = |stage: &mut Stage, id: &str, country: u16| {
        let message = message_number(&stage.ring.contact, shop.endpoint, id);
        let delivered = Receipt::delivered(message, Direction::Outbound, Marketing);
        let chat = Chat { country, ..stage.chat(&shop, "a") };
        charged(&stage.record(Incoming::Message { chat, receipt: delivered }));
    };
    tell(&mut stage, "m1", 0);
    assert_eq!(costs(&stage, &shop, "a"), [(Marketing, 1, 30_500)], "Mexico's");
    tell(&mut stage, "m2", u16::from_be_bytes(*b"IN"));
    assert_eq!(costs(&stage, &shop, "a"), [(Marketing, 2, 42_300)], "and India's");
}

#[test]
fn what_the_next_message_costs_and_when_that_changes_is_told() {
    let (mut stage, shop) = open_shop("2026-09-28T12:00:00Z");
    let written = stage.now;
    write(&mut stage, &shop, "a", false);
    let told = |stage: &Stage, contact: &str, category| {
        let next = next(stage, &shop, contact, category);
        let until = next.until.as_ref().map(Moment::from);
        (next.reason(), next.cost.map_or(0, |cost| cost.micros), until, next.allowed)
    };
    let (free, regular) = (PriceReason::FreeCustomerService, PriceReason::Regular);
    let end = Some(written.plus_ms(DAY_MS));
    // September: free inside the window; a template is charged behind it, and free text is not allowed.
    assert_eq!(told(&stage, "a", Utility), (free, 0, end, true));
    assert_eq!(told(&stage, "a", Service), (free, 0, end, true));
    assert_eq!(told(&stage, "a", Marketing), (regular, 30_500, None, true));
    stage.wait(DAY_MS - 1);
    assert_eq!(told(&stage, "a", Utility), (free, 0, end, true));
    stage.wait(1);
    let october = Some(Moment::of_date(2026, 10, 1));
    assert_eq!(told(&stage, "a", Utility), (regular, 8_500, None, true));
    assert_eq!(told(&stage, "a", Service), (free, 0, october, false));
    // An answered click on an ad: free for 72 hours from the answer on, beyond the turn to October.
    stage.wait(DAY_MS);
    write(&mut stage, &shop, "b", true);
    stage.wait(HOUR_MS);
    let entry = PriceReason::FreeEntryPoint;
    let unanswered = Some(stage.now.plus_ms(23 * HOUR_MS));
    assert_eq!(
        told(&stage, "b", Marketing),
        (entry, 0, unanswered, true),
        "it would be the answer"
    );
    let answered = stage.now;
    charged(&send(&mut stage, &shop, ("b", "m1"), Service, MessageStatus::Delivered));
    let end = Some(answered.plus_ms(3 * DAY_MS));
    assert_eq!(told(&stage, "b", Marketing), (entry, 0, end, true));
    let chat = stage.front.with_prices(stage.conversation(&shop, "b"), stage.now);
    assert_eq!(chat.free_entry_window_end.as_ref().map(Moment::from), end);
    assert_eq!(costs(&stage, &shop, "b"), [(Service, 1, 0)], "the answer itself is free");
}

#[test]
fn an_operators_cards_are_in_force_at_once_and_outlive_a_restart() {
    let (mut stage, shop) = open_shop("2026-10-15T12:00:00Z");
    let card = |from_messages, to_messages, micros| RateCard {
        channel: v1::Channel::Whatsapp.into(),
        market: "Mexico".into(),
        category: Utility.into(),
        price: Some(Money { micros, currency: "MXN".into() }),
        valid_from: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        from_messages,
        to_messages,
        ..RateCard::default()
    };
    let cards = vec![card(1, 100, 160_000), card(101, 0, 120_000)];
    assert_eq!(stage.write_lists("cards", ListChange::RateCards(cards.clone())), Ok(2));
    write(&mut stage, &shop, "a", false);
    charged(&send(&mut stage, &shop, ("a", "m1"), Utility, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 1, 160_000)], "in the account's currency");
    let tier = VolumeTierPut {
        business: shop.business,
        category: Utility.into(),
        market: "MEXICO".into(),
        month: 681,
        from: 101,
        to: 0,
    };
    let tell = |stage: &mut Stage, id: &str, tier: &VolumeTierPut| {
        stage.write_lists(id, ListChange::VolumeTier(tier.clone()))
    };
    assert_eq!(tell(&mut stage, "t1", &tier), Ok(1));
    let lower = VolumeTierPut { from: 1, ..tier.clone() };
    assert_eq!(tell(&mut stage, "t2", &lower), Ok(0), "a late one changes nothing");
    let foreign = VolumeTierPut { business: 1, ..tier.clone() };
    assert_eq!(tell(&mut stage, "t3", &foreign).unwrap_err().reason, Reason::NotFound);
    let long = VolumeTierPut { market: "x".repeat(65), ..tier };
    assert_eq!(tell(&mut stage, "t4", &long).unwrap_err().field, "market");
    let mut stage = stage.restarted();
    charged(&send(&mut stage, &shop, ("a", "m2"), Utility, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 2, 280_000)]);
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, .. } = stage;
    let mut stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert_eq!(stage.front.rate_cards().0, cards);
    assert_eq!(stage.front.rate_cards().1, list_cards(), "the others are in another currency");
    charged(&send(&mut stage, &shop, ("a", "m3"), Utility, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 3, 400_000)]);
    assert_eq!(stage.write_lists("none", ListChange::RateCards(Vec::new())), Ok(0));
    assert_eq!(stage.front.rate_cards().0, []);
    assert_eq!(costs(&stage, &shop, "a"), [(Utility, 3, 400_000)], "what is priced stays");
}

#[test]
fn another_channel_charges_nothing_until_an_operator_loads_its_cards() {
    let mut stage = Stage::at("2026-10-15T12:00:00Z");
    let shop = stage.shop(&Offer::default());
    write(&mut stage, &shop, "a", false);
    charged(&send(&mut stage, &shop, ("a", "m1"), Service, MessageStatus::Delivered));
    assert_eq!(costs(&stage, &shop, "a"), [(Service, 1, 0)]);
    let reply = next(&stage, &shop, "a", Service);
    assert_eq!((reply.reason(), reply.until), (PriceReason::NoCharge, None));
    let unknown = send(&mut stage, &shop, ("nobody", "m2"), Service, MessageStatus::Delivered);
    assert_eq!(refused(&unknown), Reason::ConversationUnknown);
}

#[test]
fn an_operator_loads_cards_and_a_bad_one_is_refused_by_its_field() {
    let desk = Desk::start();
    calls(async {
        let mut admin = desk.admin(OPERATOR);
        let request = |request_id: &str, cards: Vec<RateCard>| {
            let request_id = request_id.to_owned();
            v1::SetRateCardsRequest { request_id, cards }
        };
        let cards = list_cards();
        let first = cards[0].clone();
        let loaded = admin.set_rate_cards(request("cards", vec![first.clone()])).await?;
        assert_eq!(loaded.into_inner().cards, 1);
        let other = admin.set_rate_cards(request("cards", Vec::new())).await;
        assert_eq!(other.unwrap_err().code(), Code::AlreadyExists, "another body");
        let mut gap = first.clone();
        gap.from_messages = 2;
        let refused = admin.set_rate_cards(request("bad", vec![first.clone(), gap])).await;
        let status = refused.unwrap_err();
        let details = status.get_error_details();
        let told = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(told.as_deref(), Some("cards[1].from_messages"));
        let known = admin.list_rate_cards(v1::ListRateCardsRequest {}).await?.into_inner();
        assert_eq!((known.cards, known.built_in), (vec![first], cards[1..].to_vec()));
        let rules = admin.list_message_rules(v1::ListMessageRulesRequest {}).await?.into_inner();
        let regimes: Vec<_> = rules.rules.iter().map(|rule| &*rule.regime).collect();
        let expected = ["late_messages", "conversations", "conversations", "messages", "replies"];
        assert_eq!(regimes, expected);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
