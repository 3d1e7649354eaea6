//! Money that operators and advertisers move while a run goes on: transfers, charges given back, exchange
//! rates, and budgets that are lowered in the middle of a day.

use std::sync::mpsc::{TryRecvError, channel};

use munadi::node::writer::{Credit, Work};
use munadi::types::proto::journal::v1::ExchangeRatesPut;
use munadi::types::proto::v1::{AdSet, Budget, Campaign, ExchangeRate, Money, TransferKind};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{
    Author, Change, EventFilter, FundRequest, Invalidation, ListChange, ListMutation, Resource,
};
use munadi::types::time::Moment;

use crate::audit::{Finding, Key, ensure};
use crate::shop::money;
use crate::traffic::{DAY, HOUR, MINUTE, Task};
use crate::world::{Sent, World};

impl World {
    /// Returns a number of milliseconds until something happens again.
    pub(crate) fn gap(&mut self, brief: i64, long: i64) -> i64 {
        let most = if self.brief { brief } else { long };
        self.chaos.between(most / 4, most)
    }

    fn request_id(&mut self) -> (String, [u8; 16]) {
        self.town.writes += 1;
        let id = format!("write {}", self.town.writes);
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
        (id, body_hash)
    }

    /// Funds an account, gives it promo credit or takes money out; often twice.
    pub(crate) fn move_money(&mut self) {
        let after_ms = self.gap(2 * HOUR, 6 * HOUR);
        self.schedule(after_ms, Task::Money);
        let accounts: Vec<_> = self.ledger.rows.accounts.keys().copied().collect();
        let account = *self.luck.pick(&accounts);
        let kind = match self.luck.below(10) {
            0..4 => TransferKind::Funding,
            4..6 => TransferKind::Promo,
            _ => TransferKind::Withdrawal,
        };
        let micros = self.luck.between(1, 1_500_000);
        self.order(account, kind, micros);
    }

    /// Sends an order for a transfer, now and then again.
    pub(crate) fn order(&mut self, account: u64, kind: TransferKind, micros: i64) {
        let row = &self.ledger.rows.accounts[&account];
        let currency = row.currency.clone();
        let tenant = self.ledger.rows.tenants.get(&account).copied().unwrap_or_default();
        let (request_id, body_hash) = self.request_id();
        let request = FundRequest {
            tenant,
            request_id,
            body_hash,
            by: Author::default(),
            account,
            transfer: u128::from(self.town.writes) + 1,
            kind,
            amount: Money { micros, currency },
            reason: "by order".into(),
        };
        if self.luck.chance(300) {
            // The same transfer again, by the same request or by another.
            let mut again = request.clone();
            if self.luck.chance(500) {
                (again.request_id, again.body_hash) = self.request_id();
            }
            let after_ms = self.luck.between(0, HOUR);
            self.schedule(after_ms, Task::Resend(Sent::Fund(Box::new(again))));
        }
        self.send(Sent::Fund(Box::new(request)));
    }

    /// Loads other exchange rates, or takes all away.
    pub(crate) fn change_rates(&mut self) {
        let after_ms = self.gap(6 * HOUR, DAY);
        self.schedule(after_ms, Task::Rates);
        let settlement = *self.luck.pick(&["USD", "BRL", "INR"]);
        let none = self.luck.chance(200);
        let currencies = ["MXN", "INR", "BRL", "USD", "NZD"];
        let mut rates = Vec::new();
        for currency in currencies.into_iter().filter(|currency| *currency != settlement && !none) {
            let seconds = (self.now_ms - self.luck.between(0, HOUR)) / 1_000;
            rates.push(ExchangeRate {
                currency: currency.into(),
                rate_micros: self.luck.between(300_000, 3_000_000),
                valid_from: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            });
        }
        let settlement_currency = if none { String::new() } else { settlement.to_owned() };
        let change = ListChange::ExchangeRates(ExchangeRatesPut { settlement_currency, rates });
        let (request_id, body_hash) = self.request_id();
        let mutation =
            ListMutation { tenant: 1, request_id, body_hash, by: Author::default(), change };
        self.coverage.note("money", "exchange rates");
        self.send(Sent::Lists(Box::new(mutation)));
    }

    /// Finds that charged events of an account were invalid.
    pub(crate) fn find_invalid(&mut self) -> Finding {
        let after_ms = self.gap(3 * HOUR, 8 * HOUR);
        self.schedule(after_ms, Task::Find);
        let campaigns: Vec<_> = self.ledger.rows.campaigns.values().cloned().collect();
        let campaign = self.luck.pick(&campaigns).clone();
        let from = if self.luck.chance(500) { self.luck.between(0, 6 * HOUR) } else { 60 * DAY };
        let until = self.luck.between(0, HOUR);
        let filter = EventFilter {
            account: campaign.account_id,
            campaign: if self.luck.chance(300) { campaign.id } else { 0 },
            feed: self.luck.below(3) as u32,
            start: Moment(self.now_ms - from),
            end: Moment(self.now_ms + MINUTE - until),
            ..EventFilter::default()
        };
        let (request_id, body_hash) = self.request_id();
        let tenant = self.ledger.rows.tenants[&campaign.account_id];
        let dry_run = self.luck.chance(100);
        let reason = "bots".to_owned();
        let request = Invalidation {
            tenant,
            request_id,
            body_hash,
            by: Author::default(),
            filter,
            reason,
            dry_run,
        };
        if self.luck.chance(300) {
            let after_ms = self.luck.between(0, 2 * HOUR);
            self.schedule(after_ms, Task::Invalidate(Box::new(request.clone())));
        }
        self.invalidate(request)
    }

    /// Gives charges back, each once; asks again if the node died meanwhile.
    pub(crate) fn invalidate(&mut self, request: Invalidation) -> Finding {
        // What was decided before must be there to read.
        self.settle()?;
        self.read_journal()?;
        let key = Key::Write(request.tenant, request.request_id.clone());
        let again = self.ledger.found.contains_key(&key);
        let (front, blocks) = (self.front(), self.blocks());
        let expected = self.ledger.books.entries.creditable(&request.filter);
        let told = self.told.entry(key.clone()).or_default();
        told.lost += 1;
        let mut finding = Ok(());
        let answer = front.invalidate(
            &request,
            |visit| {
                blocks.iter().for_each(visit);
                Ok(())
            },
            |credit| self.give_back(credit, &mut finding),
        );
        finding?;
        match answer {
            Ok(answer) => {
                let sum: i64 = answer.credited.iter().map(|money| money.micros).sum();
                let told = (answer.events, sum);
                ensure(again || told == expected, || {
                    format!("{expected:?} were to be given back, not {told:?}: {request:?}")
                })?;
                if !request.dry_run {
                    self.coverage.note("money", "given back");
                }
            }
            Err(refusal) if refusal.reason == Reason::Unavailable => {
                self.coverage.note("money", "died while giving back");
                let after_ms = self.chaos.between(1_000, HOUR);
                self.schedule(after_ms, Task::Invalidate(Box::new(request)));
            }
            Err(refusal) => return Err(format!("{request:?}: {refusal:?}")),
        }
        Ok(())
    }

    /// Hands credits to the writer and waits until they are durable.
    fn give_back(&mut self, credit: Credit, finding: &mut Finding) -> Result<(), Refusal> {
        let unavailable = || Refusal::new(Reason::Unavailable, "", "the node died");
        let (sender, receiver) = channel();
        let reply = move |answer| drop(sender.send(answer));
        self.put(Work::Credit(Box::new(credit), Box::new(reply)));
        for _ in 0..2_000 {
            *finding = self.round();
            if finding.is_err() {
                return Err(unavailable());
            }
            match receiver.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Disconnected) => return Err(unavailable()),
                Err(TryRecvError::Empty) => {}
            }
        }
        *finding = Err("credits without an answer".into());
        Err(unavailable())
    }

    /// Lowers a limit that is in force, often to just above what was spent of it.
    pub(crate) fn lower_a_limit(&mut self) {
        let after_ms = self.gap(HOUR, 5 * HOUR);
        self.schedule(after_ms, Task::Lower);
        let (part, per_mille) = (self.luck.below(5), self.luck.between(1, 1_000));
        let less = |money: &mut Option<Money>| {
            money.iter_mut().for_each(|it| it.micros = (it.micros * per_mille / 1_000).max(1));
        };
        let both = |budget: &mut Option<Budget>| {
            budget.iter_mut().for_each(|it| {
                less(&mut it.daily);
                less(&mut it.lifetime);
            });
        };
        let campaigns: Vec<_> = self.ledger.rows.campaigns.values().cloned().collect();
        let ad_sets: Vec<_> = self.ledger.rows.ad_sets.values().cloned().collect();
        let mut campaign: Campaign = self.luck.pick(&campaigns).clone();
        let mut ad_set: AdSet = self.luck.pick(&ad_sets).clone();
        if part == 1 || part == 3 {
            campaign = self.ledger.rows.campaigns[&ad_set.campaign_id].clone();
        }
        let account = campaign.account_id;
        campaign.etag.clear();
        ad_set.etag.clear();
        let (resource, field) = match part {
            0 => {
                both(&mut campaign.budget);
                (Resource::Campaign(campaign), "budget")
            }
            1 => {
                both(&mut ad_set.budget);
                (Resource::AdSet(ad_set), "budget")
            }
            2 => {
                less(&mut campaign.spend_cap);
                (Resource::Campaign(campaign), "spend_cap")
            }
            3 => {
                both(&mut ad_set.spend_cap);
                (Resource::AdSet(ad_set), "spend_cap")
            }
            _ => {
                let mut row = self.ledger.rows.accounts[&account].clone();
                row.etag.clear();
                if row.spend_limit.is_none() {
                    row.spend_limit = money(3_000_000, &row.currency);
                }
                less(&mut row.spend_limit);
                (Resource::Account(row), "spend_limit")
            }
        };
        let tenant = self.ledger.rows.tenants[&account];
        let mutation = self.mutation(tenant, Change::Update(resource, vec![field.into()]));
        self.send(Sent::Write(Box::new(mutation)));
    }
}
