//! What the next message of a conversation costs, by category, and until when.

use std::collections::BTreeSet;

use crate::decide::tariff::{Asked, Priced, RULES, price};
use crate::state::tariffs::{Bill, Tariffs};
use crate::state::windows::Windows;
use crate::types::proto::v1::{Channel, MessageCategory, PriceReason};
use crate::types::time::Moment;

/// Categories that a business may send, in the order of the answer.
const CATEGORIES: [MessageCategory; 5] = [
    MessageCategory::Marketing,
    MessageCategory::Utility,
    MessageCategory::Authentication,
    MessageCategory::AuthenticationInternational,
    MessageCategory::Service,
];

/// How a conversation stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Which channel it is on.
    pub channel: Channel,
    /// Who answers.
    pub business: u64,
    /// The person's country, two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// Its windows.
    pub windows: &'a Windows,
    /// What was charged before.
    pub bill: &'a Bill,
    /// The endpoint's free service messages taken in this month, by UTC.
    pub free_used: u64,
    /// The account's currency.
    pub currency: &'a str,
}

/// What the next message of one category costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Next<'a> {
    /// Which one.
    pub category: MessageCategory,
    /// Whether it may be sent: free text only inside the customer-service window. Of other channels than
    /// WhatsApp no such rule is known.
    pub allowed: bool,
    /// Micros and currency, of a free message without a card the account's; `None`: no card covers it.
    pub cost: Option<(i64, &'a str)>,
    /// Why it costs that.
    pub reason: PriceReason,
    /// When cost, reason or leave to send it change, if nobody writes before; `None`: never, as far as is known.
    pub until: Option<Moment>,
}

/// Returns what a message of each category costs now, and until when. International authentication is told only
/// where a card has it.
pub fn next_messages<'a>(
    tariffs: &'a Tariffs,
    standing: &Standing<'a>,
    now: Moment,
) -> Vec<Next<'a>> {
    let moments = moments(tariffs, standing, now);
    let quoted = |category, at| quote(tariffs, standing, category, at, now);
    let next = |category| {
        let (allowed, priced) = quoted(category, now);
        let changes = |at: &Moment| !is_alike(&(allowed, priced), &quoted(category, *at));
        let currency = if priced.currency.is_empty() { standing.currency } else { priced.currency };
        let cost = Some((priced.amount, currency));
        Next {
            category,
            allowed,
            cost: cost.filter(|_| priced.reason != PriceReason::Unpriced),
            reason: priced.reason,
            until: moments.iter().copied().find(changes),
        }
    };
    let told = |category: &MessageCategory| {
        *category != MessageCategory::AuthenticationInternational
            || !quoted(*category, now).1.market.is_empty()
    };
    CATEGORIES.into_iter().filter(told).map(next).collect()
}

/// Tells whether two quotes say the same: another card at the same price is no change.
fn is_alike(one: &(bool, Priced<'_>), other: &(bool, Priced<'_>)) -> bool {
    let told = |(allowed, priced): &(bool, Priced<'_>)| (*allowed, priced.reason, priced.amount);
    let free = one.1.amount == 0;
    told(one) == told(other) && (free || one.1.currency == other.1.currency)
}

/// Returns every moment to come at which a price may change, ascending.
fn moments(tariffs: &Tariffs, standing: &Standing<'_>, now: Moment) -> BTreeSet<Moment> {
    let open = standing.windows.now(now);
    let ends = open.service_until.into_iter().chain(open.free_entry_until);
    let windows = ends.chain(standing.windows.answer_ends());
    let rules = RULES.iter().map(|rule| rule.from);
    let cards = tariffs.book().starts_after(standing.channel, now);
    // Free messages and volume steps are those of a month.
    let month = Moment::of_month(now.month() + 1);
    let all = windows.chain(standing.bill.ends()).chain(rules).chain(cards).chain([month]);
    all.filter(|at| *at > now).collect()
}

/// Returns whether a message may be sent at a moment, and what it costs then if nobody wrote since.
fn quote<'a>(
    tariffs: &'a Tariffs,
    standing: &Standing<'_>,
    category: MessageCategory,
    at: Moment,
    now: Moment,
) -> (bool, Priced<'a>) {
    let open = standing.windows.if_sent(at);
    let service_open = open.service_until.is_some();
    let priced = price(
        tariffs,
        &Asked {
            channel: standing.channel,
            business: standing.business,
            country: standing.country,
            category,
            at,
            service_open,
            free_entry_open: open.free_entry_until.is_some(),
            paid: standing.bill.paid_at(at),
            free_used: if at.month() == now.month() { standing.free_used } else { 0 },
            pricing: None,
            currency: standing.currency,
        },
    );
    let free_text = category == MessageCategory::Service && standing.channel == Channel::Whatsapp;
    (!free_text || service_open, priced)
}
