//! What is asked of silences and audiences.

use std::collections::BTreeMap;

use crate::decide::target::CONJUNCTIONS_MAX;
use crate::rpc::parse::ads::ad_request;
use crate::rpc::parse::field::{Path, at_most, id, required};
use crate::rpc::parse::places::page_size;
use crate::rpc::parse::targeting::targeting;
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::Moment;

/// Returns the ad that is asked about.
pub(in crate::rpc) fn explained_ad(wire: &v1::ExplainDeliveryRequest) -> Result<u64, Refusal> {
    id(wire.ad_id, Path::root("ad_id"))
}

/// A request to run for its reasons.
#[derive(Debug)]
pub(in crate::rpc) struct Question {
    pub(in crate::rpc) request: AdRequest,
    pub(in crate::rpc) policy: Policy,
    pub(in crate::rpc) page_size: usize,
}

/// Returns the request to explain, with the policy of its feed.
pub(in crate::rpc) fn explained_request(
    wire: v1::ExplainRequestRequest,
    policies: &BTreeMap<u32, Policy>,
    sealer: &Sealer,
    now: Moment,
) -> Result<Question, Refusal> {
    let message = "is not in the server's configuration: send the number of one of its feeds";
    let feed = Path::root("feed");
    let unknown = || feed.refuse(Reason::FieldInvalid, message);
    let policy = *policies.get(&wire.feed).ok_or_else(unknown)?;
    let page_size = page_size(wire.page_size)?;
    let request = ad_request(wire.ad_request, wire.feed, sealer, now)?;
    Ok(Question { request, policy, page_size })
}

/// Returns a draft whose targeting is checked as at creation; nothing else of it is read.
pub(in crate::rpc) fn draft(wire: v1::EstimateDeliveryRequest) -> Result<v1::AdSet, Refusal> {
    let path = Path::root("ad_set");
    let row = required(wire.ad_set, path)?;
    row.targeting.iter().try_for_each(|it| targeting(it, path.field("targeting")))?;
    let others = path.field("or_targeting");
    at_most(row.or_targeting.len(), CONJUNCTIONS_MAX - 1, others)?;
    if row.targeting.is_none() && !row.or_targeting.is_empty() {
        let message = "is empty, which means anyone, whatever or_targeting says: send the first";
        return Err(path.field("targeting").refuse(Reason::FieldMissing, message));
    }
    let mut each = row.or_targeting.iter().enumerate();
    each.try_for_each(|(index, it)| targeting(it, others.at(index)))?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};

    #[test]
    fn an_unknown_feed_is_refused_by_its_field() {
        let policies = BTreeMap::from([(FEED, Policy::USUAL)]);
        let ask = |feed, page_size| {
            let ad_request = v1::AdRequest { placement: 1, posts: 9, ..Default::default() };
            let wire = v1::ExplainRequestRequest { ad_request: Some(ad_request), feed, page_size };
            explained_request(wire, &policies, &sealer(), NOW)
        };
        assert_eq!(ask(FEED, 0).unwrap().page_size, 100);
        assert_eq!(ask(FEED + 1, 0).unwrap_err().field, "feed");
        assert_eq!(ask(FEED, 1_001).unwrap_err().field, "page_size");
        let bare = v1::ExplainRequestRequest { feed: FEED, ..Default::default() };
        let refused = explained_request(bare, &policies, &sealer(), NOW).unwrap_err();
        assert_eq!(refused.field, "ad_request");
    }

    #[test]
    fn a_draft_is_refused_as_at_creation() {
        let parse = |row: v1::AdSet| {
            draft(v1::EstimateDeliveryRequest { ad_set: Some(row), ..Default::default() })
        };
        let bad = v1::Targeting { age_min: 1, ..Default::default() };
        assert!(parse(v1::AdSet::default()).is_ok(), "anyone");
        let field = |row| parse(row).unwrap_err().field;
        let row = v1::AdSet { targeting: Some(bad.clone()), ..Default::default() };
        assert_eq!(field(row), "ad_set.targeting.age_min");
        let targeting = Some(v1::Targeting::default());
        let row = v1::AdSet { targeting, or_targeting: vec![bad.clone()], ..Default::default() };
        assert_eq!(field(row), "ad_set.or_targeting[0].age_min");
        let row = v1::AdSet { or_targeting: vec![bad], ..Default::default() };
        assert_eq!(field(row), "ad_set.targeting");
        let row = v1::AdSet { or_targeting: vec![Default::default(); 16], ..Default::default() };
        assert_eq!(field(row), "ad_set.or_targeting");
        let none = draft(v1::EstimateDeliveryRequest::default());
        assert_eq!(none.unwrap_err().field, "ad_set");
        let zero = explained_ad(&v1::ExplainDeliveryRequest { ad_id: 0 });
        assert_eq!(zero.unwrap_err().field, "ad_id");
    }
}
