//! Choosing the best ads of very many: the workloads, the engine's index, and what it is measured beside.

pub(crate) mod dense;
pub(crate) mod engine;
pub(crate) mod facts;
pub(crate) mod fresh;
pub(crate) mod inverted;
pub(crate) mod measure;
pub(crate) mod peers;
pub(crate) mod report;
pub(crate) mod scan;
pub(crate) mod spec;
pub(crate) mod tree;
pub(crate) mod trial;
pub(crate) mod worth;

use crate::support::select::spec::Query;

/// A way to find all ads that are for a viewer.
pub(crate) trait Method {
    /// Adds the place of each ad that is for this viewer, each once.
    fn matches(&mut self, query: &Query, found: &mut Vec<u32>);
}
