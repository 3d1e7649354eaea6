//! A slow disk: nothing is acknowledged before it is durable, what waits is bounded, serving goes on, and all is well
//! again as soon as the disk is.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use munadi::cli::audit::audit;
use munadi::journal::file::Options;
use munadi::node::clock::{Clock, SystemClock};
use munadi::node::writer::BATCHES_IN_FLIGHT_MAX;
use munadi::node::{Node, NodeOptions, Pending, QUEUE_MAX};
use munadi::rpc::errors::status;
use munadi::types::proto::v1;
use munadi::types::proto::v1::EventKind;
use munadi::types::proto::v1::slot::Filling;
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{
    AdRequest, Incoming, Policy, Profile, Resource, ResourceKind, Scope, Verdict,
};
use munadi::types::token::ViewToken;
use tokio::runtime::Builder;
use tonic::Code;
use tonic_types::StatusExt;

use crate::child::{Site, row, write};
use crate::full::RECOVERS_WITHIN;

/// How long each sync of the slow disk takes.
const SLOW: Duration = Duration::from_millis(500);

/// Syncs that take so long while events come.
const SLOW_SYNCS: u64 = 2;

/// Events that come while a sync does not end: more than may wait.
const EVENTS: usize = 12_000;

/// Pieces of work that the writer takes in one round at the most.
const ROUND_MAX: usize = 1_024;

/// Events that may wait, each a piece of its own: in the queue, and in the batches that wait for the disk.
const WAITING_MAX: usize = QUEUE_MAX + BATCHES_IN_FLIGHT_MAX as usize * ROUND_MAX;

const _: () = assert!(EVENTS > WAITING_MAX);

/// Events that are told again in one call, and refused ones that are told again at all.
const TOLD_AGAIN: usize = 1_000;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

const FEED: u32 = 1;

/// A daily budget that nobody spends, micros.
const PLENTY: i64 = 900_000_000_000_000;

/// What syncs of segments have done, and what becomes of the next one.
#[derive(Debug, Default)]
struct Syncs {
    begun: u64,
    finished: u64,
    /// None ends.
    held: bool,
    takes: Duration,
}

/// A disk under the journal's segments.
#[derive(Default)]
struct Disk {
    syncs: Mutex<Syncs>,
    let_go: Condvar,
}

impl Disk {
    /// Returns the disk, whose syncs take no longer than they do until it is told otherwise.
    fn new() -> Arc<Self> {
        let disk = Arc::new(Self::default());
        let (before, after) = (Arc::clone(&disk), Arc::clone(&disk));
        fail::cfg_callback("segment-sync", move || before.begin()).unwrap();
        fail::cfg_callback("segment-synced", move || after.syncs().finished += 1).unwrap();
        disk
    }

    fn syncs(&self) -> MutexGuard<'_, Syncs> {
        self.syncs.lock().unwrap()
    }

    fn begin(&self) {
        let mut syncs = self.syncs();
        syncs.begun += 1;
        let takes = self.let_go.wait_while(syncs, |syncs| syncs.held).unwrap().takes;
        thread::sleep(takes);
    }

    /// Lets no sync end from now on.
    fn hold(&self) {
        self.syncs().held = true;
    }

    /// Lets each sync take so long from now on, also one that was held.
    fn take(&self, takes: Duration) {
        let mut syncs = self.syncs();
        (syncs.held, syncs.takes) = (false, takes);
        drop(syncs);
        self.let_go.notify_all();
    }
}

/// Lets a disk be quick when a test fails: its node waits for it before it is gone.
struct Quick(Arc<Disk>);

impl Drop for Quick {
    fn drop(&mut self) {
        self.0.take(Duration::ZERO);
    }
}

/// An event that was taken.
struct Sent {
    token: ViewToken,
    /// Syncs that had begun before: none of them makes it durable.
    begun: u64,
    answer: Pending<Vec<Verdict>>,
}

/// A feed that tells events, each alone, and never waits.
struct Feed<'a> {
    node: &'a Node,
    disk: &'a Disk,
    /// What every token is like.
    pattern: ViewToken,
    /// Events so far.
    number: u64,
    waiting: VecDeque<Sent>,
    acknowledged: Vec<ViewToken>,
    /// The first that were refused.
    refused: Vec<ViewToken>,
}

impl Feed<'_> {
    /// Tells that another viewer saw the ad.
    fn tell(&mut self) -> Result<(), Refusal> {
        self.number += 1;
        let apart = self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let token = ViewToken {
            view: self.pattern.view.wrapping_add(apart),
            viewer: self.pattern.viewer.wrapping_add(apart),
            ..self.pattern
        };
        let begun = self.disk.syncs().begun;
        match self.node.record(vec![seen(token)]) {
            Ok(answer) => {
                self.waiting.push_back(Sent { token, begun, answer });
                Ok(())
            }
            Err(refusal) => {
                if self.refused.len() < TOLD_AGAIN {
                    self.refused.push(token);
                }
                Err(refusal)
            }
        }
    }

    /// Takes the answers that have come.
    fn listen(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Some(sent) = self.waiting.front_mut() {
            let Poll::Ready(answer) = Pin::new(&mut sent.answer).poll(&mut context) else { return };
            let verdicts = answer.unwrap();
            assert!(matches!(verdicts[..], [Verdict::Recorded { .. }]), "{verdicts:?}");
            let finished = self.disk.syncs().finished;
            assert!(finished > sent.begun, "acknowledged before sync {} ended", sent.begun + 1);
            self.acknowledged.extend(self.waiting.pop_front().map(|sent| sent.token));
        }
    }
}

fn seen(token: ViewToken) -> Incoming {
    let kind = EventKind::Impression;
    Incoming::Ad { token, kind, at: None, suspect: None, network: 0 }
}

/// Makes a business with one live ad, and returns its account.
fn open_shop(node: &Node) -> u64 {
    let runtime = Builder::new_current_thread().build().unwrap();
    let made = |kind: &str, row| runtime.block_on(node.mutate(write(kind, row))).unwrap().id();
    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let account_id = made("account", Resource::Account(row()));
    let business = v1::Business { account_id, name: "Tacos".into(), ..Default::default() };
    let endpoint = v1::ChannelEndpoint {
        business_id: made("business", Resource::Business(business)),
        channel: v1::Channel::Telegram.into(),
        address: "tacos_bot".into(),
        ..Default::default()
    };
    let endpoint_id = made("endpoint", Resource::Endpoint(endpoint));
    let campaign = v1::Campaign {
        account_id,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily: money(PLENTY), lifetime: None }),
        ..Default::default()
    };
    let ad_set = v1::AdSet {
        campaign_id: made("campaign", Resource::Campaign(campaign)),
        name: "Everyone".into(),
        targeting: Some(v1::Targeting::default()),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(50_000_000),
        ..Default::default()
    };
    let ad = v1::Ad {
        ad_set_id: made("ad set", Resource::AdSet(ad_set)),
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id, ..Default::default() }),
        ..Default::default()
    };
    made("ad", Resource::Ad(ad));
    account_id
}

/// Asks for a viewer's tray; returns the token of an ad in it.
fn serve(node: &Node, viewer: u64) -> Option<ViewToken> {
    let floor_cpm_micros = 1_000_000;
    let policy = Policy { advertiser_distance_ms: 0, floor_cpm_micros, ..Policy::default() };
    let request = AdRequest {
        placement: v1::Placement::Status,
        viewer: Some(viewer),
        named: true,
        profile: Profile::default(),
        posts: 20,
        positions: Vec::new(),
        ads_in_session: 0,
    };
    let slots = node.request_ads(FEED, &policy, &request).slots();
    let ad = slots.into_iter().find_map(|slot| match slot.filling {
        Some(Filling::Ad(ad)) => Some(ad),
        _ => None,
    })?;
    Some(node.opener().open_view(&ad.view_token, node.now().seconds()).unwrap())
}

/// Lets events come while no sync ends: more than may wait. Returns the last refusal.
fn overfill(feed: &mut Feed<'_>) -> Refusal {
    feed.disk.hold();
    let begun = feed.disk.syncs().begun;
    feed.tell().unwrap();
    let clock = SystemClock::default();
    while feed.disk.syncs().begun == begun {
        assert!(clock.monotonic() < PATIENCE, "the event is never written");
        thread::yield_now();
    }
    let refusals: Vec<Refusal> = (0..EVENTS).filter_map(|_| feed.tell().err()).collect();
    let waiting = feed.waiting.len();
    assert!((QUEUE_MAX..=WAITING_MAX).contains(&waiting), "{waiting} events wait");
    assert_eq!(refusals.len() + waiting, EVENTS + 1, "each is taken or refused");
    feed.listen();
    assert_eq!(feed.acknowledged.len(), 0, "nothing is durable");
    refusals.into_iter().next_back().expect("more came than may wait")
}

/// Lets events come while each sync takes long. Returns the longest lag that doors were told of.
fn overtake(feed: &mut Feed<'_>) -> Duration {
    let finished = feed.disk.syncs().finished;
    feed.disk.take(SLOW);
    let (clock, mut lag) = (SystemClock::default(), Duration::ZERO);
    while feed.disk.syncs().finished < finished + SLOW_SYNCS {
        assert!(clock.monotonic() < PATIENCE, "no sync ends");
        if feed.tell().is_err() {
            thread::yield_now();
        }
        feed.listen();
        lag = lag.max(feed.node.gauge().read().lag);
    }
    lag
}

/// Waits until all that was taken is acknowledged, and a new event is.
fn recover(feed: &mut Feed<'_>) {
    feed.disk.take(Duration::ZERO);
    let clock = SystemClock::default();
    for is_last in [false, true] {
        while !feed.waiting.is_empty() {
            let waiting = feed.waiting.len();
            assert!(clock.monotonic() < RECOVERS_WITHIN, "{waiting} events still wait");
            thread::yield_now();
            feed.listen();
        }
        if !is_last {
            feed.tell().unwrap();
        }
    }
}

/// Tells events once more, and checks how each ends.
fn tell_again(node: &Node, tokens: &[ViewToken], ends: impl Fn(&Verdict) -> bool) {
    let runtime = Builder::new_current_thread().build().unwrap();
    for some in tokens.chunks(TOLD_AGAIN) {
        let items = some.iter().copied().map(seen).collect();
        let verdicts = runtime.block_on(node.record(items).unwrap()).unwrap();
        assert_eq!(verdicts.len(), some.len());
        let other = verdicts.iter().find(|verdict| !ends(verdict));
        assert_eq!(other, None, "of {} events", tokens.len());
    }
}

/// Lets events come faster than a slow disk makes them durable.
pub(crate) fn outrun(dir: &Path) {
    let site = Site::new(dir);
    let clock = Arc::new(SystemClock::default());
    let journal = Options { segment_bytes: 8 << 20, ..Options::default() };
    let checkpoint_every = Duration::from_secs(600);
    let options = NodeOptions { checkpoint_every, journal, ..site.options(1) };
    let node = Node::start(&site.data, Arc::<SystemClock>::clone(&clock), &options).unwrap();
    let account = open_shop(&node);
    let pattern = serve(&node, 1).expect("the ad is served");
    let disk = Disk::new();
    let _quick = Quick(Arc::clone(&disk));
    let (waiting, acknowledged, refused) = (VecDeque::new(), Vec::new(), Vec::new());
    let mut feed =
        Feed { node: &node, disk: &disk, pattern, number: 0, waiting, acknowledged, refused };

    let refusal = overfill(&mut feed);
    assert_eq!(refusal.reason, Reason::Busy, "{refusal:?}");
    let told = status(&refusal);
    assert_eq!(told.code(), Code::ResourceExhausted);
    let details = told.get_error_details();
    let retry = details.retry_info().and_then(|retry| retry.retry_delay);
    assert!(retry.is_some(), "it says when to come again");
    assert!(serve(&node, 2).is_some(), "serving waits for no disk");
    let scope = Scope { tenant: 0, any: true };
    assert!(node.get(scope, ResourceKind::Account, account).is_ok(), "reads answer");

    let lag = overtake(&mut feed);
    assert!(lag >= SLOW, "doors shed by the lag: they were told of {lag:?}");
    assert!(!node.front().is_stopped(), "a slow disk is no broken one");

    recover(&mut feed);
    let Feed { acknowledged, refused, .. } = feed;
    node.stop().unwrap();
    let node = Node::start(&site.data, clock, &options).unwrap();
    tell_again(&node, &acknowledged, |verdict| *verdict == Verdict::Already);
    tell_again(&node, &refused, |verdict| matches!(verdict, Verdict::Recorded { .. }));
    node.stop().unwrap();
    assert!(audit(&site.data).unwrap().equal);
}
