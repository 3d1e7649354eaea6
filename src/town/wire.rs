//! Small things of the wire: moments as timestamps, names of enums.

use prost_types::Timestamp;

use crate::types::proto::v1::NoAdReason;
use crate::types::time::{Moment, SECOND_MS};

/// Returns the moment as the wire spells it.
pub(crate) fn timestamp(moment: Moment) -> Timestamp {
    Timestamp {
        seconds: moment.0.div_euclid(SECOND_MS),
        nanos: (moment.0.rem_euclid(SECOND_MS) * 1_000_000) as i32,
    }
}

/// Returns the moment that the wire spells, cut to its millisecond.
pub(crate) fn moment(timestamp: &Timestamp) -> Moment {
    Moment(timestamp.seconds * SECOND_MS + i64::from(timestamp.nanos) / 1_000_000)
}

/// Returns the short name of a reason for an empty slot: `FREQUENCY_CAPPED`.
pub(crate) fn reason_name(reason: i32) -> String {
    let Ok(known) = NoAdReason::try_from(reason) else {
        return format!("REASON_{reason}");
    };
    known.as_str_name().trim_start_matches("NO_AD_REASON_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wire() {
        for at in [Moment(0), Moment(1_780_272_000_123), Moment(-1)] {
            assert_eq!(moment(&timestamp(at)), at);
        }
    }

    #[test]
    fn a_reason_has_its_short_name_and_an_unknown_one_its_number() {
        assert_eq!(reason_name(NoAdReason::FrequencyCapped as i32), "FREQUENCY_CAPPED");
        assert_eq!(reason_name(99), "REASON_99");
    }
}
