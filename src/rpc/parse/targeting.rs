//! Whom an ad set may be shown to, checked. It stays in the wire's form, as the catalog keeps it.

use crate::rpc::limits::{INTEREST_GROUPS_MAX, INTERESTS_MAX, TARGETS_MAX};
use crate::rpc::parse::field::{
    Path, at_most, country, interest, language, region, required, variant,
};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};

/// Where the bands of the field start. 0 is "no lower end".
const AGE_STARTS: [u32; 8] = [0, 13, 18, 25, 35, 45, 55, 65];

/// Where they end. 0 is "no upper end".
const AGE_ENDS: [u32; 7] = [0, 17, 24, 34, 44, 54, 64];

/// Checks a targeting. A region outside the countries would match nobody.
pub(super) fn targeting(wire: &v1::Targeting, path: Path) -> Result<(), Refusal> {
    let countries = each(&wire.countries, path.field("countries"), |text, at| country(text, at))?;
    each(&wire.regions, path.field("regions"), |text, at| region(text, &countries, at))?;
    each(&wire.languages, path.field("languages"), |text, at| language(text, at))?;
    each(&wire.genders, path.field("genders"), |&value, at| variant::<v1::Gender>(value, at))?;
    each(&wire.os, path.field("os"), |&value, at| variant::<v1::Os>(value, at))?;
    let list = path.field("placements");
    each(&wire.placements, list, |&value, at| variant::<v1::Placement>(value, at))?;
    ages(wire.age_min, wire.age_max, path)?;
    let groups = path.field("interests");
    at_most(wire.interests.len(), INTEREST_GROUPS_MAX, groups)?;
    for (index, group) in wire.interests.iter().enumerate() {
        let group_path = groups.at(index);
        let list = group_path.field("any_of");
        // An empty group would match nobody, and the ad set would be silent for no reason it names.
        required((!group.any_of.is_empty()).then_some(()), list)?;
        interests(&group.any_of, list)?;
    }
    interests(&wire.excluded_interests, path.field("excluded_interests"))
}

fn each<T, U>(
    list: &[T],
    path: Path,
    check: impl Fn(&T, Path) -> Result<U, Refusal>,
) -> Result<Vec<U>, Refusal> {
    at_most(list.len(), TARGETS_MAX, path)?;
    list.iter().enumerate().map(|(index, value)| check(value, path.at(index))).collect()
}

fn interests(list: &[u32], path: Path) -> Result<(), Refusal> {
    at_most(list.len(), INTERESTS_MAX, path)?;
    list.iter()
        .enumerate()
        .try_for_each(|(index, &value)| interest(value, path.at(index)).map(drop))
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
        check("regions[1]", |t| t.regions.push("US-CA".into()));
        check("regions[0]", |t| t.regions[0] = "MX".into());
        check("languages[0]", |t| t.languages[0] = "xx".into());
        check("genders[0]", |t| t.genders[0] = 0);
        check("genders[1]", |t| t.genders.push(9));
        check("os[0]", |t| t.os[0] = 5);
        check("placements[0]", |t| t.placements[0] = 0);
        check("interests[1].any_of", |t| t.interests.push(v1::InterestGroup::default()));
        check("interests[0].any_of[0]", |t| t.interests[0].any_of[0] = 0);
        check("interests", |t| t.interests = vec![t.interests[0].clone(); 17]);
        check("excluded_interests[0]", |t| t.excluded_interests[0] = 65_536);
        check("excluded_interests", |t| t.excluded_interests = vec![1; 257]);
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
            ..Default::default()
        }
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
