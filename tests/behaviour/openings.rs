//! Who may pay for conversations: openings told by the payer alone, or too few of them, are paid for by tap.

use munadi::node::Follower;
use munadi::types::proto::v1::{AdSetIssue, BillingEvent, Direction, EntryPoint, EventKind};
use munadi::types::request::{Chat, Claim, Incoming, Opening, Resource, ResourceKind, Verdict};
use munadi::types::time::{DAY_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Shop, Stage, charged};

const BID: i64 = 1_000_000;
const CHATS: u8 = BillingEvent::Conversations as u8;
const TAPS: u8 = BillingEvent::LinkClicks as u8;

/// Stages a shop that pays for conversations.
fn staged(offer: Offer) -> (Stage, Shop) {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 10_000;
    let shop = stage.shop(&Offer { billing: BillingEvent::Conversations, bid: BID, ..offer });
    (stage, shop)
}

fn issues(stage: &Stage, shop: &Shop) -> Vec<AdSetIssue> {
    let Ok(Resource::AdSet(row)) = stage.get(ResourceKind::AdSet, shop.ad_set) else {
        panic!("no ad set")
    };
    let listed = stage.front.list(ALL, ResourceKind::AdSet, shop.campaign, 0, 10).0;
    assert_eq!(listed, [Resource::AdSet(row.clone())], "a list says the same");
    row.issues().collect()
}

/// What one person cost who tapped and, if it was told, wrote: the tap, the conversation and the billed event.
struct Cost {
    tap: i64,
    chat: i64,
    price: i64,
    billing: u8,
}

/// Lets a new person tap; `told`: an opening is reported, by the platform or by the shop itself.
fn person(stage: &mut Stage, shop: &Shop, name: &str, told: Option<bool>) -> Cost {
    let shown = stage.show(name);
    stage.see(&shown);
    let tap = stage.tap(&shown);
    let before = spend(stage);
    if let Some(independent) = told {
        let claim = Some(Claim::Click(stage.click(&shown)));
        let chat = Chat { independent, ..stage.chat(shop, name) };
        let opening = Opening::by_message(EntryPoint::Ad, claim);
        charged(&stage.record(Incoming::Opened { chat, opening }));
        let receipt = stage.receipt(shop, name, name, Direction::Outbound);
        stage.record(receipt);
    }
    let chat = spend(stage) - before;
    Cost { tap, chat, price: shown.token.price_micros, billing: shown.token.billing }
}

fn spend(stage: &Stage) -> i64 {
    stage.report(&[]).rows.iter().map(|row| row.spend_micros).sum()
}

/// Lets many people tap, of whom every second writes if it is told, and returns what was billed last.
fn people(stage: &mut Stage, shop: &Shop, name: &str, count: usize, told: Option<bool>) -> u8 {
    let mut billing = 0;
    for number in 0..count {
        let told = told.filter(|_| number % 2 == 0);
        let cost = person(stage, shop, &format!("{name} {number}"), told);
        assert!(cost.tap <= BID && cost.chat <= BID, "never above the bid");
        assert!(cost.tap == 0 || cost.chat == 0, "one of both is paid for");
        billing = cost.billing;
    }
    minute(stage);
    billing
}

fn minute(stage: &mut Stage) {
    stage.wait(MINUTE_MS);
    stage.settle();
}

#[test]
fn an_advertiser_who_tells_of_its_own_openings_pays_by_tap_until_it_has_a_history() {
    let (mut stage, shop) = staged(Offer::default());
    minute(&mut stage);
    assert_eq!(issues(&stage, &shop), [], "nothing is known yet");
    let first = person(&mut stage, &shop, "first", Some(false));
    assert_eq!((first.billing, first.tap), (CHATS, 0));
    assert!(first.chat > 0);
    minute(&mut stage);
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsSelfReported]);
    let out = stage.show("out");
    let next = person(&mut stage, &shop, "next", Some(false));
    assert_eq!((next.billing, next.chat), (TAPS, 0));
    assert!(next.tap > 0 && next.tap == next.price && next.tap < BID);
    assert_eq!(people(&mut stage, &shop, "more", 198, Some(false)), TAPS);
    assert_eq!(issues(&stage, &shop), [], "200 taps are a history");
    let trusted = person(&mut stage, &shop, "trusted", Some(false));
    assert_eq!((trusted.billing, trusted.tap), (CHATS, 0));
    assert!(trusted.chat > 0);
    stage.see(&out);
    let tap = stage.tap(&out);
    assert_eq!(tap, out.token.price_micros, "what is out keeps what it says");
}

/// Nobody who follows a link says what it cost: a tap that is paid for is its feed's to tell.
#[test]
fn a_followed_link_takes_no_tap_that_is_paid_for_while_an_issue_stands() {
    let (mut stage, shop) = staged(Offer::default());
    minute(&mut stage);
    let before = stage.show("before");
    assert_eq!(before.token.billing, CHATS);
    person(&mut stage, &shop, "first", Some(false));
    minute(&mut stage);
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsSelfReported]);
    let during = stage.show("during");
    assert_eq!(during.token.billing, TAPS);
    for (shown, is_free) in [(&before, true), (&during, false)] {
        stage.see(shown);
        let click = stage.click(shown);
        assert!(click.price.micros() > 0 && click.per_tap != is_free);
        let text = stage.front.sealer().seal_click_text(&click);
        let followed = stage.front.follow(&text, &Follower::default(), stage.now).unwrap();
        assert_eq!(followed.link, shown.ad.chat_link, "it leads to the chat all the same");
        assert_eq!(followed.counts.is_some(), is_free);
        if let Some(tap) = followed.counts {
            assert_eq!(charged(&stage.record(tap)), 0);
        }
    }
    let price = during.token.price_micros;
    assert!(price > 0);
    assert_eq!(stage.tap(&during), price, "the feed's tap is the first");
    assert_eq!(stage.happen(&before, EventKind::Tap), Verdict::Already);
}

#[test]
fn who_pays_by_tap_pays_for_the_tap_of_an_opening_that_comes_before_it() {
    let (mut stage, shop) = staged(Offer::default());
    minute(&mut stage);
    person(&mut stage, &shop, "first", Some(false));
    minute(&mut stage);
    let shown = stage.show("next");
    assert_eq!(shown.token.billing, TAPS, "though the ad set pays for conversations");
    stage.see(&shown);
    let (click, before) = (stage.click(&shown), spend(&stage));
    let text = stage.front.sealer().seal_click_text(&click);
    let followed = stage.front.follow(&text, &Follower::default(), stage.now).unwrap();
    assert_eq!(followed.counts, None, "it would be a tap that leads to a paid conversation");
    charged(&stage.open_chat(&shop, "next", Some(Claim::Click(click))));
    stage.settle();
    assert_eq!(spend(&stage) - before, shown.token.price_micros);
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    assert_eq!(spend(&stage) - before, shown.token.price_micros);
}

#[test]
fn an_advertiser_who_hides_openings_ends_up_paying_by_tap_until_it_tells_again() {
    let (mut stage, shop) = staged(Offer::default());
    people(&mut stage, &shop, "honest", 220, Some(false));
    assert_eq!(issues(&stage, &shop), []);
    stage.wait(8 * DAY_MS);
    stage.settle();
    assert_eq!(people(&mut stage, &shop, "few", 199, None), CHATS);
    assert_eq!(issues(&stage, &shop), [], "too few taps say anything");
    people(&mut stage, &shop, "hidden", 10, None);
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsUnderReported]);
    let hidden = person(&mut stage, &shop, "caught", None);
    assert_eq!(hidden.billing, TAPS);
    assert!(hidden.tap > 0, "it pays all the same");
    let mut stage = stage.restarted();
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsUnderReported], "after a restart too");
    people(&mut stage, &shop, "again", 80, Some(false));
    assert_eq!(issues(&stage, &shop), [], "it tells again");
    assert_eq!(person(&mut stage, &shop, "last", Some(false)).billing, CHATS);
}

#[test]
fn whose_openings_the_platform_tells_stays_by_conversation() {
    let (mut stage, shop) = staged(Offer::default());
    for day in 0..10 {
        assert_eq!(people(&mut stage, &shop, &format!("day {day}"), 30, Some(true)), CHATS);
        assert_eq!(issues(&stage, &shop), []);
        stage.wait(DAY_MS);
        stage.settle();
    }
}

#[test]
fn silence_counts_against_an_endpoint_after_some_taps() {
    let (mut stage, shop) = staged(Offer::default());
    people(&mut stage, &shop, "silent", 20, None);
    assert_eq!(issues(&stage, &shop), []);
    people(&mut stage, &shop, "still", 1, None);
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsSelfReported]);
}

#[test]
fn a_budget_is_as_hard_by_tap() {
    let budget = BID;
    let (mut stage, shop) = staged(Offer { ad_set: (Some(budget), None), ..Offer::default() });
    // Half of what a new ad is worth: a few taps take all.
    stage.policy.floor_cpm_micros = 2_000_000;
    person(&mut stage, &shop, "first", Some(false));
    minute(&mut stage);
    assert_eq!(issues(&stage, &shop), [AdSetIssue::OpeningsSelfReported]);
    for number in 0..300 {
        let Ok(shown) = stage.try_show(&format!("viewer {number}")) else { break };
        stage.see(&shown);
        stage.tap(&shown);
        assert!(spend(&stage) <= budget);
    }
    assert!(spend(&stage) > budget / 2, "{}", spend(&stage));
}
