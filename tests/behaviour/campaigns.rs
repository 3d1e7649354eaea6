//! Writing what is advertised: repeats, lost updates, archives, foreign hands.

use munadi::types::ids::{IdKind, mint};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ConfiguredStatus, EffectiveStatus, NoAdReason,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Change, Mutation, Resource, ResourceKind, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS};

use crate::stage::{ALL, Offer, Shop, Stage, TENANT};

fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    (stage, shop)
}

fn renamed(shop: &Shop, name: &str, etag: &str) -> Resource {
    let (name, etag) = (name.into(), etag.into());
    Resource::Campaign(Campaign { id: shop.campaign, name, etag, ..Campaign::default() })
}

fn campaign(stage: &Stage, shop: &Shop) -> Campaign {
    match stage.get(ResourceKind::Campaign, shop.campaign).unwrap() {
        Resource::Campaign(row) => row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_request_id_with_the_same_body_gets_the_same_answer_and_writes_once() {
    let mut stage = Stage::new();
    let write = || {
        let account = Resource::Account(Offer::default().account_row());
        Stage::writing(TENANT, "create", Change::Create(account))
    };
    let first = stage.mutate(write()).unwrap();
    stage.wait(HOUR_MS);
    assert_eq!(stage.mutate(write()).unwrap(), first);
    let mut stage = stage.restarted();
    assert_eq!(stage.mutate(write()).unwrap(), first);
    assert_eq!(stage.front.list(ALL, ResourceKind::Account, 0, 0, 10).0.len(), 1);
    let other = Stage::writing(8, "create", write().change);
    assert_ne!(stage.mutate(other).unwrap(), first, "a tenant's ids are its own");
}

#[test]
fn the_same_request_id_with_another_body_is_refused() {
    let mut stage = Stage::new();
    let create = |name: &str| {
        let account = Account { name: name.into(), ..Offer::default().account_row() };
        Stage::writing(TENANT, "create", Change::Create(Resource::Account(account)))
    };
    stage.mutate(create("one")).unwrap();
    let refusal = stage.mutate(create("two")).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::RequestIdReused, "request_id"));
    assert_eq!(stage.front.list(ALL, ResourceKind::Account, 0, 0, 10).0.len(), 1);
}

#[test]
fn a_request_id_is_remembered_for_a_day() {
    let mut stage = Stage::new();
    let write = || {
        let account = Resource::Account(Offer::default().account_row());
        Stage::writing(TENANT, "create", Change::Create(account))
    };
    let first = stage.mutate(write()).unwrap();
    stage.wait(DAY_MS + 1);
    let account = Resource::Account(Offer::default().account_row());
    stage.create(TENANT, account);
    assert_ne!(stage.mutate(write()).unwrap(), first);
}

#[test]
fn an_update_takes_only_the_fields_it_names() {
    let (mut stage, shop) = staged();
    let before = campaign(&stage, &shop);
    stage.update(TENANT, renamed(&shop, "Dinner", ""), &["name"]);
    let after = campaign(&stage, &shop);
    assert_eq!((&*after.name, &*after.etag), ("Dinner", "2"));
    assert_eq!((after.budget, after.objective), (before.budget, before.objective));
    let refusal = stage.try_update(TENANT, renamed(&shop, "Tea", ""), &["name", "account_id"]);
    let refusal = refusal.unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldInvalid, "update_mask"));
    assert_eq!(campaign(&stage, &shop).name, "Dinner", "nothing is half applied");
}

#[test]
fn an_update_of_an_older_version_is_refused() {
    let (mut stage, shop) = staged();
    stage.update(TENANT, renamed(&shop, "Dinner", "1"), &["name"]);
    let refusal = stage.try_update(TENANT, renamed(&shop, "Tea", "1"), &["name"]).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::EtagMismatch, "etag"));
    assert_eq!(campaign(&stage, &shop).name, "Dinner");
    stage.update(TENANT, renamed(&shop, "Tea", "2"), &["name"]);
}

#[test]
fn an_archived_thing_never_serves_or_changes_again() {
    let (mut stage, shop) = staged();
    let archived = Resource::Campaign(Campaign {
        id: shop.campaign,
        configured_status: ConfiguredStatus::Archived.into(),
        ..Campaign::default()
    });
    stage.update(TENANT, archived, &["configured_status"]);
    assert_eq!(stage.try_show("a").unwrap_err(), NoAdReason::NoLiveAds);
    let refusal = stage.try_update(TENANT, renamed(&shop, "Tea", ""), &["name"]).unwrap_err();
    assert_eq!(refusal.reason, Reason::Archived);
    let ad_set = Resource::AdSet(Offer::default().ad_set_row(shop.campaign));
    let refusal = stage.try_create(TENANT, ad_set).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::Archived, "ad_set.campaign_id"));
    match stage.get(ResourceKind::Ad, shop.ad).unwrap() {
        Resource::Ad(row) => assert_eq!(row.effective_status(), EffectiveStatus::Archived),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_effective_status_says_which_parent_is_paused() {
    use EffectiveStatus::{AccountPaused, AdsetPaused, CampaignPaused, Paused};
    let status = ConfiguredStatus::Paused.into();
    type Level = fn(&Shop, i32) -> Resource;
    let levels: [(Level, EffectiveStatus); 4] = [
        (
            |shop, configured_status| {
                Resource::Account(Account {
                    id: shop.account,
                    configured_status,
                    ..Account::default()
                })
            },
            AccountPaused,
        ),
        (
            |shop, configured_status| {
                let id = shop.campaign;
                Resource::Campaign(Campaign { id, configured_status, ..Campaign::default() })
            },
            CampaignPaused,
        ),
        (
            |shop, configured_status| {
                Resource::AdSet(AdSet { id: shop.ad_set, configured_status, ..AdSet::default() })
            },
            AdsetPaused,
        ),
        (
            |shop, configured_status| {
                Resource::Ad(Ad { id: shop.ad, configured_status, ..Ad::default() })
            },
            Paused,
        ),
    ];
    for (level, wanted) in levels {
        let (mut stage, shop) = staged();
        stage.update(TENANT, level(&shop, status), &["configured_status"]);
        assert!(stage.try_show("a").is_err());
        match stage.get(ResourceKind::Ad, shop.ad).unwrap() {
            Resource::Ad(row) => assert_eq!(row.effective_status(), wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_write_that_is_only_validated_changes_nothing() {
    let mut stage = Stage::new();
    let account = || Resource::Account(Offer::default().account_row());
    let dry = Mutation {
        validate_only: true,
        ..Stage::writing(TENANT, "dry", Change::Create(account()))
    };
    let answer = stage.mutate(dry).unwrap();
    assert!(matches!(&answer, Resource::Account(row) if row.name == "Tacos el Rey"));
    assert_eq!(stage.front.list(ALL, ResourceKind::Account, 0, 0, 10).0, []);
    let other = Account { name: "Other".into(), ..Offer::default().account_row() };
    let wet = Stage::writing(TENANT, "dry", Change::Create(Resource::Account(other)));
    stage.mutate(wet).expect("the id of a dry run was not used");
}

#[test]
fn foreign_and_unknown_things_are_both_not_found() {
    let (mut stage, shop) = staged();
    let unknown = Shop {
        tenant: TENANT,
        account: mint(IdKind::Account, 99),
        business: mint(IdKind::Business, 99),
        endpoint: mint(IdKind::Endpoint, 99),
        campaign: mint(IdKind::Campaign, 99),
        ad_set: mint(IdKind::AdSet, 99),
        ad: mint(IdKind::Ad, 99),
    };
    let foreign = 8;
    for (tenant, of) in [(foreign, shop), (TENANT, unknown)] {
        let scope = Scope { tenant, any: false };
        let kinds = [
            (ResourceKind::Account, of.account),
            (ResourceKind::Business, of.business),
            (ResourceKind::Endpoint, of.endpoint),
            (ResourceKind::Campaign, of.campaign),
            (ResourceKind::AdSet, of.ad_set),
            (ResourceKind::Ad, of.ad),
        ];
        for (kind, id) in kinds {
            let refusal = stage.front.get(scope, kind, id).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.message), (Reason::NotFound, "no such id"));
            let listed = stage.front.list(Scope { tenant: foreign, any: false }, kind, 0, 0, 9);
            assert_eq!(listed.0, []);
        }
        let offer = Offer::default();
        let business = Business { account_id: of.account, ..Business::default() };
        for row in [
            Resource::Business(business),
            Resource::Campaign(offer.campaign_row(of.account)),
            Resource::AdSet(offer.ad_set_row(of.campaign)),
            Resource::Ad(offer.ad_row(of.ad_set, of.endpoint)),
        ] {
            let refusal = stage.try_create(tenant, row.clone()).unwrap_err();
            assert_eq!(refusal.reason, Reason::NotFound, "{row:?}");
        }
        let refusal = stage.try_update(tenant, renamed(&of, "Mine", ""), &["name"]).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotFound);
    }
    assert_eq!(campaign(&stage, &shop).name, "Lunch");
}

#[test]
fn an_ad_opens_chats_of_its_own_account_only() {
    let (mut stage, shop) = staged();
    let other = stage.shop(&Offer::default());
    let ad = Resource::Ad(Offer::default().ad_row(shop.ad_set, other.endpoint));
    let refusal = stage.try_create(TENANT, ad).unwrap_err();
    assert_eq!(refusal.reason, Reason::EndpointForeign);
    assert_eq!(refusal.field, "ad.destination.endpoint_id");
}

#[test]
fn an_end_before_the_start_is_refused_on_create_and_on_update() {
    let (mut stage, shop) = staged();
    for end in [999, 1_000] {
        let offer = Offer { start: Some(1_000), end: Some(end), ..Offer::default() };
        let ad_set = offer.ad_set_row(shop.campaign);
        let refusal = stage.try_create(TENANT, Resource::AdSet(ad_set.clone())).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::EndBeforeStart, "ad_set.end_time"));
        let ad_set = Resource::AdSet(AdSet { id: shop.ad_set, ..ad_set });
        let refusal = stage.try_update(TENANT, ad_set, &["start_time", "end_time"]).unwrap_err();
        assert_eq!(refusal.reason, Reason::EndBeforeStart);
    }
}

#[test]
fn lists_come_in_order_of_creation_and_pages_join() {
    let (mut stage, shop) = staged();
    for _ in 0..6 {
        let ad = Offer::default().ad_row(shop.ad_set, shop.endpoint);
        stage.create(TENANT, Resource::Ad(ad));
    }
    let scope = Scope { tenant: TENANT, any: false };
    let all = stage.front.list(scope, ResourceKind::Ad, shop.ad_set, 0, 100).0;
    assert_eq!(all.len(), 7);
    for limit in 1..8 {
        let (mut joined, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let (page, next) = stage.front.list(scope, ResourceKind::Ad, shop.ad_set, from, limit);
            joined.extend(page);
            after = next;
        }
        assert_eq!(joined, all, "pages of {limit}");
    }
}
