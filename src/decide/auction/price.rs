//! What an ad is worth and what one of its events costs: bids, rates and prices of 1,000 impressions.

use crate::decide::board::Rates;
use crate::types::proto::v1::BillingEvent;
use crate::types::token::PackedPrice;

/// Rates are in parts of this.
const RATE_ONE: i128 = u16::MAX as i128;

/// Returns what 1,000 impressions are worth at this bid, micros: bid x predicted action rate (FACTS,
/// "Auction"; quality comes with learned rates).
pub fn value_of(billing: BillingEvent, bid: i64, rates: Rates) -> i64 {
    let of_thousand = bid.saturating_mul(1_000);
    match billing {
        BillingEvent::Impressions => bid,
        BillingEvent::LinkClicks => share(of_thousand, rates.tap),
        BillingEvent::Conversations => share(share(of_thousand, rates.tap), rates.chat),
        BillingEvent::Unspecified => 0,
    }
}

/// Returns an amount times a rate, rounded down. Every live ad is valued for every tray, and a division of
/// 128 bits costs more than the rest of it.
fn share(amount: i64, rate: u16) -> i64 {
    match amount.checked_mul(i64::from(rate)) {
        Some(product) => product / i64::from(u16::MAX),
        None => (i128::from(amount) * i128::from(rate) / RATE_ONE) as i64,
    }
}

/// Returns the price of one billed event whose 1,000 impressions cost `cpm` micros: rounded down, and
/// never above the bid. A conversation's price is rounded to what a click token can carry.
pub fn price_of(billing: BillingEvent, bid: i64, rates: Rates, cpm: i64) -> i64 {
    let (tap, chat) = (i128::from(rates.tap.max(1)), i128::from(rates.chat.max(1)));
    let cpm = i128::from(cpm.max(0));
    let bid_event = if billing == BillingEvent::Impressions { bid / 1_000 } else { bid };
    let price = match billing {
        BillingEvent::Impressions => cpm / 1_000,
        BillingEvent::LinkClicks => cpm * RATE_ONE / (1_000 * tap),
        BillingEvent::Conversations => cpm * RATE_ONE * RATE_ONE / (1_000 * tap * chat),
        BillingEvent::Unspecified => 0,
    };
    let price = i64::try_from(price).unwrap_or(i64::MAX).min(bid_event);
    match billing {
        BillingEvent::Conversations => PackedPrice::pack(price).micros(),
        BillingEvent::Impressions | BillingEvent::LinkClicks | BillingEvent::Unspecified => price,
    }
}

/// Returns what serving holds for one ad until it is seen: its price, weighted by the chance that the
/// billed event follows a view.
pub fn hold_of(billing: BillingEvent, price: i64, rates: Rates) -> i64 {
    let (tap, chat) = (i128::from(rates.tap), i128::from(rates.chat));
    let price = i128::from(price);
    let hold = match billing {
        BillingEvent::Impressions => price,
        BillingEvent::LinkClicks => price * tap / RATE_ONE,
        BillingEvent::Conversations => price * tap * chat / (RATE_ONE * RATE_ONE),
        BillingEvent::Unspecified => 0,
    };
    i64::try_from(hold).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { tap: 655, chat: 26_214, ..Rates::NEW };

    #[test]
    fn the_price_at_ones_own_value_is_not_above_the_bid_and_close_to_it() {
        for billing in
            [BillingEvent::Impressions, BillingEvent::LinkClicks, BillingEvent::Conversations]
        {
            for bid in [1_000, 50_000, 1_234_000, 80_000_000, 9_000_000_000] {
                let value = value_of(billing, bid, RATES);
                let price = price_of(billing, bid, RATES, value);
                let event = if billing == BillingEvent::Impressions { bid / 1_000 } else { bid };
                assert!(price <= event, "{billing:?} {bid}");
                assert!(price + event / 500 + 1 >= event * 9 / 10, "{billing:?} {bid}: {price}");
            }
        }
    }

    #[test]
    fn a_price_rises_with_the_next_bid() {
        let at = |cpm| price_of(BillingEvent::LinkClicks, 1_000_000, RATES, cpm);
        assert!((1..2_000).all(|step| at(step * 1_000) <= at((step + 1) * 1_000)));
    }
}
