//! Counts the journal by hand, fact by fact, with nothing of the engine but its messages.

use std::collections::BTreeMap;

use munadi::journal::Block;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    ClickMatched, ConversationOpened, ConversionCredited, Converted, Decision, Fact, OutboxSettled,
    OutcomeDeclined, OutcomeRevised, Proof, ServedMinute, Showing,
};
use munadi::types::proto::v1::{
    DeclineReason, Direction, EventKind, InvalidReason, MatchKind, Outcome,
};
use munadi::types::token::ViewToken;
use prost::Message;

use crate::books::Books;
use crate::catalog::Rows;
use crate::costs::Costs;
use crate::coverage::{Coverage, name_of};
use crate::matches::Matches;
use crate::steps::Steps;

/// What was found wrong, in a sentence.
pub(crate) type Finding = Result<(), String>;

const CLICK_WINDOW_MS: i64 = 7 * 24 * 3_600_000;

pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(what()) }
}

/// Names one thing that a caller sent, however often.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Key {
    /// View and event kind.
    Ad(u64, EventKind),
    /// Conversation, click, and code, ad or source.
    Opened(u64, u64, u64),
    /// The conversation that another name would make.
    Moved(u64),
    /// Conversation and message.
    Message(u64, u64),
    /// Account and event id.
    Converted(u64, String),
    /// Tenant and request id.
    Write(u32, String),
}

/// One showing, as its token says.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) token: ViewToken,
    pub(crate) account: u64,
    pub(crate) ad_set: u64,
}

/// What the journal says of one showing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewBook {
    pub(crate) seen: bool,
    /// When it was seen, and whether the device said so.
    pub(crate) seen_ms: i64,
    pub(crate) timed: bool,
    /// Why the view, or its tap, is invalid; 0: it is valid.
    pub(crate) invalid: i32,
    pub(crate) tap_invalid: i32,
    pub(crate) watched: Vec<u32>,
    pub(crate) tapped: bool,
    billed: u32,
    conversation: u64,
}

/// What the journal says of one opening or conversion.
#[derive(Clone, Debug, Default)]
struct OutcomeBook {
    proof: Option<Proof>,
    opening: bool,
    conversation: u64,
    endpoint: u64,
    event_ms: i64,
    credited: bool,
    declined: bool,
    settled: bool,
    revised: bool,
}

/// Impressions, viewable, taps, conversations, first replies, conversions, value, spend, over-delivered,
/// hides and reports of one ad and hour.
pub(crate) type Counts = [i64; 11];

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) rows: Rows,
    pub(crate) books: Books,
    /// What was handed out, by view. Noted by the world when it serves.
    pub(crate) handed: BTreeMap<u64, Handed>,
    pub(crate) views: BTreeMap<u64, ViewBook>,
    pub(crate) codes: BTreeMap<u64, (u64, u64)>,
    outcomes: BTreeMap<u64, OutcomeBook>,
    pub(crate) tallies: BTreeMap<(u64, i64), Counts>,
    pub(crate) steps: Steps,
    pub(crate) costs: Costs,
    /// Reported taps by viewer, and views by viewer and ad: when they happened.
    pub(crate) taps: BTreeMap<u64, Vec<i64>>,
    pub(crate) sights: BTreeMap<(u64, u64), Vec<i64>>,
    /// How often each sent thing stands in the journal, and what it was charged.
    pub(crate) found: BTreeMap<Key, (u64, i64)>,
    /// Journal times of impressions by viewer and capped ad set.
    pub(crate) capped: BTreeMap<(u64, u64), Vec<i64>>,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    pub(crate) coverage: Coverage,
    matches: Matches,
    next: BTreeMap<u8, u64>,
    latest: BTreeMap<u8, i64>,
    batch: u64,
    pub(crate) facts: u64,
}

impl Ledger {
    /// Tells whether this block is the first of another batch.
    pub(crate) fn begins_batch(&self, block: &Block) -> bool {
        block.batch.0 > self.batch
    }

    /// Counts one more block.
    pub(crate) fn read(&mut self, block: &Block) -> Finding {
        let shard = block.shard.number();
        let next = self.next.entry(shard).or_insert(1);
        ensure(block.first.0 == *next, || format!("shard {shard} skips to {}", block.first))?;
        *next += u64::from(block.count);
        ensure(block.batch.0 >= self.batch, || format!("batch {} goes back", block.batch))?;
        if self.begins_batch(block) {
            self.books.check_batch()?;
            self.matches.check_batch(&mut self.coverage)?;
            self.costs.check_batch(&self.rows, &mut self.coverage)?;
        }
        self.batch = block.batch.0;
        let mut seq = block.first.0;
        for bytes in block.decisions() {
            let decision = Decision::decode(bytes).map_err(|error| error.to_string())?;
            let latest = self.latest.entry(shard).or_default();
            ensure(decision.at_ms >= *latest, || {
                format!("shard {shard}, {seq}: the journal's time goes back to {}", decision.at_ms)
            })?;
            *latest = decision.at_ms;
            // A price of its own is what a later status was recorded as.
            if let [Fact { kind: Some(Kind::MessagePriced(fact)) }, ..] = &decision.facts[..] {
                self.find(Key::Message(fact.conversation, fact.message), 0);
            }
            for fact in &decision.facts {
                let kind = fact.kind.as_ref().ok_or("a fact of no kind")?;
                self.fact(kind, decision.at_ms)
                    .map_err(|what| format!("shard {shard}, sequence {seq}: {what}: {kind:?}"))?;
                seq += 1;
                self.facts += 1;
            }
        }
        Ok(())
    }

    fn note_revised(&mut self, fact: &OutcomeRevised) -> Finding {
        if let Some(book) = self.outcomes.get_mut(&fact.outcome) {
            book.revised = true;
        }
        self.revised(fact)
    }

    fn fact(&mut self, kind: &Kind, at: i64) -> Finding {
        self.coverage.note("fact", name_of(kind));
        self.steps.note(kind, at)?;
        self.matches.note(kind, self.batch)?;
        self.costs.note(kind, &mut self.coverage)?;
        match kind {
            Kind::Granted(fact) => self.books.grant(fact, at, &self.rows, &mut self.coverage),
            Kind::ServedMinute(fact) => self.minute(fact),
            Kind::ImpressionSeen(fact) => self.seen(fact, at),
            Kind::Watched(fact) => self.watched(fact),
            Kind::Tapped(fact) => self.tapped(fact, at),
            Kind::FeedbackGiven(fact) => self.feedback(fact),
            Kind::ClickMatched(fact) => self.matched(fact, at),
            Kind::ConversionCredited(fact) => self.credited(fact),
            Kind::ConversationOpened(fact) => self.opened(fact),
            Kind::MessageRecorded(fact) => {
                self.find(Key::Message(fact.conversation, fact.message), 0);
                if fact.first_reply_ad != 0 {
                    let outbound = fact.direction() == Direction::Outbound;
                    ensure(outbound, || "a reply that is none".into())?;
                    self.count(fact.first_reply_ad, fact.event_ms, 4, 1);
                }
                Ok(())
            }
            Kind::Converted(fact) => self.converted(fact),
            Kind::ContactMoved(fact) => {
                self.find(Key::Moved(fact.conversation), 0);
                Ok(())
            }
            Kind::OutboxSettled(fact) => self.settled(fact),
            Kind::OutcomeDeclined(fact) => self.declined(fact),
            Kind::RequestAnswered(fact) => {
                self.find(Key::Write(fact.tenant, fact.request_id.clone()), 0);
                Ok(())
            }
            Kind::Funded(fact) => self.books.entries.funded(fact),
            Kind::EventCredited(fact) => self.given_back(fact, at),
            Kind::OutcomeRevised(fact) => self.note_revised(fact),
            Kind::ExchangeRatesPut(_)
            | Kind::TrafficRulesPut(_)
            | Kind::RateCardsPut(_)
            | Kind::VolumeTierPut(_)
            | Kind::EntrySourcePut(_)
            | Kind::ConversionPushPut(_)
            | Kind::ConversionsPushed(_)
            | Kind::MessagePriced(_)
            | Kind::SourceTapped(_)
            | Kind::ReferralNoted(_)
            | Kind::StepCredited(_)
            | Kind::GhostNoted(_)
            | Kind::OutcomeNoted(_)
            | Kind::RevisionSettled(_)
            | Kind::TouchRevised(_)
            | Kind::ViewerErased(_)
            | Kind::ExperimentPut(_)
            | Kind::ChangeNoted(_)
            | Kind::ApiKeyPut(_)
            | Kind::ApiKeysUsed(_) => Ok(()),
            Kind::TaxonomyPut(_)
            | Kind::PolicyRulesPut(_)
            | Kind::AccountPut(_)
            | Kind::BusinessPut(_)
            | Kind::EndpointPut(_)
            | Kind::CampaignPut(_)
            | Kind::AdSetPut(_)
            | Kind::AdPut(_) => self.books.put(kind, &mut self.rows, &mut self.coverage),
        }
    }

    fn opened(&mut self, fact: &ConversationOpened) -> Finding {
        let proof = fact.proof.unwrap_or_default();
        let claim = match proof.match_kind() {
            // The tap was looked up: nobody named it.
            MatchKind::OnlyTap => (0, 0),
            MatchKind::ChannelRef => (0, proof.ad),
            _ => (proof.view, proof.code + fact.source),
        };
        self.find(Key::Opened(fact.conversation, claim.0, claim.1), 0);
        self.outcomes.entry(fact.outcome).or_insert(OutcomeBook {
            proof: fact.proof,
            opening: true,
            conversation: fact.conversation,
            endpoint: fact.endpoint,
            event_ms: fact.event_ms,
            ..OutcomeBook::default()
        });
        Ok(())
    }

    fn converted(&mut self, fact: &Converted) -> Finding {
        self.find(Key::Converted(fact.account, fact.event_id.clone()), 0);
        let known = self.outcomes.insert(
            fact.outcome,
            OutcomeBook {
                proof: fact.proof,
                conversation: fact.conversation,
                event_ms: fact.event_ms,
                ..OutcomeBook::default()
            },
        );
        ensure(known.is_none(), || "a conversion counted twice".into())
    }

    pub(crate) fn find(&mut self, key: Key, charged: i64) {
        let found = self.found.entry(key).or_default();
        found.0 += 1;
        found.1 += charged;
    }

    pub(crate) fn count(&mut self, ad: u64, ms: i64, column: usize, by: i64) {
        self.tallies.entry((ad, ms.div_euclid(3_600_000))).or_default()[column] += by;
    }

    /// Returns the book of a showing, once its showing says what its token said.
    pub(crate) fn view(&mut self, showing: &Showing) -> Result<&mut ViewBook, String> {
        let handed = self.handed.get(&showing.view).ok_or("a view that was never handed out")?;
        let token = &handed.token;
        let same = token.ad == showing.ad
            && token.viewer == showing.viewer
            && token.issued == showing.issued_s
            && handed.account == showing.account
            && handed.ad_set == showing.ad_set;
        ensure(same, || format!("it was handed out as {handed:?}"))?;
        Ok(self.views.entry(showing.view).or_default())
    }

    /// Checks a charge, or its absence, against what the token said of the price. An invalid event says what
    /// it would have cost instead.
    pub(crate) fn charge(
        &mut self,
        showing: &Showing,
        charge: Option<&munadi::types::proto::journal::v1::Charge>,
        price: Option<i64>,
        (invalid, invalid_price): (i32, i64),
        at: i64,
    ) -> Result<i64, String> {
        let price = if invalid == 0 {
            ensure(invalid_price == 0, || "a valid event's invalid price".into())?;
            price
        } else {
            ensure(charge.is_none(), || "an invalid event was charged".into())?;
            let cost = price.unwrap_or_default().max(0);
            ensure(invalid_price == cost, || format!("it would have cost {cost}"))?;
            None
        };
        ensure(charge.is_some() == price.is_some(), || format!("the price was {price:?}"))?;
        let Some((charge, price)) = charge.zip(price) else { return Ok(0) };
        let sum = charge.amount + charge.over_delivered;
        ensure(sum == price.max(0), || format!("the token's price was {price}"))?;
        let view = self.view(showing)?;
        view.billed += 1;
        ensure(view.billed == 1, || "a view billed twice".into())?;
        self.books.charge(showing, charge, at, &self.rows, &mut self.coverage)?;
        self.books.entries.charged(showing, charge, at)?;
        self.count(showing.ad, at, 7, charge.amount);
        self.count(showing.ad, at, 8, charge.over_delivered);
        Ok(charge.amount)
    }

    /// Returns the outcome, once its proof is found to lead to this view.
    fn outcome(&mut self, id: u64, view: u64) -> Result<&mut OutcomeBook, String> {
        let book = self.outcomes.get_mut(&id).ok_or("an outcome that nobody reported")?;
        let proof = book.proof.ok_or("credit without a proof")?;
        let by_code = self.codes.get(&proof.code);
        let good = match by_code {
            _ if proof.code == 0 => proof.view == view,
            Some((of, endpoint)) => *of == view && (!book.opening || book.endpoint == *endpoint),
            None => false,
        };
        ensure(good, || format!("its proof does not lead here: {proof:?}"))?;
        ensure(!book.credited && !book.declined, || "credited or declined before".into())?;
        ensure(!book.settled, || "credited after it was settled".into())?;
        Ok(book)
    }

    fn window(&self, view: u64, event_ms: i64, touch_ms: i64) -> Finding {
        let issued_ms = i64::from(self.handed[&view].token.issued) * 1_000;
        ensure(event_ms >= issued_ms, || "credited to an ad that came after it".into())?;
        ensure(event_ms - touch_ms <= CLICK_WINDOW_MS, || "outside its window".into())
    }

    fn matched(&mut self, fact: &ClickMatched, at: i64) -> Finding {
        let showing = known(&fact.showing)?;
        let view = self.view(showing)?;
        ensure(view.conversation == 0, || "a click used by two conversations".into())?;
        ensure(fact.implied_tap != view.tapped, || "the implied tap".into())?;
        let (seen, was_tapped) = (view.seen, view.tapped);
        let inherited = if was_tapped { view.tap_invalid } else { view.invalid };
        ensure(fact.invalid == inherited, || format!("its click was {inherited}"))?;
        view.conversation = fact.conversation;
        view.tapped = true;
        view.tap_invalid = inherited;
        self.window(showing.view, fact.event_ms, fact.touch_ms)?;
        let token = self.handed[&showing.view].token;
        let book = self.outcome(fact.outcome, showing.view)?;
        book.credited = true;
        ensure(book.opening && book.conversation == fact.conversation, || "not its own".into())?;
        ensure(book.event_ms == fact.event_ms, || "another time than it was opened".into())?;
        // A tap that its feed has not told yet is charged with the opening that proves it.
        let of_tap = token.billing == 2 && !was_tapped;
        let billed = of_tap || token.billing == 3;
        let billed = billed && token.price_micros > 0 && (seen || was_tapped);
        ensure(fact.tap_billed == (billed && of_tap), || "what it says is charged".into())?;
        let price = billed.then_some(token.price_micros);
        let invalid = (fact.invalid, fact.invalid_price);
        self.charge(showing, fact.charge.as_ref(), price, invalid, at)?;
        if fact.charge.is_some() {
            let of_tap = ["charged for a conversation", "charged for an implied tap"];
            self.coverage.note("money", of_tap[usize::from(fact.tap_billed)]);
        }
        if fact.invalid != 0 {
            return Ok(());
        }
        if fact.implied_tap {
            self.count(showing.ad, fact.touch_ms, 2, 1);
        }
        self.count(showing.ad, fact.event_ms, 3, 1);
        Ok(())
    }

    fn credited(&mut self, fact: &ConversionCredited) -> Finding {
        let showing = known(&fact.showing)?;
        let view = self.view(showing)?;
        let inherited = if view.tapped { view.tap_invalid } else { view.invalid };
        ensure(fact.invalid == inherited, || format!("its click was {inherited}"))?;
        let used = view.conversation;
        self.window(showing.view, fact.event_ms, fact.touch_ms)?;
        let book = self.outcome(fact.outcome, showing.view)?;
        book.credited = true;
        let ours = book.conversation;
        ensure(!book.opening && ours == fact.conversation, || "not its own".into())?;
        let free = used == 0 || ours == 0 || used == ours;
        ensure(free, || "credited to another conversation's click".into())?;
        if fact.invalid != 0 {
            return Ok(());
        }
        self.count(showing.ad, fact.event_ms, 5, 1);
        let account = &self.rows.accounts[&showing.account];
        if let Some(value) = fact.value.as_ref().filter(|value| value.currency == account.currency)
        {
            self.count(showing.ad, fact.event_ms, 6, value.micros);
        }
        Ok(())
    }

    fn declined(&mut self, fact: &OutcomeDeclined) -> Finding {
        let reason = DeclineReason::try_from(fact.reason).unwrap_or_default();
        self.coverage.note("declined", format!("{reason:?}"));
        let book = self.outcomes.get_mut(&fact.outcome).ok_or("declines what nobody reported")?;
        ensure(!book.credited && !book.declined && !book.settled, || "ended before".into())?;
        ensure(book.opening == (fact.kind == i32::from(Outcome::Conversation)), || "kind".into())?;
        book.declined = true;
        let replay = book.opening && reason == DeclineReason::Duplicated;
        ensure((fact.invalid == i32::from(InvalidReason::Replay)) == replay, || "a replay".into())?;
        if replay {
            self.coverage.note("invalid", fact.invalid().as_str_name());
        }
        Ok(())
    }

    fn settled(&mut self, fact: &OutboxSettled) -> Finding {
        let book = self.outcomes.get_mut(&fact.outcome).ok_or("settles what nobody reported")?;
        let proof = book.proof.ok_or("settles what needs no delivery")?;
        ensure(!book.settled, || "settled twice".into())?;
        book.settled = true;
        let by_code = self.codes.get(&proof.code).map_or(0, |(view, _)| *view);
        let view = if proof.code == 0 { proof.view } else { by_code };
        let again = book.opening
            && self.views.get(&view).is_some_and(|view| view.conversation == book.conversation);
        ensure(book.credited || book.declined || again, || "settled without an end".into())?;
        // A revised opening may have another touch.
        if let Some(touch) = fact.touch.as_ref().filter(|_| !book.revised) {
            ensure(!book.declined && touch.view == view, || "a touch that is none".into())?;
            let invalid = self.views.get(&view).map_or(0, |view| view.tap_invalid);
            let silent = invalid == 0 || fact.first_reply_ad == 0;
            ensure(touch.invalid == invalid && silent, || "an invalid touch".into())?;
        }
        if fact.first_reply_ad != 0 {
            self.count(fact.first_reply_ad, fact.first_reply_ms, 4, 1);
        }
        Ok(())
    }

    fn minute(&mut self, fact: &ServedMinute) -> Finding {
        for row in &fact.rows {
            self.served += u64::from(row.served);
            for passed in &row.passed {
                self.coverage.note("skip", passed.reason.to_string());
            }
        }
        self.requests += fact.feeds.iter().map(|row| u64::from(row.requests)).sum::<u64>();
        Ok(())
    }

    /// Checks that every outcome with a proof has come to its end.
    pub(crate) fn check_quiet(&mut self) -> Finding {
        self.matches.check_batch(&mut self.coverage)?;
        self.costs.check_batch(&self.rows, &mut self.coverage)?;
        for (id, book) in &self.outcomes {
            let ended = book.settled || book.proof.is_none() && book.declined;
            ensure(ended, || format!("outcome {id} never came to an end: {book:?}"))?;
        }
        Ok(())
    }

    /// Checks that no ad has more first replies than conversations.
    pub(crate) fn check_replies(&self) -> Finding {
        let mut sums = BTreeMap::<u64, (i64, i64)>::new();
        for ((ad, _), counts) in &self.tallies {
            let sum = sums.entry(*ad).or_default();
            sum.0 += counts[3];
            sum.1 += counts[4];
        }
        for (ad, (conversations, replies)) in sums {
            ensure(replies <= conversations, || {
                format!("ad {ad}: {replies} first replies to {conversations} conversations")
            })?;
        }
        Ok(())
    }
}

pub(crate) fn known(showing: &Option<Showing>) -> Result<&Showing, String> {
    showing.as_ref().ok_or_else(|| "a fact of no showing".to_owned())
}
