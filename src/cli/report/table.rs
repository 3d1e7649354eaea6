//! A report as text: a column for each dimension asked for, then the figures.

use std::fmt;

use crate::cli::report::{By, id, short, written};
use crate::types::money::Micros;
use crate::types::proto::v1::{CreditedOutcomes, MessageCategory, QueryReportResponse, ReportRow};

/// A column of figures: its head, and what it shows of a row.
pub(super) type Column = (&'static str, fn(&ReportRow) -> String);

/// What was delivered, and what it cost.
pub(super) const DELIVERY: &[Column] = &[
    ("impressions", |row| row.impressions.to_string()),
    ("reach", |row| or_none(row.reach.map(|reach| reach.to_string()))),
    ("viewable", |row| row.viewable.to_string()),
    ("taps", |row| row.taps.to_string()),
    ("conversations", |row| row.conversations.to_string()),
    ("replies", |row| row.first_replies.to_string()),
    ("conversions", |row| row.conversions.to_string()),
    ("invalid_impressions", |row| row.invalid_impressions.to_string()),
    ("invalid_taps", |row| row.invalid_taps.to_string()),
    ("invalid_conversations", |row| row.invalid_conversations.to_string()),
    ("value", |row| money(row.conversion_value_micros)),
    ("spend", |row| money(row.spend_micros)),
    ("unpaid", |row| money(row.over_delivered_micros)),
    ("credited", |row| money(row.credited_micros)),
];

/// The way from tap to sale: events and, behind a slash, people.
pub(super) const FUNNEL: &[Column] = &[
    ("tapped", |row| step(row.taps, people(row).tapped)),
    ("opened", |row| step(row.conversations, people(row).opened)),
    ("wrote", |row| step(row.first_messages, people(row).wrote)),
    ("replied", |row| step(row.first_replies, people(row).replied)),
    ("qualified", |row| step(row.qualified, people(row).qualified)),
    ("sold", |row| step(row.conversions, people(row).converted)),
    ("reply_after_s", |row| or_none(row.median_first_reply_s.map(|wait| wait.to_string()))),
    ("media_net", |row| money(row.spend_micros - row.credited_micros)),
    ("messages", |row| money(row.message_cost_micros)),
    ("marketing", |row| messages(row, MessageCategory::Marketing)),
    ("utility", |row| messages(row, MessageCategory::Utility)),
    ("authentication", |row| messages(row, MessageCategory::Authentication)),
    ("service", |row| messages(row, MessageCategory::Service)),
    ("unpriced", |row| row.unpriced_messages.to_string()),
    ("per_conversation", |row| or_none(row.cost_per_conversation_micros.map(money))),
    ("per_reply", |row| or_none(row.cost_per_reply_micros.map(money))),
    ("per_qualified", |row| or_none(row.cost_per_qualified_micros.map(money))),
];

/// What attribution models give: outcomes in parts.
pub(super) const CREDITED: &[Column] = &[
    ("conversations", |row| credited(row, |it| it.conversations_micros)),
    ("replies", |row| credited(row, |it| it.first_replies_micros)),
    ("qualified", |row| credited(row, |it| it.qualified_micros)),
    ("conversions", |row| credited(row, |it| it.conversions_micros)),
    ("value", |row| money(row.conversion_value_micros)),
];

fn credited(row: &ReportRow, of: fn(&CreditedOutcomes) -> u64) -> String {
    let micros = row.credited.as_ref().map_or(0, of);
    Micros(i64::try_from(micros).unwrap_or(i64::MAX)).to_string()
}

fn money(micros: i64) -> String {
    Micros(micros).to_string()
}

fn step(events: u64, people: u64) -> String {
    format!("{events}/{people}")
}

fn people(row: &ReportRow) -> crate::types::proto::v1::FunnelPeople {
    row.people.unwrap_or_default()
}

fn messages(row: &ReportRow, category: MessageCategory) -> String {
    let found = row.messages.iter().find(|spend| spend.category() == category);
    money(found.map_or(0, |spend| spend.cost_micros))
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// A report as text.
pub(super) struct Table {
    cells: Vec<Vec<String>>,
    /// Columns of text stand left, figures right.
    texts: usize,
    complete_up_to: String,
    settled: Option<f64>,
}

impl Table {
    pub(super) fn of(
        answer: &QueryReportResponse,
        dimensions: &[By],
        is_broken_down: bool,
        columns: &[Column],
    ) -> Self {
        let mut dimensions: Vec<By> = dimensions.to_vec();
        dimensions.sort_by_key(|by| *by as u8);
        dimensions.dedup();
        let name = |by: &By| format!("{by:?}").to_lowercase();
        let broken_down = is_broken_down.then(|| "breakdown".to_owned());
        let head = dimensions.iter().map(name).chain(broken_down).chain(["currency".to_owned()]);
        let heads = columns.iter().map(|(head, _)| (*head).to_owned());
        let mut cells = vec![head.chain(heads).collect::<Vec<_>>()];
        for row in &answer.rows {
            let about = dimensions.iter().map(|by| match by {
                By::Account => id(row.account_id),
                By::Campaign => id(row.campaign_id),
                By::AdSet => id(row.ad_set_id),
                By::Ad => id(row.ad_id),
                By::Channel => short(row.channel().as_str_name(), "CHANNEL_").to_lowercase(),
                By::Hour | By::Day | By::UtcDay => written(row.period.as_ref()),
                By::Feed => row.feed_id.to_string(),
                By::Placement => short(row.placement().as_str_name(), "PLACEMENT_").to_lowercase(),
                By::MatchConfidence => {
                    short(row.match_confidence().as_str_name(), "MATCH_CONFIDENCE_").to_lowercase()
                }
                By::CreativeType => {
                    short(row.creative_type().as_str_name(), "CREATIVE_FORMAT_").to_lowercase()
                }
                By::Model => short(row.model().as_str_name(), "ATTRIBUTION_MODEL_").to_lowercase(),
                By::Window if row.window == 0 => "own".to_owned(),
                By::Window => {
                    short(row.window().as_str_name(), "ATTRIBUTION_WINDOW_").to_lowercase()
                }
            });
            let value = if row.other { "(other)" } else { &row.breakdown };
            let line = about.chain(is_broken_down.then(|| value.to_owned()));
            let line = line.chain([row.currency.clone()]);
            cells.push(line.chain(columns.iter().map(|(_, cell)| cell(row))).collect());
        }
        Self {
            cells,
            texts: dimensions.len() + 1 + usize::from(is_broken_down),
            complete_up_to: written(answer.complete_up_to.as_ref()),
            settled: answer.settled_fraction,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.cells.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.cells.iter().map(|row| row[column].len()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.cells {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                if column < self.texts {
                    write!(f, "{gap}{cell:<width$}")?;
                } else {
                    write!(f, "{gap}{cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        if self.cells.len() == 1 {
            writeln!(f, "nothing was delivered in this span")?;
        }
        writeln!(
            f,
            "complete up to {}",
            if self.complete_up_to.is_empty() { "-" } else { &self.complete_up_to }
        )?;
        self.settled.map_or(Ok(()), |share| writeln!(f, "settled {:.2} %", 100.0 * share))
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::types::proto::v1::{FunnelPeople, MessageSpend};

    #[test]
    fn a_table_has_a_column_for_each_dimension_asked_for() {
        let row = ReportRow {
            campaign_id: 12,
            period: Some(Timestamp { seconds: 0, nanos: 0 }),
            currency: "MXN".into(),
            impressions: 1_000,
            invalid_taps: 3,
            spend_micros: 1_500_000,
            credited_micros: 250_000,
            ..ReportRow::default()
        };
        let answer = QueryReportResponse { rows: vec![row], ..Default::default() };
        let text = Table::of(&answer, &[By::Day, By::Campaign], false, DELIVERY).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("campaign  day"), "{text}");
        assert!(lines[1].starts_with("12        1970-01-01T00:00:00Z  MXN"), "{text}");
        assert!(lines[1].ends_with("0.000000  1.500000  0.000000  0.250000"), "{text}");
        let column = |name| lines[0].split_whitespace().position(|head| head == name).unwrap();
        let cell = lines[1].split_whitespace().nth(column("invalid_taps"));
        assert_eq!(cell, Some("3"), "{text}");
    }

    #[test]
    fn an_empty_report_says_so() {
        let text = Table::of(&QueryReportResponse::default(), &[], false, DELIVERY).to_string();
        assert!(text.contains("nothing was delivered"), "{text}");
    }

    #[test]
    fn a_funnel_shows_events_and_people_of_each_step() {
        let spend = MessageSpend { category: 2, cost_micros: 70_000, ..MessageSpend::default() };
        let people = FunnelPeople { opened: 4, ..FunnelPeople::default() };
        let row = ReportRow {
            channel: 6,
            currency: "MXN".into(),
            conversations: 5,
            people: Some(people),
            spend_micros: 1_500_000,
            credited_micros: 250_000,
            messages: vec![spend],
            ..ReportRow::default()
        };
        let answer = QueryReportResponse { rows: vec![row], ..Default::default() };
        let text = Table::of(&answer, &[By::Channel], false, FUNNEL).to_string();
        let lines: Vec<_> = text.lines().collect();
        let column = |name| lines[0].split_whitespace().position(|head| head == name).unwrap();
        let cell = |name| lines[1].split_whitespace().nth(column(name)).unwrap();
        assert_eq!((cell("channel"), cell("opened")), ("telegram", "5/4"), "{text}");
        assert_eq!((cell("media_net"), cell("utility")), ("1.250000", "0.070000"), "{text}");
        assert_eq!((cell("per_qualified"), cell("reply_after_s")), ("-", "-"), "{text}");
    }
}
