//! The inverted index: one compressed bitmap (crate `roaring`) for each value of each attribute.

use roaring::RoaringBitmap;

use crate::support::select::Method;
use crate::support::select::spec::{
    AGES, CITIES, COUNTRIES, INTERESTS, LANGUAGES, Query, SEGMENTS, Spec,
};

/// By value: the ads that accept it. At 0, of attributes with many values: those that don't ask.
struct Lists(Vec<RoaringBitmap>);

impl Lists {
    fn new(values: usize) -> Self {
        Self(vec![RoaringBitmap::new(); values + 1])
    }

    /// Puts an ad under each value of an attribute with few of them.
    fn put_few(&mut self, first: u8, last: u8, index: u32) {
        let values = if first == 0 { 1..=self.0.len() - 1 } else { first.into()..=last.into() };
        values.for_each(|value| {
            self.0[value].insert(index);
        });
    }

    fn put(&mut self, value: usize, index: u32) {
        self.0[value].insert(index);
    }

    /// Returns those of `left` that don't ask or ask for a value that is told.
    fn keep(&self, left: &RoaringBitmap, told: impl Iterator<Item = usize>) -> RoaringBitmap {
        let mut any = left & &self.0[0];
        let mut asked = RoaringBitmap::new();
        told.for_each(|value| asked |= &self.0[value]);
        asked &= left;
        any |= asked;
        any
    }
}

/// The bitmaps of all ads.
pub(crate) struct Inverted {
    countries: Lists,
    ages: Lists,
    genders: Lists,
    languages: Lists,
    cities: Lists,
    interests: Lists,
    segments: Lists,
    excluded: Lists,
}

impl Inverted {
    /// Returns the bitmaps of these ads.
    pub(crate) fn build(specs: &[Spec]) -> Self {
        let mut inverted = Self {
            countries: Lists::new(COUNTRIES),
            ages: Lists::new(AGES),
            genders: Lists::new(2),
            languages: Lists::new(LANGUAGES),
            cities: Lists::new(COUNTRIES * CITIES),
            interests: Lists::new(INTERESTS),
            segments: Lists::new(SEGMENTS),
            excluded: Lists::new(SEGMENTS),
        };
        for (index, spec) in (0..).zip(specs) {
            inverted.countries.put_few(spec.country, spec.country, index);
            inverted.ages.put_few(spec.ages.0, spec.ages.1, index);
            inverted.genders.put_few(spec.gender, spec.gender, index);
            inverted.languages.put_few(spec.language, spec.language, index);
            inverted.cities.put(spec.city as usize, index);
            let interests = spec.interests();
            if interests.is_empty() {
                inverted.interests.put(0, index);
            }
            interests.iter().for_each(|one| inverted.interests.put((*one).into(), index));
            inverted.segments.put(spec.segment as usize, index);
            if spec.excluded_segment != 0 {
                inverted.excluded.put(spec.excluded_segment as usize, index);
            }
        }
        inverted
    }
}

impl Method for Inverted {
    fn matches(&mut self, query: &Query, found: &mut Vec<u32>) {
        let mut few = [
            &self.countries.0[usize::from(query.country)],
            &self.ages.0[usize::from(query.age)],
            &self.genders.0[usize::from(query.gender)],
        ];
        few.sort_unstable_by_key(|list| list.len());
        let [least, second, third] = few;
        let mut left = least & second;
        left &= third;
        let segments = || query.segments.iter().map(|segment| *segment as usize);
        let mut spoken = RoaringBitmap::new();
        for language in &query.languages {
            spoken |= &left & &self.languages.0[usize::from(*language)];
        }
        let left = self.cities.keep(&spoken, std::iter::once(query.city as usize));
        let left = self.interests.keep(&left, query.interests.iter().map(|one| (*one).into()));
        let mut left = self.segments.keep(&left, segments());
        segments().for_each(|segment| left -= &self.excluded.0[segment]);
        found.extend(&left);
    }
}
