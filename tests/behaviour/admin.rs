//! What an operator decides: which ads serve, what targeting may name, where a category may be shown.

use munadi::types::proto::v1;
use munadi::types::proto::v1::slot::Filling;
use munadi::types::proto::v1::{
    EffectiveStatus, NoAdReason, PolicyCategory, ReviewState, Taxonomy,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{
    ANALYST, Desk, OPERATOR, PLATFORM, RIVALS, STATUS, Shop, TACOS, calls, open_shop, tray,
};

/// Everyone but the operator.
const OTHERS: [&str; 4] = [TACOS, STATUS, PLATFORM, ANALYST];

#[test]
fn an_ad_serves_once_it_is_approved_and_no_longer_once_it_is_rejected() {
    let desk = Desk::reviewing();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        assert_eq!(ad_of(&desk, &shop).await?.effective_status(), EffectiveStatus::PendingReview);
        assert_eq!(asked(&desk, country("MX", 0)).await?, Err(NoAdReason::NoLiveAds));

        let ad = review(&desk, &shop, "1", approved(&[])).await?;
        assert_eq!(ad.review.unwrap().state(), ReviewState::Approved);
        assert_eq!(ad_of(&desk, &shop).await?.effective_status(), EffectiveStatus::Active);
        until(&desk, country("MX", 0), Ok(shop.ad)).await?;

        let found = v1::Review {
            state: ReviewState::Rejected.into(),
            reasons: vec!["The picture shows another brand".into()],
            ..Default::default()
        };
        review(&desk, &shop, "2", found.clone()).await?;
        let ad = ad_of(&desk, &shop).await?;
        assert_eq!(ad.effective_status(), EffectiveStatus::Disapproved);
        let told = ad.review.unwrap();
        assert_eq!((told.state, told.reasons), (found.state, found.reasons));
        assert!(told.time.is_some(), "the engine says when");
        until(&desk, country("MX", 0), Err(NoAdReason::NoLiveAds)).await?;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_changed_creative_waits_again_and_an_advertiser_cannot_review_it() {
    let desk = Desk::reviewing();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let seen = review(&desk, &shop, "1", approved(&[])).await?;
        let creative = Some(v1::Creative { primary_text: "Burgers!".into(), ..Default::default() });
        let review_of_mine = Some(approved(&[]));
        let ad = v1::Ad { id: shop.ad, creative, review: review_of_mine, ..Default::default() };
        let update_mask = prost_types::FieldMask { paths: vec!["creative".into()] };
        let update = v1::UpdateAdRequest {
            request_id: "creative".into(),
            ad: Some(ad.clone()),
            update_mask: Some(update_mask),
            validate_only: false,
        };
        let changed = desk.campaigns(TACOS).update_ad(update.clone()).await?.into_inner().ad;
        let changed = changed.unwrap();
        assert_eq!(changed.review.unwrap().state(), ReviewState::Pending);
        assert_eq!(ad_of(&desk, &shop).await?.effective_status(), EffectiveStatus::PendingReview);
        assert_eq!(changed.creative.unwrap().format(), v1::CreativeFormat::Text);

        let mask = Some(prost_types::FieldMask { paths: vec!["review".into()] });
        let own = v1::UpdateAdRequest { request_id: "own".into(), update_mask: mask, ..update };
        let status = desk.campaigns(TACOS).update_ad(own).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "update_mask.paths[0]".into()));

        let late = v1::ReviewAdRequest {
            request_id: "late".into(),
            ad_id: shop.ad,
            review: Some(approved(&[])),
            etag: seen.etag,
        };
        let status = desk.admin(OPERATOR).review_ad(late).await.unwrap_err();
        assert_eq!(status.code(), Code::Aborted, "what was looked at is not what there is");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_category_is_shown_only_where_and_to_whom_a_rule_allows_it() {
    let desk = Desk::reviewing();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        review(&desk, &shop, "1", approved(&[PolicyCategory::Alcohol])).await?;
        let grown = v1::AgeBand::AgeBand2534 as i32;
        until(&desk, country("MX", grown), Err(NoAdReason::PolicyBlocked)).await?;

        let rules = vec![rule(PolicyCategory::Alcohol, "MX", true, 18)];
        let request = v1::SetPolicyRulesRequest { request_id: "rules".into(), rules };
        let answer = desk.admin(OPERATOR).set_policy_rules(request.clone()).await?.into_inner();
        assert_eq!(answer.rules, 1);
        let again = desk.admin(OPERATOR).set_policy_rules(request.clone()).await?.into_inner();
        assert_eq!(again, answer, "the same write is answered again");
        let listed = desk.admin(OPERATOR).list_policy_rules(v1::ListPolicyRulesRequest {}).await?;
        assert_eq!(listed.into_inner().rules, request.rules);

        until(&desk, country("MX", grown), Ok(shop.ad)).await?;
        let blocked = Err(NoAdReason::PolicyBlocked);
        let young = v1::AgeBand::AgeBand1317 as i32;
        assert_eq!(asked(&desk, country("MX", young)).await?, blocked);
        assert_eq!(asked(&desk, country("MX", 0)).await?, blocked, "nobody knows how old");
        assert_eq!(asked(&desk, country("IN", grown)).await?, blocked, "no rule, no ad");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_search_shows_what_targeting_accepts_page_by_page() {
    let desk = Desk::start();
    calls(async {
        let cities = [(3, "Puebla", "MX"), (1, "Pune", "IN"), (2, "Mexico City", "MX")];
        let put = cities.map(|(id, name, country)| {
            let (name, country) = (name.to_owned(), country.to_owned());
            v1::TaxonomyEntry { id, name, country, code: String::new() }
        });
        let request = v1::UpdateTaxonomyRequest {
            request_id: "cities".into(),
            taxonomy: Taxonomy::City.into(),
            put: put.into(),
            removed: Vec::new(),
        };
        assert_eq!(desk.admin(OPERATOR).update_taxonomy(request).await?.into_inner().entries, 3);
        let names = |page: &v1::SearchTargetingResponse| {
            page.entries.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        let mexican = search(Taxonomy::City, "", "MX", 1);
        let first = desk.campaigns(TACOS).search_targeting(mexican.clone()).await?.into_inner();
        assert_eq!(names(&first), ["Mexico City"]);
        let page_token = first.next_page_token;
        let next = v1::SearchTargetingRequest { page_token: page_token.clone(), ..mexican };
        let last = desk.campaigns(RIVALS).search_targeting(next).await?.into_inner();
        assert_eq!((names(&last), &*last.next_page_token), (vec!["Puebla".to_owned()], ""));
        let foreign =
            v1::SearchTargetingRequest { page_token, ..search(Taxonomy::City, "", "IN", 1) };
        let status = desk.campaigns(TACOS).search_targeting(foreign).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "page_token".into()));

        let named = search(Taxonomy::City, "PU", "", 0);
        let found = desk.campaigns(OPERATOR).search_targeting(named).await?.into_inner();
        assert_eq!(names(&found), ["Pune", "Puebla"]);
        let countries = search(Taxonomy::Country, "", "", 1_000);
        let all = desk.campaigns(TACOS).search_targeting(countries).await?.into_inner();
        assert_eq!(all.entries.len(), 249, "countries are built in");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn only_an_operator_reviews_and_keeps_lists_and_rules() {
    let desk = Desk::start();
    calls(async {
        for key in OTHERS {
            let mut admin = desk.admin(key);
            let refused = [
                admin.review_ad(v1::ReviewAdRequest::default()).await.map(drop),
                admin.update_taxonomy(v1::UpdateTaxonomyRequest::default()).await.map(drop),
                admin.set_policy_rules(v1::SetPolicyRulesRequest::default()).await.map(drop),
                admin.list_policy_rules(v1::ListPolicyRulesRequest {}).await.map(drop),
                admin.set_exchange_rates(v1::SetExchangeRatesRequest::default()).await.map(drop),
                admin.list_exchange_rates(v1::ListExchangeRatesRequest {}).await.map(drop),
                admin.set_traffic_rules(v1::SetTrafficRulesRequest::default()).await.map(drop),
                admin.get_traffic_rules(v1::GetTrafficRulesRequest {}).await.map(drop),
                admin.set_rate_cards(v1::SetRateCardsRequest::default()).await.map(drop),
                admin.list_rate_cards(v1::ListRateCardsRequest {}).await.map(drop),
                admin.list_message_rules(v1::ListMessageRulesRequest {}).await.map(drop),
                admin.erase_viewer(v1::EraseViewerRequest::default()).await.map(drop),
            ];
            for refused in refused {
                assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{key}");
            }
        }
        for key in [STATUS, PLATFORM, ANALYST] {
            let asked = search(Taxonomy::Country, "", "", 0);
            let refused = desk.campaigns(key).search_targeting(asked).await;
            assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{key}");
        }
    });
    desk.stop();
}

#[test]
fn each_bad_word_of_an_operator_is_refused_by_its_field() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let mut admin = desk.admin(OPERATOR);
        let id = || "bad".to_owned();
        let finding = |ad_id, review| v1::ReviewAdRequest {
            request_id: id(),
            ad_id,
            review: Some(review),
            etag: String::new(),
        };
        let silent = v1::Review { state: ReviewState::Rejected.into(), ..Default::default() };
        for (request, code, field) in [
            (finding(shop.ad, silent), Code::InvalidArgument, "review.reasons"),
            (finding(shop.ad, v1::Review::default()), Code::InvalidArgument, "review.state"),
            (finding(77, approved(&[])), Code::NotFound, "ad_id"),
            (finding(0, approved(&[])), Code::InvalidArgument, "ad_id"),
        ] {
            let status = admin.review_ad(request).await.unwrap_err();
            assert_eq!(told(&status), (code, field.to_owned()));
        }
        let entry = |number: usize| v1::TaxonomyEntry {
            id: number as u32 + 1,
            name: "x".repeat(100),
            ..Default::default()
        };
        let entries = |count: usize| (0..count).map(entry).collect::<Vec<_>>();
        let change = |taxonomy: Taxonomy, put| v1::UpdateTaxonomyRequest {
            request_id: id(),
            taxonomy: taxonomy.into(),
            put,
            removed: Vec::new(),
        };
        let zero = vec![v1::TaxonomyEntry { id: 0, ..entry(0) }];
        for (request, field) in [
            (change(Taxonomy::Country, entries(1)), "taxonomy"),
            (change(Taxonomy::Interest, Vec::new()), "put"),
            (change(Taxonomy::Segment, entries(10_001)), "put"),
            (change(Taxonomy::Segment, zero), "put[0].id"),
            (change(Taxonomy::Segment, vec![entry(4), entry(4)]), "put[1]"),
        ] {
            let status = admin.update_taxonomy(request).await.unwrap_err();
            assert_eq!(told(&status), (Code::InvalidArgument, field.to_owned()));
        }
        let full = change(Taxonomy::Segment, entries(10_000));
        assert_eq!(admin.update_taxonomy(full).await?.into_inner().entries, 10_000);
        for (rules, field) in [
            (vec![rule(PolicyCategory::Dating, "XX", true, 0)], "rules[0].country"),
            (vec![rule(PolicyCategory::Dating, "MX", true, 21)], "rules[0].age_min"),
            (vec![rule(PolicyCategory::Dating, "MX", true, 0); 2], "rules[1]"),
            (vec![rule(PolicyCategory::Dating, "MX", true, 0); 2_001], "rules"),
        ] {
            let request = v1::SetPolicyRulesRequest { request_id: id(), rules };
            let status = admin.set_policy_rules(request).await.unwrap_err();
            assert_eq!(told(&status), (Code::InvalidArgument, field.to_owned()));
        }
        let nameless = v1::SetPolicyRulesRequest::default();
        let status = admin.set_policy_rules(nameless).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "request_id".into()));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

async fn review(
    desk: &Desk,
    shop: &Shop,
    request_id: &str,
    review: v1::Review,
) -> Result<v1::Ad, Status> {
    let (request_id, etag) = (format!("review-{request_id}"), String::new());
    let request = v1::ReviewAdRequest { request_id, ad_id: shop.ad, review: Some(review), etag };
    let answer = desk.admin(OPERATOR).review_ad(request).await?.into_inner();
    Ok(answer.ad.expect("the ad"))
}

fn approved(categories: &[PolicyCategory]) -> v1::Review {
    let categories = categories.iter().map(|&category| category.into()).collect();
    v1::Review { state: ReviewState::Approved.into(), categories, ..Default::default() }
}

fn rule(category: PolicyCategory, country: &str, allowed: bool, age_min: u32) -> v1::PolicyRule {
    v1::PolicyRule { category: category.into(), country: country.into(), allowed, age_min }
}

fn search(
    taxonomy: Taxonomy,
    query: &str,
    country: &str,
    page_size: u32,
) -> v1::SearchTargetingRequest {
    v1::SearchTargetingRequest {
        taxonomy: taxonomy.into(),
        query: query.into(),
        country: country.into(),
        page_size,
        page_token: String::new(),
    }
}

async fn ad_of(desk: &Desk, shop: &Shop) -> Result<v1::Ad, Status> {
    let answer = desk.campaigns(TACOS).get_ad(v1::GetAdRequest { id: shop.ad }).await?;
    Ok(answer.into_inner().ad.expect("the ad"))
}

/// Returns the first ad that a viewer of this country and age is shown, or why there is none.
async fn asked(desk: &Desk, viewer: v1::ViewerContext) -> Result<Result<u64, NoAdReason>, Status> {
    let ad_request = tray("").map(|tray| v1::AdRequest { viewer: Some(viewer), ..tray });
    let answer = desk.ads(STATUS).request_ads(v1::RequestAdsRequest { ad_request }).await?;
    let mut slots = answer.into_inner().slots.into_iter();
    let filling = slots.next().and_then(|slot| slot.filling).expect("a slot says what it holds");
    Ok(match filling {
        Filling::Ad(ad) => Ok(ad.ad_id),
        Filling::NoAdReason(reason) => Err(NoAdReason::try_from(reason).expect("a known reason")),
    })
}

/// Asks until a change has reached the shelf, which follows the acknowledgement by a moment.
async fn until(
    desk: &Desk,
    viewer: v1::ViewerContext,
    wanted: Result<u64, NoAdReason>,
) -> Result<(), Status> {
    let mut found = asked(desk, viewer.clone()).await?;
    for _ in 0..200 {
        if found == wanted {
            break;
        }
        tokio::task::yield_now().await;
        found = asked(desk, viewer.clone()).await?;
    }
    assert_eq!(found, wanted);
    Ok(())
}

fn country(country: &str, age_band: i32) -> v1::ViewerContext {
    v1::ViewerContext { country: country.into(), age_band, ..Default::default() }
}

/// Returns code and field of a refusal.
fn told(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first().cloned());
    (status.code(), field.map(|it| it.field).unwrap_or_default())
}
