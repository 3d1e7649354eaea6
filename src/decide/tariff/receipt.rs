//! A message's receipt, and the fact of its price.

use crate::decide::tariff::{Asked, Priced, price};
use crate::state::catalog::Catalog;
use crate::state::chats::Chat as KnownChat;
use crate::state::desks::Desk;
use crate::types::iso::currency_index;
use crate::types::proto::journal::v1::MessagePriced;
use crate::types::proto::v1::{Channel, Direction, MessageStatus, PriceReason};
use crate::types::request::{Chat, Receipt};
use crate::types::time::Moment;

/// A receipt, and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The conversation, as it is before this receipt.
    pub known: &'a KnownChat,
    /// What its endpoint has counted.
    pub desk: Option<&'a Desk>,
    /// Which conversation.
    pub chat: &'a Chat,
    /// Who pays.
    pub account: u64,
    /// What is told of the message.
    pub receipt: &'a Receipt,
    /// When that happened, milliseconds.
    pub event_ms: i64,
}

/// Returns the price of a message by the first receipt that says that it was delivered or read; `None`: this is
/// none, or the message is the person's.
///
/// Windows count by when it was first heard of, which is when it was sent if the channel tells that; rule, card
/// and month by when it was delivered.
pub fn price_of(catalog: &Catalog, told: &Told<'_>) -> Option<MessagePriced> {
    let Told { known, desk, chat, account, receipt, event_ms } = *told;
    // A receipt without a status is of a delivered message.
    let arrived = !matches!(receipt.status, MessageStatus::Sent | MessageStatus::Failed);
    let outbound = receipt.direction == Direction::Outbound;
    if !outbound || !arrived || known.is_priced(receipt.message) {
        return None;
    }
    let (at, heard) = (Moment(event_ms), known.heard(receipt.message));
    let sent = heard.map_or(at, |heard| Moment(heard.event_ms.min(event_ms)));
    let open = if heard.is_some() {
        known.windows.at(sent)
    } else {
        // It may be the answer that opens the free entry point.
        let mut windows = known.windows.clone();
        windows.hear(Direction::Outbound, event_ms);
        windows.at(sent)
    };
    let channel = catalog.endpoints.get(chat.endpoint);
    let touch = known.latest_touch.as_ref().filter(|touch| touch.0.invalid == 0);
    let delivered = Delivered {
        conversation: chat.id,
        account,
        endpoint: chat.endpoint,
        message: receipt.message,
        ad: touch.map_or(0, |touch| touch.0.ad),
    };
    let asked = Asked {
        channel: channel.map_or(Channel::Unspecified, |row| row.channel()),
        business: chat.business,
        country: if chat.country == 0 { known.country } else { chat.country },
        category: receipt.category,
        at,
        service_open: open.service_until.is_some(),
        free_entry_open: open.free_entry_until.is_some(),
        paid: known.bill.paid_at(at),
        free_used: desk.map_or(0, |desk| desk.free_used(at.month())),
        pricing: receipt.pricing.as_ref(),
        currency: catalog.currency_of(account).unwrap_or_default(),
    };
    Some(priced(catalog, &delivered, &asked))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tariff::months::{BUSINESS, ENDPOINT};
    use crate::state::Stamp;
    use crate::state::tariffs::Categories;
    use crate::types::ids::{IdKind, Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{AccountPut, ExchangeRatesPut};
    use crate::types::proto::v1::{Account, ExchangeRate, MessageCategory};

    fn account() -> u64 {
        mint(IdKind::Account, 1)
    }

    /// Returns a catalog with one account that pays in MXN, and these rates to USD, from a second on.
    fn catalog(rates: &[(&str, i64, i64)]) -> Catalog {
        let mut catalog = Catalog::default();
        let account = Account { id: account(), currency: "MXN".into(), ..Account::default() };
        let put = AccountPut { tenant: 1, account: Some(account) };
        let rate = |(currency, rate_micros, seconds): &(&str, i64, i64)| ExchangeRate {
            currency: (*currency).into(),
            rate_micros: *rate_micros,
            valid_from: Some(prost_types::Timestamp { seconds: *seconds, nanos: 0 }),
        };
        let rates = ExchangeRatesPut {
            settlement_currency: if rates.is_empty() { String::new() } else { "USD".into() },
            rates: rates.iter().map(rate).collect(),
        };
        let facts = [Kind::AccountPut(Box::new(put)), Kind::ExchangeRatesPut(Box::new(rates))];
        for (seq, fact) in (1..).zip(&facts) {
            catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) }, fact);
        }
        catalog
    }

    fn in_mxn(rates: &[(&str, i64, i64)]) -> (i64, i64) {
        let catalog = catalog(rates);
        let asked = Asked {
            channel: Channel::Whatsapp,
            business: BUSINESS,
            country: 0x4D58,
            category: MessageCategory::Marketing,
            at: Moment::of_date(2026, 8, 1),
            service_open: false,
            free_entry_open: false,
            paid: Categories::default(),
            free_used: 0,
            pricing: None,
            currency: "MXN",
        };
        let delivered = Delivered {
            conversation: 7,
            account: account(),
            endpoint: ENDPOINT,
            message: 9,
            ad: 0,
        };
        let fact = priced(&catalog, &delivered, &asked);
        assert_eq!(fact.currency, "USD");
        (fact.amount, fact.account_amount)
    }

    #[test]
    fn a_price_is_also_told_in_the_accounts_currency_where_a_rate_of_the_day_is_known() {
        assert_eq!(in_mxn(&[]), (30_500, 0), "nothing is loaded");
        // 0.0305 USD at 0.05 USD for one MXN: 0.61 MXN.
        assert_eq!(in_mxn(&[("MXN", 50_000, 0)]), (30_500, 610_000));
        // 2026-08-01 is second 1,785,542,400; the rate of a second later is not in force.
        let dated = [("MXN", 50_000, 1_785_542_400), ("MXN", 60_000, 1_785_542_401)];
        assert_eq!(in_mxn(&dated), (30_500, 610_000));
        // 30,500 / 0.06 = 508,333.3…, rounded down.
        assert_eq!(in_mxn(&[("MXN", 60_000, 0)]), (30_500, 508_333));
        assert_eq!(in_mxn(&[("BRL", 60_000, 0)]), (30_500, 0));
        assert_eq!(in_mxn(&[("MXN", 1, 0)]), (30_500, 30_500_000_000));
    }
}
