//! How fast a viewer is checked, what it weighs, and what a count-min sketch of equal bytes would lose.
//!
//! A check is timed in runs of 32, since a clock reading costs as much as a check. The sketch keeps one
//! set of rows an hour for 30 days, as it must to offer the same caps; it over-counts, and every ad that
//! it wrongly refuses is lost reach. Without `--bench` (under `cargo test`) the input is tiny.

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]
#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::time::Instant;

use munadi::decide::onlooker::{Cap, Onlooker, Passing};
use munadi::decide::promise::Promise;
use munadi::decide::skip::Skip;
use munadi::node::dice::SeededDice;
use munadi::state::Stamp;
use munadi::state::bucket::Bucket;
use munadi::state::viewers::Viewer;
use munadi::types::dice::Dice;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{FeedbackGiven, ImpressionSeen, Showing};
use munadi::types::proto::v1::EventKind;
use munadi::types::request::Policy;
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};

/// As `munadi` runs: the benchmark's process holds the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Moment = Moment(500_000 * HOUR_MS + 30 * MINUTE_MS);
/// Checks between two readings of the clock.
const RUN: usize = 32;
const CAPS: [Cap; 2] =
    [Cap { event: 1, max: 3, interval_hours: 24 }, Cap { event: 2, max: 1, interval_hours: 24 }];

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (samples, users) = if full { (100_000, 2_000) } else { (100, 20) };
    let (check, look) = checks(samples);
    let weight = bytes_of(&full_viewer());
    println!(
        "a check: {:.0} ns p50, {:.0} ns p99; a look: {:.0} ns p50; a full viewer: {weight} bytes",
        check.0, check.1, look.0
    );
    let reach = lost_reach(users);
    println!(
        "{users} users of {} bytes, {} of them counts of caps: a sketch of equal bytes refuses {:.2} % \
         of what may be shown; a full record refuses {:.2} %",
        reach.user_bytes,
        reach.cap_bytes,
        reach.sketch * 100.0,
        reach.full * 100.0
    );
    let line = serde_json::json!({
        "bench": "caps",
        "check_p50_ns": check.0,
        "check_p99_ns": check.1,
        "look_p50_ns": look.0,
        "look_p99_ns": look.1,
        "full_viewer_bytes": weight,
        "active_user_bytes": reach.user_bytes,
        "active_user_cap_bytes": reach.cap_bytes,
        "sketch_lost_reach": reach.sketch,
        "record_full_lost_reach": reach.full,
        "sketch_exceeded": reach.exceeded,
    });
    println!("{line}");
}

/// Sees an ad of an ad set.
fn see(bucket: &mut Bucket, seq: u64, viewer: u64, ad_set: u64, cap_hours: u32, at: Moment) {
    let showing = Some(Showing {
        view: seq,
        viewer,
        ad: ad_set,
        ad_set: mint(IdKind::AdSet, ad_set),
        business: mint(IdKind::Business, ad_set),
        issued_s: at.seconds(),
        ..Showing::default()
    });
    let shard = Shard::new(0).expect("a shard");
    let category = ad_set % 50;
    let seen = ImpressionSeen { showing, cap_hours, category, ..ImpressionSeen::default() };
    bucket.apply(Stamp { shard, seq: Seq(seq), at }, &Kind::ImpressionSeen(seen));
}

/// Returns a viewer with 16 capped ad sets, 200 views and 20 hidden ads and businesses.
fn full_viewer() -> Viewer {
    let mut bucket = Bucket::default();
    let shard = Shard::new(0).expect("a shard");
    for seq in 1..=200u64 {
        let ad_set = if seq % 4 == 0 { 1 + seq / 4 % 16 } else { 100 + seq };
        let cap_hours = if ad_set <= 16 { 24 } else { 0 };
        let at = NOW.plus_ms(-(200 - seq as i64) * 7 * MINUTE_MS);
        see(&mut bucket, seq, 1, ad_set, cap_hours, at);
    }
    for seq in 201..=220u64 {
        let (ad, business) = (20_000 + seq, 30_000 + seq);
        let showing = Some(Showing { view: seq, viewer: 1, ad, business, ..Showing::default() });
        let kind = if seq % 2 == 0 { EventKind::HideAd } else { EventKind::HideBusiness };
        let event_kind = kind as u32;
        let fact = FeedbackGiven { showing, event_kind, ..FeedbackGiven::default() };
        bucket.apply(Stamp { shard, seq: Seq(seq), at: NOW }, &Kind::FeedbackGiven(fact));
    }
    bucket.viewers.remove(&1).expect("the viewer")
}

/// Returns nanoseconds of one check and of one look, each at p50 and p99.
fn checks(samples: usize) -> ((f64, f64), (f64, f64)) {
    let viewer = full_viewer();
    assert_eq!((viewer.caps().len(), viewer.views().len(), viewer.hidden().len()), (16, 200, 20));
    let promised: Vec<_> = (0..12)
        .map(|ad_set| {
            let caps = if ad_set % 2 == 0 { &CAPS[..] } else { &CAPS[..0] };
            Promise::of(ad_set, &passing(ad_set, caps, ad_set), NOW, 1)
        })
        .collect();
    let policy = Policy {
        advertiser_distance_ms: HOUR_MS,
        category_distance_ms: 10 * MINUTE_MS,
        ..Policy::USUAL
    };
    let mut dice = SeededDice::new(5);
    let ads: Vec<_> = (0..4_096)
        .map(|_| {
            let roll = dice.roll();
            let (ad_set, caps) = match roll % 4 {
                0 | 1 => (1 + roll / 4 % 16, &CAPS[..]),
                2 => (500 + roll / 4 % 1_000, &CAPS[..]),
                _ => (500 + roll / 4 % 1_000, &CAPS[..0]),
            };
            passing(ad_set, caps, roll)
        })
        .collect();
    let mut onlooker = Onlooker::default();
    let (mut check, mut look) = (Vec::new(), Vec::new());
    let mut admitted = 0u64;
    for sample in 0..samples {
        let begin = Instant::now();
        onlooker.look(Some(black_box(&viewer)), &promised, &policy, NOW);
        look.push(begin.elapsed().as_nanos() as f64);
        let first = sample * RUN % ads.len();
        let begin = Instant::now();
        for ad in &ads[first..first + RUN] {
            admitted += u64::from(black_box(&onlooker).admits(black_box(ad), NOW).is_ok());
        }
        check.push(begin.elapsed().as_nanos() as f64 / RUN as f64);
    }
    println!("admitted {admitted} of {}", samples * RUN);
    (percentiles(check), percentiles(look))
}

/// Returns an ad as its viewer's checks see it.
fn passing(ad_set: u64, caps: &[Cap], roll: u64) -> Passing<'_> {
    let (ad, category, is_counted) = (ad_set, roll % 50, false);
    let (ad_set, business) = (mint(IdKind::AdSet, ad_set), mint(IdKind::Business, ad_set));
    Passing { ad, ad_set, business, category, caps, is_counted }
}

fn percentiles(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_unstable_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[figures.len() * 99 / 100])
}

/// Returns what a viewer weighs in its bucket, allocations included.
fn bytes_of(viewer: &Viewer) -> usize {
    size_of::<(u64, Viewer)>() + viewer.allocated_bytes()
}

fn cap_bytes_of(viewer: &Viewer) -> usize {
    let hours = viewer.caps().iter().map(|cap| cap.hours.capacity() * size_of::<(u32, u16)>());
    size_of_val(viewer.caps()) + hours.sum::<usize>()
}

/// The caps whose reach is compared: a day's and a month's.
const MONTH: [Cap; 2] =
    [Cap { event: 1, max: 3, interval_hours: 24 }, Cap { event: 1, max: 40, interval_hours: 720 }];

/// What exact counts and a sketch of equal bytes make of the same 30 days.
struct Reach {
    user_bytes: usize,
    cap_bytes: usize,
    /// Share of the ads under their cap that the sketch refuses.
    sketch: f64,
    /// Share of them that a full record refuses.
    full: f64,
    /// Ads over their cap that the sketch lets pass.
    exceeded: u64,
}

fn lost_reach(users: u64) -> Reach {
    let mut dice = SeededDice::new(9);
    let (mut bucket, mut events) = (Bucket::default(), Vec::new());
    for hour in 0..Sketch::HOURS {
        let at = NOW.plus_ms((hour as i64 + 1 - Sketch::HOURS as i64) * HOUR_MS);
        for user in 1..=users {
            // A user comes in a few hours of the day, and sees ads out of a dozen ad sets of its own.
            for _ in 0..if dice.roll().is_multiple_of(12) { dice.roll() % 6 } else { 0 } {
                let ad_set = 1 + (user * 7 + dice.roll() % 12 * (1 + dice.roll() % 2)) % 2_000;
                events.push((user, ad_set, hour));
                see(&mut bucket, events.len() as u64, user, ad_set, 720, at);
            }
        }
    }
    let viewers = || bucket.viewers.values();
    let cap_bytes = viewers().map(cap_bytes_of).sum::<usize>();
    let user_bytes = viewers().map(bytes_of).sum::<usize>();
    let mut sketch = Sketch::new(cap_bytes);
    events.iter().for_each(|(user, ad_set, hour)| sketch.add(*user, *ad_set, *hour));
    let mut onlooker = Onlooker::default();
    let policy = Policy { advertiser_distance_ms: 0, ..Policy::USUAL };
    let (mut may, mut lost, mut full, mut exceeded) = (0u64, 0u64, 0u64, 0u64);
    for user in 1..=users {
        onlooker.look(bucket.viewers.get(&user), &[], &policy, NOW);
        for candidate in 0..24 {
            let ad_set = 1 + (user * 7 + candidate) % 2_000;
            let ad = passing(ad_set, &MONTH, 0);
            let over = |cap: &Cap| {
                sketch.count(user, ad_set, cap.interval_hours.into()) >= u64::from(cap.max)
            };
            let refused = MONTH.iter().any(over);
            match onlooker.admits(&ad, NOW) {
                Ok(()) => (may, lost) = (may + 1, lost + u64::from(refused)),
                Err(Skip::CapStateFull) => {
                    (may, lost, full) = (may + 1, lost + u64::from(refused), full + 1);
                }
                Err(_) => exceeded += u64::from(!refused),
            }
        }
    }
    let share = |part: u64| part as f64 / may.max(1) as f64;
    let active = bucket.viewers.len().max(1);
    Reach {
        user_bytes: user_bytes / active,
        cap_bytes: cap_bytes / active,
        sketch: share(lost),
        full: share(full),
        exceeded,
    }
}

/// A count-min sketch for each hour of 30 days, of one-byte counters.
struct Sketch {
    rows: Vec<u8>,
    width: u64,
}

impl Sketch {
    const DEPTH: u64 = 4;
    const HOURS: u64 = 720;

    fn new(bytes: usize) -> Self {
        let width = (bytes as u64 / Self::DEPTH / Self::HOURS).max(1);
        Self { rows: vec![0; (width * Self::DEPTH * Self::HOURS) as usize], width }
    }

    fn places(&self, user: u64, ad_set: u64, hour: u64) -> [usize; Self::DEPTH as usize] {
        std::array::from_fn(|row| {
            let seed = (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (user.wrapping_mul(0xA24B_AED4_963E_E407) ^ ad_set ^ seed)
                .wrapping_mul(0x9FB2_1C65_1E98_DF25);
            let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            let place = (mixed ^ (mixed >> 29)) % self.width;
            (((hour * Self::DEPTH) + row as u64) * self.width + place) as usize
        })
    }

    fn add(&mut self, user: u64, ad_set: u64, hour: u64) {
        for place in self.places(user, ad_set, hour) {
            self.rows[place] = self.rows[place].saturating_add(1);
        }
    }

    /// Estimates the events of the last hours.
    fn count(&self, user: u64, ad_set: u64, hours: u64) -> u64 {
        let of_hour = |hour| {
            let places = self.places(user, ad_set, hour).into_iter();
            places.map(|place| u64::from(self.rows[place])).min().unwrap_or_default()
        };
        (Self::HOURS - hours..Self::HOURS).map(of_hour).sum()
    }
}
