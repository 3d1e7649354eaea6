//! The operator's lists: interests, segments, cities, keys and regions that targeting may name.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::types::iso;
use crate::types::proto::journal::v1::TaxonomyPut;
use crate::types::proto::v1::{Taxonomy, TaxonomyEntry};

/// A number, or what stands for it: of a key its name, of a region its code.
type Key = (u32, String);

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Entry {
    name: String,
    /// Of a city.
    country: String,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct List(BTreeMap<Key, Entry>);

/// What is looked for in a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search<'a> {
    /// Part of a name, number or code, in any case. Empty: all.
    pub query: &'a str,
    /// Only of this country (cities and regions). Empty: of all.
    pub country: &'a str,
}

/// All lists. One without entries was not loaded: its kind is checked for its form only.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lists {
    interests: List,
    segments: List,
    cities: List,
    keys: List,
    regions: List,
}

impl Lists {
    /// Tells whether a list was loaded.
    pub fn is_loaded(&self, taxonomy: Taxonomy) -> bool {
        self.list(taxonomy).is_some_and(|list| !list.0.is_empty())
    }

    /// Tells whether an interest, segment or city is in its list.
    pub fn has_number(&self, taxonomy: Taxonomy, number: u32) -> bool {
        self.has(taxonomy, &(number, String::new()))
    }

    /// Tells whether a key (by its name) or region (by its code) is in its list.
    pub fn has_text(&self, taxonomy: Taxonomy, text: &str) -> bool {
        self.has(taxonomy, &(0, text.to_owned()))
    }

    /// Returns the country of a city; `None`: it is not in the list.
    pub fn country_of_city(&self, city: u32) -> Option<&str> {
        self.cities.0.get(&(city, String::new())).map(|entry| &*entry.country)
    }

    fn has(&self, taxonomy: Taxonomy, key: &Key) -> bool {
        self.list(taxonomy).is_some_and(|list| list.0.contains_key(key))
    }

    /// Returns how many entries a list will have after a write.
    pub fn count_after(&self, put: &TaxonomyPut) -> usize {
        let taxonomy = put.taxonomy();
        let keys = |entries: &[TaxonomyEntry]| -> std::collections::BTreeSet<Key> {
            entries.iter().map(|entry| key_of(taxonomy, entry)).collect()
        };
        let (added, removed) = (keys(&put.put), keys(&put.removed));
        let known = |key: &&Key| self.has(taxonomy, key);
        let gone = removed.difference(&added).filter(known).count();
        let new = added.iter().filter(|key| !known(key)).count();
        self.list(taxonomy).map_or(0, |list| list.0.len()) + new - gone
    }

    /// Removes, adds and replaces entries.
    pub fn put(&mut self, put: &TaxonomyPut) {
        let taxonomy = put.taxonomy();
        let Some(list) = self.list_mut(taxonomy) else { return };
        for entry in &put.removed {
            list.0.remove(&key_of(taxonomy, entry));
        }
        for entry in &put.put {
            // What is the key already is not kept twice.
            let name = if taxonomy == Taxonomy::Key { String::new() } else { entry.name.clone() };
            let kept = Entry { name, country: entry.country.clone() };
            list.0.insert(key_of(taxonomy, entry), kept);
        }
    }

    /// Returns entries that fit a search, in order of number, code or name, behind the one that `after`
    /// names, and what names the last one if there are more. Countries and languages are built in.
    pub fn search(
        &self,
        taxonomy: Taxonomy,
        search: &Search<'_>,
        after: &str,
        limit: usize,
    ) -> (Vec<TaxonomyEntry>, Option<String>) {
        let built_in = |codes: &mut dyn Iterator<Item = &'static str>| {
            let behind = codes.filter(|code| *code > after);
            let entries = behind.map(|code| TaxonomyEntry {
                name: code.to_owned(),
                code: code.to_owned(),
                ..TaxonomyEntry::default()
            });
            page(taxonomy, entries.filter(|entry| fits(taxonomy, entry, search)), limit)
        };
        match taxonomy {
            Taxonomy::Country => return built_in(&mut iso::countries()),
            Taxonomy::Language => return built_in(&mut iso::languages()),
            _ => {}
        }
        let Some(list) = self.list(taxonomy) else { return (Vec::new(), None) };
        let from = match taxonomy {
            Taxonomy::Key | Taxonomy::Region => (0, after.to_owned()),
            _ => (after.parse().unwrap_or_default(), String::new()),
        };
        let behind = list.0.range((Bound::Excluded(from), Bound::Unbounded));
        let entries = behind.map(|(key, entry)| entry_of(taxonomy, key, entry));
        page(taxonomy, entries.filter(|entry| fits(taxonomy, entry, search)), limit)
    }

    const fn list(&self, taxonomy: Taxonomy) -> Option<&List> {
        match taxonomy {
            Taxonomy::Interest => Some(&self.interests),
            Taxonomy::Segment => Some(&self.segments),
            Taxonomy::City => Some(&self.cities),
            Taxonomy::Key => Some(&self.keys),
            Taxonomy::Region => Some(&self.regions),
            Taxonomy::Unspecified | Taxonomy::Country | Taxonomy::Language => None,
        }
    }

    const fn list_mut(&mut self, taxonomy: Taxonomy) -> Option<&mut List> {
        match taxonomy {
            Taxonomy::Interest => Some(&mut self.interests),
            Taxonomy::Segment => Some(&mut self.segments),
            Taxonomy::City => Some(&mut self.cities),
            Taxonomy::Key => Some(&mut self.keys),
            Taxonomy::Region => Some(&mut self.regions),
            Taxonomy::Unspecified | Taxonomy::Country | Taxonomy::Language => None,
        }
    }
}

fn key_of(taxonomy: Taxonomy, entry: &TaxonomyEntry) -> Key {
    match taxonomy {
        Taxonomy::Key => (0, entry.name.clone()),
        Taxonomy::Region => (0, entry.code.clone()),
        _ => (entry.id, String::new()),
    }
}

fn entry_of(taxonomy: Taxonomy, (id, text): &Key, entry: &Entry) -> TaxonomyEntry {
    let (name, country) = (entry.name.clone(), entry.country.clone());
    match taxonomy {
        Taxonomy::Key => TaxonomyEntry { name: text.clone(), ..TaxonomyEntry::default() },
        Taxonomy::Region => TaxonomyEntry { name, code: text.clone(), ..TaxonomyEntry::default() },
        _ => TaxonomyEntry { id: *id, name, country, code: String::new() },
    }
}

fn fits(taxonomy: Taxonomy, entry: &TaxonomyEntry, search: &Search<'_>) -> bool {
    let at_home = match taxonomy {
        Taxonomy::City => entry.country == search.country,
        Taxonomy::Region => entry.code.split('-').next() == Some(search.country),
        _ => true,
    };
    if !search.country.is_empty() && !at_home {
        return false;
    }
    let wanted = search.query.to_lowercase();
    let number = if entry.id == 0 { String::new() } else { entry.id.to_string() };
    let texts = [&entry.name, &entry.code, &number];
    texts.iter().any(|text| text.to_lowercase().contains(&wanted))
}

fn page(
    taxonomy: Taxonomy,
    mut entries: impl Iterator<Item = TaxonomyEntry>,
    limit: usize,
) -> (Vec<TaxonomyEntry>, Option<String>) {
    let page: Vec<_> = entries.by_ref().take(limit).collect();
    let more = entries.next().is_some();
    let last = page.last().filter(|_| more).map(|entry| match taxonomy {
        Taxonomy::Interest | Taxonomy::Segment | Taxonomy::City => entry.id.to_string(),
        Taxonomy::Key => entry.name.clone(),
        _ => entry.code.clone(),
    });
    (page, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, name: &str, country: &str, code: &str) -> TaxonomyEntry {
        let (name, country, code) = (name.into(), country.into(), code.into());
        TaxonomyEntry { id, name, country, code }
    }

    fn loaded(taxonomy: Taxonomy, put: Vec<TaxonomyEntry>) -> Lists {
        let mut lists = Lists::default();
        lists.put(&TaxonomyPut { taxonomy: taxonomy.into(), put, removed: Vec::new() });
        lists
    }

    fn names(lists: &Lists, taxonomy: Taxonomy, query: &str, country: &str) -> Vec<String> {
        let (found, _) = lists.search(taxonomy, &Search { query, country }, "", 10);
        found.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_search_finds_part_of_a_name_number_or_code_in_any_case() {
        let cities = vec![entry(12, "Puebla", "MX", ""), entry(7, "Sao Paulo", "BR", "")];
        let lists = loaded(Taxonomy::City, cities);
        assert_eq!(names(&lists, Taxonomy::City, "", ""), ["Sao Paulo", "Puebla"]);
        assert_eq!(names(&lists, Taxonomy::City, "PAULO", ""), ["Sao Paulo"]);
        assert_eq!(names(&lists, Taxonomy::City, "12", ""), ["Puebla"]);
        assert_eq!(names(&lists, Taxonomy::City, "", "MX"), ["Puebla"]);
        assert_eq!(names(&lists, Taxonomy::Country, "mx", ""), ["MX"]);
        let regions = vec![entry(0, "Jalisco", "", "MX-JAL"), entry(0, "Acre", "", "BR-AC")];
        let lists = loaded(Taxonomy::Region, regions);
        assert_eq!(names(&lists, Taxonomy::Region, "jal", "MX"), ["Jalisco"]);
        assert_eq!(names(&lists, Taxonomy::Region, "", "BR"), ["Acre"]);
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let interests = (1..=25).map(|id| entry(id, "x", "", "")).collect();
        let lists = loaded(Taxonomy::Interest, interests);
        let keys = (1..=25).map(|id| entry(0, &format!("key{id}"), "", "")).collect();
        let keyed = loaded(Taxonomy::Key, keys);
        for (lists, taxonomy, all) in [
            (&lists, Taxonomy::Interest, 25),
            (&keyed, Taxonomy::Key, 25),
            (&lists, Taxonomy::Country, 249),
            (&lists, Taxonomy::Language, 184),
        ] {
            let (mut after, mut seen) = (String::new(), Vec::new());
            loop {
                let (page, next) = lists.search(taxonomy, &Search::default(), &after, 10);
                seen.extend(page);
                let Some(next) = next else { break };
                after = next;
            }
            assert_eq!(seen.len(), all, "{taxonomy:?}");
        }
    }

    #[test]
    fn the_count_after_a_write_is_known_before_it() {
        let mut lists =
            loaded(Taxonomy::Interest, (1..=5).map(|id| entry(id, "x", "", "")).collect());
        let ids = |ids: &[u32]| ids.iter().map(|id| entry(*id, "y", "", "")).collect();
        // 5 is replaced, 6 is new, 2 goes, 3 is removed and put: it stays; 9 never was.
        let put = TaxonomyPut {
            taxonomy: Taxonomy::Interest.into(),
            put: ids(&[5, 6, 6, 3]),
            removed: ids(&[2, 2, 3, 9]),
        };
        let told = lists.count_after(&put);
        lists.put(&put);
        let has = |id: u32| lists.has_number(Taxonomy::Interest, id);
        assert_eq!((1..=9).filter(|id| has(*id)).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
        assert_eq!(told, 5);
    }
}
