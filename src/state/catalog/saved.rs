//! The catalog in checkpoints: a head, then pages of rows as they are kept.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize, Serializer};

use super::{Answered, Catalog, Kin, Packed, Row, StoredPush, Table};
use crate::state::Map;
use crate::state::exchange::Exchange;
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
    answers: Map<(u32, String), Answered>,
    answers_by_age: VecDeque<(i64, u32, String)>,
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
        let head = Head {
            applied: self.applied,
            tenants: self.kin.tenants(),
            lists: self.lists.clone(),
            rules: self.rules.clone(),
            exchange: self.exchange.clone(),
            traffic: self.traffic.clone(),
            tariffs: self.tariffs.clone(),
            pushes: self.pushes.clone(),
            answers: self.answers.clone(),
            answers_by_age: self.answers_by_age.clone(),
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
        Self {
            applied: head.applied,
            kin: Kin::of_tenants(&head.tenants),
            lists: head.lists,
            rules: head.rules,
            exchange: head.exchange,
            traffic: head.traffic,
            tariffs: head.tariffs,
            answers: head.answers,
            answers_by_age: head.answers_by_age,
            ..Self::default()
        }
    }

    /// Takes one page of a checkpoint, in the order in which they were saved. `None`: it can't be read.
    #[must_use]
    pub fn load_page(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        let rows: Vec<Option<&[u8]>> = postcard::from_bytes(bytes).ok()?;
        let (kin, names, holdouts) = (&mut self.kin, &mut self.names, &mut self.holdouts);
        for bytes in rows.into_iter().flatten() {
            match index >> PAGE_BITS {
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
            }
        }
        Some(())
    }
}

fn load<T: Row>(table: &mut Table<T>, bytes: &[u8], relate: impl FnOnce(&T)) -> Option<()> {
    let (packed, row) = Packed::<T>::read(bytes).ok()?;
    relate(&row);
    table.put(row.id(), packed);
    Some(())
}

// The numbers that the pages' indexes carry.
const _: () = assert!(IdKind::Account as usize == 1 && IdKind::Experiment as usize == 8);
