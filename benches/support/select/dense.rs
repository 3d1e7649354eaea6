//! The dense pass: one plain bit set for each value of each attribute, fused block by block over all ads.
//! A block is left early when no ad of it passes the small attributes.

use crate::support::select::Method;
use crate::support::select::spec::{
    AGES, CITIES, COUNTRIES, INTERESTS, LANGUAGES, Query, SEGMENTS, Spec,
};

/// Words of a block: 2,048 ads.
const WORDS: usize = 32;

type Block = [u64; WORDS];

/// The ads that accept a value. Empty: none does.
#[derive(Clone, Default)]
struct Bits(Vec<Block>);

impl Bits {
    fn set(&mut self, index: usize, blocks: usize) {
        if self.0.is_empty() {
            self.0 = vec![[0; WORDS]; blocks];
        }
        let word = index / 64;
        self.0[word / WORDS][word % WORDS] |= 1 << (index % 64);
    }
}

/// An attribute of few values: who does not ask for one accepts each.
struct Few(Vec<Bits>);

impl Few {
    fn new(values: usize) -> Self {
        Self(vec![Bits::default(); values + 1])
    }

    fn set(&mut self, values: std::ops::RangeInclusive<u8>, index: usize, blocks: usize) {
        let all = *values.start() == 0;
        let (first, last) = (usize::from(*values.start()), usize::from(*values.end()));
        let values = if all { 1..=self.0.len() - 1 } else { first..=last };
        values.for_each(|value| self.0[value].set(index, blocks));
    }
}

/// An attribute of many values: who does not ask for one stands in `wild`.
struct Many {
    wild: Bits,
    values: Vec<Bits>,
}

impl Many {
    fn new(values: usize) -> Self {
        Self { wild: Bits::default(), values: vec![Bits::default(); values + 1] }
    }

    fn set(&mut self, values: impl Iterator<Item = usize>, index: usize, blocks: usize) {
        let mut values = values.filter(|value| *value != 0).peekable();
        if values.peek().is_none() {
            self.wild.set(index, blocks);
        }
        values.for_each(|value| self.values[value].set(index, blocks));
    }

    /// Returns the sets of which an ad must be in one.
    fn of(&self, told: impl Iterator<Item = usize>) -> Vec<&[Block]> {
        let sets = std::iter::once(&self.wild).chain(told.map(|value| &self.values[value]));
        sets.map(|bits| bits.0.as_slice()).filter(|bits| !bits.is_empty()).collect()
    }
}

/// The bit sets of all ads.
pub(crate) struct Dense {
    blocks: usize,
    countries: Few,
    ages: Few,
    genders: Few,
    languages: Few,
    cities: Many,
    interests: Many,
    segments: Many,
    excluded: Many,
}

impl Dense {
    /// Returns the bit sets of these ads.
    pub(crate) fn build(specs: &[Spec]) -> Self {
        let blocks = specs.len().div_ceil(WORDS * 64);
        let mut dense = Self {
            blocks,
            countries: Few::new(COUNTRIES),
            ages: Few::new(AGES),
            genders: Few::new(2),
            languages: Few::new(LANGUAGES),
            cities: Many::new(COUNTRIES * CITIES),
            interests: Many::new(INTERESTS),
            segments: Many::new(SEGMENTS),
            excluded: Many::new(SEGMENTS),
        };
        for (index, spec) in specs.iter().enumerate() {
            dense.countries.set(spec.country..=spec.country, index, blocks);
            dense.ages.set(spec.ages.0..=spec.ages.1, index, blocks);
            dense.genders.set(spec.gender..=spec.gender, index, blocks);
            dense.languages.set(spec.language..=spec.language, index, blocks);
            dense.cities.set(std::iter::once(spec.city as usize), index, blocks);
            let interests = spec.interests().iter().map(|interest| usize::from(*interest));
            dense.interests.set(interests, index, blocks);
            dense.segments.set(std::iter::once(spec.segment as usize), index, blocks);
            if spec.excluded_segment != 0 {
                let excluded = std::iter::once(spec.excluded_segment as usize);
                dense.excluded.set(excluded, index, blocks);
            }
        }
        dense
    }
}

impl Method for Dense {
    fn matches(&mut self, query: &Query, found: &mut Vec<u32>) {
        let segments = || query.segments.iter().map(|segment| *segment as usize);
        let language = |place: usize| {
            let number = query.languages.get(place).or(query.languages.first());
            number.map_or(0, |number| usize::from(*number))
        };
        let few = [
            &self.countries.0[usize::from(query.country)],
            &self.ages.0[usize::from(query.age)],
            &self.genders.0[usize::from(query.gender)],
        ];
        if few.iter().any(|bits| bits.0.is_empty()) {
            return;
        }
        let languages = [&self.languages.0[language(0)], &self.languages.0[language(1)]];
        let cities = self.cities.of(std::iter::once(query.city as usize));
        let interests = self.interests.of(query.interests.iter().map(|one| usize::from(*one)));
        let asked = self.segments.of(segments());
        let mut excluded = self.excluded.of(segments());
        if !self.excluded.wild.0.is_empty() {
            excluded.remove(0);
        }
        for block in 0..self.blocks {
            let mut left = union(&languages.map(|bits| bits.0.as_slice()), block);
            few.iter().for_each(|bits| keep(&mut left, &bits.0[block]));
            keep(&mut left, &union(&cities, block));
            if left.iter().fold(0, |any, word| any | word) == 0 {
                continue;
            }
            keep(&mut left, &union(&interests, block));
            keep(&mut left, &union(&asked, block));
            let not = union(&excluded, block);
            left.iter_mut().zip(&not).for_each(|(word, not)| *word &= !not);
            emit(&left, block, found);
        }
    }
}

fn union(sets: &[&[Block]], block: usize) -> Block {
    let mut any = [0; WORDS];
    for set in sets.iter().filter(|set| !set.is_empty()) {
        any.iter_mut().zip(&set[block]).for_each(|(word, other)| *word |= other);
    }
    any
}

fn keep(left: &mut Block, other: &Block) {
    left.iter_mut().zip(other).for_each(|(word, other)| *word &= other);
}

fn emit(left: &Block, block: usize, found: &mut Vec<u32>) {
    for (place, word) in left.iter().enumerate() {
        let mut word = *word;
        while word != 0 {
            found.push((block * WORDS * 64 + place * 64) as u32 + word.trailing_zeros());
            word &= word - 1;
        }
    }
}
