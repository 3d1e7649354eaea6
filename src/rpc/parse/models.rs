//! What an analyst asks of the attribution models.

use crate::node::MODEL_DAYS;
use crate::report::models::compare::Asked;
use crate::rpc::limits::MODEL_PERIOD_DAYS_MAX;
use crate::rpc::parse::field::{Path, id, moment, optional_variant, period};
use crate::types::proto::v1;
use crate::types::proto::v1::{CreditLevel, Outcome};
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::{DAY_MS, Moment};

/// Returns the question, and whether its period is left to us.
pub(in crate::rpc) fn compared(
    wire: &v1::CompareModelsRequest,
    now: Moment,
) -> Result<(Asked, bool), Refusal> {
    let account = id(wire.account_id, Path::root("account_id"))?;
    let outcome = match optional_variant(wire.outcome, Path::root("outcome"))? {
        Outcome::Unspecified => Outcome::Conversion,
        outcome => outcome,
    };
    let level = match optional_variant(wire.level, Path::root("level"))? {
        CreditLevel::Unspecified => CreditLevel::Campaign,
        level => level,
    };
    let (start_path, end_path) = (Path::root("start_time"), Path::root("end_time"));
    let told = (moment(wire.start_time, start_path)?, moment(wire.end_time, end_path)?);
    let (start, end) = match told {
        (None, None) => (now.plus_ms(-MODEL_DAYS * DAY_MS), now),
        (Some(start), end) => (start, end.unwrap_or(now)),
        (None, Some(_)) => {
            let message = "is missing: send both, or neither for the last night's run";
            return Err(start_path.refuse(Reason::FieldMissing, message));
        }
    };
    period([start, end], MODEL_PERIOD_DAYS_MAX, end_path)?;
    Ok((Asked { account, outcome, level, start, end }, told == (None, None)))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    const NOW: Moment = Moment(1_800_000_000_000);

    fn asked(change: impl Fn(&mut v1::CompareModelsRequest)) -> Result<(Asked, bool), Refusal> {
        let mut wire = v1::CompareModelsRequest { account_id: 7, ..Default::default() };
        change(&mut wire);
        compared(&wire, NOW)
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_not_told_is_the_last_four_weeks_of_conversions_by_campaign() {
        let (asked, any_period) = asked(|_| ()).unwrap();
        assert!(any_period);
        assert_eq!((asked.outcome, asked.level), (Outcome::Conversion, CreditLevel::Campaign));
        assert_eq!((asked.end, asked.end.0 - asked.start.0), (NOW, 28 * DAY_MS));
    }

    #[test]
    fn each_bad_field_is_refused_by_its_name() {
        let field = |change: fn(&mut v1::CompareModelsRequest)| asked(change).unwrap_err().field;
        assert_eq!(field(|wire| wire.account_id = 0), "account_id");
        assert_eq!(field(|wire| wire.outcome = 99), "outcome");
        assert_eq!(field(|wire| wire.level = 99), "level");
        assert_eq!(field(|wire| wire.end_time = at(1_700_000_000)), "start_time");
        let inverted = |wire: &mut v1::CompareModelsRequest| {
            (wire.start_time, wire.end_time) = (at(1_700_000_001), at(1_700_000_000));
        };
        assert_eq!(field(inverted), "end_time");
        assert_eq!(field(|wire| wire.start_time = at(1_700_000_000)), "end_time", "too long");
        let (week, any_period) = asked(|wire| wire.start_time = at(1_799_999_000)).unwrap();
        assert!(!any_period && week.end == NOW);
    }
}
