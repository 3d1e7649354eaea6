//! The recount of the funnel's steps: people, matches, waits and costs of messages, by plain sums.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::funnel::Funnel;
use crate::state::tallies::Tally;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{OutcomeRevised, Showing};
use crate::types::proto::v1::{Outcome, PriceReason};

/// What is counted of the funnel beside what invoices and learning need.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Steps {
    /// Counts by name; those that are 0 are left out.
    counts: BTreeMap<String, i64>,
    /// Every single wait for a first answer, seconds, in the order of the journal.
    waits: Vec<u32>,
}

/// Returns what a fact says of how often an ad is tapped and written to: impressions, taps and conversations.
/// Neither invalid events nor imported ones say anything of that.
pub(super) fn learned(fact: &Kind) -> Option<(u64, [u64; 3])> {
    let (showing, is_left_out, more) = match fact {
        Kind::ImpressionSeen(fact) => {
            (&fact.showing, fact.invalid != 0 || fact.imported, [1, 0, 0])
        }
        Kind::Tapped(fact) => (&fact.showing, fact.invalid != 0 || fact.imported, [0, 1, 0]),
        Kind::ClickMatched(fact) => {
            let more = [0, fact.implied_tap.into(), 1];
            (&fact.showing, fact.invalid != 0 || fact.imported, more)
        }
        _ => return None,
    };
    (!is_left_out).then(|| (ad_of(showing), more))
}

/// The ad, the moment in whose hour it counts, and what.
type Step = (u64, i64, Steps);

impl Steps {
    /// Returns what one fact adds to which ads.
    pub(super) fn of(fact: &Kind) -> Vec<Step> {
        let mut found = Vec::new();
        let mut add = |ad: u64, ms: i64, name: &str, by: i64| {
            if ad != 0 && by != 0 {
                found.push((ad, ms, Self::one(name.to_owned(), by)));
            }
        };
        match fact {
            Kind::Tapped(fact) => {
                add(ad_of(&fact.showing), fact.event_ms, "tapped people", fact.new_person.into());
            }
            Kind::ClickMatched(fact) => {
                let ad = ad_of(&fact.showing);
                add(ad, fact.touch_ms, "tapped people", fact.new_tap_person.into());
                if fact.invalid == 0 {
                    add(ad, fact.event_ms, "opened people", fact.new_person.into());
                    add(ad, fact.event_ms, &format!("match {}", fact.match_kind), 1);
                }
            }
            Kind::ConversionCredited(fact) if fact.invalid == 0 => {
                let ad = ad_of(&fact.showing);
                add(ad, fact.event_ms, "converted people", fact.new_person.into());
            }
            Kind::OutcomeRevised(fact) => revised(fact, add),
            Kind::MessageRecorded(fact) => {
                let (wrote, qualified, ms) = (fact.wrote_ad, fact.qualified_ad, fact.event_ms);
                add(wrote, ms, "wrote", 1);
                add(wrote, ms, "wrote people", fact.new_wrote_person.into());
                add(qualified, ms, "qualified", 1);
                add(qualified, ms, "qualified people", fact.new_qualified_person.into());
                add(fact.first_reply_ad, ms, "replied people", fact.new_reply_person.into());
                found.extend(waited(fact.first_reply_ad, ms, fact.reply_after_s));
            }
            Kind::OutboxSettled(fact) => {
                let (reply, reply_ms) = (fact.first_reply_ad, fact.first_reply_ms);
                let ms = fact.touch.as_ref().map_or(reply_ms, |touch| touch.event_ms);
                let (wrote, qualified) = (fact.wrote_ad, fact.qualified_ad);
                add(wrote, ms, "wrote", 1);
                add(wrote, ms, "wrote people", fact.new_wrote_person.into());
                add(qualified, ms, "qualified", 1);
                add(qualified, ms, "qualified people", fact.new_qualified_person.into());
                add(reply, reply_ms, "replied people", fact.new_reply_person.into());
                found.extend(waited(reply, reply_ms, fact.reply_after_s));
            }
            Kind::MessagePriced(fact) => {
                let (ad, ms) = (fact.ad, fact.event_ms);
                let no_rate = fact.amount > 0 && fact.account_amount == 0;
                if no_rate || fact.reason == i32::from(PriceReason::Unpriced) {
                    add(ad, ms, "unpriced", 1);
                } else {
                    let category = fact.category;
                    add(ad, ms, &format!("messages {category}"), 1);
                    add(ad, ms, &format!("free {category}"), (fact.amount == 0).into());
                    add(ad, ms, &format!("cost {category}"), fact.account_amount);
                }
            }
            _ => {}
        }
        found
    }

    fn one(name: String, by: i64) -> Self {
        Self { counts: BTreeMap::from([(name, by)]), waits: Vec::new() }
    }

    /// Adds more.
    pub(super) fn add(&mut self, more: &Self) {
        for (name, by) in &more.counts {
            *self.counts.entry(name.clone()).or_default() += by;
        }
        self.waits.extend(&more.waits);
    }

    /// Names the first figure that the node counted otherwise.
    pub(super) fn difference(&self, tally: &Tally) -> Option<String> {
        let none = Funnel::default();
        let chats = tally.chats.as_deref().unwrap_or(&none);
        let mut node = BTreeMap::from([
            ("tapped people".to_owned(), tally.tap_people as i64),
            ("opened people".to_owned(), chats.opened_people as i64),
            ("wrote".to_owned(), chats.wrote as i64),
            ("wrote people".to_owned(), chats.wrote_people as i64),
            ("replied people".to_owned(), chats.replied_people as i64),
            ("qualified".to_owned(), chats.qualified as i64),
            ("qualified people".to_owned(), chats.qualified_people as i64),
            ("converted people".to_owned(), chats.converted_people as i64),
            ("unpriced".to_owned(), chats.unpriced as i64),
        ]);
        for (kind, count) in &chats.matches {
            node.insert(format!("match {kind}"), *count as i64);
        }
        for (category, sum) in &chats.messages {
            node.insert(format!("messages {category}"), sum.messages as i64);
            node.insert(format!("free {category}"), sum.free as i64);
            node.insert(format!("cost {category}"), sum.cost);
        }
        node.retain(|_, count| *count != 0);
        let mut counts = self.counts.clone();
        counts.retain(|_, count| *count != 0);
        if node != counts {
            return Some(format!("counted {counts:?}, the node has {node:?}"));
        }
        let (exact, told) = (self.median(), chats.waits.median());
        let near = match (exact, told) {
            (Some(exact), Some(told)) => told.abs_diff(exact) <= exact / 32,
            (exact, told) => exact == told,
        };
        (!near).then(|| format!("a median wait of {exact:?} s, the node has {told:?} s"))
    }

    fn median(&self) -> Option<u32> {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits.get(waits.len().checked_sub(1)? / 2).copied()
    }
}

/// Takes off what a row gave before its revision, and adds what it gives now.
fn revised(fact: &OutcomeRevised, mut add: impl FnMut(u64, i64, &str, i64)) {
    for (by, standing) in [(-1, &fact.before), (1, &fact.after)] {
        let valid = standing.as_ref().filter(|standing| standing.invalid == 0);
        let Some(standing) = valid else { continue };
        let (ad, ms) = (ad_of(&standing.showing), fact.event_ms);
        match fact.kind() {
            Outcome::Conversation => add(ad, ms, &format!("match {}", standing.match_kind), by),
            Outcome::Qualified => add(ad, ms, "qualified", by),
            Outcome::Unspecified | Outcome::FirstReply | Outcome::Conversion => {}
        }
    }
}

fn ad_of(showing: &Option<Showing>) -> u64 {
    showing.as_ref().map_or(0, |showing| showing.ad)
}

fn waited(ad: u64, ms: i64, wait: u32) -> Option<Step> {
    (ad != 0).then(|| (ad, ms, Steps { waits: vec![wait], ..Steps::default() }))
}
