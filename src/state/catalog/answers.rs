//! The remembered answers to writes, by `request_id`, and what they take.
//!
//! None is forgotten before its time, for then the same write would be done twice: what would take too much is refused
//! where it is decided.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::state::catalog::REQUEST_MEMORY_MS;
use crate::state::{Map, Stamp};
use crate::types::proto::journal::v1::RequestAnswered;

/// Bytes of all remembered answers up to which tenants may write.
pub const ANSWERS_BYTES_MAX: usize = 2 << 30;

/// Bytes of one tenant's remembered answers: about a million writes a day.
pub const ANSWERS_OF_TENANT_BYTES_MAX: usize = 512 << 20;

/// Bytes that one answer takes beside its texts, about.
const ANSWER_BYTES: usize = 256;

/// A remembered answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answered {
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: Vec<u8>,
    /// The encoded resource.
    pub answer: Vec<u8>,
}

/// By tenant and `request_id`.
pub(super) type Known = Map<(u32, String), Answered>;

/// In the order of the journal: when each was given, milliseconds, and to what.
pub(super) type ByAge = VecDeque<(i64, u32, String)>;

/// All remembered answers.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    known: Known,
    by_age: ByAge,
    bytes: usize,
    /// What each tenant's take, and when they were given, the oldest first.
    tenants: BTreeMap<u32, (usize, VecDeque<i64>)>,
}

fn bytes_of(request_id: &str, answer: &[u8]) -> usize {
    // The id is kept twice.
    2 * request_id.len() + answer.len() + ANSWER_BYTES
}

impl Answers {
    /// Returns answers as a checkpoint holds them.
    pub(super) fn of(known: Known, by_age: ByAge) -> Self {
        let mut answers = Self { by_age, ..Self::default() };
        for (given_ms, tenant, _) in &answers.by_age {
            answers.tenants.entry(*tenant).or_default().1.push_back(*given_ms);
        }
        for ((tenant, id), answered) in &known {
            let bytes = bytes_of(id, &answered.answer);
            answers.bytes += bytes;
            answers.tenants.entry(*tenant).or_default().0 += bytes;
        }
        Self { known, ..answers }
    }

    /// Returns what a checkpoint holds of them.
    pub(super) fn parts(&self) -> (Known, ByAge) {
        (self.known.clone(), self.by_age.clone())
    }

    pub(super) fn get(&self, tenant: u32, request_id: &str) -> Option<&Answered> {
        self.known.get(&(tenant, request_id.to_owned()))
    }

    pub(super) fn remember(&mut self, stamp: Stamp, fact: &RequestAnswered) {
        let key = (fact.tenant, fact.request_id.clone());
        // Of an earlier one under the same id nothing is left but its time.
        self.take_out(&key);
        let bytes = bytes_of(&fact.request_id, &fact.answer);
        let answered = Answered { body_hash: fact.body_hash.clone(), answer: fact.answer.clone() };
        self.known.insert(key, answered);
        self.by_age.push_back((stamp.at.0, fact.tenant, fact.request_id.clone()));
        self.bytes += bytes;
        let (theirs, times) = self.tenants.entry(fact.tenant).or_default();
        *theirs += bytes;
        times.push_back(stamp.at.0);
        self.forget(stamp.at.0 - REQUEST_MEMORY_MS);
    }

    fn forget(&mut self, from_ms: i64) {
        while let Some((_, tenant, id)) =
            self.by_age.pop_front_if(|(given_ms, ..)| *given_ms < from_ms)
        {
            self.take_out(&(tenant, id));
            if let Some((_, times)) = self.tenants.get_mut(&tenant) {
                times.pop_front();
                if times.is_empty() {
                    self.tenants.remove(&tenant);
                }
            }
        }
    }

    fn take_out(&mut self, key: &(u32, String)) {
        let Some(answered) = self.known.remove(key) else { return };
        let bytes = bytes_of(&key.1, &answered.answer);
        self.bytes -= bytes;
        if let Some((theirs, _)) = self.tenants.get_mut(&key.0) {
            *theirs -= bytes;
        }
    }

    #[cfg(test)]
    pub(super) fn pretend(&mut self, tenant: u32, bytes: usize, given_ms: i64) {
        self.bytes += bytes;
        let (theirs, times) = self.tenants.entry(tenant).or_default();
        *theirs += bytes;
        times.push_back(given_ms);
    }

    /// Returns when the oldest answer goes that stands in the way of one more of a tenant, milliseconds; `None`: none
    /// does. The most bytes are those of all, then the tenant's own.
    pub(super) fn full_until(
        &self,
        tenant: u32,
        (request_id, answer): (&str, &[u8]),
        [all_max, theirs_max]: [usize; 2],
    ) -> Option<i64> {
        let bytes = bytes_of(request_id, answer);
        let none = (0, VecDeque::new());
        let (theirs, times) = self.tenants.get(&tenant).unwrap_or(&none);
        let oldest_ms = if theirs + bytes > theirs_max {
            times.front().copied()
        } else if self.bytes + bytes > all_max {
            self.by_age.front().map(|(given_ms, ..)| *given_ms)
        } else {
            return None;
        };
        Some(oldest_ms.unwrap_or_default() + REQUEST_MEMORY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{Seq, Shard};
    use crate::types::time::{HOUR_MS, Moment};

    fn remember(answers: &mut Answers, at_ms: i64, tenant: u32, id: &str, bytes: usize) {
        let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(1), at: Moment(at_ms) };
        let (request_id, answer) = (id.to_owned(), vec![7; bytes]);
        let fact = RequestAnswered { tenant, request_id, answer, ..Default::default() };
        answers.remember(stamp, &fact);
    }

    #[test]
    fn what_answers_take_is_known_of_each_tenant_and_comes_back_from_a_checkpoint() {
        let mut answers = Answers::default();
        remember(&mut answers, 0, 1, "ab", 100);
        remember(&mut answers, HOUR_MS, 2, "c", 50);
        remember(&mut answers, 2 * HOUR_MS, 1, "ab", 10);
        let (first, second) = (4 + 10 + ANSWER_BYTES, 2 + 50 + ANSWER_BYTES);
        assert_eq!(answers.bytes, first + second, "what was told again is there once");
        assert_eq!(answers.tenants[&1], (first, VecDeque::from([0, 2 * HOUR_MS])));
        let (known, by_age) = answers.parts();
        assert_eq!(Answers::of(known, by_age), answers);
        remember(&mut answers, REQUEST_MEMORY_MS + HOUR_MS + 1, 3, "d", 0);
        assert_eq!(answers.tenants.keys().copied().collect::<Vec<_>>(), [1, 3]);
        let (known, by_age) = answers.parts();
        assert_eq!(Answers::of(known, by_age), answers);
        remember(&mut answers, 3 * REQUEST_MEMORY_MS, 3, "e", 0);
        assert_eq!(answers.bytes, 2 + ANSWER_BYTES, "the others are over");
    }

    #[test]
    fn one_more_waits_for_the_oldest_of_its_tenant_or_of_all() {
        let mut answers = Answers::default();
        remember(&mut answers, 5, 2, "a", 1_000);
        remember(&mut answers, 9, 1, "a", 1_000);
        let each = 2 + 1_000 + ANSWER_BYTES;
        let until = |tenant, all_max, theirs_max| {
            answers.full_until(tenant, ("b", &[0; 1_000]), [all_max, theirs_max])
        };
        assert_eq!(until(1, 3 * each, 2 * each), None);
        assert_eq!(until(1, 3 * each, 2 * each - 1), Some(9 + REQUEST_MEMORY_MS));
        assert_eq!(until(1, 3 * each - 1, 2 * each), Some(5 + REQUEST_MEMORY_MS));
        assert_eq!(until(3, 3 * each, each), None, "a tenant without any");
    }
}
