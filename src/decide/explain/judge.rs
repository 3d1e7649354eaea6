//! One ad against one request: the first thing that kept it out, and whether it was the only one.

use crate::decide::explain::Bars;
use crate::decide::groups::Member;
use crate::decide::index::{Draft, Entry, Extra, Worth};
use crate::decide::select::Asked;
use crate::decide::skip::Skip;
use crate::decide::target::{TRAIT_NAMES, Target, Told};

/// A targeting attribute: which conjunction, and its name in `Targeting`.
pub type Relaxed = (usize, &'static str);

/// What would have placed an ad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cure {
    /// To be worth this much, micros for 1,000 impressions; nothing else stood against it.
    Value(i64),
    /// The reason alone: without it, it would have been placed.
    Lift,
    /// More than one thing.
    Several,
}

/// An ad that was meant for the viewer and not placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost {
    /// The first thing that stood against it.
    pub skip: Skip,
    /// What would have placed it.
    pub cure: Cure,
}

/// What became of one ad.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judged {
    /// It was placed.
    Placed,
    /// No conjunction matched. Attributes without which it would have been placed.
    Mismatch(Vec<Relaxed>),
    /// It matched and was not placed.
    Lost(Lost),
}

/// Returns what became of an ad; see [`Bars`]. `told` is what the request tells.
pub fn judge(draft: &Draft, asked: &Asked<'_>, bars: &Bars, told: &Told) -> Judged {
    let entry = draft.entry();
    if bars.won.iter().any(|won| won.ad == entry.ad) {
        return Judged::Placed;
    }
    let (worth, rates) = asked.worth(entry);
    let group = Member::of(entry, worth, rates, 0).group;
    let against = obstacles(asked, entry, draft.extra(), worth);
    let needed = bars.needed(entry.ad, group);
    let enough = needed.is_some_and(|needed| worth.total() >= needed);
    if !draft.targets().iter().any(|target| target.matches(told)) {
        let mut relaxed = Vec::new();
        if enough && against.is_empty() {
            let each = draft.targets().iter().enumerate();
            relaxed.extend(
                each.filter_map(|(at, target)| only_mismatch(target, told).map(|n| (at, n))),
            );
        }
        return Judged::Mismatch(relaxed);
    }
    let skip = against.first().copied();
    let skip =
        skip.or_else(|| bars.verdict(entry.ad, group, worth.total())).unwrap_or(Skip::Outbid);
    let floor = asked.policy.floor_cpm_micros.max(1);
    let cure = match (against.as_slice(), needed) {
        ([] | [Skip::BelowFloor], Some(needed)) => {
            Cure::Value(needed.max(floor).saturating_sub(worth.quality))
        }
        ([_], _) if enough => Cure::Lift,
        _ => Cure::Several,
    };
    Judged::Lost(Lost { skip, cure })
}

/// Returns everything that stands against an ad that is meant for the viewer, in the order of the path:
/// the first is [`Asked::obstacle`].
pub fn obstacles(asked: &Asked<'_>, entry: &Entry, extra: &Extra, worth: Worth) -> Vec<Skip> {
    let (profile, now) = (&asked.request.profile, asked.now);
    let blocked = asked.blocks.blocked(profile.country, profile.age_band);
    let admits = |extra: &Extra| asked.onlooker.admits(&entry.passing(extra), now).err();
    let seen = admits(extra);
    let uncapped = admits(&extra.uncapped()).filter(|skip| Some(*skip) != seen);
    let short = asked.board.free(entry.lines(), now) < asked.cost(entry, worth).max(1);
    let closed = asked.board.is_closed(entry.ad_set.into());
    let low = worth.total() < asked.policy.floor_cpm_micros.max(1);
    let all = [
        (entry.policy & blocked != 0).then_some(Skip::PolicyBlocked),
        (!extra.runs(now) || closed).then_some(Skip::OutsideSchedule),
        seen,
        uncapped,
        short.then_some(Skip::BudgetSpent),
        low.then_some(Skip::BelowFloor),
    ];
    all.into_iter().flatten().collect()
}

/// Returns the attribute that alone keeps a conjunction from matching.
fn only_mismatch(target: &Target, told: &Told) -> Option<&'static str> {
    let first = target.first_mismatch(told)?;
    let mut without = target.clone();
    let name = relax(&mut without, first, told);
    without.matches(told).then_some(name)
}

/// Takes one attribute out of a conjunction; returns its name as the wire has it.
fn relax(target: &mut Target, name: &'static str, told: &Told) -> &'static str {
    const KIND_SHIFT: u32 = 62;
    let kind = |tags: &[u64]| tags.first().map_or(0, |tag| tag >> KIND_SHIFT);
    match name {
        "countries" => target.countries.clear(),
        "languages" => target.languages.clear(),
        "regions" => {
            let here = kind(&target.places);
            target.places.clear();
            let circles = !target.circles.is_empty();
            target.circles.clear();
            return match here {
                1 => "regions",
                2 => "cities",
                _ if circles => "radii",
                _ => "regions",
            };
        }
        "excluded_regions" => {
            let cities = kind(&target.excluded_places) == 2;
            target.excluded_places.clear();
            return if cities { "excluded_cities" } else { name };
        }
        "interests" => {
            let failing = target.groups.iter().find(|tags| !tags.iter().any(|tag| told.has(*tag)));
            let failing = failing.map_or(0, |tags| kind(tags));
            target.groups.retain(|tags| kind(tags) != failing);
            return match failing {
                2 => "segments",
                3 => "key_values",
                _ => "interests",
            };
        }
        "excluded_interests" => {
            let failing = target.excluded_tags.iter().find(|tag| told.has(**tag));
            let failing = failing.map_or(0, |tag| tag >> KIND_SHIFT);
            target.excluded_tags.retain(|tag| tag >> KIND_SHIFT != failing);
            return match failing {
                2 => "excluded_segments",
                3 => "excluded_key_values",
                _ => "excluded_interests",
            };
        }
        "hours_of_week" => target.hours = None,
        "os_version" => target.os_versions = None,
        "app_version" => target.app_versions = None,
        trait_name => {
            if let Some(at) = TRAIT_NAMES.iter().position(|known| *known == trait_name) {
                target.traits[at] = u8::MAX;
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{InterestGroup, Placement, SegmentGroup, Targeting};
    use crate::types::request::Profile;
    use crate::types::time::Moment;

    #[test]
    fn an_attribute_is_named_only_when_no_other_is_in_the_way() {
        let mut told = Told::default();
        let profile = Profile { interests: vec![3], segments: vec![8], ..Profile::default() };
        told.take(&profile, Placement::Status, Moment(0));
        let check = |wire: Targeting, name: Option<&str>| {
            assert_eq!(only_mismatch(&Target::of_one(&wire), &told), name, "{wire:?}");
        };
        let group = |number| vec![InterestGroup { any_of: vec![number] }];
        let segment = |number| vec![SegmentGroup { any_of: vec![number] }];
        check(Targeting { languages: vec!["es".into()], ..Default::default() }, Some("languages"));
        check(Targeting { age_min: 18, ..Default::default() }, Some("age_min"));
        check(Targeting { interests: group(4), ..Default::default() }, Some("interests"));
        check(Targeting { segments: segment(9), ..Default::default() }, Some("segments"));
        check(
            Targeting { excluded_segments: vec![8], ..Default::default() },
            Some("excluded_segments"),
        );
        check(Targeting { cities: vec![4], ..Default::default() }, Some("cities"));
        check(Targeting { hours_of_week: vec![4], ..Default::default() }, Some("hours_of_week"));
        let both = Targeting { interests: group(4), segments: segment(9), ..Default::default() };
        check(both, None);
        check(Targeting { interests: group(3), segments: segment(8), ..Default::default() }, None);
    }
}
