//! The index of live ads: for each viewer the ads that are meant for it, the best bounds first.
//!
//! Rows stand in segments in descending order of a bound of their worth, so a walk may end at the first
//! block whose bound is below what it still needs: exact, without looking at most ads. Segments never
//! change. A changed ad goes into a small fresh segment; fresh ones of a size are merged, and now and then
//! all of them into the segments of their countries. Which row of an ad is live says the board's epoch.
//!
//! The form follows "score-ordered document ids with block bounds" (Broder et al., WAND, CIKM 2003; Ding
//! and Suel, block-max indexes, SIGIR 2011), with bit sets as in k-index (Whang et al., VLDB 2009).

mod checks;
mod columns;
mod row;
mod segment;
mod walk;

use std::sync::Arc;

pub use row::{CAPS_MAX, COST_CAP_ROOM, Draft, Entry, Extra, Source, Worth, ceiling};
pub use segment::{Scope, Segment};
pub use walk::{Visitor, Walker};

use crate::decide::board::Board;
use crate::decide::exchange::{Converter, Currencies, SCALE_ONE};
use crate::state::Map;
use crate::types::time::Moment;

/// Fresh ads that are kept beside the segments of the countries: more slow down every walk.
pub const FRESH_MAX: usize = 20_000;

/// Fresh ads may be this share of all before they are merged, so that a small index is merged seldom and a
/// growing one is not merged with each step.
const FRESH_SHARE: usize = 8;

/// The live ads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Index {
    countries: Map<u16, Arc<Segment>>,
    worldwide: Arc<Segment>,
    fresh: Vec<Arc<Segment>>,
    /// What a country without ads of its own has.
    empty: Arc<Segment>,
    /// The rates that values are compared by.
    exchange: Arc<Converter>,
    /// Earlier rates that segments were built by, with what their bounds are multiplied with.
    older: Vec<(Arc<Converter>, u64)>,
}

/// The segments of countries made anew; they take the place of those they were made of.
#[derive(Debug)]
pub struct Rebased {
    countries: Map<u16, Arc<Segment>>,
    worldwide: Arc<Segment>,
    /// The oldest fresh segments, which are in the new ones now.
    merged: usize,
}

/// Segments of any index before those of fresh ads: the viewer's country, and the whole world.
const OLD_LANES: usize = 2;

impl Index {
    /// Returns the index of these ads, whose micros are compared as they are. Notes on the board what their
    /// bounds allow for.
    pub fn build(drafts: &[Draft], board: &Board) -> Self {
        Self::build_by(drafts, board, &Arc::default())
    }

    /// Returns the index of these ads, whose values are compared by these rates.
    pub fn build_by(drafts: &[Draft], board: &Board, exchange: &Arc<Converter>) -> Self {
        let mut of_country = Map::<u16, Vec<&Draft>>::default();
        for draft in drafts {
            draft.note_ceilings(board, true);
            let countries = draft.targets.iter().flat_map(|target| &target.countries);
            for country in countries {
                let known = of_country.entry(*country).or_default();
                if known.last().is_none_or(|last| last.ad() != draft.ad()) {
                    known.push(draft);
                }
            }
        }
        let segment = |(country, drafts): (u16, Vec<&Draft>)| {
            let scope = Scope::Country(country);
            (country, Arc::new(Segment::build(drafts.into_iter(), scope, exchange)))
        };
        Self {
            countries: of_country.into_iter().map(segment).collect(),
            worldwide: Arc::new(Segment::build(drafts.iter(), Scope::Worldwide, exchange)),
            exchange: Arc::clone(exchange),
            ..Self::default()
        }
    }

    /// Returns the index with these ads in their newest form. The rows that they take the place of go dead
    /// when the board is told the new epochs. The `kept` oldest fresh segments are not merged with.
    pub fn with(&self, drafts: Vec<Draft>, board: &Board, kept: usize) -> Self {
        let mut index = self.clone();
        drafts.iter().for_each(|draft| draft.note_ceilings(board, true));
        let mut pile = drafts;
        let new: Map<u32, ()> = pile.iter().map(|draft| (draft.ad(), ())).collect();
        while index.fresh.len() > kept
            && let Some(last) = index.fresh.pop_if(|last| last.len() <= 2 * pile.len())
        {
            let old = last.drafts(board).filter(|draft| !new.contains_key(&draft.ad()));
            let old = old.inspect(|draft| draft.note_ceilings(board, false));
            pile.extend(old);
        }
        if !pile.is_empty() {
            let fresh = Segment::build(pile.iter(), Scope::Mixed, &index.exchange);
            index.fresh.push(Arc::new(fresh));
        }
        index
    }

    /// Returns the index by other rates. Its segments stay: their bounds are multiplied until they are
    /// built anew.
    pub fn with_exchange(&self, exchange: Arc<Converter>) -> Self {
        let mut index = self.clone();
        index.exchange = exchange;
        index.note_older();
        index
    }

    /// Returns the rates that values are compared by.
    pub fn exchange(&self) -> &Converter {
        &self.exchange
    }

    /// Lists the rates that segments were built by and that are not the index's.
    fn note_older(&mut self) {
        let mut older: Vec<(Arc<Converter>, Currencies)> = Vec::new();
        for segment in self.segments().filter(|segment| segment.rows > 0) {
            let (table, more) = (&segment.exchange, segment.currencies);
            match older.iter_mut().find(|(known, _)| Arc::ptr_eq(known, table)) {
                Some((_, currencies)) => *currencies = currencies.or(more),
                None if Arc::ptr_eq(table, &self.exchange) => {}
                None => older.push((Arc::clone(table), more)),
            }
        }
        let scale = |(table, currencies): (Arc<Converter>, Currencies)| {
            let scale = self.exchange.scale_since(&table, &currencies);
            (table, scale)
        };
        self.older = older.into_iter().map(scale).collect();
    }

    /// Returns what a segment's bounds are multiplied with, in parts of [`SCALE_ONE`].
    pub(super) fn scale_of(&self, segment: &Segment) -> u64 {
        let older = self.older.iter().find(|(table, _)| Arc::ptr_eq(table, &segment.exchange));
        older.map_or(SCALE_ONE, |(_, scale)| *scale)
    }

    /// Tells whether bounds are so far off that walks take notice: a thirty-second.
    fn is_rated_anew(&self) -> bool {
        self.older.iter().any(|(_, scale)| *scale > SCALE_ONE + SCALE_ONE / 32)
    }

    /// Tells whether there are so many fresh ads, or rates so different, that all should be merged.
    pub fn is_stale(&self) -> bool {
        let fresh: usize = self.fresh.iter().map(|segment| segment.len()).sum();
        self.is_rated_anew() || fresh > FRESH_MAX.min(self.ads() / FRESH_SHARE).max(FRESH_MAX / 16)
    }

    /// Merges the fresh ads into the segments of their countries, without ads that ended before `now`.
    pub fn rebase(&self, board: &Board, now: Moment) -> Rebased {
        let fresh: Vec<Draft> = self.fresh.iter().flat_map(|part| part.drafts(board)).collect();
        let merge = |old: &Arc<Segment>, scope: Scope| {
            let old: Vec<Draft> = old.drafts(board).collect();
            let all = old.iter().chain(&fresh).filter(|draft| now.0 < draft.extra.end_ms);
            let all = all.inspect(|draft| draft.note_ceilings(board, false));
            Arc::new(Segment::build(all, scope, &self.exchange))
        };
        let of_fresh = fresh.iter().flat_map(|draft| &draft.targets);
        let named: Map<u16, ()> =
            of_fresh.flat_map(|target| &target.countries).map(|country| (*country, ())).collect();
        let mut countries = self.countries.clone();
        let all = self.countries.keys().filter(|_| self.is_rated_anew()).copied();
        let mut named: Vec<u16> = named.into_keys().chain(all).collect();
        named.sort_unstable();
        named.dedup();
        for country in named {
            let old = countries.get(&country).unwrap_or(&self.empty);
            countries.insert(country, merge(old, Scope::Country(country)));
        }
        let worldwide = merge(&self.worldwide, Scope::Worldwide);
        Rebased { countries, worldwide, merged: self.fresh.len() }
    }

    /// Returns the index with merged segments in the place of those they were made of.
    pub fn rebased(&self, rebased: Rebased) -> Self {
        let mut index = Self {
            countries: rebased.countries,
            worldwide: rebased.worldwide,
            fresh: self.fresh[rebased.merged..].to_vec(),
            empty: Arc::clone(&self.empty),
            exchange: Arc::clone(&self.exchange),
            older: Vec::new(),
        };
        index.note_older();
        index
    }

    /// Returns how many fresh segments there are.
    pub fn fresh_segments(&self) -> usize {
        self.fresh.len()
    }

    /// Returns how many ads there are; an ad of several countries counts in each, and a dead row until it is
    /// merged away.
    pub fn ads(&self) -> usize {
        self.segments().map(Segment::len).sum()
    }

    /// Returns the bytes that it holds, beside the texts that the catalog shares with it.
    pub fn bytes(&self) -> usize {
        self.segments().map(Segment::bytes).sum()
    }

    /// Returns every segment.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        let fresh = self.fresh.iter();
        let old = self.countries.values().chain(std::iter::once(&self.worldwide));
        old.chain(fresh).map(|segment| &**segment)
    }

    /// Returns the segments that a walk for a viewer of this country passes.
    pub fn market(&self, country: u16) -> impl Iterator<Item = &Segment> {
        (0..self.lanes()).map(move |lane| self.segment(country, lane))
    }

    /// Tells whether a segment is a fresh one, where ads of all countries stand.
    pub fn is_fresh(&self, segment: &Segment) -> bool {
        self.fresh.iter().any(|fresh| std::ptr::eq(&**fresh, segment))
    }

    /// Returns how many segments a walk passes.
    pub(in crate::decide) fn lanes(&self) -> usize {
        OLD_LANES + self.fresh.len()
    }

    /// Returns one of the segments that a walk for a viewer of this country passes.
    pub fn segment(&self, country: u16, lane: usize) -> &Segment {
        match lane {
            0 => self.countries.get(&country).unwrap_or(&self.empty),
            1 => &self.worldwide,
            later => &self.fresh[later - OLD_LANES],
        }
    }
}
