//! Work as it comes in: events and writes, each judged alone.

use std::sync::Arc;

use crate::decide::board::Rates;
use crate::decide::imports::has_tapped;
use crate::decide::mutate::{Spent, mutate, touched};
use crate::decide::purse::LineId;
use crate::decide::record::{Event, GhostAd, Known, record};
use crate::decide::{Decided, auction, chats, sources};
use crate::node::live::Live;
use crate::node::pacer::Ceilings;
use crate::node::writer::{Reply, Work, Writer};
use crate::state::catalog::{Catalog, Family, Holdout};
use crate::state::invalid_of;
use crate::tokens::prefill_code;
use crate::types::day::day_of;
use crate::types::ids::{IdKind, Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{LineKind, Showing};
use crate::types::proto::v1::{
    BidStrategy, BillingEvent, EffectiveStatus, EventKind, InvalidReason,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Conversion, Incoming, Mutation, Origin, Resource, Verdict};
use crate::types::time::Moment;
use crate::types::token::{PrefillCode, ViewToken};

impl Writer {
    pub(super) fn take(&mut self, work: Work, now: Moment) {
        match work {
            Work::Record(items, reply) => {
                let live = Arc::clone(&self.live);
                let catalog = live.catalog();
                let judge = |item| self.judge(&live, &catalog, item, now);
                let verdicts = items.into_iter().map(judge).collect();
                drop(catalog);
                self.answer(reply, Ok(verdicts));
            }
            Work::Import(import, reply) => self.import(&import, reply, now),
            Work::Mutate(mutation, reply) => self.write(&mutation, reply, now),
            Work::MutateLists(mutation, reply) => self.write_lists(&mutation, reply, now),
            Work::Fund(request, reply) => self.fund(&request, reply, now),
            Work::Credit(credit, reply) => self.credit(*credit, reply, now),
            Work::SetPush(change, reply) => self.set_push(&change, reply, now),
            Work::WriteKey(mutation, reply) => self.write_key(&mutation, reply, now),
            Work::Note(change, reply) => {
                self.journal(Shard::CATALOG, vec![Kind::ChangeNoted(change)], now);
                self.answer(reply, Ok(()));
            }
            Work::Pushed(fact, reply) => self.pushed(fact, reply, now),
            Work::Erase(viewer, reply) => self.erasing.push((viewer, reply)),
            Work::Settle(reply) => self.answer(reply, Ok(now)),
            Work::Rebased(rebased) => self.indexer.take(&self.live, *rebased, now),
            Work::Refresh(ads) => self.refresh(ads),
        }
    }

    /// Judges one event and journals what it changes.
    fn judge(&mut self, live: &Live, catalog: &Catalog, item: Incoming, now: Moment) -> Verdict {
        let mut may_be_late = false;
        let (shard, decided, held) = match item {
            Incoming::Ad { token, kind, at, suspect, network } => {
                let suspect = suspect.or_else(|| self.crowded(catalog, &token, kind, network, now));
                let code = PrefillCode::default();
                let event = Event { token: &token, kind, at, code, suspect };
                let (decided, is_late) = ad_event(live, catalog, event, now);
                may_be_late = is_late;
                self.traffic.note(network, &decided, now);
                (shard_of(token.viewer), decided, Some(token))
            }
            Incoming::Opened { chat, opening } => {
                let decided = self.opened(catalog, chat, opening, now);
                (shard_of(chat.id), decided, None)
            }
            Incoming::Message { chat, receipt } => {
                let decided = self.message(catalog, chat, &receipt, now);
                (shard_of(chat.id), decided, None)
            }
            Incoming::Moved { chat, from } => {
                (shard_of(chat.id), self.moved(catalog, &chat, from, now), None)
            }
            Incoming::Converted(mut conversion) => {
                if let Origin::Conversation { id, .. } = &mut conversion.origin {
                    *id = live.conversation_named(*id);
                }
                let (shard, decided) = conversion_of(live, catalog, &conversion, now);
                (shard, decided, None)
            }
            Incoming::Adjusted(adjustment) => {
                let (shard, decided) = self.adjusted(catalog, &adjustment, now);
                (shard, decided, None)
            }
            Incoming::SourceTapped { source, country, at } => {
                let decided = sources::tapped(catalog, source, country, at, now);
                (shard_of(source), decided, None)
            }
        };
        let mut facts = match decided {
            Decided::Facts(facts) => facts,
            Decided::Already => return Verdict::Already,
            Decided::Refused(refusal) => return Verdict::Refused(refusal),
        };
        let billed = facts.iter().find_map(billed);
        let charged = billed.map_or(0, |(_, charged)| charged);
        if let (Some(token), Some((showing, _))) = (held, billed) {
            release(live, showing, &token);
        }
        let invalid = facts.iter().find_map(invalid_of);
        facts.iter().for_each(|fact| self.pacer.note_goal(live, fact, held.as_ref()));
        self.note_outgoing(&facts);
        if may_be_late && let Some(told) = facts.first() {
            let revised = self.revised_late(catalog, told, now);
            self.note_revised(&revised);
            facts.extend(revised);
        }
        self.journal(shard, facts, now);
        Verdict::Recorded { charged, invalid }
    }

    /// Says against a tap that there were more than the operator allows.
    fn crowded(
        &self,
        catalog: &Catalog,
        token: &ViewToken,
        kind: EventKind,
        network: u64,
        now: Moment,
    ) -> Option<InvalidReason> {
        // Most events are no taps: they ask nothing.
        if kind != EventKind::Tap {
            return None;
        }
        let family = catalog.family(token.ad)?;
        self.traffic.suspect(&self.live.traffic.load(), network, family.account, now)
    }

    fn write(&mut self, mutation: &Mutation, reply: Reply<Resource>, now: Moment) {
        let written = {
            let live = Arc::clone(&self.live);
            let catalog = live.catalog();
            let code = self.code_for(&catalog, mutation);
            mutate(&catalog, mutation, &|line| spent(&live, &catalog, line, now), code, now)
        };
        let written = match written {
            Ok(written) => written,
            Err(refusal) => return self.answer(reply, Err(refusal)),
        };
        if !written.facts.is_empty() {
            let before = Ceilings::of(&self.live.catalog(), &written.answer);
            self.journal(Shard::CATALOG, written.facts, now);
            self.regrant(mutation, &written.answer, now);
            let mut moved = self.pacer.note_written(&self.live, &written.answer, &before, now);
            for (shard, facts) in moved.facts(now.minute()) {
                self.journal(shard, facts, now);
            }
            self.pacer.show_all(&self.live, &moved);
            if let Resource::AdSet(row) = &written.answer {
                self.schedules.note(&self.live, row);
                self.openings.note(row);
            }
            if let Resource::Experiment(_) = &written.answer {
                self.show_tests(now);
            }
            self.show(&written.answer);
        }
        self.answer(reply, Ok(written.answer));
    }

    /// Shows serving what was written, once it is durable.
    fn show(&mut self, written: &Resource) {
        let ads: Vec<u64> = {
            let catalog = self.live.catalog();
            let serves = |ad: u64| catalog.ad_status(ad) == EffectiveStatus::Active;
            let below = touched(&catalog, written);
            match written {
                // Of these a row says nothing but that it is there, and what a budget gives for a bid.
                Resource::Account(_) | Resource::Campaign(_) => {
                    let changed = |ad: &u64| self.indexer.is_live(*ad) != serves(*ad);
                    let by_budget = |ad: &u64| serves(*ad) && bids_by_budget(&catalog, *ad);
                    below.filter(|ad| changed(ad) || by_budget(ad)).collect()
                }
                Resource::Endpoint(_) | Resource::Source(_) | Resource::Experiment(_) => Vec::new(),
                Resource::Business(_) | Resource::AdSet(_) | Resource::Ad(_) => below.collect(),
            }
        };
        // Only a write changes what an ad is predicted to do: rows are also built anew behind, at some time.
        ads.iter().for_each(|ad| self.live.place_ad(*ad));
        self.refresh(ads);
    }

    /// Grants anew what a write may have changed: the line's budget. A new line waits for the end of the
    /// round: nothing is charged on it before.
    fn regrant(&mut self, mutation: &Mutation, written: &Resource, now: Moment) {
        let line = {
            let catalog = self.live.catalog();
            let (kind, account) = match written {
                Resource::Account(row) => (LineKind::Account, Some(row.id)),
                Resource::Campaign(row) => (LineKind::Campaign, Some(row.account_id)),
                Resource::AdSet(row) => {
                    (LineKind::AdSet, catalog.parent_of(IdKind::Campaign, row.campaign_id))
                }
                Resource::Business(_)
                | Resource::Endpoint(_)
                | Resource::Ad(_)
                | Resource::Source(_)
                | Resource::Experiment(_) => return,
            };
            account.map(|account| LineId { kind, id: written.id(), account })
        };
        self.ungranted.extend(line);
        if !matches!(mutation.change, Change::Create(_)) {
            self.grant_written(now);
            // A limit that goes gives no grant, but what is charged without it stands behind it.
            self.cut();
        }
    }

    /// Grants what was written since the last time. A grant must stand behind its campaign in the
    /// journal, and before every charge on it.
    pub(super) fn grant_written(&mut self, now: Moment) {
        let mut lines = std::mem::take(&mut self.ungranted);
        let mut journaled = false;
        for line in lines.drain(..) {
            let Some(terms) = self.terms_of(line) else { continue };
            let Some(granted) = self.granted(line, terms, now) else { continue };
            if !journaled {
                self.cut();
                journaled = true;
            }
            self.journal_grant(line, granted, now);
        }
        if journaled {
            self.cut();
        }
        // Its memory serves the next round.
        self.ungranted = lines;
    }
}

/// Returns what was charged on a line, today by its account's zone and ever.
fn spent(live: &Live, catalog: &Catalog, line: LineId, now: Moment) -> Spent {
    let purses = live.purses(line.account);
    let purse = purses.purses.get(&line.account);
    let known = purse.and_then(|purse| purse.line(line.kind, line.id));
    known.map_or_else(Spent::default, |known| {
        let zone = catalog.zone_of(line.account).unwrap_or_default();
        let today = known.days.get(&day_of(zone, now).number).copied().unwrap_or_default();
        Spent { today, life: known.life }
    })
}

/// Tells whether the ceiling of an ad's bids is what its campaign's budget gives.
fn bids_by_budget(catalog: &Catalog, ad: u64) -> bool {
    let ad_set = catalog.family(ad).and_then(|family| catalog.ad_sets.get(family.ad_set));
    ad_set.is_some_and(|row| row.bid_strategy() == BidStrategy::LowestCostWithoutCap)
}

/// Judges one event on a served ad; tells also whether an outcome of its viewer may lie behind it.
fn ad_event(live: &Live, catalog: &Catalog, mut event: Event<'_>, now: Moment) -> (Decided, bool) {
    let token = event.token;
    let Some(family) = catalog.family(token.ad) else {
        let message = "the token's ad is not known here";
        return (Decided::Refused(Refusal::new(Reason::NotFound, "view_token", message)), false);
    };
    // Only a tap's code is ever looked up.
    if event.kind == EventKind::Tap {
        let sealer = live.sealer.load();
        event.code = prefill_code(&sealer.ring().code, token.view, token.viewer);
    }
    let cell = live.cell(token.viewer);
    if cell.facts.was_erased_since(token.viewer, token.issued) {
        let message = "the viewer was erased since: drop it, a retry cannot help";
        return (
            Decided::Refused(Refusal::new(Reason::TokenExpired, "view_token", message)),
            false,
        );
    }
    let purses = live.purses(family.account);
    // Only what is seen exposes anybody.
    let exposes = event.kind == EventKind::Impression;
    let ghost = if exposes { ghost_of(catalog, token) } else { None };
    let known = Known {
        experiment: if exposes { experiment_of(catalog, token, &family) } else { 0 },
        ghost: ghost.filter(|ghost| !cell.facts.is_exposed(token.viewer, ghost.experiment)),
        family,
        viewer: cell.facts.viewers.get(&token.viewer),
        tapped_before: event.kind == EventKind::Tap
            && has_tapped(catalog, cell.facts.past.get(&token.viewer), None, family.campaign),
        purse: purses.purses.get(&family.account),
        zone: catalog.zone_of(family.account).unwrap_or_default(),
        now,
    };
    let at_ms = event.at.unwrap_or(now).0;
    let is_late = known.viewer.is_some_and(|viewer| viewer.has_outcome_since(at_ms));
    (record(&known, &event), is_late)
}

/// Returns the number of the experiment that the ad of a token belonged to when it was handed out; 0: none.
fn experiment_of(catalog: &Catalog, token: &ViewToken, family: &Family) -> u32 {
    if token.arm == 0 { 0 } else { running(catalog, family, token.issued) }
}

/// Returns the ad that was held back from the viewer of a token.
fn ghost_of(catalog: &Catalog, token: &ViewToken) -> Option<GhostAd> {
    let family = catalog.family(token.ghost_ad).filter(|_| token.ghost_ad != 0)?;
    let experiment = running(catalog, &family, token.issued);
    (experiment != 0).then_some(GhostAd { family, experiment })
}

fn running(catalog: &Catalog, family: &Family, second: u32) -> u32 {
    let running = catalog.holdouts.at(family.account, family.campaign, second.into());
    running.map_or(0, Holdout::number)
}

/// Judges a conversion; returns the shard that it belongs to.
fn conversion_of(
    live: &Live,
    catalog: &Catalog,
    conversion: &Conversion,
    now: Moment,
) -> (Shard, Decided) {
    let Some(outcome) = chats::conversion_outcome(catalog, conversion) else {
        let decided = chats::converted(catalog, None, None, conversion, now);
        return (Shard::CATALOG, decided);
    };
    let chat = match conversion.origin {
        Origin::Conversation { id, .. } => {
            live.cell(id).facts.chats.get(&id).map(chats::Inherited::of)
        }
        Origin::Click(_) | Origin::Viewer { .. } => None,
    };
    let cell = live.cell(outcome);
    let known = cell.facts.conversions.get(&outcome);
    (shard_of(outcome), chats::converted(catalog, known, chat, conversion, now))
}

/// Returns the showing of a billed event, and what was charged: of an invalid one nothing, but it was the one.
fn billed(fact: &Kind) -> Option<(&Showing, i64)> {
    let (showing, charge, invalid_price) = match fact {
        Kind::ImpressionSeen(fact) => (&fact.showing, &fact.charge, fact.invalid_price),
        Kind::Tapped(fact) => (&fact.showing, &fact.charge, fact.invalid_price),
        _ => return None,
    };
    let charged = charge.as_ref().map(|charge| charge.amount);
    showing.as_ref().zip(charged.or((invalid_price > 0).then_some(0)))
}

/// Gives back what serving held for an ad whose billed event has come.
fn release(live: &Live, showing: &Showing, token: &ViewToken) {
    let billing = BillingEvent::try_from(i32::from(token.billing)).unwrap_or_default();
    let rates = Rates { tap: token.p_tap, chat: token.p_chat, ..Rates::NEW };
    let hold = auction::hold_of(billing, token.price_micros, rates);
    let minute = Moment::from_seconds(token.issued).minute();
    live.board.account(showing.account).release(minute, hold);
    live.board.campaign(showing.campaign).release(minute, hold);
    live.board.ad_set(showing.ad_set).release(minute, hold);
}
