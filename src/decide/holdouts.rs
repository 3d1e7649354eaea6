//! Holdouts as serving sees them: which ads belong to an experiment, and who is not shown them.

use crate::decide::index::Entry;
use crate::state::Map;
use crate::state::catalog::{Holdout, Holdouts};
use crate::types::hash::mix;
use crate::types::ids::number_of;
use crate::types::time::Moment;

/// Parts of the whole that shares are told in.
const WHOLE_MICROS: u64 = 1_000_000;

/// The group of an experiment that a viewer is in. Its numbers are in view tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Arm {
    /// Is shown the ads.
    Treated = 1,
    /// Is not, or in an A/A experiment is compared as if it were not.
    Control = 2,
}

/// One experiment that has not ended.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its number.
    pub number: u32,
    /// Whether both groups are shown the ads.
    pub aa: bool,
    key: u64,
    /// The control group has the hashes below.
    below: u64,
    start_s: i64,
    end_s: i64,
}

impl Test {
    /// Returns the group of a viewer: the same for the whole life of the experiment.
    pub const fn arm(&self, viewer: u64) -> Arm {
        if mix(viewer ^ self.key) < self.below { Arm::Control } else { Arm::Treated }
    }

    /// Tells whether its ads are held back from a viewer.
    pub fn withholds(&self, viewer: u64) -> bool {
        !self.aa && self.arm(viewer) == Arm::Control
    }

    fn of(holdout: &Holdout, key: u64) -> Self {
        let share = u64::from(holdout.control_micros);
        Self {
            number: holdout.number(),
            aa: holdout.aa,
            key,
            below: (u64::MAX / WHOLE_MICROS) * share,
            start_s: holdout.start_s,
            end_s: holdout.end_s,
        }
    }
}

/// Experiments by what they cover.
#[derive(Clone, Debug, Default)]
pub struct Tests {
    tests: Vec<Test>,
    /// By number of the campaign.
    by_campaign: Map<u32, Vec<u32>>,
    /// By number of the account.
    by_account: Map<u32, Vec<u32>>,
}

impl Tests {
    /// Returns the experiments that have not ended. `key` gives what each one's groups are drawn with.
    pub fn of(holdouts: &Holdouts, now: Moment, key: impl Fn(u64) -> u64) -> Self {
        let mut tests = Self::default();
        for holdout in holdouts.open(now.seconds().into()) {
            let at = tests.tests.len() as u32;
            tests.tests.push(Test::of(holdout, key(holdout.id)));
            for campaign in &holdout.campaigns {
                let campaign = number_of(*campaign) as u32;
                tests.by_campaign.entry(campaign).or_default().push(at);
            }
            if holdout.campaigns.is_empty() {
                let account = number_of(holdout.account) as u32;
                tests.by_account.entry(account).or_default().push(at);
            }
        }
        tests
    }

    /// Tells whether nothing is measured: serving then asks no more.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Returns the experiment that covers an ad now: at most one does.
    pub fn covering(&self, entry: &Entry, now: Moment) -> Option<&Test> {
        let second = i64::from(now.seconds());
        let (campaign, account) =
            (self.by_campaign.get(&entry.campaign), self.by_account.get(&entry.account));
        let mut known = campaign.into_iter().chain(account).flatten();
        let runs = |test: &&Test| test.start_s <= second && second < test.end_s;
        known.find_map(|at| self.tests.get(*at as usize).filter(runs))
    }

    /// Returns the number of the group that a viewer is in of the experiment that an ad belongs to; 0: it
    /// belongs to none.
    pub fn arm_of(&self, entry: &Entry, viewer: u64, now: Moment) -> u8 {
        if self.is_empty() {
            return 0;
        }
        self.covering(entry, now).map_or(0, |test| test.arm(viewer) as u8)
    }
}

/// Which ads a selection leaves out for its viewer.
#[derive(Clone, Copy, Debug)]
pub struct Withheld<'a> {
    /// All experiments.
    pub tests: &'a Tests,
    /// Whose.
    pub viewer: u64,
    /// The number of the one experiment whose ads are let in all the same; 0: none.
    pub but: u32,
}

impl Withheld<'_> {
    /// Returns the experiment that an ad is left out for; `None`: it is not.
    pub fn leaves_out(&self, entry: &Entry, now: Moment) -> Option<u32> {
        let test = self.tests.covering(entry, now)?;
        (test.number != self.but && test.withholds(self.viewer)).then_some(test.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(control_micros: u32, key: u64) -> Test {
        let holdout = Holdout { control_micros, end_s: 100, ..Holdout::default() };
        Test::of(&holdout, key)
    }

    #[test]
    fn a_control_group_has_the_share_that_was_asked_for() {
        for share in [10_000_u32, 100_000, 500_000] {
            let test = test(share, 0x1234_5678_9ABC_DEF0);
            let viewers = 200_000_u64;
            let control = (0..viewers).filter(|viewer| test.arm(*viewer << 20) == Arm::Control);
            let expected = f64::from(share) / 1e6;
            let sigma = (viewers as f64 * expected * (1.0 - expected)).sqrt();
            let off = control.count() as f64 - viewers as f64 * expected;
            assert!(off.abs() < 4.0 * sigma, "{share}: {off} beyond {sigma}");
        }
    }

    #[test]
    fn the_groups_of_two_experiments_have_nothing_to_do_with_each_other() {
        let (one, other) = (test(500_000, 7), test(500_000, 8));
        let viewers = 100_000;
        let both = (0..viewers).filter(|viewer| one.arm(*viewer) == other.arm(*viewer)).count();
        let off = both as f64 - viewers as f64 / 2.0;
        assert!(off.abs() < 4.0 * (viewers as f64 / 4.0).sqrt(), "{both}");
    }

    #[test]
    fn an_experiment_without_difference_holds_nothing_back() {
        let aa = Test { aa: true, ..test(500_000, 7) };
        assert!((0..1_000).any(|viewer| aa.arm(viewer) == Arm::Control));
        assert!((0..1_000).all(|viewer| !aa.withholds(viewer)));
    }
}
