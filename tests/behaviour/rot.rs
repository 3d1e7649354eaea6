//! Bit rot in checkpoints: whatever page or head of a record is hit, the checkpoint is passed over.

use crate::stage::{Offer, Stage};

const PAGE_BYTES: usize = 4_096;

/// Pages that are hit unless `ROT_PAGES` says otherwise: from first to last, evenly.
const PAGES: usize = 6;

/// Where the heads of a checkpoint's records begin, and their bytes.
const FIRST_RECORD: usize = 12;
const HEAD_BYTES: usize = 13;

/// Returns so many numbers below `end`, evenly spread, the first and the last among them.
fn spread(end: usize, count: usize) -> Vec<usize> {
    let count = count.min(end);
    (0..count).map(|number| number * (end - 1) / count.saturating_sub(1).max(1)).collect()
}

#[test]
fn a_checkpoint_with_any_page_lost_or_any_head_changed_is_passed_over() {
    let pages = std::env::var("ROT_PAGES").ok().and_then(|text| text.parse().ok());
    let pages = pages.unwrap_or(PAGES);
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    for number in 0..6 {
        let shown = stage.show(&format!("viewer {number}"));
        stage.see(&shown);
    }
    stage.settle();
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, .. } = stage;
    let used = |bytes: &[u8]| {
        let stage = Stage::open(disk.clone(), ring.clone(), now, Some(bytes)).unwrap();
        stage.opened.checkpoint
    };
    assert!(used(&checkpoint));
    let refused = |at: usize, hit: &dyn Fn(&mut [u8]), what: &str| {
        let mut bytes = checkpoint.clone();
        let end = bytes.len().min(at + PAGE_BYTES);
        hit(&mut bytes[at..end]);
        // A page of zeroes is not hurt by being zeroed.
        assert!(bytes == checkpoint || !used(&bytes), "{what} at {at}");
    };
    for page in spread(checkpoint.len().div_ceil(PAGE_BYTES), pages) {
        let at = page * PAGE_BYTES;
        refused(at, &|page| page.fill(0), "zeroed");
        refused(at, &|page| page[page.len() / 2] ^= 4, "flipped");
    }
    let mut heads = Vec::new();
    let mut at = FIRST_RECORD;
    while at < checkpoint.len() {
        heads.push(at);
        let length = checkpoint[at + 5..at + 9].try_into().unwrap();
        at += HEAD_BYTES + u32::from_le_bytes(length) as usize;
    }
    assert_eq!(at, checkpoint.len(), "the walk ends where the checkpoint does");
    for head in spread(heads.len(), pages) {
        // The lowest bit of the index: another bucket of the same shard.
        refused(heads[head] + 1, &|bytes| bytes[0] ^= 1, "index changed");
    }
}
