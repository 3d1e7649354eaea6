//! Every bad input through the door: its code, the field at fault, and nothing half applied.

use munadi::types::proto::v1;
use munadi::types::proto::v1::{EventKind, ItemResult};
use prost_types::{FieldMask, Timestamp};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{
    Desk, PLATFORM, RIVALS, STATUS, Shop, TACOS, calls, event, first_ad, open_shop, tray,
};

/// Something to create.
#[derive(Clone, Debug)]
enum Row {
    Account(v1::Account),
    Business(v1::Business),
    Endpoint(v1::ChannelEndpoint),
    Campaign(v1::Campaign),
    AdSet(Box<v1::AdSet>),
    Ad(Box<v1::Ad>),
}

/// A bad request, and how it is refused: reason and field.
type Case = (Row, &'static str, &'static str);

async fn create(desk: &Desk, key: &str, id: &str, row: Row) -> Result<(), Status> {
    let (mut client, request_id, validate_only) = (desk.campaigns(key), id.to_owned(), false);
    match row {
        Row::Account(row) => {
            let account = Some(row);
            let request = v1::CreateAccountRequest { request_id, account, validate_only };
            client.create_account(request).await.map(drop)
        }
        Row::Business(row) => {
            let business = Some(row);
            let request = v1::CreateBusinessRequest { request_id, business, validate_only };
            client.create_business(request).await.map(drop)
        }
        Row::Endpoint(row) => {
            let channel_endpoint = Some(row);
            let request =
                v1::CreateChannelEndpointRequest { request_id, channel_endpoint, validate_only };
            client.create_channel_endpoint(request).await.map(drop)
        }
        Row::Campaign(row) => {
            let campaign = Some(row);
            let request = v1::CreateCampaignRequest { request_id, campaign, validate_only };
            client.create_campaign(request).await.map(drop)
        }
        Row::AdSet(row) => {
            let ad_set = Some(*row);
            let request = v1::CreateAdSetRequest { request_id, ad_set, validate_only };
            client.create_ad_set(request).await.map(drop)
        }
        Row::Ad(row) => {
            let request = v1::CreateAdRequest { request_id, ad: Some(*row), validate_only };
            client.create_ad(request).await.map(drop)
        }
    }
}

/// Returns everything that the operator sees, in one text.
async fn census(desk: &Desk) -> Result<String, Status> {
    let mut client = desk.campaigns("operator-0");
    let accounts = client.list_accounts(v1::ListAccountsRequest::default()).await?.into_inner();
    let businesses =
        client.list_businesses(v1::ListBusinessesRequest::default()).await?.into_inner();
    let endpoints = client
        .list_channel_endpoints(v1::ListChannelEndpointsRequest::default())
        .await?
        .into_inner();
    let campaigns = client.list_campaigns(v1::ListCampaignsRequest::default()).await?.into_inner();
    let ad_sets = client.list_ad_sets(v1::ListAdSetsRequest::default()).await?.into_inner();
    let ads = client.list_ads(v1::ListAdsRequest::default()).await?.into_inner();
    let mut reports = desk.reports("operator-0");
    let rows = reports.query_report(v1::QueryReportRequest::default()).await?.into_inner().rows;
    Ok(format!(
        "{accounts:?} {businesses:?} {endpoints:?} {campaigns:?} {ad_sets:?} {ads:?} {rows:?}"
    ))
}

/// Returns code, reason and field of a refusal.
fn told(status: &Status) -> (Code, String, String) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first().cloned());
    (status.code(), reason, field.map(|it| it.field).unwrap_or_default())
}

fn code_of(reason: &str) -> Code {
    match reason {
        "NOT_FOUND" => Code::NotFound,
        "ENDPOINT_FOREIGN" => Code::PermissionDenied,
        _ => Code::InvalidArgument,
    }
}

fn good_account() -> v1::Account {
    v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    }
}

fn mxn(micros: i64) -> Option<v1::Money> {
    Some(v1::Money { micros, currency: "MXN".into() })
}

/// Returns campaign and ad set of the shop.
async fn line_of(desk: &Desk) -> Result<(v1::Campaign, v1::AdSet), Status> {
    let mut client = desk.campaigns(TACOS);
    let campaigns =
        client.list_campaigns(v1::ListCampaignsRequest::default()).await?.into_inner().campaigns;
    let ad_sets = client.list_ad_sets(v1::ListAdSetsRequest::default()).await?.into_inner().ad_sets;
    Ok((campaigns[0].clone(), ad_sets[0].clone()))
}

fn accounts() -> Vec<Case> {
    let spoilt = |spoil: fn(&mut v1::Account), reason, field| {
        let mut row = good_account();
        spoil(&mut row);
        (Row::Account(row), reason, field)
    };
    vec![
        spoilt(|it| *it = v1::Account::default(), "CURRENCY_INVALID", "account.currency"),
        spoilt(|it| it.name.clear(), "FIELD_MISSING", "account.name"),
        spoilt(|it| it.name = "x".repeat(101), "TOO_LARGE", "account.name"),
        spoilt(|it| it.currency = "mxn".into(), "CURRENCY_INVALID", "account.currency"),
        spoilt(|it| it.currency = "ZZZ".into(), "CURRENCY_INVALID", "account.currency"),
        spoilt(|it| it.time_zone = "Mars/Base".into(), "FIELD_INVALID", "account.time_zone"),
        spoilt(|it| it.time_zone.clear(), "FIELD_MISSING", "account.time_zone"),
        spoilt(|it| it.spend_limit = mxn(-1), "MONEY_INVALID", "account.spend_limit.micros"),
        spoilt(|it| it.configured_status = 9, "FIELD_INVALID", "account.configured_status"),
    ]
}

fn campaigns(good: &v1::Campaign, shop: &Shop) -> Vec<Case> {
    let spoilt = |spoil: &dyn Fn(&mut v1::Campaign), reason, field| {
        let mut row = good.clone();
        spoil(&mut row);
        (Row::Campaign(row), reason, field)
    };
    let daily = |daily| Some(v1::Budget { daily, lifetime: None });
    let usd = Some(v1::Money { micros: 1, currency: "USD".into() });
    let (micros, money) = ("campaign.budget.daily.micros", "MONEY_INVALID");
    let business = v1::Business { account_id: 77, name: "B".into(), ..Default::default() };
    let endpoint = v1::ChannelEndpoint {
        business_id: shop.business,
        channel: v1::Channel::Whatsapp.into(),
        address: "not a number".into(),
        ..Default::default()
    };
    vec![
        spoilt(&|it| it.account_id = 77, "NOT_FOUND", "campaign.account_id"),
        spoilt(&|it| it.account_id = 0, "FIELD_MISSING", "campaign.account_id"),
        spoilt(&|it| it.budget = daily(mxn(-1)), money, micros),
        spoilt(&|it| it.budget = daily(mxn(i64::MIN)), money, micros),
        spoilt(&|it| it.budget = daily(mxn(i64::MAX)), money, micros),
        spoilt(&|it| it.budget = daily(mxn(0)), money, micros),
        spoilt(
            &|it| it.budget = daily(usd.clone()),
            "CURRENCY_INVALID",
            "campaign.budget.daily.currency",
        ),
        (Row::Business(business), "NOT_FOUND", "business.account_id"),
        (Row::Endpoint(endpoint), "FIELD_INVALID", "channel_endpoint.address"),
    ]
}

fn ad_sets(good: &v1::AdSet) -> Vec<Case> {
    let spoilt = |spoil: fn(&mut v1::AdSet), reason, field| {
        let mut row = good.clone();
        spoil(&mut row);
        (Row::AdSet(Box::new(row)), reason, field)
    };
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let mut upside_down = good.clone();
    (upside_down.start_time, upside_down.end_time) = (at(2_000), at(1_000));
    let targeted = |targeting, field| {
        let mut row = good.clone();
        row.targeting = Some(targeting);
        (Row::AdSet(Box::new(row)), "FIELD_INVALID", field)
    };
    let anyone = v1::Targeting::default;
    vec![
        spoilt(|it| it.campaign_id = 77, "NOT_FOUND", "ad_set.campaign_id"),
        spoilt(|it| it.bid = None, "FIELD_MISSING", "ad_set.bid"),
        spoilt(|it| it.bid = mxn(0), "MONEY_INVALID", "ad_set.bid.micros"),
        spoilt(|it| it.bid = mxn(-5_000), "MONEY_INVALID", "ad_set.bid.micros"),
        spoilt(|it| it.bid = mxn(i64::MAX), "MONEY_INVALID", "ad_set.bid.micros"),
        spoilt(|it| it.bid = mxn(1_500), "MONEY_INVALID", "ad_set.bid.micros"),
        spoilt(|it| it.billing_event = 0, "FIELD_MISSING", "ad_set.billing_event"),
        (Row::AdSet(Box::new(upside_down)), "END_BEFORE_START", "ad_set.end_time"),
        targeted(
            v1::Targeting { countries: vec!["ZZ".into()], ..anyone() },
            "ad_set.targeting.countries[0]",
        ),
        targeted(
            v1::Targeting { languages: vec!["xx".into()], ..anyone() },
            "ad_set.targeting.languages[0]",
        ),
        targeted(v1::Targeting { age_min: 19, ..anyone() }, "ad_set.targeting.age_min"),
        targeted(
            v1::Targeting { age_min: 35, age_max: 24, ..anyone() },
            "ad_set.targeting.age_max",
        ),
    ]
}

fn ads(shop: &Shop, ad_set: u64, foreign_endpoint: u64) -> Vec<Case> {
    let good = v1::Ad {
        ad_set_id: ad_set,
        name: "Ad".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id: shop.endpoint, ..Default::default() }),
        ..Default::default()
    };
    let opening = |endpoint_id| v1::ChatDestination { endpoint_id, ..Default::default() };
    let endpoint = "ad.destination.endpoint_id";
    let to = |id| Row::Ad(Box::new(v1::Ad { destination: Some(opening(id)), ..good.clone() }));
    vec![
        (Row::Ad(Box::new(v1::Ad { ad_set_id: 77, ..good.clone() })), "NOT_FOUND", "ad.ad_set_id"),
        (to(77), "NOT_FOUND", endpoint),
        (to(foreign_endpoint), "ENDPOINT_FOREIGN", endpoint),
        (
            Row::Ad(Box::new(v1::Ad { creative: None, ..good.clone() })),
            "FIELD_MISSING",
            "ad.creative",
        ),
    ]
}

#[test]
fn each_bad_write_is_refused_by_its_field_and_leaves_nothing() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let rivals = open_shop(&desk, RIVALS).await?;
        let (campaign, ad_set) = line_of(&desk).await?;
        let cases = [
            accounts(),
            campaigns(&campaign, &shop),
            ad_sets(&ad_set),
            ads(&shop, ad_set.id, rivals.endpoint),
        ];
        let before = census(&desk).await?;
        for (number, (row, reason, field)) in cases.into_iter().flatten().enumerate() {
            let text = format!("{row:?}");
            let status = create(&desk, TACOS, &format!("case-{number}"), row).await.unwrap_err();
            let wanted = (code_of(reason), reason.to_owned(), field.to_owned());
            assert_eq!(told(&status), wanted, "{text}");
        }
        assert_eq!(census(&desk).await?, before);
        // A refused write has not used its request id up.
        create(&desk, TACOS, "case-0", Row::Account(good_account())).await?;
        // What is foreign is not found, word for word as what is unknown.
        for row in [Row::Campaign(campaign.clone()), Row::AdSet(Box::new(ad_set))] {
            let status = create(&desk, RIVALS, "theft", row).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound);
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn an_update_with_one_bad_field_changes_no_field() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let (campaign, _) = line_of(&desk).await?;
        let before = census(&desk).await?;
        let daily = |daily| Some(v1::Budget { daily, lifetime: None });
        let foreign = Some(v1::Money { micros: 1, currency: "USD".into() });
        let cases = [
            (daily(mxn(-1)), "", "MONEY_INVALID", "campaign.budget.daily.micros"),
            (daily(foreign), "", "CURRENCY_INVALID", "campaign.budget.daily.currency"),
            (None, "", "FIELD_MISSING", "campaign.budget"),
            (daily(mxn(1)), "99", "ETAG_MISMATCH", "etag"),
        ];
        for (budget, etag, reason, field) in cases {
            let (name, etag) = ("Dinner".into(), etag.into());
            let row = v1::Campaign { name, budget, etag, ..campaign.clone() };
            let paths = vec!["name".to_owned(), "budget".to_owned()];
            let request = v1::UpdateCampaignRequest {
                request_id: "update".into(),
                campaign: Some(row),
                update_mask: Some(FieldMask { paths }),
                validate_only: false,
            };
            let status = desk.campaigns(TACOS).update_campaign(request).await.unwrap_err();
            let code = if etag_fault(reason) { Code::Aborted } else { Code::InvalidArgument };
            assert_eq!(told(&status), (code, reason.to_owned(), field.to_owned()));
        }
        assert_eq!(census(&desk).await?, before);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

fn etag_fault(reason: &str) -> bool {
    reason == "ETAG_MISMATCH"
}

#[track_caller]
fn invalid(status: Status, reason: &str, field: &str) {
    assert_eq!(told(&status), (Code::InvalidArgument, reason.to_owned(), field.to_owned()));
}

#[test]
fn empty_and_huge_requests_are_refused_by_their_field() {
    let desk = Desk::start();
    calls(async {
        let ads = desk.ads(STATUS).request_ads(v1::RequestAdsRequest::default()).await;
        invalid(ads.unwrap_err(), "FIELD_MISSING", "ad_request");
        let mut request = tray("a").unwrap();
        request.posts = 100_000;
        let request = v1::RequestAdsRequest { ad_request: Some(request) };
        let ads = desk.ads(STATUS).request_ads(request).await;
        invalid(ads.unwrap_err(), "TOO_LARGE", "ad_request.posts");
        let mut events = desk.events(STATUS);
        let none = events.record_events(v1::RecordEventsRequest::default()).await;
        invalid(none.unwrap_err(), "FIELD_MISSING", "events");
        let many = vec![v1::AdEvent::default(); 1_001];
        let request = v1::RecordEventsRequest { request_id: String::new(), events: many };
        invalid(events.record_events(request).await.unwrap_err(), "TOO_LARGE", "events");
        let mut chats = desk.conversations(PLATFORM);
        let none =
            chats.record_conversation_events(v1::RecordConversationEventsRequest::default()).await;
        invalid(none.unwrap_err(), "FIELD_MISSING", "events");
        let none = chats.record_conversions(v1::RecordConversionsRequest::default()).await;
        invalid(none.unwrap_err(), "FIELD_MISSING", "conversions");
        let none = chats.get_conversation(v1::GetConversationRequest::default()).await;
        invalid(none.unwrap_err(), "FIELD_MISSING", "conversation");
        let hour = |hours: i64| Some(Timestamp { seconds: hours * 3_600, nanos: 0 });
        let request =
            v1::QueryReportRequest { start_time: hour(9), end_time: hour(8), ..Default::default() };
        let report = desk.reports(TACOS).query_report(request).await;
        invalid(report.unwrap_err(), "END_BEFORE_START", "end_time");
        refused_reports(&desk).await;
    });
    desk.stop();
}

/// Asks for what no report has, or has not together.
async fn refused_reports(desk: &Desk) {
    let ask = async |request: v1::QueryReportRequest| {
        desk.reports(TACOS).query_report(request).await.unwrap_err()
    };
    let unknown = ask(v1::QueryReportRequest { metrics: vec![99], ..Default::default() }).await;
    assert!(unknown.message().contains("IMPRESSIONS, VIEWABLE, REACH"), "{unknown:?}");
    invalid(unknown, "FIELD_INVALID", "metrics[0]");
    let unknown = ask(v1::QueryReportRequest { dimensions: vec![99], ..Default::default() }).await;
    assert!(unknown.message().contains("ACCOUNT, CAMPAIGN, AD_SET"), "{unknown:?}");
    invalid(unknown, "FIELD_INVALID", "dimensions[0]");
    let (metrics, breakdown) = (vec![v1::Metric::Reach.into()], v1::Breakdown::Country.into());
    let apart = ask(v1::QueryReportRequest { metrics, breakdown, ..Default::default() }).await;
    assert!(apart.message().contains("REACH is not counted by breakdowns"), "{apart:?}");
    invalid(apart, "FIELD_INVALID", "metrics[0]");
    let page_token = "AAAA".to_owned();
    let foreign = ask(v1::QueryReportRequest { page_token, ..Default::default() }).await;
    invalid(foreign, "CURSOR_FOREIGN", "page_token");
}

/// Tells that items were refused for these reasons and fields, and nothing was charged.
fn all_refused(results: &[ItemResult], wanted: &[(&str, &str)]) {
    let got: Vec<_> = results.iter().map(|it| (&*it.reason, &*it.field)).collect();
    assert_eq!(got, wanted);
    let refused = v1::ItemOutcome::Refused;
    let sound = |it: &ItemResult| it.outcome() == refused && it.charged_micros == 0;
    assert!(results.iter().all(|it| sound(it) && !it.message.is_empty()), "{results:?}");
}

fn now(plus_s: i64) -> Option<Timestamp> {
    let now = jiff::Timestamp::now().as_second();
    Some(Timestamp { seconds: now + plus_s, nanos: 0 })
}

#[test]
fn each_bad_event_of_an_ad_is_refused_and_counts_nothing() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let request = v1::RequestAdsRequest { ad_request: tray("viewer-1") };
        let slots = desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        let ad = first_ad(&slots);
        let before = census(&desk).await?;
        let at = |time| v1::AdEvent { time, ..event(ad, EventKind::Impression) };
        let mut long = event(ad, EventKind::Impression);
        long.view_token = vec![7; 1_000].into();
        let events = vec![
            event(ad, EventKind::Tap),
            at(now(6 * 60)),
            at(now(-3_600)),
            at(Some(Timestamp { seconds: -1, nanos: 0 })),
            v1::AdEvent { kind: 99, ..event(ad, EventKind::Tap) },
            v1::AdEvent::default(),
            long,
        ];
        let request = v1::RecordEventsRequest { request_id: String::new(), events };
        let results = desk.events(STATUS).record_events(request).await?.into_inner().results;
        let wanted = [
            ("VIEW_MISSING", "view_token"),
            ("EVENT_FROM_FUTURE", "time"),
            ("EVENT_BEFORE_TOKEN", "time"),
            ("FIELD_INVALID", "time.seconds"),
            ("FIELD_INVALID", "kind"),
            ("FIELD_MISSING", "view_token"),
            ("TOKEN_MALFORMED", "view_token"),
        ];
        all_refused(&results, &wanted);
        assert_eq!(census(&desk).await?, before);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn each_bad_event_of_a_chat_is_refused_and_leaves_no_conversation() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let rivals = open_shop(&desk, RIVALS).await?;
        let before = census(&desk).await?;
        let key = |endpoint_id| v1::ConversationKey { endpoint_id, contact: "contact-1".into() };
        let opened =
            v1::Opened { entry_point: v1::EntryPoint::QrCode.into(), ..Default::default() };
        let good = v1::ConversationEvent {
            business_id: shop.business,
            conversation: Some(key(shop.endpoint)),
            event: Some(v1::conversation_event::Event::Opened(opened)),
            ..Default::default()
        };
        let with = |conversation| v1::ConversationEvent { conversation, ..good.clone() };
        let events = vec![
            with(Some(key(rivals.endpoint))),
            with(Some(key(77))),
            with(None),
            v1::ConversationEvent { business_id: 77, ..good.clone() },
            v1::ConversationEvent { time: now(6 * 60), ..good.clone() },
            v1::ConversationEvent { country: "Mexico".into(), ..good.clone() },
            v1::ConversationEvent { event: None, ..good.clone() },
        ];
        let request = v1::RecordConversationEventsRequest { request_id: String::new(), events };
        let mut client = desk.conversations(PLATFORM);
        let answer = client.record_conversation_events(request).await?.into_inner();
        let wanted = [
            ("ENDPOINT_FOREIGN", "conversation.endpoint_id"),
            ("ENDPOINT_FOREIGN", "conversation.endpoint_id"),
            ("FIELD_MISSING", "conversation"),
            ("NOT_FOUND", "business_id"),
            ("EVENT_FROM_FUTURE", "time"),
            ("FIELD_INVALID", "country"),
            ("FIELD_MISSING", "event"),
        ];
        all_refused(&answer.results, &wanted);
        let request = v1::GetConversationRequest {
            business_id: shop.business,
            conversation: Some(key(shop.endpoint)),
        };
        let none = client.get_conversation(request).await.unwrap_err();
        assert_eq!(none.code(), Code::NotFound);
        assert_eq!(census(&desk).await?, before);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_cursor_of_another_journal_is_refused() {
    let (here, there) = (Desk::start(), Desk::start());
    calls(async {
        let pull = |cursor| v1::PullAttributionsRequest { cursor, ..Default::default() };
        let pages = there.attributions(TACOS).pull_attributions(pull(Vec::new())).await?;
        let cursor = pages.into_inner().message().await?.unwrap().cursor;
        let refused = here.attributions(TACOS).pull_attributions(pull(cursor)).await.unwrap_err();
        let wanted = (Code::InvalidArgument, "CURSOR_FOREIGN".to_owned(), "cursor".to_owned());
        assert_eq!(told(&refused), wanted);
        Ok::<_, Status>(())
    })
    .unwrap();
    here.stop();
    there.stop();
}
