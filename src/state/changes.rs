//! Who changed what and when: the newest changes, as many as fit.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::{Stamp, wire};
use crate::types::proto::journal::v1::ChangeNoted;

/// Bytes of all changes that are kept, as they are encoded and with what each takes beside that. The oldest go
/// first; the journal keeps them as long as its segments.
pub const CHANGES_BYTES_MAX: usize = 32 << 20;

/// Bytes that one change takes beside its encoding, about.
const CHANGE_BYTES: usize = 256;

/// A change that is kept. Copies share it.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedChange(Arc<ChangeNoted>);

/// A change with its place in the journal.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Noted {
    /// Its number in the catalog shard.
    pub seq: u64,
    /// The journal's time of it, milliseconds.
    pub at_ms: i64,
    change: SharedChange,
}

impl Noted {
    /// Returns what was changed and by whom.
    pub fn change(&self) -> &ChangeNoted {
        &self.change.0
    }

    fn bytes(&self) -> usize {
        self.change().encoded_len() + CHANGE_BYTES
    }
}

/// The newest changes, in the order of the journal.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Changes {
    kept: VecDeque<Noted>,
    bytes: usize,
}

impl Changes {
    pub(in crate::state) fn note(&mut self, stamp: Stamp, fact: &ChangeNoted) {
        let change = SharedChange(Arc::new(fact.clone()));
        let noted = Noted { seq: stamp.seq.0, at_ms: stamp.at.0, change };
        self.bytes += noted.bytes();
        self.kept.push_back(noted);
        while self.bytes > CHANGES_BYTES_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// Returns the changes from a moment on and before another, milliseconds, with a number below `before`:
    /// the newest first.
    pub fn newest(&self, start_ms: i64, end_ms: i64, before: u64) -> impl Iterator<Item = &Noted> {
        let from = self.kept.partition_point(|noted| noted.at_ms < start_ms);
        let to = self.kept.partition_point(|noted| noted.at_ms < end_ms && noted.seq < before);
        self.kept.range(from.min(to)..to).rev()
    }
}

impl Serialize for SharedChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::message::serialize(&*self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for SharedChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::message::deserialize(deserializer).map(|change| Self(Arc::new(change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{Seq, Shard};
    use crate::types::time::Moment;

    fn note(changes: &mut Changes, seq: u64, at_ms: i64, bytes: usize) {
        let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(at_ms) };
        changes.note(stamp, &ChangeNoted { after: vec![1; bytes], ..Default::default() });
    }

    fn seqs(changes: &Changes, start_ms: i64, end_ms: i64, before: u64) -> Vec<u64> {
        changes.newest(start_ms, end_ms, before).map(|noted| noted.seq).collect()
    }

    #[test]
    fn the_newest_come_first_within_their_span() {
        let mut changes = Changes::default();
        for (seq, at_ms) in [(3, 10), (5, 10), (9, 20), (12, 30)] {
            note(&mut changes, seq, at_ms, 0);
        }
        assert_eq!(seqs(&changes, 0, i64::MAX, u64::MAX), [12, 9, 5, 3]);
        assert_eq!(seqs(&changes, 10, 30, u64::MAX), [9, 5, 3]);
        assert_eq!(seqs(&changes, 11, i64::MAX, 12), [9]);
        assert_eq!(seqs(&changes, 10, 11, 5), [3]);
        assert_eq!(seqs(&changes, 30, 10, u64::MAX), [0; 0]);
    }

    #[test]
    fn the_oldest_go_when_all_take_too_much() {
        let mut changes = Changes::default();
        let each = CHANGES_BYTES_MAX / 4;
        (1..=6).for_each(|seq| note(&mut changes, seq, 0, each));
        assert_eq!(seqs(&changes, 0, i64::MAX, u64::MAX), [6, 5, 4]);
        assert!(changes.bytes <= CHANGES_BYTES_MAX);
    }
}
