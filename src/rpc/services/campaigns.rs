//! CampaignService: creates, gets, lists and updates the eight kinds of things in the catalog, and the kits of sources.

use std::sync::Arc;

use tonic::{Request, Response};

use crate::node::Node;
use crate::rpc::parse::ad_sets::ad_set;
use crate::rpc::parse::admin::search;
use crate::rpc::parse::campaigns::{account, ad, business, campaign, endpoint};
use crate::rpc::parse::experiments::experiment;
use crate::rpc::parse::mutations::{Verb, body_hash, mutation};
use crate::rpc::parse::places::{List, page_size};
use crate::rpc::parse::sources::{pixels_per_module, source};
use crate::rpc::services::kits::entry_kit;
use crate::rpc::services::{Answer, caller, write};
use crate::types::proto::v1;
use crate::types::proto::v1::campaign_service_server::CampaignService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Resource, ResourceKind, Scope};

/// The service.
pub(super) struct Campaigns {
    pub(super) node: Arc<Node>,
}

impl Campaigns {
    /// Waits until what was counted of sources is durable.
    async fn settle(&self, kind: ResourceKind) -> Result<(), Refusal> {
        if kind == ResourceKind::Source {
            self.node.settled().await?;
        }
        Ok(())
    }

    fn read(&self, scope: Scope, kind: ResourceKind, id: u64) -> Result<Resource, Refusal> {
        if id == 0 {
            return Err(Refusal::new(Reason::FieldMissing, "id", "is empty: send it"));
        }
        self.node.get(scope, kind, id)
    }

    /// Returns a page and the token of the next. `list` names the method.
    fn page(
        &self,
        scope: Scope,
        (kind, list): (ResourceKind, &str),
        parent: u64,
        (size, token): (u32, &str),
    ) -> Result<(Vec<Resource>, String), Refusal> {
        let sealer = self.node.opener();
        let list = List::new(list, &[scope.tenant.into(), scope.any.into(), parent]);
        let after = list.open(token, &sealer)?;
        let (page, next) = self.node.list(scope, kind, parent, after, page_size(size)?);
        Ok((page, next.map_or(String::new(), |after| list.seal(after, &sealer))))
    }
}

/// Takes one kind's row out of a resource. The node answers with the kind that it was asked for.
macro_rules! row {
    ($resource:expr, $kind:ident) => {
        match $resource {
            Resource::$kind(row) => Some(row),
            _ => None,
        }
    };
}

/// Writes the methods of every kind: they differ in nothing but their types. A write's hash covers the
/// name of its request's type, which names the method.
macro_rules! campaign_service {
    ($(
        $kind:ident {
            $field:ident $parse:path, $many:ident under $parent:expr;
            $create:ident $Create:ident $Created:ident;
            $get:ident $Get:ident $Got:ident;
            $list:ident $List:ident $Listed:ident;
            $($update:ident $Update:ident $Updated:ident;)?
        }
    )*) => {
        #[tonic::async_trait]
        impl CampaignService for Campaigns {
            $(
                async fn $create(&self, request: Request<v1::$Create>) -> Answer<v1::$Created> {
                    let caller = caller(&request)?;
                    let (scope, by) = (caller.scope(), caller.author(stringify!($Create)));
                    let wire = request.into_inner();
                    let hash = body_hash(stringify!($Create), &wire);
                    let change: Change = $parse(wire.$field, Verb::Create)?;
                    let row = mutation(scope, wire.request_id, hash, wire.validate_only, change);
                    let $field = row!(write(&self.node, by, row).await?, $kind);
                    Ok(Response::new(v1::$Created { $field }))
                }

                async fn $get(&self, request: Request<v1::$Get>) -> Answer<v1::$Got> {
                    let scope = caller(&request)?.scope();
                    let id = request.into_inner().id;
                    self.settle(ResourceKind::$kind).await?;
                    let $field = row!(self.read(scope, ResourceKind::$kind, id)?, $kind);
                    Ok(Response::new(v1::$Got { $field }))
                }

                async fn $list(&self, request: Request<v1::$List>) -> Answer<v1::$Listed> {
                    let scope = caller(&request)?.scope();
                    let wire = request.into_inner();
                    let parent: fn(&v1::$List) -> u64 = $parent;
                    let list = (ResourceKind::$kind, stringify!($List));
                    let place = (wire.page_size, &*wire.page_token);
                    self.settle(list.0).await?;
                    let (page, next_page_token) = self.page(scope, list, parent(&wire), place)?;
                    let $many = page.into_iter().filter_map(|it| row!(it, $kind)).collect();
                    Ok(Response::new(v1::$Listed { $many, next_page_token }))
                }

                $(async fn $update(&self, request: Request<v1::$Update>) -> Answer<v1::$Updated> {
                    let caller = caller(&request)?;
                    let (scope, by) = (caller.scope(), caller.author(stringify!($Update)));
                    let wire = request.into_inner();
                    let hash = body_hash(stringify!($Update), &wire);
                    let change = $parse(wire.$field, Verb::Update(wire.update_mask))?;
                    let row = mutation(scope, wire.request_id, hash, wire.validate_only, change);
                    let $field = row!(write(&self.node, by, row).await?, $kind);
                    Ok(Response::new(v1::$Updated { $field }))
                })?
            )*

            async fn get_entry_kit(
                &self,
                request: Request<v1::GetEntryKitRequest>,
            ) -> Answer<v1::GetEntryKitResponse> {
                let scope = caller(&request)?.scope();
                let v1::GetEntryKitRequest { id, pixels_per_module: told } = request.into_inner();
                let pixels = pixels_per_module(told)?;
                let source = row!(self.read(scope, ResourceKind::Source, id)?, Source);
                let source = source.unwrap_or_default();
                let endpoint = self.read(scope, ResourceKind::Endpoint, source.endpoint_id)?;
                let endpoint = row!(endpoint, Endpoint).unwrap_or_default();
                let url = self.node.public_url();
                Ok(Response::new(entry_kit(&source, &endpoint, url, pixels)?))
            }

            async fn search_targeting(
                &self,
                request: Request<v1::SearchTargetingRequest>,
            ) -> Answer<v1::SearchTargetingResponse> {
                caller(&request)?;
                let wire = request.into_inner();
                let taxonomy = search(&wire)?;
                let (query, country) = (&*wire.query, &*wire.country);
                let sealer = self.node.opener();
                // The lists are everyone's, so a place in them belongs to no tenant.
                let list = List::of_words("SearchTargeting", wire.taxonomy, [query, country]);
                let after = list.open_name(&wire.page_token, &sealer)?;
                let size = page_size(wire.page_size)?;
                let (entries, next) =
                    self.node.search_targeting(taxonomy, query, country, &after, size);
                let next_page_token =
                    next.map_or(String::new(), |after| list.seal_name(&after, &sealer));
                Ok(Response::new(v1::SearchTargetingResponse { entries, next_page_token }))
            }
        }
    };
}

campaign_service! {
    Account {
        account account, accounts under |_| 0;
        create_account CreateAccountRequest CreateAccountResponse;
        get_account GetAccountRequest GetAccountResponse;
        list_accounts ListAccountsRequest ListAccountsResponse;
        update_account UpdateAccountRequest UpdateAccountResponse;
    }
    Business {
        business business, businesses under |wire| wire.account_id;
        create_business CreateBusinessRequest CreateBusinessResponse;
        get_business GetBusinessRequest GetBusinessResponse;
        list_businesses ListBusinessesRequest ListBusinessesResponse;
        update_business UpdateBusinessRequest UpdateBusinessResponse;
    }
    Endpoint {
        channel_endpoint endpoint, channel_endpoints under |wire| wire.business_id;
        create_channel_endpoint CreateChannelEndpointRequest CreateChannelEndpointResponse;
        get_channel_endpoint GetChannelEndpointRequest GetChannelEndpointResponse;
        list_channel_endpoints ListChannelEndpointsRequest ListChannelEndpointsResponse;
    }
    Campaign {
        campaign campaign, campaigns under |wire| wire.account_id;
        create_campaign CreateCampaignRequest CreateCampaignResponse;
        get_campaign GetCampaignRequest GetCampaignResponse;
        list_campaigns ListCampaignsRequest ListCampaignsResponse;
        update_campaign UpdateCampaignRequest UpdateCampaignResponse;
    }
    AdSet {
        ad_set ad_set, ad_sets under |wire| wire.campaign_id;
        create_ad_set CreateAdSetRequest CreateAdSetResponse;
        get_ad_set GetAdSetRequest GetAdSetResponse;
        list_ad_sets ListAdSetsRequest ListAdSetsResponse;
        update_ad_set UpdateAdSetRequest UpdateAdSetResponse;
    }
    Ad {
        ad ad, ads under |wire| wire.ad_set_id;
        create_ad CreateAdRequest CreateAdResponse;
        get_ad GetAdRequest GetAdResponse;
        list_ads ListAdsRequest ListAdsResponse;
        update_ad UpdateAdRequest UpdateAdResponse;
    }
    Source {
        entry_source source, entry_sources under |wire| wire.endpoint_id;
        create_entry_source CreateEntrySourceRequest CreateEntrySourceResponse;
        get_entry_source GetEntrySourceRequest GetEntrySourceResponse;
        list_entry_sources ListEntrySourcesRequest ListEntrySourcesResponse;
    }
    Experiment {
        experiment experiment, experiments under |wire| wire.account_id;
        create_experiment CreateExperimentRequest CreateExperimentResponse;
        get_experiment GetExperimentRequest GetExperimentResponse;
        list_experiments ListExperimentsRequest ListExperimentsResponse;
        update_experiment UpdateExperimentRequest UpdateExperimentResponse;
    }
}
