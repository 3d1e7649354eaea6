//! Whether anybody can match a targeting: what it asks for must not be what it excludes.
//!
//! Only what the targeting itself says is weighed. Whether such viewers exist, and which city lies in
//! which region, the door doesn't know.

use crate::rpc::parse::field::Path;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};

/// Refuses a targeting whose lists leave nobody, by the list that leaves nobody.
pub(super) fn somebody_can_match(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    places(wire, path)?;
    let lists = wire.interests.iter().map(|group| &*group.any_of);
    groups(lists, &wire.excluded_interests, path.field("interests"), "excluded_interests")?;
    let lists = wire.segments.iter().map(|group| &*group.any_of);
    groups(lists, &wire.excluded_segments, path.field("segments"), "excluded_segments")?;
    key_values(wire, path.field("key_values"))
}

/// Of regions, cities and circles one is enough, so nobody is left only when each region and city is
/// excluded and there is no circle.
fn places(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    let somewhere = !(wire.regions.is_empty() && wire.cities.is_empty());
    if somewhere
        && wire.radii.is_empty()
        && all_in(&wire.regions, &wire.excluded_regions)
        && all_in(&wire.cities, &wire.excluded_cities)
    {
        let name = if wire.regions.is_empty() { "excluded_cities" } else { "excluded_regions" };
        return Err(nobody(path.field(name), "they exclude every place that is asked for"));
    }
    // A whole country can't be excluded by its regions: nobody tells how many it has.
    Ok(())
}

fn groups<'a>(
    lists: impl Iterator<Item = &'a [u32]>,
    excluded: &[u32],
    path: Path,
    name: &str,
) -> Result<(), Refusal> {
    for (index, list) in lists.enumerate() {
        if all_in(list, excluded) {
            let group = path.at(index);
            let message = format!("each of them is in {name}");
            return Err(nobody(group.field("any_of"), &message));
        }
    }
    Ok(())
}

fn key_values(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    for (index, entry) in wire.key_values.iter().enumerate() {
        let mut excluded = wire.excluded_key_values.iter().filter(|other| other.key == entry.key);
        if excluded.any(|other| all_in(&entry.any_of, &other.any_of)) {
            let entry = path.at(index);
            let message = "each of them is in excluded_key_values";
            return Err(nobody(entry.field("any_of"), message));
        }
    }
    Ok(())
}

fn all_in<T: PartialEq>(list: &[T], others: &[T]) -> bool {
    list.iter().all(|value| others.contains(value))
}

fn nobody(path: Path, why: &str) -> Refusal {
    let message = format!("leaves no viewer: {why}; take one of the two out");
    path.refuse(Reason::FieldInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_of_nobody_is_refused_by_the_list_that_leaves_nobody() {
        check("excluded_regions", |t| {
            t.regions = texts(&["MX-CMX", "MX-JAL"]);
            t.excluded_regions = texts(&["MX-JAL", "MX-NLE", "MX-CMX"]);
        });
        check("excluded_cities", |t| (t.cities, t.excluded_cities) = (vec![4], vec![4]));
        check("excluded_regions", |t| {
            (t.cities, t.excluded_cities) = (vec![4], vec![4]);
            (t.regions, t.excluded_regions) = (texts(&["MX-CMX"]), texts(&["MX-CMX"]));
        });
        check("interests[1].any_of", |t| {
            t.interests = [vec![1], vec![2, 3]].map(|any_of| v1::InterestGroup { any_of }).into();
            t.excluded_interests = vec![3, 2];
        });
        check("segments[0].any_of", |t| {
            t.segments = vec![v1::SegmentGroup { any_of: vec![9] }];
            t.excluded_segments = vec![9];
        });
        check("key_values[0].any_of", |t| {
            t.key_values = vec![entry("plan", &["gold"])];
            t.excluded_key_values = vec![entry("plan", &["trial", "gold"])];
        });
    }

    #[test]
    fn whoever_is_left_is_an_audience() {
        passes(|t| {
            t.regions = texts(&["MX-CMX", "MX-JAL"]);
            t.excluded_regions = texts(&["MX-JAL"]);
        });
        passes(|t| {
            (t.cities, t.excluded_cities) = (vec![4], vec![4]);
            t.radii = vec![v1::Radius { latitude_e6: 0, longitude_e6: 0, meters: 1_000 }];
        });
        passes(|t| (t.excluded_cities, t.excluded_regions) = (vec![4], texts(&["MX-CMX"])));
        passes(|t| {
            t.interests = vec![v1::InterestGroup { any_of: vec![2, 3] }];
            t.excluded_interests = vec![2];
        });
        passes(|t| {
            t.key_values = vec![entry("plan", &["gold"])];
            t.excluded_key_values = vec![entry("tier", &["gold"])];
        });
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn entry(key: &str, values: &[&str]) -> v1::KeyValues {
        v1::KeyValues { key: key.into(), any_of: texts(values) }
    }

    fn judged(spoil: impl Fn(&mut v1::Targeting)) -> Result<(), Refusal> {
        let mut wire = v1::Targeting::default();
        spoil(&mut wire);
        somebody_can_match(&wire, Path::root("targeting"))
    }

    fn passes(spoil: impl Fn(&mut v1::Targeting)) {
        assert_eq!(judged(spoil), Ok(()));
    }

    fn check(field: &str, spoil: impl Fn(&mut v1::Targeting)) {
        let refusal = judged(spoil).unwrap_err();
        assert_eq!(refusal.field, format!("targeting.{field}"));
        assert!(refusal.message.contains("leaves no viewer"), "{}", refusal.message);
    }
}
