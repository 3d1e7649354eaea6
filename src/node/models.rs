//! Attribution models over a period: gathers rows and touches part by part, on request and once a night.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::node::front::Front;
use crate::report::models::compare::{Asked, Gathered, Met};
use crate::report::pull::whole_row;
use crate::state::catalog::{Catalog, Family};
use crate::state::credit::{Credit, timestamp};
use crate::state::past::Past;
use crate::state::viewers::{Credited, Touch, Viewer};
use crate::state::{BUCKETS, Map};
use crate::types::ids::{IdKind, SHARDS};
use crate::types::proto::v1::{CompareModelsResponse, CreditLevel, Outcome};
use crate::types::refusal::Refusal;
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// How far back a night's run looks, and one that names no period.
pub const MODEL_DAYS: i64 = 28;

/// The hour of the day, UTC, from which a night's run is due.
const NIGHT_HOUR: i64 = 3;

/// Outcomes whose rows one pass of a night holds in memory, or those of one account.
const NIGHT_PASS_OUTCOMES: usize = 200_000;

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
        self.check_account(scope, asked.account)?;
        let questions = [*asked];
        let mut gathering = self.gathering(&questions);
        self.shared_out(&gathering.gathered.remove(0), asked, now)
    }

    fn shared_out(
        &self,
        gathered: &Gathered,
        asked: &Asked,
        now: Moment,
    ) -> Result<CompareModelsResponse, Refusal> {
        let currency = self.0.catalog().currency_of(asked.account).unwrap_or_default().to_owned();
        let answer = gathered.share(asked, &currency)?;
        let [start_time, end_time] = [asked.start, asked.end].map(|at| Some(timestamp(at.0)));
        let compute_time = Some(timestamp(now.0));
        Ok(CompareModelsResponse { compute_time, start_time, end_time, ..answer })
    }

    /// Gathers what questions ask about, ascending by account, in one pass over all parts.
    fn gathering<'a>(&self, questions: &'a [Asked]) -> Gathering<'a> {
        let mut gathering = Gathering::of(questions);
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            part.credits.iter().for_each(|credit| gathering.take(credit));
        }
        for bucket in 0..BUCKETS {
            let catalog = self.0.catalog();
            let cell = self.0.cell_at(bucket);
            let (viewers, past) = (&cell.facts.viewers, &cell.facts.past);
            for (id, viewer) in viewers.iter() {
                let known = Known { viewer: Some(viewer), past: past.get(id) };
                gathering.take_viewer(known, &catalog);
            }
            for (_, past) in past.iter().filter(|(id, _)| !viewers.contains_key(id)) {
                gathering.take_viewer(Known { viewer: None, past: Some(past) }, &catalog);
            }
        }
        gathering
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
        let (start, end) = (night.plus_ms(-MODEL_DAYS * DAY_MS), night);
        let mut runs = BTreeMap::new();
        let mut credited = self.credited_accounts(start).into_iter().peekable();
        while credited.peek().is_some() {
            let mut outcomes = 0;
            let pass = iter::from_fn(|| {
                let next = credited.next_if(|_| outcomes < NIGHT_PASS_OUTCOMES);
                next.map(|(account, count)| {
                    outcomes += count;
                    account
                })
            });
            let level = CreditLevel::Unspecified;
            let both = [Outcome::Conversation, Outcome::Conversion];
            let questions: Vec<_> = pass
                .flat_map(|account| {
                    both.map(|outcome| Asked { account, outcome, level, start, end })
                })
                .collect();
            for (asked, gathered) in questions.iter().zip(self.gathering(&questions).gathered) {
                for level in [CreditLevel::Campaign, CreditLevel::AdSet, CreditLevel::Ad] {
                    let asked = Asked { level, ..*asked };
                    // One with too many ads is told so when it asks.
                    if let Ok(run) = self.shared_out(&gathered, &asked, night) {
                        runs.insert((asked.account, asked.outcome, level), run);
                    }
                }
            }
        }
        *self.0.nights.runs.lock().unwrap_or_else(PoisonError::into_inner) = runs;
    }

    /// Returns accounts with outcomes since a moment, and how many each has.
    fn credited_accounts(&self, from: Moment) -> BTreeMap<u64, usize> {
        let mut accounts = BTreeMap::new();
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            let first = part.credits.partition_point(|credit| credit.at_ms < from.0);
            for credit in part.credits.range(first..) {
                *accounts.entry(credit.row.account_id).or_default() += 1;
            }
        }
        accounts
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

impl Known<'_> {
    /// Tells whether the viewer came to an outcome that is asked for.
    fn came_to(self, asked: &Asked, catalog: &Catalog) -> bool {
        let viewer = self.viewer.into_iter();
        let credited = viewer.clone().flat_map(Viewer::credited);
        let mut credited = credited.filter(|credited| asked.holds(credited.event_ms));
        if asked.outcome == Outcome::Conversion {
            // One that nobody earned at first doesn't say whose it is.
            let is_theirs = |campaign| {
                campaign == 0
                    || catalog.account_of(IdKind::Campaign, campaign) == Some(asked.account)
            };
            return credited.any(|credited| {
                credited.touch.is_none() && !credited.void && is_theirs(credited.campaign)
            });
        }
        let opened = |credited: &Credited| {
            let touch = credited.touch.as_ref().filter(|touch| touch.0.invalid == 0);
            let family = touch.and_then(|touch| catalog.family(touch.0.ad));
            family.is_some_and(|family| family.account == asked.account)
        };
        let mut touches = viewer.flat_map(Viewer::touches);
        credited.any(opened)
            || touches.any(|touch| {
                let is_theirs = touch.account == asked.account && touch.invalid == 0;
                is_theirs && touch.conversation != 0 && asked.holds(touch.tap_ms)
            })
    }
}

/// One valid tap.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Tap {
    account: u64,
    at_ms: i64,
    view: u64,
    met: Met,
}

/// What several questions gather, side by side.
struct Gathering<'a> {
    questions: &'a [Asked],
    of_account: Map<u64, Range<usize>>,
    gathered: Vec<Gathered>,
    /// Of one viewer, kept for the next.
    taps: Vec<Tap>,
}

impl<'a> Gathering<'a> {
    fn of(questions: &'a [Asked]) -> Self {
        let mut of_account = Map::default();
        let mut first = 0;
        for group in questions.chunk_by(|one, other| one.account == other.account) {
            of_account.insert(group[0].account, first..first + group.len());
            first += group.len();
        }
        let gathered = questions.iter().map(|_| Gathered::default()).collect();
        Self { questions, of_account, gathered, taps: Vec::new() }
    }

    fn take(&mut self, credit: &Credit) {
        let Some(range) = self.of_account.get(&credit.row.account_id) else {
            return;
        };
        for at in range.clone().filter(|at| self.questions[*at].asks(&credit.row)) {
            self.gathered[at].take(whole_row(credit.clone()));
        }
    }

    /// Takes whom a viewer's taps were on, in order, where they came to no such outcome.
    fn take_viewer(&mut self, known: Known<'_>, catalog: &Catalog) {
        self.taps.clear();
        let touches = known.viewer.into_iter().flat_map(Viewer::touches);
        self.taps.extend(touches.filter(|touch| touch.invalid == 0).map(|touch| {
            let Touch { account, tap_ms: at_ms, view, campaign, ad_set, ad, .. } = *touch;
            Tap { account, at_ms, view, met: Met { campaign, ad_set, ad } }
        }));
        let past = known.past.into_iter().flat_map(Past::taps);
        self.taps.extend(past.filter_map(|tap| {
            let Family { account, campaign, ad_set, ad, .. } = catalog.family(tap.ad)?;
            let met = Met { campaign, ad_set, ad };
            Some(Tap { account, at_ms: tap.event_ms, view: tap.view, met })
        }));
        self.taps.retain(|tap| self.of_account.contains_key(&tap.account));
        self.taps.sort_unstable();
        for taps in self.taps.chunk_by(|one, other| one.account == other.account) {
            for at in self.of_account[&taps[0].account].clone() {
                let asked = &self.questions[at];
                let inside = taps.iter().filter(|tap| asked.holds(tap.at_ms));
                let path: Vec<_> = inside.map(|tap| tap.met).collect();
                if !path.is_empty() && !known.came_to(asked, catalog) {
                    self.gathered[at].take_idle(path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::Unpacked;

    const ASKED: Asked = Asked {
        account: 1,
        outcome: Outcome::Conversion,
        level: CreditLevel::Campaign,
        start: Moment(100),
        end: Moment(200),
    };

    fn walked(taps: &[(u64, i64)]) -> Unpacked {
        let touch = |(campaign, tap_ms): &(u64, i64)| Touch {
            account: 1,
            campaign: *campaign,
            tap_ms: *tap_ms,
            ..Touch::default()
        };
        Unpacked { touches: taps.iter().map(touch).collect(), ..Unpacked::default() }
    }

    #[test]
    fn whoever_came_to_nothing_walked_its_taps_in_order() {
        let idle_path = |viewer: Unpacked, asked: &Asked| {
            let viewer = viewer.pack();
            let questions = [*asked];
            let mut gathering = Gathering::of(&questions);
            let known = Known { viewer: Some(&viewer), past: None };
            gathering.take_viewer(known, &Catalog::default());
            let campaigns = |path: &[Met]| path.iter().map(|met| met.campaign).collect::<Vec<_>>();
            gathering.gathered[0].idle().next().map(campaigns)
        };
        let path = idle_path(walked(&[(5, 150), (4, 120), (6, 99), (7, 200)]), &ASKED);
        assert_eq!(path, Some(vec![4, 5]));
        assert_eq!(idle_path(walked(&[(6, 99)]), &ASKED), None, "before the period");
        assert_eq!(idle_path(walked(&[(5, 150)]), &Asked { account: 2, ..ASKED }), None);
        let bought = |event_ms| Unpacked {
            credited: vec![Credited {
                outcome: 1,
                campaign: 0,
                void: false,
                at_ms: 999,
                event_ms,
                imported: false,
                touch: None,
            }],
            ..walked(&[(5, 150)])
        };
        assert_eq!(idle_path(bought(160), &ASKED), None);
        assert_eq!(idle_path(bought(260), &ASKED), Some(vec![5]));
        let mut wrote = walked(&[(5, 150)]);
        wrote.touches[0].conversation = 9;
        assert_eq!(idle_path(wrote.clone(), &Asked { outcome: Outcome::Qualified, ..ASKED }), None);
        assert_eq!(idle_path(wrote, &ASKED), Some(vec![5]), "it bought nothing");
    }

    #[test]
    fn a_night_is_due_at_three_in_the_morning() {
        let three = 3 * HOUR_MS;
        assert_eq!(night_before(Moment(10 * DAY_MS + three)), Moment(10 * DAY_MS + three));
        assert_eq!(night_before(Moment(10 * DAY_MS + three - 1)), Moment(9 * DAY_MS + three));
    }
}
