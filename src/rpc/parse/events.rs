//! What a feed reports of the ads it was given: tokens opened, so that the writer needn't.

use std::net::IpAddr;

use crate::rpc::limits::{
    ADDRESS_CHARS_MAX, EVENTS_MAX, REQUEST_ID_CHARS_MAX, USER_AGENT_CHARS_MAX,
};
use crate::rpc::parse::field::{Path, at_most, moment, optional_text, required, token, variant};
use crate::state::traffic_rules::{Filter, network_of};
use crate::tokens::{Sealer, network_number};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Incoming;
use crate::types::time::Moment;

/// Checks what a batch says of itself: a request id for the caller's own records, and its length.
pub(in crate::rpc) fn batch(
    request_id: &str,
    count: usize,
    items: &'static str,
) -> Result<(), Refusal> {
    optional_text(request_id, REQUEST_ID_CHARS_MAX, Path::root("request_id"))?;
    let path = Path::root(items);
    required((count > 0).then_some(()), path)?;
    at_most(count, EVENTS_MAX, path)
}

/// What a feed's events are parsed with.
pub(in crate::rpc) struct Door<'a> {
    /// The feed that calls.
    pub(in crate::rpc) feed: u32,
    /// Opens tokens.
    pub(in crate::rpc) sealer: &'a Sealer,
    /// Knows user agents and networks that are listed.
    pub(in crate::rpc) filter: &'a Filter,
    /// The wall time.
    pub(in crate::rpc) now: Moment,
}

/// Returns one event of a feed. Whether its time fits the token is for `decide` to say. Of user agent and
/// network nothing goes further but what the lists say, and a keyed hash of the network.
pub(in crate::rpc) fn ad_event(wire: v1::AdEvent, door: &Door<'_>) -> Result<Incoming, Refusal> {
    let Door { feed, sealer, filter, now } = *door;
    let path = Path::root("view_token");
    required((!wire.view_token.is_empty()).then_some(()), path)?;
    let opened = sealer.open_view(&wire.view_token, now.seconds());
    let opened = opened.map_err(|refusal| token(refusal, path))?;
    if opened.feed != feed {
        let message = "was given to another feed: report it with that feed's key";
        return Err(path.refuse(Reason::TokenForeign, message));
    }
    let kind = variant(wire.kind, Path::root("kind"))?;
    let at = moment(wire.time, Path::root("time"))?;
    optional_text(&wire.user_agent, USER_AGENT_CHARS_MAX, Path::root("user_agent"))?;
    let network = network(&wire.network, Path::root("network"))?;
    let suspect = filter.suspect(&wire.user_agent, network);
    let network = network.map_or(0, |network| network_number(&sealer.ring().contact, network));
    Ok(Incoming::Ad { token: opened, kind, at, suspect, network })
}

/// Returns the network of an address; `None`: none is told.
fn network(text: &str, path: Path) -> Result<Option<IpAddr>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    optional_text(text, ADDRESS_CHARS_MAX, path)?;
    let message = "is no IPv4 or IPv6 address: send one such as 203.0.113.7 or 2001:db8::7";
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.ok_or_else(|| path.refuse(Reason::FieldInvalid, message))?;
    Ok(Some(network_of(address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};
    use crate::types::token::ViewToken;

    #[test]
    fn an_event_carries_its_opened_token() {
        let event = parse(event(FEED), NOW).unwrap();
        let Incoming::Ad { token, kind, at, suspect, network } = event else {
            panic!("an ad's event")
        };
        assert_eq!((token, kind, at), (view(FEED), v1::EventKind::Tap, None));
        assert_eq!((suspect, network), (None, 0));
    }

    #[test]
    fn a_token_that_is_not_this_feeds_is_refused_by_name() {
        let parse = |event: v1::AdEvent, now| {
            let refusal = parse(event, now).unwrap_err();
            (refusal.reason, refusal.field.into_owned())
        };
        let refused = |reason| (reason, "view_token".to_owned());
        assert_eq!(parse(event(FEED + 1), NOW), refused(Reason::TokenForeign));
        let late = NOW.plus_ms(3 * crate::types::time::DAY_MS);
        assert_eq!(parse(event(FEED), late), refused(Reason::TokenExpired));
        let with =
            |view_token: Vec<u8>| v1::AdEvent { view_token: view_token.into(), ..event(FEED) };
        assert_eq!(parse(with(Vec::new()), NOW), refused(Reason::FieldMissing));
        assert_eq!(parse(with(vec![1; 5]), NOW), refused(Reason::TokenMalformed));
        let mut changed = event(FEED).view_token.to_vec();
        changed[40] ^= 1;
        assert_eq!(parse(with(changed), NOW), refused(Reason::TokenForged));
    }

    #[test]
    fn the_other_fields_are_refused_by_name() {
        let parse = |event| parse(event, NOW).unwrap_err().field.into_owned();
        assert_eq!(parse(v1::AdEvent { kind: 0, ..event(FEED) }), "kind");
        assert_eq!(parse(v1::AdEvent { kind: 12, ..event(FEED) }), "kind");
        let time = prost_types::Timestamp { seconds: -1, nanos: 0 };
        assert_eq!(parse(v1::AdEvent { time: Some(time), ..event(FEED) }), "time.seconds");
        for user_agent in ["x".repeat(513), "a\nb".into()] {
            assert_eq!(parse(v1::AdEvent { user_agent, ..event(FEED) }), "user_agent");
        }
        for wrong in ["203.0.113", "203.0.113.0/24", "localhost", "::g", " 10.0.0.1"] {
            let network = wrong.to_owned();
            assert_eq!(parse(v1::AdEvent { network, ..event(FEED) }), "network", "{wrong}");
        }
    }

    #[test]
    fn lists_are_asked_at_the_door_and_of_the_network_only_a_number_goes_on() {
        let told = |user_agent: &str, network: &str| {
            let (user_agent, network) = (user_agent.to_owned(), network.to_owned());
            let event = parse(v1::AdEvent { user_agent, network, ..event(FEED) }, NOW).unwrap();
            let Incoming::Ad { suspect, network, .. } = event else { panic!("an ad's event") };
            (suspect, network)
        };
        let (suspect, number) = told("Mozilla/5.0", "203.0.113.7");
        assert_eq!(suspect, None);
        assert_ne!(number, 0);
        assert_eq!(told("", "203.0.113.99"), (None, number), "the same /24");
        assert_ne!(told("", "203.0.114.7").1, number);
        let (agent, network) = (v1::InvalidReason::UserAgent, v1::InvalidReason::Network);
        assert_eq!(told("a Bot", "203.0.113.7"), (Some(agent), number));
        assert_eq!(told("", "10.3.2.1").0, Some(network));
        assert_eq!(told("", "::ffff:10.3.2.1").0, Some(network));
    }

    #[test]
    fn a_batch_has_one_to_a_thousand_items() {
        assert_eq!(batch("", 1, "events"), Ok(()));
        assert_eq!(batch(&"x".repeat(64), EVENTS_MAX, "events"), Ok(()));
        let refused = |id: &str, count| batch(id, count, "events").unwrap_err();
        assert_eq!(refused("", 0).reason, Reason::FieldMissing);
        assert_eq!(refused("", EVENTS_MAX + 1).reason, Reason::TooLarge);
        assert_eq!(refused(&"x".repeat(65), 1).field, "request_id");
    }

    fn parse(event: v1::AdEvent, now: Moment) -> Result<Incoming, Refusal> {
        let rules = v1::TrafficRules {
            user_agents: vec!["bot".into()],
            networks: vec!["10.0.0.0/8".into()],
            ..v1::TrafficRules::default()
        };
        let (sealer, filter) = (sealer(), Filter::of(&rules));
        ad_event(event, &Door { feed: FEED, sealer: &sealer, filter: &filter, now })
    }

    fn view(feed: u32) -> ViewToken {
        ViewToken { view: 5, feed, issued: NOW.seconds(), show_by: 600, ..ViewToken::default() }
    }

    fn event(feed: u32) -> v1::AdEvent {
        v1::AdEvent {
            view_token: sealer().seal_view(&view(feed)).to_vec().into(),
            kind: v1::EventKind::Tap.into(),
            ..v1::AdEvent::default()
        }
    }
}
