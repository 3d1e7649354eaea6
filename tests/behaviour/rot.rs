//! Bit rot: whatever page or head of a checkpoint is hit, it is passed over; whatever segment is hit that a start needs,
//! it is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use munadi::journal::LogError;
use munadi::journal::file::boundaries;
use munadi::node::clock::MovedClock;
use munadi::node::{OpenError, StartError};
use munadi::types::proto::v1::EventKind;

use crate::bases::{segment, without};
use crate::site::{Site, opened};
use crate::stage::{Offer, Stage, event};

const SEGMENT_BYTES: u64 = 20 << 10;
const SEGMENT_HEADER_BYTES: usize = 4_096;

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

/// Lets viewers come until the journal has so many segments.
fn fill(site: &Site, segments: usize, names: &str) {
    let journal = site.path("node/journal");
    for number in 0.. {
        if boundaries(&journal).unwrap().len() >= segments {
            break;
        }
        let seen =
            (0..40).filter_map(|viewer| site.show("MX", &format!("{names} {number} {viewer}")));
        let seen = seen.map(|shown| event(&shown, EventKind::Impression)).collect();
        site.record(seen);
    }
}

fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| path.to_string_lossy().contains("/checkpoint-");
    let mut found: Vec<_> = entries.filter(is_one).collect();
    found.sort();
    found
}

/// Returns the damaged segment for which a start is refused.
fn refused(dir: &Path, clock: &Arc<MovedClock>, what: &str) -> PathBuf {
    match opened(dir, clock, SEGMENT_BYTES) {
        Err(StartError::Open(OpenError::Log(LogError::Damaged(at)))) => at.segment,
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: it starts"),
    }
}

#[test]
fn a_damaged_segment_is_refused_where_its_facts_are_needed_and_stops_no_start_where_they_are_not() {
    let site = Site::of(SEGMENT_BYTES);
    site.shop("MX", &Offer { campaign: (Some(i64::MAX >> 8), None), ..Offer::default() });
    fill(&site, 6, "early");
    let (room, clock) = site.stop();
    let dir = room.path().join("node");
    let early = boundaries(&dir.join("journal")).unwrap();
    let first = checkpoints(&dir).pop().unwrap();
    let kept = fs::read(&first).unwrap();
    let site = Site::again(room, clock, SEGMENT_BYTES);
    fill(&site, 14, "late");
    let known = site.reported();
    let (room, clock) = site.stop();
    let segment = |number: u64| segment(&dir, number);
    let flip = |number: u64| {
        let mut bytes = fs::read(segment(number)).unwrap();
        bytes[9_000] ^= 1;
        fs::write(segment(number), bytes).unwrap();
    };
    // As if nothing more had ever been written there: no frame is broken.
    let empty = |number: u64| {
        let whole = fs::read(segment(number)).unwrap();
        let mut bytes = whole.clone();
        bytes[SEGMENT_HEADER_BYTES..].fill(0);
        fs::write(segment(number), bytes).unwrap();
        whole
    };
    // Of the tail behind the first checkpoint, with many segments behind it.
    let (needed, spared) = (early.last().unwrap().segment + 2, early[1].segment);
    flip(spared);
    let whole = empty(needed);
    let site = Site::again(room, clock, SEGMENT_BYTES);
    assert_eq!(site.reported(), known, "the newest checkpoint needs neither");
    let (room, clock) = site.stop();
    without(&dir, "checkpoint-");
    fs::write(&first, &kept).unwrap();
    assert_eq!(refused(&dir, &clock, "in the tail"), segment(needed));
    fs::write(segment(needed), whole).unwrap();
    flip(needed);
    assert_eq!(refused(&dir, &clock, "in the tail, a flipped bit"), segment(needed));
    flip(needed);
    let site = Site::again(room, clock, SEGMENT_BYTES);
    assert_eq!(site.reported(), known, "only what the checkpoint stands for is damaged");
    let (room, clock) = site.stop();
    without(&dir, "checkpoint-");
    assert_eq!(refused(&dir, &clock, "without a checkpoint"), segment(spared));
    flip(spared);
    assert_eq!(Site::again(room, clock, SEGMENT_BYTES).reported(), known);
}
