//! What an event of another system changes: it counts as it was, charges nobody and teaches nothing.

use crate::decide::Decided;
use crate::decide::deliver::{Click, There};
use crate::decide::record::{FUTURE_MS_MAX, showing_of};
use crate::state::bucket::{CONVERSION_MEMORY_MS, KnownConversion, content_of, content_of_opening};
use crate::state::catalog::{Catalog, Family};
use crate::state::past::{PAST_MEMORY_MS, PAST_TOUCHES_MAX, Past, PastTouch};
use crate::state::viewers::Viewer;
use crate::types::ids::from_hash;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ConversationOpened, Converted, ImpressionSeen, Proof, Showing, Tapped, Watched,
};
use crate::types::proto::v1::{EventKind, MatchKind, Money};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Imported, ImportedEvent};
use crate::types::time::{DAY_MS, Moment};

/// The oldest event of a history that is counted: what is remembered of events tells them apart for longer.
pub const IMPORT_AGE_MS_MAX: i64 = 89 * DAY_MS;

// An event that is still taken is remembered, so that it is told from a repeat.
const _: () = assert!(IMPORT_AGE_MS_MAX + FUTURE_MS_MAX < PAST_MEMORY_MS);
const _: () = assert!(IMPORT_AGE_MS_MAX + FUTURE_MS_MAX < CONVERSION_MEMORY_MS);

/// What is known when an event of a history comes.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What was imported of its viewer before.
    pub past: Option<&'a Past>,
    /// What its viewer did here.
    pub viewer: Option<&'a Viewer>,
    /// An earlier outcome with its id.
    pub outcome: Option<&'a KnownConversion>,
    /// Whether it is only judged, beside others of its history that are not known yet.
    pub dry_run: bool,
    /// The journal's time.
    pub now: Moment,
}

/// Returns the outcome of a conversion: a hash of account and event id, so that the same conversion comes to the
/// same shard and bucket whichever way it is reported.
pub fn conversion_outcome(account: u64, event_id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi conversion").update(&account.to_be_bytes());
    hasher.update(event_id.as_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Judges one event of a history.
pub fn import(known: &Known<'_>, item: &Imported) -> Decided {
    match judge(known, item) {
        Ok(Some(fact)) => Decided::Facts(vec![fact]),
        Ok(None) => Decided::Already,
        Err(refusal) => Decided::Refused(refusal),
    }
}

fn judge(known: &Known<'_>, item: &Imported) -> Result<Option<Kind>, Refusal> {
    owned(known.catalog, item)?;
    let event_ms = in_time(item.at, known.now)?;
    match &item.event {
        ImportedEvent::Impression { view, ad } => {
            let showing = shown(known, item, *ad, *view)?;
            let fact = ImpressionSeen {
                showing: Some(showing),
                event_ms,
                imported: true,
                ..ImpressionSeen::default()
            };
            let is_new = is_new(known, &showing, event_ms, 0)?;
            Ok(is_new.then_some(Kind::ImpressionSeen(fact)))
        }
        ImportedEvent::Tap { view, ad, tapped_view } => {
            let showing = shown(known, item, *ad, *view)?;
            let tapped = known.past.and_then(|past| past.touch(*tapped_view));
            tapped.iter().try_for_each(|seen| same_ad(seen, *ad))?;
            let fact = Tapped {
                showing: Some(showing),
                event_ms,
                new_person: !has_tapped(known.catalog, known.past, known.viewer, showing.campaign),
                imported: true,
                tapped_view: *tapped_view,
                ..Tapped::default()
            };
            let is_new = is_new(known, &showing, event_ms, *tapped_view)?;
            Ok(is_new.then_some(Kind::Tapped(fact)))
        }
        ImportedEvent::Watched { view, ad, kind } => {
            let showing = shown(known, item, *ad, *view)?;
            let seen = known.past.and_then(|past| past.touch(*view));
            watched(known, seen, (showing, event_ms), *kind)
        }
        ImportedEvent::Conversation { outcome, tap } => {
            let fact = ConversationOpened {
                outcome: *outcome,
                account: item.account,
                event_ms,
                proof: Some(proof(item.viewer, *tap)),
                imported: true,
                ..ConversationOpened::default()
            };
            let is_new = is_new_outcome(known, content_of_opening(&fact))?;
            Ok(is_new.then_some(Kind::ConversationOpened(fact)))
        }
        ImportedEvent::Conversion { outcome, tap, event_id, name, value } => {
            value.iter().try_for_each(|value| ours(known.catalog, item.account, value))?;
            let fact = Converted {
                outcome: *outcome,
                account: item.account,
                event_ms,
                event_id: event_id.clone(),
                name: name.clone(),
                value: value.clone(),
                proof: Some(proof(item.viewer, *tap)),
                imported: true,
                ..Converted::default()
            };
            let is_new = is_new_outcome(known, content_of(&fact))?;
            Ok(is_new.then(|| Kind::Converted(Box::new(fact))))
        }
    }
}

/// Tells whether a viewer has tapped an ad of a campaign in what was imported, or here, as far as is remembered.
pub fn has_tapped(
    catalog: &Catalog,
    past: Option<&Past>,
    viewer: Option<&Viewer>,
    campaign: u64,
) -> bool {
    let campaign_of = |ad| catalog.family(ad).map(|family| family.campaign);
    let imported =
        past.is_some_and(|past| past.taps().any(|tap| campaign_of(tap.ad) == Some(campaign)));
    imported || viewer.is_some_and(|viewer| viewer.has_tapped(campaign))
}

/// Tells whether a viewer has a valid conversation in a campaign, as far as is remembered.
pub fn has_opened(viewer: Option<&Viewer>, campaign: u64) -> bool {
    let credited = viewer.into_iter().flat_map(Viewer::credited);
    let mut touches = credited.filter_map(|credited| credited.touch.as_ref());
    touches.any(|touch| touch.0.campaign == campaign && touch.0.invalid == 0)
}

impl There<'_> {
    /// Tells whether a touch was imported.
    pub(in crate::decide) fn is_imported(&self, view: u64) -> bool {
        self.past.is_some_and(|past| past.touch(view).is_some())
    }

    /// Returns an imported tap, and when it was.
    pub(in crate::decide) fn imported_tap(&self, click: Click) -> Option<(Showing, i64)> {
        let tap = self.past?.touch(click.view).filter(|touch| touch.is_tap())?;
        let (family, at) = (self.catalog.family(tap.ad)?, Moment(tap.event_ms));
        Some((showing_of(&family, click.view, click.viewer, 0, at.seconds()), at.0))
    }
}

/// Judges what else happened to an impression.
fn watched(
    known: &Known<'_>,
    seen: Option<&PastTouch>,
    (showing, event_ms): (Showing, i64),
    kind: EventKind,
) -> Result<Option<Kind>, Refusal> {
    if let Some(seen) = seen {
        same_ad(seen, showing.ad)?;
        if seen.has(kind) {
            return Ok(None);
        }
    } else if !known.dry_run {
        let message = "no impression of this viewer was imported by this id; send that first";
        return Err(Refusal::new(Reason::ViewMissing, "impression_event_id", message));
    }
    Ok(Some(Kind::Watched(Watched {
        showing: Some(showing),
        event_ms,
        event_kind: kind as u32,
        imported: true,
        ..Watched::default()
    })))
}

/// Tells whether a touch is not known yet, or refuses another one under its id.
fn is_new(
    known: &Known<'_>,
    showing: &Showing,
    event_ms: i64,
    tapped_view: u64,
) -> Result<bool, Refusal> {
    let Some(past) = known.past else { return Ok(true) };
    if let Some(touch) = past.touch(showing.view) {
        let content = (touch.ad, touch.event_ms, touch.tapped_view);
        return if content == (showing.ad, event_ms, tapped_view) {
            Ok(false)
        } else {
            Err(reused("this event_id was imported with another ad, time or impression"))
        };
    }
    if past.touches().len() >= PAST_TOUCHES_MAX {
        let message = "the viewer has as many imported touches as are remembered";
        return Err(Refusal::new(Reason::ViewerFull, "viewer", message));
    }
    Ok(true)
}

fn is_new_outcome(known: &Known<'_>, content: u64) -> Result<bool, Refusal> {
    match known.outcome {
        Some(known) if known.content == content => Ok(false),
        Some(_) => Err(reused("this event_id was used for another viewer, name or value")),
        None => Ok(true),
    }
}

fn reused(message: &'static str) -> Refusal {
    Refusal::new(Reason::IdReused, "event_id", message)
}

fn owned(catalog: &Catalog, item: &Imported) -> Result<(), Refusal> {
    let owner = catalog.tenant_of(item.account);
    if owner.is_some() && (item.tenant == 0 || owner == Some(item.tenant)) {
        return Ok(());
    }
    Err(Refusal::new(Reason::NotFound, "account_id", "no such account"))
}

fn in_time(at: Moment, now: Moment) -> Result<i64, Refusal> {
    if at.0 > now.0 + FUTURE_MS_MAX {
        let message = "the time is more than 5 minutes ahead of the server; check the other clock";
        return Err(Refusal::new(Reason::EventFromFuture, "event_time", message));
    }
    if at.0 < now.0 - IMPORT_AGE_MS_MAX {
        let days = IMPORT_AGE_MS_MAX / DAY_MS;
        let message = format!("older than {days} days: it can no longer be told from a repeat");
        return Err(Refusal::new(Reason::EventTooOld, "event_time", message));
    }
    Ok(at.0)
}

/// Returns the showing of a touch, or refuses an ad that is not the account's.
fn shown(known: &Known<'_>, item: &Imported, ad: u64, view: u64) -> Result<Showing, Refusal> {
    let theirs = |family: &Family| family.account == item.account;
    let family = known.catalog.family(ad).filter(theirs);
    let family = family.ok_or_else(|| {
        Refusal::new(Reason::NotFound, "ad_id", "the account has no such ad here: create it first")
    })?;
    Ok(showing_of(&family, view, item.viewer, 0, item.at.seconds()))
}

fn same_ad(seen: &PastTouch, ad: u64) -> Result<(), Refusal> {
    if seen.ad == ad {
        return Ok(());
    }
    let message = "the impression that impression_event_id names is of another ad";
    Err(Refusal::new(Reason::FieldInvalid, "ad_id", message))
}

fn ours(catalog: &Catalog, account: u64, value: &Money) -> Result<(), Refusal> {
    let currency = catalog.currency_of(account).unwrap_or_default();
    if value.currency == currency {
        return Ok(());
    }
    let message = format!("the account is in {currency}: convert the value");
    Err(Refusal::new(Reason::CurrencyInvalid, "currency", message))
}

/// Returns what an outcome proves: the tap that it names, else its viewer.
fn proof(viewer: u64, tap: u64) -> Proof {
    let match_kind = MatchKind::Viewer.into();
    Proof { match_kind, view: tap, viewer, by_viewer: tap == 0, ..Proof::default() }
}
