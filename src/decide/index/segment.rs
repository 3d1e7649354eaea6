//! A segment: the rows of some ads in descending order of what they can be worth, immutable.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::decide::board::Board;
use crate::decide::exchange::{Converter, Currencies};
use crate::decide::index::checks::{self, Checks};
use crate::decide::index::columns::{ListColumn, SmallColumn, WORD};
use crate::decide::index::row::{Draft, Entry, Extra, Source};
use crate::decide::target::{TRAITS, Target, cell_place};
use crate::state::Map;
use crate::types::week::Week;

/// Values of each trait, "not told" included, by [`crate::decide::target::Trait`].
const TRAIT_VALUES: [usize; TRAITS] = [8, 4, 5, 5, 5, 6, 3];

/// Which conjunctions a segment takes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Those that name this country.
    Country(u16),
    /// Those that name none.
    Worldwide,
    /// All of them; the country is one column more.
    Mixed,
}

impl Scope {
    fn takes(self, target: &Target) -> bool {
        match self {
            Self::Country(country) => target.countries.contains(&country),
            Self::Worldwide => target.countries.is_empty(),
            Self::Mixed => true,
        }
    }
}

/// Rows of the lists that columns are made of.
pub(super) const COUNTRY: usize = 0;
pub(super) const LANGUAGE: usize = 1;
pub(super) const HOUR: usize = 2;
pub(super) const PLACE: usize = 3;
/// Of each row the group of tags that the fewest rows name, and the next one.
pub(super) const TAG: usize = 4;
pub(super) const SECOND_TAG: usize = 5;
/// How many list columns there are.
pub(super) const LISTS: usize = 6;

/// A row is one conjunction of one ad; rows of an ad stand side by side.
#[derive(Debug, Default)]
pub struct Segment {
    pub(super) entries: Box<[Entry]>,
    sources: Box<[Source]>,
    extras: Box<[Extra]>,
    /// The entry of each row; empty: each has one row.
    entry_of: Box<[u32]>,
    /// What no row of a word and none behind it can be worth more than, micros of the settlement currency
    /// for 1,000 impressions.
    pub(super) bounds: Box<[i64]>,
    /// The rates by which the bounds were converted.
    pub(super) exchange: Arc<Converter>,
    /// The currencies of its ads.
    pub(super) currencies: Currencies,
    pub(super) rows: usize,
    pub(super) traits: [SmallColumn; TRAITS],
    pub(super) lists: [ListColumn; LISTS],
    pub(super) checks: Checks,
}

/// One row while a segment is built.
struct Picked<'a> {
    entry: u32,
    target: &'a Target,
}

impl Segment {
    /// Returns the segment of those conjunctions of the drafts that the scope takes.
    pub(super) fn build<'a>(
        drafts: impl Iterator<Item = &'a Draft>,
        scope: Scope,
        exchange: &Arc<Converter>,
    ) -> Self {
        let taken = |draft: &&Draft| draft.targets.iter().any(|target| scope.takes(target));
        let mut drafts: Vec<&Draft> = drafts.filter(taken).collect();
        // Equal bounds stand in a fixed order, so that equal drafts make equal segments.
        let bound_of = |draft: &Draft| exchange.settle(draft.entry.currency, draft.bound);
        drafts.sort_unstable_by_key(|draft| (Reverse(bound_of(draft)), draft.entry.ad));
        let mut picked = Vec::with_capacity(drafts.len());
        for (entry, draft) in (0..).zip(&drafts) {
            let targets = draft.targets.iter().filter(|target| scope.takes(target));
            picked.extend(targets.map(|target| Picked { entry, target }));
        }
        let (extras, extra_of) = intern(&drafts);
        let entry = |(draft, extra): (&&Draft, u32)| Entry { extra, ..draft.entry };
        let bound = |rows: &[Picked<'_>]| bound_of(drafts[rows[0].entry as usize]);
        let columns = Columns::of(&picked, scope);
        let mut currencies = Currencies::default();
        drafts.iter().for_each(|draft| currencies.put(draft.entry.currency));
        Self {
            entries: drafts.iter().zip(extra_of).map(entry).collect(),
            sources: drafts.iter().map(|draft| draft.source.clone()).collect(),
            extras,
            entry_of: if picked.len() == drafts.len() {
                Box::default()
            } else {
                picked.iter().map(|row| row.entry).collect()
            },
            bounds: picked.chunks(WORD).map(bound).collect(),
            exchange: Arc::clone(exchange),
            currencies,
            rows: picked.len(),
            traits: columns.traits,
            lists: columns.lists,
            checks: columns.checks,
        }
    }

    /// Returns the drafts of the rows that are still live, bound anew by the board's rates of now.
    pub(super) fn drafts<'a>(&'a self, board: &'a Board) -> impl Iterator<Item = Draft> + 'a {
        let live = |(entry, _): &(&Entry, _)| board.ad(entry.ad.into()).epoch == entry.epoch;
        let rows = self.entries.iter().zip(&self.sources).filter(live);
        rows.map(|(entry, source)| Draft::from_source(*entry, source.clone(), board))
    }

    /// Returns how many ads it has, dead ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether it has no ads.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns an ad by its place.
    pub fn entry(&self, at: u32) -> &Entry {
        &self.entries[at as usize]
    }

    /// Returns all ads, in descending order of what they can be worth.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns when an ad runs and how often it may be seen.
    pub fn extra(&self, entry: &Entry) -> &Extra {
        &self.extras[entry.extra as usize]
    }

    /// Returns where an ad's texts are.
    pub fn source(&self, at: u32) -> &Source {
        &self.sources[at as usize]
    }

    /// Returns the entry of a row.
    pub(super) fn entry_of(&self, row: usize) -> u32 {
        self.entry_of.get(row).copied().unwrap_or(row as u32)
    }

    /// Returns the bytes that it holds, beside the texts that the catalog shares with it.
    pub fn bytes(&self) -> usize {
        let traits: usize = self.traits.iter().map(SmallColumn::bytes).sum();
        let lists: usize = self.lists.iter().map(ListColumn::bytes).sum();
        size_of_val(&*self.entries)
            + size_of_val(&*self.sources)
            + size_of_val(&*self.extras)
            + size_of_val(&*self.entry_of)
            + size_of_val(&*self.bounds)
            + traits
            + lists
            + self.checks.bytes()
    }
}

/// Returns each different extra once, and which one each draft has.
fn intern(drafts: &[&Draft]) -> (Box<[Extra]>, Vec<u32>) {
    let mut known = Map::<Extra, u32>::default();
    let mut extras = Vec::new();
    let number = |draft: &&Draft| {
        *known.entry(draft.extra).or_insert_with(|| {
            extras.push(draft.extra);
            extras.len() as u32 - 1
        })
    };
    let of = drafts.iter().map(number).collect();
    (extras.into(), of)
}

/// The columns of a segment.
struct Columns {
    traits: [SmallColumn; TRAITS],
    lists: [ListColumn; LISTS],
    checks: Checks,
}

impl Columns {
    fn of(picked: &[Picked<'_>], scope: Scope) -> Self {
        let rows = picked.len();
        let trait_of = |which: usize| {
            let mask = |row: usize| picked[row].target.traits[which];
            SmallColumn::of(rows, TRAIT_VALUES[which], mask)
        };
        let groups = selective_groups(picked);
        let mut checks = checks::Builder::default();
        picked.iter().zip(&groups).for_each(|(row, group)| checks.push(row.target, group));
        let tags = |row: usize, which: usize| {
            groups[row][which].map_or(&[][..], |group| picked[row].target.groups[group].as_slice())
        };
        let list = |is_used: fn(&Target) -> bool, values: &dyn Fn(&Target) -> Vec<u64>| {
            // Most attributes are used by no row of a segment: nothing is gathered for them.
            if !picked.iter().any(|row| is_used(row.target)) {
                return ListColumn::default();
            }
            let lists: Vec<_> = picked.iter().map(|row| values(row.target)).collect();
            ListColumn::of(rows, |row| &lists[row])
        };
        let wide = |values: &[u16]| values.iter().map(|value| u64::from(*value)).collect();
        let countries = match scope {
            Scope::Country(_) | Scope::Worldwide => ListColumn::default(),
            Scope::Mixed => list(|of| !of.countries.is_empty(), &|of| wide(&of.countries)),
        };
        Self {
            traits: std::array::from_fn(trait_of),
            lists: [
                countries,
                list(|of| !of.languages.is_empty(), &|of| wide(&of.languages)),
                list(|of| of.hours.is_some(), &hours),
                list(|of| !of.places.is_empty() || !of.circles.is_empty(), &places),
                ListColumn::of(rows, |row| tags(row, 0)),
                ListColumn::of(rows, |row| tags(row, 1)),
            ],
            checks: checks.finish(),
        }
    }
}

/// Returns for each row which two of its groups of tags the fewest rows name: those are the columns', and
/// the others are asked of what the columns leave.
fn selective_groups(picked: &[Picked<'_>]) -> Vec<[Option<usize>; 2]> {
    let mut named = Map::<u64, u32>::default();
    let tags = picked.iter().flat_map(|row| row.target.groups.iter().flatten());
    tags.for_each(|tag| *named.entry(*tag).or_default() += 1);
    let reach = |group: &Vec<u64>| -> u64 {
        group.iter().map(|tag| u64::from(named.get(tag).copied().unwrap_or_default())).sum()
    };
    let best = |row: &Picked<'_>| {
        let groups = &row.target.groups;
        let by_reach = |besides: Option<usize>| {
            let others = (0..groups.len()).filter(|at| Some(*at) != besides);
            others.min_by_key(|at| reach(&groups[*at]))
        };
        let first = by_reach(None);
        [first, first.and_then(|first| by_reach(Some(first)))]
    };
    picked.iter().map(best).collect()
}

fn hours(target: &Target) -> Vec<u64> {
    target.hours.into_iter().flat_map(Week::hours).map(u64::from).collect()
}

/// Returns the places that a target may match at: its own, and the cells that its circles touch.
fn places(target: &Target) -> Vec<u64> {
    let mut places = target.places.clone();
    let cells = target.circles.iter().flat_map(|circle| circle.cells());
    places.extend(cells.map(cell_place));
    places.sort_unstable();
    places.dedup();
    places
}
