//! The load of a soak: an open loop of trays, events, chats, reports and changes of few viewers and campaigns.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use munadi::node::clock::{Clock, SystemClock};
use munadi::types::proto::v1;
use munadi::types::proto::v1::{EventKind, ItemOutcome, ItemResult};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::webhook::{self, Platform};
use crate::calls::{self, Given};
use crate::server::{Held, Server};
use crate::shop::Shop;
use crate::shops;

/// Viewers: always the same ones.
const VIEWERS: u64 = 400;

/// Connections of the callers.
const WAYS: usize = 4;

/// Windows of a run: each is sampled at its end.
const WINDOWS: f64 = 60.0;

/// How often the loop sends what is due.
const TICK: Duration = Duration::from_millis(5);

/// Calls that may be open: more of them means that the machine can't do this rate.
const OPEN_MAX: usize = 10_000;

/// Ads of a batch while the state is filled, and events of one afterwards.
const BATCH_ADS: usize = 3;
const BATCH_EVENTS: usize = 10;

/// Ads, events and openings that are kept to be told, and told again.
const KEPT_MAX: usize = 2_000;

/// Trays that are asked for before the load, so that there is something to tell.
const FIRST_TRAYS: u64 = 10;

/// Bytes of a request in the log of forecasts, and of each ad in its tray (`VISITS_MAX` in its file).
const VISIT_BYTES: u64 = 12;
const RIVAL_BYTES: u64 = 16;

/// What a run is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) life: Duration,
    /// Calls a second, and how many times more while the state is filled, in the first third.
    pub(super) per_s: f64,
    pub(super) fill_times: f64,
}

/// A window's end, and what was done in it.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) at_s: f64,
    pub(super) held: Held,
    /// What the log of forecasts holds of it, bytes.
    pub(super) explained: u64,
    pub(super) calls: u64,
    /// How long each tray took.
    pub(super) serving: Vec<Duration>,
}

/// What became of all calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) trays: u64,
    /// Events of feeds that were new, and that were counted before.
    pub(super) recorded: u64,
    pub(super) already: u64,
    pub(super) opened: u64,
    pub(super) webhooks: u64,
    pub(super) reports: u64,
    pub(super) changes: u64,
    /// Calls that met the end of a connection of age and were made again.
    pub(super) retried: u64,
    /// Items that were refused, calls that failed, and calls that were not even sent.
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) left_out: u64,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) windows: Vec<Window>,
    pub(super) counts: Counts,
}

/// What a call was, and what it brought.
enum Answer {
    Tray,
    Events(Vec<ItemResult>),
    Chats(Vec<ItemResult>),
    Webhook,
    Report,
    Change,
}

struct Done {
    took: Duration,
    answer: Result<Answer, Status>,
}

/// What there is to tell.
#[derive(Default)]
struct Pool {
    /// Ads that nobody has told of.
    fresh: VecDeque<Given>,
    /// Ads whose tap was taken, and whose chat is to be opened.
    tapped: VecDeque<Given>,
    /// What was taken, to be told again.
    events: VecDeque<v1::AdEvent>,
    chats: VecDeque<v1::ConversationEvent>,
    /// By viewer: its trays, and the ads in them.
    asked: BTreeMap<u64, (u64, u64)>,
}

#[derive(Clone)]
struct Callers {
    ways: Arc<Vec<Channel>>,
    shops: Arc<Vec<Shop>>,
    platform: Platform,
    clock: Arc<SystemClock>,
    pool: Arc<Mutex<Pool>>,
    next: Arc<AtomicU64>,
    retried: Arc<AtomicU64>,
}

/// Loads a server by a plan.
pub(super) fn run(server: &Server, plan: &Plan) -> Run {
    calls::runtime().block_on(async {
        let ways: Vec<Channel> = (0..WAYS).map(|_| calls::way(server)).collect();
        let shops = shops::open(&ways[0]).await.unwrap();
        shops::whatsapp(&ways[0], &shops[0]).await.unwrap();
        let callers = Callers {
            ways: Arc::new(ways),
            shops: Arc::new(shops),
            platform: Platform::of(server),
            clock: Arc::new(SystemClock::default()),
            pool: Arc::default(),
            next: Arc::default(),
            retried: Arc::default(),
        };
        let mut run = Run::default();
        callers.begin(&mut run).await;
        open_loop(&callers, server, plan, &mut run).await;
        run.counts.retried = callers.retried.load(Ordering::Relaxed);
        run
    })
}

/// Sends what is due, whatever became of the calls before, and samples each window.
async fn open_loop(callers: &Callers, server: &Server, plan: &Plan, run: &mut Run) {
    let clock = SystemClock::default();
    let (mut open, mut window) = (JoinSet::new(), Window::default());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (fill, length) = (plan.life / 3, plan.life.as_secs_f64() / WINDOWS);
    let (mut due, mut last) = (0.0, Duration::ZERO);
    while last < plan.life {
        ticks.tick().await;
        let now = clock.monotonic();
        let fills = now < fill;
        let per_s = if fills { plan.per_s * plan.fill_times } else { plan.per_s };
        due += per_s * (now - last).as_secs_f64();
        last = now;
        while due >= 1.0 {
            due -= 1.0;
            if open.len() < OPEN_MAX {
                open.spawn(callers.clone().call(fills));
            } else {
                run.counts.left_out += 1;
            }
        }
        while let Some(done) = open.try_join_next() {
            run.counts.note(&done.unwrap(), &mut window);
        }
        if now.as_secs_f64() >= length * (run.windows.len() + 1) as f64 {
            (window.at_s, window.held) = (now.as_secs_f64(), server.held());
            window.explained = callers.pool.lock().unwrap().logged();
            run.windows.push(std::mem::take(&mut window));
        }
    }
    while let Some(done) = open.join_next().await {
        run.counts.note(&done.unwrap(), &mut window);
    }
}

impl Counts {
    fn note(&mut self, done: &Done, window: &mut Window) {
        window.calls += 1;
        let answer = match &done.answer {
            Ok(answer) => answer,
            Err(status) => {
                eprintln!("a call failed: {status}");
                self.failed += 1;
                return;
            }
        };
        match answer {
            Answer::Tray => {
                self.trays += 1;
                window.serving.push(done.took);
            }
            Answer::Events(results) => {
                self.recorded += self.judged(results, ItemOutcome::Recorded);
                self.already += count(results, ItemOutcome::Already);
            }
            Answer::Chats(results) => self.opened += self.judged(results, ItemOutcome::Recorded),
            Answer::Webhook => self.webhooks += 1,
            Answer::Report => self.reports += 1,
            Answer::Change => self.changes += 1,
        }
    }

    /// Notes what was refused, and returns how many items came out so.
    fn judged(&mut self, results: &[ItemResult], outcome: ItemOutcome) -> u64 {
        let refused = results.iter().filter(|it| it.outcome() == ItemOutcome::Refused);
        refused.clone().for_each(|it| eprintln!("refused: {it:?}"));
        self.refused += refused.count() as u64;
        count(results, outcome)
    }
}

fn count(results: &[ItemResult], outcome: ItemOutcome) -> u64 {
    results.iter().filter(|it| it.outcome() == outcome).count() as u64
}

impl Pool {
    /// Returns what the log of forecasts holds, bytes: of each viewer a list of requests and one of ads, each with
    /// room for up to twice as many.
    fn logged(&self) -> u64 {
        let room = |count: u64| if count == 0 { 0 } else { count.next_power_of_two().max(4) };
        let of_viewer =
            |(trays, ads): &(u64, u64)| VISIT_BYTES * room(*trays) + RIVAL_BYTES * room(*ads);
        self.asked.values().map(of_viewer).sum()
    }

    /// Returns the next things of a list, which go to its end.
    fn again<T: Clone>(list: &mut VecDeque<T>, count: usize) -> Vec<T> {
        let count = count.min(list.len());
        list.rotate_left(count);
        list.iter().rev().take(count).cloned().collect()
    }
}

fn keep<T>(list: &mut VecDeque<T>, more: impl IntoIterator<Item = T>) {
    let room = KEPT_MAX.saturating_sub(list.len());
    list.extend(more.into_iter().take(room));
}

impl Callers {
    /// Asks for trays, and tells of some, so that there is something to tell and to tell again.
    async fn begin(&self, run: &mut Run) {
        let mut window = Window::default();
        for number in 0..FIRST_TRAYS {
            let done = Done { took: Duration::ZERO, answer: self.tray(number).await };
            run.counts.note(&done, &mut window);
        }
        for answer in [self.events(true, 0).await, self.chats(true, 0).await] {
            run.counts.note(&Done { took: Duration::ZERO, answer }, &mut window);
        }
    }

    /// Makes the next call.
    async fn call(self, fills: bool) -> Done {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = self.clock.monotonic();
        let answer = match number % 20 {
            3 | 9 | 13 | 19 => self.events(fills, number).await,
            6 | 16 => self.chats(fills, number).await,
            1 => webhook::post(self.platform, number / 20).await.map(|()| Answer::Webhook),
            11 => {
                let account = self.shop(number / 20).account;
                let asked = self.patiently(|| calls::report(self.way(number), account)).await;
                asked.map(|()| Answer::Report)
            }
            0 if number.is_multiple_of(400) => self.rename(number).await,
            _ => self.tray(number).await,
        };
        Done { took: self.clock.monotonic() - begun, answer }
    }

    /// Makes a call, and makes it again where its connection had come to its age.
    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        match call().await {
            // The latter: it was not even sent.
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => {
                self.retried.fetch_add(1, Ordering::Relaxed);
                call().await
            }
            answer => answer,
        }
    }

    fn way(&self, number: u64) -> &Channel {
        &self.ways[number as usize % WAYS]
    }

    fn shop(&self, number: u64) -> &Shop {
        &self.shops[number as usize % self.shops.len()]
    }

    async fn tray(&self, number: u64) -> Result<Answer, Status> {
        let viewer = number % VIEWERS;
        let asked = || calls::tray(self.way(number), format!("viewer {viewer}"));
        let given = self.patiently(asked).await?;
        let mut pool = self.pool.lock().unwrap();
        let asked = pool.asked.entry(viewer).or_default();
        *asked = (asked.0 + 1, asked.1 + given.len() as u64);
        keep(&mut pool.fresh, given);
        Ok(Answer::Tray)
    }

    /// Tells of ads that were not told of; where the state is full, or there are none, of those that were.
    async fn events(&self, fills: bool, number: u64) -> Result<Answer, Status> {
        let (mut new, mut batch) = (Vec::new(), Vec::new());
        {
            let mut pool = self.pool.lock().unwrap();
            if fills {
                let count = BATCH_ADS.min(pool.fresh.len());
                new.extend(pool.fresh.drain(..count));
            }
            if new.is_empty() {
                batch = Pool::again(&mut pool.events, BATCH_EVENTS);
            }
        }
        batch.extend(new.iter().map(|given| given.event(EventKind::Impression)));
        batch.extend(new.first().map(|given| given.event(EventKind::Tap)));
        if batch.is_empty() {
            return self.tray(number).await;
        }
        let told = || calls::record(self.way(number), batch.clone());
        let results = self.patiently(told).await?;
        let mut pool = self.pool.lock().unwrap();
        if !new.is_empty() {
            keep(&mut pool.events, batch);
            keep(&mut pool.tapped, new.into_iter().take(1));
        }
        Ok(Answer::Events(results))
    }

    /// Opens the chat of an ad that was tapped; where the state is full, or there is none, says again what was opened.
    async fn chats(&self, fills: bool, number: u64) -> Result<Answer, Status> {
        let (mut new, mut batch) = (false, Vec::new());
        {
            let mut pool = self.pool.lock().unwrap();
            let tapped = if fills { pool.tapped.pop_front() } else { None };
            if let Some(given) = tapped {
                let shop = self.shops.iter().find(|shop| shop.ad == given.ad).unwrap();
                // A chat remembers its last openings alone, so each has one.
                let contact = format!("contact {number}");
                batch.extend(calls::opening(shop, &given, contact));
                new = true;
            }
            if batch.is_empty() {
                batch = Pool::again(&mut pool.chats, BATCH_EVENTS);
            }
        }
        if batch.is_empty() {
            return self.tray(number).await;
        }
        let told = || calls::converse(self.way(number), batch.clone());
        let results = self.patiently(told).await?;
        if new {
            keep(&mut self.pool.lock().unwrap().chats, batch);
        }
        Ok(Answer::Chats(results))
    }

    async fn rename(&self, number: u64) -> Result<Answer, Status> {
        let shop = self.shop(number / 400);
        let name = if number.is_multiple_of(800) { "Dinner" } else { "Lunch" };
        let request_id = || format!("rename-{number}");
        let asked = || calls::rename(self.way(number), shop.campaign, request_id(), name);
        let renamed = self.patiently(asked).await;
        renamed.map(|()| Answer::Change)
    }
}
