//! The twin of a comparison, by which it is checked: each line asks all rows, each row asks all lines.

use std::collections::BTreeSet;

use crate::report::reconcile::{Asked, Comparison, Line, Named, Told};
use crate::state::credit::timestamp;
use crate::types::proto::v1::{
    AttributionRow, DeclineReason, InvalidReason, Money, Outcome, ReconcileReason, ReconcileResult,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// The period's first second, and the first after it.
const START: i64 = 1_000;
const END: i64 = 2_000;

/// What is told of a line, by its number, or of an outcome, by 0; and the outcome that it is told with.
type Answer = (u64, ReconcileResult, ReconcileReason, Option<u64>);

/// Numbers that a seed repeats.
struct Roll(u64);

impl Roll {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn seconds(row: &AttributionRow) -> i64 {
    row.event_time.as_ref().unwrap().seconds
}

fn is_inside(row: &AttributionRow) -> bool {
    seconds(row) >= START && seconds(row) < END
}

fn reason(row: &AttributionRow) -> ReconcileReason {
    match (row.invalid, row.campaign_id) {
        (0, 0) => ReconcileReason::Declined,
        (0, _) => ReconcileReason::Credited,
        _ => ReconcileReason::Invalid,
    }
}

fn is_named(row: &AttributionRow, named: &Named) -> bool {
    match named {
        Named::Sale(event_id) => row.event_id == *event_id,
        Named::Chat(id) => row.conversation_id == *id,
    }
}

/// Returns the row that is told of all that have one name.
fn told<'a>(ours: &[&'a AttributionRow], named: &Named) -> Option<&'a AttributionRow> {
    let mut same: Vec<_> = ours.iter().copied().filter(|row| is_named(row, named)).collect();
    same.sort_by_key(|row| (seconds(row), row.outcome_id));
    let is_credited = |row: &AttributionRow| reason(row) == ReconcileReason::Credited;
    let inside = || same.iter().filter(|row| is_inside(row));
    let first = inside().find(|row| is_credited(row)).or_else(|| inside().next());
    let first = first.or_else(|| same.iter().find(|row| is_credited(row)));
    first.or_else(|| same.first()).copied()
}

/// The slow and obvious way.
fn by_hand(outcome: Outcome, lines: &[Line], rows: &[AttributionRow]) -> (u64, Vec<Answer>) {
    let newest = |row: &&AttributionRow| {
        let same = rows.iter().filter(|other| other.outcome_id == row.outcome_id);
        same.map(|other| other.revision).max() == Some(row.revision)
    };
    let theirs = |row: &&AttributionRow| row.account_id == 1 && row.outcome() == outcome;
    let ours: Vec<_> = rows.iter().filter(theirs).filter(newest).collect();
    let (mut matched, mut answers) = (0, vec![]);
    for (index, (line, read)) in lines.iter().enumerate() {
        let Ok((named, said)) = read else {
            answers.push((*line, ReconcileResult::BadLine, ReconcileReason::Unspecified, None));
            continue;
        };
        let again = lines[..index].iter().filter_map(|earlier| earlier.1.as_ref().ok());
        if again.map(|(earlier, _)| earlier).any(|earlier| earlier == named) {
            let result = ReconcileResult::DuplicateLine;
            answers.push((*line, result, ReconcileReason::Unspecified, None));
            continue;
        }
        let Some(row) = told(&ours, named) else {
            let result = ReconcileResult::MissingHere;
            let reason = match named {
                Named::Chat(1) => ReconcileReason::NotOpened,
                _ => ReconcileReason::UnknownId,
            };
            answers.push((*line, result, reason, None));
            continue;
        };
        let worth = row.value.as_ref().map_or(0, |value| value.micros);
        let answer = match said.micros {
            _ if !is_inside(row) => (ReconcileResult::MissingHere, ReconcileReason::OutsidePeriod),
            Some(micros) if micros != worth => {
                (ReconcileResult::MatchedDiffers, ReconcileReason::Unspecified)
            }
            _ => {
                matched += 1;
                continue;
            }
        };
        answers.push((*line, answer.0, answer.1, Some(row.outcome_id)));
    }
    let mut extra: Vec<_> = ours.iter().filter(|row| is_inside(row)).collect();
    extra.sort_by_key(|row| (seconds(row), row.outcome_id));
    for row in extra {
        let named = match outcome {
            Outcome::Conversion => Named::Sale(row.event_id.clone()),
            _ => Named::Chat(row.conversation_id),
        };
        let is_listed = lines.iter().any(|(_, read)| read.as_ref().is_ok_and(|it| it.0 == named));
        if !is_listed && told(&ours, &named) == Some(*row) {
            answers.push((0, ReconcileResult::ExtraHere, reason(row), Some(row.outcome_id)));
        }
    }
    (matched, answers)
}

fn random_row(roll: &mut Roll, ids: u64) -> AttributionRow {
    let outcome_id = 1 + roll.below(2 * ids);
    let (id, is_sale) = (outcome_id % ids, !outcome_id.is_multiple_of(5));
    let campaign_id = roll.below(3);
    let outcome = if is_sale { Outcome::Conversion } else { Outcome::Conversation };
    AttributionRow {
        outcome_id,
        revision: 1 + roll.below(3) as u32,
        outcome: outcome.into(),
        account_id: if outcome_id % 7 == 3 { 2 } else { 1 },
        campaign_id,
        conversation_id: id,
        event_id: if is_sale { format!("order-{id}") } else { String::new() },
        value: is_sale.then(|| Money { micros: roll.below(2) as i64, currency: "MXN".into() }),
        // What an outcome is, and when it was, is the same in all revisions.
        event_time: Some(timestamp((900 + (outcome_id * 397 % 1_200) as i64) * 1_000)),
        decline_reason: match campaign_id {
            0 => DeclineReason::NoTouch.into(),
            _ => DeclineReason::Unspecified.into(),
        },
        invalid: match roll.below(5) {
            0 => InvalidReason::Sandbox.into(),
            _ => InvalidReason::Unspecified.into(),
        },
        ..AttributionRow::default()
    }
}

/// Returns random rows in any order; some are another account's, some are revisions, some share their name.
fn random_rows(roll: &mut Roll, ids: u64) -> Vec<AttributionRow> {
    let mut seen = BTreeSet::new();
    let rows: Vec<_> = (0..roll.below(24)).map(|_| random_row(roll, ids)).collect();
    rows.into_iter().filter(|row| seen.insert((row.outcome_id, row.revision))).collect()
}

fn random_lines(roll: &mut Roll, ids: u64, outcome: Outcome) -> Vec<Line> {
    let count = roll.below(15);
    let line = |number| {
        let id = roll.below(ids + 2);
        let named = match outcome {
            Outcome::Conversion => Named::Sale(format!("order-{id}")),
            _ => Named::Chat(id),
        };
        let micros =
            (roll.below(2) == 0 && outcome == Outcome::Conversion).then(|| roll.below(2) as i64);
        let told = Told { micros, ..Told::default() };
        let bad = Refusal::new(Reason::FieldInvalid, "name", "is bad");
        (number, if roll.below(9) == 0 { Err(bad) } else { Ok((named, told)) })
    };
    (1..=count).map(line).collect()
}

#[test]
fn random_lists_compare_as_by_hand() {
    let mut results = BTreeSet::new();
    for seed in 0..4_000 {
        let mut roll = Roll(seed);
        let outcome = if seed % 2 == 0 { Outcome::Conversion } else { Outcome::Conversation };
        let ids = 1 + roll.below(12);
        let rows = random_rows(&mut roll, ids);
        let lines = random_lines(&mut roll, ids, outcome);
        let (start, end) = (Moment(START * 1_000), Moment(END * 1_000));
        let asked = Asked { account: 1, outcome, start, end };
        let mut comparison = Comparison::new(asked, lines.clone());
        for row in rows.iter().filter(|row| comparison.wants(row)).collect::<Vec<_>>() {
            comparison.take(row.clone());
        }
        let all = comparison.finish(|id| id == 1);
        let (matched, expected) = by_hand(outcome, &lines, &rows);
        let known = |row: &AttributionRow| row.outcome_id;
        let answers: Vec<Answer> = all
            .rows
            .iter()
            .map(|row| (row.line, row.result(), row.reason(), row.known.as_ref().map(known)))
            .collect();
        assert_eq!(answers, expected, "seed {seed}");
        let counted: u64 = all.counts.iter().map(|count| count.count).sum();
        assert_eq!(counted, matched + expected.len() as u64, "seed {seed}");
        results.extend(answers.into_iter().map(|(_, result, reason, _)| (result, reason)));
    }
    assert_eq!(results.len(), 9, "the seeds come to everything there is: {results:?}");
}
