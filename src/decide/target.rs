//! Whom an ad set is for, in codes: one [`Target`] for each of its conjunctions.

use crate::types::geo::{Circle, cell_of};
use crate::types::proto::v1::{AdSet, AgeBand, KeyValues, Placement, Targeting, ViewerRecency};
use crate::types::request::{Profile, key_value};
use crate::types::time::Moment;
use crate::types::token::pack_region;
use crate::types::version::version_range;
use crate::types::week::Week;

/// Most conjunctions of one ad set: its targeting and what is joined to it by OR.
pub const CONJUNCTIONS_MAX: usize = 16;

/// A mask that every value passes, "not told" too.
const ANY: u8 = u8::MAX;

/// What is told of a viewer by one small number each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Trait {
    /// A [`AgeBand`].
    Age,
    /// A gender.
    Gender,
    /// An operating system.
    System,
    /// A [`Placement`].
    Placement,
    /// A device class.
    Device,
    /// A kind of connection.
    Connection,
    /// A [`ViewerRecency`].
    Recency,
}

/// How many traits there are.
pub const TRAITS: usize = 7;

/// How `Targeting` names them.
pub const TRAIT_NAMES: [&str; TRAITS] =
    ["age_min", "genders", "os", "placements", "device_classes", "connections", "viewer_recency"];

/// Kinds of numbers that share one space, in its two highest bits.
const KIND_SHIFT: u32 = 62;

/// Returns the tag of an interest.
pub const fn interest_tag(number: u32) -> u64 {
    1 << KIND_SHIFT | number as u64
}

/// Returns the tag of a segment.
pub const fn segment_tag(number: u32) -> u64 {
    2 << KIND_SHIFT | number as u64
}

/// Returns the tag of a custom key and value, by its [`key_value`] hash.
pub const fn value_tag(hash: u64) -> u64 {
    3 << KIND_SHIFT | hash >> 2
}

/// Returns the place of a region.
pub const fn region_place(country: u16, region: u16) -> u64 {
    1 << KIND_SHIFT | (country as u64) << 16 | region as u64
}

/// Returns the place of a city.
pub const fn city_place(city: u32) -> u64 {
    2 << KIND_SHIFT | city as u64
}

/// Returns the place of a cell of the grid that circles are looked up by.
pub const fn cell_place(cell: u32) -> u64 {
    3 << KIND_SHIFT | cell as u64
}

/// One conjunction in codes. An empty list or a full mask means "anyone".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Two letters each as a big-endian number.
    pub countries: Vec<u16>,
    /// Masks by [`Trait`], a bit for each value, bit 0 for "not told".
    pub traits: [u8; TRAITS],
    /// Two letters each as a big-endian number.
    pub languages: Vec<u16>,
    /// Regions and cities, one of which is enough.
    pub places: Vec<u64>,
    /// Circles, one of which is as good as a place.
    pub circles: Vec<Circle>,
    /// Regions and cities where the ad is not shown.
    pub excluded_places: Vec<u64>,
    /// Tags: of each group one is needed.
    pub groups: Vec<Vec<u64>>,
    /// Tags that keep the ad away.
    pub excluded_tags: Vec<u64>,
    /// Hours of the viewer's week, a bit each; `None`: always.
    pub hours: Option<Week>,
    /// First and last version of the system.
    pub os_versions: Option<(u64, u64)>,
    /// First and last version of the app.
    pub app_versions: Option<(u64, u64)>,
}

/// What a viewer tells, in the codes of [`Target`]. Keeps its buffers from one request to the next.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Two letters as a big-endian number; 0: not told.
    pub country: u16,
    /// Values by [`Trait`].
    pub traits: [u8; TRAITS],
    /// Languages.
    pub languages: Vec<u16>,
    /// The viewer's region, city and cell.
    pub places: Vec<u64>,
    /// The viewer's tags, ascending.
    pub tags: Vec<u64>,
    /// The hour of the viewer's week.
    pub hour: Option<u8>,
    /// Where the viewer is.
    pub location: Option<(i32, i32)>,
    /// Version of the system; 0: not told.
    pub os_version: u64,
    /// Version of the app; 0: not told.
    pub app_version: u64,
}

impl Told {
    /// Takes what a request tells, at a moment.
    pub fn take(&mut self, profile: &Profile, placement: Placement, now: Moment) {
        self.country = profile.country;
        self.traits = [
            profile.age_band,
            profile.gender,
            profile.os,
            placement as u8,
            profile.device_class,
            profile.connection,
            profile.recency,
        ];
        self.languages.clone_from(&profile.languages);
        self.places.clear();
        if profile.region != 0 {
            self.places.push(region_place(profile.country, profile.region));
        }
        if profile.city != 0 {
            self.places.push(city_place(profile.city));
        }
        if let Some((latitude, longitude)) = profile.location {
            self.places.push(cell_place(cell_of(latitude, longitude)));
        }
        self.tags.clear();
        self.tags.extend(profile.interests.iter().map(|number| interest_tag((*number).into())));
        self.tags.extend(profile.segments.iter().map(|number| segment_tag(*number)));
        self.tags.extend(profile.key_values.iter().map(|hash| value_tag(*hash)));
        self.tags.sort_unstable();
        self.hour = profile.utc_offset_minutes.map(|offset| now.hour_of_week(offset));
        self.location = profile.location;
        self.os_version = profile.os_version;
        self.app_version = profile.app_version;
    }

    /// Tells whether the viewer has a tag.
    pub fn has(&self, tag: u64) -> bool {
        self.tags.binary_search(&tag).is_ok()
    }
}

impl Target {
    /// Returns the conjunctions of an ad set: at least one, which matches anyone when nothing is said.
    pub fn of(ad_set: &AdSet) -> Vec<Self> {
        let first = ad_set.targeting.as_ref();
        let mut targets = vec![first.map_or_else(Self::anyone, Self::of_one)];
        targets.extend(ad_set.or_targeting.iter().map(Self::of_one));
        targets
    }

    fn anyone() -> Self {
        Self::of_one(&Targeting::default())
    }

    /// Returns one validated targeting in codes.
    pub fn of_one(wire: &Targeting) -> Self {
        let texts = |list: &[String]| list.iter().map(|text| letters(text)).collect();
        let regions = |list: &[String]| list.iter().map(|text| region(text)).collect::<Vec<_>>();
        let cities = |list: &[u32]| list.iter().map(|city| city_place(*city)).collect::<Vec<_>>();
        let recency = match wire.viewer_recency() {
            ViewerRecency::Unspecified => ANY,
            named => 1 << named as u8,
        };
        let values = |list: &KeyValues| {
            let of = |value: &String| value_tag(key_value(&list.key, value));
            list.any_of.iter().map(of).collect::<Vec<_>>()
        };
        let interests = wire.interests.iter().map(|group| tags(&group.any_of, interest_tag));
        let segments = wire.segments.iter().map(|group| tags(&group.any_of, segment_tag));
        let mut excluded_tags = tags(&wire.excluded_interests, interest_tag);
        excluded_tags.extend(tags(&wire.excluded_segments, segment_tag));
        excluded_tags.extend(wire.excluded_key_values.iter().flat_map(values));
        Self {
            countries: texts(&wire.countries),
            traits: [
                ages(wire.age_min, wire.age_max),
                mask(&wire.genders),
                mask(&wire.os),
                mask(&wire.placements),
                mask(&wire.device_classes),
                mask(&wire.connections),
                recency,
            ],
            languages: texts(&wire.languages),
            places: [regions(&wire.regions), cities(&wire.cities)].concat(),
            circles: wire.radii.iter().map(Circle::of).collect(),
            excluded_places: [regions(&wire.excluded_regions), cities(&wire.excluded_cities)]
                .concat(),
            groups: interests.chain(segments).chain(wire.key_values.iter().map(values)).collect(),
            excluded_tags,
            hours: Week::of(&wire.hours_of_week),
            os_versions: wire.os_version.as_ref().map(version_range),
            app_versions: wire.app_version.as_ref().map(version_range),
        }
    }

    /// Tells whether an ad may be shown to this viewer: the slow, obvious form of what the index does.
    /// What the request does not tell never matches a list that names values.
    pub fn matches(&self, told: &Told) -> bool {
        self.first_mismatch(told).is_none()
    }

    /// Returns the first parameter that keeps the ad from this viewer, by its name in `Targeting`.
    pub fn first_mismatch(&self, told: &Told) -> Option<&'static str> {
        if !self.countries.is_empty() && !self.countries.contains(&told.country) {
            return Some("countries");
        }
        let mut traits = self.traits.iter().zip(told.traits).zip(TRAIT_NAMES);
        if let Some((_, name)) = traits.find(|((mask, value), _)| **mask >> value & 1 == 0) {
            return Some(name);
        }
        let speaks = |language: &u16| told.languages.contains(language);
        let in_group = |group: &Vec<u64>| group.iter().any(|tag| told.has(*tag));
        let checks = [
            ("languages", self.languages.is_empty() || self.languages.iter().any(speaks)),
            ("regions", self.is_here(told)),
            ("excluded_regions", !overlap(&self.excluded_places, &told.places)),
            ("interests", self.groups.iter().all(in_group)),
            ("excluded_interests", !self.excluded_tags.iter().any(|tag| told.has(*tag))),
            (
                "hours_of_week",
                self.hours.is_none_or(|hours| told.hour.is_some_and(|hour| hours.has(hour))),
            ),
            ("os_version", within(self.os_versions, told.os_version)),
            ("app_version", within(self.app_versions, told.app_version)),
        ];
        checks.into_iter().find(|(_, passes)| !passes).map(|(name, _)| name)
    }

    fn is_here(&self, told: &Told) -> bool {
        if self.places.is_empty() && self.circles.is_empty() {
            return true;
        }
        let inside = |(latitude, longitude)| {
            self.circles.iter().any(|circle| circle.contains(latitude, longitude))
        };
        overlap(&self.places, &told.places) || told.location.is_some_and(inside)
    }
}

/// Tells whether a version that may not be told lies in a range that may not be asked for.
pub(in crate::decide) fn within(range: Option<(u64, u64)>, version: u64) -> bool {
    range.is_none_or(|(first, last)| version != 0 && (first..=last).contains(&version))
}

fn overlap(some: &[u64], others: &[u64]) -> bool {
    some.iter().any(|one| others.contains(one))
}

fn tags(numbers: &[u32], tag: impl Fn(u32) -> u64) -> Vec<u64> {
    numbers.iter().map(|number| tag(*number)).collect()
}

fn mask(values: &[i32]) -> u8 {
    let bits = values.iter().fold(0, |mask, value| mask | 1u8 << (value & 7));
    if bits == 0 { ANY } else { bits }
}

/// Returns two ASCII letters as a big-endian number.
pub(in crate::decide) fn letters(text: &str) -> u16 {
    text.bytes().take(2).fold(0, |code, byte| code << 8 | u16::from(byte))
}

fn region(text: &str) -> u64 {
    let suffix = text.split_once('-').map_or("", |(_, suffix)| suffix);
    region_place(letters(text), pack_region(suffix).unwrap_or_default())
}

/// First and last year of each band, by [`AgeBand`]'s number.
const BANDS: [(AgeBand, u32, u32); 7] = [
    (AgeBand::AgeBand1317, 13, 17),
    (AgeBand::AgeBand1824, 18, 24),
    (AgeBand::AgeBand2534, 25, 34),
    (AgeBand::AgeBand3544, 35, 44),
    (AgeBand::AgeBand4554, 45, 54),
    (AgeBand::AgeBand5564, 55, 64),
    (AgeBand::AgeBand65Up, 65, u32::MAX),
];

fn ages(min: u32, max: u32) -> u8 {
    if min == 0 && max == 0 {
        return ANY;
    }
    let max = if max == 0 { u32::MAX } else { max };
    let inside = BANDS.iter().filter(|(_, from, to)| *from >= min && *to <= max);
    inside.fold(0, |mask, (band, ..)| mask | 1u8 << (*band as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{
        Connection, DeviceClass, Gender, InterestGroup, Os, Radius, SegmentGroup, VersionRange,
    };

    /// A Tuesday, 10:00 in Mexico City.
    const NOW: Moment = Moment(1_795_536_000_000);

    fn profile() -> Profile {
        Profile {
            country: letters("MX"),
            region: pack_region("CMX").expect("a region"),
            city: 9,
            location: Some((19_432_600, -99_133_200)),
            languages: vec![letters("es"), letters("en")],
            age_band: AgeBand::AgeBand2534 as u8,
            gender: Gender::Female as u8,
            os: Os::Android as u8,
            device_class: DeviceClass::Phone as u8,
            connection: Connection::Wifi as u8,
            recency: ViewerRecency::New as u8,
            os_version: 14 << 48,
            app_version: 2 << 48 | 24 << 32,
            utc_offset_minutes: Some(-360),
            interests: vec![3, 9],
            segments: vec![70_000],
            key_values: vec![key_value("plan", "gold")],
        }
    }

    fn matches(targeting: &Targeting) -> bool {
        let mut told = Told::default();
        told.take(&profile(), Placement::Status, NOW);
        Target::of_one(targeting).matches(&told)
    }

    #[test]
    fn empty_targeting_matches_anyone_even_without_a_profile() {
        assert!(matches(&Targeting::default()));
        let told = Told::default();
        assert!(Target::of(&AdSet::default())[0].matches(&told));
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|text| (*text).to_owned()).collect()
    }

    fn range(min: &str, max: &str) -> Option<VersionRange> {
        Some(VersionRange { min: min.into(), max: max.into() })
    }

    #[test]
    fn each_attribute_includes_and_excludes() {
        let base = Targeting::default;
        let values =
            |key: &str, any_of: &[&str]| KeyValues { key: key.into(), any_of: texts(any_of) };
        let near = |meters| Radius { latitude_e6: 19_400_000, longitude_e6: -99_100_000, meters };
        let cases = [
            (Targeting { countries: texts(&["IN", "MX"]), ..base() }, true),
            (Targeting { countries: texts(&["IN"]), ..base() }, false),
            (Targeting { regions: texts(&["MX-CMX"]), ..base() }, true),
            (Targeting { regions: texts(&["MX-JAL"]), ..base() }, false),
            (Targeting { regions: texts(&["MX-JAL"]), cities: vec![9], ..base() }, true),
            (Targeting { cities: vec![8], ..base() }, false),
            (Targeting { cities: vec![8], radii: vec![near(10_000)], ..base() }, true),
            (Targeting { radii: vec![near(3_000)], ..base() }, false),
            (Targeting { excluded_regions: texts(&["MX-CMX"]), ..base() }, false),
            (Targeting { excluded_cities: vec![9], ..base() }, false),
            (Targeting { languages: texts(&["en"]), ..base() }, true),
            (Targeting { languages: texts(&["pt"]), ..base() }, false),
            (Targeting { age_min: 25, age_max: 34, ..base() }, true),
            (Targeting { age_min: 35, ..base() }, false),
            (Targeting { age_max: 24, ..base() }, false),
            (Targeting { genders: vec![Gender::Female.into()], ..base() }, true),
            (Targeting { genders: vec![Gender::Male.into()], ..base() }, false),
            (Targeting { os: vec![Os::Ios.into()], ..base() }, false),
            (Targeting { placements: vec![Placement::Feed.into()], ..base() }, false),
            (Targeting { device_classes: vec![DeviceClass::Phone.into()], ..base() }, true),
            (Targeting { device_classes: vec![DeviceClass::Tablet.into()], ..base() }, false),
            (Targeting { connections: vec![Connection::Cellular4g.into()], ..base() }, false),
            (Targeting { viewer_recency: ViewerRecency::Returning.into(), ..base() }, false),
            (Targeting { excluded_interests: vec![4, 9], ..base() }, false),
            (Targeting { excluded_interests: vec![4], ..base() }, true),
            (Targeting { excluded_segments: vec![70_000], ..base() }, false),
            (Targeting { key_values: vec![values("plan", &["free", "gold"])], ..base() }, true),
            (Targeting { key_values: vec![values("tier", &["gold"])], ..base() }, false),
            (Targeting { excluded_key_values: vec![values("plan", &["gold"])], ..base() }, false),
            (Targeting { hours_of_week: vec![34], ..base() }, true),
            (Targeting { hours_of_week: vec![33, 35], ..base() }, false),
            (Targeting { os_version: range("14", "14.9"), ..base() }, true),
            (Targeting { os_version: range("14.1", ""), ..base() }, false),
            (Targeting { app_version: range("", "2.24"), ..base() }, true),
            (Targeting { app_version: range("", "2.23.99"), ..base() }, false),
        ];
        for (targeting, expected) in cases {
            assert_eq!(matches(&targeting), expected, "{targeting:?}");
        }
    }

    #[test]
    fn groups_are_an_and_of_ors() {
        let group = |any_of: &[u32]| InterestGroup { any_of: any_of.to_vec() };
        let both = Targeting { interests: vec![group(&[1, 3]), group(&[9])], ..Default::default() };
        assert!(matches(&both));
        let segments = vec![SegmentGroup { any_of: vec![3] }];
        assert!(!matches(&Targeting { segments, ..both.clone() }), "3 is an interest, no segment");
        let one = vec![group(&[1, 3]), group(&[8])];
        assert!(!matches(&Targeting { interests: one, ..Default::default() }));
    }

    #[test]
    fn a_named_value_never_matches_what_the_request_does_not_tell() {
        let base = Targeting::default;
        let radii = vec![Radius { latitude_e6: 0, longitude_e6: 0, meters: 80_000 }];
        for targeting in [
            Targeting { age_min: 18, ..base() },
            Targeting { radii, ..base() },
            Targeting { hours_of_week: (0..168).collect(), ..base() },
            Targeting { app_version: range("", "9"), ..base() },
            Targeting { viewer_recency: ViewerRecency::New.into(), ..base() },
        ] {
            assert!(!Target::of_one(&targeting).matches(&Told::default()), "{targeting:?}");
        }
    }
}
