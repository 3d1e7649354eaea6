//! What a pushed parcel says of itself: which key signed it, and whether it is a test.

use std::collections::BTreeMap;

use munadi::node::push::{Parcel, Pusher};
use munadi::tokens::{push_secret, push_signature};
use munadi::types::proto::v1::EntryPoint;
use munadi::types::request::{Claim, Incoming, Opening, PushChange};
use munadi::types::time::MINUTE_MS;

use crate::outbound::{OK, SEED, URL, buy, change, convert, ids, journal, set, staged};
use crate::stage::{ALL, Shop, Stage, charged};

/// Sends what is due, one parcel after the other, until nothing is left.
fn sent(stage: &mut Stage, pusher: &mut Pusher) -> Vec<Parcel> {
    let mut all = Vec::new();
    loop {
        stage.settle();
        let parcels = pusher.step(stage.now);
        if parcels.is_empty() {
            return all;
        }
        for parcel in &parcels {
            pusher.delivered(parcel.account, OK, stage.now);
        }
        journal(stage, pusher);
        all.extend(parcels);
    }
}

/// Goes the whole way from a test click to a sale.
fn test_sale(stage: &mut Stage, shop: &Shop, number: u64, contact: &str) {
    let numbers = [number, number << 40];
    let (click, events) = stage.front.test_click(ALL, shop.ad, numbers, stage.now).unwrap();
    stage.record_all(events);
    let claim = Some(Claim::Code(click.prefill_code.parse().unwrap()));
    let opening = Opening {
        channel_click_id: format!("clid-{contact}"),
        ..Opening::by_message(EntryPoint::Ad, claim)
    };
    let chat = stage.chat(shop, contact);
    charged(&stage.record(Incoming::Opened { chat, opening }));
    stage.settle();
    convert(stage, shop, contact, contact, "Purchase");
    stage.wait(MINUTE_MS);
}

#[test]
fn a_test_goes_out_by_itself_with_its_code_and_nothing_else_carries_one() {
    for code in ["TEST77", ""] {
        let (mut stage, shop) = staged();
        let test_event_code = code.to_owned();
        let to = PushChange { test_event_code, ..change(&mut stage, &shop, URL) };
        set(&mut stage, to).unwrap();
        let mut pusher = Pusher::new(&stage.front, SEED);
        buy(&mut stage, &shop, &["a"]);
        test_sale(&mut stage, &shop, 7, "tester");
        buy(&mut stage, &shop, &["b", "c"]);
        let parcels = sent(&mut stage, &mut pusher);
        let told: Vec<_> = parcels
            .iter()
            .map(|parcel| {
                let body: serde_json::Value = serde_json::from_str(&parcel.body).unwrap();
                let mut ids = ids(parcel);
                ids.sort_unstable();
                (ids.join(" "), body["test_event_code"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let all = |told: &[(&str, &str)]| {
            told.iter().map(|(ids, code)| (ids.to_string(), code.to_string())).collect::<Vec<_>>()
        };
        let expected = match code {
            "" => all(&[("a b c", "")]),
            code => all(&[("a", ""), ("tester", code), ("b c", "")]),
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn a_rotated_key_signs_from_then_on_and_says_its_version() {
    let (mut stage, shop) = staged();
    let first = change(&mut stage, &shop, URL);
    set(&mut stage, first).unwrap();
    let mut pusher = Pusher::new(&stage.front, SEED);
    for version in [1, 2, 3] {
        buy(&mut stage, &shop, &[&format!("buyer {version}")]);
        let parcels = sent(&mut stage, &mut pusher);
        assert_eq!(parcels.len(), 1);
        let headers: BTreeMap<_, _> = parcels[0].headers.iter().cloned().collect();
        assert_eq!(headers["x-munadi-key-version"], version.to_string());
        let secret = push_secret(&stage.ring.cursor, shop.account, version);
        let signature = push_signature(&secret, stage.now.seconds(), &parcels[0].body);
        assert_eq!(headers["x-munadi-signature"], format!("sha256={signature}"));
        let rotated = PushChange { rotate_key: true, ..change(&mut stage, &shop, URL) };
        set(&mut stage, rotated).unwrap();
    }
}
