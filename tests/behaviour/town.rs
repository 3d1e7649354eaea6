//! The demo and the dry run, as a user meets them: through the binary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use munadi::journal::file::scan;
use munadi::node::Files;
use munadi::state::funnel::is_unpriced;
use munadi::state::tariffs::list_cards;
use munadi::types::proto::journal::v1::Decision;
use munadi::types::proto::journal::v1::fact::Kind;
use prost::Message;
use serde_json::Value;

fn munadi(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_munadi")).args(arguments).output().unwrap()
}

/// Returns the one object that a run printed, without what depends on the machine.
fn figures(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut figures: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    assert!(figures["events_per_second"].take().as_u64().unwrap() > 0);
    assert!(output.status.success(), "{figures:#}");
    figures
}

/// What every run must keep to.
fn check(figures: &Value) {
    assert_eq!(figures["audit"]["equal"], true, "{figures:#}");
    assert_eq!(figures["over_budget_micros"], 0);
    assert_eq!(figures["audit"]["over_budget_micros"], 0);
    assert_eq!(figures["differences"], Value::Array(Vec::new()));
}

#[test]
fn one_seed_gives_one_day_and_its_invoices_stand_the_audit() {
    let live = |seed: &'static str| {
        thread::spawn(move || munadi(&["demo", "--json", "--viewers", "150", "--seed", seed]))
    };
    let [one, again, other] = ["7", "7", "8"].map(live).map(|run| figures(&run.join().unwrap()));
    check(&one);
    assert_eq!(one, again);
    check_measured(&one);
    check_measured(&other);
    assert!(one["models"]["conversations"]["outcomes"].as_u64().unwrap() > 0, "{one:#}");
    assert_ne!(one["requests"], other["requests"]);
    for counted in ["requests", "ads_served", "impressions", "taps", "conversations"] {
        assert!(one[counted].as_u64().unwrap() > 0, "{counted}: {one:#}");
    }
    assert!(one["audit"]["invoices"].as_u64().unwrap() > 0);
    assert!(one["empty_slots_by_reason"].as_object().unwrap().len() > 1);
    let channels = one["channels"].as_array().unwrap();
    assert!(channels.len() > 4, "{channels:#?}");
    let sum = |of: &str, step: &str| -> u64 {
        channels.iter().map(|channel| channel[of][step].as_u64().unwrap()).sum()
    };
    for (step, counted) in
        [("taps", "taps"), ("opened", "conversations"), ("replied", "first_replies")]
    {
        assert_eq!(sum("events", step), one[counted].as_u64().unwrap(), "{step}");
        let people = sum("people", step);
        assert!((1..=sum("events", step)).contains(&people), "{people} people {step}");
    }
    let matched: u64 = one["matches"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(matched, sum("events", "opened"));
}

/// The rule-based models and those of paths; only the last click may leave outcomes to nobody.
const MODELS: [&str; 8] = [
    "LAST_TOUCH",
    "FIRST_TOUCH",
    "LAST_CLICK",
    "LINEAR",
    "TIME_DECAY",
    "POSITION_BASED",
    "MARKOV",
    "SHAPLEY",
];

/// Every model must share the same outcomes, and the lift's intervals hold their estimates.
fn check_measured(figures: &Value) {
    for outcomes in ["conversations", "conversions"] {
        let table = &figures["models"][outcomes];
        let whole = table["outcomes"].as_u64().unwrap() * 1_000_000;
        let campaigns = table["campaigns"].as_array().unwrap();
        for model in MODELS {
            let credits = campaigns.iter().map(|row| row["credit_micros"][model].as_u64().unwrap());
            let shared: u64 = credits.sum();
            if model == "LAST_CLICK" {
                assert!(shared <= whole && shared.is_multiple_of(1_000_000), "{table:#}");
            } else {
                assert_eq!(shared, whole, "{model}: {table:#}");
            }
        }
    }
    let lift = &figures["lift"];
    for group in ["treated", "control"] {
        assert!(lift[group]["viewers"].as_u64().unwrap() > 1, "{lift:#}");
    }
    for outcomes in ["conversations", "conversions"] {
        for span in ["difference", "incremental"] {
            let span = &lift[outcomes][span];
            let at = |end: &str| span[end].as_f64().unwrap();
            assert!(at("lower") <= at("estimate") && at("estimate") <= at("upper"), "{lift:#}");
        }
    }
    let opened = ["treated", "control"].map(|group| lift[group]["conversations"].as_u64().unwrap());
    assert!(opened.iter().sum::<u64>() > 0, "the platform tells whose they are: {lift:#}");
    // Both groups are as well reported: ghosts are where the ads would have been.
    assert!(lift["sample_ratio_p_value"].as_f64().unwrap() > 0.001, "{lift:#}");
}

const CAMPAIGNS: &str = r#"
{"kind":"account","ref":"mine","resource":{"name":"Shop","currency":"MXN","timeZone":"UTC"}}
{"kind":"business","resource":{"name":"Shop"}}
{"kind":"endpoint","resource":{"channel":"CHANNEL_TELEGRAM","address":"shop_bot"}}
{"kind":"campaign","parent":"mine","resource":{"name":"June","objective":"OBJECTIVE_OUTCOME_SALES","budget":{"daily":{"micros":"9000000","currency":"MXN"}}}}
{"kind":"ad_set","resource":{"name":"all","billingEvent":"BILLING_EVENT_IMPRESSIONS","bid":{"micros":"60000000","currency":"MXN"},"targeting":{"countries":["MX"]}}}
{"kind":"ad","resource":{"name":"one","creative":{"primaryText":"Write to us"}}}
"#;

const REQUESTS: &str = r#"
{"time":"2026-06-01T08:00:00Z","placement":"PLACEMENT_STATUS","posts":3,"viewer":{"pseudonym":"a","country":"MX"}}
{"time":"2026-06-01T08:00:00.500Z","placement":"PLACEMENT_FEED","posts":3,"viewer":{"pseudonym":"b","country":"IN"}}
{"time":"2026-06-01T09:00:00Z","placement":"PLACEMENT_FEED","posts":3,"viewer":{"pseudonym":"b","country":"MX"}}
"#;

fn replay(folder: &Path, campaigns: &str, requests: &str, more: &[&str]) -> Output {
    let (first, second) = (folder.join("campaigns.ndjson"), folder.join("requests.ndjson"));
    std::fs::write(&first, campaigns).unwrap();
    std::fs::write(&second, requests).unwrap();
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let arguments = ["replay", "--json", "--campaigns", first, "--requests", second];
    munadi(&[&arguments, more].concat())
}

#[test]
fn a_dry_run_serves_ones_own_requests_and_counts_what_they_would_cost() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["--taps-per-million", "1000000", "--chats-per-million", "1000000"];
    let figures = figures(&replay(folder.path(), CAMPAIGNS, REQUESTS, &all));
    check(&figures);
    assert_eq!((&figures["requests"], &figures["ads_served"]), (&3.into(), &2.into()));
    assert_eq!((&figures["impressions"], &figures["taps"]), (&2.into(), &2.into()));
    assert_eq!(figures["conversations"], 2);
    assert_eq!(figures["empty_slots_by_reason"]["NOT_TARGETED"], 1);
    // Nobody else bids, so each impression costs the feed's floor: 1 MXN for 1,000.
    assert_eq!(figures["spend_by_currency"]["MXN"], 2_000);
    assert_eq!(figures["models"]["conversations"]["outcomes"], 2);
    assert_eq!(figures["lift"], Value::Null, "no ads were held back");
}

#[test]
fn a_line_that_cannot_be_used_is_named_by_file_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let backwards: Vec<&str> = REQUESTS.trim().lines().rev().collect();
    for (campaigns, requests, told) in [
        (CAMPAIGNS, backwards.join("\n"), "requests.ndjson: line 2: its time is before"),
        (CAMPAIGNS, "\n{\"posts\":1}".to_owned(), "requests.ndjson: line 2: it has no time"),
        ("{\"kind\":\"moon\"}", REQUESTS.to_owned(), "campaigns.ndjson: line 1: "),
        (CAMPAIGNS, String::new(), "requests.ndjson: it holds no request"),
    ] {
        let output = replay(folder.path(), campaigns, &requests, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(told), "{errors}");
    }
}

#[test]
fn a_line_that_the_engine_refuses_is_named_by_its_reference() {
    let folder = tempfile::tempdir().unwrap();
    let campaigns = CAMPAIGNS.replace("\"UTC\"", "\"Moon/Base\"");
    let output = replay(folder.path(), &campaigns, REQUESTS, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("account mine was refused"), "{errors}");
}

#[test]
fn a_kept_folder_can_be_audited_and_is_never_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let kept = kept.to_str().unwrap();
    let keep = ["--keep", kept];
    check(&figures(&replay(folder.path(), CAMPAIGNS, REQUESTS, &keep)));
    assert!(munadi(&["audit", kept]).status.success());
    let again = replay(folder.path(), CAMPAIGNS, REQUESTS, &keep);
    let errors = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && errors.contains("not empty"), "{errors}");
}

#[test]
fn what_a_day_leaves_unpriced_went_to_countries_that_the_built_in_list_has_no_rate_for() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let arguments = ["demo", "--json", "--viewers", "600", "--keep", kept.to_str().unwrap()];
    check(&figures(&munadi(&arguments)));
    let (mut countries, mut unpriced) = (BTreeMap::new(), Vec::new());
    let scanned = scan(&Files::new(&kept).journal(), |block| {
        for bytes in block.decisions() {
            for fact in Decision::decode(bytes).unwrap().facts {
                match fact.kind {
                    Some(Kind::ConversationOpened(fact)) => {
                        countries.insert(fact.conversation, fact.country as u16);
                    }
                    Some(Kind::MessagePriced(fact)) if is_unpriced(&fact) => unpriced.push(*fact),
                    _ => {}
                }
            }
        }
    });
    scanned.unwrap();
    assert!(!unpriced.is_empty(), "more viewers are needed");
    let listed: BTreeSet<_> = list_cards().into_iter().flat_map(|card| card.countries).collect();
    for fact in unpriced {
        // Of a business that wrote first the country is not in the journal.
        let Some(country) = countries.get(&fact.conversation) else { continue };
        let letters = String::from_utf8(country.to_be_bytes().into()).unwrap();
        assert!(!listed.contains(&letters), "{letters} of {fact:?}");
    }
}
