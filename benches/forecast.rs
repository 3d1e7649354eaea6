//! `cargo bench --bench forecast`: how long one forecast over a full log takes, and how far samples of it are
//! off, beside two ways that don't sample by viewer.
//!
//! A generated day: people who come seldom or often, trays with one or two rivals. Truth is the same draft
//! on the whole log; samples are one in eight of its people. The baselines take one in eight of its
//! requests and scale up what they reach, and the size of the audience times the share of its requests that
//! is bought. Times are CPU time of one thread. Whether forecasts come true in the real auction is asked by `tests/sim`. Without `--bench` a
//! tiny input runs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use cap::Cap as Capped;
use cpu_time::ThreadTime;
use mimalloc::MiMalloc;
use munadi::decide::auction::Aim;
use munadi::decide::forecast::{
    Entrant, Forecast, Forecaster, Log, Noticed, Odds, Plan, Rival, Sample, Shape,
};
use munadi::decide::onlooker::Cap;
use munadi::decide::rates::{Factors, Rates};
use munadi::decide::target::Target;
use munadi::state::totals::PLACEMENTS;
use munadi::types::hash::mix;
use munadi::types::proto::v1::{BidStrategy, BillingEvent, Targeting};
use munadi::types::request::{Policy, Profile};
use munadi::types::time::{DAY_MS, Moment};

#[global_allocator]
static ALLOCATOR: Capped<MiMalloc> = Capped::new(MiMalloc, usize::MAX);

const BEGIN: Moment = Moment(1_795_392_000_000);

/// People stand for so many in a sample.
const DIVISOR: u32 = 8;

/// A share of attention that every third tray has.
const STEEP: u32 = 63_000;

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (requests, draws, rounds) = if full { (999_000, 24, 9) } else { (3_000, 2, 1) };
    let day = Day::new(requests);
    let before = ALLOCATOR.allocated();
    let start = ThreadTime::now();
    let log = day.log(|_, _| true, 0, 1);
    let note_ns = start.elapsed().as_nanos() as f64 / log.visits() as f64;
    let log_mb = (ALLOCATOR.allocated() - before) as f64 / 1e6;
    let sample = log.sample(Moment(BEGIN.0 + DAY_MS));
    let (people, visits) = (log.people(), log.visits());
    println!("{visits} requests of {people} people: {log_mb:.0} MB, {note_ns:.0} ns to note one");
    let plan = plan();
    let (bids, all) = ([Some(40_000_000)], Forecaster::new(&plan, &sample));
    let whole = all.curve(&bids, &[None]).remove(0);
    let budget = Some(whole.spend.expected as i64 / 2);
    let (mut once, mut grid) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        once.push(timed(|| forecast(&plan, &sample, &bids, &[budget])));
        let eight: [i64; 8] = std::array::from_fn(|step| 1 + step as i64);
        let bids = eight.map(|step| Some(step * 10_000_000));
        let budgets = eight.map(|step| budget.map(|budget| budget * step / 8));
        grid.push(timed(|| forecast(&plan, &sample, &bids, &budgets)));
    }
    let (once, grid) = (median(once), median(grid));
    let truth = forecast(&plan, &sample, &bids, &[budget]).remove(0);
    println!("one forecast {once:.0} ms, 8 bids x 8 budgets {grid:.0} ms: {truth:?}");
    let errors = errors(&day, &plan, &bids, budget, &truth, draws);
    println!("{errors:?}");
    let line = serde_json::json!({
        "bench": "forecast",
        "requests": visits,
        "people": people,
        "log_mb": log_mb,
        "note_ns": note_ns,
        "forecast_ms": once,
        "grid_of_64_ms": grid,
        "reach": truth.reach.expected,
        "sampled_one_in": DIVISOR,
        "reach_error_p95": errors.by_viewer,
        "baselines": {
            "by_request_bias": errors.by_request,
            "audience_share_bias": errors.by_audience,
        },
    });
    println!("{line}");
}

fn forecast(
    plan: &Plan,
    sample: &Sample,
    bids: &[Option<i64>],
    budgets: &[Option<i64>],
) -> Vec<Forecast> {
    Forecaster::new(plan, sample).curve(bids, budgets)
}

fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let start = ThreadTime::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64() * 1e3
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[derive(Debug)]
struct Errors {
    /// The error of reach that 95 of 100 samples of viewers are below.
    by_viewer: f64,
    /// The middle error of reach with its sign, of samples of requests.
    by_request: f64,
    /// The same of the audience times the share of its requests.
    by_audience: f64,
}

fn errors(
    day: &Day,
    plan: &Plan,
    bids: &[Option<i64>],
    budget: Option<i64>,
    truth: &Forecast,
    draws: u64,
) -> Errors {
    let until = Moment(BEGIN.0 + DAY_MS);
    let off = |told: f64| told / truth.reach.expected as f64 - 1.0;
    let (mut by_viewer, mut by_request, mut by_audience) = (Vec::new(), Vec::new(), Vec::new());
    for draw in 1..=draws {
        let sample = day.log(|_, _| true, draw, DIVISOR).sample(until);
        let told = forecast(plan, &sample, bids, &[budget]).remove(0);
        by_viewer.push(off(told.reach.expected as f64).abs());
        let kept = |viewer: u64, number: u64| {
            mix(viewer ^ mix(number ^ draw)).is_multiple_of(DIVISOR.into())
        };
        let few = day.log(kept, 0, 1).sample(until);
        let part = budget.map(|budget| budget / i64::from(DIVISOR));
        let told = forecast(plan, &few, bids, &[part]).remove(0);
        by_request.push(off((told.reach.expected * u64::from(DIVISOR)) as f64));
        // All of the audience, each reached as often as the budget buys requests.
        let forecaster = Forecaster::new(plan, &sample);
        // Each request once, however many places its tray has.
        let (people, requests) = forecaster.offers();
        let bought = told.impressions.expected as f64 / (requests as f64);
        by_audience.push(off(people as f64 * f64::from(DIVISOR) * bought.min(1.0)));
    }
    by_viewer.sort_by(f64::total_cmp);
    let p95 = by_viewer[(by_viewer.len() * 95 / 100).min(by_viewer.len() - 1)];
    Errors { by_viewer: p95, by_request: median(by_request), by_audience: median(by_audience) }
}

/// A draft for two of three people, at most three times a day.
fn plan() -> Plan {
    let targeting = Targeting { countries: vec!["MX".into()], ..Targeting::default() };
    Plan {
        targets: vec![Target::of_one(&targeting)],
        entrant: Entrant::default(),
        has_category: false,
        caps: vec![Cap { event: 1, max: 3, interval_hours: 24 }],
        hours: None,
        utc_offset_minutes: 0,
        aim: Aim::billed(BillingEvent::Impressions),
        settled: 1.0,
        strategy: BidStrategy::LowestCostWithBidCap,
        odds: Odds { rates: Rates::NEW, taps: 4.0, chats: 8.0 },
        factors: [Factors::ONE; PLACEMENTS],
        seen: 0.9,
        off: 0.02,
    }
}

/// The requests of a day, in order of time: viewer and moment.
struct Day {
    requests: Vec<(i64, u64)>,
}

impl Day {
    fn new(count: usize) -> Self {
        let mut requests = Vec::new();
        let mut viewer = 0;
        while requests.len() < count {
            viewer += 1;
            let roll = mix(viewer);
            // Most come a few times, one of ten some twenty times.
            let often =
                if roll.is_multiple_of(10) { 10 + (roll >> 8) % 25 } else { 1 + (roll >> 8) % 7 };
            for visit in 0..often {
                let at = BEGIN.0 + (mix(roll ^ visit) % DAY_MS as u64) as i64;
                requests.push((at, viewer));
            }
        }
        requests.truncate(count);
        requests.sort_unstable();
        Self { requests }
    }

    /// Logs those requests that are kept, of one in so many people.
    fn log(&self, kept: impl Fn(u64, u64) -> bool, salt: u64, divisor: u32) -> Log {
        let mut log = Log::default();
        let flat = Policy { floor_cpm_micros: 2_000_000, ..Policy::USUAL };
        let steep = Policy { attention_keep: STEEP, ..flat };
        let shapes = [flat, flat, steep]
            .map(|policy| Shape::of(&policy, [2, 6].into_iter()).expect("it has places"));
        let first = self.noticed(&shapes, BEGIN.0, 0, 0);
        log.take(first);
        log.narrow(divisor);
        for (number, (at, viewer)) in (0..).zip(&self.requests) {
            if kept(*viewer, number) {
                log.take(self.noticed(&shapes, *at, *viewer, salt));
            }
        }
        log
    }

    fn noticed(&self, shapes: &[Shape; 3], at: i64, viewer: u64, salt: u64) -> Noticed {
        let (person, roll) = (mix(viewer), mix(viewer ^ mix(at as u64)));
        let country = if person.is_multiple_of(3) { *b"IN" } else { *b"MX" };
        let rival = |shift: u32| Rival {
            total: (2_000_000 + (roll >> shift & 0xFFFF) * 1_200) as f32,
            pay: 2_000_000.0,
            group: 1 + (roll >> shift) as u32 % 50,
            ad_set: 1 + (roll >> shift) as u32 % 500,
        };
        let mut rivals = vec![rival(3), rival(23)];
        rivals.truncate(1 + (roll % 4).min(1) as usize);
        rivals.sort_by(|one, other| other.total.total_cmp(&one.total));
        Noticed {
            viewer: if salt == 0 { viewer } else { mix(viewer ^ salt << 40) },
            profile: Profile {
                country: u16::from_be_bytes(country),
                age_band: 1 + (person >> 8) as u8 % 6,
                gender: 1 + (person >> 16) as u8 % 2,
                languages: vec![u16::from_be_bytes(*b"es")],
                interests: (0..4).map(|n| (person >> (8 * n)) as u16 % 500).collect(),
                ..Profile::default()
            },
            placement: 1,
            at: Moment(at),
            shape: shapes[roll as usize % 3].clone(),
            rivals,
        }
    }
}
