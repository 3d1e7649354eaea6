//! The fact of a message's price.

use crate::decide::tariff::{Asked, Priced, price};
use crate::state::catalog::Catalog;
use crate::types::iso::currency_index;
use crate::types::proto::journal::v1::MessagePriced;
use crate::types::proto::v1::PriceReason;
use crate::types::time::Moment;

/// A message that was delivered, and what it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The conversation's id.
    pub conversation: u64,
    /// Who pays.
    pub account: u64,
    /// The endpoint that sent it.
    pub endpoint: u64,
    /// Keyed hash of the channel's message id.
    pub message: u64,
    /// The ad whose conversation it belongs to; 0: none.
    pub ad: u64,
}

/// Returns the fact that prices a message.
pub fn priced(catalog: &Catalog, delivered: &Delivered, asked: &Asked<'_>) -> MessagePriced {
    let priced = price(&catalog.tariffs, asked);
    MessagePriced {
        conversation: delivered.conversation,
        account: delivered.account,
        business: asked.business,
        endpoint: delivered.endpoint,
        message: delivered.message,
        event_ms: asked.at.0,
        category: priced.category.into(),
        amount: priced.amount,
        currency: priced.currency.to_owned(),
        reason: priced.reason.into(),
        mismatch: priced.mismatch.into(),
        ad: delivered.ad,
        account_amount: in_account(catalog, delivered.account, &priced, asked.at),
        free_month: match priced.reason {
            PriceReason::FreeAllowance => asked.at.month(),
            _ => 0,
        },
        market: priced.market.to_owned(),
    }
}

/// Returns the price in the account's currency, rounded down, by the exchange rates of the day; 0: it is
/// free, or a rate is not known.
fn in_account(catalog: &Catalog, account: u64, priced: &Priced<'_>, at: Moment) -> i64 {
    let own = catalog.currency_of(account).unwrap_or_default();
    if own == priced.currency {
        return priced.amount;
    }
    let (from, to) = (currency_index(priced.currency), currency_index(own));
    let rate = |currency| catalog.exchange.rate_at(currency, at);
    let (Some(from), Some(to)) = (from.and_then(rate), to.and_then(rate)) else { return 0 };
    let amount = (i128::from(priced.amount) * i128::from(from)).div_euclid(i128::from(to));
    i64::try_from(amount).unwrap_or(i64::MAX)
}
