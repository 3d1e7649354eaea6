//! Conversions on their way out: what is handed out, pushed, tried again and given up, and that none is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use munadi::node::dice::SeededDice;
use munadi::node::push::{Delivery, PUSH_TRIES_MAX, Parcel, Pusher, RETRY_AFTER_MS_MAX};
use munadi::node::writer::Work;
use munadi::tokens::push_signature;
use munadi::types::dice::Dice;
use munadi::types::ids::SeqVector;
use munadi::types::proto::journal::v1::ConversionsPushed;
use munadi::types::proto::v1::{
    Channel, ConversionPayload, ConversionSkip, EntryPoint, SetConversionPushResponse,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{
    Author, Claim, Conversion, Incoming, Opening, Origin, PushChange, Scope, Verdict,
};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

use crate::stage::{ALL, Offer, Shop, Stage, sale};

pub(crate) const URL: &str = "https://crm.example/munadi";
pub(crate) const OK: Delivery = Delivery::Answered { status: 200, retry_after_ms: 0 };
pub(crate) const SEED: u64 = 3;

fn answered(status: u16) -> Delivery {
    Delivery::Answered { status, retry_after_ms: 0 }
}

/// Stages a shop in WhatsApp.
pub(crate) fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Whatsapp, ..Offer::default() });
    (stage, shop)
}

/// Lets a viewer tap and open a chat, of whose click the channel tells too.
fn open(stage: &mut Stage, shop: &Shop, name: &str) {
    let shown = stage.tapped(name);
    let claim = Some(Claim::Code(stage.code(&shown)));
    let opening = Opening {
        channel_click_id: format!("clid-{name}"),
        ..Opening::by_message(EntryPoint::Ad, claim)
    };
    let chat = stage.chat(shop, name);
    let opened = stage.record(Incoming::Opened { chat, opening });
    assert!(matches!(opened, Verdict::Recorded { .. }), "{opened:?}");
}

pub(crate) fn convert(stage: &mut Stage, shop: &Shop, contact: &str, event_id: &str, name: &str) {
    let origin = stage.by_chat(shop, contact);
    let sale = sale(shop, event_id, 9_500_000, origin);
    let conversion = Conversion { name: name.into(), ..sale };
    stage.record(Incoming::Converted(Box::new(conversion)));
}

/// Lets new viewers buy, each in a chat of its own.
pub(crate) fn buy(stage: &mut Stage, shop: &Shop, names: &[&str]) {
    for name in names {
        open(stage, shop, name);
        convert(stage, shop, name, name, "Purchase");
        stage.wait(SECOND_MS);
    }
    stage.wait(MINUTE_MS);
}

pub(crate) fn change(stage: &mut Stage, shop: &Shop, url: &str) -> PushChange {
    PushChange {
        scope: Scope { tenant: shop.tenant, any: false },
        request_id: stage.fresh_id(),
        body_hash: [1; 16],
        by: Author::default(),
        account: shop.account,
        url: url.into(),
        rotate_key: false,
        test_event_code: String::new(),
    }
}

pub(crate) fn set(
    stage: &mut Stage,
    change: PushChange,
) -> Result<SetConversionPushResponse, Refusal> {
    stage.work(|reply| Work::SetPush(Box::new(change), reply))
}

fn push_to(stage: &mut Stage, shop: &Shop, url: &str) {
    let change = change(stage, shop, url);
    set(stage, change).unwrap();
}

/// Returns all payloads that a caller may see.
fn payloads(stage: &Stage, scope: Scope, account: u64) -> Vec<ConversionPayload> {
    let (mut cursor, mut rows) = (SeqVector::default(), Vec::new());
    loop {
        let page = stage.front.payloads(scope, account, "", &cursor, stage.now).0;
        rows.extend(page.rows);
        cursor = page.cursor;
        if !page.more {
            return rows;
        }
    }
}

/// Returns the caller's ids in a parcel, in their order.
pub(crate) fn ids(parcel: &Parcel) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(&parcel.body).unwrap();
    let data = body["data"].as_array().unwrap();
    data.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn journal(stage: &mut Stage, pusher: &mut Pusher) {
    for fact in pusher.facts() {
        let account = fact.account;
        stage.work(|reply| Work::Pushed(Box::new(fact), reply)).unwrap();
        pusher.journaled(account, true);
    }
}

/// Sends what is due, answers it, and journals what came of it.
fn round(
    stage: &mut Stage,
    pusher: &mut Pusher,
    answer: impl Fn(&[String]) -> Delivery,
) -> Vec<Vec<String>> {
    stage.settle();
    let parcels: Vec<_> = pusher.step(stage.now);
    for parcel in &parcels {
        pusher.delivered(parcel.account, answer(&ids(parcel)), stage.now);
    }
    journal(stage, pusher);
    parcels.iter().map(ids).collect()
}

fn dead(stage: &Stage, shop: &Shop) -> Vec<(String, u32, u32)> {
    let (letters, _) = stage.front.dead_letters(ALL, shop.account, 0, 1_000).unwrap();
    letters.into_iter().map(|letter| (letter.event_id, letter.status, letter.tries)).collect()
}

#[test]
fn a_pull_hands_out_events_and_says_why_the_others_stay() {
    let (mut stage, shop) = staged();
    open(&mut stage, &shop, "ana");
    for (event_id, name) in [("1", "purchase"), ("2", "Purchase"), ("3", "Refund"), ("4", "lead")] {
        convert(&mut stage, &shop, "ana", event_id, name);
    }
    stage.open_chat(&shop, "bob", None);
    convert(&mut stage, &shop, "bob", "5", "Purchase");
    let shown = stage.tapped("cleo");
    let code = Claim::Code(stage.code(&shown));
    stage.open_chat(&shop, "cleo", Some(code));
    convert(&mut stage, &shop, "cleo", "6", "Purchase");
    stage.wait(7 * DAY_MS + MINUTE_MS);
    convert(&mut stage, &shop, "ana", "7", "ViewContent");
    stage.wait(MINUTE_MS);
    stage.settle();
    let rows = payloads(&stage, ALL, 0);
    let found: BTreeMap<_, _> = rows.iter().map(|row| (&*row.event_id, row.skip())).collect();
    let wanted = BTreeMap::from([
        ("1", ConversionSkip::Unspecified),
        ("2", ConversionSkip::AlreadyReported),
        ("3", ConversionSkip::NameUnsupported),
        ("4", ConversionSkip::Unspecified),
        ("5", ConversionSkip::NoClick),
        ("6", ConversionSkip::NoChannelClick),
        ("7", ConversionSkip::OutOfWindow),
    ]);
    assert_eq!(found, wanted);
    let first = rows.iter().find(|row| row.event_id == "1").unwrap();
    let time = first.event_time.unwrap().seconds;
    assert_eq!(
        first.payload,
        format!(
            "{{\"event_name\":\"Purchase\",\"event_time\":{time},\"event_id\":\"1\",\
             \"action_source\":\"business_messaging\",\"messaging_channel\":\"whatsapp\",\
             \"user_data\":{{\"whatsapp_business_account_id\":\"1029384756\",\
             \"ctwa_clid\":\"clid-ana\"}},\"custom_data\":{{\"value\":9.5,\"currency\":\"MXN\"}}}}"
        )
    );
    let foreign = Scope { tenant: shop.tenant + 1, any: false };
    assert!(payloads(&stage, foreign, 0).is_empty());
    assert!(payloads(&stage, ALL, shop.account + 1).is_empty());
    let stage = stage.restarted();
    assert_eq!(payloads(&stage, ALL, shop.account), rows, "a restart changes nothing");
}

#[test]
fn a_chat_reopened_by_another_click_keeps_what_its_earlier_conversions_say() {
    let (mut stage, shop) = staged();
    open(&mut stage, &shop, "ana");
    convert(&mut stage, &shop, "ana", "1", "Purchase");
    stage.wait(HOUR_MS);
    let shown = stage.tapped("ana");
    let claim = Some(Claim::Code(stage.code(&shown)));
    let channel_click_id = "clid-again".to_owned();
    let opening = Opening { channel_click_id, ..Opening::by_message(EntryPoint::Ad, claim) };
    let chat = stage.chat(&shop, "ana");
    stage.record(Incoming::Opened { chat, opening });
    convert(&mut stage, &shop, "ana", "2", "Purchase");
    stage.wait(MINUTE_MS);
    stage.settle();
    let rows = payloads(&stage, ALL, 0);
    let says = |id: &str, click: &str| {
        let row = rows.iter().find(|row| row.event_id == id).unwrap();
        assert!(row.payload.contains(&format!("\"ctwa_clid\":\"{click}\"")), "{row:?}");
    };
    says("1", "clid-ana");
    says("2", "clid-again");
}

#[test]
fn conversions_are_delivered_in_order_and_only_those_since_the_url_was_set() {
    let (mut stage, shop) = staged();
    buy(&mut stage, &shop, &["early"]);
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a", "b", "c"]);
    let sent = round(&mut stage, &mut pusher, |_| OK).concat();
    assert_eq!(BTreeSet::from_iter(&sent), BTreeSet::from_iter(&["a", "b", "c"].map(String::from)));
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty(), "nothing is left");
    buy(&mut stage, &shop, &["d"]);
    assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["d"]]);
    let order: Vec<_> = payloads(&stage, ALL, 0).into_iter().map(|row| row.event_id).collect();
    let (sent, order) = ([sent, vec!["d".into()]].concat(), &order[1..]);
    assert_eq!(sent, order, "as the pull has them");
    push_to(&mut stage, &shop, "");
    buy(&mut stage, &shop, &["e"]);
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty());
    push_to(&mut stage, &shop, URL);
    buy(&mut stage, &shop, &["f"]);
    assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["f"]], "a pause is not made up for");
}

#[test]
fn a_failing_receiver_is_tried_again_and_then_given_up() {
    for failure in [answered(503), answered(429), answered(408), Delivery::Unanswered] {
        let (mut stage, shop) = staged();
        push_to(&mut stage, &shop, URL);
        let mut pusher = Pusher::new(&stage.front, SEED);
        buy(&mut stage, &shop, &["a", "b"]);
        let mut tries = 0;
        for _ in 0..5_000 {
            let sent = round(&mut stage, &mut pusher, |_| failure);
            tries += sent.len() as u32;
            assert!(sent.iter().all(|parcel| parcel.len() == 2));
            stage.wait(5 * SECOND_MS);
        }
        assert_eq!(tries, PUSH_TRIES_MAX, "{failure:?}");
        let letters = dead(&stage, &shop);
        assert_eq!(letters.len(), 2);
        let status = if let Delivery::Answered { status, .. } = failure { status } else { 0 };
        assert!(letters.iter().all(|letter| (letter.1, letter.2) == (u32::from(status), tries)));
        buy(&mut stage, &shop, &["c"]);
        assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["c"]], "the next ones go on");
    }
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let (mut stage, shop) = staged();
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a"]);
    let busy = Delivery::Answered { status: 429, retry_after_ms: HOUR_MS };
    assert_eq!(round(&mut stage, &mut pusher, |_| busy).len(), 1);
    stage.wait(HOUR_MS - 1);
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty());
    stage.wait(1);
    assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["a"]]);
}

#[test]
fn a_refused_conversion_is_given_up_at_once_and_alone() {
    let (mut stage, shop) = staged();
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a", "bad", "c"]);
    let answer = |ids: &[String]| {
        if ids.iter().any(|id| id == "bad") { answered(400) } else { OK }
    };
    let rounds: Vec<_> = (0..6).flat_map(|_| round(&mut stage, &mut pusher, answer)).collect();
    let sizes: Vec<_> = rounds.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 1, 1, 1]);
    assert_eq!(dead(&stage, &shop), [("bad".to_owned(), 400, 1)]);
    buy(&mut stage, &shop, &["d", "e"]);
    assert_eq!(round(&mut stage, &mut pusher, answer)[0].len(), 2, "together again");
}

#[test]
fn only_an_answer_between_200_and_299_is_a_delivery_and_a_redirect_is_a_refusal() {
    for status in [200, 204, 299, 199, 300, 301, 302, 304, 307, 400, 401, 410] {
        let (mut stage, shop) = staged();
        push_to(&mut stage, &shop, URL);
        let mut pusher = Pusher::new(&stage.front, SEED);
        buy(&mut stage, &shop, &["a"]);
        let sent = (0..3).flat_map(|_| round(&mut stage, &mut pusher, |_| answered(status)));
        assert_eq!(sent.count(), 1, "{status}");
        let refused = vec![("a".to_owned(), u32::from(status), 1)];
        let expected = if (200..300).contains(&status) { Vec::new() } else { refused };
        assert_eq!(dead(&stage, &shop), expected, "{status}");
    }
}

#[test]
fn a_receiver_that_asks_for_a_year_is_asked_again_after_a_day() {
    let (mut stage, shop) = staged();
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a"]);
    let year = Delivery::Answered { status: 503, retry_after_ms: 365 * RETRY_AFTER_MS_MAX };
    assert_eq!(round(&mut stage, &mut pusher, |_| year).len(), 1);
    stage.wait(RETRY_AFTER_MS_MAX - 1);
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty());
    stage.wait(1);
    assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["a"]]);
}

#[test]
fn given_up_conversions_are_sent_once_more_or_dropped() {
    let (mut stage, shop) = staged();
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a", "b", "c"]);
    for _ in 0..5 {
        round(&mut stage, &mut pusher, |_| answered(404));
    }
    assert_eq!(dead(&stage, &shop).len(), 3);
    let mut stage = stage.restarted();
    let mut pusher = Pusher::new(&stage.front, SEED);
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty(), "a restart sends none by itself");
    let (letters, _) = stage.front.dead_letters(ALL, shop.account, 0, 10).unwrap();
    let outcome = |id: &str| letters.iter().find(|it| it.event_id == id).unwrap().outcome_id;
    let (first, second) = (outcome("a"), outcome("b"));
    let listed = stage.front.listed_letters(ALL, shop.account, &[first, 77, first]).unwrap();
    assert_eq!(listed, [first]);
    stage.front.resend(shop.account, &[first, second]);
    let waiting = stage.front.dead_letters(ALL, shop.account, 0, 10).unwrap().0;
    assert_eq!(waiting.iter().filter(|letter| letter.retrying).count(), 2);
    let answer = |ids: &[String]| if ids == ["a"] { OK } else { answered(410) };
    let sent: Vec<_> = (0..3).flat_map(|_| round(&mut stage, &mut pusher, answer)).collect();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    let left: BTreeMap<_, _> =
        dead(&stage, &shop).into_iter().map(|(id, status, tries)| (id, (status, tries))).collect();
    assert_eq!(left, BTreeMap::from([("b".into(), (410, 2)), ("c".into(), (404, 1))]));
    let all = stage.front.listed_letters(ALL, shop.account, &[]).unwrap();
    let fact =
        ConversionsPushed { account: shop.account, revived: all, ..ConversionsPushed::default() };
    stage.work(|reply| Work::Pushed(Box::new(fact), reply)).unwrap();
    assert!(dead(&stage.restarted(), &shop).is_empty());
}

#[test]
fn a_node_that_dies_between_delivery_and_fact_delivers_twice_and_loses_nothing() {
    let (mut stage, shop) = staged();
    push_to(&mut stage, &shop, URL);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a", "b"]);
    stage.settle();
    let first = pusher.step(stage.now);
    pusher.delivered(shop.account, OK, stage.now);
    assert_eq!(pusher.facts().len(), 1, "what is never journaled");
    let mut stage = stage.restarted();
    let mut pusher = Pusher::new(&stage.front, SEED + 1);
    let again = round(&mut stage, &mut pusher, |_| OK);
    assert_eq!(again, [ids(&first[0])]);
    let mut stage = stage.restarted();
    let mut pusher = Pusher::new(&stage.front, SEED + 2);
    assert!(round(&mut stage, &mut pusher, |_| OK).is_empty(), "not a third time");
    buy(&mut stage, &shop, &["c"]);
    assert_eq!(round(&mut stage, &mut pusher, |_| OK), [["c"]]);
}

#[test]
fn a_key_is_told_once_signs_what_is_sent_and_stands_nowhere_in_the_journal() {
    let (mut stage, shop) = staged();
    let first = change(&mut stage, &shop, URL);
    let told = set(&mut stage, first.clone()).unwrap();
    assert_eq!(told.push.as_ref().unwrap().key_version, 1);
    assert_eq!(set(&mut stage, first.clone()).unwrap(), told, "the same request, the same answer");
    let other = set(&mut stage, PushChange { body_hash: [2; 16], ..first.clone() }).unwrap_err();
    assert_eq!(other.reason, Reason::RequestIdReused);
    let foreign = Scope { tenant: shop.tenant + 1, any: false };
    let request_id = "theirs".to_owned();
    let theirs = PushChange { scope: foreign, request_id, ..first };
    assert_eq!(set(&mut stage, theirs).unwrap_err().reason, Reason::NotFound);
    assert_eq!(stage.front.push(foreign, shop.account).unwrap_err().reason, Reason::NotFound);

    let secret = munadi::tokens::push_secret(&stage.ring.cursor, shop.account, 1);
    let mut pusher = Pusher::new(&stage.front, SEED);
    buy(&mut stage, &shop, &["a"]);
    stage.settle();
    let parcels = pusher.step(stage.now);
    let headers: BTreeMap<_, _> = parcels[0].headers.iter().cloned().collect();
    let signed = push_signature(&secret, stage.now.seconds(), &parcels[0].body);
    assert_eq!(headers["x-munadi-signature"], format!("sha256={signed}"));
    assert_eq!(headers["x-munadi-timestamp"], stage.now.seconds().to_string());
    assert_eq!(headers["x-munadi-key-version"], "1");

    let same = change(&mut stage, &shop, "https://crm.example/other");
    let same = set(&mut stage, same).unwrap();
    assert!(same.signing_secret.is_empty(), "no new key");
    let rotated = PushChange { rotate_key: true, ..change(&mut stage, &shop, URL) };
    assert_eq!(set(&mut stage, rotated).unwrap().push.unwrap().key_version, 2);
    stage
        .writer
        .log()
        .read_from(&SeqVector::default(), &mut |block| {
            let text = String::from_utf8_lossy(&block.bytes).into_owned();
            assert!(!text.contains(&secret[6..]), "the secret is in the journal");
            ControlFlow::Continue(())
        })
        .unwrap();
}

/// Buys, fails and dies by chance; in the end each conversion was delivered, or is in the list.
#[test]
fn whatever_a_receiver_answers_and_whenever_the_node_dies_nothing_is_lost() {
    for seed in 0..24_u64 {
        let mut luck = SeededDice::new(seed);
        let (mut stage, shop) = staged();
        push_to(&mut stage, &shop, URL);
        let mut pusher = Pusher::new(&stage.front, seed);
        let (mut bought, mut arrived, mut deaths) = (0, Vec::new(), 0);
        for step in 0..60 {
            if step < 30 && luck.roll().is_multiple_of(3) {
                let name = format!("{bought}");
                buy(&mut stage, &shop, &[&*name]);
                bought += 1;
            }
            stage.settle();
            for parcel in pusher.step(stage.now) {
                let delivery = match luck.roll() % 6 {
                    _ if step >= 55 => OK,
                    0 => answered(500),
                    1 => answered(400),
                    2 => Delivery::Unanswered,
                    _ => OK,
                };
                if delivery == OK {
                    arrived.extend(ids(&parcel));
                }
                pusher.delivered(parcel.account, delivery, stage.now);
            }
            if luck.roll().is_multiple_of(8) {
                deaths += 1;
                stage = stage.restarted();
                pusher = Pusher::new(&stage.front, seed ^ step);
            } else {
                journal(&mut stage, &mut pusher);
            }
            stage.wait(HOUR_MS / 4);
        }
        for _ in 0..8 {
            stage.wait(2 * HOUR_MS);
            arrived.extend(round(&mut stage, &mut pusher, |_| OK).concat());
        }
        let given_up: BTreeSet<_> = dead(&stage, &shop).into_iter().map(|(id, ..)| id).collect();
        let there: BTreeSet<_> = arrived.iter().cloned().collect();
        for number in 0..bought {
            let id = number.to_string();
            assert!(
                there.contains(&id) || given_up.contains(&id),
                "{id} of {bought} is lost (seed {seed})"
            );
        }
        let twice = arrived.len() - there.len();
        assert!(deaths > 0 || twice == 0, "{twice} came twice without a death (seed {seed})");
        // First arrivals keep the order of the stream.
        let order: Vec<_> = payloads(&stage, ALL, 0).into_iter().map(|row| row.event_id).collect();
        let place = |id: &String| order.iter().position(|known| known == id).unwrap();
        let mut seen = BTreeSet::new();
        let firsts = arrived.iter().filter(|id| seen.insert((*id).clone()));
        assert!(firsts.map(place).is_sorted(), "out of order (seed {seed})");
    }
}

#[test]
fn a_conversion_by_token_alone_goes_out_where_the_channel_needs_no_click_of_its_own() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Messenger, ..Offer::default() });
    let shown = stage.tapped("ana");
    let text = shown.ad.chat_link.split("ref=").nth(1).unwrap().to_owned();
    let click = stage.front.sealer().open_click_text(&text, stage.now.seconds()).unwrap();
    stage.convert(&shop, "1", Origin::Click(click));
    stage.wait(MINUTE_MS);
    stage.settle();
    let rows = payloads(&stage, ALL, 0);
    assert!(rows[0].payload.contains("\"user_data\":{\"page_id\":\"1029384756\"}"), "{rows:?}");
}
