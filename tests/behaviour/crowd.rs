//! Many threads ask and look for the same viewers at once, and no cap on impressions is ever exceeded.
//! `CAPS_EVENTS=10000000 cargo test --test behaviour crowd` makes it long.

#![allow(clippy::print_stdout, reason = "a run says what it covered")]

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use munadi::node::Front;
use munadi::node::dice::SeededDice;
use munadi::node::writer::{Work, Writer};
use munadi::types::dice::Dice;
use munadi::types::proto::v1::slot::Filling;
use munadi::types::proto::v1::{CapEvent, EventKind, FrequencyCap, NoAdReason};
use munadi::types::request::{AdRequest, Incoming, Policy, Verdict};
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};
use munadi::types::token::ViewToken;

use crate::stage::{FEED, Offer, Stage};

/// Requests and views of the short form.
const EVENTS: u64 = 200_000;
/// One node's share: its log is in memory.
const EVENTS_PER_NODE: u64 = 1_000_000;
const THREADS: u64 = 4;
const VIEWERS: u64 = 24;
/// Trays that each thread asks for before the clock moves on.
const ASKS_PER_ROUND: u64 = 24;
/// Caps of the ad sets: most impressions within so many hours.
const CAPS: [&[(u32, u32)]; 6] =
    [&[(1, 1)], &[(2, 1)], &[(1, 1), (3, 4)], &[(5, 2)], &[(2, 2), (9, 24)], &[(30, 24)]];

/// What one node's crowd did.
#[derive(Debug, Default)]
struct Done {
    asked: u64,
    seen: u64,
    capped: u64,
    busy: u64,
}

#[test]
fn a_crowd_of_threads_exceeds_no_cap() {
    let events = std::env::var("CAPS_EVENTS").ok().map_or(EVENTS, |text| text.parse().unwrap());
    let mut sum = Done::default();
    for node in 0.. {
        let so_far = sum.asked + sum.seen;
        if so_far >= events {
            break;
        }
        let done = run(node, EVENTS_PER_NODE.min(events - so_far));
        sum.asked += done.asked;
        sum.seen += done.seen;
        sum.capped += done.capped;
        sum.busy += done.busy;
    }
    println!("{} events, 0 violations: {sum:?}", sum.asked + sum.seen);
    assert!(sum.seen > events / 20 && sum.capped > events / 20, "{sum:?}");
}

/// One thread of viewers' devices.
struct Devices<'a> {
    front: &'a Front,
    requests: &'a [AdRequest],
    policy: Policy,
    dice: SeededDice,
    /// Served and not looked at yet.
    waiting: Vec<ViewToken>,
    done: Done,
}

impl Devices<'_> {
    /// Asks for trays, and looks at some of what was served now or in an earlier round.
    fn round(&mut self, now: Moment, events: &Sender<Vec<Incoming>>) {
        // A view after `show_by` is counted too, but its promise has lapsed: here it lapses unseen.
        self.waiting.retain(|token| {
            let until = Moment::from_seconds(token.issued + u32::from(token.show_by));
            until > now && !token.view.is_multiple_of(7)
        });
        for _ in 0..ASKS_PER_ROUND {
            let request = &self.requests[(self.dice.roll() % VIEWERS) as usize];
            self.done.asked += 1;
            let answer = self.front.request_ads(FEED, &self.policy, request, now);
            for slot in answer.slots() {
                match slot.filling {
                    Some(Filling::Ad(ad)) => {
                        let opened = self.front.sealer().open_view(&ad.view_token, now.seconds());
                        self.waiting.push(opened.unwrap());
                    }
                    Some(Filling::NoAdReason(reason)) => {
                        let reason = NoAdReason::try_from(reason).unwrap();
                        self.done.capped += u64::from(reason == NoAdReason::FrequencyCapped);
                        self.done.busy += u64::from(reason == NoAdReason::Busy);
                    }
                    None => panic!("a slot with neither"),
                }
            }
            // Some are looked at soon, some in a later round, some lapse unseen.
            if !self.waiting.is_empty() && !self.dice.roll().is_multiple_of(8) {
                let index = (self.dice.roll() % self.waiting.len() as u64) as usize;
                let token = self.waiting.swap_remove(index);
                let kind = EventKind::Impression;
                events
                    .send(vec![Incoming::Ad { token, kind, at: None, suspect: None, network: 0 }])
                    .unwrap();
            }
        }
    }
}

/// Runs one node until so many requests and views have happened, and counts its views by hand.
fn run(seed: u64, events: u64) -> Done {
    let mut stage = Stage::new();
    let caps = CAPS.map(|caps| (capped_shop(&mut stage, caps), caps));
    let requests: Vec<_> = (0..VIEWERS)
        .map(|viewer| AdRequest { posts: 9, ..stage.tray_of(&format!("viewer {viewer}")) })
        .collect();
    let (front, policy, begin) = (stage.front.clone(), stage.policy, stage.now);
    let (happened, barrier) = (AtomicU64::new(0), Barrier::new(THREADS as usize + 1));
    let (sender, receiver) = channel::<Vec<Incoming>>();
    let mut seen: HashMap<(u64, u64), Vec<i64>> = HashMap::new();
    let mut sum = Done::default();
    thread::scope(|scope| {
        let devices: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (sender, front, requests) = (sender.clone(), &front, &requests);
                let (happened, barrier) = (&happened, &barrier);
                scope.spawn(move || {
                    let dice = SeededDice::new(seed * 100 + thread);
                    let (waiting, done) = (Vec::new(), Done::default());
                    let mut devices = Devices { front, requests, policy, dice, waiting, done };
                    for round in 0.. {
                        barrier.wait();
                        if happened.load(Relaxed) >= events {
                            return devices.done;
                        }
                        devices.round(at(begin, round), &sender);
                        barrier.wait();
                    }
                    devices.done
                })
            })
            .collect();
        for round in 0.. {
            let now = at(begin, round);
            let writer = &mut stage.writer;
            // A new day's budgets are granted before the devices ask.
            writer.step(now, []);
            while !writer.is_idle() {
                writer.step(now, []);
            }
            barrier.wait();
            if happened.load(Relaxed) >= events {
                break;
            }
            // The writer records while the others ask; what is left, once they have stopped.
            let busy = scope.spawn(|| barrier.wait());
            let mut views = 0;
            while !busy.is_finished() {
                views += record(writer, now, receiver.try_iter(), &mut seen);
            }
            views += record(writer, now, receiver.try_iter(), &mut seen);
            happened.fetch_add(THREADS * ASKS_PER_ROUND + views, Relaxed);
            sum.seen += views;
        }
        for devices in devices {
            let done = devices.join().unwrap();
            sum.asked += done.asked;
            sum.capped += done.capped;
            sum.busy += done.busy;
        }
    });
    check(&caps, &mut seen);
    sum
}

/// Opens a shop whose ad has these caps and a budget that never ends; returns the ad.
fn capped_shop(stage: &mut Stage, caps: &[(u32, u32)]) -> u64 {
    let cap = |&(max_frequency, interval_hours)| {
        let event = CapEvent::Impressions.into();
        FrequencyCap { max_frequency, interval_hours, event }
    };
    let campaign = (Some(i64::MAX / 4_000), None);
    let caps = caps.iter().map(cap).collect();
    stage.shop(&Offer { caps, campaign, ..Offer::default() }).ad
}

/// Returns the time of a round: three of them within minutes, then an hour in which promises lapse.
fn at(begin: Moment, round: i64) -> Moment {
    begin.plus_ms(round / 3 * HOUR_MS + round % 3 * 4 * MINUTE_MS)
}

/// Records views; notes each that was counted, and returns how many.
fn record(
    writer: &mut Writer,
    now: Moment,
    views: impl Iterator<Item = Vec<Incoming>>,
    seen: &mut HashMap<(u64, u64), Vec<i64>>,
) -> u64 {
    let items: Vec<Incoming> = views.flatten().collect();
    if items.is_empty() {
        thread::yield_now();
        return 0;
    }
    let tokens: Vec<ViewToken> = items
        .iter()
        .map(|item| match item {
            Incoming::Ad { token, .. } => *token,
            other => panic!("not a view: {other:?}"),
        })
        .collect();
    let (sender, receiver) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    writer.step(now, [Work::Record(items, reply)]);
    while !writer.is_idle() {
        writer.step(now, []);
    }
    let verdicts = receiver.try_recv().unwrap().unwrap();
    for (token, verdict) in tokens.iter().zip(&verdicts) {
        assert!(matches!(verdict, Verdict::Recorded { .. }), "{verdict:?}");
        seen.entry((token.viewer, token.ad)).or_default().push(now.0);
    }
    tokens.len() as u64
}

/// Walks every viewer's views of every ad: no window of a cap may hold more than the cap allows.
fn check(caps: &[(u64, &[(u32, u32)])], seen: &mut HashMap<(u64, u64), Vec<i64>>) {
    for ((viewer, ad), times) in seen {
        times.sort_unstable();
        let caps = caps.iter().find(|(of, _)| of == ad).expect("a known ad").1;
        for (max, hours) in caps {
            for window in times.windows(*max as usize + 1) {
                let apart = window[*max as usize] - window[0];
                let message = format!("viewer {viewer}, ad {ad}: over {max} in {hours} h");
                assert!(apart >= i64::from(*hours) * HOUR_MS, "{message}");
            }
        }
    }
}
