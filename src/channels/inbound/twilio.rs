//! Twilio's form: messages that came in, and callbacks on messages that went out (FACTS, "Referral object").

use std::borrow::Cow;

use crate::channels::inbound::whatsapp::digits;
use crate::channels::inbound::{
    Form, ID_BYTES_MAX, Inbound, Line, Message, Person, Referral, Status,
};
use crate::channels::{Channel, find_code};
use crate::types::proto::v1::{MessageCategory, MessageStatus};

/// Returns what one of Twilio's webhooks tells.
pub fn parse_twilio(form: &Form) -> Inbound<'_> {
    let told = if form.get("MessageStatus").is_empty() { message(form) } else { status(form) };
    told.unwrap_or(Inbound::Unknown)
}

fn message(form: &Form) -> Option<Inbound<'_>> {
    let line = line(form.get("To"))?;
    let id = word(form, "MessageSid")?;
    let (_, from) = party(form.get("From"))?;
    let person = match line.channel {
        Channel::Whatsapp => {
            let told = word(form, "WaId").unwrap_or_default();
            let phone = digits(if told.is_empty() { from } else { told });
            let user_id = word(form, "ExternalUserId").unwrap_or_default();
            Person { user_id, phone }
        }
        _ => Person { user_id: from, phone: Cow::default() },
    };
    let source = |name| word(form, name).unwrap_or_default();
    let referral = Referral {
        is_ad: form.get("ReferralSourceType") == "ad",
        free_entry: line.channel == Channel::Whatsapp,
        ad_id: source("ReferralSourceId"),
        source: source("ReferralSourceUrl"),
        click_id: source("ReferralCtwaClid"),
    };
    let referred = [&referral.ad_id, &referral.source, &referral.click_id];
    let referred = referred.into_iter().any(|word| !word.is_empty());
    (!person.name().is_empty()).then(|| {
        Inbound::Message(Message {
            line,
            person,
            at_ms: None,
            id,
            wrote: true,
            referral: referred.then_some(referral),
            code: find_code(form.get("Body")),
        })
    })
}

fn status(form: &Form) -> Option<Inbound<'_>> {
    let status = match form.get("MessageStatus") {
        "sent" => MessageStatus::Sent,
        "delivered" => MessageStatus::Delivered,
        "read" => MessageStatus::Read,
        "failed" | "undelivered" | "canceled" => MessageStatus::Failed,
        // Twilio's own steps before the message leaves.
        "accepted" | "scheduled" | "queued" | "sending" => return Some(Inbound::Ignored),
        _ => return None,
    };
    let line = line(form.get("From"))?;
    let (_, to) = party(form.get("To"))?;
    let person = match line.channel {
        Channel::Whatsapp => Person { user_id: Cow::default(), phone: digits(to) },
        _ => Person { user_id: to, phone: Cow::default() },
    };
    let id = word(form, "MessageSid")?;
    let category = MessageCategory::Unspecified;
    let is_known = !person.name().is_empty();
    let status = Status { line, person, at_ms: None, id, status, category, pricing: None };
    is_known.then_some(Inbound::Status(status))
}

fn line(address: &str) -> Option<Line<'_>> {
    let (channel, name) = party(address)?;
    let name = if channel == Channel::Whatsapp { digits(name) } else { name };
    (!name.is_empty()).then(|| Line { channel, account: name.clone(), address: name })
}

/// Splits "whatsapp:+14155238886". Without a channel it is an SMS, which is none of ours.
fn party(address: &str) -> Option<(Channel, Cow<'_, str>)> {
    let (channel, name) = address.split_once(':')?;
    let channel = match channel {
        "whatsapp" => Channel::Whatsapp,
        "messenger" => Channel::Messenger,
        "rcs" => Channel::Rcs,
        _ => return None,
    };
    (name.len() <= ID_BYTES_MAX).then_some((channel, Cow::Borrowed(name)))
}

fn word<'a>(form: &'a Form, name: &str) -> Option<Cow<'a, str>> {
    let word = form.get(name);
    (!word.is_empty() && word.len() <= ID_BYTES_MAX).then_some(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_came_in_and_a_callback_are_told_apart() {
        let came = form(
            "MessageSid=SM1&SmsStatus=received&From=whatsapp%3A%2B5215550001111&WaId=5215550001111\
             &To=whatsapp%3A%2B5215512345678&Body=hi+%5B7ZK4M0Q9XA%5D&ProfileName=N\
             &ReferralSourceType=ad&ReferralSourceId=7&ReferralCtwaClid=c&ReferralSourceUrl=u",
        );
        let Inbound::Message(message) = parse_twilio(&came) else { panic!("a message") };
        assert_eq!(
            (message.person.name(), &*message.line.address),
            ("5215550001111", "5215512345678")
        );
        assert_eq!((&*message.id, message.at_ms), ("SM1", None));
        assert_eq!(message.code, Some("7ZK4M0Q9XA".parse().unwrap()));
        let referral = message.referral.unwrap();
        assert!(referral.is_ad && referral.free_entry);
        let step = form(
            "MessageSid=SM2&MessageStatus=undelivered&To=whatsapp%3A%2B5215550001111\
             &From=whatsapp%3A%2B5215512345678",
        );
        let Inbound::Status(status) = parse_twilio(&step) else { panic!("a status") };
        assert_eq!((status.person.name(), status.status), ("5215550001111", MessageStatus::Failed));
    }

    #[test]
    fn an_sms_and_what_has_no_id_are_unknown() {
        for body in [
            "MessageSid=SM1&From=%2B5215550001111&To=%2B5215512345678",
            "From=whatsapp%3A%2B5215550001111&To=whatsapp%3A%2B5215512345678",
            "MessageSid=SM1&From=whatsapp%3A&To=whatsapp%3A%2B5215512345678",
            "MessageSid=SM1&MessageStatus=lost&To=whatsapp%3A%2B1&From=whatsapp%3A%2B2",
            "",
        ] {
            assert_eq!(parse_twilio(&form(body)), Inbound::Unknown, "{body}");
        }
        let queued = "MessageSid=SM1&MessageStatus=queued";
        assert_eq!(parse_twilio(&form(queued)), Inbound::Ignored);
    }

    fn form(body: &str) -> Form {
        Form::decode(body.as_bytes()).unwrap()
    }
}
