//! Links that people follow: printed codes and web buttons, and placed ads through the redirect.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use munadi::channels::{Channel as Kind, FoundClick, find_click, parse_link};
use munadi::node::{Followed, Follower};
use munadi::tokens::{KeyRing, Sealer};
use munadi::types::ids::{IdKind, mint};
use munadi::types::proto::v1::{
    Ad, BillingEvent, Business, Channel, ChannelEndpoint, ChatDestination, EntryPoint, EntrySource,
    EventKind, InvalidReason,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{
    Change, Claim, Incoming, Opening, Resource, ResourceKind, Scope, Verdict,
};
use munadi::types::time::{DAY_MS, HOUR_MS};

use crate::stage::{ALL, Offer, Shop, Stage, TENANT};

const CHANNELS: [(Channel, &str); 7] = [
    (Channel::Whatsapp, "5215512345678"),
    (Channel::Messenger, "tacos"),
    (Channel::InstagramDirect, "tacos"),
    (Channel::AppleMessages, "urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6"),
    (Channel::Rcs, "5215512345678/tacos"),
    (Channel::Telegram, "tacos_bot"),
    (Channel::Line, "@tacos"),
];

fn business(stage: &mut Stage, tenant: u32) -> u64 {
    let account = stage.create(tenant, Resource::Account(Offer::default().account_row()));
    let row = Business { account_id: account, name: "Tacos".into(), ..Business::default() };
    stage.create(tenant, Resource::Business(row))
}

fn endpoint(stage: &mut Stage, business_id: u64, channel: Channel, address: &str) -> u64 {
    let (channel, address) = (channel.into(), address.to_owned());
    let row = ChannelEndpoint { business_id, channel, address, ..ChannelEndpoint::default() };
    stage.create(TENANT, Resource::Endpoint(row))
}

fn menu(endpoint_id: u64) -> EntrySource {
    EntrySource {
        endpoint_id,
        name: "Menu of the Roma branch".into(),
        entry_point: EntryPoint::QrCode.into(),
        prefilled_text: "¡Hola!".into(),
        ..EntrySource::default()
    }
}

fn source(stage: &Stage, id: u64) -> EntrySource {
    match stage.get(ResourceKind::Source, id).unwrap() {
        Resource::Source(row) => row,
        other => panic!("{other:?}"),
    }
}

fn whatsapp(stage: &mut Stage) -> (Shop, EntrySource) {
    let business = business(stage, TENANT);
    let endpoint = endpoint(stage, business, Channel::Whatsapp, "5215512345678");
    let id = stage.create(TENANT, Resource::Source(menu(endpoint)));
    let shop =
        Shop { tenant: TENANT, account: 0, business, endpoint, campaign: 0, ad_set: 0, ad: 0 };
    (shop, source(stage, id))
}

fn follow(stage: &Stage, token: &str) -> Option<Followed> {
    stage.front.follow(token, &Follower::default(), stage.now)
}

/// Follows a link as a person does.
fn tap(stage: &mut Stage, token: &str) -> Verdict {
    let followed = follow(stage, token).unwrap();
    stage.record(followed.counts.unwrap())
}

#[test]
fn a_source_keeps_the_code_that_it_was_given() {
    let mut stage = Stage::new();
    let business = business(&mut stage, TENANT);
    let endpoint = endpoint(&mut stage, business, Channel::Whatsapp, "5215512345678");
    let row = EntrySource { code: "AAAAAAAAAA".into(), id: 7, ..menu(endpoint) };
    let write = || Stage::writing(TENANT, "a", Change::Create(Resource::Source(row.clone())));
    let Resource::Source(first) = stage.mutate(write()).unwrap() else { panic!("a source") };
    assert_eq!(first.id, mint(IdKind::Source, 1));
    assert_ne!(first.code, "AAAAAAAAAA", "the engine gives it");
    assert_eq!(stage.mutate(write()).unwrap(), Resource::Source(first.clone()), "once");
    let mut create = || stage.create(TENANT, Resource::Source(menu(endpoint)));
    let others: Vec<_> = (0..20).map(|_| create()).collect();
    let others: BTreeSet<_> = others.into_iter().map(|id| source(&stage, id).code).collect();
    assert_eq!(others.len(), 20);
    assert!(!others.contains(&first.code));
    let mut stage = stage.restarted();
    assert_eq!(source(&stage, first.id), first);
    let mut bytes = Vec::new();
    let journal = stage.writer.log().journal_id();
    stage.settle();
    stage.front.write_checkpoint(journal, &mut bytes).unwrap();
    let (disk, ring, now) = (stage.disk, stage.ring, stage.now);
    let stage = Stage::open(disk, ring, now, Some(&bytes)).unwrap();
    assert_eq!(source(&stage, first.id), first);
    assert!(follow(&stage, &first.code).is_some(), "known by its code too");
    let all = stage.front.list(ALL, ResourceKind::Source, endpoint, 0, 100).0;
    assert_eq!(all.len(), 21);
    let change = Change::Update(Resource::Source(first), vec!["name".into()]);
    let refusal = { stage }.mutate(Stage::writing(TENANT, "b", change)).unwrap_err();
    assert_eq!(refusal.reason, Reason::FieldInvalid, "a source is never changed");
}

#[test]
fn a_source_is_its_tenants_alone() {
    let mut stage = Stage::new();
    let (_, row) = whatsapp(&mut stage);
    let refusal = stage.try_create(8, Resource::Source(menu(row.endpoint_id))).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::NotFound, "entry_source.endpoint_id"));
    let refusal = stage.try_create(TENANT, Resource::Source(menu(9))).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound);
    let theirs = Scope { tenant: 8, any: false };
    let kind = ResourceKind::Source;
    assert_eq!(stage.front.get(theirs, kind, row.id).unwrap_err().reason, Reason::NotFound);
    assert!(stage.front.list(theirs, kind, 0, 0, 10).0.is_empty());
    let ours = Scope { tenant: TENANT, any: false };
    assert_eq!(stage.front.list(ours, kind, 0, 0, 10).0, [Resource::Source(row)]);
}

#[test]
fn a_followed_source_is_counted_and_opens_a_chat_that_knows_it() {
    let mut stage = Stage::new();
    let business = business(&mut stage, TENANT);
    for (channel, address) in CHANNELS {
        let endpoint = endpoint(&mut stage, business, channel, address);
        let id = stage.create(TENANT, Resource::Source(menu(endpoint)));
        let code = source(&stage, id).code;
        let followed = follow(&stage, &code).unwrap();
        let kind = Kind::from_number(channel as u8).unwrap();
        let parts = parse_link(kind, &followed.link).unwrap();
        assert_eq!((&*parts.address, &parts.code, &*parts.token), (address, &code, ""));
        assert_eq!(find_click(kind, &followed.link), code.parse().ok().map(FoundClick::Code));
        let verdict = stage.record(followed.counts.unwrap());
        assert_eq!(verdict, Verdict::Recorded { charged: 0, invalid: None });
        tap(&mut stage, &code);
        assert_eq!((source(&stage, id).taps, source(&stage, id).conversations), (2, 0));
    }
}

#[test]
fn a_conversation_of_a_source_is_counted_there_and_nobody_pays() {
    let mut stage = Stage::new();
    let (shop, row) = whatsapp(&mut stage);
    for contact in ["ana", "luis"] {
        let chat = stage.chat(&shop, contact);
        let opening = Opening::by_message(EntryPoint::QrCode, Some(Claim::Source(row.id)));
        let verdict = stage.record(Incoming::Opened { chat, opening });
        assert_eq!(verdict, Verdict::Recorded { charged: 0, invalid: None });
    }
    tap(&mut stage, &row.code);
    let stage = stage.restarted();
    let counted = source(&stage, row.id);
    assert_eq!((counted.taps, counted.conversations), (1, 2));
    let Resource::Source(listed) =
        stage.front.list(ALL, ResourceKind::Source, 0, 0, 10).0.remove(0)
    else {
        panic!("a source")
    };
    assert_eq!(listed, counted);
}

#[test]
fn a_code_that_comes_back_is_its_sources_and_elsewhere_nobodys() {
    let mut stage = Stage::new();
    let (shop, row) = whatsapp(&mut stage);
    let other = endpoint(&mut stage, shop.business, Channel::Whatsapp, "5215512345679");
    let code = Some(Claim::Code(row.code.parse().unwrap()));
    for (endpoint, known) in [(shop.endpoint, true), (other, false)] {
        let chat = stage.chat(&Shop { endpoint, ..shop }, "ana");
        let opening = Opening::by_message(EntryPoint::Ad, code);
        let verdict = stage.record(Incoming::Opened { chat, opening });
        assert_eq!(verdict, Verdict::Recorded { charged: 0, invalid: None });
        let opened = stage.front.conversation(ALL, chat.id, stage.now).unwrap();
        let entry_point = if known { EntryPoint::QrCode } else { EntryPoint::Ad };
        assert_eq!(opened.entry_point(), entry_point);
        assert!(opened.latest_touch.is_none(), "no ad led here");
    }
    assert_eq!(source(&stage, row.id).conversations, 1);
}

#[test]
fn a_suspect_follows_a_source_uncounted() {
    let mut stage = Stage::new();
    let (_, row) = whatsapp(&mut stage);
    let follower = Follower { suspect: Some(InvalidReason::UserAgent), ..Follower::default() };
    let followed = stage.front.follow(&row.code, &follower, stage.now).unwrap();
    assert_eq!(followed.counts, None);
}

fn staged(billing: BillingEvent) -> (Stage, Shop) {
    let mut stage = Stage::new();
    let offer = Offer { billing, channel: Channel::Telegram, ..Offer::default() };
    let shop = stage.shop(&offer);
    // Alone in the auction, an ad costs what the feed asks.
    stage.policy.floor_cpm_micros = 100_000;
    (stage, shop)
}

#[test]
fn the_tap_on_a_placed_ad_counts_once_whichever_way_it_comes() {
    for feed_first in [false, true] {
        let (mut stage, _) = staged(BillingEvent::LinkClicks);
        let shown = stage.show("ana");
        stage.see(&shown);
        stage.wait(5_000);
        let text = BASE64URL_NOPAD.encode(&shown.ad.view_token);
        let followed = follow(&stage, &text).unwrap();
        assert_eq!(followed.link, shown.ad.chat_link, "the same chat with the same click");
        let ways = |stage: &mut Stage, by_feed: bool| {
            if by_feed { stage.happen(&shown, EventKind::Tap) } else { tap(stage, &text) }
        };
        let first = ways(&mut stage, feed_first);
        let price = shown.token.price_micros;
        assert!(price > 0);
        assert_eq!(first, Verdict::Recorded { charged: price, invalid: None });
        assert_eq!(ways(&mut stage, !feed_first), Verdict::Already);
        assert_eq!(ways(&mut stage, feed_first), Verdict::Already);
    }
}

#[test]
fn a_click_token_forwards_and_counts_where_taps_are_not_what_is_paid_for() {
    for billing in
        [BillingEvent::Impressions, BillingEvent::LinkClicks, BillingEvent::Conversations]
    {
        let (mut stage, shop) = staged(billing);
        let shown = stage.show("ana");
        stage.see(&shown);
        stage.wait(5_000);
        let click = stage.click(&shown);
        let text = stage.front.sealer().seal_click_text(&click);
        let followed = follow(&stage, &text).unwrap();
        assert_eq!(followed.link, shown.ad.chat_link);
        if billing == BillingEvent::LinkClicks {
            assert_eq!(followed.counts, None, "who talks to the chat has the token too");
            continue;
        }
        let first = stage.record(followed.counts.clone().unwrap());
        assert_eq!(first, Verdict::Recorded { charged: 0, invalid: None });
        assert_eq!(stage.record(followed.counts.unwrap()), Verdict::Already);
        assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
        // The conversation that follows is matched and paid as after any tap.
        let opened = stage.open_chat(&shop, "ana", Some(Claim::Click(click)));
        assert!(matches!(opened, Verdict::Recorded { .. }), "{opened:?}");
        let chat = stage.chat(&shop, "ana");
        let known = stage.front.conversation(ALL, chat.id, stage.now).unwrap();
        assert_eq!(known.latest_touch.unwrap().ad_id, shop.ad);
    }
}

#[test]
fn what_is_no_link_of_ours_or_none_any_more_leads_nowhere() {
    let (mut stage, _) = staged(BillingEvent::Impressions);
    let shown = stage.show("ana");
    let view = BASE64URL_NOPAD.encode(&shown.ad.view_token);
    let click = stage.front.sealer().seal_click_text(&stage.click(&shown));
    assert!(follow(&stage, &view).is_some() && follow(&stage, &click).is_some());
    let forged = |text: &str| {
        let other = if text.ends_with('A') { "B" } else { "A" };
        [&text[..text.len() - 1], other].concat()
    };
    let foreign = KeyRing::generate(&mut |buffer| buffer.fill(200), stage.now.seconds());
    let foreign = BASE64URL_NOPAD.encode(&Sealer::new(foreign).seal_view(&shown.token));
    assert_eq!(foreign.len(), view.len());
    let (forged_view, forged_click) = (forged(&view), forged(&click));
    for token in [
        "",
        "a",
        "7ZK4M0Q9XA",
        "7ZK4M0Q9XU",
        &view[1..],
        &click[1..],
        &forged_view,
        &forged_click,
        &foreign,
        &"é".repeat(5),
        &"/".repeat(64),
        &"é".repeat(54),
    ] {
        assert_eq!(follow(&stage, token), None, "{token}");
    }
    stage.wait(25 * HOUR_MS);
    assert_eq!(follow(&stage, &view), None, "its end has passed");
    assert!(follow(&stage, &click).is_some(), "a click token lives longer");
    stage.wait(40 * DAY_MS);
    assert_eq!(follow(&stage, &click), None);
    let stranger = Stage::new();
    assert_eq!(follow(&stranger, &view), None, "an ad that is not here");
}

#[test]
fn an_address_that_leads_elsewhere_is_never_forwarded_to() {
    let mut stage = Stage::new();
    let business = business(&mut stage, TENANT);
    for (channel, address) in [
        (Channel::Whatsapp, "+5215512345678"),
        (Channel::Whatsapp, "../evil.example"),
        (Channel::AppleMessages, "@evil.example/"),
        (Channel::AppleMessages, "\r\nSet-Cookie: a=b"),
        (Channel::Rcs, "x&service_id=evil"),
    ] {
        // The stage writes what the door would refuse.
        let endpoint = endpoint(&mut stage, business, channel, address);
        let id = stage.create(TENANT, Resource::Source(menu(endpoint)));
        let code = source(&stage, id).code;
        assert_eq!(follow(&stage, &code), None, "{address}");
    }
}

#[test]
fn ice_breakers_are_refused_where_nobody_would_see_them() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Telegram, ..Offer::default() });
    let endpoint = endpoint(&mut stage, shop.business, Channel::Whatsapp, "5215512345678");
    let ad = |endpoint_id: u64, text: &str| {
        let questions = vec!["Are you open?".to_owned()];
        let destination = Some(ChatDestination {
            endpoint_id,
            prefilled_text: text.into(),
            ice_breakers: questions,
        });
        Resource::Ad(Ad { destination, ..Offer::default().ad_row(shop.ad_set, endpoint_id) })
    };
    for (row, says) in
        [(ad(shop.endpoint, ""), "Telegram shows no"), (ad(endpoint, "Hola"), "hides")]
    {
        let refusal = stage.try_create(TENANT, row).unwrap_err();
        assert_eq!(refusal.field, "ad.destination.ice_breakers");
        assert!(refusal.message.contains(says), "{}", refusal.message);
    }
    stage.create(TENANT, ad(endpoint, ""));
}

#[test]
fn a_link_prefills_nothing_where_that_would_hide_the_ice_breakers() {
    for breakers in [false, true] {
        let mut stage = Stage::new();
        let cheap = Offer { channel: Channel::Whatsapp, ..Offer::default() };
        let shop = stage.shop(&cheap);
        let endpoint = endpoint(&mut stage, shop.business, Channel::Whatsapp, "5215512345678");
        // It outbids the ad that the shop has.
        let offer = Offer { bid: 2_000_000, ..cheap };
        let row = Resource::AdSet(offer.ad_set_row(shop.campaign));
        let ad_set = stage.create(TENANT, row);
        let questions = if breakers { vec!["Are you open?".to_owned()] } else { Vec::new() };
        let destination = Some(ChatDestination {
            endpoint_id: endpoint,
            prefilled_text: String::new(),
            ice_breakers: questions,
        });
        let row = Ad { destination, ..offer.ad_row(ad_set, endpoint) };
        let ad = stage.create(TENANT, Resource::Ad(row));
        let shown = stage.show("ana");
        assert_eq!(shown.ad.ad_id, ad);
        let bare = shown.ad.chat_link == "https://wa.me/5215512345678";
        assert_eq!(bare, breakers, "{}", shown.ad.chat_link);
        let code = find_click(Kind::Whatsapp, &shown.ad.chat_link);
        assert_eq!(code.is_none(), breakers, "{}", shown.ad.chat_link);
        let text = BASE64URL_NOPAD.encode(&shown.ad.view_token);
        assert_eq!(follow(&stage, &text).unwrap().link, shown.ad.chat_link);
    }
}
