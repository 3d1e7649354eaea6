//! Reviews: what an operator has not approved is not shown.

use munadi::types::proto::v1::{
    Ad, Business, ChannelEndpoint, ChatDestination, ConfiguredStatus, Creative, EffectiveStatus,
    PolicyCategory, Review, ReviewState,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{Change, Mutation, Resource, ResourceKind};

use crate::stage::{Offer, Shop, Stage, TENANT};

/// Stages a shop whose ad was never approved.
fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let mut shop = stage.shop(&Offer::default());
    let ad = Offer::default().ad_row(shop.ad_set, shop.endpoint);
    // Only the second ad counts.
    let paused = ConfiguredStatus::Paused.into();
    let first = Ad { id: shop.ad, configured_status: paused, ..Ad::default() };
    stage.update(TENANT, Resource::Ad(first), &["configured_status"]);
    shop.ad = unreviewed(&mut stage, Change::Create(Resource::Ad(ad))).unwrap().id();
    (stage, shop)
}

/// Writes as an advertiser whose ads are reviewed.
fn unreviewed(stage: &mut Stage, change: Change) -> Result<Resource, Refusal> {
    let id = stage.fresh_id();
    stage.mutate(Mutation { approve: false, ..Stage::writing(TENANT, &id, change) })
}

fn review(stage: &mut Stage, ad: u64, etag: &str, review: Review) -> Result<Ad, Refusal> {
    let change = Change::Review { ad, etag: etag.into(), review };
    let id = stage.fresh_id();
    let write = Mutation { any_tenant: true, approve: false, ..Stage::writing(0, &id, change) };
    match stage.mutate(write)? {
        Resource::Ad(ad) => Ok(ad),
        other => panic!("{other:?}"),
    }
}

fn approved() -> Review {
    Review { state: ReviewState::Approved.into(), ..Review::default() }
}

fn rejected() -> Review {
    let reasons = vec!["Says that it cures.".into()];
    Review { state: ReviewState::Rejected.into(), reasons, ..Review::default() }
}

fn ad(stage: &Stage, id: u64) -> Ad {
    match stage.get(ResourceKind::Ad, id).unwrap() {
        Resource::Ad(ad) => ad,
        other => panic!("{other:?}"),
    }
}

fn status(stage: &Stage, id: u64) -> EffectiveStatus {
    ad(stage, id).effective_status()
}

#[test]
fn a_new_ad_is_shown_only_once_it_is_approved() {
    let (mut stage, shop) = staged();
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::PendingReview);
    assert!(stage.try_show("ana").is_err());
    let categories = vec![PolicyCategory::Dating.into()];
    let found = review(&mut stage, shop.ad, "1", Review { categories, ..approved() }).unwrap();
    assert_eq!(found.etag, "2");
    let told = found.review.unwrap();
    assert_eq!(told.categories, [i32::from(PolicyCategory::Dating)]);
    assert!(told.time.is_some());
    review(&mut stage, shop.ad, "2", approved()).unwrap();
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::Active);
    assert!(stage.try_show("ana").is_ok());
    let stage = stage.restarted();
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::Active);
}

#[test]
fn a_rejected_ad_is_not_shown_and_says_why() {
    let (mut stage, shop) = staged();
    review(&mut stage, shop.ad, "", approved()).unwrap();
    assert!(stage.try_show("ana").is_ok());
    review(&mut stage, shop.ad, "", rejected()).unwrap();
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::Disapproved);
    assert!(stage.try_show("eva").is_err());
    assert_eq!(ad(&stage, shop.ad).review.unwrap().reasons, rejected().reasons);
}

#[test]
fn a_changed_look_is_reviewed_again_and_a_changed_name_is_not() {
    let (mut stage, shop) = staged();
    review(&mut stage, shop.ad, "", approved()).unwrap();
    let named = Ad { id: shop.ad, name: "new".into(), ..Ad::default() };
    let change = Change::Update(Resource::Ad(named), vec!["name".into()]);
    unreviewed(&mut stage, change).unwrap();
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::Active);
    let creative = Some(Creative { primary_text: "Miracle".into(), ..Creative::default() });
    let chat = ChatDestination {
        endpoint_id: shop.endpoint,
        prefilled_text: "Cure".into(),
        ..Default::default()
    };
    for (looks, field) in [
        (Ad { creative, ..Ad::default() }, "creative"),
        (Ad { destination: Some(chat), ..Ad::default() }, "destination"),
    ] {
        review(&mut stage, shop.ad, "", approved()).unwrap();
        let looks = Resource::Ad(Ad { id: shop.ad, ..looks });
        unreviewed(&mut stage, Change::Update(looks, vec![field.into()])).unwrap();
        assert_eq!(status(&stage, shop.ad), EffectiveStatus::PendingReview, "{field}");
    }
}

#[test]
fn a_review_of_another_version_or_without_an_end_is_refused() {
    let (mut stage, shop) = staged();
    let mut refused = |etag: &str, found: Review| {
        let refusal = review(&mut stage, shop.ad, etag, found).unwrap_err();
        (refusal.reason, refusal.field.into_owned())
    };
    assert_eq!(refused("7", approved()), (Reason::EtagMismatch, "etag".into()));
    let reasonless = Review { reasons: Vec::new(), ..rejected() };
    assert_eq!(refused("", reasonless), (Reason::FieldMissing, "review.reasons".into()));
    for state in [ReviewState::Unspecified, ReviewState::Pending] {
        let open = Review { state: state.into(), ..rejected() };
        assert_eq!(refused("", open), (Reason::FieldInvalid, "review.state".into()));
    }
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::PendingReview);
    let refusal = review(&mut stage, 7, "", approved()).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::NotFound, "ad_id"));
    let archived = ConfiguredStatus::Archived.into();
    let row = Ad { id: shop.ad, configured_status: archived, ..Ad::default() };
    stage.update(TENANT, Resource::Ad(row), &["configured_status"]);
    let refusal = review(&mut stage, shop.ad, "", approved()).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::Archived, "ad_id"));
}

#[test]
fn a_pause_says_more_than_a_review() {
    let (mut stage, shop) = staged();
    let paused = ConfiguredStatus::Paused.into();
    let row = Ad { id: shop.ad, configured_status: paused, ..Ad::default() };
    stage.update(TENANT, Resource::Ad(row), &["configured_status"]);
    assert_eq!(status(&stage, shop.ad), EffectiveStatus::Paused);
}

#[test]
fn the_ads_of_one_ad_set_are_all_of_one_business() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let other = Business { account_id: shop.account, name: "B".into(), ..Business::default() };
    let other = stage.create(TENANT, Resource::Business(other));
    let endpoint = ChannelEndpoint {
        business_id: other,
        channel: 6,
        address: "other_bot".into(),
        ..ChannelEndpoint::default()
    };
    let endpoint = stage.create(TENANT, Resource::Endpoint(endpoint));
    let row = |endpoint| Resource::Ad(Offer::default().ad_row(shop.ad_set, endpoint));
    let refusal = stage.try_create(TENANT, row(endpoint)).unwrap_err();
    let wanted = (Reason::FieldInvalid, "ad.destination.endpoint_id");
    assert_eq!((refusal.reason, &*refusal.field), wanted);
    assert!(refusal.message.contains(&shop.business.to_string()), "{}", refusal.message);
    // The only ad may move to another business; beside a second one it may not.
    let chat = ChatDestination { endpoint_id: endpoint, ..ChatDestination::default() };
    let moved = Ad { id: shop.ad, destination: Some(chat), ..Ad::default() };
    stage.update(TENANT, Resource::Ad(moved.clone()), &["destination"]);
    let second = stage.create(TENANT, row(endpoint));
    let back = ChatDestination { endpoint_id: shop.endpoint, ..ChatDestination::default() };
    let back = Ad { id: second, destination: Some(back), ..Ad::default() };
    let refusal = stage.try_update(TENANT, Resource::Ad(back), &["destination"]).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), wanted);
}
