//! The log of changes: every method that changes what is set up leaves who, what, before and after.

use std::collections::BTreeSet;
use std::sync::Arc;

use munadi::node::clock::MovedClock;
use munadi::types::proto::v1;
use tonic::{Code, Status};

use crate::calls::{Call, Ids, Kind, REQUESTS, bytes, methods, send};
use crate::desk::{Desk, OPERATOR, RIVALS, Shop, TACOS, calls, open_shop};
use crate::stage::at;

/// Starts a desk whose ads wait for no review.
pub(crate) fn desk() -> Desk {
    let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")));
    Desk::moved(true, &clock, |_, _| {})
}

/// Returns the ids of everything that requests may name, made by their owner.
pub(crate) async fn made(desk: &Desk) -> Result<(Ids, Shop), Status> {
    let shop = open_shop(desk, TACOS).await?;
    let mut client = desk.campaigns(TACOS);
    let daily = v1::Money { micros: 1_000_000_000, currency: "MXN".into() };
    let campaign = v1::Campaign {
        account_id: shop.account,
        name: "Lunch, too".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily: Some(daily), lifetime: None }),
        ..Default::default()
    };
    let request = v1::CreateCampaignRequest {
        request_id: "second".into(),
        campaign: Some(campaign),
        validate_only: false,
    };
    let second = client.create_campaign(request).await?.into_inner().campaign.unwrap().id;
    let source = v1::EntrySource {
        endpoint_id: shop.endpoint,
        name: "Menu".into(),
        entry_point: v1::EntryPoint::QrCode.into(),
        prefilled_text: "Hola".into(),
        ..Default::default()
    };
    let request = v1::CreateEntrySourceRequest {
        request_id: "source".into(),
        entry_source: Some(source),
        validate_only: false,
    };
    let source = client.create_entry_source(request).await?.into_inner().entry_source.unwrap().id;
    let experiment = v1::Experiment {
        account_id: shop.account,
        name: "Does it help?".into(),
        campaign_ids: vec![shop.campaign],
        ..Default::default()
    };
    let request = v1::CreateExperimentRequest {
        request_id: "experiment".into(),
        experiment: Some(experiment),
        validate_only: false,
    };
    let made = client.create_experiment(request).await?.into_inner().experiment.unwrap();
    let key =
        v1::ApiKey { name: "walk".into(), role: v1::CallerRole::Chat.into(), ..Default::default() };
    let request = v1::CreateKeyRequest { request_id: "key".into(), key: Some(key) };
    let key = desk.admin(OPERATOR).create_key(request).await?.into_inner().key.unwrap().id;
    let ids = [
        ("account", shop.account),
        ("business", shop.business),
        ("endpoint", shop.endpoint),
        ("campaign", shop.campaign),
        ("second_campaign", second),
        ("ad_set", shop.ad_set),
        ("ad", shop.ad),
        ("source", source),
        ("experiment", made.id),
    ];
    let mut ids: Ids = ids.into_iter().map(|(name, id)| (name, id.to_string())).collect();
    ids.insert("key", key);
    Ok((ids, shop))
}

async fn changes(desk: &Desk, asked: v1::ListChangesRequest) -> Result<Vec<v1::Change>, Status> {
    let (mut asked, mut all) = (asked, Vec::new());
    loop {
        let page = desk.admin(OPERATOR).list_changes(asked.clone()).await?.into_inner();
        all.extend(page.changes);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        asked.page_token = page.next_page_token;
    }
}

#[test]
fn every_method_has_a_call_and_every_change_leaves_itself_in_the_log() {
    let named: BTreeSet<_> =
        REQUESTS.iter().map(|call| format!("/munadi.v1.{}", call.method)).collect();
    assert_eq!(named, methods(), "each method once: say what it does, in calls/requests.rs");
    let desk = desk();
    calls(async {
        let (ids, _) = made(&desk).await?;
        for (number, call) in (0..).zip(REQUESTS) {
            let Call { method, kind, key, .. } = call;
            let before = changes(&desk, v1::ListChangesRequest::default()).await?;
            let request_id = format!("walk-{number}");
            let answer = send(desk.way(key), method, bytes(call, &ids, &request_id)).await;
            if let Err(status) = &answer {
                let vain = [
                    Code::InvalidArgument,
                    Code::NotFound,
                    Code::PermissionDenied,
                    Code::Unauthenticated,
                    Code::Unimplemented,
                    Code::Internal,
                ];
                let is_good = *kind == Kind::Read && !vain.contains(&status.code());
                assert!(is_good, "{method}: {status:?}");
            }
            let after = changes(&desk, v1::ListChangesRequest::default()).await?;
            let new = &after[..after.len() - before.len()];
            assert_eq!(after[new.len()..], before[..], "what is there stays");
            if *kind != Kind::Change {
                assert!(new.is_empty(), "{method} changes nothing: {new:?}");
                continue;
            }
            let change = new.last().unwrap_or_else(|| panic!("{method} leaves no change"));
            let (_, name) = method.split_once('/').unwrap();
            assert_eq!((&*change.method, &*change.caller), (name, *key));
            assert_eq!(change.credential(), v1::CredentialKind::Key);
            assert!(!change.after.is_empty() && change.after_bytes > 0, "{change:?}");
            assert!(change.r#type.starts_with("munadi.v1."), "{change:?}");
            let has_id = call.json.contains("$request");
            assert_eq!(change.request_id == request_id, has_id, "{change:?}");
            let updates = ["Update", "Rotate", "Revoke", "Review"];
            if updates.iter().any(|verb| name.starts_with(verb)) && name != "UpdateTaxonomy" {
                let old = if name == "RotateKey" { &new[0] } else { change };
                assert!(!old.before.is_empty() && old.before != old.after, "{old:?}");
            }
            assert!(!format!("{new:?}").contains("planted"), "{new:?}");
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn changes_are_chosen_by_owner_caller_and_time_and_come_in_pages() {
    let desk = desk();
    calls(async {
        open_shop(&desk, TACOS).await?;
        open_shop(&desk, RIVALS).await?;
        let all = changes(&desk, v1::ListChangesRequest::default()).await?;
        assert_eq!(all.len(), 12);
        assert!(all.windows(2).all(|two| two[0].number > two[1].number), "the newest first");
        let small = v1::ListChangesRequest { page_size: 5, ..Default::default() };
        assert_eq!(changes(&desk, small).await?, all);
        let theirs = v1::ListChangesRequest { owner: Some(5), ..Default::default() };
        let theirs = changes(&desk, theirs).await?;
        assert_eq!(theirs, all[..6]);
        assert!(theirs.iter().all(|change| (change.owner, &*change.caller) == (5, RIVALS)));
        let by_tacos = v1::ListChangesRequest { caller: TACOS.into(), ..Default::default() };
        assert_eq!(changes(&desk, by_tacos).await?, all[6..]);
        let nobody = v1::ListChangesRequest { owner: Some(0), ..Default::default() };
        assert!(changes(&desk, nobody).await?.is_empty());
        let noon = all[0].time;
        let before = v1::ListChangesRequest { end_time: noon, ..Default::default() };
        assert!(changes(&desk, before).await?.is_empty());
        let since = v1::ListChangesRequest { start_time: noon, ..Default::default() };
        assert_eq!(changes(&desk, since).await?.len(), 12);
        let refused = desk.admin(TACOS).list_changes(v1::ListChangesRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_write_that_is_only_judged_or_repeated_or_refused_leaves_no_further_change() {
    let desk = desk();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let count = async || Ok::<_, Status>(changes(&desk, Default::default()).await?.len());
        let known = count().await?;
        let rename = |request_id: &str, validate_only| v1::UpdateAccountRequest {
            request_id: request_id.into(),
            account: Some(v1::Account { id: shop.account, name: "B".into(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["name".into()] }),
            validate_only,
        };
        let mut client = desk.campaigns(TACOS);
        client.update_account(rename("judge", true)).await?;
        assert_eq!(count().await?, known);
        client.update_account(rename("once", false)).await?;
        client.update_account(rename("once", false)).await?;
        assert_eq!(count().await?, known + 1);
        desk.campaigns(RIVALS).update_account(rename("theft", false)).await.unwrap_err();
        assert_eq!(count().await?, known + 1);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
