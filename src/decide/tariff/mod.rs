//! What a delivered message costs at its channel: dated rules say whether it is charged, dated rate cards how
//! much. The channel's own word goes before the rules. A memo: nothing here is in a purse.

mod check;
mod next;
mod receipt;
mod rules;

use crate::state::tariffs::{Categories, Found, Tariffs, Wanted};
use crate::types::proto::journal::v1::PriceMismatch;
use crate::types::proto::v1::{
    Channel, ChannelPricing, MessageCategory, PriceReason, PricingModel,
};
use crate::types::time::Moment;

pub use check::{Fault, FaultKind, MARKET_CHARS_MAX, SOURCE_CHARS_MAX, check};
pub use next::{Next, Standing, next_messages};
pub use receipt::{Delivered, priced};
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
