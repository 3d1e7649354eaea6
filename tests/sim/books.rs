//! The auditor's money: what each budget line was granted and charged, added up by hand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{Charge, Granted, LineKind, Showing};
use munadi::types::proto::v1::BillingMode;

use crate::audit::{Finding, ensure};
use crate::catalog::{Rows, terms};
use crate::coverage::Coverage;
use crate::entries::Entries;

#[derive(Clone, Debug)]
struct GrantBook {
    line: (i32, u64),
    day: i32,
    amount: i64,
    until_ms: i64,
    spent: i64,
}

#[derive(Default)]
pub(crate) struct Books {
    grants: BTreeMap<u64, GrantBook>,
    life: BTreeMap<(i32, u64), i64>,
    days: BTreeMap<(i32, u64, i32), i64>,
    /// Grants of charges that were clipped in this batch, and by how much.
    clipped: Vec<([u64; 3], i64)>,
    /// Lines that got their first limit in this batch, or lost their last: a charge of the same batch was
    /// decided before or after.
    turned: BTreeSet<(i32, u64)>,
    /// What may not stand unless its line turned in this batch: the catalog's facts come after the charges.
    doubts: Vec<((i32, u64), String)>,
    /// The auditor's double entry.
    pub(crate) entries: Entries,
    pub(crate) charges: u64,
    pub(crate) charged: i64,
    pub(crate) over_delivered: i64,
}

impl Books {
    pub(crate) fn grant(
        &mut self,
        fact: &Granted,
        at: i64,
        rows: &Rows,
        coverage: &mut Coverage,
    ) -> Finding {
        let line = (fact.line_kind, fact.line);
        let (daily, lifetime) = line_terms(rows, line);
        let prepaid = is_prepaid(rows, line);
        let limited = daily.is_some() || lifetime.is_some() || prepaid;
        ensure(limited && fact.amount >= 0, || "a grant without a budget".into())?;
        let life = self.life.get(&line).copied().unwrap_or_default();
        let spent = self.days.get(&(line.0, line.1, fact.day)).copied().unwrap_or_default();
        let most = daily.map_or(i64::MAX, |daily| (daily - spent).max(0));
        let most = most.min(lifetime.map_or(i64::MAX, |lifetime| (lifetime - life).max(0)));
        if prepaid {
            self.entries.granted(fact, most)?;
        } else {
            ensure(fact.amount == most, || format!("the budget leaves {most}"))?;
            let moved = [fact.from_prepaid, fact.from_promo, fact.back_prepaid, fact.back_promo];
            ensure(moved == [0; 4], || "money moved for a budget".into())?;
        }
        let zone = &rows.accounts.get(&fact.account).ok_or("nobody's grant")?.time_zone;
        let days = [day(zone, at), day(zone, fact.until_ms - 1), day(zone, fact.until_ms) - 1];
        ensure(days == [fact.day; 3], || format!("in {zone} its day is {days:?}"))?;
        let before = self.grants.values().filter(|grant| grant.line == line);
        if before.map(|grant| grant.day).max().is_some_and(|day| day < fact.day) {
            coverage.note("money", "new day");
        }
        let grant = GrantBook {
            line,
            day: fact.day,
            amount: fact.amount,
            until_ms: fact.until_ms,
            spent: 0,
        };
        let known = self.grants.insert(fact.grant, grant);
        ensure(known.is_none() && fact.grant != 0, || "a grant's id came twice".into())
    }

    /// Puts a row into the catalog, and notes whether its line got a limit or lost it.
    pub(crate) fn put(&mut self, kind: &Kind, rows: &mut Rows, coverage: &mut Coverage) -> Finding {
        let line = match kind {
            Kind::AccountPut(fact) => (LineKind::Account, fact.account.as_ref().map(|row| row.id)),
            Kind::CampaignPut(fact) => {
                (LineKind::Campaign, fact.campaign.as_ref().map(|row| row.id))
            }
            Kind::AdSetPut(fact) => (LineKind::AdSet, fact.ad_set.as_ref().map(|row| row.id)),
            _ => return rows.put(kind, coverage),
        };
        let line = (line.0.into(), line.1.ok_or("no row")?);
        let limited = |rows: &Rows| line_terms(rows, line) != (None, None);
        let before = limited(rows);
        rows.put(kind, coverage)?;
        if limited(rows) != before {
            self.turned.insert(line);
        }
        Ok(())
    }

    /// Returns the amounts of all grants of a line, in no order.
    pub(crate) fn granted(&self, kind: LineKind, id: u64) -> Vec<i64> {
        let of = |grant: &&GrantBook| grant.line == (kind.into(), id);
        self.grants.values().filter(of).map(|grant| grant.amount).collect()
    }

    /// Checks, between two batches, that whatever was clipped has met the end of a grant, and that no
    /// balance is below zero.
    pub(crate) fn check_batch(&mut self) -> Finding {
        self.entries.check_batch()?;
        let turned = std::mem::take(&mut self.turned);
        for (line, doubt) in std::mem::take(&mut self.doubts) {
            ensure(turned.contains(&line), || format!("{line:?}: {doubt}"))?;
        }
        for (grants, over) in std::mem::take(&mut self.clipped) {
            let mut known = grants.iter().filter_map(|grant| self.grants.get(grant));
            let exhausted = known.any(|grant| grant.spent == grant.amount);
            ensure(exhausted, || format!("clipped {over} though money was left: {grants:?}"))?;
        }
        Ok(())
    }

    pub(crate) fn charge(
        &mut self,
        showing: &Showing,
        charge: &Charge,
        at: i64,
        rows: &Rows,
        coverage: &mut Coverage,
    ) -> Finding {
        let amount = charge.amount;
        ensure(amount >= 0 && charge.over_delivered >= 0, || "a negative amount".into())?;
        let zone = &rows.accounts[&showing.account].time_zone;
        ensure(amount == 0 || charge.day == day(zone, at), || "on another day".into())?;
        let mut exhausted = false;
        let doubts = &mut self.doubts;
        let mut doubt = |holds: bool, line: (i32, u64), what: &dyn Fn() -> String| {
            if !holds {
                doubts.push((line, what()));
            }
        };
        let lines = [
            ((LineKind::Account.into(), showing.account), charge.account_grant),
            ((LineKind::Campaign.into(), showing.campaign), charge.campaign_grant),
            ((LineKind::AdSet.into(), showing.ad_set), charge.ad_set_grant),
        ];
        for (line, grant) in lines {
            let life = self.life.entry(line).or_default();
            *life += amount;
            let spent = self.days.entry((line.0, line.1, charge.day)).or_default();
            *spent += amount;
            let (daily, lifetime) = line_terms(rows, line);
            if amount > 0 {
                let within = daily.is_none_or(|daily| *spent <= daily);
                doubt(within, line, &|| format!("{spent} on a day of {daily:?}"));
                let within = lifetime.is_none_or(|lifetime| *life <= lifetime);
                doubt(within, line, &|| format!("{life} in a life of {lifetime:?}"));
            }
            let prepaid = is_prepaid(rows, line);
            if prepaid {
                let paid = charge.promo + charge.prepaid;
                ensure(amount == paid, || format!("a prepaid account owes {}", amount - paid))?;
            }
            if self.turned.contains(&line) && grant == 0 {
                continue;
            }
            if daily.is_none() && lifetime.is_none() && !prepaid && !self.turned.contains(&line) {
                ensure(grant == 0, || format!("{line:?}: a grant of no budget"))?;
                continue;
            }
            let Some(grant) = self.grants.get_mut(&grant) else {
                doubt(amount == 0, line, &|| "charged without a grant".into());
                exhausted = true;
                continue;
            };
            ensure(grant.line == line, || format!("{line:?}: on another line's grant"))?;
            grant.spent += amount;
            ensure(grant.spent <= grant.amount, || format!("{line:?}: more than granted"))?;
            let over = at >= grant.until_ms;
            ensure(amount == 0 || !over, || format!("{line:?}: on a grant that ended"))?;
            exhausted |= over || grant.spent == grant.amount;
        }
        self.add_up(charge, exhausted, coverage);
        Ok(())
    }

    /// Adds a charge to the totals. `exhausted`: one of its grants had nothing left.
    fn add_up(&mut self, charge: &Charge, exhausted: bool, coverage: &mut Coverage) {
        let amount = charge.amount;
        self.charges += u64::from(amount > 0);
        self.charged += amount;
        self.over_delivered += charge.over_delivered;
        if charge.over_delivered > 0 {
            coverage.note("money", if amount > 0 { "clipped" } else { "nothing left" });
            // Another charge of the same batch may stand behind it: its shard comes later.
            let grants = [charge.account_grant, charge.campaign_grant, charge.ad_set_grant];
            if !exhausted {
                self.clipped.push((grants, charge.over_delivered));
            }
        }
    }
}

fn line_terms(rows: &Rows, (kind, id): (i32, u64)) -> (Option<i64>, Option<i64>) {
    match LineKind::try_from(kind) {
        Ok(LineKind::Account) => {
            let limit = rows.accounts.get(&id).and_then(|row| row.spend_limit.as_ref());
            (None, limit.map(|money| money.micros))
        }
        Ok(LineKind::Campaign) => rows.campaigns.get(&id).map_or((None, None), |row| {
            let cap = row.spend_cap.as_ref().map(|money| money.micros);
            least(terms(row.budget.as_ref()), (None, cap))
        }),
        Ok(LineKind::AdSet) => rows.ad_sets.get(&id).map_or((None, None), |row| {
            least(terms(row.budget.as_ref()), terms(row.spend_cap.as_ref()))
        }),
        _ => (None, None),
    }
}

/// Tells whether a line is an account that pays before it spends.
fn is_prepaid(rows: &Rows, (kind, id): (i32, u64)) -> bool {
    let account = rows.accounts.get(&id).filter(|_| kind == i32::from(LineKind::Account));
    account.is_some_and(|row| row.billing_mode() == BillingMode::Prepaid)
}

type Pair = (Option<i64>, Option<i64>);

/// Returns what both allow, of the day and of the life.
fn least(one: Pair, other: Pair) -> Pair {
    let of = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
    (of(one.0, other.0), of(one.1, other.1))
}

/// Returns the number of a moment's day in a zone, since 1970.
pub(crate) fn day(zone: &str, at_ms: i64) -> i32 {
    let zone = TimeZone::get(zone).expect("the traffic names real zones");
    let date = Timestamp::from_millisecond(at_ms).expect("in range").to_zoned_datetime(zone).date();
    let epoch = jiff::civil::date(1970, 1, 1);
    date.since(epoch).expect("in range").get_days()
}
