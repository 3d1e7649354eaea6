//! The plain scan: every ad is looked at, masks first, lists after, and the best are kept in a heap.

use crate::support::select::Method;
use crate::support::select::spec::{AGES, COUNTRIES, LANGUAGES, Query, Spec};

/// One ad in masks, a bit for each value it accepts.
struct Masks {
    countries: u64,
    languages: u32,
    ages: u8,
    genders: u8,
    city: u32,
    segment: u32,
    excluded_segment: u32,
    /// Where its interests begin; they end where those of the next ad begin.
    interests: u32,
}

/// All ads, in order of creation.
pub(crate) struct Scan {
    rows: Vec<Masks>,
    interests: Vec<u16>,
}

const _: () = assert!(COUNTRIES < 64 && LANGUAGES < 32 && AGES < 8);

impl Scan {
    /// Returns the rows of these ads.
    pub(crate) fn build(specs: &[Spec]) -> Self {
        let mut scan = Self { rows: Vec::with_capacity(specs.len() + 1), interests: Vec::new() };
        for spec in specs {
            let one = |value: u8| if value == 0 { u64::MAX } else { 1 << value };
            let ages = match spec.ages {
                (0, _) => u8::MAX,
                (first, last) => (first..=last).fold(0, |mask, age| mask | 1 << age),
            };
            scan.rows.push(Masks {
                countries: one(spec.country),
                languages: one(spec.language) as u32,
                ages,
                genders: one(spec.gender) as u8,
                city: spec.city,
                segment: spec.segment,
                excluded_segment: spec.excluded_segment,
                interests: scan.interests.len() as u32,
            });
            scan.interests.extend_from_slice(spec.interests());
        }
        scan
    }

    fn asks_for(&self, index: usize) -> &[u16] {
        let end =
            self.rows.get(index + 1).map_or(self.interests.len(), |row| row.interests as usize);
        &self.interests[self.rows[index].interests as usize..end]
    }
}

impl Method for Scan {
    fn matches(&mut self, query: &Query, found: &mut Vec<u32>) {
        let (country, age, gender) = (1 << query.country, 1 << query.age, 1 << query.gender);
        let languages = query.languages.iter().fold(0, |mask, language| mask | 1 << language);
        let own = |segment: u32| query.segments.binary_search(&segment).is_ok();
        for (index, row) in self.rows.iter().enumerate() {
            let told = row.countries & country != 0
                && row.ages & age != 0
                && row.genders & gender != 0
                && row.languages & languages != 0
                && (row.city == 0 || row.city == query.city)
                && (row.segment == 0 || own(row.segment))
                && (row.excluded_segment == 0 || !own(row.excluded_segment));
            if !told {
                continue;
            }
            let interests = self.asks_for(index);
            let likes = |interest: &u16| query.interests.binary_search(interest).is_ok();
            if interests.is_empty() || interests.iter().any(likes) {
                found.push(index as u32);
            }
        }
    }
}
