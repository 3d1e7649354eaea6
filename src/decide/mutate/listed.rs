//! Whether targeting names only what the operator's lists have.

use crate::state::lists::Lists;
use crate::types::proto::v1::{AdSet, KeyValues, Targeting, Taxonomy};
use crate::types::refusal::{Reason, Refusal};

/// Checks every conjunction of an ad set. A kind whose list was not loaded was checked by its form.
///
/// # Errors
/// With the path of the first value that is in no list.
pub fn listed(lists: &Lists, row: &AdSet) -> Result<(), Refusal> {
    if let Some(targeting) = &row.targeting {
        Check { lists, path: "ad_set.targeting".to_owned() }.all(targeting)?;
    }
    for (index, targeting) in row.or_targeting.iter().enumerate() {
        Check { lists, path: format!("ad_set.or_targeting[{index}]") }.all(targeting)?;
    }
    Ok(())
}

struct Check<'a> {
    lists: &'a Lists,
    path: String,
}

impl Check<'_> {
    fn all(&self, targeting: &Targeting) -> Result<(), Refusal> {
        for (group, interests) in targeting.interests.iter().enumerate() {
            let field = format!("interests[{group}].any_of");
            self.numbers(Taxonomy::Interest, &interests.any_of, &field)?;
        }
        for (group, segments) in targeting.segments.iter().enumerate() {
            let field = format!("segments[{group}].any_of");
            self.numbers(Taxonomy::Segment, &segments.any_of, &field)?;
        }
        let (interests, segments) = (&targeting.excluded_interests, &targeting.excluded_segments);
        self.numbers(Taxonomy::Interest, interests, "excluded_interests")?;
        self.numbers(Taxonomy::Segment, segments, "excluded_segments")?;
        self.regions(&targeting.regions, "regions")?;
        self.regions(&targeting.excluded_regions, "excluded_regions")?;
        self.keys(&targeting.key_values, "key_values")?;
        self.keys(&targeting.excluded_key_values, "excluded_key_values")?;
        self.cities(&targeting.cities, "cities", &targeting.countries)?;
        // A city elsewhere excludes nobody; it is let be.
        self.numbers(Taxonomy::City, &targeting.excluded_cities, "excluded_cities")
    }

    fn numbers(&self, taxonomy: Taxonomy, numbers: &[u32], field: &str) -> Result<(), Refusal> {
        if !self.lists.is_loaded(taxonomy) {
            return Ok(());
        }
        let unknown = |number: &u32| !self.lists.has_number(taxonomy, *number);
        match numbers.iter().position(unknown) {
            Some(at) => Err(self.refuse(field, at, &numbers[at], taxonomy)),
            None => Ok(()),
        }
    }

    fn cities(&self, cities: &[u32], field: &str, countries: &[String]) -> Result<(), Refusal> {
        self.numbers(Taxonomy::City, cities, field)?;
        for (at, city) in cities.iter().enumerate() {
            let Some(country) = self.lists.country_of_city(*city) else { continue };
            if !countries.is_empty() && !countries.iter().any(|named| named == country) {
                let message = format!(
                    "city {city} is in {country}, which is none of the countries; add the country or \
                     leave out the city"
                );
                return Err(self.refusal(field, at, message));
            }
        }
        Ok(())
    }

    fn regions(&self, regions: &[String], field: &str) -> Result<(), Refusal> {
        if !self.lists.is_loaded(Taxonomy::Region) {
            return Ok(());
        }
        let unknown = |region: &String| !self.lists.has_text(Taxonomy::Region, region);
        match regions.iter().position(unknown) {
            Some(at) => Err(self.refuse(field, at, &regions[at], Taxonomy::Region)),
            None => Ok(()),
        }
    }

    fn keys(&self, pairs: &[KeyValues], field: &str) -> Result<(), Refusal> {
        if !self.lists.is_loaded(Taxonomy::Key) {
            return Ok(());
        }
        let unknown = |pair: &KeyValues| !self.lists.has_text(Taxonomy::Key, &pair.key);
        match pairs.iter().position(unknown) {
            Some(at) => Err(self.refuse(field, at, &pairs[at].key, Taxonomy::Key)),
            None => Ok(()),
        }
    }

    fn refuse(
        &self,
        field: &str,
        at: usize,
        named: &impl std::fmt::Display,
        taxonomy: Taxonomy,
    ) -> Refusal {
        let list = taxonomy.as_str_name();
        let message =
            format!("{named} is not in the operator's list; SearchTargeting({list}) says what is");
        self.refusal(field, at, message)
    }

    fn refusal(&self, field: &str, at: usize, message: String) -> Refusal {
        Refusal::new(Reason::FieldInvalid, format!("{}.{field}[{at}]", self.path), message)
    }
}
