//! What is true: a pure fold of the journal's facts. No lock, atomic, float, clock or dice.
//!
//! The state is cut into parts (buckets of viewers and conversations, shard indexes, chunks of purses
//! and tallies, feeds, the catalog). A fact touches a few parts; each knows what it has applied and skips the
//! rest, so parts are copied one by one while the engine runs, and a restart replays the tail over
//! them.

mod ad_tally;
pub mod breakdowns;
pub mod bucket;
pub mod catalog;
pub mod changes;
pub mod chats;
pub mod context;
pub mod credit;
pub mod credits;
pub mod crowd;
pub mod desks;
pub mod exchange;
pub mod exposures;
pub mod feeds;
pub mod funnel;
pub mod keys;
mod kinds;
pub mod lateness;
pub mod ledger;
pub mod lists;
pub mod paces;
pub mod past;
pub mod people;
pub mod purses;
pub mod revisions;
mod route;
pub mod rules;
pub mod shapes;
pub mod sorted;
pub mod tallies;
pub mod tally;
pub mod tariffs;
pub mod totals;
pub mod traffic_rules;
pub mod viewers;
pub mod windows;
pub(crate) mod wire;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use route::{
    BUCKETS, BUCKETS_PER_SHARD, CHUNKS_MAX, PER_CHUNK, Route, bucket_of, chunk_of, invalid_of,
    is_imported, route,
};

use crate::state::bucket::Bucket;
use crate::state::catalog::Catalog;
use crate::state::credit::ShardPart;
use crate::state::desks::DeskChunk;
use crate::state::feeds::Feeds;
use crate::state::paces::Paces;
use crate::state::purses::PurseChunk;
use crate::state::shapes::Shapes;
use crate::state::tallies::TallyChunk;
use crate::types::ids::{SHARDS, SHARDS_ALL, Seq, Shard};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::time::Moment;

/// A map that is looked up and compared, never walked where order shows. Its hash is fixed: keys are
/// keyed hashes or numbers that the engine gives, so nobody outside can aim for collisions.
pub type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Where and when a fact stands in the journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Its shard.
    pub shard: Shard,
    /// Its number in the shard.
    pub seq: Seq,
    /// The journal's time of its decision.
    pub at: Moment,
}

/// What a part that several shards write to has applied of each.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Applied(Vec<u64>);

impl Applied {
    /// Notes a fact; tells whether it is new to this part.
    pub fn advance(&mut self, stamp: Stamp) -> bool {
        if self.0.is_empty() {
            self.0.resize(SHARDS_ALL, 0);
        }
        let applied = &mut self.0[stamp.shard.index()];
        let new = stamp.seq.0 > *applied;
        if new {
            *applied = stamp.seq.0;
        }
        new
    }

    /// Returns the last fact applied of a shard.
    pub fn of(&self, shard: Shard) -> Seq {
        Seq(self.0.get(shard.index()).copied().unwrap_or_default())
    }
}

/// The whole state in one place: for replay, simulation and property tests. A running node keeps the
/// same parts behind one lock each.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Viewers and conversations, by [`bucket_of`].
    pub buckets: Vec<Bucket>,
    /// Codes and credits, by shard.
    pub shards: Vec<ShardPart>,
    /// Purses, by [`chunk_of`] the account.
    pub purses: Vec<PurseChunk>,
    /// Tallies, by [`chunk_of`] the ad.
    pub tallies: Vec<TallyChunk>,
    /// What is counted at desks, by [`chunk_of`] the endpoint or account.
    pub desks: Vec<DeskChunk>,
    /// What feeds asked for and got.
    pub feeds: Feeds,
    /// How budgets are paced.
    pub paces: Paces,
    /// When people ask.
    pub shapes: Shapes,
    /// Accounts, businesses, endpoints, campaigns, ad sets and ads.
    pub catalog: Catalog,
}

impl Default for State {
    fn default() -> Self {
        Self {
            buckets: std::iter::repeat_with(Bucket::default).take(BUCKETS).collect(),
            shards: std::iter::repeat_with(ShardPart::default).take(SHARDS).collect(),
            purses: Vec::new(),
            tallies: Vec::new(),
            desks: Vec::new(),
            feeds: Feeds::default(),
            paces: Paces::default(),
            shapes: Shapes::default(),
            catalog: Catalog::default(),
        }
    }
}

impl State {
    /// Applies one fact to every part it touches. Cannot fail: what is journaled is true.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        let route = route(fact);
        if let Some(bucket) = route.bucket {
            self.buckets[bucket].apply(stamp, fact);
        }
        if route.shard {
            self.shards[stamp.shard.index()].apply(stamp, fact);
        }
        if let Some(chunk) = route.purse {
            grown(&mut self.purses, chunk).apply(stamp, fact);
        }
        for chunk in route.tallies.iter() {
            grown(&mut self.tallies, chunk).apply(chunk, stamp, fact);
        }
        if let Some(chunk) = route.desk {
            grown(&mut self.desks, chunk).apply(stamp, fact);
        }
        if route.feeds {
            self.feeds.apply(stamp, fact);
        }
        if route.paces {
            self.paces.apply(stamp, fact);
        }
        if route.shapes {
            self.shapes.apply(stamp, fact);
        }
        if route.catalog {
            self.catalog.apply(stamp, fact);
        }
    }
}

/// Returns the chunk, making it and those before it if they are not there yet.
fn grown<T: Default>(chunks: &mut Vec<T>, chunk: usize) -> &mut T {
    if chunks.len() <= chunk {
        chunks.resize_with(chunk + 1, T::default);
    }
    &mut chunks[chunk]
}
