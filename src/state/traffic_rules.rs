//! What the operator knows to be invalid traffic: parts of user agents, and networks.

// Addresses as values: nothing here can open a socket.
use core::net::IpAddr;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::wire;
use crate::types::proto::journal::v1::TrafficRulesPut;
use crate::types::proto::v1::{InvalidReason, TrafficRules as Wire};

/// Bits of an IPv4 address that name its network; the rest is cut off at the door.
pub const NETWORK_BITS_V4: u8 = 24;

/// Bits of an IPv6 address that name its network.
pub const NETWORK_BITS_V6: u8 = 48;

/// Returns the network of an address: /24, or /48. An IPv4 address written as IPv6 is taken as what it is.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            IpAddr::V4((u32::from(address) & !(u32::MAX >> NETWORK_BITS_V4)).into())
        }
        IpAddr::V6(address) => {
            IpAddr::V6((u128::from(address) & !(u128::MAX >> NETWORK_BITS_V6)).into())
        }
    }
}

/// The operator's rules as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficRules(Arc<Wire>);

impl TrafficRules {
    /// Returns all rules.
    pub fn all(&self) -> &Wire {
        &self.0
    }

    /// Takes a slice of rules.
    pub(in crate::state) fn put(&mut self, fact: &TrafficRulesPut) {
        let slice = fact.rules.clone().unwrap_or_default();
        let rules = Arc::make_mut(&mut self.0);
        if fact.added {
            rules.user_agents.extend(slice.user_agents);
            rules.networks.extend(slice.networks);
        } else {
            *rules = slice;
        }
    }
}

impl Serialize for TrafficRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::message::serialize(&*self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for TrafficRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::message::deserialize(deserializer).map(|rules| Self(Arc::new(rules)))
    }
}

/// The rules as doors look at them. Immutable; a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    user_agents: Option<AhoCorasick>,
    /// First and last address of networks that neither meet nor overlap, ascending.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    network_taps_per_hour: u32,
    taps_per_100_views: u32,
}

impl Filter {
    /// Returns the filter of these rules. What no door lets in, and cannot be read, is passed over.
    pub fn of(rules: &Wire) -> Self {
        let mut agents = AhoCorasick::builder();
        let agents = agents.ascii_case_insensitive(true).build(&rules.user_agents);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in rules.networks.iter().filter_map(|text| text.parse().ok()) {
            match network {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
        }
        let (v4, v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        let span4 = |net: &Ipv4Net| (net.network().into(), net.broadcast().into());
        let span6 = |net: &Ipv6Net| (net.network().into(), net.broadcast().into());
        Self {
            user_agents: agents.ok().filter(|_| !rules.user_agents.is_empty()),
            v4: sorted(v4.iter().map(span4)),
            v6: sorted(v6.iter().map(span6)),
            network_taps_per_hour: rules.network_taps_per_hour,
            taps_per_100_views: rules.taps_per_100_views,
        }
    }

    /// Returns what the lists say against an event from this user agent (empty: not told) and network.
    pub fn suspect(&self, user_agent: &str, network: Option<IpAddr>) -> Option<InvalidReason> {
        if self.user_agents.as_ref().is_some_and(|agents| agents.is_match(user_agent)) {
            return Some(InvalidReason::UserAgent);
        }
        network.filter(|network| self.lists(*network)).map(|_| InvalidReason::Network)
    }

    /// Returns how many taps of one network in an hour are valid; `None`: any number.
    pub fn network_taps_per_hour(&self) -> Option<u32> {
        Some(self.network_taps_per_hour).filter(|most| *most > 0)
    }

    /// Returns how many taps on an account's ads are valid for each 100 views; `None`: any number.
    pub fn taps_per_100_views(&self) -> Option<u32> {
        Some(self.taps_per_100_views).filter(|most| *most > 0)
    }

    fn lists(&self, network: IpAddr) -> bool {
        match network {
            IpAddr::V4(address) => inside(&self.v4, address.into()),
            IpAddr::V6(address) => inside(&self.v6, address.into()),
        }
    }
}

fn sorted<T: Ord>(spans: impl Iterator<Item = (T, T)>) -> Vec<(T, T)> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_unstable();
    spans
}

fn inside<T: Copy + Ord>(spans: &[(T, T)], address: T) -> bool {
    let next = spans.partition_point(|(first, _)| *first <= address);
    next.checked_sub(1).is_some_and(|at| address <= spans[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(user_agents: &[&str], networks: &[&str]) -> Wire {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Wire { user_agents: texts(user_agents), networks: texts(networks), ..Wire::default() }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(network_of(text.parse().unwrap()))
    }

    #[test]
    fn an_address_is_cut_to_its_network() {
        for (whole, cut) in [
            ("203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("255.255.255.255", "255.255.255.0"),
        ] {
            assert_eq!(address(whole), Some(cut.parse().unwrap()), "{whole}");
        }
    }

    #[test]
    fn a_part_of_a_user_agent_is_found_in_any_case() {
        let filter = Filter::of(&rules(&["bot", "Headless"], &[]));
        let found = |agent: &str| filter.suspect(agent, None);
        for agent in ["Googlebot/2.1", "BOT", "x headlesschrome y"] {
            assert_eq!(found(agent), Some(InvalidReason::UserAgent), "{agent}");
        }
        for agent in ["", "Mozilla/5.0 (Android 15)", "bo t"] {
            assert_eq!(found(agent), None, "{agent}");
        }
        assert_eq!(Filter::default().suspect("bot", address("10.0.0.1")), None);
        assert_eq!(Filter::of(&rules(&[], &[])).suspect("bot", None), None, "no rule, no match");
    }

    #[test]
    fn a_network_is_listed_from_its_first_to_its_last_address() {
        let lists = ["203.0.113.0/24", "10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/24", "2001:db8::/32"];
        let filter = Filter::of(&rules(&[], &lists));
        let found = |text: &str| filter.suspect("", address(text)).is_some();
        for inside in [
            "203.0.113.0",
            "203.0.113.255",
            "10.0.0.0",
            "10.255.255.255",
            "2001:db8::",
            "2001:db8:ffff:ffff::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(found(inside), "{inside}");
        }
        for outside in
            ["203.0.112.255", "203.0.114.0", "9.255.255.255", "11.0.0.0", "2001:db9::", "::a00:1"]
        {
            assert!(!found(outside), "{outside}");
        }
    }

    #[test]
    fn a_further_slice_adds_and_a_first_one_replaces() {
        let mut known = TrafficRules::default();
        let slice = |agent: &str, network: &str, added| TrafficRulesPut {
            rules: Some(rules(&[agent], &[network])),
            added,
        };
        known.put(&slice("old", "10.0.0.0/8", false));
        known.put(&slice("bot", "10.1.0.0/16", false));
        known.put(&slice("spider", "10.2.0.0/16", true));
        let all = rules(&["bot", "spider"], &["10.1.0.0/16", "10.2.0.0/16"]);
        assert_eq!(known.all(), &all);
    }
}
