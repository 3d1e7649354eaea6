//! Money decisions: slices of budgets that are granted for a day, and charges clipped to them.

use crate::state::catalog::Family;
use crate::state::purses::{Funds, Grant, Line, Purse};
use crate::types::day::{Day, day_of};
use crate::types::money::CHARGED_MICROS_MAX;
use crate::types::proto::journal::v1::{Charge, Granted, LineKind};
use crate::types::proto::v1::{Account, AdSet, BillingMode, Budget, Campaign, Money};
use crate::types::time::Moment;

/// What a budget line allows; `None` in both: the line has no budget and is not granted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Most for one day, micros.
    pub daily: Option<i64>,
    /// Most for the whole life, micros.
    pub lifetime: Option<i64>,
    /// Of a prepaid account's own line: what there is to grant.
    pub funds: Option<Funds>,
}

impl Terms {
    /// Returns an account's terms: its spend limit; of a prepaid account no more than what was paid in or
    /// given, and was not paid out. A charge given back counts as paid in again, but leaves the limit.
    pub fn of_account(account: &Account, purse: Option<&Purse>) -> Self {
        let limit = micros(account.spend_limit.as_ref());
        if account.billing_mode() != BillingMode::Prepaid {
            return Self { lifetime: limit, ..Self::default() };
        }
        let funds = purse.map(Purse::funds).unwrap_or_default();
        let line = purse.and_then(|purse| purse.line(LineKind::Account, account.id));
        let paid_in = line.map_or(0, |line| line.life).saturating_add(funds.sum());
        let lifetime = limit.map_or(paid_in, |limit| limit.min(paid_in));
        Self { daily: None, lifetime: Some(lifetime), funds: Some(funds) }
    }

    /// Returns the terms of a prepaid account once this is paid out.
    pub fn without(self, amount: i64) -> Self {
        let less = |mut funds: Funds| {
            funds.prepaid -= amount;
            funds
        };
        Self { funds: self.funds.map(less), ..self }
    }

    /// Returns a campaign's terms: its budget, and its spend cap.
    pub fn of_campaign(campaign: &Campaign) -> Self {
        let cap = Self { lifetime: micros(campaign.spend_cap.as_ref()), ..Self::default() };
        Self::of_budget(campaign.budget.as_ref()).and(cap)
    }

    /// Returns an ad set's terms: its own budget, and the most that it may take of its campaign's.
    pub fn of_ad_set(ad_set: &AdSet) -> Self {
        Self::of_budget(ad_set.budget.as_ref()).and(Self::of_budget(ad_set.spend_cap.as_ref()))
    }

    /// Returns what both allow.
    fn and(self, other: Self) -> Self {
        let least = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        Self {
            daily: least(self.daily, other.daily),
            lifetime: least(self.lifetime, other.lifetime),
            ..Self::default()
        }
    }

    fn of_budget(budget: Option<&Budget>) -> Self {
        let Some(budget) = budget else {
            return Self::default();
        };
        let (daily, lifetime) = (micros(budget.daily.as_ref()), micros(budget.lifetime.as_ref()));
        Self { daily, lifetime, funds: None }
    }

    /// Tells whether the line has a budget at all.
    pub const fn limited(self) -> bool {
        self.daily.is_some() || self.lifetime.is_some()
    }

    /// Tells whether a line's grant still gives what these terms leave of its day.
    pub fn fits(self, line: Option<&Line>, grant: &Grant) -> bool {
        grant.amount - grant.spent == self.left(line, grant.day)
    }

    /// Returns what may still be charged on a day, micros.
    fn left(self, line: Option<&Line>, day: i32) -> i64 {
        let life = line.map_or(0, |line| line.life);
        let today = line.and_then(|line| line.days.get(&day)).copied().unwrap_or_default();
        let of_day = self.daily.map_or(i64::MAX, |daily| daily - today);
        let of_life = self.lifetime.map_or(i64::MAX, |lifetime| lifetime - life);
        let of_funds = self.funds.map_or(i64::MAX, |funds| funds.sum());
        of_day.min(of_life).min(of_funds).max(0)
    }
}

fn micros(money: Option<&Money>) -> Option<i64> {
    money.map(|money| money.micros)
}

/// Names one budget line.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LineId {
    /// What it belongs to.
    pub kind: LineKind,
    /// The account's, campaign's or ad set's id.
    pub id: u64,
    /// The account that pays.
    pub account: u64,
}

/// Returns the grant of a line for a day, replacing the one it has: all that the budget leaves, since
/// one node owns all shards. `None`: the line has no budget.
pub fn grant(
    line: LineId,
    terms: Terms,
    purse: Option<&Purse>,
    day: Day,
    id: u64,
) -> Option<Granted> {
    if !terms.limited() {
        return None;
    }
    let known = purse.and_then(|purse| purse.line(line.kind, line.id));
    let amount = terms.left(known, day.number);
    let moved = terms.funds.map(|funds| moved(funds, amount)).unwrap_or_default();
    Some(Granted {
        grant: id,
        account: line.account,
        line_kind: line.kind.into(),
        line: line.id,
        day: day.number,
        amount,
        until_ms: day.until.0,
        ..moved
    })
}

/// Returns what a grant of a prepaid account moves: all that was granted before comes back, then promo
/// credit is granted first.
fn moved(funds: Funds, amount: i64) -> Granted {
    let from_promo = amount.min(funds.promo + funds.granted_promo);
    Granted {
        back_prepaid: funds.granted_prepaid,
        back_promo: funds.granted_promo,
        from_promo,
        from_prepaid: amount - from_promo,
        ..Granted::default()
    }
}

/// Returns the lines that pay for an ad: those that have a budget.
pub fn lines_of(family: &Family) -> impl Iterator<Item = LineId> {
    let account = family.account;
    let lines = [
        (LineKind::Account, account),
        (LineKind::Campaign, family.campaign),
        (LineKind::AdSet, family.ad_set),
    ];
    let limited = lines.into_iter().zip(family.limited).filter(|(_, limited)| *limited);
    limited.map(move |((kind, id), _)| LineId { kind, id, account })
}

/// Returns the charge for an event of this price: clipped to the least that any line has left, the
/// rest noted as delivered for nothing. A line whose grant has ended has nothing left, and nobody pays
/// where no line has a budget. It is of the day of the grants that have not ended, without any of today in the
/// account's zone.
pub fn charge(
    family: &Family,
    purse: Option<&Purse>,
    price: i64,
    zone: &str,
    now: Moment,
) -> Charge {
    let mut charge = Charge::default();
    let (mut left, mut limited, mut day) = (price.max(0), false, None);
    for line in lines_of(family) {
        limited = true;
        let known = purse.and_then(|purse| purse.line(line.kind, line.id));
        let Some(grant) = known.and_then(Line::current) else {
            left = 0;
            continue;
        };
        left = left.min(grant.left(now));
        // What came after a grant's day is of no day that may be closed already.
        day = day.max(Some(grant.day).filter(|_| now.0 < grant.until_ms));
        match line.kind {
            LineKind::Account => charge.account_grant = grant.id,
            LineKind::Campaign => charge.campaign_grant = grant.id,
            LineKind::AdSet => charge.ad_set_grant = grant.id,
            LineKind::Unspecified => {}
        }
    }
    // A calendar is asked only where no grant tells the day.
    charge.day = day.unwrap_or_else(|| day_of(zone, now).number);
    let account = purse.and_then(|purse| purse.line(LineKind::Account, family.account));
    let room = CHARGED_MICROS_MAX - account.map_or(0, |line| line.life);
    charge.amount = if limited { left.min(room).max(0) } else { 0 };
    charge.over_delivered = price.max(0) - charge.amount;
    pay(&mut charge, purse.map(Purse::funds).unwrap_or_default());
    charge
}

/// Says what a charge is paid from: promo credit first, then prepaid money, and the rest is owed. Only a
/// prepaid account has anything granted, and never less than its grant has left.
fn pay(charge: &mut Charge, funds: Funds) {
    let granted = funds.granted_promo + funds.granted_prepaid > 0;
    let (promo, prepaid) = match granted {
        true => (funds.granted_promo, funds.granted_prepaid),
        false => (funds.promo, funds.prepaid),
    };
    charge.promo = charge.amount.min(promo);
    charge.prepaid = (charge.amount - charge.promo).min(prepaid);
    charge.ungranted = !granted && charge.promo + charge.prepaid > 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::state::purses::PurseChunk;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{ImpressionSeen, Showing};
    use crate::types::time::DAY_MS;

    const LINE: LineId = LineId { kind: LineKind::Campaign, id: 5, account: 1 };

    fn day(number: i32) -> Day {
        let start = i64::from(number) * 100;
        Day { number, start: Moment(start), until: Moment(start + 100) }
    }

    fn terms_of(daily: i64) -> Terms {
        Terms { daily: Some(daily), ..Terms::default() }
    }

    fn family() -> Family {
        let mut family = Family::default();
        (family.account, family.campaign, family.ad_set) = (1, 5, 9);
        family.limited = [false, true, false];
        family
    }

    /// Spends on the line by a fact, as the journal would.
    fn spend(chunk: &mut PurseChunk, seq: u64, grant: u64, day: i32, amount: i64) {
        let showing = Showing { account: 1, campaign: 5, ad_set: 9, ..Showing::default() };
        let charge = Charge { amount, campaign_grant: grant, day, ..Charge::default() };
        let fact = ImpressionSeen {
            showing: Some(showing),
            charge: Some(charge),
            ..ImpressionSeen::default()
        };
        let shard = Shard::new(0).expect("a shard");
        let stamp = Stamp { shard, seq: Seq(seq), at: Moment(0) };
        chunk.apply(stamp, &Kind::ImpressionSeen(fact));
    }

    #[test]
    fn a_new_day_grants_the_daily_budget_until_the_lifetime_is_spent() {
        let terms = Terms { daily: Some(100), lifetime: Some(150), funds: None };
        let mut chunk = PurseChunk::default();
        let amount = |chunk: &PurseChunk, number| {
            let purse = chunk.purses.get(&1);
            grant(LINE, terms, purse, day(number), 7).map(|granted| granted.amount)
        };
        assert_eq!(amount(&chunk, 0), Some(100));
        spend(&mut chunk, 1, 7, 0, 80);
        assert_eq!(amount(&chunk, 0), Some(20));
        assert_eq!(amount(&chunk, 1), Some(70));
        spend(&mut chunk, 2, 8, 1, 70);
        assert_eq!(amount(&chunk, 2), Some(0));
    }

    #[test]
    fn a_line_allows_the_least_of_its_budget_and_its_cap() {
        let money = |micros| Some(Money { micros, currency: "MXN".into() });
        let budget = |daily, lifetime| Some(Budget { daily, lifetime });
        let campaign = Campaign {
            budget: budget(money(10), money(200)),
            spend_cap: money(100),
            ..Campaign::default()
        };
        let terms = |daily, lifetime| Terms { daily, lifetime, funds: None };
        assert_eq!(Terms::of_campaign(&campaign), terms(Some(10), Some(100)));
        let capped = Campaign { budget: None, ..campaign };
        assert_eq!(Terms::of_campaign(&capped), terms(None, Some(100)));
        let ad_set = AdSet {
            budget: budget(money(7), None),
            spend_cap: budget(money(9), money(50)),
            ..AdSet::default()
        };
        assert_eq!(Terms::of_ad_set(&ad_set), terms(Some(7), Some(50)));
        let free = AdSet { budget: None, spend_cap: None, ..ad_set };
        assert!(!Terms::of_ad_set(&free).limited());
    }

    #[test]
    fn a_line_without_a_budget_is_not_granted() {
        assert_eq!(grant(LINE, Terms::default(), None, day(0), 7), None);
    }

    #[test]
    fn an_account_is_never_charged_more_than_its_sums_hold() {
        let mut chunk = PurseChunk::default();
        let granted = grant(LINE, terms_of(i64::MAX), None, day(0), 7).expect("it has a budget");
        let stamp = |seq| Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) };
        chunk.apply(stamp(1), &Kind::Granted(granted));
        spend(&mut chunk, 1, 7, 0, CHARGED_MICROS_MAX - 30);
        let family = family();
        let of = |chunk: &PurseChunk, price, now| {
            let charge = charge(&family, chunk.purses.get(&1), price, "UTC", Moment(now));
            (charge.amount, charge.over_delivered)
        };
        assert_eq!(of(&chunk, 20, 50), (20, 0));
        assert_eq!(of(&chunk, 50, 50), (30, 20));
        spend(&mut chunk, 2, 7, 0, 30);
        assert_eq!(of(&chunk, 50, 50), (0, 50));
    }

    #[test]
    fn what_comes_after_its_grant_is_of_its_own_day() {
        let mut chunk = PurseChunk::default();
        let granted = grant(LINE, terms_of(100), None, day(3), 7).expect("it has a budget");
        let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(1), at: Moment(0) };
        chunk.apply(stamp, &Kind::Granted(granted));
        let of = |now| {
            let charge = charge(&family(), chunk.purses.get(&1), 40, "UTC", Moment(now));
            (charge.day, charge.amount, charge.over_delivered)
        };
        assert_eq!(of(399), (3, 40, 0));
        assert_eq!(of(5 * DAY_MS), (5, 0, 40));
    }
}
