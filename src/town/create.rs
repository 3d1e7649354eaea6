//! One resource, created through the advertisers' door.

use crate::town::doors::Door;
use crate::types::proto::v1;
use crate::types::proto::v1::campaign_service_client::CampaignServiceClient;
use crate::types::request::Resource;

/// Creates one resource and returns it as the engine keeps it.
pub(crate) async fn create(
    door: &mut CampaignServiceClient<Door>,
    request_id: String,
    resource: Resource,
) -> Result<Resource, tonic::Status> {
    /// Calls one create method; its request and response differ from the others' in names only.
    macro_rules! call {
        ($method:ident, $request:ident, $field:ident, $kind:ident, $value:expr) => {{
            let $field = Some($value);
            let request = v1::$request { request_id, $field, validate_only: false };
            let answer = door.$method(request).await?.into_inner();
            answer.$field.map(Resource::$kind)
        }};
    }
    let created = match resource {
        Resource::Account(it) => call!(create_account, CreateAccountRequest, account, Account, it),
        Resource::Business(it) => {
            call!(create_business, CreateBusinessRequest, business, Business, it)
        }
        Resource::Endpoint(it) => call!(
            create_channel_endpoint,
            CreateChannelEndpointRequest,
            channel_endpoint,
            Endpoint,
            it
        ),
        Resource::Campaign(it) => {
            call!(create_campaign, CreateCampaignRequest, campaign, Campaign, it)
        }
        Resource::AdSet(it) => call!(create_ad_set, CreateAdSetRequest, ad_set, AdSet, it),
        Resource::Ad(it) => call!(create_ad, CreateAdRequest, ad, Ad, it),
        Resource::Source(it) => {
            call!(create_entry_source, CreateEntrySourceRequest, entry_source, Source, it)
        }
        Resource::Experiment(it) => {
            call!(create_experiment, CreateExperimentRequest, experiment, Experiment, it)
        }
    };
    created.ok_or_else(|| tonic::Status::data_loss("the answer has no resource"))
}
