//! One token, reported a thousand times at once: it is counted and paid for once, and the rest are told so.

use std::sync::Arc;

use munadi::cli::audit::audit;
use munadi::node::Node;
use munadi::node::clock::Clock;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{AttributionRow, DeclineReason, EventKind, InvalidReason};
use munadi::types::request::{Incoming, Verdict};
use munadi::types::time::HOUR_MS;
use tokio::sync::Barrier;

use crate::site::{Site, start};
use crate::stage::{ALL, event};

/// Reports of each token.
const REPLAYS: usize = 1_000;

/// Rounds of the writer after which every conversation must have found its ad.
const ROUNDS_MAX: usize = 1_000;

/// Reports these events at once, each by a call and task of its own. Returns how many were recorded and how many
/// had been before, and what was charged.
fn at_once(node: &Arc<Node>, items: Vec<Incoming>) -> (usize, usize, i64) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).build().unwrap();
    let start = Arc::new(Barrier::new(items.len()));
    let tasks: Vec<_> = items
        .into_iter()
        .map(|item| {
            let (node, start) = (Arc::clone(node), Arc::clone(&start));
            runtime.spawn(async move {
                start.wait().await;
                node.record(vec![item])?.await
            })
        })
        .collect();
    let (mut recorded, mut already, mut sum) = (0, 0, 0);
    for task in tasks {
        match runtime.block_on(task).unwrap().unwrap().as_slice() {
            [Verdict::Recorded { charged, invalid: None }] => {
                (recorded, sum) = (recorded + 1, sum + charged);
            }
            [Verdict::Already] => already += 1,
            other => panic!("{other:?}"),
        }
    }
    (recorded, already, sum)
}

#[test]
fn a_token_reported_a_thousand_times_at_once_is_counted_and_paid_for_once() {
    let site = Site::new();
    site.shops();
    let mut spent = 0;
    // The first pays for impressions, the second for taps.
    for (country, pays_for) in [("MX", EventKind::Impression), ("BR", EventKind::Tap)] {
        let shown = site.show(country, &format!("ana of {country}")).unwrap();
        for kind in [EventKind::Impression, EventKind::Tap] {
            let price = if kind == pays_for { shown.token.price_micros } else { 0 };
            assert!(price > 0 || kind != pays_for);
            let told = at_once(&site.node, vec![event(&shown, kind); REPLAYS]);
            assert_eq!(told, (1, REPLAYS - 1, price), "{kind:?} in {country}");
            spent += price;
        }
    }
    assert_eq!(site.reported(), (2, 2, 0, spent));

    // What was counted stays so.
    let (room, clock) = site.stop();
    let node = start(&room.path().join("node"), &clock);
    let report = audit(&room.path().join("node")).unwrap();
    assert!(report.equal, "{report}");
    assert_eq!((report.impressions, report.taps), (2, 2));
    node.stop().unwrap();
}

#[test]
fn a_click_that_opens_a_thousand_chats_at_once_is_paid_for_once() {
    let site = Site::new();
    let [.., (country, shop)] = site.shops();
    let shown = site.show(country, "ana").unwrap();
    let price = shown.token.price_micros;
    assert!(price > 0);
    site.record(vec![event(&shown, EventKind::Impression), event(&shown, EventKind::Tap)]);
    let click = site.click(&shown);
    let opening = |number| site.opening(&shop, &format!("contact {number}"), click);
    let told = at_once(&site.node, (0..REPLAYS).map(opening).collect());
    assert_eq!(told, (REPLAYS, 0, 0), "each is a chat, and none costs anything yet");
    let rows = delivered(&site);
    let told = |row: &AttributionRow| (row.decline_reason(), row.invalid(), row.charged_micros);
    let paid = (DeclineReason::Unspecified, InvalidReason::Unspecified, price);
    let replay = (DeclineReason::Duplicated, InvalidReason::Replay, 0);
    assert_eq!(rows.iter().filter(|row| told(row) == paid).count(), 1);
    assert_eq!(rows.iter().filter(|row| told(row) == replay).count(), REPLAYS - 1);
    assert_eq!(site.reported(), (1, 1, 1, price));
}

/// Returns the rows of the attribution stream once there is one for each chat.
fn delivered(site: &Site) -> Vec<AttributionRow> {
    let end = site.clock.now().plus_ms(HOUR_MS);
    for _ in 0..ROUNDS_MAX {
        site.wait(site.node.settled()).unwrap();
        let rows = site.node.front().pull(ALL, &SeqVector::default(), end).0.rows;
        if rows.len() == REPLAYS {
            return rows;
        }
    }
    panic!("not every chat found its ad");
}
