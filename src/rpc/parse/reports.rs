//! What an analyst asks of the tallies.

use crate::report::query::Query;
use crate::rpc::limits::{REPORT_PAGE_DEFAULT, REPORT_PAGE_MAX};
use crate::rpc::parse::field::{Path, at_most, moment, variant};
use crate::rpc::parse::places::{List, page_size_within};
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Dimensions of one report: each once.
const DIMENSIONS_MAX: usize = 7;

/// Returns the list that a report's pages belong to, and its question.
pub(in crate::rpc) fn query(
    wire: v1::QueryReportRequest,
    scope: Scope,
    now: Moment,
    sealer: &Sealer,
) -> Result<(List, Query), Refusal> {
    let end_path = Path::root("end_time");
    let start = moment(wire.start_time, Path::root("start_time"))?.unwrap_or_default();
    let told_end = moment(wire.end_time, end_path)?;
    // Both are cut to their hour; the hour that runs now is part of what is not bounded.
    let end_hour = told_end.map_or_else(|| now.hour() + 1, Moment::hour);
    if end_hour <= start.hour() && told_end.is_some() {
        let message = "is not in a later hour than start_time: send a later end, or none";
        return Err(end_path.refuse(Reason::EndBeforeStart, message));
    }
    let path = Path::root("dimensions");
    at_most(wire.dimensions.len(), DIMENSIONS_MAX, path)?;
    let dimensions = wire.dimensions.iter().enumerate();
    let dimensions: Vec<v1::Dimension> = dimensions
        .map(|(index, &value)| variant(value, path.at(index)))
        .collect::<Result<_, _>>()?;
    if dimensions.contains(&v1::Dimension::Hour) && dimensions.contains(&v1::Dimension::Day) {
        let message = "has both HOUR and DAY: a row has one period, ask for one of them";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    let span = [start.hour(), told_end.map_or(0, Moment::hour)].map(u64::from);
    let whose = [scope.tenant.into(), scope.any.into(), wire.account_id, wire.campaign_id];
    let mut question = [whose.as_slice(), &span].concat();
    question.extend(dimensions.iter().map(|&dimension| dimension as u64));
    let list = List::new("QueryReportRequest", &question);
    let limit = page_size_within(wire.page_size, REPORT_PAGE_DEFAULT, REPORT_PAGE_MAX)?;
    let skip = list.open(&wire.page_token, sealer)?;
    let (account, campaign) = (wire.account_id, wire.campaign_id);
    let start_hour = start.hour();
    Ok((list, Query { start_hour, end_hour, dimensions, account, campaign, skip, limit }))
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
        check("dimensions[1]", |wire| wire.dimensions = vec![1, 8]);
        check("dimensions", |wire| wire.dimensions = vec![1; 8]);
        check("dimensions", |wire| wire.dimensions = vec![5, 6]);
        check("page_size", |wire| wire.page_size = 10_001);
        check("page_token", |wire| wire.page_token = "x".into());
    }

    fn second(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn parse(wire: v1::QueryReportRequest) -> Result<Query, Refusal> {
        query(wire, SCOPE, NOW, &sealer()).map(|(_, query)| query)
    }
}
