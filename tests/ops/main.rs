//! What an operator holds in hands: the page of metrics, health, logs, and the files in ops/; and that no
//! earlier caller or journal is left behind by the interface.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod exposition;
mod files;
mod interface;
mod rot;
mod server;
mod sources;

use munadi::types::meters::{METERS, Meter, MeterKind};

/// Returns the metric that a name in a rule or exposition is of: a histogram has three of its own.
fn meter_of(name: &str) -> Option<&'static Meter> {
    METERS.iter().find(|meter| {
        let of_histogram = || {
            let end = name.strip_prefix(meter.name);
            matches!(end, Some("_bucket" | "_sum" | "_count"))
        };
        match meter.kind {
            MeterKind::Histogram(_) => of_histogram(),
            MeterKind::Counter | MeterKind::Gauge => meter.name == name,
        }
    })
}

/// Returns every word of a text that is spelled like a metric's name.
fn metric_names(text: &str) -> Vec<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("munadi_") || word.starts_with("process_")).collect()
}
