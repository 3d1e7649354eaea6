//! Serving: copy the viewer, select without any lock, promise, seal. Waits for no disk.

use prost::Message;
use prost::bytes::Bytes;

use crate::decide::board::{Board, LineNumbers};
use crate::decide::ghosts::Ghosts;
use crate::decide::holdouts::Tests;
use crate::decide::index::Index;
use crate::decide::onlooker::Onlooker;
use crate::decide::promise::{Promise, Promises};
use crate::decide::select::{Asked, Passes, Placed, Selector, Tray};
use crate::decide::skip::Skip;
use crate::node::counts::{Stripe, Walk};
use crate::node::live::Live;
use crate::node::seal::{Mark, Seal};
use crate::node::walker::Answered;
use crate::state::rules::Blocks;
use crate::types::dice::Dice;
use crate::types::encoded::{
    Fields, Value, put_bytes, put_message, put_nested, put_number, put_number_always,
};
use crate::types::proto::v1::{NoAdReason, RequestAdsResponse, Slot};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::Moment;

/// How often a tray is selected again because its viewer changed meanwhile.
const ATTEMPTS: usize = 3;

/// Room for the answers of a tray, in bytes: most have less.
pub const ANSWER_BYTES: usize = 4_096;

/// What a feed is answered: an encoded `RequestAdsResponse`, its slots ascending by position, each with an ad
/// or the reason for none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    bytes: Bytes,
}

impl Answer {
    /// Returns the encoded `RequestAdsResponse`.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the same as an encoded `StreamAdsResponse`: its fields have other numbers.
    pub fn into_streamed(self, sequence: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + SEQUENCE_BYTES_MAX);
        put_number(&mut out, field::STREAMED_SEQUENCE, sequence);
        for (number, value) in Fields(&self.bytes) {
            if let Value::Bytes(bytes) = value {
                let is_slot = number == field::SLOTS;
                let number = if is_slot { field::STREAMED_SLOTS } else { field::STREAMED_TOKEN };
                put_message(&mut out, number, bytes);
            }
        }
        out.into()
    }

    /// Returns the answer, decoded.
    pub fn decode(&self) -> RequestAdsResponse {
        RequestAdsResponse::decode(&*self.bytes).expect("it was encoded here")
    }

    /// Returns the slots, decoded.
    pub fn slots(&self) -> Vec<Slot> {
        self.decode().slots
    }
}

/// The longest sequence number with its field's number.
const SEQUENCE_BYTES_MAX: usize = 11;

/// The fields of answers that are written, by number.
mod field {
    pub(super) const SLOTS: u32 = 1;
    pub(super) const TOKEN: u32 = 2;
    pub(super) const STREAMED_SEQUENCE: u32 = 1;
    pub(super) const STREAMED_SLOTS: u32 = 2;
    pub(super) const STREAMED_TOKEN: u32 = 4;
    pub(super) const POSITION: u32 = 1;
    pub(super) const AD: u32 = 2;
    pub(super) const NO_AD_REASON: u32 = 3;
    pub(super) const GHOST_TOKENS: u32 = 4;
}

/// Buffers of serving, kept from one tray to the next.
#[derive(Debug, Default)]
pub(in crate::node) struct Desk {
    selector: Selector,
    onlooker: Onlooker,
    tray: Tray,
    /// The names of the views of the tray's ads.
    views: Vec<u64>,
    walk: Walk,
    /// What experiments hold back from the viewer of the tray.
    ghosts: Ghosts,
}

/// Who asks for what, of which ads.
struct Asking<'a> {
    index: &'a Index,
    blocks: &'a Blocks,
    tests: &'a Tests,
    viewer: u64,
    policy: &'a Policy,
    request: &'a AdRequest,
    now: Moment,
}

impl Live {
    /// Fills a tray for a feed.
    pub(in crate::node) fn request_ads(
        &self,
        feed: u32,
        policy: &Policy,
        request: &AdRequest,
        now: Moment,
    ) -> Answer {
        let (index, blocks, tests) = (self.index.load(), self.blocks.load(), self.tests.load());
        let (mut stripe, mut dice) = (self.counts.stripe(), self.counts.dice());
        let (desk, dice) = (&mut stripe.desk, &mut *dice);
        // Nothing is known of a viewer never met, but what it is promised now is kept.
        let viewer = request.viewer.unwrap_or_else(|| dice.roll());
        let (index, blocks, tests) = (&**index, &**blocks, &**tests);
        let asking = Asking { index, blocks, tests, viewer, policy, request, now };
        if (0..ATTEMPTS).any(|_| self.attempt(&asking, desk, dice)) {
            let Desk { onlooker, tray, walk, .. } = desk;
            let answered = Answered { index, blocks, viewer, policy, request, onlooker, tray, now };
            // What was held back is no market that a forecast could reach.
            if desk.ghosts.list.is_empty() {
                self.watch(&answered, walk.ads());
            }
        } else {
            busy(policy, request, desk);
        }
        stripe.count(feed, request.placement);
        stripe.markets.asked(request.profile.country);
        let sealer = self.sealer.load();
        let public_url = self.public_url.get().map_or("", String::as_str);
        let seal = Seal { index, sealer: &sealer, feed, viewer, policy, request, public_url, now };
        let Desk { tray, views, ghosts, .. } = &stripe.desk;
        let mut views = views.iter();
        let mut out = Vec::with_capacity(ANSWER_BYTES);
        for (position, slot) in &tray.slots {
            let mut ghosts = ghosts.at(*position);
            put_nested(&mut out, field::SLOTS, |out| {
                put_number(out, field::POSITION, (*position).into());
                match slot {
                    Ok(placed) => {
                        let view = *views.next().expect("each placed ad was given a view");
                        let arm = tests.arm_of(&placed.entry, viewer, now);
                        let (named, mark) = ((*position, view), Mark::of(arm, ghosts.next()));
                        put_nested(out, field::AD, |out| seal.put(out, placed, named, mark));
                    }
                    Err(reason) => put_number_always(out, field::NO_AD_REASON, *reason as u64),
                }
                for ad in ghosts {
                    let token = seal.ghost(ad, *position, dice.roll().max(1));
                    put_bytes(out, field::GHOST_TOKENS, &token);
                }
            });
        }
        if let Some(token) = seal.frequency_token() {
            put_bytes(&mut out, field::TOKEN, &token);
        }
        Answer { bytes: out.into() }
    }

    /// Selects once and promises what was selected; tells whether the viewer was the same throughout.
    fn attempt(&self, asking: &Asking<'_>, desk: &mut Desk, dice: &mut impl Dice) -> bool {
        let Asking { index, blocks, tests, viewer, policy, request, now } = *asking;
        let version = self.look(viewer, policy, now, &mut desk.onlooker);
        desk.walk.begin();
        let asked = Asked {
            index,
            board: &self.board,
            blocks,
            onlooker: &desk.onlooker,
            policy,
            request,
            now,
            roll: dice.roll(),
            live_ads: self.live_ads(),
        };
        let Desk { selector, tray, walk, ghosts, .. } = desk;
        if tests.is_empty() {
            selector.select(&asked, tray, walk);
            ghosts.list.clear();
        } else {
            ghosts.select((tests, viewer), selector, &asked, tray, walk);
        }
        for (_, slot) in &mut desk.tray.slots {
            if let Ok(placed) = slot
                && !hold(&self.board, placed, now)
            {
                desk.walk.pass(&placed.entry, Skip::BudgetSpent);
                *slot = Err(NoAdReason::BudgetSpent);
            }
        }
        desk.views.clear();
        let placed = || desk.tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok());
        desk.views.extend(placed().map(|_| dice.roll().max(1)));
        let promises = placed().zip(&desk.views).map(|(Placed { entry, at, .. }, view)| {
            let segment = index.segment(request.profile.country, at.0.into());
            let passing = entry.passing(segment.extra(entry));
            Promise::of(*view, &passing, now, policy.show_by_s.into())
        });
        let count = desk.views.len();
        // What promises nothing can break no promise.
        if count == 0 || self.promise(viewer, version, (count, promises), now) {
            return true;
        }
        placed().for_each(|placed| release(&self.board, placed.entry.lines(), placed.hold, now));
        false
    }

    /// Takes a copy of a viewer; returns the versions that it had.
    fn look(
        &self,
        viewer: u64,
        policy: &Policy,
        now: Moment,
        onlooker: &mut Onlooker,
    ) -> (u32, u32) {
        let cell = self.cell(viewer);
        let (facts, promises) = (cell.facts.viewers.get(&viewer), cell.promised.get(&viewer));
        let list = promises.map_or(&[][..], Promises::list);
        onlooker.look(facts, list, policy, now);
        (facts.map_or(0, |facts| facts.version), promises.map_or(0, Promises::version))
    }

    /// Notes so many promises to a viewer unless it changed since it was looked at.
    fn promise(
        &self,
        viewer: u64,
        version: (u32, u32),
        (count, new): (usize, impl Iterator<Item = Promise>),
        now: Moment,
    ) -> bool {
        let mut cell = self.cell(viewer);
        let facts = cell.facts.viewers.get(&viewer).map_or(0, |facts| facts.version);
        let promises = cell.promises(viewer, now);
        if (facts, promises.version()) != version {
            return false;
        }
        // After this point the promise must be kept.
        promises.make(count, new, now);
        true
    }
}

impl Stripe {
    /// Counts a tray: how many slots were filled, and why the others were not.
    fn count(&mut self, feed: u32, placement: crate::types::proto::v1::Placement) {
        let Desk { tray, walk, .. } = &self.desk;
        let slots = || tray.slots.iter();
        let placed = slots().filter_map(|(_, slot)| slot.as_ref().ok());
        self.ads.count(walk, placed.map(|placed| (&placed.entry, placed.hold)));
        let empty = slots().filter_map(|(_, slot)| slot.as_ref().err().copied());
        let served = slots().filter(|(_, slot)| slot.is_ok()).count();
        self.feeds.answered(feed, placement, served as u32, empty);
    }
}

/// Holds a placed ad's price on the lines that pay for it; undone when one has not enough.
fn hold(board: &Board, placed: &Placed, now: Moment) -> bool {
    let (numbers, minute) = (placed.entry.lines(), now.minute());
    let lines = board.lines(numbers);
    lines.iter().for_each(|line| line.hold(minute, placed.hold));
    let covered = lines.iter().all(|line| line.free(now) >= 0);
    if !covered {
        release(board, numbers, placed.hold, now);
    }
    covered
}

fn release(board: &Board, lines: LineNumbers, hold: i64, now: Moment) {
    board.lines(lines).iter().for_each(|line| line.release(now.minute(), hold));
}

fn busy(policy: &Policy, request: &AdRequest, desk: &mut Desk) {
    let places = crate::decide::slots::places(policy, request);
    desk.walk.begin();
    desk.views.clear();
    desk.ghosts.list.clear();
    desk.tray.slots.clear();
    let slots = places.iter().map(|place| (place.position, Err(NoAdReason::Busy)));
    desk.tray.slots.extend(slots);
}
