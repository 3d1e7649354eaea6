//! The funnel of a report: from taps to sales, in events and in people, with waits and proofs.

use munadi::types::proto::v1::{
    Channel, Dimension, Direction, EntryPoint, EventKind, FunnelPeople, MatchKind, ReportRow,
};
use munadi::types::request::{Claim, Incoming, Opening};
use munadi::types::time::{DAY_MS, MINUTE_MS, SECOND_MS};

use crate::stage::{Offer, Shop, Stage, charged, event_at};

/// Returns the steps in events: taps, opened, wrote, replied, qualified, sold.
fn events(row: &ReportRow) -> [u64; 6] {
    let opened = [row.taps, row.conversations, row.first_messages];
    let answered = [row.first_replies, row.qualified, row.conversions];
    [opened, answered].concat().try_into().unwrap()
}

fn people(row: &ReportRow) -> [u64; 6] {
    let FunnelPeople { tapped, opened, wrote, replied, qualified, converted } = row.people.unwrap();
    [tapped, opened, wrote, replied, qualified, converted]
}

fn row(stage: &Stage, dimensions: &[Dimension]) -> ReportRow {
    stage.report(dimensions).rows.remove(0)
}

/// Lets a viewer tap an ad and open a chat with it under this contact.
fn chat(stage: &mut Stage, shop: &Shop, viewer: &str, contact: &str) {
    let shown = stage.tapped(viewer);
    let click = Claim::Click(stage.click(&shown));
    charged(&stage.open_chat(shop, contact, Some(click)));
}

fn says(stage: &mut Stage, shop: &Shop, contact: &str, id: &str) {
    let receipt = stage.receipt(shop, contact, id, Direction::Inbound);
    charged(&stage.record(receipt));
}

#[test]
fn a_person_counts_once_in_a_campaign_however_often_a_step_is_taken() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    for visit in 0..3 {
        chat(&mut stage, &shop, "viewer", "contact");
        stage.settle();
        stage.wait(MINUTE_MS);
        charged(&stage.answer(&shop, "contact", &format!("answer {visit}")));
        says(&mut stage, &shop, "contact", &format!("message {visit}"));
        let origin = stage.by_chat(&shop, "contact");
        charged(&stage.convert(&shop, &format!("sale {visit}"), origin));
        stage.wait(2 * DAY_MS);
        stage.settle();
    }
    let mut stage = stage.restarted();
    assert_eq!(events(&row(&stage, &[])), [3; 6]);
    assert_eq!(people(&row(&stage, &[])), [1; 6]);
    // Whose visits later days see are not new people.
    let days = stage.report(&[Dimension::Day]).rows;
    assert_eq!(days.iter().map(people).collect::<Vec<_>>(), [[1; 6], [0; 6], [0; 6]]);
    // Somebody else is, and one contact of two viewers is one person who opened a chat.
    chat(&mut stage, &shop, "friend", "contact");
    chat(&mut stage, &shop, "other", "another");
    stage.settle();
    assert_eq!(people(&row(&stage, &[])), [3, 2, 2, 1, 1, 1]);
}

#[test]
fn openings_that_come_at_once_count_one_person() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = [stage.tapped("one"), stage.tapped("other")];
    let open = |shown| {
        let opening = Opening::by_message(EntryPoint::Ad, Some(Claim::Click(stage.click(shown))));
        Incoming::Opened { chat: stage.chat(&shop, "contact"), opening }
    };
    let items = shown.iter().map(open).collect();
    for verdict in stage.record_all(items) {
        charged(&verdict);
    }
    stage.settle();
    let row = row(&stage, &[]);
    assert_eq!((row.conversations, row.people.unwrap().opened), (2, 1));
}

#[test]
fn who_comes_by_an_implied_or_invalid_tap_is_a_person_or_nobody() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.show("quiet");
    stage.see(&shown);
    let click = Claim::Click(stage.click(&shown));
    charged(&stage.open_chat(&shop, "quiet", Some(click)));
    stage.settle();
    assert_eq!(people(&row(&stage, &[]))[..3], [1, 1, 1], "the token implies the tap");
    // A tap ten milliseconds after its view is a machine's.
    let shown = stage.show("machine");
    stage.wait(5 * SECOND_MS);
    for (kind, ago) in [(EventKind::Impression, 1_000), (EventKind::Tap, 990)] {
        stage.record(event_at(&shown, kind, stage.now.plus_ms(-ago)));
    }
    let click = Claim::Click(stage.click(&shown));
    charged(&stage.open_chat(&shop, "machine", Some(click)));
    stage.settle();
    let row = row(&stage, &[]);
    assert_eq!((row.invalid_taps, row.invalid_conversations), (1, 1));
    assert_eq!(people(&row)[..3], [1, 1, 1]);
}

#[test]
fn a_chat_that_a_link_alone_opens_is_written_in_later_or_never() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Telegram, ..Offer::default() });
    for (viewer, writes) in [("writes", true), ("stays silent", false)] {
        let shown = stage.tapped(viewer);
        let claim = Some(Claim::Click(stage.click(&shown)));
        let by_message = Opening::by_message(EntryPoint::Ad, claim);
        let opening = Opening { wrote: false, ..by_message };
        let chat = stage.chat(&shop, viewer);
        charged(&stage.record(Incoming::Opened { chat, opening }));
        stage.settle();
        if writes {
            stage.wait(20 * SECOND_MS);
            says(&mut stage, &shop, viewer, "first");
        }
    }
    let row = row(&stage, &[]);
    assert_eq!(
        (events(&row)[..3].to_vec(), people(&row)[..3].to_vec()),
        ([2, 2, 1].into(), [2, 2, 1].into())
    );
}

#[test]
fn the_median_wait_is_that_of_all_first_answers() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    assert!(stage.report(&[]).rows.is_empty());
    for (contact, minutes) in [("a", 1), ("b", 7), ("c", 50)] {
        chat(&mut stage, &shop, contact, contact);
        stage.settle();
        stage.wait(minutes * MINUTE_MS);
        charged(&stage.answer(&shop, contact, contact));
        stage.wait(MINUTE_MS);
        charged(&stage.answer(&shop, contact, &format!("{contact} again")));
    }
    let row = row(&stage, &[]);
    let median = row.median_first_reply_s.unwrap();
    assert!(median.abs_diff(420) <= 420 / 32, "{median}");
    assert_eq!(row.first_replies, 3);
}

#[test]
fn a_channel_has_its_row_and_every_match_its_kind() {
    let mut stage = Stage::new();
    let telegram = stage.shop(&Offer::default());
    chat(&mut stage, &telegram, "a", "a");
    let dearer = 2_000_000;
    let whatsapp =
        stage.shop(&Offer { channel: Channel::Whatsapp, bid: dearer, ..Offer::default() });
    let shown = stage.tapped("b");
    assert_eq!(shown.ad.ad_id, whatsapp.ad);
    let code = Claim::Code(stage.code(&shown));
    charged(&stage.open_chat(&whatsapp, "b", Some(code)));
    stage.settle();
    let rows = stage.report(&[Dimension::Channel]).rows;
    let told: Vec<_> = rows.iter().map(|row| (row.channel(), row.conversations)).collect();
    assert_eq!(told, [(Channel::Whatsapp, 1), (Channel::Telegram, 1)]);
    let kinds = |row: &ReportRow| row.matches.iter().map(|it| it.kind()).collect::<Vec<_>>();
    assert_eq!(kinds(&rows[0]), [MatchKind::PrefillCode]);
    assert_eq!(kinds(&rows[1]), [MatchKind::ClickToken]);
    let whole = row(&stage, &[]);
    assert_eq!((whole.matches.len(), whole.channel()), (2, Channel::Unspecified));
    assert_eq!(whole.cost_per_conversation_micros, Some(whole.spend_micros / 2));
}
