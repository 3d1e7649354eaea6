//! Action rates: learned from what happened, shared with whoever is alike, and the same after a restart.

use std::collections::BTreeSet;

use munadi::decide::rates::Rates;
use munadi::types::proto::v1::{BillingEvent, EventKind};
use munadi::types::request::{Claim, Origin, Resource};
use munadi::types::time::MINUTE_MS;

use crate::stage::{Offer, Shop, Stage};

/// Lets one viewer see an ad, and every second tap it, and every fourth write and buy; returns the ad.
fn visit(stage: &mut Stage, shops: &[Shop], number: u64) -> u64 {
    let name = format!("viewer {number}");
    let shown = stage.show(&name);
    let ad = shown.ad.ad_id;
    stage.see(&shown);
    if !number.is_multiple_of(3) {
        stage.happen(&shown, EventKind::Viewable);
    }
    if number.is_multiple_of(2) {
        stage.tap(&shown);
    }
    let shop = shops.iter().find(|shop| shop.ad == ad);
    if let Some(shop) = shop.filter(|_| number.is_multiple_of(4)) {
        let click = stage.click(&shown);
        stage.open_chat(shop, &name, Some(Claim::Click(click)));
        stage.convert(shop, &name, Origin::Click(click));
    }
    stage.settle();
    stage.wait(MINUTE_MS);
    ad
}

fn shops(stage: &mut Stage) -> Vec<Shop> {
    let offer = |category| Offer { category, ..Offer::default() };
    let first = stage.shop(&offer("food"));
    let second = stage.shop_in(first.account, &offer("food"));
    vec![first, second, stage.shop(&offer("shoes"))]
}

#[test]
fn an_ad_that_was_just_heard_of_has_the_same_rates_after_a_restart() {
    let mut stage = Stage::new();
    let shops = shops(&mut stage);
    let mut seen = BTreeSet::new();
    for number in 0..32 {
        let ad = visit(&mut stage, &shops, number);
        let rates = stage.front.rates(ad);
        stage = stage.restarted();
        assert_eq!(stage.front.rates(ad), rates, "{number}");
        seen.insert((ad, rates.tap, rates.chat, rates.viewable, rates.sale));
    }
    let ads: BTreeSet<_> = seen.iter().map(|(ad, ..)| ad).collect();
    assert!(ads.len() == 3 && seen.len() > 20, "too little happened: {seen:?}");
}

#[test]
fn a_checkpoint_gives_the_same_rates_as_the_whole_journal() {
    let mut stage = Stage::new();
    let shops = shops(&mut stage);
    for number in 0..20 {
        visit(&mut stage, &shops, number);
    }
    let checkpoint = stage.checkpoint();
    for number in 20..40 {
        visit(&mut stage, &shops, number);
    }
    let Stage { disk, ring, now, .. } = stage;
    let short = Stage::open(disk.clone(), ring.clone(), now, Some(&checkpoint)).unwrap();
    let whole = Stage::open(disk, ring, now, None).unwrap();
    assert!(short.opened.checkpoint);
    for shop in &shops {
        assert_eq!(short.front.rates(shop.ad), whole.front.rates(shop.ad));
        assert_ne!(whole.front.rates(shop.ad), Rates::NEW);
    }
}

#[test]
fn a_new_ad_starts_at_the_rates_of_its_campaign_and_is_sold_by_them() {
    let mut stage = Stage::new();
    let offer = Offer { billing: BillingEvent::LinkClicks, bid: 200_000_000, ..Offer::default() };
    let shop = stage.shop(&offer);
    for number in 0..30 {
        stage.tapped(&format!("viewer {number}"));
    }
    let other = stage.shop(&offer);
    let sibling = stage.create(shop.tenant, Resource::Ad(offer.ad_row(shop.ad_set, shop.endpoint)));
    stage.settle();
    let [own, campaigns, others] = [shop.ad, sibling, other.ad].map(|ad| stage.front.rates(ad).tap);
    // There is no other campaign yet, so a stranger is thought to be like this one.
    assert!(own > campaigns && campaigns == others, "{own} {campaigns} {others}");
    assert!(campaigns > Rates::NEW.tap, "{campaigns}");
    let stage = stage.restarted();
    assert_eq!([sibling, other.ad].map(|ad| stage.front.rates(ad).tap), [campaigns, others]);
    let token = stage.show("one more").token;
    assert_eq!(token.p_tap, stage.front.rates(token.ad).tap);
}
