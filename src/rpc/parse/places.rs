//! Where a caller stands: page tokens of lists and cursors of pulls, sealed so that nobody makes one up.

use data_encoding::BASE64URL_NOPAD;

use crate::rpc::limits::{PAGE_DEFAULT, PAGE_MAX, PAGE_TOKEN_CHARS_MAX};
use crate::rpc::parse::field::Path;
use crate::tokens::Sealer;
use crate::types::ids::{JournalId, SHARDS_ALL, Seq, SeqVector};
use crate::types::refusal::{Reason, Refusal};

/// Bytes of a cursor: the journal's id, then one sequence a shard.
const CURSOR_BYTES: usize = 16 + 8 * SHARDS_ALL;

/// Tells lists apart: a page token of one is foreign to all others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::rpc) struct List([u8; 8]);

impl List {
    /// Returns the list of this method over this question, which says everything that chooses its rows.
    pub(in crate::rpc) fn new(method: &str, question: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(method.as_bytes()).update(&[0]);
        for part in question {
            hasher.update(&part.to_be_bytes());
        }
        let mut hash = [0; 8];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(hash)
    }

    /// Returns the list of this method over a question in words.
    pub(in crate::rpc) fn of_words(method: &str, kind: i32, words: [&str; 2]) -> Self {
        let number = |word: &str| {
            let hash = blake3::hash(word.as_bytes());
            hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Self::new(method, &[kind as u64, number(words[0]), number(words[1])])
    }

    /// Returns the token of the page after this place.
    pub(in crate::rpc) fn seal(self, after: u64, sealer: &Sealer) -> String {
        self.seal_bytes(&after.to_be_bytes(), sealer)
    }

    /// Returns the token of the page after an entry of this name.
    pub(in crate::rpc) fn seal_name(self, after: &str, sealer: &Sealer) -> String {
        self.seal_bytes(after.as_bytes(), sealer)
    }

    fn seal_bytes(self, after: &[u8], sealer: &Sealer) -> String {
        BASE64URL_NOPAD.encode(&sealer.seal_page(&[&self.0, after].concat()))
    }

    /// Returns the place before the wanted page; 0 for the first.
    pub(in crate::rpc) fn open(self, token: &str, sealer: &Sealer) -> Result<u64, Refusal> {
        if token.is_empty() {
            return Ok(0);
        }
        let after = self.open_bytes(token, sealer)?;
        after.try_into().map(u64::from_be_bytes).map_err(|_| foreign())
    }

    /// Returns the name of the entry before the wanted page; empty for the first.
    pub(in crate::rpc) fn open_name(self, token: &str, sealer: &Sealer) -> Result<String, Refusal> {
        if token.is_empty() {
            return Ok(String::new());
        }
        String::from_utf8(self.open_bytes(token, sealer)?).map_err(|_| foreign())
    }

    fn open_bytes(self, token: &str, sealer: &Sealer) -> Result<Vec<u8>, Refusal> {
        let opened = Some(token)
            .filter(|token| token.len() <= PAGE_TOKEN_CHARS_MAX)
            .and_then(|token| BASE64URL_NOPAD.decode(token.as_bytes()).ok())
            .and_then(|sealed| sealer.open_page(&sealed).ok());
        let mut place = opened.filter(|place| place.starts_with(&self.0)).ok_or_else(foreign)?;
        Ok(place.split_off(self.0.len()))
    }
}

pub(super) fn foreign() -> Refusal {
    let message = "is not of this list: send the last answer's token with the same question";
    Refusal::new(Reason::CursorForeign, "page_token", message)
}

/// Returns how many things a page shall have.
pub(in crate::rpc) fn page_size(wire: u32) -> Result<usize, Refusal> {
    page_size_within(wire, PAGE_DEFAULT, PAGE_MAX)
}

/// Returns how many rows a page shall have, within other bounds.
pub(in crate::rpc) fn page_size_within(
    wire: u32,
    default: usize,
    max: usize,
) -> Result<usize, Refusal> {
    match wire as usize {
        0 => Ok(default),
        size if size <= max => Ok(size),
        size => {
            let message = format!("is {size}: send at most {max}, or 0 for {default}");
            Err(Path::root("page_size").refuse(Reason::TooLarge, message))
        }
    }
}

/// Seals a place in every shard of a journal.
pub(in crate::rpc) fn seal_cursor(at: &SeqVector, journal: JournalId, sealer: &Sealer) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CURSOR_BYTES);
    bytes.extend(journal.0);
    at.0.iter().for_each(|seq| bytes.extend(seq.0.to_be_bytes()));
    sealer.seal_cursor(&bytes)
}

/// Opens a cursor; `None` for an empty one, which is the beginning.
pub(in crate::rpc) fn open_cursor(
    sealed: &[u8],
    journal: JournalId,
    sealer: &Sealer,
) -> Result<Option<SeqVector>, Refusal> {
    if sealed.is_empty() {
        return Ok(None);
    }
    let opened = sealer.open_cursor(sealed).ok().filter(|bytes| bytes.len() == CURSOR_BYTES);
    let opened = opened.filter(|bytes| bytes.starts_with(&journal.0));
    let message = "is not of this journal: send the last answer's cursor, or none to begin again";
    let bytes = opened.ok_or_else(|| Refusal::new(Reason::CursorForeign, "cursor", message))?;
    let mut at = SeqVector::default();
    for (seq, bytes) in at.0.iter_mut().zip(bytes[16..].as_chunks().0) {
        *seq = Seq(u64::from_be_bytes(*bytes));
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::sealer;

    #[test]
    fn a_page_token_leads_back_to_its_own_list_only() {
        let sealer = sealer();
        let list = List::new("ListAds", &[4, 0, 77]);
        let token = list.seal(123, &sealer);
        assert_eq!(list.open(&token, &sealer), Ok(123));
        assert_eq!(list.open("", &sealer), Ok(0));
        for other in [
            List::new("ListAds", &[5, 0, 77]),
            List::new("ListAds", &[4, 0, 78]),
            List::new("ListAdSets", &[4, 0, 77]),
        ] {
            let refusal = other.open(&token, &sealer).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (Reason::CursorForeign, "page_token"));
        }
        let cursor = BASE64URL_NOPAD.encode(&sealer.seal_cursor(&[0; 16]));
        for bad in ["x", "not base64!", &token[1..], &"A".repeat(600), &cursor] {
            assert_eq!(list.open(bad, &sealer).unwrap_err().reason, Reason::CursorForeign, "{bad}");
        }
    }

    #[test]
    fn a_place_between_names_belongs_to_its_words() {
        let sealer = sealer();
        let list = List::of_words("SearchTargeting", 3, ["pue", "MX"]);
        let token = list.seal_name("MX-PUE", &sealer);
        assert_eq!(list.open_name(&token, &sealer), Ok("MX-PUE".into()));
        assert_eq!(list.open_name("", &sealer), Ok(String::new()));
        assert!(list.open(&token, &sealer).is_err(), "six bytes are no number");
        for other in [(4, ["pue", "MX"]), (3, ["pu", "eMX"]), (3, ["", "MX"])] {
            let other = List::of_words("SearchTargeting", other.0, other.1);
            let refusal = other.open_name(&token, &sealer).unwrap_err();
            assert_eq!(refusal.reason, Reason::CursorForeign);
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_own_journal_only() {
        let sealer = sealer();
        let (ours, other) = (JournalId([1; 16]), JournalId([2; 16]));
        let mut at = SeqVector::default();
        at.0[0] = Seq(5);
        at.0[SHARDS_ALL - 1] = Seq(u64::MAX);
        let sealed = seal_cursor(&at, ours, &sealer);
        assert_eq!(open_cursor(&sealed, ours, &sealer), Ok(Some(at)));
        assert_eq!(open_cursor(&[], ours, &sealer), Ok(None));
        let page = sealer.seal_page(&[1; CURSOR_BYTES]);
        for (bad, journal) in [(&sealed, other), (&page, ours), (&vec![7; 600], ours)] {
            let refusal = open_cursor(bad, journal, &sealer).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (Reason::CursorForeign, "cursor"));
        }
    }

    #[test]
    fn a_page_has_a_usual_and_a_largest_size() {
        assert_eq!(page_size(0), Ok(PAGE_DEFAULT));
        assert_eq!(page_size(1), Ok(1));
        assert_eq!(page_size(1_000), Ok(1_000));
        assert_eq!(page_size(1_001).unwrap_err().reason, Reason::TooLarge);
    }
}
