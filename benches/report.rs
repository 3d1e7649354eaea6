//! How long a report takes over 90 days of 10,000 ads, with sums of spans and, as the baseline, by walking all
//! hours. Both are the same rows. Without `--bench` (under `cargo test`) the input is tiny.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time, and prints what it measured"
)]

use std::error::Error;
use std::time::{Duration, Instant};

use munadi::report::fold::Report;
use munadi::report::query::{Filters, Query};
use munadi::report::subjects::Subjects;
use munadi::state::{Stamp, State};
use munadi::types::ids::{IdKind, Seq, Shard, mint, shard_of};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, Charge, EndpointPut, ImpressionSeen,
    Showing, Tapped, ViewContext,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, ChatDestination, Dimension, Metric,
    ReportRow,
};
use munadi::types::request::Scope;
use munadi::types::time::{HOUR_MS, Moment};

/// As `munadi` runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The first hour of the 90 days.
const FIRST_HOUR: u32 = 480_000;
/// Ads of one campaign.
const PER_CAMPAIGN: u64 = 100;
/// Rows of a page.
const ROWS_MAX: usize = 10_000;
/// Threads of one report, as a node has.
const THREADS: usize = 2;
/// Hours between those in which an ad delivers.
const EVERY_HOURS: u32 = 4;

fn catalog(ads: u64) -> Vec<Kind> {
    let id = |kind| mint(kind, 1);
    let account = Account {
        id: id(IdKind::Account),
        time_zone: "UTC".into(),
        currency: "MXN".into(),
        ..Account::default()
    };
    let account_id = account.id;
    let business_id = id(IdKind::Business);
    let endpoint_id = id(IdKind::Endpoint);
    let business = Business { id: business_id, account_id, ..Business::default() };
    let endpoint = ChannelEndpoint { id: endpoint_id, business_id, ..ChannelEndpoint::default() };
    let mut facts = vec![
        Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })),
        Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })),
        Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })),
    ];
    for number in 1..=ads.div_ceil(PER_CAMPAIGN) {
        let campaign_id = mint(IdKind::Campaign, number);
        let campaign = Campaign { id: campaign_id, account_id, ..Campaign::default() };
        facts.push(Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })));
        let ad_set = AdSet { id: mint(IdKind::AdSet, number), campaign_id, ..AdSet::default() };
        facts.push(Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })));
    }
    for number in 1..=ads {
        let destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
        let ad_set_id = mint(IdKind::AdSet, (number - 1) / PER_CAMPAIGN + 1);
        let ad = Ad { id: mint(IdKind::Ad, number), ad_set_id, destination, ..Ad::default() };
        facts.push(Kind::AdPut(Box::new(AdPut { ad: Some(ad) })));
    }
    facts
}

/// Returns a state in which every ad was seen and tapped in every fourth hour.
fn filled(ads: u64, days: u32) -> State {
    let mut state = State::default();
    let mut seq = 0;
    let mut apply = |fact: &Kind, at| {
        seq += 1;
        // The catalog's facts stand first.
        let shard = if at == Moment(0) { Shard::CATALOG } else { shard_of(0) };
        state.apply(Stamp { shard, seq: Seq(seq), at }, fact);
    };
    catalog(ads).iter().for_each(|fact| apply(fact, Moment(0)));
    let account = mint(IdKind::Account, 1);
    let context = Some(ViewContext::default());
    for hour in (FIRST_HOUR..FIRST_HOUR + days * 24).step_by(EVERY_HOURS as usize) {
        let at = Moment(i64::from(hour) * HOUR_MS);
        for number in 1..=ads {
            let ad = mint(IdKind::Ad, number);
            let viewer = (u64::from(hour) << 20 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let showing = Some(Showing { ad, account, viewer, feed: 1, ..Showing::default() });
            let charge = Some(Charge { amount: 1_000, ..Charge::default() });
            let (event_ms, placement) = (at.0, 1);
            let seen =
                ImpressionSeen { showing, event_ms, charge, placement, ..Default::default() };
            apply(&Kind::ImpressionSeen(seen), at);
            let tapped = Tapped { showing, event_ms, placement, context, ..Default::default() };
            apply(&Kind::Tapped(tapped), at);
        }
    }
    state
}

/// Sums as a node does: every so manieth chunk, ads of one campaign one after the other.
fn fold<'a>(
    state: &State,
    query: &'a Query,
    now: Moment,
    (first, step): (usize, usize),
) -> Report<'a> {
    let scope = Scope { tenant: 1, any: false };
    let mut report = Report::new(query, now);
    let mut subjects = Subjects::new(query, scope, &state.catalog);
    for chunk in state.tallies.iter().skip(first).step_by(step) {
        let mut ads: Vec<u64> = chunk.ads.keys().copied().collect();
        ads.sort_unstable();
        for ad in ads {
            if let Some(subject) = subjects.of(ad) {
                report.add(&subject, &chunk.ads[&ad]);
            }
        }
    }
    report
}

fn ask(state: &State, query: &Query, now: Moment, threads: usize) -> Vec<ReportRow> {
    let report = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|first| scope.spawn(move || fold(state, query, now, (first, threads))))
            .collect();
        let mut report = fold(state, query, now, (0, threads));
        for other in others {
            report.merge(other.join().expect("it does not panic"));
        }
        report
    });
    report.page().0
}

/// Returns the durations of some runs, ascending.
fn measure(runs: usize, mut run: impl FnMut() -> usize) -> (Vec<Duration>, usize) {
    let mut rows = 0;
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            rows = run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times, rows)
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (ads, days, runs) = if full { (10_000, 90, 100) } else { (200, 40, 3) };
    let state = filled(ads, days);
    let now = Moment(i64::from(FIRST_HOUR + days * 24 + 72) * HOUR_MS);
    let question = |dimensions: &[Dimension]| Query {
        start_hour: FIRST_HOUR,
        end_hour: FIRST_HOUR + days * 24,
        dimensions: dimensions.to_vec(),
        limit: ROWS_MAX,
        metrics: vec![Metric::Impressions, Metric::Taps, Metric::TapRate, Metric::Spend],
        ..Query::default()
    };
    let cases = [
        ("ad", question(&[Dimension::Ad])),
        ("campaign", question(&[Dimension::Campaign])),
        ("campaign_day", question(&[Dimension::Campaign, Dimension::Day])),
        ("hour", question(&[Dimension::Hour])),
    ];
    let mut line = serde_json::Map::new();
    for (name, query) in &cases {
        // A filter that takes everything makes it walk the hours.
        let filters = Filters { feeds: vec![1], ..Filters::default() };
        let plain = Query { filters, ..query.clone() };
        assert_eq!(ask(&state, query, now, THREADS), ask(&state, &plain, now, 1), "{name}");
        let (ours, rows) = measure(runs, || ask(&state, query, now, THREADS).len());
        let (alone, _) = measure(runs.min(21), || ask(&state, query, now, 1).len());
        let (walk, _) = measure(runs.min(5), || ask(&state, &plain, now, 1).len());
        let p99 = millis(ours[(ours.len() * 99).div_ceil(100) - 1]);
        let [median, alone, walked] = [ours, alone, walk].map(|all| millis(all[all.len() / 2]));
        println!(
            "{name}: {rows} rows, median {median} ms, p99 {p99} ms; on one thread {alone} ms; walk {walked} ms"
        );
        let figures = serde_json::json!({
            "rows": rows, "median_ms": median, "p99_ms": p99, "one_thread_ms": alone, "walk_ms": walked,
        });
        line.insert((*name).to_owned(), figures);
    }
    let summary = serde_json::json!({ "bench": "report", "ads": ads, "days": days, "cases": line });
    println!("{summary}");
    Ok(())
}
