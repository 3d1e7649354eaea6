//! What the simulation has found, each as a script of its own.

use munadi::types::proto::journal::v1::LineKind;
use munadi::types::proto::v1::{
    Ad, AdSet, BillingEvent, Budget, Campaign, Channel, ChatDestination, ConfiguredStatus,
    EntryPoint, EventKind, Placement, Targeting,
};
use munadi::types::request::{
    AdRequest, Change, Chat, Claim, Conversion, Incoming, Opening, Origin, Profile, Resource,
};
use munadi::types::time::Moment;
use munadi::types::token::{ClickToken, PackedPrice};

use crate::audit::Key;
use crate::shop::money;
use crate::traffic::{HOUR, NICHES};
use crate::world::{Sent, World};

/// Returns a world with open shops in which nothing happens by itself.
fn quiet() -> World {
    let mut world = World::new(5);
    world.open_shops().expect("nothing fails yet");
    world.clear_agenda();
    world.set_calm(true);
    world
}

/// Asks for ads of a country with one ad; returns its view.
fn serve(world: &mut World) -> u64 {
    serve_to(world, 7, NICHES[2], 1)
}

/// Lets a viewer ask for ads of a country with one ad, in a feed; returns its view.
fn serve_to(world: &mut World, viewer: u64, country: &[u8; 2], feed: u32) -> u64 {
    let country = u16::from_be_bytes(*country);
    let request = AdRequest {
        placement: Placement::Status,
        viewer: Some(11 << 58 | viewer),
        profile: Profile { country, ..Profile::default() },
        posts: 4,
        positions: Vec::new(),
        named: true,
        ads_in_session: 0,
    };
    // A new day is granted first.
    world.settle().expect("nothing fails");
    let before = world.town.views.len();
    world.ask(feed, request).expect("served as it should be");
    world.clear_agenda();
    assert_eq!(world.town.views.len(), before + 1, "one ad");
    world.town.views[before]
}

fn send(world: &mut World, key: Key, item: Incoming) {
    world.send(Sent::Items(vec![(key, item)]));
}

fn happen(world: &mut World, view: u64, kind: EventKind) -> (u64, u64) {
    let token = world.ledger.handed[&view].token;
    // A hand takes its time.
    let after_ms = if kind == EventKind::Tap { 3_000 } else { 1_000 };
    let at = Some(Moment::from_seconds(token.issued).plus_ms(after_ms));
    send(world, Key::Ad(view, kind), Incoming::Ad { token, kind, at, suspect: None, network: 0 });
    world.settle().expect("nothing fails");
    world.told_of(&Key::Ad(view, kind))
}

fn click_of(world: &World, view: u64) -> ClickToken {
    let token = world.ledger.handed[&view].token;
    let (ad, viewer, issued) = (token.ad, token.viewer, token.issued);
    let per_tap = token.billing == 2;
    // Where neither taps nor conversations are billed it says nothing.
    let price = PackedPrice::pack(if token.billing == 1 { 0 } else { token.price_micros });
    ClickToken { entry_point: 1, per_tap, view, ad, viewer, issued, price }
}

fn open_chat(world: &mut World, view: u64, contact: u64) {
    let click = click_of(world, view);
    let destination = world.ledger.rows.ads[&click.ad].destination.clone();
    let endpoint = destination.expect("given").endpoint_id;
    let business = world.ledger.rows.endpoints[&endpoint].business_id;
    let id = munadi::tokens::conversation_id(business, endpoint, contact);
    let chat = Chat { tenant: 0, business, endpoint, id, at: None, country: 0, independent: false };
    let proof = Some(Claim::Click(click));
    let item = Incoming::Opened { chat, opening: Opening::by_message(EntryPoint::Ad, proof) };
    send(world, Key::Opened(id, view, 0), item);
    world.settle().expect("nothing fails");
}

fn sum(world: &World, column: usize) -> i64 {
    world.ledger.tallies.values().map(|counts| counts[column]).sum()
}

/// Returns what was charged, and what would have been were there money.
fn spent(world: &World) -> i64 {
    sum(world, 7) + sum(world, 8)
}

#[test]
fn a_tap_that_a_click_token_implied_counts_once_and_serves_one_conversation() {
    let mut world = quiet();
    let view = serve(&mut world);
    world.now_ms += 60_000;
    open_chat(&mut world, view, 1);
    assert_eq!(happen(&mut world, view, EventKind::Impression), (1, 0));
    assert_eq!(happen(&mut world, view, EventKind::Tap), (0, 1));
    open_chat(&mut world, view, 2);
    world.audit().expect("no difference");
    assert_eq!((sum(&world, 2), sum(&world, 3)), (1, 1));
    assert_eq!(spent(&world), world.ledger.handed[&view].token.price_micros, "the impression");
}

/// Where [`pay_by_tap`] has its ad.
const BY_TAP: &[u8; 2] = b"PY";

/// Makes an ad in a country of its own that is paid for by tap, and whose chat hands click tokens back.
fn pay_by_tap(world: &mut World) {
    let rows = &world.ledger.rows;
    let niche = [String::from_utf8_lossy(NICHES[2]).into_owned()];
    let ours = |set: &&AdSet| set.targeting.as_ref().is_some_and(|it| it.countries == niche);
    let campaign_id = rows.ad_sets.values().find(ours).expect("opened").campaign_id;
    let account = rows.campaigns[&campaign_id].account_id;
    let (tenant, currency) = (rows.tenants[&account], rows.accounts[&account].currency.clone());
    let channel = i32::from(Channel::Telegram);
    let mut endpoints = rows.endpoints.values().filter(|row| row.channel == channel);
    let theirs = |id| rows.account_of_endpoint(id) == Some(account);
    let endpoint_id = endpoints.find(|row| theirs(row.id)).expect("a bot").id;
    let ad = rows.ads.values().next().cloned().expect("an ad");
    let countries = vec![String::from_utf8_lossy(BY_TAP).into_owned()];
    let targeting = Targeting { countries, placements: vec![1, 2, 3], ..Targeting::default() };
    let ad_set = AdSet {
        campaign_id,
        targeting: Some(targeting),
        billing_event: BillingEvent::LinkClicks.into(),
        bid: money(1_000_000, &currency),
        budget: Some(Budget { daily: money(90_000_000, &currency), lifetime: None }),
        ..AdSet::default()
    };
    let mutation = world.mutation(tenant, Change::Create(Resource::AdSet(ad_set)));
    let written = world.write(mutation).expect("created");
    let destination = ad.destination.map(|chat| ChatDestination { endpoint_id, ..chat });
    let Ad { name, creative, .. } = ad;
    let ad = Ad { ad_set_id: written.id(), name, creative, destination, ..Ad::default() };
    let mutation = world.mutation(tenant, Change::Create(Resource::Ad(ad)));
    world.write(mutation).expect("created");
}

#[test]
fn a_tap_that_is_paid_for_costs_the_same_whether_its_feed_or_its_chat_tells_of_it_first() {
    let mut world = quiet();
    pay_by_tap(&mut world);
    let mut views = Vec::new();
    for viewer in 0..3 {
        let view = serve_to(&mut world, viewer, BY_TAP, 2);
        let token = world.ledger.handed[&view].token;
        assert!(token.billing == 2 && token.price_micros > 0, "{token:?}");
        world.now_ms += 60_000;
        let seen = |world: &mut World| {
            assert_eq!(happen(world, view, EventKind::Impression), (1, 0));
        };
        let (by_feed, price) = match viewer {
            0 => {
                seen(&mut world);
                open_chat(&mut world, view, viewer + 1);
                ((0, 1), token.price_micros)
            }
            1 => {
                seen(&mut world);
                ((1, 0), token.price_micros)
            }
            _ => {
                open_chat(&mut world, view, viewer + 1);
                seen(&mut world);
                ((0, 1), 0)
            }
        };
        world.audit().expect("no difference");
        let before = spent(&world);
        assert_eq!(happen(&mut world, view, EventKind::Tap), by_feed);
        if viewer == 1 {
            open_chat(&mut world, view, viewer + 1);
        }
        world.audit().expect("no difference");
        let now = if viewer == 1 { price } else { 0 };
        assert_eq!(spent(&world) - before, now, "viewer {viewer}");
        views.push((view, by_feed, price));
    }
    let paid: i64 = views.iter().map(|(.., price)| price).sum();
    assert_eq!((sum(&world, 2), sum(&world, 3), spent(&world)), (3, 3, paid));
    world.restart(false).expect("no difference");
    for (view, (recorded, already), _) in views {
        assert_eq!(happen(&mut world, view, EventKind::Tap), (recorded, already + 1));
    }
    world.audit().expect("no difference");
    assert_eq!((sum(&world, 2), spent(&world)), (3, paid));
}

#[test]
fn a_sale_before_the_ad_earns_the_ad_nothing() {
    let mut world = quiet();
    let view = serve(&mut world);
    world.now_ms += 60_000;
    assert_eq!(happen(&mut world, view, EventKind::Impression), (1, 0));
    let click = click_of(&world, view);
    let at = Some(Moment::from_seconds(click.issued).plus_ms(-1));
    let account = world.ledger.handed[&view].account;
    let key = Key::Converted(account, "sale".into());
    let sale = Conversion {
        tenant: 0,
        event_id: "sale".into(),
        name: "Purchase".into(),
        value: None,
        at,
        origin: Origin::Click(click),
        viewer: 0,
    };
    send(&mut world, key.clone(), Incoming::Converted(Box::new(sale)));
    world.audit().expect("no difference");
    assert_eq!((world.told_of(&key), sum(&world, 5)), ((1, 0), 0));
}

#[test]
fn an_ad_sets_only_budget_can_not_be_taken_away() {
    let mut world = quiet();
    let bare = |campaign: &&Campaign| {
        let mut below = world.ledger.rows.ad_sets.values();
        campaign.budget.is_some()
            && below.any(|set| set.campaign_id == campaign.id && set.budget.is_none())
    };
    let campaign = world.ledger.rows.campaigns.values().find(bare).cloned().expect("one such");
    let tenant = world.ledger.rows.tenants[&campaign.account_id];
    let wanted = Campaign { budget: None, etag: String::new(), ..campaign.clone() };
    let change = Change::Update(Resource::Campaign(wanted), vec!["budget".into()]);
    let mutation = world.mutation(tenant, change);
    world.send(Sent::Write(Box::new(mutation)));
    world.audit().expect("no difference");
    assert_eq!(world.coverage.count("refusal", "FIELD_MISSING"), 1);
    assert_eq!(world.ledger.rows.campaigns[&campaign.id], campaign);
}

#[test]
fn a_forgotten_view_is_not_counted_again_when_the_clock_goes_back() {
    let mut world = quiet();
    let view = serve(&mut world);
    assert_eq!(happen(&mut world, view, EventKind::Impression), (1, 0));
    world.now_ms += 26 * HOUR;
    let other = serve(&mut world);
    assert_eq!(happen(&mut world, other, EventKind::Impression), (1, 0));
    world.behind_ms = 3 * HOUR;
    assert_eq!(happen(&mut world, view, EventKind::Impression), (1, 0));
    assert_eq!(world.coverage.count("refusal", "TOKEN_EXPIRED"), 1);
    world.audit().expect("no difference");
}

#[test]
fn a_lowered_budget_holds_though_its_grant_was_lost_in_a_crash() {
    let mut world = quiet();
    let daily = |campaign: &Campaign| {
        let daily = campaign.budget.as_ref().and_then(|budget| budget.daily.as_ref());
        daily.map_or(0, |daily| daily.micros)
    };
    // A budget is not lowered below a bid that spends it: for impressions that is for 1,000.
    let bid = |campaign: &Campaign| {
        let ours = world.ledger.rows.ad_sets.values().filter(|set| set.campaign_id == campaign.id);
        let one = |set: &AdSet| {
            let per = if set.billing_event() == BillingEvent::Impressions { 1_000 } else { 1 };
            set.bid.as_ref().map_or(0, |bid| bid.micros / per)
        };
        ours.map(one).max().unwrap_or_default()
    };
    let lower = |campaign: &&Campaign| {
        let lowered = daily(campaign) - 1;
        lowered > bid(campaign) && campaign.configured_status() == ConfiguredStatus::Active
    };
    let campaign = world.ledger.rows.campaigns.values().find(lower).cloned().expect("one such");
    let lowered = daily(&campaign) - 1;
    let account = &world.ledger.rows.accounts[&campaign.account_id];
    let budget = Some(Budget { daily: money(lowered, &account.currency), lifetime: None });
    let tenant = world.ledger.rows.tenants[&account.id];
    let wanted = Campaign { budget, etag: String::new(), ..campaign.clone() };
    let change = Change::Update(Resource::Campaign(wanted), vec!["budget".into()]);
    let mutation = world.mutation(tenant, change);
    world.silence(1);
    world.send(Sent::Write(Box::new(mutation)));
    world.round().expect("silent");
    world.restart(false).expect("no difference");
    world.clear_agenda();
    world.audit().expect("no difference");
    let now = &world.ledger.rows.campaigns[&campaign.id];
    let daily = now.budget.as_ref().and_then(|budget| budget.daily.as_ref());
    assert_eq!(daily.map(|daily| daily.micros), Some(lowered));
    assert!(world.ledger.books.granted(LineKind::Campaign, campaign.id).contains(&lowered));
}

#[test]
fn a_checkpoint_right_after_a_start_keeps_the_journals_time() {
    let mut world = quiet();
    let view = serve(&mut world);
    world.now_ms += HOUR;
    assert_eq!(happen(&mut world, view, EventKind::Impression), (1, 0));
    world.restart(false).expect("no difference");
    world.take_checkpoint().expect("written");
    world.offers = true;
    world.restart(false).expect("no difference");
    assert_eq!(world.coverage.count("fault", "checkpoint used"), 1);
    world.behind_ms = HOUR / 2;
    assert_eq!(happen(&mut world, view, EventKind::Viewable), (1, 0));
    world.audit().expect("the journal's time does not go back");
}

#[test]
fn a_checkpoint_ahead_of_the_journal_is_refused() {
    let mut world = quiet();
    let view = serve(&mut world);
    world.silence(0);
    let token = world.ledger.handed[&view].token;
    let kind = EventKind::Impression;
    send(
        &mut world,
        Key::Ad(view, kind),
        Incoming::Ad { token, kind, at: None, suspect: None, network: 0 },
    );
    world.round().expect("silent");
    world.take_checkpoint().expect("written");
    world.offers = true;
    world.restart(false).expect("the lost impression is forgotten");
    assert_eq!(world.coverage.count("fault", "checkpoint refused"), 1);
    assert_eq!(world.ledger.found.get(&Key::Ad(view, kind)), None);
}

#[test]
fn an_ad_is_served_only_once_its_write_is_durable() {
    let mut world = quiet();
    let view = serve(&mut world);
    let token = world.ledger.handed[&view].token;
    let ad = world.ledger.rows.ads[&token.ad].clone();
    let tenant = world.ledger.rows.tenants[&world.ledger.handed[&view].account];
    let wanted = Ad { configured_status: ConfiguredStatus::Paused.into(), ..ad.clone() };
    let change = Change::Update(Resource::Ad(wanted), vec!["configured_status".into()]);
    let mutation = world.mutation(tenant, change);
    world.write(mutation).expect("paused");
    let change = Change::Create(Resource::Ad(ad));
    let mutation = world.mutation(tenant, change);
    world.silence(0);
    world.send(Sent::Write(Box::new(mutation)));
    world.round().expect("silent");
    assert_eq!(world.front().live_ads(), world.ledger.rows.ads.len() - 1);
    world.restart(false).expect("no difference");
}

#[test]
fn a_block_that_another_owner_wrote_is_not_taken_for_ones_own() {
    let mut world = quiet();
    let view = serve(&mut world);
    world.usurp();
    let token = world.ledger.handed[&view].token;
    let (kind, at) = (EventKind::Impression, None);
    send(
        &mut world,
        Key::Ad(view, kind),
        Incoming::Ad { token, kind, at, suspect: None, network: 0 },
    );
    world.round().expect("it stops and starts again");
    assert_eq!(world.generation, 1);
    assert_eq!(world.told_of(&Key::Ad(view, kind)), (0, 0));
    world.audit().expect("nothing was acknowledged and lost");
}
