//! The rule models as they are mostly written: in floating point, without whole credits.

use munadi::types::attribution::{RULE_MODELS, split};
use munadi::types::proto::journal::v1::PathTouch;
use munadi::types::proto::v1::{AttributionModel, AttributionWindow, TouchKind};
use munadi::types::time::DAY_MS;

/// How far whole micro-credits may be from floating point.
const NEAR: f64 = 2e-6;

/// Splits one outcome by all rule models in the ad sets' own windows; returns the sum of the values.
pub(crate) fn split_all(path: &[PathTouch], outcome_ms: i64, value: i64) -> u64 {
    let parts = RULE_MODELS.iter().flat_map(|model| shares(*model, path, outcome_ms));
    parts.map(|part| part * value as f64).sum::<f64>() as u64
}

fn shares(model: AttributionModel, path: &[PathTouch], outcome_ms: i64) -> Vec<f64> {
    let eligible = |touch: &PathTouch| touch.in_window;
    let count = path.iter().filter(|touch| eligible(touch)).count();
    let is_tap = |touch: &PathTouch| eligible(touch) && touch.kind() == TouchKind::Tap;
    let first = path.iter().position(eligible);
    let newest = path.iter().rposition(eligible);
    let last_tap = path.iter().rposition(is_tap);
    let only = |at: Option<usize>| {
        (0..path.len()).map(|index| f64::from(u8::from(Some(index) == at))).collect::<Vec<_>>()
    };
    let weight = |at: usize| match model {
        AttributionModel::Linear => 1.0,
        AttributionModel::TimeDecay => {
            let age = (outcome_ms - path[at].event_ms).max(0) as f64;
            (-age / (7 * DAY_MS) as f64).exp2()
        }
        _ if count <= 2 => 1.0,
        _ if Some(at) == first || Some(at) == newest => 0.4,
        _ => 0.2 / (count - 2) as f64,
    };
    match model {
        AttributionModel::LastTouch => only(last_tap.or(newest)),
        AttributionModel::FirstTouch => only(first),
        AttributionModel::LastClick => only(last_tap),
        _ => {
            let weights =
                (0..path.len()).map(|at| if eligible(&path[at]) { weight(at) } else { 0.0 });
            let weights: Vec<_> = weights.collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| if sum > 0.0 { weight / sum } else { 0.0 }).collect()
        }
    }
}

/// Checks that both say the same of a path.
pub(crate) fn assert_alike(path: &[PathTouch], outcome_ms: i64) {
    for model in RULE_MODELS {
        let ours = split(model, AttributionWindow::Unspecified, path, outcome_ms);
        let theirs = shares(model, path, outcome_ms);
        for (our, their) in ours.iter().zip(theirs) {
            assert!((f64::from(*our) / 1e6 - their).abs() <= NEAR, "{model:?}: {path:?}");
        }
    }
}
