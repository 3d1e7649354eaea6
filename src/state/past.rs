//! What was imported of one viewer: touches that another system has counted, remembered by when they happened.
//!
//! They lie beside what was served here: caps, rules of invalid traffic and selection never see them.

use serde::{Deserialize, Serialize};

use crate::state::viewers::Flags;
use crate::types::proto::journal::v1::{ImpressionSeen, Showing, Tapped};
use crate::types::proto::v1::EventKind;
use crate::types::time::{DAY_MS, Moment};

/// How long after it happened an imported touch is remembered. Older events are refused, so none counts twice.
pub const PAST_MEMORY_MS: i64 = 90 * DAY_MS;

/// Most imported touches of one viewer; further ones are refused, not forgotten.
pub const PAST_TOUCHES_MAX: usize = 4_096;

/// An impression, or a tap.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PastTouch {
    /// Its id: a hash of account, type and event id, in the viewer's shard.
    pub view: u64,
    /// The ad.
    pub ad: u64,
    /// Of a tap: the impression that was tapped; 0: not told, or it is none.
    pub tapped_view: u64,
    /// When it happened, milliseconds.
    pub event_ms: i64,
    flags: Flags,
}

impl PastTouch {
    /// Tells whether something of this kind was counted of it.
    pub const fn has(&self, kind: EventKind) -> bool {
        self.flags.has(kind)
    }

    /// Tells whether it is a tap.
    pub const fn is_tap(&self) -> bool {
        self.flags.has(EventKind::Tap)
    }
}

/// All that was imported of one viewer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Past {
    /// Ascending by id.
    touches: Vec<PastTouch>,
}

impl Past {
    /// Returns all touches, ascending by id.
    pub fn touches(&self) -> &[PastTouch] {
        &self.touches
    }

    /// Returns the touch with this id.
    pub fn touch(&self, view: u64) -> Option<&PastTouch> {
        let at = self.touches.binary_search_by_key(&view, |touch| touch.view);
        at.ok().map(|at| &self.touches[at])
    }

    /// Returns the taps.
    pub fn taps(&self) -> impl Iterator<Item = &PastTouch> {
        self.touches.iter().filter(|touch| touch.is_tap())
    }

    /// Returns the impressions that no tap names.
    pub fn untapped(&self) -> impl Iterator<Item = &PastTouch> {
        let mut tapped: Vec<u64> = self.taps().map(|tap| tap.tapped_view).collect();
        tapped.sort_unstable();
        let views = self.touches.iter().filter(|touch| !touch.is_tap());
        views.filter(move |view| tapped.binary_search(&view.view).is_err())
    }

    pub(in crate::state) fn see(&mut self, fact: &ImpressionSeen, showing: &Showing) {
        self.add(showing, EventKind::Impression, fact.event_ms, 0);
    }

    pub(in crate::state) fn tap(&mut self, fact: &Tapped, showing: &Showing) {
        self.add(showing, EventKind::Tap, fact.event_ms, fact.tapped_view);
    }

    pub(in crate::state) fn mark(&mut self, view: u64, kind: EventKind) {
        if let Ok(at) = self.touches.binary_search_by_key(&view, |touch| touch.view) {
            self.touches[at].flags.set(kind);
        }
    }

    fn add(&mut self, showing: &Showing, kind: EventKind, event_ms: i64, tapped_view: u64) {
        let Showing { view, ad, .. } = *showing;
        let mut flags = Flags::default();
        flags.set(kind);
        let at = self.touches.binary_search_by_key(&view, |touch| touch.view);
        let Err(at) = at else { return };
        if self.touches.len() == self.touches.capacity() {
            // Millions of viewers have a few touches each: twice the room would be half of the memory.
            self.touches.reserve_exact(1 + self.touches.len() / 4);
        }
        self.touches.insert(at, PastTouch { view, ad, tapped_view, event_ms, flags });
    }

    /// Forgets what is past its memory; tells whether anything is left.
    pub(in crate::state) fn sweep(&mut self, at: Moment) -> bool {
        let from = at.plus_ms(-PAST_MEMORY_MS).0;
        self.touches.retain(|touch| touch.event_ms >= from);
        !self.touches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: u64) -> Showing {
        Showing { view, ad: 10 + view, ..Showing::default() }
    }

    fn seen(event_ms: i64) -> ImpressionSeen {
        ImpressionSeen { event_ms, ..ImpressionSeen::default() }
    }

    #[test]
    fn touches_are_found_by_their_ids_whatever_order_they_came_in() {
        let mut past = Past::default();
        for view in [5_u64, 1, 9, 3, 7] {
            past.see(&seen(view.cast_signed()), &shown(view));
        }
        past.see(&seen(99), &shown(5));
        let views: Vec<u64> = past.touches().iter().map(|touch| touch.view).collect();
        assert_eq!(views, [1, 3, 5, 7, 9]);
        assert_eq!(past.touch(5).map(|touch| (touch.ad, touch.event_ms)), Some((15, 5)));
        assert_eq!(past.touch(4), None);
        past.mark(7, EventKind::Video50);
        past.mark(4, EventKind::Video50);
        assert!(past.touch(7).unwrap().has(EventKind::Video50));
        assert!(!past.touch(9).unwrap().has(EventKind::Video50));
    }

    #[test]
    fn a_view_that_was_tapped_is_a_tap_though_the_tap_came_first() {
        let mut past = Past::default();
        past.tap(&Tapped { event_ms: 8, tapped_view: 2, ..Tapped::default() }, &shown(1));
        past.see(&seen(7), &shown(2));
        past.see(&seen(7), &shown(3));
        let untapped: Vec<u64> = past.untapped().map(|view| view.view).collect();
        assert_eq!(untapped, [3]);
        assert_eq!(past.taps().map(|tap| tap.view).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_touch_is_forgotten_by_when_it_happened() {
        let mut past = Past::default();
        past.see(&seen(0), &shown(1));
        past.see(&seen(1), &shown(2));
        assert!(past.sweep(Moment(PAST_MEMORY_MS)));
        assert_eq!(past.touches().len(), 2);
        assert!(past.sweep(Moment(PAST_MEMORY_MS + 1)));
        assert_eq!(past.touches().len(), 1);
        assert!(!past.sweep(Moment(PAST_MEMORY_MS + 2)));
    }
}
