//! What experiments measure of one viewer: when it was first exposed, or would have been, and what it did
//! before and after.
//!
//! Only outcomes count whose viewer the platform told by itself, whatever proves them: a click proves an
//! outcome of viewers who were shown the ad alone, and counting by it would favour them.

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::OutcomeNoted;
use crate::types::proto::v1::Outcome;
use crate::types::time::{DAY_MS, Moment};

/// Outcomes count for this long after a viewer's first exposure: the `7d_click` window, the field's default.
pub const LIFT_WINDOW_MS: i64 = 7 * DAY_MS;

/// Outcomes of this long before it tell how much the viewer does anyway (CUPED: Deng, Xu, Kohavi and Walker,
/// "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data", WSDM 2013,
/// find one to two weeks enough; conversations and sales are rarer).
pub const LIFT_BEFORE_MS: i64 = 28 * DAY_MS;

/// How long an outcome is remembered, so that an exposure finds what came before it: the period before, and
/// three days for what is told late.
const NOTED_MEMORY_MS: i64 = LIFT_BEFORE_MS + 3 * DAY_MS;

/// Most outcomes remembered for one viewer; further ones are not measured until some are forgotten. Of a journal that
/// holds more, the oldest go.
pub const NOTED_MAX: usize = 256;

/// How long an exposure is remembered: the longest experiment (90 days), and 100 days to ask for its result.
pub const EXPOSURE_MEMORY_MS: i64 = 190 * DAY_MS;

/// What a viewer did within some time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Done {
    /// Conversations that it opened.
    pub conversations: u32,
    /// Conversions.
    pub conversions: u32,
    /// Their value, micros of the account's currency.
    pub value: i64,
}

impl Done {
    fn add(&mut self, noted: &Noted) {
        match noted.kind {
            CONVERSATION => self.conversations = self.conversations.saturating_add(1),
            _ => {
                self.conversions = self.conversions.saturating_add(1);
                self.value = self.value.saturating_add(noted.value);
            }
        }
    }
}

/// A viewer's first exposure in one experiment, or the first that did not happen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exposure {
    /// The experiment's number.
    pub experiment: u32,
    /// Whether the viewer is in the control group.
    pub control: bool,
    /// Whose outcomes count.
    pub account: u64,
    /// When it was, milliseconds.
    pub first_ms: i64,
    /// What the viewer did within [`LIFT_BEFORE_MS`] before.
    pub before: Done,
    /// What it did within [`LIFT_WINDOW_MS`] after.
    pub after: Done,
}

impl Exposure {
    fn count(&mut self, noted: &Noted) {
        if noted.account != self.account {
            return;
        }
        let since = noted.event_ms - self.first_ms;
        if (0..LIFT_WINDOW_MS).contains(&since) {
            self.after.add(noted);
        } else if (-LIFT_BEFORE_MS..0).contains(&since) {
            self.before.add(noted);
        }
    }
}

const CONVERSATION: u8 = Outcome::Conversation as u8;

/// One outcome of a viewer, as the platform told.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Noted {
    outcome: u64,
    account: u64,
    kind: u8,
    event_ms: i64,
    value: i64,
    at_ms: i64,
}

/// What experiments know of one viewer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Measured {
    /// In the order in which they were journaled.
    pub exposures: Vec<Exposure>,
    noted: Vec<Noted>,
}

impl Measured {
    /// Tells whether the viewer was exposed in an experiment, or would have been.
    pub fn is_exposed(&self, experiment: u32) -> bool {
        self.exposures.iter().any(|known| known.experiment == experiment)
    }

    /// Tells whether an outcome was noted.
    pub fn has_noted(&self, outcome: u64) -> bool {
        self.noted.iter().any(|known| known.outcome == outcome)
    }

    /// Tells whether as many outcomes are noted as are remembered.
    pub const fn is_full(&self) -> bool {
        self.noted.len() >= NOTED_MAX
    }

    /// Notes an exposure; only the first in its experiment counts.
    pub(in crate::state) fn expose(&mut self, mut exposure: Exposure) {
        if !self.is_exposed(exposure.experiment) {
            self.noted.iter().for_each(|noted| exposure.count(noted));
            self.exposures.push(exposure);
        }
    }

    pub(in crate::state) fn note(&mut self, fact: &OutcomeNoted, at: Moment) {
        if self.has_noted(fact.outcome) {
            return;
        }
        let noted = Noted {
            outcome: fact.outcome,
            account: fact.account,
            kind: fact.kind as u8,
            event_ms: fact.event_ms,
            value: fact.value,
            at_ms: at.0,
        };
        self.exposures.iter_mut().for_each(|exposure| exposure.count(&noted));
        if self.noted.len() == NOTED_MAX {
            self.noted.remove(0);
        }
        self.noted.push(noted);
    }

    /// Forgets what is past its memory; tells whether anything is left.
    pub(in crate::state) fn sweep(&mut self, at: Moment) -> bool {
        let noted_from = at.plus_ms(-NOTED_MEMORY_MS).0;
        self.noted.retain(|noted| noted.at_ms >= noted_from);
        let exposures_from = at.plus_ms(-EXPOSURE_MEMORY_MS).0;
        self.exposures.retain(|exposure| exposure.first_ms >= exposures_from);
        self.noted.len() + self.exposures.len() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: i64 = 100 * DAY_MS;

    fn sale(outcome: u64, event_ms: i64) -> OutcomeNoted {
        let kind = Outcome::Conversion.into();
        OutcomeNoted { outcome, account: 7, kind, event_ms, value: 5, ..OutcomeNoted::default() }
    }

    fn exposure(control: bool) -> Exposure {
        Exposure { experiment: 3, control, account: 7, first_ms: FIRST, ..Exposure::default() }
    }

    #[test]
    fn outcomes_count_alike_whether_told_before_the_exposure_or_after() {
        let times = [
            FIRST - LIFT_BEFORE_MS - 1,
            FIRST - LIFT_BEFORE_MS,
            FIRST - 1,
            FIRST,
            FIRST + LIFT_WINDOW_MS - 1,
            FIRST + LIFT_WINDOW_MS,
        ];
        let (mut early, mut late) = <(Measured, Measured)>::default();
        late.expose(exposure(false));
        for (outcome, at) in (1..).zip(times) {
            early.note(&sale(outcome, at), Moment(FIRST));
            late.note(&sale(outcome, at), Moment(FIRST));
        }
        early.expose(exposure(false));
        let two = Done { conversions: 2, value: 10, ..Done::default() };
        assert_eq!((early.exposures[0].before, early.exposures[0].after), (two, two));
        assert_eq!(early, late);
    }

    #[test]
    fn an_outcome_counts_once_and_only_for_its_own_account() {
        let mut viewer = Measured::default();
        viewer.expose(exposure(true));
        viewer.note(&sale(1, FIRST), Moment(FIRST));
        viewer.note(&sale(1, FIRST), Moment(FIRST));
        viewer.note(&OutcomeNoted { account: 8, ..sale(2, FIRST) }, Moment(FIRST));
        let chat = OutcomeNoted { kind: Outcome::Conversation.into(), ..sale(3, FIRST) };
        viewer.note(&chat, Moment(FIRST));
        let done = Done { conversations: 1, conversions: 1, value: 5 };
        assert_eq!(viewer.exposures[0].after, done);
        assert!(viewer.has_noted(2) && !viewer.has_noted(4));
    }

    #[test]
    fn only_the_first_exposure_counts_and_the_arm_with_it() {
        let mut viewer = Measured::default();
        viewer.expose(exposure(true));
        viewer.expose(Exposure { control: false, first_ms: FIRST + 1, ..exposure(false) });
        assert_eq!(viewer.exposures, [exposure(true)]);
    }

    #[test]
    fn a_full_record_forgets_the_oldest_outcome_and_what_is_old_is_swept() {
        let mut viewer = Measured::default();
        (1..=NOTED_MAX as u64 + 1).for_each(|it| viewer.note(&sale(it, FIRST), Moment(FIRST)));
        assert!(!viewer.has_noted(1) && viewer.has_noted(2));
        assert!(viewer.is_full());
        viewer.expose(exposure(false));
        assert!(viewer.sweep(Moment(FIRST + NOTED_MEMORY_MS + 1)), "the exposure is kept");
        assert!(!viewer.has_noted(2) && !viewer.is_full());
        assert!(!viewer.sweep(Moment(FIRST + EXPOSURE_MEMORY_MS + 1)));
    }
}
