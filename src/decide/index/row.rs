//! What the index holds of one live ad: numbers to score and judge it by, and where its texts are.

use crate::decide::auction::Aim;
use crate::decide::board::{
    AdNow, Board, LineNumbers, MULTIPLIER_ONE, Rates, multiplier_with_room,
};
use crate::decide::exchange::Converter;
use crate::decide::onlooker::{Cap, Passing};
use crate::decide::parameters::parameters;
use crate::decide::target::Target;
use crate::state::catalog::{Catalog, Packed};
use crate::types::ids::{IdKind, mint, number_of};
use crate::types::iso::currency_index;
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::proto::v1::{
    Ad, AdSet, BidStrategy, BillingEvent, Budget, Business, Campaign, ChannelEndpoint,
    EffectiveStatus, OptimizationGoal,
};
use crate::types::request::Policy;
use crate::types::time::Moment;

/// How far above a cost cap a single bid may be: an average leaves room, and prices are below bids. The
/// pacing multiplier starts at its inverse, a bid of just the cap.
pub const COST_CAP_ROOM: i64 = 4;

/// Most caps of one ad set.
pub const CAPS_MAX: usize = 4;

/// One ad as selection reads it. Numbers, not ids: they index the board.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Ceiling for one goal event (or 1,000, see [`Aim::is_per_thousand`]), micros of the account's currency.
    pub bid: i64,
    /// Hash of the business's category; 0: none, never separated.
    pub category: u64,
    /// The ad.
    pub ad: u32,
    /// Its ad set.
    pub ad_set: u32,
    /// Its campaign.
    pub campaign: u32,
    /// Its account.
    pub account: u32,
    /// The business it is of.
    pub business: u32,
    /// Where its [`Extra`] is.
    pub(super) extra: u32,
    /// The row is live while the board says the same.
    pub epoch: u16,
    /// Categories of the operator's policy, a bit each.
    pub policy: u16,
    pub(super) billing: u8,
    pub(super) goal: u8,
    /// Number of the account's currency.
    pub currency: u8,
}

// One cache line holds an entry; a catalog of three million ads holds three million of them.
const _: () = assert!(size_of::<Entry>() == 48);

/// What an ad is worth for one viewer now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Worth {
    /// Bid x multiplier x predicted action rate, micros of the settlement currency for 1,000 impressions.
    pub value: i64,
    /// What the feed loses by it, in the same unit: never above zero.
    pub quality: i64,
}

impl Worth {
    /// Returns what ads are ordered by.
    pub const fn total(self) -> i64 {
        self.value + self.quality
    }
}

impl Entry {
    /// Returns what is paid for.
    pub fn billing(&self) -> BillingEvent {
        BillingEvent::try_from(i32::from(self.billing)).unwrap_or_default()
    }

    /// Returns what is paid for and what is wanted.
    pub fn aim(&self) -> Aim {
        let goal = OptimizationGoal::try_from(i32::from(self.goal)).unwrap_or_default();
        Aim { billing: self.billing(), goal }
    }

    /// Tells whether it matters how often a viewer was shown the ad set.
    pub const fn is_for_reach(&self) -> bool {
        self.goal == OptimizationGoal::Reach as u8
    }

    /// Returns the lines that a charge draws on.
    pub const fn lines(&self) -> LineNumbers {
        LineNumbers([self.account, self.campaign, self.ad_set])
    }

    /// Returns the ad's id.
    pub const fn ad_id(&self) -> u64 {
        mint(IdKind::Ad, self.ad as u64)
    }

    /// Returns the ad set's id.
    pub const fn ad_set_id(&self) -> u64 {
        mint(IdKind::AdSet, self.ad_set as u64)
    }

    /// Returns the business's id.
    pub const fn business_id(&self) -> u64 {
        mint(IdKind::Business, self.business as u64)
    }

    /// Returns what 1,000 impressions are worth to its account at a multiplier, micros of the account's
    /// currency.
    pub fn value(&self, rates: Rates, multiplier: u32) -> i64 {
        paced(self.aim().value(self.bid, rates), multiplier)
    }

    /// Returns what the ad is worth where it is worth so much to its account.
    pub fn worth(&self, value: i64, now: &AdNow, exchange: &Converter, policy: &Policy) -> Worth {
        let value = exchange.settle(self.currency, value);
        if policy.hide_cost_micros == 0 || now.hide == 0 {
            return Worth { value, quality: 0 };
        }
        // What a thousand showings of it cost the feed in viewers who hide it.
        let hidden = i128::from(policy.hide_cost_micros) * 1_000 * i128::from(now.hide);
        let quality = -(hidden / i128::from(u16::MAX));
        Worth { value, quality: i64::try_from(quality).unwrap_or(i64::MIN / 4) }
    }

    /// Returns the ad at another bid.
    pub const fn bidding(self, bid: i64) -> Self {
        Self { bid, ..self }
    }

    /// Returns what the viewer's checks need to know.
    pub fn passing<'a>(&self, extra: &'a Extra) -> Passing<'a> {
        Passing {
            ad: self.ad_id(),
            ad_set: self.ad_set_id(),
            business: self.business_id(),
            category: self.category,
            caps: extra.caps(),
            is_counted: self.is_for_reach(),
        }
    }
}

/// Returns the ceiling of an ad set's bids, micros: its own, the engine's room above an average, or, where
/// it names none, the least budget that pays for it: more than that no event can cost.
pub fn ceiling(ad_set: &AdSet, campaign: &Campaign) -> i64 {
    let bid = ad_set.bid.as_ref().map_or(0, |bid| bid.micros);
    match ad_set.bid_strategy() {
        BidStrategy::Unspecified | BidStrategy::LowestCostWithBidCap => bid,
        BidStrategy::CostCap => bid.saturating_mul(COST_CAP_ROOM),
        BidStrategy::LowestCostWithoutCap => {
            let of_budget = |budget: &Option<Budget>| {
                let budget = budget.clone().unwrap_or_default();
                [budget.daily, budget.lifetime]
            };
            let mut budgets = vec![campaign.spend_cap.clone()];
            budgets.extend(of_budget(&ad_set.budget));
            budgets.extend(of_budget(&ad_set.spend_cap));
            budgets.extend(of_budget(&campaign.budget));
            let least = budgets.into_iter().flatten().map(|money| money.micros).min();
            least.unwrap_or(AMOUNT_MICROS_MAX)
        }
    }
}

fn paced(value: i64, multiplier: u32) -> i64 {
    if multiplier == MULTIPLIER_ONE {
        return value;
    }
    // A shift, since values are never negative and every survivor of a walk is valued.
    ((i128::from(value) * i128::from(multiplier)) >> MULTIPLIER_ONE.ilog2()) as i64
}

/// What few ads differ in: when they run, and how often they may be seen.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Extra {
    /// Serving starts, milliseconds.
    pub start_ms: i64,
    /// Serving ends, milliseconds; `i64::MAX`: never.
    pub end_ms: i64,
    caps: [Cap; CAPS_MAX],
    capped: u8,
    /// Which parameters choose the ad, for [`crate::decide::parameters::parameter_names`].
    pub parameters: u16,
    /// Whether the ad set names on whose behalf it is shown, or who pays.
    pub has_parties: bool,
}

impl Extra {
    fn of(ad_set: &AdSet) -> Self {
        let ms = |time| Moment::from(time).0;
        let mut caps = [Cap::default(); CAPS_MAX];
        caps.iter_mut().zip(Cap::of(ad_set)).for_each(|(place, cap)| *place = cap);
        Self {
            start_ms: ad_set.start_time.as_ref().map_or(i64::MIN, ms),
            end_ms: ad_set.end_time.as_ref().map_or(i64::MAX, ms),
            caps,
            capped: ad_set.frequency_caps.len().min(CAPS_MAX) as u8,
            parameters: parameters(ad_set),
            has_parties: !ad_set.beneficiary.is_empty() || !ad_set.payer.is_empty(),
        }
    }

    /// Returns the same without any cap.
    pub const fn uncapped(mut self) -> Self {
        self.capped = 0;
        self
    }

    /// Returns the caps.
    pub fn caps(&self) -> &[Cap] {
        &self.caps[..usize::from(self.capped)]
    }

    /// Tells whether the ad runs at this moment.
    pub const fn runs(&self, now: Moment) -> bool {
        self.start_ms <= now.0 && now.0 < self.end_ms
    }
}

/// Where the texts of an ad are: the versions that its row was built from, as the catalog keeps them.
#[derive(Clone, Debug)]
pub struct Source {
    /// The ad.
    pub ad: Packed<Ad>,
    /// Its ad set.
    pub ad_set: Packed<AdSet>,
    /// The business it is of.
    pub business: Packed<Business>,
    /// Where that is written to.
    pub endpoint: Packed<ChannelEndpoint>,
}

/// An ad on its way into the index.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) entry: Entry,
    pub(super) extra: Extra,
    pub(super) source: Source,
    pub(super) targets: Vec<Target>,
    pub(super) ceilings: Rates,
    pub(super) pace_ceiling: u32,
    /// No impression is worth more to the account while rates and multiplier stay under their ceilings:
    /// micros of its currency for 1,000.
    pub(super) bound: i64,
}

impl Draft {
    /// Returns the draft of an ad in its newest version; `None`: it does not serve, or there is no
    /// such ad.
    pub fn of(catalog: &Catalog, ad: u64, board: &Board) -> Option<Self> {
        let serves = catalog.ad_status(ad) == EffectiveStatus::Active;
        let family = catalog.family(ad).filter(|_| serves)?;
        let source = Source {
            ad: catalog.ads.packed(ad)?.clone(),
            ad_set: catalog.ad_sets.packed(family.ad_set)?.clone(),
            business: catalog.businesses.packed(family.business)?.clone(),
            endpoint: catalog.endpoints.packed(family.endpoint)?.clone(),
        };
        let ad_set = source.ad_set.decode();
        let campaign = catalog.campaigns.packed(family.campaign)?;
        let number = |id: u64| number_of(id) as u32;
        let aim = Aim::of(&ad_set);
        let currency = catalog.currency_of(family.account).and_then(currency_index);
        let entry = Entry {
            bid: ceiling(&ad_set, &campaign.decode()),
            category: family.category,
            ad: number(ad),
            ad_set: number(family.ad_set),
            campaign: number(family.campaign),
            account: number(family.account),
            business: number(family.business),
            extra: 0,
            epoch: board.ad(ad).epoch,
            policy: family.policy,
            billing: aim.billing as u8,
            goal: aim.goal as u8,
            // Every door checks it; no number stands for what is not listed.
            currency: currency.unwrap_or(u8::MAX),
        };
        Some(Self::with_targets(entry, source, &ad_set, board))
    }

    /// Returns the draft of a row, bound anew by the board's rates of now.
    pub(super) fn from_source(entry: Entry, source: Source, board: &Board) -> Self {
        let ad_set = source.ad_set.decode();
        Self::with_targets(entry, source, &ad_set, board)
    }

    fn with_targets(entry: Entry, source: Source, ad_set: &AdSet, board: &Board) -> Self {
        let ceilings = board.ad(entry.ad.into()).rates.with_room();
        let pace_ceiling = multiplier_with_room(board.multiplier_ahead(entry.ad_set.into()));
        let bound = entry.value(ceilings, pace_ceiling);
        let (extra, targets) = (Extra::of(ad_set), Target::of(ad_set));
        Self { entry, extra, source, targets, ceilings, pace_ceiling, bound }
    }

    /// Returns what selection reads.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Returns when the ad runs and how often it may be seen.
    pub const fn extra(&self) -> &Extra {
        &self.extra
    }

    /// Returns its conjunctions.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Returns the ad's number.
    pub const fn ad(&self) -> u32 {
        self.entry.ad
    }

    /// Gives the rows an epoch.
    pub const fn set_epoch(&mut self, epoch: u16) {
        self.entry.epoch = epoch;
    }

    /// Notes on the board what the bounds of the rows allow for. `fresh`: they replace all rows of the ad.
    pub fn note_ceilings(&self, board: &Board, fresh: bool) {
        let ad = self.entry.ad.into();
        if fresh {
            board.set_ceilings(ad, self.ceilings);
        } else {
            board.lower_ceilings(ad, self.ceilings);
        }
        board.lower_pace_ceiling(self.entry.ad_set.into(), self.pace_ceiling);
    }
}
