//! BillingService: money in and out, balances, transfers, invoices, and credits for invalid events.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::rpc::errors::deadline;
use crate::rpc::limits::INGEST_DEADLINE;
use crate::rpc::parse::billing::{funding, invalidation, invoices, transfers};
use crate::rpc::parse::mutations::body_hash;
use crate::rpc::services::{Answer, caller};
use crate::types::proto::v1;
use crate::types::proto::v1::billing_service_server::BillingService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{FundRequest, Invalidation};

/// The service.
pub(super) struct Billing {
    pub(super) node: Arc<Node>,
    /// Places for findings at work.
    pub(super) place: Arc<Semaphore>,
}

#[tonic::async_trait]
impl BillingService for Billing {
    async fn fund_account(
        &self,
        request: Request<v1::FundAccountRequest>,
    ) -> Answer<v1::FundAccountResponse> {
        let caller = caller(&request)?;
        let by = caller.author("FundAccountRequest");
        let wire = request.into_inner();
        let hash = body_hash("FundAccountRequest", &wire);
        let order = FundRequest { by, ..funding(wire, caller.scope(), hash)? };
        let funded = timeout(INGEST_DEADLINE, self.node.fund(order)).await;
        Ok(Response::new(funded.map_err(|_| deadline())??))
    }

    async fn get_balance(
        &self,
        request: Request<v1::GetBalanceRequest>,
    ) -> Answer<v1::GetBalanceResponse> {
        let scope = caller(&request)?.scope();
        let account = request.into_inner().account_id;
        if account == 0 {
            let message = "is empty: send it";
            return Err(Refusal::new(Reason::FieldMissing, "account_id", message).into());
        }
        let balance = Some(self.node.balance(scope, account).await?);
        Ok(Response::new(v1::GetBalanceResponse { balance }))
    }

    async fn list_transfers(
        &self,
        request: Request<v1::ListTransfersRequest>,
    ) -> Answer<v1::ListTransfersResponse> {
        let scope = caller(&request)?.scope();
        let sealer = self.node.opener();
        let (list, asked) = transfers(&request.into_inner(), scope, &sealer)?;
        let (transfers, next) = self.node.transfers(scope, asked).await?;
        let next_page_token = next.map_or(String::new(), |place| list.seal(place, &sealer));
        Ok(Response::new(v1::ListTransfersResponse { transfers, next_page_token }))
    }

    async fn list_invoices(
        &self,
        request: Request<v1::ListInvoicesRequest>,
    ) -> Answer<v1::ListInvoicesResponse> {
        let scope = caller(&request)?.scope();
        let sealer = self.node.opener();
        let account = request.get_ref().account_id;
        let (list, before, limit) = invoices(request.get_ref(), scope, &sealer)?;
        let (invoices, next) = self.node.invoices(scope, account, before, limit).await?;
        let seal = |month: i32| list.seal(u64::from(month.unsigned_abs()), &sealer);
        let next_page_token = next.map_or(String::new(), seal);
        Ok(Response::new(v1::ListInvoicesResponse { invoices, next_page_token }))
    }

    async fn invalidate_events(
        &self,
        request: Request<v1::InvalidateEventsRequest>,
    ) -> Answer<v1::InvalidateEventsResponse> {
        let caller = caller(&request)?;
        let by = caller.author("InvalidateEventsRequest");
        let wire = request.into_inner();
        let hash = body_hash("InvalidateEventsRequest", &wire);
        let finding = Invalidation { by, ..invalidation(wire, caller.scope(), hash)? };
        // Whoever waits for the place is cut off by the deadline of all calls; work that has begun goes on
        // without its caller, who asks again and is told what was found.
        let place = Arc::clone(&self.place).acquire_owned().await;
        let place = place.map_err(|_| Status::unavailable("the server stops"))?;
        let node = Arc::clone(&self.node);
        let work = move || {
            let _place = place;
            node.invalidate(&finding)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let message = "the events could not be found; send the request again";
        Ok(Response::new(done.map_err(|_| Status::internal(message))??))
    }
}
