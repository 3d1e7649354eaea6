//! Days of an account's zone: daily budgets roll at its midnight, daylight-saving days included.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::types::time::{DAY_MS, Moment};

/// One day of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Day {
    /// Days since 1970-01-01 in the account's zone.
    pub number: i32,
    /// Its first moment.
    pub start: Moment,
    /// The first moment of the next.
    pub until: Moment,
}

/// Returns the day that a moment falls into. An unknown zone is UTC; the door lets none in.
pub fn day_of(zone: &str, now: Moment) -> Day {
    day_in(zone, now).unwrap_or_else(|| {
        let number = now.0.div_euclid(DAY_MS);
        Day {
            number: number as i32,
            start: Moment(number * DAY_MS),
            until: Moment((number + 1) * DAY_MS),
        }
    })
}

/// Returns the first moment of a day of a zone; see [`day_of`].
pub fn start_of(zone: &str, number: i32) -> Moment {
    let utc = Moment(i64::from(number) * DAY_MS);
    let start = || {
        let zone = TimeZone::get(zone).ok()?;
        let zoned = date_of(number)?.to_zoned_datetime(zone).ok()?;
        Some(Moment(zoned.timestamp().as_millisecond()))
    };
    start().unwrap_or(utc)
}

/// Returns the calendar month of a day as months since year 0, so that months are in order.
pub fn month_of(number: i32) -> i32 {
    date_of(number).map_or(0, |date| i32::from(date.year()) * 12 + i32::from(date.month()) - 1)
}

fn date_of(number: i32) -> Option<Date> {
    jiff::civil::date(1970, 1, 1).checked_add(number.days()).ok()
}

fn day_in(zone: &str, now: Moment) -> Option<Day> {
    let zone = TimeZone::get(zone).ok()?;
    let local = Timestamp::from_millisecond(now.0).ok()?.to_zoned_datetime(zone.clone());
    let date = local.date();
    let start = date.to_zoned_datetime(zone.clone()).ok()?;
    let until = date.checked_add(1.day()).ok()?.to_zoned_datetime(zone).ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    let number = date.since(epoch).ok()?.get_days();
    Some(Day {
        number,
        start: Moment(start.timestamp().as_millisecond()),
        until: Moment(until.timestamp().as_millisecond()),
    })
}

/// Returns the hour of the week on a zone's clocks: 0 is Monday from 00:00 to 00:59, 167 the last of Sunday.
/// An unknown zone is UTC.
pub fn hour_of_week_in(zone: &str, now: Moment) -> u8 {
    let local = TimeZone::get(zone).ok().zip(Timestamp::from_millisecond(now.0).ok());
    local.map_or(now.hour_of_week(0), |(zone, now)| {
        let there = now.to_zoned_datetime(zone);
        there.weekday().to_monday_zero_offset() as u8 * 24 + there.hour() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    fn at(text: &str) -> Moment {
        Moment(text.parse::<Timestamp>().expect("a time").as_millisecond())
    }

    #[test]
    fn a_day_ends_at_the_zones_midnight() {
        let day = day_of("America/Mexico_City", at("2026-11-23T05:59:59Z"));
        assert_eq!(day.until, at("2026-11-23T06:00:00Z"));
        let next = day_of("America/Mexico_City", day.until);
        assert_eq!((next.start, next.number), (day.until, day.number + 1));
    }

    #[test]
    fn daylight_saving_days_have_23_and_25_hours() {
        let length = |text| {
            let day = day_of("America/New_York", at(text));
            (day.until.0 - day.start.0) / HOUR_MS
        };
        assert_eq!(length("2026-03-08T12:00:00Z"), 23);
        assert_eq!(length("2026-11-01T12:00:00Z"), 25);
    }

    #[test]
    fn the_week_is_that_of_the_zones_clocks() {
        let hour = |text| hour_of_week_in("America/New_York", at(text));
        assert_eq!(hour("2026-11-23T05:00:00Z"), 0, "a Monday");
        assert_eq!(hour("2026-11-23T04:59:59Z"), 167);
        // Clocks go from 01:59 to 03:00 in spring and show 01:00 twice in autumn.
        let sunday = 6 * 24;
        assert_eq!(hour("2026-03-08T06:59:59Z"), sunday + 1);
        assert_eq!(hour("2026-03-08T07:00:00Z"), sunday + 3);
        assert_eq!(hour("2026-11-01T05:30:00Z"), sunday + 1);
        assert_eq!(hour("2026-11-01T06:30:00Z"), sunday + 1);
        assert_eq!(hour_of_week_in("Asia/Kolkata", at("2026-11-22T18:30:00Z")), 0);
    }

    #[test]
    fn days_are_numbered_since_the_epoch() {
        assert_eq!(day_of("UTC", Moment(0)).number, 0);
        assert_eq!(day_of("UTC", Moment(-1)).number, -1);
        assert_eq!(day_of("Asia/Kolkata", at("2026-11-22T18:30:00Z")).number, 20_780);
    }

    #[test]
    fn a_day_begins_where_it_was_said_to_and_lies_in_its_month() {
        for zone in ["America/Mexico_City", "America/New_York", "Asia/Kolkata", "UTC"] {
            for text in ["2026-03-08T12:00:00Z", "2026-11-01T12:00:00Z", "2026-11-30T23:59:59Z"] {
                let day = day_of(zone, at(text));
                assert_eq!(start_of(zone, day.number), day.start, "{zone} {text}");
            }
        }
        let month = |text| month_of(day_of("UTC", at(text)).number);
        assert_eq!(month("2026-11-30T23:59:59Z"), 2026 * 12 + 10);
        assert_eq!(month("2026-12-01T00:00:00Z"), 2026 * 12 + 11);
    }
}
