//! Why an ad stayed out of a tray.

use crate::types::proto::v1::NoAdReason;

/// Why an ad stayed out of a tray. Counted and reported, never raised as an error. Numbers are
/// journaled: those of `NoAdReason` where it has one, ours from 500.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u16)]
pub enum Skip {
    /// Not for this viewer or placement.
    NotTargeted = 2,
    /// Before its start or after its end.
    OutsideSchedule = 3,
    /// A budget has nothing free.
    BudgetSpent = 4,
    /// The viewer has seen its ad set often enough.
    FrequencyCapped = 5,
    /// The viewer hid the ad or its business.
    HiddenByViewer = 6,
    /// The advertiser or category stands in the tray, or was shown to the viewer just now.
    Separation = 8,
    /// Its value is under the feed's floor.
    BelowFloor = 9,
    /// The viewer's cap record has no room for another ad set.
    CapStateFull = 11,
    /// The operator's rules forbid one of its categories here.
    PolicyBlocked = 12,
    /// It is worth less than interrupting the viewer costs.
    InterruptionCost = 13,
    /// Others were worth more.
    Outbid = 500,
}

impl Skip {
    /// Every reason, in the order of the path: an ad that has two is counted for the first.
    pub const ALL: [Self; 11] = [
        Self::NotTargeted,
        Self::PolicyBlocked,
        Self::OutsideSchedule,
        Self::HiddenByViewer,
        Self::CapStateFull,
        Self::FrequencyCapped,
        Self::Separation,
        Self::BudgetSpent,
        Self::BelowFloor,
        Self::InterruptionCost,
        Self::Outbid,
    ];

    /// Returns how far along the path an ad got: its place in [`Self::ALL`].
    pub const fn stage(self) -> usize {
        match self {
            Self::NotTargeted => 0,
            Self::PolicyBlocked => 1,
            Self::OutsideSchedule => 2,
            Self::HiddenByViewer => 3,
            Self::CapStateFull => 4,
            Self::FrequencyCapped => 5,
            Self::Separation => 6,
            Self::BudgetSpent => 7,
            Self::BelowFloor => 8,
            Self::InterruptionCost => 9,
            Self::Outbid => 10,
        }
    }

    /// Returns the slot's reason when this is how far the best ad for it got.
    pub const fn of_slot(self) -> NoAdReason {
        match self {
            Self::NotTargeted => NoAdReason::NotTargeted,
            Self::PolicyBlocked => NoAdReason::PolicyBlocked,
            Self::OutsideSchedule => NoAdReason::OutsideSchedule,
            Self::BudgetSpent => NoAdReason::BudgetSpent,
            Self::FrequencyCapped => NoAdReason::FrequencyCapped,
            Self::HiddenByViewer => NoAdReason::HiddenByViewer,
            // An ad that was outbid had a slot to itself unless separation took it.
            Self::Separation | Self::Outbid => NoAdReason::Separation,
            Self::BelowFloor => NoAdReason::BelowFloor,
            Self::CapStateFull => NoAdReason::CapStateFull,
            Self::InterruptionCost => NoAdReason::InterruptionCost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_stage() {
        Skip::ALL.iter().enumerate().for_each(|(at, skip)| assert_eq!(skip.stage(), at));
    }
}
