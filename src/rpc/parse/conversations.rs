//! What a chat platform or CRM reports: contacts and message ids hashed, tokens opened, at the door.

use std::str::FromStr;

use crate::node::ListedChats;
use crate::rpc::limits::{
    CONTACT_CHARS_MAX, CONVERSION_NAME_CHARS_MAX, EVENT_ID_CHARS_MAX, LEAD_MINUTES_DEFAULT,
    LEAD_MINUTES_MAX, MESSAGE_ID_CHARS_MAX,
};
use crate::rpc::parse::adjustments::adjustment;
use crate::rpc::parse::field::{
    Path, country, id, moment, money, optional_text, optional_variant, required, text, token,
    variant,
};
use crate::rpc::parse::places::{List, page_size};
use crate::rpc::parse::viewers::told_viewer;
use crate::tokens::{Sealer, contact_number, conversation_id, message_number};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{
    CHANNEL_AD_ID_CHARS_MAX, CHANNEL_CLICK_ID_CHARS_MAX, Chat, Claim, Conversion, Incoming,
    Opening, Origin, Receipt, Scope,
};
use crate::types::time::{MINUTE_MS, Moment};
use crate::types::token::PrefillCode;

/// What the parsers need beside the wire.
pub(in crate::rpc) struct Desk<'a> {
    /// Opens tokens and hashes names.
    pub(in crate::rpc) sealer: &'a Sealer,
    /// The caller's tenant; 0: the platform, which may speak for every business.
    pub(in crate::rpc) tenant: u32,
    /// The server's time, by which tokens end.
    pub(in crate::rpc) now: Moment,
}

impl Desk<'_> {
    /// Returns one event of a conversation.
    pub(in crate::rpc) fn event(&self, wire: v1::ConversationEvent) -> Result<Incoming, Refusal> {
        let business = id(wire.business_id, Path::root("business_id"))?;
        let (endpoint, id) = self.conversation(business, wire.conversation.as_ref())?;
        let country = match wire.country.as_str() {
            "" => 0,
            told => country(told, Path::root("country"))?,
        };
        let at = moment(wire.time, Path::root("time"))?;
        let chat = Chat {
            tenant: self.tenant,
            business,
            endpoint,
            id,
            at,
            country,
            independent: self.tenant == 0,
        };
        match required(wire.event, Path::root("event"))? {
            v1::conversation_event::Event::Opened(opened) => self.opened(chat, opened),
            v1::conversation_event::Event::Message(receipt) => self.message(chat, &receipt),
            v1::conversation_event::Event::ContactChanged(changed) => self.moved(chat, changed),
        }
    }

    fn moved(&self, chat: Chat, wire: v1::ContactChanged) -> Result<Incoming, Refusal> {
        let path = Path::root("contact_changed");
        text(&wire.previous_contact, CONTACT_CHARS_MAX, path.field("previous_contact"))?;
        let Chat { business, endpoint, .. } = chat;
        let contact = contact_number(&self.sealer.ring().contact, endpoint, &wire.previous_contact);
        Ok(Incoming::Moved { chat, from: conversation_id(business, endpoint, contact) })
    }

    /// Returns endpoint and id of a conversation of a business.
    pub(in crate::rpc) fn conversation(
        &self,
        business: u64,
        key: Option<&v1::ConversationKey>,
    ) -> Result<(u64, u64), Refusal> {
        let path = Path::root("conversation");
        let key = required(key, path)?;
        let endpoint = id(key.endpoint_id, path.field("endpoint_id"))?;
        text(&key.contact, CONTACT_CHARS_MAX, path.field("contact"))?;
        let contact = contact_number(&self.sealer.ring().contact, endpoint, &key.contact);
        Ok((endpoint, conversation_id(business, endpoint, contact)))
    }

    /// Returns one conversion, or an adjustment of one. `business_of` tells whose an endpoint is, for the caller.
    pub(in crate::rpc) fn conversion(
        &self,
        wire: v1::Conversion,
        business_of: impl Fn(u64) -> Result<u64, Refusal>,
    ) -> Result<Incoming, Refusal> {
        if wire.adjustment != 0 {
            return adjustment(self, wire);
        }
        if !wire.adjustment_id.is_empty() {
            let message = "is empty: say whether it is a retraction or a restatement";
            return Err(Path::root("adjustment").refuse(Reason::FieldMissing, message));
        }
        text(&wire.event_id, EVENT_ID_CHARS_MAX, Path::root("event_id"))?;
        text(&wire.name, CONVERSION_NAME_CHARS_MAX, Path::root("name"))?;
        wire.value.iter().try_for_each(|value| money(value, Path::root("value")))?;
        let at = moment(wire.time, Path::root("time"))?;
        let viewer = told_viewer(self, wire.viewer.as_ref(), Path::root("viewer"))?;
        let account = Path::root("account_id");
        if wire.account_id != 0 && wire.origin.is_some() {
            let message = "is what the origin says already: leave it empty";
            return Err(account.refuse(Reason::FieldInvalid, message));
        }
        let origin = match wire.origin {
            None if viewer != 0 => Origin::Viewer { account: id(wire.account_id, account)? },
            None => {
                let message = "is empty: send where the conversion came from, or its viewer";
                return Err(Path::root("origin").refuse(Reason::FieldMissing, message));
            }
            Some(v1::conversion::Origin::ClickToken(text)) => {
                Origin::Click(self.click(&text, Path::root("click_token"))?)
            }
            Some(v1::conversion::Origin::Conversation(key)) => {
                let path = Path::root("conversation");
                let endpoint = id(key.endpoint_id, path.field("endpoint_id"))?;
                let business = business_of(endpoint)?;
                let (endpoint, id) = self.conversation(business, Some(&key))?;
                Origin::Conversation { endpoint, id }
            }
        };
        Ok(Incoming::Converted(Box::new(Conversion {
            tenant: self.tenant,
            event_id: wire.event_id,
            name: wire.name,
            value: wire.value,
            at,
            origin,
            viewer,
        })))
    }

    fn opened(&self, chat: Chat, wire: v1::Opened) -> Result<Incoming, Refusal> {
        let path = Path::root("opened");
        for (told, max, field) in [
            (&wire.channel_click_id, CHANNEL_CLICK_ID_CHARS_MAX, "channel_click_id"),
            (&wire.channel_ad_id, CHANNEL_AD_ID_CHARS_MAX, "channel_ad_id"),
        ] {
            optional_text(told, max, path.field(field))?;
        }
        let entry_point = variant(wire.entry_point, path.field("entry_point"))?;
        let proof = match &wire.proof {
            None => None,
            Some(v1::opened::Proof::ClickToken(text)) => {
                Some(Claim::Click(self.click(text, path.field("click_token"))?))
            }
            Some(v1::opened::Proof::PrefillCode(text)) => {
                let code = PrefillCode::from_str(text).map_err(|bad| {
                    path.field("prefill_code").refuse(Reason::TokenMalformed, bad.to_string())
                })?;
                Some(Claim::Code(code))
            }
            Some(v1::opened::Proof::AdId(ad)) => Some(Claim::Ad(id(*ad, path.field("ad_id"))?)),
        };
        for (name, told, chars_max) in [
            ("channel_click_id", &wire.channel_click_id, CHANNEL_CLICK_ID_CHARS_MAX),
            ("channel_ad_id", &wire.channel_ad_id, CHANNEL_AD_ID_CHARS_MAX),
        ] {
            optional_text(told, chars_max, path.field(name))?;
        }
        let viewer = told_viewer(self, wire.viewer.as_ref(), path.field("viewer"))?;
        let opening = Opening {
            viewer,
            wrote: wire.wrote,
            free_entry: wire.free_entry_point,
            channel_click_id: wire.channel_click_id,
            channel_ad_id: wire.channel_ad_id,
            ..Opening::by_message(entry_point, proof)
        };
        Ok(Incoming::Opened { chat, opening })
    }

    fn message(&self, chat: Chat, wire: &v1::MessageReceipt) -> Result<Incoming, Refusal> {
        let path = Path::root("message");
        text(&wire.message_id, MESSAGE_ID_CHARS_MAX, path.field("message_id"))?;
        let message = message_number(&self.sealer.ring().contact, chat.endpoint, &wire.message_id);
        let direction = variant(wire.direction, path.field("direction"))?;
        let category = variant(wire.category, path.field("category"))?;
        let status = match optional_variant(wire.status, path.field("status"))? {
            v1::MessageStatus::Unspecified => v1::MessageStatus::Delivered,
            told => told,
        };
        if let Some(pricing) = &wire.pricing {
            let path = path.field("pricing");
            variant::<v1::PricingModel>(pricing.model, path.field("model"))?;
            variant::<v1::PriceReason>(pricing.reason, path.field("reason"))?;
            variant::<v1::MessageCategory>(pricing.category, path.field("category"))?;
        }
        let receipt = Receipt {
            status,
            template: wire.template,
            pricing: wire.pricing,
            ..Receipt::delivered(message, direction, category)
        };
        Ok(Incoming::Message { chat, receipt })
    }

    fn click(&self, text: &str, path: Path) -> Result<crate::types::token::ClickToken, Refusal> {
        required((!text.is_empty()).then_some(()), path)?;
        let opened = self.sealer.open_click_text(text, self.now.seconds());
        opened.map_err(|refusal| token(refusal, path))
    }
}

/// Returns the list that a page of conversations belongs to, and which conversations.
pub(in crate::rpc) fn listed(
    wire: &v1::ListConversationsRequest,
    scope: Scope,
    sealer: &Sealer,
) -> Result<(List, ListedChats), Refusal> {
    let business = id(wire.business_id, Path::root("business_id"))?;
    let open = optional_variant(wire.open_window, Path::root("open_window"))?;
    let limit = page_size(wire.page_size)?;
    let question = [scope.tenant.into(), scope.any.into(), business, wire.open_window as u64];
    let list = List::new("ListConversations", &question);
    let after = list.open(&wire.page_token, sealer)?;
    Ok((list, ListedChats { business, open, after, limit }))
}

/// Returns the business whose windows are watched, and how long before their end, milliseconds.
pub(in crate::rpc) fn watched(wire: &v1::WatchWindowsRequest) -> Result<(u64, i64), Refusal> {
    let business = id(wire.business_id, Path::root("business_id"))?;
    let minutes = match wire.lead_minutes {
        0 => LEAD_MINUTES_DEFAULT,
        minutes => minutes,
    };
    if minutes > LEAD_MINUTES_MAX {
        let message = format!("is {minutes}: send at most {LEAD_MINUTES_MAX}");
        return Err(Path::root("lead_minutes").refuse(Reason::TooLarge, message));
    }
    Ok((business, i64::from(minutes) * MINUTE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{NOW, sealer};
    use crate::types::ids::shard_of;
    use crate::types::token::ClickToken;

    const BUSINESS: u64 = 3 << 58;

    #[test]
    fn an_opening_carries_its_opened_token_or_code() {
        let Incoming::Opened { chat, opening } = event(whole()).unwrap() else {
            panic!("an opening")
        };
        assert_eq!((chat.tenant, chat.business, chat.endpoint), (4, BUSINESS, 9));
        assert!(!chat.independent, "an advertiser's own word");
        let sealer = sealer();
        let platform = Desk { sealer: &sealer, tenant: 0, now: NOW };
        let Incoming::Opened { chat, .. } = platform.event(whole()).unwrap() else {
            panic!("an opening")
        };
        assert!(chat.independent, "a platform's, which no advertiser speaks for");
        assert_eq!(shard_of(chat.id), shard_of(BUSINESS));
        assert_eq!(opening.entry_point, v1::EntryPoint::Ad);
        assert_eq!(opening.claim, Some(Claim::Click(click())));
        let code = v1::opened::Proof::PrefillCode("0g00000001".into());
        let Incoming::Opened { opening, .. } = event(opened(1, Some(code))).unwrap() else {
            panic!("an opening")
        };
        assert_eq!(opening.claim, Some(Claim::Code("0G00000001".parse().unwrap())));
    }

    #[test]
    fn the_same_contact_at_another_endpoint_is_another_conversation() {
        let id = |endpoint_id, contact: &str| {
            let key = v1::ConversationKey { endpoint_id, contact: contact.into() };
            desk(&sealer(), |desk| desk.conversation(BUSINESS, Some(&key))).unwrap()
        };
        assert_eq!(id(9, "a"), id(9, "a"));
        assert_ne!(id(9, "a"), id(9, "b"));
        assert_ne!(id(9, "a").1, id(8, "a").1);
    }

    #[test]
    fn each_field_of_an_event_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::ConversationEvent)| {
            let mut wire = whole();
            spoil(&mut wire);
            assert_eq!(event(wire).unwrap_err().field, field);
        };
        check("business_id", |event| event.business_id = 0);
        check("conversation", |event| event.conversation = None);
        check("conversation.endpoint_id", |event| key(event).endpoint_id = 0);
        check("conversation.contact", |event| key(event).contact.clear());
        check("conversation.contact", |event| key(event).contact = "x".repeat(257));
        check("country", |event| event.country = "mx".into());
        check("event", |event| event.event = None);
        check("opened.entry_point", |event| *event = opened(0, None));
        let proof = |proof| event(opened(1, Some(proof))).unwrap_err();
        let refusal = proof(v1::opened::Proof::ClickToken("short".into()));
        assert_eq!(refusal.field, "opened.click_token");
        assert_eq!(refusal.reason, Reason::TokenMalformed);
        let refusal = proof(v1::opened::Proof::PrefillCode("short".into()));
        assert_eq!(
            (refusal.reason, &*refusal.field),
            (Reason::TokenMalformed, "opened.prefill_code")
        );
    }

    #[test]
    fn each_field_of_a_message_is_refused_by_its_path() {
        let parse = |message_id: &str, direction, category| {
            let message_id = message_id.to_owned();
            let receipt =
                v1::MessageReceipt { message_id, direction, category, ..Default::default() };
            let message = v1::conversation_event::Event::Message(receipt);
            let wire = v1::ConversationEvent { event: Some(message), ..whole() };
            event(wire).map(|_| ()).map_err(|refusal| refusal.field.into_owned())
        };
        assert_eq!(parse("wamid.1", 1, 4), Ok(()));
        assert_eq!(parse("", 1, 4), Err("message.message_id".into()));
        assert_eq!(parse(&"x".repeat(129), 1, 4), Err("message.message_id".into()));
        assert_eq!(parse("wamid.1", 0, 4), Err("message.direction".into()));
        assert_eq!(parse("wamid.1", 1, 7), Err("message.category".into()));
    }

    #[test]
    fn what_a_channel_says_of_its_ad_and_price_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::Opened)| {
            let mut wire = v1::Opened { entry_point: 1, ..v1::Opened::default() };
            spoil(&mut wire);
            let opened = Some(v1::conversation_event::Event::Opened(wire));
            let refusal = event(v1::ConversationEvent { event: opened, ..whole() }).unwrap_err();
            assert_eq!(refusal.field, field);
        };
        check("opened.channel_click_id", |opened| opened.channel_click_id = "x".repeat(513));
        check("opened.channel_ad_id", |opened| opened.channel_ad_id = "x".repeat(65));
        check("opened.ad_id", |opened| opened.proof = Some(v1::opened::Proof::AdId(0)));
        let check = |field: &str, status, pricing| {
            let receipt = v1::MessageReceipt {
                message_id: "wamid.1".into(),
                direction: 2,
                category: 4,
                status,
                pricing,
                ..Default::default()
            };
            let message = Some(v1::conversation_event::Event::Message(receipt));
            let refusal = event(v1::ConversationEvent { event: message, ..whole() }).unwrap_err();
            assert_eq!(refusal.field, field);
        };
        let told = v1::ChannelPricing { model: 2, reason: 1, category: 4, ..Default::default() };
        check("message.status", 9, None);
        check("message.pricing.model", 0, Some(v1::ChannelPricing { model: 0, ..told }));
        check("message.pricing.reason", 0, Some(v1::ChannelPricing { reason: 99, ..told }));
        check("message.pricing.category", 0, Some(v1::ChannelPricing { category: 0, ..told }));
    }

    #[test]
    fn a_person_goes_on_at_the_same_endpoint_under_another_name() {
        let changed = |previous_contact: &str| {
            let changed = v1::ContactChanged { previous_contact: previous_contact.into() };
            let changed = v1::conversation_event::Event::ContactChanged(changed);
            event(v1::ConversationEvent { event: Some(changed), ..whole() })
        };
        let Incoming::Moved { chat, from } = changed("b").unwrap() else { panic!("a move") };
        let key = v1::ConversationKey { endpoint_id: chat.endpoint, contact: "b".into() };
        let named = desk(&sealer(), |desk| desk.conversation(BUSINESS, Some(&key))).unwrap();
        assert_eq!(named, (chat.endpoint, from));
        assert_ne!(chat.id, from);
        for bad in [String::new(), "x".repeat(257)] {
            let refusal = changed(&bad).unwrap_err();
            assert_eq!(refusal.field, "contact_changed.previous_contact");
        }
    }

    #[test]
    fn a_list_and_a_watch_are_of_one_business() {
        let scope = Scope { tenant: 4, any: false };
        let list = |spoil: fn(&mut v1::ListConversationsRequest)| {
            let mut wire =
                v1::ListConversationsRequest { business_id: BUSINESS, ..Default::default() };
            spoil(&mut wire);
            listed(&wire, scope, &sealer()).map(|(_, chats)| chats).map_err(|refusal| refusal.field)
        };
        let all = ListedChats {
            business: BUSINESS,
            open: v1::FreeWindow::Unspecified,
            after: 0,
            limit: 100,
        };
        assert_eq!(list(|_| {}), Ok(all));
        assert_eq!(list(|wire| wire.business_id = 0), Err("business_id".into()));
        assert_eq!(list(|wire| wire.open_window = 3), Err("open_window".into()));
        assert_eq!(list(|wire| wire.page_size = 1_001), Err("page_size".into()));
        assert_eq!(list(|wire| wire.page_token = "made up".into()), Err("page_token".into()));
        let watch = |business_id, lead_minutes| {
            let wire = v1::WatchWindowsRequest { business_id, lead_minutes };
            watched(&wire).map_err(|refusal| refusal.field)
        };
        assert_eq!(watch(BUSINESS, 0), Ok((BUSINESS, 3_600_000)));
        assert_eq!(watch(BUSINESS, 1_440), Ok((BUSINESS, 86_400_000)));
        assert_eq!(watch(BUSINESS, 1_441), Err("lead_minutes".into()));
        assert_eq!(watch(0, 1), Err("business_id".into()));
    }

    #[test]
    fn a_conversion_comes_from_a_click_or_a_conversation() {
        let Incoming::Converted(sale) = conversion(sale()).unwrap() else { panic!("a sale") };
        assert_eq!((sale.tenant, sale.origin), (4, Origin::Click(click())));
        let key = v1::ConversationKey { endpoint_id: 9, contact: "a".into() };
        let origin = Some(v1::conversion::Origin::Conversation(key));
        let wire = v1::Conversion { origin, ..super::tests::sale() };
        let Incoming::Converted(sale) = conversion(wire).unwrap() else { panic!("a sale") };
        let Origin::Conversation { endpoint: 9, id } = sale.origin else { panic!("endpoint 9") };
        assert_eq!(shard_of(id), shard_of(BUSINESS));
    }

    #[test]
    fn each_field_of_a_conversion_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::Conversion)| {
            let mut wire = sale();
            spoil(&mut wire);
            assert_eq!(conversion(wire).unwrap_err().field, field);
        };
        check("event_id", |sale| sale.event_id.clear());
        check("event_id", |sale| sale.event_id = "x".repeat(129));
        check("name", |sale| sale.name = "x".repeat(65));
        check("value.micros", |sale| sale.value.as_mut().unwrap().micros = -1);
        check("value.currency", |sale| sale.value.as_mut().unwrap().currency = "X".into());
        check("origin", |sale| sale.origin = None);
        check("adjustment", |sale| sale.adjustment_id = "return-1".into());
        let unknown = v1::ConversationKey { endpoint_id: 8, contact: "a".into() };
        let origin = Some(v1::conversion::Origin::Conversation(unknown));
        let refusal = conversion(v1::Conversion { origin, ..sale() }).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotFound);
    }

    fn click() -> ClickToken {
        ClickToken { view: 5, issued: NOW.seconds(), ..ClickToken::default() }
    }

    fn whole() -> v1::ConversationEvent {
        opened(1, Some(v1::opened::Proof::ClickToken(sealer().seal_click_text(&click()))))
    }

    fn opened(entry_point: i32, proof: Option<v1::opened::Proof>) -> v1::ConversationEvent {
        v1::ConversationEvent {
            business_id: BUSINESS,
            conversation: Some(v1::ConversationKey { endpoint_id: 9, contact: "a".into() }),
            country: "MX".into(),
            event: Some(v1::conversation_event::Event::Opened(v1::Opened {
                entry_point,
                proof,
                ..Default::default()
            })),
            ..v1::ConversationEvent::default()
        }
    }

    fn key(event: &mut v1::ConversationEvent) -> &mut v1::ConversationKey {
        event.conversation.as_mut().unwrap()
    }

    fn sale() -> v1::Conversion {
        v1::Conversion {
            event_id: "order-1".into(),
            name: "Purchase".into(),
            value: Some(v1::Money { micros: 5, currency: "MXN".into() }),
            time: None,
            origin: Some(v1::conversion::Origin::ClickToken(sealer().seal_click_text(&click()))),
            ..v1::Conversion::default()
        }
    }

    fn desk<T>(sealer: &Sealer, ask: impl Fn(&Desk) -> T) -> T {
        ask(&Desk { sealer, tenant: 4, now: NOW })
    }

    fn event(wire: v1::ConversationEvent) -> Result<Incoming, Refusal> {
        desk(&sealer(), |desk| desk.event(wire.clone()))
    }

    fn conversion(wire: v1::Conversion) -> Result<Incoming, Refusal> {
        let business_of = |endpoint| match endpoint {
            9 => Ok(BUSINESS),
            _ => Err(Refusal::new(Reason::NotFound, "conversation.endpoint_id", "unknown")),
        };
        desk(&sealer(), |desk| desk.conversion(wire.clone(), business_of))
    }
}
