//! Taps by network and hour, views and taps by account and day: soft state, for the rates that an operator may
//! set. What it finds is in the facts.

use crate::decide::Decided;
use crate::decide::traffic::TapShare;
use crate::state::Map;
use crate::state::traffic_rules::Filter;
use crate::types::proto::journal::v1::Showing;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::InvalidReason;
use crate::types::time::{DAY_MS, Moment};

/// Networks that are counted at a time. With more of them the least busy are forgotten: a network's count
/// is then short by at most the hour's taps divided by this (Misra and Gries, 1982).
pub const NETWORKS_MAX: usize = 65_536;

/// What was seen and tapped lately, as the operator's rates look at it. A restart begins anew.
#[derive(Debug, Default)]
pub(in crate::node) struct LateTraffic {
    networks: NetworkTaps,
    accounts: AccountTaps,
}

impl LateTraffic {
    /// Says against a tap on an account's ad that its network, or the account's viewers together, have made all
    /// that the operator allows.
    pub(in crate::node) fn suspect(
        &self,
        rules: &Filter,
        network: u64,
        account: u64,
        now: Moment,
    ) -> Option<InvalidReason> {
        if self.networks.is_full(network, rules.network_taps_per_hour(), now) {
            return Some(InvalidReason::NetworkRate);
        }
        let share = || self.accounts.share(account, now);
        let passed = rules.taps_per_100_views().is_some_and(|most| share().is_passed(most));
        passed.then_some(InvalidReason::TapShare)
    }

    /// Counts what an event on an ad was found to be. A network is counted for every tap; an account for what no
    /// other rule finds invalid, so that bots which are known anyway turn nothing else of it invalid.
    pub(in crate::node) fn note(&mut self, network: u64, decided: &Decided, now: Moment) {
        let Decided::Facts(facts) = decided else { return };
        match facts.first() {
            Some(Kind::ImpressionSeen(fact)) if fact.invalid == 0 => {
                self.accounts.count(fact.showing.as_ref(), now, |share| &mut share.views);
            }
            Some(Kind::Tapped(fact)) => {
                self.networks.count(network, now);
                if matches!(fact.invalid(), InvalidReason::Unspecified | InvalidReason::TapShare) {
                    self.accounts.count(fact.showing.as_ref(), now, |share| &mut share.taps);
                }
            }
            _ => {}
        }
    }
}

/// Views and taps by account, faded to the current day (UTC) of the journal's time. An account without any
/// of late is not kept.
#[derive(Debug, Default)]
struct AccountTaps {
    day: u32,
    shares: Map<u64, TapShare>,
}

impl AccountTaps {
    fn share(&self, account: u64, now: Moment) -> TapShare {
        let share = self.shares.get(&account).copied().unwrap_or_default();
        share.faded(day(now).saturating_sub(self.day))
    }

    fn count(
        &mut self,
        showing: Option<&Showing>,
        now: Moment,
        of: impl Fn(&mut TapShare) -> &mut u32,
    ) {
        let days = day(now).saturating_sub(self.day);
        if days > 0 {
            self.day = day(now);
            self.shares.retain(|_, share| {
                *share = share.faded(days);
                *share != TapShare::default()
            });
        }
        let Some(showing) = showing else { return };
        let count = of(self.shares.entry(showing.account).or_default());
        *count = count.saturating_add(1);
    }
}

fn day(now: Moment) -> u32 {
    now.0.div_euclid(DAY_MS) as u32
}

/// Taps of the current hour of the journal's time.
#[derive(Debug, Default)]
struct NetworkTaps {
    hour: u32,
    /// By keyed hash of a network.
    taps: Map<u64, u32>,
}

impl NetworkTaps {
    /// Tells whether a network has made all taps of this hour that are valid. 0, one that was not told,
    /// never has.
    fn is_full(&self, network: u64, most: Option<u32>, now: Moment) -> bool {
        let here = self.hour == now.hour() && network != 0;
        let taps = self.taps.get(&network).filter(|_| here);
        most.is_some_and(|most| taps.is_some_and(|taps| *taps >= most))
    }

    /// Counts a tap, valid or not.
    fn count(&mut self, network: u64, now: Moment) {
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
    fn what_an_account_was_tapped_fades_by_the_day() {
        let mut taps = AccountTaps::default();
        let noon = Moment(100 * DAY_MS + DAY_MS / 2);
        let showing = |account| Showing { account, ..Showing::default() };
        for _ in 0..9 {
            taps.count(Some(&showing(7)), noon, |share| &mut share.taps);
        }
        taps.count(Some(&showing(8)), noon, |share| &mut share.views);
        assert_eq!(taps.share(7, noon), TapShare { views: 0, taps: 9 });
        let next = noon.plus_ms(DAY_MS / 2);
        assert_eq!(taps.share(7, noon.plus_ms(DAY_MS / 2 - 1)).taps, 9, "the same day");
        assert_eq!(taps.share(7, next).taps, 4, "asked before anything is counted");
        taps.count(Some(&showing(7)), next, |share| &mut share.views);
        assert_eq!(taps.share(7, next), TapShare { views: 1, taps: 4 });
        assert_eq!(taps.shares.len(), 1, "the one of a single view is forgotten");
        assert_eq!(taps.share(8, next), TapShare::default());
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
