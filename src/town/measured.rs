//! What the day's end asks of attribution beside its rows: all models side by side, and what an experiment has
//! shown.

use std::collections::BTreeMap;

use serde::Serialize;
use tonic::Code;

use crate::town::error::TownError;
use crate::town::life::Town;
use crate::town::wire::timestamp;
use crate::types::proto::v1::{self, Outcome};

/// The outcomes of one account, shared by all models side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelsReport {
    /// The engine's id.
    pub account_id: u64,
    /// Its name.
    pub account: String,
    /// Who earned its conversations.
    pub conversations: ModelsTable,
    /// Who earned its leads and sales.
    pub conversions: ModelsTable,
}

/// Outcomes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelsTable {
    /// How many are shared: those with a touch.
    pub outcomes: u64,
    /// Each campaign that was met on the way to one, and those that led nowhere.
    pub campaigns: Vec<ModelsRow>,
}

/// What one campaign earned.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelsRow {
    /// The engine's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Millionths of an outcome, by the model's name in the interface, without the prefix.
    pub credit_micros: BTreeMap<String, u64>,
}

/// What an experiment has shown by the day's end. The viewers' 7 days are not over then.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiftReport {
    /// The engine's id.
    pub experiment_id: u64,
    /// Its name.
    pub experiment: String,
    /// Viewers who were exposed.
    pub treated: Group,
    /// Viewers who would have been.
    pub control: Group,
    /// What the ads brought about; `None`: a group has fewer than two viewers.
    pub conversations: Option<LiftFigures>,
    /// The same of leads and sales.
    pub conversions: Option<LiftFigures>,
    /// How likely chance alone gave groups of these sizes.
    pub sample_ratio_p_value: f64,
}

/// One group, and what it did after its exposure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Group {
    /// People.
    pub viewers: u64,
    /// What they opened.
    pub conversations: u64,
    /// What they left and bought.
    pub conversions: u64,
}

/// What the ads brought about of one outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LiftFigures {
    /// Among all treated viewers.
    pub incremental: Span,
    /// Per viewer.
    pub difference: Span,
    /// As a share of what happens anyway; `None`: nothing happened in one of the groups.
    pub relative_lift: Option<Span>,
    /// The smallest difference per viewer that groups of these sizes find four times in five.
    pub smallest_detectable_difference: f64,
}

/// An estimate and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Span {
    /// The estimate.
    pub estimate: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

impl From<v1::LiftInterval> for Span {
    fn from(v1::LiftInterval { estimate, lower, upper }: v1::LiftInterval) -> Self {
        Self { estimate, lower, upper }
    }
}

impl From<v1::LiftGroup> for Group {
    fn from(group: v1::LiftGroup) -> Self {
        let v1::LiftGroup { viewers, conversations, conversions, .. } = group;
        Self { viewers, conversations, conversions }
    }
}

impl From<v1::LiftEstimate> for LiftFigures {
    fn from(estimate: v1::LiftEstimate) -> Self {
        let span = |interval: Option<v1::LiftInterval>| interval.unwrap_or_default().into();
        Self {
            incremental: span(estimate.incremental),
            difference: span(estimate.difference),
            relative_lift: estimate.relative_lift.map(Span::from),
            smallest_detectable_difference: estimate.smallest_detectable_difference,
        }
    }
}

impl Town {
    /// Asks for all models over what the town has lived of the account with the most outcomes by the reports'
    /// rows; `None`: nobody has any.
    pub(crate) async fn compare_models(
        &mut self,
        rows: &[v1::ReportRow],
    ) -> Result<Option<ModelsReport>, TownError> {
        let mut outcomes = BTreeMap::<u64, u64>::new();
        for row in rows {
            if let Some((account, _)) = self.founded.campaigns.get(&row.campaign_id) {
                *outcomes.entry(*account).or_default() += row.conversations + row.conversions;
            }
        }
        // Of several with as many the first.
        let most = outcomes.into_iter().rev().max_by_key(|(_, outcomes)| *outcomes);
        let Some((account_id, 1..)) = most else { return Ok(None) };
        let account = self.founded.accounts.get(&account_id).map(|purse| purse.name.clone());
        Ok(Some(ModelsReport {
            account_id,
            account: account.unwrap_or_default(),
            conversations: self.share(account_id, Outcome::Conversation).await?,
            conversions: self.share(account_id, Outcome::Conversion).await?,
        }))
    }

    async fn share(&mut self, account_id: u64, outcome: Outcome) -> Result<ModelsTable, TownError> {
        let request = v1::CompareModelsRequest {
            account_id,
            start_time: Some(timestamp(self.began())),
            end_time: Some(timestamp(self.now())),
            outcome: outcome.into(),
            level: v1::CreditLevel::Campaign.into(),
        };
        let shared = match self.doors().attributions.compare_models(request).await {
            Ok(answer) => answer.into_inner(),
            // More campaigns than can share: a dry run's own may be so many.
            Err(status) if status.code() == Code::InvalidArgument => Default::default(),
            Err(status) => return Err(TownError::refused("CompareModels")(status)),
        };
        let row = |row: v1::ModelRow| {
            let name = self.founded.campaigns.get(&row.id).map(|(_, name)| name.clone());
            let credits = row.credits.iter();
            ModelsRow {
                id: row.id,
                name: name.unwrap_or_default(),
                credit_micros: credits.map(|it| (model_name(it), it.credit_micros)).collect(),
            }
        };
        let campaigns = shared.rows.into_iter().map(row).collect();
        Ok(ModelsTable { outcomes: shared.outcomes, campaigns })
    }

    /// Asks what the first experiment has shown; `None`: there is none.
    pub(crate) async fn lift(&mut self) -> Result<Option<LiftReport>, TownError> {
        let Some(&experiment_id) = self.founded.experiments.first() else { return Ok(None) };
        let request = v1::GetLiftRequest { experiment_id };
        let answer = self.doors().attributions.get_lift(request).await;
        let lift = answer.map_err(TownError::refused("GetLift"))?.into_inner();
        Ok(Some(LiftReport {
            experiment_id,
            experiment: lift.experiment.unwrap_or_default().name,
            treated: lift.treated.unwrap_or_default().into(),
            control: lift.control.unwrap_or_default().into(),
            conversations: lift.conversations.map(LiftFigures::from),
            conversions: lift.conversions.map(LiftFigures::from),
            sample_ratio_p_value: lift.sample_ratio_p_value,
        }))
    }
}

fn model_name(credit: &v1::ModelCredit) -> String {
    credit.model().as_str_name().trim_start_matches("ATTRIBUTION_MODEL_").to_owned()
}
