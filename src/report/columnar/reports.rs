//! The table `reports`: the rows of any `QueryReport`.

use crate::report::columnar::{Column, Take, name};
use crate::types::proto::v1::{
    AttributionModel, AttributionWindow, Channel, CreativeFormat, CreditedOutcomes, FunnelPeople,
    MatchConfidence, MessageSpend, Placement, ReportRow,
};

type Row = ReportRow;

fn people(row: &Row) -> Option<&FunnelPeople> {
    row.people.as_ref()
}

fn credited(row: &Row) -> Option<&CreditedOutcomes> {
    row.credited.as_ref()
}

/// Conversations that one `MatchKind` led to an ad.
fn matched<const KIND: i32>(row: &Row) -> u64 {
    let of_kind = row.matches.iter().filter(|count| count.kind == KIND);
    of_kind.map(|count| count.conversations).sum()
}

/// What the chat platform charged for messages of one `MessageCategory`.
fn spend<const CATEGORY: i32>(row: &Row) -> Option<&MessageSpend> {
    row.messages.iter().find(|spend| spend.category == CATEGORY)
}

fn sent<const CATEGORY: i32>(row: &Row) -> Option<u64> {
    Some(spend::<CATEGORY>(row)?.messages)
}

fn free<const CATEGORY: i32>(row: &Row) -> Option<u64> {
    Some(spend::<CATEGORY>(row)?.free_messages)
}

fn cost<const CATEGORY: i32>(row: &Row) -> Option<i64> {
    Some(spend::<CATEGORY>(row)?.cost_micros)
}

/// Its columns: the fields of `ReportRow`. A dimension or metric that was not asked for is 0 or null, as there.
pub const COLUMNS: &[Column<Row>] = &[
    ("account_id", Take::Number(|row| row.account_id)),
    ("campaign_id", Take::Number(|row| row.campaign_id)),
    ("ad_set_id", Take::Number(|row| row.ad_set_id)),
    ("ad_id", Take::Number(|row| row.ad_id)),
    ("channel", name!(|row: &Row| row.channel, Channel, "CHANNEL_")),
    ("feed_id", Take::Number(|row| row.feed_id.into())),
    ("placement", name!(|row: &Row| row.placement, Placement, "PLACEMENT_")),
    (
        "match_confidence",
        name!(|row: &Row| row.match_confidence, MatchConfidence, "MATCH_CONFIDENCE_"),
    ),
    ("creative_type", name!(|row: &Row| row.creative_type, CreativeFormat, "CREATIVE_FORMAT_")),
    ("model", name!(|row: &Row| row.model, AttributionModel, "ATTRIBUTION_MODEL_")),
    ("attribution_window", name!(|row: &Row| row.window, AttributionWindow, "ATTRIBUTION_WINDOW_")),
    ("breakdown", Take::Text(|row| &row.breakdown)),
    ("other", Take::Flag(|row| row.other)),
    ("period", Take::Time(|row| row.period.as_ref())),
    ("currency", Take::Currency(|row| &row.currency)),
    ("impressions", Take::Number(|row| row.impressions)),
    ("viewable", Take::Number(|row| row.viewable)),
    ("taps", Take::Number(|row| row.taps)),
    ("conversations", Take::Number(|row| row.conversations)),
    ("first_messages", Take::Number(|row| row.first_messages)),
    ("first_replies", Take::Number(|row| row.first_replies)),
    ("qualified", Take::Number(|row| row.qualified)),
    ("conversions", Take::Number(|row| row.conversions)),
    ("conversion_value_micros", Take::Micros(|row| Some(row.conversion_value_micros))),
    ("spend_micros", Take::Micros(|row| Some(row.spend_micros))),
    ("credited_micros", Take::Micros(|row| Some(row.credited_micros))),
    ("over_delivered_micros", Take::Micros(|row| Some(row.over_delivered_micros))),
    ("hides", Take::Number(|row| row.hides)),
    ("reports", Take::Number(|row| row.reports)),
    ("invalid_impressions", Take::Number(|row| row.invalid_impressions)),
    ("invalid_taps", Take::Number(|row| row.invalid_taps)),
    ("invalid_conversations", Take::Number(|row| row.invalid_conversations)),
    ("people_tapped", Take::Optional(|row| Some(people(row)?.tapped))),
    ("people_opened", Take::Optional(|row| Some(people(row)?.opened))),
    ("people_wrote", Take::Optional(|row| Some(people(row)?.wrote))),
    ("people_replied", Take::Optional(|row| Some(people(row)?.replied))),
    ("people_qualified", Take::Optional(|row| Some(people(row)?.qualified))),
    ("people_converted", Take::Optional(|row| Some(people(row)?.converted))),
    ("matched_click_token", Take::Number(matched::<1>)),
    ("matched_prefill_code", Take::Number(matched::<2>)),
    ("matched_channel_ref", Take::Number(matched::<3>)),
    ("matched_source_code", Take::Number(matched::<4>)),
    ("matched_only_tap", Take::Number(matched::<5>)),
    ("matched_viewer", Take::Number(matched::<6>)),
    ("median_first_reply_s", Take::Optional(|row| row.median_first_reply_s.map(u64::from))),
    ("messages_marketing", Take::Optional(sent::<1>)),
    ("messages_utility", Take::Optional(sent::<2>)),
    ("messages_authentication", Take::Optional(sent::<3>)),
    ("messages_service", Take::Optional(sent::<4>)),
    ("messages_authentication_international", Take::Optional(sent::<5>)),
    ("messages_referral_conversion", Take::Optional(sent::<6>)),
    ("free_messages_marketing", Take::Optional(free::<1>)),
    ("free_messages_utility", Take::Optional(free::<2>)),
    ("free_messages_authentication", Take::Optional(free::<3>)),
    ("free_messages_service", Take::Optional(free::<4>)),
    ("free_messages_authentication_international", Take::Optional(free::<5>)),
    ("free_messages_referral_conversion", Take::Optional(free::<6>)),
    ("message_cost_marketing_micros", Take::Micros(cost::<1>)),
    ("message_cost_utility_micros", Take::Micros(cost::<2>)),
    ("message_cost_authentication_micros", Take::Micros(cost::<3>)),
    ("message_cost_service_micros", Take::Micros(cost::<4>)),
    ("message_cost_authentication_international_micros", Take::Micros(cost::<5>)),
    ("message_cost_referral_conversion_micros", Take::Micros(cost::<6>)),
    ("message_cost_micros", Take::Micros(|row| Some(row.message_cost_micros))),
    ("unpriced_messages", Take::Number(|row| row.unpriced_messages)),
    ("cost_per_conversation_micros", Take::Micros(|row| row.cost_per_conversation_micros)),
    ("cost_per_reply_micros", Take::Micros(|row| row.cost_per_reply_micros)),
    ("cost_per_qualified_micros", Take::Micros(|row| row.cost_per_qualified_micros)),
    ("reach", Take::Optional(|row| row.reach)),
    ("frequency_thousandths", Take::Optional(|row| row.frequency_thousandths)),
    ("tap_rate_ppm", Take::Optional(|row| row.tap_rate_ppm)),
    ("cost_per_thousand_micros", Take::Micros(|row| row.cost_per_thousand_micros)),
    ("cost_per_tap_micros", Take::Micros(|row| row.cost_per_tap_micros)),
    ("cost_per_conversion_micros", Take::Micros(|row| row.cost_per_conversion_micros)),
    ("return_on_spend_thousandths", Take::Micros(|row| row.return_on_spend_thousandths)),
    (
        "conversations_credit_micros",
        Take::Optional(|row| Some(credited(row)?.conversations_micros)),
    ),
    (
        "first_replies_credit_micros",
        Take::Optional(|row| Some(credited(row)?.first_replies_micros)),
    ),
    ("qualified_credit_micros", Take::Optional(|row| Some(credited(row)?.qualified_micros))),
    ("conversions_credit_micros", Take::Optional(|row| Some(credited(row)?.conversions_micros))),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{MatchKind, MessageCategory};

    #[test]
    fn each_kind_of_match_and_category_of_message_has_its_columns() {
        let has = |wanted: String| {
            assert!(COLUMNS.iter().any(|(name, _)| *name == wanted), "{wanted}");
        };
        for kind in (1..).map_while(|number| MatchKind::try_from(number).ok()) {
            has(kind.as_str_name().replace("MATCH_KIND_", "matched_").to_lowercase());
        }
        for category in (1..).map_while(|number| MessageCategory::try_from(number).ok()) {
            let name =
                category.as_str_name().trim_start_matches("MESSAGE_CATEGORY_").to_lowercase();
            has(format!("messages_{name}"));
            has(format!("free_messages_{name}"));
            has(format!("message_cost_{name}_micros"));
        }
    }
}
