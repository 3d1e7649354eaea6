//! Who lives in the town: what the feed knows of each viewer, and what only the viewer knows.

use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::places::{CATEGORIES, PLACES, PLAN_KEY, PLANS, Place, SEGMENTS, city};
use crate::types::proto::v1::{
    AgeBand, Connection, DeviceClass, Gender, GeoPoint, KeyValue, Os, ViewerContext, ViewerRecency,
};

/// Kinds of interests beside the businesses' categories, so that most viewers have some that nobody
/// asks for.
pub(crate) const OTHER_INTERESTS: u64 = 60;

/// How many of a thousand people are in each age band, from 13 to 17 years.
const AGE_SHARES: [u32; 7] = [60, 230, 290, 190, 120, 70, 40];

/// One viewer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Person {
    /// What the feed tells with each request.
    pub(crate) viewer: ViewerContext,
    /// Index into [`PLACES`].
    pub(crate) place: usize,
    /// Sessions on an ordinary day.
    pub(crate) sessions: u32,
    /// How much more than others this person taps, in millionths.
    pub(crate) liking: u32,
    /// Minutes that this person's day begins after the others'.
    pub(crate) late_riser_minutes: i64,
}

/// Returns the people of the town, always the same for one seed; the first ones are the same in a
/// smaller town.
pub(crate) fn settle(seed: u64, count: usize) -> Vec<Person> {
    (0..count as u64).map(|number| person(seed, number)).collect()
}

fn person(seed: u64, number: u64) -> Person {
    let mut dice = Dice::new(seed, Concern::People, &[number]);
    let shares = PLACES.each_ref().map(|place| place.share);
    let place = dice.weighted(&shares);
    let home = &PLACES[place];
    let os = dice.weighted(&[940 - home.ios, home.ios, 30, 30]) as i32 + Os::Android as i32;
    let age_band = dice.weighted(&AGE_SHARES) as i32 + AgeBand::AgeBand1317 as i32;
    let gender = dice.weighted(&[485, 485, 10, 20]) as i32 + Gender::Female as i32;
    let viewer = ViewerContext {
        pseudonym: format!("v{number:07}-{:08x}", dice.number() as u32),
        country: home.country.to_owned(),
        region: region(&mut dice, home.regions),
        languages: languages(&mut dice, home.languages),
        age_band,
        // One above the last gender of the list stands for "not told".
        gender: if gender > Gender::Other as i32 { 0 } else { gender },
        os,
        interests: interests(&mut dice),
        ..Default::default()
    };
    let mut surroundings = Dice::new(seed, Concern::People, &[number, 1]);
    Person {
        viewer: surrounded(&mut surroundings, viewer, place),
        place,
        sessions: 1 + dice.weighted(&[18, 22, 20, 14, 10, 7, 5, 4]) as u32,
        liking: dice.between(200_000..=1_800_000) as u32,
        late_riser_minutes: dice.between(-60..=120),
    }
}

fn region(dice: &mut Dice, regions: &[&str]) -> String {
    if dice.chance(CERTAIN / 10) {
        return String::new();
    }
    // The first regions of a place are the larger ones.
    let index = dice.below(regions.len() as u64).min(dice.below(regions.len() as u64));
    regions[index as usize].to_owned()
}

fn languages(dice: &mut Dice, spoken: &[&str]) -> Vec<String> {
    let index = dice.below(spoken.len() as u64).min(dice.below(spoken.len() as u64)) as usize;
    let mut languages = vec![spoken[index].to_owned()];
    if index > 0 && dice.chance(CERTAIN / 2) {
        languages.push(spoken[0].to_owned());
    }
    languages
}

fn interests(dice: &mut Dice) -> Vec<u32> {
    let known = CATEGORIES.len() as u64 + OTHER_INTERESTS;
    let mut interests: Vec<u32> =
        (0..dice.below(9)).map(|_| 1 + dice.below(known).min(dice.below(known)) as u32).collect();
    interests.sort_unstable();
    interests.dedup();
    interests
}

/// Adds what the feed knows of where the viewer is, on what, and how they came. Its chance is its own, so
/// that nobody becomes another person by it.
fn surrounded(dice: &mut Dice, viewer: ViewerContext, place: usize) -> ViewerContext {
    let home = &PLACES[place];
    let lives = home.regions.iter().position(|region| *region == viewer.region);
    let os = viewer.os();
    let device = match os {
        Os::Kaios => DeviceClass::FeaturePhone,
        Os::Desktop => DeviceClass::Desktop,
        _ if dice.chance(CERTAIN / 20) => DeviceClass::Tablet,
        _ => DeviceClass::Phone,
    };
    let connections = [
        Connection::Wifi,
        Connection::Wifi,
        Connection::Cellular4g,
        Connection::Cellular4g,
        Connection::Cellular5g,
        Connection::Cellular3g,
        Connection::Unspecified,
    ];
    let mut segments: Vec<u32> =
        (0..dice.below(4)).map(|_| 1 + dice.below(SEGMENTS.into()) as u32).collect();
    segments.sort_unstable();
    segments.dedup();
    let plan = *dice.pick(&PLANS);
    let plan = KeyValue { key: PLAN_KEY.to_owned(), value: plan.to_owned() };
    let recency =
        if dice.chance(CERTAIN / 8) { ViewerRecency::New } else { ViewerRecency::Returning };
    ViewerContext {
        city: lives.map_or(0, |region| city(place, region)),
        // Only who lives around the largest city lets the feed know where.
        location: (lives == Some(0)).then(|| nearby(dice, home)),
        device_class: device.into(),
        connection: (*dice.pick(&connections)).into(),
        os_version: os_version(dice, os),
        app_version: format!("2.{}.{}", dice.between(22..=26), dice.between(1..=25)),
        segments,
        key_values: vec![plan],
        utc_offset_minutes: Some(home.ahead_minutes as i32),
        viewer_recency: recency.into(),
        ..viewer
    }
}

/// Returns a point at most some 30 km from the middle of the place's largest city.
fn nearby(dice: &mut Dice, home: &Place) -> GeoPoint {
    let mut away = || dice.between(-200_000..=200_000) as i32;
    let (north, east) = home.middle;
    GeoPoint { latitude_e6: north + away(), longitude_e6: east + away() }
}

fn os_version(dice: &mut Dice, os: Os) -> String {
    match os {
        Os::Android => dice.between(9..=16).to_string(),
        Os::Ios => format!("{}.{}", dice.between(15..=18), dice.below(7)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_people_and_a_smaller_town_its_first_ones() {
        let people = settle(7, 300);
        assert_eq!(people, settle(7, 300));
        assert_eq!(people[..100], settle(7, 100));
        assert_ne!(people[..100], settle(8, 100));
    }

    #[test]
    fn the_pilots_come_first_and_everyone_has_a_name_of_their_own() {
        let people = settle(7, 5_000);
        let from = |country| people.iter().filter(|one| one.viewer.country == country).count();
        assert!((1_300..1_700).contains(&from("MX")), "{}", from("MX"));
        assert!((1_450..1_850).contains(&from("IN")), "{}", from("IN"));
        assert!((850..1_150).contains(&from("BR")), "{}", from("BR"));
        let names: std::collections::BTreeSet<_> =
            people.iter().map(|one| &one.viewer.pseudonym).collect();
        assert_eq!(names.len(), people.len());
    }

    #[test]
    fn all_that_is_told_is_within_the_contract() {
        for person in settle(3, 2_000) {
            let viewer = person.viewer;
            assert!(AgeBand::try_from(viewer.age_band).is_ok());
            assert!(Gender::try_from(viewer.gender).is_ok());
            assert!(matches!(Os::try_from(viewer.os), Ok(os) if os != Os::Unspecified));
            assert!(viewer.interests.is_sorted() && viewer.interests.iter().all(|&n| n > 0));
            assert!((1..=2).contains(&viewer.languages.len()));
            assert_eq!(viewer.city == 0, viewer.region.is_empty());
            assert!(viewer.segments.iter().all(|&n| (1..=SEGMENTS).contains(&n)));
        }
    }
}
