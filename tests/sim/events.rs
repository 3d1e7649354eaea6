//! What the auditor makes of events on ads, and which of them it finds invalid by its own rules.

use munadi::types::proto::journal::v1::{FeedbackGiven, ImpressionSeen, Tapped, Watched};
use munadi::types::proto::v1::{EventKind, InvalidReason};

use crate::audit::{Finding, Key, Ledger, ViewBook, ensure, known};
use crate::traffic::{DAY, HOUR, MINUTE};

/// Tells whether more than `most` of these moments and one more lie in a span that begins at one of them
/// and holds the new one.
fn crowded(times: Option<&Vec<i64>>, at: i64, most: usize, span: i64) -> bool {
    let mut all = times.cloned().unwrap_or_default();
    all.push(at);
    let inside = |start: i64, time: i64| start <= time && time < start + span;
    let many = |start: i64| all.iter().filter(|time| inside(start, **time)).count() > most;
    all.iter().any(|start| inside(*start, at) && many(*start))
}

/// Checks a reason against the one that the rules give. What doors say goes before the viewer's rates.
fn same(found: InvalidReason, inherited: i32, expected: InvalidReason) -> Finding {
    if inherited != 0 {
        return ensure(i32::from(found) == inherited, || format!("its view was {inherited}"));
    }
    let at_the_door = matches!(found, InvalidReason::UserAgent | InvalidReason::Network);
    ensure(at_the_door || found == expected, || format!("by the rules it is {expected:?}"))
}

fn expected_tap(view: &ViewBook, taps: Option<&Vec<i64>>, fact: &Tapped, at: i64) -> InvalidReason {
    if !view.seen {
        return InvalidReason::NoView;
    }
    let timed = fact.event_ms != at;
    if timed && view.timed && fact.event_ms < view.seen_ms + 100 {
        return InvalidReason::TapTooFast;
    }
    let rates = [(1, MINUTE), (3, 10 * MINUTE), (10, HOUR), (25, DAY)];
    if rates.iter().any(|(most, span)| crowded(taps, fact.event_ms, *most, *span)) {
        return InvalidReason::TapRate;
    }
    InvalidReason::Unspecified
}

impl Ledger {
    fn note_invalid(&mut self, reason: InvalidReason) -> bool {
        let invalid = reason != InvalidReason::Unspecified;
        if invalid {
            self.coverage.note("invalid", reason.as_str_name());
        }
        invalid
    }

    pub(crate) fn seen(&mut self, fact: &ImpressionSeen, at: i64) -> Finding {
        let showing = known(&fact.showing)?;
        let view = self.view(showing)?;
        ensure(!view.seen, || "an impression counted twice".into())?;
        view.seen = true;
        (view.seen_ms, view.timed, view.invalid) =
            (fact.event_ms, fact.event_ms != at, fact.invalid);
        let token = self.handed[&showing.view].token;
        let issued_ms = i64::from(token.issued) * 1_000;
        ensure((issued_ms..=at + 300_000).contains(&fact.event_ms), || "its time".into())?;
        let place = (showing.viewer, showing.ad);
        let many = crowded(self.sights.get(&place), fact.event_ms, 3, 5 * MINUTE);
        let expected = if many { InvalidReason::ViewRate } else { InvalidReason::Unspecified };
        same(fact.invalid(), 0, expected)?;
        self.sights.entry(place).or_default().push(fact.event_ms);
        let in_time = fact.event_ms <= issued_ms + i64::from(token.show_by) * 1_000;
        let price = (token.billing == 1 && in_time).then_some(token.price_micros);
        let invalid = (fact.invalid, fact.invalid_price);
        let charged = self.charge(showing, fact.charge.as_ref(), price, invalid, at)?;
        if fact.charge.is_some() {
            self.coverage.note("money", "charged for an impression");
        }
        self.find(Key::Ad(showing.view, EventKind::Impression), charged);
        if fact.cap_hours > 0 {
            self.capped.entry((showing.viewer, showing.ad_set)).or_default().push(at);
        }
        if !self.note_invalid(fact.invalid()) {
            self.count(showing.ad, fact.event_ms, 0, 1);
        }
        Ok(())
    }

    pub(crate) fn watched(&mut self, fact: &Watched) -> Finding {
        let showing = known(&fact.showing)?;
        let view = self.view(showing)?;
        let new = view.seen && !view.watched.contains(&fact.event_kind);
        ensure(new, || "watched unseen or twice".into())?;
        view.watched.push(fact.event_kind);
        same(fact.invalid(), view.invalid, InvalidReason::Unspecified)?;
        let event = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
        if event == EventKind::Viewable && fact.invalid == 0 {
            self.count(showing.ad, fact.event_ms, 1, 1);
        }
        self.find(Key::Ad(showing.view, event), 0);
        Ok(())
    }

    pub(crate) fn feedback(&mut self, fact: &FeedbackGiven) -> Finding {
        let showing = known(&fact.showing)?;
        let event = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
        self.find(Key::Ad(showing.view, event), 0);
        let view = self.view(showing)?;
        ensure(view.seen, || "feedback on an unseen ad".into())?;
        same(fact.invalid(), view.invalid, InvalidReason::Unspecified)?;
        let column = match event {
            _ if fact.invalid != 0 => return Ok(()),
            EventKind::HideAd | EventKind::HideBusiness => 9,
            EventKind::Report => 10,
            _ => return Ok(()),
        };
        self.count(showing.ad, fact.event_ms, column, 1);
        Ok(())
    }

    pub(crate) fn tapped(&mut self, fact: &Tapped, at: i64) -> Finding {
        let showing = known(&fact.showing)?;
        let view = self.view(showing)?.clone();
        ensure(!view.tapped, || "tapped twice".into())?;
        let token = self.handed[&showing.view].token;
        let show_by_ms = (i64::from(token.issued) + i64::from(token.show_by)) * 1_000;
        ensure(view.seen || at > show_by_ms, || "tapped before its view could come".into())?;
        let taps = self.taps.get(&showing.viewer);
        same(fact.invalid(), view.invalid, expected_tap(&view, taps, fact, at))?;
        self.taps.entry(showing.viewer).or_default().push(fact.event_ms);
        let view = self.view(showing)?;
        (view.tapped, view.tap_invalid) = (true, fact.invalid);
        let price = (token.billing == 2).then_some(token.price_micros);
        let invalid = (fact.invalid, fact.invalid_price);
        let charged = self.charge(showing, fact.charge.as_ref(), price, invalid, at)?;
        if fact.charge.is_some() {
            self.coverage.note("money", "charged for a tap");
        }
        self.codes.insert(fact.code, (showing.view, fact.endpoint));
        if !self.note_invalid(fact.invalid()) {
            self.count(showing.ad, fact.event_ms, 2, 1);
        }
        self.find(Key::Ad(showing.view, EventKind::Tap), charged);
        Ok(())
    }
}
