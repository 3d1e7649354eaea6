//! Cost caps: what a goal event really cost on a day's average, whatever was predicted.

use munadi::types::proto::v1::{AdSet, BidStrategy, EventKind, OptimizationGoal};
use munadi::types::request::{Incoming, Resource};
use munadi::types::time::MINUTE_MS;

use crate::market::{COUNTRIES, MXN, Market, rich};
use crate::stage::{Offer, Shop, charged, event, letters};

/// An advertiser who wants taps at a cost on average.
struct Capped {
    market: Market,
    shop: Shop,
    viewers: u64,
}

/// What an ad set bought.
#[derive(Clone, Copy, Debug, Default)]
struct Bought {
    impressions: i64,
    taps: i64,
    micros: i64,
}

impl Capped {
    fn open(time: &str, cap: i64) -> Self {
        let mut market = Market::open(time);
        market.stage.front.watch_here();
        let offer = rich(1_000_000 * MXN);
        let account = market.stage.create(offer.tenant, Resource::Account(offer.account_row()));
        let shop = market.stage.shop_of(account, &offer, |row| {
            row.optimization_goal = OptimizationGoal::LinkClicks.into();
            row.bid_strategy = BidStrategy::CostCap.into();
            row.bid = Some(offer.money(cap));
        });
        Self { market, shop, viewers: 0 }
    }

    /// Lets so many viewers of each country ask in each of so many minutes. One of `per` who see the ad
    /// taps it.
    fn run(&mut self, minutes: i64, viewers: u64, per: u64) -> Bought {
        let mut bought = Bought::default();
        for _ in 0..minutes {
            let (mut seen, mut tapped) = (Vec::new(), Vec::new());
            for country in COUNTRIES {
                for _ in 0..viewers {
                    self.viewers += 1;
                    let stage = &self.market.stage;
                    let mut request = stage.tray_of(&format!("viewer {}", self.viewers));
                    request.profile.country = letters(country);
                    let Ok(shown) = stage.try_fill(&request) else { continue };
                    if shown.ad.ad_id != self.shop.ad {
                        continue;
                    }
                    seen.push(event(&shown, EventKind::Impression));
                    bought.impressions += 1;
                    if bought.impressions.unsigned_abs().is_multiple_of(per) {
                        tapped.push(event(&shown, EventKind::Tap));
                    }
                }
            }
            bought.micros += self.record(seen);
            bought.taps += tapped.len() as i64;
            self.record(tapped);
            self.market.stage.wait(MINUTE_MS);
            self.market.stage.settle();
        }
        bought
    }

    fn record(&mut self, events: Vec<Incoming>) -> i64 {
        self.market.stage.record_all(events).iter().map(charged).sum()
    }
}

#[test]
fn a_cost_cap_holds_for_what_comes_where_twice_as_much_is_predicted() {
    // For an hour every second viewer taps, from midnight on every fourth.
    let mut capped = Capped::open("2026-11-22T23:00:00Z", 100 * MXN);
    let before = capped.run(60, 60, 2);
    assert!(before.taps > 10_000, "{before:?}");
    let cap = 3 * MXN / 2;
    let row = AdSet {
        id: capped.shop.ad_set,
        bid: Some(Offer::default().money(cap)),
        ..AdSet::default()
    };
    capped.market.stage.update(capped.shop.tenant, Resource::AdSet(row), &["bid"]);
    let mut day = Bought::default();
    for _ in 0..6 {
        let bought = capped.run(4 * 60, 1, 4);
        day.impressions += bought.impressions;
        day.taps += bought.taps;
        day.micros += bought.micros;
        // A crash forgets nothing of it.
        capped.market.stage = capped.market.stage.restarted();
        capped.market.stage.front.watch_here();
    }
    assert!(day.taps >= 1_000, "{day:?}");
    let cost = day.micros / day.taps;
    assert!(cost <= cap * 101 / 100, "{cost} instead of {cap}: {day:?}");
    assert!(cost > cap * 90 / 100, "{cost} instead of {cap}: what was saved is not used: {day:?}");
}
