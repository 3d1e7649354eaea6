//! Experiments: when they begin and end, and that no two hold back the same campaign.

use crate::decide::mutate::{Desk, not_found};
use crate::state::catalog::Holdout;
use crate::types::ids::IdKind;
use crate::types::proto::v1::Experiment;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::{DAY_MS, SECOND_MS};

/// Most days that an experiment runs: what its viewers did is remembered from their first exposure on.
pub const EXPERIMENT_DAYS_MAX: i64 = 90;

/// Most experiments of one account that have not ended.
pub const EXPERIMENTS_OPEN_MAX: usize = 64;

const DAY_S: i64 = DAY_MS / SECOND_MS;

impl Desk<'_> {
    /// Returns the second that begins next: experiments begin and end with whole ones, as tokens tell.
    fn next_second(&self) -> i64 {
        self.now.0.div_euclid(SECOND_MS) + 1
    }

    /// Returns a new experiment with its start and end told.
    pub(super) fn begun(&self, row: Experiment) -> Result<Experiment, Refusal> {
        let (now, field) = (self.next_second(), "experiment.start_time");
        let start = row.start_time.as_ref().map_or(now, |time| time.seconds);
        if start < now - 1 {
            let message = "is in the past, when nobody was held back: send a later one, or none";
            return Err(Refusal::new(Reason::FieldInvalid, field, message));
        }
        let start = start.max(now);
        let end =
            row.end_time.as_ref().map_or(start + EXPERIMENT_DAYS_MAX * DAY_S, |it| it.seconds);
        lasts(start, end)?;
        Ok(Experiment { start_time: second(start), end_time: second(end), ..row })
    }

    /// Ends an experiment at another time; at once, where that has passed.
    pub(super) fn end_anew(&self, row: &mut Experiment) -> Result<(), Refusal> {
        let field = "experiment.end_time";
        let account = self.catalog.holdouts.of_account(row.account_id);
        let known = account.iter().find(|known| known.id == row.id);
        let Holdout { start_s, end_s, .. } = known.ok_or_else(|| not_found("experiment.id"))?;
        let now = self.next_second();
        if *end_s < now {
            let message = "has passed: an experiment that has ended goes on no more; begin another";
            return Err(Refusal::new(Reason::FieldInvalid, field, message));
        }
        let longest = start_s + EXPERIMENT_DAYS_MAX * DAY_S;
        let wanted = row.end_time.as_ref().map_or(longest, |time| time.seconds);
        // What has been shown stays shown, and one that has not begun then never runs.
        let end = wanted.max(now);
        if end > *start_s {
            lasts(*start_s, end)?;
        }
        row.end_time = second(end);
        Ok(())
    }

    /// Refuses campaigns of others, and those that another experiment holds back at the same time.
    pub(super) fn judge_experiment(&self, row: &Experiment) -> Result<(), Refusal> {
        self.own(row.account_id, "experiment.account_id")?;
        for (index, campaign) in row.campaign_ids.iter().enumerate() {
            if self.catalog.account_of(IdKind::Campaign, *campaign) != Some(row.account_id) {
                let field = format!("experiment.campaign_ids[{index}]");
                let message = "no such campaign of this account";
                return Err(Refusal::new(Reason::NotFound, field, message));
            }
        }
        let ours = Holdout::of(row);
        let others = self.catalog.holdouts.of_account(row.account_id).iter();
        let now = self.next_second();
        let mut others = others.filter(|other| other.id != row.id && other.end_s >= now);
        if let Some(other) = others.clone().find(|other| other.clashes_with(&ours)) {
            let message = format!(
                "experiment {} holds back one of these campaigns at the same time: end it first, or \
                 name others",
                other.id
            );
            return Err(Refusal::new(Reason::FieldInvalid, "experiment.campaign_ids", message));
        }
        if others.nth(EXPERIMENTS_OPEN_MAX - 1).is_some() {
            let message = "the account has as many open experiments as are allowed: end one";
            return Err(Refusal::new(Reason::TooLarge, "experiment.account_id", message));
        }
        Ok(())
    }
}

fn lasts(start: i64, end: i64) -> Result<(), Refusal> {
    let field = "experiment.end_time";
    if end <= start {
        let message = "the end must come after the start";
        return Err(Refusal::new(Reason::EndBeforeStart, field, message));
    }
    if end - start > EXPERIMENT_DAYS_MAX * DAY_S {
        let message = format!("is more than {EXPERIMENT_DAYS_MAX} days after the start");
        return Err(Refusal::new(Reason::TooLarge, field, message));
    }
    Ok(())
}

const fn second(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}
