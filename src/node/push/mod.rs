//! Conversions pushed to URLs of advertisers: in order, at least once, beside the writer.
//!
//! [`Pusher`] is a plain struct: it is told the time and what became of a parcel, and says which parcels go out
//! now and what is to be journaled. A thread drives it in a node, tests by hand. What sends is a [`Courier`].

mod lane;
mod run;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::node::dice::SeededDice;
use crate::node::front::Front;
use crate::node::live::Live;
use crate::node::push::lane::Lane;
use crate::tokens::{push_secret, push_signature};
use crate::types::proto::journal::v1::{ConversionPushPut, ConversionsPushed};
use crate::types::time::Moment;

pub use lane::{
    EVENTS_PER_PARCEL_MAX, PUSH_BACKOFF_MS_MAX, PUSH_BACKOFF_MS_MIN, PUSH_TRIES_MAX,
    RETRY_AFTER_MS_MAX,
};
pub(in crate::node) use run::PushThread;

/// Parcels on their way at a time: a slow receiver holds up its own account alone.
pub const PARCELS_AT_ONCE_MAX: usize = 16;

/// One POST of some conversions of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parcel {
    /// Whose conversions.
    pub account: u64,
    /// Where to.
    pub url: String,
    /// Names in lower case.
    pub headers: [(&'static str, String); 4],
    /// JSON.
    pub body: String,
}

/// What became of a parcel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// The receiver answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// Milliseconds that it asks to be left alone for (`Retry-After`); 0: not told.
        retry_after_ms: i64,
    },
    /// There was no answer in time, or nobody may be asked at this address.
    Unanswered,
}

/// Sends parcels; a seam, so that tests play the receiver.
pub trait Courier: Send + Sync {
    /// Sends a parcel and waits for the answer, not for longer than some seconds.
    fn deliver(&self, parcel: Parcel) -> Pin<Box<dyn Future<Output = Delivery> + Send>>;
}

/// Says what goes out when. Nothing here is on disk but what [`Pusher::facts`] hands out to be journaled.
pub struct Pusher {
    live: Arc<Live>,
    dice: SeededDice,
    lanes: BTreeMap<u64, Lane>,
}

impl Pusher {
    /// Returns a pusher over a running state. Its first parcels are what no fact says was delivered.
    pub fn new(front: &Front, seed: u64) -> Self {
        Self { live: Arc::clone(&front.0), dice: SeededDice::new(seed), lanes: BTreeMap::new() }
    }

    /// Tells whether any account has its conversions pushed, or something is left to be journaled.
    pub fn is_wanted(&self) -> bool {
        let wanted = |push: &crate::state::catalog::StoredPush| !push.0.url.is_empty();
        !self.lanes.is_empty() || self.live.catalog().pushes.values().any(wanted)
    }

    /// Returns the parcels that go out now, at most one an account. Everything before `now`, the journal's
    /// time, must be durable.
    pub fn step(&mut self, now: Moment) -> Vec<Parcel> {
        let pushes: Vec<ConversionPushPut> = {
            let catalog = self.live.catalog();
            let wanted = catalog.pushes.values().filter(|push| !push.0.url.is_empty());
            wanted.map(|push| push.0.clone()).collect()
        };
        let known: BTreeMap<u64, &ConversionPushPut> =
            pushes.iter().map(|push| (push.account, push)).collect();
        self.lanes.retain(|account, lane| known.contains_key(account) || lane.is_busy());
        let mut parcels = Vec::new();
        let mut places = PARCELS_AT_ONCE_MAX
            .saturating_sub(self.lanes.values().filter(|lane| lane.is_sending()).count());
        for push in &pushes {
            if places == 0 {
                break;
            }
            let lane = self.lanes.entry(push.account).or_default();
            if let Some(body) = lane.step(&self.live, push, now) {
                parcels.push(self.parcel(push, body, now));
                places -= 1;
            }
        }
        parcels
    }

    /// Takes what became of the parcel of an account.
    pub fn delivered(&mut self, account: u64, delivery: Delivery, now: Moment) {
        if let Some(lane) = self.lanes.get_mut(&account) {
            lane.delivered(account, delivery, now, &mut self.dice);
        }
    }

    /// Hands out what is to be journaled, each once until [`Pusher::journaled`] says that it failed. Its account
    /// waits until then.
    pub fn facts(&mut self) -> Vec<ConversionsPushed> {
        self.lanes.values_mut().filter_map(Lane::take_fact).collect()
    }

    /// Takes whether an account's fact is durable.
    pub fn journaled(&mut self, account: u64, is_durable: bool) {
        if let Some(lane) = self.lanes.get_mut(&account) {
            lane.journaled(is_durable);
        }
    }

    fn parcel(&self, push: &ConversionPushPut, body: String, now: Moment) -> Parcel {
        let (account, version) = (push.account, push.key_version);
        let secret = push_secret(&self.live.sealer.load().ring().cursor, account, version);
        let signature = push_signature(&secret, now.seconds(), &body);
        Parcel {
            account,
            url: push.url.clone(),
            headers: [
                ("content-type", "application/json".to_owned()),
                ("x-munadi-timestamp", now.seconds().to_string()),
                ("x-munadi-key-version", version.to_string()),
                ("x-munadi-signature", format!("sha256={signature}")),
            ],
            body,
        }
    }
}
