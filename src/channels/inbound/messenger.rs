//! Messenger and Instagram: `messaging` entries of the Graph API's webhooks (FACTS, "Referral object").

use std::borrow::Cow;

use serde::Deserialize;

use crate::channels::Channel;
use crate::channels::inbound::field::{Code, Flag, List, Maybe, Number, Word, read};
use crate::channels::inbound::{Inbound, Line, Malformed, Message, Person, Referral, Status};
use crate::types::proto::v1::{MessageCategory, MessageStatus};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    object: Word<'a>,
    #[serde(borrow)]
    entry: List<Maybe<Entry<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Word<'a>,
    #[serde(borrow)]
    messaging: List<Maybe<Event<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow)]
    sender: Maybe<Party<'a>>,
    #[serde(borrow)]
    recipient: Maybe<Party<'a>>,
    timestamp: Number,
    #[serde(borrow)]
    message: Maybe<Said<'a>>,
    #[serde(borrow)]
    postback: Maybe<Said<'a>>,
    #[serde(borrow)]
    referral: Maybe<Source<'a>>,
    #[serde(borrow)]
    delivery: Maybe<Steps<'a>>,
    #[serde(borrow)]
    read: Maybe<Steps<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Party<'a> {
    #[serde(borrow)]
    id: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    mid: Word<'a>,
    is_echo: Flag,
    text: Code,
    #[serde(borrow)]
    referral: Maybe<Source<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Word<'a>,
    #[serde(borrow)]
    ad_id: Word<'a>,
    #[serde(borrow)]
    source: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Steps<'a> {
    #[serde(borrow)]
    mids: List<Word<'a>>,
    #[serde(borrow)]
    mid: Word<'a>,
}

/// Returns what a webhook of Messenger or Instagram tells, in its order.
///
/// # Errors
/// When the body is no JSON, or names a field twice.
pub fn parse_messenger(body: &[u8]) -> Result<Vec<Inbound<'_>>, Malformed> {
    let Maybe(Some(payload)) = read::<Maybe<Payload<'_>>>(body)? else {
        return Ok(vec![Inbound::Unknown]);
    };
    let mut told = Vec::new();
    let channel = match &*payload.object.0 {
        "page" => Some(Channel::Messenger),
        "instagram" => Some(Channel::InstagramDirect),
        _ => None,
    };
    if let Some(channel) = channel {
        for entry in payload.entry.0.into_iter().filter_map(|entry| entry.0) {
            for event in entry.messaging.0.into_iter().filter_map(|event| event.0) {
                of_event(event, channel, entry.id.0.clone(), &mut told);
            }
        }
    }
    if told.is_empty() {
        told.push(Inbound::Unknown);
    }
    Ok(told)
}

fn of_event<'a>(
    event: Event<'a>,
    channel: Channel,
    account: Cow<'a, str>,
    told: &mut Vec<Inbound<'a>>,
) {
    let at_ms = event.timestamp.0.and_then(|ms| i64::try_from(ms).ok());
    let party = |party: Maybe<Party<'a>>| party.0.map(|party| party.id.0).unwrap_or_default();
    let (sender, recipient) = (party(event.sender), party(event.recipient));
    // A page that is named by its number has that for an address, too.
    let line = Line { channel, account: account.clone(), address: account };
    let of = |user_id: &Cow<'a, str>| Person { user_id: user_id.clone(), phone: Cow::default() };
    let status = |id: Cow<'a, str>, status, person: Person<'a>| {
        if id.is_empty() || person.name().is_empty() {
            return Inbound::Unknown;
        }
        let category = MessageCategory::Service;
        Inbound::Status(Status {
            line: line.clone(),
            person,
            at_ms,
            id,
            status,
            category,
            pricing: None,
        })
    };
    let steps = [(event.delivery, MessageStatus::Delivered), (event.read, MessageStatus::Read)];
    for (steps, step) in steps {
        let Some(steps) = steps.0 else { continue };
        let ids = steps.mids.0.into_iter().chain([steps.mid]).filter(|id| !id.0.is_empty());
        let before = told.len();
        told.extend(ids.map(|id| status(id.0, step, of(&sender))));
        if told.len() == before {
            // A watermark names no message.
            told.push(Inbound::Ignored);
        }
        return;
    }
    let said = event.message.0.or(event.postback.0);
    if let Some(said) = said.as_ref().filter(|said| said.is_echo.0) {
        let id = said.mid.0.clone();
        return told.push(status(id, MessageStatus::Sent, of(&recipient)));
    }
    let wrote = said.is_some();
    let said = said.unwrap_or_default();
    let referral = said.referral.0.or(event.referral.0).map(|source| Referral {
        is_ad: source.source.0 == "ADS",
        free_entry: false,
        ad_id: source.ad_id.0,
        source: source.reference.0,
        click_id: Cow::default(),
    });
    if sender.is_empty() || !(wrote || referral.is_some()) {
        return told.push(Inbound::Unknown);
    }
    told.push(Inbound::Message(Message {
        person: of(&sender),
        at_ms,
        id: said.mid.0,
        wrote,
        referral,
        code: said.text.0,
        line,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_becomes_what_it_is() {
        let message = |event: &str| match one("page", event) {
            Inbound::Message(message) => message,
            other => panic!("{other:?}"),
        };
        let said = message(r#""message":{"mid":"m1","text":"hi [7ZK4M0Q9XA]"}"#);
        assert_eq!((&*said.id, said.wrote, said.at_ms), ("m1", true, Some(1_700_000_000_123)));
        assert_eq!((said.person.name(), &*said.line.account), ("psid", "page-1"));
        assert_eq!(said.code, Some("7ZK4M0Q9XA".parse().unwrap()));
        let came =
            message(r#""referral":{"ref":"r","ad_id":7,"source":"ADS","type":"OPEN_THREAD"}"#);
        let referral = came.referral.unwrap();
        assert_eq!((&*referral.ad_id, &*referral.source), ("7", "r"));
        assert!(!came.wrote && referral.is_ad && !referral.free_entry);
        let started = message(
            r#""postback":{"mid":"m2","title":"T","payload":"P",
            "referral":{"ref":"r","source":"SHORTLINK"}}"#,
        );
        assert!(started.wrote && !started.referral.unwrap().is_ad);
        let echo = r#""message":{"mid":"m3","is_echo":true,"text":"T"}"#;
        let Inbound::Status(status) = one("page", echo) else { panic!("a status") };
        assert_eq!((status.person.name(), status.status), ("page-1", MessageStatus::Sent));
    }

    #[test]
    fn deliveries_and_reads_name_their_messages_or_none() {
        let body = body("page", r#""delivery":{"mids":["m1","m2"],"watermark":5}"#);
        let told = parse_messenger(body.as_bytes()).unwrap();
        let ids: Vec<_> = told
            .iter()
            .map(|told| match told {
                Inbound::Status(status) => (&*status.id, status.status),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, [("m1", MessageStatus::Delivered), ("m2", MessageStatus::Delivered)]);
        assert_eq!(one("page", r#""read":{"watermark":5}"#), Inbound::Ignored);
        let Inbound::Status(read) = one("instagram", r#""read":{"mid":"m1"}"#) else {
            panic!("a status")
        };
        assert_eq!(
            (read.line.channel, read.status),
            (Channel::InstagramDirect, MessageStatus::Read)
        );
    }

    #[test]
    fn what_is_not_known_is_unknown() {
        for event in [r#""optin":{}"#, r#""message":7"#, r#""referral":[]"#] {
            assert_eq!(one("page", event), Inbound::Unknown, "{event}");
        }
        assert_eq!(one("user", r#""message":{"mid":"m"}"#), Inbound::Unknown);
        assert!(parse_messenger(b"{\"object\":").is_err());
    }

    fn one(object: &str, event: &str) -> Inbound<'static> {
        let body = body(object, event).leak();
        let mut told = parse_messenger(body.as_bytes()).unwrap();
        assert_eq!(told.len(), 1);
        told.remove(0)
    }

    fn body(object: &str, event: &str) -> String {
        format!(
            r#"{{"object":"{object}","entry":[{{"id":"page-1","time":1,"messaging":[{{
            "sender":{{"id":"psid"}},"recipient":{{"id":"page-1"}},"timestamp":1700000000123,
            {event}}}]}}]}}"#
        )
    }
}
