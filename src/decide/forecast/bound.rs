//! How much may be delivered beyond a budget and not charged: the measured bound, by volume.
//!
//! A budget is hard: what is delivered beyond it is never charged. It is delivered because a tap or
//! conversation comes after the ad was shown, and whether it comes is chance: the fewer events a day, the
//! larger the share of the last one. `tests/behaviour/beyond.rs` measures it, with three viewers for each that
//! the budget can pay for and rates as the priors have them, and asserts the bounds that stand here. They
//! are the most of two measurements and a half more, at least the half percent that is promised.

use crate::types::proto::v1::BillingEvent;

/// Volumes of billed events a day that are measured.
const VOLUMES: [f64; 4] = [3.0, 10.0, 100.0, 1_000.0];

/// Millionths of spend at those volumes, of impressions. One is held at its whole price until it is seen.
const IMPRESSIONS: [u32; 4] = [5_000; 4];

/// Of taps: 61,093 and 41,768 measured, then 496 and none.
const TAPS: [u32; 4] = [90_000, 60_000, 5_000, 5_000];

/// Of conversations: 131,238, 61,614 and 3,292 measured over ten days, then none.
const CONVERSATIONS: [u32; 4] = [200_000, 90_000, 6_000, 5_000];

/// Returns what may be delivered beyond a budget that buys so many events a day, in millionths of spend.
/// Between measured volumes it is interpolated on the logarithm of the volume, outside it is that of the
/// nearest.
pub fn over_delivery_ppm(billing: BillingEvent, events_a_day: f64) -> u32 {
    let measured = match billing {
        BillingEvent::Impressions | BillingEvent::Unspecified => IMPRESSIONS,
        BillingEvent::LinkClicks => TAPS,
        BillingEvent::Conversations => CONVERSATIONS,
    };
    let above = VOLUMES.iter().position(|volume| events_a_day < *volume);
    match above {
        Some(0) => measured[0],
        None => measured[VOLUMES.len() - 1],
        Some(at) => {
            let (low, high) = (VOLUMES[at - 1], VOLUMES[at]);
            let part = (events_a_day / low).ln() / (high / low).ln();
            let (from, to) = (f64::from(measured[at - 1]), f64::from(measured[at]));
            (from + (to - from) * part).ceil() as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_falls_with_the_volume_and_meets_what_was_measured() {
        let of = |events| over_delivery_ppm(BillingEvent::Conversations, events);
        for (volume, ppm) in VOLUMES.into_iter().zip(CONVERSATIONS) {
            assert_eq!(of(volume), ppm);
        }
        let volumes = [0.0, 1.0, 3.0, 4.0, 9.0, 30.0, 99.0, 500.0, 1e6];
        assert!(volumes.map(of).is_sorted_by(|one, next| one >= next));
        assert!((6_001..90_000).contains(&of(31.6)), "{}", of(31.6));
        assert_eq!(over_delivery_ppm(BillingEvent::Impressions, 5.0), 5_000);
    }
}
