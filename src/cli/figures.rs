//! How the demo and the dry run show what a day came to: a table for people, one JSON object for
//! programs.

mod channels;
mod measured;

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::audit::AuditReport;
use crate::town::DayReport;
use crate::types::money::Micros;

/// What a run came to, with all that says how it was made.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Everything random followed from it.
    pub(super) seed: u64,
    /// How many people lived in the town; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) viewers: Option<usize>,
    /// The day's own figures. `spend_micros` is the plain sum over all currencies.
    #[serde(flatten)]
    pub(super) day: DayReport,
    /// Requests and events that the node answered in one second of the machine's time.
    pub(super) events_per_second: u64,
    /// What the separate recount of the journal found.
    pub(super) audit: Verdict,
}

/// What the audit found, as far as one seed fixes it: the journal's name is another in each run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// Whether every invoice equals its recount and no budget was exceeded.
    equal: bool,
    /// How many invoices were recounted: account-days with a charge.
    invoices: usize,
    /// Charged above a budget or grant, by the audit's own count.
    over_budget_micros: i64,
    /// The first differences, in words.
    differences: Vec<String>,
}

impl From<AuditReport> for Verdict {
    fn from(report: AuditReport) -> Self {
        let AuditReport { equal, invoices, over_budget_micros, differences, .. } = report;
        Self { equal, invoices, over_budget_micros, differences }
    }
}

/// The columns of the table, with their widths.
const COLUMNS: [(&str, usize); 7] = [
    ("seen", 9),
    ("taps", 7),
    ("chats", 7),
    ("replies", 8),
    ("sales", 6),
    ("spend", 18),
    ("per chat", 12),
];

/// The width of the campaigns' names.
const NAME_WIDTH: usize = 36;

impl Figures {
    /// Writes one JSON object and nothing else.
    pub(super) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }

    /// Tells whether everything that is promised was kept: the node's figures, the town's own and the
    /// audit's agree, and no budget was exceeded.
    pub(super) fn are_good(&self) -> bool {
        self.audit.equal && self.day.differences.is_empty() && self.day.over_budget_micros == 0
    }

    /// Writes the table.
    pub(super) fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_campaigns(out)?;
        channels::write(&self.day, out)?;
        measured::write(&self.day, out)?;
        self.write_slots(out)?;
        self.write_events(out)?;
        self.write_verdict(out)?;
        channels::write_link(&self.day.printed_link, out)
    }

    fn write_campaigns(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{:<NAME_WIDTH$}", "campaign")?;
        for (name, width) in COLUMNS {
            write!(out, "{name:>width$}")?;
        }
        writeln!(out)?;
        for row in &self.day.campaigns {
            let each = row.cost_per_conversation_micros.map_or("-".to_owned(), amount);
            let spend = format!("{} {}", amount(row.spend_micros), row.currency);
            let counts = [row.impressions, row.taps, row.conversations, row.first_replies];
            let cells = counts.into_iter().chain([row.conversions]).map(|count| count.to_string());
            write!(out, "{:<NAME_WIDTH$}", short(&row.name))?;
            for (cell, (_, width)) in cells.chain([spend, each]).zip(COLUMNS) {
                write!(out, "{cell:>width$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_slots(&self, out: &mut impl Write) -> io::Result<()> {
        let day = &self.day;
        writeln!(out, "\nrequests {}, ads served {}", day.requests, day.ads_served)?;
        writeln!(out, "slots left empty:")?;
        for (reason, slots) in &day.empty_slots_by_reason {
            writeln!(out, "  {reason:<28}{slots:>10}")?;
        }
        Ok(())
    }

    fn write_events(&self, out: &mut impl Write) -> io::Result<()> {
        let day = &self.day;
        writeln!(
            out,
            "seen {}, taps {}, conversations {}, first replies {}, conversions {}",
            day.impressions, day.taps, day.conversations, day.first_replies, day.conversions
        )?;
        for (currency, &spend) in &day.spend_by_currency {
            let over = day.over_delivered_by_currency.get(currency).copied().unwrap_or_default();
            let (spend, over) = (amount(spend), amount(over));
            writeln!(out, "spend {spend} {currency}, delivered beyond budgets for free {over}")?;
        }
        writeln!(out, "charged above a budget: {}", amount(day.over_budget_micros))?;
        let refused: u64 = day.events_refused.values().sum();
        writeln!(
            out,
            "events {}, of which sent before {}, refused {refused}",
            day.events, day.events_already
        )?;
        for (reason, count) in &day.events_refused {
            writeln!(out, "  {reason:<28}{count:>10}")?;
        }
        writeln!(out, "attributed or declined outcomes {}", day.attributions)?;
        for (reason, count) in &day.declined {
            writeln!(out, "  {reason:<28}{count:>10}")?;
        }
        writeln!(out, "{} requests and events a second", self.events_per_second)
    }

    fn write_verdict(&self, out: &mut impl Write) -> io::Result<()> {
        for difference in &self.day.differences {
            writeln!(out, "the town counted otherwise: {difference}")?;
        }
        let audit = &self.audit;
        for difference in &audit.differences {
            writeln!(out, "the audit counted otherwise: {difference}")?;
        }
        let verdict = if audit.equal { "equal" } else { "NOT equal" };
        writeln!(out, "audit: {} invoices recounted from the journal, {verdict}", audit.invoices)
    }
}

/// Returns an amount with two decimals, as people read it; rounded down.
fn amount(micros: i64) -> String {
    let exact = Micros(micros).to_string();
    exact[..exact.len() - 4].to_owned()
}

/// Returns as much of a name as its column holds.
fn short(name: &str) -> String {
    name.chars().take(NAME_WIDTH - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::CampaignRow;

    fn figures() -> Figures {
        let campaign = CampaignRow {
            name: "Praça, the very long name of a campaign".into(),
            currency: "BRL".into(),
            conversations: 2,
            spend_micros: 2_509_999,
            cost_per_conversation_micros: Some(1_254_999),
            ..CampaignRow::default()
        };
        let day = DayReport {
            requests: 3,
            spend_micros: 2_509_999,
            spend_by_currency: [("BRL".to_owned(), 2_509_999)].into(),
            empty_slots_by_reason: [("BUDGET_SPENT".to_owned(), 4)].into(),
            campaigns: vec![campaign],
            ..DayReport::default()
        };
        let report = AuditReport { equal: true, invoices: 1, ..AuditReport::default() };
        let audit = report.into();
        Figures { seed: 7, viewers: Some(9), day, events_per_second: 5, audit }
    }

    #[test]
    fn programs_get_one_object_with_the_names_that_they_know() {
        let mut out = Vec::new();
        figures().write_json(&mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for key in [
            "requests",
            "ads_served",
            "impressions",
            "taps",
            "conversations",
            "first_replies",
            "conversions",
            "spend_micros",
            "over_budget_micros",
            "campaigns",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["empty_slots_by_reason"]["BUDGET_SPENT"], 4);
        assert_eq!(
            (&json["audit"]["equal"], &json["audit"]["invoices"]),
            (&true.into(), &1.into())
        );
        assert_eq!((&json["seed"], &json["viewers"]), (&7.into(), &9.into()));
    }

    #[test]
    fn people_get_a_table_whose_columns_stand_below_each_other() {
        let mut out = Vec::new();
        figures().write_table(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].chars().count(), lines[1].chars().count(), "{text}");
        assert!(lines[1].contains("2.50 BRL") && lines[1].ends_with("1.25"), "{text}");
        assert!(text.contains("BUDGET_SPENT") && text.contains("1 invoices recounted"), "{text}");
    }
}
