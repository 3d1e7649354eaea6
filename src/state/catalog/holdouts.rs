//! Experiments in small numbers: which campaigns each covers, and when.

use std::collections::BTreeMap;

use crate::types::ids::number_of;
use crate::types::proto::v1::Experiment;

/// One experiment as events and serving read it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holdout {
    /// Its id.
    pub id: u64,
    /// Whose it is.
    pub account: u64,
    /// The campaigns that it covers; empty: all of the account.
    pub campaigns: Vec<u64>,
    /// Share of viewers in its control group, in millionths.
    pub control_micros: u32,
    /// Whether both groups are shown the ads.
    pub aa: bool,
    /// Its first second.
    pub start_s: i64,
    /// The second after its last.
    pub end_s: i64,
}

impl Holdout {
    /// Returns its number, which facts carry.
    pub const fn number(&self) -> u32 {
        number_of(self.id) as u32
    }

    /// Tells whether it covers a campaign of its account.
    pub fn covers(&self, campaign: u64) -> bool {
        self.campaigns.is_empty() || self.campaigns.contains(&campaign)
    }

    /// Tells whether it runs in a second.
    pub const fn runs_in(&self, second: i64) -> bool {
        self.start_s <= second && second < self.end_s
    }

    /// Tells whether both hold some ad back in the same second.
    pub fn clashes_with(&self, other: &Self) -> bool {
        let runs = self.start_s < self.end_s && other.start_s < other.end_s;
        let together = runs && self.start_s < other.end_s && other.start_s < self.end_s;
        let all = self.campaigns.is_empty() || other.campaigns.is_empty();
        together && (all || self.campaigns.iter().any(|campaign| other.covers(*campaign)))
    }

    /// Returns what a row says.
    pub fn of(row: &Experiment) -> Self {
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|it| it.seconds);
        Self {
            id: row.id,
            account: row.account_id,
            campaigns: row.campaign_ids.clone(),
            control_micros: row.control_micros,
            aa: row.aa,
            start_s: seconds(&row.start_time).unwrap_or_default(),
            end_s: seconds(&row.end_time).unwrap_or_default(),
        }
    }
}

/// All experiments, by account and in order of creation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdouts(BTreeMap<u64, Vec<Holdout>>);

impl Holdouts {
    pub(super) fn put(&mut self, row: &Experiment) {
        let (holdout, known) = (Holdout::of(row), self.0.entry(row.account_id).or_default());
        match known.iter_mut().find(|known| known.id == holdout.id) {
            Some(known) => *known = holdout,
            None => known.push(holdout),
        }
    }

    /// Returns an account's experiments, those that have ended too.
    pub fn of_account(&self, account: u64) -> &[Holdout] {
        self.0.get(&account).map_or(&[], Vec::as_slice)
    }

    /// Returns the experiment that covered a campaign in a second: at most one does.
    pub fn at(&self, account: u64, campaign: u64, second: i64) -> Option<&Holdout> {
        let mut known = self.of_account(account).iter();
        known.find(|holdout| holdout.runs_in(second) && holdout.covers(campaign))
    }

    /// Returns those that have not ended before a second.
    pub fn open(&self, second: i64) -> impl Iterator<Item = &Holdout> {
        self.0.values().flatten().filter(move |holdout| second < holdout.end_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdout(campaigns: &[u64], start_s: i64, end_s: i64) -> Holdout {
        Holdout { campaigns: campaigns.to_vec(), start_s, end_s, ..Holdout::default() }
    }

    #[test]
    fn two_clash_when_they_share_a_campaign_and_a_second() {
        let one = holdout(&[1, 2], 10, 20);
        assert!(one.clashes_with(&holdout(&[2, 3], 19, 30)));
        assert!(one.clashes_with(&holdout(&[], 0, 11)));
        assert!(!one.clashes_with(&holdout(&[2], 20, 30)), "the end is no part of it");
        assert!(!one.clashes_with(&holdout(&[3], 10, 20)));
    }

    #[test]
    fn the_experiment_of_a_moment_is_the_one_that_ran_then() {
        let mut all = Holdouts::default();
        let row = |id, start, end| Experiment {
            id,
            account_id: 7,
            start_time: Some(prost_types::Timestamp { seconds: start, nanos: 0 }),
            end_time: Some(prost_types::Timestamp { seconds: end, nanos: 0 }),
            ..Experiment::default()
        };
        all.put(&row(1, 10, 20));
        all.put(&row(2, 20, 30));
        let at = |second| all.at(7, 5, second).map(|holdout| holdout.id);
        assert_eq!(
            [at(9), at(10), at(19), at(20), at(30)],
            [None, Some(1), Some(1), Some(2), None]
        );
        assert_eq!(all.at(8, 5, 10), None, "another account's");
        assert_eq!(all.open(20).count(), 1);
        all.put(&row(1, 10, 12));
        assert_eq!(all.of_account(7).len(), 2, "a new version takes the place of the old");
        assert_eq!(all.at(7, 5, 15), None);
    }
}
