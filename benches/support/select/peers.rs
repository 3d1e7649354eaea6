//! The other methods on the same ads, in the same run.

use cpu_time::ThreadTime;

use crate::support::select::Method;
use crate::support::select::dense::Dense;
use crate::support::select::inverted::Inverted;
use crate::support::select::measure::{Cores, Times};
use crate::support::select::scan::Scan;
use crate::support::select::spec::{Query, Spec};
use crate::support::select::tree::Tree;
use crate::support::select::trial::{TOP, Trial};
use crate::support::select::worth::{Best, Worth};
use crate::{ALLOCATOR, Failure, Plan};

/// Requests whose matches are compared with the definition, ad by ad.
const COMPARED: usize = 10;

/// What one method measured.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) ads: usize,
    /// Finding all matches.
    pub(crate) all: Times,
    /// Finding all matches, valuing them and keeping the best 50.
    pub(crate) top: Times,
    pub(crate) build_s: f64,
    pub(crate) bytes_per_ad: f64,
}

/// The methods under one workload.
pub(crate) struct Peers {
    pub(crate) scan: Peer,
    pub(crate) inverted: Peer,
    pub(crate) dense: Peer,
    /// Only under the first workload.
    pub(crate) tree: Option<Peer>,
}

/// Measures every method. The tree has fewer ads, since its building takes time with their square.
pub(crate) fn measure(
    plan: &Plan,
    trial: &Trial,
    cores: &Cores,
    with_tree: bool,
) -> Result<Peers, Failure> {
    let (specs, queries) = (&trial.specs[..], &trial.queries[..]);
    let few = &queries[..plan.scanned.min(queries.len())];
    let fewer = &specs[..plan.tree_ads.min(specs.len())];
    cores.pinned(|| {
        let tree = if with_tree {
            let build = || Tree::build(fewer);
            Some(one("a-tree", fewer, few, build)?)
        } else {
            None
        };
        Ok(Peers {
            scan: one("plain scan", specs, few, || Ok(Scan::build(specs)))?,
            inverted: one("roaring", specs, queries, || Ok(Inverted::build(specs)))?,
            dense: one("dense", specs, queries, || Ok(Dense::build(specs)))?,
            tree,
        })
    })
}

fn one<M: Method>(
    name: &'static str,
    specs: &[Spec],
    queries: &[Query],
    build: impl FnOnce() -> Result<M, Failure>,
) -> Result<Peer, Failure> {
    let (empty, start) = (ALLOCATOR.allocated(), ThreadTime::now());
    let mut method = build()?;
    let build_s = start.elapsed().as_secs_f64();
    let bytes = ALLOCATOR.allocated() - empty;
    compare(name, &mut method, specs, queries)?;
    let worth = Worth::of(specs);
    let (mut found, mut best) = (Vec::new(), Best::new(TOP));
    let all = Times::of_each(queries, |query| {
        found.clear();
        method.matches(query, &mut found);
    });
    let top = Times::of_each(queries, |query| {
        found.clear();
        method.matches(query, &mut found);
        found.iter().for_each(|index| best.offer(*index, worth.total(*index)));
        std::hint::black_box(best.drain_sum());
    });
    let bytes_per_ad = bytes as f64 / specs.len() as f64;
    Ok(Peer { name, ads: specs.len(), all, top, build_s, bytes_per_ad })
}

/// Checks a method's matches against the definition.
fn compare(
    name: &str,
    method: &mut impl Method,
    specs: &[Spec],
    queries: &[Query],
) -> Result<(), Failure> {
    for query in queries.iter().take(COMPARED) {
        let mut found = Vec::new();
        method.matches(query, &mut found);
        found.sort_unstable();
        let matching = (0..).zip(specs).filter(|(_, spec)| spec.matches(query));
        if !matching.map(|(index, _)| index).eq(found.iter().copied()) {
            return Err(format!("{name} finds other ads than match").into());
        }
    }
    Ok(())
}
