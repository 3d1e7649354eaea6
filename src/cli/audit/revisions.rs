//! The recount of revisions: every row told anew follows from the one before it and from what was found since, by
//! the same rules, written down once more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cli::audit::credits::{path, winner};
use crate::cli::audit::implied::charged;
use crate::cli::audit::recount::{CreditRow, Place, Recount};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversionCredited, EventCredited, OutcomeDeclined, OutcomeRevised, PathTouch,
    Showing, Standing, StepCredited, ViewContext,
};
use crate::types::proto::v1::{
    BillingEvent, DeclineReason, InvalidReason, Money, Outcome, RevisionCause, TouchKind,
};
use crate::types::time::DAY_MS;

/// Rows are revised as long as the node has them, and of one viewer so many.
const MEMORY_MS: i64 = 95 * DAY_MS;
const OUTCOMES_MAX: usize = 64;

/// A path has so many touches, taps of 28 days and views of one.
const TOUCHES_MAX: usize = 32;
const VIEW_MS: i64 = DAY_MS;
const TAP_MS: i64 = 28 * DAY_MS;

/// The newest row of an outcome.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Newest {
    revision: u32,
    kind: i32,
    viewer: u64,
    account: u64,
    conversation: u64,
    at_ms: i64,
    event_ms: i64,
    charged: i64,
    /// The showing whose conversation was charged.
    charged_view: u64,
    /// Whether it is, or is credited to what is, of a history.
    imported: bool,
    #[serde(with = "crate::state::wire::message")]
    standing: Standing,
}

/// A touch that the facts of a decision tell of.
#[derive(Clone, Copy, Debug)]
struct Late {
    showing: Showing,
    kind: TouchKind,
    event_ms: i64,
    valid: bool,
}

impl Late {
    fn of(fact: &Kind) -> Option<Self> {
        let (showing, kind, event_ms, invalid) = match fact {
            Kind::ImpressionSeen(fact) if !fact.imported => {
                (fact.showing, TouchKind::View, fact.event_ms, fact.invalid)
            }
            Kind::Tapped(fact) if !fact.imported => {
                (fact.showing, TouchKind::Tap, fact.event_ms, fact.invalid)
            }
            Kind::ClickMatched(fact) if fact.implied_tap => {
                (fact.showing, TouchKind::Tap, fact.touch_ms, fact.invalid)
            }
            // A half or more of a video, by the numbers of the events.
            Kind::Watched(fact) if !fact.imported && (4..=6).contains(&fact.event_kind) => {
                (fact.showing, TouchKind::EngagedView, fact.event_ms, 0)
            }
            _ => return None,
        };
        Some(Self { showing: showing?, kind, event_ms, valid: invalid == 0 })
    }

    /// Tells whether it lies before an outcome and near enough.
    fn is_near(&self, row: &Newest) -> bool {
        let longest_ms = if self.kind == TouchKind::Tap { TAP_MS } else { VIEW_MS };
        (0..=longest_ms).contains(&(row.event_ms - self.event_ms))
    }
}

/// What is known of rows and of what was found invalid.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Revisions {
    /// By outcome.
    newest: BTreeMap<u64, Newest>,
    of_viewer: BTreeMap<u64, Vec<u64>>,
    /// Openings by conversation.
    openings: BTreeMap<u64, Vec<u64>>,
    /// Viewers and views whose charges were given back, and for what events, with the journal's time.
    invalid: BTreeMap<(u64, u64, u32), i64>,
    /// Viewers and views that were tapped, with the journal's time.
    tapped: BTreeMap<(u64, u64), i64>,
    /// Outcomes from before this moment may be forgotten.
    forgotten_ms: Option<i64>,
    /// The touch that this decision tells of.
    #[serde(skip)]
    late: Option<Late>,
    /// Outcomes that this decision must revise.
    #[serde(skip)]
    owed: BTreeSet<u64>,
    #[serde(skip)]
    pub(super) faults: Vec<String>,
    /// Faults only if the journal was read from its first fact.
    #[serde(skip)]
    pub(super) unless_trimmed: Vec<String>,
}

impl Revisions {
    /// Begins the next decision: what the one before owed must stand in it.
    pub(super) fn enter(&mut self) {
        self.late = None;
        for outcome in std::mem::take(&mut self.owed) {
            let what = "a touch of its path was told late or found invalid, and it was not revised";
            self.faults.push(format!("outcome {outcome}: {what}"));
        }
    }

    /// Forgets outcomes, and what was found of views, from before a moment: nothing later refers to them.
    pub(super) fn forget(&mut self, before_ms: i64) {
        self.forgotten_ms = Some(before_ms);
        self.newest.retain(|_, row| row.at_ms >= before_ms);
        let newest = &self.newest;
        for lists in [&mut self.of_viewer, &mut self.openings] {
            lists.values_mut().for_each(|list| list.retain(|outcome| newest.contains_key(outcome)));
            lists.retain(|_, list| !list.is_empty());
        }
        // Paths of the outcomes that are left reach back as far as taps do.
        self.invalid.retain(|_, at_ms| *at_ms >= before_ms - TAP_MS - DAY_MS);
        self.tapped.retain(|_, at_ms| *at_ms >= before_ms);
    }

    /// Takes the next fact.
    pub(super) fn take(&mut self, place: &Place, fact: &Kind) {
        if let Some(late) = Late::of(fact) {
            self.tell(late, place);
        }
        match fact {
            Kind::ClickMatched(fact) => self.first(fact.outcome, of_match(fact), place),
            Kind::ConversionCredited(fact) => self.first(fact.outcome, of_conversion(fact), place),
            Kind::OutcomeDeclined(fact) => self.first(fact.outcome, of_decline(fact), place),
            Kind::StepCredited(fact) => self.first(fact.outcome, of_step(fact), place),
            Kind::EventCredited(fact) => self.found(fact, place),
            Kind::OutcomeRevised(fact) => self.revised(fact, place),
            _ => {}
        }
    }

    fn first(&mut self, outcome: u64, row: Newest, place: &Place) {
        if row.kind == i32::from(Outcome::Conversation) {
            self.openings.entry(row.conversation).or_default().push(outcome);
        }
        self.put(outcome, Newest { revision: 1, at_ms: place.at_ms, ..row });
    }

    fn put(&mut self, outcome: u64, row: Newest) {
        if row.viewer != 0 {
            let theirs = self.of_viewer.entry(row.viewer).or_default();
            if !theirs.contains(&outcome) {
                theirs.push(outcome);
            }
        }
        self.newest.insert(outcome, row);
    }

    fn found(&mut self, fact: &EventCredited, place: &Place) {
        let Some(Showing { viewer, view, .. }) = fact.showing else { return };
        self.invalid.insert((viewer, view, fact.billing), place.at_ms);
        let theirs = self.of_viewer.get(&viewer).map_or(&[][..], Vec::as_slice);
        // Of too many only the newest are revised.
        if theirs.len() > OUTCOMES_MAX {
            return;
        }
        let owes = |outcome: &&u64| {
            let row = self.newest.get(outcome);
            row.is_some_and(|row| {
                row.at_ms >= place.at_ms - MEMORY_MS
                    && row.standing.path.iter().any(|touch| touch.view == view)
            })
        };
        self.owed.extend(theirs.iter().filter(owes));
    }

    /// Takes a touch, and notes which outcomes must be told anew for it.
    fn tell(&mut self, late: Late, place: &Place) {
        let Showing { viewer, view, .. } = late.showing;
        let was_tapped = self.tapped.contains_key(&(viewer, view));
        if late.kind == TouchKind::Tap {
            self.tapped.insert((viewer, view), place.at_ms);
        }
        self.late = Some(late);
        let theirs = self.of_viewer.get(&viewer).map_or(&[][..], Vec::as_slice);
        if theirs.len() > OUTCOMES_MAX || was_tapped {
            return;
        }
        let owes = |outcome: &&u64| {
            let row = self.newest.get(outcome);
            row.is_some_and(|row| row.at_ms >= place.at_ms - MEMORY_MS && owes(row, &late))
        };
        self.owed.extend(theirs.iter().filter(owes));
    }

    fn is_invalid(&self, viewer: u64, view: u64) -> bool {
        self.invalid.range((viewer, view, 0)..=(viewer, view, u32::MAX)).next().is_some()
    }

    fn revised(&mut self, fact: &OutcomeRevised, place: &Place) {
        self.owed.remove(&fact.outcome);
        let after = plain(fact.after.clone().unwrap_or_default());
        let Some(known) = self.newest.get(&fact.outcome).cloned() else {
            let outcome = fact.outcome;
            if self.forgotten_ms.is_some_and(|before_ms| fact.event_ms < before_ms) {
                return;
            }
            self.unless_trimmed.push(format!("{place}: outcome {outcome} was never told before"));
            return;
        };
        let before = plain(fact.before.clone().unwrap_or_default());
        let faults = [
            (fact.revision != known.revision + 1, "another revision is the next"),
            (before != known.standing, "it stood otherwise before"),
            ((fact.kind, fact.event_ms) != (known.kind, known.event_ms), "it is another outcome"),
            (fact.charged != self.charged(&known), "another amount is charged for it"),
            (fact.withdrawn && fact.cause() != RevisionCause::Adjusted, "it can't be withdrawn"),
            (!self.follows(fact, &known, &after), "it doesn't follow from what was found"),
        ];
        for (_, what) in faults.into_iter().filter(|(wrong, _)| *wrong) {
            let (outcome, revision) = (fact.outcome, fact.revision);
            self.faults.push(format!("{place}: revision {revision} of outcome {outcome}: {what}"));
        }
        let at_ms = place.at_ms;
        let (revision, charged) = (fact.revision, fact.charged);
        let viewer = fact.viewer;
        // Rows of revisions do not say what is of a history.
        let imported = false;
        let row = Newest { revision, charged, viewer, at_ms, imported, standing: after, ..known };
        self.put(fact.outcome, row);
    }

    /// Returns what is still charged for an outcome.
    fn charged(&self, known: &Newest) -> i64 {
        let billed = (known.viewer, known.charged_view, BillingEvent::Conversations as u32);
        let is_opening = known.kind == i32::from(Outcome::Conversation);
        if is_opening && self.invalid.contains_key(&billed) { 0 } else { known.charged }
    }

    /// Tells whether a revision is what its cause makes of the row before it.
    fn follows(&self, fact: &OutcomeRevised, known: &Newest, after: &Standing) -> bool {
        if matches!(fact.kind(), Outcome::FirstReply | Outcome::Qualified) {
            return self.follows_opening(known, after);
        }
        match fact.cause() {
            RevisionCause::Unspecified => false,
            RevisionCause::InvalidTraffic => {
                let is_left = |touch: &&PathTouch| !self.is_invalid(known.viewer, touch.view);
                let path: Vec<_> = known.standing.path.iter().filter(is_left).copied().collect();
                path.len() < known.standing.path.len() && stands(fact, known, after, path)
            }
            RevisionCause::LateTouch => {
                self.late.is_some_and(|late| follows_late(fact, known, after, &late))
            }
            RevisionCause::Adjusted if fact.withdrawn => *after == Standing::default(),
            RevisionCause::Adjusted => {
                let known = &known.standing;
                let restated = Standing { value: after.value.clone(), ..known.clone() };
                fact.kind() == Outcome::Conversion && *after == restated && after.value.is_some()
            }
        }
    }

    /// Tells whether a step stands as one of its conversation's openings does.
    fn follows_opening(&self, known: &Newest, after: &Standing) -> bool {
        let openings = self.openings.get(&known.conversation).into_iter().flatten();
        let mut openings = openings.filter_map(|outcome| self.newest.get(outcome));
        openings.any(|opening| {
            let showing = opening.standing.showing;
            let showing = showing.map(|showing| Showing { viewer: 0, feed: 0, ..showing });
            *after == Standing { showing, value: None, placement: 0, ..opening.standing.clone() }
        })
    }
}

/// Tells whether an outcome must be told anew for a touch: where that can be told without knowing what else the
/// viewer did, and the windows of ad sets.
fn owes(row: &Newest, late: &Late) -> bool {
    let Standing { showing, path, decline_reason, invalid, .. } = &row.standing;
    let theirs = row.account == late.showing.account && !row.imported;
    if !theirs || !late.valid || !late.is_near(row) || path.len() == TOUCHES_MAX {
        return false;
    }
    let known = path.iter().find(|touch| touch.view == late.showing.view);
    match (showing, late.kind) {
        (Some(_), TouchKind::EngagedView) => known.is_some_and(|it| it.kind() == TouchKind::View),
        (Some(_), _) => *invalid == 0 && known.is_none_or(|it| it.kind() != TouchKind::Tap),
        // Every ad set takes the taps of a day.
        (None, TouchKind::Tap) => *decline_reason != 0 && row.event_ms - late.event_ms <= DAY_MS,
        (None, _) => false,
    }
}

/// Tells whether a revision is what a touch makes of the row before it: only that showing is another on its path, and
/// the last touch earns it; or nobody had earned it, and now a path does that has the touch.
fn follows_late(fact: &OutcomeRevised, known: &Newest, after: &Standing, late: &Late) -> bool {
    let Showing { view, viewer, ad, ad_set, campaign, account, .. } = late.showing;
    let before = &known.standing;
    let may = account == known.account && viewer == fact.viewer && !known.imported;
    if !may || late.event_ms > known.event_ms {
        return false;
    }
    let told = after.path.iter().find(|touch| touch.view == view);
    let as_told = told.is_none_or(|touch| {
        let ms = [TouchKind::Tap, TouchKind::View].contains(&late.kind).then_some(late.event_ms);
        let ads = (touch.ad, touch.ad_set, touch.campaign) == (ad, ad_set, campaign);
        let is_it = touch.kind() == late.kind && !touch.proven && late.valid;
        // A view that was engaged before it was told again is still one; it stays where it was.
        ads && is_it && ms.is_none_or(|ms| ms == touch.event_ms)
    });
    if !as_told {
        return false;
    }
    if before.showing.is_none() {
        let reason = Standing { decline_reason: after.decline_reason, ..before.clone() };
        let only_why = *after == reason && after.decline_reason != 0 && before.invalid == 0;
        let sorted = after.path.is_sorted_by_key(|touch| (touch.event_ms, touch.view));
        let earned = told.is_some() && sorted && after.path.len() <= TOUCHES_MAX;
        return only_why || earned && stands(fact, known, after, after.path.clone());
    }
    let mut path: Vec<_> = before.path.iter().filter(|it| it.view != view).copied().collect();
    path.extend(told);
    path.sort_by_key(|touch| (touch.event_ms, touch.view));
    if path.len() > TOUCHES_MAX {
        let oldest = path.iter().position(|touch| !touch.proven).unwrap_or_default();
        path.remove(oldest);
    }
    // What is not told any more was a view, and its tap is invalid.
    let gone = told.is_none() && (late.valid || late.kind != TouchKind::Tap);
    !gone && path != before.path && before.invalid == 0 && stands(fact, known, after, path)
}

/// Tells whether an outcome stands as the touches that are left say: the last of them earns it, or nobody.
fn stands(fact: &OutcomeRevised, known: &Newest, after: &Standing, path: Vec<PathTouch>) -> bool {
    let showing = after.showing.unwrap_or_default();
    let same_worth = after.value == known.standing.value;
    let Some(touch) = winner(&path, fact.judged_ms) else {
        let why = (DeclineReason::FraudDetected.into(), InvalidReason::Invalidated.into());
        let told = after.showing.is_none() || after.showing == known.standing.showing;
        return same_worth
            && told
            && after.path.is_empty()
            && (after.decline_reason, after.invalid) == why;
    };
    let earned = (showing.view, showing.ad, showing.ad_set, showing.campaign, after.touch_ms);
    let earns = (touch.view, touch.ad, touch.ad_set, touch.campaign, touch.event_ms);
    same_worth
        && earned == earns
        && after.path == path
        && (after.decline_reason, after.invalid) == (0, 0)
}

/// Leaves out what no row says.
fn plain(standing: Standing) -> Standing {
    let plain = |showing| Showing { business: 0, issued_s: 0, ..showing };
    Standing { showing: standing.showing.map(plain), ..standing }
}

fn of_match(fact: &ClickMatched) -> Newest {
    let touches = (&fact.showing, &fact.path[..], fact.touch_ms);
    let standing = standing(touches, (fact.match_kind, fact.invalid), None, fact.context.as_ref());
    Newest {
        kind: Outcome::Conversation.into(),
        conversation: fact.conversation,
        viewer: fact.showing.map_or(0, |showing| showing.viewer),
        account: fact.showing.map_or(0, |showing| showing.account),
        event_ms: fact.event_ms,
        charged: charged(fact),
        charged_view: fact.showing.map_or(0, |showing| showing.view),
        imported: fact.imported,
        standing,
        ..Newest::default()
    }
}

fn of_conversion(fact: &ConversionCredited) -> Newest {
    let touches = (&fact.showing, &fact.path[..], fact.touch_ms);
    let told = (fact.match_kind, fact.invalid);
    let standing = standing(touches, told, fact.value.as_ref(), fact.context.as_ref());
    Newest {
        kind: Outcome::Conversion.into(),
        conversation: fact.conversation,
        viewer: fact.showing.map_or(0, |showing| showing.viewer),
        account: fact.showing.map_or(0, |showing| showing.account),
        event_ms: fact.event_ms,
        imported: fact.imported,
        standing,
        ..Newest::default()
    }
}

fn of_step(fact: &StepCredited) -> Newest {
    let standing = Standing {
        showing: fact.showing.map(|showing| Showing { viewer: 0, feed: 0, ..showing }),
        touch_ms: fact.touch_ms,
        path: fact.path.clone(),
        match_kind: fact.match_kind,
        ..Standing::default()
    };
    Newest {
        kind: fact.kind,
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        standing: plain(standing),
        ..Newest::default()
    }
}

fn of_decline(fact: &OutcomeDeclined) -> Newest {
    let standing = Standing {
        value: fact.value.clone(),
        match_kind: fact.match_kind,
        decline_reason: fact.reason,
        invalid: fact.invalid,
        ..Standing::default()
    };
    Newest {
        kind: fact.kind,
        viewer: fact.viewer,
        account: fact.account,
        conversation: fact.conversation,
        event_ms: fact.event_ms,
        imported: fact.imported,
        standing,
        ..Newest::default()
    }
}

/// Returns how a fact that credits a showing stands. Of an invalid click there is no path, and it is fraud unless
/// it was a test.
fn standing(
    (showing, touches, touch_ms): (&Option<Showing>, &[PathTouch], i64),
    (match_kind, invalid): (i32, i32),
    value: Option<&Money>,
    context: Option<&ViewContext>,
) -> Standing {
    let is_fraud = invalid != 0 && invalid != i32::from(InvalidReason::Sandbox);
    let fraud = if is_fraud { DeclineReason::FraudDetected.into() } else { 0 };
    let valid = || path(touches, showing.as_ref(), touch_ms);
    plain(Standing {
        showing: *showing,
        touch_ms,
        path: if invalid == 0 { valid() } else { Vec::new() },
        value: value.cloned(),
        match_kind,
        decline_reason: fraud,
        invalid,
        placement: context.map_or(0, |context| context.placement),
    })
}

impl Recount {
    /// Counts a revision: the row, and what its ads lose and gain in the hour of the outcome.
    pub(super) fn revise(&mut self, place: Place, fact: &OutcomeRevised) {
        let after = fact.after.as_ref();
        let ad = after.and_then(|after| after.showing).map_or(0, |showing| showing.ad);
        let (revision, charged) = (fact.revision, fact.charged);
        self.push(place, CreditRow { revision, ad, charged, outcome: fact.outcome, ..place.row() });
        for (by, standing) in [(-1, &fact.before), (1, &fact.after)] {
            let Some(standing) = standing.as_ref().filter(|standing| standing.invalid == 0) else {
                continue;
            };
            let Some(showing) = standing.showing else { continue };
            let (kind, ms) = (fact.kind(), fact.event_ms);
            let change = |count: &mut u64| *count = count.saturating_add_signed(by);
            match kind {
                Outcome::Unspecified | Outcome::Qualified => {}
                Outcome::Conversation => change(&mut self.ad(showing.ad, ms).conversations),
                Outcome::FirstReply => change(&mut self.ad(showing.ad, ms).first_replies),
                Outcome::Conversion => self.sell(by, (showing.ad, ms), standing.value.as_ref()),
            }
        }
    }
}
