//! An advertiser of a thousand ads on a node in this process.

use std::error::Error;

use munadi::node::Node;
use munadi::types::proto::v1;
use munadi::types::refusal::Refusal;
use munadi::types::request::{Author, Change, Mutation, Resource};
use tokio::runtime::Runtime;

/// The feed that shows them.
pub(crate) const FEED: u32 = 1;

/// Whose they are.
pub(crate) const TENANT: u32 = 1;

/// Creates an account with 100 campaigns of ten ads, their budgets far above what is spent. Returns the account and
/// its ads.
pub(crate) fn advertise(node: &Node, runtime: &Runtime) -> Result<(u64, Vec<u64>), Box<dyn Error>> {
    let mut number = 0;
    let mut create = |resource| {
        number += 1;
        let mutation = Mutation {
            tenant: TENANT,
            any_tenant: false,
            request_id: number.to_string(),
            body_hash: [0; 16],
            by: Author::default(),
            validate_only: false,
            change: Change::Create(resource),
            approve: true,
        };
        runtime.block_on(node.mutate(mutation)).map(|created| created.id()).map_err(text)
    };
    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let account_id = create(Resource::Account(v1::Account {
        name: "bench".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..v1::Account::default()
    }))?;
    let business = v1::Business { account_id, name: "bench".into(), ..v1::Business::default() };
    let business_id = create(Resource::Business(business))?;
    let endpoint_id = create(Resource::Endpoint(v1::ChannelEndpoint {
        business_id,
        channel: v1::Channel::Telegram.into(),
        address: "bench_bot".into(),
        ..v1::ChannelEndpoint::default()
    }))?;
    let mut ads = Vec::new();
    for _ in 0..100 {
        let budget = v1::Budget { daily: money(1_000_000_000_000), lifetime: None };
        let campaign = v1::Campaign { account_id, budget: Some(budget), ..v1::Campaign::default() };
        let campaign_id = create(Resource::Campaign(campaign))?;
        let ad_set_id = create(Resource::AdSet(v1::AdSet {
            campaign_id,
            billing_event: v1::BillingEvent::Impressions.into(),
            bid: money(5_000_000),
            ..v1::AdSet::default()
        }))?;
        for _ in 0..10 {
            let destination = v1::ChatDestination { endpoint_id, ..Default::default() };
            let destination = Some(destination);
            ads.push(create(Resource::Ad(v1::Ad {
                ad_set_id,
                destination,
                ..Default::default()
            }))?);
        }
    }
    Ok((account_id, ads))
}

/// Says what a refusal says.
pub(crate) fn text(refusal: Refusal) -> Box<dyn Error> {
    format!("{}: {}", refusal.reason.name(), refusal.message).into()
}
