//! What doors read, altered: messages, filters, lists, tokens and cursors. How they are altered: `node/fuzz.rs`.

use std::cell::Cell;

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use prost_types::{FieldMask, Timestamp};

use crate::node::fuzz::{CASES, WIRE_WORDS, fuzz};
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::events::{Door, ad_event};
use crate::rpc::parse::imports::Importer;
use crate::rpc::parse::mutations::Verb;
use crate::rpc::parse::places::{List, open_cursor, seal_cursor};
use crate::rpc::parse::reconcile::Reader;
use crate::rpc::parse::samples::{FEED, NOW, sealer};
use crate::rpc::parse::{ad_sets, ads, billing, campaigns, explain, models, rates, reports, rules};
use crate::state::traffic_rules::Filter;
use crate::types::ids::{JournalId, SHARDS_ALL, Seq, SeqVector};
use crate::types::proto::v1;
use crate::types::proto::v1::Outcome;
use crate::types::request::{ListChange, Scope};
use crate::types::token::{ClickToken, FrequencyToken, ViewToken};

const SCOPE: Scope = Scope { tenant: 0, any: true };

const JOURNAL: JournalId = JournalId([7; 16]);

fn money(micros: i64) -> Option<v1::Money> {
    Some(v1::Money { micros, currency: "MXN".into() })
}

fn second(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

/// Lets what reads one kind of message read altered ones: of the usual number some are taken, or nothing behind
/// the first check was tried. Returns whether that many were read.
fn of_message<M: Message + Default + Clone>(
    name: &str,
    good: &[M],
    read: impl Fn(M) -> bool,
) -> bool {
    assert!(good.iter().cloned().all(&read), "{name}: what is altered is good");
    let seeds: Vec<_> = good.iter().map(Message::encode_to_vec).collect();
    let (cases, taken) =
        fuzz(name, CASES, &seeds, &WIRE_WORDS, |bytes| M::decode(bytes).is_ok_and(&read));
    assert!(cases < CASES || taken > cases / 1_000, "{name}: {taken} of {cases}");
    cases >= CASES
}

fn view() -> ViewToken {
    let (issued, price_micros) = (NOW.seconds(), 1_000);
    ViewToken {
        view: 5,
        ad: 6,
        feed: FEED,
        issued,
        show_by: 600,
        price_micros,
        ..Default::default()
    }
}

fn click() -> ClickToken {
    ClickToken { view: 5, ad: 6, issued: NOW.seconds(), ..ClickToken::default() }
}

fn viewer() -> v1::ViewerContext {
    v1::ViewerContext {
        pseudonym: "viewer-1".into(),
        country: "MX".into(),
        region: "MX-CMX".into(),
        languages: vec!["es".into()],
        location: Some(v1::GeoPoint { latitude_e6: 19_432_608, longitude_e6: -99_133_209 }),
        ..Default::default()
    }
}

fn targeting() -> v1::Targeting {
    v1::Targeting {
        countries: vec!["MX".into(), "BR".into()],
        languages: vec!["es".into()],
        interests: vec![v1::InterestGroup { any_of: vec![3, 9] }],
        age_min: 18,
        ..Default::default()
    }
}

fn ad_set() -> v1::AdSet {
    v1::AdSet {
        campaign_id: 5,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(2_000_000),
        targeting: Some(targeting()),
        frequency_caps: vec![v1::FrequencyCap { max_frequency: 3, interval_hours: 24, event: 1 }],
        schedule_hours: vec![0, 167],
        start_time: second(1_800_000_000),
        end_time: second(1_800_000_001),
        ..Default::default()
    }
}

#[test]
fn no_altered_event_or_request_for_ads_makes_a_door_panic() {
    let sealer = sealer();
    let rules = v1::TrafficRules { user_agents: vec!["bot".into()], ..Default::default() };
    let filter = Filter::of(&rules);
    let event = v1::AdEvent {
        view_token: sealer.seal_view(&view()).to_vec().into(),
        kind: v1::EventKind::Tap.into(),
        time: second(i64::from(NOW.seconds())),
        user_agent: "Mozilla/5.0".into(),
        network: "203.0.113.7".into(),
    };
    let door = Door { feed: FEED, sealer: &sealer, filter: &filter, now: NOW };
    of_message("AdEvent", &[event], |wire| ad_event(wire, &door).is_ok());
    let token = FrequencyToken { viewer: 9, feed: FEED, issued: NOW.seconds() };
    let named = v1::AdRequest {
        placement: 1,
        viewer: Some(viewer()),
        posts: 20,
        positions: vec![2, 9],
        ..Default::default()
    };
    let frequency_token = sealer.seal_frequency(&token).to_vec().into();
    let unnamed = v1::AdRequest { frequency_token, viewer: None, ..named.clone() };
    of_message("AdRequest", &[named, unnamed], |wire| {
        ads::ad_request(Some(wire), FEED, &sealer, NOW).is_ok()
    });
}

#[test]
fn no_altered_resource_makes_a_door_panic() {
    let beyond = Cell::new(false);
    let usual = of_message("AdSet", &[ad_set()], |wire| {
        let groups = wire.targeting.iter().flat_map(|targeting| &targeting.interests);
        let largest = groups.flat_map(|group| &group.any_of).max();
        beyond.set(beyond.get() || largest.is_some_and(|number| *number > u16::MAX.into()));
        ad_sets::ad_set(Some(wire), Verb::Create).is_ok()
    });
    assert!(!usual || beyond.get(), "no interest was larger than its 16 bits");
    let paths = ["name", "bid", "targeting"].map(str::to_owned).into();
    let update = v1::UpdateAdSetRequest {
        ad_set: Some(v1::AdSet { id: 7, campaign_id: 0, ..ad_set() }),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    };
    of_message("UpdateAdSetRequest", &[update], |wire| {
        ad_sets::ad_set(wire.ad_set, Verb::Update(wire.update_mask)).is_ok()
    });
    let campaign = v1::Campaign {
        account_id: 5,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeSales.into(),
        budget: Some(v1::Budget { daily: money(5_000_000), lifetime: None }),
        ..Default::default()
    };
    of_message("Campaign", &[campaign], |wire| {
        campaigns::campaign(Some(wire), Verb::Create).is_ok()
    });
    let creative = v1::Creative {
        primary_text: "Three for two".into(),
        media_url: "https://cdn.example/taco.mp4?v=1".into(),
        media_sha256: vec![7; 32],
        ..Default::default()
    };
    let ad = v1::Ad {
        ad_set_id: 5,
        name: "Taco".into(),
        creative: Some(creative),
        destination: Some(v1::ChatDestination { endpoint_id: 9, ..Default::default() }),
        ..Default::default()
    };
    of_message("Ad", &[ad], |wire| campaigns::ad(Some(wire), Verb::Create).is_ok());
}

#[test]
fn no_altered_outcome_makes_a_door_panic() {
    let sealer = sealer();
    let desk = Desk { sealer: &sealer, tenant: 0, now: NOW };
    let key = || Some(v1::ConversationKey { endpoint_id: 9, contact: "+5215512345678".into() });
    let click = sealer.seal_click_text(&click());
    let opened = v1::Opened {
        entry_point: v1::EntryPoint::Ad.into(),
        proof: Some(v1::opened::Proof::ClickToken(click.clone())),
        ..Default::default()
    };
    let event = v1::ConversationEvent {
        business_id: 3,
        conversation: key(),
        country: "MX".into(),
        event: Some(v1::conversation_event::Event::Opened(opened)),
        ..Default::default()
    };
    of_message("ConversationEvent", &[event], |wire| desk.event(wire).is_ok());
    let conversion = v1::Conversion {
        event_id: "sale-1".into(),
        name: "Purchase".into(),
        value: money(5_000_000),
        origin: Some(v1::conversion::Origin::ClickToken(click)),
        ..Default::default()
    };
    of_message("Conversion", &[conversion], |wire| desk.conversion(wire, |_| Ok(3)).is_ok());
    let imported = v1::ImportedEvent {
        r#type: v1::ImportedEventType::Conversion.into(),
        event_id: "e-1".into(),
        event_time: second(i64::from(NOW.seconds())),
        viewer: "ana".into(),
        account_id: 7,
        name: "Purchase".into(),
        value_micros: Some(5),
        currency: "MXN".into(),
        ..Default::default()
    };
    of_message("ImportedEvent", &[imported], |wire| {
        Importer::new(&sealer, 0, FEED).and_then(|importer| importer.event(wire)).is_ok()
    });
    let lines = [
        r#"{"event_id":"sale-1","name":"Purchase","value_micros":"5","currency":"MXN"}"#,
        r#"{"event_id":"sale-2","event_time":"2027-01-15T08:00:00.5Z"}"#,
        r#"{"conversation":{"endpoint_id":"9","contact":"+5215512345678"}}"#,
        r#"{"conversation_id":9}"#,
    ];
    let seeds = [lines[..2].join("\n").into_bytes(), lines[2..].join("\n").into_bytes()];
    let words: [&[u8]; 13] = [
        b"{",
        b"}",
        b"\"",
        b"\\ud800",
        b"null",
        b"1e999",
        b"\n",
        b"\xFF",
        b"[[[[",
        b"-1",
        b"65536",
        b"9223372036854775808",
        b"18446744073709551616",
    ];
    let (cases, taken) = fuzz("list of Reconcile", CASES, &seeds, &words, |bytes| {
        let outcomes = [Outcome::Conversion, Outcome::Conversation];
        let read = outcomes.map(|outcome| Reader::new(&desk, outcome, |_| Ok(3)).lines(bytes));
        let lines = read.iter().flatten().flatten();
        lines.filter(|(_, line)| line.is_ok()).count() > 0
    });
    assert!(cases < CASES || taken > cases / 1_000, "{taken} of {cases}");
}

#[test]
fn no_altered_filter_or_question_makes_a_door_panic() {
    let sealer = sealer();
    let finding = v1::InvalidateEventsRequest {
        request_id: "i".into(),
        filter: Some(v1::EventFilter {
            account_id: 7,
            start_time: second(0),
            end_time: second(95 * 86_400),
            billed_events: vec!["taps".into(), "impressions".into()],
            ..Default::default()
        }),
        reason: "bots".into(),
        dry_run: true,
    };
    of_message("InvalidateEventsRequest", &[finding], |wire| {
        billing::invalidation(wire, SCOPE, [0; 16]).is_ok()
    });
    let question = v1::QueryReportRequest {
        start_time: second(1_799_971_200),
        end_time: second(1_799_971_200 + 86_400),
        dimensions: vec![6],
        campaign_ids: vec![1, 2],
        ..Default::default()
    };
    let bare = v1::QueryReportRequest::default();
    of_message("QueryReportRequest", &[question, bare], |wire| {
        reports::query(wire, SCOPE, NOW, &sealer).is_ok()
    });
    let networks = ["203.0.113.0/24", "2001:db8::/32"].map(str::to_owned).into();
    let user_agents = vec!["bot".into(), "Spider".into()];
    let rules = v1::TrafficRules { user_agents, networks, ..Default::default() };
    let rules = v1::SetTrafficRulesRequest { request_id: "r".into(), rules: Some(rules) };
    of_message("SetTrafficRulesRequest", &[rules], |wire| {
        let Ok(ListChange::TrafficRules(rules)) = rules::traffic_rules(wire) else { return false };
        let filter = Filter::of(&rules);
        filter.suspect("a Spider", "2001:db8::1".parse().ok());
        true
    });
    let card = v1::RateCard {
        channel: v1::Channel::Whatsapp.into(),
        market: "Mexico".into(),
        countries: vec!["MX".into()],
        category: v1::MessageCategory::Marketing.into(),
        price: money(30_000),
        valid_from: second(1_800_000_000),
        source: "by hand".into(),
        ..Default::default()
    };
    let cards = v1::SetRateCardsRequest { request_id: "c".into(), cards: vec![card] };
    of_message("SetRateCardsRequest", &[cards], |wire| rates::rate_cards(wire.cards).is_ok());
    let draft = v1::EstimateDeliveryRequest {
        ad_set: Some(v1::AdSet { targeting: Some(targeting()), ..Default::default() }),
        ..Default::default()
    };
    of_message("EstimateDeliveryRequest", &[draft], |wire| explain::question(wire, NOW).is_ok());
    let compared = v1::CompareModelsRequest {
        account_id: 7,
        start_time: second(1_799_971_200 - 86_400),
        end_time: second(1_799_971_200),
        ..Default::default()
    };
    of_message("CompareModelsRequest", &[compared], |wire| models::compared(&wire, NOW).is_ok());
}

#[test]
fn no_altered_token_opens_nor_makes_its_reader_panic() {
    let sealer = sealer();
    let token = FrequencyToken { viewer: 9, feed: FEED, issued: NOW.seconds() };
    let seeds = vec![
        sealer.seal_view(&view()).to_vec(),
        sealer.seal_click(&click()).to_vec(),
        sealer.seal_click_text(&click()).into_bytes(),
        sealer.seal_frequency(&token).to_vec(),
    ];
    let now_s = NOW.seconds();
    fuzz("token", CASES, &seeds, &WIRE_WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let opened = [
            sealer.open_view(bytes, now_s).is_ok(),
            sealer.open_click(bytes, now_s).is_ok(),
            sealer.open_click_text(&text, now_s).is_ok(),
            sealer.open_frequency(bytes, now_s).is_ok(),
        ]
        .contains(&true);
        assert!(!opened || seeds.iter().any(|seed| seed == bytes), "an altered token opened");
        opened
    });
}

#[test]
fn no_altered_page_token_or_cursor_opens_nor_makes_its_reader_panic() {
    let sealer = sealer();
    let numbered = List::new("ListAds", &[4, 0, 77]);
    let named = List::of_words("SearchTargeting", 3, ["pue", "MX"]);
    // Of every length, so that bits are left over in the last letter.
    let names = ["MX-PUE", "MX-PUEB", "MX-PUEBL"].map(|name| named.seal_name(name, &sealer));
    let pages: Vec<_> = names.into_iter().chain([numbered.seal(123, &sealer)]).collect();
    let seeds: Vec<_> = pages.iter().map(|page| page.clone().into_bytes()).collect();
    let words: [&[u8]; 6] = [b"=", b"A", b"-", b"/", b"\n", "é".as_bytes()];
    let one_of = |seeds: &[Vec<u8>], bytes: &[u8]| seeds.iter().any(|seed| seed == bytes);
    let check = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let opened =
            numbered.open(&text, &sealer).is_ok() || named.open_name(&text, &sealer).is_ok();
        let known = bytes.is_empty() || one_of(&seeds, bytes);
        assert!(!opened || known, "an altered page token opened");
        opened
    };
    fuzz("page token", CASES, &seeds, &words, check);
    // Whatever the last letter is: one alone is canonical.
    for page in &pages {
        let (start, last) = page.split_at(page.len() - 1);
        let letters = (0..=u8::MAX).map(char::from).filter(char::is_ascii);
        let opening = letters.filter(|letter| check(format!("{start}{letter}").as_bytes()));
        assert_eq!(opening.collect::<String>(), last);
        assert!(BASE64URL_NOPAD.decode(page.as_bytes()).is_ok());
    }

    let mut at = SeqVector::default();
    at.0[0] = Seq(5);
    at.0[SHARDS_ALL - 1] = Seq(u64::MAX);
    let seeds = vec![seal_cursor(&at, JOURNAL, &sealer), sealer.seal_cursor(&[0; 16])];
    fuzz("cursor", CASES, &seeds, &WIRE_WORDS, |bytes| {
        let opened = open_cursor(bytes, JOURNAL, &sealer);
        let known = bytes.is_empty() || bytes == seeds[0];
        assert!(opened.is_err() || known, "an altered cursor opened");
        opened.is_ok()
    });
}
