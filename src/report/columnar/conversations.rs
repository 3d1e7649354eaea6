//! The table `conversations`: what is known of each conversation now. Upsert by its id.

use prost_types::Timestamp;

use crate::report::columnar::{Column, Take, name};
use crate::types::proto::v1::{Conversation, EntryPoint, MatchConfidence, MatchKind, Touch};

/// One conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRow {
    /// Who pays.
    pub account_id: u64,
    /// The journal's time of its last event.
    pub last_event_time: Option<Timestamp>,
    /// What is known of it.
    pub conversation: Conversation,
}

type Row = ConversationRow;

fn first(row: &Row) -> Option<&Touch> {
    row.conversation.first_touch.as_ref()
}

fn latest(row: &Row) -> Option<&Touch> {
    row.conversation.latest_touch.as_ref()
}

/// Its columns: `Conversation` without prices and without what changes by the hour alone.
pub const COLUMNS: &[Column<Row>] = &[
    ("conversation_id", Take::Number(|row| row.conversation.id)),
    ("account_id", Take::Number(|row| row.account_id)),
    ("business_id", Take::Number(|row| row.conversation.business_id)),
    ("endpoint_id", Take::Number(|row| row.conversation.endpoint_id)),
    ("open_time", Take::Time(|row| row.conversation.open_time.as_ref())),
    ("entry_point", name!(|row: &Row| row.conversation.entry_point, EntryPoint, "ENTRY_POINT_")),
    ("source_id", Take::Number(|row| row.conversation.source_id)),
    ("first_touch_campaign_id", Take::Optional(|row| Some(first(row)?.campaign_id))),
    ("first_touch_ad_set_id", Take::Optional(|row| Some(first(row)?.ad_set_id))),
    ("first_touch_ad_id", Take::Optional(|row| Some(first(row)?.ad_id))),
    ("first_touch_time", Take::Time(|row| first(row)?.time.as_ref())),
    (
        "first_touch_match_kind",
        name!(|row: &Row| first(row).map_or(0, |touch| touch.match_kind), MatchKind, "MATCH_KIND_"),
    ),
    (
        "first_touch_match_confidence",
        name!(
            |row: &Row| first(row).map_or(0, |touch| touch.match_confidence),
            MatchConfidence,
            "MATCH_CONFIDENCE_"
        ),
    ),
    ("latest_touch_campaign_id", Take::Optional(|row| Some(latest(row)?.campaign_id))),
    ("latest_touch_ad_set_id", Take::Optional(|row| Some(latest(row)?.ad_set_id))),
    ("latest_touch_ad_id", Take::Optional(|row| Some(latest(row)?.ad_id))),
    ("latest_touch_time", Take::Time(|row| latest(row)?.time.as_ref())),
    (
        "latest_touch_match_kind",
        name!(
            |row: &Row| latest(row).map_or(0, |touch| touch.match_kind),
            MatchKind,
            "MATCH_KIND_"
        ),
    ),
    (
        "latest_touch_match_confidence",
        name!(
            |row: &Row| latest(row).map_or(0, |touch| touch.match_confidence),
            MatchConfidence,
            "MATCH_CONFIDENCE_"
        ),
    ),
    ("first_message_time", Take::Time(|row| row.conversation.first_message_time.as_ref())),
    ("first_reply_time", Take::Time(|row| row.conversation.first_reply_time.as_ref())),
    ("inbound_messages", Take::Number(|row| row.conversation.inbound_messages)),
    ("outbound_messages", Take::Number(|row| row.conversation.outbound_messages)),
    ("service_window_end", Take::Time(|row| row.conversation.service_window_end.as_ref())),
    ("qualified", Take::Flag(|row| row.conversation.qualified)),
    ("last_event_time", Take::Time(|row| row.last_event_time.as_ref())),
];
