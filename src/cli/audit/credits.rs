//! The recount of what attribution models give: the same rules, written down once more as plain as they are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::credits::CreditCell;
use crate::state::tallies::Tally;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{PathTouch, Showing};
use crate::types::proto::v1::{Money, Outcome, TouchKind};
use crate::types::time::{DAY_MS, HOUR_MS};

/// Numbers of the models that split one outcome, in their order: last touch, first touch, last click, linear, time
/// decay, position based.
const MODELS: std::ops::RangeInclusive<u8> = 1..=6;
const TIME_DECAY: u8 = 5;

/// Numbers of the windows: the ad sets' own, views, engaged views, clicks of one, seven and 28 days.
const WINDOWS: std::ops::RangeInclusive<u8> = 0..=5;

/// An ad, an hour since the epoch, a model and a window.
type Key = (u64, i64, u8, u8);

/// What one model gives under one window.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Cell {
    /// Micro-credits of conversations, first replies, qualified ones and conversions.
    counts: [i64; 4],
    /// Micros by currency.
    values: BTreeMap<String, i64>,
    /// By how much the node may differ: it weighs time in whole numbers.
    slack: i64,
    value_slack: i64,
}

/// What was counted of credits.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Earned {
    cells: BTreeMap<Key, Cell>,
}

/// An outcome that touches may have earned.
struct Told<'a> {
    kind: Outcome,
    path: Vec<PathTouch>,
    event_ms: i64,
    judged_ms: i64,
    value: Option<&'a Money>,
}

impl Earned {
    /// Counts what one fact says.
    pub(super) fn take(&mut self, fact: &Kind) {
        if let Kind::OutcomeRevised(fact) = fact {
            for (sign, standing) in [(-1, &fact.before), (1, &fact.after)] {
                let Some(standing) = standing else { continue };
                let told = Told {
                    kind: fact.kind(),
                    path: standing.path.clone(),
                    event_ms: fact.event_ms,
                    judged_ms: fact.judged_ms,
                    value: standing.value.as_ref(),
                };
                self.add(sign, &told);
            }
        } else if let Some(told) = told(fact) {
            self.add(1, &told);
        }
    }

    /// Adds what an outcome earned, or with the sign -1 takes it off.
    fn add(&mut self, sign: i64, told: &Told<'_>) {
        let hour = told.event_ms.div_euclid(HOUR_MS);
        let column = match told.kind {
            Outcome::Unspecified => return,
            Outcome::Conversation => 0,
            Outcome::FirstReply => 1,
            Outcome::Qualified => 2,
            Outcome::Conversion => 3,
        };
        for (model, window) in MODELS.flat_map(|model| WINDOWS.map(move |window| (model, window))) {
            let weights = weights(model, window, &told.path, told.judged_ms);
            let credits = parts(1_000_000, &weights);
            let whole: Vec<f64> = credits.iter().map(|credit| *credit as f64).collect();
            let micros = told.value.map_or(0, |value| value.micros);
            let values = parts(micros, &whole);
            for ((touch, credit), value) in told.path.iter().zip(credits).zip(values) {
                if credit == 0 && model != TIME_DECAY {
                    continue;
                }
                let cell = self.cells.entry((touch.ad, hour, model, window)).or_default();
                cell.counts[column] += sign * credit;
                if let Some(Money { currency, .. }) = told.value {
                    let sum = cell.values.entry(currency.clone()).or_default();
                    *sum = sum.saturating_add(sign * value);
                }
                if model == TIME_DECAY {
                    cell.slack += 1;
                    cell.value_slack += micros.abs() / 1_000_000 + 2;
                }
            }
        }
    }

    /// Says in what the tallies of one ad and hour differ; `None`: in nothing.
    pub(super) fn difference(&self, ad: u64, hour: i64, tally: &Tally) -> Option<String> {
        let none = CreditCell::default();
        let cells = tally.credits.as_ref().map(|credits| &credits.cells);
        let mut keys = MODELS.flat_map(|model| WINDOWS.map(move |window| (model, window)));
        keys.find_map(|(model, window)| {
            let theirs = cells.and_then(|cells| cells.get(&(model, window))).unwrap_or(&none);
            let ours = self.cells.get(&(ad, hour, model, window)).cloned().unwrap_or_default();
            let counts =
                [theirs.conversations, theirs.first_replies, theirs.qualified, theirs.conversions];
            let near =
                |(counted, count): (&i64, u64)| (counted - count.cast_signed()).abs() <= ours.slack;
            let same = ours.counts.iter().zip(counts).all(near);
            let mut currencies = ours.values.keys().chain(theirs.values.keys());
            let valued = currencies.all(|currency| {
                let of = |values: &BTreeMap<String, i64>| values.get(currency).copied();
                let (counted, value) = (of(&ours.values), of(&theirs.values));
                let apart = counted.unwrap_or_default() - value.unwrap_or_default();
                apart.abs() <= ours.value_slack
            });
            let differs = !(same && valued);
            differs.then(|| {
                format!("model {model}, window {window}: counted {ours:?}, the node has {theirs:?}")
            })
        })
    }

    /// Returns the ads and hours that earned anything.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, i64)> + '_ {
        self.cells.keys().map(|(ad, hour, ..)| (*ad, *hour))
    }
}

/// Returns the outcome of a fact; `None`: it is none that anybody earns.
fn told(fact: &Kind) -> Option<Told<'_>> {
    let told = match fact {
        Kind::ClickMatched(fact) if fact.invalid == 0 => Told {
            kind: Outcome::Conversation,
            path: path(&fact.path, fact.showing.as_ref(), fact.touch_ms),
            event_ms: fact.event_ms,
            judged_ms: fact.event_ms,
            value: None,
        },
        Kind::ConversionCredited(fact) if fact.invalid == 0 => Told {
            kind: Outcome::Conversion,
            path: path(&fact.path, fact.showing.as_ref(), fact.touch_ms),
            event_ms: fact.event_ms,
            judged_ms: fact.event_ms,
            value: fact.value.as_ref(),
        },
        Kind::StepCredited(fact) => Told {
            kind: fact.kind(),
            path: fact.path.clone(),
            event_ms: fact.event_ms,
            judged_ms: fact.opened_ms,
            value: None,
        },
        _ => return None,
    };
    Some(told)
}

/// Returns a path; of a fact from before there were any, the click alone.
pub(super) fn path(path: &[PathTouch], showing: Option<&Showing>, touch_ms: i64) -> Vec<PathTouch> {
    match showing {
        Some(showing) if path.is_empty() => vec![PathTouch {
            view: showing.view,
            ad: showing.ad,
            kind: TouchKind::Tap.into(),
            event_ms: touch_ms,
            in_window: true,
            proven: true,
            ..PathTouch::default()
        }],
        _ => path.to_vec(),
    }
}

/// Returns the touch that earns an outcome by default; `None`: none is in its ad set's window.
pub(super) fn winner(path: &[PathTouch], judged_ms: i64) -> Option<PathTouch> {
    let weights = weights(1, 0, path, judged_ms);
    path.iter().zip(weights).find(|(_, weight)| *weight > 0.0).map(|(touch, _)| *touch)
}

/// Returns how much each touch weighs.
fn weights(model: u8, window: u8, path: &[PathTouch], judged_ms: i64) -> Vec<f64> {
    let age_ms = |touch: &PathTouch| (judged_ms - touch.event_ms).max(0);
    let kind = |touch: &PathTouch| touch.kind;
    // 1: a tap, 2: an engaged view, 3: a view.
    let inside = |touch: &PathTouch, first: i32, last: i32, days: i64| {
        (first..=last).contains(&kind(touch)) && age_ms(touch) <= days * DAY_MS
    };
    let eligible = |touch: &PathTouch| match window {
        0 => touch.in_window,
        1 => inside(touch, 2, 3, 1),
        2 => inside(touch, 2, 2, 1),
        3 => inside(touch, 1, 1, 1),
        4 => inside(touch, 1, 1, 7),
        _ => inside(touch, 1, 1, 28),
    };
    let places: Vec<usize> = (0..path.len()).filter(|place| eligible(&path[*place])).collect();
    let last = |rank: &dyn Fn(&PathTouch) -> bool| {
        places.iter().copied().rfind(|place| rank(&path[*place]))
    };
    let chosen = match model {
        1 => last(&|touch| touch.proven)
            .or_else(|| last(&|touch| kind(touch) == 1))
            .or_else(|| last(&|touch| kind(touch) == 2))
            .or_else(|| last(&|_| true)),
        2 => places.first().copied(),
        3 => last(&|touch| kind(touch) == 1),
        _ => None,
    };
    let mut weights = vec![0.0; path.len()];
    match model {
        1..=3 => {
            if let Some(place) = chosen {
                weights[place] = 1.0;
            }
        }
        4 => places.iter().for_each(|place| weights[*place] = 1.0),
        TIME_DECAY => places.iter().for_each(|place| {
            weights[*place] = (-(age_ms(&path[*place]) as f64) / (7 * DAY_MS) as f64).exp2();
        }),
        _ => {
            let between = places.len().saturating_sub(2);
            for (index, place) in places.iter().enumerate() {
                let end = index == 0 || index + 1 == places.len();
                weights[*place] = match between {
                    0 => 1.0,
                    // 40 : 20 / n : 40, in whole numbers.
                    _ if end => 2.0 * between as f64,
                    _ => 1.0,
                };
            }
        }
    }
    weights
}

/// Returns a whole in parts by weight, by largest remainders; of equals the first. Weights are whole numbers but
/// for time decay, whose rest is told as slack.
fn parts(whole: i64, weights: &[f64]) -> Vec<i64> {
    let sum: f64 = weights.iter().sum();
    if sum == 0.0 {
        return vec![0; weights.len()];
    }
    let is_whole = weights.iter().all(|weight| weight.fract() == 0.0);
    let (sign, size) = (whole.signum(), i128::from(whole.abs()));
    // Parts and their remainders, both times the sum of weights.
    let scale = if is_whole { 1.0 } else { 4_294_967_296.0 };
    let weights: Vec<i128> = weights.iter().map(|weight| (weight * scale) as i128).collect();
    let sum: i128 = weights.iter().sum();
    let mut parts: Vec<(i128, i128)> =
        weights.iter().map(|weight| (size * weight / sum, size * weight % sum)).collect();
    let mut left = size - parts.iter().map(|(part, _)| part).sum::<i128>();
    while left > 0 {
        let most = parts.iter().map(|(_, rest)| *rest).max().unwrap_or_default();
        let Some(first) = parts.iter_mut().find(|(_, rest)| *rest == most) else { break };
        *first = (first.0 + 1, -1);
        left -= 1;
    }
    parts.into_iter().map(|(part, _)| sign * part as i64).collect()
}
