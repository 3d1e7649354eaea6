//! Calls of every class, in a closed loop and in an open one, and what became of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use munadi::node::clock::{Clock, SystemClock};
use munadi::tokens::Sealer;
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use prost::bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::shop::{self, with_key};

/// Connections of the callers of each class: who tells events does so on connections of their own, as callers are
/// asked to.
const CHANNELS: [usize; 3] = [20, 6, 2];

/// A daily budget that nobody spends, micros.
const PLENTY: i64 = 900_000_000_000_000;

/// How long a caller of the open loop waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long one of the closed loop does, who sends the next call only then.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// Calls that may be open at the callers: more would be more than any machine's callers hold.
const OPEN_MAX: usize = 50_000;

/// Viewers who ask, all of whom come while the server gets warm: what it keeps of each is no part of an overload.
const VIEWERS: usize = 10_000;

/// Trays whose ads are reported as seen.
const TRAYS: usize = 100;

/// How often the open loop sends what is due.
const TICK: Duration = Duration::from_millis(5);

/// Ticks after which the server is looked at.
const LOOK_TICKS: u64 = 100;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    Serving,
    Events,
    Reports,
}

impl Class {
    /// Every class.
    pub(crate) const ALL: [Self; 3] = [Self::Serving, Self::Events, Self::Reports];

    /// Returns the level from which on it is refused.
    pub(crate) const fn level(self) -> usize {
        match self {
            Self::Reports => 1,
            Self::Serving => 2,
            Self::Events => 3,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Events => "events",
            Self::Reports => "reports",
        }
    }

    /// Returns the class of a call: of 50, 45 ask for ads, 4 tell events, 1 asks for a report.
    fn of(number: usize) -> Self {
        match number % 50 {
            0 => Self::Reports,
            12 | 24 | 36 | 48 => Self::Events,
            _ => Self::Serving,
        }
    }
}

/// What became of the calls of one class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) sent: u64,
    pub(crate) latencies: Vec<Duration>,
    /// Refused for load, by level.
    pub(crate) refused: [u64; 4],
    pub(crate) at_work: u64,
    pub(crate) late: u64,
    pub(crate) failed: u64,
}

impl Outcomes {
    /// Returns the 99th percentile of the calls that were done, milliseconds.
    pub(crate) fn p99_ms(&self) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default().as_secs_f64() * 1_000.0
    }
}

/// What became of all calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    classes: [Outcomes; 3],
    /// Which tokens' impressions were acknowledged.
    pub(crate) acknowledged: BTreeSet<usize>,
}

impl Tally {
    pub(crate) fn of(&self, class: Class) -> &Outcomes {
        &self.classes[class as usize]
    }

    /// Returns how many calls were done.
    pub(crate) fn done(&self) -> usize {
        self.classes.iter().map(|of| of.latencies.len()).sum()
    }

    fn note(&mut self, call: &Call) {
        let of = &mut self.classes[call.class as usize];
        of.sent += 1;
        match &call.outcome {
            Ok(acknowledged) => {
                of.latencies.push(call.took);
                self.acknowledged.extend(acknowledged);
            }
            Err(status) => match status.code() {
                Code::DeadlineExceeded | Code::Cancelled => of.late += 1,
                Code::ResourceExhausted => {
                    let info = status.get_error_details().error_info().cloned();
                    let level = info.as_ref().and_then(|info| info.metadata.get("level"));
                    match level.and_then(|level| level.parse::<usize>().ok()) {
                        Some(level) => of.refused[level.min(3)] += 1,
                        None => of.at_work += 1,
                    }
                }
                _ => of.failed += 1,
            },
        }
    }
}

/// One call, and the token whose event was acknowledged, if it was.
struct Call {
    class: Class,
    took: Duration,
    outcome: Result<Option<usize>, Status>,
}

/// The callers.
#[derive(Clone)]
struct Callers {
    /// By class.
    ways: Arc<[Vec<Channel>; 3]>,
    clock: Arc<SystemClock>,
    tokens: Arc<Vec<Bytes>>,
    account: u64,
    next: Arc<AtomicUsize>,
    /// How often a connection was chosen.
    turns: Arc<AtomicUsize>,
}

pub(crate) struct Load {
    runtime: Runtime,
    callers: Callers,
    /// When the tokens were made, in seconds since the epoch.
    made_s: u32,
}

impl Load {
    /// Founds a shop with ads, and asks for the trays whose ads will be seen.
    pub(crate) fn new(addr: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Arc::new(SystemClock::default());
        let made_s = clock.now().seconds();
        let callers = runtime.block_on(async {
            let way = || Endpoint::from_shared(addr.to_owned()).unwrap().connect_lazy();
            let ways = CHANNELS.map(|count| std::iter::repeat_with(way).take(count).collect());
            let ways: [Vec<Channel>; 3] = ways;
            let account = shop::open(&ways[0][0], &[PLENTY; 3]).await.unwrap()[0].account;
            let mut callers = Callers {
                ways: Arc::new(ways),
                clock,
                tokens: Arc::default(),
                account,
                next: Arc::default(),
                turns: Arc::default(),
            };
            let mut tokens = Vec::new();
            for _ in 0..TRAYS {
                // A busy machine may refuse one, or be late.
                let slots = callers.tray(LONG_PATIENCE).await.unwrap_or_default();
                tokens.extend(slots.into_iter().filter_map(|slot| match slot.filling {
                    Some(v1::slot::Filling::Ad(ad)) => Some(ad.view_token),
                    _ => None,
                }));
            }
            assert!(!tokens.is_empty(), "no tray was ever filled");
            callers.tokens = Arc::new(tokens);
            callers
        });
        Self { runtime, callers, made_s }
    }

    /// Returns the view of each token.
    pub(crate) fn views(&self, sealer: &Sealer) -> Vec<u64> {
        let open = |token: &Bytes| sealer.open_view(token, self.made_s).expect("our own").view;
        self.callers.tokens.iter().map(open).collect()
    }

    /// Lets so many callers send one call after the other.
    pub(crate) fn closed_loop(&self, callers: usize, life: Duration) -> Tally {
        self.runtime.block_on(async {
            let clock = SystemClock::default();
            let mut open = JoinSet::new();
            let mut tally = Tally::default();
            (0..callers).for_each(|_| drop(open.spawn(self.callers.clone().call(LONG_PATIENCE))));
            while let Some(call) = open.join_next().await {
                tally.note(&call.unwrap());
                if clock.monotonic() < life {
                    open.spawn(self.callers.clone().call(LONG_PATIENCE));
                }
            }
            tally
        })
    }

    /// Sends so many calls a second, whatever becomes of those before, and looks at the server now and then.
    pub(crate) fn open_loop(&self, per_s: f64, life: Duration, mut look: impl FnMut()) -> Tally {
        self.runtime.block_on(async {
            let clock = SystemClock::default();
            let (mut open, mut tally) = (JoinSet::new(), Tally::default());
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut sent = 0;
            for tick in 0_u64.. {
                if clock.monotonic() >= life {
                    break;
                }
                if tick % LOOK_TICKS == 0 {
                    look();
                }
                ticks.tick().await;
                let due = (per_s * clock.monotonic().as_secs_f64()) as usize;
                while sent < due {
                    sent += 1;
                    if open.len() < OPEN_MAX {
                        open.spawn(self.callers.clone().call(PATIENCE));
                    }
                }
                while let Some(call) = open.try_join_next() {
                    tally.note(&call.unwrap());
                }
            }
            while let Some(call) = open.join_next().await {
                tally.note(&call.unwrap());
            }
            tally
        })
    }

    /// Returns how long it takes until fifty calls in a row are taken; `None`: it never happens.
    pub(crate) fn recovery(&self) -> Option<Duration> {
        const ROW: usize = 50;
        self.runtime.block_on(async {
            let clock = SystemClock::default();
            let mut ticks = interval(2 * TICK);
            let (mut row, mut since) = (0, Duration::ZERO);
            while clock.monotonic() < LONG_PATIENCE {
                ticks.tick().await;
                let sent = clock.monotonic();
                match self.callers.clone().call(PATIENCE).await.outcome {
                    Ok(_) if row == 0 => (row, since) = (1, sent),
                    Ok(_) => row += 1,
                    Err(_) => row = 0,
                }
                if row == ROW {
                    return Some(since);
                }
            }
            None
        })
    }
}

impl Callers {
    /// Makes the next call.
    async fn call(self, patience: Duration) -> Call {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let class = Class::of(number);
        let begun = self.clock.monotonic();
        let work = async {
            match class {
                Class::Serving => self.tray(patience).await.map(|_| None),
                Class::Events => self.see(number, patience).await,
                Class::Reports => self.report(patience).await.map(|()| None),
            }
        };
        let outcome = timeout(patience, work).await;
        let late = |_| Err(Status::deadline_exceeded("the caller's own"));
        let outcome = outcome.unwrap_or_else(late);
        Call { class, took: self.clock.monotonic() - begun, outcome }
    }

    /// Returns the next connection for calls of a class.
    fn way(&self, class: Class) -> Channel {
        let ways = &self.ways[class as usize];
        ways[self.turns.fetch_add(1, Ordering::Relaxed) % ways.len()].clone()
    }

    async fn tray(&self, patience: Duration) -> Result<Vec<v1::Slot>, Status> {
        let pseudonym = format!("viewer {}", self.next.load(Ordering::Relaxed) % VIEWERS);
        let viewer = v1::ViewerContext { pseudonym, ..Default::default() };
        let ad_request = Some(v1::AdRequest {
            placement: v1::Placement::Status.into(),
            viewer: Some(viewer),
            posts: 20,
            ..Default::default()
        });
        let request = asked("feed", patience, v1::RequestAdsRequest { ad_request });
        Ok(AdServiceClient::new(self.way(Class::Serving))
            .request_ads(request)
            .await?
            .into_inner()
            .slots)
    }

    async fn see(&self, number: usize, patience: Duration) -> Result<Option<usize>, Status> {
        // Of the calls that tell events, each another token; all of them again and again.
        let token = number / 12 % self.tokens.len();
        let event = v1::AdEvent {
            view_token: self.tokens[token].clone(),
            kind: v1::EventKind::Impression.into(),
            ..Default::default()
        };
        let request = v1::RecordEventsRequest { request_id: String::new(), events: vec![event] };
        let request = asked("feed", patience, request);
        let answer = EventServiceClient::new(self.way(Class::Events))
            .record_events(request)
            .await?
            .into_inner();
        let taken = answer.results.iter().all(|it| it.outcome() != v1::ItemOutcome::Refused);
        Ok(taken.then_some(token))
    }

    async fn report(&self, patience: Duration) -> Result<(), Status> {
        let request = v1::QueryReportRequest { account_id: self.account, ..Default::default() };
        let request = asked("advertiser", patience, request);
        ReportServiceClient::new(self.way(Class::Reports)).query_report(request).await.map(drop)
    }
}

/// Returns a request with a key, for whose answer the caller waits so long.
fn asked<T>(id: &str, patience: Duration, message: T) -> Request<T> {
    let mut request = with_key(id, message);
    request.set_timeout(patience);
    request
}
