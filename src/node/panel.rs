//! A panel of viewers, by hash of their number, and how many people of it a targeting reaches.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::decide::explain::audience::{AUDIENCE_MIN, Audience, Crowd};
use crate::decide::target::Target;
use crate::state::Map;
use crate::state::credit::timestamp;
use crate::types::hash::mix;
use crate::types::proto::v1::EstimateDeliveryResponse;
use crate::types::request::Profile;
use crate::types::time::{DAY_MS, Moment};

/// Viewers of the panel; in a system with fewer, all are in it.
pub const PANEL_MAX: usize = 65_536;

/// How long a viewer stays in it without coming back.
pub const PANEL_MEMORY_MS: i64 = 28 * DAY_MS;

/// Places of the filter that keeps viewers who were met this hour from being sent again.
const RECENT: usize = 2 * PANEL_MAX;

/// A place is kept as exactly as this, in millionths of a degree: about a kilometre.
const PLACE_E6: i32 = 10_000;

/// Returns what decides whether a viewer is in the panel: other bits than those that sample requests.
pub(in crate::node) fn panel_hash(viewer: u64) -> u64 {
    mix(viewer ^ 0xA5A5_5A5A_0F0F_F0F0)
}

/// Who was met this hour, nearly, and who is in the panel: what serving looks at.
pub(in crate::node) struct Recent {
    met: Box<[AtomicU64]>,
    threshold: AtomicU64,
}

impl Default for Recent {
    fn default() -> Self {
        let met = std::iter::repeat_with(AtomicU64::default).take(RECENT).collect();
        Self { met, threshold: AtomicU64::new(u64::MAX) }
    }
}

impl Recent {
    /// Tells whether a viewer is in the panel and was perhaps not met this hour.
    pub(in crate::node) fn is_due(&self, hash: u64, hour: u32) -> bool {
        let known = || self.met[place(hash)].load(Relaxed);
        hash <= self.threshold.load(Relaxed) && known() != stamp(hash, hour)
    }

    pub(in crate::node) fn met(&self, hash: u64, hour: u32) {
        self.met[place(hash)].store(stamp(hash, hour), Relaxed);
    }

    pub(in crate::node) fn narrow(&self, threshold: u64) {
        self.threshold.store(threshold, Relaxed);
    }
}

const fn place(hash: u64) -> usize {
    // The lowest bits: the threshold cuts off the highest.
    hash as usize % RECENT
}

const fn stamp(hash: u64, hour: u32) -> u64 {
    mix(hash ^ (hour as u64) << 32)
}

struct Seen {
    profile: Profile,
    /// A bit each.
    placements: u8,
    last: Moment,
}

/// The panel.
pub(in crate::node) struct Panel {
    viewers: Map<u64, Seen>,
    threshold: u64,
    since: Option<Moment>,
}

impl Default for Panel {
    fn default() -> Self {
        Self { viewers: Map::default(), threshold: u64::MAX, since: None }
    }
}

impl Panel {
    /// Returns the highest hash of the panel.
    pub(in crate::node) const fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Returns the chance with which a viewer is in the panel.
    fn share(&self) -> f64 {
        (self.threshold as f64 + 1.0) / (u64::MAX as f64 + 1.0)
    }

    /// Notes that a viewer asked. Its place is rounded.
    pub(in crate::node) fn meet(
        &mut self,
        viewer: u64,
        mut profile: Profile,
        placement: u8,
        now: Moment,
    ) {
        if panel_hash(viewer) > self.threshold {
            return;
        }
        round_place(&mut profile);
        self.since.get_or_insert(now);
        let bit = 1 << (placement & 7);
        match self.viewers.get_mut(&viewer) {
            Some(seen) => {
                let placements = seen.placements | bit;
                *seen = Seen { profile, placements, last: now };
            }
            None => {
                self.viewers.insert(viewer, Seen { profile, placements: bit, last: now });
            }
        }
        if self.viewers.len() > PANEL_MAX {
            self.viewers.retain(|_, seen| now.0 - seen.last.0 < PANEL_MEMORY_MS);
        }
        while self.viewers.len() > PANEL_MAX {
            self.threshold /= 2;
            let threshold = self.threshold;
            self.viewers.retain(|viewer, _| panel_hash(*viewer) <= threshold);
        }
    }

    /// Estimates how many people a targeting reaches.
    pub(in crate::node) fn estimate(
        &self,
        targets: Vec<Target>,
        now: Moment,
    ) -> EstimateDeliveryResponse {
        let mut crowd = Crowd::new(targets);
        let (mut known, mut found) = (0, 0);
        for seen in self.viewers.values() {
            if now.0 - seen.last.0 < PANEL_MEMORY_MS {
                known += 1;
                found += u64::from(crowd.has(&seen.profile, seen.placements));
            }
        }
        let audience = Audience::scaled(found, self.share());
        let below_minimum = audience.people < AUDIENCE_MIN;
        let Audience { people, low, high } =
            if below_minimum { Audience::default() } else { audience };
        EstimateDeliveryResponse {
            audience: people,
            audience_low: low,
            audience_high: high,
            below_minimum,
            sampled_viewers: known,
            sampled_since: self.since.map(|since| timestamp(since.0)),
            ..EstimateDeliveryResponse::default()
        }
    }
}

/// Rounds where a viewer is: what is kept in memory, even of a sample, must not single anyone out.
pub(in crate::node) fn round_place(profile: &mut Profile) {
    let round = |degrees: i32| degrees.div_euclid(PLACE_E6) * PLACE_E6 + PLACE_E6 / 2;
    profile.location = profile.location.map(|(north, east)| (round(north), round(east)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{Gender, Targeting};

    const NOW: Moment = Moment(1_795_392_000_000);

    fn women() -> Vec<Target> {
        let genders = vec![Gender::Female.into()];
        vec![Target::of_one(&Targeting { genders, ..Targeting::default() })]
    }

    fn panel(viewers: u64) -> Panel {
        let mut panel = Panel::default();
        for viewer in 0..viewers {
            let gender = if viewer % 4 == 0 { Gender::Female } else { Gender::Male } as u8;
            panel.meet(viewer, Profile { gender, ..Profile::default() }, 1, NOW);
        }
        panel
    }

    #[test]
    fn a_small_town_is_counted_exactly_and_few_are_not_told() {
        let answer = panel(8_000).estimate(women(), NOW);
        let ends = (answer.audience_low, answer.audience, answer.audience_high);
        assert_eq!((ends, answer.sampled_viewers), ((2_000, 2_000, 2_000), 8_000));
        let few = panel(3_996).estimate(women(), NOW);
        assert_eq!((few.below_minimum, few.audience, few.audience_high), (true, 0, 0));
        assert!(!panel(4_000).estimate(women(), NOW).below_minimum);
    }

    #[test]
    fn a_city_is_estimated_within_its_interval_and_the_panel_stays_small() {
        let panel = panel(400_000);
        assert!(panel.viewers.len() <= PANEL_MAX);
        let answer = panel.estimate(women(), NOW);
        let interval = answer.audience_low..=answer.audience_high;
        assert!(interval.contains(&100_000), "{answer:?}");
        assert!(answer.audience_high - answer.audience_low < 6_000, "{answer:?}");
    }

    #[test]
    fn who_stays_away_for_28_days_is_forgotten() {
        let later = NOW.plus_ms(PANEL_MEMORY_MS);
        assert_eq!(panel(8_000).estimate(women(), later).sampled_viewers, 0);
    }

    #[test]
    fn a_viewer_is_sent_once_an_hour() {
        let recent = Recent::default();
        assert!(recent.is_due(77, 5));
        recent.met(77, 5);
        assert!(!recent.is_due(77, 5) && recent.is_due(77, 6));
        recent.narrow(76);
        assert!(!recent.is_due(77, 6), "not in the panel");
    }
}
