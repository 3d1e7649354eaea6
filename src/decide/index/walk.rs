//! Walking an index for one viewer, the ads that can be worth most first, until no later one matters.

use crate::decide::exchange::{SCALE_ONE, scaled};
use crate::decide::index::Index;
use crate::decide::index::columns::{Selected, WORD};
use crate::decide::index::segment::{
    COUNTRY, HOUR, LANGUAGE, LISTS, PLACE, SECOND_TAG, Segment, TAG,
};
use crate::decide::target::Told;

/// Words of the first block of a segment: the best ads stand in front, so most walks end there.
const FIRST_BLOCK: usize = 8;
/// Words of the largest block: what fits the first cache beside the columns.
const BLOCK_MAX: usize = 128;
/// Ads that are shown to the visitor together, so that it can look them up side by side.
const BATCH: usize = 32;

/// Who is shown the ads that are meant for a viewer.
pub trait Visitor {
    /// Returns what an ad must be worth to matter: those worth less may be passed over. Never falls.
    fn least(&self) -> i64;

    /// Takes ads of a segment, each once.
    fn visit(&mut self, segment: &Segment, lane: u16, entries: &[u32]);
}

/// How far one segment was walked.
#[derive(Debug)]
struct Lane {
    next: usize,
    block: usize,
    last: Option<u32>,
    /// What the segment's bounds are multiplied with.
    scale: u64,
    selected: [Selected; LISTS],
}

impl Default for Lane {
    fn default() -> Self {
        Self { next: 0, block: 0, last: None, scale: SCALE_ONE, selected: Default::default() }
    }
}

/// The buffers of walks, reused from one to the next.
#[derive(Debug)]
pub struct Walker {
    lanes: Vec<Lane>,
    kept: Box<[u64; BLOCK_MAX]>,
    taking: Box<[u64; BLOCK_MAX]>,
    batch: Vec<u32>,
}

impl Default for Walker {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            kept: Box::new([0; BLOCK_MAX]),
            taking: Box::new([0; BLOCK_MAX]),
            batch: Vec::with_capacity(BATCH + WORD),
        }
    }
}

impl Walker {
    /// Shows the visitor every ad of the index that is meant for this viewer and may be worth as much as
    /// the visitor asks for, and perhaps some more.
    pub fn walk(&mut self, index: &Index, told: &Told, visitor: &mut impl Visitor) {
        let lanes = index.lanes();
        if self.lanes.len() < lanes {
            self.lanes.resize_with(lanes, Lane::default);
        }
        for (at, lane) in self.lanes.iter_mut().take(lanes).enumerate() {
            let segment = index.segment(told.country, at);
            lane.begin(segment, told);
            lane.scale = index.scale_of(segment);
        }
        loop {
            let bound = |at: &usize| {
                let segment = index.segment(told.country, *at);
                let lane = &self.lanes[*at];
                segment.bounds.get(lane.next).map(|bound| scaled(*bound, lane.scale))
            };
            let ahead = (0..lanes).filter_map(|at| bound(&at).map(|bound| (bound, at)));
            let Some((bound, at)) = ahead.max_by_key(|(bound, at)| (*bound, lanes - at)) else {
                return;
            };
            if bound < visitor.least() {
                return;
            }
            self.block(index.segment(told.country, at), at, told, visitor);
        }
    }

    /// Walks the next block of a segment.
    fn block(&mut self, segment: &Segment, at: usize, told: &Told, visitor: &mut impl Visitor) {
        let lane = &mut self.lanes[at];
        let (first, words) = (lane.next, lane.block.min(segment.bounds.len() - lane.next));
        lane.next += words;
        lane.block = (lane.block * 2).min(BLOCK_MAX);
        let kept = &mut self.kept[..words];
        if !keep(segment, &mut lane.selected, told, first, kept, &mut *self.taking) {
            return;
        }
        self.batch.clear();
        for (word, bits) in kept.iter_mut().enumerate() {
            if *bits == 0 {
                continue;
            }
            if scaled(segment.bounds[first + word], lane.scale) < visitor.least() {
                // Nothing behind it matters either.
                lane.next = segment.bounds.len();
                break;
            }
            while *bits != 0 {
                let row = (first + word) * WORD + bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                let entry = segment.entry_of(row);
                // The rows of an ad stand side by side; one that matches is enough.
                let known = lane.last == Some(entry);
                if !known && segment.checks.pass(row, told) {
                    lane.last = Some(entry);
                    self.batch.push(entry);
                }
            }
            if self.batch.len() >= BATCH {
                visitor.visit(segment, at as u16, &self.batch);
                self.batch.clear();
            }
        }
        if !self.batch.is_empty() {
            visitor.visit(segment, at as u16, &self.batch);
        }
    }
}

impl Lane {
    fn begin(&mut self, segment: &Segment, told: &Told) {
        (self.next, self.block, self.last) = (0, FIRST_BLOCK, None);
        let [country, language, hour, place, tag, second_tag] = &mut self.selected;
        let wide = |value: &u16| u64::from(*value);
        let told_country = Some(told.country).filter(|country| *country != 0);
        segment.lists[COUNTRY].select(told_country.iter().map(wide), country);
        segment.lists[LANGUAGE].select(told.languages.iter().map(wide), language);
        segment.lists[HOUR].select(told.hour.iter().map(|hour| u64::from(*hour)), hour);
        segment.lists[PLACE].select(told.places.iter().copied(), place);
        segment.lists[TAG].select(told.tags.iter().copied(), tag);
        segment.lists[SECOND_TAG].select(told.tags.iter().copied(), second_tag);
    }
}

/// Keeps the rows of a block that every column has for this viewer; tells whether there are any.
fn keep(
    segment: &Segment,
    selected: &mut [Selected; LISTS],
    told: &Told,
    first: usize,
    kept: &mut [u64],
    taking: &mut [u64],
) -> bool {
    kept.fill(u64::MAX);
    let rest = segment.rows - first * WORD;
    if rest < kept.len() * WORD
        && let Some(last) = kept.last_mut()
    {
        *last = u64::MAX >> ((WORD - rest % WORD) % WORD);
    }
    for (column, value) in segment.traits.iter().zip(told.traits) {
        if let Some(rows) = column.rows_of(value) {
            let rows = &rows[first..first + kept.len()];
            kept.iter_mut().zip(rows).for_each(|(kept, taking)| *kept &= *taking);
        }
    }
    for (column, selected) in segment.lists.iter().zip(selected) {
        if column.is_unused() {
            continue;
        }
        if kept.iter().all(|word| *word == 0) {
            return false;
        }
        column.keep(selected, first, kept, taking);
    }
    kept.iter().any(|word| *word != 0)
}
