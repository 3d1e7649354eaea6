//! Field masks: taking the named fields of a wanted version into the current one, and stamping it.

use crate::state::credit::timestamp;
use crate::types::proto::v1::{ConfiguredStatus, Experiment};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Resource;
use crate::types::time::Moment;

/// Returns the current version with the fields that the mask names taken from the wanted one.
pub(in crate::decide) fn merge(
    current: Resource,
    wanted: &Resource,
    mask: &[String],
) -> Result<Resource, Refusal> {
    let mut merged = current;
    for field in mask {
        let known = match (&mut merged, wanted) {
            (Resource::Account(row), Resource::Account(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "spend_limit" => take(&mut row.spend_limit, &new.spend_limit),
                "configured_status" => take(&mut row.configured_status, &new.configured_status),
                "report_noise" => take(&mut row.report_noise, &new.report_noise),
                _ => false,
            },
            (Resource::Business(row), Resource::Business(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "category" => take(&mut row.category, &new.category),
                "configured_status" => take(&mut row.configured_status, &new.configured_status),
                _ => false,
            },
            (Resource::Campaign(row), Resource::Campaign(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "objective" => take(&mut row.objective, &new.objective),
                "configured_status" => take(&mut row.configured_status, &new.configured_status),
                "budget" => take(&mut row.budget, &new.budget),
                "spend_cap" => take(&mut row.spend_cap, &new.spend_cap),
                _ => false,
            },
            (Resource::AdSet(row), Resource::AdSet(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "configured_status" => take(&mut row.configured_status, &new.configured_status),
                "targeting" => take(&mut row.targeting, &new.targeting),
                "bid" => take(&mut row.bid, &new.bid),
                "budget" => take(&mut row.budget, &new.budget),
                "frequency_caps" => take(&mut row.frequency_caps, &new.frequency_caps),
                "or_targeting" => take(&mut row.or_targeting, &new.or_targeting),
                "beneficiary" => take(&mut row.beneficiary, &new.beneficiary),
                "payer" => take(&mut row.payer, &new.payer),
                "start_time" => take(&mut row.start_time, &new.start_time),
                "end_time" => take(&mut row.end_time, &new.end_time),
                "spend_cap" => take(&mut row.spend_cap, &new.spend_cap),
                "daily_min_spend" => take(&mut row.daily_min_spend, &new.daily_min_spend),
                "schedule_hours" => take(&mut row.schedule_hours, &new.schedule_hours),
                "attribution_spec" => take(&mut row.attribution_spec, &new.attribution_spec),
                _ => false,
            },
            (Resource::Ad(row), Resource::Ad(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "configured_status" => take(&mut row.configured_status, &new.configured_status),
                "creative" => take(&mut row.creative, &new.creative),
                "destination" => take(&mut row.destination, &new.destination),
                _ => false,
            },
            (Resource::Experiment(row), Resource::Experiment(new)) => match field.as_str() {
                "name" => take(&mut row.name, &new.name),
                "end_time" => take(&mut row.end_time, &new.end_time),
                _ => false,
            },
            _ => false,
        };
        if !known {
            let message = format!("{field} is no field that can be changed");
            return Err(Refusal::new(Reason::FieldInvalid, "update_mask", message));
        }
    }
    Ok(merged)
}

/// Takes a wanted value; true, for the field is known.
fn take<T: Clone>(current: &mut T, wanted: &T) -> bool {
    current.clone_from(wanted);
    true
}

/// Returns the version with its revision and time of change written in.
pub(in crate::decide) fn stamp(resource: Resource, revision: u64, now: Moment) -> Resource {
    let (etag, time) = (revision.to_string(), Some(timestamp(now.0)));
    let status = |configured: i32| match ConfiguredStatus::try_from(configured) {
        Ok(ConfiguredStatus::Unspecified) | Err(_) => ConfiguredStatus::Active.into(),
        Ok(status) => status.into(),
    };
    macro_rules! stamped {
        ($kind:ident, $row:ident) => {{
            let mut row = $row;
            row.configured_status = status(row.configured_status);
            row.etag = etag;
            row.update_time = time;
            Resource::$kind(row)
        }};
    }
    match resource {
        Resource::Account(row) => stamped!(Account, row),
        Resource::Business(row) => stamped!(Business, row),
        Resource::Campaign(row) => stamped!(Campaign, row),
        Resource::AdSet(row) => stamped!(AdSet, row),
        Resource::Ad(row) => stamped!(Ad, row),
        // These have one version.
        Resource::Endpoint(row) => Resource::Endpoint(row),
        Resource::Source(row) => Resource::Source(row),
        Resource::Experiment(row) => Resource::Experiment(Experiment { etag, ..row }),
    }
}

/// Returns the etag that a caller sent.
pub(in crate::decide) fn etag(resource: &Resource) -> &str {
    match resource {
        Resource::Account(row) => &row.etag,
        Resource::Business(row) => &row.etag,
        Resource::Campaign(row) => &row.etag,
        Resource::AdSet(row) => &row.etag,
        Resource::Ad(row) => &row.etag,
        Resource::Experiment(row) => &row.etag,
        Resource::Endpoint(_) | Resource::Source(_) => "",
    }
}

/// Returns a stored version's revision and configured status.
pub(in crate::decide) fn revision_and_status(resource: &Resource) -> (u64, ConfiguredStatus) {
    let status = match resource {
        Resource::Account(row) => row.configured_status(),
        Resource::Business(row) => row.configured_status(),
        Resource::Campaign(row) => row.configured_status(),
        Resource::AdSet(row) => row.configured_status(),
        Resource::Ad(row) => row.configured_status(),
        Resource::Endpoint(_) | Resource::Source(_) | Resource::Experiment(_) => {
            ConfiguredStatus::Active
        }
    };
    (etag(resource).parse().unwrap_or_default(), status)
}
