//! The operator's lists and rules, and targeting that names what they have.

use munadi::types::proto::journal::v1::{PolicyRulesPut, TaxonomyPut};
use munadi::types::proto::v1::{
    AdSet, InterestGroup, KeyValues, PolicyCategory, PolicyRule, SegmentGroup, Targeting, Taxonomy,
    TaxonomyEntry,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{ListChange, Resource};

use crate::stage::{Offer, Shop, Stage, TENANT};

fn entry(id: u32, name: &str) -> TaxonomyEntry {
    TaxonomyEntry { id, name: name.into(), ..TaxonomyEntry::default() }
}

fn city(id: u32, country: &str) -> TaxonomyEntry {
    TaxonomyEntry { country: country.into(), ..entry(id, "city") }
}

fn region(code: &str) -> TaxonomyEntry {
    TaxonomyEntry { code: code.into(), ..entry(0, "region") }
}

fn put(taxonomy: Taxonomy, put: Vec<TaxonomyEntry>) -> ListChange {
    ListChange::Taxonomy(TaxonomyPut { taxonomy: taxonomy.into(), put, removed: Vec::new() })
}

fn write(stage: &mut Stage, request_id: &str, change: ListChange) -> Result<u32, Refusal> {
    stage.write_lists(request_id, change)
}

fn aimed(shop: &Shop, targeting: Targeting) -> Resource {
    Resource::AdSet(AdSet {
        targeting: Some(targeting),
        ..Offer::default().ad_set_row(shop.campaign)
    })
}

/// Stages a shop beside lists of every kind.
fn staged() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    for (taxonomy, entries) in [
        (Taxonomy::Interest, vec![entry(1, "tacos"), entry(2, "football")]),
        (Taxonomy::Segment, vec![entry(70_000, "lapsed")]),
        (Taxonomy::City, vec![city(5, "MX"), city(6, "BR")]),
        (Taxonomy::Key, vec![entry(0, "plan")]),
        (Taxonomy::Region, vec![region("MX-JAL"), region("BR-SP")]),
    ] {
        let count = entries.len() as u32;
        assert_eq!(write(&mut stage, taxonomy.as_str_name(), put(taxonomy, entries)), Ok(count));
    }
    (stage, shop)
}

#[test]
fn targeting_may_name_only_what_a_loaded_list_has() {
    let (stage, shop) = staged();
    let mut stage = stage.restarted();
    let base = Targeting::default;
    let interests = |ids: &[u32]| vec![InterestGroup { any_of: ids.to_vec() }];
    let segments = |ids: &[u32]| vec![SegmentGroup { any_of: ids.to_vec() }];
    let keys = |key: &str| vec![KeyValues { key: key.into(), any_of: vec!["x".into()] }];
    let texts = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
    let known = Targeting {
        interests: interests(&[1, 2]),
        excluded_interests: vec![2],
        segments: segments(&[70_000]),
        key_values: keys("plan"),
        cities: vec![5, 6],
        regions: texts(&["MX-JAL"]),
        ..base()
    };
    stage.create(TENANT, aimed(&shop, known.clone()));
    for (targeting, field) in [
        (Targeting { interests: interests(&[1, 2, 3]), ..base() }, "interests[0].any_of[2]"),
        (Targeting { excluded_interests: vec![9], ..base() }, "excluded_interests[0]"),
        (Targeting { segments: segments(&[1]), ..base() }, "segments[0].any_of[0]"),
        (Targeting { excluded_segments: vec![1], ..base() }, "excluded_segments[0]"),
        (Targeting { cities: vec![5, 7], ..base() }, "cities[1]"),
        (Targeting { excluded_cities: vec![7], ..base() }, "excluded_cities[0]"),
        (Targeting { key_values: keys("x"), ..base() }, "key_values[0]"),
        (Targeting { excluded_key_values: keys("x"), ..base() }, "excluded_key_values[0]"),
        (Targeting { regions: texts(&["MX-XXX"]), ..base() }, "regions[0]"),
        (Targeting { excluded_regions: texts(&["MX-XXX"]), ..base() }, "excluded_regions[0]"),
        // A city of another country than those named.
        (Targeting { countries: texts(&["MX"]), cities: vec![5, 6], ..base() }, "cities[1]"),
    ] {
        let refusal = stage.try_create(TENANT, aimed(&shop, targeting.clone())).unwrap_err();
        let wanted = (Reason::FieldInvalid, format!("ad_set.targeting.{field}"));
        assert_eq!((refusal.reason, refusal.field.into_owned()), wanted);
        let mut row = AdSet { id: shop.ad_set, ..AdSet::default() };
        row.or_targeting = vec![known.clone(), targeting];
        let refusal =
            stage.try_update(TENANT, Resource::AdSet(row), &["or_targeting"]).unwrap_err();
        assert_eq!(refusal.field, format!("ad_set.or_targeting[1].{field}"));
    }
}

#[test]
fn a_kind_without_a_list_is_checked_by_its_form_only() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let interests = vec![InterestGroup { any_of: vec![9] }];
    let targeting = Targeting { interests, cities: vec![4], ..Targeting::default() };
    stage.create(TENANT, aimed(&shop, targeting));
}

#[test]
fn the_same_write_to_a_list_again_gets_the_same_answer() {
    let (mut stage, _) = staged();
    let more = || put(Taxonomy::Interest, vec![entry(3, "music")]);
    assert_eq!(write(&mut stage, "more", more()), Ok(3));
    let last = put(Taxonomy::Interest, vec![entry(4, "films")]);
    assert_eq!(write(&mut stage, "last", last.clone()), Ok(4));
    let mut stage = stage.restarted();
    assert_eq!(write(&mut stage, "more", more()), Ok(3));
    let refusal = write(&mut stage, "more", last).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::RequestIdReused, "request_id"));
    let (found, next) = stage.front.search_targeting(Taxonomy::Interest, "", "", "2", 10);
    assert_eq!(found.iter().map(|entry| entry.id).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(next, None);
}

#[test]
fn a_list_longer_than_a_block_of_the_journal_is_taken_whole() {
    let mut stage = Stage::new();
    // 10,000 names of 100 characters of three bytes.
    let entries = (1..=10_000).map(|id| entry(id, &"\u{30C6}".repeat(100))).collect();
    assert_eq!(write(&mut stage, "long", put(Taxonomy::Segment, entries)), Ok(10_000));
    let stage = stage.restarted();
    let (found, _) = stage.front.search_targeting(Taxonomy::Segment, "10000", "", "", 10);
    assert_eq!(found.len(), 1);
}

#[test]
fn rules_replace_all_earlier_ones_and_outlive_a_restart() {
    let mut stage = Stage::new();
    let rule = |category: PolicyCategory, country: &str| PolicyRule {
        category: category.into(),
        country: country.into(),
        allowed: true,
        age_min: 18,
    };
    let rules = |rules: Vec<PolicyRule>| ListChange::PolicyRules(PolicyRulesPut { rules });
    let old = vec![rule(PolicyCategory::Alcohol, "MX"), rule(PolicyCategory::Dating, "MX")];
    assert_eq!(write(&mut stage, "old", rules(old)), Ok(2));
    let new = vec![rule(PolicyCategory::Dating, "BR")];
    assert_eq!(write(&mut stage, "new", rules(new.clone())), Ok(1));
    assert_eq!(stage.restarted().front.policy_rules(), new);
}
