//! Which parameters choose an ad: a main fact that transparency law asks for (DSA article 26).

use crate::types::proto::v1::{AdSet, Targeting};

/// Parameters that may choose an ad, as "why this ad" names them.
const PARAMETERS: [&str; 14] = [
    "country",
    "place",
    "language",
    "age",
    "gender",
    "os",
    "device",
    "connection",
    "app_version",
    "placement",
    "interests",
    "audience",
    "time",
    "recency",
];

/// Returns which parameters an ad set's targeting uses, a bit each.
pub fn parameters(ad_set: &AdSet) -> u16 {
    let uses = |wire: &Targeting| {
        let placed = !wire.regions.is_empty() || !wire.cities.is_empty() || !wire.radii.is_empty();
        let unplaced = !wire.excluded_regions.is_empty() || !wire.excluded_cities.is_empty();
        let segments = !wire.segments.is_empty() || !wire.excluded_segments.is_empty();
        let values = !wire.key_values.is_empty() || !wire.excluded_key_values.is_empty();
        let used = [
            !wire.countries.is_empty(),
            placed || unplaced,
            !wire.languages.is_empty(),
            wire.age_min != 0 || wire.age_max != 0,
            !wire.genders.is_empty(),
            !wire.os.is_empty() || wire.os_version.is_some(),
            !wire.device_classes.is_empty(),
            !wire.connections.is_empty(),
            wire.app_version.is_some(),
            !wire.placements.is_empty(),
            !wire.interests.is_empty() || !wire.excluded_interests.is_empty(),
            segments || values,
            !wire.hours_of_week.is_empty(),
            wire.viewer_recency != 0,
        ];
        used.iter().rev().fold(0, |mask, used| mask << 1 | u16::from(*used))
    };
    let all = ad_set.targeting.iter().chain(&ad_set.or_targeting);
    all.fold(0, |mask, wire| mask | uses(wire))
}

/// Returns the names of parameters, by their bits.
pub fn parameter_names(mask: u16) -> impl Iterator<Item = &'static str> {
    let used = PARAMETERS.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1);
    used.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_conjunction_uses_is_named_once() {
        assert_eq!(parameter_names(parameters(&AdSet::default())).count(), 0);
        let targeting = Some(Targeting { age_max: 24, viewer_recency: 1, ..Default::default() });
        let or_targeting = vec![Targeting { age_min: 55, ..Default::default() }];
        let named = AdSet { targeting, or_targeting, ..AdSet::default() };
        assert!(parameter_names(parameters(&named)).eq(["age", "recency"]));
    }
}
