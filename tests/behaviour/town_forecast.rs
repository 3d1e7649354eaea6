//! Forecasts in the demo's town beside what came: drafts are asked about after a day, and run the next.
//! `FORECAST_TOWN=20000 cargo test --release --test behaviour town_forecast -- --nocapture` is the long form.
#![allow(clippy::print_stdout, reason = "a run says what was told and what came")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::node::clock::MovedClock;
use munadi::node::{Node, NodeOptions, Question, Wanted};
use munadi::rpc::limits::Limits;
use munadi::rpc::{Patience, ServerConfig, serve};
use munadi::town::lines::Line;
use munadi::town::{
    self, ADVERTISERS, CampaignRow, DAY_START, Day, Doors, TownOptions, Wake, found_lasting_town,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, BidStrategy, BillingEvent, Budget, Business, Campaign, Channel,
    ChannelEndpoint, Creative, DeliveryForecast, FrequencyCap, Gender, Money, Objective, Range,
    Targeting,
};
use munadi::types::request::{Policy, Resource, ResourceKind, Scope};
use munadi::types::time::{DAY_MS, Moment};

/// People of the short form: the smallest market has the thousand of whom a forecast is told.
const VIEWERS: usize = 5_600;

const FEED: u32 = 1;

const SECRET: &str = "planted-secret";

/// Five cents of the settlement currency for 1,000 impressions, as in the demo.
const FLOOR_CPM_MICROS: i64 = 50_000;

/// Drafts that are shown less often are told by chance.
const LEAST_IMPRESSIONS: u64 = 100;

/// A budget so many times what a draft is told to spend doesn't limit it.
const MORE_THAN_ALL: i64 = 20;

/// Countries, currencies, and what the town's advertisers bid there for 1,000 impressions, micros; largest first.
const MARKETS: [(&str, &str, i64); 4] = [
    ("MX", "MXN", 60_000_000),
    ("IN", "INR", 90_000_000),
    ("BR", "BRL", 18_000_000),
    ("US", "USD", 3_000_000),
];

/// Whom the drafts of the long form are for: nobody is meant by two of one country, so they don't bid against each
/// other.
const CROWDS: [(Gender, u32, u32); 3] =
    [(Gender::Female, 0, 0), (Gender::Male, 0, 34), (Gender::Male, 35, 0)];

/// Those of the short form: one of each of the three largest markets.
const EVERYBODY: [(Gender, u32, u32); 1] = [(Gender::Unspecified, 0, 0)];

/// One advertiser's draft.
struct Draft {
    tenant: usize,
    name: String,
    currency: &'static str,
    ad_set: AdSet,
}

/// Returns a draft for each crowd of each market: without limits, seen once a day, or with a budget, and paid
/// by impression, tap or conversation.
fn drafts(is_long: bool) -> Vec<Draft> {
    let (markets, crowds) =
        if is_long { (&MARKETS[..], &CROWDS[..]) } else { (&MARKETS[..3], &EVERYBODY[..]) };
    let markets = markets.iter().enumerate();
    let all = markets.flat_map(|market| crowds.iter().map(move |crowd| (market, crowd)));
    all.enumerate()
        .map(|(number, ((tenant, (country, currency, cpm)), (gender, age_min, age_max)))| {
            // About one view in 60 is tapped, and two taps in three open a chat.
            let (event, each) = [
                (BillingEvent::Impressions, 1_000),
                (BillingEvent::LinkClicks, 60),
                (BillingEvent::Conversations, 90),
            ][(tenant + number) % 3];
            let is_told = *gender != Gender::Unspecified;
            let targeting = Targeting {
                countries: vec![(*country).into()],
                genders: is_told.then_some((*gender).into()).into_iter().collect(),
                age_min: *age_min,
                age_max: *age_max,
                ..Targeting::default()
            };
            let once = FrequencyCap { max_frequency: 1, interval_hours: 24, event: 1 };
            let ad_set = AdSet {
                name: "set".into(),
                targeting: Some(targeting),
                billing_event: event.into(),
                bid_strategy: BidStrategy::LowestCostWithBidCap.into(),
                bid: money(cpm / 1_000 * each, currency),
                frequency_caps: if is_once(number) { vec![once] } else { Vec::new() },
                ..AdSet::default()
            };
            Draft { tenant, name: format!("draft {number}"), currency, ad_set }
        })
        .collect()
}

/// Of such drafts impressions are people.
const fn is_once(number: usize) -> bool {
    number % 3 == 1
}

fn money(micros: i64, currency: &str) -> Option<Money> {
    Some(Money { micros, currency: currency.into() })
}

/// Returns all that a draft needs to run, in an account whose day is the town's.
fn lines(Draft { tenant, name, currency, ad_set }: &Draft) -> Vec<Line> {
    let account = Account {
        name: name.clone(),
        currency: (*currency).into(),
        time_zone: "UTC".into(),
        ..Account::default()
    };
    let business = Business { name: name.clone(), ..Business::default() };
    let endpoint = ChannelEndpoint {
        channel: Channel::Telegram.into(),
        address: format!("{}_bot", name.replace(' ', "_")),
        ..ChannelEndpoint::default()
    };
    let campaign = Campaign {
        name: name.clone(),
        objective: Objective::OutcomeSales.into(),
        ..Campaign::default()
    };
    let creative = Some(Creative { primary_text: "Write to us".into(), ..Creative::default() });
    let ad = Ad { name: name.clone(), creative, ..Ad::default() };
    let line = |of: &str, parent: &str, endpoint: &str, resource| Line {
        reference: format!("{name} {of}"),
        tenant: *tenant,
        parent: if parent.is_empty() { String::new() } else { format!("{name} {parent}") },
        endpoint: if endpoint.is_empty() { String::new() } else { format!("{name} {endpoint}") },
        resource,
    };
    vec![
        line("account", "", "", Resource::Account(account)),
        line("business", "account", "", Resource::Business(business)),
        line("endpoint", "business", "", Resource::Endpoint(endpoint)),
        line("campaign", "account", "", Resource::Campaign(campaign)),
        line("set", "campaign", "", Resource::AdSet(ad_set.clone())),
        line("ad", "set", "endpoint", Resource::Ad(ad)),
    ]
}

/// Asks what a draft would deliver, for an account of the town that counts in its currency.
fn forecast(node: &Node, draft: &Draft, budget: Option<i64>, now: Moment) -> DeliveryForecast {
    let scope = Scope { tenant: 0, any: true };
    let (accounts, _) = node.list(scope, ResourceKind::Account, 0, 0, 1_000);
    let account = accounts.into_iter().find_map(|it| match it {
        Resource::Account(account) if account.currency == draft.currency => Some(account.id),
        _ => None,
    });
    let wanted = Wanted {
        account: account.unwrap(),
        category: String::new(),
        bids: vec![draft.ad_set.bid.as_ref().map(|bid| bid.micros)],
        budgets: vec![budget],
        currencies: Vec::new(),
    };
    let question = Question { ad_set: draft.ad_set.clone(), wanted: Some(wanted) };
    let answer = node.front().estimate_delivery(scope, &question, now).unwrap();
    answer.forecasts.into_iter().next().expect("the log is a day long")
}

/// What was told of a draft, and what came.
struct Case {
    is_once: bool,
    has_budget: bool,
    told: DeliveryForecast,
    came: CampaignRow,
}

/// Lives two days.
fn two_days(options: TownOptions, drafts: Vec<Draft>) -> Vec<Case> {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(MovedClock::at(DAY_START));
    let node_options =
        NodeOptions { feeds: vec![FEED], seed: Some(options.seed), ..NodeOptions::default() };
    let node =
        Arc::new(Node::start(folder.path(), Arc::clone(&clock) as _, &node_options).unwrap());
    let (keys, known) = keys();
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(known),
        patience: Patience::default(),
        tls: None,
        limits: Limits::OFF,
        traces: None,
    };
    let policy = Policy { floor_cpm_micros: FLOOR_CPM_MICROS, ..Policy::default() };
    let server = serve(&node, &Arc::new(BTreeMap::from([(FEED, policy)])), config).unwrap();
    // A forecast holds this thread up: the connections are another's, or the server would cut them.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let cases = runtime.block_on(async {
        let doors = Doors::connect(&format!("http://{}", server.addr()), &keys).await.unwrap();
        let mut town = found_lasting_town(doors, clock, wake(&node), options).await.unwrap();
        let midnight = Day::new(options).pass(&mut town, |_| {}).await.unwrap();
        assert_eq!(midnight, DAY_START.plus_ms(DAY_MS));
        node.front().compare_forecasts(midnight);
        let (mut told, mut all) = (Vec::new(), Vec::new());
        for (number, mut draft) in drafts.into_iter().enumerate() {
            let free = forecast(&node, &draft, None, midnight);
            let bid = draft.ad_set.bid.as_ref().map_or(0, |bid| bid.micros);
            let spend = free.spend_micros.unwrap().expected as i64;
            // Every ad set has a budget, which pays for one event at least: half of what the draft would
            // spend, or more than it can.
            let budget = if number % 3 == 2 { spend / 2 } else { spend * MORE_THAN_ALL }.max(bid);
            let daily = money(budget, draft.currency);
            draft.ad_set.budget = Some(Budget { daily, lifetime: None });
            told.push((draft.name.clone(), forecast(&node, &draft, Some(budget), midnight)));
            all.extend(lines(&draft));
        }
        town.found_more("drafts", &all).await.unwrap();
        let report = Day::after(options, 1).live(&mut town, |_| {}).await.unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
        let rows: BTreeMap<_, _> =
            report.campaigns.into_iter().map(|row| (row.name.clone(), row)).collect();
        let case = |(number, (name, told)): (usize, (String, DeliveryForecast))| Case {
            is_once: is_once(number),
            has_budget: number % 3 == 2,
            told,
            came: rows.get(&name).cloned().unwrap_or_default(),
        };
        told.into_iter().enumerate().map(case).collect()
    });
    drop(runtime);
    server.stop();
    cases
}

/// Returns what lets the writer do all that follows: an opening is noted in one round, credited in the next and
/// settled in a third, and a second one of the same conversation waits for that.
fn wake(node: &Arc<Node>) -> Wake {
    let node = Arc::clone(node);
    Box::new(move || {
        let node = Arc::clone(&node);
        Box::pin(async move {
            for _ in 0..6 {
                node.settled().await.unwrap();
            }
        })
    })
}

fn keys() -> (town::Keys, Keys) {
    let mut known = Vec::new();
    let mut key = |id: String, role, tenant| {
        known.push(Key { id: id.clone(), role, tenant, secret_blake3: secret_blake3(SECRET) });
        format!("mk_{id}_{SECRET}")
    };
    let advertiser = |tenant| (format!("advertiser-{tenant}"), tenant);
    let advertisers = (1..=ADVERTISERS as u32).map(advertiser);
    let keys = town::Keys {
        advertisers: advertisers.map(|(id, tenant)| key(id, Role::Advertiser, tenant)).collect(),
        feed: key("feed".into(), Role::Feed, FEED),
        chat: key("chat".into(), Role::Chat, 0),
        analytics: key("analytics".into(), Role::Analytics, 0),
        operator: key("operator".into(), Role::Operator, 0),
    };
    (keys, Keys::new(known).unwrap())
}

/// Prints a figure of all drafts beside what came; returns the errors of those that were shown enough.
fn errors(
    cases: &[Case],
    name: &str,
    told: impl Fn(&Case) -> Option<Range>,
    came: impl Fn(&Case) -> u64,
) -> Vec<f64> {
    let (mut errors, mut held) = (Vec::new(), 0);
    for case in cases {
        let Range { low, expected, high } = told(case).expect("every figure has its range");
        let came = came(case);
        let budget = if case.has_budget { ", with a budget" } else { "" };
        println!("{name}: {low}..{expected}..{high}, came {came}{budget}");
        if case.came.impressions >= LEAST_IMPRESSIONS {
            errors.push((expected as f64 / came.max(1) as f64 - 1.0).abs());
            held += usize::from((low..=high).contains(&came));
        }
    }
    errors.sort_by(f64::total_cmp);
    println!(
        "{name}: error p50 {:.4}, p95 {:.4} of {}, {held} intervals held",
        quantile(&errors, 50),
        quantile(&errors, 95),
        errors.len()
    );
    errors
}

fn quantile(errors: &[f64], per_cent: usize) -> f64 {
    let at = (errors.len() * per_cent / 100).min(errors.len().saturating_sub(1));
    errors.get(at).copied().unwrap_or(f64::NAN)
}

#[test]
fn drafts_deliver_in_the_town_about_what_was_told_of_them() {
    let told = std::env::var("FORECAST_TOWN").ok();
    let is_long = told.is_some();
    let viewers = told.map_or(VIEWERS, |told| told.parse().unwrap());
    let cases = two_days(TownOptions { seed: 7, viewers }, drafts(is_long));
    errors(&cases, "spend", |it| it.told.spend_micros, |it| it.came.spend_micros as u64);
    errors(&cases, "conversations", |it| it.told.conversations, |it| it.came.conversations);
    let delivery =
        errors(&cases, "impressions", |it| it.told.impressions, |it| it.came.impressions);
    let once: Vec<Case> = cases.into_iter().filter(|it| it.is_once).collect();
    let reach = errors(&once, "reach", |it| it.told.reach, |it| it.came.impressions);
    assert!(delivery.len() > 2 && !reach.is_empty(), "drafts are shown");
    let (most, most_reach) = if is_long { (0.1, 0.1) } else { (0.25, 0.25) };
    assert!(quantile(&delivery, 50) <= most, "{delivery:?}");
    assert!(quantile(&reach, 50) <= most_reach, "{reach:?}");
}
