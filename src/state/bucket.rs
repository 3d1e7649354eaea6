//! One bucket of viewers, conversations and conversions: what is copied at once by a checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::chats::{CHAT_MEMORY_MS, Chat};
use crate::state::exposures::{Exposure, Measured};
use crate::state::kinds::catalog_kinds;
use crate::state::past::Past;
use crate::state::sorted::Sorted;
use crate::state::viewers::{TOUCH_MEMORY_MS, Viewer};
use crate::state::{Map, Stamp, is_imported};
use crate::types::hash::fnv1a;
use crate::types::ids::Seq;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ConversationOpened, Converted, GhostNoted, ImpressionSeen, OutcomeDeclined, OutcomeNoted,
    OutcomeRevised, ReferralNoted, Showing, TouchRevised,
};
use crate::types::proto::v1::{EventKind, Outcome};
use crate::types::time::{DAY_MS, Moment};

/// A conversion's id is remembered for this long; older conversions are refused.
pub const CONVERSION_MEMORY_MS: i64 = 90 * DAY_MS;

/// That a viewer was erased is remembered for this long: until nothing that was handed out before can be reported.
pub const ERASED_MEMORY_MS: i64 = TOUCH_MEMORY_MS;

/// Something that waits to be credited or declined where the viewer lives.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Outgoing {
    /// An opening with a proof, or whose viewer was told.
    Opened(#[serde(with = "crate::state::wire::message")] ConversationOpened),
    /// A conversion with a proof, or whose viewer was told.
    Converted(#[serde(with = "crate::state::wire::message")] Converted),
}

/// A person's other name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alias {
    /// The conversation that goes on under it. Never an alias itself.
    pub same_as: u64,
    /// The journal's time at which it was last told.
    pub at_ms: i64,
}

/// A conversion that was counted, or an imported conversation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct KnownConversion {
    /// Hash of its content: the same id with other content is refused.
    pub content: u64,
    /// The journal's time of it.
    pub at_ms: i64,
}

/// Viewers, conversations and conversions whose ids share their first 16 bits.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Bucket {
    applied: u64,
    swept_hour: u32,
    /// By viewer number.
    pub viewers: Sorted<Viewer>,
    /// By conversation id.
    pub chats: Map<u64, Chat>,
    /// Names under which conversations go on, by the conversation that the name would make.
    pub aliases: Map<u64, Alias>,
    /// By outcome.
    pub conversions: Map<u64, KnownConversion>,
    /// What was imported of viewers, by their numbers.
    pub past: Map<u64, Past>,
    /// What experiments measure, by viewer number.
    pub measured: Map<u64, Measured>,
    /// What waits for its viewer's shard, by outcome.
    pub outbox: BTreeMap<u64, Outgoing>,
    /// Openings that were revised here and whose conversations don't know it yet, with their viewers.
    pub revised: BTreeMap<u64, u64>,
    /// When viewers were erased, by their numbers, milliseconds of the journal's time.
    pub erased: BTreeMap<u64, i64>,
}

impl Bucket {
    /// Returns the last fact of its shard that was applied here.
    pub fn applied(&self) -> Seq {
        Seq(self.applied)
    }

    /// Applies a fact that touches this bucket, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if stamp.seq.0 <= self.applied {
            return;
        }
        self.applied = stamp.seq.0;
        self.sweep(stamp.at);
        if is_imported(fact) && self.keep_past(stamp.at, fact) {
            return;
        }
        match fact {
            Kind::ImpressionSeen(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.see(fact, showing, stamp.at));
                self.expose_seen(fact);
            }
            Kind::GhostNoted(fact) => self.haunt(fact),
            Kind::OutcomeNoted(fact) => self.note(fact, stamp.at),
            Kind::Watched(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.watch(fact, showing));
            }
            Kind::Tapped(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.tap(fact, showing, stamp.at));
            }
            Kind::FeedbackGiven(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.give_feedback(fact, showing));
            }
            Kind::ClickMatched(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.open(fact, showing, stamp.at));
            }
            Kind::ConversionCredited(fact) => {
                self.with(&fact.showing, |viewer, showing| viewer.convert(fact, showing, stamp.at));
            }
            Kind::EventCredited(fact) => {
                self.with_known(&fact.showing, |viewer, view| viewer.invalidate(view));
            }
            Kind::OutcomeDeclined(fact) => self.miss(fact, stamp.at),
            Kind::OutcomeRevised(fact) => self.revise(fact),
            Kind::ViewerErased(fact) => self.erase(fact.viewer, stamp.at),
            Kind::RevisionSettled(fact) => drop(self.revised.remove(&fact.outcome)),
            Kind::TouchRevised(fact) => self.revise_touch(fact),
            Kind::ConversationOpened(fact) => {
                self.chats.entry(fact.conversation).or_default().open(fact, stamp.at);
                self.send(Outgoing::Opened(*fact));
            }
            Kind::ContactMoved(fact) => {
                let alias = Alias { same_as: fact.same_as, at_ms: stamp.at.0 };
                self.aliases.insert(fact.conversation, alias);
            }
            Kind::ReferralNoted(fact) => self.refer(fact),
            Kind::MessageRecorded(fact) => {
                self.chats.entry(fact.conversation).or_default().hear(fact, stamp.at);
            }
            Kind::MessagePriced(fact) => {
                self.chats.entry(fact.conversation).or_default().price(fact, stamp.at);
            }
            Kind::Converted(fact) => self.convert(fact, stamp.at),
            Kind::OutboxSettled(fact) => {
                self.outbox.remove(&fact.outcome);
                self.chats.get_mut(&fact.conversation).into_iter().for_each(|it| it.settle(fact));
            }
            catalog_kinds!()
            | Kind::Funded(_)
            | Kind::Granted(_)
            | Kind::ServedMinute(_)
            | Kind::ConversionsPushed(_)
            | Kind::SourceTapped(_)
            | Kind::StepCredited(_) => {}
        }
    }

    /// Returns how many openings of a conversation are on their way to their viewers.
    pub fn waiting(&self, chat: &Chat) -> usize {
        chat.openings.iter().filter(|opening| self.outbox.contains_key(opening)).count()
    }

    /// Tells whether a viewer was exposed in an experiment, or would have been.
    pub fn is_exposed(&self, viewer: u64, experiment: u32) -> bool {
        self.measured.get(&viewer).is_some_and(|known| known.is_exposed(experiment))
    }

    /// Tells whether an outcome of a viewer is to be noted: it was not yet, and there is room for it.
    pub fn may_note(&self, viewer: u64, outcome: u64) -> bool {
        let known = self.measured.get(&viewer);
        known.is_none_or(|known| !known.is_full() && !known.has_noted(outcome))
    }

    /// Tells whether anything of a viewer is remembered.
    pub fn knows(&self, viewer: u64) -> bool {
        self.viewers.contains_key(&viewer)
            || self.past.contains_key(&viewer)
            || self.measured.contains_key(&viewer)
    }

    /// Tells whether a viewer was erased since something was handed out to it, at this second.
    pub fn was_erased_since(&self, viewer: u64, issued_s: u32) -> bool {
        let erased_ms = self.erased.get(&viewer);
        erased_ms.is_some_and(|erased_ms| Moment::from_seconds(issued_s).0 <= *erased_ms)
    }

    /// Tells whether an outcome may be credited to a click: an erased viewer's only if it was reported since. View 0
    /// names no click.
    pub fn may_claim(&self, viewer: u64, view: u64) -> bool {
        if view == 0 || !self.erased.contains_key(&viewer) {
            return true;
        }
        let known = self.viewers.get(&viewer);
        known.is_some_and(|known| known.touch(view).is_some() || known.view(view).is_some())
    }

    fn erase(&mut self, viewer: u64, at: Moment) {
        self.viewers.remove(&viewer);
        self.past.remove(&viewer);
        self.measured.remove(&viewer);
        self.erased.insert(viewer, at.0);
    }

    /// Puts into the outbox what is claimed for an ad, or whose viewer was told.
    fn send(&mut self, outgoing: Outgoing) {
        let (outcome, proof, viewer) = match &outgoing {
            Outgoing::Opened(fact) => (fact.outcome, fact.proof, fact.told_viewer),
            Outgoing::Converted(fact) => (fact.outcome, fact.proof, fact.told_viewer),
        };
        if proof.is_some() || viewer != 0 {
            self.outbox.insert(outcome, outgoing);
        }
    }

    fn note(&mut self, fact: &OutcomeNoted, at: Moment) {
        self.measured.entry(fact.viewer).or_default().note(fact, at);
    }

    fn expose_seen(&mut self, fact: &ImpressionSeen) {
        if fact.experiment != 0 && fact.invalid == 0 {
            self.expose(fact.showing, fact.experiment, fact.control, fact.event_ms);
        }
    }

    fn haunt(&mut self, fact: &GhostNoted) {
        self.expose(fact.showing, fact.experiment, true, fact.event_ms);
    }

    fn expose(&mut self, showing: Option<Showing>, experiment: u32, control: bool, first_ms: i64) {
        let Some(Showing { viewer, account, .. }) = showing else { return };
        let exposure = Exposure { experiment, control, account, first_ms, ..Exposure::default() };
        self.measured.entry(viewer).or_default().expose(exposure);
    }

    fn convert(&mut self, fact: &Converted, at: Moment) {
        let known = KnownConversion { content: content_of(fact), at_ms: at.0 };
        self.conversions.insert(fact.outcome, known);
        self.send(Outgoing::Converted(fact.clone()));
    }

    /// Changes the viewer of a showing, new if unknown, and moves its version on.
    fn with(&mut self, showing: &Option<Showing>, change: impl FnOnce(&mut Viewer, &Showing)) {
        let Some(showing) = showing else { return };
        let viewer = self.viewers.or_default(showing.viewer);
        viewer.version = viewer.version.wrapping_add(1);
        change(viewer, showing);
    }

    /// Remembers what none of a viewer's touches has earned.
    fn miss(&mut self, fact: &OutcomeDeclined, at: Moment) {
        if fact.viewer != 0 {
            let viewer = self.viewers.or_default(fact.viewer);
            viewer.version = viewer.version.wrapping_add(1);
            viewer.miss(fact, at);
        }
    }

    fn revise(&mut self, fact: &OutcomeRevised) {
        if let Some(viewer) = self.viewers.get_mut(&fact.viewer) {
            viewer.version = viewer.version.wrapping_add(1);
            viewer.revise(fact);
        }
        if fact.kind() == Outcome::Conversation {
            self.revised.insert(fact.outcome, fact.viewer);
        }
    }

    fn refer(&mut self, fact: &ReferralNoted) {
        self.chats.get_mut(&fact.conversation).into_iter().for_each(|it| it.refer(fact));
    }

    fn revise_touch(&mut self, fact: &TouchRevised) {
        let chat = self.chats.get_mut(&fact.conversation);
        chat.into_iter().zip(&fact.touch).for_each(|(chat, touch)| chat.revise(touch));
    }

    /// Changes the viewer of a showing if it is remembered, and moves its version on.
    fn with_known(&mut self, showing: &Option<Showing>, change: impl FnOnce(&mut Viewer, u64)) {
        let Some(showing) = showing else { return };
        if let Some(viewer) = self.viewers.get_mut(&showing.viewer) {
            viewer.version = viewer.version.wrapping_add(1);
            change(viewer, showing.view);
        }
    }

    /// Keeps what was imported beside what happens here, where the two differ. Tells whether that is all.
    fn keep_past(&mut self, at: Moment, fact: &Kind) -> bool {
        match fact {
            Kind::ImpressionSeen(fact) => {
                self.with_past(&fact.showing, |past, showing| past.see(fact, showing));
            }
            Kind::Watched(fact) => {
                let kind = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
                self.with_past(&fact.showing, |past, showing| past.mark(showing.view, kind));
            }
            Kind::Tapped(fact) => {
                self.with_past(&fact.showing, |past, showing| past.tap(fact, showing));
            }
            Kind::ConversationOpened(fact) => {
                let known = KnownConversion { content: content_of_opening(fact), at_ms: at.0 };
                self.conversions.insert(fact.outcome, known);
                self.send(Outgoing::Opened(*fact));
            }
            _ => return false,
        }
        true
    }

    /// Changes what was imported of the viewer of a showing.
    fn with_past(&mut self, showing: &Option<Showing>, change: impl FnOnce(&mut Past, &Showing)) {
        let Some(showing) = showing else { return };
        change(self.past.entry(showing.viewer).or_default(), showing);
    }

    /// Forgets, once an hour of the journal's time, what is past its memory. The hour comes from the
    /// fact, so a replay forgets the same.
    fn sweep(&mut self, at: Moment) {
        if at.hour() <= self.swept_hour {
            return;
        }
        self.swept_hour = at.hour();
        self.viewers.retain(|_, viewer| viewer.sweep(at));
        self.past.retain(|_, past| past.sweep(at));
        self.measured.retain(|_, measured| measured.sweep(at));
        self.chats.retain(|_, chat| !chat.is_over(at));
        let aliases_from = at.plus_ms(-CHAT_MEMORY_MS).0;
        self.aliases.retain(|_, alias| alias.at_ms >= aliases_from);
        let from = at.plus_ms(-CONVERSION_MEMORY_MS).0;
        self.conversions.retain(|_, known| known.at_ms >= from);
        let erased_from = at.plus_ms(-ERASED_MEMORY_MS).0;
        self.erased.retain(|_, erased_ms| *erased_ms >= erased_from);
    }
}

/// Returns a number that differs, but for chance, when a conversion's content does:
/// it tells a caller's mistake from a repeat.
pub fn content_of(fact: &Converted) -> u64 {
    let (micros, currency) =
        fact.value.as_ref().map_or((0, ""), |value| (value.micros, value.currency.as_str()));
    fnv1a(fact.name.bytes().chain([0]).chain(currency.bytes()).chain(micros.to_le_bytes()))
}

/// Returns the same of an imported conversation: whom it is of.
pub fn content_of_opening(fact: &ConversationOpened) -> u64 {
    fact.proof.map_or(0, |proof| proof.viewer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::Shard;
    use crate::types::proto::journal::v1::{Tapped, ViewerErased};
    use crate::types::time::{HOUR_MS, SECOND_MS};

    const VIEWER: u64 = 7;

    fn at(seq: u64, at_ms: i64) -> Stamp {
        Stamp { shard: Shard::new(0).unwrap(), seq: Seq(seq), at: Moment(at_ms) }
    }

    fn tapped(view: u64) -> Kind {
        let showing = Some(Showing { viewer: VIEWER, view, ad: 1, ..Showing::default() });
        Kind::Tapped(Tapped { showing, ..Tapped::default() })
    }

    #[test]
    fn an_erased_viewer_is_forgotten_and_so_is_what_it_was_handed_before() {
        let mut bucket = Bucket::default();
        let began = 100 * DAY_MS;
        bucket.apply(at(1, began), &tapped(3));
        assert!(bucket.knows(VIEWER) && bucket.may_claim(VIEWER, 4), "a tap may be implied");
        let showing = Some(Showing { viewer: VIEWER, view: 4, ..Showing::default() });
        bucket.expose(showing, 1, false, began);
        let erased = began + HOUR_MS;
        bucket.apply(at(2, erased), &Kind::ViewerErased(ViewerErased { viewer: VIEWER }));
        assert!(!bucket.knows(VIEWER) && !bucket.is_exposed(VIEWER, 1));
        let second = |ms: i64| (ms / SECOND_MS) as u32;
        assert!(bucket.was_erased_since(VIEWER, second(erased)));
        assert!(!bucket.was_erased_since(VIEWER, second(erased) + 1));
        assert!(!bucket.was_erased_since(VIEWER + 1, 0));
        assert!(!bucket.may_claim(VIEWER, 3) && bucket.may_claim(VIEWER, 0));
        bucket.apply(at(3, erased + HOUR_MS), &tapped(5));
        assert!(bucket.knows(VIEWER) && bucket.may_claim(VIEWER, 5), "it begins anew");
        assert!(!bucket.may_claim(VIEWER, 3));
        let last = erased + ERASED_MEMORY_MS;
        bucket.apply(at(4, last + HOUR_MS), &tapped(6));
        assert!(bucket.erased.is_empty(), "nothing of before can be reported any more");
    }
}
