//! All models side by side over one account's outcomes of a period.

use std::collections::BTreeMap;

use crate::report::models::{Earned, Ends, PLAYERS_MAX, Paths, earned, removal_effects, shapley};
use crate::types::attribution::{RULE_MODELS, share};
use crate::types::proto::v1::{
    AttributionModel, AttributionRow, CompareModelsResponse, CreditLevel, ModelCredit, ModelRow,
    Outcome, TouchCredit,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// Those that look at all paths at once.
const OF_PATHS: [AttributionModel; 2] = [AttributionModel::Markov, AttributionModel::Shapley];

/// One question, parsed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Asked {
    /// Whose outcomes.
    pub account: u64,
    /// Which.
    pub outcome: Outcome,
    /// Between whom they are shared.
    pub level: CreditLevel,
    /// The first moment of the period.
    pub start: Moment,
    /// The first moment after it.
    pub end: Moment,
}

impl Asked {
    /// Returns whom a touch stands for.
    fn player(&self, met: &Met) -> u64 {
        match self.level {
            CreditLevel::Unspecified | CreditLevel::Campaign => met.campaign,
            CreditLevel::AdSet => met.ad_set,
            CreditLevel::Ad => met.ad,
        }
    }

    fn of(&self, touch: &TouchCredit) -> u64 {
        let (campaign, ad_set, ad) = (touch.campaign_id, touch.ad_set_id, touch.ad_id);
        self.player(&Met { campaign, ad_set, ad })
    }

    /// Tells whether a row is of an outcome that is asked for, credited or not.
    pub fn asks(&self, row: &AttributionRow) -> bool {
        let at = row
            .event_time
            .map_or(0, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000);
        row.account_id == self.account && row.outcome() == self.outcome && self.holds(at)
    }

    /// Tells whether milliseconds are in the period.
    pub fn holds(&self, ms: i64) -> bool {
        (self.start.0..self.end.0).contains(&ms)
    }
}

/// Whom a touch was of.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Met {
    /// The campaign.
    pub campaign: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// The ad.
    pub ad: u64,
}

/// What is asked about, while it is being gathered: rows in any order, then whoever came to nothing. It is the same
/// at every level.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: BTreeMap<u64, AttributionRow>,
    idle: BTreeMap<Vec<Met>, u64>,
}

impl Gathered {
    /// Takes a row that is asked for; of an outcome the highest revision counts.
    pub fn take(&mut self, row: AttributionRow) {
        let known = self.rows.get(&row.outcome_id).map_or(0, |known| known.revision);
        if row.revision > known {
            self.rows.insert(row.outcome_id, row);
        }
    }

    /// Takes what one person met, in order, without coming to an outcome.
    pub fn take_idle(&mut self, path: Vec<Met>) {
        *self.idle.entry(path).or_default() += 1;
    }

    /// Returns the paths of those who came to nothing, each once.
    pub fn idle(&self) -> impl Iterator<Item = &[Met]> {
        self.idle.keys().map(|path| &path[..])
    }

    /// Shares the outcomes. Values count in `currency`.
    ///
    /// # Errors
    /// When more than [`PLAYERS_MAX`] share.
    pub fn share(&self, asked: &Asked, currency: &str) -> Result<CompareModelsResponse, Refusal> {
        let credited: Vec<_> = self.rows.values().filter(|row| is_credited(row)).collect();
        let met = credited.iter().flat_map(|row| row.path.iter().map(|touch| asked.of(touch)));
        let passed = self.idle.keys().flatten().map(|met| asked.player(met));
        let mut players: Vec<_> = met.chain(passed).collect();
        players.sort_unstable();
        players.dedup();
        if players.len() > PLAYERS_MAX {
            let message = format!(
                "has {} players, above {PLAYERS_MAX}: ask by campaign, or for a shorter period",
                players.len()
            );
            return Err(Refusal::new(Reason::FieldInvalid, "level", message));
        }
        let mut paths = Paths::between(players.iter().copied());
        let mut rows: BTreeMap<u64, [Earned; RULE_MODELS.len()]> =
            players.iter().map(|player| (*player, Default::default())).collect();
        for row in &credited {
            let value = row
                .value
                .as_ref()
                .filter(|value| value.currency == currency)
                .map_or(0, |value| value.micros);
            paths.add(
                row.path.iter().map(|touch| asked.of(touch)),
                Ends { outcomes: 1, nothing: 0, value },
            );
            for model in 0..RULE_MODELS.len() {
                add_split(asked, row, model, value, &mut rows);
            }
        }
        let whole = paths.ends();
        let paths_without_outcome = self.idle.values().sum();
        for (path, people) in &self.idle {
            let path = path.iter().map(|met| asked.player(met));
            paths.add(path, Ends { outcomes: 0, nothing: *people, value: 0 });
        }
        let effects = removal_effects(&paths);
        let of_paths = [earned(whole, &effects), shapley(&paths)];
        let rows = rows.into_iter().enumerate().map(|(at, (id, of_rows))| {
            let of_paths = OF_PATHS.into_iter().zip(of_paths.iter().map(|model| model[at]));
            let credits = RULE_MODELS.into_iter().zip(of_rows).chain(of_paths);
            ModelRow {
                id,
                credits: credits.map(|(model, earned)| credit(model, earned)).collect(),
                removal_effect_micros: (effects[at] * 1e6).round() as u32,
            }
        });
        Ok(CompareModelsResponse {
            rows: rows.collect(),
            outcomes: whole.outcomes,
            value_micros: whole.value,
            currency: currency.to_owned(),
            paths_without_outcome,
            ..CompareModelsResponse::default()
        })
    }
}

/// Tells whether a row has somebody to credit.
fn is_credited(row: &AttributionRow) -> bool {
    row.decline_reason == 0 && row.invalid == 0 && !row.path.is_empty()
}

/// Adds what one model gives of one outcome.
fn add_split(
    asked: &Asked,
    row: &AttributionRow,
    model: usize,
    value: i64,
    rows: &mut BTreeMap<u64, [Earned; RULE_MODELS.len()]>,
) {
    let micros = |touch: &TouchCredit| touch.credit_micros.get(model).copied().unwrap_or_default();
    let credits: Vec<_> = row.path.iter().map(micros).collect();
    for ((touch, credit), part) in row.path.iter().zip(&credits).zip(share(value, &credits)) {
        let all = &mut rows.entry(asked.of(touch)).or_default()[model];
        all.credit_micros += u64::from(*credit);
        all.value = all.value.saturating_add(part);
    }
}

fn credit(model: AttributionModel, earned: Earned) -> ModelCredit {
    let Earned { credit_micros, value } = earned;
    ModelCredit { model: model.into(), credit_micros, value_micros: value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{Money, TouchKind};

    const ASKED: Asked = Asked {
        account: 1,
        outcome: Outcome::Conversion,
        level: CreditLevel::Campaign,
        start: Moment(0),
        end: Moment(1_000_000),
    };

    fn row(outcome_id: u64, path: &[(u64, [u32; 6])]) -> AttributionRow {
        let touch = |(campaign_id, credits): &(u64, [u32; 6])| TouchCredit {
            campaign_id: *campaign_id,
            ad_id: campaign_id + 100,
            kind: TouchKind::Tap.into(),
            credit_micros: credits.to_vec(),
            ..TouchCredit::default()
        };
        AttributionRow {
            outcome_id,
            revision: 1,
            outcome: Outcome::Conversion.into(),
            account_id: 1,
            value: Some(Money { micros: 101, currency: "MXN".into() }),
            event_time: Some(prost_types::Timestamp { seconds: 5, nanos: 0 }),
            path: path.iter().map(touch).collect(),
            ..AttributionRow::default()
        }
    }

    fn told(gathered: Gathered) -> CompareModelsResponse {
        gathered.share(&ASKED, "MXN").unwrap()
    }

    const HALF: [u32; 6] = [0, 1_000_000, 0, 500_000, 400_000, 500_000];
    const REST: [u32; 6] = [1_000_000, 0, 1_000_000, 500_000, 600_000, 500_000];

    #[test]
    fn every_model_shares_every_outcome_and_its_value() {
        let mut gathered = Gathered::default();
        gathered.take(row(1, &[(7, HALF), (9, REST)]));
        gathered.take(row(2, &[(9, [1_000_000; 6])]));
        gathered.take_idle(vec![Met { campaign: 7, ..Met::default() }]);
        let told = told(gathered);
        assert_eq!((told.outcomes, told.value_micros, told.paths_without_outcome), (2, 202, 1));
        for model in 0..8 {
            let of = |get: fn(&ModelCredit) -> u64| {
                told.rows.iter().map(|row| get(&row.credits[model])).sum::<u64>()
            };
            assert_eq!(of(|it| it.credit_micros), 2_000_000, "model {model}");
            assert_eq!(of(|it| it.value_micros as u64), 202, "model {model}");
            assert_eq!(told.rows[0].credits[model].model, model as i32 + 1);
        }
        let seven = &told.rows[0];
        assert_eq!(
            (seven.id, seven.credits[1].credit_micros, seven.credits[4].value_micros),
            (7, 1_000_000, 40)
        );
        // 7 leads to 9 half of the time, 9 always to an outcome: without 7 a third is lost.
        assert_eq!(
            (seven.removal_effect_micros, told.rows[1].removal_effect_micros),
            (500_000, 1_000_000)
        );
    }

    #[test]
    fn the_highest_revision_of_an_outcome_counts() {
        let revised = |revision, is_invalid| AttributionRow {
            revision,
            invalid: i32::from(is_invalid),
            ..row(1, &[(7, [1_000_000; 6])])
        };
        let mut gathered = Gathered::default();
        gathered.take(revised(3, true));
        gathered.take(revised(2, false));
        assert_eq!(told(gathered).outcomes, 0, "taken back");
        let mut gathered = Gathered::default();
        gathered.take(revised(1, true));
        gathered.take(revised(2, false));
        assert_eq!(told(gathered).outcomes, 1);
    }

    #[test]
    fn declined_and_invalid_outcomes_are_not_shared_and_foreign_money_is_not_counted() {
        let mut gathered = Gathered::default();
        gathered.take(AttributionRow { invalid: 1, ..row(1, &[(7, [1_000_000; 6])]) });
        gathered.take(AttributionRow { decline_reason: 1, ..row(2, &[(7, [1_000_000; 6])]) });
        let value = Some(Money { micros: 5, currency: "USD".into() });
        gathered.take(AttributionRow { value, ..row(3, &[(7, [1_000_000; 6])]) });
        let told = told(gathered);
        assert_eq!((told.outcomes, told.value_micros), (1, 0));
    }

    #[test]
    fn only_what_is_asked_for_is_shared() {
        let row = row(1, &[]);
        assert!(ASKED.asks(&row));
        assert!(!Asked { account: 2, ..ASKED }.asks(&row));
        assert!(!Asked { outcome: Outcome::Qualified, ..ASKED }.asks(&row));
        assert!(!Asked { start: Moment(5_001), ..ASKED }.asks(&row));
        assert!(!Asked { end: Moment(5_000), ..ASKED }.asks(&row));
    }

    #[test]
    fn too_many_players_are_refused_with_a_way_out() {
        let mut gathered = Gathered::default();
        (0..=PLAYERS_MAX as u64)
            .for_each(|campaign| gathered.take_idle(vec![Met { campaign, ..Met::default() }]));
        let refusal = gathered.share(&ASKED, "MXN").unwrap_err();
        assert_eq!(&*refusal.field, "level");
    }
}
