//! Every metric of the code is documented with its labels, and every documented one is in the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use munadi::types::meters::METERS;

/// Where metrics are described, by names in variables.
const DESCRIBED_IN: &str = "cli/metrics.rs";

/// One `metrics::counter!(…)` of the code.
#[derive(Debug, PartialEq)]
struct Use {
    kind: String,
    name: String,
    labels: Vec<String>,
}

/// Returns the metrics that a text counts.
fn uses(text: &str) -> Vec<Use> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("metrics::") {
        let call = &text[at + "metrics::".len()..];
        let Some((kind, arguments)) = call.split_once("!(") else { continue };
        if !matches!(kind, "counter" | "gauge" | "histogram") {
            continue;
        }
        let Some(arguments) = inside(arguments).trim_start().strip_prefix('"') else { continue };
        let (name, labels) = arguments.split_once('"').unwrap();
        // What stands behind the last arrow is a value.
        let (labels, _) = labels.rsplit_once("=>").unwrap_or_default();
        let labels = labels.split("=>").filter_map(|part| part.trim_end().strip_suffix('"'));
        let labels =
            labels.filter_map(|part| part.rsplit_once('"')).map(|(_, name)| name.to_owned());
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        found.push(Use { kind: kind.to_owned(), name: name.to_owned(), labels });
    }
    found
}

/// Returns what stands before the bracket that closes.
fn inside(text: &str) -> &str {
    let mut depth = 1;
    let end = text.find(|letter| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

fn sources(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_list_of_metrics_is_that_of_the_code() {
    let mut used = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root, &mut |path, text| {
        for Use { kind, name, labels } in uses(text) {
            let place = path.display();
            let meter = METERS.iter().find(|meter| meter.name == name);
            let meter = meter.unwrap_or_else(|| panic!("{place}: {name} is not in METERS"));
            assert_eq!(kind, meter.kind.name(), "{place}: {name}");
            assert_eq!(labels, meter.labels, "{place}: {name}");
            used.insert(name);
        }
    });
    let ours = METERS.iter().filter(|meter| meter.name.starts_with("munadi_"));
    for meter in ours {
        assert!(used.contains(meter.name), "{} is counted nowhere", meter.name);
    }
    let text = fs::read_to_string(root.join(DESCRIBED_IN)).unwrap();
    for name in METERS.iter().map(|meter| meter.name).filter(|name| name.starts_with("process_")) {
        assert!(text.contains(&format!("\"{name}\"")), "{name} is shown nowhere");
    }
}

#[test]
fn a_use_is_read_with_its_labels() {
    let text = "metrics::counter!(\n    \"a_total\", \"kind\" => name(x), \"app\" => y\n).increment(1); \
                metrics::gauge!(name).set(1.0); metrics::gauge!(\"b\", \"c\" => \"d\").set(f(2)); metrics::Unit";
    let of = |kind: &str, name: &str, labels: &[&str]| Use {
        kind: kind.to_owned(),
        name: name.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    assert_eq!(uses(text), [of("counter", "a_total", &["app", "kind"]), of("gauge", "b", &["c"])]);
}
