//! What an advertiser writes of an ad set: to whom, for how much, how often and when.

use crate::rpc::limits::{CAP_HOURS_MAX, CAP_IMPRESSIONS_MAX};
use crate::rpc::parse::campaigns::{budget, name, status};
use crate::rpc::parse::field::{
    Path, id, moment, optional_variant, positive_money, required, variant,
};
use crate::rpc::parse::mutations::{Fields, Shape, Verb};
use crate::rpc::parse::targeting::targeting;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Resource};

const AD_SET: Shape = Shape {
    name: "ad_set",
    mutable: &[
        "name",
        "configured_status",
        "targeting",
        "bid",
        "budget",
        "frequency_caps",
        "start_time",
        "end_time",
    ],
    fixed: &["campaign_id", "billing_event", "bid_strategy"],
};

/// Returns a checked write of an ad set.
pub(in crate::rpc) fn ad_set(wire: Option<v1::AdSet>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(AD_SET.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &AD_SET, row.id)?;
    if fields.create() {
        id(row.campaign_id, path.field("campaign_id"))?;
        variant::<v1::BillingEvent>(row.billing_event, path.field("billing_event"))?;
        let strategy = path.field("bid_strategy");
        optional_variant::<v1::BidStrategy>(row.bid_strategy, strategy)?;
        row.bid_strategy = v1::BidStrategy::LowestCostWithBidCap.into();
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    if fields.take("targeting") {
        let wire = row.targeting.iter();
        wire.into_iter().try_for_each(|it| targeting(it, path.field("targeting")))?;
    }
    if fields.take("bid") {
        // Its steps depend on what is billed, which an update doesn't tell: `decide` checks them.
        let path = path.field("bid");
        positive_money(required(row.bid.as_ref(), path)?, path)?;
    }
    if fields.take("budget") {
        budget(row.budget.as_ref(), path.field("budget"))?;
    }
    if fields.take("frequency_caps") {
        let caps = path.field("frequency_caps");
        let each = row.frequency_caps.iter().enumerate();
        each.into_iter().try_for_each(|(index, cap)| frequency_cap(cap, caps.at(index)))?;
    }
    span(&row, &fields, path)?;
    row.effective_status = 0;
    Ok(fields.change(Resource::AdSet(row)))
}

fn frequency_cap(cap: &v1::FrequencyCap, path: Path) -> Result<(), Refusal> {
    let check = |value: u32, max: u32, name| {
        if (1..=max).contains(&value) {
            return Ok(());
        }
        let message = format!("is {value}: send 1 to {max}, or no cap at all");
        Err(path.field(name).refuse(Reason::FieldInvalid, message))
    };
    check(cap.max_frequency, CAP_IMPRESSIONS_MAX, "max_frequency")?;
    check(cap.interval_hours, CAP_HOURS_MAX, "interval_hours")
}

/// Checks start and end, and their order where both are taken; else `decide` knows the other one.
fn span(row: &v1::AdSet, fields: &Fields, path: Path) -> Result<(), Refusal> {
    let taken = |name, value| {
        if fields.take(name) { moment(value, path.field(name)) } else { Ok(None) }
    };
    match (taken("start_time", row.start_time)?, taken("end_time", row.end_time)?) {
        (Some(start), Some(end)) if end <= start => {
            let message = "is not after start_time: send a later end, or none";
            Err(path.field("end_time").refuse(Reason::EndBeforeStart, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{FieldMask, Timestamp};

    use super::*;

    #[test]
    fn a_good_ad_set_passes_with_its_strategy_named() {
        let wanted = v1::AdSet { bid_strategy: 2, ..whole() };
        assert_eq!(parse(whole()), Ok(Change::Create(Resource::AdSet(wanted))));
    }

    #[test]
    fn each_field_is_refused_by_its_path() {
        check("ad_set.name", |row| row.name.clear());
        check("ad_set.campaign_id", |row| row.campaign_id = 0);
        check("ad_set.billing_event", |row| row.billing_event = 0);
        check("ad_set.bid_strategy", |row| row.bid_strategy = 1);
        check("ad_set.bid", |row| row.bid = None);
        check("ad_set.bid.micros", |row| bid_of(row).micros = 0);
        check("ad_set.bid.currency", |row| bid_of(row).currency = "??".into());
        check("ad_set.targeting.age_min", |row| {
            row.targeting = Some(v1::Targeting { age_min: 1, ..Default::default() });
        });
        check("ad_set.frequency_caps[0].max_frequency", |row| cap(row).max_frequency = 0);
        check("ad_set.frequency_caps[0].max_frequency", |row| cap(row).max_frequency = 256);
        check("ad_set.frequency_caps[0].interval_hours", |row| cap(row).interval_hours = 0);
        check("ad_set.frequency_caps[0].interval_hours", |row| cap(row).interval_hours = 721);
        check("ad_set.end_time", |row| row.end_time = row.start_time);
        check("ad_set.start_time.seconds", |row| row.start_time = second(-1));
    }

    #[test]
    fn an_update_of_one_end_leaves_the_order_to_the_catalog() {
        let update = |names: &[&str]| {
            let paths = names.iter().map(|&name| name.to_owned()).collect();
            let row = v1::AdSet { id: 5, end_time: second(10), start_time: second(10), ..whole() };
            ad_set(Some(row), Verb::Update(Some(FieldMask { paths })))
        };
        assert!(update(&["end_time"]).is_ok());
        assert_eq!(update(&["end_time", "start_time"]).unwrap_err().reason, Reason::EndBeforeStart);
    }

    fn whole() -> v1::AdSet {
        v1::AdSet {
            campaign_id: 5,
            name: "Everyone".into(),
            billing_event: v1::BillingEvent::Impressions.into(),
            bid: Some(v1::Money { micros: 2_000_000, currency: "MXN".into() }),
            frequency_caps: vec![v1::FrequencyCap {
                max_frequency: 3,
                interval_hours: 24,
                event: 1,
            }],
            start_time: second(1_800_000_000),
            end_time: second(1_800_000_001),
            ..v1::AdSet::default()
        }
    }

    fn second(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn bid_of(row: &mut v1::AdSet) -> &mut v1::Money {
        row.bid.as_mut().unwrap()
    }

    fn cap(row: &mut v1::AdSet) -> &mut v1::FrequencyCap {
        &mut row.frequency_caps[0]
    }

    fn parse(row: v1::AdSet) -> Result<Change, Refusal> {
        ad_set(Some(row), Verb::Create)
    }

    fn check(field: &str, spoil: impl Fn(&mut v1::AdSet)) {
        let mut row = whole();
        spoil(&mut row);
        assert_eq!(parse(row).unwrap_err().field, field);
    }
}
