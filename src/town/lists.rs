//! What the operator of the demo's town loads before the first business opens: what targeting may name, and
//! what currencies are worth to each other.

use crate::town::doors::Doors;
use crate::town::error::TownError;
use crate::town::people::OTHER_INTERESTS;
use crate::town::places::{CATEGORIES, PLACES, PLAN_KEY, SEGMENTS, city};
use crate::types::proto::v1::{
    ExchangeRate, SetExchangeRatesRequest, Taxonomy, TaxonomyEntry, UpdateTaxonomyRequest,
};

/// What one unit of a currency is worth in the feed's, which is US dollars: millionths, rounded.
const RATES: [(&str, i64); 3] = [("MXN", 54_000), ("INR", 11_700), ("BRL", 180_000)];

/// Loads every list of the town.
///
/// # Errors
/// When the server refuses one, or fails.
pub(crate) async fn load_lists(doors: &mut Doors, seed: u64) -> Result<(), TownError> {
    for (taxonomy, put) in lists() {
        let request_id = format!("town-{seed}-{}", taxonomy.as_str_name());
        let (taxonomy, removed) = (taxonomy.into(), Vec::new());
        let request = UpdateTaxonomyRequest { request_id, taxonomy, put, removed };
        let failed =
            |status| TownError::Refused { call: "UpdateTaxonomy", status: Box::new(status) };
        doors.admin.update_taxonomy(request).await.map_err(failed)?;
    }
    let rate = |(currency, rate_micros): (&str, i64)| ExchangeRate {
        currency: currency.to_owned(),
        rate_micros,
        // Before the town's day: it holds from the beginning.
        valid_from: Some(prost_types::Timestamp::default()),
    };
    let request = SetExchangeRatesRequest {
        request_id: format!("town-{seed}-rates"),
        settlement_currency: "USD".to_owned(),
        rates: RATES.map(rate).into(),
    };
    let answer = doors.admin.set_exchange_rates(request).await;
    answer.map(drop).map_err(TownError::refused("SetExchangeRates"))
}

fn lists() -> [(Taxonomy, Vec<TaxonomyEntry>); 4] {
    let numbered = |id: u32, name: String| TaxonomyEntry { id, name, ..Default::default() };
    let interests = 1..=CATEGORIES.len() as u32 + OTHER_INTERESTS as u32;
    let interests = interests.map(|id| {
        let known = CATEGORIES.get(id as usize - 1);
        numbered(id, known.map_or_else(|| format!("interest {id}"), ToString::to_string))
    });
    let cities = PLACES.iter().enumerate().flat_map(|(place, home)| {
        home.regions.iter().enumerate().map(move |(region, code)| TaxonomyEntry {
            country: home.country.to_owned(),
            ..numbered(city(place, region), format!("Largest city of {code}"))
        })
    });
    let key = TaxonomyEntry { name: PLAN_KEY.to_owned(), ..Default::default() };
    [
        (Taxonomy::Interest, interests.collect()),
        (
            Taxonomy::Segment,
            (1..=SEGMENTS).map(|id| numbered(id, format!("segment {id}"))).collect(),
        ),
        (Taxonomy::City, cities.collect()),
        (Taxonomy::Key, vec![key]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::town::businesses::plan;
    use crate::town::people::settle;
    use crate::types::request::Resource;
    use crate::types::time::Moment;

    #[test]
    fn the_lists_have_all_that_the_town_names() {
        let [interests, segments, cities, _] = lists()
            .map(|(_, entries)| entries.iter().map(|entry| entry.id).collect::<BTreeSet<_>>());
        for person in settle(7, 2_000) {
            let viewer = person.viewer;
            assert!(viewer.interests.iter().all(|number| interests.contains(number)));
            assert!(viewer.segments.iter().all(|number| segments.contains(number)));
            assert!(viewer.city == 0 || cities.contains(&viewer.city));
        }
        for line in plan(7, 20_000, Moment(0)) {
            let Resource::AdSet(ad_set) = line.resource else { continue };
            for targeting in ad_set.targeting.iter().chain(&ad_set.or_targeting) {
                let groups = targeting.interests.iter().flat_map(|group| &group.any_of);
                let mut named = groups.chain(&targeting.excluded_interests);
                assert!(named.all(|number| interests.contains(number)));
                assert!(targeting.cities.iter().all(|number| cities.contains(number)));
            }
        }
    }
}
