//! The crate `a-tree`: boolean expressions, written out and parsed, and an event for each viewer.

use std::fmt::Write;

use a_tree::{ATree, AttributeDefinition};

use crate::Failure;
use crate::support::select::Method;
use crate::support::select::spec::{Query, Spec};

/// The tree of all ads.
pub(crate) struct Tree(ATree<u32>);

impl Tree {
    /// Returns the tree of these ads. Takes time with the square of their number.
    pub(crate) fn build(specs: &[Spec]) -> Result<Self, Failure> {
        let mut tree = ATree::new(&[
            AttributeDefinition::integer("country"),
            AttributeDefinition::integer("age"),
            AttributeDefinition::integer("gender"),
            AttributeDefinition::integer("city"),
            AttributeDefinition::integer_list("languages"),
            AttributeDefinition::integer_list("interests"),
            AttributeDefinition::integer_list("segments"),
        ])
        .map_err(|error| format!("{error:?}"))?;
        for (index, spec) in (0..).zip(specs) {
            tree.insert(&index, &expression(spec)).map_err(|error| format!("{error:?}"))?;
        }
        Ok(Self(tree))
    }

    fn search(&self, query: &Query) -> Result<Vec<u32>, Failure> {
        let wide = |list: &[u16]| list.iter().map(|one| i64::from(*one)).collect::<Vec<_>>();
        let languages: Vec<i64> = query.languages.iter().map(|one| i64::from(*one)).collect();
        let segments: Vec<i64> = query.segments.iter().map(|one| i64::from(*one)).collect();
        let mut event = self.0.make_event();
        event.with_integer("country", query.country.into())?;
        event.with_integer("age", query.age.into())?;
        event.with_integer("gender", query.gender.into())?;
        event.with_integer("city", query.city.into())?;
        event.with_integer_list("languages", &languages)?;
        event.with_integer_list("interests", &wide(&query.interests))?;
        event.with_integer_list("segments", &segments)?;
        let report = self.0.search(&event.build()?).map_err(|error| format!("{error:?}"))?;
        Ok(report.matches().iter().map(|index| **index).collect())
    }
}

impl Method for Tree {
    fn matches(&mut self, query: &Query, found: &mut Vec<u32>) {
        found.extend(self.search(query).expect("every attribute is defined"));
    }
}

fn expression(spec: &Spec) -> String {
    let mut text = String::new();
    let mut and = |part: String| {
        let joint = if text.is_empty() { "" } else { " and " };
        write!(text, "{joint}{part}").expect("a string takes everything");
    };
    if spec.country != 0 {
        and(format!("country = {}", spec.country));
    }
    if spec.ages.0 != 0 {
        let bands: Vec<u8> = (spec.ages.0..=spec.ages.1).collect();
        and(format!("age in {bands:?}"));
    }
    let single = [("gender", u32::from(spec.gender)), ("city", spec.city)];
    for (name, value) in single.into_iter().filter(|(_, value)| *value != 0) {
        and(format!("{name} = {value}"));
    }
    let lists = [("languages", u32::from(spec.language)), ("segments", spec.segment)];
    for (name, value) in lists.into_iter().filter(|(_, value)| *value != 0) {
        and(format!("{name} one of [{value}]"));
    }
    if !spec.interests().is_empty() {
        and(format!("interests one of {:?}", spec.interests()));
    }
    if spec.excluded_segment != 0 {
        and(format!("segments none of [{}]", spec.excluded_segment));
    }
    // An expression must say something.
    if text.is_empty() { "country > 0".to_owned() } else { text }
}
