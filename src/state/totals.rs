//! What an ad has done since the beginning: the counts that its action rates are learned from.

use serde::{Deserialize, Serialize};

use crate::state::is_imported;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::EventKind;

/// Placements that counts are kept apart by: those of `munadi.v1.Placement`, with 0 for one not told.
pub const PLACEMENTS: usize = 5;

/// Returns where a placement's counts are; 0 for one that is not known.
pub const fn placement_slot(placement: u32) -> usize {
    if placement < PLACEMENTS as u32 { placement as usize } else { 0 }
}

/// Valid events since the beginning. Invalid and imported ones teach nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// First frames drawn, by placement.
    pub impressions: [u64; PLACEMENTS],
    /// Viewable impressions, by placement.
    pub viewable: [u64; PLACEMENTS],
    /// Taps, by placement. One that a click token implied is of none.
    pub taps: [u64; PLACEMENTS],
    /// Conversations.
    pub conversations: u64,
    /// Conversions.
    pub conversions: u64,
}

impl Totals {
    /// No events at all.
    pub const NONE: Self = Self {
        impressions: [0; PLACEMENTS],
        viewable: [0; PLACEMENTS],
        taps: [0; PLACEMENTS],
        conversations: 0,
        conversions: 0,
    };

    /// Returns what a fact adds to those of its ad.
    pub fn of(fact: &Kind) -> Self {
        let mut totals = Self::NONE;
        match fact {
            fact if is_imported(fact) => {}
            Kind::ImpressionSeen(fact) if fact.invalid == 0 => {
                totals.impressions[placement_slot(fact.placement)] = 1;
            }
            Kind::Watched(fact)
                if fact.event_kind == EventKind::Viewable as u32 && fact.invalid == 0 =>
            {
                totals.viewable[placement_slot(fact.placement)] = 1;
            }
            Kind::Tapped(fact) if fact.invalid == 0 => {
                totals.taps[placement_slot(fact.placement)] = 1;
            }
            Kind::ClickMatched(fact) if fact.invalid == 0 => {
                totals.taps[0] = fact.implied_tap.into();
                totals.conversations = 1;
            }
            Kind::ConversionCredited(fact) if fact.invalid == 0 => totals.conversions = 1,
            _ => {}
        }
        totals
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        self.each(other, |count, other| *count += other);
    }

    /// Takes off other counts; what is not there stays 0.
    pub fn take_off(&mut self, other: &Self) {
        self.each(other, |count, other| *count = count.saturating_sub(other));
    }

    fn each(&mut self, other: &Self, change: impl Fn(&mut u64, u64)) {
        let places = self.impressions.iter_mut().zip(other.impressions);
        let places = places.chain(self.viewable.iter_mut().zip(other.viewable));
        let places = places.chain(self.taps.iter_mut().zip(other.taps));
        places.for_each(|(count, other)| change(count, other));
        change(&mut self.conversations, other.conversations);
        change(&mut self.conversions, other.conversions);
    }

    /// Returns impressions, taps and conversations.
    pub fn funnel(&self) -> [u64; 3] {
        [self.impressions.iter().sum(), self.taps.iter().sum(), self.conversations]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::journal::v1::{ClickMatched, ImpressionSeen, Tapped, Watched};
    use crate::types::proto::v1::InvalidReason;

    #[test]
    fn an_invalid_event_teaches_nothing() {
        let invalid = InvalidReason::TapTooFast as i32;
        let seen = |placement, invalid| {
            Kind::ImpressionSeen(ImpressionSeen { placement, invalid, ..Default::default() })
        };
        assert_eq!(Totals::of(&seen(3, 0)).impressions, [0, 0, 0, 1, 0]);
        assert_eq!(Totals::of(&seen(77, 0)).impressions, [1, 0, 0, 0, 0], "a placement to come");
        assert_eq!(Totals::of(&seen(3, invalid)), Totals::NONE);
        let tapped = Tapped { invalid, placement: 1, ..Default::default() };
        assert_eq!(Totals::of(&Kind::Tapped(tapped)), Totals::NONE);
        let matched = |invalid| {
            let fact = ClickMatched { implied_tap: true, invalid, ..Default::default() };
            Totals::of(&Kind::ClickMatched(fact))
        };
        assert_eq!(matched(0).funnel(), [0, 1, 1]);
        assert_eq!(matched(invalid), Totals::NONE);
    }

    #[test]
    fn only_what_was_viewable_counts_as_viewable() {
        let watched = |event_kind: EventKind| {
            let fact = Watched { event_kind: event_kind as u32, ..Default::default() };
            Totals::of(&Kind::Watched(fact)).viewable[0]
        };
        assert_eq!((watched(EventKind::Viewable), watched(EventKind::Video25)), (1, 0));
    }
}
