//! What the chat platforms post to a webhook, as they spell it (FACTS, "Referral object", "Conversation
//! windows"): WhatsApp Cloud API and Messenger. Texts are made up here, and hold nothing but a greeting.

use serde_json::{Value, json};

use crate::town::founding::Line;
use crate::town::talk::{Saying, What};
use crate::types::proto::v1::opened::Proof;
use crate::types::proto::v1::{ChannelPricing, MessageCategory, MessageStatus, PriceReason};
use crate::types::time::SECOND_MS;

/// One thing to post: what goes over a chat, where, and what the channel says of its price.
pub(crate) type Post<'a> = (&'a Saying, &'a Line, Option<ChannelPricing>);

/// Returns the body of one post of the WhatsApp Cloud API.
pub(crate) fn whatsapp(posts: &[Post<'_>]) -> Value {
    let entry = posts.iter().map(|(saying, line, pricing)| {
        let (list, told) = whatsapp_told(saying, pricing.as_ref());
        let mut value = json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": line.address, "phone_number_id": line.account },
        });
        value[list] = json!([told]);
        json!({ "id": "town", "changes": [{ "field": "messages", "value": value }] })
    });
    json!({ "object": "whatsapp_business_account", "entry": entry.collect::<Vec<_>>() })
}

/// Returns in which list something stands, and what stands there.
fn whatsapp_told(saying: &Saying, pricing: Option<&ChannelPricing>) -> (&'static str, Value) {
    let contact = &saying.thread.contact;
    let timestamp = saying.at.0.div_euclid(SECOND_MS).to_string();
    let said = |id: &str, proof: Option<&Proof>| {
        json!({
            "from_user_id": contact,
            "id": id,
            "timestamp": timestamp,
            "type": "text",
            "text": { "body": greeting(proof) },
        })
    };
    match &saying.what {
        What::Opens { proof, id, referred, .. } => {
            let id = id.as_deref().unwrap_or_default();
            let mut told = said(id, proof.as_ref());
            if *referred {
                let ad = match proof {
                    Some(Proof::AdId(ad)) => ad.to_string(),
                    _ => "23850000000000000".to_owned(),
                };
                told["referral"] = json!({
                    "source_url": "https://fb.me/town",
                    "source_type": "ad",
                    "source_id": ad,
                    "headline": "Write to us",
                    "ctwa_clid": format!("clid-{id}"),
                });
            }
            ("messages", told)
        }
        What::Writes { id } => ("messages", said(id, None)),
        What::Answers { id, status, .. } => {
            let mut told = json!({
                "id": id,
                "status": status_name(*status),
                "timestamp": timestamp,
                "recipient_user_id": contact,
            });
            if let Some(pricing) = pricing {
                told["pricing"] = json!({
                    "billable": pricing.billable,
                    "pricing_model": "PMP",
                    "type": reason_name(pricing.reason()),
                    "category": category_name(pricing.category()),
                });
            }
            ("statuses", told)
        }
        What::Moves { from } => {
            let told = json!({
                "from_user_id": from,
                "timestamp": timestamp,
                "type": "system",
                "system": { "type": "user_changed_user_id", "user_id": contact },
            });
            ("messages", told)
        }
    }
}

/// Returns the body of one post of Messenger.
pub(crate) fn messenger(posts: &[Post<'_>]) -> Value {
    let entry = posts.iter().filter_map(|(saying, line, _)| {
        let (page, person) =
            (json!({ "id": line.account }), json!({ "id": saying.thread.contact }));
        let mut event = messenger_told(saying)?;
        let echoes = event["message"]["is_echo"] == json!(true);
        event["sender"] = if echoes { page.clone() } else { person.clone() };
        event["recipient"] = if echoes { person } else { page };
        event["timestamp"] = json!(saying.at.0);
        Some(json!({ "id": line.account, "time": saying.at.0, "messaging": [event] }))
    });
    json!({ "object": "page", "entry": entry.collect::<Vec<_>>() })
}

/// Returns what Messenger tells of it; `None`: nothing.
fn messenger_told(saying: &Saying) -> Option<Value> {
    let text = |id: &str, proof: Option<&Proof>| json!({ "mid": id, "text": greeting(proof) });
    Some(match &saying.what {
        What::Opens { proof, id: Some(id), .. } => json!({ "message": text(id, proof.as_ref()) }),
        What::Opens { proof, id: None, .. } => {
            let reference = match proof {
                Some(Proof::ClickToken(token)) => token.as_str(),
                Some(Proof::PrefillCode(code)) => code.as_str(),
                Some(Proof::AdId(_)) | None => "",
            };
            let source = json!({ "ref": reference, "source": "SHORTLINK", "type": "OPEN_THREAD" });
            json!({ "referral": source })
        }
        What::Writes { id } => json!({ "message": text(id, None) }),
        What::Answers { id, status: MessageStatus::Sent, .. } => {
            json!({ "message": { "mid": id, "is_echo": true, "text": greeting(None) } })
        }
        What::Answers { id, status: MessageStatus::Delivered, .. } => {
            json!({ "delivery": { "mids": [id], "watermark": saying.at.0 } })
        }
        What::Answers { status: MessageStatus::Read, .. } => {
            json!({ "read": { "watermark": saying.at.0 } })
        }
        What::Answers { .. } | What::Moves { .. } => return None,
    })
}

/// Returns a first message: a greeting, and the code that its link prefilled.
fn greeting(proof: Option<&Proof>) -> String {
    match proof {
        Some(Proof::PrefillCode(code)) => format!("Hola! [{code}]"),
        _ => "Hola!".to_owned(),
    }
}

const fn status_name(status: MessageStatus) -> &'static str {
    match status {
        MessageStatus::Sent | MessageStatus::Unspecified => "sent",
        MessageStatus::Delivered => "delivered",
        MessageStatus::Read => "read",
        MessageStatus::Failed => "failed",
    }
}

const fn reason_name(reason: PriceReason) -> &'static str {
    match reason {
        PriceReason::FreeCustomerService => "free_customer_service",
        PriceReason::FreeEntryPoint => "free_entry_point",
        _ => "regular",
    }
}

const fn category_name(category: MessageCategory) -> &'static str {
    match category {
        MessageCategory::Marketing => "marketing",
        MessageCategory::Utility => "utility",
        MessageCategory::Authentication => "authentication",
        _ => "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::inbound::{Inbound, parse_messenger, parse_whatsapp};
    use crate::town::talk::Thread;
    use crate::types::proto::v1::{Channel, EntryPoint};
    use crate::types::time::Moment;

    fn saying(channel: Channel, what: What) -> Saying {
        let thread =
            Thread { channel: channel.into(), contact: "MX.77".into(), ..Thread::default() };
        Saying { thread, at: Moment(1_780_272_000_000), what }
    }

    fn line() -> Line {
        Line { channel: 1, address: "15551234567".into(), account: "900".into() }
    }

    #[test]
    fn the_door_understands_what_whatsapp_tells() {
        let opens = What::Opens {
            entry_point: EntryPoint::Ad,
            proof: Some(Proof::PrefillCode("0G00000001".into())),
            id: Some("m1".into()),
            referred: true,
        };
        let category = MessageCategory::Utility;
        let (id, status) = ("m2".to_owned(), MessageStatus::Delivered);
        let answers = What::Answers { id, category, template: true, status };
        let moves = What::Moves { from: "MX.76".into() };
        let sayings = [opens, answers, moves].map(|what| saying(Channel::Whatsapp, what));
        let pricing = ChannelPricing { billable: true, category: 2, reason: 1, model: 2 };
        let line = line();
        let posts = sayings.each_ref().map(|saying| (saying, &line, Some(pricing)));
        let body = whatsapp(&posts).to_string();
        let told = parse_whatsapp(body.as_bytes()).unwrap();
        let [Inbound::Message(said), Inbound::Status(status), Inbound::Moved(moved)] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((&*said.person.user_id, said.code.is_some()), ("MX.77", true));
        assert!(said.referral.as_ref().is_some_and(|referral| referral.free_entry));
        assert_eq!((status.category, status.pricing), (MessageCategory::Utility, Some(pricing)));
        assert_eq!((&*moved.from.user_id, &*moved.to.user_id), ("MX.76", "MX.77"));
    }

    #[test]
    fn the_door_understands_what_messenger_tells() {
        let token = "A-_z".repeat(16);
        let proof = Some(Proof::ClickToken(token.clone()));
        let entry_point = EntryPoint::Ad;
        let opens = What::Opens { entry_point, proof, id: None, referred: false };
        let answers = |status| What::Answers {
            id: "m2".into(),
            category: MessageCategory::Service,
            template: false,
            status,
        };
        let whats = [
            opens,
            What::Writes { id: "m1".into() },
            answers(MessageStatus::Sent),
            answers(MessageStatus::Delivered),
            answers(MessageStatus::Failed),
        ];
        let sayings = whats.map(|what| saying(Channel::Messenger, what));
        let line = line();
        let posts = sayings.each_ref().map(|saying| (saying, &line, None));
        let body = messenger(&posts).to_string();
        let told = parse_messenger(body.as_bytes()).unwrap();
        let [Inbound::Message(opened), Inbound::Message(wrote), Inbound::Status(sent), last] =
            &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!(opened.referral.as_ref().map(|it| &*it.source), Some(&*token));
        assert!(!opened.wrote && wrote.wrote);
        assert_eq!((sent.status, &*sent.person.user_id), (MessageStatus::Sent, "MX.77"));
        assert!(matches!(last, Inbound::Status(it) if it.status == MessageStatus::Delivered));
    }
}
