//! What the log of changes is told of a write: who, what, before and after.

use prost::Message;

use crate::state::catalog::Catalog;
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::ChangeNoted;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1;
use crate::types::request::{Author, ListChange, Resource};

/// The largest form of a thing that the log of changes keeps, bytes; of a larger one it keeps the size.
pub const CHANGE_SIDE_BYTES_MAX: usize = 32 << 10;

/// What was changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changed {
    /// The caller's id of the write; empty: it had none.
    pub request_id: String,
    /// Names the thing.
    pub subject: String,
    /// The tenant that it belongs to.
    pub owner: u32,
    /// The full name of the message that both forms encode.
    pub kind: &'static str,
    /// How it was; empty: it was not there.
    pub before: Vec<u8>,
    /// How it is; empty: it is no more.
    pub after: Vec<u8>,
}

/// Returns what to journal beside a change; `None`: nobody made it.
pub fn noted(by: &Author, changed: Changed) -> Option<Kind> {
    if by.method.is_empty() {
        return None;
    }
    let Changed { request_id, subject, owner, kind, before, after } = changed;
    let sizes = [&before, &after].map(|side| side.len() as u64);
    let kept = |side: Vec<u8>| if side.len() > CHANGE_SIDE_BYTES_MAX { Vec::new() } else { side };
    Some(Kind::ChangeNoted(Box::new(ChangeNoted {
        credential: by.credential.into(),
        caller: by.name.clone(),
        role: by.role.into(),
        tenant: by.tenant,
        method: by.method.to_owned(),
        request_id,
        subject,
        owner,
        r#type: kind.to_owned(),
        before: kept(before),
        after: kept(after),
        before_bytes: sizes[0],
        after_bytes: sizes[1],
    })))
}

/// Returns what a write to the catalog changes of it. `creator` owns an account that is new.
pub(super) fn of_resource(catalog: &Catalog, written: &Resource, creator: u32) -> Changed {
    let (kind, account) = match written {
        Resource::Account(row) => ("munadi.v1.Account", Some(row.id)),
        Resource::Business(row) => ("munadi.v1.Business", Some(row.account_id)),
        Resource::Endpoint(row) => {
            let account = catalog.account_of(IdKind::Business, row.business_id);
            ("munadi.v1.ChannelEndpoint", account)
        }
        Resource::Campaign(row) => ("munadi.v1.Campaign", Some(row.account_id)),
        Resource::AdSet(row) => {
            ("munadi.v1.AdSet", catalog.account_of(IdKind::Campaign, row.campaign_id))
        }
        Resource::Ad(row) => ("munadi.v1.Ad", catalog.account_of(IdKind::AdSet, row.ad_set_id)),
        Resource::Source(row) => {
            let account = catalog.account_of(IdKind::Endpoint, row.endpoint_id);
            ("munadi.v1.EntrySource", account)
        }
        Resource::Experiment(row) => ("munadi.v1.Experiment", Some(row.account_id)),
    };
    let owner = account.and_then(|account| catalog.tenant_of(account)).unwrap_or(creator);
    Changed {
        subject: written.id().to_string(),
        owner,
        kind,
        before: stored(catalog, written),
        after: encoded(written),
        ..Changed::default()
    }
}

/// Returns what a write to the operator's lists changes. Of a list it says what is put and removed, without how
/// those entries were.
pub(super) fn of_list(catalog: &Catalog, change: &ListChange) -> Changed {
    let (kind, before, after) = match change {
        ListChange::Taxonomy(put) => {
            let request = v1::UpdateTaxonomyRequest {
                request_id: String::new(),
                taxonomy: put.taxonomy,
                put: put.put.clone(),
                removed: put.removed.clone(),
            };
            ("munadi.v1.UpdateTaxonomyRequest", Vec::new(), request.encode_to_vec())
        }
        ListChange::PolicyRules(put) => {
            let rules = |rules: &[v1::PolicyRule]| {
                v1::ListPolicyRulesResponse { rules: rules.to_vec() }.encode_to_vec()
            };
            let before = rules(catalog.rules.all());
            ("munadi.v1.ListPolicyRulesResponse", before, rules(&put.rules))
        }
        ListChange::ExchangeRates(put) => {
            let rates = |currency: &str, rates: &[v1::ExchangeRate]| {
                let settlement_currency = currency.to_owned();
                let rates = rates.to_vec();
                v1::ListExchangeRatesResponse { settlement_currency, rates }.encode_to_vec()
            };
            let exchange = &catalog.exchange;
            let before = rates(exchange.settlement_currency(), exchange.all());
            let after = rates(&put.settlement_currency, &put.rates);
            ("munadi.v1.ListExchangeRatesResponse", before, after)
        }
        ListChange::TrafficRules(rules) => {
            let before = catalog.traffic.all().encode_to_vec();
            ("munadi.v1.TrafficRules", before, rules.encode_to_vec())
        }
        ListChange::RateCards(cards) => {
            let list = |cards: &[v1::RateCard]| {
                let cards = cards.to_vec();
                v1::ListRateCardsResponse { cards, built_in: Vec::new() }.encode_to_vec()
            };
            ("munadi.v1.ListRateCardsResponse", list(catalog.tariffs.own()), list(cards))
        }
        // A channel tells it, nobody writes it.
        ListChange::VolumeTier(_) => ("", Vec::new(), Vec::new()),
    };
    let subject = match change {
        ListChange::Taxonomy(put) => put.taxonomy().as_str_name().to_owned(),
        _ => String::new(),
    };
    Changed { subject, kind, before, after, ..Changed::default() }
}

/// Returns a URL without what may be secret in it: its user and its query.
pub fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let plain = &url[..end];
    let mark = if end < url.len() { "?..." } else { "" };
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let host_end = rest.find('/').unwrap_or(rest.len());
            let from = rest[..host_end].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}{mark}", &rest[from..])
        }
        None => format!("{plain}{mark}"),
    }
}

fn stored(catalog: &Catalog, like: &Resource) -> Vec<u8> {
    fn bytes<T: Message>(row: Option<T>) -> Vec<u8> {
        row.map_or_else(Vec::new, |row| row.encode_to_vec())
    }
    match like {
        Resource::Account(row) => bytes(catalog.accounts.get(row.id)),
        Resource::Business(row) => bytes(catalog.businesses.get(row.id)),
        Resource::Endpoint(row) => bytes(catalog.endpoints.get(row.id)),
        Resource::Campaign(row) => bytes(catalog.campaigns.get(row.id)),
        Resource::AdSet(row) => bytes(catalog.ad_sets.get(row.id)),
        Resource::Ad(row) => bytes(catalog.ads.get(row.id)),
        Resource::Source(row) => bytes(catalog.sources.get(row.id)),
        Resource::Experiment(row) => bytes(catalog.experiments.get(row.id)),
    }
}

/// Returns a resource in its own encoding.
pub(super) fn encoded(resource: &Resource) -> Vec<u8> {
    match resource {
        Resource::Account(row) => row.encode_to_vec(),
        Resource::Business(row) => row.encode_to_vec(),
        Resource::Endpoint(row) => row.encode_to_vec(),
        Resource::Campaign(row) => row.encode_to_vec(),
        Resource::AdSet(row) => row.encode_to_vec(),
        Resource::Ad(row) => row.encode_to_vec(),
        Resource::Source(row) => row.encode_to_vec(),
        Resource::Experiment(row) => row.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_is_too_long_leaves_its_size() {
        let by = Author { method: "UpdateAd", name: "ops".into(), ..Author::default() };
        let long = vec![1; CHANGE_SIDE_BYTES_MAX + 1];
        let fits = vec![2; CHANGE_SIDE_BYTES_MAX];
        let changed = Changed { before: long, after: fits.clone(), ..Changed::default() };
        let Some(Kind::ChangeNoted(fact)) = noted(&by, changed.clone()) else { panic!("noted") };
        assert_eq!((fact.before.len(), fact.before_bytes), (0, fits.len() as u64 + 1));
        assert_eq!((fact.after, fact.after_bytes), (fits.clone(), fits.len() as u64));
        assert_eq!((&*fact.method, &*fact.caller), ("UpdateAd", "ops"));
        assert_eq!(noted(&Author::default(), changed), None, "nobody's");
    }

    #[test]
    fn a_url_shows_neither_user_nor_query() {
        for (url, shown) in [
            ("https://a.example/b", "https://a.example/b"),
            ("https://u:secret@a.example/b@c", "https://a.example/b@c"),
            ("https://a.example/b?token=secret", "https://a.example/b?..."),
            ("https://u:p@a.example?token=secret#x", "https://a.example?..."),
            ("https://a.example#secret", "https://a.example?..."),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
