//! Arrow Flight: the tables in columns, by the same keys and roles as the services that have their rows.

mod tables;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use arrow_flight::{IpcMessage, Result as ActionResult};
use arrow_schema::Schema;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use crate::guard::{Access, Caller, ERROR_DOMAIN, access};
use crate::node::Node;
use crate::report::columnar::Table;
use crate::report::pull::closed_before;
use crate::rpc::parse::tables::Ticket as Asked;
use crate::rpc::services::flight::tables::{open, send};
use crate::rpc::services::{Answer, Answers, caller, passage};

/// The service.
pub(super) struct Flight {
    pub(super) node: Arc<Node>,
    /// Places for batches at work.
    pub(super) places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<ActionResult>;
    type ListActionsStream = Answers<ActionType>;

    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        let caller = caller(&request)?;
        let readable = Table::ALL.into_iter().filter(|table| may_read(&caller, *table).is_ok());
        let info = |table: Table| {
            info(&Asked::of(table), FlightDescriptor::new_path(vec![table.name().to_owned()]))
        };
        let infos: Vec<_> = readable.map(info).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(infos))))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let caller = caller(&request)?;
        let descriptor = request.into_inner();
        let mut asked = Asked::of_descriptor(&descriptor)?;
        may_read(&caller, asked.table)?;
        if asked.table != Table::Reports {
            // The ticket is good for the same rows whenever it is used.
            let closed = closed_before(self.node.settled().await?);
            asked.end = Some(asked.end.map_or(closed, |end| end.min(closed)));
        }
        Ok(Response::new(info(&asked, descriptor)?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let caller = caller(&request)?;
        let asked = Asked::of_descriptor(&request.into_inner())?;
        may_read(&caller, asked.table)?;
        let schema = ipc(&asked.table.schema())?;
        Ok(Response::new(SchemaResult { schema: schema.0 }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let (caller, passage) = (caller(&request)?, passage(&request)?);
        let asked = Asked::of_json("ticket", &request.into_inner().ticket)?;
        may_read(&caller, asked.table)?;
        let opened = open(&self.node, &self.places, caller.scope(), asked).await?;
        let batches = send(&self.node, &self.places, opened);
        Ok(Response::new(Box::pin(batches.map(move |batch| passage.judge().and(batch)))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Self::HandshakeStream> {
        Err(unsupported("the key goes with each call, as `authorization: Bearer mk_<id>_<secret>`"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(unsupported("rows are ready at once: call GetFlightInfo"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        Err(unsupported("tables are read only: report events by the munadi.v1 services"))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Answer<Self::DoExchangeStream> {
        Err(unsupported("tables are read only: call DoGet"))
    }

    async fn do_action(&self, _: Request<Action>) -> Answer<Self::DoActionStream> {
        Err(unsupported("there are no actions: call DoGet"))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        Err(unsupported("there are no actions: call ListFlights"))
    }
}

fn unsupported(message: &str) -> Status {
    refused(Code::Unimplemented, "METHOD_UNSUPPORTED", message)
}

fn refused(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// Refuses a table to whoever may not call the method that has its rows. Conversations are listed for those who
/// hold them; here they are read by whoever may read their outcomes.
fn may_read(caller: &Caller, table: Table) -> Result<(), Status> {
    let method = match table {
        Table::Attributions | Table::Touches | Table::Conversations => {
            "/munadi.v1.AttributionService/PullAttributions"
        }
        Table::Reports => "/munadi.v1.ReportService/QueryReport",
        Table::Transfers => "/munadi.v1.BillingService/ListTransfers",
    };
    match access(method) {
        Access::Roles(roles) if roles.contains(&caller.role) => Ok(()),
        _ => {
            let name = table.name();
            let message = format!("this key's role may not read {name}: use a key of another role");
            Err(refused(Code::PermissionDenied, "ROLE_DENIED", &message))
        }
    }
}

fn info(asked: &Asked, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let ticket = Ticket::new(asked.json());
    let info = FlightInfo::new().with_descriptor(descriptor);
    // Only attributions and touches come in an order that means something; it costs nothing to say it of all.
    let info = info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_ordered(true);
    info.try_with_schema(&asked.table.schema()).map_err(broken)
}

fn ipc(schema: &Schema) -> Result<IpcMessage, Status> {
    let options = Default::default();
    SchemaAsIpc::new(schema, &options).try_into().map_err(broken)
}

/// Returns the status of a table that can't be encoded, which is our fault.
fn broken(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "a table can't be encoded");
    Status::internal("the table can't be encoded; ask for it as gRPC rows meanwhile")
}
