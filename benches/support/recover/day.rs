//! A seeded day of viewers, recorded through a node.

use std::collections::VecDeque;

use munadi::node::dice::SeededDice;
use munadi::node::{Node, Pending};
use munadi::state::BUCKETS;
use munadi::types::dice::Dice;
use munadi::types::hash::mix;
use munadi::types::proto::v1;
use munadi::types::request::{Incoming, ResourceKind, Scope, Verdict};
use munadi::types::time::Moment;
use munadi::types::token::ViewToken;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::support::market::{FEED, TENANT};
use crate::support::requests::COUNTRIES;

/// Viewers of one bucket, where there are ten million.
const PER_BUCKET: u64 = 10_000_000 / BUCKETS as u64;

/// Events of one batch.
pub(crate) const BATCH: usize = 1_000;

/// Batches handed to the node ahead of the one that is waited for.
const AHEAD: usize = 8;

/// Times of the day at which a viewer may open the app, which it does every other time.
const SESSIONS: u32 = 6;

const SESSION_S: u32 = 24 * 3_600 / SESSIONS;

/// Most showings of one session, the mean being 4.
const SESSION_VIEWS_MAX: u64 = 7;

/// The viewers, and what is rolled for them.
pub(crate) struct Day {
    viewers: u64,
    ads: Vec<u64>,
    end_s: u32,
    dice: SeededDice,
}

impl Day {
    /// Takes the node's ads for a day that ends now.
    pub(crate) fn of(node: &Node, viewers: u64) -> Self {
        let scope = Scope { tenant: TENANT, any: false };
        let (mut ads, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let (page, next) = node.list(scope, ResourceKind::Ad, 0, from, 1_000);
            ads.extend(page.iter().map(|ad| ad.id()));
            after = next;
        }
        Self { viewers, ads, end_s: node.now().seconds(), dice: SeededDice::new(7) }
    }

    /// Returns how many buckets the viewers lie in.
    pub(crate) fn buckets(&self) -> u64 {
        self.viewers.div_ceil(PER_BUCKET).clamp(1, BUCKETS as u64)
    }

    /// Returns a viewer's number.
    pub(crate) fn viewer(&self, index: u64) -> u64 {
        let buckets = self.buckets();
        let bucket = index % buckets * (BUCKETS as u64 / buckets);
        bucket << (64 - BUCKETS.ilog2()) | mix(index + 1) >> BUCKETS.ilog2()
    }

    /// Rolls a viewer.
    pub(crate) fn any_viewer(&mut self) -> u64 {
        let index = self.dice.roll() % self.viewers;
        self.viewer(index)
    }

    /// Records the whole day; returns the number of showings.
    pub(crate) fn record(&mut self, node: &Node) -> Result<u64, Failure> {
        let (mut sender, mut views) = (Sender::new()?, 0);
        for session in 0..SESSIONS {
            let begin_s = self.end_s - 24 * 3_600 + session * SESSION_S;
            for index in 0..self.viewers {
                let rolled = self.dice.roll();
                if rolled.is_multiple_of(2) {
                    continue;
                }
                let count = 1 + (rolled >> 8) % SESSION_VIEWS_MAX;
                let mut issued_s = begin_s + (rolled >> 16) as u32 % (SESSION_S - 900);
                for _ in 0..count {
                    let event = self.impression(index, issued_s);
                    sender.send(node, event)?;
                    issued_s += 20 + (self.dice.roll() % 80) as u32;
                    views += 1;
                }
            }
        }
        sender.finish(node)?;
        Ok(views)
    }

    /// Records so many impressions more, of any viewers.
    pub(crate) fn record_more(&mut self, node: &Node, events: u64) -> Result<(), Failure> {
        let mut sender = Sender::new()?;
        for _ in 0..events {
            sender.send(node, self.any_impression(node))?;
        }
        sender.finish(node)
    }

    /// Returns an impression of any viewer, of now.
    pub(crate) fn any_impression(&mut self, node: &Node) -> Incoming {
        let index = self.dice.roll() % self.viewers;
        self.impression(index, node.now().seconds() - 30)
    }

    fn impression(&mut self, index: u64, issued_s: u32) -> Incoming {
        let (viewer, fixed, rolled) = (self.viewer(index), mix(index), self.dice.roll());
        let country = COUNTRIES[fixed as usize % COUNTRIES.len()].as_bytes();
        let token = ViewToken {
            view: self.dice.roll().max(1),
            ad: self.ads[rolled as usize % self.ads.len()],
            viewer,
            feed: FEED,
            issued: issued_s,
            show_by: 600,
            price_micros: 1_000,
            billing: v1::BillingEvent::Impressions as u8,
            p_tap: 655,
            p_chat: 26_214,
            position: (rolled >> 40) as u8 % 6,
            placement: v1::Placement::Status as u8,
            country: [country[0], country[1]],
            age_gender: (fixed >> 16) as u8 % 24,
            os_device: (fixed >> 24) as u8 % 8,
            ..ViewToken::default()
        };
        let seen_ms = Moment::from_seconds(issued_s).0 + ((rolled >> 48) % 20_000) as i64;
        let (kind, at) = (v1::EventKind::Impression, Some(Moment(seen_ms)));
        Incoming::Ad { token, kind, at, suspect: None, network: 0 }
    }
}

/// Hands batches to the node, a few at a time.
pub(crate) struct Sender {
    runtime: Runtime,
    batch: Vec<Incoming>,
    waiting: VecDeque<Pending<Vec<Verdict>>>,
}

impl Sender {
    pub(crate) fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self { runtime, batch: Vec::with_capacity(BATCH), waiting: VecDeque::new() })
    }

    /// Takes one event, and hands on what is a batch with it.
    pub(crate) fn send(&mut self, node: &Node, event: Incoming) -> Result<(), Failure> {
        self.batch.push(event);
        if self.batch.len() >= BATCH { self.hand_on(node) } else { Ok(()) }
    }

    fn hand_on(&mut self, node: &Node) -> Result<(), Failure> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let pending = node.record(batch).map_err(|refusal| refusal.message.to_string())?;
        self.waiting.push_back(pending);
        if self.waiting.len() > AHEAD { self.reap() } else { Ok(()) }
    }

    /// Hands on the rest and waits until all is durable.
    pub(crate) fn finish(mut self, node: &Node) -> Result<(), Failure> {
        self.hand_on(node)?;
        while !self.waiting.is_empty() {
            self.reap()?;
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Failure> {
        let Some(pending) = self.waiting.pop_front() else { return Ok(()) };
        let verdicts = self.runtime.block_on(pending);
        let verdicts = verdicts.map_err(|refusal| refusal.message.to_string())?;
        let recorded = |verdict: &Verdict| matches!(verdict, Verdict::Recorded { .. });
        if verdicts.iter().all(recorded) { Ok(()) } else { Err("an event was refused".into()) }
    }
}
