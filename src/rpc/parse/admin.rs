//! What an operator writes: findings of reviews, entries of lists, rules. And what is searched in lists.

use std::collections::BTreeSet;

use crate::rpc::limits::{
    ENTRY_NAME_CHARS_MAX, POLICY_RULES_MAX, REVIEW_REASON_CHARS_MAX, REVIEW_REASONS_MAX,
    SEARCH_CHARS_MAX, TAXONOMY_CALL_MAX,
};
use crate::rpc::parse::field::{
    Path, at_most, country, id, interest, key, number, optional_text, region, required, text,
    variant,
};
use crate::rpc::parse::targeting::AGE_STARTS;
use crate::types::proto::journal::v1::{PolicyRulesPut, TaxonomyPut};
use crate::types::proto::v1;
use crate::types::proto::v1::Taxonomy;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, ListChange};

/// Returns an operator's finding on an ad.
pub(in crate::rpc) fn review(wire: v1::ReviewAdRequest) -> Result<Change, Refusal> {
    let ad = id(wire.ad_id, Path::root("ad_id"))?;
    let path = Path::root("review");
    let mut review = required(wire.review, path)?;
    let reasons = path.field("reasons");
    match variant(review.state, path.field("state"))? {
        v1::ReviewState::Rejected if review.reasons.is_empty() => {
            let message = "is empty: tell the advertiser why, by at least one reason";
            return Err(reasons.refuse(Reason::FieldMissing, message));
        }
        v1::ReviewState::Approved if !review.reasons.is_empty() => {
            let message = "is of an approved ad: leave the reasons out, or reject it";
            return Err(reasons.refuse(Reason::FieldInvalid, message));
        }
        v1::ReviewState::Rejected | v1::ReviewState::Approved => {}
        v1::ReviewState::Unspecified | v1::ReviewState::Pending => {
            let message = "is no finding: send APPROVED or REJECTED";
            return Err(path.field("state").refuse(Reason::FieldInvalid, message));
        }
    }
    at_most(review.reasons.len(), REVIEW_REASONS_MAX, reasons)?;
    for (index, reason) in review.reasons.iter().enumerate() {
        text(reason, REVIEW_REASON_CHARS_MAX, reasons.at(index))?;
    }
    let mut known = BTreeSet::new();
    for (index, &category) in review.categories.iter().enumerate() {
        let at = path.field("categories").at(index);
        variant::<v1::PolicyCategory>(category, at)?;
        once(known.insert(category), at)?;
    }
    review.time = None;
    Ok(Change::Review { ad, etag: wire.etag, review })
}

/// Returns a checked change of one of the operator's lists.
pub(in crate::rpc) fn taxonomy(wire: v1::UpdateTaxonomyRequest) -> Result<ListChange, Refusal> {
    let path = Path::root("taxonomy");
    let taxonomy: Taxonomy = variant(wire.taxonomy, path)?;
    if matches!(taxonomy, Taxonomy::Country | Taxonomy::Language) {
        let message = "is built in: send INTEREST, SEGMENT, CITY, KEY or REGION";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    let (put, removed) = (Path::root("put"), Path::root("removed"));
    let count = wire.put.len() + wire.removed.len();
    required((count > 0).then_some(()), put)?;
    at_most(count, TAXONOMY_CALL_MAX, put)?;
    let mut known = BTreeSet::new();
    for (index, entry) in wire.put.iter().enumerate() {
        named(taxonomy, entry, put.at(index))?;
        whole(taxonomy, entry, put.at(index))?;
        once(known.insert(name_of(taxonomy, entry)), put.at(index))?;
    }
    for (index, entry) in wire.removed.iter().enumerate() {
        named(taxonomy, entry, removed.at(index))?;
        once(known.insert(name_of(taxonomy, entry)), removed.at(index))?;
    }
    let (taxonomy, put, removed) = (taxonomy.into(), wire.put, wire.removed);
    Ok(ListChange::Taxonomy(TaxonomyPut { taxonomy, put, removed }))
}

/// Checks what tells an entry from all others of its list.
fn named(taxonomy: Taxonomy, entry: &v1::TaxonomyEntry, path: Path) -> Result<(), Refusal> {
    match taxonomy {
        Taxonomy::Interest => interest(entry.id, path.field("id")).map(drop),
        Taxonomy::Key => key(&entry.name, path.field("name")),
        Taxonomy::Region => region(&entry.code, &[], path.field("code")).map(drop),
        _ => number(entry.id, path.field("id")).map(drop),
    }
}

/// Checks the rest of an entry. A field that its kind doesn't have would be lost without a word.
fn whole(taxonomy: Taxonomy, entry: &v1::TaxonomyEntry, path: Path) -> Result<(), Refusal> {
    if taxonomy != Taxonomy::Key {
        text(&entry.name, ENTRY_NAME_CHARS_MAX, path.field("name"))?;
    }
    let by_name = matches!(taxonomy, Taxonomy::Key | Taxonomy::Region);
    if taxonomy == Taxonomy::City {
        country(&entry.country, path.field("country"))?;
    }
    for (field, alien) in [
        ("id", by_name && entry.id != 0),
        ("country", taxonomy != Taxonomy::City && !entry.country.is_empty()),
        ("code", taxonomy != Taxonomy::Region && !entry.code.is_empty()),
    ] {
        if alien {
            let message = "does not belong to an entry of this list: leave it out";
            return Err(path.field(field).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(())
}

fn name_of(taxonomy: Taxonomy, entry: &v1::TaxonomyEntry) -> (u32, &str) {
    match taxonomy {
        Taxonomy::Key => (0, &entry.name),
        Taxonomy::Region => (0, &entry.code),
        _ => (entry.id, ""),
    }
}

/// Returns checked rules, which replace all others.
pub(in crate::rpc) fn policy_rules(rules: Vec<v1::PolicyRule>) -> Result<ListChange, Refusal> {
    let list = Path::root("rules");
    at_most(rules.len(), POLICY_RULES_MAX, list)?;
    let mut known = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = list.at(index);
        variant::<v1::PolicyCategory>(rule.category, path.field("category"))?;
        country(&rule.country, path.field("country"))?;
        once(known.insert((rule.category, &rule.country)), path)?;
        let age_min = path.field("age_min");
        if !AGE_STARTS.contains(&rule.age_min) {
            let message = format!("is {}: send the start of a band: {AGE_STARTS:?}", rule.age_min);
            return Err(age_min.refuse(Reason::FieldInvalid, message));
        }
        if !rule.allowed && rule.age_min != 0 {
            let message = "is of a category that is not allowed at any age: send 0, or allow it";
            return Err(age_min.refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(ListChange::PolicyRules(PolicyRulesPut { rules }))
}

/// Refuses what came before in the same list.
pub(super) fn once(new: bool, path: Path) -> Result<(), Refusal> {
    let message = "is there twice: send it once";
    if new { Ok(()) } else { Err(path.refuse(Reason::FieldInvalid, message)) }
}

/// Checks what is searched in a list, and returns which one.
pub(in crate::rpc) fn search(wire: &v1::SearchTargetingRequest) -> Result<Taxonomy, Refusal> {
    let taxonomy = variant(wire.taxonomy, Path::root("taxonomy"))?;
    optional_text(&wire.query, SEARCH_CHARS_MAX, Path::root("query"))?;
    if wire.country.is_empty() {
        return Ok(taxonomy);
    }
    let path = Path::root("country");
    country(&wire.country, path)?;
    if matches!(taxonomy, Taxonomy::City | Taxonomy::Region) {
        return Ok(taxonomy);
    }
    let message = "does not choose among these: only cities and regions are of a country";
    Err(path.refuse(Reason::FieldInvalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_approves_without_a_reason_or_rejects_with_one() {
        let whole = |state: v1::ReviewState, reasons: &[&str]| v1::ReviewAdRequest {
            ad_id: 5,
            review: Some(v1::Review {
                state: state.into(),
                reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
                categories: vec![v1::PolicyCategory::Alcohol.into()],
                ..Default::default()
            }),
            ..Default::default()
        };
        let approved = whole(v1::ReviewState::Approved, &[]);
        let rejected = whole(v1::ReviewState::Rejected, &["no licence"]);
        let Ok(Change::Review { ad: 5, review: found, .. }) = review(approved.clone()) else {
            panic!("a good finding is refused");
        };
        assert_eq!(Some(found), approved.review);
        assert!(review(rejected).is_ok());
        let check = |field: &str, wire| assert_eq!(review(wire).unwrap_err().field, field);
        let found = |spoil: fn(&mut v1::Review)| {
            let mut wire = approved.clone();
            wire.review.as_mut().map(spoil);
            wire
        };
        check("ad_id", v1::ReviewAdRequest { ad_id: 0, ..approved.clone() });
        check("review", v1::ReviewAdRequest { review: None, ..approved.clone() });
        check("review.state", found(|it| it.state = 0));
        check("review.state", found(|it| it.state = 1));
        check("review.state", found(|it| it.state = 9));
        check("review.reasons", whole(v1::ReviewState::Rejected, &[]));
        check("review.reasons", whole(v1::ReviewState::Approved, &["fine"]));
        check("review.reasons", whole(v1::ReviewState::Rejected, &["x"; 9]));
        check("review.reasons[0]", whole(v1::ReviewState::Rejected, &[""]));
        check("review.reasons[1]", whole(v1::ReviewState::Rejected, &["x", &"y".repeat(201)]));
        check("review.categories[0]", found(|it| it.categories = vec![0]));
        check("review.categories[1]", found(|it| it.categories = vec![1, 1]));
    }

    #[test]
    fn an_entry_has_the_form_of_its_list() {
        for (list, good) in lists() {
            assert!(change(list, vec![good.clone()], vec![]).is_ok(), "{list:?}");
            let only_named = match list {
                Taxonomy::Key => v1::TaxonomyEntry { id: 0, ..good.clone() },
                _ => v1::TaxonomyEntry { name: String::new(), ..good.clone() },
            };
            assert!(change(list, vec![], vec![only_named]).is_ok(), "{list:?}");
            let twice = change(list, vec![good.clone(), good.clone()], vec![]).unwrap_err();
            assert_eq!(twice.field, "put[1]");
            let both = change(list, vec![good.clone()], vec![good.clone()]).unwrap_err();
            assert_eq!(both.field, "removed[0]");
            let long = v1::TaxonomyEntry { name: "x".repeat(101), ..good };
            assert_eq!(change(list, vec![long], vec![]).unwrap_err().field, "put[0].name");
        }
        check(Taxonomy::Interest, "put[0].id", |entry| entry.id = 65_536);
        check(Taxonomy::Interest, "put[0].id", |entry| entry.id = 0);
        check(Taxonomy::Interest, "put[0].country", |entry| entry.country = "MX".into());
        check(Taxonomy::Segment, "put[0].id", |entry| entry.id = 1 << 24);
        check(Taxonomy::Segment, "put[0].name", |entry| entry.name.clear());
        check(Taxonomy::City, "put[0].country", |entry| entry.country.clear());
        check(Taxonomy::City, "put[0].code", |entry| entry.code = "MX-PUE".into());
        check(Taxonomy::Key, "put[0].name", |entry| entry.name = "a key".into());
        check(Taxonomy::Key, "put[0].id", |entry| entry.id = 1);
        check(Taxonomy::Region, "put[0].code", |entry| entry.code = "Puebla".into());
        check(Taxonomy::Region, "put[0].id", |entry| entry.id = 1);
    }

    #[test]
    fn a_call_has_a_list_some_entries_and_not_too_many() {
        let keys = |count: usize| {
            (0..count).map(|it| entry(0, &format!("k{it}"), "", "")).collect::<Vec<_>>()
        };
        assert!(change(Taxonomy::Key, keys(10_000), vec![]).is_ok());
        let refused = |list, put, removed| change(list, put, removed).unwrap_err();
        let refusal = refused(Taxonomy::Key, keys(10_000), vec![entry(0, "z", "", "")]);
        assert_eq!((refusal.reason, &*refusal.field), (Reason::TooLarge, "put"));
        assert_eq!(refused(Taxonomy::Key, vec![], vec![]).reason, Reason::FieldMissing);
        for built_in in [Taxonomy::Country, Taxonomy::Language, Taxonomy::Unspecified] {
            assert_eq!(refused(built_in, keys(1), vec![]).field, "taxonomy");
        }
    }

    #[test]
    fn a_rule_is_of_a_category_a_country_and_a_band() {
        let rule = |category, country: &str, allowed, age_min| {
            let country = country.to_owned();
            v1::PolicyRule { category, country, allowed, age_min }
        };
        let good = rule(1, "MX", true, 18);
        assert!(policy_rules(vec![good.clone(), rule(1, "BR", false, 0)]).is_ok());
        assert!(policy_rules(vec![]).is_ok(), "all rules may be taken away");
        let check = |field: &str, rules| assert_eq!(policy_rules(rules).unwrap_err().field, field);
        check("rules[0].category", vec![rule(0, "MX", true, 18)]);
        check("rules[0].category", vec![rule(9, "MX", true, 18)]);
        check("rules[0].country", vec![rule(1, "mx", true, 18)]);
        check("rules[0].age_min", vec![rule(1, "MX", true, 21)]);
        check("rules[0].age_min", vec![rule(1, "MX", false, 18)]);
        check("rules[1]", vec![good.clone(), rule(1, "MX", false, 0)]);
        check("rules", vec![good; 2_001]);
    }

    #[test]
    fn a_search_is_short_and_names_a_country_only_where_there_are_some() {
        let parse = |taxonomy: Taxonomy, query: &str, country: &str| {
            let (query, country) = (query.to_owned(), country.to_owned());
            let taxonomy = taxonomy.into();
            let wire =
                v1::SearchTargetingRequest { taxonomy, query, country, ..Default::default() };
            search(&wire).map_err(|refusal| refusal.field.into_owned())
        };
        assert_eq!(parse(Taxonomy::City, "pue", "MX"), Ok(Taxonomy::City));
        assert_eq!(parse(Taxonomy::Key, "", ""), Ok(Taxonomy::Key));
        assert_eq!(parse(Taxonomy::Unspecified, "", ""), Err("taxonomy".into()));
        assert_eq!(parse(Taxonomy::Key, &"x".repeat(101), ""), Err("query".into()));
        assert_eq!(parse(Taxonomy::City, "", "Mexico"), Err("country".into()));
        assert_eq!(parse(Taxonomy::Interest, "", "MX"), Err("country".into()));
    }

    fn entry(id: u32, name: &str, country: &str, code: &str) -> v1::TaxonomyEntry {
        let (name, country, code) = (name.into(), country.into(), code.into());
        v1::TaxonomyEntry { id, name, country, code }
    }

    fn lists() -> [(Taxonomy, v1::TaxonomyEntry); 5] {
        [
            (Taxonomy::Interest, entry(65_535, "Food", "", "")),
            (Taxonomy::Segment, entry(16_777_215, "Came back", "", "")),
            (Taxonomy::City, entry(7, "Puebla", "MX", "")),
            (Taxonomy::Key, entry(0, "plan", "", "")),
            (Taxonomy::Region, entry(0, "Puebla", "", "MX-PUE")),
        ]
    }

    fn change(
        list: Taxonomy,
        put: Vec<v1::TaxonomyEntry>,
        removed: Vec<v1::TaxonomyEntry>,
    ) -> Result<ListChange, Refusal> {
        let (request_id, taxonomy) = (String::new(), list.into());
        super::taxonomy(v1::UpdateTaxonomyRequest { request_id, taxonomy, put, removed })
    }

    fn check(list: Taxonomy, field: &str, spoil: fn(&mut v1::TaxonomyEntry)) {
        let good = lists().into_iter().find(|(known, _)| *known == list);
        let (_, mut entry) = good.unwrap();
        spoil(&mut entry);
        assert_eq!(change(list, vec![entry], vec![]).unwrap_err().field, field);
    }
}
