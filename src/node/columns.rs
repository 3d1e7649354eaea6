//! Rows for tables in columns: credits, conversations and accounts, handed over where they stand, some at a time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use foldhash::fast::FixedState;

use crate::node::conversations::conversation;
use crate::node::front::{Front, sees};
use crate::state::BUCKETS;
use crate::state::chats::Chat;
use crate::state::credit::{Credit, ShardPart};
use crate::types::ids::SHARDS;
use crate::types::proto::v1::Conversation;
use crate::types::refusal::Refusal;
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Credits of a shard that are looked at while its writer waits.
const CREDITS_LOCKED: usize = 256;

/// Whose rows a caller may have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Readable {
    /// The accounts, in order of creation.
    pub accounts: Vec<u64>,
    known: HashSet<u64, FixedState>,
}

impl Readable {
    /// Tells whether an account's rows are among them.
    pub fn has(&self, account: u64) -> bool {
        self.known.contains(&account)
    }
}

/// The way through the credits of a span, in the order of minute, shard and sequence.
#[derive(Debug)]
pub struct Walk {
    end: Moment,
    /// Minute and shard of each shard's next credit.
    heads: BinaryHeap<Reverse<(u32, usize)>>,
    places: Vec<Place>,
}

/// Where a shard's next credit stands.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Right as long as nothing before it is forgotten.
    index: usize,
    seq: u64,
}

impl Place {
    fn index(self, part: &ShardPart) -> usize {
        let credits = &part.credits;
        let stands = credits.get(self.index).is_some_and(|credit| credit.seq == self.seq);
        if stands { self.index } else { credits.partition_point(|credit| credit.seq < self.seq) }
    }
}

impl Walk {
    /// Remembers where a shard is to be looked at next.
    fn stand(&mut self, shard: usize, index: usize, part: &ShardPart) {
        let next = part.credits.get(index).filter(|credit| credit.at_ms < self.end.0);
        if let Some(credit) = next {
            self.places[shard] = Place { index, seq: credit.seq };
            self.heads.push(Reverse((Moment(credit.at_ms).minute(), shard)));
        }
    }
}

impl Front {
    /// Returns whose rows a caller may have: all of its accounts, or the one that it names.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn readable(&self, scope: Scope, account: u64) -> Result<Readable, Refusal> {
        let accounts = if account == 0 {
            let catalog = self.0.catalog();
            let all = catalog.accounts.ids_after(0);
            all.filter(|account| sees(&catalog, scope, Some(*account))).collect()
        } else {
            self.check_account(scope, account)?;
            vec![account]
        };
        let known = accounts.iter().copied().collect();
        Ok(Readable { accounts, known })
    }

    /// Begins to walk through what was journaled from one moment on and before another.
    pub fn walk(&self, start: Moment, end: Moment) -> Walk {
        let (heads, places) = (BinaryHeap::new(), vec![Place::default(); SHARDS]);
        let mut walk = Walk { end, heads, places };
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            let from = part.credits.partition_point(|credit| credit.at_ms < start.0);
            walk.stand(shard, from, &part);
        }
        walk
    }

    /// Hands over the next credits until `each` says that it has enough. Locks a shard for a few of them at a
    /// time.
    pub fn walk_on(
        &self,
        walk: &mut Walk,
        readable: &Readable,
        mut each: impl FnMut(&Credit) -> bool,
    ) {
        let mut wants_more = true;
        while wants_more && let Some(Reverse((minute, shard))) = walk.heads.pop() {
            let part = self.0.shard(shard);
            let from = walk.places[shard].index(&part);
            let mut index = from;
            while wants_more
                && index < from + CREDITS_LOCKED
                && let Some(credit) = part.credits.get(index)
                && credit.at_ms < walk.end.0
                && Moment(credit.at_ms).minute() == minute
            {
                if readable.has(credit.row.account_id) {
                    wants_more = each(credit);
                }
                index += 1;
            }
            walk.stand(shard, index, &part);
        }
    }

    /// Hands over the conversations of a bucket whose last event was journaled in a span, in order of their ids:
    /// whose they are, when that was, and what is known of them. Returns the next bucket; `None`: it was the last.
    pub fn conversations_of(
        &self,
        bucket: usize,
        [start, end]: [Moment; 2],
        readable: &Readable,
        mut each: impl FnMut(u64, Moment, Conversation),
    ) -> Option<usize> {
        let cell = self.0.cell_at(bucket);
        let wanted =
            |chat: &Chat| (start.0..end.0).contains(&chat.touched_ms) && readable.has(chat.account);
        let chats = cell.facts.chats.iter().filter(|(_, chat)| wanted(chat));
        let mut chats: Vec<_> = chats.collect();
        chats.sort_unstable_by_key(|(id, _)| **id);
        for (id, chat) in chats {
            each(chat.account, Moment(chat.touched_ms), conversation(*id, chat, end));
        }
        (bucket + 1 < BUCKETS).then_some(bucket + 1)
    }
}
