//! `cargo bench --bench webhook`: signed WhatsApp messages a second into the journal, beside the same HTTP
//! server that answers 200 with no work.
//!
//! Each server is a process of its own, so that its CPU can be read; the load shares its cores. The journal
//! lies in `BENCH_DIR`, or here. Without `--bench` (as `cargo test --benches` calls it) a tiny input runs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::child::{self, Child};
use crate::support::hooks::load::Load;
use crate::support::hooks::server;

mod support {
    pub(crate) mod child;
    pub(crate) mod hooks;
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Posts that are under way at once: what the group commits of a disk take to be busy.
const CONNECTIONS: usize = 128;

/// What came of one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    posts_per_s: f64,
    server_us: f64,
    load_us: f64,
}

fn main() -> Result<(), Failure> {
    match option("--server").as_deref() {
        Some("noop") => {
            let like = child::told(&option("--like"))?;
            let server = server::noop(&like)?;
            child::answer(&server.target, "noop")
        }
        Some("real") => {
            let folder = option("--folder").ok_or("--folder is missing")?;
            let server = server::real(Path::new(&folder))?;
            child::answer(&server.target, "real")
        }
        Some(other) => Err(format!("no such server: {other}").into()),
        None => run(),
    }
}

fn run() -> Result<(), Failure> {
    let or = |name: &str, bench: &str, tiny: &str| {
        option(name).unwrap_or(if is_bench() { bench } else { tiny }.to_owned())
    };
    let rounds: usize = or("--rounds", "7", "1").parse()?;
    let seconds = Duration::from_secs_f64(or("--seconds", "5", "0.05").parse()?);
    let connections: usize = or("--connections", &CONNECTIONS.to_string(), "4").parse()?;
    let dir = std::env::var_os("BENCH_DIR").map_or(PathBuf::from("."), PathBuf::from);
    // Ours, not the server's: that is killed and cleans nothing up.
    let folder = tempfile::tempdir_in(dir)?;
    let path = folder.path().to_str().ok_or("the folder's name is no text")?;
    let real = Child::start(&["--server", "real", "--folder", path])?;
    let noop = Child::start(&["--server", "noop", "--like", &real.target.to_string()])?;
    let mut servers = [noop, real];
    let names = [servers[0].line()?, servers[1].line()?];
    let mut all: [Vec<Round>; 2] = Default::default();
    for round in 0..rounds {
        for ((server, name), all) in servers.iter().zip(&names).zip(&mut all) {
            let measured = measure(server, connections, seconds)?;
            println!(
                "round {round}: {} {:.0} posts/s, CPU us a post: server {:.1}, load {:.1}",
                name.trim(),
                measured.posts_per_s,
                measured.server_us,
                measured.load_us
            );
            all.push(measured);
        }
    }
    let [noop, real] = &all;
    let pairs = noop.iter().zip(real);
    let ratio = median(pairs.clone().map(|(noop, real)| real.posts_per_s / noop.posts_per_s));
    let by_cpu = median(
        pairs.map(|(noop, real)| (noop.server_us + noop.load_us) / (real.server_us + real.load_us)),
    );
    let of = |rounds: &[Round], figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let line = serde_json::json!({
        "bench": "webhook",
        "posts_per_s": of(real, |round| round.posts_per_s).round(),
        "noop_per_s": of(noop, |round| round.posts_per_s).round(),
        "ratio": rounded(ratio),
        "ratio_by_cpu": rounded(by_cpu),
        "server_us_per_post": rounded(of(real, |round| round.server_us)),
        "noop_us_per_post": rounded(of(noop, |round| round.server_us)),
        "connections": connections,
    });
    println!("{line}");
    Ok(())
}

/// Loads a server for one round. Every round has new connections, since the kernel spreads them over the
/// server's cores by chance.
fn measure(server: &Child, connections: usize, seconds: Duration) -> Result<Round, Failure> {
    let load = Load::start(&server.target, connections);
    std::thread::sleep(seconds / 4);
    let sample =
        || Ok::<_, Failure>((Instant::now(), load.posts(), server.cpu()?, child::own_cpu()?));
    let (started, posts_before, cpu_before, own_before) = sample()?;
    std::thread::sleep(seconds);
    let (ended, posts, cpu, own) = sample()?;
    load.stop()?;
    let posts = (posts - posts_before).max(1) as f64;
    let each_us = |used: Duration| used.as_secs_f64() * 1e6 / posts;
    Ok(Round {
        posts_per_s: posts / (ended - started).as_secs_f64(),
        server_us: each_us(cpu - cpu_before),
        load_us: each_us(own - own_before),
    })
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn rounded(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

/// Tells whether `cargo bench` called.
fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Returns the argument after this name. Others are ignored: test runners pass theirs along.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
