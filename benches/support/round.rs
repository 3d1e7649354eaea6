//! One round: load on one server, and what it did and used between two moments.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::support::child::{self, Child};
use crate::support::load::{Load, Shape, Totals};

/// A server that answers nothing for this long is broken, not slow.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long a round takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) trays_per_s: f64,
    pub(crate) server_us_per_tray: f64,
    pub(crate) load_us_per_tray: f64,
    pub(crate) bytes_per_tray: f64,
    pub(crate) ads_per_tray: f64,
}

/// One moment of a round.
struct Sample {
    at: Instant,
    server_cpu: Duration,
    load_cpu: Duration,
    totals: Totals,
}

/// Loads this server for one round. Every round has new connections, since the kernel spreads them
/// over the server's cores by chance.
pub(crate) fn measure(server: &Child, shape: Shape, round: Round) -> Result<Measured, Failure> {
    let load = Load::start(&server.target, shape)?;
    let start = sample_after(round.warm_up, 0, server, &load)?;
    let end = sample_after(round.measured, start.totals.trays, server, &load)?;
    load.stop()?;
    between(&start, &end)
}

/// Waits this long, or longer on a machine that is too busy to answer anything by then.
fn sample_after(
    pause: Duration,
    trays: u64,
    server: &Child,
    load: &Load,
) -> Result<Sample, Failure> {
    let started = Instant::now();
    std::thread::sleep(pause);
    while load.totals().trays == trays && load.is_running() && started.elapsed() < ANSWER_WITHIN {
        std::thread::sleep(Duration::from_millis(1));
    }
    sample(server, load)
}

fn sample(server: &Child, load: &Load) -> Result<Sample, Failure> {
    Ok(Sample {
        at: Instant::now(),
        server_cpu: server.cpu()?,
        load_cpu: child::own_cpu()?,
        totals: load.totals(),
    })
}

fn between(start: &Sample, end: &Sample) -> Result<Measured, Failure> {
    let trays = (end.totals.trays - start.totals.trays) as f64;
    if trays < 1.0 {
        return Err("no tray was answered".into());
    }
    Ok(Measured {
        trays_per_s: trays / (end.at - start.at).as_secs_f64(),
        server_us_per_tray: (end.server_cpu - start.server_cpu).as_secs_f64() * 1e6 / trays,
        load_us_per_tray: (end.load_cpu - start.load_cpu).as_secs_f64() * 1e6 / trays,
        bytes_per_tray: (end.totals.bytes - start.totals.bytes) as f64 / trays,
        ads_per_tray: (end.totals.ads - start.totals.ads) as f64 / trays,
    })
}
