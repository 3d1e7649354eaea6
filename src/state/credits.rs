//! What each attribution model gives an ad under each window, in one hour.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::tally::add_values;
use crate::types::attribution::{
    RULE_MODELS, WINDOWS, eligible, proven_tap, share, split_eligible,
};
use crate::types::proto::journal::v1::{
    ClickMatched, ConversionCredited, OutcomeRevised, PathTouch, Showing, Standing, StepCredited,
};
use crate::types::proto::v1::{Money, Outcome};

/// Parts of outcomes that one ad earned, by `AttributionModel` and `AttributionWindow` (their numbers).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credits {
    /// A pair without an entry earned nothing.
    pub cells: BTreeMap<(u8, u8), CreditCell>,
}

/// What one model gives under one window. Counts are micro-credits: 1,000,000 of one outcome.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CreditCell {
    /// Of conversations.
    pub conversations: u64,
    /// Of first answers.
    pub first_replies: u64,
    /// Of qualified conversations.
    pub qualified: u64,
    /// Of conversions.
    pub conversions: u64,
    /// Of the conversions' values, by currency, micros.
    pub values: BTreeMap<String, i64>,
}

impl CreditCell {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.conversations += other.conversations;
        self.first_replies += other.first_replies;
        self.qualified += other.qualified;
        self.conversions += other.conversions;
        add_values(&mut self.values, &other.values);
    }
}

impl Credits {
    /// Adds what another one holds.
    pub fn merge(&mut self, other: &Self) {
        for (pair, cell) in &other.cells {
            self.cells.entry(*pair).or_default().merge(cell);
        }
    }

    /// Adds what one touch earned of an outcome, or takes it off again.
    pub(in crate::state) fn change(
        &mut self,
        change: Change,
        part: &Part,
        kind: Outcome,
        currency: &str,
    ) {
        let cell = self.cells.entry(part.cell).or_default();
        let count = match kind {
            Outcome::Unspecified => return,
            Outcome::Conversation => &mut cell.conversations,
            Outcome::FirstReply => &mut cell.first_replies,
            Outcome::Qualified => &mut cell.qualified,
            Outcome::Conversion => &mut cell.conversions,
        };
        change.count(count, part.credit.into());
        if !currency.is_empty() {
            change.sum(cell.values.entry(currency.to_owned()).or_default(), part.value);
        }
    }
}

/// What a fact does to a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It happened.
    Add,
    /// It was counted before and is told otherwise now.
    TakeOff,
}

impl Change {
    /// Changes a count. What was never counted, since the journal begins behind it, stays 0.
    pub(in crate::state) const fn count(self, count: &mut u64, by: u64) {
        *count = match self {
            Self::Add => count.saturating_add(by),
            Self::TakeOff => count.saturating_sub(by),
        };
    }

    /// Changes a sum of money.
    pub(in crate::state) const fn sum(self, sum: &mut i64, by: i64) {
        *sum = match self {
            Self::Add => sum.saturating_add(by),
            Self::TakeOff => sum.saturating_sub(by),
        };
    }
}

/// What one touch earned of an outcome under one model and window.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Model and window.
    pub cell: (u8, u8),
    /// The ad.
    pub ad: u64,
    /// Micro-credits.
    pub credit: u32,
    /// Micros of the outcome's value.
    pub value: i64,
}

/// An outcome and the touches that may have earned it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earned<'a> {
    /// What it is.
    pub kind: Outcome,
    /// The eligible touches before it, the oldest first; empty: it earns nobody anything.
    pub path: Cow<'a, [PathTouch]>,
    /// The touch that it is credited to by default; 0: none.
    pub view: u64,
    /// When it happened.
    pub event_ms: i64,
    /// The moment by which the path is judged.
    pub judged_ms: i64,
    /// What it was worth.
    pub value: Option<&'a Money>,
}

impl<'a> Earned<'a> {
    /// Returns what a matched conversation earns.
    pub fn by_match(fact: &'a ClickMatched) -> Self {
        let touches = (&*fact.path, fact.showing.as_ref(), fact.touch_ms);
        Self {
            kind: Outcome::Conversation,
            path: path(touches, fact.invalid),
            view: fact.showing.map_or(0, |showing| showing.view),
            event_ms: fact.event_ms,
            judged_ms: fact.event_ms,
            value: None,
        }
    }

    /// Returns what a conversion earns.
    pub fn by_conversion(fact: &'a ConversionCredited) -> Self {
        let touches = (&*fact.path, fact.showing.as_ref(), fact.touch_ms);
        Self {
            kind: Outcome::Conversion,
            path: path(touches, fact.invalid),
            view: fact.showing.map_or(0, |showing| showing.view),
            event_ms: fact.event_ms,
            judged_ms: fact.event_ms,
            value: fact.value.as_ref(),
        }
    }

    /// Returns what a first reply or a qualified conversation earns.
    pub fn by_step(fact: &'a StepCredited) -> Self {
        Self {
            kind: fact.kind(),
            path: Cow::Borrowed(&fact.path),
            view: fact.showing.map_or(0, |showing| showing.view),
            event_ms: fact.event_ms,
            judged_ms: fact.opened_ms,
            value: None,
        }
    }

    /// Returns what a revised outcome earns, as it stood before or stands after.
    pub fn by_standing(fact: &'a OutcomeRevised, standing: &'a Standing) -> Self {
        Self {
            kind: fact.kind(),
            path: Cow::Borrowed(&standing.path),
            view: standing.showing.map_or(0, |showing| showing.view),
            event_ms: fact.event_ms,
            judged_ms: fact.judged_ms,
            value: standing.value.as_ref(),
        }
    }

    /// Returns what each touch earned by every model of single outcomes under every window.
    pub fn parts(&self) -> Vec<Part> {
        let micros = self.value.map_or(0, |value| value.micros);
        let mut parts = Vec::new();
        // Windows that take the same touches share their splits.
        let mut known: Vec<(Vec<bool>, Vec<Part>)> = Vec::new();
        for window in WINDOWS {
            let eligible = eligible(window, &self.path, self.judged_ms);
            let at = known.iter().position(|(same, _)| *same == eligible).unwrap_or_else(|| {
                let split = self.split(&eligible, micros);
                known.push((eligible, split));
                known.len() - 1
            });
            let split = known[at].1.iter();
            parts.extend(split.map(|part| Part { cell: (part.cell.0, window as u8), ..*part }));
        }
        parts
    }

    /// Returns the parts of the touches that are eligible, of no window yet.
    fn split(&self, eligible: &[bool], micros: i64) -> Vec<Part> {
        let of_model = |model| {
            let credits = split_eligible(model, &self.path, eligible, self.judged_ms);
            let values = share(micros, &credits);
            let earned = self.path.iter().zip(credits).zip(values);
            let earned = earned.filter(|((_, credit), _)| *credit > 0);
            earned.map(move |((touch, credit), value)| Part {
                cell: (model as u8, 0),
                ad: touch.ad,
                credit,
                value,
            })
        };
        RULE_MODELS.into_iter().flat_map(of_model).collect()
    }
}

/// Returns the path of a fact: its own, or of one from before there were any its click alone. What is invalid
/// earns nobody anything.
fn path<'a>(
    (path, showing, touch_ms): (&'a [PathTouch], Option<&Showing>, i64),
    invalid: i32,
) -> Cow<'a, [PathTouch]> {
    match showing {
        _ if invalid != 0 => Cow::Borrowed(&[]),
        Some(showing) if path.is_empty() => Cow::Owned(vec![proven_tap(showing, touch_ms)]),
        _ => Cow::Borrowed(path),
    }
}
