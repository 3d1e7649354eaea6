//! Identifiers: who and what, and in which shard it lives.
//!
//! Every id that leaves the engine is a `u64`: 6 bits of shard, then 58 bits of hash, or 4 bits of kind and
//! 54 of number, so that no campaign's id is an ad's too.
//! These layouts are fixed for ever (src/README.md): tokens, cursors and the journal carry them.

use std::fmt;

/// Shards that own viewers, businesses and campaigns. Fixed for ever: changing it would re-key every
/// id, token and hash chain.
pub const SHARDS: usize = 64;

/// All shards of a journal: the 64 of the ids, then the catalog's.
pub const SHARDS_ALL: usize = SHARDS + 1;

/// Bits of an id below its shard.
const HASH_BITS: u32 = 58;

/// The largest hash an id can hold beside its shard.
pub const HASH_MAX: u64 = (1 << HASH_BITS) - 1;

/// Bits of a numbered id below its shard and kind.
const NUMBER_BITS: u32 = 54;

/// The largest number an id can hold beside its shard and kind.
pub const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

/// What a numbered id names. Numbers are in ids: add, never change or reuse.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum IdKind {
    /// Who pays.
    Account = 1,
    /// Who advertises.
    Business = 2,
    /// Where a business is written to.
    Endpoint = 3,
    /// What is advertised for.
    Campaign = 4,
    /// To whom, and for how much.
    AdSet = 5,
    /// What is seen.
    Ad = 6,
    /// Where else a chat can start: a printed code, a web button.
    Source = 7,
    /// What is measured by holding ads back.
    Experiment = 8,
}

/// One of the 65 ordered streams of the journal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shard(u8);

impl Shard {
    /// The shard of accounts, campaigns and everything else an advertiser or operator writes. It is in
    /// no id.
    pub const CATALOG: Self = Self(SHARDS as u8);

    /// Returns the shard with this number, or `None` above 64.
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < SHARDS_ALL { Some(Self(number)) } else { None }
    }

    /// Returns the shard as an index into an array of [`SHARDS_ALL`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the shard's number, 0 to 64.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Returns every shard in order, the catalog last.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS_ALL as u8).map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the shard in an id's top 6 bits.
pub const fn shard_of(id: u64) -> Shard {
    Shard((id >> HASH_BITS) as u8)
}

/// Returns a hashed id's hash, without its shard.
pub const fn hash_of(id: u64) -> u64 {
    id & HASH_MAX
}

/// Returns a numbered id's number, without its shard and kind.
pub const fn number_of(id: u64) -> u64 {
    id & NUMBER_MAX
}

/// Returns the id of the `number`-th thing of its kind; its shard is chosen by a fixed hash of the
/// number, so that consecutive things spread over all shards.
///
/// # Panics
/// When `number` is above [`NUMBER_MAX`], which a counter never reaches.
pub const fn mint(kind: IdKind, number: u64) -> u64 {
    assert!(number <= NUMBER_MAX, "an id's number has 54 bits");
    // Fibonacci hashing (Knuth, TAOCP 6.4): the top bits of number x 2^64 / phi are well spread.
    let shard = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> HASH_BITS;
    (shard << HASH_BITS) | ((kind as u64) << NUMBER_BITS) | number
}

/// Returns the id that carries a hash: its top 6 bits are the shard.
pub fn from_hash(hash: &[u8; 32]) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(head)
}

/// Where a fact stands in its shard: dense, from 1. Zero is "before the first".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seq(pub u64);

impl Seq {
    /// Returns the sequence `count` facts later.
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of one group commit, dense from 1 within a journal.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BatchNo(pub u64);

impl fmt::Display for BatchNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random name of one journal: a cursor or block of another journal is refused by it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JournalId(pub [u8; 16]);

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A place in every shard at once, by [`Shard::index`]: what a checkpoint covers, where a pull stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeqVector(pub [Seq; SHARDS_ALL]);

impl Default for SeqVector {
    fn default() -> Self {
        Self([Seq(0); SHARDS_ALL])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_its_shard_and_number() {
        for number in [0, 1, 2, 63, 64, 12_345, NUMBER_MAX] {
            let id = mint(IdKind::Ad, number);
            assert_eq!(number_of(id), number);
            assert!(shard_of(id).index() < SHARDS);
            assert_ne!(id, mint(IdKind::AdSet, number));
        }
    }

    #[test]
    fn consecutive_ids_spread_over_all_shards() {
        let mut counts = [0; SHARDS];
        (0..64_000).for_each(|number| counts[shard_of(mint(IdKind::Ad, number)).index()] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_catalog_shard_is_the_last_and_in_no_id() {
        assert_eq!(Shard::all().last(), Some(Shard::CATALOG));
        assert_eq!(Shard::new(SHARDS_ALL as u8), None);
        assert_ne!(shard_of(u64::MAX), Shard::CATALOG);
    }
}
