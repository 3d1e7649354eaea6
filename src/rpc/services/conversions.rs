//! ConversionService: conversions on their way back to the channels, and clicks to test with.

use std::sync::Arc;

use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::rpc::admission::Passage;
use crate::rpc::errors::deadline;
use crate::rpc::limits::INGEST_DEADLINE;
use crate::rpc::parse::conversions::{account, ad, dead_letters, push, retried, test_code};
use crate::rpc::parse::mutations::body_hash;
use crate::rpc::parse::places::{open_cursor, seal_cursor};
use crate::rpc::services::pages::{Pages, paged};
use crate::rpc::services::{Answer, Answers, caller, passage};
use crate::state::credit::timestamp;
use crate::types::ids::SeqVector;
use crate::types::proto::v1;
use crate::types::proto::v1::conversion_service_server::ConversionService;
use crate::types::request::{PushChange, Scope};

/// The service.
pub(super) struct Conversions {
    pub(super) node: Arc<Node>,
}

/// Whose payloads are pulled, and how.
struct Pull {
    scope: Scope,
    account: u64,
    test_event_code: String,
    passage: Passage,
}

#[tonic::async_trait]
impl ConversionService for Conversions {
    type PullConversionPayloadsStream = Answers<v1::PullConversionPayloadsResponse>;

    async fn pull_conversion_payloads(
        &self,
        request: Request<v1::PullConversionPayloadsRequest>,
    ) -> Answer<Self::PullConversionPayloadsStream> {
        let (scope, passage) = (caller(&request)?.scope(), passage(&request)?);
        let wire = request.into_inner();
        test_code(&wire.test_event_code)?;
        let from = open_cursor(&wire.cursor, self.node.journal(), &self.node.opener())?;
        if wire.account_id != 0 {
            self.node.front().push(scope, wire.account_id)?;
        }
        let (account, test_event_code) = (wire.account_id, wire.test_event_code);
        let asked = Pull { scope, account, test_event_code, passage };
        let node = Arc::clone(&self.node);
        Ok(paged(|pages| pull(node, asked, from.unwrap_or_default(), pages)))
    }

    async fn set_conversion_push(
        &self,
        request: Request<v1::SetConversionPushRequest>,
    ) -> Answer<v1::SetConversionPushResponse> {
        let caller = caller(&request)?;
        let by = caller.author("SetConversionPushRequest");
        let wire = request.into_inner();
        let hash = body_hash("SetConversionPushRequest", &wire);
        let insecure = self.node.push_insecure();
        let change = PushChange { by, ..push(wire, caller.scope(), hash, insecure)? };
        let set = timeout(INGEST_DEADLINE, self.node.set_push(change)).await;
        Ok(Response::new(set.map_err(|_| deadline())??))
    }

    async fn get_conversion_push(
        &self,
        request: Request<v1::GetConversionPushRequest>,
    ) -> Answer<v1::GetConversionPushResponse> {
        let scope = caller(&request)?.scope();
        let account = account(request.into_inner().account_id)?;
        self.node.settled().await?;
        let (push, dead) = self.node.front().push(scope, account)?;
        let dead_letters = dead as u32;
        Ok(Response::new(v1::GetConversionPushResponse { push: Some(push), dead_letters }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answer<v1::ListDeadLettersResponse> {
        let scope = caller(&request)?.scope();
        let (wire, sealer) = (request.into_inner(), self.node.opener());
        let (list, after, limit) = dead_letters(&wire, scope, &sealer)?;
        self.node.settled().await?;
        let front = self.node.front();
        let (dead_letters, next) = front.dead_letters(scope, wire.account_id, after, limit)?;
        let next_page_token = next.map_or(String::new(), |last| list.seal(last, &sealer));
        Ok(Response::new(v1::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn retry_dead_letters(
        &self,
        request: Request<v1::RetryDeadLettersRequest>,
    ) -> Answer<v1::RetryDeadLettersResponse> {
        let caller = caller(&request)?;
        let (scope, by) = (caller.scope(), caller.author("RetryDeadLettersRequest"));
        let wire = request.into_inner();
        retried(&wire)?;
        let (account, outcomes) = (wire.account_id, &wire.outcome_ids);
        let asked = self.node.retry_dead_letters(&by, scope, account, outcomes, wire.drop);
        let count = timeout(INGEST_DEADLINE, asked).await.map_err(|_| deadline())??;
        Ok(Response::new(v1::RetryDeadLettersResponse { dead_letters: count as u32 }))
    }

    async fn create_test_click(
        &self,
        request: Request<v1::CreateTestClickRequest>,
    ) -> Answer<v1::CreateTestClickResponse> {
        let scope = caller(&request)?.scope();
        let ad = ad(request.into_inner().ad_id)?;
        let made = timeout(INGEST_DEADLINE, self.node.create_test_click(scope, ad)).await;
        let made = made.map_err(|_| deadline())??;
        Ok(Response::new(v1::CreateTestClickResponse {
            click_id: made.click,
            view_token: made.view_token,
            click_token: made.click_token,
            prefill_code: made.prefill_code,
            chat_link: made.chat_link,
        }))
    }
}

/// Sends pages until the last closed minute; the last one says what is complete, even without rows.
async fn pull(
    node: Arc<Node>,
    asked: Pull,
    mut from: SeqVector,
    pages: Pages<v1::PullConversionPayloadsResponse>,
) -> Result<(), Status> {
    let Pull { scope, account, test_event_code, passage } = asked;
    loop {
        passage.judge()?;
        let (pulled, complete_up_to) =
            node.payloads(scope, account, &test_event_code, from).await?;
        let answer = v1::PullConversionPayloadsResponse {
            rows: pulled.rows,
            cursor: seal_cursor(&pulled.cursor, node.journal(), &node.opener()),
            complete_up_to: Some(timestamp(complete_up_to.0)),
        };
        if !pages.send(answer).await || !pulled.more {
            return Ok(());
        }
        from = pulled.cursor;
    }
}
