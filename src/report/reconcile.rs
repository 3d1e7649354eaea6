//! A CRM's own list of sales or conversations beside the outcomes of a period: what differs, is missing, is extra.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::types::proto::v1::{
    AttributionRow, DeclineReason, InvalidReason, Outcome, ReconcileCount, ReconcileDifference,
    ReconcileReason, ReconcileResult, ReconcileRow,
};
use crate::types::refusal::Refusal;
use crate::types::time::{MINUTE_MS, Moment};

/// Rows that are told; those above are only counted.
pub const RECONCILE_ROWS_MAX: usize = 50_000;

/// How far apart both sides may tell a sale's time, milliseconds: clocks differ, and a sale is told when it is
/// entered.
pub const RECONCILE_APART_MS_MAX: i64 = 15 * MINUTE_MS;

/// One question, parsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// Whose outcomes.
    pub account: u64,
    /// Sales or conversations.
    pub outcome: Outcome,
    /// The first moment of the period.
    pub start: Moment,
    /// The first moment after it.
    pub end: Moment,
}

/// What a line names, and an outcome is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Named {
    /// A sale, by the caller's id.
    Sale(String),
    /// A conversation, by its id.
    Chat(u64),
}

impl Named {
    fn of(row: &AttributionRow) -> Self {
        match row.outcome() {
            Outcome::Conversion => Self::Sale(row.event_id.clone()),
            _ => Self::Chat(row.conversation_id),
        }
    }
}

/// What a line tells of a sale beside its id; `None`: it is not compared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// The event's name.
    pub name: Option<String>,
    /// Its value, micros.
    pub micros: Option<i64>,
    /// The value's currency.
    pub currency: Option<String>,
    /// When it happened.
    pub at: Option<Moment>,
}

/// A line's number, from 1, and what it says; or why it can't be read.
pub type Line = (u64, Result<(Named, Told), Refusal>);

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconciled {
    /// Each result and reason that there is, once.
    pub counts: Vec<ReconcileCount>,
    /// Whatever is no clean match: lines in their order, then extra outcomes in order of time.
    pub rows: Vec<ReconcileRow>,
    /// Rows above [`RECONCILE_ROWS_MAX`].
    pub rows_left_out: u64,
}

/// A list, while outcomes are gathered to compare it with, in any order.
#[derive(Debug)]
pub struct Comparison {
    asked: Asked,
    told: BTreeMap<Named, (u64, Told)>,
    /// Lines that are compared with nothing.
    spoilt: Vec<ReconcileRow>,
    outcomes: BTreeMap<u64, AttributionRow>,
}

impl Comparison {
    /// Returns a comparison of these lines. Of those that name the same the first counts.
    pub fn new(asked: Asked, lines: impl IntoIterator<Item = Line>) -> Self {
        let (mut told, mut spoilt) = (BTreeMap::new(), Vec::new());
        for (line, read) in lines {
            match read {
                Err(refusal) => spoilt.push(bad(line, refusal)),
                Ok((named, said)) => match told.entry(named) {
                    Entry::Vacant(entry) => {
                        entry.insert((line, said));
                    }
                    Entry::Occupied(entry) => {
                        let first_line = entry.get().0;
                        let result = ReconcileResult::DuplicateLine;
                        let row = row(result, line, entry.key().clone());
                        spoilt.push(ReconcileRow { first_line, ..row });
                    }
                },
            }
        }
        Self { asked, told, spoilt, outcomes: BTreeMap::new() }
    }

    /// Tells whether a row is to be taken: it is of the period, or of what a line names. Both are the same in all
    /// revisions of an outcome.
    pub fn wants(&self, row: &AttributionRow) -> bool {
        let Asked { account, outcome, .. } = self.asked;
        let of_these = row.account_id == account && row.outcome() == outcome;
        of_these && (self.is_inside(row) || self.told.contains_key(&Named::of(row)))
    }

    /// Takes a row that is wanted; of an outcome the highest revision counts.
    pub fn take(&mut self, row: AttributionRow) {
        let known = self.outcomes.get(&row.outcome_id).map_or(0, |known| known.revision);
        if row.revision > known {
            self.outcomes.insert(row.outcome_id, row);
        }
    }

    /// Compares. `knows` tells whether the account has a conversation of which no outcome was taken.
    pub fn finish(mut self, knows: impl Fn(u64) -> bool) -> Reconciled {
        let mut ours: BTreeMap<Named, AttributionRow> = BTreeMap::new();
        for row in std::mem::take(&mut self.outcomes).into_values() {
            match ours.entry(Named::of(&row)) {
                Entry::Vacant(entry) => {
                    entry.insert(row);
                }
                Entry::Occupied(mut entry) if self.rank(&row) < self.rank(entry.get()) => {
                    entry.insert(row);
                }
                Entry::Occupied(_) => {}
            }
        }
        let mut rows = std::mem::take(&mut self.spoilt);
        let mut matched = 0;
        for (named, (line, told)) in std::mem::take(&mut self.told) {
            let known = ours.remove(&named);
            match self.compared(line, named, &told, known, &knows) {
                Some(row) => rows.push(row),
                None => matched += 1,
            }
        }
        rows.sort_by_key(|row| row.line);
        let mut extra: Vec<_> = ours.into_iter().filter(|(_, known)| !known.withdrawn).collect();
        extra.sort_by_key(|(_, known)| (happened(known), known.outcome_id));
        rows.extend(extra.into_iter().map(|(named, known)| {
            let row = row(ReconcileResult::ExtraHere, 0, named);
            ReconcileRow { reason: came_to(&known).into(), known: Some(known), ..row }
        }));
        told_of(rows, matched)
    }

    /// Returns what is to be told of a line; `None`: it is a clean match.
    fn compared(
        &self,
        line: u64,
        named: Named,
        told: &Told,
        known: Option<AttributionRow>,
        knows: impl Fn(u64) -> bool,
    ) -> Option<ReconcileRow> {
        let Some(known) = known else {
            let reason = match named {
                Named::Chat(id) if knows(id) => ReconcileReason::NotOpened,
                Named::Chat(_) | Named::Sale(_) => ReconcileReason::UnknownId,
            };
            let row = row(ReconcileResult::MissingHere, line, named);
            return Some(ReconcileRow { reason: reason.into(), ..row });
        };
        if known.withdrawn {
            let reason = ReconcileReason::Retracted.into();
            let row = row(ReconcileResult::MissingHere, line, named);
            return Some(ReconcileRow { reason, known: Some(known), ..row });
        }
        if !self.is_inside(&known) {
            let reason = ReconcileReason::OutsidePeriod.into();
            let row = row(ReconcileResult::MissingHere, line, named);
            return Some(ReconcileRow { reason, known: Some(known), ..row });
        }
        let differences = differences(told, &known);
        let row = || row(ReconcileResult::MatchedDiffers, line, named);
        (!differences.is_empty()).then(|| ReconcileRow {
            differences: differences.into_iter().map(i32::from).collect(),
            known: Some(known),
            ..row()
        })
    }

    /// Orders the openings of one conversation: the first credited one of the period is told, else the first.
    fn rank(&self, row: &AttributionRow) -> (bool, bool, i64, u64) {
        let is_credited = came_to(row) == ReconcileReason::Credited;
        (!self.is_inside(row), !is_credited, happened(row), row.outcome_id)
    }

    fn is_inside(&self, row: &AttributionRow) -> bool {
        (self.asked.start.0..self.asked.end.0).contains(&happened(row))
    }
}

fn row(result: ReconcileResult, line: u64, named: Named) -> ReconcileRow {
    let row = ReconcileRow { result: result.into(), line, ..ReconcileRow::default() };
    match named {
        Named::Sale(event_id) => ReconcileRow { event_id, ..row },
        Named::Chat(conversation_id) => ReconcileRow { conversation_id, ..row },
    }
}

fn bad(line: u64, refusal: Refusal) -> ReconcileRow {
    ReconcileRow {
        result: ReconcileResult::BadLine.into(),
        line,
        field: refusal.field.into_owned(),
        field_reason: refusal.reason.name().into(),
        message: refusal.message.into_owned(),
        ..ReconcileRow::default()
    }
}

fn happened(row: &AttributionRow) -> i64 {
    row.event_time.as_ref().map_or(0, |time| Moment::from(time).0)
}

fn came_to(row: &AttributionRow) -> ReconcileReason {
    if row.invalid() != InvalidReason::Unspecified {
        return ReconcileReason::Invalid;
    }
    let is_declined = row.decline_reason() != DeclineReason::Unspecified || row.campaign_id == 0;
    if is_declined { ReconcileReason::Declined } else { ReconcileReason::Credited }
}

fn differences(told: &Told, known: &AttributionRow) -> Vec<ReconcileDifference> {
    let value = known.value.as_ref();
    let name = told.name.as_ref().is_some_and(|name| *name != known.name);
    let micros = value.map_or(0, |value| value.micros);
    let micros = told.micros.is_some_and(|told| told != micros);
    let currency = told.currency.as_ref().zip(value);
    let currency = currency.is_some_and(|(told, value)| *told != value.currency);
    let apart_ms = told.at.map_or(0, |at| (at.0 - happened(known)).abs());
    let all = [
        (name, ReconcileDifference::Name),
        (micros, ReconcileDifference::Value),
        (currency, ReconcileDifference::Currency),
        (apart_ms > RECONCILE_APART_MS_MAX, ReconcileDifference::Time),
    ];
    all.into_iter().filter_map(|(differs, what)| differs.then_some(what)).collect()
}

/// Counts the rows, and cuts them to what is told.
fn told_of(mut rows: Vec<ReconcileRow>, matched: u64) -> Reconciled {
    let mut counts = BTreeMap::new();
    if matched > 0 {
        counts.insert((ReconcileResult::Matched, ReconcileReason::Unspecified), matched);
    }
    for row in &rows {
        *counts.entry((row.result(), row.reason())).or_default() += 1;
    }
    let count = |((result, reason), count): ((ReconcileResult, ReconcileReason), u64)| {
        ReconcileCount { result: result.into(), reason: reason.into(), count }
    };
    let rows_left_out = rows.len().saturating_sub(RECONCILE_ROWS_MAX) as u64;
    rows.truncate(RECONCILE_ROWS_MAX);
    Reconciled { counts: counts.into_iter().map(count).collect(), rows, rows_left_out }
}

#[cfg(test)]
mod twin;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::timestamp;
    use crate::types::hash::mix;
    use crate::types::proto::v1::Money;
    use crate::types::refusal::Reason;

    const SALES: Asked = Asked {
        account: 1,
        outcome: Outcome::Conversion,
        start: Moment(1_000),
        end: Moment(2_000),
    };
    const CHATS: Asked = Asked { outcome: Outcome::Conversation, ..SALES };

    /// Returns a credited row of an account.
    fn known(asked: &Asked, outcome_id: u64, at_ms: i64) -> AttributionRow {
        AttributionRow {
            outcome_id,
            revision: 1,
            outcome: asked.outcome.into(),
            account_id: 1,
            campaign_id: 5,
            event_time: Some(timestamp(at_ms)),
            ..AttributionRow::default()
        }
    }

    fn sale(event_id: &str, at_ms: i64) -> AttributionRow {
        let outcome = event_id.bytes().fold(7, |sum, byte| mix(sum ^ u64::from(byte)));
        AttributionRow {
            event_id: event_id.into(),
            name: "Purchase".into(),
            value: Some(Money { micros: 9, currency: "MXN".into() }),
            ..known(&SALES, outcome, at_ms)
        }
    }

    fn opening(conversation_id: u64, outcome_id: u64, at_ms: i64) -> AttributionRow {
        AttributionRow { conversation_id, ..known(&CHATS, outcome_id, at_ms) }
    }

    fn of_sale(event_id: &str) -> Result<(Named, Told), Refusal> {
        Ok((Named::Sale(event_id.into()), Told::default()))
    }

    fn of_chat(id: u64) -> Result<(Named, Told), Refusal> {
        Ok((Named::Chat(id), Told::default()))
    }

    /// Compares lines with rows; conversation 77 is known without an opening.
    fn compare(
        asked: Asked,
        lines: Vec<Result<(Named, Told), Refusal>>,
        rows: Vec<AttributionRow>,
    ) -> Reconciled {
        let mut comparison = Comparison::new(asked, (1..).zip(lines));
        for row in rows {
            if comparison.wants(&row) {
                comparison.take(row);
            }
        }
        comparison.finish(|id| id == 77)
    }

    fn told(reconciled: &Reconciled) -> Vec<(ReconcileResult, ReconcileReason, u64)> {
        reconciled.rows.iter().map(|row| (row.result(), row.reason(), row.line)).collect()
    }

    fn count(reconciled: &Reconciled, result: ReconcileResult) -> u64 {
        let of_it = reconciled.counts.iter().filter(|count| count.result() == result);
        of_it.map(|count| count.count).sum()
    }

    #[test]
    fn each_line_and_each_outcome_has_its_result_and_reason() {
        let lines = vec![
            of_sale("same"),
            of_sale("nobody's"),
            Err(Refusal::new(Reason::FieldMissing, "event_id", "is empty: send it")),
            of_sale("early"),
            of_sale("same"),
            of_sale("foreign"),
        ];
        let declined = AttributionRow {
            campaign_id: 0,
            decline_reason: DeclineReason::NoTouch.into(),
            ..sale("declined", 1_300)
        };
        let test = AttributionRow { invalid: InvalidReason::Sandbox.into(), ..sale("test", 1_200) };
        let rows = vec![
            sale("same", 1_000),
            sale("early", 999),
            sale("not asked for", 2_000),
            declined,
            test,
            sale("extra", 1_100),
            AttributionRow { account_id: 2, ..sale("foreign", 1_500) },
            opening(9, 90, 1_500),
        ];
        let all = compare(SALES, lines, rows);
        use {ReconcileReason as Why, ReconcileResult as What};
        let expected = [
            (What::MissingHere, Why::UnknownId, 2),
            (What::BadLine, Why::Unspecified, 3),
            (What::MissingHere, Why::OutsidePeriod, 4),
            (What::DuplicateLine, Why::Unspecified, 5),
            (What::MissingHere, Why::UnknownId, 6),
            (What::ExtraHere, Why::Credited, 0),
            (What::ExtraHere, Why::Invalid, 0),
            (What::ExtraHere, Why::Declined, 0),
        ];
        assert_eq!(told(&all), expected);
        assert_eq!(count(&all, What::Matched), 1);
        assert_eq!((count(&all, What::MissingHere), count(&all, What::ExtraHere)), (3, 3));
        assert_eq!(
            (&*all.rows[1].field, &*all.rows[1].field_reason),
            ("event_id", "FIELD_MISSING")
        );
        assert_eq!(all.rows[2].known, Some(sale("early", 999)));
        assert_eq!((all.rows[3].first_line, &*all.rows[3].event_id), (1, "same"));
        assert_eq!(&*all.rows[5].event_id, "extra");
    }

    #[test]
    fn a_sale_differs_in_what_is_told_of_it_alone() {
        let differs = |told: Told, row: AttributionRow| -> Vec<ReconcileDifference> {
            let lines = vec![Ok((Named::Sale("a".into()), told))];
            let all = compare(SALES, lines, vec![row]);
            all.rows.first().map_or(vec![], |row| row.differences().collect())
        };
        use ReconcileDifference as In;
        let far = |ms: i64| Some(Moment(1_500 + ms));
        let other = Told {
            name: Some("Lead".into()),
            micros: Some(8),
            currency: Some("USD".into()),
            at: far(RECONCILE_APART_MS_MAX + 1),
        };
        let row = || sale("a", 1_500);
        assert_eq!(differs(other, row()), [In::Name, In::Value, In::Currency, In::Time]);
        let alike = Told {
            name: Some("Purchase".into()),
            micros: Some(9),
            currency: Some("MXN".into()),
            at: far(-RECONCILE_APART_MS_MAX),
        };
        assert_eq!(differs(alike, row()), []);
        assert_eq!(differs(Told::default(), row()), []);
        let worthless = || AttributionRow { value: None, ..row() };
        let micros = |micros| Told { micros: Some(micros), ..Told::default() };
        assert_eq!(differs(micros(0), worthless()), []);
        assert_eq!(differs(micros(1), worthless()), [In::Value]);
        let currency = Told { currency: Some("MXN".into()), ..Told::default() };
        assert_eq!(differs(currency, worthless()), [], "nothing has no currency");
    }

    #[test]
    fn a_conversation_counts_once_by_its_first_credited_opening_of_the_period() {
        let declined = |row| AttributionRow {
            campaign_id: 0,
            decline_reason: DeclineReason::AttributeToOtherSource.into(),
            ..row
        };
        let rows = || {
            vec![
                opening(8, 80, 500),
                declined(opening(8, 81, 1_100)),
                opening(8, 82, 1_400),
                opening(8, 83, 1_300),
                declined(opening(9, 90, 1_200)),
            ]
        };
        let all = compare(CHATS, vec![], rows());
        let extra: Vec<_> =
            all.rows.iter().map(|row| row.known.as_ref().unwrap().outcome_id).collect();
        assert_eq!(extra, [90, 83]);
        let all = compare(CHATS, vec![of_chat(8), of_chat(77), of_chat(78), of_chat(9)], rows());
        assert_eq!(count(&all, ReconcileResult::Matched), 2);
        let why: Vec<_> = all.rows.iter().map(ReconcileRow::reason).collect();
        assert_eq!(why, [ReconcileReason::NotOpened, ReconcileReason::UnknownId]);
        assert_eq!(all.rows[1].conversation_id, 78);
    }

    #[test]
    fn the_highest_revision_of_an_outcome_counts() {
        let revised = |revision, micros| AttributionRow {
            revision,
            value: Some(Money { micros, currency: "MXN".into() }),
            ..sale("a", 1_500)
        };
        let line = Ok((Named::Sale("a".into()), Told { micros: Some(7), ..Told::default() }));
        let all = compare(SALES, vec![line], vec![revised(1, 9), revised(3, 7), revised(2, 8)]);
        assert_eq!((all.rows, count_of(&all.counts)), (vec![], 1));
    }

    #[test]
    fn rows_above_the_limit_are_counted_and_left_out() {
        let rows = (0..RECONCILE_ROWS_MAX as u64 + 3).map(|id| opening(id + 1, id + 1, 1_500));
        let all = compare(CHATS, vec![of_chat(u64::MAX)], rows.collect());
        assert_eq!((all.rows.len(), all.rows_left_out), (RECONCILE_ROWS_MAX, 4));
        assert_eq!(all.rows[0].line, 1, "lines come first");
        assert_eq!(count_of(&all.counts), RECONCILE_ROWS_MAX as u64 + 4);
    }

    fn count_of(counts: &[ReconcileCount]) -> u64 {
        counts.iter().map(|count| count.count).sum()
    }
}
