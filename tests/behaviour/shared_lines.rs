//! Money that several budgets share: it lasts as long as they do, and each has its part of it.

use munadi::node::writer::Work;
use munadi::types::proto::v1::{Account, BillingMode, Campaign, Targeting, TransferKind};
use munadi::types::request::{FundRequest, Resource};

use crate::market::{ALL, COUNTRIES, Market, money, only, rich};
use crate::stage::{Offer, Shop};

/// Countries of the first and of the second of two who share, so that they don't meet.
fn halves() -> [Targeting; 2] {
    let of = |numbers: [usize; 4]| only(&numbers.map(|number| COUNTRIES[number]));
    [of([0, 3, 4, 6]), of([1, 2, 5, 7])]
}

/// What winning everything there costs in a day, about.
const HALF: i64 = 24 * 60 * ALL / 2;

/// Two budgets, the first twice the second, over what is enough for half of both.
const BUDGETS: [i64; 2] = [HALF / 2, HALF / 4];
const SHARED: i64 = (BUDGETS[0] + BUDGETS[1]) / 2;

fn fund(market: &mut Market, account: u64, micros: i64) {
    let order = FundRequest {
        tenant: 0,
        request_id: "fund".into(),
        body_hash: [0; 16],
        by: munadi::types::request::Author::default(),
        account,
        transfer: 1,
        kind: TransferKind::Funding,
        amount: money(micros),
        reason: "as agreed".into(),
    };
    market.stage.work(|reply| Work::Fund(Box::new(order), reply)).unwrap();
}

/// Checks that the shared money is spent evenly from midnight to midnight, and by whom.
fn check_day(market: &Market, shops: [Shop; 2], name: &str) {
    let ads = shops.map(|shop| shop.ad);
    let spent = market.charged(&ads, 0..24);
    assert!(spent <= SHARED && spent > SHARED * 95 / 100, "{name}: {spent} of {SHARED}");
    let first = market.charged(&ads, 0..6);
    assert!(first < SHARED * 4 / 10, "{name}: {first} of {SHARED} in a quarter of the day");
    let last = market.charged(&ads, 21..24);
    assert!(last > SHARED / 20, "{name}: {last} of {SHARED} in the last eighth");
    let [one, other] = ads.map(|ad| market.charged(&[ad], 0..24));
    assert!(one > other * 16 / 10 && one < other * 25 / 10, "{name}: {one} and {other}");
}

#[test]
fn what_an_account_may_spend_lasts_its_day_and_is_shared_by_budget() {
    for name in ["limited", "prepaid"] {
        let mut market = Market::open("2026-11-23T00:00:00Z");
        let offer = Offer { spend_limit: (name == "limited").then_some(SHARED), ..rich(0) };
        let prepaid = Account { billing_mode: BillingMode::Prepaid.into(), ..offer.account_row() };
        let row = if name == "prepaid" { prepaid } else { offer.account_row() };
        let account = market.stage.create(offer.tenant, Resource::Account(row));
        if name == "prepaid" {
            fund(&mut market, account, SHARED);
        }
        let [first, second] = halves();
        let [one, other] = BUDGETS.map(|budget| (Some(budget), None));
        let one = Offer { targeting: first, campaign: one, ..offer.clone() };
        let other = Offer { targeting: second, campaign: other, ..offer };
        let shops = [one, other].map(|offer| market.stage.shop_in(account, &offer));
        market.hours(24);
        check_day(&market, shops, name);
    }
}

#[test]
fn a_campaigns_spend_cap_lasts_its_day_and_is_shared_by_the_budgets_below() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let [first, second] = halves();
    let [one, other] = BUDGETS.map(|budget| (Some(budget), None));
    let offer = Offer { campaign: (None, None), ..rich(0) };
    let one = Offer { targeting: first, ad_set: one, ..offer.clone() };
    let other = Offer { targeting: second, ad_set: other, ..offer };
    let shop = market.stage.shop(&one);
    let row = Campaign { id: shop.campaign, spend_cap: Some(money(SHARED)), ..Campaign::default() };
    market.stage.update(shop.tenant, Resource::Campaign(row), &["spend_cap"]);
    let ad_set = Resource::AdSet(other.ad_set_row(shop.campaign));
    let ad_set = market.stage.create(shop.tenant, ad_set);
    let ad = market.stage.create(shop.tenant, Resource::Ad(other.ad_row(ad_set, shop.endpoint)));
    market.hours(24);
    check_day(&market, [shop, Shop { ad_set, ad, ..shop }], "capped");
}

#[test]
fn an_accounts_money_lasts_a_lifetime_that_wants_more() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let (budget, limit) = (6 * 60 * ALL, 12 * 60 * ALL / 8);
    let end = Some(market.stage.now.0 / 1_000 + 12 * 3_600);
    let offer = Offer { end, campaign: (None, Some(budget)), ..rich(0) };
    let shop = market.stage.shop(&Offer { spend_limit: Some(limit), ..offer });
    market.hours(12);
    let ads = [shop.ad];
    let half = market.charged(&ads, 0..6);
    assert!(half > limit * 35 / 100 && half < limit * 7 / 10, "{half} of {limit} in half its life");
    let spent = market.charged(&ads, 0..12);
    assert!(spent > limit * 95 / 100 && spent <= limit, "{spent} of {limit}");
}

#[test]
fn an_account_under_a_budget_without_an_end_spends_its_money_by_midnight() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let limit = 24 * 60 * ALL / 8;
    let campaign = (None, Some(1_000 * limit));
    let offer = Offer { campaign, spend_limit: Some(limit), ..rich(0) };
    let shop = market.stage.shop(&offer);
    market.hours(24);
    let ads = [shop.ad];
    let first = market.charged(&ads, 0..6);
    assert!(first < limit * 4 / 10, "{first} of {limit} in a quarter of the day");
    let last = market.charged(&ads, 21..24);
    assert!(last > limit / 20, "{last} of {limit} in the last eighth");
    let spent = market.charged(&ads, 0..24);
    assert!(spent > limit * 95 / 100 && spent <= limit, "{spent} of {limit}");
}
