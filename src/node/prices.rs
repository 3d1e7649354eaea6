//! What messages of a conversation cost: so far, and the next one.

use prost::Message;

use crate::decide::tariff::{Next, Standing, next_messages};
use crate::node::front::Front;
use crate::node::running::Node;
use crate::state::credit::timestamp;
use crate::state::tariffs::Cost;
use crate::types::proto::journal::v1::VolumeTierPut;
use crate::types::proto::v1::{Channel, Conversation, MessageCost, Money, NextMessage};
use crate::types::refusal::Refusal;
use crate::types::request::{Author, ListChange, ListMutation};
use crate::types::time::Moment;

impl Front {
    /// Returns a conversation with what its messages have cost, and what the next one of each category costs.
    #[must_use]
    pub fn with_prices(&self, conversation: Conversation, now: Moment) -> Conversation {
        let live = &self.0;
        let chat = live.cell(conversation.id).facts.chats.get(&conversation.id).cloned();
        let Some(chat) = chat else { return conversation };
        let free_used = {
            let chunk = live.desks(chat.endpoint);
            chunk.desks.get(&chat.endpoint).map_or(0, |desk| desk.free_used(now.month()))
        };
        let open = chat.windows.now(now);
        let catalog = live.catalog();
        let endpoint = catalog.endpoints.get(chat.endpoint);
        let standing = Standing {
            channel: endpoint.map_or(Channel::Unspecified, |row| row.channel()),
            business: chat.business,
            country: chat.country,
            windows: &chat.windows,
            bill: &chat.bill,
            free_used,
            currency: catalog.currency_of(chat.account).unwrap_or_default(),
        };
        let next = next_messages(&catalog.tariffs, &standing, now);
        Conversation {
            free_entry_window_end: open.free_entry_until.map(|end| timestamp(end.0)),
            next_messages: next.into_iter().map(next_message).collect(),
            message_costs: chat.bill.costs().iter().map(message_cost).collect(),
            ..conversation
        }
    }
}

impl Node {
    /// Notes the volume step that a business has reached, as its channel says. Steps of a month only rise: what
    /// comes twice or late changes nothing.
    ///
    /// # Errors
    /// `NotFound` for an unknown business, `FieldInvalid` for a market that no card can name, or as
    /// [`Node::mutate_lists`].
    pub async fn note_volume_tier(&self, tier: VolumeTierPut) -> Result<(), Refusal> {
        let hash = blake3::hash(&tier.encode_to_vec());
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&hash.as_bytes()[..16]);
        let request_id = format!("tier-{}", &hash.to_hex()[..32]);
        let change = ListChange::VolumeTier(tier);
        // Tenant 0 is the platform, which channels speak to.
        let mutation =
            ListMutation { tenant: 0, request_id, body_hash, by: Author::default(), change };
        self.mutate_lists(mutation).await.map(drop)
    }
}

fn next_message(next: Next<'_>) -> NextMessage {
    let money = |(micros, currency): (i64, &str)| Money { micros, currency: currency.to_owned() };
    NextMessage {
        category: next.category.into(),
        cost: next.cost.map(money),
        reason: next.reason.into(),
        until: next.until.map(|until| timestamp(until.0)),
        allowed: next.allowed,
    }
}

fn message_cost(cost: &Cost) -> MessageCost {
    let money = || Money { micros: cost.micros, currency: cost.currency.clone() };
    MessageCost {
        category: cost.category,
        messages: cost.messages,
        cost: (!cost.currency.is_empty()).then(money),
    }
}
