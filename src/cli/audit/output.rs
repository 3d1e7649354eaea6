//! The report in words.

use std::collections::BTreeMap;
use std::fmt;

use crate::cli::audit::AuditReport;
use crate::types::money::Micros;

/// Returns a moment in RFC 3339, UTC.
pub(in crate::cli) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "journal         {}", self.journal)?;
        writeln!(
            f,
            "span            {} to {}",
            or_dash(&self.first_time),
            or_dash(&self.last_time)
        )?;
        writeln!(f, "batches         {} to {}", self.first_batch, self.last_batch)?;
        writeln!(f, "facts           {}", self.facts)?;
        if self.base_batch > 0 {
            let (batch, time) = (self.base_batch, &self.base_time);
            writeln!(
                f,
                "base            batches up to {batch}, until {time}: as recounted when the"
            )?;
            writeln!(
                f,
                "                base was made; read and recounted now: what is behind it"
            )?;
        }
        if !self.complete {
            writeln!(f, "                older facts were trimmed: sums cover this span only")?;
        }
        if self.torn_bytes > 0 {
            writeln!(f, "                {} bytes at the end are no whole block", self.torn_bytes)?;
        }
        writeln!(f, "impressions     {}", self.impressions)?;
        writeln!(f, "taps            {}", self.taps)?;
        writeln!(f, "conversations   {}", self.conversations)?;
        writeln!(f, "first replies   {}", self.first_replies)?;
        writeln!(f, "conversions     {}", self.conversions)?;
        writeln!(f, "credit rows     {}", self.credits)?;
        writeln!(f, "invoices        {} account-days", self.invoices)?;
        money(f, "invoiced", &self.invoiced_micros)?;
        money(f, "credited", &self.credited_micros)?;
        money(f, "over-delivered", &self.over_delivered_micros)?;
        for (category, sums) in &self.message_costs {
            for (currency, sum) in sums {
                let (messages, cost) = (sum.messages, Micros(sum.micros));
                writeln!(f, "messages        {messages} {category}, {cost} {currency}")?;
            }
        }
        writeln!(f, "transfers       {}", self.transfers)?;
        writeln!(f, "over budget     {}", Micros(self.over_budget_micros))?;
        for difference in &self.differences {
            writeln!(f, "DIFFERENT       {difference}")?;
        }
        if self.differences_left_off > 0 {
            writeln!(f, "                and {} more", self.differences_left_off)?;
        }
        writeln!(f, "{}", if self.equal { "equal" } else { "NOT EQUAL" })
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn money(f: &mut fmt::Formatter<'_>, name: &str, amounts: &BTreeMap<String, i64>) -> fmt::Result {
    amounts
        .iter()
        .try_for_each(|(currency, amount)| writeln!(f, "{name:<15} {} {currency}", Micros(*amount)))
}
