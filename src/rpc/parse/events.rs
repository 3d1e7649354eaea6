//! What a feed reports of the ads it was given: tokens opened, so that the writer needn't.

use crate::rpc::limits::{EVENTS_MAX, REQUEST_ID_CHARS_MAX};
use crate::rpc::parse::field::{Path, at_most, moment, optional_text, required, token, variant};
use crate::tokens::Sealer;
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

/// Returns one event of a feed. Whether its time fits the token is for `decide` to say.
pub(in crate::rpc) fn ad_event(
    wire: v1::AdEvent,
    feed: u32,
    sealer: &Sealer,
    now: Moment,
) -> Result<Incoming, Refusal> {
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
    Ok(Incoming::Ad { token: opened, kind, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};
    use crate::types::token::ViewToken;

    #[test]
    fn an_event_carries_its_opened_token() {
        let event = ad_event(event(FEED), FEED, &sealer(), NOW).unwrap();
        let Incoming::Ad { token, kind, at } = event else { panic!("an ad's event") };
        assert_eq!((token, kind, at), (view(FEED), v1::EventKind::Tap, None));
    }

    #[test]
    fn a_token_that_is_not_this_feeds_is_refused_by_name() {
        let parse = |event: v1::AdEvent, now| {
            let refusal = ad_event(event, FEED, &sealer(), now).unwrap_err();
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
        let parse = |event| ad_event(event, FEED, &sealer(), NOW).unwrap_err().field.into_owned();
        assert_eq!(parse(v1::AdEvent { kind: 0, ..event(FEED) }), "kind");
        assert_eq!(parse(v1::AdEvent { kind: 12, ..event(FEED) }), "kind");
        let time = prost_types::Timestamp { seconds: -1, nanos: 0 };
        assert_eq!(parse(v1::AdEvent { time: Some(time), ..event(FEED) }), "time.seconds");
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
