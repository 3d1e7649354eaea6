//! Openings that name no click: by the channel's word on its ad, by a printed code, by the only tap there was.

use munadi::node::fold;
use munadi::types::ids::SeqVector;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::{
    Channel, DeclineReason, Direction, EntryPoint, EntrySource, MatchConfidence, MatchKind,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{
    Chat, Claim, Incoming, Opening, Receipt, Resource, ResourceKind, Verdict,
};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::conversations::by_conversation;
use crate::stage::{Offer, Shop, Stage, charged, letters, refused};

const HALF_HOUR_MS: i64 = 30 * MINUTE_MS;

/// Opens a chat of which a channel says no more than the person's country.
fn write_first(stage: &mut Stage, shop: &Shop, contact: &str, country: &str) -> Verdict {
    let chat = Chat { country: letters(country), ..stage.chat(shop, contact) };
    stage.record(Incoming::Opened { chat, opening: Opening::by_message(EntryPoint::Organic, None) })
}

/// Opens a chat whose referral names an ad, with the channel's own click id.
fn refer(stage: &mut Stage, shop: &Shop, contact: &str, click_id: &str) -> Verdict {
    let chat = stage.chat(shop, contact);
    let by_ad = Opening::by_message(EntryPoint::Ad, Some(Claim::Ad(shop.ad)));
    let opening = Opening { channel_click_id: click_id.into(), free_entry: true, ..by_ad };
    stage.record(Incoming::Opened { chat, opening })
}

fn touch(stage: &Stage, shop: &Shop, contact: &str) -> Option<(u64, MatchKind, MatchConfidence)> {
    let touch = stage.conversation(shop, contact).latest_touch;
    touch.map(|touch| (touch.click_id, touch.match_kind(), touch.match_confidence()))
}

fn facts(stage: &Stage) -> Vec<Kind> {
    let mut facts = Vec::new();
    let read = stage.writer.log().read_from(&SeqVector::default(), &mut |block| {
        fold(block, |_, kind| facts.push(kind.clone())).unwrap();
        std::ops::ControlFlow::Continue(())
    });
    read.unwrap();
    facts
}

#[test]
fn the_only_tap_of_a_country_leads_to_the_chat_for_less_than_half_an_hour() {
    for (after_ms, country, matches) in
        [(HALF_HOUR_MS - 1, "MX", true), (HALF_HOUR_MS, "MX", false), (MINUTE_MS, "BR", false)]
    {
        let (mut stage, shop) = by_conversation(Channel::Whatsapp);
        let shown = stage.tapped("a");
        // What was looked up before a restart is looked up after it.
        let mut stage = stage.restarted();
        stage.wait(after_ms);
        charged(&write_first(&mut stage, &shop, "contact", country));
        stage.settle();
        let only = (shown.token.view, MatchKind::OnlyTap, MatchConfidence::Low);
        assert_eq!(touch(&stage, &shop, "contact"), matches.then_some(only), "{country}");
        let spent = stage.report(&[]).rows.first().map_or(0, |row| row.spend_micros);
        assert_eq!(spent, if matches { shown.token.price_micros } else { 0 });
        let row = &stage.credits()[0];
        let confidence = if matches { MatchConfidence::Low } else { MatchConfidence::Unspecified };
        assert_eq!(row.match_confidence(), confidence);
        charged(&write_first(&mut stage, &shop, "another", country));
        stage.settle();
        assert_eq!(touch(&stage, &shop, "another"), None, "a tap leads to one chat");
    }
}

#[test]
fn of_two_taps_or_where_a_country_is_unknown_nobody_can_tell() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    stage.tapped("a");
    let chat = stage.chat(&shop, "from nowhere");
    let opening = Opening::by_message(EntryPoint::Organic, None);
    stage.record(Incoming::Opened { chat, opening: opening.clone() });
    let chat = Chat { country: letters("MX"), ..stage.chat(&shop, "by the profile") };
    let profile = Opening { entry_point: EntryPoint::BusinessProfile, ..opening };
    stage.record(Incoming::Opened { chat, opening: profile });
    stage.tapped("b");
    write_first(&mut stage, &shop, "one of two", "MX");
    stage.settle();
    for contact in ["from nowhere", "by the profile", "one of two"] {
        assert_eq!(touch(&stage, &shop, contact), None, "{contact}");
    }
}

#[test]
fn a_referral_takes_the_newest_tap_of_its_ad_and_two_take_two() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let older = stage.tapped("a");
    stage.wait(MINUTE_MS);
    let newer = stage.tapped("b");
    for (contact, click) in [("first", "1"), ("second", "2"), ("third", "3")] {
        charged(&refer(&mut stage, &shop, contact, click));
        assert_eq!(refer(&mut stage, &shop, contact, click), Verdict::Already);
    }
    let by_ad = |view| Some((view, MatchKind::ChannelRef, MatchConfidence::Medium));
    assert_eq!(touch(&stage, &shop, "first"), by_ad(newer.token.view));
    assert_eq!(touch(&stage, &shop, "second"), by_ad(older.token.view));
    assert_eq!(touch(&stage, &shop, "third"), None);
    let mut rows = stage.credits();
    rows.retain(|row| row.ad_id == 0);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].decline_reason(), DeclineReason::NoTouch);
    assert_eq!(rows[0].match_kind(), MatchKind::ChannelRef);
}

#[test]
fn a_click_found_by_its_ad_and_then_proven_by_its_code_is_one() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let shown = stage.tapped("a");
    charged(&refer(&mut stage, &shop, "contact", "clid"));
    stage.settle();
    charged(&stage.answer(&shop, "contact", "yes?"));
    let code = stage.code(&shown);
    charged(&stage.open_chat(&shop, "contact", Some(Claim::Code(code))));
    stage.settle();
    charged(&stage.answer(&shop, "contact", "still there?"));
    let row = &stage.report(&[]).rows[0];
    assert_eq!((row.taps, row.conversations, row.first_replies), (1, 1, 1));
    let by_ad = (shown.token.view, MatchKind::ChannelRef, MatchConfidence::Medium);
    assert_eq!(touch(&stage, &shop, "contact"), Some(by_ad));
}

#[test]
fn openings_in_one_batch_do_not_share_a_tap() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let shown = stage.tapped("a");
    let open = |stage: &Stage, contact, claim| {
        let chat = Chat { country: letters("MX"), ..stage.chat(&shop, contact) };
        let entry_point = EntryPoint::Organic;
        Incoming::Opened { chat, opening: Opening::by_message(entry_point, claim) }
    };
    let code = Some(Claim::Code(stage.code(&shown)));
    let items = vec![
        open(&stage, "by code", code),
        open(&stage, "by chance", None),
        open(&stage, "by ad", Some(Claim::Ad(shop.ad))),
    ];
    stage.record_all(items);
    stage.settle();
    assert_eq!(touch(&stage, &shop, "by code").unwrap().1, MatchKind::PrefillCode);
    assert_eq!(touch(&stage, &shop, "by chance"), None);
    assert_eq!(touch(&stage, &shop, "by ad"), None);
}

#[test]
fn a_tap_that_has_led_to_a_chat_is_looked_up_for_no_other_in_its_batch_nor_after_a_restart() {
    for restarts in [false, true] {
        let (mut stage, shop) = by_conversation(Channel::Whatsapp);
        stage.tapped("a");
        let open = |stage: &Stage, contact| {
            let chat = Chat { country: letters("MX"), ..stage.chat(&shop, contact) };
            let opening = Opening::by_message(EntryPoint::Organic, None);
            Incoming::Opened { chat, opening }
        };
        let [one, other] = ["one", "other"].map(|contact| open(&stage, contact));
        if restarts {
            charged(&stage.record(one));
            stage = stage.restarted();
            charged(&stage.record(other));
        } else {
            stage.record_all(vec![one, other]);
        }
        stage.settle();
        assert_eq!(touch(&stage, &shop, "one").map(|touch| touch.1), Some(MatchKind::OnlyTap));
        assert_eq!(touch(&stage, &shop, "other"), None);
        let mut rows = stage.credits();
        rows.retain(|row| row.ad_id == 0);
        // It comes from nowhere that is known, and is no second use of the click.
        let reasons: Vec<_> = rows.iter().map(|row| row.decline_reason()).collect();
        assert_eq!(reasons, [DeclineReason::AttributeToOtherSource], "{restarts}");
        assert_eq!(stage.report(&[]).rows[0].invalid_conversations, 0);
    }
}

#[test]
fn a_click_of_another_ad_reopens_a_chat_and_the_first_touch_stays() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let first = stage.tapped("a");
    write_first(&mut stage, &shop, "contact", "MX");
    stage.wait(DAY_MS);
    stage.settle();
    let second = stage.tapped("b");
    charged(&refer(&mut stage, &shop, "contact", "later"));
    stage.settle();
    let chat = stage.conversation(&shop, "contact");
    assert_eq!(chat.first_touch.unwrap().click_id, first.token.view);
    let latest = chat.latest_touch.unwrap();
    assert_eq!((latest.click_id, latest.match_kind()), (second.token.view, MatchKind::ChannelRef));
}

#[test]
fn a_referral_that_names_no_ad_of_ours_reopens_a_known_chat_once() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    stage.open_chat(&shop, "contact", None);
    stage.wait(2 * DAY_MS);
    stage.settle();
    let shown = stage.tapped("a");
    let chat = Chat { country: letters("MX"), ..stage.chat(&shop, "contact") };
    let opening = Opening::by_message(EntryPoint::Ad, None);
    let opening = Opening { free_entry: true, channel_click_id: "ctwa".into(), ..opening };
    let item = Incoming::Opened { chat, opening };
    charged(&stage.record(item.clone()));
    assert_eq!(stage.record(item), Verdict::Already);
    stage.answer(&shop, "contact", "hello");
    let only = Some((shown.token.view, MatchKind::OnlyTap, MatchConfidence::Low));
    assert_eq!(touch(&stage, &shop, "contact"), only);
    assert!(stage.conversation(&shop, "contact").free_entry_window_end.is_some());
}

#[test]
fn a_referral_names_an_ad_of_its_own_endpoint() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let other = stage.shop(&Offer { channel: Channel::Whatsapp, bid: 1, ..Offer::default() });
    let foreign = Some(Claim::Ad(shop.ad));
    assert_eq!(refused(&stage.open_chat(&other, "contact", foreign)), Reason::EndpointForeign);
    let unknown = Some(Claim::Ad(shop.ad + 99));
    assert_eq!(refused(&stage.open_chat(&shop, "contact", unknown)), Reason::NotFound);
}

#[test]
fn a_printed_code_is_kept_with_the_chat_and_earns_no_ad_anything() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    stage.tapped("a");
    let printed = EntrySource {
        endpoint_id: shop.endpoint,
        name: "Menu".into(),
        entry_point: EntryPoint::QrCode.into(),
        ..EntrySource::default()
    };
    let id = stage.create(shop.tenant, Resource::Source(printed));
    let Ok(Resource::Source(row)) = stage.get(ResourceKind::Source, id) else { panic!("a source") };
    let chat = Chat { country: letters("MX"), ..stage.chat(&shop, "contact") };
    let code = Some(Claim::Code(row.code.parse().unwrap()));
    let opening = Opening::by_message(EntryPoint::Organic, code);
    let item = Incoming::Opened { chat, opening };
    charged(&stage.record(item.clone()));
    assert_eq!(stage.record(item), Verdict::Already);
    let mut stage = stage.restarted();
    let chat = stage.conversation(&shop, "contact");
    assert_eq!((chat.source_id, chat.entry_point()), (id, EntryPoint::QrCode));
    let rows = stage.credits();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].decline_reason(), DeclineReason::AttributeToOtherSource);
    assert_eq!(rows[0].match_kind(), MatchKind::SourceCode);
    assert_eq!(rows[0].match_confidence(), MatchConfidence::High);
}

#[test]
fn what_the_channel_says_of_its_ad_is_journaled_with_the_opening_once() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    stage.tapped("a");
    charged(&refer(&mut stage, &shop, "contact", "ctwa"));
    refer(&mut stage, &shop, "contact", "ctwa");
    stage.open_chat(&shop, "silent", None);
    let noted = facts(&stage).into_iter().filter_map(|fact| match fact {
        Kind::ReferralNoted(fact) => Some((fact.conversation, fact.channel_click_id)),
        _ => None,
    });
    let id = stage.chat(&shop, "contact").id;
    assert_eq!(noted.collect::<Vec<_>>(), [(id, "ctwa".to_owned())]);
}

/// Says that a person goes on under another name.
fn rename(stage: &mut Stage, shop: &Shop, from: &str, to: &str) -> Verdict {
    let (chat, from) = (stage.chat(shop, to), stage.chat(shop, from).id);
    stage.record(Incoming::Moved { chat, from })
}

#[test]
fn a_person_with_a_new_number_goes_on_in_the_same_chat() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    stage.open_chat(&shop, "old", None);
    charged(&rename(&mut stage, &shop, "old", "new"));
    assert_eq!(rename(&mut stage, &shop, "old", "new"), Verdict::Already);
    // The next name leads to the first chat, too: there are no chains.
    charged(&rename(&mut stage, &shop, "new", "newest"));
    assert_eq!(rename(&mut stage, &shop, "newest", "old"), Verdict::Already);
    let mut stage = stage.restarted();
    charged(&stage.answer(&shop, "newest", "hello"));
    assert_eq!(stage.answer(&shop, "old", "hello"), Verdict::Already);
    let shown = stage.tapped("a");
    let click = Some(Claim::Click(stage.click(&shown)));
    charged(&stage.open_chat(&shop, "new", click));
    stage.settle();
    let id = stage.chat(&shop, "old").id;
    for contact in ["old", "new", "newest"] {
        let chat = stage.conversation(&shop, contact);
        assert_eq!((chat.id, chat.outbound_messages), (id, 1), "{contact}");
        assert_eq!(chat.latest_touch.unwrap().click_id, shown.token.view);
    }
    charged(&stage.convert(&shop, "sale", stage.by_chat(&shop, "newest")));
}

#[test]
fn a_name_with_a_chat_of_its_own_keeps_it_and_an_unknown_one_has_none_to_give() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    stage.open_chat(&shop, "one", None);
    stage.open_chat(&shop, "two", None);
    assert_eq!(refused(&rename(&mut stage, &shop, "one", "two")), Reason::ContactTaken);
    assert_eq!(refused(&rename(&mut stage, &shop, "nobody", "three")), Reason::NotFound);
    charged(&rename(&mut stage, &shop, "one", "three"));
    assert_eq!(refused(&rename(&mut stage, &shop, "two", "three")), Reason::ContactTaken);
}

#[test]
fn a_name_in_use_lives_as_long_as_its_chat() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    stage.open_chat(&shop, "old", None);
    charged(&rename(&mut stage, &shop, "old", "new"));
    for month in 0..8 {
        stage.wait(31 * DAY_MS);
        charged(&stage.answer(&shop, "new", &format!("month {month}")));
    }
    assert_eq!(stage.conversation(&shop, "old").outbound_messages, 8);
    let moved = facts(&stage).iter().filter(|fact| matches!(fact, Kind::ContactMoved(_))).count();
    assert_eq!(moved, 9, "once told, then told again each month");
}

/// Ads that have their first message, first answer and qualified conversation by a fact, and the wait.
fn steps(stage: &Stage) -> Vec<(&'static str, bool, bool, bool, u32)> {
    let steps = facts(stage).into_iter().filter_map(|fact| match fact {
        Kind::MessageRecorded(fact) => Some((
            "message",
            fact.wrote_ad != 0,
            fact.first_reply_ad != 0,
            fact.qualified_ad != 0,
            fact.reply_after_s,
        )),
        Kind::OutboxSettled(fact) => Some((
            "settled",
            fact.wrote_ad != 0,
            fact.first_reply_ad != 0,
            fact.qualified_ad != 0,
            fact.reply_after_s,
        )),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_chat_qualifies_when_both_sides_have_written_and_each_step_counts_once() {
    let (mut stage, shop) = by_conversation(Channel::Telegram);
    let shown = stage.tapped("a");
    let click = Some(Claim::Click(stage.click(&shown)));
    let started = Opening { wrote: false, ..Opening::by_message(EntryPoint::Ad, click) };
    stage.record(Incoming::Opened { chat: stage.chat(&shop, "contact"), opening: started });
    stage.settle();
    let chat = stage.conversation(&shop, "contact");
    assert_eq!((chat.first_message_time, chat.inbound_messages), (None, 0), "a start is silent");
    assert_eq!(chat.service_window_end, None);
    for (id, direction) in [
        ("hello", Direction::Inbound),
        ("how much?", Direction::Inbound),
        ("five", Direction::Outbound),
        ("thanks", Direction::Inbound),
        ("bye", Direction::Outbound),
    ] {
        stage.wait(MINUTE_MS);
        let receipt = stage.receipt(&shop, "contact", id, direction);
        charged(&stage.record(receipt));
    }
    let expected = [
        ("settled", false, false, false, 0),
        ("message", true, false, false, 0),
        ("message", false, false, false, 0),
        ("message", false, true, true, 120),
        ("message", false, false, false, 0),
        ("message", false, false, false, 0),
    ];
    assert_eq!(steps(&stage), expected);
    let chat = stage.conversation(&shop, "contact");
    assert!(chat.qualified);
    let opened = chat.open_time.unwrap().seconds;
    assert_eq!(chat.first_message_time.unwrap().seconds, opened + 60);
}

#[test]
fn what_was_said_before_the_match_counts_with_it() {
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let shown = stage.tapped("a");
    let code = Some(Claim::Code(stage.code(&shown)));
    // An opening is a message there, whatever the caller says; its receipt is the same message.
    let opening = Opening { wrote: false, ..Opening::by_message(EntryPoint::Ad, code) };
    let chat = stage.chat(&shop, "contact");
    let items = vec![
        Incoming::Opened { chat, opening },
        stage.receipt(&shop, "contact", "hello", Direction::Inbound),
        stage.receipt(&shop, "contact", "yes?", Direction::Outbound),
        stage.receipt(&shop, "contact", "how much?", Direction::Inbound),
    ];
    stage.record_all(items);
    stage.settle();
    let settled = ("settled", true, true, true, 0);
    let silent = ("message", false, false, false, 0);
    assert_eq!(steps(&stage).len(), 4);
    assert!(steps(&stage).iter().all(|step| *step == settled || *step == silent));
    let chat = stage.conversation(&shop, "contact");
    assert_eq!((chat.inbound_messages, chat.outbound_messages, chat.qualified), (2, 1, true));
}

#[test]
fn a_business_writes_first_by_a_template_only_and_what_failed_was_not_said() {
    use munadi::types::proto::v1::{MessageCategory, MessageStatus};
    let (mut stage, shop) = by_conversation(Channel::Whatsapp);
    let receipt = |message, template, status| {
        let sent = Receipt::delivered(message, Direction::Outbound, MessageCategory::Utility);
        Receipt { template, status, ..sent }
    };
    let chat = stage.chat(&shop, "contact");
    let mut send = |receipt| stage.record(Incoming::Message { chat, receipt });
    let free_text = send(receipt(1, false, MessageStatus::Delivered));
    assert_eq!(refused(&free_text), Reason::ConversationUnknown);
    assert_eq!(send(receipt(2, true, MessageStatus::Failed)), Verdict::Already);
    charged(&send(receipt(2, true, MessageStatus::Sent)));
    // What was only sent is priced when it is read, once.
    charged(&send(receipt(2, true, MessageStatus::Read)));
    assert_eq!(send(receipt(2, true, MessageStatus::Read)), Verdict::Already);
    let known = stage.conversation(&shop, "contact");
    assert_eq!((known.open_time, known.outbound_messages), (None, 1));
    stage.wait(HOUR_MS);
    charged(&write_first(&mut stage, &shop, "contact", "MX"));
    let known = stage.conversation(&shop, "contact");
    assert!(known.first_reply_time.unwrap().seconds < known.open_time.unwrap().seconds);
}
