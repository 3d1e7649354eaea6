//! The day's funnel, by channel: what the reports say of taps, chats and sales, and what messages cost.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::types::proto::v1::{FunnelPeople, MatchKind, MessageSpend, ReportRow};

/// The steps from a tap to a sale, each as often as it was taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Steps {
    /// Ads were tapped.
    pub taps: u64,
    /// A chat opened.
    pub opened: u64,
    /// The person wrote.
    pub wrote: u64,
    /// The business answered.
    pub replied: u64,
    /// Both sides wrote on.
    pub qualified: u64,
    /// Leads and sales.
    pub sold: u64,
}

impl Steps {
    /// Returns the steps of a row in events.
    fn events(row: &ReportRow) -> Self {
        Self {
            taps: row.taps,
            opened: row.conversations,
            wrote: row.first_messages,
            replied: row.first_replies,
            qualified: row.qualified,
            sold: row.conversions,
        }
    }

    /// Returns the steps of a row in people.
    const fn people(people: &FunnelPeople) -> Self {
        Self {
            taps: people.tapped,
            opened: people.opened,
            wrote: people.wrote,
            replied: people.replied,
            qualified: people.qualified,
            sold: people.converted,
        }
    }

    fn add(&mut self, more: &Self) {
        self.taps += more.taps;
        self.opened += more.opened;
        self.wrote += more.wrote;
        self.replied += more.replied;
        self.qualified += more.qualified;
        self.sold += more.sold;
    }
}

/// What messages of one category came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct MessageCost {
    /// How many were priced.
    pub messages: u64,
    /// Those of them that cost nothing.
    pub free: u64,
    /// What the others cost.
    pub cost_micros: i64,
}

/// What one channel came to in one currency.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ChannelCost {
    /// ISO 4217 of its money.
    pub currency: String,
    /// What was charged for the ads, less what was given back.
    pub media_micros: i64,
    /// What the channel charges for messages, by category.
    pub messages: BTreeMap<String, MessageCost>,
    /// The sum of their costs.
    pub message_cost_micros: i64,
    /// Messages whose price nobody knows.
    pub unpriced_messages: u64,
    /// Media and messages, by people with a conversation; `None`: nobody had one.
    pub cost_per_conversation_micros: Option<i64>,
    /// Half of the first answers came within so many seconds; `None`: there was none.
    pub median_first_reply_s: Option<u32>,
}

/// What one channel came to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ChannelRow {
    /// Its name in the interface, without the prefix.
    pub channel: String,
    /// The funnel in events.
    pub events: Steps,
    /// The funnel in people: who took a step for the first time in a campaign.
    pub people: Steps,
    /// Its money, by currency.
    pub costs: Vec<ChannelCost>,
}

/// Returns the channels of a report by channel, in its order.
pub(crate) fn by_channel(rows: &[ReportRow]) -> Vec<ChannelRow> {
    let mut channels = BTreeMap::<i32, ChannelRow>::new();
    for row in rows {
        let channel = channels.entry(row.channel).or_default();
        channel.channel = short(row.channel().as_str_name(), "CHANNEL_");
        channel.events.add(&Steps::events(row));
        channel.people.add(&Steps::people(&row.people.unwrap_or_default()));
        channel.costs.push(cost(row));
    }
    channels.into_values().collect()
}

fn cost(row: &ReportRow) -> ChannelCost {
    let spend = |spend: &MessageSpend| {
        let name = short(spend.category().as_str_name(), "MESSAGE_CATEGORY_");
        let MessageSpend { messages, free_messages: free, cost_micros, .. } = *spend;
        (name, MessageCost { messages, free, cost_micros })
    };
    ChannelCost {
        currency: row.currency.clone(),
        media_micros: row.spend_micros - row.credited_micros,
        messages: row.messages.iter().map(spend).collect(),
        message_cost_micros: row.message_cost_micros,
        unpriced_messages: row.unpriced_messages,
        cost_per_conversation_micros: row.cost_per_conversation_micros,
        median_first_reply_s: row.median_first_reply_s,
    }
}

/// Returns how many conversations each kind of match led to an ad.
pub(crate) fn by_match(rows: &[ReportRow]) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for matched in rows.iter().flat_map(|row| &row.matches) {
        let kind = MatchKind::try_from(matched.kind).unwrap_or_default();
        *kinds.entry(short(kind.as_str_name(), "MATCH_KIND_")).or_default() +=
            matched.conversations;
    }
    kinds
}

fn short(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::MatchCount;

    #[test]
    fn a_channel_sums_its_currencies_steps_and_keeps_their_money_apart() {
        let row = |currency: &str, taps| ReportRow {
            channel: 1,
            currency: currency.to_owned(),
            taps,
            people: Some(FunnelPeople { tapped: 1, ..FunnelPeople::default() }),
            matches: vec![MatchCount { kind: 2, confidence: 2, conversations: taps }],
            ..ReportRow::default()
        };
        let rows = [row("BRL", 3), row("MXN", 4)];
        let channels = by_channel(&rows);
        assert_eq!((channels.len(), &*channels[0].channel), (1, "WHATSAPP"));
        assert_eq!((channels[0].events.taps, channels[0].people.taps), (7, 2));
        assert_eq!(channels[0].costs.len(), 2);
        assert_eq!(by_match(&rows), [("PREFILL_CODE".to_owned(), 7)].into());
    }
}
