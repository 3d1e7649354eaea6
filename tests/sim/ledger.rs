//! The ledger against a list of postings kept by hand: thousands of seeded lives of one account.
//!
//! `LEDGER_SEED=7 cargo sim ledger` replays one; `LEDGER_CASES=100000 cargo sim ledger` runs more.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use munadi::decide::credits::Finder;
use munadi::decide::fund::fund;
use munadi::decide::purse::{LineId, Terms, charge, grant};
use munadi::decide::record::showing_of;
use munadi::state::Stamp;
use munadi::state::catalog::{Catalog, Family};
use munadi::state::purses::{Purse, PurseChunk};
use munadi::types::day::day_of;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut, Funded, LineKind, Tapped,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, BillingMode, Budget, Business, Campaign, ChannelEndpoint, ChatDestination,
    LedgerAccount, Money, TransferKind,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Author, EventFilter, FundRequest};
use munadi::types::time::{HOUR_MS, Moment};

use crate::luck::Luck;

/// Lives of one run of the push.
const CASES: u64 = 10_000;
const STEPS: u64 = 24;
const START_MS: i64 = 1_793_500_000_000;
const ZONES: [&str; 4] = ["UTC", "America/New_York", "Asia/Kolkata", "America/Mexico_City"];

/// What the oracle knows: postings, and plain sums of what was spent where.
#[derive(Default)]
struct Oracle {
    postings: Vec<(LedgerAccount, LedgerAccount, i64)>,
    /// Unspent promo credit and prepaid money.
    promo: i64,
    prepaid: i64,
    life: i64,
    days: BTreeMap<i32, i64>,
    credited: BTreeMap<i32, i64>,
    charged_back: i64,
}

impl Oracle {
    fn post(&mut self, debit: LedgerAccount, credit: LedgerAccount, amount: i64) {
        self.postings.push((debit, credit, amount));
    }

    fn balance(&self, accounts: &[LedgerAccount]) -> i64 {
        let side = |account: &LedgerAccount| i64::from(accounts.contains(account));
        self.postings.iter().map(|(from, to, amount)| (side(to) - side(from)) * amount).sum()
    }
}

/// One account with a campaign, an ad set and an ad, its purse, and the oracle beside it.
struct Life {
    luck: Luck,
    now: Moment,
    zone: &'static str,
    prepaid: bool,
    limit: Option<i64>,
    campaign: (Option<i64>, Option<i64>),
    ad_set: (Option<i64>, Option<i64>),
    catalog: Catalog,
    catalog_seq: u64,
    chunk: PurseChunk,
    journal: Vec<(Stamp, Kind)>,
    /// Where a batch begins in the journal: facts of different shards are in no order within one.
    cuts: Vec<usize>,
    next: BTreeMap<u8, u64>,
    transfers: u128,
    views: u64,
    oracle: Oracle,
}

fn money(micros: i64) -> Option<Money> {
    Some(Money { micros, currency: "USD".into() })
}

fn budget((daily, lifetime): (Option<i64>, Option<i64>)) -> Option<Budget> {
    Some(Budget { daily: daily.and_then(money), lifetime: lifetime.and_then(money) })
}

const ACCOUNT: u64 = mint(IdKind::Account, 1);
const CAMPAIGN: u64 = mint(IdKind::Campaign, 1);
const AD_SET: u64 = mint(IdKind::AdSet, 1);

impl Life {
    fn new(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let some = |luck: &mut Luck| {
            let micros = luck.between(100, 3_000);
            luck.chance(500).then_some(micros)
        };
        let prepaid = luck.chance(700);
        let limit = some(&mut luck);
        let campaign = (some(&mut luck), some(&mut luck));
        let ad_set = (some(&mut luck), some(&mut luck));
        let mut life = Self {
            now: Moment(START_MS + luck.between(0, 24 * HOUR_MS)),
            zone: *luck.pick(ZONES.as_slice()),
            luck,
            prepaid,
            limit,
            campaign,
            ad_set,
            catalog: Catalog::default(),
            catalog_seq: 0,
            chunk: PurseChunk::default(),
            journal: Vec::new(),
            cuts: vec![0],
            next: BTreeMap::new(),
            transfers: 0,
            views: 0,
            oracle: Oracle::default(),
        };
        life.put_all();
        life.grant_all();
        life
    }

    fn put(&mut self, fact: &Kind) {
        self.catalog_seq += 1;
        let seq = Seq(self.catalog_seq);
        self.catalog.apply(Stamp { shard: Shard::CATALOG, seq, at: self.now }, fact);
    }

    fn put_all(&mut self) {
        let mode = if self.prepaid { BillingMode::Prepaid } else { BillingMode::Invoiced };
        let account = Account {
            id: ACCOUNT,
            currency: "USD".into(),
            time_zone: self.zone.into(),
            spend_limit: self.limit.and_then(money),
            billing_mode: mode.into(),
            ..Account::default()
        };
        self.put(&Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })));
        let (business_id, endpoint_id) = (mint(IdKind::Business, 1), mint(IdKind::Endpoint, 1));
        let row = Business { id: business_id, account_id: ACCOUNT, ..Business::default() };
        self.put(&Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) })));
        let row = ChannelEndpoint { id: endpoint_id, business_id, ..Default::default() };
        self.put(&Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(row) })));
        self.put_campaign();
        let budget = budget(self.ad_set);
        let row = AdSet { id: AD_SET, campaign_id: CAMPAIGN, budget, ..AdSet::default() };
        self.put(&Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(row) })));
        let destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
        let id = mint(IdKind::Ad, 1);
        let row = Ad { id, ad_set_id: AD_SET, destination, ..Ad::default() };
        self.put(&Kind::AdPut(Box::new(AdPut { ad: Some(row) })));
    }

    fn put_campaign(&mut self) {
        let budget = budget(self.campaign);
        let row = Campaign { id: CAMPAIGN, account_id: ACCOUNT, budget, ..Campaign::default() };
        self.put(&Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(row) })));
    }

    fn family(&self) -> Family {
        self.catalog.family(mint(IdKind::Ad, 1)).expect("just made")
    }

    fn purse(&self) -> Option<&Purse> {
        self.chunk.purses.get(&ACCOUNT)
    }

    /// Begins a batch.
    fn cut(&mut self) {
        self.cuts.push(self.journal.len());
    }

    /// Journals a fact; now and then it is delivered twice.
    fn write(&mut self, shard: u8, fact: Kind) {
        let seq = self.next.entry(shard).or_default();
        *seq += 1;
        let shard = Shard::new(shard).expect("a shard");
        let stamp = Stamp { shard, seq: Seq(*seq), at: self.now };
        self.chunk.apply(stamp, &fact);
        if self.luck.chance(200) {
            self.chunk.apply(stamp, &fact);
        }
        self.journal.push((stamp, fact));
    }

    fn terms(&self, kind: LineKind) -> Terms {
        let catalog = &self.catalog;
        match kind {
            LineKind::Unspecified | LineKind::Account => {
                Terms::of_account(&catalog.accounts.get(ACCOUNT).expect("made"), self.purse())
            }
            LineKind::Campaign => {
                Terms::of_campaign(&catalog.campaigns.get(CAMPAIGN).expect("made"))
            }
            LineKind::AdSet => Terms::of_ad_set(&catalog.ad_sets.get(AD_SET).expect("made")),
        }
    }

    fn granted(&mut self, kind: LineKind, terms: Terms) -> Option<Kind> {
        let id = match kind {
            LineKind::Unspecified | LineKind::Account => ACCOUNT,
            LineKind::Campaign => CAMPAIGN,
            LineKind::AdSet => AD_SET,
        };
        let name = self.luck.roll().max(1);
        let day = day_of(self.zone, self.now);
        grant(LineId { kind, id, account: ACCOUNT }, terms, self.purse(), day, name)
            .map(Kind::Granted)
    }

    fn grant(&mut self, kind: LineKind) {
        let terms = self.terms(kind);
        if let Some(fact) = self.granted(kind, terms) {
            self.cut();
            self.write(kind as u8, fact);
            self.cut();
        }
    }

    fn grant_all(&mut self) {
        for kind in [LineKind::Account, LineKind::Campaign, LineKind::AdSet] {
            self.grant(kind);
        }
    }

    fn step(&mut self) {
        match self.luck.below(100) {
            0..55 => self.charge(),
            55..70 => self.fund(TransferKind::Funding),
            70..76 => self.fund(TransferKind::Promo),
            76..82 => self.fund(TransferKind::Withdrawal),
            82..88 => self.credit(),
            88..94 => self.change_budget(),
            _ => {
                self.now = self.now.plus_ms(self.luck.between(HOUR_MS, 30 * HOUR_MS));
                self.grant_all();
            }
        }
    }

    fn fund(&mut self, kind: TransferKind) {
        self.transfers += 1;
        let order = FundRequest {
            tenant: 0,
            request_id: "r".into(),
            body_hash: [0; 16],
            by: Author::default(),
            account: ACCOUNT,
            transfer: self.transfers,
            kind,
            amount: Money { micros: self.luck.between(1, 1_500), currency: "USD".into() },
            reason: String::new(),
        };
        let amount = order.amount.micros;
        let possible = kind != TransferKind::Withdrawal || amount <= self.oracle.prepaid;
        match fund(&self.catalog, self.purse(), &order) {
            Ok(fact) => {
                assert!(possible, "{amount} of {} was paid out", self.oracle.prepaid);
                self.funded(fact.expect("a new transfer"));
            }
            Err(refusal) => {
                assert!(!possible, "{refusal:?}");
                assert_eq!(refusal.reason, Reason::BalanceTooLow);
                return;
            }
        }
        // The same again changes nothing, another amount is refused.
        assert_eq!(fund(&self.catalog, self.purse(), &order), Ok(None));
        let amount = Money { micros: amount + 1, currency: "USD".into() };
        let other = fund(&self.catalog, self.purse(), &FundRequest { amount, ..order });
        assert_eq!(other.expect_err("another amount").reason, Reason::TransferIdReused);
    }

    fn funded(&mut self, fact: Funded) {
        let (kind, amount) = (fact.kind(), fact.amount);
        self.cut();
        let terms = self.terms(LineKind::Account);
        if kind == TransferKind::Withdrawal && self.prepaid {
            let granted = self.granted(LineKind::Account, terms.without(amount));
            self.write(1, granted.expect("limited"));
        }
        self.write(1, Kind::Funded(Box::new(fact)));
        self.cut();
        if kind != TransferKind::Withdrawal && self.prepaid {
            self.grant(LineKind::Account);
        }
        let (from, to) = match kind {
            TransferKind::Promo => (LedgerAccount::PromoGiven, LedgerAccount::Promo),
            TransferKind::Funding => (LedgerAccount::Funding, LedgerAccount::Prepaid),
            _ => (LedgerAccount::Prepaid, LedgerAccount::Funding),
        };
        self.oracle.post(from, to, amount);
        match kind {
            TransferKind::Promo => self.oracle.promo += amount,
            TransferKind::Funding => self.oracle.prepaid += amount,
            _ => self.oracle.prepaid -= amount,
        }
    }

    fn charge(&mut self) {
        let price = self.luck.between(0, 700);
        let taken = charge(&self.family(), self.purse(), price, self.zone, self.now);
        let day = local_day(self.zone, self.now);
        assert_eq!(taken.day, day, "whether anything was granted or not");
        let today = self.oracle.days.get(&day).copied().unwrap_or_default();
        let oracle = &self.oracle;
        let of = |daily: Option<i64>, life: Option<i64>| {
            let of_day = daily.map_or(i64::MAX, |daily| daily - today);
            of_day.min(life.map_or(i64::MAX, |life| life - oracle.life)).max(0)
        };
        let mut left = of(None, self.limit);
        left = left.min(of(self.campaign.0, self.campaign.1));
        left = left.min(of(self.ad_set.0, self.ad_set.1));
        if self.prepaid {
            left = left.min(oracle.promo + oracle.prepaid);
        }
        let wanted = if left == i64::MAX { 0 } else { price.min(left) };
        assert_eq!(taken.amount, wanted, "{price} on a purse that has {left}");
        let promo = wanted.min(oracle.promo);
        let prepaid = (wanted - promo).min(oracle.prepaid);
        assert_eq!((taken.promo, taken.prepaid), (promo, prepaid), "promo first, then prepaid");
        self.views += 1;
        let viewer = self.luck.below(3) << 58;
        let showing = showing_of(&self.family(), self.views, viewer, 7, 0);
        let fact = Tapped { showing: Some(showing), charge: Some(taken), ..Tapped::default() };
        self.write(10 + (viewer >> 58) as u8, Kind::Tapped(fact));
        let oracle = &mut self.oracle;
        oracle.post(LedgerAccount::Promo, LedgerAccount::Spent, promo);
        oracle.post(LedgerAccount::Prepaid, LedgerAccount::Spent, prepaid);
        oracle.post(LedgerAccount::Receivable, LedgerAccount::Spent, wanted - promo - prepaid);
        let borne = (LedgerAccount::OverDeliveryBorne, LedgerAccount::OverDelivered);
        oracle.post(borne.0, borne.1, price - wanted);
        (oracle.promo, oracle.prepaid) = (oracle.promo - promo, oracle.prepaid - prepaid);
        oracle.life += wanted;
        *oracle.days.entry(day).or_default() += wanted;
    }

    /// Gives back what was charged to one viewer; a second time there is nothing left to give.
    fn credit(&mut self) {
        let viewer = self.luck.below(3) << 58;
        let filter = EventFilter { feed: 7, end: Moment(i64::MAX), ..EventFilter::default() };
        let find = |journal: &[(Stamp, Kind)]| {
            let mut finder = Finder::new(&filter);
            journal.iter().for_each(|(stamp, fact)| finder.take(stamp.at, fact));
            let mut found = finder.finish().expect("few").events;
            found.retain(|found| found.viewer() == viewer);
            found
        };
        let found = find(&self.journal);
        let day = local_day(self.zone, self.now);
        self.cut();
        for event in &found {
            let fact = event.credit(day, 5, "bots");
            let oracle = &mut self.oracle;
            let owed = fact.amount - fact.promo - fact.prepaid;
            oracle.post(LedgerAccount::Refunded, LedgerAccount::Promo, fact.promo);
            oracle.post(LedgerAccount::Refunded, LedgerAccount::Prepaid, fact.prepaid);
            oracle.post(LedgerAccount::Refunded, LedgerAccount::Receivable, owed);
            oracle.promo += fact.promo;
            oracle.prepaid += fact.prepaid;
            oracle.charged_back += fact.amount;
            *oracle.credited.entry(day).or_default() += fact.amount;
            self.write(10 + (viewer >> 58) as u8, Kind::EventCredited(Box::new(fact)));
        }
        assert_eq!(find(&self.journal), [], "given back twice");
        if self.prepaid {
            self.grant(LineKind::Account);
        }
    }

    fn change_budget(&mut self) {
        let daily = Some(self.luck.between(0, 2_000));
        self.campaign = (daily, self.campaign.1);
        self.put_campaign();
        self.grant(LineKind::Campaign);
    }

    /// Compares the ledger with the postings, account by account.
    fn check(&self) {
        let empty = Purse::default();
        let purse = self.purse().unwrap_or(&empty);
        let totals = purse.ledger.totals();
        assert_eq!(totals.debits, totals.credits);
        let of = |account| purse.ledger.balance(account);
        for account in [
            LedgerAccount::Funding,
            LedgerAccount::PromoGiven,
            LedgerAccount::Receivable,
            LedgerAccount::Spent,
            LedgerAccount::Refunded,
            LedgerAccount::OverDelivered,
            LedgerAccount::OverDeliveryBorne,
        ] {
            assert_eq!(of(account), self.oracle.balance(&[account]), "{account:?}");
        }
        let funds = purse.funds();
        let parts = [funds.promo, funds.prepaid, funds.granted_promo, funds.granted_prepaid];
        assert!(parts.iter().all(|part| *part >= 0), "{funds:?}");
        assert_eq!(funds.promo + funds.granted_promo, self.oracle.promo);
        assert_eq!(funds.prepaid + funds.granted_prepaid, self.oracle.prepaid);
        let held = [LedgerAccount::Promo, LedgerAccount::Prepaid];
        assert_eq!(funds.sum(), self.oracle.balance(&held));
        assert!(self.oracle.charged_back <= self.oracle.life);
        for (day, sums) in &purse.days {
            let of = |sums: &BTreeMap<i32, i64>| sums.get(day).copied().unwrap_or_default();
            assert_eq!(sums.charged, of(&self.oracle.days), "charged on day {day}");
            assert_eq!(sums.credited, of(&self.oracle.credited), "given back on day {day}");
        }
    }

    /// Folds the journal again: shards in another order within a batch, from a checkpoint, and replayed.
    fn refold(&mut self) {
        let middle = self.luck.below(self.journal.len() as u64 + 1) as usize;
        let mut again = PurseChunk::default();
        self.journal[..middle].iter().for_each(|(stamp, fact)| again.apply(*stamp, fact));
        let bytes = postcard::to_allocvec(&again).expect("encoded");
        let mut again: PurseChunk = postcard::from_bytes(&bytes).expect("decoded");
        self.journal.iter().for_each(|(stamp, fact)| again.apply(*stamp, fact));
        assert!(again == self.chunk, "a checkpoint and its tail are not the whole");
        let mut shuffled = PurseChunk::default();
        let ends = self.cuts.iter().copied().skip(1).chain([self.journal.len()]);
        for (start, end) in self.cuts.iter().copied().zip(ends) {
            let mut batch = self.journal[start..end].to_vec();
            batch.sort_by_key(|(stamp, _)| (std::cmp::Reverse(stamp.shard), stamp.seq));
            batch.iter().for_each(|(stamp, fact)| shuffled.apply(*stamp, fact));
        }
        assert!(shuffled == self.chunk, "the order of shards shows");
    }
}

/// Returns the number of a moment's day, by a calendar of its own.
fn local_day(zone: &str, now: Moment) -> i32 {
    let zone = TimeZone::get(zone).expect("a real zone");
    let date =
        jiff::Timestamp::from_millisecond(now.0).expect("in range").to_zoned_datetime(zone).date();
    date.since(jiff::civil::date(1970, 1, 1)).expect("in range").get_days()
}

fn live(seed: u64) {
    let mut life = Life::new(seed);
    for _ in 0..STEPS {
        life.step();
        life.check();
    }
    life.refold();
}

#[test]
fn the_ledger_is_the_sum_of_its_postings_in_every_life() {
    if let Some(seed) = crate::number("LEDGER_SEED") {
        return live(seed);
    }
    for seed in 0..crate::number("LEDGER_CASES").unwrap_or(CASES) {
        let lived = std::panic::catch_unwind(|| live(seed));
        if lived.is_err() {
            panic!("replay: LEDGER_SEED={seed} cargo sim the_ledger_is -- --nocapture");
        }
    }
}
