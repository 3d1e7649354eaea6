//! What the HTTP door asks before it hands anything to the writer: whose number this is, and what of it is
//! known already. Each answer may be a moment old; the writer judges again.

use crate::node::front::Front;
use crate::state::catalog::{Naming, SourceRef};
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

    /// Tells whether a conversation was opened, under this name or an earlier one.
    pub fn knows_chat(&self, id: u64) -> bool {
        let other = {
            let cell = self.0.cell(id);
            match cell.facts.aliases.get(&id) {
                None => return cell.facts.chats.contains_key(&id),
                Some(alias) => alias.same_as,
            }
        };
        self.0.cell(other).facts.chats.contains_key(&other)
    }

    /// Returns the printed code or web button at this endpoint that a code stands for.
    pub fn source_of(&self, code: PrefillCode, endpoint: u64) -> Option<SourceRef> {
        let source = self.0.catalog().source_of_code(code.number());
        source.filter(|source| source.endpoint == endpoint)
    }

    /// Tells whether a code stands for a click at this endpoint.
    pub fn knows_code(&self, code: PrefillCode, endpoint: u64) -> bool {
        let shard = self.0.shard(code.shard().index());
        shard.codes.get(&code.number()).is_some_and(|entry| entry.endpoint == endpoint)
    }
}
