//! What an operator loads beside lists: exchange rates, and what is invalid traffic.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::rpc::limits::{
    EXCHANGE_RATES_MAX, NETWORK_V4_BITS, NETWORK_V6_BITS, NETWORKS_LISTED_MAX,
    TAPS_PER_100_VIEWS_MAX, USER_AGENT_PART_CHARS_MAX, USER_AGENT_PART_CHARS_MIN, USER_AGENTS_MAX,
};
use crate::rpc::parse::admin::once;
use crate::rpc::parse::field::{Path, at_most, currency, moment, required, text};
use crate::state::exchange::RATE_MICROS_MAX;
use crate::types::proto::journal::v1::ExchangeRatesPut;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::ListChange;

/// Returns checked exchange rates, which replace all others.
pub(in crate::rpc) fn exchange_rates(
    wire: v1::SetExchangeRatesRequest,
) -> Result<ListChange, Refusal> {
    let v1::SetExchangeRatesRequest { settlement_currency, rates, .. } = wire;
    let (settlement, list) = (Path::root("settlement_currency"), Path::root("rates"));
    if !settlement_currency.is_empty() {
        currency(&settlement_currency, settlement)?;
    } else if !rates.is_empty() {
        let message = "is empty: name the currency that the rates are in, or leave them out too";
        return Err(settlement.refuse(Reason::FieldMissing, message));
    }
    at_most(rates.len(), EXCHANGE_RATES_MAX, list)?;
    let mut known = BTreeSet::new();
    for (index, rate) in rates.iter().enumerate() {
        let path = list.at(index);
        let (of, worth) = (path.field("currency"), path.field("rate_micros"));
        currency(&rate.currency, of)?;
        if rate.currency == settlement_currency {
            let message = "is the settlement currency, which is always worth 1: leave it out";
            return Err(of.refuse(Reason::CurrencyInvalid, message));
        }
        if !(1..=RATE_MICROS_MAX).contains(&rate.rate_micros) {
            let message = format!("is {}: send 1 to {RATE_MICROS_MAX}", rate.rate_micros);
            return Err(worth.refuse(Reason::FieldInvalid, message));
        }
        let from = path.field("valid_from");
        let from = required(moment(rate.valid_from, from)?, from)?;
        if !known.insert((&rate.currency, from)) {
            let message = "has the currency and moment of an earlier rate: send one of them";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(ListChange::ExchangeRates(ExchangeRatesPut { settlement_currency, rates }))
}

/// Returns checked rules for invalid traffic, which replace all others. Networks are written out as
/// everybody writes them.
pub(in crate::rpc) fn traffic_rules(
    wire: v1::SetTrafficRulesRequest,
) -> Result<ListChange, Refusal> {
    let root = Path::root("rules");
    let mut rules = required(wire.rules, root)?;
    let (agents, networks) = (root.field("user_agents"), root.field("networks"));
    at_most(rules.user_agents.len(), USER_AGENTS_MAX, agents)?;
    at_most(rules.networks.len(), NETWORKS_LISTED_MAX, networks)?;
    if rules.taps_per_100_views > TAPS_PER_100_VIEWS_MAX {
        let message = format!(
            "is {}: send 1 to {TAPS_PER_100_VIEWS_MAX}, or 0 for no limit",
            rules.taps_per_100_views
        );
        return Err(root.field("taps_per_100_views").refuse(Reason::TooLarge, message));
    }
    let mut known = BTreeSet::new();
    for (index, part) in rules.user_agents.iter().enumerate() {
        let path = agents.at(index);
        text(part, USER_AGENT_PART_CHARS_MAX, path)?;
        if part.chars().count() < USER_AGENT_PART_CHARS_MIN {
            let message = format!(
                "would be found nearly everywhere: send {USER_AGENT_PART_CHARS_MIN} to \
                 {USER_AGENT_PART_CHARS_MAX} characters"
            );
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
        once(known.insert(part.to_ascii_lowercase()), path)?;
    }
    let mut known = BTreeSet::new();
    for (index, text) in rules.networks.iter_mut().enumerate() {
        let path = networks.at(index);
        let network = network(text, path)?;
        once(known.insert(network), path)?;
        *text = network.to_string();
    }
    Ok(ListChange::TrafficRules(rules))
}

/// Returns a network, named by its first address and of an allowed length.
fn network(text: &str, path: Path) -> Result<IpNet, Refusal> {
    let invalid = |message: String| path.refuse(Reason::FieldInvalid, message);
    let network: Option<IpNet> = text.parse().ok();
    let network = network.ok_or_else(|| {
        invalid("is no network: send an address and its bits, such as 203.0.113.0/24".to_owned())
    })?;
    let bits = match network {
        IpNet::V4(_) => NETWORK_V4_BITS,
        IpNet::V6(_) => NETWORK_V6_BITS,
    };
    if !bits.contains(&network.prefix_len()) {
        let (least, most) = (bits.start(), bits.end());
        return Err(invalid(format!("has {} bits: send {least} to {most}", network.prefix_len())));
    }
    if network.trunc() != network {
        let message = format!("is not named by its first address: send {}", network.trunc());
        return Err(invalid(message));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(currency: &str, rate_micros: i64, seconds: i64) -> v1::ExchangeRate {
        let valid_from = Some(prost_types::Timestamp { seconds, nanos: 0 });
        v1::ExchangeRate { currency: currency.into(), rate_micros, valid_from }
    }

    fn parse(settlement: &str, rates: Vec<v1::ExchangeRate>) -> Result<ListChange, Refusal> {
        let (request_id, settlement_currency) = (String::new(), settlement.to_owned());
        exchange_rates(v1::SetExchangeRatesRequest { request_id, settlement_currency, rates })
    }

    #[test]
    fn a_rate_is_of_another_currency_in_its_range_and_dated_once() {
        let good = rate("MXN", 55_000, 10);
        let edges = vec![good.clone(), rate("MXN", 1, 11), rate("BRL", RATE_MICROS_MAX, 10)];
        assert!(parse("USD", edges).is_ok());
        assert!(parse("USD", vec![]).is_ok());
        assert!(parse("", vec![]).is_ok(), "all rates may be taken away");
        let check = |settlement: &str, rates, reason, field: &str| {
            let refusal = parse(settlement, rates).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (reason, field));
        };
        let settlement = "settlement_currency";
        check("", vec![good.clone()], Reason::FieldMissing, settlement);
        check("usd", vec![], Reason::CurrencyInvalid, settlement);
        let one = |rate| vec![good.clone(), rate];
        let (currency, invalid) = (Reason::CurrencyInvalid, Reason::FieldInvalid);
        check("USD", one(rate("XXX", 1, 0)), currency, "rates[1].currency");
        check("USD", one(rate("USD", 1, 0)), currency, "rates[1].currency");
        for wrong in [0, -1, i64::MIN, RATE_MICROS_MAX + 1, i64::MAX] {
            check("USD", one(rate("BRL", wrong, 0)), invalid, "rates[1].rate_micros");
        }
        let undated = v1::ExchangeRate { valid_from: None, ..good.clone() };
        check("USD", one(undated), Reason::FieldMissing, "rates[1].valid_from");
        check("USD", one(rate("BRL", 1, -1)), invalid, "rates[1].valid_from.seconds");
        check("USD", one(rate("MXN", 1, 10)), invalid, "rates[1]");
        let many = (0..=2_000).map(|seconds| rate("MXN", 1, seconds)).collect();
        check("USD", many, Reason::TooLarge, "rates");
    }

    fn traffic(agents: &[&str], networks: &[&str]) -> Result<ListChange, Refusal> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let rules = v1::TrafficRules {
            user_agents: texts(agents),
            networks: texts(networks),
            network_taps_per_hour: u32::MAX,
            taps_per_100_views: 100,
        };
        let (request_id, rules) = (String::new(), Some(rules));
        traffic_rules(v1::SetTrafficRulesRequest { request_id, rules })
    }

    #[test]
    fn rules_for_traffic_are_of_parts_and_networks_in_their_ranges() {
        let networks = ["203.0.113.0/24", "10.0.0.0/8", "2001:db8::/32", "2001:0DB9:0::/48"];
        let good = traffic(&["bot", &"x".repeat(100)], &networks);
        let Ok(ListChange::TrafficRules(rules)) = good else { panic!("{good:?}") };
        assert_eq!(rules.networks[3], "2001:db9::/48");
        assert!(traffic(&[], &[]).is_ok(), "all rules may be taken away");
        let check = |agents: &[&str], networks: &[&str], reason, field: &str| {
            let refusal = traffic(agents, networks).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (reason, field));
        };
        let (invalid, large) = (Reason::FieldInvalid, Reason::TooLarge);
        check(&[""], &[], Reason::FieldMissing, "rules.user_agents[0]");
        check(&["bot", "ab"], &[], invalid, "rules.user_agents[1]");
        check(&[&"x".repeat(101)], &[], large, "rules.user_agents[0]");
        check(&["bot", "BOT"], &[], invalid, "rules.user_agents[1]");
        check(&["b\tt"], &[], invalid, "rules.user_agents[0]");
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/7",
            "10.0.0.0/25",
            "10.0.0.1/24",
            "2001:db8::/49",
            "2000::/15",
            "2001:db8::1/32",
            "x/24",
        ] {
            check(&[], &["203.0.113.0/24", wrong], invalid, "rules.networks[1]");
        }
        check(&[], &["10.0.0.0/8", "10.0.0.0/8"], invalid, "rules.networks[1]");
        check(&["bot"; 1_001], &[], large, "rules.user_agents");
        check(&[], &["10.0.0.0/8"; 100_001], large, "rules.networks");
        let rules = Some(v1::TrafficRules { taps_per_100_views: 101, ..Default::default() });
        let share = v1::SetTrafficRulesRequest { rules, ..Default::default() };
        assert_eq!(traffic_rules(share).unwrap_err().field, "rules.taps_per_100_views");
        let nothing = v1::SetTrafficRulesRequest::default();
        assert_eq!(traffic_rules(nothing).unwrap_err().field, "rules");
    }
}
