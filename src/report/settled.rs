//! How complete counts are: how many of an hour's events have been told, by how late earlier ones were.

use std::collections::BTreeMap;

use crate::state::lateness::{DELAY_HOURS, Delays};
use crate::state::viewers::VIEW_MEMORY_MS;
use crate::types::time::{HOUR_MS, Moment};

/// Fewer events of closed hours teach no curve.
pub const LATENESS_EVENTS_MIN: u64 = 1_000;

/// Returns the latest hour whose tokens have all ended: counts before it change no more.
pub fn complete_up_to(now: Moment) -> Moment {
    let ended = now.0 - VIEW_MEMORY_MS;
    Moment(ended - ended.rem_euclid(HOUR_MS))
}

/// Returns the share of a span's events that is expected to be counted by now: `events` are those counted of each
/// hour, `delays` those of closed hours by how late they were told. `None`: too little is known, or nothing
/// happened.
pub fn settled_fraction(events: &BTreeMap<u32, u64>, delays: &Delays, now: Moment) -> Option<f64> {
    let known: u64 = delays.iter().sum();
    if known < LATENESS_EVENTS_MIN {
        return None;
    }
    let told_within = |hours: usize| {
        let told: u64 = delays[..=hours.min(DELAY_HOURS - 1)].iter().sum();
        // An hour of which none were ever told in time could grow without end.
        told.max(1) as f64 / known as f64
    };
    let (mut counted, mut expected) = (0.0, 0.0);
    for (hour, count) in events {
        let age = now.hour().saturating_sub(*hour) as usize;
        counted += *count as f64;
        expected += *count as f64 / told_within(age);
    }
    (expected > 0.0).then(|| counted / expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_by_now_is_what_was_told_in_time_before() {
        let mut delays = [0; DELAY_HOURS];
        (delays[0], delays[2], delays[26]) = (600, 300, 100);
        let now = Moment(100 * HOUR_MS);
        let settled = |events: &[(u32, u64)]| {
            settled_fraction(&events.iter().copied().collect(), &delays, now)
        };
        let close = |found: Option<f64>, wanted: f64| {
            assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-12), "{found:?}");
        };
        close(settled(&[(74, 9)]), 1.0);
        close(settled(&[(100, 60)]), 0.6);
        close(settled(&[(99, 60)]), 0.6);
        close(settled(&[(98, 90)]), 0.9);
        // 90 of 100 and 60 of 100.
        close(settled(&[(98, 90), (100, 60)]), 0.75);
        assert_eq!(settled(&[]), None);
        delays[0] = 599;
        assert_eq!(settled_fraction(&BTreeMap::from([(9, 9)]), &delays, now), None);
    }
}
