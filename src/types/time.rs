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

    /// Returns the first moment of a day of UTC: `month` 1 to 12, `day` 1 to 31.
    pub const fn of_date(year: i32, month: i32, day: i32) -> Self {
        // Years begin in March, so that a leap day is the last of its year; eras have 400 years.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        Self(days as i64 * DAY_MS)
    }

    /// Returns the first moment of a month of UTC, counted from 1970-01.
    pub const fn of_month(month: u32) -> Self {
        Self::of_date(1970 + (month / 12) as i32, (month % 12) as i32 + 1, 1)
    }

    /// Returns the month of UTC that the moment is in, counted from 1970-01; before it 0.
    pub const fn month(self) -> u32 {
        let days = self.0.div_euclid(DAY_MS) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        // Counted from March: the year's last two months are the next year's first.
        let months = (era * 400 + year) * 12 + (5 * of_year + 2) / 153 + 2 - 1_970 * 12;
        if months < 0 { 0 } else { months as u32 }
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
    fn days_and_months_of_utc_are_those_of_the_calendar() {
        use jiff::{Timestamp, tz::TimeZone};
        for day in 0..50_000_i64 {
            let moment = Moment(day * DAY_MS + DAY_MS - 1);
            let civil =
                Timestamp::from_millisecond(moment.0).unwrap().to_zoned_datetime(TimeZone::UTC);
            let (year, month) = (i32::from(civil.year()), i32::from(civil.month()));
            let date = Moment::of_date(year, month, i32::from(civil.day()));
            assert_eq!(date, Moment(day * DAY_MS), "{civil}");
            assert_eq!(moment.month(), ((year - 1970) * 12 + month - 1) as u32, "{civil}");
            assert_eq!(Moment::of_month(moment.month()), Moment::of_date(year, month, 1));
        }
        assert_eq!((Moment(-1).month(), Moment(i64::MIN).month()), (0, 0));
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
