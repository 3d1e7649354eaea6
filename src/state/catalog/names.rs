//! Which endpoint a channel means: by its own numbers, by the address. Derived from the rows by the same fold,
//! so it is not kept on disk.

use crate::state::Map;
use crate::types::hash::fnv1a;
use crate::types::ids::number_of;
use crate::types::proto::v1::ChannelEndpoint;

/// By what a channel names an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Naming {
    /// The channel's own number of it.
    Account,
    /// Its address.
    Address,
    /// The channel's number of the whole business account.
    Business,
}

impl Naming {
    const ALL: [Self; 3] = [Self::Account, Self::Address, Self::Business];

    /// Returns the name that an endpoint has in this way; empty: none.
    pub fn of(self, row: &ChannelEndpoint) -> &str {
        match self {
            Self::Account => &row.channel_account_id,
            Self::Address => &row.address,
            Self::Business => &row.channel_business_id,
        }
    }

    fn hash(self, channel: i32, name: &str) -> u64 {
        let head = [self as u8, channel as u8];
        fnv1a(head.into_iter().chain(name.bytes()))
    }
}

/// The endpoints with one hash, in order of creation: several may have one name, of several tenants or by
/// chance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    /// By hash of a name: its first and last endpoint.
    ends: Map<u64, (u32, u32)>,
    /// By naming and endpoint: the next one with its hash. Endpoints are numbered from 1.
    next: [Vec<u32>; 3],
}

impl Names {
    /// Takes a new endpoint, in order of creation. One that is there already stays: it never changes.
    pub(super) fn put(&mut self, row: &ChannelEndpoint) {
        let Ok(number) = u32::try_from(number_of(row.id)) else { return };
        let [known, ..] = &self.next;
        if (number as usize) < known.len() {
            return;
        }
        for naming in Naming::ALL {
            self.next[naming as usize].resize(number as usize + 1, 0);
            let name = naming.of(row);
            if name.is_empty() {
                continue;
            }
            let hash = naming.hash(row.channel, name);
            let ends = self.ends.entry(hash).or_insert((number, 0));
            if let Some(last) =
                self.next[naming as usize].get_mut(ends.1 as usize).filter(|_| ends.1 != 0)
            {
                *last = number;
            }
            ends.1 = number;
        }
    }

    /// Returns the numbers of the endpoints that may have this name, oldest first.
    pub(super) fn of(&self, naming: Naming, channel: i32, name: &str) -> impl Iterator<Item = u32> {
        let first = self.ends.get(&naming.hash(channel, name)).map(|ends| ends.0);
        let next = &self.next[naming as usize];
        std::iter::successors(first, |number| {
            next.get(*number as usize).copied().filter(|next| *next != 0)
        })
    }
}
