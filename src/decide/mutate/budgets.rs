//! Money in the catalog: budgets and caps judged against each other, against bids, and against what was
//! spent already.

use crate::decide::auction::{Aim, strategy_of};
use crate::decide::mutate::{Desk, budget_in, in_currency};
use crate::decide::purse::LineId;
use crate::state::catalog::has_budget;
use crate::types::ids::IdKind;
use crate::types::money::{AMOUNT_MICROS_MAX, CPM_STEP_MICROS};
use crate::types::proto::journal::v1::LineKind;
use crate::types::proto::v1::{Account, AdSet, BidStrategy, Budget, Campaign, Money};
use crate::types::refusal::{Reason, Refusal};

/// Events that a bid for a goal counted by the thousand is for.
const PER_THOUSAND: i64 = 1_000;

/// What was charged on a budget line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spent {
    /// On the account's day, micros.
    pub today: i64,
    /// Ever, micros.
    pub life: i64,
}

/// One limit on what may be spent.
struct Limit {
    /// Its field.
    field: &'static str,
    /// The field of a write that it came with; `None`: it stands above what is written.
    part: Option<&'static str>,
    micros: i64,
    /// What was spent of it.
    spent: i64,
}

/// Tells whether a write concerns one of these fields. A create, which has no mask, concerns all.
pub(super) fn touches(mask: &[String], names: &[&str]) -> bool {
    mask.is_empty() || mask.iter().any(|changed| names.contains(&&**changed))
}

impl Desk<'_> {
    /// Judges an account's spend limit, and who sets its noise.
    pub(super) fn judge_account(&self, row: &Account, mask: &[String]) -> Result<(), Refusal> {
        in_currency(row.spend_limit.as_ref(), &row.currency, "account.spend_limit")?;
        let before = self.catalog.accounts.get(row.id).and_then(|before| before.report_noise);
        if row.report_noise != before && !self.mutation.any_tenant {
            let message = "is set by operators only: send it as it is, or leave it out of the mask";
            return Err(Refusal::new(Reason::FieldInvalid, "account.report_noise", message));
        }
        if !touches(mask, &["spend_limit"]) {
            return Ok(());
        }
        let spent = self.spent(LineKind::Account, row.id, row.id);
        let limit = limit("account.spend_limit", "spend_limit", &row.spend_limit, spent.life);
        limit.iter().try_for_each(covers_spent)
    }

    /// Judges a campaign's budget and cap.
    pub(super) fn judge_campaign(&self, row: &Campaign, mask: &[String]) -> Result<(), Refusal> {
        let currency = self.own(row.account_id, "campaign.account_id")?;
        budget_in(row.budget.as_ref(), currency, "campaign.budget")?;
        in_currency(row.spend_cap.as_ref(), currency, "campaign.spend_cap")?;
        if !touches(mask, &["budget", "spend_cap"]) {
            return Ok(());
        }
        self.keeps_a_budget(row)?;
        let spent = self.spent(LineKind::Campaign, row.id, row.account_id);
        let limits = limits_of_campaign(row, spent);
        limits.iter().filter(|it| touches(mask, it.part.as_slice())).try_for_each(covers_spent)?;
        let below = self.catalog.ad_sets_of_campaign(row.id);
        let below = below.filter(|ad_set| !self.catalog.is_archived(IdKind::AdSet, *ad_set));
        let mut rows = below.filter_map(|ad_set| self.catalog.ad_sets.get(ad_set));
        rows.try_for_each(|ad_set| {
            if let Some(bid) = bid_for_one(&ad_set) {
                let least = limits.iter().find(|limit| limit.micros < bid);
                let what = format!("the bid of ad set {}", ad_set.id);
                least.map_or(Ok(()), |limit| Err(too_small(limit, bid, &what)))?;
            }
            let [cap, minimum] = share_of(&ad_set, row);
            let field = "campaign.budget";
            let whose = format!("ad set {}", ad_set.id);
            cap.or(minimum).map_or(Ok(()), |fault| Err(fault.refuse_above(field, &whose)))
        })
    }

    /// Refuses to take away the only budget of an ad set: it would be charged without a limit.
    fn keeps_a_budget(&self, row: &Campaign) -> Result<(), Refusal> {
        let current = self.catalog.campaigns.get(row.id);
        let had = current.is_some_and(|current| has_budget(current.budget.as_ref()));
        if !had || has_budget(row.budget.as_ref()) {
            return Ok(());
        }
        let below = self.catalog.ad_sets_of_campaign(row.id);
        let mut rows = below.filter_map(|ad_set| self.catalog.ad_sets.get(ad_set));
        if rows.all(|ad_set| has_budget(ad_set.budget.as_ref())) {
            return Ok(());
        }
        let message = "an ad set of this campaign has no budget of its own; give it one first";
        Err(Refusal::new(Reason::FieldMissing, "campaign.budget", message))
    }

    /// Judges an ad set's bid, budget, cap and minimum.
    pub(super) fn judge_prices(
        &self,
        row: &AdSet,
        currency: &str,
        mask: &[String],
    ) -> Result<(), Refusal> {
        in_currency(row.bid.as_ref(), currency, "ad_set.bid")?;
        in_currency(row.daily_min_spend.as_ref(), currency, "ad_set.daily_min_spend")?;
        budget_in(row.budget.as_ref(), currency, "ad_set.budget")?;
        budget_in(row.spend_cap.as_ref(), currency, "ad_set.spend_cap")?;
        if !touches(mask, &["bid", "budget", "spend_cap", "daily_min_spend"]) {
            return Ok(());
        }
        fits_strategy(row)?;
        in_steps(row)?;
        let campaign = self.catalog.campaigns.get(row.campaign_id).unwrap_or_default();
        if !has_budget(row.budget.as_ref()) && !has_budget(campaign.budget.as_ref()) {
            let message = "give the ad set or its campaign a daily or lifetime budget";
            return Err(Refusal::new(Reason::FieldMissing, "ad_set.budget", message));
        }
        let [cap, minimum] = share_of(row, &campaign);
        let fault = cap.map(|fault| ("ad_set.spend_cap", fault));
        let fault = fault.or(minimum.map(|fault| ("ad_set.daily_min_spend", fault)));
        fault.map_or(Ok(()), |(field, fault)| Err(fault.refuse(field)))?;
        self.fits_limits(row, &campaign, mask)
    }

    /// Refuses a budget or cap below what was spent of it or below the bid, and a bid above what the
    /// campaign may spend.
    fn fits_limits(
        &self,
        row: &AdSet,
        campaign: &Campaign,
        mask: &[String],
    ) -> Result<(), Refusal> {
        let spent = self.spent(LineKind::AdSet, row.id, campaign.account_id);
        let own = limits_of_ad_set(row, spent);
        let written = |limit: &&Limit| touches(mask, limit.part.as_slice());
        own.iter().filter(written).try_for_each(covers_spent)?;
        let Some(bid) = bid_for_one(row) else { return Ok(()) };
        if let Some(limit) = own.iter().filter(written).find(|limit| limit.micros < bid) {
            return Err(too_small(limit, bid, "the bid"));
        }
        let above = limits_of_campaign(campaign, Spent::default());
        let least = own.iter().chain(&above).min_by_key(|limit| limit.micros);
        match least.filter(|limit| limit.micros < bid) {
            Some(limit) => {
                let per = if Aim::of(row).is_per_thousand() { PER_THOUSAND } else { 1 };
                let most = limit.micros.saturating_mul(per);
                let message = format!(
                    "is {}, more than {} has for one event: send 1 to {most}, or raise that first",
                    bid.saturating_mul(per),
                    limit.field
                );
                Err(Refusal::new(Reason::MoneyInvalid, "ad_set.bid.micros", message))
            }
            None => Ok(()),
        }
    }

    fn spent(&self, kind: LineKind, id: u64, account: u64) -> Spent {
        (self.spent)(LineId { kind, id, account })
    }
}

fn limit(
    field: &'static str,
    part: &'static str,
    money: &Option<Money>,
    spent: i64,
) -> Option<Limit> {
    money.as_ref().map(|money| Limit { field, part: Some(part), micros: money.micros, spent })
}

fn limits_of_campaign(row: &Campaign, spent: Spent) -> Vec<Limit> {
    let budget = row.budget.clone().unwrap_or_default();
    let limits = [
        limit("campaign.budget.daily", "budget", &budget.daily, spent.today),
        limit("campaign.budget.lifetime", "budget", &budget.lifetime, spent.life),
        limit("campaign.spend_cap", "spend_cap", &row.spend_cap, spent.life),
    ];
    limits.into_iter().flatten().collect()
}

fn limits_of_ad_set(row: &AdSet, spent: Spent) -> Vec<Limit> {
    let budget = row.budget.clone().unwrap_or_default();
    let cap = row.spend_cap.clone().unwrap_or_default();
    let limits = [
        limit("ad_set.budget.daily", "budget", &budget.daily, spent.today),
        limit("ad_set.budget.lifetime", "budget", &budget.lifetime, spent.life),
        limit("ad_set.spend_cap.daily", "spend_cap", &cap.daily, spent.today),
        limit("ad_set.spend_cap.lifetime", "spend_cap", &cap.lifetime, spent.life),
    ];
    limits.into_iter().flatten().collect()
}

/// Refuses a limit below what was spent of it.
fn covers_spent(limit: &Limit) -> Result<(), Refusal> {
    if limit.micros >= limit.spent {
        return Ok(());
    }
    Err(too_small(limit, limit.spent, "what was spent already"))
}

fn too_small(limit: &Limit, least: i64, what: &str) -> Refusal {
    let message =
        format!("is {}, below {what}: send {least} to {AMOUNT_MICROS_MAX} micros", limit.micros);
    Refusal::new(Reason::MoneyInvalid, format!("{}.micros", limit.field), message)
}

/// What is wrong with an ad set's share of its campaign's budget.
struct Fault {
    /// Below `spend_cap` or `daily_min_spend`; empty: the field itself.
    below: &'static str,
    micros: i64,
    /// The most that it may be, and where that stands; `None`: there is no budget to share.
    most: Option<(i64, &'static str)>,
}

impl Fault {
    /// Returns the refusal of the ad set's field.
    fn refuse(&self, field: &str) -> Refusal {
        let Some((most, whose)) = self.most else {
            let message = "is only for a campaign with a budget: give it one, or use `budget`";
            return Refusal::new(Reason::FieldInvalid, field.to_owned(), message);
        };
        let message =
            format!("is {}, above {whose}: send 1 to {most} micros, or none", self.micros);
        Refusal::new(Reason::MoneyInvalid, format!("{field}{}.micros", self.below), message)
    }

    /// Returns the refusal of the campaign's budget that no longer covers it.
    fn refuse_above(&self, field: &'static str, ad_set: &str) -> Refusal {
        let (reason, message) = match self.most {
            None => {
                let message = format!("{ad_set} has a spend cap or minimum of it: take that away");
                (Reason::FieldMissing, message)
            }
            Some((most, _)) => {
                let message = format!(
                    "leaves {most} to {ad_set}, whose spend cap or minimum is {least}: send {least} \
                     to {AMOUNT_MICROS_MAX} micros, or lower that first",
                    least = self.micros
                );
                (Reason::MoneyInvalid, message)
            }
        };
        Refusal::new(reason, field, message)
    }
}

/// Returns what is wrong with an ad set's spend cap, and with its minimum.
fn share_of(row: &AdSet, campaign: &Campaign) -> [Option<Fault>; 2] {
    let micros = |money: &Option<Money>| money.as_ref().map(|money| money.micros);
    let parts = |budget: &Option<Budget>| {
        let budget = budget.as_ref();
        let part = |of: fn(&Budget) -> &Option<Money>| budget.and_then(|it| micros(of(it)));
        [part(|it| &it.daily), part(|it| &it.lifetime)]
    };
    let [daily, lifetime] = parts(&campaign.budget);
    let of_day = daily.map(|micros| (micros, "campaign.budget.daily"));
    let of_life = lifetime.map(|micros| (micros, "campaign.budget.lifetime"));
    let of_day = of_day.into_iter().chain(of_life).min();
    let [cap_of_day, cap_of_life] = parts(&row.spend_cap);
    let minimum = micros(&row.daily_min_spend);
    let no_budget = of_day.is_none();
    let above = |value: Option<i64>, most: Option<(i64, &'static str)>, below| {
        let value = value?;
        let fault = Fault { below, micros: value, most };
        if no_budget {
            Some(Fault { most: None, ..fault })
        } else {
            most.filter(|most| value > most.0).map(|_| fault)
        }
    };
    let cap = above(cap_of_day, of_day, ".daily").or(above(cap_of_life, of_life, ".lifetime"));
    let own = cap_of_day.map(|micros| (micros, "ad_set.spend_cap.daily"));
    let budget = parts(&row.budget)[0].map(|micros| (micros, "ad_set.budget.daily"));
    let most = of_day.into_iter().chain(own).chain(budget).min();
    [cap, above(minimum, most, "")]
}

/// Refuses a bid where the engine makes it, and a missing one where the strategy is built on it.
fn fits_strategy(row: &AdSet) -> Result<(), Refusal> {
    let (strategy, field) = (strategy_of(row), "ad_set.bid");
    match (strategy, row.bid.is_some()) {
        (BidStrategy::LowestCostWithoutCap, true) => {
            let message = "LOWEST_COST_WITHOUT_CAP takes no bid: leave it out, or make another ad set \
                           with LOWEST_COST_WITH_BID_CAP or COST_CAP";
            Err(Refusal::new(Reason::FieldInvalid, field, message))
        }
        (BidStrategy::LowestCostWithBidCap | BidStrategy::CostCap, false) => {
            let message = format!(
                "is empty: {} needs one, from 1 to {AMOUNT_MICROS_MAX} micros",
                strategy.as_str_name()
            );
            Err(Refusal::new(Reason::FieldMissing, field, message))
        }
        _ => Ok(()),
    }
}

/// Returns what an ad set bids for one goal event, micros; `None`: it names no bid.
fn bid_for_one(row: &AdSet) -> Option<i64> {
    let bid = row.bid.as_ref()?.micros;
    Some(if Aim::of(row).is_per_thousand() { bid / PER_THOUSAND } else { bid })
}

/// Checks that one event of a bid for 1,000 is whole micros.
fn in_steps(row: &AdSet) -> Result<(), Refusal> {
    let micros = row.bid.as_ref().map_or(0, |bid| bid.micros);
    if !Aim::of(row).is_per_thousand() || micros % CPM_STEP_MICROS == 0 {
        return Ok(());
    }
    let message =
        format!("is {micros}: for 1,000 of the goal bid in steps of {CPM_STEP_MICROS} micros");
    Err(Refusal::new(Reason::MoneyInvalid, "ad_set.bid.micros", message))
}
