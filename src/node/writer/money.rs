//! Money that comes and goes by order: transfers of operators, and charges given back.

use std::collections::BTreeSet;

use prost::Message;

use crate::decide::credits::Found;
use crate::decide::fund::fund;
use crate::decide::mutate::{answer_to, other_method};
use crate::decide::noted::{Changed, noted};
use crate::decide::purse::{LineId, Terms};
use crate::node::writer::{Reply, Writer};
use crate::report::invoices::balance;
use crate::report::transfers::funding_transfer;
use crate::types::day::day_of;
use crate::types::ids::{Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Funded, LineKind, RequestAnswered};
use crate::types::proto::v1::{BillingMode, FundAccountRequest, FundAccountResponse, TransferKind};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::FundRequest;
use crate::types::time::Moment;

/// Charges to be given back, by one request.
#[derive(Clone, Debug, Default)]
pub struct Credit {
    /// Which. The caller has made sure that none was given back before, and sends nothing else until
    /// this is answered.
    pub found: Vec<Found>,
    /// Hash of the request.
    pub batch: u64,
    /// Why, for people.
    pub reason: String,
    /// The answer to be remembered, with the last of them.
    pub answered: Option<RequestAnswered>,
    /// Who gives them back, with the first of them.
    pub noted: Option<Kind>,
}

impl Writer {
    pub(super) fn fund(
        &mut self,
        request: &FundRequest,
        reply: Reply<FundAccountResponse>,
        now: Moment,
    ) {
        let answer = self.funded(request, now);
        self.answer(reply, answer);
    }

    fn funded(
        &mut self,
        request: &FundRequest,
        now: Moment,
    ) -> Result<FundAccountResponse, Refusal> {
        let judged = {
            let catalog = self.live.catalog();
            let FundRequest { tenant, request_id, body_hash, .. } = request;
            if let Some(answer) = answer_to(&catalog, *tenant, request_id, body_hash)? {
                return FundAccountResponse::decode(answer).map_err(|_| other_method());
            }
            let purses = self.live.purses(request.account);
            fund(&catalog, purses.purses.get(&request.account), request)?
        };
        if let Some(fact) = judged {
            self.journal_funded(fact, request, now);
        }
        let answer = self.answer_of(request)?;
        let answered = RequestAnswered {
            tenant: request.tenant,
            request_id: request.request_id.clone(),
            body_hash: request.body_hash.to_vec(),
            answer: answer.encode_to_vec(),
        };
        self.journal(Shard::CATALOG, vec![Kind::RequestAnswered(answered)], now);
        Ok(answer)
    }

    /// Journals a transfer with what it changes of the account's grant. Money that is paid out was taken
    /// back from the grant first, in the same decision: no balance is below zero in between.
    fn journal_funded(&mut self, fact: Funded, request: &FundRequest, now: Moment) {
        let account = fact.account;
        let line = LineId { kind: LineKind::Account, id: account, account };
        let withdrawn = (fact.kind() == TransferKind::Withdrawal).then_some(fact.amount);
        let terms = self.terms_of(line).filter(|terms| terms.funds.is_some());
        let less = terms.zip(withdrawn).map(|(terms, amount)| terms.without(amount));
        let mut facts = Vec::new();
        // Grants and charges share no batch.
        self.cut();
        if let Some(granted) = less.and_then(|terms: Terms| self.granted(line, terms, now)) {
            self.due.insert((granted.until_ms, line));
            facts.push(Kind::Granted(granted));
        }
        let noted = self.noted_funding(request);
        if let Some(noted) = noted {
            self.journal(Shard::CATALOG, vec![noted], now);
        }
        facts.push(Kind::Funded(Box::new(fact)));
        self.journal(shard_of(account), facts, now);
        self.cut();
        if withdrawn.is_none() && terms.is_some() {
            self.ungranted.push(line);
            self.grant_written(now);
        }
    }

    /// Returns what the log of changes is told of a transfer: in its batch, as it is of another shard.
    fn noted_funding(&self, request: &FundRequest) -> Option<Kind> {
        let transfer_id = format!("{:032x}", request.transfer);
        let after = FundAccountRequest {
            account_id: request.account,
            transfer_id: transfer_id.clone(),
            kind: request.kind.into(),
            amount: Some(request.amount.clone()),
            reason: request.reason.clone(),
            ..FundAccountRequest::default()
        };
        let changed = Changed {
            request_id: request.request_id.clone(),
            subject: transfer_id,
            owner: self.live.catalog().tenant_of(request.account).unwrap_or_default(),
            kind: "munadi.v1.FundAccountRequest",
            before: Vec::new(),
            after: after.encode_to_vec(),
        };
        noted(&request.by, changed)
    }

    fn answer_of(&self, request: &FundRequest) -> Result<FundAccountResponse, Refusal> {
        let catalog = self.live.catalog();
        let row = catalog.accounts.get(request.account);
        let row = row.ok_or_else(|| Refusal::new(Reason::NotFound, "account_id", "no such id"))?;
        let purses = self.live.purses(request.account);
        let purse = purses.purses.get(&request.account);
        let funding = purse.and_then(|purse| purse.fundings.get(&request.transfer));
        let transfer = funding.map(|it| funding_transfer(request.transfer, it, &row.currency));
        Ok(FundAccountResponse { transfer, balance: Some(balance(&row, purse)) })
    }

    /// Gives charges back, each where its viewer lives, with the revisions of what their showings have earned. What
    /// went back to prepaid accounts may be spent
    /// at once.
    pub(super) fn credit(&mut self, credit: Credit, reply: Reply<()>, now: Moment) {
        let mut accounts = BTreeSet::new();
        if let Some(noted) = credit.noted {
            self.journal(Shard::CATALOG, vec![noted], now);
        }
        for found in &credit.found {
            let zone = self.live.catalog().zone_of(found.account()).unwrap_or("UTC").to_owned();
            let day = day_of(&zone, now).number;
            let fact = found.credit(day, credit.batch, &credit.reason);
            let revised = self.revised_by(&fact);
            self.note_revised(&revised);
            let credited = Kind::EventCredited(Box::new(fact));
            let facts = std::iter::once(credited).chain(revised).collect();
            self.journal(shard_of(found.viewer()), facts, now);
            accounts.insert(found.account());
        }
        let prepaid = |account: &u64| {
            let row = self.live.catalog().accounts.get(*account);
            row.is_some_and(|row| row.billing_mode() == BillingMode::Prepaid)
        };
        let lines = accounts.into_iter().filter(prepaid).map(|account| LineId {
            kind: LineKind::Account,
            id: account,
            account,
        });
        let lines: Vec<_> = lines.collect();
        self.ungranted.extend(lines);
        if let Some(answered) = credit.answered {
            self.journal(Shard::CATALOG, vec![Kind::RequestAnswered(answered)], now);
        }
        self.answer(reply, Ok(()));
    }
}
