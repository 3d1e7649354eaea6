//! The recount of taps that only a click token tells of: each costs what its token says, if its view was seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cli::audit::recount::Place;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ClickMatched, Showing};

/// A node knows that a view was seen for at least so long after it was handed out: 25 hours.
const SEEN_MS: i64 = 25 * 3_600_000;

/// What a match charges for the tap that it implies, and what it should, where they differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Wrong {
    told: i64,
    owed: i64,
}

/// What is known of taps that no feed has told yet.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct ImpliedTaps {
    /// What the tap costs, by the opening that its click token came with. Only where taps are what is billed.
    prices: BTreeMap<u64, i64>,
    /// Viewers of whom the node has forgotten what they saw, with the journal's time of it.
    erased: BTreeMap<u64, i64>,
    #[serde(skip)]
    pub(super) faults: Vec<String>,
    /// Faults only if the journal was read from its first fact.
    #[serde(skip)]
    pub(super) unless_trimmed: Vec<String>,
}

impl ImpliedTaps {
    /// Takes the next fact. `seen`: viewers and views that were told before it.
    pub(super) fn take(&mut self, place: &Place, fact: &Kind, seen: &BTreeMap<(u64, u64), i64>) {
        let was_seen = |showing: &Showing| seen.contains_key(&(showing.viewer, showing.view));
        let Some(Wrong { told, owed }) = self.judge(place.at_ms, fact, was_seen) else { return };
        let what = format!("{place}: a click token implies a tap of {owed}, and it costs {told}");
        // What says that it costs more may stand before the journal's start.
        if told < owed { self.faults.push(what) } else { self.unless_trimmed.push(what) }
    }

    /// Forgets who was erased before then.
    pub(super) fn forget(&mut self, before_ms: i64) {
        self.erased.retain(|_, at_ms| *at_ms >= before_ms);
    }

    fn judge(
        &mut self,
        at_ms: i64,
        fact: &Kind,
        was_seen: impl Fn(&Showing) -> bool,
    ) -> Option<Wrong> {
        match fact {
            Kind::ConversationOpened(fact) => {
                let price = fact.proof.map_or(0, |proof| proof.tap_price);
                if price > 0 && !fact.imported {
                    self.prices.insert(fact.outcome, price);
                }
            }
            Kind::OutcomeDeclined(fact) => {
                self.prices.remove(&fact.outcome);
            }
            Kind::ViewerErased(fact) => {
                self.erased.insert(fact.viewer, at_ms);
            }
            Kind::ClickMatched(fact) => return self.check(at_ms, fact, was_seen),
            _ => {}
        }
        None
    }

    fn check(
        &mut self,
        at_ms: i64,
        fact: &ClickMatched,
        was_seen: impl Fn(&Showing) -> bool,
    ) -> Option<Wrong> {
        let price = self.prices.remove(&fact.outcome).unwrap_or_default();
        let showing = fact.showing?;
        let whole = match &fact.charge {
            Some(charge) => charge.amount.saturating_add(charge.over_delivered),
            None => fact.invalid_price,
        };
        let told = if fact.tap_billed { whole } else { 0 };
        let owed = fact.implied_tap && !fact.imported && was_seen(&showing);
        let owed = if owed { price } else { 0 };
        let age_ms = at_ms - i64::from(showing.issued_s) * 1_000;
        let may_be_forgotten = age_ms >= SEEN_MS || self.erased.contains_key(&showing.viewer);
        let fits = told == owed || told == 0 && may_be_forgotten;
        (!fits).then_some(Wrong { told, owed })
    }
}

/// Returns what was charged for a conversation: what its tap cost is none of it.
pub(super) fn charged(fact: &ClickMatched) -> i64 {
    let charge = fact.charge.as_ref().filter(|_| !fact.tap_billed);
    charge.map_or(0, |charge| charge.amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::journal::v1::{Charge, ConversationOpened, Proof, ViewerErased};

    const PRICE: i64 = 70;

    /// A match of an opening whose token says that the tap costs [`PRICE`].
    struct Case {
        seen: bool,
        at_ms: i64,
        erased: bool,
        fact: ClickMatched,
    }

    fn case(amount: i64) -> Case {
        let showing = Some(Showing { view: 1, viewer: 2, ..Showing::default() });
        let charge = Some(Charge { amount, over_delivered: 30, ..Charge::default() });
        let fact = ClickMatched { outcome: 5, showing, charge, ..ClickMatched::default() };
        let fact = ClickMatched { implied_tap: true, tap_billed: true, ..fact };
        Case { seen: true, at_ms: 60_000, erased: false, fact }
    }

    fn found(case: Case) -> Option<Wrong> {
        let mut taps = ImpliedTaps::default();
        let proof = Some(Proof { tap_price: PRICE, ..Proof::default() });
        let opened = ConversationOpened { outcome: 5, proof, ..ConversationOpened::default() };
        let mut take = |fact: Kind| taps.judge(case.at_ms, &fact, |_| case.seen);
        assert_eq!(take(Kind::ConversationOpened(opened)), None);
        if case.erased {
            assert_eq!(take(Kind::ViewerErased(ViewerErased { viewer: 2 })), None);
        }
        take(Kind::ClickMatched(case.fact))
    }

    fn wrong(told: i64, owed: i64) -> Option<Wrong> {
        Some(Wrong { told, owed })
    }

    fn unpaid() -> Case {
        let mut case = case(40);
        (case.fact.charge, case.fact.tap_billed) = (None, false);
        case
    }

    #[test]
    fn a_tap_costs_what_its_token_says_with_what_nobody_pays() {
        assert_eq!(found(case(40)), None);
        assert_eq!(found(case(39)), wrong(PRICE - 1, PRICE));
        assert_eq!(found(case(41)), wrong(PRICE + 1, PRICE));
        let mut invalid = unpaid();
        (invalid.fact.tap_billed, invalid.fact.invalid_price) = (true, PRICE);
        assert_eq!(found(invalid), None);
    }

    #[test]
    fn a_tap_is_owed_where_its_view_was_seen_and_the_node_knows_it() {
        assert_eq!(found(unpaid()), wrong(0, PRICE));
        assert_eq!(found(Case { seen: false, ..unpaid() }), None);
        assert_eq!(found(Case { at_ms: SEEN_MS, ..unpaid() }), None, "it may be forgotten");
        assert!(found(Case { at_ms: SEEN_MS - 1, ..unpaid() }).is_some());
        assert_eq!(found(Case { erased: true, ..unpaid() }), None);
        assert_eq!(found(Case { seen: false, ..case(40) }), wrong(PRICE, 0));
        let mut tapped = case(40);
        tapped.fact.implied_tap = false;
        assert_eq!(found(tapped), wrong(PRICE, 0), "it was told by its feed");
        let mut as_chat = case(40);
        as_chat.fact.tap_billed = false;
        assert_eq!(found(as_chat), wrong(0, PRICE), "charged for something else");
    }
}
