//! What one hour of an ad comes to: counts and money.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::credits::{Change, Credits};
use crate::state::funnel::Funnel;
use crate::types::proto::journal::v1::{Charge, ConversionCredited, Standing};
use crate::types::proto::v1::{EventKind, Money, Outcome};

/// What happened in one hour, or in all.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Ads handed out, by serving's own minute counts.
    pub served: u64,
    /// First frames drawn.
    pub impressions: u64,
    /// Viewable ones.
    pub viewable: u64,
    /// Taps.
    pub taps: u64,
    /// Viewers who tapped for the first time in the campaign, as far as is remembered of them.
    pub tap_people: u64,
    /// Openings matched to the ad.
    pub conversations: u64,
    /// First answers to those.
    pub first_replies: u64,
    /// Conversions credited.
    pub conversions: u64,
    /// Their value by currency, micros.
    pub values: BTreeMap<String, i64>,
    /// Charged, micros.
    pub spend: i64,
    /// Delivered beyond budgets and not charged, micros.
    pub over_delivered: i64,
    /// Hidden ad or business.
    pub hides: u64,
    /// Reported.
    pub reports: u64,
    /// Impressions that were kept but not charged: in none of the counts above.
    pub invalid_impressions: u64,
    /// Such taps.
    pub invalid_taps: u64,
    /// Such conversations.
    pub invalid_conversations: u64,
    /// Charged and given back afterwards, micros.
    pub credited: i64,
    /// What came of it in chats; `None`: nothing.
    pub chats: Option<Box<Funnel>>,
    /// What attribution models give it; `None`: nothing.
    pub credits: Option<Box<Credits>>,
}

impl Tally {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.merge_counts(other);
        if let Some(credits) = &other.credits {
            self.credits.get_or_insert_default().merge(credits);
        }
    }

    /// Adds what another one counted, without what models give.
    pub(in crate::state) fn merge_counts(&mut self, other: &Self) {
        self.served += other.served;
        self.impressions += other.impressions;
        self.viewable += other.viewable;
        self.taps += other.taps;
        self.tap_people += other.tap_people;
        self.conversations += other.conversations;
        self.first_replies += other.first_replies;
        self.conversions += other.conversions;
        self.spend = self.spend.saturating_add(other.spend);
        self.over_delivered = self.over_delivered.saturating_add(other.over_delivered);
        self.hides += other.hides;
        self.reports += other.reports;
        self.invalid_impressions += other.invalid_impressions;
        self.invalid_taps += other.invalid_taps;
        self.invalid_conversations += other.invalid_conversations;
        self.credited += other.credited;
        add_values(&mut self.values, &other.values);
        if let Some(chats) = &other.chats {
            self.funnel().merge(chats);
        }
    }

    pub(in crate::state) fn charge(&mut self, charge: Option<&Charge>) {
        if let Some(charge) = charge {
            self.spend = self.spend.saturating_add(charge.amount);
            self.over_delivered = self.over_delivered.saturating_add(charge.over_delivered);
        }
    }

    pub(in crate::state) fn convert(&mut self, fact: &ConversionCredited) {
        self.conversions += 1;
        if let Some(Money { micros, currency }) = &fact.value {
            add_value(&mut self.values, currency, *micros);
        }
        if fact.new_person {
            self.funnel().converted_people += 1;
        }
    }

    pub(in crate::state) fn funnel(&mut self) -> &mut Funnel {
        self.chats.get_or_insert_default()
    }

    /// Counts the first answer to a conversation.
    pub(in crate::state) fn answer(&mut self, new_person: bool, after_s: u32) {
        self.first_replies += 1;
        let funnel = self.funnel();
        funnel.replied_people += u64::from(new_person);
        funnel.waits.add(after_s);
    }

    /// Counts the first message of the person in a conversation.
    pub(in crate::state) fn write(&mut self, new_person: bool) {
        let funnel = self.funnel();
        funnel.wrote += 1;
        funnel.wrote_people += u64::from(new_person);
    }

    pub(in crate::state) fn qualify(&mut self, new_person: bool) {
        let funnel = self.funnel();
        funnel.qualified += 1;
        funnel.qualified_people += u64::from(new_person);
    }

    /// Returns the count that an impression belongs to: an `InvalidReason` other than 0 keeps it apart.
    pub(in crate::state) const fn seen(&mut self, invalid: i32) -> &mut u64 {
        if invalid == 0 { &mut self.impressions } else { &mut self.invalid_impressions }
    }

    pub(in crate::state) const fn tapped(&mut self, invalid: i32) -> &mut u64 {
        if invalid == 0 { &mut self.taps } else { &mut self.invalid_taps }
    }

    pub(in crate::state) const fn opened(&mut self, invalid: i32) -> &mut u64 {
        if invalid == 0 { &mut self.conversations } else { &mut self.invalid_conversations }
    }

    /// Counts a revised outcome as it stands after, or takes it off as it stood before. What is told of people and
    /// of waiting stays as it was first told.
    pub(in crate::state) fn revise(&mut self, change: Change, kind: Outcome, standing: &Standing) {
        match kind {
            Outcome::Unspecified => {}
            Outcome::Conversation => {
                change.count(self.opened(standing.invalid), 1);
                if standing.invalid == 0 {
                    let matches = self.funnel().matches.entry(standing.match_kind).or_default();
                    change.count(matches, 1);
                }
            }
            _ if standing.invalid != 0 => {}
            Outcome::FirstReply => change.count(&mut self.first_replies, 1),
            Outcome::Qualified => change.count(&mut self.funnel().qualified, 1),
            Outcome::Conversion => {
                change.count(&mut self.conversions, 1);
                if let Some(Money { micros, currency }) = &standing.value {
                    change.sum(self.values.entry(currency.clone()).or_default(), *micros);
                }
            }
        }
    }

    pub(in crate::state) fn hear(&mut self, event_kind: u32) {
        match EventKind::try_from(event_kind as i32) {
            Ok(EventKind::HideAd | EventKind::HideBusiness) => self.hides += 1,
            Ok(EventKind::Report) => self.reports += 1,
            _ => {}
        }
    }
}

/// Adds to a sum of what conversions are worth, micros. Whoever tells of conversions says what they are worth, so
/// no sum of them may end what adds them: it stays at the largest there is.
pub(in crate::state) fn add_value(values: &mut BTreeMap<String, i64>, currency: &str, micros: i64) {
    match values.get_mut(currency) {
        Some(sum) => *sum = sum.saturating_add(micros),
        None => drop(values.insert(currency.to_owned(), micros)),
    }
}

/// Adds sums of what conversions are worth.
pub(in crate::state) fn add_values(
    values: &mut BTreeMap<String, i64>,
    others: &BTreeMap<String, i64>,
) {
    others.iter().for_each(|(currency, micros)| add_value(values, currency, *micros));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_of_what_conversions_are_worth_ends_what_adds_them() {
        let value = Some(Money { micros: i64::MAX / 2, currency: "MXN".into() });
        let fact = ConversionCredited { value, ..ConversionCredited::default() };
        let mut tally = Tally::default();
        (0..3).for_each(|_| tally.convert(&fact));
        let mut all = Tally::default();
        all.merge_counts(&tally);
        all.merge_counts(&tally);
        for (sums, conversions) in [(tally, 3), (all, 6)] {
            assert_eq!((sums.conversions, sums.values["MXN"]), (conversions, i64::MAX));
        }
    }

    #[test]
    fn no_sum_of_what_was_delivered_for_nothing_ends_what_adds_it() {
        let charge = Charge { over_delivered: i64::MAX / 2, ..Charge::default() };
        let mut tally = Tally::default();
        (0..3).for_each(|_| tally.charge(Some(&charge)));
        assert_eq!((tally.spend, tally.over_delivered), (0, i64::MAX));
    }
}
