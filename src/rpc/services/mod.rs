//! One file per service, each thin: the caller from the guard, parse, one call of the node, answer.

mod admin;
mod ads;
mod attributions;
mod batch;
mod billing;
mod campaigns;
mod changes;
mod conversations;
mod conversions;
mod events;
mod explain;
#[cfg(feature = "columns")]
mod flight;
mod imports;
mod keys;
mod kits;
mod pages;
mod pulls;
mod reports;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "columns")]
use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::guard::Caller;
use crate::node::Node;
use crate::rpc::admission::Passage;
use crate::rpc::errors::deadline;
#[cfg(feature = "columns")]
use crate::rpc::limits::FLIGHT_BATCHES_AT_ONCE_MAX;
use crate::rpc::limits::{
    EXPLAINED_AT_ONCE_MAX, FEED_MESSAGE_BYTES_MAX, FINDINGS_AT_ONCE_MAX, FOLLOWERS_MAX,
    IMPORTS_AT_ONCE_MAX, INGEST_DEADLINE, LISTS_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX,
    MODELS_AT_ONCE_MAX, RECONCILED_AT_ONCE_MAX, REPORTS_AT_ONCE_MAX,
};
use crate::types::proto::v1::admin_service_server::AdminServiceServer;
use crate::types::proto::v1::attribution_service_server::AttributionServiceServer;
use crate::types::proto::v1::billing_service_server::BillingServiceServer;
use crate::types::proto::v1::campaign_service_server::CampaignServiceServer;
use crate::types::proto::v1::conversation_service_server::ConversationServiceServer;
use crate::types::proto::v1::conversion_service_server::ConversionServiceServer;
use crate::types::proto::v1::event_service_server::EventServiceServer;
use crate::types::proto::v1::explain_service_server::ExplainServiceServer;
use crate::types::proto::v1::import_service_server::ImportServiceServer;
use crate::types::proto::v1::report_service_server::ReportServiceServer;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, Mutation, Policy, Resource, ResourceKind, Scope};

/// What each feed allows, by its id.
pub type Policies = Arc<BTreeMap<u32, Policy>>;

/// How a call is answered.
type Answer<T> = Result<Response<T>, Status>;

/// Answers that come one after the other.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Returns every service of the interface over a node.
pub(super) fn routes(node: &Arc<Node>, policies: &Policies) -> Routes {
    let node = || Arc::clone(node);
    let ads = ads::Ads { node: node(), policies: Arc::clone(policies) };
    let feeds = FEED_MESSAGE_BYTES_MAX;
    let others = MESSAGE_BYTES_MAX;
    let routes = Routes::new(ads)
        .add_service(
            EventServiceServer::new(events::Events { node: node() })
                .max_decoding_message_size(feeds),
        )
        .add_service(
            CampaignServiceServer::new(campaigns::Campaigns { node: node() })
                .max_decoding_message_size(others),
        )
        .add_service(
            ExplainServiceServer::new(explain::Explain {
                node: node(),
                policies: Arc::clone(policies),
                places: Arc::new(Semaphore::new(EXPLAINED_AT_ONCE_MAX)),
            })
            .max_decoding_message_size(others),
        )
        .add_service(
            AdminServiceServer::new(admin::Admin { node: node() })
                .max_decoding_message_size(LISTS_MESSAGE_BYTES_MAX),
        )
        .add_service(
            BillingServiceServer::new(billing::Billing {
                node: node(),
                place: Arc::new(Semaphore::new(FINDINGS_AT_ONCE_MAX)),
            })
            .max_decoding_message_size(others),
        )
        .add_service(
            ConversationServiceServer::new(conversations::Conversations { node: node() })
                .max_decoding_message_size(others),
        )
        .add_service(
            ConversionServiceServer::new(conversions::Conversions { node: node() })
                .max_decoding_message_size(others),
        )
        .add_service(
            ImportServiceServer::new(imports::Imports {
                node: node(),
                places: Arc::new(Semaphore::new(IMPORTS_AT_ONCE_MAX)),
            })
            .max_decoding_message_size(others),
        )
        .add_service(
            ReportServiceServer::new(reports::Reports {
                node: node(),
                places: Arc::new(Semaphore::new(REPORTS_AT_ONCE_MAX)),
            })
            .max_decoding_message_size(others),
        )
        .add_service(pulls::WithPulls {
            node: node(),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            others: AttributionServiceServer::new(attributions::Attributions {
                node: node(),
                places: Arc::new(Semaphore::new(MODELS_AT_ONCE_MAX)),
                lists: Arc::new(Semaphore::new(RECONCILED_AT_ONCE_MAX)),
            })
            .max_decoding_message_size(others),
        });
    with_flight(routes, node())
}

/// Adds Arrow Flight, which sends tables in columns, where it is built in.
#[cfg(feature = "columns")]
fn with_flight(routes: Routes, node: Arc<Node>) -> Routes {
    let places = Arc::new(Semaphore::new(FLIGHT_BATCHES_AT_ONCE_MAX));
    let service = FlightServiceServer::new(flight::Flight { node, places });
    routes.add_service(service.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

#[cfg(not(feature = "columns"))]
fn with_flight(routes: Routes, _: Arc<Node>) -> Routes {
    routes
}

/// Writes to the catalog, and waits until it is durable.
async fn write(
    node: &Node,
    by: Author,
    mutation: Result<Mutation, Refusal>,
) -> Result<Resource, Status> {
    let mutation = Mutation { by, ..mutation? };
    let written = timeout(INGEST_DEADLINE, node.mutate(mutation)).await;
    Ok(written.map_err(|_| deadline())??)
}

/// Answers on a thread that may take its time; `places` bounds how many do so at once.
async fn aside<T: Send + 'static>(
    node: &Arc<Node>,
    places: &Arc<Semaphore>,
    work: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, Status> {
    at_place(node, place_of(places).await?, work).await
}

/// Waits for a place. Whoever waits too long is cut off by the deadline of all calls.
async fn place_of(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    let place = Arc::clone(places).acquire_owned().await;
    place.map_err(|_| Status::unavailable("the server stops"))
}

/// Answers on a thread that may take its time, from a place that was waited for.
async fn at_place<T: Send + 'static>(
    node: &Arc<Node>,
    place: OwnedSemaphorePermit,
    work: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, Status> {
    let node = Arc::clone(node);
    let work = move || {
        // Work goes on when its caller leaves, and keeps its place.
        let _place = place;
        work(&node)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Status::internal("the question could not be answered; send it again"))
}

/// Returns who makes a call. The guard stands before every service, so there is one.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    caller_of(request).cloned()
}

/// Returns the same, to be looked at.
fn caller_of<T>(request: &Request<T>) -> Result<&Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    caller.ok_or_else(|| Status::unauthenticated("the call did not come through the guard"))
}

/// Returns what lets the messages of a stream pass. The guard stands before every service, so there is one.
fn passage<T>(request: &Request<T>) -> Result<Passage, Status> {
    let passage = request.extensions().get::<Passage>().cloned();
    passage.ok_or_else(|| Status::unauthenticated("the stream did not come through the guard"))
}

/// Returns whose an endpoint is, for whoever names a conversation by it.
fn business_of(node: &Node, scope: Scope, endpoint: u64) -> Result<u64, Refusal> {
    match node.get(scope, ResourceKind::Endpoint, endpoint) {
        Ok(Resource::Endpoint(row)) => Ok(row.business_id),
        _ => {
            let message = "no such endpoint: report with the id that its creation answered";
            Err(Refusal::new(Reason::NotFound, "conversation.endpoint_id", message))
        }
    }
}
