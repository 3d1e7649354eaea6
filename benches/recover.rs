//! `cargo bench --bench recover`: what an active viewer weighs, how fast a node restarts, and whether a checkpoint
//! makes serving wait.
//!
//! A seeded day of a mean of 12 views of each viewer is recorded through a node, as dense in the buckets as ten
//! million viewers would lie there. Then processes of their own open its folder from the checkpoint, from checkpoint
//! and tail, and from the whole journal; the checkpoint's file is also read without a look at it, which is what the
//! disk and the kernel allow. At last a checkpoint is written while facts come in and trays are filled. Doors are left
//! out.
//!
//! The goal of ten million is run by hand: `-- --bench --viewers 10000000 --tail 6000000 --whole-journal no`, on a
//! disk with room for 120 million facts (`BENCH_DIR`). Without `--bench` a tiny input runs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use std::path::Path;

use serde_json::{Value, json};

use crate::support::market::Market;
use crate::support::recover::day::Day;
use crate::support::recover::{folder, layout, pass};
use crate::support::{campaigns, market};

#[allow(dead_code, reason = "other benches use the rest")]
mod support {
    pub(crate) mod campaigns;
    pub(crate) mod market;
    pub(crate) mod recover;
    pub(crate) mod requests;
}

/// As `munadi` runs: the benchmark's process holds the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is run.
struct Plan {
    viewers: u64,
    ads: u32,
    /// Facts behind the checkpoint.
    tail: u64,
    /// Whether the whole journal is replayed too.
    whole_journal: bool,
    pass: pass::Plan,
}

fn main() -> Result<(), Failure> {
    if let Some(dir) = std::env::args().skip_while(|argument| argument != folder::OPEN).nth(1) {
        println!("{}", serde_json::to_string(&folder::open_here(Path::new(&dir))?)?);
        return Ok(());
    }
    let plan = plan()?;
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or(".".into()))?;
    let dir = dir.path();
    let mut line = json!({ "bench": "recover", "viewers": plan.viewers });
    let mut day = fill(&plan, dir, &mut line)?;
    weigh(dir, &mut line)?;
    restart(&plan, dir, &mut day, &mut line)?;
    let market = start(&plan, dir)?;
    let passed = pass::measure(&market.node, &mut day, dir, plan.pass)?;
    stop(market)?;
    println!(
        "a checkpoint pass under {:.0} facts/s: {:.2} s; the longest tray {:.2} ms, without a pass {:.2} ms",
        passed.facts_per_s, passed.pass_s, passed.longest_ms, passed.quiet_longest_ms
    );
    line["checkpoint_pass_s"] = json!(passed.pass_s);
    line["checkpoint_pass_s_max"] = json!(60);
    line["facts_per_s"] = json!(passed.facts_per_s);
    line["facts_per_s_asked"] = json!(plan.pass.facts_per_s);
    line["longest_pause_ms"] = json!(passed.longest_ms);
    line["longest_pause_ms_max"] = json!(20);
    line["quiet_longest_pause_ms"] = json!(passed.quiet_longest_ms);
    line["trays"] = json!(passed.trays);
    if plan.whole_journal {
        replay_all(dir, &mut line)?;
    }
    println!("{line}");
    Ok(())
}

/// Makes the folder: ads, and a day of viewers. Measures what the viewers weigh.
fn fill(plan: &Plan, dir: &Path, line: &mut Value) -> Result<Day, Failure> {
    let market = Market::open_watched(dir, false)?;
    campaigns::create(&market, plan.ads)?;
    market.wait_for(plan.ads as usize)?;
    let mut day = Day::of(&market.node, plan.viewers);
    let before = layout::resident_bytes()?;
    let views = day.record(&market.node)?;
    let resident = layout::resident_bytes()?.saturating_sub(before) as f64 / plan.viewers as f64;
    stop(market)?;
    let mean = views as f64 / plan.viewers as f64;
    println!(
        "{} viewers in {} buckets, a mean of {mean:.2} views: {resident:.0} resident bytes a viewer",
        plan.viewers,
        day.buckets()
    );
    line["views_per_viewer"] = json!(mean);
    line["bytes_per_viewer"] = json!(resident);
    line["bytes_per_viewer_max"] = json!(320);
    Ok(day)
}

/// Opens the folder from its checkpoint, then from an older one and a tail.
fn restart(plan: &Plan, dir: &Path, day: &mut Day, line: &mut Value) -> Result<(), Failure> {
    let loaded = folder::open(dir)?;
    let plain = folder::read_checkpoint(dir)?;
    let load_rate = plain.bytes as f64 / loaded.state_s;
    let resident = loaded.resident_bytes as f64 / plan.viewers as f64;
    println!(
        "checkpoint of {} bytes: read plainly at {:.0} MB/s, loaded at {:.0} MB/s; the whole process {resident:.0} \
         resident bytes a viewer then",
        plain.bytes,
        plain.per_second() / 1e6,
        load_rate / 1e6
    );
    line["restarted_bytes_per_viewer"] = json!(resident);
    let market = start(plan, dir)?;
    day.record_more(&market.node, plan.tail)?;
    stop(market)?;
    folder::forget_newest(dir)?;
    let behind = folder::open(dir)?;
    let tail_s = (behind.state_s - loaded.state_s).max(f64::EPSILON);
    let (restart_s, tail_rate) =
        (behind.journal_s + behind.state_s, behind.replayed as f64 / tail_s);
    println!(
        "restart: {restart_s:.2} s: {:.2} s to survey {} bytes of journal, {:.2} s for the checkpoint, {tail_s:.2} s \
         for {} facts, {tail_rate:.0} facts/s",
        behind.journal_s, behind.journal_bytes, loaded.state_s, behind.replayed
    );
    line["restart_s"] = json!(restart_s);
    line["restart_s_max"] = json!(15);
    line["journal_survey_s"] = json!(behind.journal_s);
    line["journal_bytes"] = json!(behind.journal_bytes);
    line["checkpoint_bytes"] = json!(plain.bytes);
    line["checkpoint_load_s"] = json!(loaded.state_s);
    line["checkpoint_load_bytes_per_s"] = json!(load_rate);
    line["checkpoint_load_bytes_per_s_min"] = json!(1e9);
    line["plain_read_bytes_per_s"] = json!(plain.per_second());
    line["load_ratio"] = json!(load_rate / plain.per_second());
    line["tail_facts"] = json!(behind.replayed);
    line["tail_facts_per_s"] = json!(tail_rate);
    line["tail_facts_per_s_min"] = json!(500_000);
    Ok(())
}

/// Opens the folder without a checkpoint.
fn replay_all(dir: &Path, line: &mut Value) -> Result<(), Failure> {
    folder::forget_all(dir)?;
    let whole = folder::open(dir)?;
    let rate = whole.replayed as f64 / whole.state_s;
    let ratio = whole.state_s / line["checkpoint_load_s"].as_f64().unwrap_or(f64::NAN);
    println!(
        "without a checkpoint: {:.2} s for {} facts, {rate:.0} facts/s: {ratio:.1} times the checkpoint's",
        whole.state_s, whole.replayed
    );
    line["whole_journal_s"] = json!(whole.state_s);
    line["whole_journal_facts_per_s"] = json!(rate);
    line["whole_journal_ratio"] = json!(ratio);
    Ok(())
}

/// Adds up what the day's viewers weigh by how they lie.
fn weigh(dir: &Path, line: &mut Value) -> Result<(), Failure> {
    let laid = layout::of_journal(dir)?;
    println!(
        "by the layout: {:.0} bytes a viewer of {:.2} views, {:.0} of them showings; with categories of the \
         operator's own names {:.0}",
        laid.bytes, laid.views, laid.showing_bytes, laid.own_names_bytes
    );
    line["layout_views_per_viewer"] = json!(laid.views);
    line["layout_bytes_per_viewer"] = json!(laid.bytes);
    line["layout_own_names_bytes_per_viewer"] = json!(laid.own_names_bytes);
    Ok(())
}

/// Starts a node on the folder as it is.
fn start(plan: &Plan, dir: &Path) -> Result<Market, Failure> {
    let market = Market::open_watched(dir, false)?;
    market.wait_for(plan.ads as usize)?;
    Ok(market)
}

fn stop(market: Market) -> Result<(), Failure> {
    let Market { node, .. } = market;
    let node = std::sync::Arc::into_inner(node).ok_or("somebody still holds the node")?;
    Ok(node.stop()?)
}

/// Reads the plan off the command line: `--viewers 300000 --ads 20000 --tail 300000 --seconds 5 --whole-journal yes`.
fn plan() -> Result<Plan, Failure> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let or = |name: &str, bench: &str, tiny: &str| {
        let told = std::env::args().skip_while(|argument| argument != name).nth(1);
        told.unwrap_or(if full { bench } else { tiny }.to_owned())
    };
    Ok(Plan {
        viewers: or("--viewers", "300000", "300").parse()?,
        ads: or("--ads", "20000", "200").parse()?,
        tail: or("--tail", "300000", "2000").parse()?,
        whole_journal: or("--whole-journal", "yes", "yes") == "yes",
        pass: pass::Plan {
            facts_per_s: or("--facts", "20000", "2000").parse()?,
            seconds: or("--seconds", "5", "0.2").parse()?,
            feed: market::FEED,
        },
    })
}
