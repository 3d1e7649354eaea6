//! How fast events become durable through the engine, beside the raw disk and a store for it all.
//!
//! All three write batches of 1,000 events to the same disk in turn, round by round, so that the ratios
//! hold on a noisy machine; the raw disk writes the very number of bytes that the engine's blocks have.
//! Without `--bench` (under `cargo test`) the input is tiny.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::error::Error;
use std::path::{Path, PathBuf};

use support::{Rate, engine, fjall_store, raw};

/// As `munadi` runs: the benchmark's process holds the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (batches, rounds) = if full { (1_000, 5) } else { (4, 1) };
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or(".".into()))?;
    let mut figures: [Vec<f64>; 5] = Default::default();
    for round in 0..rounds {
        let room = |name: &str| room(dir.path(), &format!("{name}-{round}"));
        let engine = engine::record_batches(&room("engine")?, EVENTS, batches)?;
        let bytes = (engine.bytes_per_event * EVENTS as f64) as usize;
        let raw = raw::write_and_sync(&room("raw")?, bytes, batches)?;
        let fjall = room("fjall")?;
        let event = engine.bytes_per_event as usize;
        let fjall = fjall_store::commit_batches(&fjall, event, EVENTS, batches.min(300))?;
        let (ours, disk, theirs) = (per_second(engine.rate), per_second(raw), per_second(fjall));
        println!(
            "round {round}: engine {ours:.0} events/s, batch p50 {} us, {:.2} us of CPU an event, {event} \
             bytes an event; raw {disk:.0} events/s, sync p50 {} us; fjall {theirs:.0} events/s",
            engine.rate.p50.as_micros(),
            engine.cpu_us_per_event,
            raw.p50.as_micros(),
        );
        let round = [ours, disk, theirs, engine.cpu_us_per_event, raw.p50.as_secs_f64() * 1e6];
        figures.iter_mut().zip(round).for_each(|(all, figure)| all.push(figure));
    }
    let [ours, disk, theirs, cpu, sync] = figures.map(support::median);
    let ratios = (ours / disk, ours / theirs);
    println!("medians: {:.2} of the raw log, {:.1} times fjall", ratios.0, ratios.1);
    let line = serde_json::json!({
        "bench": "ingest",
        "events_per_s": ours.round(),
        "raw_events_per_s": disk.round(),
        "fjall_events_per_s": theirs.round(),
        "ratio": ratios.0,
        "ratio_fjall": ratios.1,
        "cpu_us_per_event": cpu,
        "raw_sync_p50_us": sync,
    });
    println!("{line}");
    Ok(())
}

fn per_second(rate: Rate) -> f64 {
    rate.batches_per_second * EVENTS as f64
}

fn room(dir: &Path, name: &str) -> std::io::Result<PathBuf> {
    let room = dir.join(name);
    std::fs::create_dir(&room).map(|()| room)
}
