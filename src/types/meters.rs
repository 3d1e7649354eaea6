//! Every metric of a node: its name, kind, unit, labels and meaning. What `GET /metrics` describes itself by.
//!
//! Names begin with `munadi_` (those of the process with `process_`, as every exporter spells them), counters
//! end with `_total`, and a unit is the end of a name. The values of a label come from a list that is bounded:
//! methods, codes, reasons, currencies, channels, markets of rate cards. No tenant, id or text is one.

/// What a metric does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MeterKind {
    /// Only grows, from nothing at each start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values up to each of these bounds.
    Histogram(Bounds),
}

impl MeterKind {
    /// Returns the kind's name, as an exposition spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The bounds of a histogram's buckets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bounds {
    /// From 50 microseconds to 30 seconds: the deadlines of calls.
    Durations,
    /// From 1 to 65,536.
    Sizes,
}

impl Bounds {
    /// Returns the upper bounds, ascending.
    pub const fn values(self) -> &'static [f64] {
        match self {
            Self::Durations => &[
                0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ],
            Self::Sizes => &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0],
        }
    }
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MeterUnit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Millionths of a currency's unit.
    Micros,
    /// Millionths.
    Millionths,
}

impl MeterUnit {
    /// Returns the unit's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Micros => "micros",
            Self::Millionths => "millionths",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Its name in an exposition.
    pub name: &'static str,
    /// What it does.
    pub kind: MeterKind,
    /// What its values are.
    pub unit: MeterUnit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells an operator.
    pub help: &'static str,
}

const fn meter(
    name: &'static str,
    kind: MeterKind,
    unit: MeterUnit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Meter {
    Meter { name, kind, unit, labels, help }
}

use MeterKind::{Counter, Gauge, Histogram};
use MeterUnit::{Bytes, Count, Micros, Millionths, Seconds};

/// Every metric of a node, ascending by name.
pub const METERS: &[Meter] = &[
    meter("munadi_ad_requests_total", Counter, Count, &[], "Requests for ads that were answered."),
    meter("munadi_build_info", Gauge, Count, &["version"], "Always 1: which version runs."),
    meter(
        "munadi_busy_total",
        Counter,
        Count,
        &[],
        "Pieces of work refused because too many waited for the writer.",
    ),
    meter(
        "munadi_call_seconds",
        Histogram(Bounds::Durations),
        Seconds,
        &["class"],
        "From a call's arrival to the head of its answer, by class of method; long streams are not in it.",
    ),
    meter(
        "munadi_calls_late_total",
        Counter,
        Count,
        &[],
        "Calls whose deadline had passed before they were begun.",
    ),
    meter(
        "munadi_calls_refused_total",
        Counter,
        Count,
        &["cause", "class"],
        "Calls refused before they were read, by class of method and cause.",
    ),
    meter(
        "munadi_calls_total",
        Counter,
        Count,
        &["code", "method"],
        "Calls by method and gRPC code; a stream counts by how it began.",
    ),
    meter(
        "munadi_checkpoint_age_seconds",
        Gauge,
        Seconds,
        &[],
        "Since the last checkpoint was written, or since the start.",
    ),
    meter(
        "munadi_checkpoint_failures_total",
        Counter,
        Count,
        &[],
        "Checkpoints that could not be written.",
    ),
    meter(
        "munadi_checkpoint_seconds",
        Gauge,
        Seconds,
        &[],
        "How long the last checkpoint took to write and settle; 0 before the first.",
    ),
    meter("munadi_connections", Gauge, Count, &["door"], "Connections that are open at a door."),
    meter(
        "munadi_connections_cut_total",
        Counter,
        Count,
        &["cause"],
        "Connections cut: their peer did not greet or read in time, or they were left unread for too long.",
    ),
    meter(
        "munadi_connections_left_unread_total",
        Counter,
        Count,
        &[],
        "Times that a connection was left unread for a while, as much of its class was refused.",
    ),
    meter(
        "munadi_connections_refused_total",
        Counter,
        Count,
        &["of"],
        "Connections that were one too many of their address or of the server.",
    ),
    meter(
        "munadi_conversion_posts_total",
        Counter,
        Count,
        &["status"],
        "Posts of conversions to advertisers' endpoints, by class of the answer.",
    ),
    meter(
        "munadi_conversions_skipped_total",
        Counter,
        Count,
        &["reason"],
        "Conversions that were not reported outwards, and why.",
    ),
    meter(
        "munadi_disk_full_total",
        Counter,
        Count,
        &[],
        "Pieces of work refused because the disk of the journal is full.",
    ),
    meter("munadi_events_total", Counter, Count, &[], "Events that were handed to the writer."),
    meter(
        "munadi_forecast_error_ppm",
        Gauge,
        Millionths,
        &[],
        "The middle error of yesterday's forecasts against what was delivered; 0 until one was compared.",
    ),
    meter("munadi_forecasts_compared", Gauge, Count, &[], "Forecasts that the error is of."),
    meter(
        "munadi_imported_events_total",
        Counter,
        Count,
        &[],
        "Events of other systems that were handed to the writer.",
    ),
    meter(
        "munadi_invalid_events_total",
        Counter,
        Count,
        &["reason"],
        "Events that were journaled as invalid traffic, and why.",
    ),
    meter(
        "munadi_journal_batch_facts",
        Histogram(Bounds::Sizes),
        Count,
        &[],
        "Facts of one batch: one wait for the disk.",
    ),
    meter(
        "munadi_journal_bytes_total",
        Counter,
        Bytes,
        &[],
        "Bytes of blocks that were handed to the journal.",
    ),
    meter(
        "munadi_journal_damaged_segments",
        Gauge,
        Count,
        &[],
        "Old segments that this round of checking them found damaged, or the last one.",
    ),
    meter(
        "munadi_journal_lag_batches",
        Gauge,
        Count,
        &[],
        "Batches that are decided and not durable yet.",
    ),
    meter(
        "munadi_journal_lag_seconds",
        Gauge,
        Seconds,
        &[],
        "How long the oldest of them has waited, or the writer has not moved.",
    ),
    meter(
        "munadi_journal_segments_checked_total",
        Counter,
        Count,
        &[],
        "Old segments that were read again beside serving and found sound.",
    ),
    meter(
        "munadi_journal_sync_seconds",
        Histogram(Bounds::Durations),
        Seconds,
        &[],
        "Writing a group of blocks and syncing it.",
    ),
    meter(
        "munadi_ledger_seals_total",
        Counter,
        Count,
        &[],
        "Seals of the ledgers that were journaled; the audit recounts each.",
    ),
    meter("munadi_live_ads", Gauge, Count, &[], "Ads that may be shown now."),
    meter(
        "munadi_message_price_mismatches_total",
        Counter,
        Count,
        &["kind"],
        "Message prices in which a channel's word and our rules differ.",
    ),
    meter(
        "munadi_messages_unpriced_total",
        Counter,
        Count,
        &["market"],
        "Messages that no rate card has a price for, by the card's market.",
    ),
    meter(
        "munadi_over_delivered_micros_total",
        Counter,
        Micros,
        &["currency"],
        "Delivered beyond budgets and charged to nobody.",
    ),
    meter(
        "munadi_overload_level",
        Gauge,
        Count,
        &["core"],
        "How much a core refuses: 0 nothing, 1 reports, 2 serving too, 3 events too.",
    ),
    meter("munadi_queue_events", Gauge, Count, &[], "Events that wait for the writer."),
    meter(
        "munadi_queue_work",
        Gauge,
        Count,
        &[],
        "Pieces of work that wait for the writer; at 4,096 further ones are refused.",
    ),
    meter(
        "munadi_ready",
        Gauge,
        Count,
        &[],
        "1: recovered, the journal can be written, and its lag is small. 0: send calls elsewhere.",
    ),
    meter(
        "munadi_recovery_facts",
        Gauge,
        Count,
        &[],
        "Facts that the last start replayed behind the checkpoint.",
    ),
    meter(
        "munadi_recovery_seconds",
        Gauge,
        Seconds,
        &[],
        "How long the last start took until the state was there.",
    ),
    meter(
        "munadi_redirects_total",
        Counter,
        Count,
        &["ended"],
        "Followed links, and how each ended.",
    ),
    meter(
        "munadi_samples_dropped_total",
        Counter,
        Count,
        &[],
        "Sampled requests that the walker had no time for.",
    ),
    meter("munadi_spend_micros_total", Counter, Micros, &["currency"], "Charged to accounts."),
    meter(
        "munadi_webhook_events_total",
        Counter,
        Count,
        &["app", "verdict"],
        "Events of webhooks by what the node made of them.",
    ),
    meter(
        "munadi_webhook_posts_total",
        Counter,
        Count,
        &["app", "outcome"],
        "Posts of chat platforms, and how each ended.",
    ),
    meter(
        "munadi_webhook_told_total",
        Counter,
        Count,
        &["app", "became"],
        "What platforms told, by what it became.",
    ),
    meter(
        "process_cpu_seconds_total",
        Counter,
        Seconds,
        &[],
        "CPU time of the process, user and system.",
    ),
    meter("process_max_fds", Gauge, Count, &[], "Files that the process may have open."),
    meter("process_open_fds", Gauge, Count, &[], "Files that the process has open."),
    meter(
        "process_resident_memory_bytes",
        Gauge,
        Bytes,
        &[],
        "Memory of the process that is in RAM.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_convention() {
        assert!(METERS.is_sorted_by(|one, next| one.name < next.name));
        for Meter { name, kind, unit, labels, help } in METERS {
            let is_ours = name.starts_with("munadi_") || name.starts_with("process_");
            let is_plain =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_ours && is_plain(name), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            let end = match unit {
                Count => "",
                Millionths => "_ppm",
                unit => unit.name(),
            };
            assert!(name.trim_end_matches("_total").ends_with(end), "{name} is of {}", unit.name());
            assert!(labels.len() <= 2 && labels.iter().all(|label| is_plain(label)), "{name}");
            assert!(labels.is_sorted(), "{name}");
            let is_sentence = help.ends_with('.') && help.starts_with(char::is_alphanumeric);
            assert!(is_sentence && !help.contains(['|', '\\', '\n', '"']), "{name}: {help}");
        }
    }

    #[test]
    fn buckets_ascend() {
        for bounds in [Bounds::Durations, Bounds::Sizes] {
            assert!(bounds.values().is_sorted_by(|one, next| one < next));
        }
    }
}
