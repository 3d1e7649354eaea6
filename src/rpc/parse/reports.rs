//! What an analyst asks of the tallies.

use prost::Message;

use crate::report::metrics::{METRICS, mismatch, number_of};
use crate::report::query::{Filters, Query};
use crate::report::rows::{By, Order};
use crate::rpc::limits::{
    REPORT_DAYS_MAX, REPORT_FILTER_MAX, REPORT_ORDERS_MAX, REPORT_PAGE_DEFAULT, REPORT_PAGE_MAX,
};
use crate::rpc::parse::field::{Path, at_most, id, moment, required, variant};
use crate::rpc::parse::places::{List, page_size_within};
use crate::state::breakdowns::Cut;
use crate::tokens::Sealer;
use crate::types::attribution::RULE_MODELS;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Dimensions of one report: each once.
const DIMENSIONS_MAX: usize = 14;

/// Returns the list that a report's pages belong to, and its question.
pub(in crate::rpc) fn query(
    wire: v1::QueryReportRequest,
    scope: Scope,
    now: Moment,
    sealer: &Sealer,
) -> Result<(List, Query), Refusal> {
    let list = List::new("QueryReportRequest", &question(&wire, scope));
    let (start_hour, end_hour, is_open) = span(&wire, now)?;
    let query = Query {
        start_hour,
        end_hour,
        is_open,
        dimensions: dimensions(&wire.dimensions)?,
        breakdown: cut(wire.breakdown)?,
        metrics: Vec::new(),
        account: wire.account_id,
        campaign: wire.campaign_id,
        filters: filters(&wire)?,
        order: Vec::new(),
        skip: list.open(&wire.page_token, sealer)?,
        limit: page_size_within(wire.page_size, REPORT_PAGE_DEFAULT, REPORT_PAGE_MAX)?,
    };
    go_together(&query)?;
    let metrics = metrics(&wire.metrics, &query, scope)?;
    let query = Query { metrics, ..query };
    let order = order(&wire.order_by, &query)?;
    Ok((list, Query { order, ..query }))
}

/// Returns everything that chooses and orders rows, as numbers.
fn question(wire: &v1::QueryReportRequest, scope: Scope) -> Vec<u64> {
    let asked = v1::QueryReportRequest { page_size: 0, page_token: String::new(), ..wire.clone() };
    let bytes = asked.encode_to_vec();
    let eight = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let whose = [scope.tenant.into(), scope.any.into(), bytes.len() as u64];
    whose.into_iter().chain(bytes.chunks(8).map(eight)).collect()
}

/// Returns the first hour, the hour after the last one, and whether no end was told.
fn span(wire: &v1::QueryReportRequest, now: Moment) -> Result<(u32, u32, bool), Refusal> {
    let end_path = Path::root("end_time");
    let told_start = moment(wire.start_time, Path::root("start_time"))?;
    let start = told_start.unwrap_or_default().hour();
    // Both are cut to their hour; the hour that runs now is part of what is not bounded.
    let Some(end) = moment(wire.end_time, end_path)?.map(Moment::hour) else {
        return Ok((start, now.hour() + 1, true));
    };
    if end <= start {
        let message = "is not in a later hour than start_time: send a later end, or none";
        return Err(end_path.refuse(Reason::EndBeforeStart, message));
    }
    if told_start.is_some() && end - start > REPORT_DAYS_MAX * 24 {
        let message = format!(
            "is more than {REPORT_DAYS_MAX} days after start_time: ask for parts, or leave an end out"
        );
        return Err(end_path.refuse(Reason::TooLarge, message));
    }
    Ok((start, end, false))
}

fn dimensions(wire: &[i32]) -> Result<Vec<v1::Dimension>, Refusal> {
    let path = Path::root("dimensions");
    at_most(wire.len(), DIMENSIONS_MAX, path)?;
    let dimension = |(index, &value): (usize, &i32)| {
        known(value, path.at(index), || names(1.., v1::Dimension::as_str_name, "DIMENSION_"))
    };
    let dimensions: Vec<v1::Dimension> =
        wire.iter().enumerate().map(dimension).collect::<Result<_, _>>()?;
    let periods = [v1::Dimension::Hour, v1::Dimension::Day, v1::Dimension::UtcDay];
    if periods.iter().filter(|period| dimensions.contains(period)).count() > 1 {
        let message =
            "has several of HOUR, DAY and UTC_DAY: a row has one period, ask for one of them";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    Ok(dimensions)
}

/// Returns an enum's value that must be told; the refusal lists the valid ones.
fn known<E>(value: i32, path: Path, valid: impl Fn() -> String) -> Result<E, Refusal>
where
    E: TryFrom<i32> + Default + PartialEq,
{
    let found = E::try_from(value).ok().filter(|found| *found != E::default());
    let message = || format!("{value} is none of {}: take one of these", valid());
    found.ok_or_else(|| path.refuse(Reason::FieldInvalid, message()))
}

/// Returns the names of an enum's values from a number on, without their prefix.
fn names<E: TryFrom<i32>>(
    numbers: std::ops::RangeFrom<i32>,
    name: fn(&E) -> &'static str,
    prefix: &str,
) -> String {
    let values = numbers.map_while(|number| E::try_from(number).ok());
    let names = values.map(|value| name(&value).trim_start_matches(prefix).to_owned());
    names.collect::<Vec<_>>().join(", ")
}

fn cut(wire: i32) -> Result<Option<Cut>, Refusal> {
    if wire == 0 {
        return Ok(None);
    }
    let valid = || names(1.., v1::Breakdown::as_str_name, "BREAKDOWN_");
    Ok(match known(wire, Path::root("breakdown"), valid)? {
        v1::Breakdown::Unspecified => None,
        v1::Breakdown::Country => Some(Cut::Country),
        v1::Breakdown::Region => Some(Cut::Region),
        v1::Breakdown::AgeGender => Some(Cut::AgeGender),
        v1::Breakdown::Os => Some(Cut::Os),
        v1::Breakdown::Position => Some(Cut::Position),
        v1::Breakdown::EntryPoint => Some(Cut::EntryPoint),
    })
}

fn filters(wire: &v1::QueryReportRequest) -> Result<Filters, Refusal> {
    Ok(Filters {
        campaigns: ids(&wire.campaign_ids, Path::root("campaign_ids"))?,
        ad_sets: ids(&wire.ad_set_ids, Path::root("ad_set_ids"))?,
        ads: ids(&wire.ad_ids, Path::root("ad_ids"))?,
        channels: values::<v1::Channel>(&wire.channels, Path::root("channels"))?,
        models: values::<v1::AttributionModel>(&wire.models, Path::root("models"))?,
        windows: values::<v1::AttributionWindow>(&wire.windows, Path::root("windows"))?,
        feeds: ids(&wire.feed_ids, Path::root("feed_ids"))?,
        placements: values::<v1::Placement>(&wire.placements, Path::root("placements"))?,
        confidences: values::<v1::MatchConfidence>(
            &wire.match_confidences,
            Path::root("match_confidences"),
        )?,
    })
}

fn ids<T: Copy + Into<u64>>(wire: &[T], path: Path) -> Result<Vec<T>, Refusal> {
    at_most(wire.len(), REPORT_FILTER_MAX, path)?;
    for (index, value) in wire.iter().enumerate() {
        id((*value).into(), path.at(index))?;
    }
    Ok(wire.to_vec())
}

fn values<E>(wire: &[i32], path: Path) -> Result<Vec<i32>, Refusal>
where
    E: TryFrom<i32> + Default + PartialEq,
{
    at_most(wire.len(), REPORT_FILTER_MAX, path)?;
    for (index, value) in wire.iter().enumerate() {
        variant::<E>(*value, path.at(index))?;
    }
    Ok(wire.to_vec())
}

/// Refuses dimensions, filters and a breakdown that do not go together.
fn go_together(query: &Query) -> Result<(), Refusal> {
    let by_confidence = query.has(v1::Dimension::MatchConfidence);
    if !query.filters.confidences.is_empty() && !by_confidence {
        let message = "goes only with the dimension MATCH_CONFIDENCE: ask for that too";
        return Err(Path::root("match_confidences").refuse(Reason::FieldInvalid, message));
    }
    credits_go_together(query)?;
    if query.breakdown.is_none() {
        return Ok(());
    }
    let path = Path::root("breakdown");
    let apart = [
        v1::Dimension::Hour,
        v1::Dimension::Day,
        v1::Dimension::Feed,
        v1::Dimension::Placement,
        v1::Dimension::MatchConfidence,
    ];
    if let Some(dimension) = apart.into_iter().find(|dimension| query.has(*dimension)) {
        let name = dimension.as_str_name().trim_start_matches("DIMENSION_");
        let message = format!(
            "does not go with {name}: its cells are whole days (UTC_DAY) of an ad; leave one of them out"
        );
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    if !query.filters.feeds.is_empty() || !query.filters.placements.is_empty() {
        let message = "does not go with feed_ids and placements: leave one of them out";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    if !query.has_whole_days() {
        let message = "needs whole days: let the span begin and end at midnight UTC";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

fn credits_go_together(query: &Query) -> Result<(), Refusal> {
    if !query.is_of_credits() {
        return Ok(());
    }
    let Filters { models, windows, .. } = &query.filters;
    let live = |model: &i32| RULE_MODELS.iter().any(|known| i32::from(*known) == *model);
    if let Some(at) = models.iter().position(|model| !live(model)) {
        let message =
            "is computed over a period and in no report: take one that splits single outcomes";
        return Err(Path::root("models").at(at).refuse(Reason::FieldInvalid, message));
    }
    let several = [
        ("models", models.len(), v1::Dimension::Model),
        ("windows", windows.len(), v1::Dimension::Window),
    ];
    for (field, count, dimension) in several {
        if count > 1 && !query.has(dimension) {
            let message =
                "has several, which would count outcomes more than once: add the dimension too";
            return Err(Path::root(field).refuse(Reason::FieldInvalid, message));
        }
    }
    if query.has(v1::Dimension::MatchConfidence) || query.breakdown.is_some() {
        let message = "has MODEL or WINDOW, which go with neither MATCH_CONFIDENCE nor a breakdown";
        return Err(Path::root("dimensions").refuse(Reason::FieldInvalid, message));
    }
    if query.has(v1::Dimension::Feed)
        || query.has(v1::Dimension::Placement)
        || !query.filters.feeds.is_empty()
        || !query.filters.placements.is_empty()
    {
        let message =
            "has MODEL or WINDOW, which do not go with feeds and placements: touches keep neither";
        return Err(Path::root("dimensions").refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

fn metrics(wire: &[i32], query: &Query, scope: Scope) -> Result<Vec<v1::Metric>, Refusal> {
    let path = Path::root("metrics");
    at_most(wire.len(), METRICS.len(), path)?;
    let valid = || names(1.., v1::Metric::as_str_name, "METRIC_");
    let metric = |(index, &value): (usize, &i32)| {
        let metric: v1::Metric = known(value, path.at(index), valid)?;
        let reason = mismatch(metric, query).or_else(|| {
            let operators = metric == v1::Metric::EmptySlots && !scope.any;
            operators.then_some("is only for operators and analysts of all tenants")
        });
        let name = metric.as_str_name().trim_start_matches("METRIC_");
        let refuse =
            |reason| path.at(index).refuse(Reason::FieldInvalid, format!("{name} {reason}"));
        reason.map_or(Ok(metric), |reason| Err(refuse(reason)))
    };
    wire.iter().enumerate().map(metric).collect()
}

fn order(wire: &[v1::ReportOrder], query: &Query) -> Result<Vec<Order>, Refusal> {
    let path = Path::root("order_by");
    at_most(wire.len(), REPORT_ORDERS_MAX, path)?;
    let order = |(index, order): (usize, &v1::ReportOrder)| {
        let place = path.at(index);
        let by = match required(order.by, place)? {
            v1::report_order::By::Metric(value) => {
                let path = place.field("metric");
                let metric = known(value, path, || names(1.., v1::Metric::as_str_name, "METRIC_"))?;
                if !query.asks(metric) || number_of(&v1::ReportRow::default(), metric).is_none() {
                    let message = "is not one of the metrics asked for that are a single number";
                    return Err(path.refuse(Reason::FieldInvalid, message));
                }
                By::Metric(metric)
            }
            v1::report_order::By::Dimension(value) => {
                let path = place.field("dimension");
                let valid = || names(1.., v1::Dimension::as_str_name, "DIMENSION_");
                let dimension = known(value, path, valid)?;
                if !query.has(dimension) {
                    let message = "is not one of the dimensions asked for: add it to dimensions";
                    return Err(path.refuse(Reason::FieldInvalid, message));
                }
                By::Dimension(dimension)
            }
        };
        Ok(Order { by, descending: order.descending })
    };
    wire.iter().enumerate().map(order).collect()
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::rpc::parse::samples::{NOW, sealer};

    const SCOPE: Scope = Scope { tenant: 4, any: false };

    #[test]
    fn a_question_without_bounds_asks_for_all_hours_and_this_one() {
        let query = parse(v1::QueryReportRequest::default()).unwrap();
        assert_eq!((query.start_hour, query.end_hour), (0, NOW.hour() + 1));
        assert_eq!((query.skip, query.limit), (0, 1_000));
    }

    #[test]
    fn a_page_token_belongs_to_its_question() {
        let asked = v1::QueryReportRequest { account_id: 5, ..Default::default() };
        let (list, _) = super::query(asked.clone(), SCOPE, NOW, &sealer()).unwrap();
        let page_token = list.seal(1_000, &sealer());
        let next = v1::QueryReportRequest { page_token: page_token.clone(), ..asked };
        assert_eq!(parse(next.clone()).unwrap().skip, 1_000);
        let later = super::query(next, SCOPE, NOW.plus_ms(7_200_000), &sealer());
        assert!(later.is_ok(), "an open end may move between pages");
        let other = v1::QueryReportRequest { page_token, account_id: 6, ..Default::default() };
        assert_eq!(parse(other).unwrap_err().reason, Reason::CursorForeign);
    }

    #[test]
    fn each_field_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::QueryReportRequest)| {
            let mut wire = v1::QueryReportRequest::default();
            spoil(&mut wire);
            assert_eq!(parse(wire).unwrap_err().field, field);
        };
        check("start_time.seconds", |wire| wire.start_time = second(-1));
        check("end_time", |wire| (wire.start_time, wire.end_time) = (second(3_600), second(7_199)));
        check("dimensions[0]", |wire| wire.dimensions = vec![0]);
        check("dimensions[1]", |wire| wire.dimensions = vec![1, 99]);
        check("dimensions", |wire| wire.dimensions = vec![1; 15]);
        check("dimensions", |wire| wire.dimensions = vec![6, 10]);
        check("breakdown", |wire| wire.breakdown = 99);
        check("breakdown", |wire| (wire.breakdown, wire.dimensions) = (1, vec![5]));
        check("breakdown", |wire| (wire.breakdown, wire.feed_ids) = (1, vec![5]));
        check("breakdown", |wire| (wire.breakdown, wire.start_time) = (1, second(3_600)));
        check("metrics[1]", |wire| wire.metrics = vec![1, 99]);
        check("metrics[0]", |wire| wire.metrics = vec![29]);
        check("metrics[0]", |wire| (wire.metrics, wire.breakdown) = (vec![9], 1));
        check("metrics[0]", |wire| (wire.metrics, wire.dimensions) = (vec![3], vec![6]));
        check("metrics[0]", |wire| (wire.metrics, wire.dimensions) = (vec![9], vec![8]));
        check("metrics[0]", |wire| (wire.metrics, wire.dimensions) = (vec![1], vec![11]));
        check("metrics[0]", |wire| (wire.metrics, wire.start_time) = (vec![3], second(3_600)));
        check("models[0]", |wire| (wire.models, wire.dimensions) = (vec![7], vec![13]));
        check("models", |wire| wire.models = vec![1, 2]);
        check("windows", |wire| (wire.windows, wire.dimensions) = (vec![1, 2], vec![13]));
        check("dimensions", |wire| wire.dimensions = vec![13, 8]);
        check("dimensions", |wire| (wire.dimensions, wire.breakdown) = (vec![14], 1));
        check("metrics[0]", |wire| (wire.metrics, wire.dimensions) = (vec![13], vec![13]));
        check("ad_ids[0]", |wire| wire.ad_ids = vec![0]);
        check("campaign_ids", |wire| wire.campaign_ids = vec![1; 1_001]);
        check("channels[0]", |wire| wire.channels = vec![99]);
        check("match_confidences", |wire| wire.match_confidences = vec![1]);
        check("order_by[0]", |wire| wire.order_by = vec![v1::ReportOrder::default()]);
        check("order_by[0].metric", |wire| wire.order_by = vec![by_metric(24)]);
        check("order_by[0].metric", |wire| {
            (wire.order_by, wire.metrics) = (vec![by_metric(1)], vec![2]);
        });
        check("order_by[0].dimension", |wire| wire.order_by = vec![by_dimension(2)]);
        check("order_by", |wire| wire.order_by = vec![by_metric(1); 4]);
        check("end_time", |wire| {
            (wire.start_time, wire.end_time) = (second(0), second(1_101 * 86_400));
        });
        check("dimensions", |wire| wire.dimensions = vec![5, 6]);
        check("page_size", |wire| wire.page_size = 10_001);
        check("page_token", |wire| wire.page_token = "x".into());
    }

    #[test]
    fn a_refusal_of_an_unknown_metric_lists_those_that_there_are() {
        let wire = v1::QueryReportRequest { metrics: vec![77], ..Default::default() };
        let message = parse(wire).unwrap_err().message;
        assert!(message.contains("77 is none of IMPRESSIONS, VIEWABLE"), "{message}");
        for metric in METRICS {
            let name = metric.as_str_name().trim_start_matches("METRIC_");
            assert!(message.contains(name), "{name}");
        }
    }

    #[test]
    fn a_page_token_belongs_to_filters_metrics_and_order_too() {
        let asked = v1::QueryReportRequest { ad_ids: vec![5], ..Default::default() };
        let (list, _) = super::query(asked.clone(), SCOPE, NOW, &sealer()).unwrap();
        let page_token = list.seal(10, &sealer());
        let next = v1::QueryReportRequest { page_token, page_size: 7, ..asked };
        assert_eq!(parse(next.clone()).unwrap().skip, 10);
        for other in [
            v1::QueryReportRequest { ad_ids: vec![6], ..next.clone() },
            v1::QueryReportRequest { metrics: vec![1], ..next.clone() },
            v1::QueryReportRequest { order_by: vec![by_metric(1)], ..next.clone() },
            v1::QueryReportRequest { breakdown: 1, ..next.clone() },
        ] {
            assert_eq!(parse(other).unwrap_err().reason, Reason::CursorForeign);
        }
    }

    fn by_metric(metric: i32) -> v1::ReportOrder {
        v1::ReportOrder { by: Some(v1::report_order::By::Metric(metric)), descending: false }
    }

    fn by_dimension(dimension: i32) -> v1::ReportOrder {
        let by = Some(v1::report_order::By::Dimension(dimension));
        v1::ReportOrder { by, descending: false }
    }

    fn second(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn parse(wire: v1::QueryReportRequest) -> Result<Query, Refusal> {
        query(wire, SCOPE, NOW, &sealer()).map(|(_, query)| query)
    }
}
