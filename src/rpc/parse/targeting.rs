//! Whom an ad set may be shown to, checked. It stays in the wire's form, as the catalog keeps it.
//!
//! A value that stands in a list twice is refused rather than folded: the catalog answers with what was
//! sent.

use std::collections::BTreeSet;

use crate::rpc::limits::{
    GROUPS_MAX, INTERESTS_MAX, KEYS_MAX, RADII_MAX, RADIUS_M_MAX, RADIUS_M_MIN, SEGMENTS_MAX,
    TARGETS_MAX, VALUE_CHARS_MAX, WEEK_HOURS,
};
use crate::rpc::parse::audience::somebody_can_match;
use crate::rpc::parse::field::{
    Path, at_most, country, interest, key, language, number, optional_variant, place, region,
    required, text, variant, version,
};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};

/// Where the bands of the field start. 0 is "no lower end".
pub(super) const AGE_STARTS: [u32; 8] = [0, 13, 18, 25, 35, 45, 55, 65];

/// Where they end. 0 is "no upper end".
const AGE_ENDS: [u32; 7] = [0, 17, 24, 34, 44, 54, 64];

/// Checks a targeting. One that nobody can match is refused by what contradicts.
pub(super) fn targeting(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    places(wire, path)?;
    people(wire, path)?;
    devices(wire, path)?;
    let list = path.field("placements");
    each(&wire.placements, list, |&value, at| variant::<v1::Placement>(value, at))?;
    each(&wire.hours_of_week, path.field("hours_of_week"), hour)?;
    optional_variant::<v1::ViewerRecency>(wire.viewer_recency, path.field("viewer_recency"))?;
    key_values(&wire.key_values, path.field("key_values"))?;
    key_values(&wire.excluded_key_values, path.field("excluded_key_values"))?;
    somebody_can_match(wire, path)
}

fn places(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    let countries = each(&wire.countries, path.field("countries"), |text, at| country(text, at))?;
    // A region outside the countries would match nobody, and exclude nobody.
    each(&wire.regions, path.field("regions"), |text, at| region(text, &countries, at))?;
    let excluded = path.field("excluded_regions");
    each(&wire.excluded_regions, excluded, |text, at| region(text, &countries, at))?;
    each(&wire.cities, path.field("cities"), |&city, at| number(city, at))?;
    each(&wire.excluded_cities, path.field("excluded_cities"), |&city, at| number(city, at))?;
    let radii = path.field("radii");
    at_most(wire.radii.len(), RADII_MAX, radii)?;
    each(&wire.radii, radii, radius)?;
    Ok(())
}

fn radius(wire: &v1::Radius, path: Path) -> Result<(), Refusal> {
    place(wire.latitude_e6, wire.longitude_e6, path)?;
    if (RADIUS_M_MIN..=RADIUS_M_MAX).contains(&wire.meters) {
        return Ok(());
    }
    let message = format!("is {}: send {RADIUS_M_MIN} to {RADIUS_M_MAX}", wire.meters);
    Err(path.field("meters").refuse(Reason::FieldInvalid, message))
}

fn people(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    each(&wire.languages, path.field("languages"), |text, at| language(text, at))?;
    each(&wire.genders, path.field("genders"), |&value, at| variant::<v1::Gender>(value, at))?;
    ages(wire.age_min, wire.age_max, path)?;
    let lists = wire.interests.iter().map(|group| &*group.any_of);
    let check = |value: &u32, at: Path| interest(*value, at).map(drop);
    groups(lists, INTERESTS_MAX, path.field("interests"), check)?;
    let excluded = path.field("excluded_interests");
    within(&wire.excluded_interests, INTERESTS_MAX, excluded, check)?;
    let lists = wire.segments.iter().map(|group| &*group.any_of);
    let check = |value: &u32, at: Path| number(*value, at).map(drop);
    groups(lists, SEGMENTS_MAX, path.field("segments"), check)?;
    within(&wire.excluded_segments, SEGMENTS_MAX, path.field("excluded_segments"), check)
}

fn devices(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    each(&wire.os, path.field("os"), |&value, at| variant::<v1::Os>(value, at))?;
    let classes = path.field("device_classes");
    each(&wire.device_classes, classes, |&value, at| variant::<v1::DeviceClass>(value, at))?;
    let connections = path.field("connections");
    each(&wire.connections, connections, |&value, at| variant::<v1::Connection>(value, at))?;
    let system = path.field("os_version");
    if let Some(range) = &wire.os_version {
        if wire.os.len() != 1 {
            let message = "is of no one system: name exactly one os, or leave it out";
            return Err(system.refuse(Reason::FieldInvalid, message));
        }
        versions(range, system)?;
    }
    wire.app_version.iter().try_for_each(|range| versions(range, path.field("app_version")))
}

fn versions(wire: &v1::VersionRange, path: Path) -> Result<(), Refusal> {
    let told = !wire.min.is_empty() || !wire.max.is_empty();
    required(told.then_some(()), path)?;
    let (min, max) =
        (version(&wire.min, path.field("min"))?, version(&wire.max, path.field("max"))?);
    if max != 0 && max < min {
        let message = format!("is {}: must not be below min, {}", wire.max, wire.min);
        return Err(path.field("max").refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

fn hour(hour: &u32, path: Path) -> Result<(), Refusal> {
    if *hour < WEEK_HOURS {
        return Ok(());
    }
    let message = format!("is {hour}: send 0 (Monday, midnight) to {}", WEEK_HOURS - 1);
    Err(path.refuse(Reason::FieldInvalid, message))
}

/// Checks groups joined by AND. An empty group would match nobody, and the ad set would be silent for no
/// reason that it names.
fn groups<'a>(
    lists: impl ExactSizeIterator<Item = &'a [u32]>,
    max: usize,
    path: Path,
    check: impl Fn(&u32, Path) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    at_most(lists.len(), GROUPS_MAX, path)?;
    for (index, list) in lists.enumerate() {
        let group = path.at(index);
        let any_of = group.field("any_of");
        required((!list.is_empty()).then_some(()), any_of)?;
        within(list, max, any_of, &check)?;
    }
    Ok(())
}

fn key_values(wire: &[v1::KeyValues], path: Path) -> Result<(), Refusal> {
    at_most(wire.len(), KEYS_MAX, path)?;
    let mut keys = BTreeSet::new();
    for (index, entry) in wire.iter().enumerate() {
        let path = path.at(index);
        key(&entry.key, path.field("key"))?;
        if !keys.insert(&entry.key) {
            let message = "is there twice: put all values of a key into one entry";
            return Err(path.field("key").refuse(Reason::FieldInvalid, message));
        }
        let any_of = path.field("any_of");
        required((!entry.any_of.is_empty()).then_some(()), any_of)?;
        each(&entry.any_of, any_of, |value, at| text(value, VALUE_CHARS_MAX, at))?;
    }
    Ok(())
}

fn each<T: PartialEq, U>(
    list: &[T],
    path: Path,
    check: impl Fn(&T, Path) -> Result<U, Refusal>,
) -> Result<Vec<U>, Refusal> {
    at_most(list.len(), TARGETS_MAX, path)?;
    let mut checked = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        checked.push(check(value, path.at(index))?);
        if list[..index].contains(value) {
            let message = "is there twice: send each value once";
            return Err(path.at(index).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(checked)
}

/// As [`each`], for numbers with a limit of their own.
fn within(
    list: &[u32],
    max: usize,
    path: Path,
    check: impl Fn(&u32, Path) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    at_most(list.len(), max, path)?;
    each(list, path, check).map(drop)
}

fn ages(min: u32, max: u32, path: Path) -> Result<(), Refusal> {
    if !AGE_STARTS.contains(&min) {
        let message = format!("is {min}: send the start of a band: {AGE_STARTS:?}");
        return Err(path.field("age_min").refuse(Reason::FieldInvalid, message));
    }
    if !AGE_ENDS.contains(&max) {
        let message = format!("is {max}: send the end of a band: {AGE_ENDS:?}");
        return Err(path.field("age_max").refuse(Reason::FieldInvalid, message));
    }
    if max != 0 && max < min {
        let message = format!("is {max}: must not be below age_min, {min}");
        return Err(path.field("age_max").refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_targeting_means_anyone() {
        assert_eq!(parse(&v1::Targeting::default()), Ok(()));
        assert_eq!(parse(&whole()), Ok(()));
    }

    #[test]
    fn each_value_out_of_its_list_is_refused_by_its_path() {
        check("countries[0]", |t| t.countries[0] = "mx".into());
        check("countries", |t| t.countries = vec!["MX".into(); 257]);
        check("countries[2]", |t| t.countries.push("MX".into()));
        check("regions[1]", |t| t.regions.push("US-CA".into()));
        check("regions[0]", |t| t.regions[0] = "MX".into());
        check("excluded_regions[0]", |t| t.excluded_regions[0] = "US-CA".into());
        check("languages[0]", |t| t.languages[0] = "xx".into());
        check("genders[0]", |t| t.genders[0] = 0);
        check("genders[1]", |t| t.genders.push(9));
        check("os[0]", |t| t.os[0] = 5);
        check("placements[0]", |t| t.placements[0] = 0);
        check("placements[1]", |t| t.placements.push(1));
        check("interests[1].any_of", |t| t.interests.push(v1::InterestGroup::default()));
        check("interests[0].any_of[0]", |t| t.interests[0].any_of[0] = 0);
        check("interests[0].any_of[2]", |t| t.interests[0].any_of.push(1));
        check("interests[0].any_of", |t| t.interests[0].any_of = (1..=257).collect());
        check("interests", |t| t.interests = vec![t.interests[0].clone(); 17]);
        check("excluded_interests[0]", |t| t.excluded_interests[0] = 65_536);
        check("excluded_interests", |t| t.excluded_interests = vec![1; 257]);
        check("segments[0].any_of[0]", |t| t.segments[0].any_of[0] = 1 << 24);
        check("segments[1].any_of", |t| t.segments.push(v1::SegmentGroup::default()));
        check("segments", |t| t.segments = vec![t.segments[0].clone(); 17]);
        check("excluded_segments[0]", |t| t.excluded_segments[0] = 0);
        check("hours_of_week[1]", |t| t.hours_of_week.push(168));
        check("hours_of_week[1]", |t| t.hours_of_week.push(167));
        check("hours_of_week", |t| t.hours_of_week = (0..257).collect());
        check("viewer_recency", |t| t.viewer_recency = 3);
    }

    #[test]
    fn each_place_is_on_the_map_and_no_circle_is_a_point_or_a_country() {
        check("cities[0]", |t| t.cities[0] = 0);
        check("cities[0]", |t| t.cities[0] = 1 << 24);
        check("cities", |t| t.cities = (1..=257).collect());
        check("excluded_cities[0]", |t| t.excluded_cities[0] = 0);
        check("radii[0].latitude_e6", |t| t.radii[0].latitude_e6 = 90_000_001);
        check("radii[0].latitude_e6", |t| t.radii[0].latitude_e6 = i32::MIN);
        check("radii[0].longitude_e6", |t| t.radii[0].longitude_e6 = -180_000_001);
        check("radii[0].meters", |t| t.radii[0].meters = 0);
        check("radii[0].meters", |t| t.radii[0].meters = 999);
        check("radii[0].meters", |t| t.radii[0].meters = 80_001);
        check("radii[1]", |t| t.radii.push(t.radii[0]));
        check("radii", |t| t.radii = vec![t.radii[0]; 17]);
    }

    #[test]
    fn each_device_is_one_that_there_is() {
        check("device_classes[0]", |t| t.device_classes[0] = 5);
        check("connections[0]", |t| t.connections[0] = 6);
        check("os_version", |t| t.os.clear());
        check("os_version", |t| t.os.push(v1::Os::Ios.into()));
        check("os_version", |t| t.os_version = Some(v1::VersionRange::default()));
        check("os_version.min", |t| system(t).min = "v16".into());
        check("os_version.min", |t| system(t).min = "0".into());
        check("os_version.max", |t| system(t).max = "1.2.3.4.5".into());
        check("os_version.max", |t| system(t).max = "65536".into());
        check("os_version.max", |t| system(t).max = "9.9".into());
        check("app_version.min", |t| t.app_version.as_mut().unwrap().min = "2.".into());
    }

    #[test]
    fn each_key_has_its_form_and_stands_once() {
        check("key_values[0].key", |t| t.key_values[0].key.clear());
        check("key_values[0].key", |t| t.key_values[0].key = "Plan".into());
        check("key_values[0].key", |t| t.key_values[0].key = "x".repeat(41));
        check("key_values[1].key", |t| t.key_values.push(t.key_values[0].clone()));
        check("key_values[0].any_of", |t| t.key_values[0].any_of.clear());
        check("key_values[0].any_of[0]", |t| t.key_values[0].any_of[0].clear());
        check("key_values[0].any_of[0]", |t| t.key_values[0].any_of[0] = "x".repeat(65));
        check("key_values[0].any_of[1]", |t| t.key_values[0].any_of.push("gold".into()));
        check("key_values", |t| t.key_values = vec![t.key_values[0].clone(); 17]);
        check("excluded_key_values[0].key", |t| t.excluded_key_values[0].key = "a b".into());
    }

    #[test]
    fn ages_are_bands_and_not_upside_down() {
        for (min, max) in [(0, 0), (13, 17), (18, 64), (65, 0), (0, 24), (18, 24)] {
            assert_eq!(ages(min, max, Path::root("t")), Ok(()), "{min} to {max}");
        }
        check("age_min", |t| t.age_min = 19);
        check("age_min", |t| t.age_min = 17);
        check("age_max", |t| t.age_max = 65);
        check("age_max", |t| (t.age_min, t.age_max) = (25, 24));
    }

    fn whole() -> v1::Targeting {
        let entry =
            |key: &str, value: &str| v1::KeyValues { key: key.into(), any_of: vec![value.into()] };
        v1::Targeting {
            countries: vec!["MX".into(), "IN".into()],
            regions: vec!["MX-CMX".into()],
            languages: vec!["es".into()],
            age_min: 18,
            age_max: 44,
            genders: vec![v1::Gender::Female.into()],
            os: vec![v1::Os::Android.into()],
            placements: vec![v1::Placement::Status.into()],
            interests: vec![v1::InterestGroup { any_of: vec![1, 65_535] }],
            excluded_interests: vec![2],
            cities: vec![16_777_215],
            radii: vec![v1::Radius {
                latitude_e6: 90_000_000,
                longitude_e6: -180_000_000,
                meters: 80_000,
            }],
            device_classes: vec![v1::DeviceClass::Phone.into()],
            connections: vec![v1::Connection::Wifi.into()],
            os_version: Some(v1::VersionRange { min: "10".into(), max: "16.4.1".into() }),
            app_version: Some(v1::VersionRange { min: "2.24".into(), max: String::new() }),
            segments: vec![v1::SegmentGroup { any_of: vec![7, 16_777_215] }],
            excluded_segments: vec![8],
            key_values: vec![entry("plan", "gold")],
            excluded_key_values: vec![entry("plan", "trial")],
            hours_of_week: vec![167],
            viewer_recency: v1::ViewerRecency::New.into(),
            excluded_regions: vec!["MX-JAL".into()],
            excluded_cities: vec![3],
        }
    }

    fn system(wire: &mut v1::Targeting) -> &mut v1::VersionRange {
        wire.os_version.as_mut().unwrap()
    }

    fn parse(wire: &v1::Targeting) -> Result<(), Refusal> {
        targeting(wire, Path::root("ad_set").field("targeting"))
    }

    fn check(field: &str, spoil: impl Fn(&mut v1::Targeting)) {
        let mut wire = whole();
        spoil(&mut wire);
        assert_eq!(parse(&wire).unwrap_err().field, format!("ad_set.targeting.{field}"));
    }
}
