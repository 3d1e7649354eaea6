//! What a conversation's events and conversions change, where the conversation lives.

pub mod adjusted;
pub mod moved;
mod proof;
mod room;

pub use proof::Inherited;
pub use room::in_turn;

use crate::channels::{self, Channel};
use crate::decide::chats::proof::{opening_proof, proof_of, viewer_proof};
use crate::decide::chats::room::full;
use crate::decide::record::event_time;
use crate::decide::steps::{Place, step_rows};
use crate::decide::tariff::{Told, price_of};
use crate::decide::{Decided, imports};
use crate::state::bucket::{KnownConversion, content_of};
use crate::state::catalog::Catalog;
use crate::state::chats::{Chat as KnownChat, MESSAGE_MEMORY_MS};
use crate::state::desks::Desk;
use crate::state::people::Step;
use crate::types::ids::{IdKind, from_hash};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ConversationOpened, Converted, MessageRecorded, OutcomeDeclined, ReferralNoted,
};
use crate::types::proto::v1::{
    DeclineReason, Direction, EntryPoint, MatchKind, MessageStatus, Outcome,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Chat, Claim, Conversion, Opening, Origin, Receipt};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::ClickToken;

/// The oldest conversion that is counted; its id is remembered for longer.
pub const CONVERSION_AGE_MS_MAX: i64 = 60 * DAY_MS;

/// Messages of the person that a qualified conversation has at least: that which opened it, and one more.
pub const QUALIFIED_INBOUND_MIN: u64 = 2;

/// Messages of the business that a qualified conversation has at least.
pub const QUALIFIED_OUTBOUND_MIN: u64 = 1;

/// Bits of an id that say its shard and bucket.
const PLACE_BITS: u32 = 16;

/// A tap that an opening without a sealed proof is taken to come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FoundTap {
    /// The click's id.
    pub view: u64,
    /// Whose it is.
    pub viewer: u64,
    /// The ad tapped.
    pub ad: u64,
}

/// Tells whether an opening that claims nothing may come from an ad: the channel doesn't say otherwise.
pub const fn may_come_from_ad(opening: &Opening) -> bool {
    opening.claim.is_none() && matches!(opening.entry_point, EntryPoint::Ad | EntryPoint::Organic)
}

/// Judges the opening of a conversation. `found` is the tap that an opening is taken to come from whose claim
/// names no click.
pub fn opened(
    catalog: &Catalog,
    known: Option<&KnownChat>,
    chat: &Chat,
    opening: &Opening,
    found: Option<FoundTap>,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let account = owner(catalog, chat)?;
        let event_ms = young(event_time(chat.at, now)?, MESSAGE_MEMORY_MS, now)?;
        let claim = opening.claim.as_ref();
        match claim {
            Some(Claim::Click(token)) => same_endpoint(catalog, token, chat.endpoint, event_ms)?,
            Some(Claim::Ad(ad)) => advertised(catalog, *ad, chat.endpoint, "opened.ad_id")?,
            Some(Claim::Code(_) | Claim::Source(_)) | None => {}
        }
        let outcome = opening_outcome(chat, opening);
        // What tells nothing of where it came from opens no known conversation again.
        let tells = claim.is_some() || is_referred(opening);
        let again = known.is_some_and(|known| match tells {
            true => known.knows_opening(outcome),
            false => !known.openings.is_empty(),
        });
        if again {
            return Ok(None);
        }
        let proof = opening_proof(opening, found);
        let source = source_of(claim);
        let mut facts = vec![Kind::ConversationOpened(ConversationOpened {
            outcome,
            conversation: chat.id,
            account,
            business: chat.business,
            endpoint: chat.endpoint,
            event_ms,
            entry_point: opening.entry_point.into(),
            proof,
            source,
            free_entry: opening.free_entry,
            wrote: opening.wrote || !opens_silently(catalog, chat.endpoint),
            country: u32::from(chat.country),
            independent: chat.independent,
            imported: false,
            told_viewer: opening.viewer,
        })];
        facts.extend(referral(chat, opening, event_ms));
        if proof.is_none() {
            let match_kind = match source {
                0 => MatchKind::Unspecified,
                _ => MatchKind::SourceCode,
            };
            facts.push(Kind::OutcomeDeclined(Box::new(OutcomeDeclined {
                outcome,
                kind: Outcome::Conversation.into(),
                account,
                conversation: chat.id,
                event_ms,
                reason: DeclineReason::AttributeToOtherSource.into(),
                match_kind: match_kind.into(),
                ..OutcomeDeclined::default()
            })));
        }
        Ok(Some(facts))
    };
    finish(judged())
}

/// Returns the source that a claim names; 0: none.
const fn source_of(claim: Option<&Claim>) -> u64 {
    match claim {
        Some(Claim::Source(source)) => *source,
        _ => 0,
    }
}

/// Returns what the channel says of its own ad.
fn referral(chat: &Chat, opening: &Opening, event_ms: i64) -> Option<Kind> {
    let told = !opening.channel_click_id.is_empty() || !opening.channel_ad_id.is_empty();
    told.then(|| {
        Kind::ReferralNoted(Box::new(ReferralNoted {
            conversation: chat.id,
            channel_click_id: opening.channel_click_id.clone(),
            channel_ad_id: opening.channel_ad_id.clone(),
            event_ms,
        }))
    })
}

fn opens_silently(catalog: &Catalog, endpoint: u64) -> bool {
    let row = catalog.endpoints.get(endpoint);
    let channel = row.and_then(|row| Channel::from_number(row.channel as u8));
    channel.is_some_and(channels::opens_silently)
}

/// Judges a message's receipt. Its first word that it was delivered or read prices it; `desk` counts free ones.
pub fn message(
    catalog: &Catalog,
    known: Option<&KnownChat>,
    desk: Option<&Desk>,
    chat: &Chat,
    receipt: &Receipt,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let account = owner(catalog, chat)?;
        let event_ms = young(event_time(chat.at, now)?, MESSAGE_MEMORY_MS, now)?;
        let (conversation, direction) = (chat.id, receipt.direction);
        // A business may write first, but only by a template.
        let first = receipt.template && direction == Direction::Outbound;
        let unheard = KnownChat::default();
        let known = known.or(first.then_some(&unheard)).ok_or_else(unknown_chat)?;
        if receipt.status == MessageStatus::Failed {
            return Ok(None);
        }
        let heard = known.knows_message(receipt.message);
        if !heard && known.is_full(now) {
            return Err(full());
        }
        let price = price_of(catalog, &Told { known, desk, chat, account, receipt, event_ms });
        let price = price.map(|fact| Kind::MessagePriced(Box::new(fact)));
        if heard {
            return Ok(price.map(|price| vec![price]));
        }
        let recorded = MessageRecorded {
            conversation,
            account,
            business: chat.business,
            endpoint: chat.endpoint,
            message: receipt.message,
            event_ms,
            direction: direction.into(),
            category: receipt.category.into(),
            template: receipt.template,
            ..steps_of(known, direction, event_ms)
        };
        let steps = told_steps(known, &recorded, event_ms);
        let recorded = Kind::MessageRecorded(recorded);
        Ok(Some([recorded].into_iter().chain(steps).chain(price).collect()))
    };
    finish(judged())
}

/// Returns which steps of its ad's conversation a message is: the person's first, the first answer, the one
/// that makes it a qualified one.
fn steps_of(known: &KnownChat, direction: Direction, event_ms: i64) -> MessageRecorded {
    let none = MessageRecorded::default();
    let touch = known.latest_touch.as_ref().filter(|touch| touch.0.invalid == 0);
    let Some(touch) = touch.filter(|_| !known.is_opening_again(direction, event_ms)) else {
        return none;
    };
    let (ad, before, mut after) = (touch.0.ad, &known.touched, known.touched);
    after.hear(direction, event_ms);
    let replies = before.reply_ms == 0 && after.reply_ms != 0;
    let writes = before.wrote_ms == 0 && after.wrote_ms != 0;
    let qualifies = !before.qualified && is_qualified(after.inbound, after.outbound);
    let is_new = |step| known.taken.is_new(touch.0.campaign, step);
    MessageRecorded {
        first_reply_ad: if replies { ad } else { 0 },
        reply_after_s: if replies { before.waited_s(event_ms) } else { 0 },
        wrote_ad: if writes { ad } else { 0 },
        qualified_ad: if qualifies { ad } else { 0 },
        new_reply_person: replies && is_new(Step::Replied),
        new_wrote_person: writes && is_new(Step::Wrote),
        new_qualified_person: qualifies && is_new(Step::Qualified),
        ..none
    }
}

/// Returns the rows of the steps that a message is.
fn told_steps(known: &KnownChat, fact: &MessageRecorded, event_ms: i64) -> Vec<Kind> {
    let place = Place { account: fact.account, conversation: fact.conversation };
    let replied = (fact.first_reply_ad != 0).then_some(event_ms);
    let qualified = (fact.qualified_ad != 0).then_some(event_ms);
    let touch = known.latest_touch.as_ref();
    touch.map_or_else(Vec::new, |touch| step_rows(place, &touch.0, replied, qualified))
}

/// Tells whether both sides have written as often as a qualified conversation needs.
pub const fn is_qualified(inbound: u64, outbound: u64) -> bool {
    inbound >= QUALIFIED_INBOUND_MIN && outbound >= QUALIFIED_OUTBOUND_MIN
}

/// Returns the outcome of a conversion; `None`: its origin is unknown here.
pub fn conversion_outcome(catalog: &Catalog, conversion: &Conversion) -> Option<u64> {
    Some(imports::conversion_outcome(account_of(catalog, conversion)?, &conversion.event_id))
}

/// Judges a conversion. `chat` is of the conversation that it names, `known` an earlier one with its id.
pub fn converted(
    catalog: &Catalog,
    known: Option<&KnownConversion>,
    chat: Option<Inherited>,
    conversion: &Conversion,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let (account, outcome) = account_of(catalog, conversion)
            .zip(conversion_outcome(catalog, conversion))
            .ok_or_else(|| not_found("origin", "no such click's ad or endpoint"))?;
        let theirs = owned(catalog, account, conversion.tenant);
        theirs.map_err(|refusal| match conversion.origin {
            Origin::Viewer { .. } => not_found("account_id", "no such account"),
            Origin::Click(_) | Origin::Conversation { .. } => refusal,
        })?;
        let event_ms = young(event_time(conversion.at, now)?, CONVERSION_AGE_MS_MAX, now)?;
        let (proof, conversation) = match conversion.origin {
            Origin::Click(token) => (proof_of(&Claim::Click(token), None), 0),
            Origin::Conversation { id, .. } => (chat.ok_or_else(unknown_chat)?.proof, id),
            Origin::Viewer { .. } => (None, 0),
        };
        // A conversation that came by a printed code came by no ad.
        let other = chat.is_some_and(|chat| chat.source != 0);
        let proof = proof.or_else(|| viewer_proof(conversion.viewer).filter(|_| !other));
        let fact = Converted {
            outcome,
            account,
            conversation,
            event_ms,
            event_id: conversion.event_id.clone(),
            name: conversion.name.clone(),
            value: conversion.value.clone(),
            proof,
            imported: false,
            told_viewer: conversion.viewer,
        };
        match known {
            Some(known) if known.content == content_of(&fact) => return Ok(None),
            Some(_) => {
                let message = "this event_id was used for another name or value; choose a new one";
                return Err(Refusal::new(Reason::IdReused, "event_id", message));
            }
            None => {}
        }
        let declined = proof.is_none().then(|| {
            Kind::OutcomeDeclined(Box::new(declined(&fact, DeclineReason::AttributeToOtherSource)))
        });
        Ok(Some([Kind::Converted(Box::new(fact))].into_iter().chain(declined).collect()))
    };
    finish(judged())
}

/// Returns the declined outcome of a conversion.
pub fn declined(fact: &Converted, reason: DeclineReason) -> OutcomeDeclined {
    OutcomeDeclined {
        outcome: fact.outcome,
        kind: Outcome::Conversion.into(),
        account: fact.account,
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        reason: reason.into(),
        event_id: fact.event_id.clone(),
        name: fact.name.clone(),
        value: fact.value.clone(),
        match_kind: fact.proof.unwrap_or_default().match_kind,
        imported: fact.imported,
        ..OutcomeDeclined::default()
    }
}

fn finish(judged: Result<Option<Vec<Kind>>, Refusal>) -> Decided {
    match judged {
        Ok(Some(facts)) => Decided::Facts(facts),
        Ok(None) => Decided::Already,
        Err(refusal) => Decided::Refused(refusal),
    }
}

/// Names an opening: the conversation's place, then a hash of what it claims. What can come again (an ad,
/// a printed code) is told apart by the channel's click id, or by the time that was told.
fn opening_outcome(chat: &Chat, opening: &Opening) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi opening").update(&chat.id.to_be_bytes());
    let mut note = |numbers: [u64; 2]| {
        numbers.iter().for_each(|number| {
            hasher.update(&number.to_be_bytes());
        });
    };
    match &opening.claim {
        Some(Claim::Click(token)) => note([token.view, 0]),
        Some(Claim::Code(code)) => note([0, code.number()]),
        Some(Claim::Ad(id) | Claim::Source(id)) => note([*id, u64::MAX]),
        None if is_referred(opening) => note([0, u64::MAX]),
        None => note([0, 0]),
    }
    if is_reusable(opening) {
        match (opening.channel_click_id.as_str(), chat.at) {
            ("", at) => hasher.update(&at.map_or(0, |at| at.0).to_be_bytes()),
            (click_id, _) => hasher.update(click_id.as_bytes()),
        };
    }
    let hash = from_hash(hasher.finalize().as_bytes());
    let place = u64::MAX << (u64::BITS - PLACE_BITS);
    (chat.id & place) | (hash & !place)
}

/// Tells whether the channel says that its own ad led here, though perhaps not which of ours.
const fn is_referred(opening: &Opening) -> bool {
    opening.free_entry || !opening.channel_click_id.is_empty() || !opening.channel_ad_id.is_empty()
}

/// Tells whether what an opening claims may come again from another click.
const fn is_reusable(opening: &Opening) -> bool {
    match opening.claim {
        Some(Claim::Click(_) | Claim::Code(_)) => false,
        Some(Claim::Ad(_) | Claim::Source(_)) => true,
        None => is_referred(opening),
    }
}

fn same_endpoint(
    catalog: &Catalog,
    token: &ClickToken,
    endpoint: u64,
    event_ms: i64,
) -> Result<(), Refusal> {
    if event_ms < Moment::from_seconds(token.issued).0 {
        let message =
            "the opening is older than its click token; send the time at which it happened";
        return Err(Refusal::new(Reason::EventBeforeToken, "time", message));
    }
    advertised(catalog, token.ad, endpoint, "opened.click_token")
}

/// Refuses an ad that opens no chat with this endpoint.
fn advertised(
    catalog: &Catalog,
    ad: u64,
    endpoint: u64,
    field: &'static str,
) -> Result<(), Refusal> {
    match catalog.family(ad) {
        Some(family) if family.endpoint == endpoint => Ok(()),
        Some(_) => {
            let message = "its ad opens a chat with another endpoint";
            Err(Refusal::new(Reason::EndpointForeign, field, message))
        }
        None => Err(not_found(field, "its ad is not known here")),
    }
}

/// Returns the account behind a conversation's business, or refuses one that is not the caller's.
fn owner(catalog: &Catalog, chat: &Chat) -> Result<u64, Refusal> {
    let account = catalog.account_of(IdKind::Business, chat.business);
    let account = account.ok_or_else(|| not_found("business_id", "no such business"))?;
    owned(catalog, account, chat.tenant)
        .map_err(|_| not_found("business_id", "no such business"))?;
    if catalog.parent_of(IdKind::Endpoint, chat.endpoint) != Some(chat.business) {
        let message = "the business does not own this channel endpoint; name the one it owns";
        return Err(Refusal::new(Reason::EndpointForeign, "conversation.endpoint_id", message));
    }
    Ok(account)
}

fn owned(catalog: &Catalog, account: u64, tenant: u32) -> Result<(), Refusal> {
    let owner = catalog.tenant_of(account);
    if owner.is_some() && (tenant == 0 || owner == Some(tenant)) {
        return Ok(());
    }
    Err(not_found("origin", "no such click or conversation"))
}

fn account_of(catalog: &Catalog, conversion: &Conversion) -> Option<u64> {
    match conversion.origin {
        Origin::Click(token) => Some(catalog.family(token.ad)?.account),
        Origin::Conversation { endpoint, .. } => catalog.account_of(IdKind::Endpoint, endpoint),
        // Whether there is one is asked when it is judged whose it is.
        Origin::Viewer { account } => Some(account),
    }
}

fn young(at: Moment, age_max_ms: i64, now: Moment) -> Result<i64, Refusal> {
    if at.0 < now.0 - age_max_ms {
        let days = age_max_ms / DAY_MS;
        let message = format!("older than {days} days: it can no longer be told from a repeat");
        return Err(Refusal::new(Reason::EventTooOld, "time", message));
    }
    Ok(at.0)
}

fn unknown_chat() -> Refusal {
    let message = "no opening of this conversation was recorded; send that first";
    Refusal::new(Reason::ConversationUnknown, "conversation", message)
}

fn not_found(field: &'static str, message: &'static str) -> Refusal {
    Refusal::new(Reason::NotFound, field, message)
}
