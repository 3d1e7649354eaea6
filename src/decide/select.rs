//! The one path of serving: targeting, policy, schedule, feedback, caps, distance, budget, floor, auction.
//!
//! The index shows the ads that are meant for the viewer, the best bounds first. Everything that could
//! keep one of them out is asked *before* it is taken: else a tray whose best ads are capped would wrongly
//! stay empty. [`crate::decide::plain`] does the same the slow, obvious way.

use crate::decide::auction::{Candidate, Scratch, Terms, Win, clear, hold_of};
use crate::decide::board::{AdNow, Board, Rates};
use crate::decide::groups::{Groups, Member};
use crate::decide::holdouts::Withheld;
use crate::decide::index::{Entry, Extra, Index, Segment, Visitor, Walker, Worth};
use crate::decide::onlooker::Onlooker;
use crate::decide::skip::Skip;
use crate::decide::slots::{Place, places};
use crate::decide::target::Told;
use crate::state::catalog::REACH_HOURS;
use crate::state::rules::Blocks;
use crate::types::hash::mix;
use crate::types::proto::v1::{BillingEvent, NoAdReason};
use crate::types::request::{ATTENTION_ONE, AdRequest, Policy};
use crate::types::time::Moment;

/// A viewer who was shown an ad set that is for reach is worth less to it: half for each time within
/// [`REACH_HOURS`] (ALGORITHMS 4: the value of the k-th impression falls geometrically).
const REACH_HALVINGS: u32 = 1;

/// What one selection depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The live ads.
    pub index: &'a Index,
    /// Their money and rates.
    pub board: &'a Board,
    /// Where categories of ads may be shown.
    pub blocks: &'a Blocks,
    /// The viewer.
    pub onlooker: &'a Onlooker,
    /// What the feed allows.
    pub policy: &'a Policy,
    /// What it asks for.
    pub request: &'a AdRequest,
    /// The moment.
    pub now: Moment,
    /// A roll of the dice: orders equals.
    pub roll: u64,
    /// How many ads are live, for anybody.
    pub live_ads: usize,
}

impl Asked<'_> {
    /// Returns why an ad that is meant for the viewer can't be shown now; `None`: nothing stands against it.
    pub fn obstacle(&self, entry: &Entry, extra: &Extra, worth: Worth) -> Option<Skip> {
        let profile = &self.request.profile;
        let blocked = || self.blocks.blocked(profile.country, profile.age_band);
        if entry.policy != 0 && entry.policy & blocked() != 0 {
            return Some(Skip::PolicyBlocked);
        }
        if !extra.runs(self.now) || self.board.is_closed(entry.ad_set.into()) {
            return Some(Skip::OutsideSchedule);
        }
        if let Err(skip) = self.onlooker.admits(&entry.passing(extra), self.now) {
            return Some(skip);
        }
        if self.board.free(entry.lines(), self.now) < self.cost(entry, worth).max(1) {
            return Some(Skip::BudgetSpent);
        }
        // The floor is on the total, as the auction has it.
        (worth.total() < self.policy.floor_cpm_micros.max(1)).then_some(Skip::BelowFloor)
    }

    /// Returns what one showing costs at the most, on the average, in the account's currency, micros: a
    /// thousandth of what a thousand are worth.
    pub fn cost(&self, entry: &Entry, worth: Worth) -> i64 {
        self.index.exchange().back(entry.currency, worth.value) / 1_000
    }

    /// Returns what an ad is worth now, and the rates that say so; `None`: this row of it is dead.
    pub fn live_worth(&self, entry: &Entry) -> Option<(Worth, Rates)> {
        self.live_worth_at(entry, &self.look(entry))
    }

    fn live_worth_at(&self, entry: &Entry, look: &Look) -> Option<(Worth, Rates)> {
        (look.now.epoch == entry.epoch).then(|| self.worth_at(entry, look))
    }

    /// Returns the same of any row, a dead one too.
    pub fn worth(&self, entry: &Entry) -> (Worth, Rates) {
        self.worth_at(entry, &self.look(entry))
    }

    fn look(&self, entry: &Entry) -> Look {
        let multiplier = self.board.multiplier(entry.ad_set.into());
        Look { now: self.board.ad(entry.ad.into()), multiplier }
    }

    fn worth_at(&self, entry: &Entry, look: &Look) -> (Worth, Rates) {
        let now = look.now.in_placement(self.board.factors(self.request.placement));
        let mut value = entry.value(now.rates, look.multiplier);
        if entry.is_for_reach() {
            let shown = self.onlooker.shown(entry.ad_set_id(), REACH_HOURS, self.now);
            value >>= (shown * REACH_HALVINGS).min(i64::BITS - 1);
        }
        (entry.worth(value, &now, self.index.exchange(), self.policy), now.rates)
    }

    /// Returns the lot that orders an ad among its equals: the same wherever the index keeps it.
    pub fn lot(&self, ad: u32) -> u64 {
        mix(self.roll ^ u64::from(ad))
    }

    /// Returns the places of the tray. A viewer who has been shown as many ads as the feed allows in a
    /// session or a day gets none.
    fn places(&self) -> (Policy, Vec<Place>) {
        let mut policy = *self.policy;
        let mut limit = |most: u16, shown: u64| {
            let left = u64::from(most).saturating_sub(shown).min(u64::from(u8::MAX)) as u8;
            if most > 0 {
                policy.most_per_tray = policy.most_per_tray.min(left);
            }
        };
        limit(policy.most_per_session, self.request.ads_in_session.into());
        limit(policy.most_per_day, self.onlooker.shown_today() as u64);
        (policy, places(&policy, self.request))
    }
}

/// What the board says of one ad.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    now: AdNow,
    multiplier: u32,
}

/// Ads that are looked up on the board together: each is far from the others, and the processor fetches all
/// of them at once where nothing between two depends on the first.
const LOOKED_UP_TOGETHER: usize = 16;

/// One ad in one slot.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The ad.
    pub entry: Entry,
    /// Where its texts are: the lane of the walk and the place in its segment.
    pub at: (u16, u32),
    /// Price of one billed event, micros.
    pub price: i64,
    /// That event: its own, or taps while an issue stands against paying for conversations.
    pub billing: BillingEvent,
    /// The rates that it was valued with.
    pub rates: Rates,
    /// What to hold until it is seen, micros.
    pub hold: i64,
}

/// A filled tray: places in order, each with an ad or the reason for none.
#[derive(Clone, Debug, Default)]
pub struct Tray {
    /// Position and filling.
    pub slots: Vec<(u16, Result<Placed, NoAdReason>)>,
}

/// Counts what became of ads that reached the auction.
pub trait Passes {
    /// Notes that an ad was passed over.
    fn pass(&mut self, entry: &Entry, skip: Skip);
}

/// Fills trays; keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub struct Selector {
    walker: Walker,
    told: Told,
    groups: Groups,
    members: Vec<Member>,
    candidates: Vec<Candidate>,
    positions: Vec<u16>,
    attention: Vec<u32>,
    auction: Scratch,
    wins: Vec<Win>,
    left_out: Vec<LeftOut>,
}

impl Selector {
    /// Fills a tray.
    pub fn select(&mut self, asked: &Asked<'_>, tray: &mut Tray, passes: &mut impl Passes) {
        self.select_without(None, asked, tray, passes);
    }

    /// Fills a tray without the ads that are withheld from the viewer.
    pub fn select_without(
        &mut self,
        withheld: Option<&Withheld<'_>>,
        asked: &Asked<'_>,
        tray: &mut Tray,
        passes: &mut impl Passes,
    ) {
        tray.slots.clear();
        self.left_out.clear();
        let (policy, places) = asked.places();
        let wanted = places.iter().filter(|place| place.allowed).count();
        if wanted == 0 {
            let refused = places.iter().map(|place| (place.position, Err(NoAdReason::FeedPolicy)));
            return tray.slots.extend(refused);
        }
        let request = asked.request;
        self.told.take(&request.profile, request.placement, asked.now);
        self.groups.begin(wanted);
        let mut picker = Picker {
            asked,
            groups: &mut self.groups,
            furthest: Skip::NotTargeted,
            withheld,
            left_out: &mut self.left_out,
        };
        self.walker.walk(asked.index, &self.told, &mut picker);
        let mut furthest = picker.furthest;
        if self.groups.clashed() && self.groups.len() <= wanted {
            furthest = Skip::Separation;
        }
        self.auction(asked, &policy, &places);
        if self.wins.len() < wanted.min(self.groups.len()) {
            furthest = Skip::InterruptionCost;
        }
        let none_live = asked.live_ads == 0;
        let empty = if none_live { NoAdReason::NoLiveAds } else { furthest.of_slot() };
        let mut wins = self.wins.iter().peekable();
        for place in &places {
            let won = wins.next_if(|win| self.positions[win.place] == place.position);
            let filling = match won {
                Some(win) => Ok(self.placed(asked, win)),
                None if place.allowed => Err(empty),
                None => Err(NoAdReason::FeedPolicy),
            };
            tray.slots.push((place.position, filling));
        }
        self.count(asked, self.wins.len() < wanted, passes);
    }

    /// Returns the experiments of which an ad that was left out of the last tray may have stood in it.
    pub fn held_back(&self) -> impl Iterator<Item = u32> + '_ {
        let close = |out: &&LeftOut| {
            self.groups.admits(out.member.worth.total(), || out.member.lot, out.member.ad)
        };
        self.left_out.iter().filter(close).map(|out| out.experiment)
    }

    /// Finds who stands where, at which price.
    fn auction(&mut self, asked: &Asked<'_>, policy: &Policy, places: &[Place]) {
        self.members.clear();
        self.members.extend(self.groups.members().copied());
        self.candidates.clear();
        self.candidates.extend(self.members.iter().map(|member| Candidate {
            ad: member.ad.into(),
            business: member.business.into(),
            group: member.group,
            value: member.worth.value,
            quality: member.worth.quality,
            lot: member.lot,
        }));
        self.positions.clear();
        if asked.request.positions.is_empty() {
            self.positions.extend(policy.first_position..asked.request.posts);
        } else {
            self.positions.extend(places.iter().filter(|p| p.allowed).map(|p| p.position));
        }
        attention(policy, &self.positions, &mut self.attention);
        let terms = Terms {
            places: &self.positions,
            attention: &self.attention,
            min_gap: policy.min_gap.max(1),
            most: policy.most_per_tray.into(),
            interruption: policy.interruption_cpm_micros,
            floor: policy.floor_cpm_micros,
        };
        clear(&self.candidates, &terms, &mut self.auction, &mut self.wins);
    }

    fn placed(&self, asked: &Asked<'_>, win: &Win) -> Placed {
        let member = &self.members[win.candidate];
        let (lane, at) = member.at;
        let country = asked.request.profile.country;
        let entry = *asked.index.segment(country, lane.into()).entry(at);
        // Rounded down on both ways: never above what the ad is worth to its account.
        let pay_cpm = asked.index.exchange().back(entry.currency, win.pay_cpm);
        let aim = entry.aim().served(asked.board.issue(entry.ad_set.into()));
        let price = aim.price(entry.bid, member.rates, pay_cpm);
        let (rates, billing) = (member.rates, aim.billing);
        let hold = hold_of(billing, price, rates);
        Placed { entry, at: member.at, price, billing, rates, hold }
    }

    /// Counts the losers of the auction. `room`: a place was left, so nobody outbid them.
    fn count(&self, asked: &Asked<'_>, room: bool, passes: &mut impl Passes) {
        let country = asked.request.profile.country;
        for (at, member) in self.members.iter().enumerate() {
            if self.wins.iter().any(|win| win.candidate == at) {
                continue;
            }
            let of_group = |win: &Win| self.members[win.candidate].group == member.group;
            let skip = if self.wins.iter().any(of_group) {
                Skip::Separation
            } else if !room {
                Skip::Outbid
            } else if member.worth.total() < asked.policy.floor_cpm_micros {
                Skip::BelowFloor
            } else {
                Skip::InterruptionCost
            };
            let (lane, place) = member.at;
            passes.pass(asked.index.segment(country, lane.into()).entry(place), skip);
        }
    }
}

/// Computes the weight of each position: `keep` to the power of the position.
fn attention(policy: &Policy, positions: &[u16], weights: &mut Vec<u32>) {
    weights.clear();
    let (mut at, mut weight) = (0, ATTENTION_ONE);
    for &position in positions {
        if policy.attention_keep < ATTENTION_ONE {
            while at < position {
                weight = policy.next_attention(weight);
                at += 1;
            }
        }
        weights.push(weight);
    }
}

/// Takes the ads of a walk that nothing stands against.
struct Picker<'a> {
    asked: &'a Asked<'a>,
    groups: &'a mut Groups,
    /// How far the ad that came furthest got.
    furthest: Skip,
    withheld: Option<&'a Withheld<'a>>,
    left_out: &'a mut Vec<LeftOut>,
}

/// An ad that nothing but an experiment stands against.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    experiment: u32,
    member: Member,
}

impl Visitor for Picker<'_> {
    fn least(&self) -> i64 {
        self.groups.least()
    }

    fn visit(&mut self, segment: &Segment, lane: u16, entries: &[u32]) {
        for together in entries.chunks(LOOKED_UP_TOGETHER) {
            let mut looks = [Look::default(); LOOKED_UP_TOGETHER];
            let rows = || together.iter().map(|at| segment.entry(*at));
            looks.iter_mut().zip(rows()).for_each(|(look, entry)| *look = self.asked.look(entry));
            for (at, look) in together.iter().zip(&looks) {
                self.meet(segment, (lane, *at), look);
            }
        }
    }
}

impl Picker<'_> {
    /// Takes an ad that may win, unless something stands against it.
    fn meet(&mut self, segment: &Segment, at: (u16, u32), look: &Look) {
        let entry = segment.entry(at.1);
        let Some((worth, rates)) = self.asked.live_worth_at(entry, look) else { return };
        if !self.groups.admits(worth.total(), || self.asked.lot(entry.ad), entry.ad) {
            return;
        }
        match self.asked.obstacle(entry, segment.extra(entry), worth) {
            Some(skip) if skip.stage() > self.furthest.stage() => self.furthest = skip,
            Some(_) => {}
            None => {
                let member = Member::of(entry, worth, rates, self.asked.lot(entry.ad));
                let experiment = self.withheld.and_then(|it| it.leaves_out(entry, self.asked.now));
                if let Some(experiment) = experiment {
                    self.left_out.push(LeftOut { experiment, member });
                    return;
                }
                self.groups.offer(Member { at, ..member });
            }
        }
    }
}
