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

/// Most experiments of one account, those that have ended too: events and serving look through them.
pub const EXPERIMENTS_MAX: usize = 1_024;

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
        let known = self.catalog.holdouts.of_account(row.account_id);
        if known.len() >= EXPERIMENTS_MAX && known.iter().all(|known| known.id != row.id) {
            let message = format!(
                "the account has had {EXPERIMENTS_MAX} experiments, as many as are told apart: run \
                 it in another account"
            );
            return Err(Refusal::new(Reason::TooLarge, "experiment.account_id", message));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::mutate::{Spent, mutate};
    use crate::state::Stamp;
    use crate::state::catalog::Catalog;
    use crate::types::ids::{Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{AccountPut, ExperimentPut};
    use crate::types::proto::v1::Account;
    use crate::types::request::{Author, Change, Mutation, Resource};
    use crate::types::time::Moment;
    use crate::types::token::PrefillCode;

    const TENANT: u32 = 5;

    /// Begins another experiment of an account that has had so many, all of which have ended.
    fn begin(had: u64) -> Result<(), Refusal> {
        let account_id = mint(IdKind::Account, 1);
        let account = Account { id: account_id, ..Account::default() };
        let account =
            Kind::AccountPut(Box::new(AccountPut { tenant: TENANT, account: Some(account) }));
        let ended = (1..=had).map(|number| {
            let (id, start_time) = (mint(IdKind::Experiment, number), second(1));
            let end_time = second(2);
            let row = Experiment { id, account_id, start_time, end_time, ..Experiment::default() };
            Kind::ExperimentPut(Box::new(ExperimentPut { experiment: Some(row) }))
        });
        let mut catalog = Catalog::default();
        for (seq, fact) in (1..).zip(std::iter::once(account).chain(ended)) {
            catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) }, &fact);
        }
        let mutation = Mutation {
            tenant: TENANT,
            any_tenant: false,
            request_id: "one more".into(),
            body_hash: [0; 16],
            by: Author::default(),
            validate_only: false,
            approve: true,
            change: Change::Create(Resource::Experiment(Experiment {
                account_id,
                control_micros: 500_000,
                ..Experiment::default()
            })),
        };
        let (code, now) = (PrefillCode::default(), Moment(9_000));
        mutate(&catalog, &mutation, &|_| Spent::default(), code, now).map(drop)
    }

    #[test]
    fn an_account_has_so_many_experiments_with_those_that_have_ended() {
        assert_eq!(begin(EXPERIMENTS_MAX as u64 - 1), Ok(()));
        let refusal = begin(EXPERIMENTS_MAX as u64).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::TooLarge, "experiment.account_id"));
    }
}
