//! AdminService: reviews of ads, the lists that targeting accepts, rules, rates, API keys and the log of changes.

use std::sync::Arc;

use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::decide::tariff::RULES;
use crate::node::{NewKey, Node};
use crate::rpc::errors::deadline;
use crate::rpc::limits::INGEST_DEADLINE;
use crate::rpc::parse::admin::{policy_rules, review, taxonomy};
use crate::rpc::parse::keys::{created, key_mutation, revoked, rotated};
use crate::rpc::parse::mutations::{body_hash, list_mutation, mutation};
use crate::rpc::parse::rates::rate_cards;
use crate::rpc::parse::rules::{exchange_rates, traffic_rules};
use crate::rpc::parse::viewers::named_viewer;
use crate::rpc::services::changes::list_changes;
use crate::rpc::services::keys::{list_keys, write_key};
use crate::rpc::services::{Answer, caller, write};
use crate::state::credit::timestamp;
use crate::types::proto::v1;
use crate::types::proto::v1::admin_service_server::AdminService;
use crate::types::refusal::Refusal;
use crate::types::request::{Author, ListMutation, Resource};

/// The service.
pub(super) struct Admin {
    pub(super) node: Arc<Node>,
}

impl Admin {
    async fn write_lists(
        &self,
        by: Author,
        write: Result<ListMutation, Refusal>,
    ) -> Result<u32, Status> {
        let write = ListMutation { by, ..write? };
        let written = timeout(INGEST_DEADLINE, self.node.mutate_lists(write)).await;
        Ok(written.map_err(|_| deadline())??)
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn review_ad(
        &self,
        request: Request<v1::ReviewAdRequest>,
    ) -> Answer<v1::ReviewAdResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("ReviewAdRequest"));
        let wire = request.into_inner();
        let hash = body_hash("ReviewAdRequest", &wire);
        let request_id = wire.request_id.clone();
        let found = mutation(scope, request_id, hash, false, review(wire)?);
        let ad = match write(&self.node, by, found).await? {
            Resource::Ad(ad) => Some(ad),
            _ => None,
        };
        Ok(Response::new(v1::ReviewAdResponse { ad }))
    }

    async fn erase_viewer(
        &self,
        request: Request<v1::EraseViewerRequest>,
    ) -> Answer<v1::EraseViewerResponse> {
        let by = caller(&request)?.author("EraseViewerRequest");
        let wire = request.into_inner();
        let viewer = named_viewer(&self.node.opener(), wire.viewer.as_ref())?;
        let feed = wire.viewer.unwrap_or_default().feed_id;
        let erased = timeout(INGEST_DEADLINE, self.node.erase_viewer(&by, feed, viewer)).await;
        let was_known = erased.map_err(|_| deadline())??;
        Ok(Response::new(v1::EraseViewerResponse { was_known }))
    }

    async fn update_taxonomy(
        &self,
        request: Request<v1::UpdateTaxonomyRequest>,
    ) -> Answer<v1::UpdateTaxonomyResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("UpdateTaxonomyRequest"));
        let wire = request.into_inner();
        let hash = body_hash("UpdateTaxonomyRequest", &wire);
        let request_id = wire.request_id.clone();
        let entries = list_mutation(scope, request_id, hash, taxonomy(wire)?);
        let entries = self.write_lists(by, entries).await?;
        Ok(Response::new(v1::UpdateTaxonomyResponse { entries }))
    }

    async fn set_policy_rules(
        &self,
        request: Request<v1::SetPolicyRulesRequest>,
    ) -> Answer<v1::SetPolicyRulesResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("SetPolicyRulesRequest"));
        let wire = request.into_inner();
        let hash = body_hash("SetPolicyRulesRequest", &wire);
        let rules = list_mutation(scope, wire.request_id, hash, policy_rules(wire.rules)?);
        let rules = self.write_lists(by, rules).await?;
        Ok(Response::new(v1::SetPolicyRulesResponse { rules }))
    }

    async fn list_policy_rules(
        &self,
        request: Request<v1::ListPolicyRulesRequest>,
    ) -> Answer<v1::ListPolicyRulesResponse> {
        caller(&request)?;
        let rules = self.node.front().policy_rules();
        Ok(Response::new(v1::ListPolicyRulesResponse { rules }))
    }

    async fn set_exchange_rates(
        &self,
        request: Request<v1::SetExchangeRatesRequest>,
    ) -> Answer<v1::SetExchangeRatesResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("SetExchangeRatesRequest"));
        let wire = request.into_inner();
        let hash = body_hash("SetExchangeRatesRequest", &wire);
        let request_id = wire.request_id.clone();
        let rates = list_mutation(scope, request_id, hash, exchange_rates(wire)?);
        let rates = self.write_lists(by, rates).await?;
        Ok(Response::new(v1::SetExchangeRatesResponse { rates }))
    }

    async fn set_traffic_rules(
        &self,
        request: Request<v1::SetTrafficRulesRequest>,
    ) -> Answer<v1::SetTrafficRulesResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("SetTrafficRulesRequest"));
        let wire = request.into_inner();
        let hash = body_hash("SetTrafficRulesRequest", &wire);
        let request_id = wire.request_id.clone();
        let rules = list_mutation(scope, request_id, hash, traffic_rules(wire)?);
        let entries = self.write_lists(by, rules).await?;
        Ok(Response::new(v1::SetTrafficRulesResponse { entries }))
    }

    async fn get_traffic_rules(
        &self,
        request: Request<v1::GetTrafficRulesRequest>,
    ) -> Answer<v1::GetTrafficRulesResponse> {
        caller(&request)?;
        let rules = Some(self.node.front().traffic_rules());
        Ok(Response::new(v1::GetTrafficRulesResponse { rules }))
    }

    async fn set_rate_cards(
        &self,
        request: Request<v1::SetRateCardsRequest>,
    ) -> Answer<v1::SetRateCardsResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("SetRateCardsRequest"));
        let wire = request.into_inner();
        let hash = body_hash("SetRateCardsRequest", &wire);
        let cards = list_mutation(scope, wire.request_id, hash, rate_cards(wire.cards)?);
        let cards = self.write_lists(by, cards).await?;
        Ok(Response::new(v1::SetRateCardsResponse { cards }))
    }

    async fn list_rate_cards(
        &self,
        request: Request<v1::ListRateCardsRequest>,
    ) -> Answer<v1::ListRateCardsResponse> {
        caller(&request)?;
        let (cards, built_in) = self.node.front().rate_cards();
        Ok(Response::new(v1::ListRateCardsResponse { cards, built_in }))
    }

    async fn list_message_rules(
        &self,
        request: Request<v1::ListMessageRulesRequest>,
    ) -> Answer<v1::ListMessageRulesResponse> {
        caller(&request)?;
        let rules = RULES.iter().map(|rule| v1::MessageRule {
            valid_from: Some(timestamp(rule.from.0)),
            regime: rule.regime.name().to_owned(),
            text: rule.text.to_owned(),
        });
        Ok(Response::new(v1::ListMessageRulesResponse { rules: rules.collect() }))
    }

    async fn list_exchange_rates(
        &self,
        request: Request<v1::ListExchangeRatesRequest>,
    ) -> Answer<v1::ListExchangeRatesResponse> {
        caller(&request)?;
        let (settlement_currency, rates) = self.node.front().exchange_rates();
        Ok(Response::new(v1::ListExchangeRatesResponse { settlement_currency, rates }))
    }

    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Answer<v1::CreateKeyResponse> {
        let by = caller(&request)?.author("CreateKeyRequest");
        let wire = request.into_inner();
        let hash = body_hash("CreateKeyRequest", &wire);
        let (request_id, change) = (wire.request_id, created(wire.key)?);
        let NewKey { key, bearer, .. } =
            write_key(&self.node, by, key_mutation(request_id, hash, change)?).await?;
        Ok(Response::new(v1::CreateKeyResponse { key: Some(key), bearer }))
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateKeyRequest>,
    ) -> Answer<v1::RotateKeyResponse> {
        let by = caller(&request)?.author("RotateKeyRequest");
        let wire = request.into_inner();
        let hash = body_hash("RotateKeyRequest", &wire);
        let (request_id, change) = (wire.request_id.clone(), rotated(&wire)?);
        let NewKey { key, rotated, bearer } =
            write_key(&self.node, by, key_mutation(request_id, hash, change)?).await?;
        Ok(Response::new(v1::RotateKeyResponse { key: Some(key), bearer, rotated }))
    }

    async fn revoke_key(
        &self,
        request: Request<v1::RevokeKeyRequest>,
    ) -> Answer<v1::RevokeKeyResponse> {
        let by = caller(&request)?.author("RevokeKeyRequest");
        let wire = request.into_inner();
        let hash = body_hash("RevokeKeyRequest", &wire);
        let change = revoked(wire.key_id)?;
        let mutation = key_mutation(wire.request_id, hash, change)?;
        let NewKey { key, .. } = write_key(&self.node, by, mutation).await?;
        Ok(Response::new(v1::RevokeKeyResponse { key: Some(key) }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Answer<v1::ListKeysResponse> {
        caller(&request)?;
        Ok(Response::new(list_keys(&self.node, &request.into_inner()).await?))
    }

    async fn list_changes(
        &self,
        request: Request<v1::ListChangesRequest>,
    ) -> Answer<v1::ListChangesResponse> {
        caller(&request)?;
        Ok(Response::new(list_changes(&self.node, &request.into_inner()).await?))
    }
}
