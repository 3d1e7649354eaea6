//! Reports over the live state, and what they have cost accounts today whose answers are blurred.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

use crate::node::front::Front;
use crate::node::live::locked;
use crate::report::fold::Report;
use crate::report::noise::{Cost, name_of};
use crate::report::query::{Query, add_feeds, people_up_to};
use crate::report::settled::complete_up_to;
use crate::report::subjects::{Subject, Subjects};
use crate::state::breakdowns::day_number;
use crate::state::credit::timestamp;
use crate::state::{CHUNKS_MAX, PER_CHUNK};
use crate::types::proto::v1::{Metric, QueryReportResponse};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, Moment};

/// Threads that sum one report's tallies.
const REPORT_THREADS: usize = 2;

/// Ads that a report looks at while the writer waits.
const REPORT_ADS_LOCKED: usize = 16;

impl Front {
    /// Answers a report's question, and says how many rows to pass over for the next page.
    ///
    /// # Errors
    /// `ReportBudgetSpent` where it tells of viewers of an account whose budget of noise is spent. Callers who see
    /// all tenants spend none.
    pub fn report(
        &self,
        scope: Scope,
        query: &Query,
        now: Moment,
    ) -> Result<(QueryReportResponse, Option<u64>), Refusal> {
        let report = self.folded(scope, query, now);
        if !scope.any {
            let costs: Vec<Cost> = report.costs().copied().collect();
            locked(&self.0.budgets).spend(&costs, name_of(query, now), now)?;
        }
        let mut answer = QueryReportResponse {
            complete_up_to: Some(timestamp(complete_up_to(now).0)),
            settled_fraction: report.settled_fraction(),
            people_up_to: query.is_of_people().then(|| timestamp(people_up_to(now).0)),
            ..Default::default()
        };
        let (rows, next) = report.page();
        answer.rows = rows;
        if scope.any && query.asks(Metric::EmptySlots) {
            add_feeds(&mut answer, query, &self.0.feeds());
        }
        Ok((answer, next))
    }

    /// Sums the tallies of all ads, of many on several threads: their memory is far apart, and each mostly waits for it.
    fn folded<'a>(&self, scope: Scope, query: &'a Query, now: Moment) -> Report<'a> {
        let ads = self.0.catalog().ads.count();
        // Ads are numbered from 1.
        let chunks = (ads / PER_CHUNK as usize + 1).min(CHUNKS_MAX);
        let threads = chunks.min(REPORT_THREADS);
        let fold = |first: usize| {
            let mut report = Report::new(query, now);
            let own = (first..chunks).step_by(threads);
            own.for_each(|chunk| self.add_chunk(&mut report, scope, query, chunk));
            report
        };
        thread::scope(|threads_of| {
            let others: Vec<_> =
                (1..threads).map(|first| threads_of.spawn(move || fold(first))).collect();
            let mut report = fold(0);
            for other in others {
                report.merge(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            report
        })
    }

    fn add_chunk(&self, report: &mut Report<'_>, scope: Scope, query: &Query, chunk: usize) {
        let mut ads: Vec<u64> = {
            let tallies = self.0.tallies_at(chunk);
            report.learn(&tallies.lateness);
            tallies.ads.keys().copied().collect()
        };
        if ads.is_empty() {
            return;
        }
        // Sums do not show the order; but ads of one campaign have the same rows, which then are at hand.
        ads.sort_unstable();
        let subjects: Vec<(u64, Subject)> = {
            let (catalog, sealer) = (self.0.catalog(), self.sealer());
            let secret = &sealer.ring().code;
            let mut subjects = Subjects::new(query, scope, &catalog).with_noise(secret);
            ads.into_iter().filter_map(|ad| Some((ad, subjects.of(ad)?))).collect()
        };
        // The writer waits for a few ads at most.
        for some in subjects.chunks(REPORT_ADS_LOCKED) {
            let tallies = self.0.tallies_at(chunk);
            for (ad, subject) in some {
                if let Some(tally) = tallies.ads.get(ad) {
                    report.add(subject, tally);
                }
            }
        }
    }
}

/// What questions about viewers have cost each account today (UTC).
///
/// Not journaled: noise is drawn once for each cell, so what a restart gives back is a day's new questions, never
/// another draw; a fact for each question would let readers fill the journal.
#[derive(Debug, Default)]
pub(in crate::node) struct Budgets {
    day: u32,
    accounts: BTreeMap<u64, Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    epsilon_micros: u64,
    /// Names of the questions that it was spent on.
    questions: BTreeSet<u128>,
}

impl Budgets {
    /// Takes what a question costs out of all accounts' budgets, or out of none. Once a day is enough.
    fn spend(&mut self, costs: &[Cost], question: u128, now: Moment) -> Result<(), Refusal> {
        let day = day_number(now.0);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
        let is_new = |cost: &&Cost| {
            let known = self.accounts.get(&cost.account);
            known.is_none_or(|spent| !spent.questions.contains(&question))
        };
        let new: Vec<&Cost> = costs.iter().filter(is_new).collect();
        let goes_beyond = |cost: &&&Cost| {
            let spent = self.accounts.get(&cost.account).map_or(0, |spent| spent.epsilon_micros);
            let after = spent + u64::from(cost.epsilon_micros);
            after > u64::from(cost.daily_epsilon_micros)
        };
        if let Some(cost) = new.iter().find(goes_beyond) {
            let until = timestamp((i64::from(day) + 1) * DAY_MS);
            let message = format!(
                "account {} has spent what its questions about viewers may cost on a day: it has more from {until} on; \
                 until then ask what was asked today, or without REACH, FREQUENCY and breakdowns by viewers",
                cost.account
            );
            return Err(Refusal::new(Reason::ReportBudgetSpent, "", message));
        }
        for cost in new {
            let spent = self.accounts.entry(cost.account).or_default();
            spent.epsilon_micros += u64::from(cost.epsilon_micros);
            spent.questions.insert(question);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    #[test]
    fn a_day_has_so_many_questions_and_repeating_one_is_free() {
        let cost = |account, epsilon_micros| Cost {
            account,
            epsilon_micros,
            daily_epsilon_micros: 1_000_000,
        };
        let (one, other) = (cost(7, 500_000), cost(8, 400_000));
        let now = Moment(20_000 * DAY_MS + 5 * HOUR_MS);
        let mut budgets = Budgets::default();
        let mut spend = |costs: &[Cost], question, now| budgets.spend(costs, question, now);
        assert_eq!(spend(&[one], 1, now), Ok(()));
        assert_eq!(spend(&[one], 1, now), Ok(()));
        assert_eq!(spend(&[one, other], 2, now), Ok(()));
        let refusal = spend(&[one], 3, now).unwrap_err();
        assert_eq!(refusal.reason, Reason::ReportBudgetSpent);
        assert!(
            refusal.message.contains("account 7 ")
                && refusal.message.contains("2024-10-05T00:00:00Z")
        );
        // Nothing is taken where one of them has not enough.
        assert!(spend(&[other, one], 3, now).is_err());
        assert_eq!(spend(&[other], 4, now), Ok(()));
        assert!(spend(&[other], 5, now).is_err());
        assert_eq!(spend(&[one, other], 2, now.plus_ms(18 * HOUR_MS)), Ok(()));
        assert_eq!(spend(&[one], 3, now.plus_ms(19 * HOUR_MS)), Ok(()), "a new day");
        assert_eq!(spend(&[], 9, now), Ok(()));
    }
}
