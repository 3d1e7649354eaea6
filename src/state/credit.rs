//! Who earned each conversation and sale, in journal order; and which click a prefill code stands for.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::state::credits::Earned;
use crate::state::kinds::catalog_kinds;
use crate::state::viewers::TOUCH_MEMORY_MS;
use crate::state::{Map, Stamp};
use crate::types::ids::Seq;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversionCredited, OutcomeDeclined, PathTouch, Showing, StepCredited,
};
use crate::types::proto::v1::{
    AttributionRow, DeclineReason, InvalidReason, MatchConfidence, MatchKind, Outcome, TouchKind,
};
use crate::types::time::{DAY_MS, MINUTE_MS, Moment};

/// Rows are kept in memory for this long, as the journal is (DESIGN section 11).
const CREDIT_MEMORY_MS: i64 = 95 * DAY_MS;

/// One row of the attribution stream and where it stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Credit {
    /// Its fact's number in the shard.
    pub seq: u64,
    /// The journal's time, milliseconds.
    pub at_ms: i64,
    /// The click that a conversion is credited to; 0: none.
    pub click: u64,
    /// What is sent, but for its path.
    #[serde(with = "crate::state::wire::message")]
    pub row: AttributionRow,
    /// The eligible touches before it, the oldest first.
    #[serde(with = "crate::state::wire::messages")]
    pub path: Vec<PathTouch>,
    /// The moment by which the path is judged: the outcome's, or that of the opening that it belongs to.
    pub judged_ms: i64,
}

/// The click that a code stands for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CodeEntry {
    /// The click's id.
    pub view: u64,
    /// Whose it is.
    pub viewer: u64,
    /// The only endpoint it is good for.
    pub endpoint: u64,
}

/// Codes and credits of one shard.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ShardPart {
    applied: u64,
    /// By code.
    pub codes: Map<u64, CodeEntry>,
    /// Codes by the time they were made, to forget the oldest.
    by_age: VecDeque<(i64, u64)>,
    /// In order of sequence.
    pub credits: VecDeque<Credit>,
}

impl ShardPart {
    /// Returns the last fact of the shard that was applied here.
    pub fn applied(&self) -> Seq {
        Seq(self.applied)
    }

    /// Applies a fact that touches this part, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if stamp.seq.0 <= self.applied {
            return;
        }
        self.applied = stamp.seq.0;
        self.forget(stamp.at);
        match fact {
            Kind::Tapped(fact) if !fact.imported => {
                let Some(showing) = &fact.showing else { return };
                let (view, viewer) = (showing.view, showing.viewer);
                let entry = CodeEntry { view, viewer, endpoint: fact.endpoint };
                self.codes.insert(fact.code, entry);
                self.by_age.push_back((stamp.at.0, fact.code));
            }
            Kind::ClickMatched(fact) => {
                self.credit(stamp, 0, row_of_match(fact), Earned::by_match(fact));
            }
            Kind::ConversionCredited(fact) => {
                let tapped = touch_kind(&Earned::by_conversion(fact)) == TouchKind::Tap;
                let click = fact.showing.as_ref().filter(|_| tapped);
                let click = click.map_or(0, |showing| showing.view);
                self.credit(stamp, click, row_of_conversion(fact), Earned::by_conversion(fact));
            }
            Kind::OutcomeDeclined(fact) => {
                self.credit(stamp, 0, row_of_decline(fact), Earned::default());
            }
            Kind::StepCredited(fact) => {
                self.credit(stamp, 0, row_of_step(fact), Earned::by_step(fact));
            }
            catalog_kinds!()
            | Kind::Funded(_)
            | Kind::EventCredited(_)
            | Kind::Granted(_)
            | Kind::ServedMinute(_)
            | Kind::ImpressionSeen(_)
            | Kind::Watched(_)
            | Kind::Tapped(_)
            | Kind::FeedbackGiven(_)
            | Kind::ConversationOpened(_)
            | Kind::MessageRecorded(_)
            | Kind::Converted(_)
            | Kind::ConversionsPushed(_)
            | Kind::MessagePriced(_)
            | Kind::ContactMoved(_)
            | Kind::SourceTapped(_)
            | Kind::ReferralNoted(_)
            | Kind::GhostNoted(_)
            | Kind::OutcomeNoted(_)
            | Kind::OutboxSettled(_) => {}
        }
    }

    fn credit(&mut self, stamp: Stamp, click: u64, mut row: AttributionRow, earned: Earned<'_>) {
        row.revision = 1;
        row.journal_minute = Some(timestamp(stamp.at.0 - stamp.at.0.rem_euclid(MINUTE_MS)));
        row.touch_kind = touch_kind(&earned).into();
        let (path, judged_ms) = (earned.path.into_owned(), earned.judged_ms);
        let (seq, at_ms) = (stamp.seq.0, stamp.at.0);
        self.credits.push_back(Credit { seq, at_ms, click, row, path, judged_ms });
    }

    /// Returns the credit that stands at a number.
    pub fn credit_at(&self, seq: u64) -> Option<&Credit> {
        let at = self.credits.partition_point(|credit| credit.seq < seq);
        self.credits.get(at).filter(|credit| credit.seq == seq)
    }

    fn forget(&mut self, at: Moment) {
        let codes_from = at.plus_ms(-TOUCH_MEMORY_MS).0;
        while let Some((_, code)) = self.by_age.pop_front_if(|(made_ms, _)| *made_ms < codes_from) {
            self.codes.remove(&code);
        }
        let credits_from = at.plus_ms(-CREDIT_MEMORY_MS).0;
        while self.credits.pop_front_if(|credit| credit.at_ms < credits_from).is_some() {}
    }
}

/// Returns the kind of the touch that an outcome is credited to; unspecified: to none.
fn touch_kind(earned: &Earned<'_>) -> TouchKind {
    let credited = earned.path.iter().find(|touch| touch.view == earned.view);
    // Of an invalid click there is no path, but it was one.
    let alone = if earned.view == 0 { TouchKind::Unspecified } else { TouchKind::Tap };
    credited.map_or(alone, PathTouch::kind)
}

/// Returns how sure a match of this kind is (DESIGN section 9).
pub const fn confidence_of(kind: MatchKind) -> MatchConfidence {
    match kind {
        MatchKind::Unspecified => MatchConfidence::Unspecified,
        MatchKind::ClickToken => MatchConfidence::Certain,
        MatchKind::PrefillCode | MatchKind::SourceCode | MatchKind::Viewer => MatchConfidence::High,
        MatchKind::ChannelRef => MatchConfidence::Medium,
        MatchKind::OnlyTap => MatchConfidence::Low,
    }
}

/// Returns the wire form of a moment.
pub fn timestamp(ms: i64) -> prost_types::Timestamp {
    let nanos = (ms.rem_euclid(1_000) * 1_000_000) as i32;
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

fn credited(showing: Option<&Showing>, row: AttributionRow) -> AttributionRow {
    let Some(showing) = showing else { return row };
    AttributionRow {
        account_id: showing.account,
        campaign_id: showing.campaign,
        ad_set_id: showing.ad_set,
        ad_id: showing.ad,
        ..row
    }
}

fn row_of_match(fact: &ClickMatched) -> AttributionRow {
    let row = AttributionRow {
        outcome_id: fact.outcome,
        outcome: Outcome::Conversation.into(),
        conversation_id: fact.conversation,
        event_time: Some(timestamp(fact.event_ms)),
        touch_time: Some(timestamp(fact.touch_ms)),
        match_kind: fact.match_kind,
        match_confidence: confidence_of(fact.match_kind()).into(),
        charged_micros: fact.charge.as_ref().map_or(0, |charge| charge.amount),
        decline_reason: fraud(fact.invalid()).into(),
        invalid: fact.invalid,
        imported: fact.imported,
        ..AttributionRow::default()
    };
    credited(fact.showing.as_ref(), row)
}

fn row_of_conversion(fact: &ConversionCredited) -> AttributionRow {
    let row = AttributionRow {
        outcome_id: fact.outcome,
        outcome: Outcome::Conversion.into(),
        conversation_id: fact.conversation,
        event_id: fact.event_id.clone(),
        name: fact.name.clone(),
        value: fact.value.clone(),
        event_time: Some(timestamp(fact.event_ms)),
        touch_time: Some(timestamp(fact.touch_ms)),
        match_kind: fact.match_kind,
        match_confidence: confidence_of(fact.match_kind()).into(),
        decline_reason: fraud(fact.invalid()).into(),
        invalid: fact.invalid,
        imported: fact.imported,
        ..AttributionRow::default()
    };
    credited(fact.showing.as_ref(), row)
}

/// Returns why an outcome of an invalid click is nobody's, though the click is told. A test is no fraud.
const fn fraud(invalid: InvalidReason) -> DeclineReason {
    match invalid {
        InvalidReason::Unspecified | InvalidReason::Sandbox => DeclineReason::Unspecified,
        _ => DeclineReason::FraudDetected,
    }
}

fn row_of_step(fact: &StepCredited) -> AttributionRow {
    let row = AttributionRow {
        outcome_id: fact.outcome,
        outcome: fact.kind,
        conversation_id: fact.conversation,
        event_time: Some(timestamp(fact.event_ms)),
        touch_time: Some(timestamp(fact.touch_ms)),
        match_kind: fact.match_kind,
        match_confidence: confidence_of(fact.match_kind()).into(),
        ..AttributionRow::default()
    };
    credited(fact.showing.as_ref(), row)
}

fn row_of_decline(fact: &OutcomeDeclined) -> AttributionRow {
    AttributionRow {
        outcome_id: fact.outcome,
        outcome: fact.kind,
        account_id: fact.account,
        conversation_id: fact.conversation,
        event_id: fact.event_id.clone(),
        name: fact.name.clone(),
        value: fact.value.clone(),
        event_time: Some(timestamp(fact.event_ms)),
        match_kind: fact.match_kind,
        match_confidence: confidence_of(fact.match_kind()).into(),
        decline_reason: fact.reason,
        invalid: fact.invalid,
        imported: fact.imported,
        ..AttributionRow::default()
    }
}
