//! Field masks: taking the named fields of a wanted version into the current one, and stamping it.

use crate::state::credit::timestamp;
use crate::types::proto::v1::ConfiguredStatus;
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
                "name" => Some(row.name.clone_from(&new.name)),
                "spend_limit" => Some(row.spend_limit.clone_from(&new.spend_limit)),
                "configured_status" => Some(row.configured_status = new.configured_status),
                _ => None,
            },
            (Resource::Business(row), Resource::Business(new)) => match field.as_str() {
                "name" => Some(row.name.clone_from(&new.name)),
                "category" => Some(row.category.clone_from(&new.category)),
                "configured_status" => Some(row.configured_status = new.configured_status),
                _ => None,
            },
            (Resource::Campaign(row), Resource::Campaign(new)) => match field.as_str() {
                "name" => Some(row.name.clone_from(&new.name)),
                "objective" => Some(row.objective = new.objective),
                "configured_status" => Some(row.configured_status = new.configured_status),
                "budget" => Some(row.budget.clone_from(&new.budget)),
                _ => None,
            },
            (Resource::AdSet(row), Resource::AdSet(new)) => match field.as_str() {
                "name" => Some(row.name.clone_from(&new.name)),
                "configured_status" => Some(row.configured_status = new.configured_status),
                "targeting" => Some(row.targeting.clone_from(&new.targeting)),
                "bid" => Some(row.bid.clone_from(&new.bid)),
                "budget" => Some(row.budget.clone_from(&new.budget)),
                "frequency_cap" => Some(row.frequency_cap = new.frequency_cap),
                "start_time" => Some(row.start_time = new.start_time),
                "end_time" => Some(row.end_time = new.end_time),
                _ => None,
            },
            (Resource::Ad(row), Resource::Ad(new)) => match field.as_str() {
                "name" => Some(row.name.clone_from(&new.name)),
                "configured_status" => Some(row.configured_status = new.configured_status),
                "creative" => Some(row.creative.clone_from(&new.creative)),
                "destination" => Some(row.destination.clone_from(&new.destination)),
                _ => None,
            },
            _ => None,
        };
        if known.is_none() {
            let message = format!("{field} is no field that can be changed");
            return Err(Refusal::new(Reason::FieldInvalid, "update_mask", message));
        }
    }
    Ok(merged)
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
        // An endpoint has one version.
        Resource::Endpoint(row) => Resource::Endpoint(row),
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
        Resource::Endpoint(_) => "",
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
        Resource::Endpoint(_) => ConfiguredStatus::Active,
    };
    (etag(resource).parse().unwrap_or_default(), status)
}
