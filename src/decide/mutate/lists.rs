//! Writes to the operator's lists and rules.

use prost::Message;

use crate::decide::noted::{Changed, noted, of_list};
use crate::decide::tariff::MARKET_CHARS_MAX;
use crate::state::catalog::Catalog;
use crate::state::tariffs::{TIERS_MAX, market_key};
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    RateCardsPut, RequestAnswered, TaxonomyPut, TrafficRulesPut, VolumeTierPut,
};
use crate::types::proto::v1::{RateCard, TrafficRules};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{ListChange, ListMutation};

/// Most entries of one list.
pub const LIST_ENTRIES_MAX: usize = 1_000_000;

/// Largest slice of a list in one decision, bytes: a block of the journal holds several.
const SLICE_BYTES_MAX: usize = 256 << 10;

/// What a write to a list becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenLists {
    /// What to journal, decision by decision; empty when the answer is remembered.
    pub decisions: Vec<Vec<Kind>>,
    /// Entries or rules that there are now.
    pub answer: u32,
}

/// Judges one write to a list. A long one becomes several decisions, the last with the answer: what a
/// crash leaves undone is done by the same request again.
///
/// # Errors
/// With the field at fault; nothing is changed then.
pub fn mutate_lists(catalog: &Catalog, mutation: &ListMutation) -> Result<WrittenLists, Refusal> {
    if let Some(known) = catalog.answered(mutation.tenant, &mutation.request_id) {
        return super::same_body(known, &mutation.body_hash)
            .and_then(|answer| u32::decode(answer).map_err(|_| super::other_method()))
            .map(|answer| WrittenLists { decisions: Vec::new(), answer });
    }
    let (mut decisions, answer) = match &mutation.change {
        ListChange::Taxonomy(put) => {
            let entries = catalog.lists.count_after(put);
            if entries > LIST_ENTRIES_MAX {
                let message = format!("a list holds at most {LIST_ENTRIES_MAX} entries");
                return Err(Refusal::new(Reason::TooLarge, "put", message));
            }
            (slices(put), entries as u32)
        }
        ListChange::PolicyRules(put) => {
            (vec![vec![Kind::PolicyRulesPut(Box::new(put.clone()))]], put.rules.len() as u32)
        }
        ListChange::TrafficRules(rules) => {
            (traffic_slices(rules), (rules.user_agents.len() + rules.networks.len()) as u32)
        }
        ListChange::ExchangeRates(put) => {
            (vec![vec![Kind::ExchangeRatesPut(Box::new(put.clone()))]], put.rates.len() as u32)
        }
        ListChange::RateCards(cards) => (card_slices(cards), cards.len() as u32),
        ListChange::VolumeTier(put) => {
            judge_step(catalog, put)?;
            // Told again, or late: nothing to journal, not even an answer.
            if catalog.tariffs.knows_tier(put) {
                return Ok(WrittenLists { decisions: Vec::new(), answer: 0 });
            }
            (vec![vec![Kind::VolumeTierPut(Box::new(put.clone()))]], 1)
        }
    };
    let answered = Kind::RequestAnswered(RequestAnswered {
        tenant: mutation.tenant,
        request_id: mutation.request_id.clone(),
        body_hash: mutation.body_hash.to_vec(),
        answer: answer.encode_to_vec(),
    });
    // A crash between two slices leaves no answer: the change is told with the first, before any of it holds.
    let changed = of_list(catalog, &mutation.change);
    let request_id = mutation.request_id.clone();
    let noted = noted(&mutation.by, Changed { request_id, ..changed });
    if decisions.is_empty() {
        decisions.push(Vec::new());
    }
    if let Some(first) = decisions.first_mut() {
        first.extend(noted);
    }
    if let Some(last) = decisions.last_mut() {
        last.push(answered);
    }
    Ok(WrittenLists { decisions, answer })
}

/// Refuses a volume step of nobody, or one too many.
fn judge_step(catalog: &Catalog, put: &VolumeTierPut) -> Result<(), Refusal> {
    if market_key(&put.market).is_empty() || put.market.chars().count() > MARKET_CHARS_MAX {
        let message = format!("must have 1 to {MARKET_CHARS_MAX} characters, as cards name it");
        return Err(Refusal::new(Reason::FieldInvalid, "market", message));
    }
    if catalog.account_of(IdKind::Business, put.business).is_none() {
        return Err(Refusal::new(Reason::NotFound, "business_id", "no such business"));
    }
    if catalog.tariffs.is_full_for(put) {
        let message = format!(
            "the business has steps of {TIERS_MAX} categories and markets, as many as one may \
             have: name a market as cards do"
        );
        return Err(Refusal::new(Reason::TooLarge, "market", message));
    }
    Ok(())
}

/// Cuts long rules. A crash between two slices leaves fewer rules in force, until the same request is sent
/// again.
fn traffic_slices(rules: &TrafficRules) -> Vec<Vec<Kind>> {
    let empty = || TrafficRules {
        network_taps_per_hour: rules.network_taps_per_hour,
        taps_per_100_views: rules.taps_per_100_views,
        ..TrafficRules::default()
    };
    let (mut slices, mut slice, mut bytes) = (Vec::new(), empty(), 0);
    let agents = rules.user_agents.iter().map(|text| (text, true));
    for (text, agent) in agents.chain(rules.networks.iter().map(|text| (text, false))) {
        // A byte of key and one or two of length stand before each.
        bytes += text.len() + 3;
        if bytes > SLICE_BYTES_MAX {
            slices.push(std::mem::replace(&mut slice, empty()));
            bytes = text.len() + 3;
        }
        if agent { &mut slice.user_agents } else { &mut slice.networks }.push(text.clone());
    }
    slices.push(slice);
    let fact = |(at, rules)| TrafficRulesPut { rules: Some(rules), added: at > 0 };
    let facts = slices.into_iter().enumerate().map(fact);
    facts.map(|fact| vec![Kind::TrafficRulesPut(Box::new(fact))]).collect()
}

/// Cuts many rate cards. A crash between two slices leaves fewer in force, until the same request is sent again.
fn card_slices(cards: &[RateCard]) -> Vec<Vec<Kind>> {
    let (mut slices, mut slice, mut bytes) = (Vec::new(), Vec::new(), 0);
    for card in cards {
        // A byte of key and one to three of length stand before each.
        bytes += card.encoded_len() + 4;
        if bytes > SLICE_BYTES_MAX {
            slices.push(std::mem::take(&mut slice));
            bytes = card.encoded_len() + 4;
        }
        slice.push(card.clone());
    }
    slices.push(slice);
    let fact = |(at, cards)| RateCardsPut { cards, added: at > 0 };
    let facts = slices.into_iter().enumerate().map(fact);
    facts.map(|fact| vec![Kind::RateCardsPut(Box::new(fact))]).collect()
}

/// Cuts a long list. What is removed comes first: an entry that is also put stays.
fn slices(put: &TaxonomyPut) -> Vec<Vec<Kind>> {
    let empty = || TaxonomyPut { taxonomy: put.taxonomy, ..TaxonomyPut::default() };
    let (mut slices, mut slice, mut bytes) = (Vec::new(), empty(), 0);
    let removed = put.removed.iter().map(|entry| (entry, true));
    for (entry, removed) in removed.chain(put.put.iter().map(|entry| (entry, false))) {
        // Two bytes of key and one to three of length stand before each.
        bytes += entry.encoded_len() + 5;
        if bytes > SLICE_BYTES_MAX {
            slices.push(vec![Kind::TaxonomyPut(Box::new(std::mem::replace(&mut slice, empty())))]);
            bytes = entry.encoded_len() + 5;
        }
        if removed { &mut slice.removed } else { &mut slice.put }.push(entry.clone());
    }
    if !slice.put.is_empty() || !slice.removed.is_empty() {
        slices.push(vec![Kind::TaxonomyPut(Box::new(slice))]);
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::types::ids::{Seq, Shard, mint};
    use crate::types::proto::journal::v1::{AccountPut, BusinessPut};
    use crate::types::proto::v1::{Account, Business};
    use crate::types::request::Author;
    use crate::types::time::Moment;

    #[test]
    fn a_step_of_one_market_too_many_is_refused_and_a_known_one_still_rises() {
        let account_id = mint(IdKind::Account, 1);
        let account = Account { id: account_id, ..Account::default() };
        let id = mint(IdKind::Business, 1);
        let row = Business { id, account_id, ..Business::default() };
        let step = |number: usize, from| {
            let market = format!("market {number}");
            VolumeTierPut { business: id, market, month: 681, from, ..Default::default() }
        };
        let account = AccountPut { tenant: 1, account: Some(account) };
        let mut facts = vec![
            Kind::AccountPut(Box::new(account)),
            Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) })),
        ];
        facts.extend((0..TIERS_MAX).map(|it| Kind::VolumeTierPut(Box::new(step(it, 1)))));
        let mut catalog = Catalog::default();
        for (seq, fact) in (1..).zip(&facts) {
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) };
            catalog.apply(stamp, fact);
        }
        let written = |put: VolumeTierPut| {
            let mutation = ListMutation {
                tenant: 0,
                request_id: "step".into(),
                body_hash: [0; 16],
                by: Author::default(),
                change: ListChange::VolumeTier(put),
            };
            mutate_lists(&catalog, &mutation)
        };
        let refusal = written(step(TIERS_MAX, 1)).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::TooLarge, "market"));
        assert_eq!(written(step(7, 2)).map(|it| it.decisions.len()), Ok(1));
    }
}
