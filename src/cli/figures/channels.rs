//! The day's funnel by channel, as people read it.

use std::io::{self, Write};

use crate::cli::figures::amount;
use crate::town::{ChannelCost, DayReport, MessageCost, Steps};

/// The columns of the steps: events and, behind a slash, people.
const STEPS: [&str; 6] = ["taps", "opened", "wrote", "replied", "qualified", "sold"];

const STEP_WIDTH: usize = 13;

const CHANNEL_WIDTH: usize = 18;

/// Categories of messages, by their names in the interface, in the order of their columns.
const CATEGORIES: [&str; 4] = ["MARKETING", "UTILITY", "AUTHENTICATION", "SERVICE"];

/// Writes the steps of each channel, then what its ads and messages cost in each currency.
pub(super) fn write(day: &DayReport, out: &mut impl Write) -> io::Result<()> {
    write!(out, "\n{:<CHANNEL_WIDTH$}", "events/people")?;
    for step in STEPS {
        write!(out, "{step:>STEP_WIDTH$}")?;
    }
    writeln!(out)?;
    for channel in &day.channels {
        write!(out, "{:<CHANNEL_WIDTH$}", channel.channel.to_lowercase())?;
        for (events, people) in list(&channel.events).into_iter().zip(list(&channel.people)) {
            write!(out, "{:>STEP_WIDTH$}", format!("{events}/{people}"))?;
        }
        writeln!(out)?;
    }
    write!(out, "\n{:<CHANNEL_WIDTH$}{:<5}{:>13}", "cost", "", "media")?;
    for category in CATEGORIES {
        write!(out, "{:>16}", category.to_lowercase())?;
    }
    writeln!(out, "{:>10}{:>11}{:>11}", "per chat", "reply in", "unpriced")?;
    for channel in &day.channels {
        for cost in &channel.costs {
            write!(out, "{:<CHANNEL_WIDTH$}", channel.channel.to_lowercase())?;
            write_cost(cost, out)?;
        }
    }
    let matches =
        day.matches.iter().map(|(kind, count)| format!("{} {count}", kind.to_lowercase()));
    writeln!(out, "\nmatched by: {}", matches.collect::<Vec<_>>().join(", "))
}

/// Writes one line: money of each category, and behind it how many of its messages were paid for.
fn write_cost(cost: &ChannelCost, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:<5}{:>13}", cost.currency, amount(cost.media_micros))?;
    for category in CATEGORIES {
        let MessageCost { messages, free, cost_micros } =
            cost.messages.get(category).copied().unwrap_or_default();
        let paid = format!("{} ({}/{messages})", amount(cost_micros), messages - free);
        write!(out, "{:>16}", if messages == 0 { "-".to_owned() } else { paid })?;
    }
    let each = cost.cost_per_conversation_micros.map_or("-".to_owned(), amount);
    let wait = cost.median_first_reply_s.map_or("-".to_owned(), duration);
    writeln!(out, "{each:>10}{wait:>11}{:>11}", cost.unpriced_messages)
}

const fn list(steps: &Steps) -> [u64; 6] {
    [steps.taps, steps.opened, steps.wrote, steps.replied, steps.qualified, steps.sold]
}

/// Returns a span as people say it: minutes and seconds, above an hour hours and minutes.
fn duration(seconds: u32) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else {
        format!("{minutes}m {:02}s", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::ChannelRow;

    #[test]
    fn each_channel_has_its_steps_and_each_currency_its_costs() {
        let marketing = MessageCost { messages: 5, free: 2, cost_micros: 1_234_567 };
        let cost = ChannelCost {
            currency: "MXN".to_owned(),
            media_micros: 9_990_000,
            messages: [("MARKETING".to_owned(), marketing)].into(),
            cost_per_conversation_micros: Some(2_500_000),
            median_first_reply_s: Some(754),
            unpriced_messages: 3,
            ..ChannelCost::default()
        };
        let channel = ChannelRow {
            channel: "WHATSAPP".to_owned(),
            events: Steps { taps: 9, opened: 7, ..Steps::default() },
            people: Steps { taps: 8, opened: 6, ..Steps::default() },
            costs: vec![cost],
        };
        let matches = [("CLICK_TOKEN".to_owned(), 4), ("ONLY_TAP".to_owned(), 1)].into();
        let day = DayReport { channels: vec![channel], matches, ..DayReport::default() };
        let mut out = Vec::new();
        write(&day, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let cells: Vec<_> = text.split_whitespace().collect();
        for cell in ["9/8", "7/6", "9.99", "1.23", "(3/5)", "2.50", "12m", "34s", "3"] {
            assert!(cells.contains(&cell), "{cell}: {text}");
        }
        assert!(text.ends_with("matched by: click_token 4, only_tap 1\n"), "{text}");
        assert_eq!(duration(3_600 + 61), "1h 01m");
    }
}
