//! What messages cost, found again by hand from the journal and from what platforms said of them: windows from
//! everything that was ever heard, cards, steps and rates as they stood.

use std::collections::BTreeMap;

use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    ExchangeRatesPut, MessagePriced, RateCardsPut, VolumeTierPut,
};
use munadi::types::proto::v1::{
    ChannelPricing, Direction, MessageCategory, PriceReason, PricingModel, RateCard,
};

use crate::audit::{Finding, ensure};
use crate::catalog::Rows;
use crate::coverage::Coverage;
use crate::windows::{Event, Naive};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// When the rules begin: 2022-02-01, 2024-11-01, 2025-07-01 and 2026-10-01.
const RULES: [i64; 4] =
    [1_643_673_600_000, 1_730_419_200_000, 1_751_328_000_000, 1_790_812_800_000];

/// What a platform says of one message, whichever status it tells.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) category: MessageCategory,
    pub(crate) pricing: Option<ChannelPricing>,
    pub(crate) country: u16,
}

/// The operator's lists as they stood.
#[derive(Clone, Debug, Default)]
struct Lists {
    cards: Vec<RateCard>,
    steps: BTreeMap<(u64, i32, String, u32), u64>,
    rates: ExchangeRatesPut,
}

/// One conversation as it was heard.
#[derive(Debug, Default)]
struct Talk {
    heard: Naive,
    /// When a message was first heard of.
    messages: BTreeMap<u64, i64>,
    country: u16,
    /// Charged messages: category and time.
    charged: Vec<(i32, i64)>,
    /// The opening of the latest touch.
    opening: u64,
    /// The ad of the latest touch; 0: an invalid one, or none.
    ad: u64,
}

/// A price as it should be, but for the lists: why, as what, and the moment.
struct Waiting {
    fact: MessagePriced,
    reason: PriceReason,
    regime: usize,
    country: u16,
}

/// What was counted of prices.
#[derive(Default)]
pub(crate) struct Costs {
    /// By conversation's endpoint-wide message number: what the platform says of it.
    pub(crate) words: BTreeMap<u64, Word>,
    talks: BTreeMap<u64, Talk>,
    lists: Lists,
    /// As they stood before each change of this batch: the order of shards in it is not told.
    before: Vec<Lists>,
    waiting: Vec<Waiting>,
    free: BTreeMap<(u64, u32), u64>,
    priced: BTreeMap<(u64, u64), i64>,
    built_in: Vec<RateCard>,
}

impl Costs {
    /// Takes a fact, in the journal's order.
    pub(crate) fn note(&mut self, kind: &Kind, coverage: &mut Coverage) -> Finding {
        match kind {
            Kind::RateCardsPut(fact) => self.cards(fact),
            Kind::VolumeTierPut(fact) => self.step(fact),
            Kind::ExchangeRatesPut(fact) => self.change().rates = (**fact).clone(),
            Kind::ConversationOpened(fact) => {
                let talk = self.talks.entry(fact.conversation).or_default();
                if fact.country != 0 {
                    talk.country = fact.country as u16;
                }
                if fact.free_entry {
                    talk.heard.0.push((Event::Referral, fact.event_ms));
                }
                if fact.wrote {
                    talk.heard.0.push((Event::Inbound, fact.event_ms));
                }
            }
            Kind::MessageRecorded(fact) => {
                let talk = self.talks.entry(fact.conversation).or_default();
                talk.messages.entry(fact.message).or_insert(fact.event_ms);
                let event = match fact.direction() {
                    Direction::Outbound => Event::Outbound,
                    _ => Event::Inbound,
                };
                talk.heard.0.push((event, fact.event_ms));
            }
            Kind::OutboxSettled(fact) => {
                if let Some(touch) = &fact.touch {
                    let talk = self.talks.entry(fact.conversation).or_default();
                    talk.opening = touch.outcome;
                    talk.ad = if touch.invalid == 0 { touch.ad } else { 0 };
                }
            }
            Kind::TouchRevised(fact) => {
                let talk = self.talks.entry(fact.conversation).or_default();
                let touch = fact.touch.as_ref().ok_or("a revised touch that is none")?;
                if talk.opening == touch.outcome {
                    talk.ad = if touch.invalid == 0 { touch.ad } else { 0 };
                }
            }
            Kind::MessagePriced(fact) => return self.priced(fact, coverage),
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self) -> &mut Lists {
        self.before.push(self.lists.clone());
        &mut self.lists
    }

    fn cards(&mut self, fact: &RateCardsPut) {
        let lists = self.change();
        if !fact.added {
            lists.cards.clear();
        }
        lists.cards.extend(fact.cards.iter().cloned());
    }

    fn step(&mut self, fact: &VolumeTierPut) {
        let key = (fact.business, fact.category, fact.market.to_uppercase(), fact.month);
        let step = self.change().steps.entry(key).or_default();
        *step = fact.from.max(*step);
    }

    fn priced(&mut self, fact: &MessagePriced, coverage: &mut Coverage) -> Finding {
        let word = self.words.get(&fact.message).ok_or("a price of what nobody sent")?.clone();
        let known = self.priced.insert((fact.conversation, fact.message), fact.event_ms);
        ensure(known.is_none(), || "a message priced twice".into())?;
        let talk = self.talks.entry(fact.conversation).or_default();
        let heard =
            *talk.messages.get(&fact.message).ok_or("a price of what was never heard of")?;
        ensure(fact.ad == talk.ad, || format!("its latest touch is of ad {}", talk.ad))?;
        let at = fact.event_ms;
        let open = talk.heard.at(heard.min(at));
        let told = word.pricing.as_ref().map_or(MessageCategory::Unspecified, |it| it.category());
        let unsaid = told == MessageCategory::Unspecified;
        let category = if unsaid { word.category } else { told };
        ensure(fact.category() == category, || format!("it is {category:?}"))?;
        let model = word.pricing.as_ref().map_or(PricingModel::Unspecified, |it| it.model());
        let day = RULES.iter().filter(|from| **from <= at).count();
        let regime = match model {
            PricingModel::Conversation => day.clamp(1, 2),
            PricingModel::Message => day.max(3),
            PricingModel::Unspecified => day,
        };
        let paid = talk.charged.iter().filter(|(of, _)| *of == fact.category);
        let latest = paid.map(|(_, ms)| *ms).max();
        let paid = latest.is_some_and(|ms| ms <= at && at < ms + DAY_MS);
        let windows = (open.service_until.is_some(), open.free_entry_until.is_some());
        let ours = judged(regime, category, windows, paid);
        let reason = word.pricing.as_ref().map_or(ours, |it| heeded(regime, it, ours, paid));
        if matches!(fact.reason(), PriceReason::Regular | PriceReason::Unpriced) {
            talk.charged.push((fact.category, at));
        }
        if fact.free_month != 0 {
            let taken = self.free.entry((fact.endpoint, fact.free_month)).or_default();
            *taken += 1;
            ensure(*taken <= 1_000, || "more free messages than there are".into())?;
        }
        let country = if word.country == 0 { talk.country } else { word.country };
        coverage.note("price", fact.reason().as_str_name());
        coverage.note("mismatch", fact.mismatch().as_str_name());
        self.waiting.push(Waiting { fact: fact.clone(), reason, regime, country });
        Ok(())
    }

    /// Checks the prices of a batch by the lists that stood before it or came with it.
    pub(crate) fn check_batch(&mut self, rows: &Rows, coverage: &mut Coverage) -> Finding {
        if self.built_in.is_empty() {
            self.built_in = munadi::state::tariffs::list_cards();
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let mut found = Ok(());
            for lists in self.before.iter().chain([&self.lists]) {
                found = self.check(&waiting, lists, rows);
                if found.is_ok() {
                    break;
                }
            }
            found.map_err(|what| format!("{what}: {:?}", waiting.fact))?;
            if waiting.fact.amount != 0 && waiting.fact.currency != "USD" {
                coverage.note("price", "by a card of the operator");
            }
            if waiting.fact.amount != 0 && waiting.fact.account_amount != 0 {
                coverage.note("price", "in the account's currency");
            }
        }
        self.before.clear();
        Ok(())
    }

    fn check(&self, waiting: &Waiting, lists: &Lists, rows: &Rows) -> Finding {
        let Waiting { fact, reason, regime, country } = waiting;
        let channel = rows.endpoints.get(&fact.endpoint).ok_or("no endpoint")?.channel;
        let own = rows.accounts.get(&fact.account).ok_or("no account")?.currency.clone();
        // Only one channel has rules; another is charged where somebody loaded a card for it.
        let reason = match (channel, *reason) {
            (1, reason) => reason,
            (_, _) => return ensure(fact.amount == 0, || "another channel charged".into()),
        };
        let market = self.market(lists, fact, channel, *regime, *country, &own);
        let (reason, amount) = match (reason, &market) {
            (PriceReason::Regular, None | Some((_, None))) => (PriceReason::Unpriced, 0),
            (PriceReason::Regular, Some((_, Some(micros)))) => (reason, *micros),
            (reason, _) => (reason, 0),
        };
        ensure(fact.reason() == reason && fact.amount == amount, || {
            format!("it is {reason:?} and costs {amount}, by {market:?}")
        })?;
        let currency = market.map_or(String::new(), |(currency, _)| currency);
        ensure(fact.currency == currency, || format!("its card is in {currency:?}"))?;
        let exchanged = exchanged(lists, fact, &own);
        ensure(fact.account_amount == exchanged, || format!("{exchanged} in {own}"))
    }

    /// Returns the currency of the message's card, and its price in the step that was reached.
    fn market(
        &self,
        lists: &Lists,
        fact: &MessagePriced,
        channel: i32,
        regime: usize,
        country: u16,
        own: &str,
    ) -> Option<(String, Option<i64>)> {
        let letters = String::from_utf8_lossy(&country.to_be_bytes()).into_owned();
        let mut categories = vec![fact.category];
        if regime == 0 || regime == 4 && fact.category() == MessageCategory::Service {
            categories.push(MessageCategory::Utility.into());
        }
        let mut currencies = vec![own, "USD"];
        currencies.extend(["BRL", "INR", "MXN", "NZD"]);
        for category in categories {
            for currency in &currencies {
                let series = |card: &&RateCard| {
                    let in_currency =
                        card.price.as_ref().is_some_and(|price| price.currency == *currency);
                    (card.channel, card.category) == (channel, category) && in_currency
                };
                let name = |card: &RateCard| card.market.to_uppercase();
                let owned: Vec<_> = lists.cards.iter().filter(series).collect();
                let built_in = self.built_in.iter().filter(series);
                let built_in =
                    built_in.filter(|card| !owned.iter().any(|own| name(own) == name(card)));
                let all: Vec<_> = owned.iter().copied().chain(built_in).collect();
                // Markets in which the country is by the latest cards; the operator's stand first.
                let holds = |of: &str| {
                    let cards = all.iter().filter(|card| name(card) == of);
                    let begun = cards.map(|card| start(card)).filter(|ms| *ms <= fact.event_ms);
                    begun.max()
                };
                let mut covering = all.iter().filter(|card| {
                    holds(&name(card)) == Some(start(card)) && card.countries.contains(&letters)
                });
                let Some(first) = covering.next() else { continue };
                let key = (fact.business, category, name(first), month_of(fact.event_ms));
                let volume = lists.steps.get(&key).copied().unwrap_or(1).max(1);
                let mut steps = all
                    .iter()
                    .filter(|card| name(card) == name(first) && start(card) == start(first));
                let step = steps.find(|card| {
                    card.from_messages <= volume
                        && (card.to_messages == 0 || volume <= card.to_messages)
                });
                let micros = step.and_then(|card| card.price.as_ref()).map(|price| price.micros);
                return Some(((*currency).to_owned(), micros));
            }
        }
        None
    }
}

fn judged(
    regime: usize,
    category: MessageCategory,
    (service_open, entry_open): (bool, bool),
    paid: bool,
) -> PriceReason {
    let service = category == MessageCategory::Service;
    match regime {
        0 if service_open => PriceReason::FreeCustomerService,
        0 => PriceReason::Regular,
        _ if entry_open || category == MessageCategory::ReferralConversion => {
            PriceReason::FreeEntryPoint
        }
        2 | 3 if service => PriceReason::FreeCustomerService,
        1 | 2 if paid => PriceReason::ConversationOpen,
        3 if category == MessageCategory::Utility && service_open => {
            PriceReason::FreeCustomerService
        }
        // No run sends a thousand of them from one number.
        4 if service => PriceReason::FreeAllowance,
        _ => PriceReason::Regular,
    }
}

fn heeded(regime: usize, word: &ChannelPricing, ours: PriceReason, paid: bool) -> PriceReason {
    let window = word.reason() == PriceReason::FreeCustomerService;
    let charged = match word.reason() {
        PriceReason::FreeEntryPoint => return PriceReason::FreeEntryPoint,
        PriceReason::Regular => true,
        PriceReason::FreeCustomerService => false,
        _ => word.billable,
    };
    match (charged, ours) {
        (true, _) if paid && (regime == 1 || regime == 2) => PriceReason::ConversationOpen,
        (true, _) => PriceReason::Regular,
        (false, PriceReason::Regular | PriceReason::FreeEntryPoint) if window => {
            PriceReason::FreeCustomerService
        }
        (false, PriceReason::Regular) => PriceReason::NoCharge,
        (false, ours) => ours,
    }
}

/// Returns an amount in the account's currency; 0: a rate is not known.
fn exchanged(lists: &Lists, fact: &MessagePriced, own: &str) -> i64 {
    if own == fact.currency {
        return fact.amount;
    }
    let rate = |currency: &str| {
        if currency == lists.rates.settlement_currency {
            return 1_000_000;
        }
        let of = lists.rates.rates.iter().filter(|rate| rate.currency == currency);
        let begun = of.map(|rate| (rate.valid_from.map_or(0, |time| time.seconds * 1_000), rate));
        let begun = begun.filter(|(from, _)| *from <= fact.event_ms);
        begun.max_by_key(|(from, _)| *from).map_or(0, |(_, rate)| rate.rate_micros)
    };
    let (from, to) = (rate(&fact.currency), rate(own));
    if from == 0 || to == 0 { 0 } else { (fact.amount as i128 * from as i128 / to as i128) as i64 }
}

fn start(card: &RateCard) -> i64 {
    card.valid_from.map_or(0, |time| time.seconds * 1_000)
}

/// Months since 1970-01, UTC.
pub(crate) fn month_of(ms: i64) -> u32 {
    let time = jiff::Timestamp::from_millisecond(ms).expect("a moment");
    let date = jiff::tz::TimeZone::UTC.to_datetime(time).date();
    ((i32::from(date.year()) - 1970) * 12 + i32::from(date.month()) - 1) as u32
}
