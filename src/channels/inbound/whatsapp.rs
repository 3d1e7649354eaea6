//! WhatsApp Cloud API: messages, statuses with prices, new numbers, volume tiers (FACTS, "Referral object",
//! "Conversation windows").

use std::borrow::Cow;

use crate::channels::Channel;
use crate::channels::inbound::cloud::{Change, Contact, Echo, Payload, Pricing, Said, Step, Value};
use crate::channels::inbound::field::{Maybe, Number, read};
use crate::channels::inbound::{
    Inbound, Line, Malformed, Message, Moved, Person, Referral, Status, Tier,
};
use crate::types::proto::v1::{
    ChannelPricing, MessageCategory, MessageStatus, PriceReason, PricingModel,
};
use crate::types::time::SECOND_MS;

/// What the body says that it is about.
const OBJECT: &str = "whatsapp_business_account";

/// Returns what a webhook of the Cloud API tells, in its order.
///
/// # Errors
/// When the body is no JSON, or names a field twice.
pub fn parse_whatsapp(body: &[u8]) -> Result<Vec<Inbound<'_>>, Malformed> {
    let Maybe(Some(payload)) = read::<Maybe<Payload<'_>>>(body)? else {
        return Ok(vec![Inbound::Unknown]);
    };
    let mut told = Vec::new();
    if payload.object.0 == OBJECT {
        for entry in payload.entry.0.into_iter().filter_map(|entry| entry.0) {
            for change in entry.changes.0.into_iter().filter_map(|change| change.0) {
                of_change(change, entry.id.0.clone(), &mut told);
            }
        }
    }
    if told.is_empty() {
        told.push(Inbound::Unknown);
    }
    Ok(told)
}

fn of_change<'a>(change: Change<'a>, business: Cow<'a, str>, told: &mut Vec<Inbound<'a>>) {
    let Some(value) = change.value.0 else { return told.push(Inbound::Unknown) };
    match &*change.field.0 {
        "messages" | "smb_message_echoes" => of_messages(value, told),
        "user_preferences" | "account_alerts" | "phone_number_quality_update" => {
            told.push(Inbound::Ignored);
        }
        "account_update" => told.push(of_account(value, business)),
        _ => told.push(Inbound::Unknown),
    }
}

fn of_messages<'a>(value: Value<'a>, told: &mut Vec<Inbound<'a>>) {
    let metadata = value.metadata.0.unwrap_or_default();
    let line = Line {
        channel: Channel::Whatsapp,
        account: metadata.phone_number_id.0,
        address: digits(metadata.display_phone_number.0),
    };
    let contacts: Vec<_> = value.contacts.0.into_iter().filter_map(|contact| contact.0).collect();
    let before = told.len();
    for said in value.messages.0.into_iter().filter_map(|said| said.0) {
        told.push(of_said(said, &line, &contacts));
    }
    for step in value.statuses.0.into_iter().filter_map(|step| step.0) {
        told.push(of_step(step, &line, &contacts));
    }
    for echo in value.message_echoes.0.into_iter().filter_map(|echo| echo.0) {
        told.push(of_echo(echo, &line, &contacts));
    }
    if told.len() == before {
        // Errors of the platform's own, and what has no list of ours.
        told.push(Inbound::Unknown);
    }
}

fn of_said<'a>(said: Said<'a>, line: &Line<'a>, contacts: &[Contact<'a>]) -> Inbound<'a> {
    let at_ms = at_ms(said.timestamp);
    let person = person(said.from.0, said.from_user_id.0, contacts);
    if let Some(system) = said.system.0 {
        if !matches!(&*system.kind.0, "user_changed_number" | "user_changed_user_id") {
            return Inbound::Ignored;
        }
        let to = Person { user_id: system.user_id.0, phone: digits(system.wa_id.0) };
        if person.name().is_empty() || to.name().is_empty() {
            return Inbound::Unknown;
        }
        return Inbound::Moved(Moved { line: line.clone(), at_ms, from: person, to });
    }
    if person.name().is_empty() || said.id.0.is_empty() || at_ms.is_none() {
        return Inbound::Unknown;
    }
    let referral = said.referral.0.map(|source| Referral {
        is_ad: source.source_type.0 == "ad",
        // The referral is there only when an ad or a page's button led here, and that is what is free.
        free_entry: true,
        ad_id: source.source_id.0,
        source: source.source_url.0,
        click_id: source.ctwa_clid.0,
    });
    Inbound::Message(Message {
        line: line.clone(),
        person,
        at_ms,
        id: said.id.0,
        // The chat was opened, and nothing written.
        wrote: said.kind.0 != "request_welcome",
        referral,
        code: said.text.0.and_then(|text| text.body.0),
    })
}

fn of_step<'a>(step: Step<'a>, line: &Line<'a>, contacts: &[Contact<'a>]) -> Inbound<'a> {
    let status = match &*step.status.0 {
        "sent" => MessageStatus::Sent,
        "delivered" => MessageStatus::Delivered,
        // A voice message that was played was read.
        "read" | "played" => MessageStatus::Read,
        "failed" => MessageStatus::Failed,
        _ => return Inbound::Unknown,
    };
    if step.recipient_type.0 == "group" {
        // A group is no person: nobody's conversation.
        return Inbound::Ignored;
    }
    let person = person(step.recipient_id.0, step.recipient_user_id.0, contacts);
    let at_ms = at_ms(step.timestamp);
    if person.name().is_empty() || step.id.0.is_empty() || at_ms.is_none() {
        return Inbound::Unknown;
    }
    let origin = step.conversation.0.and_then(|conversation| conversation.origin.0);
    let origin = origin.map_or(MessageCategory::Unspecified, |origin| category(&origin.kind.0));
    let pricing = step.pricing.0.map(|pricing| pricing_of(&pricing));
    let category = match pricing.as_ref().map(ChannelPricing::category) {
        Some(MessageCategory::Unspecified) | None => origin,
        Some(category) => category,
    };
    Inbound::Status(Status {
        line: line.clone(),
        person,
        at_ms,
        id: step.id.0,
        status,
        category,
        pricing,
    })
}

/// Reads what the business wrote by its phone.
fn of_echo<'a>(echo: Echo<'a>, line: &Line<'a>, contacts: &[Contact<'a>]) -> Inbound<'a> {
    let person = person(echo.to.0, echo.to_user_id.0, contacts);
    let at_ms = at_ms(echo.timestamp);
    if person.name().is_empty() || echo.id.0.is_empty() || at_ms.is_none() {
        return Inbound::Unknown;
    }
    Inbound::Status(Status {
        line: line.clone(),
        person,
        at_ms,
        id: echo.id.0,
        status: MessageStatus::Sent,
        category: MessageCategory::Service,
        pricing: None,
    })
}

fn of_account<'a>(value: Value<'a>, business: Cow<'a, str>) -> Inbound<'a> {
    if value.event.0.is_empty() {
        return Inbound::Unknown;
    }
    if value.event.0 != "VOLUME_BASED_PRICING_TIER_UPDATE" {
        return Inbound::Ignored;
    }
    let tier = value.volume_tier_info.0.and_then(|info| {
        let (from, to) = info.tier.0.split_once(':')?;
        let category = category(&info.pricing_category.0.to_ascii_lowercase());
        Some(Tier {
            channel: Channel::Whatsapp,
            business,
            category: (category != MessageCategory::Unspecified).then_some(category)?,
            month: month(&info.effective_month.0)?,
            from: from.parse().ok()?,
            // The last step has no end.
            to: to.parse().unwrap_or_default(),
            market: info.region.0,
        })
    });
    tier.map_or(Inbound::Unknown, Inbound::Tier)
}

/// Returns who a number or user id is, with what the list of contacts knows of them.
fn person<'a>(phone: Cow<'a, str>, user_id: Cow<'a, str>, contacts: &[Contact<'a>]) -> Person<'a> {
    let phone = digits(phone);
    if !user_id.is_empty() {
        return Person { user_id, phone };
    }
    let named = contacts.iter().find(|contact| !phone.is_empty() && contact.wa_id.0 == phone);
    // Who hides the number is there without one.
    let hidden = match contacts {
        [only] if phone.is_empty() => Some(only),
        _ => None,
    };
    let user_id = named.or(hidden).map(|contact| contact.user_id.0.clone()).unwrap_or_default();
    Person { user_id, phone }
}

fn pricing_of(pricing: &Pricing<'_>) -> ChannelPricing {
    let model = match &*pricing.pricing_model.0 {
        "CBP" => PricingModel::Conversation,
        "PMP" => PricingModel::Message,
        _ => PricingModel::Unspecified,
    };
    let reason = match &*pricing.kind.0 {
        "regular" => PriceReason::Regular,
        "free_customer_service" => PriceReason::FreeCustomerService,
        "free_entry_point" => PriceReason::FreeEntryPoint,
        _ => PriceReason::Unspecified,
    };
    ChannelPricing {
        billable: pricing.billable.0,
        model: model.into(),
        reason: reason.into(),
        category: category(&pricing.category.0).into(),
    }
}

fn category(name: &str) -> MessageCategory {
    match name {
        "marketing" | "marketing_lite" => MessageCategory::Marketing,
        "utility" => MessageCategory::Utility,
        "authentication" => MessageCategory::Authentication,
        "authentication_international" => MessageCategory::AuthenticationInternational,
        "service" | "user_initiated" => MessageCategory::Service,
        "referral_conversion" => MessageCategory::ReferralConversion,
        _ => MessageCategory::Unspecified,
    }
}

fn at_ms(timestamp: Number) -> Option<i64> {
    let seconds = u32::try_from(timestamp.0?).ok()?;
    Some(i64::from(seconds) * SECOND_MS)
}

/// Returns "2025-11" as months since 1970-01.
fn month(text: &str) -> Option<u32> {
    let (year, month) = text.split_once('-')?;
    let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
    ((1970..=9_999).contains(&year) && (1..=12).contains(&month))
        .then(|| (year - 1970) * 12 + month - 1)
}

/// Returns a phone number without the signs that people write into it; empty: it is none.
pub(super) fn digits(number: Cow<'_, str>) -> Cow<'_, str> {
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return number;
    }
    let sign = |sign: char| "+-() ".contains(sign);
    if !number.chars().all(|c| c.is_ascii_digit() || sign(c)) {
        return Cow::Borrowed("");
    }
    Cow::Owned(number.chars().filter(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_who_wrote_when_and_where_from_but_not_what() {
        let body = messages(
            r#"{"referral":{"source_url":"https://fb.me/1","source_id":"77","source_type":"ad",
            "headline":"H","body":"B","ctwa_clid":"clid"},"from":"5215550001111","id":"wamid.1",
            "timestamp":"1700000000","type":"text","text":{"body":"Hola [7ZK4M0Q9XA]"}}"#,
        );
        let told = parse_whatsapp(body.as_bytes()).unwrap();
        let [Inbound::Message(message)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&*message.line.account, &*message.line.address), ("112233", "5215512345678"));
        assert_eq!((&*message.person.phone, &*message.person.user_id), ("5215550001111", "MX.1"));
        assert_eq!((&*message.id, message.at_ms), ("wamid.1", Some(1_700_000_000_000)));
        assert_eq!(message.code, Some("7ZK4M0Q9XA".parse().unwrap()));
        let referral = message.referral.as_ref().unwrap();
        assert!(message.wrote && referral.is_ad && referral.free_entry);
        assert_eq!((&*referral.ad_id, &*referral.click_id), ("77", "clid"));
    }

    #[test]
    fn a_status_tells_how_far_a_message_came_and_what_the_channel_says_of_its_price() {
        let step = |rest: &str| {
            let step = format!(
                r#"{{"id":"wamid.1","timestamp":1700000000,"recipient_id":"5215550001111",{rest}}}"#
            );
            let body = value(&format!(r#""statuses":[{step}]"#));
            let told = parse_whatsapp(body.as_bytes()).unwrap();
            match told.into_iter().next() {
                Some(Inbound::Status(status)) => (status.status, status.category, status.pricing),
                other => panic!("{other:?}"),
            }
        };
        let new = r#""status":"delivered","pricing":{"billable":true,"pricing_model":"PMP",
            "type":"regular","category":"marketing"}"#;
        let pricing = ChannelPricing {
            billable: true,
            model: PricingModel::Message.into(),
            reason: PriceReason::Regular.into(),
            category: MessageCategory::Marketing.into(),
        };
        let marketing = MessageCategory::Marketing;
        assert_eq!(step(new), (MessageStatus::Delivered, marketing, Some(pricing)));
        let old = r#""status":"sent","conversation":{"origin":{"type":"utility"}}"#;
        assert_eq!(step(old), (MessageStatus::Sent, MessageCategory::Utility, None));
        let played = step(r#""status":"played""#);
        assert_eq!(played, (MessageStatus::Read, MessageCategory::Unspecified, None));
    }

    #[test]
    fn a_new_number_and_a_volume_tier_are_told() {
        let body = messages(
            r#"{"from":"5215550001111","id":"wamid.1","timestamp":"1700000000","type":"system",
            "system":{"body":"B","wa_id":"5215550002222","type":"user_changed_number"}}"#,
        );
        let told = parse_whatsapp(body.as_bytes()).unwrap();
        let [Inbound::Moved(moved)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((moved.from.name(), moved.to.name()), ("MX.1", "5215550002222"));
        let tier = r#"{"object":"whatsapp_business_account","entry":[{"id":"waba","changes":[{
            "field":"account_update","value":{"event":"VOLUME_BASED_PRICING_TIER_UPDATE",
            "volume_tier_info":{"pricing_category":"UTILITY","tier":"25000001:50000000",
            "effective_month":"2025-11","region":"India"}}}]}]}"#;
        let told = parse_whatsapp(tier.as_bytes()).unwrap();
        let [Inbound::Tier(tier)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&*tier.business, &*tier.market, tier.month), ("waba", "India", 55 * 12 + 10));
        assert_eq!((tier.from, tier.to), (25_000_001, 50_000_000));
    }

    #[test]
    fn what_is_json_but_not_as_expected_is_unknown_and_what_is_none_is_malformed() {
        let said = r#"{"from":"1","id":"w","timestamp":"1700000000","type":"text"}"#;
        for body in [
            "{}".to_owned(),
            "[]".to_owned(),
            "7".to_owned(),
            r#"{"object":"page","entry":[]}"#.to_owned(),
            r#"{"object":"whatsapp_business_account","entry":[1,{"changes":{}}]}"#.to_owned(),
            value(r#""messages":{"from":"1"}"#),
            value(r#""messages":[{"from":[],"id":"w","timestamp":"1700000000"}]"#),
            value(r#""messages":[{"from":"1","id":"w","timestamp":"1700000000000"}]"#),
            value(r#""messages":[{"from":"1","id":"w","timestamp":"noon"}]"#),
        ] {
            assert_eq!(parse_whatsapp(body.as_bytes()), Ok(vec![Inbound::Unknown]), "{body}");
        }
        for body in [
            String::new(),
            "{".to_owned(),
            "{}}".to_owned(),
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            messages(&said.replace("\"id\"", "\"from\":\"2\",\"id\"")),
            messages(&said.replace("\"1700000000\"", "99999999999999999999999")),
            messages(&said.replace("\"1700000000\"", "1e999")),
            messages(&said.replace("1700000000", "99999999999999999999999")),
            messages(&said.replace("\"w\"", "\"\\ud800\"")),
        ] {
            assert!(parse_whatsapp(body.as_bytes()).is_err(), "{body:.200}");
        }
        assert!(parse_whatsapp(b"{\"object\":\"\xff\"}").is_err());
        // What is passed over is not looked at.
        let passed_over = parse_whatsapp(b"{\"object\":\"x\",\"title\":\"\xff\"}");
        assert_eq!(passed_over, Ok(vec![Inbound::Unknown]));
    }

    fn messages(said: &str) -> String {
        let contacts = r#"{"profile":{"name":"N"},"wa_id":"5215550001111","user_id":"MX.1"}"#;
        value(&format!(r#""contacts":[{contacts}],"messages":[{said}]"#))
    }

    fn value(rest: &str) -> String {
        let metadata =
            r#"{"display_phone_number":"+52 1 55 1234-5678","phone_number_id":"112233"}"#;
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"waba","changes":[{{
            "field":"messages","value":{{"metadata":{metadata},{rest}}}}}]}}]}}"#
        )
    }
}
