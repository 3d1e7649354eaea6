//! The readers' side of the engine: serving and look-ups over the live state.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use crate::decide::rates::Rates;
use crate::node::indexer::{Rebaser, merge_behind};
use crate::node::live::Live;
use crate::node::queue::Queue;
use crate::node::serve::Answer;
use crate::state::catalog::Catalog;
use crate::state::desks::DeskChunk;
use crate::state::exchange::Table;
use crate::state::lists::Search;
use crate::state::purses::PurseChunk;
use crate::state::tallies::TallyChunk;
use crate::state::traffic_rules::Filter;
use crate::state::{BUCKETS, CHUNKS_MAX, State};
use crate::tokens::{KeyRing, Sealer};
use crate::types::ids::{BatchNo, JournalId, SHARDS, number_of};
use crate::types::proto::v1::{
    AdSetIssue, ExchangeRate, PolicyRule, RateCard, Taxonomy, TaxonomyEntry, TrafficRules,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{AdRequest, Policy, Resource, ResourceKind, Scope};
use crate::types::time::Moment;

/// A handle of the live state for those who read it. Cheap to clone.
#[derive(Clone)]
pub struct Front(pub(in crate::node) Arc<Live>);

impl Front {
    pub(in crate::node) fn new(live: Arc<Live>) -> Self {
        Self(live)
    }

    pub(in crate::node) fn merge_behind(&self, queue: Arc<Queue>) -> io::Result<Rebaser> {
        merge_behind(Arc::clone(&self.0), queue)
    }

    /// Fills a tray. Waits for no disk.
    pub fn request_ads(
        &self,
        feed: u32,
        policy: &Policy,
        request: &AdRequest,
        now: Moment,
    ) -> Answer {
        self.0.request_ads(feed, policy, request, now)
    }

    /// Returns what seals and opens tokens now.
    pub fn sealer(&self) -> Arc<Sealer> {
        self.0.sealer.load_full()
    }

    /// Returns the same for a moment: no count is shared with other threads.
    pub fn sealer_now(&self) -> impl Deref<Target = Arc<Sealer>> {
        self.0.sealer.load()
    }

    /// Seals and opens with another ring from now on.
    pub fn use_ring(&self, ring: KeyRing) {
        self.0.sealer.store(Arc::new(Sealer::new(ring)));
    }

    /// Returns the action rates that an ad is valued with now, in the placement where they are highest.
    pub fn rates(&self, ad: u64) -> Rates {
        self.0.board.ad(ad).rates
    }

    /// Returns how many ads are live.
    pub fn live_ads(&self) -> usize {
        self.0.live_ads()
    }

    /// Returns the newest version of a thing, with its effective status.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign id: they are told apart for nobody.
    pub fn get(&self, scope: Scope, kind: ResourceKind, id: u64) -> Result<Resource, Refusal> {
        let catalog = self.0.catalog();
        let theirs = sees(&catalog, scope, catalog.account_of(kind.id_kind(), id));
        let found = self.find(&catalog, kind, id).filter(|_| theirs);
        drop(catalog);
        let found = found.map(|found| self.counted(found));
        found.ok_or_else(|| Refusal::new(Reason::NotFound, "id", "no such id"))
    }

    /// Returns things in order of creation, behind the number `after`, and where the next page begins.
    /// `parent` 0 means all of the caller's.
    pub fn list(
        &self,
        scope: Scope,
        kind: ResourceKind,
        parent: u64,
        after: u64,
        limit: usize,
    ) -> (Vec<Resource>, Option<u64>) {
        let catalog = self.0.catalog();
        let (mut page, mut next) = (Vec::new(), None);
        let ids = kind.id_kind();
        for id in all(&catalog, kind, after) {
            let of_parent = parent == 0 || catalog.parent_of(ids, id) == Some(parent);
            if !of_parent || !sees(&catalog, scope, catalog.account_of(ids, id)) {
                continue;
            }
            if page.len() == limit {
                next = page.last().map(|last: &Resource| number_of(last.id()));
                break;
            }
            page.extend(self.find(&catalog, kind, id));
        }
        drop(catalog);
        (page.into_iter().map(|found| self.counted(found)).collect(), next)
    }

    fn find(&self, catalog: &Catalog, kind: ResourceKind, id: u64) -> Option<Resource> {
        let mut found = find(catalog, kind, id)?;
        if let Resource::AdSet(row) = &mut found {
            let issue = self.0.board.issue(id);
            row.issues = if issue == AdSetIssue::Unspecified { vec![] } else { vec![issue.into()] };
        }
        Some(found)
    }

    /// Returns the rules for policy categories that are in force.
    pub fn policy_rules(&self) -> Vec<PolicyRule> {
        self.0.catalog().rules.all().to_vec()
    }

    /// Returns the settlement currency, empty where nothing is loaded, and all exchange rates.
    pub fn exchange_rates(&self) -> (String, Vec<ExchangeRate>) {
        let catalog = self.0.catalog();
        let exchange = &catalog.exchange;
        (exchange.settlement_currency().to_owned(), exchange.all().to_vec())
    }

    /// Returns the rate cards that an operator loaded, and those built in that none of them replaces.
    pub fn rate_cards(&self) -> (Vec<RateCard>, Vec<RateCard>) {
        let catalog = self.0.catalog();
        (catalog.tariffs.own().to_vec(), catalog.tariffs.built_in())
    }

    /// Returns the operator's rules for invalid traffic.
    pub fn traffic_rules(&self) -> TrafficRules {
        self.0.catalog().traffic.all().clone()
    }

    /// Returns what doors look at events with.
    pub fn traffic_filter(&self) -> Arc<Filter> {
        self.0.traffic.load_full()
    }

    /// Returns the exchange rates that serving compares by now.
    pub fn exchange(&self) -> Arc<Table> {
        self.0.exchange.load_full()
    }

    /// Returns entries of a list that targeting may name, in order, behind the one named `after`, and
    /// where the next page begins; see [`crate::state::lists::Lists::search`].
    pub fn search_targeting(
        &self,
        taxonomy: Taxonomy,
        query: &str,
        country: &str,
        after: &str,
        limit: usize,
    ) -> (Vec<TaxonomyEntry>, Option<String>) {
        self.0.catalog().lists.search(taxonomy, &Search { query, country }, after, limit)
    }

    /// Checks that an account is the caller's.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn check_account(&self, scope: Scope, account: u64) -> Result<(), Refusal> {
        own_account(&self.0.catalog(), scope, account)
    }

    /// Writes a checkpoint; it counts once the journal is durable up to the returned batch.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_checkpoint(&self, journal: JournalId, out: &mut dyn Write) -> io::Result<BatchNo> {
        self.0.write_checkpoint(journal, out)
    }

    /// Names the first part in which the live state differs from a fold of the journal; `None`: none
    /// does. For audits: it looks at every part.
    pub fn difference(&self, state: &State) -> Option<String> {
        let live = &self.0;
        let bucket = |index: &usize| live.cell_at(*index).facts != state.buckets[*index];
        if let Some(index) = (0..BUCKETS).find(bucket) {
            return Some(format!("bucket {index}"));
        }
        if let Some(index) = (0..SHARDS).find(|index| *live.shard(*index) != state.shards[*index]) {
            return Some(format!("codes and credits of shard {index}"));
        }
        let (no_purse, no_tally) = (PurseChunk::default(), TallyChunk::default());
        let no_desk = DeskChunk::default();
        for chunk in 0..CHUNKS_MAX {
            if *live.purses_at(chunk) != *state.purses.get(chunk).unwrap_or(&no_purse) {
                return Some(format!("purses {chunk}"));
            }
            if *live.tallies_at(chunk) != *state.tallies.get(chunk).unwrap_or(&no_tally) {
                return Some(format!("tallies {chunk}"));
            }
            if *live.desks_at(chunk) != *state.desks.get(chunk).unwrap_or(&no_desk) {
                return Some(format!("desks {chunk}"));
            }
        }
        if *live.feeds() != state.feeds {
            return Some("feeds".to_owned());
        }
        if *live.paces() != state.paces {
            return Some("paces".to_owned());
        }
        if *live.shapes() != state.shapes {
            return Some("shapes".to_owned());
        }
        (*live.catalog() != state.catalog).then(|| "catalog".to_owned())
    }

    /// Returns what a write answers with: the row, and the status that holds now.
    pub(in crate::node) fn answered(&self, resource: Resource) -> Resource {
        with_status(&self.0.catalog(), resource)
    }

    /// Returns an ad set's pacing multiplier, in parts of `MULTIPLIER_ONE`: how much of its ceiling it bids.
    pub fn multiplier(&self, ad_set: u64) -> u32 {
        self.0.board.multiplier(ad_set)
    }

    /// Tells whether the journal can't be written any more.
    pub fn is_stopped(&self) -> bool {
        self.0.progress.is_stopped()
    }

    /// Returns the last durable batch.
    pub fn durable(&self) -> BatchNo {
        self.0.progress.durable()
    }
}

pub(in crate::node) fn sees(catalog: &Catalog, scope: Scope, account: Option<u64>) -> bool {
    let owner = account.and_then(|account| catalog.tenant_of(account));
    owner.is_some_and(|owner| scope.any || owner == scope.tenant)
}

/// Checks that an account is the caller's: unknown and foreign ones are told apart for nobody.
pub(in crate::node) fn own_account(
    catalog: &Catalog,
    scope: Scope,
    account: u64,
) -> Result<(), Refusal> {
    let unknown = || Refusal::new(Reason::NotFound, "account_id", "no such account");
    sees(catalog, scope, Some(account)).then_some(()).ok_or_else(unknown)
}

fn find(catalog: &Catalog, kind: ResourceKind, id: u64) -> Option<Resource> {
    let row = match kind {
        ResourceKind::Account => Resource::Account(catalog.accounts.get(id)?),
        ResourceKind::Business => Resource::Business(catalog.businesses.get(id)?),
        ResourceKind::Endpoint => Resource::Endpoint(catalog.endpoints.get(id)?),
        ResourceKind::Campaign => Resource::Campaign(catalog.campaigns.get(id)?),
        ResourceKind::AdSet => Resource::AdSet(catalog.ad_sets.get(id)?),
        ResourceKind::Ad => Resource::Ad(catalog.ads.get(id)?),
        ResourceKind::Source => Resource::Source(catalog.sources.get(id)?),
        ResourceKind::Experiment => Resource::Experiment(catalog.experiments.get(id)?),
    };
    Some(with_status(catalog, row))
}

/// Returns the row with what holds now of the statuses above it, where its kind has such a status.
fn with_status(catalog: &Catalog, mut resource: Resource) -> Resource {
    match &mut resource {
        Resource::Account(row) => row.effective_status = catalog.account_status(row.id).into(),
        Resource::Campaign(row) => row.effective_status = catalog.campaign_status(row.id).into(),
        Resource::AdSet(row) => row.effective_status = catalog.ad_set_status(row.id).into(),
        Resource::Ad(row) => row.effective_status = catalog.ad_status(row.id).into(),
        Resource::Business(_)
        | Resource::Endpoint(_)
        | Resource::Source(_)
        | Resource::Experiment(_) => {}
    }
    resource
}

/// Returns the ids of all things of a kind behind a number, in order of creation.
fn all(catalog: &Catalog, kind: ResourceKind, after: u64) -> Box<dyn Iterator<Item = u64> + '_> {
    match kind {
        ResourceKind::Account => Box::new(catalog.accounts.ids_after(after)),
        ResourceKind::Business => Box::new(catalog.businesses.ids_after(after)),
        ResourceKind::Endpoint => Box::new(catalog.endpoints.ids_after(after)),
        ResourceKind::Campaign => Box::new(catalog.campaigns.ids_after(after)),
        ResourceKind::AdSet => Box::new(catalog.ad_sets.ids_after(after)),
        ResourceKind::Ad => Box::new(catalog.ads.ids_after(after)),
        ResourceKind::Source => Box::new(catalog.sources.ids_after(after)),
        ResourceKind::Experiment => Box::new(catalog.experiments.ids_after(after)),
    }
}
