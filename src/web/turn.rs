//! What a webhook tells, turned into events for the node: names become keyed pseudonyms here, and claims are
//! opened. Nothing that a person wrote comes this far.

use crate::channels::inbound::{
    Inbound, Line, Message, Moved, Person, Referral, Status, Tier, find_in_source,
};
use crate::channels::{Channel, FoundClick, country_of_number, country_of_user_id};
use crate::node::{Counter, Front};
use crate::tokens::{Sealer, contact_number, conversation_id, message_number};
use crate::types::proto::journal::v1::VolumeTierPut;
use crate::types::proto::v1::{Channel as WireChannel, Direction, EntryPoint, MessageCategory};
use crate::types::request::{
    CHANNEL_AD_ID_CHARS_MAX, CHANNEL_CLICK_ID_CHARS_MAX, Chat, Claim, Incoming, Opening, Receipt,
};
use crate::types::time::{MINUTE_MS, Moment};

/// How far a channel's clock may be behind ours: an opening that seems older than its own click by less
/// happened with it.
const CLOCKS_APART_MS_MAX: i64 = 5 * MINUTE_MS;

/// What became of one thing that a webhook told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Became {
    /// Events for the node.
    Events,
    /// Nothing: it is of no use here.
    Ignored,
    /// Nothing: it is not known here.
    Unknown,
    /// Nothing: no endpoint of the app's tenant has this number.
    EndpointUnknown,
}

impl Became {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Ignored => "ignored",
            Self::Unknown => "unknown",
            Self::EndpointUnknown => "endpoint_unknown",
        }
    }
}

/// What a webhook is to the node.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// In the webhook's order.
    pub(super) events: Vec<Incoming>,
    /// Steps of rate cards that businesses have come to.
    pub(super) tiers: Vec<VolumeTierPut>,
}

/// What turning needs.
pub(super) struct Turn<'a> {
    /// What is known already.
    pub(super) front: &'a Front,
    /// Opens tokens and hashes names.
    pub(super) sealer: &'a Sealer,
    /// Whose endpoints the app may speak for; 0: everyone's.
    pub(super) tenant: u32,
    /// The server's time.
    pub(super) now: Moment,
}

/// A person's conversations, by what the person may be called.
struct Names {
    /// By the best name that there is.
    own: u64,
    /// By the phone number, where the best name is another.
    by_phone: Option<u64>,
}

impl Turn<'_> {
    /// Appends what a thing is to the node.
    pub(super) fn turn(&self, told: &Inbound<'_>, turned: &mut Turned) -> Became {
        let events = &mut turned.events;
        let turned = match told {
            Inbound::Message(message) => self.message(message, events),
            Inbound::Status(status) => self.status(status, events),
            Inbound::Moved(moved) => self.moved(moved, events),
            Inbound::Tier(tier) => self.tier(tier).map(|tier| turned.tiers.push(tier)),
            Inbound::Ignored => return Became::Ignored,
            Inbound::Unknown => return Became::Unknown,
        };
        turned.map_or(Became::EndpointUnknown, |()| Became::Events)
    }

    fn message(&self, told: &Message<'_>, events: &mut Vec<Incoming>) -> Option<()> {
        let counter = self.counter(&told.line)?;
        let (mut chat, is_known) = self.chat(counter, &told.person, told.at_ms, events);
        let claim = self.claim(told, counter.endpoint, is_known);
        // A known conversation is opened again by what leads to it anew.
        if !is_known || claim.is_some() || told.referral.is_some() {
            if let (Some(Claim::Click(token)), Some(at)) = (&claim, chat.at) {
                let issued = Moment::from_seconds(token.issued);
                let behind = at < issued && issued.0 - at.0 <= CLOCKS_APART_MS_MAX;
                chat.at = Some(if behind { issued } else { at });
            }
            let opening = opening(told, claim);
            events.push(Incoming::Opened { chat, opening });
        }
        if !told.id.is_empty() && told.wrote {
            let receipt = Receipt::delivered(
                self.number(counter.endpoint, &told.id),
                Direction::Inbound,
                MessageCategory::Service,
            );
            events.push(Incoming::Message { chat, receipt });
        }
        Some(())
    }

    fn status(&self, told: &Status<'_>, events: &mut Vec<Incoming>) -> Option<()> {
        let counter = self.counter(&told.line)?;
        let (chat, _) = self.chat(counter, &told.person, told.at_ms, events);
        let category = match told.category {
            MessageCategory::Unspecified => MessageCategory::Service,
            told => told,
        };
        let template = matches!(
            category,
            MessageCategory::Marketing
                | MessageCategory::Utility
                | MessageCategory::Authentication
                | MessageCategory::AuthenticationInternational
        );
        let message = self.number(counter.endpoint, &told.id);
        let receipt = Receipt {
            status: told.status,
            template,
            pricing: told.pricing,
            ..Receipt::delivered(message, Direction::Outbound, category)
        };
        events.push(Incoming::Message { chat, receipt });
        Some(())
    }

    fn moved(&self, told: &Moved<'_>, events: &mut Vec<Incoming>) -> Option<()> {
        let counter = self.counter(&told.line)?;
        let from = self.names(counter, &told.from);
        let to = self.names(counter, &told.to);
        let from = self.known_of(&from).unwrap_or(from.own);
        let chat = self.chat_of(counter, to.own, &told.to, told.at_ms);
        events.push(Incoming::Moved { chat, from });
        Some(())
    }

    fn tier(&self, told: &Tier<'_>) -> Option<VolumeTierPut> {
        let channel = wire(told.channel);
        let business = self.front.business_named(self.tenant, channel, &told.business)?;
        Some(VolumeTierPut {
            business,
            category: told.category.into(),
            market: told.market.to_string(),
            month: told.month,
            from: told.from,
            to: told.to,
        })
    }

    /// Returns the conversation with a person, and whether it was opened. Who was known by the number alone
    /// goes on under the user id.
    fn chat(
        &self,
        counter: Counter,
        person: &Person<'_>,
        at_ms: Option<i64>,
        events: &mut Vec<Incoming>,
    ) -> (Chat, bool) {
        let names = self.names(counter, person);
        let known = self.known_of(&names);
        if let (Some(known), Some(by_phone)) = (known, names.by_phone)
            && known == by_phone
        {
            let chat = self.chat_of(counter, names.own, person, at_ms);
            events.push(Incoming::Moved { chat, from: by_phone });
        }
        let id = known.unwrap_or(names.own);
        (self.chat_of(counter, id, person, at_ms), known.is_some())
    }

    fn chat_of(&self, counter: Counter, id: u64, person: &Person<'_>, at_ms: Option<i64>) -> Chat {
        let country = match country_of_number(&person.phone) {
            0 => country_of_user_id(&person.user_id),
            country => country,
        };
        Chat {
            tenant: self.tenant,
            business: counter.business,
            endpoint: counter.endpoint,
            id,
            at: at_ms.map(Moment),
            country,
            // An app of the payer's own proves what it tells, but not that it tells all.
            independent: self.tenant == 0,
        }
    }

    fn names(&self, counter: Counter, person: &Person<'_>) -> Names {
        let id = |name: &str| {
            let contact = contact_number(&self.sealer.ring().contact, counter.endpoint, name);
            conversation_id(counter.business, counter.endpoint, contact)
        };
        let both = !person.user_id.is_empty() && !person.phone.is_empty();
        Names { own: id(person.name()), by_phone: both.then(|| id(&person.phone)) }
    }

    /// Returns the conversation that was opened under one of the names.
    fn known_of(&self, names: &Names) -> Option<u64> {
        let mut ids = [Some(names.own), names.by_phone].into_iter().flatten();
        ids.find(|id| self.front.knows_chat(*id))
    }

    fn counter(&self, line: &Line<'_>) -> Option<Counter> {
        self.front.counter(self.tenant, wire(line.channel), &line.account, &line.address)
    }

    fn number(&self, endpoint: u64, message: &str) -> u64 {
        message_number(&self.sealer.ring().contact, endpoint, message)
    }

    /// Returns what says best where a person came from: a sealed click, a code of a click that is known, an ad
    /// of ours that the channel names, a printed code, any code (DESIGN section 9). A known click's code goes
    /// before the channel's word, since it names the click, and that only the ad: which of its taps led here
    /// would be a guess. A word that merely looks like a code opens no known conversation.
    fn claim(&self, told: &Message<'_>, endpoint: u64, is_known: bool) -> Option<Claim> {
        let source = told.referral.as_ref().map_or("", |referral| &referral.source);
        let mut code = told.code;
        match find_in_source(told.line.channel, source) {
            Some(FoundClick::Token(text)) => {
                if let Ok(token) = self.sealer.open_click_text(text, self.now.seconds()) {
                    return Some(Claim::Click(token));
                }
            }
            Some(FoundClick::Code(found)) => code = Some(found),
            None => {}
        }
        let of_click = code.filter(|code| self.front.knows_code(*code, endpoint));
        let ad = || told.referral.as_ref().and_then(|referral| self.ad(referral, endpoint));
        let printed = || code.and_then(|code| self.front.source_of(code, endpoint));
        let any = || code.filter(|_| !is_known).map(Claim::Code);
        let claim = of_click.map(Claim::Code).or_else(ad);
        claim.or_else(|| printed().map(|source| Claim::Source(source.id))).or_else(any)
    }

    fn ad(&self, referral: &Referral<'_>, endpoint: u64) -> Option<Claim> {
        let ad = referral.ad_id.parse().ok()?;
        self.front.advertises(ad, endpoint).then_some(Claim::Ad(ad))
    }
}

fn opening(told: &Message<'_>, claim: Option<Claim>) -> Opening {
    let none = Referral::default();
    let referral = told.referral.as_ref().unwrap_or(&none);
    let entry_point = match &claim {
        // The writer takes the source's own, as it does for the code of one (`decide::sources::resolved`).
        Some(Claim::Source(_)) => EntryPoint::QrCode,
        Some(Claim::Click(_) | Claim::Code(_) | Claim::Ad(_)) => EntryPoint::Ad,
        None if referral.is_ad => EntryPoint::Ad,
        None => EntryPoint::Organic,
    };
    Opening {
        wrote: told.wrote,
        free_entry: referral.free_entry,
        channel_click_id: short(&referral.click_id, CHANNEL_CLICK_ID_CHARS_MAX),
        channel_ad_id: short(&referral.ad_id, CHANNEL_AD_ID_CHARS_MAX),
        ..Opening::by_message(entry_point, claim)
    }
}

/// Returns an id of the channel's, if it is one: visible ASCII, and not longer than an id is.
fn short(id: &str, chars_max: usize) -> String {
    let fits = id.len() <= chars_max && id.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { id.to_owned() } else { String::new() }
}

fn wire(channel: Channel) -> WireChannel {
    WireChannel::try_from(i32::from(channel.number())).unwrap_or_default()
}
