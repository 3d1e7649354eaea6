//! What a conversation's events and conversions change, where the conversation lives.

use crate::decide::Decided;
use crate::decide::record::event_time;
use crate::state::bucket::{KnownConversion, content_of};
use crate::state::catalog::Catalog;
use crate::state::chats::{Chat as KnownChat, MESSAGE_MEMORY_MS};
use crate::types::ids::{IdKind, from_hash};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ConversationOpened, Converted, MessageRecorded, OutcomeDeclined, Proof, ReferralNoted,
};
use crate::types::proto::v1::{DeclineReason, Direction, MatchKind, Outcome};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Chat, Claim, Conversion, Opening, Origin, Receipt};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::ClickToken;

/// The oldest conversion that is counted; its id is remembered for longer.
pub const CONVERSION_AGE_MS_MAX: i64 = 60 * DAY_MS;

/// Bits of an id that say its shard and bucket.
const PLACE_BITS: u32 = 16;

/// Judges the opening of a conversation.
pub fn opened(
    catalog: &Catalog,
    known: Option<&KnownChat>,
    chat: &Chat,
    opening: &Opening,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let account = owner(catalog, chat)?;
        let event_ms = young(event_time(chat.at, now)?, MESSAGE_MEMORY_MS, now)?;
        let claim = opening.claim.as_ref();
        let proof = claim.and_then(proof_of);
        if let Some(Claim::Click(token)) = claim {
            same_endpoint(catalog, token, chat.endpoint, event_ms)?;
        }
        let outcome = opening_outcome(chat.id, proof.as_ref());
        let again = known.is_some_and(|known| match proof {
            Some(_) => known.knows_opening(outcome),
            None => true,
        });
        if again {
            return Ok(None);
        }
        let mut facts = vec![Kind::ConversationOpened(ConversationOpened {
            outcome,
            conversation: chat.id,
            account,
            business: chat.business,
            endpoint: chat.endpoint,
            event_ms,
            entry_point: opening.entry_point.into(),
            proof,
            source: match claim {
                Some(Claim::Source(source)) => *source,
                _ => 0,
            },
            free_entry: opening.free_entry,
            wrote: opening.wrote,
            country: u32::from(chat.country),
            independent: chat.independent,
        })];
        if !opening.channel_click_id.is_empty() {
            facts.push(Kind::ReferralNoted(Box::new(ReferralNoted {
                conversation: chat.id,
                channel_click_id: opening.channel_click_id.clone(),
                channel_ad_id: opening.channel_ad_id.clone(),
                event_ms,
            })));
        }
        if proof.is_none() {
            facts.push(Kind::OutcomeDeclined(Box::new(OutcomeDeclined {
                outcome,
                kind: Outcome::Conversation.into(),
                account,
                conversation: chat.id,
                event_ms,
                reason: DeclineReason::AttributeToOtherSource.into(),
                ..OutcomeDeclined::default()
            })));
        }
        Ok(Some(facts))
    };
    finish(judged())
}

/// Judges a message's receipt.
pub fn message(
    catalog: &Catalog,
    known: Option<&KnownChat>,
    chat: &Chat,
    receipt: &Receipt,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let account = owner(catalog, chat)?;
        let event_ms = young(event_time(chat.at, now)?, MESSAGE_MEMORY_MS, now)?;
        let known = known.ok_or_else(unknown_chat)?;
        if known.knows_message(receipt.message) {
            return Ok(None);
        }
        let touch = known.latest_touch.as_ref().map_or(0, |touch| touch.0.ad);
        let first = known.awaits_reply && receipt.direction == Direction::Outbound;
        Ok(Some(vec![Kind::MessageRecorded(MessageRecorded {
            conversation: chat.id,
            account,
            business: chat.business,
            endpoint: chat.endpoint,
            message: receipt.message,
            event_ms,
            direction: receipt.direction.into(),
            category: receipt.category.into(),
            first_reply_ad: if first { touch } else { 0 },
            template: receipt.template,
            ..MessageRecorded::default()
        })]))
    };
    finish(judged())
}

/// Returns the outcome of a conversion: a hash of account and event id, so the same conversion comes to
/// the same shard and bucket whichever way it is reported. `None`: its origin is unknown here.
pub fn conversion_outcome(catalog: &Catalog, conversion: &Conversion) -> Option<u64> {
    let account = account_of(catalog, conversion)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi conversion").update(&account.to_be_bytes());
    hasher.update(conversion.event_id.as_bytes());
    Some(from_hash(hasher.finalize().as_bytes()))
}

/// Judges a conversion. `chat` is the conversation that it names, `known` an earlier one with its id.
pub fn converted(
    catalog: &Catalog,
    known: Option<&KnownConversion>,
    chat: Option<&KnownChat>,
    conversion: &Conversion,
    now: Moment,
) -> Decided {
    let judged = || -> Result<Option<Vec<Kind>>, Refusal> {
        let (account, outcome) = account_of(catalog, conversion)
            .zip(conversion_outcome(catalog, conversion))
            .ok_or_else(|| not_found("origin", "no such click's ad or endpoint"))?;
        owned(catalog, account, conversion.tenant)?;
        let event_ms = young(event_time(conversion.at, now)?, CONVERSION_AGE_MS_MAX, now)?;
        let (proof, conversation) = match conversion.origin {
            Origin::Click(token) => (proof_of(&Claim::Click(token)), 0),
            Origin::Conversation { id, .. } => {
                let chat = chat.ok_or_else(unknown_chat)?;
                (chat.claim.as_ref().map(|claim| claim.0), id)
            }
        };
        let fact = Converted {
            outcome,
            account,
            conversation,
            event_ms,
            event_id: conversion.event_id.clone(),
            name: conversion.name.clone(),
            value: conversion.value.clone(),
            proof,
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

/// Names an opening: the conversation's place, then a hash of what it claims.
fn opening_outcome(conversation: u64, proof: Option<&Proof>) -> u64 {
    let (view, code) = proof.map_or((0, 0), |proof| (proof.view, proof.code));
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi opening").update(&conversation.to_be_bytes());
    hasher.update(&view.to_be_bytes()).update(&code.to_be_bytes());
    let hash = from_hash(hasher.finalize().as_bytes());
    let place = u64::MAX << (u64::BITS - PLACE_BITS);
    (conversation & place) | (hash & !place)
}

/// Returns what a claim says of a click or an ad; `None`: it is of a place without an ad.
fn proof_of(claim: &Claim) -> Option<Proof> {
    Some(match claim {
        Claim::Click(token) => Proof {
            match_kind: MatchKind::ClickToken.into(),
            view: token.view,
            viewer: token.viewer,
            ad: token.ad,
            issued_s: token.issued,
            price: token.price.micros(),
            code: 0,
        },
        Claim::Code(code) => Proof {
            match_kind: MatchKind::PrefillCode.into(),
            code: code.number(),
            ..Proof::default()
        },
        Claim::Ad(ad) => {
            Proof { match_kind: MatchKind::ChannelRef.into(), ad: *ad, ..Proof::default() }
        }
        Claim::Source(_) => return None,
    })
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
    match catalog.family(token.ad) {
        Some(family) if family.endpoint == endpoint => Ok(()),
        Some(_) => {
            let message = "the click token is for a chat with another endpoint";
            Err(Refusal::new(Reason::EndpointForeign, "opened.click_token", message))
        }
        None => Err(not_found("opened.click_token", "the token's ad is not known here")),
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
