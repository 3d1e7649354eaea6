//! Turns an iPinYou impression log into requests for `munadi replay`, and a few campaigns to go with it.
//!
//! ```sh
//! gunzip -c imp.txt.gz | cargo run --release --example ipinyou -- - --campaigns campaigns.ndjson \
//!     > requests.ndjson
//! munadi replay --requests requests.ndjson --campaigns campaigns.ndjson
//! ```
//!
//! Each line of the log (24 columns, tab-separated) becomes the tray that the viewer would have opened
//! then: what iPinYou knew of the viewer, in a feed of ten posts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use munadi::town::JsonForm;
use munadi::town::lines::Line;
use munadi::types::proto::v1;
use munadi::types::request::Resource;
use prost_types::Timestamp;
use thiserror::Error;

/// Columns of a line.
const COLUMNS: usize = 24;

/// Hours that iPinYou's clocks are ahead of UTC.
const BEIJING: i8 = 8;

/// The most interests that a request may tell.
const INTERESTS_MAX: usize = 256;

/// iPinYou's numbers of regions, with the second half of their ISO 3166-2 codes. Taiwan, Hong Kong and
/// Macao have country codes of their own and are left without a region.
#[rustfmt::skip]
const REGIONS: [(u32, &str); 31] = [
    (1, "BJ"), (2, "TJ"), (3, "HE"), (15, "SX"), (27, "NM"), (40, "LN"), (55, "JL"), (65, "HL"),
    (79, "SH"), (80, "JS"), (94, "ZJ"), (106, "AH"), (124, "FJ"), (134, "JX"), (146, "SD"),
    (164, "HA"), (183, "HB"), (201, "HN"), (216, "GD"), (238, "GX"), (253, "HI"), (275, "CQ"),
    (276, "SC"), (298, "GZ"), (308, "YN"), (325, "XZ"), (333, "SN"), (344, "GS"), (359, "QH"),
    (368, "NX"), (374, "XJ"),
];

#[derive(Parser)]
#[command(about = "Turns an iPinYou impression log into requests for `munadi replay`")]
struct Arguments {
    /// The log, unpacked; `-` reads standard input.
    file: PathBuf,
    /// Write campaigns that suit the log to this file.
    #[arg(long)]
    campaigns: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let requests = read(open(&arguments.file)?)?;
    let form = JsonForm::default();
    if let Some(path) = &arguments.campaigns {
        let mut file = BufWriter::new(File::create(path)?);
        for line in campaigns(&requests) {
            writeln!(file, "{}", form.campaign_line(&line))?;
        }
        file.flush()?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for request in &requests {
        writeln!(out, "{}", form.request_line(request))?;
    }
    Ok(out.flush()?)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Box<dyn Error>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Err("unpack it first: gunzip -c FILE | cargo run --example ipinyou -- -".into());
    }
    Ok(Box::new(BufReader::new(File::open(path)?)))
}

/// Why a line is no impression.
#[derive(Debug, Error, PartialEq)]
enum BadRow {
    #[error("it has {0} columns, not {COLUMNS}: this is no iPinYou impression log")]
    Columns(usize),
    #[error("{0:?} is no time such as 20131021192300738")]
    Time(String),
}

/// Reads all rows and returns their requests in the order of time, which the log is not in.
fn read(lines: impl BufRead) -> Result<Vec<v1::AdRequest>, Box<dyn Error>> {
    let mut requests = Vec::new();
    for (number, line) in (1..).zip(lines.split(b'\n')) {
        // User agents may hold bytes that are no text.
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            continue;
        }
        let request = request(line.trim_end_matches('\r'));
        requests.push(request.map_err(|error| format!("line {number}: {error}"))?);
    }
    requests.sort_by_key(|request| request.time.map(|time| (time.seconds, time.nanos)));
    Ok(requests)
}

fn request(line: &str) -> Result<v1::AdRequest, BadRow> {
    let columns: Vec<&str> = line.split('\t').collect();
    if columns.len() != COLUMNS {
        return Err(BadRow::Columns(columns.len()));
    }
    let viewer = v1::ViewerContext {
        pseudonym: some(columns[3]).to_owned(),
        country: "CN".to_owned(),
        region: region(columns[6]),
        languages: vec!["zh".to_owned()],
        os: os(columns[4]).into(),
        interests: interests(columns[23]),
        ..Default::default()
    };
    Ok(v1::AdRequest {
        placement: v1::Placement::Feed.into(),
        viewer: Some(viewer),
        posts: 10,
        positions: Vec::new(),
        time: Some(time(columns[1]).ok_or_else(|| BadRow::Time(columns[1].to_owned()))?),
        ..Default::default()
    })
}

/// Returns nothing where the log says that there is none.
fn some(column: &str) -> &str {
    if column == "null" { "" } else { column }
}

fn time(text: &str) -> Option<Timestamp> {
    if text.len() != 17 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i16>().ok();
    let small = |from: usize| i8::try_from(number(from, from + 2)?).ok();
    let millis = i32::from(number(14, 17)?);
    let (hour, minute, second) = (small(8)?, small(10)?, small(12)?);
    let local = DateTime::new(number(0, 4)?, small(4)?, small(6)?, hour, minute, second, 0).ok()?;
    let moment = Offset::constant(BEIJING).to_timestamp(local).ok()?;
    Some(Timestamp { seconds: moment.as_second(), nanos: millis * 1_000_000 })
}

fn region(number: &str) -> String {
    let number = number.parse().unwrap_or(0);
    let known = REGIONS.iter().find(|(known, _)| *known == number);
    known.map(|(_, suffix)| format!("CN-{suffix}")).unwrap_or_default()
}

fn os(user_agent: &str) -> v1::Os {
    let names = |parts: &[&str]| parts.iter().any(|part| user_agent.contains(part));
    if names(&["iPhone", "iPad", "iPod"]) {
        v1::Os::Ios
    } else if names(&["Android"]) {
        v1::Os::Android
    } else if names(&["Windows", "Macintosh", "X11", "Linux"]) {
        v1::Os::Desktop
    } else {
        v1::Os::Unspecified
    }
}

fn interests(tags: &str) -> Vec<u32> {
    let numbers = tags.split(',').filter_map(|tag| tag.trim().parse().ok());
    let mut interests: Vec<u32> = numbers.filter(|tag| (1..=65_535).contains(tag)).collect();
    interests.sort_unstable();
    interests.dedup();
    interests.truncate(INTERESTS_MAX);
    interests
}

/// What 1,000 impressions are worth to the campaigns below, micros: about what the log's advertisers
/// paid.
const CPM_MICROS: i64 = 80_000_000;

/// Returns campaigns that suit the log: one for everybody, one for its most frequent interests, one
/// for its most frequent region, with budgets for a part of the trays each. Each has an account of its
/// own, or they would never stand in one tray and set each other's prices.
fn campaigns(requests: &[v1::AdRequest]) -> Vec<Line> {
    let viewers = || requests.iter().filter_map(|request| request.viewer.as_ref());
    let interests = frequent(viewers().flat_map(|viewer| viewer.interests.iter().copied()));
    let regions = frequent(viewers().map(|viewer| &*viewer.region).filter(|it| !it.is_empty()));
    let interests = v1::InterestGroup { any_of: interests.into_iter().take(3).collect() };
    let china = v1::Targeting { countries: vec!["CN".into()], ..Default::default() };
    let keen = v1::Targeting { interests: vec![interests], ..china.clone() };
    let region = regions.into_iter().take(1).map(str::to_owned).collect();
    let near = v1::Targeting { regions: region, ..china.clone() };
    let trays = requests.len() as i64;
    let subjects = [
        ("everybody", china, v1::BillingEvent::Impressions, CPM_MICROS),
        ("keen", keen, v1::BillingEvent::LinkClicks, CPM_MICROS / 20),
        ("near", near, v1::BillingEvent::Conversations, CPM_MICROS / 10),
    ];
    let budget = CPM_MICROS / 1_000 * trays / 4;
    let lines = subjects.into_iter().flat_map(|(name, targeting, billing, bid)| {
        campaign(name, targeting, billing, bid, budget.max(bid))
    });
    lines.collect()
}

fn campaign(
    name: &str,
    targeting: v1::Targeting,
    billing: v1::BillingEvent,
    bid: i64,
    budget: i64,
) -> [Line; 6] {
    let yuan = |micros| Some(v1::Money { micros, currency: "CNY".to_owned() });
    let named = |what: &str| format!("{name} {what}");
    let account = v1::Account {
        name: named("account"),
        currency: "CNY".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        ..Default::default()
    };
    let business =
        v1::Business { name: named("shop"), category: name.to_owned(), ..Default::default() };
    let endpoint = v1::ChannelEndpoint {
        channel: v1::Channel::Messenger.into(),
        address: format!("{name}.shop"),
        ..Default::default()
    };
    let campaign = v1::Campaign {
        name: named("campaign"),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily: yuan(budget), lifetime: None }),
        ..Default::default()
    };
    let ad_set = v1::AdSet {
        name: named("ad set"),
        targeting: Some(targeting),
        billing_event: billing.into(),
        bid: yuan(bid),
        frequency_caps: vec![v1::FrequencyCap { max_frequency: 3, interval_hours: 24, event: 1 }],
        ..Default::default()
    };
    let creative = v1::Creative {
        primary_text: named("ad: write to us"),
        headline: named("ad"),
        ..Default::default()
    };
    let ad = v1::Ad { name: named("ad"), creative: Some(creative), ..Default::default() };
    [
        line(name, "", Resource::Account(account)),
        line(name, name, Resource::Business(business)),
        line(name, name, Resource::Endpoint(endpoint)),
        line(name, name, Resource::Campaign(campaign)),
        line(name, name, Resource::AdSet(ad_set)),
        Line { endpoint: name.to_owned(), ..line(name, name, Resource::Ad(ad)) },
    ]
}

fn line(reference: &str, parent: &str, resource: Resource) -> Line {
    let (reference, parent) = (reference.to_owned(), parent.to_owned());
    Line { reference, tenant: 0, parent, endpoint: String::new(), resource }
}

/// Returns all different values, the most frequent first.
fn frequent<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut counts: BTreeMap<T, u64> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut values: Vec<(T, u64)> = counts.into_iter().collect();
    values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    values.into_iter().map(|(value, _)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up row with the columns that matter.
    fn row(time: &str, user: &str, agent: &str, region: &str, tags: &str) -> String {
        let mut columns = ["x"; COLUMNS];
        (columns[1], columns[3], columns[4]) = (time, user, agent);
        (columns[6], columns[23]) = (region, tags);
        columns.join("\t")
    }

    #[test]
    fn a_row_becomes_the_request_of_its_viewer() {
        let agent = "Mozilla/5.0 (iPad; CPU OS 7_0 like Mac OS X)";
        let row = row("20131021000000738", "C4N", agent, "216", "10063,10006,10063,99999");
        let request = request(&row).unwrap();
        let viewer = request.viewer.unwrap();
        assert_eq!((&*viewer.pseudonym, &*viewer.country, &*viewer.region), ("C4N", "CN", "CN-GD"));
        assert_eq!(viewer.os(), v1::Os::Ios);
        assert_eq!(viewer.interests, [10_006, 10_063]);
        // Midnight in Beijing is 16:00 UTC of the day before.
        let time = request.time.unwrap();
        assert_eq!((time.seconds, time.nanos), (1_382_284_800, 738_000_000));
    }

    #[test]
    fn what_the_log_does_not_know_is_not_told() {
        let request = request(&row("20131021000000738", "null", "null", "394", "null")).unwrap();
        let viewer = request.viewer.unwrap();
        assert!(viewer.pseudonym.is_empty() && viewer.region.is_empty());
        assert_eq!(viewer.os(), v1::Os::Unspecified);
        assert!(viewer.interests.is_empty());
    }

    #[test]
    fn other_files_are_refused_by_name() {
        assert_eq!(request("a\tb"), Err(BadRow::Columns(2)));
        let row = row("20131321000000738", "C4N", "", "1", "null");
        assert_eq!(request(&row), Err(BadRow::Time("20131321000000738".into())));
    }

    #[test]
    fn requests_are_put_in_the_order_of_time() {
        let rows = ["20131021120000000", "20131021110000000"]
            .map(|time| row(time, "C4N", "", "1", "null"))
            .join("\n");
        let times: Vec<_> = read(rows.as_bytes()).unwrap().iter().map(|it| it.time).collect();
        assert!(times[0].unwrap().seconds < times[1].unwrap().seconds);
    }

    #[test]
    fn the_campaigns_can_be_read_again() {
        let rows = row("20131021120000000", "C4N", "", "1", "10063");
        let lines = campaigns(&read(rows.as_bytes()).unwrap());
        let form = JsonForm::default();
        let text: Vec<String> = lines.iter().map(|line| form.campaign_line(line)).collect();
        assert_eq!(form.read_campaigns(text.join("\n").as_bytes()).unwrap(), lines);
    }
}
