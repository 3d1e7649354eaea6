//! Money at the desk: transfers, balances, invoices, and charges given back after the journal was read.

use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use prost::Message;

use crate::decide::credits::{Finder, Findings};
use crate::decide::mutate::answer_to;
use crate::decide::noted::{Changed, noted};
use crate::journal::file::scan_within;
use crate::journal::{Block, LogError};
use crate::node::base::beginning_of;
use crate::node::files::Files;
use crate::node::front::{Front, own_account};
use crate::node::live::locked;
use crate::node::pending::unavailable;
use crate::node::recover::fold;
use crate::node::running::Node;
use crate::node::writer::{Credit, Reply, Work};
use crate::report::invoices::{Asked, balance, invoices};
use crate::report::transfers::{Place, Question, transfers};
use crate::state::credit::timestamp;
use crate::state::purses::Purse;
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::RequestAnswered;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1;
use crate::types::proto::v1::{
    Account, Balance, FundAccountResponse, InvalidateEventsResponse, Invoice, Money, Transfer,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{EventFilter, FundRequest, Invalidation, Scope};
use crate::types::time::Moment;

/// Credits that the writer is given at once: one batch of events more or less.
pub const CREDITS_PER_STEP: usize = 256;

/// How often the journal is read before it counts as damaged: a reader beside the writer may see the end of
/// a batch before its middle.
const READS_MAX: usize = 3;

/// Where the journal lies, and whose turn it is to read it for credits.
#[derive(Debug, Default)]
pub(in crate::node) struct Books {
    files: Option<Files>,
    /// One at a time: whoever reads the journal must not miss a credit that another one writes.
    turn: Mutex<()>,
}

impl Books {
    /// Returns the books of the journal in this folder.
    pub(in crate::node) fn of(files: Files) -> Self {
        Self { files: Some(files), turn: Mutex::default() }
    }
}

/// Returns the segment from which the journal is read for a filter.
///
/// # Errors
/// `JournalTrimmed` when the filter begins before the journal does, or before its base: such charges are settled.
fn first_segment(files: &Files, filter: &EventFilter) -> Result<u64, Refusal> {
    let (base, first) = beginning_of(files).map_err(|error| {
        tracing::warn!(%error, "reading for credits");
        unreadable()
    })?;
    let Some(base) = base else { return Ok(first) };
    let (_, last) = base.span();
    if filter.start > last {
        return Ok(first);
    }
    let first = jiff::Timestamp::from_millisecond(last.0 + 1);
    let first = first.map_or_else(|_| (last.0 + 1).to_string(), |time| time.to_string());
    let message = format!(
        "the journal is kept from {first} on: begin there; what was charged before can't be given back event by \
         event, fund the account instead"
    );
    Err(Refusal::new(Reason::JournalTrimmed, "filter.start_time", message))
}

fn unreadable() -> Refusal {
    let message = "the journal can't be read: run `munadi fsck` on the node's folder";
    Refusal::new(Reason::Unavailable, "", message)
}

/// Which transfers of an account.
#[derive(Clone, Copy, Debug)]
pub struct TransfersAsked {
    /// Whose.
    pub account: u64,
    /// From this moment on.
    pub start: Moment,
    /// And before this one; `None`: to now.
    pub end: Option<Moment>,
    /// Behind this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
}

impl Front {
    /// Returns an account's balance.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn balance(&self, scope: Scope, account: u64) -> Result<Balance, Refusal> {
        let row = self.account(scope, account)?;
        let purses = self.0.purses(account);
        Ok(balance(&row, purses.purses.get(&account)))
    }

    /// Returns a page of an account's transfers, and the place of its last one if there are more.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn transfers(
        &self,
        scope: Scope,
        asked: TransfersAsked,
        now: Moment,
    ) -> Result<(Vec<Transfer>, Option<Place>), Refusal> {
        let row = self.account(scope, asked.account)?;
        let TransfersAsked { account, start, end, after, limit } = asked;
        let (zone, currency, end) =
            (&*row.time_zone, &*row.currency, end.unwrap_or(Moment(i64::MAX)));
        let question = Question { account, zone, currency, start, end, after, limit, now };
        let purse = self.0.purses(account).purses.get(&account).map(Purse::history);
        Ok(purse.map_or((Vec::new(), None), |purse| transfers(&purse, &question)))
    }

    /// Returns invoices of an account, the newest first, and the month of the last one if there are more.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn invoices(
        &self,
        scope: Scope,
        account: u64,
        asked: Asked,
    ) -> Result<(Vec<Invoice>, Option<i32>), Refusal> {
        let row = self.account(scope, account)?;
        let purse = self.0.purses(account).purses.get(&account).map(Purse::history);
        Ok(purse.map_or((Vec::new(), None), |purse| invoices(&row, &purse, asked)))
    }

    fn account(&self, scope: Scope, account: u64) -> Result<Account, Refusal> {
        let catalog = self.0.catalog();
        own_account(&catalog, scope, account)?;
        Ok(catalog.accounts.get(account).unwrap_or_default())
    }

    /// Returns the remembered answer to a finding; `None`: it is new.
    fn found_before(
        &self,
        request: &Invalidation,
    ) -> Result<Option<InvalidateEventsResponse>, Refusal> {
        let catalog = self.0.catalog();
        let Invalidation { tenant, request_id, body_hash, .. } = request;
        let told = answer_to(&catalog, *tenant, request_id, body_hash)?;
        let other = |_| {
            let message = "this id was used for another method";
            Refusal::new(Reason::RequestIdReused, "request_id", message)
        };
        told.map(|answer| InvalidateEventsResponse::decode(answer).map_err(other)).transpose()
    }

    /// Refuses a filter that names what there is not.
    fn check(&self, filter: &EventFilter) -> Result<(), Refusal> {
        let catalog = self.0.catalog();
        for (kind, id, field) in [
            (IdKind::Account, filter.account, "filter.account_id"),
            (IdKind::Campaign, filter.campaign, "filter.campaign_id"),
            (IdKind::AdSet, filter.ad_set, "filter.ad_set_id"),
            (IdKind::Ad, filter.ad, "filter.ad_id"),
        ] {
            if id != 0 && catalog.account_of(kind, id).is_none() {
                return Err(Refusal::new(Reason::NotFound, field, "no such id"));
            }
        }
        Ok(())
    }

    fn answer(&self, findings: &Findings) -> InvalidateEventsResponse {
        let catalog = self.0.catalog();
        let mut credited: Vec<Money> = Vec::new();
        for (account, micros) in findings.by_account() {
            let currency = catalog.currency_of(account).unwrap_or_default();
            match credited.iter_mut().find(|money| money.currency == currency) {
                Some(money) => money.micros = money.micros.saturating_add(micros),
                None => credited.push(Money { micros, currency: currency.to_owned() }),
            }
        }
        credited.sort_by(|a, b| a.currency.cmp(&b.currency));
        InvalidateEventsResponse {
            events: findings.events.len() as u64,
            credited,
            credited_before: findings.credited_before,
        }
    }

    /// Returns what the log of changes is told of a finding: what was asked for.
    fn noted_finding(&self, request: &Invalidation) -> Option<Kind> {
        let EventFilter { account, campaign, ad_set, ad, .. } = request.filter;
        let named = [
            (IdKind::Ad, ad),
            (IdKind::AdSet, ad_set),
            (IdKind::Campaign, campaign),
            (IdKind::Account, account),
        ];
        let named = named.into_iter().find(|(_, id)| *id != 0);
        let owner = {
            let catalog = self.0.catalog();
            let account = named.and_then(|(kind, id)| catalog.account_of(kind, id));
            account.and_then(|account| catalog.tenant_of(account)).unwrap_or_default()
        };
        let filter = v1::EventFilter {
            account_id: account,
            campaign_id: campaign,
            ad_set_id: ad_set,
            ad_id: ad,
            feed_id: request.filter.feed,
            start_time: Some(timestamp(request.filter.start.0)),
            end_time: Some(timestamp(request.filter.end.0)),
            taps_per_viewer_min: request.filter.taps_per_viewer_min,
            ..v1::EventFilter::default()
        };
        let after = v1::InvalidateEventsRequest {
            filter: Some(filter),
            reason: request.reason.clone(),
            ..v1::InvalidateEventsRequest::default()
        };
        let changed = Changed {
            request_id: request.request_id.clone(),
            subject: named.map_or_else(String::new, |(_, id)| id.to_string()),
            owner,
            kind: "munadi.v1.InvalidateEventsRequest",
            before: Vec::new(),
            after: after.encode_to_vec(),
        };
        noted(&request.by, changed)
    }

    /// Finds charged events and gives them back; see [`Node::invalidate`]. `read` visits every durable
    /// block, `write` hands work to the writer and waits until it is durable.
    ///
    /// # Errors
    /// As [`Node::invalidate`].
    pub fn invalidate(
        &self,
        request: &Invalidation,
        read: impl FnMut(&mut dyn FnMut(&Block)) -> Result<(), LogError>,
        mut write: impl FnMut(Credit) -> Result<(), Refusal>,
    ) -> Result<InvalidateEventsResponse, Refusal> {
        if let Some(answer) = self.found_before(request)? {
            return Ok(answer);
        }
        self.check(&request.filter)?;
        let findings = find(&request.filter, read)?;
        let answer = self.answer(&findings);
        if request.dry_run {
            return Ok(answer);
        }
        let batch = request.body_hash[..8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let mut noted = self.noted_finding(request);
        for found in findings.events.chunks(CREDITS_PER_STEP) {
            let (found, reason) = (found.to_vec(), request.reason.clone());
            write(Credit { found, batch, reason, answered: None, noted: noted.take() })?;
        }
        let answered = RequestAnswered {
            tenant: request.tenant,
            request_id: request.request_id.clone(),
            body_hash: request.body_hash.to_vec(),
            answer: answer.encode_to_vec(),
        };
        write(Credit { answered: Some(answered), noted, ..Credit::default() })?;
        Ok(answer)
    }
}

fn find(
    filter: &EventFilter,
    mut read: impl FnMut(&mut dyn FnMut(&Block)) -> Result<(), LogError>,
) -> Result<Findings, Refusal> {
    for _ in 0..READS_MAX {
        let mut finder = Finder::new(filter);
        let mut known = true;
        let whole = read(&mut |block| {
            let folded = fold(block, |stamp, fact| finder.take(stamp.at, fact));
            known &= folded.is_ok();
        });
        match whole {
            Ok(()) if known => return finder.finish(),
            Ok(()) => break,
            Err(error) => tracing::warn!(%error, "reading for credits"),
        }
    }
    Err(unreadable())
}

impl Node {
    /// Puts money into an account or takes it out; answers once it is durable.
    ///
    /// # Errors
    /// With the field at fault, or `Busy`.
    pub async fn fund(&self, request: FundRequest) -> Result<FundAccountResponse, Refusal> {
        self.submit(|reply| Work::Fund(Box::new(request), reply))?.await
    }

    /// Returns an account's balance from durable facts only; see [`Front::balance`].
    ///
    /// # Errors
    /// `NotFound`, or as [`Node::settled`].
    pub async fn balance(&self, scope: Scope, account: u64) -> Result<Balance, Refusal> {
        self.settled().await?;
        self.front().balance(scope, account)
    }

    /// Returns a page of transfers from durable facts only; see [`Front::transfers`].
    ///
    /// # Errors
    /// `NotFound`, or as [`Node::settled`].
    pub async fn transfers(
        &self,
        scope: Scope,
        asked: TransfersAsked,
    ) -> Result<(Vec<Transfer>, Option<Place>), Refusal> {
        let now = self.settled().await?;
        self.front().transfers(scope, asked, now)
    }

    /// Returns invoices from durable facts only; see [`Front::invoices`].
    ///
    /// # Errors
    /// `NotFound`, or as [`Node::settled`].
    pub async fn invoices(
        &self,
        scope: Scope,
        account: u64,
        before: i32,
        limit: usize,
    ) -> Result<(Vec<Invoice>, Option<i32>), Refusal> {
        let now = self.settled().await?;
        self.front().invoices(scope, account, Asked { before, limit, now })
    }

    /// Finds charged events in the journal and gives their charges back, each once. Reads for seconds and
    /// waits for the disk: not for a thread that serves. A crash in the middle leaves some undone; the
    /// same request does the rest.
    ///
    /// # Errors
    /// With the field at fault; `TooLarge` when more matches than can be kept; `JournalTrimmed` when the filter
    /// begins before the journal does; `Unavailable` when the journal can't be read or written.
    pub fn invalidate(&self, request: &Invalidation) -> Result<InvalidateEventsResponse, Refusal> {
        let Some(files) = &self.books.files else { return Err(unavailable()) };
        let _turn = locked(&self.books.turn);
        // What was decided before this turn must be there to read.
        self.wait(Work::Settle)?;
        if let Some(answer) = self.front().found_before(request)? {
            return Ok(answer);
        }
        let (first, journal) = (first_segment(files, &request.filter)?, files.journal());
        self.front().invalidate(
            request,
            |visit| scan_within(&journal, first..u64::MAX, |block| visit(block)).map(drop),
            |credit| self.wait(|reply| Work::Credit(Box::new(credit), reply)),
        )
    }

    /// Hands work to the writer and waits for its answer.
    fn wait<T: Send + 'static>(&self, work: impl FnOnce(Reply<T>) -> Work) -> Result<T, Refusal> {
        let (sender, receiver) = sync_channel(1);
        let reply = Box::new(move |answer| {
            // There is room for the only answer.
            let _ = sender.send(answer);
        });
        self.queue.put(work(reply));
        // A writer that has stopped drops the work, and with it the sender.
        receiver.recv().unwrap_or_else(|_| Err(unavailable()))
    }
}
