//! `munadi serve`: reads the configuration, opens the node, serves until a signal, then drains.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::config::{CONFIG_VARIABLE, Checked, Config};
use crate::cli::courier::HttpCourier;
use crate::cli::first_key::first_key;
use crate::cli::metrics::Kept;
use crate::cli::telemetry;
use crate::cli::{Failure, tell};
use crate::listen::Running;
use crate::node::clock::{Clock, SystemClock};
use crate::node::{Node, NodeOptions};
use crate::rpc::traces::Traces;
use crate::rpc::{Patience, ServerConfig, serve};
use crate::web::WebConfig;

/// The file that is read when none is named, if it is there.
const USUAL_FILE: &str = "munadi.toml";

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// TOML file with the configuration; munadi.example.toml explains each key. Without it,
    /// munadi.toml is read if it is there. Each plain key can also be given as MUNADI_<KEY> in the
    /// environment, and by the flags below, which have the last word.
    #[arg(long, short, value_name = "FILE", env = CONFIG_VARIABLE)]
    config: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:7700].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Folder of journal, checkpoints and key ring; made if it is new [default: munadi-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// How many threads serve [default: one a core].
    #[arg(long, value_name = "COUNT")]
    cores: Option<String>,
    /// What is logged: error, warn, info, debug, or by module as in `munadi::node=debug,info`
    /// [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How a line of the log is written: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Listen beyond this machine although keys go over the wire in clear: something before it must
    /// speak TLS.
    #[arg(long)]
    insecure: bool,
    /// Check the configuration, say what it holds, and don't serve.
    #[arg(long)]
    check_config: bool,
}

pub(super) fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    let config = read(arguments)?;
    let checked = config.check()?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("log: {error}"))?;
    if arguments.check_config {
        tell_checked(&checked);
        return Ok(());
    }
    telemetry::log(filter, config.log_format);
    // Before the node, which looks its counters up when it opens.
    let kept = config.metrics.as_ref().map(|_| Kept::install()).transpose()?;

    // Before the node opens, so that a stop in the meantime is not lost.
    let signals = Signals::catch()?;
    let node = open_node(&config, &checked)?;
    first_key(&node, &checked.keys, std::io::stdout().lock())?;
    let node = Arc::new(node);
    tracing::info!(opened = ?node.opened(), data_dir = %config.data_dir.display(), "node started");
    let cores = config.cores.unwrap_or_else(all_cores);
    let traces = checked.traces.as_ref().map(Traces::open).transpose();
    let traces = traces.map_err(|error| format!("traces: {error}"))?.map(Arc::new);
    let server = ServerConfig {
        listen: config.listen,
        cores,
        keys: Arc::new(checked.keys),
        patience: Patience::default(),
        tls: checked.tls.map(Arc::new),
        limits: checked.limits,
        traces: traces.clone(),
    };
    let server = serve(&node, &Arc::new(checked.policies), server)
        .map_err(|error| format!("listen: {}: {error}", config.listen))?;
    let web = checked.web.map(|web| open_web(&node, &web.config(cores))).transpose()?;
    let page = kept.as_ref().zip(config.metrics.as_ref());
    let page = page.map(|(kept, lines)| kept.open(&node, lines.address)).transpose()?;
    if let Some(page) = &page {
        tracing::info!(metrics = %page.addr(), "the operator's page is open");
    }
    tracing::info!(address = %server.addr(), web = ?web.as_ref().map(Running::addr), "serving");

    tracing::info!(signal = signals.wait(), "draining");
    // Both at once: each takes as long as its slowest call.
    std::thread::scope(|scope| {
        scope.spawn(|| web.map(Running::stop));
        server.stop();
    });
    if let Some(traces) = traces {
        traces.close();
    }
    // Last of the doors: what is lost in a drain is seen there.
    if let Some(page) = page {
        page.stop();
    }
    // Every door is closed, so this is the last handle of the node.
    match Arc::try_unwrap(node) {
        Ok(node) => node.stop()?,
        Err(node) => {
            tracing::warn!("work that was cut is still under way: the journal is left unsealed");
            drop(node);
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn open_node(config: &Config, checked: &Checked) -> Result<Node, Failure> {
    let feeds = checked.policies.keys().copied().collect();
    let (approve_ads, push_insecure) = (config.approve_ads, config.push_insecure);
    let public_url = checked.web.as_ref().map(|web| web.public_url.clone()).unwrap_or_default();
    let options = NodeOptions {
        feeds,
        approve_ads,
        push_insecure,
        public_url,
        remove_behind_base: config.journal.remove_behind_base,
        ..NodeOptions::default()
    };
    let clock = Arc::new(SystemClock::default());
    let began = clock.monotonic();
    let mut node = Node::start(&config.data_dir, Arc::<SystemClock>::clone(&clock), &options)?;
    metrics::gauge!("munadi_recovery_seconds").set(clock.monotonic().saturating_sub(began));
    metrics::gauge!("munadi_recovery_facts").set(node.opened().replayed as f64);
    node.push_behind(Arc::new(HttpCourier::new(clock, push_insecure)))?;
    Ok(node)
}

fn tell_checked(checked: &Checked) {
    let (keys, feeds) = (checked.keys.count(), checked.policies.len());
    let web = checked.web.as_ref().map(|web| format!(", apps {}", web.apps.count()));
    let web = web.unwrap_or_default();
    let tls = if checked.tls.is_some() { ", TLS" } else { "" };
    tell(
        std::io::stdout(),
        format_args!("the configuration is good: keys {keys}, feeds {feeds}{web}{tls}"),
    );
}

fn open_web(node: &Arc<Node>, config: &WebConfig) -> Result<Running, Failure> {
    let listen = config.listen;
    Ok(crate::web::serve(node, config).map_err(|error| format!("web.listen: {listen}: {error}"))?)
}

fn read(arguments: &ServeArguments) -> Result<Config, Failure> {
    let usual = PathBuf::from(USUAL_FILE);
    let file = arguments.config.clone().or_else(|| usual.exists().then_some(usual));
    let flags = [
        ("listen", arguments.listen.clone()),
        ("data_dir", arguments.data_dir.clone()),
        ("cores", arguments.cores.clone()),
        ("log", arguments.log.clone()),
        ("log_format", arguments.log_format.clone()),
        ("insecure", arguments.insecure.then(|| "true".to_owned())),
    ];
    Ok(Config::read(file.as_deref(), std::env::vars(), &flags)?)
}

fn all_cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The signals by which a process is asked to stop.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over: from now on they wait to be asked for.
    fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Blocks until one came, and returns its name.
    fn wait(mut self) -> &'static str {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.terminate.recv() => "SIGTERM",
            }
        })
    }
}
