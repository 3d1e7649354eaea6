//! How fast batches of events become durable: the raw disk, our journal, and a store for it all.
//!
//! All three write batches of 1,000 events of 200 bytes to the same disk in the same run, so that the
//! ratios hold on a noisy machine. Without `--bench` (under `cargo test`) the input is tiny.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use munadi::journal::file::{FileLog, Options};
use munadi::journal::{BlockBuilder, BlockHash, Outcome, ShardLog, Tail, Ticket};
use munadi::types::ids::{BatchNo, JournalId, SHARDS, Shard};
use support::{Rate, fjall_store, raw};

const EVENT_BYTES: usize = 200;
const EVENTS: usize = 1_000;

/// Batches sealed and submitted ahead of the one being synced.
const AHEAD: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let batches = if full { 2_000 } else { 4 };
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or(".".into()))?;
    let probe = raw::write_and_sync(&room(dir.path(), "probe")?, EVENT_BYTES, batches.min(500))?;
    print("raw, 1 event a sync", 1, probe);
    let bytes = EVENT_BYTES * EVENTS;
    let raw = raw::write_and_sync(&room(dir.path(), "raw")?, bytes, batches)?;
    print("raw", EVENTS, raw);
    let journal = journal(&room(dir.path(), "journal")?, batches)?;
    print("journal", EVENTS, journal.rate);
    let fjall_batches = batches.min(400);
    let fjall = room(dir.path(), "fjall")?;
    let fjall = fjall_store::commit_batches(&fjall, EVENT_BYTES, EVENTS, fjall_batches)?;
    print("fjall", EVENTS, fjall);
    let reopen = journal.reopen.as_secs_f64();
    println!("journal: writer thread {:.2} us an event", journal.writer_us_per_event);
    println!("journal: reopened {} events in {reopen:.3} s", journal.events);
    let figures = serde_json::json!({
        "bench": "ingest_journal",
        "events_per_batch": EVENTS,
        "event_bytes": EVENT_BYTES,
        "raw_sync_p50_us": probe.p50.as_micros() as u64,
        "raw_events_per_second": raw.batches_per_second * EVENTS as f64,
        "journal_events_per_second": journal.rate.batches_per_second * EVENTS as f64,
        "fjall_events_per_second": fjall.batches_per_second * EVENTS as f64,
        "journal_to_raw": journal.rate.batches_per_second / raw.batches_per_second,
        "journal_to_fjall": journal.rate.batches_per_second / fjall.batches_per_second,
        "journal_writer_us_per_event": journal.writer_us_per_event,
        "journal_batch_p50_us": journal.rate.p50.as_micros() as u64,
        "journal_batch_p99_us": journal.rate.p99.as_micros() as u64,
        "journal_reopen_us_per_event": reopen * 1e6 / journal.events as f64,
    });
    println!("{figures}");
    Ok(())
}

fn room(dir: &Path, name: &str) -> std::io::Result<std::path::PathBuf> {
    let room = dir.join(name);
    fs::create_dir(&room).map(|()| room)
}

fn print(what: &str, events: usize, rate: Rate) {
    let per_second = rate.batches_per_second * events as f64;
    let (p50, p99) = (rate.p50.as_micros(), rate.p99.as_micros());
    println!("{what:<20} {per_second:>12.0} events/s   p50 {p50} us   p99 {p99} us a batch");
}

struct Journal {
    rate: Rate,
    events: u64,
    /// Time the writer's thread spent on building, sealing and submitting.
    writer_us_per_event: f64,
    reopen: Duration,
}

/// Runs the whole pipeline: build, seal, submit; wait for tickets only when too far ahead.
fn journal(dir: &Path, batches: usize) -> Result<Journal, Box<dyn Error>> {
    let options = Options::default();
    let id = JournalId(*b"ingest benchmark");
    let mut log = FileLog::create(dir, id, &options)?;
    let writer = thread::current();
    log.on_completion(Arc::new(move || writer.unpark()));
    let mut shards: Vec<_> = Shard::all()
        .take(SHARDS)
        .map(|shard| (BlockBuilder::new(shard, Tail::START.next), BlockHash::NONE))
        .collect();
    let event = [0x5A; EVENT_BYTES];
    let mut waiting: VecDeque<(Ticket, Instant)> = VecDeque::new();
    let (mut each, mut busy) = (Vec::with_capacity(batches), Duration::ZERO);
    let begun = Instant::now();
    for number in 1..=batches as u64 {
        let building = Instant::now();
        for at in 0..EVENTS {
            shards[at % SHARDS].0.push(&event, 1);
        }
        let durable = log.last_batch();
        let blocks = shards.iter_mut().map(|(builder, hash)| {
            let block = builder.seal(id, BatchNo(number), durable, *hash);
            *hash = block.hash;
            block
        });
        let last = log.submit_all(blocks.collect());
        waiting.push_back((last, building));
        busy += building.elapsed();
        while waiting.len() > AHEAD {
            reap(&mut log, &mut waiting, &mut each)?;
        }
    }
    while !waiting.is_empty() {
        reap(&mut log, &mut waiting, &mut each)?;
    }
    let total = begun.elapsed();
    Box::new(log).close()?;
    let reopening = Instant::now();
    let (_log, found) = FileLog::open(dir, &options)?;
    let reopen = reopening.elapsed();
    let events = (batches * EVENTS) as u64;
    if found.facts != events {
        return Err(format!("{} of {events} events were kept", found.facts).into());
    }
    let writer_us_per_event = busy.as_secs_f64() * 1e6 / events as f64;
    Ok(Journal { rate: Rate::of(total, each), events, writer_us_per_event, reopen })
}

/// Takes finished tickets, or parks until there may be one.
fn reap(
    log: &mut FileLog,
    waiting: &mut VecDeque<(Ticket, Instant)>,
    each: &mut Vec<Duration>,
) -> Result<(), Box<dyn Error>> {
    let Some(done) = log.completed() else {
        thread::park();
        return Ok(());
    };
    if done.outcome != Outcome::Done {
        return Err(format!("{done:?}").into());
    }
    if let Some((_, begun)) = waiting.pop_front_if(|(ticket, _)| *ticket == done.ticket) {
        each.push(begun.elapsed());
    }
    Ok(())
}
