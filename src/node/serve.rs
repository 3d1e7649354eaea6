//! Serving: copy the viewer, select without any lock, promise, seal. Waits for no disk.

use std::sync::Arc;

use prost::bytes::Bytes;

use crate::channels::{Channel, LinkParts, chat_link};
use crate::decide::board::Board;
use crate::decide::onlooker::{Onlooker, Promise};
use crate::decide::select::{Passes, Placed, Skip, Tray, select};
use crate::decide::shelf::{Row, Shelf};
use crate::node::counts::{Stripe, Walk};
use crate::node::live::Live;
use crate::state::credit::timestamp;
use crate::tokens::{Sealer, prefill_code};
use crate::types::dice::Dice;
use crate::types::proto::v1::{
    BillingEvent, EntryPoint, NoAdReason, PlacedAd, Slot, WhyThisAd, slot::Filling,
};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::{ClickToken, FrequencyToken, PackedPrice, ViewToken};

/// How often a tray is selected again because its viewer changed meanwhile.
const ATTEMPTS: usize = 3;

/// What a feed is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Ascending by position, each with an ad or the reason for none.
    pub slots: Vec<Slot>,
    /// For the next request for a viewer without a pseudonym; empty for one with.
    pub frequency_token: Bytes,
}

/// A tray with the names of its views, ready to be sealed.
struct Promised {
    tray: Tray,
    views: Vec<u64>,
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
        let shelf = self.shelf.load_full();
        let mut stripe = self.counts.stripe();
        // Nothing is known of a viewer never met, but what it is promised now is kept.
        let viewer = request.viewer.unwrap_or_else(|| stripe.dice.roll());
        let asking = Asking { viewer, policy, request, now };
        let mut onlooker = Onlooker::default();
        let promised = (0..ATTEMPTS).find_map(|_| {
            let mut walk = Walk::default();
            let promised = self.attempt(&shelf, &asking, &mut onlooker, &mut stripe, &mut walk)?;
            let placed = promised.tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok());
            stripe.walked(&shelf, &walk, placed.map(|placed| (placed.row, placed.hold)));
            Some(promised)
        });
        let promised = promised.unwrap_or_else(|| busy(policy, request));
        let slots = &promised.tray.slots;
        let empty = slots.iter().filter_map(|(_, slot)| slot.as_ref().err().copied());
        let served = slots.iter().filter(|(_, slot)| slot.is_ok()).count();
        stripe.answered(feed, request.placement, served as u32, empty);
        drop(stripe);
        let sealer = self.sealer.load_full();
        let seal = Seal { shelf: &shelf, sealer: &sealer, feed, viewer, policy, request, now };
        let mut views = promised.views.iter();
        let slots = promised.tray.slots.into_iter().map(|(position, slot)| {
            let filling = match slot {
                Ok(placed) => Filling::Ad(seal.seal(
                    &placed,
                    position,
                    *views.next().expect("each placed ad was given a view"),
                )),
                Err(reason) => Filling::NoAdReason(reason.into()),
            };
            Slot { position: position.into(), filling: Some(filling) }
        });
        Answer { slots: slots.collect(), frequency_token: seal.frequency_token() }
    }

    /// Selects once and promises what was selected; `None`: the viewer changed meanwhile.
    fn attempt(
        &self,
        shelf: &Arc<Shelf>,
        asking: &Asking<'_>,
        onlooker: &mut Onlooker,
        stripe: &mut Stripe,
        walk: &mut Walk,
    ) -> Option<Promised> {
        let Asking { viewer, policy, request, now } = *asking;
        let version = self.look(viewer, policy, now, onlooker);
        let dice = &mut stripe.dice;
        let mut tray = select(shelf, &self.board, onlooker, policy, request, now, dice, walk);
        for (_, slot) in &mut tray.slots {
            if let Ok(placed) = slot
                && !hold(&self.board, &shelf.rows[placed.row as usize], placed, now)
            {
                walk.pass(placed.row, Skip::BudgetSpent);
                *slot = Err(NoAdReason::BudgetSpent);
            }
        }
        let placed: Vec<_> = tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok()).collect();
        let views: Vec<_> = placed.iter().map(|_| dice.roll().max(1)).collect();
        let until_ms = now.0 + i64::from(policy.show_by_s) * 1_000;
        let promises = placed.iter().zip(&views).map(|(placed, view)| {
            let row = &shelf.rows[placed.row as usize];
            let Row { ad_set, business, category, .. } = *row;
            let capped = !row.caps.is_empty();
            Promise { view: *view, ad_set, business, category, capped, at_ms: now.0, until_ms }
        });
        // What promises nothing can break no promise.
        if !placed.is_empty() && !self.promise(viewer, version, promises, now) {
            let minute = now.minute();
            for placed in placed {
                let row = &shelf.rows[placed.row as usize];
                self.board.lines(row).iter().for_each(|line| line.release(minute, placed.hold));
            }
            return None;
        }
        Some(Promised { tray, views })
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
        let list = promises.map_or(&[][..], |promises| &promises.list);
        onlooker.look(facts, list, policy, now);
        (facts.map_or(0, |facts| facts.version), promises.map_or(0, |promises| promises.version))
    }

    /// Notes promises to a viewer unless it changed since it was looked at.
    fn promise(
        &self,
        viewer: u64,
        version: (u32, u32),
        new: impl Iterator<Item = Promise>,
        now: Moment,
    ) -> bool {
        let mut cell = self.cell(viewer);
        let facts = cell.facts.viewers.get(&viewer).map_or(0, |facts| facts.version);
        let promises = cell.promises(viewer, now);
        if (facts, promises.version) != version {
            return false;
        }
        // After this point the promise must be kept.
        promises.version = promises.version.wrapping_add(1);
        promises.list.retain(|promise| promise.until_ms > now.0);
        promises.list.extend(new);
        true
    }
}

/// Holds a placed ad's price on the lines that pay for it; undone when one has not enough.
fn hold(board: &Board, row: &Row, placed: &Placed, now: Moment) -> bool {
    let (lines, minute) = (board.lines(row), now.minute());
    lines.iter().for_each(|line| line.hold(minute, placed.hold));
    let covered = lines.iter().all(|line| line.free(now) >= 0);
    if !covered {
        lines.iter().for_each(|line| line.release(minute, placed.hold));
    }
    covered
}

fn busy(policy: &Policy, request: &AdRequest) -> Promised {
    let places = crate::decide::slots::places(policy, request);
    let slots = places.iter().map(|place| (place.position, Err(NoAdReason::Busy))).collect();
    Promised { tray: Tray { slots }, views: Vec::new() }
}

/// Who asks for what.
struct Asking<'a> {
    viewer: u64,
    policy: &'a Policy,
    request: &'a AdRequest,
    now: Moment,
}

struct Seal<'a> {
    shelf: &'a Shelf,
    sealer: &'a Sealer,
    feed: u32,
    viewer: u64,
    policy: &'a Policy,
    request: &'a AdRequest,
    now: Moment,
}

impl Seal<'_> {
    /// Returns what stands for a viewer without a pseudonym from now on.
    fn frequency_token(&self) -> Bytes {
        if self.request.named {
            return Bytes::new();
        }
        let (viewer, feed, issued) = (self.viewer, self.feed, self.now.seconds());
        Bytes::copy_from_slice(&self.sealer.seal_frequency(&FrequencyToken {
            viewer,
            feed,
            issued,
        }))
    }

    fn seal(&self, placed: &Placed, position: u16, view: u64) -> PlacedAd {
        let row = &self.shelf.rows[placed.row as usize];
        let profile = &self.request.profile;
        let viewer = self.viewer;
        let issued = self.now.seconds();
        let token = ViewToken {
            view,
            ad: row.ad,
            viewer,
            feed: self.feed,
            issued,
            show_by: self.policy.show_by_s,
            price_micros: placed.price,
            billing: row.billing as u8,
            p_tap: placed.rates.tap,
            p_chat: placed.rates.chat,
            position: position as u8,
            placement: self.request.placement as u8,
            country: profile.country.to_be_bytes(),
            region: profile.region,
            age_gender: profile.age_band << 4 | profile.gender,
            os_device: profile.os << 4,
            arm: 0,
            ghost_ad: 0,
        };
        let issued_ms = Moment::from_seconds(issued).0;
        PlacedAd {
            ad_id: row.ad,
            creative: Some(row.face.creative.clone()),
            chat_link: self.link(row, view, viewer, placed.price),
            view_token: self.sealer.seal_view(&token).to_vec().into(),
            show_by: Some(timestamp(issued_ms + i64::from(self.policy.show_by_s) * 1_000)),
            valid_until: Some(timestamp(issued_ms + DAY_MS)),
            why_this_ad: Some(WhyThisAd {
                advertiser: row.face.advertiser.clone(),
                parameters: row.face.parameters.clone(),
                payer: String::new(),
            }),
        }
    }

    fn link(&self, row: &Row, view: u64, viewer: u64, price: i64) -> String {
        let billed = row.billing == BillingEvent::Conversations;
        let click = ClickToken {
            entry_point: EntryPoint::Ad as u8,
            view,
            ad: row.ad,
            viewer,
            issued: self.now.seconds(),
            price: PackedPrice::pack(if billed { price } else { 0 }),
        };
        let token = self.sealer.seal_click_text(&click);
        let code = prefill_code(&self.sealer.ring().code, view, viewer).to_string();
        let parts = LinkParts { token: &token, code: &code, text: &row.face.prefilled_text };
        let Some(channel) = Channel::from_number(row.face.channel as u8) else {
            return String::new();
        };
        chat_link(channel, &row.face.address, &parts)
    }
}
