//! Who earned each conversation and sale, in journal order; and which click a prefill code stands for.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::state::credits::Earned;
use crate::state::kinds::catalog_kinds;
use crate::state::revisions::{Adjusted, Rows};
use crate::state::viewers::TOUCH_MEMORY_MS;
use crate::state::{Map, Stamp};
use crate::types::hash::fnv1a;
use crate::types::ids::Seq;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ClickMatched, ConversionCredited, OutcomeDeclined, OutcomeRevised, PathTouch, Showing,
    Standing, StepCredited, ViewContext,
};
use crate::types::proto::v1::{
    AttributionRow, DeclineReason, InvalidReason, MatchConfidence, MatchKind, Money, Outcome,
    TouchKind,
};
use crate::types::time::{DAY_MS, MINUTE_MS, Moment};

/// Rows are kept in memory for this long, as the journal is (DESIGN section 11).
pub const CREDIT_MEMORY_MS: i64 = 95 * DAY_MS;

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
    /// What it was credited to.
    pub shown: Shown,
}

/// The showing that an outcome is credited to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shown {
    /// Its id; 0: the outcome is credited to none.
    pub view: u64,
    /// Whose outcome it is; 0: not known here.
    pub viewer: u64,
    /// The feed it was shown in, as far as the outcome is counted by it.
    pub feed: u32,
    /// The `Placement`, as far as the outcome is counted by it.
    pub placement: u32,
}

impl Shown {
    fn of(showing: Option<&Showing>, context: Option<&ViewContext>) -> Self {
        let Some(Showing { view, viewer, feed, .. }) = showing.copied() else {
            return Self::default();
        };
        Self { view, viewer, feed, placement: context.map_or(0, |context| context.placement) }
    }
}

impl Credit {
    /// Returns what the row says of whom it is credited to.
    pub fn standing(&self) -> Standing {
        let (row, Shown { view, viewer, feed, placement }) = (&self.row, self.shown);
        let showing = (row.ad_id != 0).then(|| Showing {
            view,
            viewer,
            ad: row.ad_id,
            ad_set: row.ad_set_id,
            campaign: row.campaign_id,
            account: row.account_id,
            feed,
            ..Showing::default()
        });
        Standing {
            showing,
            touch_ms: row.touch_time.as_ref().map_or(0, |time| Moment::from(time).0),
            path: self.path.clone(),
            value: row.value.clone(),
            match_kind: row.match_kind,
            decline_reason: row.decline_reason,
            invalid: row.invalid,
            placement,
        }
    }

    /// Returns when the outcome happened.
    pub fn event_ms(&self) -> i64 {
        self.row.event_time.as_ref().map_or(0, |time| Moment::from(time).0)
    }
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
    /// Where the newest rows stand.
    rows: Rows,
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
                let shown = Shown::of(fact.showing.as_ref(), fact.context.as_ref());
                self.credit(stamp, (0, shown), row_of_match(fact), Earned::by_match(fact));
            }
            Kind::ConversionCredited(fact) => {
                let tapped = touch_kind(&Earned::by_conversion(fact)) == TouchKind::Tap;
                let click = fact.showing.as_ref().filter(|_| tapped);
                let click = click.map_or(0, |showing| showing.view);
                let shown = Shown::of(fact.showing.as_ref(), fact.context.as_ref());
                let earned = Earned::by_conversion(fact);
                self.credit(stamp, (click, shown), row_of_conversion(fact), earned);
            }
            Kind::OutcomeDeclined(fact) => {
                let earned = Earned { judged_ms: fact.event_ms, ..Earned::default() };
                let shown = Shown { viewer: fact.viewer, ..Shown::default() };
                self.credit(stamp, (0, shown), row_of_decline(fact), earned);
            }
            Kind::StepCredited(fact) => {
                // A conversation's steps are counted without their showing.
                let shown = Shown { feed: 0, ..Shown::of(fact.showing.as_ref(), None) };
                self.credit(stamp, (0, shown), row_of_step(fact), Earned::by_step(fact));
            }
            Kind::OutcomeRevised(fact) => self.revise(stamp, fact),
            // Rows stay as long as money may be corrected.
            Kind::ViewerErased(fact) => self.codes.retain(|_, entry| entry.viewer != fact.viewer),
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
            | Kind::RevisionSettled(_)
            | Kind::TouchRevised(_)
            | Kind::OutboxSettled(_) => {}
        }
    }

    fn credit(
        &mut self,
        stamp: Stamp,
        (click, shown): (u64, Shown),
        mut row: AttributionRow,
        earned: Earned<'_>,
    ) {
        row.revision = row.revision.max(1);
        row.journal_minute = Some(timestamp(stamp.at.0 - stamp.at.0.rem_euclid(MINUTE_MS)));
        row.touch_kind = touch_kind(&earned).into();
        let (path, judged_ms) = (earned.path.into_owned(), earned.judged_ms);
        let (seq, at_ms) = (stamp.seq.0, stamp.at.0);
        self.rows.note(shown.viewer, row.outcome_id, seq);
        self.credits.push_back(Credit { seq, at_ms, click, row, path, judged_ms, shown });
    }

    fn revise(&mut self, stamp: Stamp, fact: &OutcomeRevised) {
        let none = Standing::default();
        let after = fact.after.as_ref().unwrap_or(&none);
        let earned = Earned::by_standing(fact, after);
        let showing = after.showing.unwrap_or_default();
        let shown = Shown {
            view: showing.view,
            viewer: fact.viewer,
            feed: showing.feed,
            placement: after.placement,
        };
        let is_sale = fact.kind() == Outcome::Conversion && touch_kind(&earned) == TouchKind::Tap;
        let click = if is_sale { showing.view } else { 0 };
        self.credit(stamp, (click, shown), row_of_revision(fact, after), earned);
        if fact.adjustment != 0 {
            let content = adjusted_content(after.value.as_ref().filter(|_| !fact.withdrawn));
            self.rows.adjust(fact.outcome, Adjusted { adjustment: fact.adjustment, content });
        }
    }

    /// Returns the adjustments of a conversion whose newest row stands in this shard, the oldest first.
    pub fn adjusted(&self, outcome: u64) -> &[Adjusted] {
        self.rows.adjusted(outcome)
    }

    /// Returns the newest row of an outcome that stands in this shard.
    pub fn newest(&self, outcome: u64) -> Option<&Credit> {
        self.credit_at(self.rows.newest(outcome)?)
    }

    /// Returns the newest rows of a viewer's outcomes, in the order in which they first came.
    pub fn of_viewer(&self, viewer: u64) -> impl Iterator<Item = &Credit> {
        self.rows.of_viewer(viewer).iter().filter_map(|outcome| self.newest(*outcome))
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
        while let Some(old) = self.credits.pop_front_if(|credit| credit.at_ms < credits_from) {
            self.rows.forget(old.shown.viewer, old.row.outcome_id, old.seq);
        }
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

/// Returns a number that differs, but for chance, when adjustments do: what a conversion is worth now; `None`: it is
/// retracted.
pub fn adjusted_content(value: Option<&Money>) -> u64 {
    let (kind, micros, currency) =
        value.map_or((0, 0, ""), |value| (1, value.micros, value.currency.as_str()));
    fnv1a([kind].into_iter().chain(currency.bytes()).chain(micros.to_le_bytes()))
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
    // What the tap cost is no price of the conversation.
    let charge = fact.charge.as_ref().filter(|_| !fact.tap_billed);
    let row = AttributionRow {
        outcome_id: fact.outcome,
        outcome: Outcome::Conversation.into(),
        conversation_id: fact.conversation,
        event_time: Some(timestamp(fact.event_ms)),
        touch_time: Some(timestamp(fact.touch_ms)),
        match_kind: fact.match_kind,
        match_confidence: confidence_of(fact.match_kind()).into(),
        charged_micros: charge.map_or(0, |charge| charge.amount),
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

fn row_of_revision(fact: &OutcomeRevised, after: &Standing) -> AttributionRow {
    let touch_time = after.showing.map(|_| timestamp(after.touch_ms));
    let row = AttributionRow {
        outcome_id: fact.outcome,
        revision: fact.revision,
        outcome: fact.kind,
        account_id: fact.account,
        conversation_id: fact.conversation,
        event_id: fact.event_id.clone(),
        name: fact.name.clone(),
        value: after.value.clone(),
        event_time: Some(timestamp(fact.event_ms)),
        touch_time,
        match_kind: after.match_kind,
        match_confidence: confidence_of(after.match_kind()).into(),
        decline_reason: after.decline_reason,
        charged_micros: fact.charged,
        invalid: after.invalid,
        revision_cause: fact.cause,
        withdrawn: fact.withdrawn,
        ..AttributionRow::default()
    };
    credited(after.showing.as_ref(), row)
}
