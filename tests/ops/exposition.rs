//! A running server's page: what it shows can be read, is documented, and is all there.

use std::collections::{BTreeMap, BTreeSet};

use munadi::types::meters::{METERS, MeterKind};

use crate::meter_of;
use crate::server::{SECRET, Server};

/// Tries to find the node ready: it is looked at twice a second.
const TRIES: usize = 500;

/// One line of an exposition.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

impl Sample<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// Reads `name{label="value",…} number`. No value here holds a comma, bracket or quote.
fn sample(line: &str) -> Sample<'_> {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, labels)) = head.split_once('{') else {
        return Sample { name: head, labels: Vec::new(), value };
    };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("an open bracket: {line}"));
    let labels = labels.split(',').map(|label| {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        (name, value.strip_suffix('"').unwrap_or_else(|| panic!("an open quote: {line}")))
    });
    Sample { name, labels: labels.collect(), value }
}

/// Checks a whole exposition against the list of metrics, and returns its samples.
fn checked(text: &str) -> Vec<Sample<'_>> {
    let (mut kinds, mut helps) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# HELP ") {
            let (name, help) = told.split_once(' ').unwrap();
            assert_eq!(helps.insert(name, help), None, "{name} is described twice");
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name, kind), None, "{name} has two kinds");
        } else {
            samples.push(sample(line));
        }
    }
    for meter in METERS.iter().filter(|meter| meter.labels.is_empty()) {
        assert!(kinds.contains_key(meter.name), "{} is documented and not there", meter.name);
    }
    for (name, kind) in kinds {
        let meter = METERS.iter().find(|meter| meter.name == name);
        let meter = meter.unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(kind, meter.kind.name(), "{name}");
        assert_eq!(helps.get(name), Some(&meter.help), "{name}");
    }
    for Sample { name, labels, value } in &samples {
        let meter = meter_of(name).unwrap_or_else(|| panic!("{name} is not documented"));
        let names = labels.iter().map(|(label, _)| *label).filter(|label| *label != "le");
        let names: BTreeSet<_> = names.collect();
        let wanted: BTreeSet<_> = meter.labels.iter().copied().collect();
        assert_eq!(names, wanted, "{name}");
        assert!(value.is_finite() && *value >= 0.0, "{name} is {value}");
    }
    samples
}

#[test]
fn a_running_server_shows_every_documented_metric_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let ready = |server: &Server| server.health(&[]).status.success();
    assert!((0..TRIES).any(|_| ready(&server)), "it is never ready");
    assert_eq!(server.health(&["--service", ""]).stdout, b"SERVING\n");
    let page = server.page.clone();
    assert_eq!(server.health(&["--metrics", &page]).stdout, b"SERVING\n");
    assert!(!server.health(&["--service", "munadi.nobody"]).status.success());

    let (status, text) = server.ask("GET", "/metrics");
    assert_eq!(status, 200);
    let samples = checked(&text);
    let value = |name: &str, label: &str, wanted: &str| {
        let wanted = samples.iter().filter(|sample| {
            sample.name == name && (label.is_empty() || sample.label(label) == Some(wanted))
        });
        wanted.map(|sample| sample.value).sum::<f64>() as u64
    };
    assert_eq!(value("munadi_ready", "", ""), 1);
    assert_eq!(value("munadi_build_info", "version", env!("CARGO_PKG_VERSION")), 1);
    assert!(value("munadi_calls_total", "code", "OK") >= 2, "{text}");
    assert!(value("munadi_calls_total", "code", "NOT_FOUND") >= 1, "{text}");
    let path = "/grpc.health.v1.Health/Check";
    assert!(value("munadi_calls_total", "method", path) >= 3, "{text}");
    assert!(value("munadi_connections", "door", "status") >= 1, "this very one");
    assert!(value("process_resident_memory_bytes", "", "") > 1_000_000);
    assert!(value("process_open_fds", "", "") > 3);
    assert_eq!(value("munadi_journal_lag_batches", "", ""), 0);

    for (method, path, wanted) in [
        ("GET", "/ready", 200),
        ("HEAD", "/live", 200),
        ("GET", "/", 404),
        ("POST", "/metrics", 405),
    ] {
        assert_eq!(server.ask(method, path).0, wanted, "{method} {path}");
    }
    let (door, logged) = (server.door.clone(), server.stop());
    assert!(logged.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()));
    assert!(logged.iter().any(|line| line["fields"]["message"] == "stopped"), "{logged:?}");
    assert!(logged.iter().all(|line| !line.to_string().contains(SECRET)));
    let gone = std::process::Command::new(env!("CARGO_BIN_EXE_munadi"))
        .env_clear()
        .args(["health", "--listen", &door, "--timeout", "1"])
        .output();
    assert!(!gone.unwrap().status.success(), "nobody is there");
}

#[test]
fn histograms_add_up() {
    let kinds = METERS.iter().filter(|meter| matches!(meter.kind, MeterKind::Histogram(_)));
    assert!(kinds.count() >= 3);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (_, text) = server.ask("GET", "/metrics");
    let samples = checked(&text);
    let of = |name: &str| samples.iter().filter(|sample| sample.name == name).collect::<Vec<_>>();
    let buckets = of("munadi_journal_sync_seconds_bucket");
    let count = of("munadi_journal_sync_seconds_count")[0].value as u64;
    assert!(buckets.is_sorted_by(|one, next| one.value <= next.value), "{text}");
    assert_eq!(buckets.last().unwrap().label("le"), Some("+Inf"));
    assert_eq!(buckets.last().unwrap().value as u64, count);
    server.stop();
}

#[test]
fn a_line_is_read() {
    let read = sample("a_total{code=\"OK\",method=\"/x.Y/Z\"} 7");
    let labels = vec![("code", "OK"), ("method", "/x.Y/Z")];
    assert_eq!(read, Sample { name: "a_total", labels, value: 7.0 });
    assert_eq!(sample("b 0.5"), Sample { name: "b", labels: Vec::new(), value: 0.5 });
}
