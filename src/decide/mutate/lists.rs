//! Writes to the operator's lists and rules.

use prost::Message;

use crate::state::catalog::Catalog;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{RequestAnswered, TaxonomyPut};
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
        ListChange::ExchangeRates(put) => {
            (vec![vec![Kind::ExchangeRatesPut(Box::new(put.clone()))]], put.rates.len() as u32)
        }
    };
    let answered = Kind::RequestAnswered(RequestAnswered {
        tenant: mutation.tenant,
        request_id: mutation.request_id.clone(),
        body_hash: mutation.body_hash.to_vec(),
        answer: answer.encode_to_vec(),
    });
    match decisions.last_mut() {
        Some(last) => last.push(answered),
        None => decisions.push(vec![answered]),
    }
    Ok(WrittenLists { decisions, answer })
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
