//! The recount: plain sums over the journal's facts, in their order, with no help from the engine.

mod kept;
mod told;

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::cli::audit::credits::Earned;
use crate::cli::audit::implied::{ImpliedTaps, charged};
use crate::cli::audit::ledger::Postings;
use crate::cli::audit::prices::Prices;
use crate::cli::audit::revisions::Revisions;
use crate::cli::audit::steps::{Steps, learned};
use crate::journal::Block;
use crate::types::ids::{SHARDS_ALL, Shard};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, Decision, Granted, Showing, StepCredited};
use crate::types::proto::v1::{Budget, EventKind, Money};

pub(in crate::cli) use kept::{RECOUNT_MEMORY_MS, RECOUNT_VERSION};

/// An account, campaign or ad set with its kind's number in the journal: 1, 2, 3.
pub(super) type LineKey = (i32, u64);

const ACCOUNT: i32 = 1;
const CAMPAIGN: i32 = 2;
const AD_SET: i32 = 3;

const HOUR_MS: i64 = 3_600_000;

/// What is counted of one ad in one hour.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Counts {
    pub(super) impressions: u64,
    pub(super) viewable: u64,
    pub(super) taps: u64,
    pub(super) conversations: u64,
    pub(super) first_replies: u64,
    pub(super) conversions: u64,
    pub(super) values: BTreeMap<String, i64>,
    pub(super) spend: i64,
    pub(super) over_delivered: i64,
    pub(super) steps: Steps,
}

/// What one budget has cost, and what it allows at this point of the journal.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct LineBook {
    pub(super) account: u64,
    pub(super) life: i64,
    pub(super) days: BTreeMap<i32, i64>,
    daily: Option<i64>,
    lifetime: Option<i64>,
    /// The last one that it was given.
    grant: u64,
}

/// A grant and what was charged to it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct GrantBook {
    line: LineKey,
    day: i32,
    amount: i64,
    until_ms: i64,
    pub(super) spent: i64,
}

/// One row that the attribution stream must have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct CreditRow {
    pub(super) seq: u64,
    pub(super) at_ms: i64,
    pub(super) outcome: u64,
    /// 0: declined.
    pub(super) ad: u64,
    pub(super) charged: i64,
    pub(super) revision: u32,
}

/// Everything counted.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::cli) struct Recount {
    /// First and last journal time, milliseconds.
    pub(super) span: Option<(i64, i64)>,
    pub(super) first_batch: u64,
    /// By ad and hour since the epoch.
    pub(super) ads: BTreeMap<(u64, i64), Counts>,
    /// Impressions, taps and conversations by ad, without what was imported: what action rates come from.
    pub(super) learned: BTreeMap<u64, [u64; 3]>,
    ad_accounts: BTreeMap<u64, u64>,
    /// By account and day.
    pub(super) invoices: BTreeMap<(u64, i32), i64>,
    /// By account.
    pub(super) over_delivered: BTreeMap<u64, i64>,
    /// The ledgers.
    pub(super) postings: Postings,
    pub(super) prices: Prices,
    pub(super) lines: BTreeMap<LineKey, LineBook>,
    pub(super) grants: BTreeMap<u64, GrantBook>,
    /// By shard.
    pub(super) credits: Vec<Vec<CreditRow>>,
    pub(super) earned: Earned,
    revisions: Revisions,
    implied: ImpliedTaps,
    /// Charged above a budget or grant, micros.
    pub(in crate::cli) over_budget: i64,
    currencies: BTreeMap<u64, String>,
    latest_ms: Vec<i64>,
    next: Vec<u64>,
    /// By viewer and view, with the journal's time.
    seen: BTreeMap<(u64, u64), i64>,
    tapped: BTreeMap<(u64, u64), i64>,
    billed: BTreeMap<(u64, u64), i64>,
    /// By outcome.
    credited: BTreeMap<u64, i64>,
    #[serde(skip)]
    faults: Vec<String>,
    /// Faults only if the journal was read from its first fact.
    #[serde(skip)]
    unless_trimmed: Vec<String>,
}

impl Default for Recount {
    fn default() -> Self {
        Self {
            span: None,
            first_batch: 0,
            ads: BTreeMap::new(),
            learned: BTreeMap::new(),
            ad_accounts: BTreeMap::new(),
            invoices: BTreeMap::new(),
            over_delivered: BTreeMap::new(),
            postings: Postings::default(),
            prices: Prices::default(),
            lines: BTreeMap::new(),
            grants: BTreeMap::new(),
            credits: vec![Vec::new(); SHARDS_ALL],
            earned: Earned::default(),
            revisions: Revisions::default(),
            implied: ImpliedTaps::default(),
            over_budget: 0,
            currencies: BTreeMap::new(),
            latest_ms: vec![i64::MIN; SHARDS_ALL],
            next: vec![0; SHARDS_ALL],
            seen: BTreeMap::new(),
            tapped: BTreeMap::new(),
            billed: BTreeMap::new(),
            credited: BTreeMap::new(),
            faults: Vec::new(),
            unless_trimmed: Vec::new(),
        }
    }
}

fn ad_of(fact: &StepCredited) -> u64 {
    fact.showing.map_or(0, |showing| showing.ad)
}

/// Where and when a fact stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    shard: Shard,
    seq: u64,
    pub(super) at_ms: i64,
}

impl Place {
    /// Returns a row that stands here and says nothing yet.
    pub(super) fn row(&self) -> CreditRow {
        let (seq, at_ms) = (self.seq, self.at_ms);
        CreditRow { seq, at_ms, outcome: 0, ad: 0, charged: 0, revision: 1 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shard {}, sequence {}", self.shard, self.seq)
    }
}

impl Recount {
    /// Counts a block's facts.
    pub(in crate::cli) fn read(&mut self, block: &Block) {
        if self.first_batch == 0 {
            self.first_batch = block.batch.0;
        }
        self.postings.enter(block.batch.0);
        self.prices.enter(block.batch.0);
        let shard = block.shard;
        let mut seq = block.first.0;
        let next = &mut self.next[shard.index()];
        if *next != 0 && *next != seq {
            self.faults.push(format!("shard {shard}: sequence {seq} follows {}", *next - 1));
        }
        *next = block.next().0;
        for bytes in block.decisions() {
            let Ok(decision) = Decision::decode(bytes) else {
                self.faults.push(format!("shard {shard}, sequence {seq}: no decision"));
                continue;
            };
            let at_ms = decision.at_ms;
            let latest = &mut self.latest_ms[shard.index()];
            if at_ms < *latest {
                self.faults.push(format!("shard {shard}, sequence {seq}: time goes back"));
            }
            *latest = at_ms;
            let (first, last) = self.span.unwrap_or((at_ms, at_ms));
            self.span = Some((first.min(at_ms), last.max(at_ms)));
            self.revisions.enter();
            for fact in decision.facts {
                if let Some(kind) = fact.kind {
                    self.count(Place { shard, seq, at_ms }, &kind);
                }
                seq += 1;
            }
        }
    }

    fn count(&mut self, place: Place, fact: &Kind) {
        let lines = &self.lines;
        let spent = |account| lines.get(&(ACCOUNT, account)).map_or(0, |book| book.life);
        self.postings.take(place.at_ms, fact, spent);
        self.earned.take(fact);
        self.prices.take(&place, fact);
        self.revisions.take(&place, fact);
        self.learn(fact);
        self.implied.take(&place, fact, &self.seen);
        for (ad, ms, step) in Steps::of(fact) {
            self.ad(ad, ms).steps.add(&step);
        }
        match fact {
            Kind::AccountPut(_) | Kind::CampaignPut(_) | Kind::AdSetPut(_) => self.budget(fact),
            Kind::Granted(fact) => self.granted(fact),
            Kind::ImpressionSeen(fact) => {
                let Some(showing) = self.showing(&fact.showing, place) else { return };
                if fact.invalid == 0 {
                    self.ad(showing.ad, fact.event_ms).impressions += 1;
                }
                if self.seen.insert((showing.viewer, showing.view), place.at_ms).is_some() {
                    self.fault(place, "this view was counted before");
                }
                self.unpaid(place, fact.invalid != 0 || fact.imported, fact.charge.as_ref());
                self.charge(place, &showing, fact.charge.as_ref());
            }
            Kind::Watched(fact)
                if fact.event_kind == EventKind::Viewable as u32 && fact.invalid == 0 =>
            {
                let Some(showing) = self.showing(&fact.showing, place) else { return };
                self.ad(showing.ad, fact.event_ms).viewable += 1;
            }
            Kind::Tapped(fact) => {
                let Some(showing) = self.showing(&fact.showing, place) else { return };
                self.tap(place, &showing, fact.event_ms, fact.invalid == 0);
                self.unpaid(place, fact.invalid != 0 || fact.imported, fact.charge.as_ref());
                self.charge(place, &showing, fact.charge.as_ref());
            }
            Kind::ClickMatched(fact) => {
                let Some(showing) = self.showing(&fact.showing, place) else { return };
                if fact.implied_tap {
                    self.tap(place, &showing, fact.touch_ms, fact.invalid == 0);
                }
                if fact.invalid == 0 {
                    self.ad(showing.ad, fact.event_ms).conversations += 1;
                }
                self.unpaid(place, fact.invalid != 0 || fact.imported, fact.charge.as_ref());
                self.charge(place, &showing, fact.charge.as_ref());
                self.credit(place, fact.outcome, showing.ad, charged(fact));
            }
            Kind::ConversionCredited(fact) => {
                let Some(showing) = self.showing(&fact.showing, place) else { return };
                if fact.invalid == 0 {
                    self.sell(1, (showing.ad, fact.event_ms), fact.value.as_ref());
                }
                self.credit(place, fact.outcome, showing.ad, 0);
            }
            Kind::OutcomeDeclined(fact) => self.credit(place, fact.outcome, 0, 0),
            Kind::OutcomeRevised(fact) => self.revise(place, fact),
            Kind::StepCredited(fact) => self.credit(place, fact.outcome, ad_of(fact), 0),
            Kind::MessageRecorded(fact) if fact.first_reply_ad != 0 => {
                self.ad(fact.first_reply_ad, fact.event_ms).first_replies += 1;
            }
            Kind::OutboxSettled(fact) if fact.first_reply_ad != 0 => {
                self.ad(fact.first_reply_ad, fact.first_reply_ms).first_replies += 1;
            }
            _ => {}
        }
    }

    fn budget(&mut self, fact: &Kind) {
        let micros = |money: &Option<Money>| money.as_ref().map(|money| money.micros);
        let of = |budget: &Option<Budget>| {
            let budget = budget.clone().unwrap_or_default();
            (micros(&budget.daily), micros(&budget.lifetime))
        };
        let (key, (daily, lifetime)) = match fact {
            Kind::AccountPut(fact) => {
                let Some(row) = &fact.account else { return };
                self.currencies.insert(row.id, row.currency.clone());
                ((ACCOUNT, row.id), (None, micros(&row.spend_limit)))
            }
            Kind::CampaignPut(fact) => {
                let Some(row) = &fact.campaign else { return };
                ((CAMPAIGN, row.id), of(&row.budget))
            }
            Kind::AdSetPut(fact) => {
                let Some(row) = &fact.ad_set else { return };
                ((AD_SET, row.id), of(&row.budget))
            }
            _ => return,
        };
        let book = self.lines.entry(key).or_default();
        (book.daily, book.lifetime) = (daily, lifetime);
    }

    fn granted(&mut self, fact: &Granted) {
        let line = (fact.line_kind, fact.line);
        let book = self.lines.entry(line).or_default();
        (book.account, book.grant) = (fact.account, fact.grant);
        let today = book.days.get(&fact.day).copied().unwrap_or_default();
        let left = book.daily.map_or(i64::MAX, |daily| daily - today);
        let left = left.min(book.lifetime.map_or(i64::MAX, |lifetime| lifetime - book.life));
        if fact.amount > left.max(0) {
            let (grant, amount) = (fact.grant, fact.amount);
            self.faults.push(format!("grant {grant} of {amount} is above what {line:?} has left"));
        }
        let grant = GrantBook {
            line,
            day: fact.day,
            amount: fact.amount,
            until_ms: fact.until_ms,
            spent: 0,
        };
        if self.grants.insert(fact.grant, grant).is_some() {
            self.faults.push(format!("grant {} was given twice", fact.grant));
        }
    }

    fn unpaid(&mut self, place: Place, is_free: bool, charge: Option<&Charge>) {
        if is_free && charge.is_some() {
            self.fault(place, "an invalid or imported event was charged");
        }
    }

    fn charge(&mut self, place: Place, showing: &Showing, charge: Option<&Charge>) {
        let Some(charge) = charge else { return };
        if self.billed.insert((showing.viewer, showing.view), place.at_ms).is_some() {
            self.fault(place, "this view was billed before");
        }
        if charge.amount < 0 || charge.over_delivered < 0 {
            self.fault(place, "a negative charge");
        }
        let counts = self.ad(showing.ad, place.at_ms);
        counts.spend += charge.amount;
        counts.over_delivered = counts.over_delivered.saturating_add(charge.over_delivered);
        *self.invoices.entry((showing.account, charge.day)).or_default() += charge.amount;
        let delivered = self.over_delivered.entry(showing.account).or_default();
        *delivered = delivered.saturating_add(charge.over_delivered);
        let lines = [
            ((ACCOUNT, showing.account), charge.account_grant),
            ((CAMPAIGN, showing.campaign), charge.campaign_grant),
            ((AD_SET, showing.ad_set), charge.ad_set_grant),
        ];
        let mut above = 0;
        for (line, grant) in lines {
            let of_line = self.charge_line(place, line, showing.account, charge, grant == 0);
            above = above.max(of_line).max(self.charge_grant(place, line, charge, grant));
        }
        if above > 0 {
            self.over_budget += above.min(charge.amount);
            self.fault(place, format!("{} charged, {above} above a budget", charge.amount));
        }
    }

    /// Books a charge on a line; returns how far the line is above its budget.
    fn charge_line(
        &mut self,
        place: Place,
        line: LineKey,
        account: u64,
        charge: &Charge,
        ungranted: bool,
    ) -> i64 {
        let book = self.lines.entry(line).or_default();
        book.account = account;
        book.life += charge.amount;
        let day = book.days.entry(charge.day).or_default();
        *day += charge.amount;
        let above_day = book.daily.map_or(0, |daily| *day - daily);
        let above_life = book.lifetime.map_or(0, |lifetime| book.life - lifetime);
        let limited = book.daily.is_some() || book.lifetime.is_some();
        if charge.amount == 0 {
            return 0;
        }
        if limited && ungranted {
            self.fault(place, format!("a charge names no grant of {line:?}"));
        }
        above_day.max(above_life)
    }

    /// Books a charge on the grant it names; returns how far the grant is overdrawn.
    fn charge_grant(&mut self, place: Place, line: LineKey, charge: &Charge, grant: u64) -> i64 {
        if grant == 0 {
            return 0;
        }
        let Some(book) = self.grants.get_mut(&grant) else {
            let what = format!("shard {}: grant {grant} was never given", place.shard);
            self.unless_trimmed.push(what);
            return 0;
        };
        book.spent += charge.amount;
        let above = if charge.amount > 0 { book.spent - book.amount } else { 0 };
        let ended = charge.amount > 0 && place.at_ms >= book.until_ms;
        if book.line != line || book.day != charge.day || ended {
            self.fault(place, format!("grant {grant} is not for this line, day or time"));
        }
        above
    }

    fn learn(&mut self, fact: &Kind) {
        let Some((ad, more)) = learned(fact) else { return };
        let sums = self.learned.entry(ad).or_default();
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn tap(&mut self, place: Place, showing: &Showing, event_ms: i64, valid: bool) {
        self.ad(showing.ad, event_ms).taps += u64::from(valid);
        if self.tapped.insert((showing.viewer, showing.view), place.at_ms).is_some() {
            self.fault(place, "this tap was counted before");
        }
    }

    fn credit(&mut self, place: Place, outcome: u64, ad: u64, charged: i64) {
        self.push(place, CreditRow { outcome, ad, charged, ..place.row() });
        if ad != 0 && self.credited.insert(outcome, place.at_ms).is_some() {
            self.fault(place, "this outcome was credited before");
        }
    }

    pub(super) fn push(&mut self, place: Place, row: CreditRow) {
        self.credits[place.shard.index()].push(row);
    }

    /// Counts a conversion; with -1 takes one off.
    pub(super) fn sell(&mut self, by: i64, (ad, ms): (u64, i64), value: Option<&Money>) {
        let counts = self.ad(ad, ms);
        counts.conversions = counts.conversions.saturating_add_signed(by);
        if let Some(Money { micros, currency }) = value {
            let sum = counts.values.entry(currency.clone()).or_default();
            *sum = sum.saturating_add(by * micros);
        }
    }

    pub(super) fn ad(&mut self, ad: u64, ms: i64) -> &mut Counts {
        self.ads.entry((ad, ms.div_euclid(HOUR_MS))).or_default()
    }

    fn showing(&mut self, showing: &Option<Showing>, place: Place) -> Option<Showing> {
        match showing {
            Some(showing) => self.ad_accounts.insert(showing.ad, showing.account),
            None => {
                self.fault(place, "a fact without its showing");
                None
            }
        };
        *showing
    }

    fn fault(&mut self, place: Place, what: impl std::fmt::Display) {
        self.faults.push(format!("{place}: {what}"));
    }

    /// Returns what is wrong in the journal itself.
    pub(super) fn finish(&mut self, complete: bool) -> Vec<String> {
        self.postings.leave();
        self.prices.check_batch();
        self.so_far(complete)
    }

    /// Returns the same, but for what can only be told at the end of a batch: a base may stand in the middle of one.
    pub(in crate::cli) fn so_far(&mut self, complete: bool) -> Vec<String> {
        self.revisions.enter();
        let mut faults = std::mem::take(&mut self.faults);
        faults.append(&mut self.revisions.faults);
        faults.append(&mut self.implied.faults);
        let mut of_ledgers = self.postings.faults();
        let mut of_prices = self.prices.faults();
        if complete {
            faults.append(&mut self.unless_trimmed);
            faults.append(&mut of_ledgers);
            faults.append(&mut of_prices);
            faults.append(&mut self.revisions.unless_trimmed);
            faults.append(&mut self.implied.unless_trimmed);
        }
        faults
    }
}
