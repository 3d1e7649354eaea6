//! One viewer: what was shown and done lately, caps, and what was hidden.

mod caps;
mod revised;

use serde::{Deserialize, Serialize};

pub use caps::CapCount;
pub use revised::{ENGAGING, touch_of_standing};

use crate::state::chats::StoredTouch;
use crate::state::context::{Context, context_of_view};
use crate::state::past::PAST_MEMORY_MS;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversationTouch, ConversionCredited, FeedbackGiven, ImpressionSeen, Showing,
    Tapped, ViewContext,
};
use crate::types::proto::v1::{CapEvent, EventKind, InvalidReason};
use crate::types::request::SHOW_BY_S_MAX;
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

/// What happened to one showing: one bit for each kind of event.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Flags(u16);

impl Flags {
    /// Tells whether this kind of event has been counted.
    pub const fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    pub(in crate::state) const fn set(&mut self, kind: EventKind) {
        self.0 |= 1 << kind as u16;
    }

    fn clear(&mut self, kind: EventKind) {
        self.0 &= !(1 << kind as u16);
    }
}

/// One showing of an ad to the viewer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct View {
    /// Its id.
    pub view: u64,
    /// The ad shown.
    pub ad: u64,
    /// The business it is of.
    pub business: u64,
    /// Hash of the business's category; 0: none.
    pub category: u64,
    /// When it was handed out, seconds.
    pub issued_s: u32,
    /// The feed it was shown in.
    pub feed: u32,
    /// What happened to it.
    pub flags: Flags,
    /// Whether the device said when it was seen.
    pub timed: bool,
    /// An [`InvalidReason`]; 0: valid.
    pub invalid: u8,
    /// How long after it was seen half of its video had been played, milliseconds; 0 until then.
    pub engaged_after_ms: u32,
    /// When it was seen, milliseconds.
    pub seen_ms: i64,
    /// Where, and to whom.
    pub context: Context,
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

/// One tap that may still earn a conversation or sale.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Touch {
    /// The click's id.
    pub view: u64,
    /// The ad tapped.
    pub ad: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// Its campaign.
    pub campaign: u64,
    /// Its account.
    pub account: u64,
    /// Its business.
    pub business: u64,
    /// The endpoint it opens a chat with.
    pub endpoint: u64,
    /// The feed it was shown in.
    pub feed: u32,
    /// When the ad was handed out, seconds.
    pub issued_s: u32,
    /// Whether the tap was never reported, but a click token implies it; `tap_ms` is then the earliest.
    pub implied: bool,
    /// An [`InvalidReason`]; 0: valid.
    pub invalid: u8,
    /// The viewer's country, two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// When it was tapped, milliseconds.
    pub tap_ms: i64,
    /// Price of the conversation that may follow, micros; 0 when that is not what is billed.
    pub conversation_price: i64,
    /// The conversation that it was matched to; 0: none yet.
    pub conversation: u64,
    /// Where, and by whom.
    pub context: Context,
}

impl Touch {
    /// Returns why it is invalid traffic; `None`: it is valid.
    pub fn invalid(&self) -> Option<InvalidReason> {
        reason_of(self.invalid)
    }

    /// Returns the showing that was tapped.
    pub fn showing(&self, viewer: u64) -> Showing {
        Showing {
            view: self.view,
            viewer,
            ad: self.ad,
            ad_set: self.ad_set,
            campaign: self.campaign,
            account: self.account,
            business: self.business,
            feed: self.feed,
            issued_s: self.issued_s,
        }
    }
}

/// Something the viewer does not want to see again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hidden {
    /// The ad or business.
    pub id: u64,
    /// Whether `id` is a business.
    pub business: bool,
    /// The showing it was hidden from; an undo names it.
    pub view: u64,
}

/// All that is known of one viewer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Viewer {
    /// Changes with every fact: whoever selects from a copy checks it before reserving.
    pub version: u32,
    /// Recent showings that were seen, oldest first.
    pub views: Vec<View>,
    /// Taps inside the longest window, oldest first.
    pub touches: Vec<Touch>,
    /// Events on capped ad sets within their intervals, ascending by ad set and event.
    pub caps: Vec<CapCount>,
    /// What is hidden.
    pub hidden: Vec<Hidden>,
    /// Outcomes credited to the viewer's touches, each once, and those that none has earned yet.
    pub credited: Vec<Credited>,
}

/// A conversation or conversion that was credited to one of the viewer's touches, or declined.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Credited {
    /// Its outcome.
    pub outcome: u64,
    /// The campaign that a conversion was first credited to; 0: its click was invalid, or it is a conversation.
    pub campaign: u64,
    /// Whether nobody earned it, or it was found later that nobody had.
    pub void: bool,
    /// The journal's time of the credit.
    pub at_ms: i64,
    /// When the outcome happened, milliseconds.
    pub event_ms: i64,
    /// Whether it is of a history, and remembered as long as that is.
    pub imported: bool,
    /// What a conversation is settled with.
    pub touch: Option<StoredTouch>,
}

impl Viewer {
    /// Returns the showing with this id.
    pub fn view(&self, view: u64) -> Option<&View> {
        self.views.iter().rev().find(|known| known.view == view)
    }

    /// Returns the tap with this click id.
    pub fn touch(&self, view: u64) -> Option<&Touch> {
        self.touches.iter().rev().find(|known| known.view == view)
    }

    /// Returns where and to whom a showing was, by its tap or its view; `None`: neither is remembered.
    pub fn context_of(&self, view: u64) -> Option<ViewContext> {
        let of_touch = self.touch(view).map(|touch| touch.context);
        of_touch.or_else(|| self.view(view).map(|view| view.context)).map(Context::wire)
    }

    /// Returns an outcome that was credited to one of the viewer's touches.
    pub fn credit_of(&self, outcome: u64) -> Option<&Credited> {
        self.credited.iter().rev().find(|credited| credited.outcome == outcome)
    }

    /// Tells whether a tap on an ad of this campaign is remembered that was valid when it was told: people are
    /// counted then, and not again.
    pub fn has_tapped(&self, campaign: u64) -> bool {
        let counted = [0, InvalidReason::Invalidated as u8];
        let theirs = |touch: &Touch| touch.campaign == campaign && counted.contains(&touch.invalid);
        self.touches.iter().any(theirs)
    }

    /// Tells whether a conversion is remembered that was first credited to this campaign: people are counted then,
    /// and not again.
    pub fn has_converted(&self, campaign: u64) -> bool {
        self.credited.iter().any(|credited| credited.campaign == campaign)
    }

    /// Returns the events of one kind on a capped ad set within an interval.
    pub fn counted(&self, ad_set: u64, event: CapEvent, interval_hours: u16, now: Moment) -> u32 {
        let place = (ad_set, event as u8);
        let known = self.caps.binary_search_by_key(&place, |cap| (cap.ad_set, cap.event));
        known.map_or(0, |index| self.caps[index].within(interval_hours, now))
    }

    pub(in crate::state) fn see(&mut self, fact: &ImpressionSeen, showing: &Showing, at: Moment) {
        let mut flags = Flags::default();
        flags.set(EventKind::Impression);
        self.views.push(View {
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
        let known = self.caps.binary_search_by_key(&place, |cap| (cap.ad_set, cap.event));
        let index = known.unwrap_or_else(|index| {
            let hours = Vec::new();
            self.caps.insert(index, CapCount { ad_set, event, interval_hours, hours });
            index
        });
        let cap = &mut self.caps[index];
        cap.interval_hours = interval_hours;
        let from = at.hour().saturating_sub(u32::from(interval_hours));
        cap.hours.retain(|(hour, _)| *hour >= from);
        match cap.hours.last_mut() {
            Some((hour, count)) if *hour == at.hour() => *count = count.saturating_add(1),
            _ => cap.hours.push((at.hour(), 1)),
        }
    }

    pub(in crate::state) fn mark(&mut self, view: u64, kind: EventKind) {
        if let Some(known) = self.views.iter_mut().rev().find(|known| known.view == view) {
            known.flags.set(kind);
        }
    }

    pub(in crate::state) fn tap(&mut self, fact: &Tapped, showing: &Showing, at: Moment) {
        self.mark(showing.view, EventKind::Tap);
        self.count_cap(showing.ad_set, CapEvent::Taps, fact.cap_hours, at);
        self.touches.push(Touch {
            endpoint: fact.endpoint,
            invalid: fact.invalid as u8,
            country: fact.country as u16,
            tap_ms: fact.event_ms,
            conversation_price: fact.conversation_price,
            context: fact.context.as_ref().map(Context::of).unwrap_or_default(),
            ..touch_of(showing)
        });
    }

    pub(in crate::state) fn give_feedback(&mut self, fact: &FeedbackGiven, showing: &Showing) {
        let hide = |id, business| Hidden { id, business, view: showing.view };
        let kind = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
        match kind {
            EventKind::HideBusiness => self.hidden.push(hide(showing.business, true)),
            EventKind::HideAd | EventKind::Report => self.hidden.push(hide(showing.ad, false)),
            EventKind::Undo => {
                self.hidden.retain(|hidden| hidden.view != showing.view);
                if let Some(known) = self.views.iter_mut().find(|known| known.view == showing.view)
                {
                    for undone in [EventKind::HideAd, EventKind::HideBusiness, EventKind::Report] {
                        known.flags.clear(undone);
                    }
                }
                return;
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

    pub(in crate::state) fn convert(
        &mut self,
        fact: &ConversionCredited,
        showing: &Showing,
        at: Moment,
    ) {
        let campaign = if fact.invalid == 0 { showing.campaign } else { 0 };
        let ConversionCredited { outcome, event_ms, imported, .. } = *fact;
        let (at_ms, touch) = (at.0, None);
        self.credited.push(Credited {
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
            self.touches.push(Touch {
                endpoint: fact.endpoint,
                implied: true,
                invalid: fact.invalid as u8,
                tap_ms: fact.touch_ms,
                context: fact.context.as_ref().map(Context::of).unwrap_or_default(),
                ..touch_of(showing)
            });
        }
        let is_it = |tap: &&mut Touch| tap.view == showing.view && tap.tap_ms == fact.touch_ms;
        let tapped = self.touches.iter_mut().find(is_it);
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
        self.credited.push(Credited {
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
        self.views.retain(|view| Moment::from_seconds(view.issued_s).0 >= views_from);
        let touches_from = at.plus_ms(-TOUCH_MEMORY_MS).0;
        self.touches.retain(|touch| touch.tap_ms >= touches_from);
        let past_from = at.plus_ms(-PAST_MEMORY_MS).0;
        self.credited.retain(|credited| {
            let in_past = credited.imported && credited.event_ms >= past_from;
            in_past || credited.at_ms >= touches_from
        });
        self.caps.retain(|cap| !cap.is_over(at));
        let rest = self.caps.len() + self.hidden.len() + self.credited.len();
        self.views.len() + self.touches.len() + rest > 0
    }
}

fn touch_of(showing: &Showing) -> Touch {
    Touch {
        view: showing.view,
        ad: showing.ad,
        ad_set: showing.ad_set,
        campaign: showing.campaign,
        account: showing.account,
        business: showing.business,
        feed: showing.feed,
        issued_s: showing.issued_s,
        ..Touch::default()
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
    fn an_undo_takes_back_what_was_hidden_from_the_same_showing() {
        let showing = Showing { view: 1, ad: 5, business: 6, ..Showing::default() };
        let mut viewer = Viewer::default();
        viewer.see(&ImpressionSeen::default(), &showing, Moment(0));
        let mut give = |kind: EventKind| {
            let fact = FeedbackGiven { event_kind: kind as u32, ..FeedbackGiven::default() };
            viewer.give_feedback(&fact, &showing);
            viewer.hidden.len()
        };
        assert_eq!(give(EventKind::HideBusiness), 1);
        assert_eq!(give(EventKind::Undo), 0);
    }
}
