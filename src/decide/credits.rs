//! Charges found invalid afterwards: which events of the journal they are, and how each is given back.
//!
//! The journal is read from the filter's start to its end, and past it: a charge that was given back has
//! its credit behind it, in the same shard.

use std::collections::BTreeMap;

use crate::state::Map;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, EventCredited, Showing};
use crate::types::proto::v1::BillingEvent;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::EventFilter;
use crate::types::time::Moment;

/// Charged events that one request may find; they are kept in memory, about 200 bytes each.
pub const EVENTS_FOUND_MAX: usize = 500_000;

/// A charged event, and whether its charge was given back before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    showing: Showing,
    billing: BillingEvent,
    amount: i64,
    promo: i64,
    prepaid: i64,
    credited: bool,
}

impl Found {
    /// Returns the account that was charged.
    pub const fn account(&self) -> u64 {
        self.showing.account
    }

    /// Returns whose event it was.
    pub const fn viewer(&self) -> u64 {
        self.showing.viewer
    }

    /// Returns the credit: all of the charge, to where it was paid from.
    pub fn credit(&self, day: i32, batch: u64, reason: &str) -> EventCredited {
        let Self { showing, billing, amount, promo, prepaid, .. } = *self;
        EventCredited {
            transfer: credit_id(&showing, billing).to_vec(),
            showing: Some(showing),
            billing: billing as u32,
            amount,
            promo,
            prepaid,
            day,
            batch,
            reason: reason.to_owned(),
        }
    }
}

/// Returns the id of the credit of an event: there can be one.
pub fn credit_id(showing: &Showing, billing: BillingEvent) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"credit").update(&showing.account.to_be_bytes());
    hasher.update(&showing.view.to_be_bytes()).update(&[billing as u8]);
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// To be given back, in the journal's order.
    pub events: Vec<Found>,
    /// Match as well, and were given back before.
    pub credited_before: u64,
}

impl Findings {
    /// Returns what is given back, by account.
    pub fn by_account(&self) -> BTreeMap<u64, i64> {
        let mut sums = BTreeMap::new();
        for found in &self.events {
            *sums.entry(found.showing.account).or_default() += found.amount;
        }
        sums
    }
}

/// Reads the journal's facts in order and keeps the charged events that match.
#[derive(Debug)]
pub struct Finder<'a> {
    filter: &'a EventFilter,
    found: Vec<Found>,
    by_id: Map<[u8; 16], u32>,
    /// Charged taps by viewer.
    taps: Map<u64, u32>,
    full: bool,
}

impl<'a> Finder<'a> {
    /// Returns a finder that has read nothing.
    pub fn new(filter: &'a EventFilter) -> Self {
        Self { filter, found: Vec::new(), by_id: Map::default(), taps: Map::default(), full: false }
    }

    /// Takes the next fact.
    pub fn take(&mut self, at: Moment, fact: &Kind) {
        match fact {
            Kind::ImpressionSeen(fact) => {
                self.charged(at, fact.showing, fact.charge, BillingEvent::Impressions);
            }
            Kind::Tapped(fact) => {
                self.charged(at, fact.showing, fact.charge, BillingEvent::LinkClicks);
            }
            Kind::ClickMatched(fact) => {
                let of_tap = fact.tap_billed;
                let billing =
                    if of_tap { BillingEvent::LinkClicks } else { BillingEvent::Conversations };
                self.charged(at, fact.showing, fact.charge, billing);
            }
            Kind::EventCredited(fact) => {
                let id = <[u8; 16]>::try_from(fact.transfer.as_slice()).unwrap_or_default();
                if let Some(index) = self.by_id.get(&id) {
                    self.found[*index as usize].credited = true;
                }
            }
            _ => {}
        }
    }

    fn charged(
        &mut self,
        at: Moment,
        showing: Option<Showing>,
        charge: Option<Charge>,
        billing: BillingEvent,
    ) {
        let (Some(showing), Some(charge)) = (showing, charge) else { return };
        if charge.amount <= 0 || !self.matches(at, &showing) || self.full {
            return;
        }
        if billing == BillingEvent::LinkClicks && self.filter.taps_per_viewer_min > 0 {
            *self.taps.entry(showing.viewer).or_default() += 1;
            self.full |= self.taps.len() > EVENTS_FOUND_MAX;
        }
        if !self.filter.billed.is_empty() && !self.filter.billed.contains(&billing) {
            return;
        }
        if self.found.len() == EVENTS_FOUND_MAX {
            self.full = true;
            return;
        }
        self.by_id.insert(credit_id(&showing, billing), self.found.len() as u32);
        let Charge { amount, promo, prepaid, .. } = charge;
        self.found.push(Found { showing, billing, amount, promo, prepaid, credited: false });
    }

    fn matches(&self, at: Moment, showing: &Showing) -> bool {
        let filter = self.filter;
        let named = [
            (filter.account, showing.account),
            (filter.campaign, showing.campaign),
            (filter.ad_set, showing.ad_set),
            (filter.ad, showing.ad),
            (filter.feed.into(), showing.feed.into()),
        ];
        filter.start <= at
            && at < filter.end
            && named.iter().all(|(wanted, is)| *wanted == 0 || wanted == is)
    }

    /// Returns what was found.
    ///
    /// # Errors
    /// `TooLarge` when more matches than can be kept.
    pub fn finish(self) -> Result<Findings, Refusal> {
        if self.full {
            let message = format!(
                "matches more than {EVENTS_FOUND_MAX} charged events: send shorter spans, one \
                 after the other"
            );
            return Err(Refusal::new(Reason::TooLarge, "filter", message));
        }
        let (least, taps) = (self.filter.taps_per_viewer_min, self.taps);
        let often =
            |found: &Found| taps.get(&found.showing.viewer).copied().unwrap_or_default() >= least;
        let mut findings = Findings::default();
        for found in self.found.into_iter().filter(often) {
            if found.credited {
                findings.credited_before += 1;
            } else {
                findings.events.push(found);
            }
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::journal::v1::{ClickMatched, ImpressionSeen, Tapped};

    fn showing(view: u64, viewer: u64) -> Option<Showing> {
        Some(Showing { view, viewer, account: 1, campaign: 2, feed: 3, ..Showing::default() })
    }

    fn seen(view: u64, amount: i64) -> Kind {
        let charge = Some(Charge { amount, ..Charge::default() });
        Kind::ImpressionSeen(ImpressionSeen {
            showing: showing(view, 9),
            charge,
            ..ImpressionSeen::default()
        })
    }

    fn tapped(view: u64, viewer: u64) -> Kind {
        let charge = Some(Charge { amount: 7, promo: 2, ..Charge::default() });
        Kind::Tapped(Tapped { showing: showing(view, viewer), charge, ..Tapped::default() })
    }

    fn matched(view: u64, viewer: u64, tap_billed: bool) -> Kind {
        let charge = Some(Charge { amount: 7, ..Charge::default() });
        let showing = showing(view, viewer);
        Kind::ClickMatched(ClickMatched { showing, charge, tap_billed, ..ClickMatched::default() })
    }

    fn filter() -> EventFilter {
        EventFilter { feed: 3, start: Moment(10), end: Moment(20), ..EventFilter::default() }
    }

    fn find(filter: &EventFilter, facts: &[(i64, Kind)]) -> Findings {
        let mut finder = Finder::new(filter);
        facts.iter().for_each(|(at, fact)| finder.take(Moment(*at), fact));
        finder.finish().expect("few")
    }

    #[test]
    fn only_charged_events_of_the_span_are_found() {
        let facts = [(9, seen(1, 5)), (10, seen(2, 5)), (19, seen(3, 0)), (20, seen(4, 5))];
        let found = find(&filter(), &facts);
        assert_eq!((found.events.len(), found.by_account()[&1]), (1, 5));
        for other in [
            EventFilter { account: 2, ..filter() },
            EventFilter { campaign: 1, ..filter() },
            EventFilter { feed: 4, ..filter() },
            EventFilter { billed: vec![BillingEvent::LinkClicks], ..filter() },
        ] {
            assert_eq!(find(&other, &facts), Findings::default());
        }
    }

    #[test]
    fn an_event_is_given_back_once_and_whole() {
        let first = find(&filter(), &[(10, tapped(1, 9))]);
        let credit = first.events[0].credit(5, 6, "bots");
        assert_eq!((credit.amount, credit.promo, credit.prepaid), (7, 2, 0));
        let later = [(10, tapped(1, 9)), (30, Kind::EventCredited(Box::new(credit)))];
        let again = find(&filter(), &later);
        assert_eq!((again.events.len(), again.credited_before), (0, 1));
    }

    #[test]
    fn a_tap_that_its_chat_tells_of_is_given_back_as_a_tap() {
        let facts = [(10, matched(1, 9, true)), (11, matched(2, 9, false))];
        let billed = |billing| EventFilter { billed: vec![billing], ..filter() };
        let taps = find(&billed(BillingEvent::LinkClicks), &facts);
        let chats = find(&billed(BillingEvent::Conversations), &facts);
        let ids = [&taps, &chats].map(|found| found.events[0].credit(5, 6, "bots").transfer);
        assert_eq!((taps.events.len(), chats.events.len()), (1, 1));
        let by = |view, billing| credit_id(&showing(view, 9).unwrap(), billing).to_vec();
        assert_eq!(ids, [by(1, BillingEvent::LinkClicks), by(2, BillingEvent::Conversations)]);
        let often = EventFilter { taps_per_viewer_min: 2, ..filter() };
        assert_eq!(find(&often, &facts), Findings::default(), "one of both is a tap");
        let facts = [(10, matched(1, 9, true)), (11, tapped(2, 9))];
        assert_eq!(find(&often, &facts).events.len(), 2);
    }

    #[test]
    fn a_viewer_is_found_by_its_charged_taps() {
        let facts = [(10, tapped(1, 8)), (11, tapped(2, 9)), (12, tapped(3, 9)), (13, seen(4, 5))];
        let often = EventFilter { taps_per_viewer_min: 2, ..filter() };
        let found = find(&often, &facts);
        assert!(found.events.iter().all(|found| found.viewer() == 9) && found.events.len() == 3);
    }
}
