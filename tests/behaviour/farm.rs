//! A click farm with a new pseudonym for every tap and no network that is told: what its advertiser pays of it.
//! `FARM_PSEUDONYMS=10000 cargo test --test behaviour farm` makes it as large as is asked for.

#![allow(clippy::print_stdout, reason = "a run says what it covered")]

use munadi::types::proto::v1::{BillingEvent, EventKind, InvalidReason, Targeting, TrafficRules};
use munadi::types::request::{AdRequest, Incoming, ListChange, Profile, Verdict};
use munadi::types::time::{DAY_MS, SECOND_MS};

use crate::stage::{Offer, Shown, Stage, event, letters};

/// Pseudonyms of a farm unless the environment says otherwise: each is one tap.
const PSEUDONYMS: usize = 3_000;

/// Most of its taps that an advertiser pays for, in a hundred.
const PAID_PERCENT_MAX: usize = 2;

/// Taps that the operator allows an account for each 100 views.
const TAPS_PER_100_VIEWS: u32 = 20;

/// Viewers whose events come in together.
const PER_CALL: usize = 50;

const BID: i64 = 1_000_000;

/// Stages a shop for each country, which pays for taps.
fn staged(countries: &[&str]) -> Stage {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 10_000;
    for country in countries {
        let targeting =
            Targeting { countries: vec![(*country).to_owned()], ..Targeting::default() };
        let billing = BillingEvent::LinkClicks;
        stage.shop(&Offer { billing, bid: BID, targeting, ..Offer::default() });
    }
    let rules = TrafficRules { taps_per_100_views: TAPS_PER_100_VIEWS, ..TrafficRules::default() };
    stage.write_lists("rules", ListChange::TrafficRules(rules)).unwrap();
    stage
}

fn show(stage: &Stage, country: &str, name: &str) -> Shown {
    let profile = Profile { country: letters(country), ..Profile::default() };
    stage.try_fill(&AdRequest { profile, ..stage.tray_of(name) }).unwrap()
}

/// Lets fresh viewers see an ad, and the first `taps` of every hundred tap it, some at a time. Returns how many
/// taps were made, and how many of them cost what their tokens say; the others cost nothing.
fn visit(stage: &mut Stage, country: &str, who: &str, count: usize, taps: usize) -> [usize; 2] {
    let (mut made, mut paid) = (0, 0);
    let numbers: Vec<usize> = (0..count).collect();
    for call in numbers.chunks(PER_CALL) {
        stage.wait(SECOND_MS);
        stage.settle();
        let (mut items, mut prices) = (Vec::new(), Vec::new());
        for number in call {
            let shown = show(stage, country, &format!("{who} {number}"));
            items.push(event(&shown, EventKind::Impression));
            prices.push(None);
            if number % 100 < taps {
                items.push(event(&shown, EventKind::Tap));
                prices.push(Some(shown.token.price_micros));
            }
        }
        for (verdict, price) in stage.record_all(items).iter().zip(prices) {
            let Verdict::Recorded { charged, invalid } = verdict else { panic!("{verdict:?}") };
            let Some(price) = price else { continue };
            assert!(price > 0, "a tap costs something");
            assert!(matches!(invalid, None | Some(InvalidReason::TapShare)), "{invalid:?}");
            assert_eq!(*charged, if invalid.is_none() { price } else { 0 });
            made += 1;
            paid += usize::from(invalid.is_none());
        }
    }
    [made, paid]
}

fn pseudonyms() -> usize {
    let told = std::env::var("FARM_PSEUDONYMS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(PSEUDONYMS)
}

/// Tells how a farm went, and that it took no more than it may.
fn check(what: &str, [made, paid]: [usize; 2]) {
    println!("{what}: {made} taps by as many pseudonyms, {paid} of them paid for");
    assert!(paid * 100 <= made * PAID_PERCENT_MAX, "{what}: {paid} of {made} taps were paid for");
}

#[test]
fn a_farm_with_a_viewer_for_every_tap_is_paid_for_two_of_a_hundred_at_most() {
    let mut stage = staged(&["MX", "BR"]);
    assert_eq!(visit(&mut stage, "MX", "ana", 300, 5), [15, 15], "people are let be");
    check("at once", visit(&mut stage, "MX", "farm", pseudonyms(), 100));
    let [made, paid] = visit(&mut stage, "BR", "bea", 200, 10);
    assert_eq!((made, paid), (20, 20), "another advertiser's viewers are let be");
}

#[test]
fn a_farm_that_takes_ten_days_is_paid_for_no_more_and_forgotten_at_last() {
    let mut stage = staged(&["MX"]);
    let mut sum = [0, 0];
    for day in 0..10 {
        let name = format!("farm of day {day}");
        let [made, paid] = visit(&mut stage, "MX", &name, pseudonyms() / 10, 100);
        sum = [sum[0] + made, sum[1] + paid];
        stage.wait(DAY_MS);
        stage.settle();
    }
    check("in ten days", sum);
    stage.wait(14 * DAY_MS);
    stage.settle();
    assert_eq!(visit(&mut stage, "MX", "ana", 100, 10), [10, 10], "the farm has gone");
}

#[test]
fn taps_that_other_rules_mark_turn_no_other_tap_invalid() {
    let mut stage = staged(&["MX"]);
    // Bots of listed user agents: marked as such, however many.
    for number in 0..200 {
        let shown = show(&stage, "MX", &format!("bot {number}"));
        let suspect = Some(InvalidReason::UserAgent);
        let told = |kind| {
            let Incoming::Ad { token, at, .. } = event(&shown, kind) else { panic!("an ad's") };
            Incoming::Ad { token, kind, at, suspect, network: 0 }
        };
        let told = vec![told(EventKind::Impression), told(EventKind::Tap)];
        for verdict in stage.record_all(told) {
            assert!(matches!(verdict, Verdict::Recorded { invalid, .. } if invalid == suspect));
        }
    }
    assert_eq!(visit(&mut stage, "MX", "ana", 100, 10), [10, 10]);
}
