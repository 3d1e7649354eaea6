//! The recount of what messages cost: each price beside the cards, volume steps and exchange rates that stood in the
//! journal, and the sums of each conversation by category.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::cli::audit::MessageSum;
use crate::cli::audit::recount::Place;
use crate::state::State;
use crate::state::tariffs::list_cards;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversationTouch, ExchangeRatesPut, MessagePriced};
use crate::types::proto::v1::{MessageCategory, PriceReason, RateCard};

const DAY_MS: i64 = 86_400_000;

/// The node remembers a message it priced for longer than this, and so a conversation without news.
const SURELY_REMEMBERED_MS: i64 = 28 * DAY_MS;

/// Free service messages of a number and month (FACTS, section 0, finding 1).
const FREE_A_MONTH: u64 = 1_000;

/// 2022-02-01: until then any message without a card of its own cost what utility costs.
const ONE_PRICE_UNTIL_MS: i64 = 1_643_673_600_000;

/// Conversation, category and currency.
type BillKey = (u64, i32, String);

/// What prices are made of, as it stood at one moment.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Lists {
    #[serde(with = "crate::state::wire::messages")]
    own: Vec<RateCard>,
    /// First message of the step, by business, category, market and month.
    steps: BTreeMap<(u64, i32, String, u32), u64>,
    #[serde(with = "crate::state::wire::message")]
    rates: ExchangeRatesPut,
}

/// A price of the batch that is read, and where it stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Waiting {
    place: String,
    #[serde(with = "crate::state::wire::message")]
    fact: MessagePriced,
}

/// What was counted of prices.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Prices {
    #[serde(skip, default = "list_cards")]
    listed: Vec<RateCard>,
    now: Lists,
    /// What stood before each change of this batch: in which order a batch was decided is not told.
    before: Vec<Lists>,
    batch: u64,
    /// Prices of this batch, and where they stand.
    waiting: Vec<Waiting>,
    /// By endpoint, and by account.
    channels: BTreeMap<u64, i32>,
    currencies: BTreeMap<u64, String>,
    /// The ad of a conversation's latest touch, 0 where it is invalid, the journal's time of it, and its opening.
    touches: BTreeMap<u64, (u64, i64, u64)>,
    /// When a conversation's message was priced, by the journal.
    priced: BTreeMap<(u64, u64), i64>,
    /// When a conversation's first message was priced, by the journal.
    first: BTreeMap<u64, i64>,
    /// In the currency of the cards.
    bills: BTreeMap<BillKey, MessageSum>,
    /// By endpoint and month since 1970-01.
    free: BTreeMap<(u64, u32), u64>,
    /// By category and currency of the account, in that currency.
    sums: BTreeMap<(i32, String), MessageSum>,
    #[serde(skip)]
    faults: Vec<String>,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            listed: list_cards(),
            now: Lists::default(),
            before: Vec::new(),
            batch: 0,
            waiting: Vec::new(),
            channels: BTreeMap::new(),
            currencies: BTreeMap::new(),
            touches: BTreeMap::new(),
            priced: BTreeMap::new(),
            first: BTreeMap::new(),
            bills: BTreeMap::new(),
            free: BTreeMap::new(),
            sums: BTreeMap::new(),
            faults: Vec::new(),
        }
    }
}

/// Returns the ad of a touch; 0: it is invalid.
fn valid_ad(touch: &ConversationTouch) -> u64 {
    if touch.invalid == 0 { touch.ad } else { 0 }
}

impl Prices {
    /// Goes on to a batch.
    pub(super) fn enter(&mut self, batch: u64) {
        if batch != self.batch {
            self.check_batch();
            self.batch = batch;
        }
    }

    /// Forgets messages that were priced before a moment: the node has too.
    pub(super) fn forget(&mut self, before_ms: i64) {
        self.priced.retain(|_, at_ms| *at_ms >= before_ms);
    }

    /// Counts a fact.
    pub(super) fn take(&mut self, place: &Place, fact: &Kind) {
        let at_ms = place.at_ms;
        match fact {
            Kind::AccountPut(fact) => {
                let row = fact.account.iter();
                self.currencies.extend(row.map(|row| (row.id, row.currency.clone())));
            }
            Kind::EndpointPut(fact) => {
                let row = fact.endpoint.iter();
                self.channels.extend(row.map(|row| (row.id, row.channel)));
            }
            Kind::RateCardsPut(fact) => {
                let lists = self.change();
                if !fact.added {
                    lists.own.clear();
                }
                lists.own.extend(fact.cards.iter().cloned());
            }
            Kind::VolumeTierPut(fact) => {
                let key = (fact.business, fact.category, letters(&fact.market), fact.month);
                let step = self.change().steps.entry(key).or_default();
                *step = fact.from.max(*step);
            }
            Kind::ExchangeRatesPut(fact) => self.change().rates = (**fact).clone(),
            Kind::OutboxSettled(fact) => {
                let touches = fact.touch.iter();
                let known = touches.map(|touch| (valid_ad(touch), at_ms, touch.outcome));
                self.touches.extend(known.map(|known| (fact.conversation, known)));
            }
            Kind::TouchRevised(fact) => {
                let known = self.touches.get_mut(&fact.conversation);
                for ((ad, _, opening), touch) in known.into_iter().zip(&fact.touch) {
                    if *opening == touch.outcome {
                        *ad = valid_ad(touch);
                    }
                }
            }
            Kind::MessagePriced(fact) => self.price(place.to_string(), at_ms, fact),
            _ => {}
        }
    }

    fn change(&mut self) -> &mut Lists {
        self.before.push(self.now.clone());
        &mut self.now
    }

    fn price(&mut self, place: String, at_ms: i64, fact: &MessagePriced) {
        let known = self.priced.insert((fact.conversation, fact.message), at_ms);
        if known.is_some_and(|known_ms| at_ms < known_ms + SURELY_REMEMBERED_MS) {
            self.faults.push(format!("{place}: this message was priced before"));
        }
        let (ad, touched_ms, _) = self.touches.get(&fact.conversation).copied().unwrap_or_default();
        // The touch goes with a conversation that was silent for long.
        let forgotten = fact.ad == 0 && at_ms >= touched_ms + SURELY_REMEMBERED_MS;
        if fact.ad != ad && !forgotten {
            let told = fact.ad;
            self.faults.push(format!("{place}: priced for ad {told}, its touch is of ad {ad}"));
        }
        self.first.entry(fact.conversation).or_insert(at_ms);
        let key = (fact.conversation, fact.category, fact.currency.clone());
        let bill = self.bills.entry(key).or_default();
        bill.messages += 1;
        bill.micros += fact.amount;
        if fact.free_month != 0 {
            let taken = self.free.entry((fact.endpoint, fact.free_month)).or_default();
            *taken += 1;
            if *taken > FREE_A_MONTH {
                self.faults.push(format!("{place}: free message {taken} of its month"));
            }
        }
        let own = self.currencies.get(&fact.account).cloned().unwrap_or_default();
        let sum = self.sums.entry((fact.category, own)).or_default();
        sum.messages += 1;
        sum.micros += fact.account_amount;
        self.waiting.push(Waiting { place, fact: fact.clone() });
    }

    /// Checks the prices of a batch by what stood before it or came with it.
    pub(super) fn check_batch(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for Waiting { place, fact } in waiting {
            let mut wrong = None;
            for lists in self.before.iter().chain([&self.now]) {
                wrong = self.check(lists, &fact);
                if wrong.is_none() {
                    break;
                }
            }
            self.faults.extend(wrong.map(|what| format!("{place}: {what}")));
        }
        self.before.clear();
    }

    /// Returns what is wrong with a price.
    fn check(&self, lists: &Lists, fact: &MessagePriced) -> Option<String> {
        let regular = fact.reason() == PriceReason::Regular;
        let month = month_of(fact.event_ms);
        let free_month = if fact.reason() == PriceReason::FreeAllowance { month } else { 0 };
        if regular {
            let amounts = self.amounts(lists, fact, month);
            if !amounts.contains(&fact.amount) {
                return Some(format!("priced at {}, cards say {amounts:?}", fact.amount));
            }
        } else if fact.amount != 0 {
            return Some(format!("{} for a message that is free or unpriced", fact.amount));
        }
        if fact.free_month != free_month {
            return Some(format!("free in month {}, not in {free_month}", fact.free_month));
        }
        let exchanged = self.exchanged(lists, fact);
        let told = fact.account_amount;
        (told != exchanged).then(|| format!("{told} in the account's currency, not {exchanged}"))
    }

    /// Returns what the cards of the fact's market and currency ask for it.
    fn amounts(&self, lists: &Lists, fact: &MessagePriced, month: u32) -> BTreeSet<i64> {
        let channel = self.channels.get(&fact.endpoint).copied().unwrap_or_default();
        let utility = i32::from(MessageCategory::Utility);
        let service = fact.category == i32::from(MessageCategory::Service);
        let mut categories = BTreeSet::from([fact.category]);
        if service || fact.event_ms < ONE_PRICE_UNTIL_MS {
            categories.insert(utility);
        }
        let market = letters(&fact.market);
        let fits = |card: &&RateCard, category: i32| {
            let currency = card.price.as_ref().map_or("", |price| &price.currency);
            (card.channel, card.category) == (channel, category)
                && currency == fact.currency
                && letters(&card.market) == market
        };
        let of_category = |category: i32| {
            let mut cards: Vec<_> = lists.own.iter().filter(|card| fits(card, category)).collect();
            if cards.is_empty() {
                cards = self.listed.iter().filter(|card| fits(card, category)).collect();
            }
            let begun = cards.iter().map(|card| start_ms(card)).filter(|ms| *ms <= fact.event_ms);
            let latest_ms = begun.max()?;
            let key = (fact.business, category, market.clone(), month);
            let volume = lists.steps.get(&key).copied().unwrap_or_default().max(1);
            let mut steps = cards.into_iter().filter(|card| start_ms(card) == latest_ms);
            let step = steps.find(|card| {
                let last = if card.to_messages == 0 { u64::MAX } else { card.to_messages };
                (card.from_messages..=last).contains(&volume)
            });
            step.and_then(|card| card.price.as_ref()).map(|price| price.micros)
        };
        categories.into_iter().filter_map(of_category).collect()
    }

    /// Returns an amount in the account's currency, rounded down; 0: a rate is not known.
    fn exchanged(&self, lists: &Lists, fact: &MessagePriced) -> i64 {
        let own = self.currencies.get(&fact.account).map_or("", String::as_str);
        if own == fact.currency {
            return fact.amount;
        }
        let rate = |currency: &str| {
            if lists.rates.settlement_currency == currency {
                return 1_000_000;
            }
            let dated = lists.rates.rates.iter().filter(|rate| rate.currency == currency);
            let begun = dated.filter_map(|rate| {
                let from = rate.valid_from.as_ref().map_or(0, |time| time.seconds * 1_000);
                (from <= fact.event_ms).then_some((from, rate.rate_micros))
            });
            begun.max_by_key(|(from, _)| *from).map_or(0, |(_, micros)| micros)
        };
        let (from, to) = (rate(&fact.currency), rate(own));
        if from == 0 || to == 0 {
            return 0;
        }
        let exact = i128::from(fact.amount) * i128::from(from) / i128::from(to);
        i64::try_from(exact).unwrap_or(i64::MAX)
    }

    /// Returns what is wrong in the journal itself.
    pub(super) fn faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    /// Returns the sums by category, then by the account's currency.
    pub(super) fn by_category(&self) -> BTreeMap<String, BTreeMap<String, MessageSum>> {
        let mut all = BTreeMap::<String, BTreeMap<String, MessageSum>>::new();
        for ((category, currency), sum) in &self.sums {
            let category = MessageCategory::try_from(*category).unwrap_or_default();
            let name = category.as_str_name().trim_start_matches("MESSAGE_CATEGORY_");
            all.entry(name.to_lowercase()).or_default().insert(currency.clone(), *sum);
        }
        all
    }

    /// Names where the node's own sums differ: of conversations by category, and of free messages.
    pub(super) fn compare(&self, state: &State, last_ms: i64, found: &mut Vec<String>) {
        let mut node = BTreeMap::new();
        for (id, chat) in state.buckets.iter().flat_map(|bucket| &bucket.chats) {
            for cost in chat.bill.costs() {
                let sum = MessageSum { messages: cost.messages, micros: cost.micros };
                node.insert((*id, cost.category, cost.currency.clone()), sum);
            }
        }
        // What the node may have forgotten is not compared.
        let kept = |key: &&BillKey| {
            self.first.get(&key.0).is_none_or(|first| last_ms < first + SURELY_REMEMBERED_MS)
        };
        let keys: BTreeSet<_> = self.bills.keys().chain(node.keys()).filter(kept).collect();
        for key in keys {
            let (ours, theirs) = (self.bills.get(key), node.get(key));
            if ours != theirs {
                let what = format!("conversation {}, category {} in {:?}", key.0, key.1, key.2);
                found.push(format!("{what}: counted {ours:?}, the node has {theirs:?}"));
            }
        }
        self.compare_free(state, month_of(last_ms), found);
    }

    /// Compares the free messages of this month and the last one: the node keeps two.
    fn compare_free(&self, state: &State, month: u32, found: &mut Vec<String>) {
        let mut node = BTreeMap::new();
        for (endpoint, desk) in state.desks.iter().flat_map(|chunk| &chunk.desks) {
            let months = [month.saturating_sub(1), month];
            node.extend(months.map(|month| ((*endpoint, month), desk.free_used(month))));
        }
        node.retain(|_, taken| *taken != 0);
        let recent = |key: &&(u64, u32)| (month.saturating_sub(1)..=month).contains(&key.1);
        let keys: BTreeSet<_> = self.free.keys().filter(recent).chain(node.keys()).collect();
        for key in keys {
            let (ours, theirs) = (self.free.get(key), node.get(key));
            if ours != theirs {
                let what = format!("endpoint {}, free messages of month {}", key.0, key.1);
                found.push(format!("{what}: counted {ours:?}, the node has {theirs:?}"));
            }
        }
    }
}

fn start_ms(card: &RateCard) -> i64 {
    card.valid_from
        .as_ref()
        .map_or(0, |time| time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000)
}

/// Returns a market's name as names are compared.
fn letters(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// Returns the month since 1970-01, by UTC.
fn month_of(ms: i64) -> u32 {
    let time = jiff::Timestamp::from_millisecond(ms.max(0)).unwrap_or_default();
    let date = TimeZone::UTC.to_datetime(time).date();
    ((i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1).unsigned_abs()
}
