//! Time as the engine counts it: milliseconds since the Unix epoch, always an argument.

/// Milliseconds in a second.
pub const SECOND_MS: i64 = 1_000;
/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a day of 24 hours.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A moment: milliseconds since 1970-01-01T00:00Z. Moments from outside lie between 1970 and 2105,
/// so that their seconds fit the 32 bits of a token.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub i64);

impl Moment {
    /// Returns the moment that many milliseconds later.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the whole seconds since the epoch.
    pub const fn seconds(self) -> u32 {
        self.0.div_euclid(SECOND_MS) as u32
    }

    /// Returns the whole minutes since the epoch.
    pub const fn minute(self) -> u32 {
        self.0.div_euclid(MINUTE_MS) as u32
    }

    /// Returns the whole hours since the epoch.
    pub const fn hour(self) -> u32 {
        self.0.div_euclid(HOUR_MS) as u32
    }

    /// Returns the hour of the week where clocks are that many minutes ahead of UTC: 0 is Monday from
    /// 00:00 to 00:59, 167 the last of Sunday.
    pub const fn hour_of_week(self, offset_minutes: i16) -> u8 {
        let there = self.0 + offset_minutes as i64 * MINUTE_MS;
        // The epoch began on a Thursday.
        (there.div_euclid(HOUR_MS) + 3 * 24).rem_euclid(7 * 24) as u8
    }

    /// Returns the moment of a second since the epoch.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds as i64 * SECOND_MS)
    }
}

impl From<&prost_types::Timestamp> for Moment {
    /// Returns the moment that the wire spells, cut to its millisecond.
    fn from(time: &prost_types::Timestamp) -> Self {
        let ms = time.seconds.saturating_mul(SECOND_MS);
        Self(ms.saturating_add(i64::from(time.nanos) / 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_falls_into_its_minute_and_hour() {
        let moment = Moment(3 * HOUR_MS - 1);
        assert_eq!((moment.hour(), moment.minute(), moment.seconds()), (2, 179, 10_799));
        assert_eq!(moment.plus_ms(1).hour(), 3);
    }

    #[test]
    fn the_week_begins_on_monday_where_the_viewer_is() {
        // 2026-11-23 was a Monday.
        let monday = Moment(1_795_392_000_000);
        assert_eq!(monday.hour_of_week(0), 0);
        assert_eq!(monday.hour_of_week(-60), 167);
        assert_eq!(monday.hour_of_week(330), 5);
        assert_eq!(monday.plus_ms(DAY_MS - 1).hour_of_week(0), 23);
    }
}
