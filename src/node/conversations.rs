//! Look-ups of conversations: one by its key, a business's in pages, and a watch over their free windows.

use crate::decide::chats::is_qualified;
use crate::node::coach::Watch;
use crate::node::front::{Front, sees};
use crate::node::running::Node;
use crate::state::chats::{Chat, StoredTouch};
use crate::state::credit::{confidence_of, timestamp};
use crate::state::{BUCKETS_PER_SHARD, bucket_of};
use crate::types::ids::{IdKind, shard_of};
use crate::types::proto::v1::{Conversation, FreeWindow, Touch};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Which conversations a page has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListedChats {
    /// Of this business.
    pub business: u64,
    /// Only those whose window of this kind is open; unspecified: all.
    pub open: FreeWindow,
    /// Behind this id.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

impl Front {
    /// Returns a conversation of one of the caller's businesses, under whichever of its names.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn conversation(
        &self,
        scope: Scope,
        id: u64,
        now: Moment,
    ) -> Result<Conversation, Refusal> {
        let id = self.0.conversation_named(id);
        let chat = self.0.cell(id).facts.chats.get(&id).cloned();
        let catalog = self.0.catalog();
        let chat = chat.filter(|chat| sees(&catalog, scope, Some(chat.account)));
        let message = "no such conversation";
        let chat = chat.ok_or_else(|| Refusal::new(Reason::NotFound, "conversation", message))?;
        Ok(conversation(id, &chat, now))
    }

    /// Returns conversations of a business in order of their ids, and where the next page begins.
    ///
    /// # Errors
    /// `NotFound` for a business that is not the caller's.
    pub fn list_conversations(
        &self,
        scope: Scope,
        list: &ListedChats,
        now: Moment,
    ) -> Result<(Vec<Conversation>, Option<u64>), Refusal> {
        let ListedChats { business, open, after, limit } = *list;
        self.owns_business(scope, business)?;
        let first = shard_of(business).index() * BUCKETS_PER_SHARD;
        let from = bucket_of(after).max(first);
        let mut page = Vec::new();
        for bucket in from..first + BUCKETS_PER_SHARD {
            let cell = self.0.cell_at(bucket);
            let wanted = |id: u64, chat: &Chat| {
                id > after && chat.business == business && is_open(chat, open, now)
            };
            let theirs = cell.facts.chats.iter().filter(|(id, chat)| wanted(**id, chat));
            let mut ids: Vec<u64> = theirs.map(|(id, _)| *id).collect();
            ids.sort_unstable();
            for id in ids {
                if page.len() == limit {
                    let last = page.last().map(|last: &Conversation| last.id);
                    return Ok((page, last));
                }
                page.extend(cell.facts.chats.get(&id).map(|chat| conversation(id, chat, now)));
            }
        }
        Ok((page, None))
    }

    /// Begins to tell which conversations of a business leave a free window, and when they come within
    /// `lead_ms` of it.
    ///
    /// # Errors
    /// `NotFound` for a business that is not the caller's; `Busy` when too much is watched already.
    pub fn watch_windows(
        &self,
        scope: Scope,
        business: u64,
        lead_ms: i64,
        now: Moment,
    ) -> Result<Watch, Refusal> {
        self.owns_business(scope, business)?;
        self.0.watch_windows(business, lead_ms, now)
    }

    fn owns_business(&self, scope: Scope, business: u64) -> Result<(), Refusal> {
        let catalog = self.0.catalog();
        let account = catalog.account_of(IdKind::Business, business);
        let owns = sees(&catalog, scope, account);
        let refusal = || Refusal::new(Reason::NotFound, "business_id", "no such business");
        owns.then_some(()).ok_or_else(refusal)
    }
}

impl Node {
    /// Returns a conversation; see [`Front::conversation`].
    ///
    /// # Errors
    /// `NotFound`, or as [`Node::settled`].
    pub async fn conversation(&self, scope: Scope, id: u64) -> Result<Conversation, Refusal> {
        let now = self.settled().await?;
        self.front().conversation(scope, id, now)
    }

    /// Returns a page of a business's conversations; see [`Front::list_conversations`].
    ///
    /// # Errors
    /// `NotFound`, or as [`Node::settled`].
    pub async fn list_conversations(
        &self,
        scope: Scope,
        list: &ListedChats,
    ) -> Result<(Vec<Conversation>, Option<u64>), Refusal> {
        let now = self.settled().await?;
        self.front().list_conversations(scope, list, now)
    }

    /// Begins to watch the free windows of a business; see [`Front::watch_windows`].
    ///
    /// # Errors
    /// `NotFound` or `Busy`.
    pub fn watch_windows(
        &self,
        scope: Scope,
        business: u64,
        lead_ms: i64,
    ) -> Result<Watch, Refusal> {
        self.front().watch_windows(scope, business, lead_ms, self.now())
    }
}

fn is_open(chat: &Chat, window: FreeWindow, now: Moment) -> bool {
    let open = chat.windows.now(now);
    match window {
        FreeWindow::Unspecified => true,
        FreeWindow::CustomerService => open.service_until.is_some(),
        FreeWindow::EntryPoint => open.free_entry_until.is_some(),
    }
}

pub(in crate::node) fn conversation(id: u64, chat: &Chat, now: Moment) -> Conversation {
    let time = |ms: i64| (ms > 0).then(|| timestamp(ms));
    let touch = |touch: &StoredTouch| Touch {
        campaign_id: touch.0.campaign,
        ad_set_id: touch.0.ad_set,
        ad_id: touch.0.ad,
        click_id: touch.0.view,
        match_kind: touch.0.match_kind,
        time: Some(timestamp(touch.0.event_ms)),
        match_confidence: confidence_of(touch.0.match_kind()).into(),
    };
    let free_entry = chat.windows.now(now).free_entry_until;
    Conversation {
        id,
        business_id: chat.business,
        endpoint_id: chat.endpoint,
        open_time: time(chat.opened_ms),
        first_touch: chat.first_touch.as_ref().map(touch),
        latest_touch: chat.latest_touch.as_ref().map(touch),
        first_message_time: time(chat.first_message_ms),
        first_reply_time: time(chat.first_reply_ms),
        inbound_messages: chat.inbound,
        outbound_messages: chat.outbound,
        service_window_end: chat.windows.service_end().map(|end| timestamp(end.0)),
        free_entry_window_end: free_entry.map(|end| timestamp(end.0)),
        entry_point: chat.entry_point,
        source_id: chat.source,
        qualified: is_qualified(chat.inbound, chat.outbound),
        ..Conversation::default()
    }
}
