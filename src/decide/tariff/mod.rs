//! What a delivered message costs at its channel: dated rules say whether it is charged, dated rate cards how
//! much. The channel's own word goes before the rules. A memo: nothing here is in a purse.

mod check;
#[cfg(test)]
mod months;
mod next;
mod receipt;
mod rules;
#[cfg(test)]
mod twin;

use crate::state::tariffs::{Categories, Found, Tariffs, Wanted};
use crate::types::proto::journal::v1::PriceMismatch;
use crate::types::proto::v1::{
    Channel, ChannelPricing, MessageCategory, PriceReason, PricingModel,
};
use crate::types::time::Moment;

pub use check::{Fault, FaultKind, MARKET_CHARS_MAX, SOURCE_CHARS_MAX, check};
pub use next::{Next, Standing, next_messages};
pub use receipt::{Delivered, Told, price_of, priced};
pub use rules::{
    CONVERSATIONS_FROM, FREE_SERVICE_FROM, FREE_SERVICE_MESSAGES, MESSAGES_FROM, REPLIES_FROM,
    RULES, Regime, Rule, rule_at,
};

/// One message of a business, and what stood open when it was delivered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which channel carried it.
    pub channel: Channel,
    /// Who sent it: its volume step counts.
    pub business: u64,
    /// The recipient's country, two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// What it was sent as.
    pub category: MessageCategory,
    /// When it was delivered.
    pub at: Moment,
    /// Whether the customer-service window was open.
    pub service_open: bool,
    /// Whether the free entry point was open.
    pub free_entry_open: bool,
    /// Categories with a conversation that was paid for and open.
    pub paid: Categories,
    /// The endpoint's free service messages that were taken before in the month of `at`, by UTC.
    pub free_used: u64,
    /// The channel's own word.
    pub pricing: Option<&'a ChannelPricing>,
    /// The account's currency: taken if a card in it exists.
    pub currency: &'a str,
}

/// What one message costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Priced<'a> {
    /// What it is billed as.
    pub category: MessageCategory,
    /// Micros of `currency`; 0 where it is free or unpriced.
    pub amount: i64,
    /// Of the card; empty: there is none.
    pub currency: &'static str,
    /// The recipient's market; empty: no card names it.
    pub market: &'a str,
    /// Why it costs that.
    pub reason: PriceReason,
    /// In what the channel's word and our rules differ.
    pub mismatch: PriceMismatch,
}

/// Returns what a message costs. The same always for the same arguments.
pub fn price<'a>(tariffs: &'a Tariffs, asked: &Asked<'_>) -> Priced<'a> {
    let told = asked.pricing.map(ChannelPricing::category);
    let category = told.filter(|told| *told != MessageCategory::Unspecified);
    let category = category.unwrap_or(asked.category);
    let rule = rule_of_word(asked);
    let found = found(tariffs, asked, category, rule.regime);
    let ours = match asked.channel {
        Channel::Whatsapp => judged(asked, category, rule),
        // Of another channel no rules are known: an operator's cards say that it is charged.
        other if tariffs.book().has_channel(other) => PriceReason::Regular,
        _ => PriceReason::NoCharge,
    };
    let reason = asked.pricing.map_or(ours, |word| heeded(asked, category, rule, word, ours));
    let mismatch = mismatch(asked, category, rule, ours, reason);
    let (currency, market) = found.map_or(("", ""), |(_, found)| (found.currency, found.market));
    let free = Priced { category, amount: 0, currency, market, reason, mismatch };
    if reason != PriceReason::Regular {
        return free;
    }
    let micros = found.and_then(|(of, found)| {
        found.micros(tariffs.volume(asked.business, of, found.market, asked.at.month()))
    });
    match micros {
        Some(amount) => Priced { amount, ..free },
        None => Priced { reason: PriceReason::Unpriced, ..free },
    }
}

/// Returns in what the channel's word differs from our rules.
fn mismatch(
    asked: &Asked<'_>,
    category: MessageCategory,
    rule: &Rule,
    ours: PriceReason,
    reason: PriceReason,
) -> PriceMismatch {
    let by_entry = |reason| reason == PriceReason::FreeEntryPoint;
    let other_model = asked.channel == Channel::Whatsapp && rule.regime != rule_at(asked.at).regime;
    if asked.pricing.is_none() {
        PriceMismatch::Unspecified
    } else if other_model {
        PriceMismatch::Model
    } else if category != asked.category {
        PriceMismatch::Category
    } else if is_charged(ours) != is_charged(reason) {
        PriceMismatch::Charged
    } else if by_entry(ours) != by_entry(reason) {
        PriceMismatch::Reason
    } else {
        PriceMismatch::Unspecified
    }
}

/// Returns the rule that decides: of the day, or of the kind that the channel says it bills by.
fn rule_of_word(asked: &Asked<'_>) -> &'static Rule {
    match asked.pricing.map(ChannelPricing::model) {
        Some(PricingModel::Conversation) => rules::rule_of(true, asked.at),
        Some(PricingModel::Message) => rules::rule_of(false, asked.at),
        Some(PricingModel::Unspecified) | None => rule_at(asked.at),
    }
}

/// Returns what the rules say, as if a card covered the message.
fn judged(asked: &Asked<'_>, category: MessageCategory, rule: &Rule) -> PriceReason {
    let service = category == MessageCategory::Service;
    if rule.regime == Regime::LateMessages {
        return match asked.service_open {
            true => PriceReason::FreeCustomerService,
            false => PriceReason::Regular,
        };
    }
    if asked.free_entry_open || category == MessageCategory::ReferralConversion {
        return PriceReason::FreeEntryPoint;
    }
    if service && rule.free_service {
        return PriceReason::FreeCustomerService;
    }
    match rule.regime {
        Regime::Conversations if asked.paid.has(category) => PriceReason::ConversationOpen,
        Regime::Messages if category == MessageCategory::Utility && asked.service_open => {
            PriceReason::FreeCustomerService
        }
        Regime::Replies if service && asked.free_used < FREE_SERVICE_MESSAGES => {
            PriceReason::FreeAllowance
        }
        _ => PriceReason::Regular,
    }
}

/// Returns why a message is charged or not by the channel's word. Where it agrees with our rules, they say why.
fn heeded(
    asked: &Asked<'_>,
    category: MessageCategory,
    rule: &Rule,
    word: &ChannelPricing,
    ours: PriceReason,
) -> PriceReason {
    let charged = match word.reason() {
        PriceReason::Regular => true,
        PriceReason::FreeEntryPoint => return PriceReason::FreeEntryPoint,
        PriceReason::FreeCustomerService => false,
        // Older payloads tell no reason.
        _ => word.billable,
    };
    if charged {
        // Every message of a paid conversation says that its conversation is billed: the first one pays.
        let paid = asked.channel == Channel::Whatsapp
            && rule.regime == Regime::Conversations
            && asked.paid.has(category);
        return if paid { PriceReason::ConversationOpen } else { PriceReason::Regular };
    }
    let window = word.reason() == PriceReason::FreeCustomerService;
    match ours {
        PriceReason::FreeEntryPoint if window => PriceReason::FreeCustomerService,
        ours if !is_charged(ours) => ours,
        _ if window => PriceReason::FreeCustomerService,
        _ => PriceReason::NoCharge,
    }
}

/// Tells whether a message with this reason costs its card's amount, if there is one.
const fn is_charged(reason: PriceReason) -> bool {
    matches!(reason, PriceReason::Regular | PriceReason::Unpriced)
}

/// Returns the card of a message, and whose it is. What has none of its own costs what a utility message costs, where the rule
/// says so: a service message since replies are charged, any message while there was one price for all.
fn found<'a>(
    tariffs: &'a Tariffs,
    asked: &Asked<'_>,
    category: MessageCategory,
    regime: Regime,
) -> Option<(MessageCategory, Found<'a>)> {
    let (channel, country, at, currency) = (asked.channel, asked.country, asked.at, asked.currency);
    let of = |category| {
        let wanted = Wanted { channel, category, country, at, currency };
        tariffs.book().find(&wanted).map(|found| (category, found))
    };
    let as_utility = match regime {
        Regime::LateMessages => true,
        Regime::Replies => category == MessageCategory::Service,
        Regime::Conversations | Regime::Messages => false,
    };
    of(category).or_else(|| as_utility.then(|| of(MessageCategory::Utility)).flatten())
}

#[cfg(test)]
mod tests {
    use super::months::{BUSINESS, card};
    use super::*;
    use crate::state::Stamp;
    use crate::state::catalog::Catalog;
    use crate::types::ids::{Seq, Shard};
    use crate::types::money::AMOUNT_MICROS_MAX;
    use crate::types::proto::journal::v1::RateCardsPut;
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::v1::RateCard;
    use crate::types::time::DAY_MS;

    fn asked(at: Moment, category: MessageCategory) -> Asked<'static> {
        Asked {
            channel: Channel::Whatsapp,
            business: BUSINESS,
            country: 0x4D58,
            category,
            at,
            service_open: true,
            free_entry_open: false,
            paid: Categories::default(),
            free_used: FREE_SERVICE_MESSAGES,
            pricing: None,
            currency: "USD",
        }
    }

    fn tariffs(cards: Vec<RateCard>) -> Tariffs {
        let mut catalog = Catalog::default();
        let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(1), at: Moment(0) };
        let put = RateCardsPut { cards, added: false };
        catalog.apply(stamp, &Kind::RateCardsPut(Box::new(put)));
        catalog.tariffs
    }

    fn word(billable: bool, reason: PriceReason, category: MessageCategory) -> ChannelPricing {
        let model = PricingModel::Message.into();
        ChannelPricing { billable, model, reason: reason.into(), category: category.into() }
    }

    #[test]
    fn the_channels_word_goes_first_and_a_difference_is_named() {
        use MessageCategory::{Marketing, Service, Unspecified, Utility};
        use PriceReason as R;
        let (august, october) = (Moment::of_date(2026, 8, 5), Moment::of_date(2026, 10, 5));
        let none = Unspecified;
        // Sent as, billed, why and as what by the channel; then what it is priced as.
        for (at, sent, (billable, told, category), reason, amount, mismatch) in [
            (
                august,
                Utility,
                (false, R::FreeCustomerService, Utility),
                R::FreeCustomerService,
                0,
                0,
            ),
            (august, Utility, (true, R::Regular, Utility), R::Regular, 8_500, 3),
            (august, Utility, (true, R::Regular, Marketing), R::Regular, 30_500, 2),
            (
                august,
                Marketing,
                (false, R::FreeCustomerService, none),
                R::FreeCustomerService,
                0,
                3,
            ),
            (august, Marketing, (false, R::FreeEntryPoint, none), R::FreeEntryPoint, 0, 3),
            (august, Service, (false, R::FreeEntryPoint, none), R::FreeEntryPoint, 0, 4),
            (august, Marketing, (true, R::Unspecified, none), R::Regular, 30_500, 0),
            (august, Marketing, (false, R::Unspecified, none), R::NoCharge, 0, 3),
            (august, Service, (false, R::Unspecified, none), R::FreeCustomerService, 0, 0),
            // Sources differ on October: a channel that still calls a reply free is believed.
            (october, Service, (false, R::FreeCustomerService, none), R::FreeCustomerService, 0, 3),
            (october, Service, (true, R::Regular, Service), R::Regular, 8_500, 0),
        ] {
            let word = word(billable, told, category);
            let built_in = tariffs(Vec::new());
            let priced = price(&built_in, &Asked { pricing: Some(&word), ..asked(at, sent) });
            let got = (priced.reason, priced.amount, i32::from(priced.mismatch));
            assert_eq!(got, (reason, amount, mismatch), "{sent:?} {word:?}");
        }
        // An allowance that is left is taken by what the channel calls free.
        let word = word(false, R::FreeCustomerService, Service);
        let free = Asked { free_used: 999, pricing: Some(&word), ..asked(october, Service) };
        let priced = price(&tariffs(Vec::new()), &free).reason;
        assert_eq!(priced, R::FreeAllowance);
    }

    #[test]
    fn every_message_of_a_billed_conversation_says_so_and_the_first_one_pays() {
        let at = Moment::of_date(2024, 5, 5);
        let category = MessageCategory::Utility;
        let own = tariffs(vec![card("MX", category, 7, Moment(0))]);
        let model = PricingModel::Conversation.into();
        let word = ChannelPricing { billable: true, model, category: category.into(), reason: 0 };
        let first = Asked { pricing: Some(&word), ..asked(at, category) };
        assert_eq!(price(&own, &first).amount, 7);
        let second = Asked { paid: Categories::default().with(category), ..first };
        let priced = price(&own, &second);
        assert_eq!((priced.reason, priced.amount), (PriceReason::ConversationOpen, 0));
        assert_eq!(priced.mismatch, PriceMismatch::Unspecified);
        // Two months after the end of its time the model itself is a mismatch.
        let late = Asked { at: MESSAGES_FROM.plus_ms(60 * DAY_MS), ..second };
        assert_eq!(price(&own, &late).mismatch, PriceMismatch::Model);
    }

    #[test]
    fn the_dearest_card_and_the_strangest_moments_are_priced_without_overflow() {
        let largest = |currency: &str| {
            let mut card = card("MX", MessageCategory::Marketing, AMOUNT_MICROS_MAX, Moment(0));
            card.price.as_mut().unwrap().currency = currency.to_owned();
            card
        };
        let own = tariffs(vec![largest("USD"), largest("MXN")]);
        for at in [i64::MIN, -1, 0, i64::MAX].map(Moment) {
            for used in [0, u64::MAX] {
                let asked = Asked {
                    free_used: used,
                    service_open: false,
                    currency: "MXN",
                    ..asked(at, MessageCategory::Marketing)
                };
                let priced = price(&own, &asked);
                let expected = if at.0 < 0 { 0 } else { AMOUNT_MICROS_MAX };
                assert_eq!(priced.amount, expected, "{at:?}");
            }
        }
    }

    #[test]
    fn a_market_that_is_not_known_is_unpriced() {
        let at = Moment::of_date(2026, 8, 5);
        let category = MessageCategory::Marketing;
        let priced = |country| {
            let built_in = tariffs(Vec::new());
            let asked = Asked { country, ..asked(at, category) };
            let priced = price(&built_in, &asked);
            (priced.reason, priced.amount, priced.market.to_owned(), priced.currency)
        };
        assert_eq!(priced(0), (PriceReason::Unpriced, 0, String::new(), ""));
        assert_eq!(priced(0x4742), (PriceReason::Unpriced, 0, String::new(), ""));
        assert_eq!(priced(0x4D58), (PriceReason::Regular, 30_500, "Mexico".to_owned(), "USD"));
    }
}
