//! Credit: what becomes of an opening or conversion where the viewer lives.
//!
//! Delivery has two steps, each its own decision in its own shard. First the viewer's shard credits and
//! charges; then, only once that stands before it in the journal, the outcome's shard settles its
//! outbox. Both may be repeated after a crash: what was done is seen and not done again.

use crate::decide::chats::declined;
use crate::decide::imports::{has_opened, has_tapped};
use crate::decide::paths::{Asked, credited, path};
use crate::decide::purse::charge;
use crate::decide::record::{number, showing_of};
use crate::decide::room;
use crate::decide::steps::{Place, settled};
use crate::state::bucket::Outgoing;
use crate::state::catalog::Catalog;
use crate::state::chats::Gist;
use crate::state::credit::CodeEntry;
use crate::state::past::Past;
use crate::state::people::Step as Person;
use crate::state::purses::Purse;
use crate::state::viewers::{Touch, Viewer};
use crate::types::attribution::{Windows, proven_tap};
use crate::types::day::day_of;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversationOpened, ConversationTouch, ConversionCredited, Converted,
    OutboxSettled, OutcomeDeclined, OutcomeNoted, PathTouch, Proof, Showing,
};
use crate::types::proto::v1::{
    CapEvent, DeclineReason, InvalidReason, MatchKind, Money, Outcome, TouchKind,
};
use crate::types::time::Moment;

/// Where an outgoing claim leads: the viewer and click that it names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Click {
    /// The click's id; 0: only the viewer is known.
    pub view: u64,
    /// Whose it is.
    pub viewer: u64,
}

/// What is known where the viewer lives.
#[derive(Clone, Copy, Debug)]
pub struct There<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The viewer.
    pub viewer: Option<&'a Viewer>,
    /// What was imported of the viewer.
    pub past: Option<&'a Past>,
    /// The purse of the claimed ad's account.
    pub purse: Option<&'a Purse>,
    /// The journal's time.
    pub now: Moment,
}

impl<'a> There<'a> {
    fn asked(&self, account: u64, event_ms: i64) -> Asked<'a> {
        let There { catalog, viewer, past, .. } = *self;
        Asked { catalog, viewer, past, account, event_ms }
    }
}

/// The next step of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Journal this in the viewer's shard, then deliver again.
    Credit(Box<Kind>),
    /// Journal these in the outcome's shard: the delivery is done.
    Settle(Vec<Kind>),
}

impl Outgoing {
    /// Returns the proof that it carries.
    pub fn proof(&self) -> Proof {
        match self {
            Self::Opened(fact) => fact.proof.unwrap_or_default(),
            Self::Converted(fact) => fact.proof.unwrap_or_default(),
        }
    }

    /// Returns what experiments count of it; `None`: the platform did not tell who it was.
    pub fn noted(&self, catalog: &Catalog) -> Option<OutcomeNoted> {
        let fact = match self {
            Self::Opened(fact) => OutcomeNoted {
                outcome: fact.outcome,
                viewer: fact.told_viewer,
                account: fact.account,
                kind: Outcome::Conversation.into(),
                event_ms: fact.event_ms,
                value: 0,
            },
            Self::Converted(fact) => {
                let currency = catalog.currency_of(fact.account);
                let ours = |value: &&Money| Some(&*value.currency) == currency;
                OutcomeNoted {
                    outcome: fact.outcome,
                    viewer: fact.told_viewer,
                    account: fact.account,
                    kind: Outcome::Conversion.into(),
                    event_ms: fact.event_ms,
                    value: fact.value.as_ref().filter(ours).map_or(0, |value| value.micros),
                }
            }
        };
        (fact.viewer != 0).then_some(fact)
    }

    /// Tells whether it claims that an ad led to it.
    const fn is_proven(&self) -> bool {
        match self {
            Self::Opened(fact) => fact.proof.is_some(),
            Self::Converted(fact) => fact.proof.is_some(),
        }
    }

    /// Returns the click that it claims, by its token or by what its code stands for; `None`: the code
    /// is unknown, or good for another endpoint.
    pub fn click(&self, by_code: impl Fn(u64) -> Option<CodeEntry>) -> Option<Click> {
        let proof = self.proof();
        if proof.by_viewer {
            return Some(Click { view: 0, viewer: proof.viewer });
        }
        if proof.code == 0 {
            // A channel may name an ad of which no tap is known.
            let click = Click { view: proof.view, viewer: proof.viewer };
            return Some(click).filter(|click| click.view != 0);
        }
        let entry = by_code(proof.code)?;
        let good = match self {
            Self::Opened(fact) => fact.endpoint == entry.endpoint,
            // The code was checked when its conversation opened.
            Self::Converted(_) => true,
        };
        good.then_some(Click { view: entry.view, viewer: entry.viewer })
    }
}

/// Returns the next step for an outgoing claim. `chat` is the conversation of an opening.
pub fn deliver(
    outgoing: &Outgoing,
    click: Option<Click>,
    there: &There<'_>,
    chat: Option<&Gist>,
) -> Step {
    match outgoing {
        // Declined where it happened: only experiments heard of it.
        Outgoing::Opened(fact) if !outgoing.is_proven() => {
            Step::Settle(vec![Kind::OutboxSettled(unsettled(fact.outcome, fact.conversation))])
        }
        Outgoing::Converted(fact) if !outgoing.is_proven() => {
            Step::Settle(vec![Kind::OutboxSettled(unsettled(fact.outcome, 0))])
        }
        Outgoing::Opened(fact) => match match_opening(fact, outgoing.proof(), click, there, chat) {
            Ok(Some(matched)) => Step::Credit(Box::new(Kind::ClickMatched(matched))),
            Ok(None) => Step::Settle(settled_opening(fact, outgoing, click, there, chat)),
            Err(reason) => {
                let settled = unsettled(fact.outcome, fact.conversation);
                missed(declined_opening(fact, reason, click, there), outgoing, settled, there)
            }
        },
        Outgoing::Converted(fact) => {
            match credit_conversion(fact, outgoing.proof(), click, there) {
                Ok(Some(credited)) => {
                    Step::Credit(Box::new(Kind::ConversionCredited(Box::new(credited))))
                }
                Ok(None) => Step::Settle(vec![Kind::OutboxSettled(unsettled(fact.outcome, 0))]),
                Err(reason) => {
                    missed(declined(fact, reason), outgoing, unsettled(fact.outcome, 0), there)
                }
            }
        }
    }
}

/// Returns the step that declines an outcome: where its viewer lives, if the platform told who it was, for touches
/// that are told late may still earn it. A history is credited once; and of a viewer who has no room for it, it is
/// declined for good.
fn missed(
    declined: OutcomeDeclined,
    outgoing: &Outgoing,
    settled: OutboxSettled,
    there: &There<'_>,
) -> Step {
    let proof = outgoing.proof();
    if proof.by_viewer && !declined.imported && room::for_missed(there.viewer) {
        let fact = OutcomeDeclined { viewer: proof.viewer, ..declined };
        return Step::Credit(Box::new(Kind::OutcomeDeclined(Box::new(fact))));
    }
    Step::Settle(vec![Kind::OutcomeDeclined(Box::new(declined)), Kind::OutboxSettled(settled)])
}

/// Returns the match of an opening, `None` when it stands already, or why no ad is credited.
fn match_opening(
    fact: &ConversationOpened,
    proof: Proof,
    click: Option<Click>,
    there: &There<'_>,
    chat: Option<&Gist>,
) -> Result<Option<ClickMatched>, DeclineReason> {
    let click = click.ok_or(DeclineReason::NoTouch)?;
    if there.viewer.is_some_and(|viewer| viewer.credit_of(fact.outcome).is_some()) {
        return Ok(None);
    }
    let Some(earner) = earner_of(fact, proof, click, there)? else { return Ok(None) };
    let Earner { showing, touch_ms, price, by_tap, implied, invalid, path } = earner;
    // The platform tells again of a conversation that the same touch has opened.
    if proof.by_viewer && opened_before(there, showing.view, fact.conversation, chat) {
        return Ok(None);
    }
    room::for_credited(there.catalog, there.viewer, &showing)?;
    let family = there.catalog.family(showing.ad).ok_or(DeclineReason::NoTouch)?;
    // A history is paid for already, and says nothing of how often anybody may be shown what.
    let price = if fact.imported { 0 } else { price };
    let cap_hours = |event| if fact.imported { 0 } else { family.cap_hours(event) };
    let billed = price > 0 && invalid.is_none();
    let zone = there.catalog.zone_of(family.account).unwrap_or_default();
    let charge = billed.then(|| charge(&family, there.purse, price, zone, there.now));
    let invalid_price = invalid.map_or(0, |_| price.max(0));
    let invalid_day = if invalid_price == 0 { 0 } else { day_of(zone, there.now).number };
    Ok(Some(ClickMatched {
        outcome: fact.outcome,
        showing: Some(showing),
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        touch_ms,
        match_kind: proof.match_kind,
        implied_tap: implied,
        charge,
        endpoint: fact.endpoint,
        cap_hours: cap_hours(CapEvent::Conversations),
        tap_cap_hours: cap_hours(CapEvent::Taps),
        invalid: number(invalid),
        invalid_price,
        invalid_day,
        tap_billed: by_tap && price > 0,
        new_person: invalid.is_none()
            && match fact.imported {
                true => !has_opened(there.viewer, family.campaign),
                false => chat.is_some_and(|it| it.taken.is_new(family.campaign, Person::Opened)),
            },
        new_tap_person: implied
            && invalid.is_none()
            && !has_tapped(there.catalog, there.past, there.viewer, family.campaign),
        context: there.viewer.and_then(|viewer| viewer.context_of(showing.view)),
        entry_point: fact.entry_point,
        path,
        imported: fact.imported || there.is_imported(showing.view),
    }))
}

/// Returns the touch that an opening is credited to, `None` when it has opened this conversation already.
fn earner_of(
    fact: &ConversationOpened,
    proof: Proof,
    click: Click,
    there: &There<'_>,
) -> Result<Option<Earner>, DeclineReason> {
    let asked = there.asked(fact.account, fact.event_ms);
    if proof.by_viewer {
        return earner_told(&asked, click, there).map(Some);
    }
    let touch = there.viewer.and_then(|viewer| viewer.touch(click.view));
    match touch.map_or(0, |touch| touch.conversation) {
        0 => earner_proven(&asked, proof, click, there).map(Some),
        ours if ours == fact.conversation => Ok(None),
        _ => Err(DeclineReason::Duplicated),
    }
}

/// Returns the credit of a conversion, `None` when it stands already, or why no ad is credited.
fn credit_conversion(
    fact: &Converted,
    proof: Proof,
    click: Option<Click>,
    there: &There<'_>,
) -> Result<Option<ConversionCredited>, DeclineReason> {
    let click = click.ok_or(DeclineReason::NoTouch)?;
    if there.viewer.is_some_and(|viewer| viewer.credit_of(fact.outcome).is_some()) {
        return Ok(None);
    }
    let asked = there.asked(fact.account, fact.event_ms);
    let used_by_another = |touch: &Touch| {
        let (used, ours) = (touch.conversation, fact.conversation);
        used != 0 && ours != 0 && used != ours
    };
    let earner = if proof.by_viewer {
        earner_told(&asked, click, there)?
    } else {
        let touch = there.viewer.and_then(|viewer| viewer.touch(click.view));
        if touch.is_some_and(used_by_another) {
            return Err(DeclineReason::Duplicated);
        }
        earner_proven(&asked, proof, click, there)?
    };
    let Earner { showing, touch_ms, invalid, path, .. } = earner;
    match invalid {
        None => room::for_credited(there.catalog, there.viewer, &showing)?,
        // It is remembered as one that nobody has earned.
        Some(_) if !room::for_missed(there.viewer) => return Err(DeclineReason::FraudDetected),
        Some(_) => {}
    }
    let campaign = showing.campaign;
    let again = there.viewer.is_some_and(|viewer| viewer.has_converted(campaign));
    Ok(Some(ConversionCredited {
        outcome: fact.outcome,
        showing: Some(showing),
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        touch_ms,
        match_kind: proof.match_kind,
        event_id: fact.event_id.clone(),
        name: fact.name.clone(),
        value: fact.value.clone(),
        invalid: number(invalid),
        new_person: invalid.is_none() && !again,
        endpoint: 0,
        context: there.viewer.and_then(|viewer| viewer.context_of(showing.view)),
        path,
        imported: fact.imported || there.is_imported(showing.view),
    }))
}

/// The touch that an outcome is credited to.
struct Earner {
    showing: Showing,
    touch_ms: i64,
    /// Of the conversation that it may open, or its own, micros; 0: none.
    price: i64,
    /// Whether the price is the tap's own.
    by_tap: bool,
    /// Whether it is a tap that was never reported.
    implied: bool,
    invalid: Option<InvalidReason>,
    /// The eligible touches before the outcome; none where the tap is invalid: it is nobody's.
    path: Vec<PathTouch>,
}

/// Returns the tap that is proven, if the outcome is in its ad set's window.
fn earner_proven(
    asked: &Asked<'_>,
    proof: Proof,
    click: Click,
    there: &There<'_>,
) -> Result<Earner, DeclineReason> {
    let touch = there.viewer.and_then(|viewer| viewer.touch(click.view));
    let imported = there.imported_tap(click);
    let (showing, touch_ms, price) = match (touch, imported) {
        (Some(touch), _) => (touch.showing(click.viewer), touch.tap_ms, touch.conversation_price),
        (None, Some((showing, tap_ms))) => (showing, tap_ms, 0),
        (None, None) => {
            let (showing, touch_ms) = implied(proof, click, there)?;
            // A tap that was never reported is charged only if its view was recorded. From here on it is known:
            // its feed's report of it changes nothing.
            let seen = there.viewer.is_some_and(|viewer| viewer.view(click.view).is_some());
            (showing, touch_ms, if seen { proof.price.max(proof.tap_price) } else { 0 })
        }
    };
    let windows = there.catalog.windows_of(showing.ad);
    inside_window(asked.event_ms, touch_ms, showing.issued_s, windows)?;
    let invalid = invalid(there, click.view);
    let proven = proven_tap(&showing, touch_ms);
    let path = if invalid.is_none() { path(asked, Some(proven)) } else { Vec::new() };
    let implied = touch.is_none() && imported.is_none();
    let by_tap = implied && proof.tap_price > 0;
    Ok(Earner { showing, touch_ms, price, by_tap, implied, invalid, path })
}

/// Returns the last touch of a viewer whom the platform tells, by the windows of the ad sets.
fn earner_told(
    asked: &Asked<'_>,
    click: Click,
    there: &There<'_>,
) -> Result<Earner, DeclineReason> {
    let (path, credited) = credited(asked)?;
    // What was tapped only after the outcome is a view.
    let tap = there.viewer.filter(|_| credited.kind() == TouchKind::Tap);
    let touch = tap.and_then(|viewer| viewer.touch(credited.view));
    let (showing, price) = match touch {
        // A tap that has opened a conversation was paid for with that.
        Some(touch) if touch.conversation != 0 => (touch.showing(click.viewer), 0),
        Some(touch) => (touch.showing(click.viewer), touch.conversation_price),
        None => {
            let view = there.viewer.and_then(|viewer| viewer.view(credited.view));
            let (feed, issued_s) = view.map_or((0, 0), |view| (view.feed, view.issued_s));
            let family = there.catalog.family(credited.ad).ok_or(DeclineReason::NoTouch)?;
            (showing_of(&family, credited.view, click.viewer, feed, issued_s), 0)
        }
    };
    let touch_ms = credited.event_ms;
    let (by_tap, implied, invalid) = (false, false, None);
    Ok(Earner { showing, touch_ms, price, by_tap, implied, invalid, path })
}

/// Tells whether a touch has led to this conversation before.
fn opened_before(there: &There<'_>, view: u64, conversation: u64, chat: Option<&Gist>) -> bool {
    let touch = there.viewer.and_then(|viewer| viewer.touch(view));
    // There is no conversation to an imported opening.
    touch.is_some_and(|touch| conversation != 0 && touch.conversation == conversation)
        || chat.is_some_and(|chat| chat.has_touch(view))
}

/// Returns why what a click leads to is invalid: as its tap, or as its view where the tap is only implied.
fn invalid(there: &There<'_>, view: u64) -> Option<InvalidReason> {
    let viewer = there.viewer?;
    match viewer.touch(view) {
        Some(touch) => touch.invalid(),
        None => viewer.view(view)?.invalid(),
    }
}

/// Returns the tap that a genuine click token implies: at the earliest, when its ad was handed out.
fn implied(proof: Proof, click: Click, there: &There<'_>) -> Result<(Showing, i64), DeclineReason> {
    if proof.match_kind() != MatchKind::ClickToken {
        return Err(DeclineReason::NoTouch);
    }
    let family = there.catalog.family(proof.ad).ok_or(DeclineReason::NoTouch)?;
    let view = there.viewer.and_then(|viewer| viewer.view(click.view));
    // A click token does not say whose showing it is of.
    let feed = view.map_or(0, |view| view.feed);
    let showing = showing_of(&family, click.view, click.viewer, feed, proof.issued_s);
    Ok((showing, Moment::from_seconds(proof.issued_s).0))
}

/// Refuses credit for what happened too long after the touch, or before its ad was handed out. Clocks of
/// a device and a chat platform differ, so it may lie a little before the touch itself.
fn inside_window(
    event_ms: i64,
    touch_ms: i64,
    issued_s: u32,
    windows: Windows,
) -> Result<(), DeclineReason> {
    let issued_ms = Moment::from_seconds(issued_s).0;
    let inside = event_ms >= issued_ms && event_ms - touch_ms <= windows.click_ms();
    if inside { Ok(()) } else { Err(DeclineReason::OutOfLookbackWindow) }
}

fn settled_opening(
    fact: &ConversationOpened,
    outgoing: &Outgoing,
    click: Option<Click>,
    there: &There<'_>,
    chat: Option<&Gist>,
) -> Vec<Kind> {
    // What the viewer's shard has journaled of it; of a click that had opened the conversation before, nothing.
    let credited = there.viewer.and_then(|viewer| viewer.credit_of(fact.outcome)?.touch.as_ref());
    let claimed = click.map_or(0, |click| click.view);
    let view = credited.map_or(claimed, |touch| touch.0.view);
    // Found by its ad first and proven by its code afterwards, it is still one click.
    if chat.is_some_and(|chat| chat.has_touch(view)) {
        return vec![Kind::OutboxSettled(unsettled(fact.outcome, fact.conversation))];
    }
    let touch = match credited {
        Some(touch) => Some(touch.0.clone()),
        None => there.viewer.and_then(|viewer| viewer.touch(view)).map(|touch| ConversationTouch {
            campaign: touch.campaign,
            ad_set: touch.ad_set,
            ad: touch.ad,
            view,
            match_kind: outgoing.proof().match_kind,
            event_ms: fact.event_ms,
            invalid: number(invalid(there, view)),
            ..ConversationTouch::default()
        }),
    };
    let place = Place { account: fact.account, conversation: fact.conversation };
    settled(fact.outcome, place, touch, chat)
}

fn unsettled(outcome: u64, conversation: u64) -> OutboxSettled {
    OutboxSettled { outcome, conversation, ..OutboxSettled::default() }
}

fn declined_opening(
    fact: &ConversationOpened,
    reason: DeclineReason,
    click: Option<Click>,
    there: &There<'_>,
) -> OutcomeDeclined {
    // Of a click that had opened another conversation it is known whose it was: a token came twice.
    let replayed = click.filter(|_| reason == DeclineReason::Duplicated);
    let touch = replayed.and_then(|click| there.viewer?.touch(click.view));
    OutcomeDeclined {
        outcome: fact.outcome,
        kind: Outcome::Conversation.into(),
        account: fact.account,
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        reason: reason.into(),
        invalid: number(touch.map(|_| InvalidReason::Replay)),
        ad: touch.map_or(0, |touch| touch.ad),
        match_kind: fact.proof.unwrap_or_default().match_kind,
        imported: fact.imported,
        ..OutcomeDeclined::default()
    }
}
