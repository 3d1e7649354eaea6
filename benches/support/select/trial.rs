//! One number of ads under one workload: the engine's index is built, asked, and checked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cpu_time::ProcessTime;
use munadi::decide::board::Board;
use munadi::state::catalog::Catalog;

use crate::support::select::Method;
use crate::support::select::engine::{self, Churn, Engine, Request};
use crate::support::select::facts;
use crate::support::select::measure::{Cores, Times};
use crate::support::select::scan::Scan;
use crate::support::select::spec::{Query, Source, Spec, Workload};
use crate::support::select::worth::{Best, Worth};
use crate::{ALLOCATOR, Plan};

/// Ads that are asked for.
pub(crate) const TOP: usize = 50;

/// Requests before the first that counts.
const WARM_UP: usize = 1_000;

/// The engine's side of a case, ready to be asked.
pub(crate) struct Trial {
    pub(crate) workload: Workload,
    pub(crate) specs: Vec<Spec>,
    pub(crate) queries: Vec<Query>,
    requests: Vec<Request>,
    catalog: Catalog,
    board: Board,
    engine: Engine,
    build_s: f64,
    index_bytes: f64,
    catalog_bytes: f64,
    board_bytes: f64,
}

/// What one case measured.
pub(crate) struct Outcome {
    pub(crate) ads: usize,
    pub(crate) workload: Workload,
    pub(crate) times: Times,
    pub(crate) build_s: f64,
    pub(crate) index_bytes_per_ad: f64,
    pub(crate) catalog_bytes_per_ad: f64,
    /// Lines of money and rates, which serving reads beside the index.
    pub(crate) board_bytes_per_ad: f64,
    /// Bytes that were allocated for one request, after the warm-up.
    pub(crate) bytes_per_request: f64,
    pub(crate) checked: usize,
    pub(crate) mismatches: usize,
    /// Ads that matched a request, on the average of those that were checked.
    pub(crate) matches: f64,
    /// Sum of all totals that were answered: the same on every machine.
    pub(crate) checksum: i64,
}

impl Trial {
    /// Makes the ads and builds the index. Multipliers fall between building and asking.
    pub(crate) fn prepare(plan: &Plan, workload: Workload, ads: usize) -> Self {
        let specs: Vec<Spec> = Source::ads(workload, plan.seed, ads).collect();
        let queries = Source::queries(workload, plan.seed, plan.queries);
        let requests = queries.iter().map(Request::of).collect();
        let empty = ALLOCATOR.allocated();
        let catalog = facts::catalog(specs.iter().copied());
        let catalog_bytes = (ALLOCATOR.allocated() - empty) as f64;
        let without = ALLOCATOR.allocated();
        let board = engine::board(&specs);
        let board_bytes = (ALLOCATOR.allocated() - without) as f64;
        let without = ALLOCATOR.allocated();
        let start = ProcessTime::now();
        let engine = Engine::build(&catalog, &board, &specs);
        let build_s = start.elapsed().as_secs_f64();
        let index_bytes = (ALLOCATOR.allocated() - without) as f64;
        engine::pace(&board, &specs);
        Self {
            workload,
            specs,
            queries,
            requests,
            catalog,
            board,
            engine,
            build_s,
            index_bytes,
            catalog_bytes,
            board_bytes,
        }
    }

    /// Asks every viewer's request, then compares some of the answers with those of the plain scan.
    pub(crate) fn run(&mut self, plan: &Plan, cores: &Cores) -> Outcome {
        let (times, checksum, bytes) = cores.pinned(|| self.ask());
        let checked = plan.checked.min(self.queries.len());
        let (mismatches, matches) = cores.pinned(|| self.check(checked));
        let ads = self.specs.len();
        Outcome {
            ads,
            workload: self.workload,
            bytes_per_request: bytes / times.count() as f64,
            times,
            build_s: self.build_s,
            index_bytes_per_ad: self.index_bytes / ads as f64,
            catalog_bytes_per_ad: self.catalog_bytes / ads as f64,
            board_bytes_per_ad: self.board_bytes / ads as f64,
            checked,
            mismatches,
            matches,
            checksum,
        }
    }

    fn ask(&mut self) -> (Times, i64, f64) {
        let (engine, board) = (&mut self.engine, &self.board);
        for request in self.requests.iter().take(WARM_UP) {
            std::hint::black_box(engine.top(board, request, TOP));
        }
        let mut checksum = 0;
        let before = ALLOCATOR.total_allocated();
        let times = Times::of_each(&self.requests, |request| {
            let total = engine.top(board, request, TOP).iter().map(|(_, total)| total).sum::<i64>();
            checksum ^= total;
        });
        let bytes = ALLOCATOR.total_allocated() - before - Times::bytes_of(times.count());
        (times, checksum, bytes as f64)
    }

    /// Returns how many answers differ from the plain scan's, and how many ads match on the average.
    fn check(&mut self, count: usize) -> (usize, f64) {
        let (mut scan, worth) = (Scan::build(&self.specs), Worth::of(&self.specs));
        let (mut found, mut mismatches, mut matches) = (Vec::new(), 0, 0);
        for (query, request) in self.queries.iter().zip(&self.requests).take(count) {
            found.clear();
            scan.matches(query, &mut found);
            matches += found.len();
            let mut best = Best::new(TOP);
            found.iter().for_each(|index| best.offer(*index, worth.total(*index)));
            let answer = self.engine.top(&self.board, request, TOP);
            if !agrees(answer, &best.drain_sorted(), &found, &worth) {
                mismatches += 1;
            }
        }
        (mismatches, matches as f64 / count.max(1) as f64)
    }

    /// Asks again and again while ads change and the index is built anew on another core, then once more
    /// when all is quiet.
    pub(crate) fn run_disturbed(&mut self, plan: &Plan, cores: &Cores) -> Disturbed {
        let Self { engine, board, requests, catalog, specs, .. } = self;
        let (board, stop, shared) = (&*board, AtomicBool::new(false), engine.shared());
        let mut pass = || {
            Times::of_each(&*requests, |request| {
                std::hint::black_box(engine.top(board, request, TOP));
            })
        };
        let (busy, churn) = std::thread::scope(|scope| {
            let churn = scope.spawn(|| {
                cores.stand_beside();
                engine::churn(&shared, catalog, board, specs, &stop)
            });
            let busy = cores.pinned(|| {
                let (start, mut parts) = (Instant::now(), Vec::new());
                while parts.is_empty() || start.elapsed() < plan.disturbed {
                    parts.push(pass());
                }
                Times::joined(parts)
            });
            stop.store(true, Ordering::Relaxed);
            (busy, churn.join().expect("a panic was printed already"))
        });
        Disturbed { busy, after: cores.pinned(pass), churn }
    }
}

/// What was measured while ads changed.
pub(crate) struct Disturbed {
    /// During the changes.
    pub(crate) busy: Times,
    /// After them, on the index that they left.
    pub(crate) after: Times,
    pub(crate) churn: Churn,
}

/// Tells whether an answer is the expected one. Ads that are worth as much as the last one may stand for
/// each other if they match too.
fn agrees(answer: &[(u64, i64)], expected: &[(u32, i64)], found: &[u32], worth: &Worth) -> bool {
    let totals = |list: &[(u64, i64)]| list.iter().map(|(_, total)| *total).collect::<Vec<_>>();
    if totals(answer) != expected.iter().map(|(_, total)| *total).collect::<Vec<_>>() {
        return false;
    }
    let mut ads: Vec<u32> = answer.iter().map(|(ad, _)| place_of(*ad)).collect();
    ads.sort_unstable();
    ads.dedup();
    let true_to = |(ad, total): &(u64, i64)| {
        let index = place_of(*ad);
        found.binary_search(&index).is_ok() && worth.total(index) == *total
    };
    ads.len() == answer.len() && answer.iter().all(true_to)
}

fn place_of(ad: u64) -> u32 {
    (munadi::types::ids::number_of(ad) - 1) as u32
}
