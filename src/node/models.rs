//! Attribution models over a period: gathers rows and touches part by part, on request and once a night.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::node::front::Front;
use crate::report::models::compare::{Asked, Gathered};
use crate::report::pull::whole_row;
use crate::state::BUCKETS;
use crate::state::catalog::Catalog;
use crate::state::credit::timestamp;
use crate::state::past::Past;
use crate::state::viewers::{Credited, Viewer};
use crate::types::ids::SHARDS;
use crate::types::proto::v1::{CompareModelsResponse, CreditLevel, Outcome};
use crate::types::refusal::Refusal;
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// How far back a night's run looks, and one that names no period.
pub const MODEL_DAYS: i64 = 28;

/// The hour of the day, UTC, from which a night's run is due.
const NIGHT_HOUR: i64 = 3;

/// What the nights have worked out. Not journaled: the next night works it out again.
#[derive(Debug, Default)]
pub(in crate::node) struct Nights {
    runs: Mutex<BTreeMap<(u64, Outcome, CreditLevel), CompareModelsResponse>>,
}

impl Front {
    /// Shares an account's outcomes by all models.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account; when too many share.
    pub fn compare_models(
        &self,
        scope: Scope,
        asked: &Asked,
        now: Moment,
    ) -> Result<CompareModelsResponse, Refusal> {
        let currency = self.currency_seen(scope, asked.account)?;
        let mut gathered = Gathered::default();
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            let asked_for = part.credits.iter().filter(|credit| asked.asks(&credit.row));
            asked_for.for_each(|credit| gathered.take(whole_row(credit.clone())));
        }
        for bucket in 0..BUCKETS {
            let catalog = self.0.catalog();
            let cell = self.0.cell_at(bucket);
            let (viewers, past) = (&cell.facts.viewers, &cell.facts.past);
            let only_past = past.keys().filter(|viewer| !viewers.contains_key(*viewer));
            let idle = viewers.keys().chain(only_past).filter_map(|viewer| {
                let known = Known { viewer: viewers.get(viewer), past: past.get(viewer) };
                idle_path(known, &catalog, asked)
            });
            idle.for_each(|path| gathered.take_idle(path));
        }
        let answer = gathered.share(asked, &currency)?;
        let [start_time, end_time] = [asked.start, asked.end].map(|at| Some(timestamp(at.0)));
        let compute_time = Some(timestamp(now.0));
        Ok(CompareModelsResponse { compute_time, start_time, end_time, ..answer })
    }

    /// Returns what the last night worked out, where one has passed since the start.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn models_of_last_night(
        &self,
        scope: Scope,
        account: u64,
        outcome: Outcome,
        level: CreditLevel,
    ) -> Result<Option<CompareModelsResponse>, Refusal> {
        self.check_account(scope, account)?;
        let runs = self.0.nights.runs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(runs.get(&(account, outcome, level)).cloned())
    }

    /// Works out the models of every account with outcomes in the days before a night.
    pub fn run_models(&self, night: Moment) {
        let all = Scope { tenant: 0, any: true };
        let (start, end) = (night.plus_ms(-MODEL_DAYS * DAY_MS), night);
        let mut runs = BTreeMap::new();
        for account in self.credited_accounts(start) {
            for outcome in [Outcome::Conversation, Outcome::Conversion] {
                for level in [CreditLevel::Campaign, CreditLevel::AdSet, CreditLevel::Ad] {
                    let asked = Asked { account, outcome, level, start, end };
                    // One with too many ads is told so when it asks.
                    if let Ok(run) = self.compare_models(all, &asked, night) {
                        runs.insert((account, outcome, level), run);
                    }
                }
            }
        }
        *self.0.nights.runs.lock().unwrap_or_else(PoisonError::into_inner) = runs;
    }

    fn credited_accounts(&self, from: Moment) -> BTreeSet<u64> {
        let mut accounts = BTreeSet::new();
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            let first = part.credits.partition_point(|credit| credit.at_ms < from.0);
            accounts.extend(part.credits.range(first..).map(|credit| credit.row.account_id));
        }
        accounts
    }

    fn currency_seen(&self, scope: Scope, account: u64) -> Result<String, Refusal> {
        self.check_account(scope, account)?;
        Ok(self.0.catalog().currency_of(account).unwrap_or_default().to_owned())
    }
}

/// Returns the last moment at which a night's run was due.
pub(in crate::node) fn night_before(now: Moment) -> Moment {
    let since = now.0 - NIGHT_HOUR * HOUR_MS;
    Moment(since - since.rem_euclid(DAY_MS) + NIGHT_HOUR * HOUR_MS)
}

/// What is known of one viewer: what it did here, and what was imported.
#[derive(Clone, Copy)]
struct Known<'a> {
    viewer: Option<&'a Viewer>,
    past: Option<&'a Past>,
}

/// Returns whom a viewer's taps in the period were on, in order, where they came to no such outcome.
fn idle_path(known: Known<'_>, catalog: &Catalog, asked: &Asked) -> Option<Vec<u64>> {
    let inside = |ms: i64| (asked.start.0..asked.end.0).contains(&ms);
    let viewer = known.viewer.into_iter();
    let touches = viewer.clone().flat_map(|viewer| &viewer.touches).filter(|touch| {
        touch.account == asked.account && touch.invalid == 0 && inside(touch.tap_ms)
    });
    let mut led_to_chat = touches.clone().filter(|touch| touch.conversation != 0);
    let past = known.past.into_iter().flat_map(Past::taps).filter(|tap| inside(tap.event_ms));
    let past = past.filter_map(|tap| {
        let family = catalog.family(tap.ad).filter(|family| family.account == asked.account)?;
        let player = asked.player(family.campaign, family.ad_set, family.ad);
        Some((tap.event_ms, tap.view, player))
    });
    let taps = touches.map(|touch| {
        let player = asked.player(touch.campaign, touch.ad_set, touch.ad);
        (touch.tap_ms, touch.view, player)
    });
    let mut taps: Vec<_> = taps.chain(past).collect();
    let opened = |credited: &Credited| credited.touch.as_ref().is_some_and(|it| it.0.invalid == 0);
    let credited = viewer.flat_map(|viewer| &viewer.credited);
    let mut credited = credited.filter(|credited| inside(credited.event_ms));
    let came_to_it = match asked.outcome {
        Outcome::Conversion => credited.any(|credited| credited.touch.is_none() && !credited.void),
        _ => credited.any(opened) || led_to_chat.next().is_some(),
    };
    taps.sort_unstable();
    let path: Vec<_> = taps.into_iter().map(|(.., player)| player).collect();
    (!came_to_it && !path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::Touch;

    const ASKED: Asked = Asked {
        account: 1,
        outcome: Outcome::Conversion,
        level: CreditLevel::Campaign,
        start: Moment(100),
        end: Moment(200),
    };

    fn viewer(taps: &[(u64, i64)]) -> Viewer {
        let touch = |(campaign, tap_ms): &(u64, i64)| Touch {
            account: 1,
            campaign: *campaign,
            tap_ms: *tap_ms,
            ..Touch::default()
        };
        Viewer { touches: taps.iter().map(touch).collect(), ..Viewer::default() }
    }

    #[test]
    fn whoever_came_to_nothing_walked_its_taps_in_order() {
        let idle_path = |viewer: &Viewer, asked: &Asked| {
            let known = Known { viewer: Some(viewer), past: None };
            super::idle_path(known, &Catalog::default(), asked)
        };
        assert_eq!(
            idle_path(&viewer(&[(5, 150), (4, 120), (6, 99), (7, 200)]), &ASKED),
            Some(vec![4, 5])
        );
        assert_eq!(idle_path(&viewer(&[(6, 99)]), &ASKED), None, "before the period");
        assert_eq!(idle_path(&viewer(&[(5, 150)]), &Asked { account: 2, ..ASKED }), None);
        let bought = |event_ms| Viewer {
            credited: vec![Credited {
                outcome: 1,
                campaign: 5,
                void: false,
                at_ms: 999,
                event_ms,
                imported: false,
                touch: None,
            }],
            ..viewer(&[(5, 150)])
        };
        assert_eq!(idle_path(&bought(160), &ASKED), None);
        assert_eq!(idle_path(&bought(260), &ASKED), Some(vec![5]));
        let mut wrote = viewer(&[(5, 150)]);
        wrote.touches[0].conversation = 9;
        assert_eq!(idle_path(&wrote, &Asked { outcome: Outcome::Qualified, ..ASKED }), None);
        assert_eq!(idle_path(&wrote, &ASKED), Some(vec![5]), "it bought nothing");
    }

    #[test]
    fn a_night_is_due_at_three_in_the_morning() {
        let three = 3 * HOUR_MS;
        assert_eq!(night_before(Moment(10 * DAY_MS + three)), Moment(10 * DAY_MS + three));
        assert_eq!(night_before(Moment(10 * DAY_MS + three - 1)), Moment(9 * DAY_MS + three));
    }
}
