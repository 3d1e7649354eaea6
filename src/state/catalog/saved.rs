//! The catalog in checkpoints: a head, then pages of rows as they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::answers::{Answers, ByAge, Known};
use super::{Catalog, Kin, Packed, Row, StoredPush, Table};
use crate::state::changes::Changes;
use crate::state::exchange::Exchange;
use crate::state::keys::ApiKeys;
use crate::state::lists::Lists;
use crate::state::rules::Rules;
use crate::state::tariffs::Tariffs;
use crate::state::traffic_rules::TrafficRules;
use crate::types::ids::IdKind;
use crate::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, EntrySource, Experiment,
};

/// Bits of a page's index beside its kind.
const PAGE_BITS: u32 = 24;

/// All of a catalog but its rows.
#[derive(Debug, Deserialize, Serialize)]
pub struct Head {
    applied: u64,
    /// By account number.
    tenants: Vec<u32>,
    lists: Lists,
    rules: Rules,
    exchange: Exchange,
    traffic: TrafficRules,
    tariffs: Tariffs,
    pushes: BTreeMap<u64, StoredPush>,
    keys: ApiKeys,
    changes: Changes,
    answers: Known,
    answers_by_age: ByAge,
}

/// A copy of a catalog for a checkpoint. It shares the rows.
#[derive(Debug)]
pub struct Saved {
    /// All but the rows.
    pub head: Head,
    accounts: Table<Account>,
    businesses: Table<Business>,
    endpoints: Table<ChannelEndpoint>,
    campaigns: Table<Campaign>,
    ad_sets: Table<AdSet>,
    ads: Table<Ad>,
    sources: Table<EntrySource>,
    experiments: Table<Experiment>,
}

/// The bytes of one row.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Rows of one page, by their place in it.
#[derive(Serialize)]
pub struct SavedPage<'a>(Vec<Option<Bytes<'a>>>);

fn pages<T: Row>(table: &Table<T>) -> impl Iterator<Item = (usize, SavedPage<'_>)> {
    table.pages().map(|(page, rows)| {
        let rows = rows.iter().map(|row| row.as_ref().map(|row| Bytes(row.bytes())));
        ((T::KIND as usize) << PAGE_BITS | page, SavedPage(rows.collect()))
    })
}

impl Saved {
    /// Returns every page that holds anything, with an index that says what it is.
    pub fn pages(&self) -> impl Iterator<Item = (usize, SavedPage<'_>)> {
        pages(&self.accounts)
            .chain(pages(&self.businesses))
            .chain(pages(&self.endpoints))
            .chain(pages(&self.campaigns))
            .chain(pages(&self.ad_sets))
            .chain(pages(&self.ads))
            .chain(pages(&self.sources))
            .chain(pages(&self.experiments))
    }
}

impl Catalog {
    /// Returns a copy for a checkpoint.
    pub fn saved(&self) -> Saved {
        let (answers, answers_by_age) = self.answers.parts();
        let head = Head {
            applied: self.applied,
            tenants: self.kin.tenants(),
            lists: self.lists.clone(),
            rules: self.rules.clone(),
            exchange: self.exchange.clone(),
            traffic: self.traffic.clone(),
            tariffs: self.tariffs.clone(),
            pushes: self.pushes.clone(),
            keys: self.keys.clone(),
            changes: self.changes.clone(),
            answers,
            answers_by_age,
        };
        Saved {
            head,
            accounts: self.accounts.clone(),
            businesses: self.businesses.clone(),
            endpoints: self.endpoints.clone(),
            campaigns: self.campaigns.clone(),
            ad_sets: self.ad_sets.clone(),
            ads: self.ads.clone(),
            sources: self.sources.clone(),
            experiments: self.experiments.clone(),
        }
    }

    /// Returns a catalog with this head and no rows yet.
    pub fn of_head(head: Head) -> Self {
        // Field by field, so that a new one can't be forgotten.
        let Head {
            applied,
            tenants,
            lists,
            rules,
            exchange,
            traffic,
            tariffs,
            pushes,
            keys,
            changes,
            answers,
            answers_by_age,
        } = head;
        let kin = Kin::of_tenants(&tenants);
        Self {
            applied,
            kin,
            lists,
            rules,
            exchange,
            traffic,
            tariffs,
            pushes,
            keys,
            changes,
            answers: Answers::of(answers, answers_by_age),
            ..Self::default()
        }
    }

    /// Takes one page of a checkpoint, in the order in which they were saved. `None`: it can't be read.
    #[must_use]
    pub fn load_page(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        let rows: Vec<Option<&[u8]>> = postcard::from_bytes(bytes).ok()?;
        for bytes in rows.into_iter().flatten() {
            let (kin, names, holdouts) = (&mut self.kin, &mut self.names, &mut self.holdouts);
            let (kind, id) = match index >> PAGE_BITS {
                1 => load(&mut self.accounts, bytes, |row| kin.put_known_account(row))?,
                2 => load(&mut self.businesses, bytes, |row| kin.put_business(row))?,
                3 => load(&mut self.endpoints, bytes, |row| {
                    kin.put_endpoint(row);
                    names.put(row);
                })?,
                4 => load(&mut self.campaigns, bytes, |row| kin.put_campaign(row))?,
                5 => load(&mut self.ad_sets, bytes, |row| kin.put_ad_set(row))?,
                6 => load(&mut self.ads, bytes, |row| kin.put_ad(row))?,
                7 => load(&mut self.sources, bytes, |row| kin.put_source(row))?,
                8 => load(&mut self.experiments, bytes, |row| holdouts.put(row))?,
                _ => return None,
            };
            self.count(kind, id);
        }
        Some(())
    }
}

/// Returns what was loaded.
fn load<T: Row>(
    table: &mut Table<T>,
    bytes: &[u8],
    relate: impl FnOnce(&T),
) -> Option<(IdKind, u64)> {
    let (packed, row) = Packed::<T>::read(bytes).ok()?;
    relate(&row);
    table.put(row.id(), packed);
    Some((T::KIND, row.id()))
}

// The numbers that the pages' indexes carry.
const _: () = assert!(IdKind::Account as usize == 1 && IdKind::Experiment as usize == 8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::types::ids::{Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{
        AccountPut, ApiKeyPut, ApiKeysUsed, BusinessPut, ChangeNoted, ConversionPushPut,
        ExchangeRatesPut, RequestAnswered, VolumeTierPut,
    };
    use crate::types::proto::v1::ApiKey;
    use crate::types::time::Moment;

    #[test]
    fn a_head_brings_back_all_but_the_rows() {
        let push =
            ConversionPushPut { account: 7, url: "https://a.example".into(), ..Default::default() };
        let answered = RequestAnswered { request_id: "one".into(), ..Default::default() };
        let rates = ExchangeRatesPut { settlement_currency: "USD".into(), ..Default::default() };
        let tier = VolumeTierPut { business: 9, market: "Mexico".into(), ..Default::default() };
        let key = Some(ApiKey { id: "m-a".into(), ..Default::default() });
        let key = ApiKeyPut { key, secret_hash: vec![3; 32] };
        let used = ApiKeysUsed { ids: vec!["m-a".into()], at_ms: vec![5] };
        let change = ChangeNoted { method: "CreateKey".into(), ..Default::default() };
        let facts = [
            Kind::ApiKeyPut(Box::new(key)),
            Kind::ApiKeysUsed(Box::new(used)),
            Kind::ChangeNoted(Box::new(change)),
            Kind::ConversionPushPut(Box::new(push)),
            Kind::RequestAnswered(answered),
            Kind::ExchangeRatesPut(Box::new(rates)),
            Kind::VolumeTierPut(Box::new(tier)),
        ];
        let mut catalog = Catalog::default();
        for (seq, fact) in (1..).zip(&facts) {
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(1) };
            catalog.apply(stamp, fact);
        }
        let bytes = postcard::to_allocvec(&catalog.saved().head).unwrap();
        assert!(Catalog::of_head(postcard::from_bytes(&bytes).unwrap()) == catalog);
    }

    #[test]
    fn a_tenants_things_are_counted_once_each_and_again_from_pages() {
        let account = Account { id: mint(IdKind::Account, 1), ..Account::default() };
        let business = |number| {
            let (id, account_id) = (mint(IdKind::Business, number), account.id);
            let row = Business { id, account_id, ..Business::default() };
            Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) }))
        };
        let put = AccountPut { tenant: 5, account: Some(account.clone()) };
        let put = Kind::AccountPut(Box::new(put));
        let mut catalog = Catalog::default();
        for (seq, fact) in (1..).zip(&[put, business(1), business(2), business(2)]) {
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(1) };
            catalog.apply(stamp, fact);
        }
        let of = |catalog: &Catalog, tenant| {
            [IdKind::Account, IdKind::Business, IdKind::Ad]
                .map(|kind| catalog.things_of(tenant, kind))
        };
        assert_eq!((of(&catalog, 5), of(&catalog, 6)), ([1, 2, 0], [0; 3]));
        let saved = catalog.saved();
        let head = postcard::to_allocvec(&saved.head).unwrap();
        let mut loaded = Catalog::of_head(postcard::from_bytes(&head).unwrap());
        for (index, page) in saved.pages() {
            loaded.load_page(index, &postcard::to_allocvec(&page).unwrap()).unwrap();
        }
        assert_eq!(of(&loaded, 5), [1, 2, 0]);
        assert!(loaded == catalog);
    }
}
