//! The redirect and the kits of entry sources, through both doors.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;

use munadi::channels::{Channel, parse_link};
use munadi::types::proto::v1;
use munadi::web::{Apps, Patience, WebConfig, serve};
use tonic::{Code, Status};

use crate::desk::{
    Desk, OPERATOR, PUBLIC_URL, RIVALS, STATUS, Shop, TACOS, calls, event, first_ad, open_shop,
    tray,
};

const BROWSER: &str = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/125 Mobile";

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sends one request on a connection of its own.
fn send(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut lines =
        format!("{method} {path} HTTP/1.1\r\nHost: ads.example\r\nConnection: close\r\n");
    for (name, value) in headers {
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.write_all(format!("{lines}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut head = head.split("\r\n");
    let status = head.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Answer { status, headers: head.map(pair).collect(), body: body.to_owned() }
}

fn follow(addr: SocketAddr, link: &str, headers: &[(&str, &str)]) -> Answer {
    let path = link.strip_prefix(PUBLIC_URL).unwrap();
    let headers = [&[("User-Agent", BROWSER)], headers].concat();
    send(addr, "GET", path, &headers)
}

/// Opens the HTTP door beside a desk's own.
fn open_web(desk: &Desk) -> munadi::listen::Running {
    let config = WebConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        public_url: PUBLIC_URL.into(),
        country_header: Some("x-country".parse().unwrap()),
        apps: Arc::new(Apps::default()),
        patience: Patience::default(),
    };
    serve(desk.node(), &config).unwrap()
}

async fn create_source(
    desk: &Desk,
    key: &str,
    row: v1::EntrySource,
) -> Result<v1::EntrySource, Status> {
    let (request_id, entry_source) = (format!("{key}-{}", row.name), Some(row));
    let request = v1::CreateEntrySourceRequest { request_id, entry_source, validate_only: false };
    let created = desk.campaigns(key).create_entry_source(request).await?.into_inner();
    Ok(created.entry_source.unwrap())
}

fn menu(shop: &Shop) -> v1::EntrySource {
    v1::EntrySource {
        endpoint_id: shop.endpoint,
        name: "Menu <\"Roma\">".into(),
        entry_point: v1::EntryPoint::QrCode.into(),
        prefilled_text: "¡Hola! 🌮".into(),
        ..v1::EntrySource::default()
    }
}

async fn sources(desk: &Desk, key: &str) -> Result<Vec<v1::EntrySource>, Status> {
    let request = v1::ListEntrySourcesRequest::default();
    Ok(desk.campaigns(key).list_entry_sources(request).await?.into_inner().entry_sources)
}

async fn kit(desk: &Desk, key: &str, id: u64) -> Result<v1::GetEntryKitResponse, Status> {
    let request = v1::GetEntryKitRequest { id, pixels_per_module: 0 };
    Ok(desk.campaigns(key).get_entry_kit(request).await?.into_inner())
}

#[test]
fn a_source_has_a_kit_to_print_and_its_taps_are_counted() {
    let desk = Desk::start();
    let web = open_web(&desk);
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let source = create_source(&desk, TACOS, menu(&shop)).await?;
        let kit = kit(&desk, TACOS, source.id).await?;
        assert_eq!(kit.link, format!("{PUBLIC_URL}/c/{}", source.code));
        let parts = parse_link(Channel::Whatsapp, &kit.chat_link).unwrap();
        assert_eq!((&parts.code, &*parts.text), (&source.code, "¡Hola! 🌮"));
        let label = "Menu &lt;&quot;Roma&quot;&gt;";
        assert!(kit.html.contains(&kit.link) && kit.html.contains(label), "{}", kit.html);
        assert!(kit.qr_svg.starts_with("<svg ") && kit.qr_png.starts_with(b"\x89PNG\r\n"));

        let answer = follow(web.addr(), &kit.link, &[("X-Country", "MX")]);
        assert_eq!((answer.status, &*answer.body), (302, ""));
        for (name, value) in [
            ("location", &*kit.chat_link),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(answer.headers[name], value);
        }
        let counted = sources(&desk, TACOS).await?;
        assert_eq!((counted.len(), counted[0].taps, counted[0].conversations), (1, 1, 0));
        assert!(sources(&desk, RIVALS).await?.is_empty(), "another tenant's");
        let status = self::kit(&desk, RIVALS, source.id).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        Ok::<_, Status>(())
    })
    .unwrap();
    web.stop();
    desk.stop();
}

#[test]
fn without_a_person_a_link_forwards_and_counts_nothing() {
    let desk = Desk::start();
    let web = open_web(&desk);
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let source = create_source(&desk, TACOS, menu(&shop)).await?;
        let path = format!("/c/{}", source.code);
        for (method, headers) in [
            ("HEAD", &[("User-Agent", BROWSER)][..]),
            ("GET", &[]),
            ("GET", &[("User-Agent", "WhatsApp/2.24.10 A")]),
            ("GET", &[("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1)")]),
            ("GET", &[("User-Agent", BROWSER), ("Sec-Purpose", "prefetch;prerender")]),
            ("GET", &[("User-Agent", BROWSER), ("Purpose", "prefetch")]),
            ("GET", &[("User-Agent", BROWSER), ("X-Moz", "prefetch")]),
        ] {
            let answer = send(web.addr(), method, &path, headers);
            assert_eq!((answer.status, &*answer.body), (302, ""), "{method} {headers:?}");
            assert!(answer.headers["location"].starts_with("https://wa.me/5215512345678?text="));
        }
        assert_eq!(sources(&desk, TACOS).await?[0].taps, 0);
        assert_eq!(send(web.addr(), "POST", &path, &[]).status, 405);
        Ok::<_, Status>(())
    })
    .unwrap();
    web.stop();
    desk.stop();
}

#[test]
fn of_an_ads_link_what_no_person_follows_is_in_no_column_not_even_among_the_invalid() {
    let desk = Desk::start();
    let web = open_web(&desk);
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let rules = v1::TrafficRules { user_agents: vec!["acme".into()], ..Default::default() };
        let request = v1::SetTrafficRulesRequest { request_id: "r".into(), rules: Some(rules) };
        desk.admin(OPERATOR).set_traffic_rules(request).await?;
        let request = v1::RequestAdsRequest { ad_request: tray("viewer-1") };
        let slots = desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        let ad = first_ad(&slots);
        let events = vec![event(ad, v1::EventKind::Impression)];
        let request = v1::RecordEventsRequest { events, ..Default::default() };
        desk.events(STATUS).record_events(request).await?;
        for agent in ["Mozilla/5.0 Acme/3.1 Mobile", "Googlebot/2.1"] {
            let path = ad.redirect_link.strip_prefix(PUBLIC_URL).unwrap();
            let answer = send(web.addr(), "GET", path, &[("User-Agent", agent)]);
            assert_eq!((answer.status, &answer.headers["location"]), (302, &ad.chat_link));
        }
        let query = v1::QueryReportRequest { account_id: shop.account, ..Default::default() };
        let taps = async || {
            let report = desk.reports(TACOS).query_report(query.clone()).await?.into_inner();
            Ok::<_, Status>(report.rows.iter().fold((0, 0), |(valid, invalid), row| {
                (valid + row.taps, invalid + row.invalid_taps)
            }))
        };
        assert_eq!(taps().await?, (0, 0));
        assert_eq!(follow(web.addr(), &ad.redirect_link, &[]).status, 302);
        assert_eq!(taps().await?, (1, 0), "the person's counts");
        Ok::<_, Status>(())
    })
    .unwrap();
    web.stop();
    desk.stop();
}

#[test]
fn a_link_that_is_none_of_ours_is_a_404_that_repeats_nothing() {
    let desk = Desk::start();
    let web = open_web(&desk);
    let planted = "PLANTED".repeat(9) + "P";
    for token in
        ["0000000000", "%3Cscript%3E", "..%2F..%2F", &planted, &"A".repeat(108), "https:evil"]
    {
        let answer = send(web.addr(), "GET", &format!("/c/{token}"), &[("User-Agent", BROWSER)]);
        assert_eq!(answer.status, 404, "{token}");
        assert!(!answer.headers.contains_key("location"));
        assert_eq!(answer.body, "LINK_UNKNOWN");
    }
    web.stop();
    desk.stop();
}

#[test]
fn a_placed_ads_redirect_and_its_feed_count_one_tap() {
    let desk = Desk::start();
    let web = open_web(&desk);
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let request = v1::RequestAdsRequest { ad_request: tray("viewer-1") };
        let slots = desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        let ad = first_ad(&slots);
        let record = async |kind| {
            let request =
                v1::RecordEventsRequest { events: vec![event(ad, kind)], ..Default::default() };
            let results = desk.events(STATUS).record_events(request).await?.into_inner().results;
            Ok::<_, Status>(results[0].outcome())
        };
        assert_eq!(record(v1::EventKind::Impression).await?, v1::ItemOutcome::Recorded);
        for _ in 0..2 {
            let answer = follow(web.addr(), &ad.redirect_link, &[]);
            assert_eq!((answer.status, &answer.headers["location"]), (302, &ad.chat_link));
        }
        assert_eq!(record(v1::EventKind::Tap).await?, v1::ItemOutcome::Already);
        let report = v1::QueryReportRequest { account_id: shop.account, ..Default::default() };
        let report = desk.reports(TACOS).query_report(report).await?.into_inner();
        assert_eq!(report.rows.iter().map(|row| row.taps).sum::<u64>(), 1);
        Ok::<_, Status>(())
    })
    .unwrap();
    web.stop();
    desk.stop();
}
