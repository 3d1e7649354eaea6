//! The columns of a report's row: sums over hours, then what is made of the sums.

use hyperloglockless::HyperLogLog;

use crate::state::breakdowns::{AdDay, Counts};
use crate::state::credit::confidence_of;
use crate::state::credits::CreditCell;
use crate::state::crowd::People;
use crate::state::funnel::{Funnel, MessageSum};
use crate::state::tallies::Tally;
use crate::types::proto::v1::{
    CreditedOutcomes, FunnelPeople, MatchCount, MatchKind, MessageSpend, ReportRow,
};

/// Reach is rounded down to so many people.
const REACH_STEP: u64 = 10;

/// A row while its hours are being summed.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    row: ReportRow,
    tap_people: u64,
    chats: Funnel,
    people: Option<Box<People>>,
    /// Impressions of those people.
    seen: u64,
    credited: Option<Box<CreditCell>>,
}

impl Sums {
    /// Returns a row that says what it is about, and has counted nothing.
    pub(super) fn of(row: ReportRow) -> Self {
        Self { row, ..Self::default() }
    }

    /// Adds an hour of an ad.
    pub(super) fn add(&mut self, tally: &Tally) {
        let row = &mut self.row;
        row.impressions += tally.impressions;
        row.viewable += tally.viewable;
        row.taps += tally.taps;
        row.conversations += tally.conversations;
        row.first_replies += tally.first_replies;
        row.conversions += tally.conversions;
        row.conversion_value_micros += tally.values.get(&row.currency).copied().unwrap_or_default();
        row.spend_micros += tally.spend;
        row.over_delivered_micros += tally.over_delivered;
        row.hides += tally.hides;
        row.reports += tally.reports;
        row.invalid_impressions += tally.invalid_impressions;
        row.invalid_taps += tally.invalid_taps;
        row.invalid_conversations += tally.invalid_conversations;
        row.credited_micros += tally.credited;
        self.tap_people += tally.tap_people;
        if let Some(chats) = &tally.chats {
            self.chats.merge(chats);
        }
    }

    /// Adds what another row of the same key has counted of hours.
    pub(super) fn merge(&mut self, other: Self) {
        let (row, more) = (&mut self.row, other.row);
        row.impressions += more.impressions;
        row.viewable += more.viewable;
        row.taps += more.taps;
        row.conversations += more.conversations;
        row.first_replies += more.first_replies;
        row.conversions += more.conversions;
        row.conversion_value_micros += more.conversion_value_micros;
        row.spend_micros += more.spend_micros;
        row.over_delivered_micros += more.over_delivered_micros;
        row.hides += more.hides;
        row.reports += more.reports;
        row.invalid_impressions += more.invalid_impressions;
        row.invalid_taps += more.invalid_taps;
        row.invalid_conversations += more.invalid_conversations;
        row.credited_micros += more.credited_micros;
        self.tap_people += other.tap_people;
        self.chats.merge(&other.chats);
    }

    /// Adds conversations that one kind of proof led to the ad.
    pub(super) fn add_matches(&mut self, kind: i32, conversations: u64) {
        self.row.conversations += conversations;
        *self.chats.matches.entry(kind).or_default() += conversations;
    }

    /// Adds what a model gives under a window.
    pub(super) fn add_credit(&mut self, cell: &CreditCell) {
        self.credited.get_or_insert_default().merge(cell);
    }

    /// Adds a cell of a breakdown.
    pub(super) fn add_cell(&mut self, counts: &Counts) {
        let row = &mut self.row;
        row.impressions += counts.impressions;
        row.viewable += counts.viewable;
        row.taps += counts.taps;
        row.conversations += counts.conversations;
        row.conversions += counts.conversions;
        let value = counts.values.get(&row.currency).copied();
        row.conversion_value_micros += value.unwrap_or_default();
        row.spend_micros += counts.spend;
    }

    /// Adds the people of an ad's day.
    pub(super) fn add_people(&mut self, day: &AdDay) {
        self.people.get_or_insert_default().merge(&day.people);
        self.seen += day.seen;
    }

    /// Returns the row with all its columns.
    pub(super) fn finish(self) -> ReportRow {
        let Self { mut row, tap_people, chats, people, seen, credited } = self;
        if let Some(cell) = credited {
            let value = cell.values.get(&row.currency).copied();
            row.conversion_value_micros = value.unwrap_or_default();
            row.credited = Some(CreditedOutcomes {
                conversations_micros: cell.conversations,
                first_replies_micros: cell.first_replies,
                qualified_micros: cell.qualified,
                conversions_micros: cell.conversions,
            });
        }
        // How often is told of the rounded people too, or it would tell them exactly.
        let reach = people.map(|people| reach_of(&people)).map(|reach| reach - reach % REACH_STEP);
        let net = row.spend_micros - row.credited_micros;
        let parts = |part: u64, of: u64, scale: u128| {
            let share = (u128::from(part) * scale).checked_div(of.into());
            share.and_then(|share| u64::try_from(share).ok())
        };
        let cost = |amount: i64, of: i128, scale: i128| {
            let cost = (i128::from(amount) * scale).checked_div(of);
            cost.and_then(|cost| i64::try_from(cost).ok())
        };
        let message_cost = chats.messages.values().map(|sum| sum.cost).sum::<i64>();
        let whole = net + message_cost;
        let per = |people: u64| i64::try_from(people).ok().and_then(|it| whole.checked_div(it));
        let spend = |(category, sum): (&i32, &MessageSum)| MessageSpend {
            category: *category,
            messages: sum.messages,
            free_messages: sum.free,
            cost_micros: sum.cost,
        };
        let matched = |(kind, conversations): (&i32, &u64)| MatchCount {
            kind: *kind,
            confidence: confidence_of(MatchKind::try_from(*kind).unwrap_or_default()).into(),
            conversations: *conversations,
        };
        ReportRow {
            reach,
            frequency_thousandths: reach.and_then(|reach| parts(seen, reach, 1_000)),
            tap_rate_ppm: parts(row.taps, row.impressions, 1_000_000),
            cost_per_thousand_micros: cost(net, row.impressions.into(), 1_000),
            cost_per_tap_micros: cost(net, row.taps.into(), 1),
            cost_per_conversion_micros: cost(net, row.conversions.into(), 1),
            return_on_spend_thousandths: cost(row.conversion_value_micros, net.into(), 1_000),
            first_messages: chats.wrote,
            qualified: chats.qualified,
            people: Some(FunnelPeople {
                tapped: tap_people,
                opened: chats.opened_people,
                wrote: chats.wrote_people,
                replied: chats.replied_people,
                qualified: chats.qualified_people,
                converted: chats.converted_people,
            }),
            matches: chats.matches.iter().map(matched).collect(),
            median_first_reply_s: chats.waits.median(),
            messages: chats.messages.iter().map(spend).collect(),
            message_cost_micros: message_cost,
            unpriced_messages: chats.unpriced,
            cost_per_conversation_micros: per(chats.opened_people),
            cost_per_reply_micros: per(chats.replied_people),
            cost_per_qualified_micros: per(chats.qualified_people),
            ..row
        }
    }
}

/// Estimates how many people a sketch holds.
fn reach_of(people: &People) -> u64 {
    let registers = people.registers();
    let zeros = registers.iter().filter(|rank| **rank == 0).count();
    let sum = registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
    // The sketch has its people already: nothing is hashed any more.
    let hasher = foldhash::fast::FixedState::default();
    HyperLogLog::from_parts(registers.into(), hasher, zeros, sum).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::funnel::MessageSum;

    fn sums(tallies: &[Tally]) -> ReportRow {
        let mut sums = Sums::of(ReportRow { currency: "MXN".into(), ..ReportRow::default() });
        tallies.iter().for_each(|tally| sums.add(tally));
        sums.finish()
    }

    #[test]
    fn invalid_events_and_credits_have_columns_of_their_own() {
        let tally = Tally {
            impressions: 100,
            invalid_impressions: 1,
            invalid_taps: 2,
            invalid_conversations: 3,
            credited: 4,
            ..Tally::default()
        };
        let row = sums(&[tally.clone(), tally]);
        assert_eq!(row.impressions, 200);
        let invalid = (row.invalid_impressions, row.invalid_taps, row.invalid_conversations);
        assert_eq!((invalid, row.credited_micros), ((2, 4, 6), 8));
    }

    #[test]
    fn a_real_conversation_costs_net_spend_and_messages_by_people() {
        let hour = |people: u64, wait: u32, cost: i64| {
            let mut chats =
                Funnel { opened_people: people, replied_people: 1, ..Funnel::default() };
            chats.waits.add(wait);
            chats.messages.insert(2, MessageSum { messages: 3, free: 1, cost });
            let chats = Some(Box::new(chats));
            Tally { conversations: 9, spend: 100, credited: 30, chats, ..Tally::default() }
        };
        let row = sums(&[hour(2, 5, 40), hour(1, 9, 21), Tally::default()]);
        assert_eq!((row.spend_micros, row.credited_micros, row.message_cost_micros), (200, 60, 61));
        assert_eq!(row.cost_per_conversation_micros, Some(67), "(200 - 60 + 61) / 3 people");
        assert_eq!(row.cost_per_reply_micros, Some(100));
        assert_eq!(row.cost_per_qualified_micros, None);
        assert_eq!(row.median_first_reply_s, Some(5));
        let spend = MessageSpend { category: 2, messages: 6, free_messages: 2, cost_micros: 61 };
        assert_eq!(row.messages, [spend]);
        assert_eq!(sums(&[Tally::default()]).cost_per_conversation_micros, None);
    }

    #[test]
    fn every_kind_of_match_says_how_sure_it_is() {
        let mut chats = Funnel::default();
        (1..=5).for_each(|kind| *chats.matches.entry(kind).or_default() += kind as u64);
        let row = sums(&[Tally { chats: Some(Box::new(chats)), ..Tally::default() }]);
        let told: Vec<_> =
            row.matches.iter().map(|it| (it.kind, it.confidence, it.conversations)).collect();
        assert_eq!(told, [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 2, 4), (5, 4, 5)]);
    }

    #[test]
    fn reach_is_within_the_stated_error_of_the_people_there_are() {
        let mut state = 1_u64;
        let mut person = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        for count in [50_u64, 300, 2_000, 20_000, 200_000] {
            let mut squares = 0.0;
            let runs = 30;
            for _ in 0..runs {
                let mut people = People::default();
                (0..count).for_each(|_| people.add(person()));
                let error = reach_of(&people) as f64 / count as f64 - 1.0;
                squares += error * error;
            }
            let error = (squares / f64::from(runs)).sqrt();
            // 30 runs know their spread to 13 %; three times that above 1.04 / 64.
            assert!(error < 0.016_25 * 1.4, "{count}: {error}");
        }
    }
}
