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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{IdKind, mint};

    /// Some endpoints with few names, so that many share one.
    fn rows() -> Vec<ChannelEndpoint> {
        let mut dice = 1u64;
        let mut name = |empty: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = (dice >> 33) % 40;
            if roll < empty { String::new() } else { format!("n{roll}") }
        };
        let row = |number| ChannelEndpoint {
            id: mint(IdKind::Endpoint, number),
            channel: 1 + (number % 3) as i32,
            address: name(0),
            channel_account_id: name(10),
            channel_business_id: name(20),
            ..ChannelEndpoint::default()
        };
        (1..=2_000).map(row).collect()
    }

    #[test]
    fn endpoints_are_found_by_each_name_as_a_walk_over_all_finds_them() {
        let rows = rows();
        let mut names = Names::default();
        rows.iter().for_each(|row| names.put(row));
        let before = names.clone();
        rows.iter().for_each(|row| names.put(row));
        assert_eq!(names, before, "an endpoint is taken once");
        for naming in Naming::ALL {
            for channel in 1..=4 {
                for name in (0..41).map(|name| format!("n{name}")) {
                    let theirs =
                        |row: &&ChannelEndpoint| row.channel == channel && naming.of(row) == name;
                    let walked = rows.iter().filter(theirs).map(|row| number_of(row.id) as u32);
                    let walked: Vec<_> = walked.collect();
                    let found: Vec<_> = names.of(naming, channel, &name).collect();
                    assert_eq!(found, walked, "{naming:?} {channel} {name}");
                }
            }
        }
    }
}
