//! One viewer: what was shown and done lately, caps, and what was hidden.

mod caps;
mod revised;
mod touch;
#[cfg(test)]
mod unpacked;

use serde::{Deserialize, Serialize};

pub use caps::CapCount;
pub use revised::{ENGAGING, touch_of_standing};
pub use touch::{
    CREDITED_MAX, CREDITED_OF_ACCOUNT_MAX, Credited, Hidden, MISSED_MAX, TOUCHES_MAX, Told, Touch,
};
#[cfg(test)]
pub(crate) use unpacked::Unpacked;

pub use crate::types::shown::{Flags, View, Views};

use crate::state::chats::StoredTouch;
use crate::state::context::{Context, context_of_view};
use crate::state::past::PAST_MEMORY_MS;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversationTouch, ConversionCredited, FeedbackGiven, ImpressionSeen, Showing,
    Tapped, ViewContext,
};
use crate::types::proto::v1::{CapEvent, EventKind, InvalidReason};
use crate::types::request::SHOW_BY_S_MAX;
use crate::types::shown::DAY_BYTES_MAX;
use crate::types::time::{DAY_MS, HOUR_MS, Moment, SECOND_MS};

/// How long a showing is remembered: until no token of it opens any more (24 hours after `show_by`,
/// which is at most 15 minutes after it was issued).
pub const VIEW_MEMORY_MS: i64 = 25 * HOUR_MS;

/// How long a tap is remembered: the longest click window (28 days) and a day for late reports.
pub const TOUCH_MEMORY_MS: i64 = 29 * DAY_MS;

/// Most capped ad sets that are counted for one viewer at a time. A full record refuses further
/// capped ads; it never forgets.
pub const CAPPED_AD_SETS_MAX: usize = 16;

/// Most showings remembered for one viewer; further ones are refused, not forgotten.
pub const VIEWS_MAX: usize = 1_024;

/// Most hidden ads and businesses of one viewer.
pub const HIDDEN_MAX: usize = 256;

impl Flags {
    pub(in crate::state) const fn set(&mut self, kind: EventKind) {
        self.0 |= 1 << kind as u16;
    }

    fn clear(&mut self, kind: EventKind) {
        self.0 &= !(1 << kind as u16);
    }
}

impl View {
    /// Returns why it is invalid traffic; `None`: it is valid.
    pub fn invalid(&self) -> Option<InvalidReason> {
        reason_of(self.invalid)
    }
}

/// Returns the reason with this number; `None`: it is 0, or of a later version.
fn reason_of(number: u8) -> Option<InvalidReason> {
    let reason = InvalidReason::try_from(i32::from(number)).ok();
    reason.filter(|reason| *reason != InvalidReason::Unspecified)
}

/// Most bytes of an active viewer: its place in the bucket and the showings of a mean day. Taps, counts of caps, what
/// is hidden and what was credited come on top, of the few who have them.
pub const ACTIVE_VIEWER_BYTES_MAX: usize = 320;

/// All that is known of one viewer. Most have showings and nothing else.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Viewer {
    /// Changes with every fact: whoever selects from a copy checks it before reserving.
    pub version: u32,
    /// No remembered showing was handed out before this second: most sweeps need not unpack them.
    oldest_s: u32,
    #[serde(with = "crate::state::wire::views")]
    views: Views,
    rest: Option<Box<Rest>>,
}

// A sorted map has a sixteenth of its places to spare in the mean, where an eighth is added when it is full.
const _: () =
    assert!(size_of::<(u64, Viewer)>() * 17 / 16 + DAY_BYTES_MAX <= ACTIVE_VIEWER_BYTES_MAX);

/// What few viewers have.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Rest {
    touches: Vec<Touch>,
    /// Ascending by ad set and event.
    caps: Vec<CapCount>,
    hidden: Vec<Hidden>,
    credited: Vec<Credited>,
}

impl Viewer {
    /// Returns recent showings that were seen, oldest first.
    pub const fn views(&self) -> &Views {
        &self.views
    }

    /// Returns taps inside the longest window, oldest first.
    pub fn touches(&self) -> &[Touch] {
        self.rest.as_ref().map_or(&[], |rest| &rest.touches)
    }

    /// Returns the events on capped ad sets within their intervals, ascending by ad set and event.
    pub fn caps(&self) -> &[CapCount] {
        self.rest.as_ref().map_or(&[], |rest| &rest.caps)
    }

    /// Returns what is hidden.
    pub fn hidden(&self) -> &[Hidden] {
        self.rest.as_ref().map_or(&[], |rest| &rest.hidden)
    }

    /// Returns the outcomes credited to the viewer's touches, each once, and those that none has earned yet.
    pub fn credited(&self) -> &[Credited] {
        self.rest.as_ref().map_or(&[], |rest| &rest.credited)
    }

    /// Returns the bytes that the viewer has allocated, its place in the bucket not counted, nor the paths of
    /// credited conversations.
    pub fn allocated_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| {
            let hours = rest.caps.iter().map(|cap| cap.hours.capacity() * size_of::<(u32, u16)>());
            size_of::<Rest>()
                + rest.touches.capacity() * size_of::<Touch>()
                + rest.caps.capacity() * size_of::<CapCount>()
                + rest.hidden.capacity() * size_of::<Hidden>()
                + rest.credited.capacity() * size_of::<Credited>()
                + hours.sum::<usize>()
        });
        self.views.bytes().len() + rest
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Returns the showing with this id.
    pub fn view(&self, view: u64) -> Option<View> {
        self.views.find(view)
    }

    /// Returns the tap with this click id.
    pub fn touch(&self, view: u64) -> Option<&Touch> {
        self.touches().iter().rev().find(|known| known.view == view)
    }

    /// Returns where and to whom a showing was, by its tap or its view; `None`: neither is remembered.
    pub fn context_of(&self, view: u64) -> Option<ViewContext> {
        let of_touch = self.touch(view).map(|touch| touch.context);
        of_touch.or_else(|| self.view(view).map(|view| view.context)).map(Context::wire)
    }

    /// Returns an outcome that was credited to one of the viewer's touches.
    pub fn credit_of(&self, outcome: u64) -> Option<&Credited> {
        self.credited().iter().rev().find(|credited| credited.outcome == outcome)
    }

    /// Tells whether a tap on an ad of this campaign is remembered that was valid when it was told: people are
    /// counted then, and not again.
    pub fn has_tapped(&self, campaign: u64) -> bool {
        self.touches().iter().any(|touch| touch.campaign == campaign && touch.was_valid())
    }

    /// Tells whether a conversion is remembered that was first credited to this campaign: people are counted then,
    /// and not again.
    pub fn has_converted(&self, campaign: u64) -> bool {
        self.credited().iter().any(|credited| credited.campaign == campaign)
    }

    /// Returns the events of one kind on a capped ad set within an interval.
    pub fn counted(&self, ad_set: u64, event: CapEvent, interval_hours: u16, now: Moment) -> u32 {
        let place = (ad_set, event as u8);
        let caps = self.caps();
        let known = caps.binary_search_by_key(&place, |cap| (cap.ad_set, cap.event));
        known.map_or(0, |index| caps[index].within(interval_hours, now))
    }

    pub(in crate::state) fn see(&mut self, fact: &ImpressionSeen, showing: &Showing, at: Moment) {
        let mut flags = Flags::default();
        flags.set(EventKind::Impression);
        let oldest_s = if self.views.is_empty() { u32::MAX } else { self.oldest_s };
        self.oldest_s = oldest_s.min(showing.issued_s);
        self.views.push(&View {
            view: showing.view,
            ad: showing.ad,
            business: showing.business,
            category: fact.category,
            issued_s: showing.issued_s,
            feed: showing.feed,
            flags,
            // Without the device's word the journal's time was taken.
            timed: fact.event_ms != at.0,
            invalid: fact.invalid as u8,
            engaged_after_ms: 0,
            seen_ms: fact.event_ms,
            context: Context::of(&context_of_view(fact)),
        });
        self.count_cap(showing.ad_set, CapEvent::Impressions, fact.cap_hours, at);
    }

    /// Counts an event on an ad set whose caps on it reach back that many hours; 0: it has none.
    fn count_cap(&mut self, ad_set: u64, event: CapEvent, longest_hours: u32, at: Moment) {
        if longest_hours == 0 {
            return;
        }
        let (event, interval_hours) = (event as u8, longest_hours as u16);
        let place = (ad_set, event);
        let caps = &mut self.rest_mut().caps;
        let known = caps.binary_search_by_key(&place, |cap| (cap.ad_set, cap.event));
        let index = known.unwrap_or_else(|index| {
            let hours = Vec::new();
            caps.insert(index, CapCount { ad_set, event, interval_hours, hours });
            index
        });
        let cap = &mut caps[index];
        cap.interval_hours = interval_hours;
        let from = at.hour().saturating_sub(u32::from(interval_hours));
        cap.hours.retain(|(hour, _)| *hour >= from);
        match cap.hours.last_mut() {
            Some((hour, count)) if *hour == at.hour() => *count = count.saturating_add(1),
            _ => cap.hours.push((at.hour(), 1)),
        }
    }

    pub(in crate::state) fn mark(&mut self, view: u64, kind: EventKind) {
        self.views.mark(view, kind);
    }

    pub(in crate::state) fn tap(&mut self, fact: &Tapped, showing: &Showing, at: Moment) {
        self.mark(showing.view, EventKind::Tap);
        self.count_cap(showing.ad_set, CapEvent::Taps, fact.cap_hours, at);
        self.rest_mut().touches.push(Touch {
            endpoint: fact.endpoint,
            told: Told::new(false, fact.invalid),
            invalid: fact.invalid as u8,
            country: fact.country as u16,
            tap_ms: fact.event_ms,
            conversation_price: fact.conversation_price,
            context: fact.context.as_ref().map(Context::of).unwrap_or_default(),
            ..Touch::of(showing)
        });
    }

    pub(in crate::state) fn give_feedback(&mut self, fact: &FeedbackGiven, showing: &Showing) {
        let hide = |id, business| Hidden { id, business, view: showing.view };
        let kind = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
        match kind {
            EventKind::HideBusiness => self.rest_mut().hidden.push(hide(showing.business, true)),
            EventKind::HideAd | EventKind::Report => {
                self.rest_mut().hidden.push(hide(showing.ad, false))
            }
            EventKind::Undo => {
                if let Some(rest) = &mut self.rest {
                    rest.hidden.retain(|hidden| hidden.view != showing.view);
                }
                return self.unmark(showing.view);
            }
            EventKind::Unspecified
            | EventKind::Impression
            | EventKind::Viewable
            | EventKind::Video25
            | EventKind::Video50
            | EventKind::Video75
            | EventKind::Video100
            | EventKind::Tap => {}
        }
        self.mark(showing.view, kind);
    }

    /// Takes back that a showing was hidden or reported.
    fn unmark(&mut self, view: u64) {
        if self.views.find(view).is_none() {
            return;
        }
        self.views.change(|views| {
            if let Some(known) = views.iter_mut().find(|known| known.view == view) {
                for undone in [EventKind::HideAd, EventKind::HideBusiness, EventKind::Report] {
                    known.flags.clear(undone);
                }
            }
        });
    }

    pub(in crate::state) fn convert(
        &mut self,
        fact: &ConversionCredited,
        showing: &Showing,
        at: Moment,
    ) {
        let campaign = if fact.invalid == 0 { showing.campaign } else { 0 };
        let ConversionCredited { outcome, event_ms, imported, .. } = *fact;
        let (at_ms, touch) = (at.0, None);
        self.rest_mut().credited.push(Credited {
            outcome,
            campaign,
            void: fact.invalid != 0,
            at_ms,
            event_ms,
            imported,
            touch,
        });
    }

    pub(in crate::state) fn open(&mut self, fact: &ClickMatched, showing: &Showing, at: Moment) {
        self.count_cap(showing.ad_set, CapEvent::Conversations, fact.cap_hours, at);
        if fact.implied_tap {
            self.mark(showing.view, EventKind::Tap);
            self.count_cap(showing.ad_set, CapEvent::Taps, fact.tap_cap_hours, at);
            self.rest_mut().touches.push(Touch {
                endpoint: fact.endpoint,
                told: Told::new(true, fact.invalid),
                invalid: fact.invalid as u8,
                tap_ms: fact.touch_ms,
                context: fact.context.as_ref().map(Context::of).unwrap_or_default(),
                ..Touch::of(showing)
            });
        }
        let is_it = |tap: &&mut Touch| tap.view == showing.view && tap.tap_ms == fact.touch_ms;
        let touches = self.rest.as_mut().map_or(&mut [][..], |rest| &mut rest.touches);
        let tapped = touches.iter_mut().find(is_it);
        // A conversation that a platform tells of may be credited to a tap that led to another before.
        if let Some(touch) = tapped.filter(|touch| touch.conversation == 0) {
            touch.conversation = fact.conversation;
        }
        let touch = Some(StoredTouch(ConversationTouch {
            campaign: showing.campaign,
            ad_set: showing.ad_set,
            ad: showing.ad,
            view: showing.view,
            match_kind: fact.match_kind,
            event_ms: fact.event_ms,
            invalid: fact.invalid,
            path: fact.path.clone(),
            outcome: fact.outcome,
            touch_ms: fact.touch_ms,
        }));
        let ClickMatched { outcome, event_ms, imported, .. } = *fact;
        let (campaign, at_ms) = (0, at.0);
        self.rest_mut().credited.push(Credited {
            outcome,
            campaign,
            void: false,
            at_ms,
            event_ms,
            imported,
            touch,
        });
    }

    /// Forgets what is past its memory; tells whether anything is left.
    pub(in crate::state) fn sweep(&mut self, at: Moment) -> bool {
        let views_from = at.plus_ms(-VIEW_MEMORY_MS).0;
        if Moment::from_seconds(self.oldest_s).0 < views_from {
            self.views.retain(|view| Moment::from_seconds(view.issued_s).0 >= views_from);
            let left = self.views.iter().map(|view| view.issued_s);
            self.oldest_s = left.min().unwrap_or_default();
        }
        if self.rest.as_mut().is_some_and(|rest| !rest.sweep(at)) {
            self.rest = None;
        }
        !self.views.is_empty() || self.rest.is_some()
    }
}

impl Rest {
    /// Forgets what is past its memory; tells whether anything is left.
    fn sweep(&mut self, at: Moment) -> bool {
        let touches_from = at.plus_ms(-TOUCH_MEMORY_MS).0;
        self.touches.retain(|touch| touch.tap_ms >= touches_from);
        let past_from = at.plus_ms(-PAST_MEMORY_MS).0;
        self.credited.retain(|credited| {
            let in_past = credited.imported && credited.event_ms >= past_from;
            in_past || credited.at_ms >= touches_from
        });
        self.caps.retain(|cap| !cap.is_over(at));
        let rest = self.caps.len() + self.hidden.len() + self.credited.len();
        self.touches.len() + rest > 0
    }
}

// A token of a showing that was forgotten must not open any more: 24 hours and `show_by` at most.
const _: () = assert!(VIEW_MEMORY_MS >= DAY_MS + SHOW_BY_S_MAX as i64 * SECOND_MS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_counts_the_whole_first_hour_of_its_interval() {
        let mut viewer = Viewer::default();
        viewer.count_cap(7, CapEvent::Taps, 24, Moment(0));
        let taps = |ad_set, at| viewer.counted(ad_set, CapEvent::Taps, 24, at);
        assert_eq!(taps(7, Moment(25 * HOUR_MS - 1)), 1);
        assert_eq!(taps(7, Moment(25 * HOUR_MS)), 0);
        assert_eq!(taps(8, Moment(0)), 0);
        assert_eq!(viewer.counted(7, CapEvent::Impressions, 24, Moment(0)), 0);
    }

    #[test]
    fn a_sweep_forgets_a_showing_only_when_its_token_has_ended() {
        let showing = Showing { view: 1, ..Showing::default() };
        let mut viewer = Viewer::default();
        viewer.see(&ImpressionSeen::default(), &showing, Moment(0));
        assert!(viewer.sweep(Moment(VIEW_MEMORY_MS)));
        assert!(!viewer.sweep(Moment(VIEW_MEMORY_MS + 1)));
    }

    #[test]
    fn showings_are_forgotten_each_in_its_time_in_whatever_order_they_were_told() {
        let mut viewer = Viewer::default();
        for issued_s in [300, 100, 200] {
            let showing = Showing { view: issued_s.into(), issued_s, ..Showing::default() };
            viewer.see(&ImpressionSeen::default(), &showing, Moment(400_000));
        }
        let left = |viewer: &mut Viewer, after_s: i64| {
            viewer.sweep(Moment(after_s * SECOND_MS + VIEW_MEMORY_MS));
            viewer.views().iter().map(|view| view.issued_s).collect::<Vec<_>>()
        };
        assert_eq!(left(&mut viewer, 100), [300, 100, 200]);
        assert_eq!(left(&mut viewer, 101), [300, 200]);
        assert_eq!(left(&mut viewer, 200), [300, 200]);
        assert_eq!(left(&mut viewer, 250), [300]);
        assert_eq!(left(&mut viewer, 301), [0; 0]);
        let showing = Showing { view: 9, issued_s: 900, ..Showing::default() };
        viewer.see(&ImpressionSeen::default(), &showing, Moment(900_000));
        assert_eq!(left(&mut viewer, 900), [900]);
    }

    #[test]
    fn a_campaign_is_remembered_by_valid_taps_and_conversions_for_as_long_as_they_are() {
        let showing = |campaign| Showing { view: campaign, campaign, ..Showing::default() };
        let mut viewer = Viewer::default();
        for (campaign, invalid) in [(1, 0), (2, 1)] {
            let tapped = Tapped { invalid, ..Tapped::default() };
            viewer.tap(&tapped, &showing(campaign), Moment(0));
            let credited = ConversionCredited { invalid, ..ConversionCredited::default() };
            viewer.convert(&credited, &showing(campaign), Moment(0));
        }
        assert_eq!([1, 2, 3].map(|campaign| viewer.has_tapped(campaign)), [true, false, false]);
        assert_eq!([1, 2, 3].map(|campaign| viewer.has_converted(campaign)), [true, false, false]);
        viewer.sweep(Moment(TOUCH_MEMORY_MS + 1));
        assert!(!viewer.has_tapped(1) && !viewer.has_converted(1));
    }

    #[test]
    fn a_viewer_comes_back_from_its_encoding_as_it_was_and_broken_showings_are_refused() {
        let mut viewer = Viewer { version: 9, ..Viewer::default() };
        let encode = |viewer: &Viewer| postcard::to_allocvec(viewer).expect("it can be encoded");
        let decode = |bytes: &[u8]| postcard::from_bytes::<Viewer>(bytes).ok();
        assert_eq!(decode(&encode(&viewer)).as_ref(), Some(&viewer), "of whom nothing is known");
        for view in 1..=3 {
            let showing = Showing { view, ad: 5, issued_s: 100, ..Showing::default() };
            viewer.see(&ImpressionSeen::default(), &showing, Moment(100_500));
            let bytes = encode(&viewer);
            assert_eq!(decode(&bytes).as_ref(), Some(&viewer), "{view} showings, nothing else");
        }
        viewer.tap(&Tapped::default(), &Showing { view: 2, ..Showing::default() }, Moment(100_900));
        let mut bytes = encode(&viewer);
        assert_eq!(decode(&bytes).as_ref(), Some(&viewer), "with a tap");
        assert!(viewer.view(2).is_some_and(|view| view.flags.has(EventKind::Tap)));
        // The version, the oldest second, the length of the showings, and then how many they are.
        assert_eq!(bytes[..2], [9, 100]);
        assert_eq!(bytes[3..5], [3, 0]);
        bytes[4] = 1;
        assert_eq!(decode(&bytes), None, "more showings than bytes");
    }

    #[test]
    fn an_undo_takes_back_what_was_hidden_from_the_same_showing() {
        let showing = Showing { view: 1, ad: 5, business: 6, ..Showing::default() };
        let mut viewer = Viewer::default();
        viewer.see(&ImpressionSeen::default(), &showing, Moment(0));
        let mut give = |kind: EventKind| {
            let fact = FeedbackGiven { event_kind: kind as u32, ..FeedbackGiven::default() };
            viewer.give_feedback(&fact, &showing);
            viewer.hidden().len()
        };
        assert_eq!(give(EventKind::HideBusiness), 1);
        assert_eq!(give(EventKind::Undo), 0);
    }
}
