//! What an advertiser writes: accounts, businesses, endpoints, campaigns and ads.
//!
//! What only the catalog can tell (whose a parent is, in which currency it pays) is for `decide`.

use crate::channels::{Channel, ICE_BREAKER_CHARS_MAX, ICE_BREAKERS_MAX, validate_address};
use crate::rpc::limits::{
    CATEGORY_CHARS_MAX, CHANNEL_ID_CHARS_MAX, NAME_CHARS_MAX, PREFILLED_TEXT_CHARS_MAX,
    REPORT_DAILY_EPSILON_MICROS_MAX, REPORT_EPSILON_MICROS_MAX, REPORT_EPSILON_MICROS_MIN,
};
use crate::rpc::parse::creatives::creative;
use crate::rpc::parse::field::{
    Path, at_most, currency, id, optional_text, optional_variant, positive_money, required, text,
    time_zone, variant,
};
use crate::rpc::parse::mutations::{Fields, Shape, Verb};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Resource};

const ACCOUNT: Shape = Shape {
    name: "account",
    mutable: &["name", "spend_limit", "configured_status", "report_noise"],
    fixed: &["currency", "time_zone", "billing_mode"],
};

const BUSINESS: Shape = Shape {
    name: "business",
    mutable: &["name", "category", "configured_status"],
    fixed: &["account_id"],
};

const ENDPOINT: Shape = Shape {
    name: "channel_endpoint",
    mutable: &[],
    fixed: &["business_id", "channel", "address", "channel_account_id", "channel_business_id"],
};

const CAMPAIGN: Shape = Shape {
    name: "campaign",
    mutable: &["name", "objective", "configured_status", "budget", "spend_cap"],
    fixed: &["account_id"],
};

const AD: Shape = Shape {
    name: "ad",
    mutable: &["name", "configured_status", "creative", "destination"],
    fixed: &["ad_set_id"],
};

/// Returns a checked write of an account.
pub(in crate::rpc) fn account(wire: Option<v1::Account>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(ACCOUNT.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &ACCOUNT, row.id)?;
    if fields.create() {
        currency(&row.currency, path.field("currency"))?;
        time_zone(&row.time_zone, path.field("time_zone"))?;
        let mode = optional_variant(row.billing_mode, path.field("billing_mode"))?;
        row.billing_mode = match mode {
            v1::BillingMode::Unspecified => v1::BillingMode::Invoiced.into(),
            told => told.into(),
        };
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    if fields.take("spend_limit") {
        let limit = row.spend_limit.iter();
        limit.into_iter().try_for_each(|it| positive_money(it, path.field("spend_limit")))?;
    }
    if fields.take("report_noise") {
        let noise = row.report_noise.iter();
        noise.into_iter().try_for_each(|it| report_noise(it, path.field("report_noise")))?;
    }
    row.effective_status = 0;
    Ok(fields.change(Resource::Account(row)))
}

/// Checks that noise is neither useless nor endless, and that a day has at least one question.
fn report_noise(wire: &v1::ReportNoise, path: Path) -> Result<(), Refusal> {
    let v1::ReportNoise { epsilon_micros, daily_epsilon_micros } = *wire;
    let within = |value: u32, least: u32, most: u32, path: Path| {
        let message = || format!("is {value}: send {least} to {most}, millionths of an epsilon");
        let inside = (least..=most).contains(&value);
        inside.then_some(()).ok_or_else(|| path.refuse(Reason::FieldInvalid, message()))
    };
    let each = path.field("epsilon_micros");
    within(epsilon_micros, REPORT_EPSILON_MICROS_MIN, REPORT_EPSILON_MICROS_MAX, each)?;
    let daily = path.field("daily_epsilon_micros");
    within(daily_epsilon_micros, epsilon_micros, REPORT_DAILY_EPSILON_MICROS_MAX, daily)
}

/// Returns a checked write of a business.
pub(in crate::rpc) fn business(wire: Option<v1::Business>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(BUSINESS.name);
    let row = required(wire, path)?;
    let fields = Fields::new(verb, &BUSINESS, row.id)?;
    if fields.create() {
        id(row.account_id, path.field("account_id"))?;
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    if fields.take("category") {
        optional_text(&row.category, CATEGORY_CHARS_MAX, path.field("category"))?;
    }
    Ok(fields.change(Resource::Business(row)))
}

/// Returns a checked new channel endpoint. Its address becomes part of links, so its form is checked.
/// It has one version, so nothing of it is ever updated.
pub(in crate::rpc) fn endpoint(
    wire: Option<v1::ChannelEndpoint>,
    verb: Verb,
) -> Result<Change, Refusal> {
    let path = Path::root(ENDPOINT.name);
    let row = required(wire, path)?;
    let fields = Fields::new(verb, &ENDPOINT, row.id)?;
    id(row.business_id, path.field("business_id"))?;
    let number: v1::Channel = variant(row.channel, path.field("channel"))?;
    let channel = Channel::from_number(number as u8).expect("every channel of the wire is known");
    let address = path.field("address");
    required((!row.address.is_empty()).then_some(()), address)?;
    validate_address(channel, &row.address)
        .map_err(|error| address.refuse(Reason::FieldInvalid, error.to_string()))?;
    channel_id(&row.channel_account_id, path.field("channel_account_id"))?;
    channel_id(&row.channel_business_id, path.field("channel_business_id"))?;
    Ok(fields.change(Resource::Endpoint(row)))
}

/// Checks a channel's own number of an endpoint or business. Empty: it is not told.
fn channel_id(value: &str, path: Path) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if value.len() <= CHANNEL_ID_CHARS_MAX && value.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!(
        "must be 1 to {CHANNEL_ID_CHARS_MAX} letters, digits, hyphens or underscores, as the \
         channel shows it; or leave it out"
    );
    Err(path.refuse(Reason::FieldInvalid, message))
}

/// Returns a checked write of a campaign.
pub(in crate::rpc) fn campaign(wire: Option<v1::Campaign>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(CAMPAIGN.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &CAMPAIGN, row.id)?;
    if fields.create() {
        id(row.account_id, path.field("account_id"))?;
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    if fields.take("objective") {
        variant::<v1::Objective>(row.objective, path.field("objective"))?;
    }
    if fields.take("budget") {
        budget(row.budget.as_ref(), path.field("budget"))?;
    }
    if fields.take("spend_cap") {
        row.spend_cap.iter().try_for_each(|it| positive_money(it, path.field("spend_cap")))?;
    }
    row.effective_status = 0;
    Ok(fields.change(Resource::Campaign(row)))
}

/// Returns a checked write of an ad.
pub(in crate::rpc) fn ad(wire: Option<v1::Ad>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(AD.name);
    let mut row = required(wire, path)?;
    let fields = Fields::new(verb, &AD, row.id)?;
    if fields.create() {
        id(row.ad_set_id, path.field("ad_set_id"))?;
    }
    name(&row.name, &fields, path)?;
    status(row.configured_status, &fields, path)?;
    if fields.take("creative") {
        let path = path.field("creative");
        creative(required(row.creative.as_mut(), path)?, path)?;
    }
    if fields.take("destination") {
        let path = path.field("destination");
        let chat = required(row.destination.as_ref(), path)?;
        id(chat.endpoint_id, path.field("endpoint_id"))?;
        let prefilled = path.field("prefilled_text");
        optional_text(&chat.prefilled_text, PREFILLED_TEXT_CHARS_MAX, prefilled)?;
        let questions = path.field("ice_breakers");
        at_most(chat.ice_breakers.len(), ICE_BREAKERS_MAX, questions)?;
        for (index, question) in chat.ice_breakers.iter().enumerate() {
            text(question, ICE_BREAKER_CHARS_MAX, questions.at(index))?;
        }
    }
    row.effective_status = 0;
    // Only an operator gives it, through `ReviewAd`.
    row.review = None;
    Ok(fields.change(Resource::Ad(row)))
}

/// Checks the name that every kind has.
pub(super) fn name(value: &str, fields: &Fields, path: Path) -> Result<(), Refusal> {
    if fields.take("name") { text(value, NAME_CHARS_MAX, path.field("name")) } else { Ok(()) }
}

/// Checks a configured status. Not told on create: active.
pub(super) fn status(value: i32, fields: &Fields, path: Path) -> Result<(), Refusal> {
    let path = path.field("configured_status");
    if !fields.take("configured_status") || (fields.create() && value == 0) {
        return Ok(());
    }
    let status: v1::ConfiguredStatus = variant(value, path)?;
    if fields.create() && status == v1::ConfiguredStatus::Archived {
        let message = "an archived thing is never used: create it active or paused";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

/// Checks a budget: each part is absent or above zero.
pub(super) fn budget(value: Option<&v1::Budget>, path: Path) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    value.daily.iter().try_for_each(|it| positive_money(it, path.field("daily")))?;
    value.lifetime.iter().try_for_each(|it| positive_money(it, path.field("lifetime")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_resource_passes_and_loses_only_what_the_engine_gives() {
        let wire = v1::Campaign { effective_status: 5, ..whole_campaign() };
        let created = campaign(Some(wire), Verb::Create);
        assert_eq!(created, Ok(Change::Create(Resource::Campaign(whole_campaign()))));
        assert!(account(Some(whole_account()), Verb::Create).is_ok());
        assert!(ad(Some(whole_ad()), Verb::Create).is_ok());
    }

    fn noise(epsilon_micros: u32, daily_epsilon_micros: u32) -> Option<v1::ReportNoise> {
        Some(v1::ReportNoise { epsilon_micros, daily_epsilon_micros })
    }

    #[test]
    fn an_account_is_refused_by_the_field_at_fault() {
        let check = |field: &str, spoil: fn(&mut v1::Account)| {
            let mut row = whole_account();
            spoil(&mut row);
            assert_eq!(account(Some(row), Verb::Create).unwrap_err().field, field);
        };
        check("account.name", |row| row.name.clear());
        check("account.name", |row| row.name = "x".repeat(101));
        check("account.currency", |row| row.currency = "XXX".into());
        check("account.currency", |row| row.currency.clear());
        check("account.billing_mode", |row| row.billing_mode = 3);
        let each = "account.report_noise.epsilon_micros";
        check(each, |row| row.report_noise = noise(9_999, 1_000_000));
        check(each, |row| row.report_noise = noise(10_000_001, 20_000_000));
        let daily = "account.report_noise.daily_epsilon_micros";
        check(daily, |row| row.report_noise = noise(500_000, 499_999));
        check(daily, |row| row.report_noise = noise(500_000, 100_000_001));
        check("account.time_zone", |row| row.time_zone = "Mars/Base".into());
        check("account.spend_limit.micros", |row| limit(row).micros = 0);
        check("account.spend_limit.currency", |row| limit(row).currency.clear());
        check("account.configured_status", |row| row.configured_status = 3);
        check("account.configured_status", |row| row.configured_status = 9);
        assert_eq!(account(None, Verb::Create).unwrap_err().field, "account");
    }

    #[test]
    fn money_in_a_budget_is_named_with_its_whole_path() {
        let check = |field: &str, daily: Option<i64>, lifetime: Option<i64>| {
            let money = |micros| v1::Money { micros, currency: "MXN".into() };
            let budget = v1::Budget { daily: daily.map(money), lifetime: lifetime.map(money) };
            let row = v1::Campaign { budget: Some(budget), ..whole_campaign() };
            assert_eq!(campaign(Some(row), Verb::Create).unwrap_err().field, field);
        };
        check("campaign.budget.daily.micros", Some(-1), None);
        check("campaign.budget.daily.micros", Some(0), None);
        check("campaign.budget.lifetime.micros", None, Some(i64::MAX));
        let spend_cap = Some(v1::Money { micros: 0, currency: "MXN".into() });
        let row = v1::Campaign { spend_cap, ..whole_campaign() };
        let refusal = campaign(Some(row), Verb::Create).unwrap_err();
        assert_eq!(refusal.field, "campaign.spend_cap.micros");
    }

    #[test]
    fn an_endpoint_has_an_address_of_its_channel() {
        let parse = |channel, business_id, address: &str| {
            let address = address.to_owned();
            let row = v1::ChannelEndpoint { channel, business_id, address, ..Default::default() };
            endpoint(Some(row), Verb::Create)
                .map(|_| ())
                .map_err(|refusal| refusal.field.into_owned())
        };
        assert_eq!(parse(1, 5, "5215512345678"), Ok(()));
        assert_eq!(parse(1, 5, "https://x"), Err("channel_endpoint.address".into()));
        assert_eq!(parse(1, 5, ""), Err("channel_endpoint.address".into()));
        assert_eq!(parse(0, 5, "5215512345678"), Err("channel_endpoint.channel".into()));
        assert_eq!(parse(8, 5, "5215512345678"), Err("channel_endpoint.channel".into()));
        assert_eq!(parse(1, 0, "5215512345678"), Err("channel_endpoint.business_id".into()));
    }

    #[test]
    fn a_channels_own_numbers_of_an_endpoint_are_short_words() {
        let parse = |account: &str, business: &str| {
            let row = v1::ChannelEndpoint {
                business_id: 5,
                channel: 1,
                address: "5215512345678".into(),
                channel_account_id: account.into(),
                channel_business_id: business.into(),
                ..Default::default()
            };
            let parsed = endpoint(Some(row), Verb::Create);
            parsed.map(|_| ()).map_err(|refusal| refusal.field.into_owned())
        };
        assert_eq!(parse("106540352242922", "waba_1-a"), Ok(()));
        assert_eq!(parse(&"1".repeat(64), ""), Ok(()));
        for bad in ["1 2", "ñ", "1/2", &"1".repeat(65)] {
            assert_eq!(parse(bad, ""), Err("channel_endpoint.channel_account_id".into()));
            assert_eq!(parse("", bad), Err("channel_endpoint.channel_business_id".into()));
        }
    }

    #[test]
    fn every_channel_of_the_wire_is_known_to_the_links() {
        for number in 1..=7 {
            assert!(v1::Channel::try_from(number).is_ok());
            assert!(Channel::from_number(number as u8).is_some(), "{number}");
        }
        assert!(v1::Channel::try_from(8).is_err(), "a new channel needs its links");
    }

    #[test]
    fn an_ad_is_refused_by_the_field_at_fault() {
        let check = |field: &str, spoil: fn(&mut v1::Ad)| {
            let mut row = whole_ad();
            spoil(&mut row);
            assert_eq!(ad(Some(row), Verb::Create).unwrap_err().field, field);
        };
        check("ad.ad_set_id", |row| row.ad_set_id = 0);
        check("ad.creative", |row| row.creative = None);
        check("ad.creative.headline", |row| creative_of(row).headline = "x".repeat(41));
        check("ad.destination", |row| row.destination = None);
        check("ad.destination.endpoint_id", |row| row.destination = Some(Default::default()));
        fn ask(row: &mut v1::Ad, questions: &[&str]) {
            let questions = questions.iter().map(|&question| question.to_owned());
            row.destination.get_or_insert_default().ice_breakers = questions.collect();
        }
        check("ad.destination.ice_breakers", |row| ask(row, &["?"; 5]));
        check("ad.destination.ice_breakers[1]", |row| ask(row, &["?", &"x".repeat(81)]));
        check("ad.destination.ice_breakers[0]", |row| ask(row, &[""]));
        let mut row = whole_ad();
        ask(&mut row, &[&*"ñ".repeat(80); 4]);
        assert!(ad(Some(row), Verb::Create).is_ok());
    }

    #[test]
    fn an_update_checks_the_named_fields_only() {
        let mask = |name: &str| {
            Verb::Update(Some(prost_types::FieldMask { paths: vec![name.to_owned()] }))
        };
        let row = v1::Ad { id: 5, name: "new".into(), ..v1::Ad::default() };
        let change = ad(Some(row.clone()), mask("name"));
        assert_eq!(change, Ok(Change::Update(Resource::Ad(row.clone()), vec!["name".into()])));
        assert_eq!(ad(Some(row.clone()), mask("creative")).unwrap_err().field, "ad.creative");
        let refusal = ad(Some(row.clone()), mask("configured_status")).unwrap_err();
        assert_eq!(refusal.reason, Reason::FieldMissing);
        let archived = v1::Ad { configured_status: 3, ..row.clone() };
        assert!(ad(Some(archived), mask("configured_status")).is_ok());
        let fixed = ad(Some(row), mask("ad_set_id")).unwrap_err();
        assert_eq!(fixed.field, "update_mask.paths[0]");
        let cleared = v1::Campaign { id: 5, ..v1::Campaign::default() };
        assert!(campaign(Some(cleared), mask("budget")).is_ok(), "a budget can be taken away");
    }

    fn whole_account() -> v1::Account {
        v1::Account {
            name: "Tacos".into(),
            currency: "MXN".into(),
            time_zone: "America/Mexico_City".into(),
            spend_limit: Some(v1::Money { micros: 1, currency: "MXN".into() }),
            ..v1::Account::default()
        }
    }

    fn limit(row: &mut v1::Account) -> &mut v1::Money {
        row.spend_limit.as_mut().unwrap()
    }

    fn whole_campaign() -> v1::Campaign {
        v1::Campaign {
            account_id: 5,
            name: "Lunch".into(),
            objective: v1::Objective::OutcomeSales.into(),
            ..v1::Campaign::default()
        }
    }

    fn whole_ad() -> v1::Ad {
        v1::Ad {
            ad_set_id: 5,
            name: "Taco".into(),
            creative: Some(v1::Creative {
                primary_text: "Three for two".into(),
                headline: "Today".into(),
                media_url: "https://cdn.example/taco.mp4?v=1".into(),
                media_sha256: vec![7; 32],
                ..Default::default()
            }),
            destination: Some(v1::ChatDestination { endpoint_id: 9, ..Default::default() }),
            ..v1::Ad::default()
        }
    }

    fn creative_of(row: &mut v1::Ad) -> &mut v1::Creative {
        row.creative.as_mut().unwrap()
    }
}
