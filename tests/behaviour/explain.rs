//! A reason for every silence, the fix that ends it, and how many people a targeting reaches.

use munadi::node::Question;
use munadi::types::proto::v1::{
    Ad, AdSet, AgeBand, BillingEvent, Campaign, ConfiguredStatus, EffectiveStatus, EventKind,
    ExplainDeliveryResponse, ExplainRequestResponse, FrequencyCap, Gender, Money, PolicyCategory,
    ReasonCount, Review, ReviewState, Targeting,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{AdRequest, Change, Policy, Profile, Resource, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Shop, Stage, letters};

const PAGE: usize = 100;

fn watched() -> Stage {
    let stage = Stage::new();
    stage.front.watch_here();
    stage
}

fn delivery(stage: &Stage, shop: &Shop) -> ExplainDeliveryResponse {
    stage.front.explain_delivery(ALL, shop.ad, stage.now).unwrap()
}

fn funnel(stage: &Stage, scope: Scope, request: &AdRequest) -> ExplainRequestResponse {
    stage.front.explain_request(scope, &stage.policy, request, PAGE, stage.now)
}

/// Asks once for each of ten viewers.
fn crowd(stage: &Stage) {
    (0..10).for_each(|viewer| drop(stage.ask(&stage.tray_of(&format!("viewer {viewer}")))));
}

/// Checks the first reason and the first fix, if there is to be one.
fn check(stage: &mut Stage, shop: &Shop, reason: &str, field: &str) -> ExplainDeliveryResponse {
    stage.wait(MINUTE_MS);
    stage.settle();
    let answer = delivery(stage, shop);
    let first = answer.reasons.first().map(|reason| &*reason.name);
    assert_eq!(first, Some(reason), "{answer:?}");
    let fix = answer.fixes.first().map_or("", |fix| &*fix.field);
    assert_eq!(fix, field, "{answer:?}");
    answer
}

fn silent(offer: &Offer, reason: &str, field: &str) -> ExplainDeliveryResponse {
    let mut stage = watched();
    let shop = stage.shop(offer);
    crowd(&stage);
    check(&mut stage, &shop, reason, field)
}

fn to(targeting: Targeting) -> Offer {
    Offer { targeting, ..Offer::default() }
}

#[test]
fn an_ad_for_others_names_the_attribute_that_alone_keeps_it_away() {
    let spanish = Targeting { languages: vec!["es".into()], ..Targeting::default() };
    let answer = silent(&to(spanish.clone()), "NOT_TARGETED", "ad_set.targeting.languages");
    assert_eq!(answer.reasons, [named(502, "NOT_TARGETED", 10, true)]);
    let fix = &answer.fixes[0];
    assert_eq!((fix.more_wins, fix.requests, answer.sampled_requests), (10, 10, 10));
    assert!(fix.message.ends_with("wins 10 more of 10 sampled requests"), "{}", fix.message);
    assert_eq!((answer.winning_cpm, answer.served), (None, 0));
    let women = Targeting { genders: vec![Gender::Female.into()], ..spanish };
    silent(&to(women), "NOT_TARGETED", "");
}

fn named(reason: u32, name: &str, count: u64, estimated: bool) -> ReasonCount {
    ReasonCount { reason, name: name.into(), count, estimated }
}

#[test]
fn an_ad_before_its_start_or_behind_its_end_says_so() {
    let now = Stage::new().now.0 / 1_000;
    let later = Offer { start: Some(now + 9_000), ..Offer::default() };
    silent(&later, "OUTSIDE_SCHEDULE", "ad_set.start_time");
    let mut stage = watched();
    let ends = Offer { start: Some(now - 9_000), end: Some(now + 60), ..Offer::default() };
    let shop = stage.shop(&ends);
    stage.wait(MINUTE_MS);
    crowd(&stage);
    check(&mut stage, &shop, "OUTSIDE_SCHEDULE", "ad_set.end_time");
}

#[test]
fn a_spent_budget_is_named_with_the_line_that_is_spent() {
    for (offer, field) in [
        (Offer { campaign: (Some(1_000_000), None), ..Offer::default() }, "campaign.budget"),
        (Offer { ad_set: (Some(1_000_000), None), ..Offer::default() }, "ad_set.budget"),
        (Offer { spend_limit: Some(1_000_000), ..Offer::default() }, "account.spend_limit"),
    ] {
        let answer = silent(&offer, "BUDGET_SPENT", field);
        assert_eq!((answer.served, answer.fixes[0].more_wins), (1, 9), "{answer:?}");
        assert_eq!(answer.reasons, [named(505, "BUDGET_SPENT", 9, true)]);
    }
}

#[test]
fn a_cap_is_named_and_so_is_what_the_viewer_hid() {
    let caps = vec![FrequencyCap { max_frequency: 1, interval_hours: 24, event: 1 }];
    let mut stage = watched();
    let shop = stage.shop(&Offer { caps, ..Offer::default() });
    (0..5).for_each(|_| drop(stage.ask(&stage.tray_of("a"))));
    let answer = check(&mut stage, &shop, "FREQUENCY_CAPPED", "ad_set.frequency_caps");
    assert_eq!(answer.reasons, [named(9, "FREQUENCY_CAPPED", 4, true)]);
    let mut stage = watched();
    let shop = stage.shop(&Offer::default());
    let shown = stage.show("a");
    stage.see(&shown);
    stage.happen(&shown, EventKind::HideAd);
    stage.ask(&stage.tray_of("a"));
    check(&mut stage, &shop, "HIDDEN_BY_VIEWER", "");
}

#[test]
fn an_outbid_ad_is_told_the_bid_that_wins_and_it_does() {
    let mut stage = watched();
    stage.policy = Policy { floor_cpm_micros: 1, ..stage.policy };
    let loser = stage.shop(&Offer { bid: 500_000, ..Offer::default() });
    stage.shop(&Offer { bid: 619_500, ..Offer::default() });
    crowd(&stage);
    let answer = check(&mut stage, &loser, "OUTBID", "ad_set.bid");
    // An auction counts its losers exactly; the sampled walk leaves them out.
    assert_eq!(answer.reasons, [named(500, "OUTBID", 10, false)]);
    let fix = &answer.fixes[0];
    let message = "raise the bid from 500.00 to 619.501 MXN: wins 10 more of 10 sampled requests";
    assert_eq!(fix.message, message);
    let cpm = |money: &Option<Money>| money.as_ref().map(|money| money.micros);
    assert_eq!(cpm(&answer.own_cpm), Some(500_000_000));
    assert_eq!(cpm(&answer.winning_cpm), Some(619_500_001));
    let row = AdSet { id: loser.ad_set, bid: fix.bid.clone(), ..AdSet::default() };
    stage.update(loser.tenant, Resource::AdSet(row), &["bid"]);
    assert_eq!(stage.show("viewer 1").ad.ad_id, loser.ad);
}

#[test]
fn a_bid_on_conversations_is_raised_by_what_its_rates_make_of_it() {
    let mut stage = watched();
    stage.policy = Policy { floor_cpm_micros: 40_000_000, ..stage.policy };
    let billing = BillingEvent::Conversations;
    let shop = stage.shop(&Offer { billing, bid: 3_000_000, ..Offer::default() });
    crowd(&stage);
    let answer = check(&mut stage, &shop, "BELOW_FLOOR", "ad_set.bid");
    let bid = answer.fixes[0].bid.clone();
    let row = AdSet { id: shop.ad_set, bid, ..AdSet::default() };
    stage.update(shop.tenant, Resource::AdSet(row), &["bid"]);
    assert_eq!(stage.show("viewer 1").ad.ad_id, shop.ad);
}

#[test]
fn an_ad_worth_less_than_interrupting_says_so() {
    let mut stage = watched();
    let cost = 1_500_000_000;
    stage.policy = Policy { interruption_cpm_micros: cost, ..stage.policy };
    let shop = stage.shop(&Offer::default());
    crowd(&stage);
    let answer = check(&mut stage, &shop, "INTERRUPTION_COST", "ad_set.bid");
    assert_eq!(answer.reasons, [named(507, "INTERRUPTION_COST", 10, false)]);
    assert_eq!(answer.fixes[0].bid.as_ref().unwrap().micros, cost + 1_000);
    let seen = funnel(&stage, ALL, &stage.tray_of("a"));
    assert_eq!(seen.reasons, [named(507, "INTERRUPTION_COST", 1, false)]);
}

#[test]
fn whoever_stands_too_near_to_another_says_so() {
    let mut stage = watched();
    let food = Offer { category: "food", ..Offer::default() };
    stage.shop(&Offer { bid: 2_000_000, ..food.clone() });
    let shop = stage.shop(&food);
    let request = AdRequest { posts: 30, ..stage.tray_of("a") };
    let seen = funnel(&stage, ALL, &request);
    assert_eq!(seen.reasons, [named(355, "SEPARATION", 1, false)]);
    assert_eq!(seen.ads[1].ad_id, shop.ad);
    stage.policy.advertiser_distance_ms = HOUR_MS;
    stage.policy.most_per_tray = 1;
    // The best one wins, then the other, then both were seen just now.
    (0..3).for_each(|_| drop(stage.ask(&request)));
    let estimated = named(355, "SEPARATION", 1, true);
    assert_eq!(delivery(&stage, &shop).reasons, std::slice::from_ref(&estimated));
    let answer = check(&mut stage, &shop, "SEPARATION", "ad_set.bid");
    assert_eq!(answer.reasons, [named(355, "SEPARATION", 1, false), estimated]);
}

#[test]
fn what_is_paused_archived_or_not_approved_says_so_without_any_request() {
    let status = |status: ConfiguredStatus| -> i32 { status.into() };
    let paused = status(ConfiguredStatus::Paused);
    let cases = [
        ("AD_PAUSED", "ad.configured_status"),
        ("AD_SET_PAUSED", "ad_set.configured_status"),
        ("CAMPAIGN_PAUSED", "campaign.configured_status"),
        ("ARCHIVED", "ad.configured_status"),
        ("DISAPPROVED", "ad.review"),
    ];
    for (reason, field) in cases {
        let mut stage = watched();
        let shop = stage.shop(&Offer::default());
        stage.shop(&Offer { bid: 2_000_000, ..Offer::default() });
        crowd(&stage);
        // It was outbid today, but that is not why it is silent now.
        check(&mut stage, &shop, "OUTBID", "ad_set.bid");
        let ad = |configured_status| Ad { id: shop.ad, configured_status, ..Ad::default() };
        let change = match reason {
            "AD_PAUSED" => Resource::Ad(ad(paused)),
            "AD_SET_PAUSED" => Resource::AdSet(AdSet {
                id: shop.ad_set,
                configured_status: paused,
                ..AdSet::default()
            }),
            "CAMPAIGN_PAUSED" => Resource::Campaign(Campaign {
                id: shop.campaign,
                configured_status: paused,
                ..Campaign::default()
            }),
            _ => Resource::Ad(ad(status(ConfiguredStatus::Archived))),
        };
        if reason == "DISAPPROVED" {
            review(&mut stage, &shop, ReviewState::Rejected, &[]);
        } else {
            stage.update(shop.tenant, change, &["configured_status"]);
        }
        let answer = check(&mut stage, &shop, reason, field);
        assert_ne!(answer.effective_status(), EffectiveStatus::Active);
        crowd(&stage);
        check(&mut stage, &shop, reason, field);
    }
}

fn review(stage: &mut Stage, shop: &Shop, state: ReviewState, categories: &[PolicyCategory]) {
    let categories = categories.iter().map(|category| (*category).into()).collect();
    let reasons = if state == ReviewState::Rejected { vec!["Too loud".into()] } else { Vec::new() };
    let review = Review { state: state.into(), reasons, categories, time: None };
    let change = Change::Review { ad: shop.ad, etag: String::new(), review };
    let request_id = stage.fresh_id();
    let mut write = Stage::writing(0, &request_id, change);
    write.any_tenant = true;
    stage.mutate(write).unwrap();
}

#[test]
fn an_ad_that_waits_for_its_review_or_is_not_allowed_here_says_so() {
    let mut stage = watched();
    let shop = stage.shop(&Offer::default());
    let request_id = stage.fresh_id();
    let row = Offer::default().ad_row(shop.ad_set, shop.endpoint);
    let mut write = Stage::writing(shop.tenant, &request_id, Change::Create(Resource::Ad(row)));
    write.approve = false;
    let waiting = Shop { ad: stage.mutate(write).unwrap().id(), ..shop };
    check(&mut stage, &waiting, "PENDING_REVIEW", "ad.review");
    review(&mut stage, &shop, ReviewState::Approved, &[PolicyCategory::Alcohol]);
    crowd(&stage);
    check(&mut stage, &shop, "POLICY_BLOCKED", "");
}

#[test]
fn a_question_shows_the_whole_funnel_and_promises_nothing() {
    let mut stage = watched();
    stage.policy.most_per_tray = 2;
    let to_brazil = Targeting { countries: vec!["BR".into()], ..Targeting::default() };
    let speaks =
        |language: &str| to(Targeting { languages: vec![language.into()], ..Targeting::default() });
    let now = stage.now.0 / 1_000;
    let best = stage.shop(&Offer { bid: 3_000_000, ..Offer::default() });
    let second = stage.shop(&Offer { bid: 2_000_000, ..speaks("es") });
    let third = stage.shop(&Offer { bid: 1_500_000, ..Offer::default() });
    let later = stage.shop(&Offer { start: Some(now + 900), ..Offer::default() });
    let german = stage.shop(&speaks("de"));
    stage.shop(&to(to_brazil));
    let profile =
        Profile { country: letters("MX"), languages: vec![letters("es")], ..Profile::default() };
    let request = AdRequest { posts: 30, profile, ..stage.tray_of("a") };
    let seen = funnel(&stage, ALL, &request);
    assert_eq!(seen, funnel(&stage, ALL, &request));
    assert_eq!(seen.live_ads, 5, "an ad for Brazil is not of this market");
    let ads: Vec<_> = seen.ads.iter().map(|ad| (ad.ad_id, ad.reason)).collect();
    let expected =
        [(best.ad, 0), (second.ad, 0), (third.ad, 500), (later.ad, 504), (german.ad, 502)];
    assert_eq!(ads, expected);
    let placed = seen.ads.iter().filter(|ad| ad.reason == 0).count() as u64;
    let lost: u64 = seen.reasons.iter().map(|reason| reason.count).sum();
    assert_eq!(placed + lost, seen.live_ads);
    let slots: Vec<_> = seen.slots.iter().map(|slot| (slot.position, slot.ad_id)).collect();
    assert_eq!(slots, [(2, best.ad), (6, second.ad)]);
    assert_eq!((seen.ads[0].position, seen.ads[0].price_micros), (2, 1_500_000));
    stage.wait(MINUTE_MS);
    stage.settle();
    assert_eq!(stage.report(&[]).requests, 0, "a question is no request");
    let answer = stage.front.explain_request(ALL, &stage.policy, &request, 2, stage.now);
    assert_eq!((answer.ads.len(), answer.live_ads), (2, 5));
    // What was served says the same.
    let served: Vec<_> =
        stage.ask(&request).into_iter().map(|slot| stage.filled(slot).unwrap().ad.ad_id).collect();
    assert_eq!(served, [best.ad, second.ad]);
}

#[test]
fn a_tray_without_a_place_says_so() {
    let mut stage = watched();
    stage.shop(&Offer::default());
    stage.policy.most_per_day = 1;
    stage.show("a");
    let seen = funnel(&stage, ALL, &stage.tray_of("a"));
    assert_eq!(seen.reasons, [named(501, "NO_SLOT", 1, false)]);
}

#[test]
fn an_advertiser_sees_its_own_ads_only() {
    let mut stage = watched();
    stage.policy.most_per_tray = 1;
    let ours = stage.shop(&Offer::default());
    let theirs = stage.shop(&Offer { tenant: 6, bid: 2_000_000, ..Offer::default() });
    let others = Offer {
        tenant: 6,
        targeting: Targeting { age_min: 18, ..Default::default() },
        ..Offer::default()
    };
    stage.shop(&others);
    let (us, them) = (Scope { tenant: ours.tenant, any: false }, Scope { tenant: 6, any: false });
    let request = stage.tray_of("a");
    let seen = funnel(&stage, us, &request);
    assert_eq!(seen.ads.iter().map(|ad| ad.ad_id).collect::<Vec<_>>(), [ours.ad]);
    assert_eq!(seen.slots.iter().map(|slot| slot.ad_id).collect::<Vec<_>>(), [0]);
    assert_eq!((seen.live_ads, seen.reasons.len()), (3, 2), "the market's counts");
    let seen = funnel(&stage, them, &request);
    assert_eq!(seen.slots[0].ad_id, theirs.ad);
    let foreign = stage.front.explain_delivery(us, theirs.ad, stage.now).unwrap_err();
    assert_eq!((foreign.reason, &*foreign.field), (Reason::NotFound, "ad_id"));
    assert!(stage.front.explain_delivery(us, ours.ad, stage.now).is_ok());
}

#[test]
fn yesterdays_silence_is_forgotten() {
    let mut stage = watched();
    let spanish = Targeting { languages: vec!["es".into()], ..Targeting::default() };
    let shop = stage.shop(&to(spanish));
    crowd(&stage);
    assert_eq!(delivery(&stage, &shop).reasons.len(), 1);
    stage.wait(DAY_MS + HOUR_MS);
    let answer = delivery(&stage, &shop);
    assert_eq!((answer.reasons, answer.sampled_requests), (Vec::new(), 0));
}

#[test]
fn an_audience_is_what_was_met_and_a_small_one_is_not_told() {
    let stage = watched();
    for viewer in 0..2_400 {
        let mut request = stage.tray_of(&format!("viewer {viewer}"));
        let adult = viewer % 2 == 0;
        let band = if adult { AgeBand::AgeBand2534 } else { AgeBand::AgeBand1317 };
        request.profile.age_band = band as u8;
        request.profile.languages = vec![letters(if viewer % 3 == 0 { "es" } else { "en" })];
        (0..2).for_each(|_| drop(stage.ask(&request)));
    }
    stage.ask(&stage.tray_of(""));
    let estimate = |targeting: Targeting, or_targeting: Vec<Targeting>| {
        let draft = AdSet { targeting: Some(targeting), or_targeting, ..AdSet::default() };
        let question = Question { ad_set: draft, wanted: None };
        stage.front.estimate_delivery(ALL, &question, stage.now).unwrap()
    };
    let all = estimate(Targeting::default(), Vec::new());
    assert_eq!((all.audience, all.sampled_viewers), (2_400, 2_400), "strangers are nobody twice");
    let adults = Targeting { age_min: 25, ..Targeting::default() };
    let answer = estimate(adults.clone(), Vec::new());
    assert_eq!((answer.audience_low, answer.audience_high), (1_200, 1_200));
    let spanish = Targeting { languages: vec!["es".into()], ..Targeting::default() };
    let few = estimate(spanish.clone(), Vec::new());
    assert!(few.below_minimum && few.audience == 0 && few.audience_high == 0);
    let either = estimate(adults, vec![spanish]);
    assert_eq!(either.audience, 1_600, "whom either conjunction matches");
}
