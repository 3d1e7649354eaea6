//! Experiments: holdouts over campaigns.

use std::collections::BTreeSet;

use crate::rpc::limits::{
    CONTROL_MICROS_DEFAULT, CONTROL_MICROS_MAX, CONTROL_MICROS_MIN, EXPERIMENT_CAMPAIGNS_MAX,
};
use crate::rpc::parse::campaigns::name;
use crate::rpc::parse::field::{Path, at_most, id, moment, required};
use crate::rpc::parse::mutations::{Fields, Shape, Verb};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Resource};

const EXPERIMENT: Shape = Shape {
    name: "experiment",
    mutable: &["name", "end_time"],
    fixed: &["account_id", "campaign_ids", "control_micros", "start_time", "aa"],
};

/// Returns a checked write of an experiment.
pub(in crate::rpc) fn experiment(
    wire: Option<v1::Experiment>,
    verb: Verb,
) -> Result<Change, Refusal> {
    let path = Path::root(EXPERIMENT.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &EXPERIMENT, row.id)?;
    name(&row.name, &fields, path)?;
    if fields.create() {
        id(row.account_id, path.field("account_id"))?;
        campaigns(&row.campaign_ids, path.field("campaign_ids"))?;
        row.control_micros = share(row.control_micros, path.field("control_micros"))?;
        moment(row.start_time, path.field("start_time"))?;
    }
    if fields.take("end_time") {
        moment(row.end_time, path.field("end_time"))?;
    }
    Ok(fields.change(Resource::Experiment(row)))
}

fn campaigns(ids: &[u64], path: Path) -> Result<(), Refusal> {
    at_most(ids.len(), EXPERIMENT_CAMPAIGNS_MAX, path)?;
    let mut named = BTreeSet::new();
    for (index, campaign) in ids.iter().enumerate() {
        id(*campaign, path.at(index))?;
        if !named.insert(campaign) {
            let message = "is there twice: name each campaign once";
            return Err(path.at(index).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(())
}

fn share(told: u32, path: Path) -> Result<u32, Refusal> {
    match told {
        0 => Ok(CONTROL_MICROS_DEFAULT),
        CONTROL_MICROS_MIN..=CONTROL_MICROS_MAX => Ok(told),
        _ => {
            let message = format!(
                "is {told}: send {CONTROL_MICROS_MIN} (1 %) to {CONTROL_MICROS_MAX} (50 %), or \
                 nothing for 10 %"
            );
            Err(path.refuse(Reason::FieldInvalid, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FieldMask, Timestamp};

    use super::*;

    fn whole() -> v1::Experiment {
        v1::Experiment {
            account_id: 5,
            name: "Spring holdout".into(),
            campaign_ids: vec![6, 7],
            ..v1::Experiment::default()
        }
    }

    #[test]
    fn an_experiment_without_a_share_holds_a_tenth_of_viewers_back() {
        let wanted = v1::Experiment { control_micros: 100_000, ..whole() };
        let change = experiment(Some(whole()), Verb::Create);
        assert_eq!(change, Ok(Change::Create(Resource::Experiment(wanted))));
    }

    #[test]
    fn an_experiment_is_refused_by_the_field_at_fault() {
        let check = |field: &str, spoil: fn(&mut v1::Experiment)| {
            let mut row = whole();
            spoil(&mut row);
            assert_eq!(experiment(Some(row), Verb::Create).unwrap_err().field, field);
        };
        check("experiment.account_id", |row| row.account_id = 0);
        check("experiment.name", |row| row.name.clear());
        check("experiment.name", |row| row.name = "x".repeat(101));
        check("experiment.campaign_ids[1]", |row| row.campaign_ids[1] = 0);
        check("experiment.campaign_ids[1]", |row| row.campaign_ids[1] = 6);
        check("experiment.campaign_ids", |row| row.campaign_ids = (1..=65).collect());
        check("experiment.control_micros", |row| row.control_micros = 9_999);
        check("experiment.control_micros", |row| row.control_micros = 500_001);
        let early = Some(Timestamp { seconds: -1, nanos: 0 });
        check("experiment.start_time.seconds", move |row| {
            row.start_time = Some(Timestamp { seconds: -1, nanos: 0 });
        });
        let mut row = whole();
        row.end_time = early;
        let refused = experiment(Some(row), Verb::Create).unwrap_err();
        assert_eq!(refused.field, "experiment.end_time.seconds");
        assert_eq!(experiment(None, Verb::Create).unwrap_err().field, "experiment");
    }

    #[test]
    fn only_its_name_and_its_end_can_change() {
        let update = |path: &str| {
            let mask = FieldMask { paths: vec![path.into()] };
            let row = v1::Experiment { id: 9, ..whole() };
            experiment(Some(row), Verb::Update(Some(mask)))
        };
        assert!(update("name").is_ok() && update("end_time").is_ok());
        for fixed in ["control_micros", "campaign_ids", "aa", "start_time", "etag"] {
            assert_eq!(update(fixed).unwrap_err().field, "update_mask.paths[0]", "{fixed}");
        }
    }
}
