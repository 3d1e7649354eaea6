//! What came of an ad's taps in chats, in one hour: steps of the funnel in events and in people, how sure the
//! matches were, how long people waited for an answer, what messages cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::{ClickMatched, MessagePriced};
use crate::types::proto::v1::PriceReason;

/// The chat half of an hour's tally. Absent where there was no chat.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Funnel {
    /// People of the openings: those whose first conversation in the campaign it is.
    pub opened_people: u64,
    /// Conversations with their first message of the person.
    pub wrote: u64,
    /// Of those, people who never wrote in the campaign before.
    pub wrote_people: u64,
    /// People who got their first answer in the campaign.
    pub replied_people: u64,
    /// Conversations that became qualified.
    pub qualified: u64,
    /// People of those for the first time in the campaign.
    pub qualified_people: u64,
    /// Viewers with their first conversion in the campaign.
    pub converted_people: u64,
    /// Openings by the number of their `MatchKind`.
    pub matches: BTreeMap<i32, u64>,
    /// How long people waited for their first answers.
    pub waits: Waits,
    /// Priced messages by the number of their `MessageCategory`.
    pub messages: BTreeMap<i32, MessageSum>,
    /// Messages whose price is not known: no rate card, or no exchange rate, covers them.
    pub unpriced: u64,
}

/// What messages of one category came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MessageSum {
    /// How many were priced, the free ones too.
    pub messages: u64,
    /// Those of them that cost nothing.
    pub free: u64,
    /// What they cost in the account's currency, micros.
    pub cost: i64,
}

impl Funnel {
    /// Counts a valid opening.
    pub(in crate::state) fn open(&mut self, fact: &ClickMatched) {
        self.opened_people += u64::from(fact.new_person);
        *self.matches.entry(fact.match_kind).or_default() += 1;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.opened_people += other.opened_people;
        self.wrote += other.wrote;
        self.wrote_people += other.wrote_people;
        self.replied_people += other.replied_people;
        self.qualified += other.qualified;
        self.qualified_people += other.qualified_people;
        self.converted_people += other.converted_people;
        self.unpriced += other.unpriced;
        self.waits.merge(&other.waits);
        for (kind, count) in &other.matches {
            *self.matches.entry(*kind).or_default() += count;
        }
        for (category, more) in &other.messages {
            let sum = self.messages.entry(*category).or_default();
            sum.messages += more.messages;
            sum.free += more.free;
            sum.cost = sum.cost.saturating_add(more.cost);
        }
    }

    /// Counts the price of a message.
    pub(in crate::state) fn price(&mut self, fact: &MessagePriced) {
        if is_unpriced(fact) {
            self.unpriced += 1;
            return;
        }
        let sum = self.messages.entry(fact.category).or_default();
        sum.messages += 1;
        sum.free += u64::from(fact.amount == 0);
        sum.cost = sum.cost.saturating_add(fact.account_amount);
    }
}

/// Tells whether it is not known what a message costs in the account's currency.
pub fn is_unpriced(fact: &MessagePriced) -> bool {
    fact.reason() == PriceReason::Unpriced || (fact.amount > 0 && fact.account_amount == 0)
}

/// Bits of a wait that its bin keeps behind the first one: 16 bins for each doubling.
const BIN_BITS: u32 = 4;

/// Waits of whole seconds in bins: below 32 s each second has its own, above them a bin is a sixteenth of
/// the power of two below it wide. A bin's middle is then never further from a wait than one part in 32.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Waits(BTreeMap<u16, u64>);

impl Waits {
    /// Counts a wait, seconds.
    pub fn add(&mut self, seconds: u32) {
        *self.0.entry(bin_of(seconds)).or_default() += 1;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (bin, count) in &other.0 {
            *self.0.entry(*bin).or_default() += count;
        }
    }

    /// Returns the middle of the bin in which the median is, seconds: within one part in 32 of it. Of an even
    /// number of waits the shorter of the middle two counts. `None`: there is no wait.
    pub fn median(&self) -> Option<u32> {
        let count: u64 = self.0.values().sum();
        let mut left = count.div_ceil(2);
        for (bin, count) in &self.0 {
            match left.checked_sub(*count) {
                Some(rest) if rest > 0 => left = rest,
                _ => return Some(middle_of(*bin)),
            }
        }
        None
    }
}

/// Returns the bin of a wait: its highest bits and where they stand.
fn bin_of(seconds: u32) -> u16 {
    let shift = (u32::BITS - seconds.leading_zeros()).saturating_sub(BIN_BITS + 1);
    ((shift << BIN_BITS) + (seconds >> shift)) as u16
}

/// Returns the middle of a bin, rounded down.
fn middle_of(bin: u16) -> u32 {
    let bin = u32::from(bin);
    let shift = (bin >> BIN_BITS).saturating_sub(1);
    let first = (bin - (shift << BIN_BITS)) << shift;
    first + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_bin_is_within_one_part_in_32_of_each_wait() {
        let edges = (0..u32::BITS).flat_map(|bit| {
            let power = 1_u32 << bit;
            (0..64).flat_map(move |part| {
                let wait = power.saturating_add((u64::from(power) * part / 64) as u32);
                [wait.saturating_sub(1), wait, wait.saturating_add(1)]
            })
        });
        for wait in (0..100_000).chain(edges).chain([u32::MAX]) {
            let off = i64::from(middle_of(bin_of(wait))) - i64::from(wait);
            assert!(off.abs() * 32 <= i64::from(wait), "{wait} is off by {off}");
            assert!(wait == 0 || bin_of(wait) >= bin_of(wait - 1), "{wait}");
        }
    }

    #[test]
    fn a_median_is_that_of_the_sorted_waits_to_one_part_in_32() {
        let mut number = 7_u64;
        for case in 0..2_000 {
            let mut waits = Vec::new();
            let (mut one, mut other) = (Waits::default(), Waits::default());
            for index in 0..=case % 40 {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let wait = (number >> 40) as u32 >> (number >> 59);
                waits.push(wait);
                if index % 3 == 0 { one.add(wait) } else { other.add(wait) }
            }
            one.merge(&other);
            waits.sort_unstable();
            let exact = waits[(waits.len() - 1) / 2];
            let found = one.median().unwrap();
            assert!(found.abs_diff(exact) <= exact / 32, "{case}: {found} for {exact}");
        }
        assert_eq!(Waits::default().median(), None);
    }

    #[test]
    fn a_message_of_an_unknown_price_is_in_no_category() {
        let mut funnel = Funnel::default();
        let priced = |amount, account_amount, reason: PriceReason| MessagePriced {
            category: 2,
            amount,
            account_amount,
            reason: reason.into(),
            ..MessagePriced::default()
        };
        funnel.price(&priced(5, 90, PriceReason::Regular));
        funnel.price(&priced(0, 0, PriceReason::FreeEntryPoint));
        funnel.price(&priced(5, 0, PriceReason::Regular));
        funnel.price(&priced(0, 0, PriceReason::Unpriced));
        let sum = MessageSum { messages: 2, free: 1, cost: 90 };
        assert_eq!((funnel.messages[&2], funnel.unpriced), (sum, 2));
    }
}
