//! The block: one shard's decisions of one group commit, framed, checksummed and chained.
//!
//! The layout is on disk and in JetStream, and fixed for ever (little-endian):
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic `mnb1` |
//! | 4 | 4 | length of the whole block |
//! | 8 | 4 | CRC32C of all that follows |
//! | 12 | 16 | journal id |
//! | 28 | 8 | batch number |
//! | 36 | 8 | last batch known durable when the block was sealed |
//! | 44 | 8 | sequence of the first fact |
//! | 52 | 4 | number of facts |
//! | 56 | 16 | hash of the shard's previous block, zeroes for the first |
//! | 72 | 1 | shard |
//! | 73 | 3 | zeroes |
//! | 76 | | decisions, each a varint length and that many bytes |

use std::sync::Arc;

use crate::journal::Tail;
use crate::journal::frame::{self, Damage, array_at, u32_at, u64_at};
use crate::types::ids::{BatchNo, JournalId, Seq, Shard};

/// The most bytes of a block: it must fit one JetStream message.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

pub(super) const BLOCK_MAGIC: [u8; 4] = *b"mnb1";
const HEADER_BYTES: usize = 76;

/// The first 16 bytes of BLAKE3 over a whole sealed block: it chains the blocks of one shard.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct BlockHash(pub [u8; 16]);

impl BlockHash {
    /// What the first block of a shard names as its previous block.
    pub const NONE: Self = Self([0; 16]);

    fn of(block: &[u8]) -> Self {
        Self(array_at(blake3::hash(block).as_bytes(), 0))
    }
}

/// One shard's decisions of one group commit. Cloning shares the bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// Whose facts these are.
    pub shard: Shard,
    /// The sequence of the first fact.
    pub first: Seq,
    /// How many facts; at least one.
    pub count: u32,
    /// The group commit it belongs to.
    pub batch: BatchNo,
    /// What the shard's next block must name as its previous one.
    pub hash: BlockHash,
    /// The block as it is stored.
    pub bytes: Arc<[u8]>,
}

impl Block {
    /// Returns the block at the start of `bytes`, which may go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let (length, hash) = Self::check(bytes)?;
        Self::of_checked(&bytes[..length], hash)
    }

    /// Checks the block at the start of `bytes` against its checksum; returns its length and its hash.
    pub(super) fn check(bytes: &[u8]) -> Result<(usize, BlockHash), Damage> {
        let bytes = frame::check(bytes, BLOCK_MAGIC, HEADER_BYTES, BLOCK_BYTES_MAX)?;
        Ok((bytes.len(), BlockHash::of(bytes)))
    }

    /// Returns the block at the start of `bytes` that was checked there, and had this hash.
    pub(super) fn again(bytes: &[u8], hash: BlockHash) -> Result<Self, Damage> {
        let length = bytes.get(4..8).map_or(0, |_| u32_at(bytes, 4) as usize);
        let is_whole = length >= HEADER_BYTES && length <= bytes.len();
        if is_whole { Self::of_checked(&bytes[..length], hash) } else { Err(Damage::Length) }
    }

    fn of_checked(bytes: &[u8], hash: BlockHash) -> Result<Self, Damage> {
        let block = Self {
            shard: Shard::new(bytes[72]).ok_or(Damage::Layout)?,
            first: Seq(u64_at(bytes, 44)),
            count: u32_at(bytes, 52),
            batch: BatchNo(u64_at(bytes, 28)),
            hash,
            bytes: bytes.into(),
        };
        let ends = block.first.0.checked_add(block.count.into()).is_some();
        let named = block.first.0 > 0 && block.count > 0 && bytes[73..76] == [0; 3];
        if ends && named && are_decisions(&bytes[HEADER_BYTES..]) {
            Ok(block)
        } else {
            Err(Damage::Layout)
        }
    }

    /// Returns the decisions in order, as they were pushed.
    pub fn decisions(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[HEADER_BYTES..];
        std::iter::from_fn(move || {
            (!rest.is_empty())
                .then(|| split(&mut rest).expect("the decisions were checked when it was decoded"))
        })
    }

    /// Returns the sequence of the shard's next fact.
    pub fn next(&self) -> Seq {
        self.first.plus(self.count.into())
    }

    /// Returns the hash of the shard's block before this one.
    pub fn previous(&self) -> BlockHash {
        BlockHash(array_at(&self.bytes, 56))
    }

    /// Returns the last batch the writer knew to be durable when it sealed this block.
    pub fn durable(&self) -> BatchNo {
        BatchNo(u64_at(&self.bytes, 36))
    }

    /// Returns the journal it was sealed for.
    pub fn journal(&self) -> JournalId {
        JournalId(array_at(&self.bytes, 12))
    }

    /// Returns whose block these bytes claim to be and what it continues, for naming what is damaged.
    pub(super) fn peek(bytes: &[u8], journal: JournalId) -> Option<(Shard, Tail)> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[..4] != BLOCK_MAGIC || header[12..28] != journal.0 {
            return None;
        }
        let (next, hash) = (Seq(u64_at(header, 44)), BlockHash(array_at(header, 56)));
        Some((Shard::new(header[72])?, Tail { next, hash }))
    }
}

/// Takes one length-delimited decision off the front.
fn split<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = prost::decode_length_delimiter(&mut *rest).ok()?;
    let (decision, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(decision)
}

fn are_decisions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        if split(&mut rest).is_none() {
            return false;
        }
    }
    true
}

/// Collects one shard's decisions of a batch. Its buffer is used again for the next block.
#[derive(Debug)]
pub struct BlockBuilder {
    shard: Shard,
    first: Seq,
    count: u32,
    /// Invariant: begins with [`HEADER_BYTES`] bytes that [`BlockBuilder::seal`] overwrites.
    bytes: Vec<u8>,
}

impl BlockBuilder {
    /// Returns an empty builder whose first fact will have this sequence.
    pub fn new(shard: Shard, first: Seq) -> Self {
        Self { shard, first, count: 0, bytes: vec![0; HEADER_BYTES] }
    }

    /// Adds an encoded decision of `facts` facts and returns the sequence of its first fact.
    pub fn push(&mut self, decision: &[u8], facts: u32) -> Seq {
        self.push_with(facts, |bytes| bytes.extend_from_slice(decision))
    }

    /// Adds a decision of `facts` facts that `encode` appends, and returns the sequence of its first.
    pub fn push_with(&mut self, facts: u32, encode: impl FnOnce(&mut Vec<u8>)) -> Seq {
        /// A varint length below 2^28 never takes more.
        const GAP: usize = 4;
        let at = self.bytes.len();
        self.bytes.resize(at + GAP, 0);
        encode(&mut self.bytes);
        let length = self.bytes.len() - at - GAP;
        let mut gap = &mut self.bytes[at..at + GAP];
        prost::encode_length_delimiter(length, &mut gap)
            .expect("a decision is far smaller than 2^28 bytes");
        let spare = gap.len();
        self.bytes.copy_within(at + GAP.., at + GAP - spare);
        self.bytes.truncate(self.bytes.len() - spare);
        let seq = self.next();
        self.count += facts;
        seq
    }

    /// Tells whether a decision of so many bytes still fits below [`BLOCK_BYTES_MAX`].
    pub fn has_room(&self, decision_bytes: usize) -> bool {
        self.bytes.len() + prost::length_delimiter_len(decision_bytes) + decision_bytes
            <= BLOCK_BYTES_MAX
    }

    /// Returns the bytes the block would have now.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Tells whether nothing was pushed since the last seal.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns whose decisions it collects.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns the sequence the next pushed fact will have.
    pub fn next(&self) -> Seq {
        self.first.plus(self.count.into())
    }

    /// Returns the finished block and leaves the builder empty, ready for the facts that follow.
    ///
    /// # Panics
    /// When it is empty.
    pub fn seal(
        &mut self,
        journal: JournalId,
        batch: BatchNo,
        durable: BatchNo,
        previous: BlockHash,
    ) -> Block {
        assert!(self.count > 0, "an empty block would be a block without sequences");
        let header = &mut self.bytes[..HEADER_BYTES];
        header[12..28].copy_from_slice(&journal.0);
        header[28..36].copy_from_slice(&batch.0.to_le_bytes());
        header[36..44].copy_from_slice(&durable.0.to_le_bytes());
        header[44..52].copy_from_slice(&self.first.0.to_le_bytes());
        header[52..56].copy_from_slice(&self.count.to_le_bytes());
        header[56..72].copy_from_slice(&previous.0);
        header[72] = self.shard.number();
        frame::finish(&mut self.bytes, BLOCK_MAGIC);
        let block = Block {
            shard: self.shard,
            first: self.first,
            count: self.count,
            batch,
            hash: BlockHash::of(&self.bytes),
            bytes: self.bytes.as_slice().into(),
        };
        self.first = block.next();
        self.count = 0;
        self.bytes.truncate(HEADER_BYTES);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: JournalId = JournalId(*b"a journal's name");

    fn sealed() -> Block {
        let mut builder = BlockBuilder::new(Shard::CATALOG, Seq(5));
        assert_eq!(builder.push(b"one fact", 1), Seq(5));
        assert_eq!(builder.push_with(2, |bytes| bytes.extend([7; 200])), Seq(6));
        assert_eq!(builder.push(b"", 1), Seq(8));
        builder.seal(JOURNAL, BatchNo(3), BatchNo(2), BlockHash([9; 16]))
    }

    #[test]
    fn a_block_gives_back_what_was_sealed() {
        let block = sealed();
        assert_eq!(Block::decode(&block.bytes), Ok(block.clone()));
        assert_eq!((block.first, block.count, block.next()), (Seq(5), 4, Seq(9)));
        assert_eq!((block.batch, block.durable()), (BatchNo(3), BatchNo(2)));
        assert_eq!((block.previous(), block.journal()), (BlockHash([9; 16]), JOURNAL));
        let decisions: Vec<_> = block.decisions().collect();
        assert_eq!(decisions, [&b"one fact"[..], &[7; 200], b""]);
    }

    #[test]
    fn the_layout_is_the_one_in_the_golden_file() {
        let golden = include_bytes!("../../tests/golden/block_v1.bin");
        assert_eq!(&sealed().bytes[..], golden, "blocks on disk can no longer be read");
    }

    #[test]
    fn a_builder_goes_on_where_the_sealed_block_ended() {
        let mut builder = BlockBuilder::new(Shard::CATALOG, Seq(1));
        builder.push(b"a", 3);
        let one = builder.seal(JOURNAL, BatchNo(1), BatchNo(0), BlockHash::NONE);
        assert!(builder.is_empty());
        builder.push(b"b", 1);
        let two = builder.seal(JOURNAL, BatchNo(2), BatchNo(1), one.hash);
        assert_eq!(two.first, Seq(4));
        assert_eq!(two.decisions().collect::<Vec<_>>(), [b"b"]);
    }

    #[test]
    fn a_builder_knows_when_it_is_full() {
        let mut builder = BlockBuilder::new(Shard::CATALOG, Seq(1));
        let most = BLOCK_BYTES_MAX - HEADER_BYTES - 3;
        assert!(builder.has_room(most) && !builder.has_room(most + 1));
        builder.push(&vec![1; most], 1);
        assert_eq!(builder.len_bytes(), BLOCK_BYTES_MAX);
        let block = builder.seal(JOURNAL, BatchNo(1), BatchNo(0), BlockHash::NONE);
        assert_eq!(Block::decode(&block.bytes), Ok(block));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let block = sealed();
        for at in 0..block.bytes.len() {
            assert!(Block::decode(&block.bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = block.bytes.to_vec();
                bytes[at] ^= 1 << bit;
                assert!(Block::decode(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_block_whose_fields_lie_is_refused_even_with_a_right_checksum() {
        let lies: [(&str, usize, &[u8]); 5] = [
            ("shard 65", 72, &[65]),
            ("no facts", 52, &[0; 4]),
            ("sequence zero", 44, &[0; 8]),
            ("sequences run over", 44, &[0xFF; 8]),
            ("a decision longer than the block", 76, &[0xFF, 0x7F]),
        ];
        for (lie, at, value) in lies {
            let mut bytes = sealed().bytes.to_vec();
            bytes[at..at + value.len()].copy_from_slice(value);
            frame::finish(&mut bytes, BLOCK_MAGIC);
            assert_eq!(Block::decode(&bytes), Err(Damage::Layout), "{lie}");
        }
    }
}
