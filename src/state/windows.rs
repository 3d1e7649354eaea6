//! The windows of one conversation in which messages are free: a pure machine over times alone.
//!
//! What it answers depends on which events were heard, not on their order, as long as none is later than
//! [`LATE_MS_MAX`]. It keeps only what such an event could still change.

use serde::{Deserialize, Serialize};

use crate::types::proto::v1::Direction;
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

/// The customer-service window: free answers for this long after each message of the person (FACTS,
/// "Conversation windows").
pub const SERVICE_WINDOW_MS: i64 = 24 * HOUR_MS;

/// A referral opens the free entry point only when the business answers within this time (FACTS,
/// "Conversation windows").
pub const ANSWER_WINDOW_MS: i64 = 24 * HOUR_MS;

/// The free entry point: every message is free for this long from that answer on (FACTS, "Conversation
/// windows").
pub const FREE_ENTRY_MS: i64 = 72 * HOUR_MS;

/// How much earlier than the newest an event may lie: three days late, by clocks five minutes apart.
pub const LATE_MS_MAX: i64 = 3 * DAY_MS + 5 * MINUTE_MS;

/// Referrals that still wait for their answer to be certain. Beyond them the oldest is decided by what was
/// heard so far.
pub const REFERRALS_MAX: usize = 64;

/// Answers that a late referral could still belong to. Beyond them the oldest is forgotten.
pub const REPLIES_MAX: usize = 1_024;

/// What is open at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Open {
    /// The end of the customer-service window: from there on it is closed.
    pub service_until: Option<Moment>,
    /// The end of the free entry point.
    pub free_entry_until: Option<Moment>,
}

/// The windows of one conversation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Windows {
    /// The newest time heard of, milliseconds.
    newest_ms: i64,
    service: Spans,
    /// Free entry points that no late event can move any more.
    free: Spans,
    /// Referrals whose first answer may still come or change, ascending.
    referrals: Vec<i64>,
    /// Answers that may still be the first after a referral, ascending.
    replies: Vec<i64>,
}

impl Windows {
    /// Notes a message.
    pub fn hear(&mut self, direction: Direction, event_ms: i64) {
        if !self.advance(event_ms) {
            return;
        }
        match direction {
            Direction::Inbound => self.service.add(event_ms, SERVICE_WINDOW_MS),
            Direction::Outbound => {
                insert(&mut self.replies, event_ms);
                if self.replies.len() > REPLIES_MAX {
                    self.settle(self.replies[0] + 1);
                }
            }
            Direction::Unspecified => {}
        }
    }

    /// Notes that the channel's referral opens a free entry point, once it is answered.
    pub fn refer(&mut self, event_ms: i64) {
        if !self.advance(event_ms) {
            return;
        }
        insert(&mut self.referrals, event_ms);
        if self.referrals.len() > REFERRALS_MAX {
            let oldest_ms = self.referrals.remove(0);
            if let Some(reply_ms) = self.answer(oldest_ms) {
                self.free.add(reply_ms, FREE_ENTRY_MS);
            }
        }
    }

    /// Returns what is open at a moment, which lies not more than [`LATE_MS_MAX`] before the newest event. A
    /// window's last moment is the millisecond before its end.
    pub fn at(&self, at: Moment) -> Open {
        let mut free = self.free.clone();
        let answers = self.referrals.iter().filter_map(|referral_ms| self.answer(*referral_ms));
        answers.for_each(|reply_ms| free.add(reply_ms, FREE_ENTRY_MS));
        Open { service_until: self.service.end_at(at), free_entry_until: free.end_at(at) }
    }

    /// Returns what is open now. A channel's clock may be ahead of the engine's: what it told counts at once.
    pub fn now(&self, now: Moment) -> Open {
        self.at(now.max(Moment(self.newest_ms)))
    }

    /// Returns what is open for a message that the business would send now: it may be the answer that opens a
    /// free entry point.
    pub fn if_sent(&self, now: Moment) -> Open {
        let now = now.max(Moment(self.newest_ms));
        let mut after = self.clone();
        after.hear(Direction::Outbound, now.0);
        after.at(now)
    }

    /// Returns the moments from which an answer opens no free entry point any more, of referrals without one.
    pub fn answer_ends(&self) -> impl Iterator<Item = Moment> + '_ {
        let open = self.referrals.iter().filter(|referral_ms| self.answer(**referral_ms).is_none());
        open.map(|referral_ms| Moment(referral_ms + ANSWER_WINDOW_MS))
    }

    /// Returns the end of the latest customer-service window, open or not; `None`: the person never wrote.
    pub fn service_end(&self) -> Option<Moment> {
        self.service.0.last().map(|(_, end_ms)| Moment(*end_ms))
    }

    /// Moves on to the time of an event, and forgets what no event can change any more; tells whether this
    /// one is in time.
    fn advance(&mut self, event_ms: i64) -> bool {
        if event_ms > self.newest_ms {
            self.newest_ms = event_ms;
            let horizon_ms = self.newest_ms.saturating_sub(LATE_MS_MAX);
            self.settle(horizon_ms);
            self.service.forget(horizon_ms);
            self.free.forget(horizon_ms);
        }
        event_ms >= self.newest_ms.saturating_sub(LATE_MS_MAX)
    }

    /// Decides the referrals whose first answer lies before `horizon_ms`, or can't come after it any more.
    fn settle(&mut self, horizon_ms: i64) {
        for referral_ms in std::mem::take(&mut self.referrals) {
            let reply_ms = self.answer(referral_ms);
            let answered = reply_ms.is_some_and(|reply_ms| reply_ms < horizon_ms);
            if !answered && referral_ms + ANSWER_WINDOW_MS > horizon_ms {
                self.referrals.push(referral_ms);
            } else if let Some(reply_ms) = reply_ms {
                self.free.add(reply_ms, FREE_ENTRY_MS);
            }
        }
        self.replies.retain(|reply_ms| *reply_ms >= horizon_ms);
    }

    /// Returns when a referral was first answered, if in time.
    fn answer(&self, referral_ms: i64) -> Option<i64> {
        let first = self.replies.partition_point(|reply_ms| *reply_ms < referral_ms);
        let reply_ms = self.replies.get(first).copied();
        reply_ms.filter(|reply_ms| *reply_ms < referral_ms + ANSWER_WINDOW_MS)
    }
}

/// Spans of time that neither meet nor overlap, ascending: first millisecond, and the one after the last.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Spans(Vec<(i64, i64)>);

impl Spans {
    fn add(&mut self, start_ms: i64, length_ms: i64) {
        let (mut start_ms, mut end_ms) = (start_ms, start_ms + length_ms);
        let from = self.0.partition_point(|span| span.1 < start_ms);
        let to = self.0.partition_point(|span| span.0 <= end_ms);
        if from < to {
            start_ms = start_ms.min(self.0[from].0);
            end_ms = end_ms.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [(start_ms, end_ms)]);
    }

    fn end_at(&self, at: Moment) -> Option<Moment> {
        let span = self.0.iter().find(|span| span.0 <= at.0 && at.0 < span.1);
        span.map(|span| Moment(span.1))
    }

    /// Forgets what ended before, but the latest.
    fn forget(&mut self, horizon_ms: i64) {
        let ended = self.0.partition_point(|span| span.1 <= horizon_ms);
        self.0.drain(..ended.min(self.0.len().saturating_sub(1)));
    }
}

/// Puts a time where it belongs, once.
fn insert(times: &mut Vec<i64>, event_ms: i64) {
    if let Err(place) = times.binary_search(&event_ms) {
        times.insert(place, event_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = DAY_MS;
    const HOUR: i64 = HOUR_MS;

    #[test]
    fn each_message_of_the_person_restarts_the_service_window() {
        let mut windows = Windows::default();
        assert_eq!(windows.service_end(), None);
        windows.hear(Direction::Inbound, DAY);
        windows.hear(Direction::Outbound, DAY + HOUR);
        let open = |windows: &Windows, at| windows.at(Moment(at)).service_until;
        assert_eq!(open(&windows, DAY - 1), None);
        assert_eq!(open(&windows, DAY), Some(Moment(2 * DAY)));
        assert_eq!(open(&windows, 2 * DAY - 1), Some(Moment(2 * DAY)));
        assert_eq!(open(&windows, 2 * DAY), None);
        windows.hear(Direction::Inbound, 2 * DAY - 1);
        assert_eq!(open(&windows, 3 * DAY - 2), Some(Moment(3 * DAY - 1)));
        assert_eq!(windows.service_end(), Some(Moment(3 * DAY - 1)));
    }

    #[test]
    fn an_answer_within_a_day_of_the_referral_opens_the_free_entry_point() {
        let until = |after_ms: i64, at: i64| {
            let mut windows = Windows::default();
            windows.refer(DAY);
            windows.hear(Direction::Outbound, DAY + after_ms);
            // The second answer changes nothing.
            windows.hear(Direction::Outbound, DAY + after_ms + HOUR);
            windows.at(Moment(DAY + after_ms + at)).free_entry_until.is_some()
        };
        assert!(until(0, 0));
        assert!(until(DAY - 1, 0));
        assert!(!until(DAY, 0));
        assert!(!until(-1, HOUR - 2), "an answer before the referral is none");
        assert!(until(HOUR, 3 * DAY - 1));
        assert!(!until(HOUR, 3 * DAY));
        assert!(!until(HOUR, -1));
    }

    #[test]
    fn an_answer_that_would_open_the_free_entry_point_is_told_before_it_is_sent() {
        let mut windows = Windows::default();
        windows.refer(DAY);
        let sent = |windows: &Windows, at| windows.if_sent(Moment(at)).free_entry_until;
        assert_eq!(sent(&windows, DAY - 1), Some(Moment(4 * DAY)), "a channel ahead of the clock");
        assert_eq!(sent(&windows, 2 * DAY - 1), Some(Moment(5 * DAY - 1)));
        assert_eq!(sent(&windows, 2 * DAY), None);
        assert_eq!(windows.answer_ends().collect::<Vec<_>>(), [Moment(2 * DAY)]);
        windows.hear(Direction::Outbound, DAY + HOUR);
        assert_eq!(sent(&windows, DAY + 2 * HOUR), Some(Moment(4 * DAY + HOUR)));
        assert_eq!(windows.answer_ends().count(), 0);
    }

    #[test]
    fn a_channel_ahead_of_the_clock_is_believed_at_once() {
        let mut windows = Windows::default();
        windows.hear(Direction::Inbound, DAY + 1_000);
        assert_eq!(windows.at(Moment(DAY)).service_until, None);
        assert_eq!(windows.now(Moment(DAY)).service_until, Some(Moment(2 * DAY + 1_000)));
    }

    #[test]
    fn what_can_matter_no_more_is_forgotten() {
        let mut windows = Windows::default();
        for day in 0..1_000 {
            for hour in [0, 25] {
                windows.refer(day * 3 * DAY + hour * HOUR);
                windows.hear(Direction::Inbound, day * 3 * DAY + hour * HOUR);
                windows.hear(Direction::Outbound, day * 3 * DAY + hour * HOUR + 1);
            }
        }
        assert!(windows.service.0.len() <= 6, "{}", windows.service.0.len());
        assert!(windows.free.0.len() <= 3, "{}", windows.free.0.len());
        assert!(windows.referrals.len() <= 8 && windows.replies.len() <= 8);
        for ms in 0..5_000 {
            windows.refer(3_000 * DAY + 2 * ms);
            windows.hear(Direction::Outbound, 3_000 * DAY + 2 * ms + 1);
        }
        assert!(windows.referrals.len() <= REFERRALS_MAX && windows.replies.len() <= REPLIES_MAX);
        let until = windows.at(Moment(3_000 * DAY + 10_000)).free_entry_until;
        assert_eq!(until, Some(Moment(3_003 * DAY + 9_999)));
    }
}
