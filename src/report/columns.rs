//! The columns of a report's row: sums over hours, then what is made of the sums.

use hyperloglockless::HyperLogLog;

use crate::report::noise::{NOISY_COUNTS, Veil};
use crate::report::rows::Key;
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

/// Lists the columns that are sums of what tallies count under the same names, once for all that is done to each.
macro_rules! numbers {
    ($($column:ident: $kind:ty),* $(,)?) => {
        /// Sums of tallies: numbers only, so that many rows stay near the processor.
        #[derive(Clone, Copy, Debug, Default)]
        struct Numbers {
            $($column: $kind),*
        }

        impl Numbers {
            fn add(&mut self, tally: &Tally) {
                $(self.$column = self.$column.saturating_add(tally.$column);)*
            }

            fn merge(&mut self, other: &Self) {
                $(self.$column = self.$column.saturating_add(other.$column);)*
            }
        }
    };
}

numbers! {
    impressions: u64,
    viewable: u64,
    taps: u64,
    tap_people: u64,
    conversations: u64,
    first_replies: u64,
    conversions: u64,
    spend: i64,
    over_delivered: i64,
    hides: u64,
    reports: u64,
    invalid_impressions: u64,
    invalid_taps: u64,
    invalid_conversations: u64,
    credited: i64,
}

/// A row while its hours are being summed.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    numbers: Numbers,
    /// Of conversions, in the row's currency.
    value: i64,
    chats: Option<Box<Funnel>>,
    crowd: Option<Box<Crowd>>,
    credited: Option<Box<CreditCell>>,
}

/// The people of a row.
#[derive(Clone, Debug, Default)]
struct Crowd {
    people: People,
    /// Impressions of those people.
    seen: u64,
    veil: Option<Veil>,
}

impl Sums {
    /// Adds an hour of an ad, or a span of hours.
    pub(super) fn add(&mut self, tally: &Tally, currency: &str) {
        self.numbers.add(tally);
        let value = tally.values.get(currency).copied().unwrap_or_default();
        self.value = self.value.saturating_add(value);
        if let Some(chats) = &tally.chats {
            self.chats.get_or_insert_default().merge(chats);
        }
    }

    /// Adds what another row of the same key has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.numbers.merge(&other.numbers);
        self.value = self.value.saturating_add(other.value);
        if let Some(chats) = &other.chats {
            self.chats.get_or_insert_default().merge(chats);
        }
        if let Some(crowd) = &other.crowd {
            self.crowd.get_or_insert_default().merge(crowd);
        }
        if let Some(cell) = &other.credited {
            self.credited.get_or_insert_default().merge(cell);
        }
    }

    /// Adds conversations that one kind of proof led to the ad.
    pub(super) fn add_matches(&mut self, kind: i32, conversations: u64) {
        self.numbers.conversations += conversations;
        let chats = self.chats.get_or_insert_default();
        *chats.matches.entry(kind).or_default() += conversations;
    }

    /// Adds what a model gives under a window.
    pub(super) fn add_credit(&mut self, cell: &CreditCell) {
        self.credited.get_or_insert_default().merge(cell);
    }

    /// Adds a cell of a breakdown, with the noise of its counts. None falls below zero, nor does any sum of them.
    pub(super) fn add_cell(&mut self, counts: &Counts, currency: &str, noise: [i64; NOISY_COUNTS]) {
        let numbers = &mut self.numbers;
        let noisy: [(&mut u64, u64); NOISY_COUNTS] = [
            (&mut numbers.impressions, counts.impressions),
            (&mut numbers.viewable, counts.viewable),
            (&mut numbers.taps, counts.taps),
            (&mut numbers.conversations, counts.conversations),
            (&mut numbers.conversions, counts.conversions),
        ];
        for ((sum, count), noise) in noisy.into_iter().zip(noise) {
            *sum += count.saturating_add_signed(noise);
        }
        numbers.spend = numbers.spend.saturating_add(counts.spend);
        let value = counts.values.get(currency).copied().unwrap_or_default();
        self.value = self.value.saturating_add(value);
    }

    /// Adds the people of an ad's day, with the noise of their number.
    pub(super) fn add_people(&mut self, day: &AdDay, veil: Option<Veil>) {
        self.crowd.get_or_insert_default().add(&day.people, day.seen, veil);
    }

    /// Returns the row with all its columns.
    pub(super) fn finish(&self, key: &Key) -> ReportRow {
        let none = Funnel::default();
        let (numbers, chats) = (&self.numbers, self.chats.as_deref().unwrap_or(&none));
        let row = key.row();
        let cell = self.credited.as_deref();
        let value = cell
            .map_or(self.value, |cell| cell.values.get(&row.currency).copied().unwrap_or_default());
        let reach = self.crowd.as_deref().map(Crowd::reach);
        let net = numbers.spend - numbers.credited;
        let parts = |part: u64, of: u64, scale: u128| {
            let share = (u128::from(part) * scale).checked_div(of.into());
            share.and_then(|share| u64::try_from(share).ok())
        };
        let cost = |amount: i64, of: i128, scale: i128| {
            let cost = (i128::from(amount) * scale).checked_div(of);
            cost.and_then(|cost| i64::try_from(cost).ok())
        };
        let costs = chats.messages.values().map(|sum| sum.cost);
        let message_cost = costs.fold(0, i64::saturating_add);
        let whole = net.saturating_add(message_cost);
        let per = |people: u64| i64::try_from(people).ok().and_then(|it| whole.checked_div(it));
        ReportRow {
            impressions: numbers.impressions,
            viewable: numbers.viewable,
            taps: numbers.taps,
            conversations: numbers.conversations,
            first_replies: numbers.first_replies,
            conversions: numbers.conversions,
            conversion_value_micros: value,
            spend_micros: numbers.spend,
            over_delivered_micros: numbers.over_delivered,
            hides: numbers.hides,
            reports: numbers.reports,
            invalid_impressions: numbers.invalid_impressions,
            invalid_taps: numbers.invalid_taps,
            invalid_conversations: numbers.invalid_conversations,
            credited_micros: numbers.credited,
            credited: cell.map(credited),
            reach,
            frequency_thousandths: reach.zip(self.crowd.as_deref()).and_then(|(reach, crowd)| {
                // How often is told of what is shown of them, or it would tell them exactly.
                parts(crowd.seen, reach, 1_000)
            }),
            tap_rate_ppm: parts(numbers.taps, numbers.impressions, 1_000_000),
            cost_per_thousand_micros: cost(net, numbers.impressions.into(), 1_000),
            cost_per_tap_micros: cost(net, numbers.taps.into(), 1),
            cost_per_conversion_micros: cost(net, numbers.conversions.into(), 1),
            return_on_spend_thousandths: cost(value, net.into(), 1_000),
            first_messages: chats.wrote,
            qualified: chats.qualified,
            people: Some(FunnelPeople {
                tapped: numbers.tap_people,
                opened: chats.opened_people,
                wrote: chats.wrote_people,
                replied: chats.replied_people,
                qualified: chats.qualified_people,
                converted: chats.converted_people,
            }),
            matches: chats.matches.iter().map(matched).collect(),
            median_first_reply_s: chats.waits.median(),
            messages: chats.messages.iter().map(message_spend).collect(),
            message_cost_micros: message_cost,
            unpriced_messages: chats.unpriced,
            cost_per_conversation_micros: per(chats.opened_people),
            cost_per_reply_micros: per(chats.replied_people),
            cost_per_qualified_micros: per(chats.qualified_people),
            ..row
        }
    }
}

fn credited(cell: &CreditCell) -> CreditedOutcomes {
    CreditedOutcomes {
        conversations_micros: cell.conversations,
        first_replies_micros: cell.first_replies,
        qualified_micros: cell.qualified,
        conversions_micros: cell.conversions,
    }
}

fn matched((kind, conversations): (&i32, &u64)) -> MatchCount {
    MatchCount {
        kind: *kind,
        confidence: confidence_of(MatchKind::try_from(*kind).unwrap_or_default()).into(),
        conversations: *conversations,
    }
}

fn message_spend((category, sum): (&i32, &MessageSum)) -> MessageSpend {
    MessageSpend {
        category: *category,
        messages: sum.messages,
        free_messages: sum.free,
        cost_micros: sum.cost,
    }
}

impl Crowd {
    fn add(&mut self, people: &People, seen: u64, veil: Option<Veil>) {
        self.people.merge(people);
        self.seen += seen;
        self.veil = match (self.veil, veil) {
            (Some(known), Some(more)) => Some(known.join(more)),
            (known, more) => known.or(more),
        };
    }

    fn merge(&mut self, other: &Self) {
        self.add(&other.people, other.seen, other.veil);
    }

    /// Returns how many people are shown: with their noise, then rounded down.
    fn reach(&self) -> u64 {
        let noise = self.veil.map_or(0, Veil::draw);
        let reach = reach_of(&self.people).saturating_add_signed(noise);
        reach - reach % REACH_STEP
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
        let mut sums = Sums::default();
        tallies.iter().for_each(|tally| sums.add(tally, "MXN"));
        sums.finish(&Key::default())
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
    fn no_noise_takes_a_count_below_zero_and_money_takes_none() {
        let counts = Counts { impressions: 7, taps: 2, spend: 50, ..Counts::default() };
        let mut sums = Sums::default();
        sums.add_cell(&counts, "MXN", [-3, 4, -9, i64::MIN, 0]);
        sums.add_cell(&counts, "MXN", [0; NOISY_COUNTS]);
        let row = sums.finish(&Key::default());
        let shown = [row.impressions, row.viewable, row.taps, row.conversations, row.conversions];
        assert_eq!((shown, row.spend_micros), ([11, 4, 2, 0, 0], 100));
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
