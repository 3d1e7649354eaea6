//! How often capped ad sets reached one viewer.

use serde::{Deserialize, Serialize};

use crate::types::time::Moment;

/// One kind of event on one capped ad set, by hour.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CapCount {
    /// The ad set.
    pub ad_set: u64,
    /// A [`CapEvent`], 1 to 3.
    pub event: u8,
    /// The longest interval that it was last counted for, hours.
    pub interval_hours: u16,
    /// Hours since the epoch with their events, ascending.
    pub hours: Vec<(u32, u16)>,
}

impl CapCount {
    /// Returns the events within the last `interval_hours`. An hour that is partly inside counts
    /// whole, so a cap is never exceeded.
    pub fn within(&self, interval_hours: u16, now: Moment) -> u32 {
        let from = now.hour().saturating_sub(u32::from(interval_hours));
        let inside = self.hours.iter().filter(|(hour, _)| *hour >= from);
        inside.map(|(_, count)| u32::from(*count)).sum()
    }

    /// Tells whether all that was counted has left the interval.
    pub fn is_over(&self, now: Moment) -> bool {
        let from = now.hour().saturating_sub(u32::from(self.interval_hours));
        self.hours.last().is_none_or(|(hour, _)| *hour < from)
    }
}
