//! A report as JSON: every column, by the names of the interface.

use serde::Serialize;

use crate::cli::report::{id, short, written};
use crate::types::proto::v1::{
    CreditedOutcomes, FunnelPeople, MatchCount, MessageSpend, QueryReportResponse, ReportRow,
};

/// One row as JSON has it. Ids are text: they do not fit a JavaScript number.
#[derive(Serialize)]
struct JsonRow {
    account_id: String,
    campaign_id: String,
    ad_set_id: String,
    ad_id: String,
    channel: String,
    feed_id: u32,
    placement: &'static str,
    match_confidence: &'static str,
    creative_type: &'static str,
    model: &'static str,
    window: &'static str,
    breakdown: String,
    other: bool,
    period: String,
    currency: String,
    impressions: u64,
    viewable: u64,
    taps: u64,
    conversations: u64,
    first_messages: u64,
    first_replies: u64,
    qualified: u64,
    conversions: u64,
    people: JsonPeople,
    matches: Vec<JsonMatch>,
    median_first_reply_s: Option<u32>,
    conversion_value_micros: i64,
    spend_micros: i64,
    over_delivered_micros: i64,
    hides: u64,
    reports: u64,
    invalid_impressions: u64,
    invalid_taps: u64,
    invalid_conversations: u64,
    credited_micros: i64,
    messages: Vec<JsonMessages>,
    message_cost_micros: i64,
    unpriced_messages: u64,
    cost_per_conversation_micros: Option<i64>,
    cost_per_reply_micros: Option<i64>,
    cost_per_qualified_micros: Option<i64>,
    reach: Option<u64>,
    frequency_thousandths: Option<u64>,
    tap_rate_ppm: Option<u64>,
    cost_per_thousand_micros: Option<i64>,
    cost_per_tap_micros: Option<i64>,
    cost_per_conversion_micros: Option<i64>,
    return_on_spend_thousandths: Option<i64>,
    credited: Option<JsonCredited>,
}

#[derive(Serialize)]
struct JsonCredited {
    conversations_micros: u64,
    first_replies_micros: u64,
    qualified_micros: u64,
    conversions_micros: u64,
}

impl JsonCredited {
    const fn of(credited: &CreditedOutcomes) -> Self {
        Self {
            conversations_micros: credited.conversations_micros,
            first_replies_micros: credited.first_replies_micros,
            qualified_micros: credited.qualified_micros,
            conversions_micros: credited.conversions_micros,
        }
    }
}

#[derive(Serialize)]
struct JsonPeople {
    tapped: u64,
    opened: u64,
    wrote: u64,
    replied: u64,
    qualified: u64,
    converted: u64,
}

impl JsonPeople {
    const fn of(people: FunnelPeople) -> Self {
        let FunnelPeople { tapped, opened, wrote, replied, qualified, converted } = people;
        Self { tapped, opened, wrote, replied, qualified, converted }
    }
}

#[derive(Serialize)]
struct JsonMatch {
    kind: &'static str,
    confidence: &'static str,
    conversations: u64,
}

impl JsonMatch {
    fn of(matched: &MatchCount) -> Self {
        Self {
            kind: short(matched.kind().as_str_name(), "MATCH_KIND_"),
            confidence: short(matched.confidence().as_str_name(), "MATCH_CONFIDENCE_"),
            conversations: matched.conversations,
        }
    }
}

#[derive(Serialize)]
struct JsonMessages {
    category: &'static str,
    messages: u64,
    free_messages: u64,
    cost_micros: i64,
}

impl JsonMessages {
    fn of(spend: &MessageSpend) -> Self {
        Self {
            category: short(spend.category().as_str_name(), "MESSAGE_CATEGORY_"),
            messages: spend.messages,
            free_messages: spend.free_messages,
            cost_micros: spend.cost_micros,
        }
    }
}

/// Returns the report as one object.
pub(super) fn json(answer: &QueryReportResponse) -> serde_json::Value {
    serde_json::json!({
        "rows": answer.rows.iter().map(row).collect::<Vec<_>>(),
        "complete_up_to": written(answer.complete_up_to.as_ref()),
        "settled_fraction": answer.settled_fraction,
        "people_up_to": written(answer.people_up_to.as_ref()),
    })
}

fn row(row: &ReportRow) -> JsonRow {
    let told = |number: i32, name: &'static str, prefix| match number {
        0 => "",
        _ => short(name, prefix),
    };
    let channel = told(row.channel, row.channel().as_str_name(), "CHANNEL_");
    let (placement, confidence) = (row.placement(), row.match_confidence());
    let creative = row.creative_type();
    JsonRow {
        account_id: id(row.account_id),
        campaign_id: id(row.campaign_id),
        ad_set_id: id(row.ad_set_id),
        ad_id: id(row.ad_id),
        channel: channel.to_owned(),
        feed_id: row.feed_id,
        placement: told(row.placement, placement.as_str_name(), "PLACEMENT_"),
        match_confidence: told(row.match_confidence, confidence.as_str_name(), "MATCH_CONFIDENCE_"),
        creative_type: told(row.creative_type, creative.as_str_name(), "CREATIVE_FORMAT_"),
        model: told(row.model, row.model().as_str_name(), "ATTRIBUTION_MODEL_"),
        window: told(row.window, row.window().as_str_name(), "ATTRIBUTION_WINDOW_"),
        breakdown: row.breakdown.clone(),
        other: row.other,
        period: written(row.period.as_ref()),
        currency: row.currency.clone(),
        impressions: row.impressions,
        viewable: row.viewable,
        taps: row.taps,
        conversations: row.conversations,
        first_messages: row.first_messages,
        first_replies: row.first_replies,
        qualified: row.qualified,
        conversions: row.conversions,
        people: JsonPeople::of(row.people.unwrap_or_default()),
        matches: row.matches.iter().map(JsonMatch::of).collect(),
        median_first_reply_s: row.median_first_reply_s,
        conversion_value_micros: row.conversion_value_micros,
        spend_micros: row.spend_micros,
        over_delivered_micros: row.over_delivered_micros,
        hides: row.hides,
        reports: row.reports,
        invalid_impressions: row.invalid_impressions,
        invalid_taps: row.invalid_taps,
        invalid_conversations: row.invalid_conversations,
        credited_micros: row.credited_micros,
        messages: row.messages.iter().map(JsonMessages::of).collect(),
        message_cost_micros: row.message_cost_micros,
        unpriced_messages: row.unpriced_messages,
        cost_per_conversation_micros: row.cost_per_conversation_micros,
        cost_per_reply_micros: row.cost_per_reply_micros,
        cost_per_qualified_micros: row.cost_per_qualified_micros,
        reach: row.reach,
        frequency_thousandths: row.frequency_thousandths,
        tap_rate_ppm: row.tap_rate_ppm,
        cost_per_thousand_micros: row.cost_per_thousand_micros,
        cost_per_tap_micros: row.cost_per_tap_micros,
        cost_per_conversion_micros: row.cost_per_conversion_micros,
        return_on_spend_thousandths: row.return_on_spend_thousandths,
        credited: row.credited.as_ref().map(JsonCredited::of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_column_and_enums_by_their_short_names() {
        let matched = MatchCount { kind: 2, confidence: 2, conversations: 4 };
        let spend = MessageSpend { category: 1, messages: 3, free_messages: 1, cost_micros: 90 };
        let people = FunnelPeople { tapped: 9, converted: 1, ..FunnelPeople::default() };
        let row = ReportRow {
            channel: 1,
            matches: vec![matched],
            messages: vec![spend],
            people: Some(people),
            median_first_reply_s: Some(61),
            ..ReportRow::default()
        };
        let told = json(&QueryReportResponse { rows: vec![row], ..Default::default() });
        let row = &told["rows"][0];
        assert_eq!(row["channel"], "WHATSAPP");
        assert_eq!(row["matches"][0]["kind"], "PREFILL_CODE");
        assert_eq!(row["matches"][0]["confidence"], "HIGH");
        assert_eq!(row["messages"][0]["category"], "MARKETING");
        assert_eq!((&row["people"]["tapped"], &row["people"]["converted"]), (&9.into(), &1.into()));
        assert_eq!(row["median_first_reply_s"], 61);
        assert!(row["cost_per_conversation_micros"].is_null());
    }
}
