//! Which columns a report has: what each metric needs, and why one does not go with a question.

use crate::report::query::Query;
use crate::state::breakdowns::{Cut, Step};
use crate::types::proto::v1::{Dimension, Metric, ReportRow};

/// All metrics.
pub const METRICS: [Metric; 29] = [
    Metric::Impressions,
    Metric::Viewable,
    Metric::Reach,
    Metric::Frequency,
    Metric::Taps,
    Metric::TapRate,
    Metric::Conversations,
    Metric::FirstMessages,
    Metric::FirstReplies,
    Metric::Qualified,
    Metric::Conversions,
    Metric::ConversionValue,
    Metric::Spend,
    Metric::OverDelivered,
    Metric::Credited,
    Metric::MessageCost,
    Metric::CostPerThousand,
    Metric::CostPerTap,
    Metric::CostPerConversion,
    Metric::CostPerConversation,
    Metric::CostPerReply,
    Metric::CostPerQualified,
    Metric::ReturnOnSpend,
    Metric::Invalid,
    Metric::Feedback,
    Metric::People,
    Metric::Matches,
    Metric::MedianFirstReply,
    Metric::EmptySlots,
];

/// Returns why a metric does not go with the dimensions, filters, breakdown and span of a question; `None`: it does.
pub fn mismatch(metric: Metric, query: &Query) -> Option<&'static str> {
    let has = |dimension| query.dimensions.contains(&dimension);
    if query.breakdown == Some(Cut::EntryPoint) && metric != Metric::Conversations {
        return Some("does not go with the breakdown ENTRY_POINT: only CONVERSATIONS come by one");
    }
    if query.breakdown.is_some() && !is_broken_down(metric) {
        return Some("is not counted by breakdowns: ask for it without one");
    }
    if has(Dimension::MatchConfidence) && !matches!(metric, Metric::Conversations | Metric::Matches)
    {
        return Some(
            "does not go with MATCH_CONFIDENCE: only CONVERSATIONS and MATCHES are matched",
        );
    }
    if query.is_of_credits() && !is_outcome(metric) {
        return Some(
            "does not go with models and windows: they split CONVERSATIONS, FIRST_REPLIES, \
                     QUALIFIED, CONVERSIONS and CONVERSION_VALUE",
        );
    }
    let by_feed = has(Dimension::Feed)
        || has(Dimension::Placement)
        || !query.filters.feeds.is_empty()
        || !query.filters.placements.is_empty();
    if by_feed && is_told_later(metric) {
        return Some("does not go with feeds and placements: chat platforms know neither");
    }
    if !matches!(metric, Metric::Reach | Metric::Frequency) {
        return None;
    }
    if by_feed {
        return Some("does not go with feeds and placements: people are counted by ad");
    }
    if has(Dimension::Hour) || has(Dimension::Day) {
        return Some("does not go with HOUR and DAY: people are counted by UTC_DAY");
    }
    let whole = "needs whole days: let the span begin and end at midnight UTC";
    (!query.has_whole_days()).then_some(whole)
}

const fn is_broken_down(metric: Metric) -> bool {
    !steps_of(metric).is_empty()
}

/// Tells whether a metric is of what attribution models split.
const fn is_outcome(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Conversations
            | Metric::FirstReplies
            | Metric::Qualified
            | Metric::Conversions
            | Metric::ConversionValue
    )
}

/// Tells whether a metric holds what is told about a conversation after its opening.
const fn is_told_later(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::FirstMessages
            | Metric::FirstReplies
            | Metric::Qualified
            | Metric::MessageCost
            | Metric::CostPerConversation
            | Metric::CostPerReply
            | Metric::CostPerQualified
            | Metric::People
            | Metric::MedianFirstReply
    )
}

/// Returns the steps of which a cell must have enough people to show a metric; none: it is not broken down.
/// Money tells what was billed, whichever step that is.
pub const fn steps_of(metric: Metric) -> &'static [Step] {
    match metric {
        Metric::Impressions | Metric::Viewable => &[Step::Seen],
        Metric::Taps => &[Step::Tapped],
        Metric::TapRate => &[Step::Seen, Step::Tapped],
        Metric::Conversations => &[Step::Opened],
        Metric::Conversions | Metric::ConversionValue => &[Step::Converted],
        Metric::Spend | Metric::CostPerThousand | Metric::CostPerTap => {
            &[Step::Seen, Step::Tapped, Step::Opened]
        }
        Metric::CostPerConversion | Metric::ReturnOnSpend => &Step::ALL,
        _ => &[],
    }
}

/// Returns the number that rows are ordered by; `None`: it is absent. The inner one is `None` for a metric that is
/// more than one number.
pub fn number_of(row: &ReportRow, metric: Metric) -> Option<Option<i128>> {
    if let (Some(credited), true) = (&row.credited, is_outcome(metric)) {
        return Some(Some(match metric {
            Metric::Conversations => credited.conversations_micros.into(),
            Metric::FirstReplies => credited.first_replies_micros.into(),
            Metric::Qualified => credited.qualified_micros.into(),
            Metric::Conversions => credited.conversions_micros.into(),
            _ => row.conversion_value_micros.into(),
        }));
    }
    Some(match metric {
        Metric::Impressions => Some(row.impressions.into()),
        Metric::Viewable => Some(row.viewable.into()),
        Metric::Reach => row.reach.map(i128::from),
        Metric::Frequency => row.frequency_thousandths.map(i128::from),
        Metric::Taps => Some(row.taps.into()),
        Metric::TapRate => row.tap_rate_ppm.map(i128::from),
        Metric::Conversations => Some(row.conversations.into()),
        Metric::FirstMessages => Some(row.first_messages.into()),
        Metric::FirstReplies => Some(row.first_replies.into()),
        Metric::Qualified => Some(row.qualified.into()),
        Metric::Conversions => Some(row.conversions.into()),
        Metric::ConversionValue => Some(row.conversion_value_micros.into()),
        Metric::Spend => Some(row.spend_micros.into()),
        Metric::OverDelivered => Some(row.over_delivered_micros.into()),
        Metric::Credited => Some(row.credited_micros.into()),
        Metric::MessageCost => Some(row.message_cost_micros.into()),
        Metric::CostPerThousand => row.cost_per_thousand_micros.map(i128::from),
        Metric::CostPerTap => row.cost_per_tap_micros.map(i128::from),
        Metric::CostPerConversion => row.cost_per_conversion_micros.map(i128::from),
        Metric::CostPerConversation => row.cost_per_conversation_micros.map(i128::from),
        Metric::CostPerReply => row.cost_per_reply_micros.map(i128::from),
        Metric::CostPerQualified => row.cost_per_qualified_micros.map(i128::from),
        Metric::ReturnOnSpend => row.return_on_spend_thousandths.map(i128::from),
        Metric::MedianFirstReply => row.median_first_reply_s.map(i128::from),
        Metric::Unspecified
        | Metric::Invalid
        | Metric::Feedback
        | Metric::People
        | Metric::Matches
        | Metric::EmptySlots => return None,
    })
}

/// Empties columns.
pub(super) fn clear(row: &mut ReportRow, metrics: &[Metric]) {
    metrics.iter().for_each(|metric| clear_one(row, *metric));
}

fn clear_one(row: &mut ReportRow, metric: Metric) {
    if let Some(credited) = &mut row.credited {
        match metric {
            Metric::Conversations => credited.conversations_micros = 0,
            Metric::FirstReplies => credited.first_replies_micros = 0,
            Metric::Qualified => credited.qualified_micros = 0,
            Metric::Conversions => credited.conversions_micros = 0,
            _ => {}
        }
    }
    match metric {
        Metric::Impressions => row.impressions = 0,
        Metric::Viewable => row.viewable = 0,
        Metric::Reach => row.reach = None,
        Metric::Frequency => row.frequency_thousandths = None,
        Metric::Taps => row.taps = 0,
        Metric::TapRate => row.tap_rate_ppm = None,
        Metric::Conversations => row.conversations = 0,
        Metric::FirstMessages => row.first_messages = 0,
        Metric::FirstReplies => row.first_replies = 0,
        Metric::Qualified => row.qualified = 0,
        Metric::Conversions => row.conversions = 0,
        Metric::ConversionValue => row.conversion_value_micros = 0,
        Metric::Spend => row.spend_micros = 0,
        Metric::OverDelivered => row.over_delivered_micros = 0,
        Metric::Credited => row.credited_micros = 0,
        Metric::MessageCost => {
            row.messages.clear();
            (row.message_cost_micros, row.unpriced_messages) = (0, 0);
        }
        Metric::CostPerThousand => row.cost_per_thousand_micros = None,
        Metric::CostPerTap => row.cost_per_tap_micros = None,
        Metric::CostPerConversion => row.cost_per_conversion_micros = None,
        Metric::CostPerConversation => row.cost_per_conversation_micros = None,
        Metric::CostPerReply => row.cost_per_reply_micros = None,
        Metric::CostPerQualified => row.cost_per_qualified_micros = None,
        Metric::ReturnOnSpend => row.return_on_spend_thousandths = None,
        Metric::Invalid => {
            (row.invalid_impressions, row.invalid_taps, row.invalid_conversations) = (0, 0, 0);
        }
        Metric::Feedback => (row.hides, row.reports) = (0, 0),
        Metric::People => row.people = None,
        Metric::Matches => row.matches.clear(),
        Metric::MedianFirstReply => row.median_first_reply_s = None,
        Metric::Unspecified | Metric::EmptySlots => {}
    }
}
