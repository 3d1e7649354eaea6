//! What an event on a served ad changes: counted once, charged if it is what the ad set pays for.

use crate::decide::Decided;
use crate::decide::holdouts::Arm;
use crate::decide::purse::charge;
use crate::decide::room;
use crate::decide::traffic;
use crate::state::catalog::Family;
use crate::state::purses::Purse;
use crate::state::viewers::{HIDDEN_MAX, VIEW_MEMORY_MS, VIEWS_MAX, View, Viewer};
use crate::types::day::day_of;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    Charge, FeedbackGiven, GhostNoted, ImpressionSeen, Showing, Tapped, ViewContext, Watched,
};
use crate::types::proto::v1::{BillingEvent, CapEvent, EventKind, InvalidReason};
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::{MINUTE_MS, Moment};
use crate::types::token::{PrefillCode, ViewToken};

/// How far an event's time may be ahead of the engine's.
pub const FUTURE_MS_MAX: i64 = 5 * MINUTE_MS;

/// What is known when an ad event arrives.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The ad with everything above it.
    pub family: Family,
    /// The viewer.
    pub viewer: Option<&'a Viewer>,
    /// The purse of the ad's account.
    pub purse: Option<&'a Purse>,
    /// The account's time zone.
    pub zone: &'a str,
    /// Number of the experiment that the ad belonged to when it was handed out; 0: none.
    pub experiment: u32,
    /// The ad that the viewer would have seen in its place, where that is its first in an experiment.
    pub ghost: Option<GhostAd>,
    /// Of a tap: whether one of the viewer in the ad's campaign was imported.
    pub tapped_before: bool,
    /// The journal's time.
    pub now: Moment,
}

/// An ad that is held back from a viewer.
#[derive(Clone, Copy, Debug)]
pub struct GhostAd {
    /// The ad with everything above it.
    pub family: Family,
    /// The number of the experiment that holds it back.
    pub experiment: u32,
}

/// One event with its opened token.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// All that serving knew.
    pub token: &'a ViewToken,
    /// What happened.
    pub kind: EventKind,
    /// When, by the device.
    pub at: Option<Moment>,
    /// The prefill code that stands for this click.
    pub code: PrefillCode,
    /// What the door, or the rate of its network, says against it.
    pub suspect: Option<InvalidReason>,
}

/// Judges one event.
pub fn record(known: &Known<'_>, event: &Event<'_>) -> Decided {
    match judge(known, event) {
        Ok(Some(fact)) => {
            let beside = ghost_beside(known, event, &fact);
            Decided::Facts([fact].into_iter().chain(beside).collect())
        }
        Ok(None) => Decided::Already,
        Err(refusal) => Decided::Refused(refusal),
    }
}

fn judge(known: &Known<'_>, event: &Event<'_>) -> Result<Option<Kind>, Refusal> {
    let token = event.token;
    let event_ms = event_time(event.at, known.now)?.0;
    if event_ms < Moment::from_seconds(token.issued).0 {
        let message = "the event is older than its token; send the time at which it happened";
        return Err(Refusal::new(Reason::EventBeforeToken, "time", message));
    }
    // The door opens tokens by the wall clock, which may go back; views are forgotten by the journal's.
    if Moment::from_seconds(token.issued).0 < known.now.0 - VIEW_MEMORY_MS {
        let message = "the view token has ended: drop it, a retry cannot help";
        return Err(Refusal::new(Reason::TokenExpired, "view_token", message));
    }
    if token.ad == token.ghost_ad {
        return alone(known, event, event_ms);
    }
    let view = known.viewer.and_then(|viewer| viewer.view(token.view));
    let view = view.as_ref();
    if event.kind == EventKind::Impression {
        return see(known, event, view, event_ms);
    }
    // A click token may have implied the tap before the impression came.
    let implied = event.kind == EventKind::Tap
        && known.viewer.is_some_and(|viewer| viewer.touch(token.view).is_some());
    if view.is_some_and(|view| view.flags.has(event.kind)) || implied {
        return Ok(None);
    }
    let Some(view) = view else {
        if event.kind == EventKind::Tap && !traffic::awaits_view(token, known.now) {
            return room::for_tap(known.viewer).map(|()| Some(tap(known, event, None, event_ms)));
        }
        let message = "no impression was recorded for this token; send that first";
        return Err(Refusal::new(Reason::ViewMissing, "view_token", message));
    };
    let showing = Some(showing(known, token));
    let event_kind = event.kind as u32;
    let invalid = number(view.invalid().or(event.suspect));
    match event.kind {
        EventKind::Viewable
        | EventKind::Video25
        | EventKind::Video50
        | EventKind::Video75
        | EventKind::Video100 => {
            let (placement, context) = (u32::from(token.placement), Some(context_of(token)));
            let watched = Watched { placement, invalid, context, ..Watched::default() };
            Ok(Some(Kind::Watched(Watched { showing, event_ms, event_kind, ..watched })))
        }
        EventKind::Tap => {
            room::for_tap(known.viewer).map(|()| Some(tap(known, event, Some(view), event_ms)))
        }
        EventKind::HideAd | EventKind::HideBusiness | EventKind::Report => {
            if known.viewer.is_some_and(|viewer| viewer.hidden().len() >= HIDDEN_MAX) {
                let message = "the viewer has hidden as many ads as are remembered";
                return Err(Refusal::new(Reason::ViewerFull, "view_token", message));
            }
            Ok(Some(Kind::FeedbackGiven(FeedbackGiven { showing, event_ms, event_kind, invalid })))
        }
        EventKind::Undo => {
            let hides = [EventKind::HideAd, EventKind::HideBusiness, EventKind::Report];
            let hidden = hides.iter().any(|kind| view.flags.has(*kind));
            let fact = FeedbackGiven { showing, event_ms, event_kind, invalid };
            Ok(hidden.then_some(Kind::FeedbackGiven(fact)))
        }
        EventKind::Unspecified | EventKind::Impression => {
            Err(Refusal::new(Reason::FieldInvalid, "kind", "name what happened"))
        }
    }
}

/// Judges the token of an ad that was held back and nothing shown in its place.
fn alone(known: &Known<'_>, event: &Event<'_>, event_ms: i64) -> Result<Option<Kind>, Refusal> {
    if event.kind != EventKind::Impression {
        let message = "nothing was shown by a ghost token: report only its IMPRESSION";
        return Err(Refusal::new(Reason::FieldInvalid, "kind", message));
    }
    let valid = traffic::view(known.viewer, event.token.ad, event_ms, event.suspect).is_none();
    Ok(known.ghost.filter(|_| valid).map(|ghost| noted(&ghost, event.token, event_ms)))
}

/// Returns the ghost that comes with a valid impression of what took its place.
fn ghost_beside(known: &Known<'_>, event: &Event<'_>, fact: &Kind) -> Option<Kind> {
    let Kind::ImpressionSeen(seen) = fact else { return None };
    let ghost = known.ghost.filter(|_| seen.invalid == 0)?;
    Some(noted(&ghost, event.token, seen.event_ms))
}

fn noted(ghost: &GhostAd, token: &ViewToken, event_ms: i64) -> Kind {
    let ViewToken { view, viewer, feed, issued, .. } = *token;
    let showing = Some(showing_of(&ghost.family, view, viewer, feed, issued));
    Kind::GhostNoted(Box::new(GhostNoted { showing, event_ms, experiment: ghost.experiment }))
}

/// Returns when an event happened, or refuses a time that is ahead of the engine's.
pub fn event_time(at: Option<Moment>, now: Moment) -> Result<Moment, Refusal> {
    let at = at.unwrap_or(now);
    if at.0 > now.0 + FUTURE_MS_MAX {
        let message =
            "the time is more than 5 minutes ahead of the server; check the sender's clock";
        return Err(Refusal::new(Reason::EventFromFuture, "time", message));
    }
    Ok(at)
}

fn see(
    known: &Known<'_>,
    event: &Event<'_>,
    view: Option<&View>,
    event_ms: i64,
) -> Result<Option<Kind>, Refusal> {
    let token = event.token;
    if view.is_some() {
        return Ok(None);
    }
    if known.viewer.is_some_and(|viewer| viewer.views().len() >= VIEWS_MAX) {
        let message = "the viewer has seen as many ads in 25 hours as are remembered";
        return Err(Refusal::new(Reason::ViewerFull, "view_token", message));
    }
    let in_time = event_ms <= traffic::show_by_ms(token);
    let billed = token.billing == BillingEvent::Impressions as u8 && in_time;
    let invalid = traffic::view(known.viewer, token.ad, event_ms, event.suspect);
    let (charge, invalid_price, invalid_day) = price(known, token, billed, invalid);
    Ok(Some(Kind::ImpressionSeen(ImpressionSeen {
        showing: Some(showing(known, token)),
        event_ms,
        charge,
        cap_hours: known.family.cap_hours(CapEvent::Impressions),
        placement: u32::from(token.placement),
        position: u32::from(token.position),
        country: u32::from(u16::from_be_bytes(token.country)),
        region: u32::from(token.region),
        age_gender: u32::from(token.age_gender),
        os_device: u32::from(token.os_device),
        category: known.family.category,
        invalid: number(invalid),
        invalid_price,
        invalid_day,
        experiment: known.experiment,
        control: known.experiment != 0 && token.arm == Arm::Control as u8,
        ..ImpressionSeen::default()
    })))
}

fn tap(known: &Known<'_>, event: &Event<'_>, view: Option<&View>, event_ms: i64) -> Kind {
    let token = event.token;
    let conversation = token.billing == BillingEvent::Conversations as u8;
    let (timed, suspect) = (event.at.is_some(), event.suspect);
    let judged = traffic::Tap { view, at_ms: event_ms, timed, suspect };
    let invalid = traffic::tap(known.viewer, &judged);
    let billed = token.billing == BillingEvent::LinkClicks as u8;
    let (charge, invalid_price, invalid_day) = price(known, token, billed, invalid);
    Kind::Tapped(Tapped {
        showing: Some(showing(known, token)),
        event_ms,
        charge,
        code: event.code.number(),
        endpoint: known.family.endpoint,
        conversation_price: if conversation { token.price_micros } else { 0 },
        cap_hours: known.family.cap_hours(CapEvent::Taps),
        invalid: number(invalid),
        invalid_price,
        invalid_day,
        placement: u32::from(token.placement),
        new_person: invalid.is_none()
            && !known.tapped_before
            && !known.viewer.is_some_and(|viewer| viewer.has_tapped(known.family.campaign)),
        country: u32::from(u16::from_be_bytes(token.country)),
        context: Some(context_of(token)),
        ..Tapped::default()
    })
}

/// Returns the charge for an event, and where it is invalid what it would have cost instead, on which day.
fn price(
    known: &Known<'_>,
    token: &ViewToken,
    billed: bool,
    invalid: Option<InvalidReason>,
) -> (Option<Charge>, i64, i32) {
    let Known { purse, zone, now, .. } = *known;
    let price = token.price_micros.max(0);
    match invalid {
        _ if !billed => (None, 0, 0),
        Some(_) if price == 0 => (None, 0, 0),
        Some(_) => (None, price, day_of(zone, now).number),
        None => (Some(charge(&known.family, purse, price, zone, now)), 0, 0),
    }
}

/// Returns a reason as facts carry it: 0 for a valid event.
pub fn number(invalid: Option<InvalidReason>) -> i32 {
    invalid.unwrap_or_default().into()
}

/// Returns what serving knew of the place and the viewer, as breakdowns cut it.
fn context_of(token: &ViewToken) -> ViewContext {
    ViewContext {
        placement: u32::from(token.placement),
        position: u32::from(token.position) + 1,
        country: u32::from(u16::from_be_bytes(token.country)),
        region: u32::from(token.region),
        age_gender: u32::from(token.age_gender),
        os_device: u32::from(token.os_device),
    }
}

fn showing(known: &Known<'_>, token: &ViewToken) -> Showing {
    showing_of(&known.family, token.view, token.viewer, token.feed, token.issued)
}

/// Returns which ad was shown to whom, with everything above the ad.
pub fn showing_of(family: &Family, view: u64, viewer: u64, feed: u32, issued_s: u32) -> Showing {
    Showing {
        view,
        viewer,
        ad: family.ad,
        ad_set: family.ad_set,
        campaign: family.campaign,
        account: family.account,
        business: family.business,
        feed,
        issued_s,
    }
}
