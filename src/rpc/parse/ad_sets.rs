//! What an advertiser writes of an ad set: to whom, for how much, how often and when.

use std::collections::BTreeSet;

use crate::decide::auction::{Aim, strategy_of};
use crate::rpc::limits::{
    CAP_EVENTS_MAX, CAP_HOURS_MAX, CAPS_MAX, PARTY_CHARS_MAX, TARGETINGS_MAX, WEEK_HOURS,
};
use crate::rpc::parse::campaigns::{budget, name, status};
use crate::rpc::parse::field::{
    Path, at_most, id, moment, optional_text, optional_variant, positive_money, required, variant,
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
        "or_targeting",
        "beneficiary",
        "payer",
        "spend_cap",
        "daily_min_spend",
        "schedule_hours",
        "attribution_spec",
    ],
    fixed: &["campaign_id", "billing_event", "bid_strategy", "optimization_goal"],
};

/// Returns a checked write of an ad set.
pub(in crate::rpc) fn ad_set(wire: Option<v1::AdSet>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(AD_SET.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &AD_SET, row.id)?;
    if fields.create() {
        id(row.campaign_id, path.field("campaign_id"))?;
        name_aims(&mut row, path)?;
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    audience(&row, &fields, path)?;
    prices(&row, &fields, path)?;
    if fields.take("frequency_caps") {
        frequency_caps(&mut row.frequency_caps, path.field("frequency_caps"))?;
    }
    for (name, value) in [("beneficiary", &row.beneficiary), ("payer", &row.payer)] {
        if fields.take(name) {
            optional_text(value, PARTY_CHARS_MAX, path.field(name))?;
        }
    }
    span(&row, &fields, path)?;
    if fields.take("schedule_hours") {
        schedule_hours(&row.schedule_hours, path.field("schedule_hours"))?;
    }
    if fields.take("attribution_spec") {
        row.attribution_spec
            .iter()
            .try_for_each(|spec| attribution_spec(spec, path.field("attribution_spec")))?;
    }
    row.effective_status = 0;
    row.issues.clear();
    Ok(fields.change(Resource::AdSet(row)))
}

/// Checks every amount of an ad set. Whether there must be a bid, and its steps, depend on the strategy
/// and the goal, which an update doesn't tell: `decide` checks them.
fn prices(row: &v1::AdSet, fields: &Fields, path: Path) -> Result<(), Refusal> {
    for (name, value) in [("bid", &row.bid), ("daily_min_spend", &row.daily_min_spend)] {
        if fields.take(name) {
            value.iter().try_for_each(|it| positive_money(it, path.field(name)))?;
        }
    }
    for (name, value) in [("budget", &row.budget), ("spend_cap", &row.spend_cap)] {
        if fields.take(name) {
            budget(value.as_ref(), path.field(name))?;
        }
    }
    Ok(())
}

/// Checks what a new ad set pays for, aims at and bids by, and names what was left to the engine.
fn name_aims(row: &mut v1::AdSet, path: Path) -> Result<(), Refusal> {
    let billing = path.field("billing_event");
    let billed = variant::<v1::BillingEvent>(row.billing_event, billing)?;
    optional_variant::<v1::BidStrategy>(row.bid_strategy, path.field("bid_strategy"))?;
    let strategy = strategy_of(row);
    let goal = path.field("optimization_goal");
    let goal = match optional_variant(row.optimization_goal, goal)? {
        v1::OptimizationGoal::Unspecified if strategy == v1::BidStrategy::CostCap => {
            let message = "is empty: name the event whose average cost COST_CAP keeps to the bid";
            return Err(goal.refuse(Reason::FieldMissing, message));
        }
        v1::OptimizationGoal::Unspecified => Aim::billed(billed).goal,
        told => told,
    };
    if !comes_before(billed, goal) {
        let message = format!(
            "{} does not come before {}: bill the goal itself, an event before it, or impressions",
            billed.as_str_name(),
            goal.as_str_name()
        );
        return Err(billing.refuse(Reason::FieldInvalid, message));
    }
    (row.bid_strategy, row.optimization_goal) = (strategy.into(), goal.into());
    Ok(())
}

/// Tells whether an event may be paid for where a goal is aimed at: it is the goal, or comes before it.
const fn comes_before(billed: v1::BillingEvent, goal: v1::OptimizationGoal) -> bool {
    use v1::OptimizationGoal::{Conversations, Conversions, LinkClicks};
    match billed {
        v1::BillingEvent::Unspecified => false,
        v1::BillingEvent::Impressions => true,
        v1::BillingEvent::LinkClicks => matches!(goal, LinkClicks | Conversations | Conversions),
        v1::BillingEvent::Conversations => matches!(goal, Conversations | Conversions),
    }
}

/// Checks hours of the week in the account's zone.
pub(super) fn schedule_hours(hours: &[u32], path: Path) -> Result<(), Refusal> {
    at_most(hours.len(), WEEK_HOURS as usize, path)?;
    for (index, hour) in hours.iter().enumerate() {
        let path = path.at(index);
        if *hour >= WEEK_HOURS {
            let message = format!("is {hour}: send 0 (Monday, 00:00) to {}", WEEK_HOURS - 1);
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
        if index > 0 && hours[index - 1] >= *hour {
            let message = "does not come after the one before: send ascending hours, each once";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(())
}

fn audience(row: &v1::AdSet, fields: &Fields, path: Path) -> Result<(), Refusal> {
    let first = path.field("targeting");
    if fields.take("targeting") {
        row.targeting.iter().try_for_each(|it| targeting(it, first))?;
    }
    if !fields.take("or_targeting") {
        return Ok(());
    }
    let others = path.field("or_targeting");
    at_most(row.or_targeting.len(), TARGETINGS_MAX - 1, others)?;
    if fields.take("targeting") && row.targeting.is_none() && !row.or_targeting.is_empty() {
        let message =
            "is empty, which means anyone, whatever or_targeting says: send the first here";
        return Err(first.refuse(Reason::FieldMissing, message));
    }
    let mut each = row.or_targeting.iter().enumerate();
    each.try_for_each(|(index, it)| targeting(it, others.at(index)))
}

/// Checks the caps, and names what they count.
pub(super) fn frequency_caps(caps: &mut [v1::FrequencyCap], path: Path) -> Result<(), Refusal> {
    at_most(caps.len(), CAPS_MAX, path)?;
    let mut known = BTreeSet::new();
    for (index, cap) in caps.iter_mut().enumerate() {
        frequency_cap(cap, path.at(index))?;
        if !known.insert((cap.event, cap.interval_hours)) {
            let message =
                "has event and interval of one before: keep the one with the lower maximum";
            return Err(path.at(index).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(())
}

fn frequency_cap(cap: &mut v1::FrequencyCap, path: Path) -> Result<(), Refusal> {
    let check = |value: u32, max: u32, name| {
        if (1..=max).contains(&value) {
            return Ok(());
        }
        let message = format!("is {value}: send 1 to {max}, or no cap at all");
        Err(path.field(name).refuse(Reason::FieldInvalid, message))
    };
    check(cap.max_frequency, CAP_EVENTS_MAX, "max_frequency")?;
    check(cap.interval_hours, CAP_HOURS_MAX, "interval_hours")?;
    cap.event = match optional_variant(cap.event, path.field("event"))? {
        v1::CapEvent::Unspecified => v1::CapEvent::Impressions.into(),
        told => told.into(),
    };
    Ok(())
}

/// Checks the windows in which touches earn an outcome.
fn attribution_spec(spec: &v1::AttributionSpec, path: Path) -> Result<(), Refusal> {
    let check = |value: u32, allowed: &[u32], name| {
        if allowed.contains(&value) {
            return Ok(());
        }
        let allowed: Vec<_> = allowed.iter().map(u32::to_string).collect();
        let message = format!("is {value}: send {}", allowed.join(" or "));
        Err(path.field(name).refuse(Reason::FieldInvalid, message))
    };
    check(spec.click_window_days, &[1, 7, 28], "click_window_days")?;
    check(spec.view_window_days, &[0, 1], "view_window_days")?;
    check(spec.engaged_view_window_days, &[0, 1], "engaged_view_window_days")
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
        let wanted = v1::AdSet { bid_strategy: 2, optimization_goal: 1, ..whole() };
        assert_eq!(parse(whole()), Ok(Change::Create(Resource::AdSet(wanted))));
    }

    #[test]
    fn attribution_windows_are_those_of_the_field() {
        let with = |click, view, engaged| v1::AdSet {
            attribution_spec: Some(v1::AttributionSpec {
                click_window_days: click,
                view_window_days: view,
                engaged_view_window_days: engaged,
            }),
            ..whole()
        };
        for click in [1, 7, 28] {
            assert!(parse(with(click, 0, 1)).is_ok());
        }
        for (spec, field) in [
            (with(0, 1, 1), "click_window_days"),
            (with(14, 1, 1), "click_window_days"),
            (with(7, 2, 0), "view_window_days"),
            (with(7, 0, 7), "engaged_view_window_days"),
        ] {
            let refusal = parse(spec).unwrap_err();
            assert_eq!(refusal.field, format!("ad_set.attribution_spec.{field}"));
            assert_eq!(refusal.reason, Reason::FieldInvalid);
        }
    }

    #[test]
    fn each_field_is_refused_by_its_path() {
        check("ad_set.name", |row| row.name.clear());
        check("ad_set.campaign_id", |row| row.campaign_id = 0);
        check("ad_set.billing_event", |row| row.billing_event = 0);
        check("ad_set.bid_strategy", |row| row.bid_strategy = 4);
        check("ad_set.optimization_goal", |row| row.optimization_goal = 7);
        check("ad_set.optimization_goal", |row| row.bid_strategy = 3);
        check("ad_set.bid.micros", |row| bid_of(row).micros = 0);
        check("ad_set.bid.currency", |row| bid_of(row).currency = "??".into());
        check("ad_set.targeting.age_min", |row| {
            row.targeting = Some(v1::Targeting { age_min: 1, ..Default::default() });
        });
        check("ad_set.frequency_caps[0].max_frequency", |row| cap(row).max_frequency = 0);
        check("ad_set.frequency_caps[0].max_frequency", |row| cap(row).max_frequency = 256);
        check("ad_set.frequency_caps[0].interval_hours", |row| cap(row).interval_hours = 0);
        check("ad_set.frequency_caps[0].interval_hours", |row| cap(row).interval_hours = 721);
        check("ad_set.frequency_caps[0].event", |row| cap(row).event = 4);
        check("ad_set.frequency_caps[1]", |row| {
            let again = v1::FrequencyCap { max_frequency: 9, event: 0, ..*cap(row) };
            row.frequency_caps.push(again);
        });
        check("ad_set.frequency_caps", |row| row.frequency_caps = vec![*cap(row); 5]);
        check("ad_set.or_targeting[1].age_min", |row| {
            let young = v1::Targeting { age_min: 1, ..Default::default() };
            row.targeting = Some(Default::default());
            row.or_targeting = vec![v1::Targeting::default(), young];
        });
        check("ad_set.or_targeting", |row| row.or_targeting = vec![Default::default(); 16]);
        check("ad_set.targeting", |row| row.or_targeting = vec![Default::default()]);
        check("ad_set.beneficiary", |row| row.beneficiary = "x".repeat(101));
        check("ad_set.payer", |row| row.payer = "a\nb".into());
        check("ad_set.end_time", |row| row.end_time = row.start_time);
        check("ad_set.start_time.seconds", |row| row.start_time = second(-1));
    }

    #[test]
    fn what_is_paid_for_is_the_goal_or_comes_before_it() {
        for (billing, allowed) in [(1, &[1, 2, 3, 4, 5, 6][..]), (2, &[4, 5, 6]), (3, &[5, 6])] {
            let parsed = |optimization_goal| {
                let mut row = v1::AdSet { billing_event: billing, ..whole() };
                row.optimization_goal = optimization_goal;
                parse(row)
            };
            for goal in 1..=6 {
                match parsed(goal) {
                    Ok(_) => assert!(allowed.contains(&goal), "{billing} {goal}"),
                    Err(refusal) => {
                        assert!(!allowed.contains(&goal), "{billing} {goal}");
                        assert_eq!(refusal.field, "ad_set.billing_event");
                    }
                }
            }
            let Ok(Change::Create(Resource::AdSet(row))) = parsed(0) else { panic!("refused") };
            assert_eq!(row.optimization_goal, allowed[0], "the billed event is the goal");
        }
    }

    #[test]
    fn a_strategy_that_is_not_named_follows_from_the_bid() {
        let strategy = |row| match parse(row) {
            Ok(Change::Create(Resource::AdSet(row))) => row.bid_strategy(),
            other => panic!("{other:?}"),
        };
        assert_eq!(strategy(whole()), v1::BidStrategy::LowestCostWithBidCap);
        let bare = v1::AdSet { bid: None, ..whole() };
        assert_eq!(strategy(bare), v1::BidStrategy::LowestCostWithoutCap);
    }

    #[test]
    fn hours_of_a_schedule_are_ascending_each_once() {
        check("ad_set.schedule_hours[0]", |row| row.schedule_hours = vec![168]);
        check("ad_set.schedule_hours[1]", |row| row.schedule_hours = vec![5, 5]);
        check("ad_set.schedule_hours[2]", |row| row.schedule_hours = vec![5, 9, 7]);
        check("ad_set.schedule_hours", |row| row.schedule_hours = vec![0; 169]);
        let row = v1::AdSet { schedule_hours: (0..168).collect(), ..whole() };
        assert!(parse(row).is_ok());
        check("ad_set.spend_cap.daily.micros", |row| {
            let nothing = v1::Money { micros: 0, currency: "MXN".into() };
            row.spend_cap = Some(v1::Budget { daily: Some(nothing), lifetime: None });
        });
        check("ad_set.daily_min_spend.currency", |row| {
            row.daily_min_spend = Some(v1::Money { micros: 1, currency: "??".into() });
        });
    }

    #[test]
    fn a_cap_that_names_no_event_counts_impressions() {
        let mut row = whole();
        let caps = [(24, 0), (24, 2), (168, 1), (168, 3)].map(|(interval_hours, event)| {
            v1::FrequencyCap { max_frequency: 255, interval_hours, event }
        });
        row.frequency_caps = caps.into();
        let Ok(Change::Create(Resource::AdSet(row))) = parse(row) else { panic!("refused") };
        assert_eq!(
            row.frequency_caps.iter().map(|cap| cap.event).collect::<Vec<_>>(),
            [1, 2, 1, 3]
        );
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
