//! Events through the running node: parse, open the token, decide, frame, sync, apply.

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use munadi::node::clock::SystemClock;
use munadi::node::{Node, NodeOptions, Pending};
use munadi::tokens::Sealer;
use munadi::types::dice::Dice;
use munadi::types::proto::v1;
use munadi::types::request::{Incoming, Verdict};
use munadi::types::token::ViewToken;
use prost::Message;
use tokio::runtime::Runtime;

use crate::support::Rate;
use crate::support::shop::{FEED, advertise, text};

/// Batches handed to the node ahead of the one that is waited for.
const AHEAD: usize = 8;

/// Viewers that the events are spread over.
const VIEWERS: u64 = 200_000;

/// What one run measured.
pub(crate) struct Run {
    /// Its speed.
    pub rate: Rate,
    /// Processor time of the whole process, client's share (parse and open) included.
    pub cpu_us_per_event: f64,
    /// Bytes of journal blocks per event.
    pub bytes_per_event: f64,
}

/// Makes `batches` batches of charged impressions durable through a node, in a folder of its own.
pub(crate) fn record_batches(
    dir: &Path,
    events: usize,
    batches: usize,
) -> Result<Run, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let options = NodeOptions {
        feeds: vec![FEED],
        seed: Some(1),
        checkpoint_every: Duration::from_secs(3_600),
        approve_ads: true,
        ..NodeOptions::default()
    };
    let node = Node::start(dir, Arc::new(SystemClock::default()), &options)?;
    let (_, ads) = advertise(&node, &runtime)?;
    let encoded = encode(&node, &ads, events, batches);
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    let mut waiting: VecDeque<(Pending<Vec<Verdict>>, Instant)> = VecDeque::new();
    let mut each = Vec::with_capacity(batches);
    for batch in &encoded {
        let started = Instant::now();
        waiting.push_back((node.record(parse(&node, batch)?).map_err(text)?, started));
        if waiting.len() > AHEAD {
            reap(&runtime, &mut waiting, &mut each)?;
        }
    }
    while !waiting.is_empty() {
        reap(&runtime, &mut waiting, &mut each)?;
    }
    let (total, cpu) = (begun.elapsed(), cpu_time()? - cpu);
    node.stop()?;
    let count = (events * batches) as f64;
    let mut bytes = 0;
    munadi::journal::file::scan(&dir.join("journal"), |block| bytes += block.bytes.len())?;
    Ok(Run {
        rate: Rate::of(total, each),
        cpu_us_per_event: cpu.as_secs_f64() * 1e6 / count,
        bytes_per_event: bytes as f64 / count,
    })
}

fn reap(
    runtime: &Runtime,
    waiting: &mut VecDeque<(Pending<Vec<Verdict>>, Instant)>,
    each: &mut Vec<Duration>,
) -> Result<(), Box<dyn Error>> {
    let Some((pending, started)) = waiting.pop_front() else { return Ok(()) };
    let verdicts = runtime.block_on(pending).map_err(text)?;
    each.push(started.elapsed());
    let charged =
        |verdict: &Verdict| matches!(verdict, Verdict::Recorded { charged, .. } if *charged > 0);
    if verdicts.iter().all(charged) { Ok(()) } else { Err("an event was not charged".into()) }
}

/// Parses a batch as the door does.
fn parse(node: &Node, batch: &[u8]) -> Result<Vec<Incoming>, Box<dyn Error>> {
    let request = v1::RecordEventsRequest::decode(batch)?;
    let (opener, now_s) = (node.opener(), node.now().seconds());
    let item = |event: &v1::AdEvent| {
        let token = opener.open_view(&event.view_token, now_s)?;
        Ok(Incoming::Ad { token, kind: event.kind(), at: None, suspect: None, network: 0 })
    };
    request.events.iter().map(item).collect()
}

fn encode(node: &Node, ads: &[u64], events: usize, batches: usize) -> Vec<Vec<u8>> {
    let (sealer, issued) = (node.opener(), node.now().seconds());
    let mut dice = munadi::node::dice::SeededDice::new(7);
    let batch = |_| {
        let events = (0..events).map(|_| event(&sealer, ads, issued, &mut dice)).collect();
        v1::RecordEventsRequest { request_id: String::new(), events }.encode_to_vec()
    };
    (0..batches).map(batch).collect()
}

fn event(sealer: &Sealer, ads: &[u64], issued: u32, dice: &mut impl Dice) -> v1::AdEvent {
    let token = ViewToken {
        view: dice.roll(),
        ad: ads[dice.roll() as usize % ads.len()],
        viewer: (dice.roll() % VIEWERS).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        feed: FEED,
        issued,
        show_by: 600,
        price_micros: 1_000,
        billing: v1::BillingEvent::Impressions as u8,
        p_tap: 655,
        p_chat: 26_214,
        country: *b"MX",
        ..ViewToken::default()
    };
    let view_token = sealer.seal_view(&token).to_vec().into();
    v1::AdEvent { view_token, kind: v1::EventKind::Impression.into(), ..v1::AdEvent::default() }
}

/// Returns the processor time of this process: user and system ticks of a hundredth of a second.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
