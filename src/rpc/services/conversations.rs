//! ConversationService: openings, message receipts and conversions, without a message's text.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::guard::Caller;
use crate::node::{Node, Watch};
use crate::rpc::admission::Passage;
use crate::rpc::limits::WATCHER_JUDGED_EVERY;
use crate::rpc::parse::conversations::{Desk, listed, watched};
use crate::rpc::parse::events::batch;
use crate::rpc::services::batch::Batch;
use crate::rpc::services::{Answer, Answers, business_of, caller, passage};
use crate::rpc::traces::Trace;
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::proto::v1::conversation_service_server::ConversationService;
use crate::types::request::Scope;

/// The service.
pub(super) struct Conversations {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn record_conversation_events(
        &self,
        request: Request<v1::RecordConversationEventsRequest>,
    ) -> Answer<v1::RecordConversationEventsResponse> {
        let caller = caller(&request)?;
        let trace = Trace::of(request.extensions());
        let wire = request.into_inner();
        batch(&wire.request_id, wire.events.len(), "events")?;
        let sealer = self.node.opener();
        let desk = self.desk(&caller, &sealer);
        let batch = Batch::submit(&self.node, wire.events, |wire| desk.event(wire))?;
        let _waits = trace.part("journal");
        let results = batch.results().await?;
        Ok(Response::new(v1::RecordConversationEventsResponse { results }))
    }

    async fn record_conversions(
        &self,
        request: Request<v1::RecordConversionsRequest>,
    ) -> Answer<v1::RecordConversionsResponse> {
        let caller = caller(&request)?;
        let trace = Trace::of(request.extensions());
        let wire = request.into_inner();
        batch(&wire.request_id, wire.conversions.len(), "conversions")?;
        let sealer = self.node.opener();
        let desk = self.desk(&caller, &sealer);
        let business_of = |endpoint| business_of(&self.node, caller.scope(), endpoint);
        let parse = |wire| desk.conversion(wire, business_of);
        let batch = Batch::submit(&self.node, wire.conversions, parse)?;
        let _waits = trace.part("journal");
        let results = batch.results().await?;
        Ok(Response::new(v1::RecordConversionsResponse { results }))
    }

    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Answer<v1::GetConversationResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (_, id) = self
            .desk(&caller, &self.node.opener())
            .conversation(wire.business_id, wire.conversation.as_ref())?;
        let conversation = self.node.conversation(caller.scope(), id).await?;
        let conversation = Some(self.node.front().with_prices(conversation, self.node.now()));
        Ok(Response::new(v1::GetConversationResponse { conversation }))
    }

    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Answer<v1::ListConversationsResponse> {
        let scope = caller(&request)?.scope();
        let sealer = self.node.opener();
        let (list, chats) = listed(&request.into_inner(), scope, &sealer)?;
        let (conversations, next) = self.node.list_conversations(scope, &chats).await?;
        let next_page_token = next.map_or(String::new(), |after| list.seal(after, &sealer));
        Ok(Response::new(v1::ListConversationsResponse { conversations, next_page_token }))
    }

    type WatchWindowsStream = Answers<v1::WatchWindowsResponse>;

    async fn watch_windows(
        &self,
        request: Request<v1::WatchWindowsRequest>,
    ) -> Answer<Self::WatchWindowsStream> {
        let (scope, passage) = (caller(&request)?.scope(), passage(&request)?);
        let (business, lead_ms) = watched(&request.into_inner())?;
        let watch = self.node.watch_windows(scope, business, lead_ms)?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(hand_on(watch, passage, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Hands a watch's notices to its caller, one answer at a time, until one of them leaves or the caller would be let
/// in no more.
async fn hand_on(
    mut watch: Watch,
    passage: Passage,
    sender: mpsc::Sender<Result<v1::WatchWindowsResponse, Status>>,
) {
    loop {
        let notices = tokio::select! {
            notices = watch.next() => Some(notices),
            () = sender.closed() => return,
            () = sleep(WATCHER_JUDGED_EVERY) => None,
        };
        let answer = match (passage.judge(), notices) {
            (Ok(()), None) => continue,
            (Ok(()), Some(notices)) => notices.map_err(Status::from),
            (Err(status), _) => Err(status),
        };
        let ended = answer.is_err();
        let answer = answer.map(|notices| v1::WatchWindowsResponse { notices });
        if sender.send(answer).await.is_err() || ended {
            return;
        }
    }
}

impl Conversations {
    fn desk<'a>(&self, caller: &Caller, sealer: &'a Sealer) -> Desk<'a> {
        let Scope { tenant, any } = caller.scope();
        Desk { sealer, tenant: if any { 0 } else { tenant }, now: self.node.now() }
    }
}
