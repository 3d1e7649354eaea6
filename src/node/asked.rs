//! The last sampled requests, and what they say of one ad: `ExplainDelivery`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::decide::explain::{
    Explained, FIXES_MAX, Sampled, Shop, explain, name_of, name_of_status, of_journal, status_fix,
};
use crate::decide::index::Draft;
use crate::node::front::{Front, sees};
use crate::node::walker::EXPLAIN_HOURS;
use crate::state::catalog::Catalog;
use crate::state::chunk_of;
use crate::state::credit::timestamp;
use crate::types::ids::{IdKind, number_of};
use crate::types::proto::v1::{
    AdSet, EffectiveStatus, ExplainDeliveryResponse, Money, ReasonCount,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, Moment};

/// Requests that one ad is judged by: the last ones.
pub const ASKED_MAX: usize = 4_096;

/// The last sampled requests, the oldest first.
#[derive(Default)]
pub(in crate::node) struct Ring(VecDeque<Arc<Sampled>>);

impl Ring {
    pub(in crate::node) fn push(&mut self, sampled: Arc<Sampled>) {
        if self.0.len() == ASKED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sampled);
    }

    fn since(&self, since: Moment) -> Vec<Arc<Sampled>> {
        self.0.iter().filter(|sampled| sampled.now >= since).cloned().collect()
    }
}

/// What the catalog says of an ad.
struct Known {
    status: EffectiveStatus,
    draft: Option<Draft>,
    ad_set: AdSet,
    currency: String,
    created: Moment,
}

impl Front {
    /// Says why an ad did or did not run in the last 24 hours. Judges it by some thousand requests: takes
    /// milliseconds.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign ad.
    pub fn explain_delivery(
        &self,
        scope: Scope,
        ad: u64,
        now: Moment,
    ) -> Result<ExplainDeliveryResponse, Refusal> {
        let live = &self.0;
        let known = self.known(scope, ad);
        let known = known.ok_or_else(|| Refusal::new(Reason::NotFound, "ad_id", "no such ad"))?;
        let day = Moment(now.0 - DAY_MS);
        let requests = live.watch.book().ring.since(day);
        let (served, exact) = self.exact(ad, now);
        let estimated = self.estimated(ad, &known, now);
        let (index, blocks) = (live.index.load_full(), live.blocks.load_full());
        let Known { status, draft, ad_set, currency, .. } = &known;
        let sampled = requests.len() as u64;
        let explained = draft.as_ref().map(|draft| {
            let (board, blocks) = (&live.board, &*blocks);
            let shop = Shop { draft, ad_set, currency, index: &index, board, blocks };
            explain(&shop, requests.iter().map(|one| &**one), now)
        });
        let Explained { own, winning, fixes } = explained.clone().unwrap_or_default();
        let mut all: Vec<_> = status_fix(*status, sampled).into_iter().chain(fixes).collect();
        all.truncate(FIXES_MAX);
        let money = |micros: i64| Money { micros, currency: currency.clone() };
        Ok(ExplainDeliveryResponse {
            effective_status: (*status).into(),
            served,
            reasons: ordered(*status, exact, estimated),
            winning_cpm: winning.map(money),
            own_cpm: explained.map(|_| money(own)),
            fixes: all,
            sampled_requests: sampled,
            sampled_since: requests.first().map(|first| timestamp(first.now.0)),
        })
    }

    fn known(&self, scope: Scope, ad: u64) -> Option<Known> {
        let catalog: &Catalog = &self.0.catalog();
        let account = catalog.account_of(IdKind::Ad, ad)?;
        let family = catalog.family(ad).filter(|_| sees(catalog, scope, Some(account)))?;
        let created = catalog.ads.get(ad)?.create_time.unwrap_or_default();
        Some(Known {
            status: catalog.ad_status(ad),
            draft: Draft::of(catalog, ad, &self.0.board),
            ad_set: catalog.ad_sets.get(family.ad_set)?,
            currency: catalog.currency_of(account)?.to_owned(),
            created: Moment(created.seconds.saturating_mul(1_000)),
        })
    }

    /// Returns how often an ad was served in the last 24 hours, and the losses counted by auctions.
    fn exact(&self, ad: u64, now: Moment) -> (u64, Vec<ReasonCount>) {
        let tallies = self.0.tallies_at(chunk_of(ad));
        let Some(tally) = tallies.ads.get(&ad) else { return (0, Vec::new()) };
        let hours = now.hour().saturating_sub(EXPLAIN_HOURS - 1)..;
        let served = tally.between(hours.start, u32::MAX).map(|(_, hour)| hour.served).sum();
        let mut sums = BTreeMap::<u32, u64>::new();
        for (reason, count) in tally.passed.range(hours).flat_map(|(_, reasons)| reasons) {
            *sums.entry(*reason).or_default() += count;
        }
        let named = |(reason, count)| Some(name_of(of_journal(reason)?).count(count, false));
        (served, sums.into_iter().filter_map(named).collect())
    }

    /// Returns the reasons of sampled walks since the ad was there.
    fn estimated(&self, ad: u64, known: &Known, now: Moment) -> Vec<ReasonCount> {
        let Some(draft) = &known.draft else { return Vec::new() };
        let targets = draft.targets();
        let worldwide = targets.iter().any(|target| target.countries.is_empty());
        let countries = targets.iter().flat_map(|target| target.countries.iter().copied());
        let market: Vec<u16> = if worldwide { Vec::new() } else { countries.collect() };
        let since = Moment(now.0 - DAY_MS).max(known.created);
        let number = number_of(ad) as u32;
        let reasons = self.0.watch.book().walks.reasons(number, &market, since);
        reasons.into_iter().map(|(skip, count)| name_of(skip).count(count, true)).collect()
    }
}

/// Puts what keeps the ad from running at all first, then the most frequent.
fn ordered(
    status: EffectiveStatus,
    exact: Vec<ReasonCount>,
    estimated: Vec<ReasonCount>,
) -> Vec<ReasonCount> {
    let mut reasons: Vec<ReasonCount> = exact.into_iter().chain(estimated).collect();
    reasons.sort_by_key(|reason| Reverse((reason.count, Reverse(reason.reason))));
    if let Some(named) = name_of_status(status) {
        let known = reasons.iter().position(|reason| reason.reason == named.number);
        let first = known.map(|at| reasons.remove(at)).unwrap_or_else(|| named.count(0, false));
        reasons.insert(0, first);
    }
    reasons
}
