//! How many people a targeting reaches, from a sample of viewers.

use crate::decide::target::{Target, Told, Trait};
use crate::types::proto::v1::Placement;
use crate::types::request::Profile;
use crate::types::time::Moment;

/// The least audience that is told: of fewer people single ones could be found out.
pub const AUDIENCE_MIN: u64 = 1_000;

/// Standard deviations around the middle that hold 95 of 100.
const Z: f64 = 1.96;

/// An audience and the interval that holds the truth 95 times of 100.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Audience {
    /// The most likely number of people.
    pub people: u64,
    /// The lower end.
    pub low: u64,
    /// The upper end.
    pub high: u64,
}

impl Audience {
    /// Scales `found` people of a sample that holds each person with the chance `share`, above 0.
    ///
    /// The number found is binomial, so the ends are where the score test of a total `n` just holds:
    /// `(found - n share)^2 = z^2 n share (1 - share)` (Wilson's interval with the finite correction). With
    /// many found it is the normal approximation; with a share of 1 both ends are what was found.
    pub fn scaled(found: u64, share: f64) -> Self {
        if share >= 1.0 {
            return Self { people: found, low: found, high: found };
        }
        let count = found as f64;
        let spread = Z * Z * (1.0 - share);
        let middle = count + spread / 2.0;
        let reach = (count * spread + spread * spread / 4.0).sqrt();
        let scaled = |sampled: f64| (sampled.max(0.0) / share) as u64;
        // Whoever was found is there.
        let low = scaled(middle - reach).max(found);
        Self { people: scaled(count), low, high: scaled(middle + reach) + 1 }
    }
}

/// Asks the conjunctions of a draft of one viewer after the other; keeps its buffers.
#[derive(Debug)]
pub struct Crowd {
    targets: Vec<Target>,
    timed: Vec<bool>,
    told: Told,
}

impl Crowd {
    /// Takes the conjunctions. An hour of the week says when, not who: it needs a viewer whose hours are
    /// known, whichever they are.
    pub fn new(mut targets: Vec<Target>) -> Self {
        let timed = targets.iter_mut().map(|target| target.hours.take().is_some()).collect();
        Self { targets, timed, told: Told::default() }
    }

    /// Tells whether a viewer is targeted who was met in these placements, a bit each.
    pub fn has(&mut self, profile: &Profile, placements: u8) -> bool {
        self.told.take(profile, Placement::Unspecified, Moment(0));
        let dated = profile.utc_offset_minutes.is_some();
        let place = Trait::Placement as usize;
        let asked = self.targets.iter().zip(&self.timed).filter(|(_, timed)| dated || !**timed);
        let mut matching = asked.map(|(target, _)| target);
        let (told, seen) = (&mut self.told, (0..8).filter(|bit| placements >> bit & 1 == 1));
        let seen: Vec<u8> = seen.collect();
        matching.any(|target| {
            seen.iter().any(|bit| {
                told.traits[place] = *bit;
                target.matches(told)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::mix;
    use crate::types::proto::v1::Targeting;

    #[test]
    fn a_sample_of_everyone_is_exact() {
        let audience = Audience::scaled(1_234, 1.0);
        assert_eq!(audience, Audience { people: 1_234, low: 1_234, high: 1_234 });
    }

    #[test]
    fn the_interval_holds_the_truth_19_times_of_20_large_or_small() {
        for truth in [20_u64, 300, 5_000, 40_000] {
            let held = |round: u64| {
                let met = |person: &u64| mix(mix(*person) ^ round << 32) < u64::MAX / 16;
                let found = (0..truth).filter(met).count() as u64;
                let Audience { low, high, .. } = Audience::scaled(found, 1.0 / 16.0);
                (low..=high).contains(&truth)
            };
            let held = (1..=200).filter(|round| held(*round)).count();
            assert!((182..=200).contains(&held), "{truth}: {held} of 200");
        }
    }

    #[test]
    fn placements_and_hours_are_asked_of_what_is_known() {
        let crowd = |wire: Targeting| Crowd::new(vec![Target::of_one(&wire)]);
        let (nobody, status) = (Profile::default(), 1 << Placement::Status as u8);
        let mut placed =
            crowd(Targeting { placements: vec![Placement::Status.into()], ..Targeting::default() });
        assert!(placed.has(&nobody, status) && !placed.has(&nobody, 1 << 2));
        let mut timed = crowd(Targeting { hours_of_week: vec![3], ..Targeting::default() });
        assert!(!timed.has(&nobody, status));
        assert!(timed.has(&Profile { utc_offset_minutes: Some(0), ..nobody }, status));
    }
}
