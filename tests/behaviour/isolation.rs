//! Tenants are kept apart: every method with every role, and with the ids of somebody else.

use munadi::guard::{Access, Role, access};
use munadi::types::ids::{IdKind, mint};
use munadi::types::proto::v1::GetAccountRequest;
use tonic::{Code, Status};

use crate::calls::{Ids, REQUESTS, bytes, methods, send};
use crate::changes::{desk, made};
use crate::desk::{
    ANALYST, OPERATOR, PLATFORM, RIVAL_ANALYST, RIVAL_CHAT, RIVALS, STATUS, TACOS, calls,
};

/// A number that no thing has.
const UNKNOWN: u64 = 3_000_000;

/// What only the tenant's own things are called.
const PLANTED: [&[u8]; 4] = [b"Tacos", b"Lunch", b"Three for two", b"Does it help?"];

/// What a caller is told: the answer, or code and text.
fn told(answer: Result<Option<Vec<u8>>, Status>) -> Result<Vec<u8>, (Code, String)> {
    match answer {
        Ok(bytes) => Ok(bytes.unwrap_or_default()),
        Err(status) => Err((status.code(), status.message().to_owned())),
    }
}

fn unknown() -> Ids {
    let ids = [
        ("account", IdKind::Account),
        ("business", IdKind::Business),
        ("endpoint", IdKind::Endpoint),
        ("campaign", IdKind::Campaign),
        ("second_campaign", IdKind::Campaign),
        ("ad_set", IdKind::AdSet),
        ("ad", IdKind::Ad),
        ("source", IdKind::Source),
        ("experiment", IdKind::Experiment),
    ];
    let id = |(name, kind)| (name, mint(kind, UNKNOWN).to_string());
    let mut ids: Ids = ids.into_iter().map(id).collect();
    ids.insert("key", "m-0000000000000".to_owned());
    ids
}

#[test]
fn every_method_denies_every_role_that_the_table_does_not_name() {
    let desk = desk();
    calls(async {
        let keys = [
            (Role::Operator, OPERATOR),
            (Role::Advertiser, TACOS),
            (Role::Feed, STATUS),
            (Role::Chat, PLATFORM),
            (Role::Analytics, ANALYST),
        ];
        let strangers = desk.way("");
        for path in methods() {
            let method = path.strip_prefix("/munadi.v1.").unwrap();
            let Access::Roles(roles) = access(&path) else { panic!("{path} is open") };
            for (role, key) in keys.into_iter().filter(|(role, _)| !roles.contains(role)) {
                let (code, _) = told(send(desk.way(key), method, Vec::new()).await).unwrap_err();
                assert_eq!(code, Code::PermissionDenied, "{path} {role}");
            }
            let (code, _) = told(send(strangers.clone(), method, Vec::new()).await).unwrap_err();
            assert_eq!(code, Code::Unauthenticated, "{path}");
        }
    });
    desk.stop();
}

#[test]
fn the_ids_of_another_tenant_are_told_from_unknown_ones_by_no_method() {
    let desk = desk();
    calls(async {
        let (theirs, _) = made(&desk).await?;
        let unknown = unknown();
        let callers = [
            (Role::Advertiser, RIVALS),
            (Role::Chat, RIVAL_CHAT),
            (Role::Analytics, RIVAL_ANALYST),
        ];
        let mut compared = 0;
        for (number, call) in (0..).zip(REQUESTS) {
            let Access::Roles(roles) = access(&format!("/munadi.v1.{}", call.method)) else {
                panic!("{} is open", call.method)
            };
            for (role, key) in callers.into_iter().filter(|(role, _)| roles.contains(role)) {
                let ask = async |ids: &Ids, which: &str| {
                    let request = bytes(call, ids, &format!("{which}-{number}-{role}"));
                    told(send(desk.way(key), call.method, request).await)
                };
                let (foreign, none) = (ask(&theirs, "theirs").await, ask(&unknown, "none").await);
                let names_one = theirs.keys().any(|name| call.json.contains(&format!("${name}$")));
                if names_one {
                    assert_eq!(foreign, none, "{} {key}", call.method);
                    compared += 1;
                }
                match foreign {
                    Ok(answer) => {
                        let shows = |name: &&[u8]| answer.windows(name.len()).any(|it| it == *name);
                        let shown = PLANTED.iter().find(|name| shows(name));
                        assert_eq!(shown, None, "{} {key}", call.method);
                    }
                    Err((code, text)) => {
                        let quiet = [Code::NotFound, Code::PermissionDenied];
                        assert!(
                            !names_one || quiet.contains(&code),
                            "{} {key}: {code} {text}",
                            call.method
                        );
                    }
                }
            }
        }
        assert!(compared > 40, "{compared}");
        // Nothing of it has changed.
        let id = theirs["account"].parse().unwrap();
        let mut owner = desk.campaigns(TACOS);
        let got = owner.get_account(GetAccountRequest { id }).await?.into_inner().account;
        assert_eq!(got.unwrap().name, "Tacos");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
