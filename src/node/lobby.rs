//! What the HTTP door asks before it hands anything to the writer: whose number this is, and what of it is
//! known already. Each answer may be a moment old; the writer judges again.

use crate::node::front::Front;
use crate::state::catalog::Naming;
use crate::types::proto::v1::Channel;
use crate::types::token::PrefillCode;

/// A place where a business is written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counter {
    /// The endpoint.
    pub endpoint: u64,
    /// Whose it is.
    pub business: u64,
}

impl Front {
    /// Returns where a channel says that a business was written to: by the channel's own number, else by
    /// the address. The oldest endpoint of the tenant counts; tenant 0: of anyone's.
    pub fn counter(
        &self,
        tenant: u32,
        channel: Channel,
        account: &str,
        address: &str,
    ) -> Option<Counter> {
        let catalog = self.0.catalog();
        let names = [(Naming::Account, account), (Naming::Address, address)];
        let mut named = names.into_iter().filter(|(_, name)| !name.is_empty());
        let row = named.find_map(|(naming, name)| {
            catalog.endpoint_named(naming, channel.into(), name, tenant)
        })?;
        Some(Counter { endpoint: row.id, business: row.business_id })
    }

    /// Returns the business that a channel names by the number of its whole account.
    pub fn business_named(&self, tenant: u32, channel: Channel, name: &str) -> Option<u64> {
        let catalog = self.0.catalog();
        let row = catalog.endpoint_named(Naming::Business, channel.into(), name, tenant)?;
        Some(row.business_id)
    }

    /// Tells whether an ad is there and opens chats at this endpoint.
    pub fn advertises(&self, ad: u64, endpoint: u64) -> bool {
        self.0.catalog().family(ad).is_some_and(|family| family.endpoint == endpoint)
    }

    /// Tells whether a conversation was opened.
    pub fn knows_chat(&self, id: u64) -> bool {
        let id = self.0.conversation_named(id);
        self.0.cell(id).facts.chats.contains_key(&id)
    }

    /// Tells whether a code stands for a click or an entry source at this endpoint.
    pub fn knows_code(&self, code: PrefillCode, endpoint: u64) -> bool {
        let source = self.0.catalog().source_of_code(code.number());
        if source.is_some_and(|source| source.endpoint == endpoint) {
            return true;
        }
        let shard = self.0.shard(code.shard().index());
        shard.codes.get(&code.number()).is_some_and(|entry| entry.endpoint == endpoint)
    }
}
