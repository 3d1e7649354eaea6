//! Conversions on their way out: pages of payloads, the list of what was given up, and where they are sent.

use std::ops::Bound::{Excluded, Unbounded};

use prost::Message;

use crate::decide::noted::{Changed, noted};
use crate::node::credits::PULL_ROWS_MAX;
use crate::node::front::{Front, own_account, sees};
use crate::node::live::{Live, locked};
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::report::outbound::{Event, Reported, Source};
use crate::report::pull::{Page, closed_before};
use crate::state::credit::{Credit, timestamp};
use crate::tokens::push_secret;
use crate::types::ids::{SHARDS, SeqVector};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversionPushPut, ConversionsPushed, DeadLetter};
use crate::types::proto::v1::{
    AttributionRow, Channel, ConversionDeadLetter, ConversionPayload, ConversionPush,
    ConversionSkip, Outcome, RetryDeadLettersRequest, SetConversionPushResponse,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, PushChange, Scope};
use crate::types::time::{Moment, SECOND_MS};

/// Stands in a remembered answer for the secret that its request made.
pub(in crate::node) const MADE: &str = "made";

/// One page of payloads.
#[derive(Clone, Debug, PartialEq)]
pub struct PulledPayloads {
    /// What goes out and what does not, in order.
    pub rows: Vec<ConversionPayload>,
    /// Stands behind everything that was looked at.
    pub cursor: SeqVector,
    /// Whether there is more before the end.
    pub more: bool,
}

/// What of a conversion is not in its row.
#[derive(Debug)]
struct Known {
    channel: Option<Channel>,
    business_id: String,
    click: Option<(String, Moment)>,
}

impl Known {
    fn of(live: &Live, row: &AttributionRow) -> Self {
        let at = row.event_time.unwrap_or_default();
        let at = Moment(at.seconds * SECOND_MS + i64::from(at.nanos) / 1_000_000);
        let id = row.conversation_id;
        let (chat_endpoint, click) = match live.cell(id).facts.chats.get(&id) {
            Some(chat) if id != 0 => {
                let click = chat.channel_click(at).map(|(id, at)| (id.to_owned(), at));
                (Some(chat.endpoint), click)
            }
            _ => (None, None),
        };
        let catalog = live.catalog();
        let endpoint = chat_endpoint.or_else(|| Some(catalog.family(row.ad_id)?.endpoint));
        let endpoint = endpoint.and_then(|id| catalog.endpoints.get(id));
        let channel = endpoint.as_ref().map(|row| row.channel());
        let business_id = endpoint.map(|row| row.channel_business_id).unwrap_or_default();
        Self { channel, business_id, click }
    }

    fn source<'a>(&'a self, credit: &'a Credit) -> Source<'a> {
        Source {
            row: &credit.row,
            channel: self.channel,
            channel_business_id: &self.business_id,
            channel_click: self.click.as_ref().map(|(id, at)| (&**id, *at)),
            click: credit.click,
        }
    }
}

impl Live {
    /// Returns conversions behind a cursor that `wanted` tells, at most `limit`, in closed minutes. A sale goes out
    /// as it was first credited: the channels take none back, and a revised one must not be a second sale.
    fn conversions(
        &self,
        cursor: &SeqVector,
        end: Moment,
        limit: usize,
        wanted: impl Fn(&AttributionRow) -> bool,
    ) -> (Vec<(usize, Credit)>, SeqVector, bool) {
        let Page { places, cursor, more } = self.credits_behind((cursor, end), limit, |_, row| {
            row.outcome() == Outcome::Conversion && row.revision == 1 && wanted(row)
        });
        (self.credits_at(&places), cursor, more)
    }

    /// Looks at what was credited since the last time for clicks and names that came before.
    fn note_reported(&self, reported: &mut Reported, end: Moment) {
        loop {
            let from = reported.scanned.clone();
            let (credits, cursor, more) = self.conversions(&from, end, PULL_ROWS_MAX, |_| true);
            for (shard, credit) in &credits {
                let known = Known::of(self, &credit.row);
                let (source, place) = (known.source(credit), (*shard, credit.seq));
                reported.note(&source, place, Moment(credit.at_ms));
                if let Err(skip) = source.event(reported.is_repeated(place), false) {
                    let reason = skip.as_str_name();
                    metrics::counter!("munadi_conversions_skipped_total", "reason" => reason)
                        .increment(1);
                }
            }
            reported.scanned = cursor;
            if !more {
                return;
            }
        }
    }

    /// Returns the event of a conversion, or why it does not go out.
    pub(in crate::node) fn event_of(
        &self,
        shard: usize,
        credit: &Credit,
        tests: bool,
    ) -> Result<Event, ConversionSkip> {
        let repeated = locked(&self.reported).is_repeated((shard, credit.seq));
        Known::of(self, &credit.row).source(credit).event(repeated, tests)
    }

    /// Returns an account's conversions behind a cursor, at most `limit`, with where they end and whether there
    /// are more before the last closed minute.
    pub(in crate::node) fn outgoing(
        &self,
        account: u64,
        cursor: &SeqVector,
        now: Moment,
        limit: usize,
    ) -> (Vec<(usize, Credit)>, SeqVector, bool) {
        let end = closed_before(now);
        self.note_reported(&mut locked(&self.reported), end);
        self.conversions(cursor, end, limit, |row| row.account_id == account)
    }
}

impl Front {
    /// Returns the next page of payloads, of one account or of all that the caller may see, up to the last
    /// closed minute before `now`, which it says too.
    pub fn payloads(
        &self,
        scope: Scope,
        account: u64,
        test_event_code: &str,
        cursor: &SeqVector,
        now: Moment,
    ) -> (PulledPayloads, Moment) {
        let (live, end) = (&self.0, closed_before(now));
        live.note_reported(&mut locked(&live.reported), end);
        let wanted = |row: &AttributionRow| {
            (account == 0 || row.account_id == account)
                && sees(&live.catalog(), scope, Some(row.account_id))
        };
        let (credits, cursor, more) = live.conversions(cursor, end, PULL_ROWS_MAX, wanted);
        let row = |(shard, credit): &(usize, Credit)| {
            let event = live.event_of(*shard, credit, !test_event_code.is_empty());
            payload(&credit.row, event, test_event_code)
        };
        (PulledPayloads { rows: credits.iter().map(row).collect(), cursor, more }, end)
    }

    /// Returns where an account's conversions are sent, and how many were given up.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn push(&self, scope: Scope, account: u64) -> Result<(ConversionPush, usize), Refusal> {
        let put = {
            let catalog = self.0.catalog();
            own_account(&catalog, scope, account)?;
            catalog.pushes.get(&account).map(|known| known.0.clone())
        };
        let put = put.unwrap_or_else(|| ConversionPushPut { account, ..Default::default() });
        let dead = self.0.desks(account).pushes.get(&account).map_or(0, |push| push.dead.len());
        Ok((push_of(&put), dead))
    }

    /// Returns conversions of an account that were given up, by outcome behind the one named, and the last
    /// one's if there are more.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn dead_letters(
        &self,
        scope: Scope,
        account: u64,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<ConversionDeadLetter>, Option<u64>), Refusal> {
        self.push(scope, account)?;
        let dead: Vec<_> = {
            let desks = self.0.desks(account);
            let dead = desks
                .pushes
                .get(&account)
                .map(|push| push.dead.range((Excluded(after), Unbounded)));
            dead.into_iter().flatten().take(limit + 1).map(|(_, dead)| dead.0).collect()
        };
        let more = dead.len() > limit;
        let waiting = locked(&self.0.resends).get(&account).cloned().unwrap_or_default();
        let letter = |dead: &DeadLetter| {
            let part = self.0.shard(dead.shard as usize % SHARDS);
            let credit = part.credit_at(dead.seq);
            ConversionDeadLetter {
                outcome_id: dead.outcome,
                event_id: credit.map_or_else(String::new, |credit| credit.row.event_id.clone()),
                status: dead.status,
                tries: dead.tries,
                last_try_time: Some(timestamp(dead.last_ms)),
                retrying: waiting.contains(&dead.outcome),
            }
        };
        let letters: Vec<_> = dead.iter().take(limit).map(letter).collect();
        let last = letters.last().map(|letter| letter.outcome_id).filter(|_| more);
        Ok((letters, last))
    }

    /// Returns which of these conversions are in an account's list of the given up; of none named, all.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn listed_letters(
        &self,
        scope: Scope,
        account: u64,
        outcomes: &[u64],
    ) -> Result<Vec<u64>, Refusal> {
        self.push(scope, account)?;
        let desks = self.0.desks(account);
        let Some(push) = desks.pushes.get(&account) else { return Ok(Vec::new()) };
        if outcomes.is_empty() {
            return Ok(push.dead.keys().copied().collect());
        }
        let mut listed: Vec<_> =
            outcomes.iter().copied().filter(|outcome| push.dead.contains_key(outcome)).collect();
        listed.sort_unstable();
        listed.dedup();
        Ok(listed)
    }

    /// Returns what the log of changes is told before given-up conversions are sent once more or dropped.
    fn noted_letters(
        &self,
        by: &Author,
        account: u64,
        outcomes: &[u64],
        drop: bool,
    ) -> Option<Kind> {
        let outcome_ids = outcomes.to_vec();
        let after = RetryDeadLettersRequest { account_id: account, outcome_ids, drop };
        let changed = Changed {
            subject: account.to_string(),
            owner: self.0.catalog().tenant_of(account).unwrap_or_default(),
            kind: "munadi.v1.RetryDeadLettersRequest",
            after: after.encode_to_vec(),
            ..Changed::default()
        };
        noted(by, changed)
    }

    /// Lets these given-up conversions of an account be sent once more. A restart forgets that; they are listed
    /// until they were delivered.
    pub fn resend(&self, account: u64, outcomes: &[u64]) {
        locked(&self.0.resends).entry(account).or_default().extend(outcomes);
    }
}

fn payload(
    row: &AttributionRow,
    event: Result<Event, ConversionSkip>,
    test_event_code: &str,
) -> ConversionPayload {
    let test = event.is_ok() && row.invalid != 0;
    ConversionPayload {
        outcome_id: row.outcome_id,
        account_id: row.account_id,
        conversation_id: row.conversation_id,
        event_id: row.event_id.clone(),
        event_time: row.event_time,
        payload: event.as_ref().map(Event::json).unwrap_or_default(),
        skip: event.err().unwrap_or_default().into(),
        test_event_code: if test { test_event_code.to_owned() } else { String::new() },
        journal_minute: row.journal_minute,
    }
}

pub(in crate::node) fn push_of(put: &ConversionPushPut) -> ConversionPush {
    ConversionPush {
        account_id: put.account,
        url: put.url.clone(),
        key_version: put.key_version,
        start_time: (put.key_version > 0).then(|| timestamp(put.from_ms)),
        test_event_code: put.test_event_code.clone(),
    }
}

impl Node {
    /// Returns the next page of payloads; see [`Front::payloads`].
    ///
    /// # Errors
    /// As [`Node::settled`], and `NotFound` for a foreign account.
    pub async fn payloads(
        &self,
        scope: Scope,
        account: u64,
        test_event_code: &str,
        cursor: SeqVector,
    ) -> Result<(PulledPayloads, Moment), Refusal> {
        let now = self.settled().await?;
        if account != 0 {
            self.front().push(scope, account)?;
        }
        Ok(self.front().payloads(scope, account, test_event_code, &cursor, now))
    }

    /// Sets where an account's conversions are sent; answers the key's secret where this made it.
    ///
    /// # Errors
    /// With the field at fault, or as [`Node::settled`].
    pub async fn set_push(&self, change: PushChange) -> Result<SetConversionPushResponse, Refusal> {
        let account = change.account;
        let set = self.submit(|reply| Work::SetPush(Box::new(change), reply))?.await?;
        let version = set.push.as_ref().map_or(0, |push| push.key_version);
        let made = set.signing_secret == MADE;
        let secret = || push_secret(&self.opener().ring().cursor, account, version);
        let signing_secret = if made { secret() } else { String::new() };
        Ok(SetConversionPushResponse { signing_secret, ..set })
    }

    /// Sends given-up conversions once more, or takes them from the list; returns how many were in it.
    ///
    /// # Errors
    /// `NotFound` for a foreign account, `FieldInvalid` where nothing is sent, or as [`Node::settled`].
    pub async fn retry_dead_letters(
        &self,
        by: &Author,
        scope: Scope,
        account: u64,
        outcomes: &[u64],
        drop: bool,
    ) -> Result<usize, Refusal> {
        self.settled().await?;
        let listed = self.front().listed_letters(scope, account, outcomes)?;
        let (push, _) = self.front().push(scope, account)?;
        let count = listed.len();
        if !drop && push.url.is_empty() {
            let message = "has no URL that its conversions are sent to: set one first";
            return Err(Refusal::new(Reason::FieldInvalid, "account_id", message));
        }
        self.note(self.front().noted_letters(by, account, &listed, drop)).await?;
        if drop {
            let fact = ConversionsPushed { account, revived: listed, ..Default::default() };
            self.submit(|reply| Work::Pushed(Box::new(fact), reply))?.await?;
        } else {
            self.front().resend(account, &listed);
        }
        Ok(count)
    }
}
