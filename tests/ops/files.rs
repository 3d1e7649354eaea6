//! The files in ops/: checked by what knows them where it is installed, and by rules of our own always.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use munadi::types::meters::METERS;
use serde_json::Value;

use crate::{meter_of, metric_names};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a checker, or says that it is not there.
fn checked_by(program: &str, arguments: &[&str], file: &Path) {
    match Command::new(program).args(arguments).arg(file).output() {
        Ok(done) => {
            let text = [done.stdout, done.stderr].concat();
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&text));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Written past the harness, which would keep it to itself.
            let notice = format!("NOTICE: no {program} here, so it did not check");
            let _ = writeln!(std::io::stdout(), "{notice} {}", file.display());
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn assert_known(text: &str, place: &str) {
    for name in metric_names(text) {
        assert!(meter_of(name).is_some(), "{place}: {name} is no metric");
    }
}

#[test]
fn the_readme_lists_every_metric_as_it_is() {
    let text = read("ops/README.md");
    for meter in METERS {
        let labels = meter.labels.join(", ");
        let (kind, unit) = (meter.kind.name(), meter.unit.name());
        let row = format!("| `{}` | {kind} | {unit} | {labels} | {} |", meter.name, meter.help);
        assert!(text.lines().any(|line| line == row), "ops/README.md should have:\n{row}");
    }
    let rows = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(rows("| `munadi_") + rows("| `process_"), METERS.len(), "a row is stale");
}

#[test]
fn alert_rules_name_known_metrics_and_say_what_to_do() {
    let text = read("ops/alerts.yml");
    assert_known(&text, "ops/alerts.yml");
    let lines = |start: &str| {
        text.lines().filter(|line| line.trim_start().starts_with(start)).collect::<Vec<_>>()
    };
    let alerts = lines("- alert: ");
    assert!(alerts.len() >= 10);
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), alerts.len(), "a name is there twice");
    for part in ["expr: ", "for: ", "severity: ", "summary: ", "action: "] {
        assert_eq!(lines(part).len(), alerts.len(), "each alert has one {part}");
    }
    let known = |line: &&&str| line.ends_with(" page") || line.ends_with(" ticket");
    assert_eq!(lines("severity: ").iter().filter(known).count(), alerts.len());
    checked_by("promtool", &["check", "rules"], &path("ops/alerts.yml"));
    checked_by("promtool", &["check", "config"], &path("ops/prometheus.yml"));
}

#[test]
fn the_dashboard_is_whole_and_names_known_metrics() {
    let dashboard: Value = serde_json::from_str(&read("ops/grafana/munadi.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 20);
    let (mut ids, mut cells, mut shown) = (BTreeSet::new(), BTreeSet::new(), 0);
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's too");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is beyond the edge");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(!metric_names(expression).is_empty(), "{title}: {expression} shows nothing");
            assert_known(expression, title);
            for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
                let count = |letter| expression.matches(letter).count();
                assert_eq!(count(open), count(close), "{title}: {expression}");
            }
            shown += 1;
        }
    }
    assert!(shown >= panels.len());
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        assert_known(variable["query"].as_str().unwrap(), "a variable of the dashboard");
    }
}

#[test]
fn the_unit_is_hardened_and_systemd_understands_it() {
    let text = read("ops/munadi.service");
    for line in [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "UMask=0077",
        "Restart=on-failure",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("munadi.service");
    // It is verified with the binary that there is.
    let here = text.replace("/usr/local/bin/munadi", env!("CARGO_BIN_EXE_munadi"));
    fs::write(&unit, here).unwrap();
    checked_by("systemd-analyze", &["verify", "--man=no"], &unit);
}

#[test]
fn the_image_runs_as_nobody_and_is_asked_for_its_health() {
    let text = read("ops/Dockerfile").replace("\\\n", " ");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let of = |word: &str| {
        let lines = lines.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.map(str::trim).collect::<Vec<_>>()
    };
    for base in of("FROM") {
        let image = base.split(' ').next().unwrap();
        let name = image.rsplit('/').next().unwrap();
        assert!(name.contains(':') && !name.ends_with(":latest"), "{base}: no version");
    }
    assert_eq!(of("USER"), ["65532:65532"]);
    let health = of("HEALTHCHECK");
    assert!(health.len() == 1 && health[0].ends_with(r#"CMD ["/usr/local/bin/munadi", "health"]"#));
    for word in ["ENTRYPOINT", "CMD"] {
        assert!(of(word).iter().all(|line| line.starts_with('[')), "{word} starts a shell");
    }
    assert!(of("ADD").is_empty(), "ADD fetches and unpacks: COPY does neither");
    let sent = read(".dockerignore");
    for copied in of("COPY").into_iter().filter(|line| !line.starts_with("--from")) {
        let parts: Vec<_> = copied.split_whitespace().collect();
        for source in &parts[..parts.len() - 1] {
            assert!(path(source).exists(), "{source} is not here");
            assert!(sent.lines().any(|line| line == format!("!{source}")), "{source} is not sent");
        }
    }
    checked_by("hadolint", &[], &path("ops/Dockerfile"));
}
