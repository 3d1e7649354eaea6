//! The `[metrics]` part: what `metrics` counts is kept for Prometheus, and shown on a page of its own.
//!
//! Labels come from bounded lists and handles are held for ever, so nothing ever idles out: an exporter that
//! forgot a held counter would lose what it counts from then on.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;

use crate::cli::Failure;
use crate::listen::Running;
use crate::node::Node;
use crate::types::meters::{METERS, MeterKind, MeterUnit};
use crate::web::{Apps, Patience, WebConfig, serve_status};

/// How often values of histograms are counted into their buckets: until then each is kept.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Ticks of a second in `/proc/self/stat`: Linux has told user space no other number since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// The lines of `[metrics]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsLines {
    pub(super) address: SocketAddr,
}

/// What is counted since it was installed.
pub(super) struct Kept {
    handle: PrometheusHandle,
    stopping: Arc<AtomicBool>,
    upkeep: Option<JoinHandle<()>>,
}

impl Kept {
    /// Takes over what `metrics` counts in this process. It must come before the node, which looks its counters
    /// up when it opens.
    ///
    /// # Errors
    /// When something else has taken it over.
    pub(super) fn install() -> Result<Self, Failure> {
        let mut builder = PrometheusBuilder::new();
        for meter in METERS {
            if let MeterKind::Histogram(bounds) = meter.kind {
                let named = Matcher::Full(meter.name.to_owned());
                builder = builder.set_buckets_for_metric(named, bounds.values())?;
            }
        }
        let handle = builder.install_recorder()?;
        describe();
        let stopping = Arc::new(AtomicBool::new(false));
        let (kept, stop) = (handle.clone(), Arc::clone(&stopping));
        let upkeep = Builder::new().name("metrics".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                std::thread::park_timeout(UPKEEP_EVERY);
                kept.run_upkeep();
            }
        })?;
        Ok(Self { handle, stopping, upkeep: Some(upkeep) })
    }

    /// Opens the page.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub(super) fn open(&self, node: &Arc<Node>, listen: SocketAddr) -> Result<Running, Failure> {
        let config = WebConfig {
            listen,
            cores: NonZeroUsize::MIN,
            public_url: String::new(),
            country_header: None,
            apps: Arc::new(Apps::new([], "")?),
            patience: Patience::default(),
        };
        let handle = self.handle.clone();
        let opened = serve_status(node, &config, move || {
            let mut text = handle.render();
            text.push_str(&process());
            text
        });
        Ok(opened.map_err(|error| format!("metrics.address: {listen}: {error}"))?)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.thread().unpark();
            // It only sums what was counted.
            let _ = upkeep.join();
        }
    }
}

/// Says what each metric is, and lets those without labels be there from the start.
fn describe() {
    let ours = METERS.iter().filter(|meter| meter.name.starts_with("munadi_"));
    for meter in ours {
        let (name, help) = (meter.name, meter.help);
        let unit = match meter.unit {
            MeterUnit::Seconds => Unit::Seconds,
            MeterUnit::Bytes => Unit::Bytes,
            MeterUnit::Count | MeterUnit::Micros | MeterUnit::Millionths => Unit::Count,
        };
        let is_plain = meter.labels.is_empty();
        match meter.kind {
            MeterKind::Counter => {
                metrics::describe_counter!(name, unit, help);
                if is_plain {
                    metrics::counter!(name).increment(0);
                }
            }
            MeterKind::Gauge => {
                metrics::describe_gauge!(name, unit, help);
                if is_plain {
                    metrics::gauge!(name).set(0.0);
                }
            }
            MeterKind::Histogram(_) => {
                metrics::describe_histogram!(name, unit, help);
                if is_plain {
                    drop(metrics::histogram!(name));
                }
            }
        }
    }
    metrics::gauge!("munadi_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Returns what the kernel says of this process, as an exposition; what it doesn't say is left out.
fn process() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as f64).ok();
    let values = [
        ("process_cpu_seconds_total", cpu_seconds(&read("stat"))),
        ("process_max_fds", files_max(&read("limits"))),
        ("process_open_fds", files),
        ("process_resident_memory_bytes", resident_bytes(&read("status"))),
    ];
    let mut text = String::new();
    for (name, value) in values {
        let (Some(value), Some(meter)) = (value, METERS.iter().find(|meter| meter.name == name))
        else {
            continue;
        };
        let (help, kind) = (meter.help, meter.kind.name());
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}

/// Returns the user and system time of `/proc/self/stat`. The name before it may hold blanks and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn files_max(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(files_max(limits), Some(1_024.0));
        assert_eq!(resident_bytes("Name:\tmunadi\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        for read in [cpu_seconds, files_max, resident_bytes] {
            assert_eq!(read(""), None);
        }
        let text = process();
        for meter in METERS.iter().filter(|meter| meter.name.starts_with("process_")) {
            assert!(text.contains(&format!("\n{} ", meter.name)), "{}: {text}", meter.name);
        }
    }
}
