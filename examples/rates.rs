//! Foretells the clicks of real logs one by one, and says how far off predicted rates were.
//!
//! ```sh
//! MUNADI_DATA=DIR cargo run --release --example rates
//! ```
//!
//! `DIR` has `obd/{random,bts}/{all,men,women}` (the small Open Bandit Dataset) and `ipinyou/{imp,clk}.*`
//! (raw logs of one advertiser), packed by gzip as they are published; whichever is there is read. Each
//! impression is foretold before its click is learned; log-loss is of the later half. The flat average is
//! that of each ad alone and the prior, the informed one has the rate of all ads as its prior.

#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use munadi::decide::rates::Predictor;
use munadi::state::totals::{Totals, placement_slot};
use munadi::types::ids::{IdKind, mint};

/// One impression.
struct Seen {
    time: String,
    ad: String,
    campaign: String,
    category: String,
    placement: usize,
    clicked: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(data) = std::env::var_os("MUNADI_DATA").map(PathBuf::from) else {
        println!("no real logs: set MUNADI_DATA to a folder with obd/ and ipinyou/");
        return Ok(());
    };
    let mut logs = Vec::new();
    for policy in ["random", "bts"] {
        logs.push((format!("obd {policy}"), open_bandit(&data.join("obd").join(policy))?));
    }
    logs.push(("ipinyou 2821".to_owned(), ipinyou(&data.join("ipinyou"))?));
    println!("{:14} {:>7} {:>6} {:>5}  log-loss of the later half", "log", "rows", "clicks", "ads");
    for (name, mut log) in logs {
        if log.is_empty() {
            println!("{name:14} is not there");
            continue;
        }
        log.sort_by(|left, right| left.time.cmp(&right.time));
        let ads: BTreeSet<_> = log.iter().map(|seen| &seen.ad).collect();
        let clicks = log.iter().filter(|seen| seen.clicked).count();
        let [flat, informed, levels] = losses(&log);
        print!("{name:14} {:7} {clicks:6} {:5}  flat {flat:.6}", log.len(), ads.len());
        println!(
            "  informed {informed:.6}  levels {levels:.6}  {:+.2} %",
            (levels / flat - 1.0) * 100.0
        );
    }
    Ok(())
}

/// Returns the mean log-loss of the flat average, the informed flat one, and the predictor.
fn losses(log: &[Seen]) -> [f64; 3] {
    let mut numbers = BTreeMap::new();
    let mut predictor = Predictor::default();
    let mut counts: BTreeMap<u64, Totals> = BTreeMap::new();
    let mut all = Totals::NONE;
    let (mut sums, mut rows) = ([0.0; 3], 0);
    for (row, seen) in log.iter().enumerate() {
        let mut number = |kind: &str, text: &str| {
            let next = numbers.len() as u64 + 1;
            *numbers.entry(format!("{kind} {text}")).or_insert(next)
        };
        let ad = mint(IdKind::Ad, number("ad", &seen.ad));
        let campaign = number("campaign", &seen.campaign);
        let category = number("category", &seen.category);
        let totals = counts.entry(ad).or_default();
        predictor.place(ad, campaign, category, totals);
        let rates = predictor.rates(ad, totals).in_placement(predictor.factors()[seen.placement]);
        let average = |prior: f64| {
            let [impressions, taps, _] = totals.funnel();
            (4.0 + taps as f64) / (4.0 / prior + impressions as f64)
        };
        let [impressions, taps, _] = all.funnel();
        let informed = (4.0 + taps as f64) / (400.0 + impressions as f64);
        let foretold = [average(0.01), average(informed), f64::from(rates.tap) / 65_535.0];
        if row >= log.len() / 2 {
            rows += 1;
            for (sum, share) in sums.iter_mut().zip(foretold) {
                *sum -= if seen.clicked { share.ln() } else { (1.0 - share).ln() };
            }
        }
        let mut more = Totals::NONE;
        more.impressions[seen.placement] = 1;
        more.taps[seen.placement] = seen.clicked.into();
        totals.add(&more);
        all.add(&more);
        predictor.learn(ad, &more);
    }
    sums.map(|sum| sum / f64::from(rows))
}

/// Reads one policy's logs: items are ads, the second and the first of their features campaign and category.
fn open_bandit(folder: &Path) -> Result<Vec<Seen>, Box<dyn Error>> {
    let mut log = Vec::new();
    for part in ["all", "men", "women"] {
        let items = folder.join(part).join("item_context.csv");
        if !items.exists() {
            continue;
        }
        let items = std::fs::read_to_string(items)?;
        let features: BTreeMap<&str, Vec<&str>> = items
            .lines()
            .skip(1)
            .map(|line| line.split(',').collect::<Vec<_>>())
            .filter_map(|columns| Some((*columns.get(1)?, columns)))
            .collect();
        let text = unpacked(&folder.join(part).join(format!("{part}.csv.gz")))?;
        for line in text.lines().skip(1) {
            let columns: Vec<_> = line.split(',').collect();
            let item = features.get(columns[2]).ok_or("an item without features")?;
            log.push(Seen {
                time: columns[1].to_owned(),
                ad: format!("{part} {}", columns[2]),
                campaign: format!("{part} {}", item[4]),
                category: item[3].to_owned(),
                placement: placement_slot(columns[3].parse()?),
                clicked: columns[4] == "1",
            });
        }
    }
    Ok(log)
}

/// Reads the impressions and the clicked ones, which are not among them: a creative on a site is an ad, the
/// creative a campaign, its size a category, the exchange a placement.
fn ipinyou(folder: &Path) -> Result<Vec<Seen>, Box<dyn Error>> {
    let mut rows = BTreeMap::new();
    for (name, clicked) in [("imp.20131021.adv2821.10000", false), ("clk.20131021.adv2821", true)] {
        let path = folder.join(format!("{name}.txt.gz"));
        if !path.exists() {
            continue;
        }
        for line in unpacked(&path)?.lines() {
            let columns: Vec<_> = line.split('\t').collect();
            let seen = Seen {
                time: columns[1].to_owned(),
                ad: format!("{} {}", columns[18], columns[9]),
                campaign: columns[18].to_owned(),
                category: format!("{}x{}", columns[13], columns[14]),
                placement: placement_slot(columns[8].parse().unwrap_or_default()),
                clicked,
            };
            rows.insert(columns[0].to_owned(), seen);
        }
    }
    Ok(rows.into_values().collect())
}

fn unpacked(path: &Path) -> Result<String, Box<dyn Error>> {
    let output = Command::new("gzip").arg("-dc").arg(path).output()?;
    if !output.status.success() {
        return Err(format!("{} can't be unpacked", path.display()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
