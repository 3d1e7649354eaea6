//! Taps by network and hour: soft state, for the rate that an operator may set. What it finds is in the facts.

use crate::state::Map;
use crate::types::time::Moment;

/// Networks that are counted at a time. With more of them the least busy are forgotten: a network's count
/// is then short by at most the hour's taps divided by this (Misra and Gries, 1982).
pub const NETWORKS_MAX: usize = 65_536;

/// Taps of the current hour of the journal's time. A restart begins anew.
#[derive(Debug, Default)]
pub(in crate::node) struct NetworkTaps {
    hour: u32,
    /// By keyed hash of a network.
    taps: Map<u64, u32>,
}

impl NetworkTaps {
    /// Tells whether a network has made all taps of this hour that are valid. 0, one that was not told,
    /// never has.
    pub(in crate::node) fn is_full(&self, network: u64, most: Option<u32>, now: Moment) -> bool {
        let here = self.hour == now.hour() && network != 0;
        let taps = self.taps.get(&network).filter(|_| here);
        most.is_some_and(|most| taps.is_some_and(|taps| *taps >= most))
    }

    /// Counts a tap, valid or not.
    pub(in crate::node) fn count(&mut self, network: u64, now: Moment) {
        if self.hour != now.hour() {
            self.hour = now.hour();
            self.taps.clear();
        }
        if network == 0 {
            return;
        }
        if let Some(taps) = self.taps.get_mut(&network) {
            *taps = taps.saturating_add(1);
            return;
        }
        if self.taps.len() < NETWORKS_MAX {
            self.taps.insert(network, 1);
            return;
        }
        // This tap and one of each counted network go together.
        self.taps.retain(|_, taps| {
            *taps -= 1;
            *taps > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    const NOW: Moment = Moment(5 * HOUR_MS);

    #[test]
    fn a_network_is_full_for_the_rest_of_the_hour() {
        let mut taps = NetworkTaps::default();
        for _ in 0..3 {
            assert!(!taps.is_full(7, Some(3), NOW));
            taps.count(7, NOW);
        }
        assert!(taps.is_full(7, Some(3), NOW.plus_ms(HOUR_MS - 1)));
        assert!(!taps.is_full(7, Some(3), NOW.plus_ms(HOUR_MS)));
        assert!(!taps.is_full(7, None, NOW), "no rule");
        assert!(!taps.is_full(8, Some(1), NOW), "another network");
        taps.count(7, NOW.plus_ms(HOUR_MS));
        assert!(!taps.is_full(7, Some(2), NOW.plus_ms(HOUR_MS)), "the count begins anew");
        (0..9).for_each(|_| taps.count(0, NOW));
        assert!(!taps.is_full(0, Some(1), NOW), "one that is not told");
    }

    #[test]
    fn a_busy_network_is_remembered_among_more_than_are_counted() {
        let mut taps = NetworkTaps::default();
        for _ in 0..50 {
            taps.count(7, NOW);
        }
        for network in 100..100 + 3 * NETWORKS_MAX as u64 {
            taps.count(network, NOW);
        }
        assert!(taps.taps.len() <= NETWORKS_MAX);
        assert!(taps.is_full(7, Some(47), NOW), "short by three at the most");
    }
}
