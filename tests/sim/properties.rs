//! Properties of the fold and of the purse, over journals and sequences that chance made.

use munadi::decide::purse::{LineId, Terms, charge, grant};
use munadi::decide::record::showing_of;
use munadi::journal::Block;
use munadi::node::fold;
use munadi::state::catalog::Catalog;
use munadi::state::purses::PurseChunk;
use munadi::state::{Stamp, State, route};
use munadi::types::day::Day;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut, ImpressionSeen, LineKind,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Budget, Business, Campaign, ChannelEndpoint, ChatDestination,
};
use munadi::types::time::Moment;

use crate::luck::Luck;
use crate::shop::money;

fn folded(blocks: &[Block], mut apply: impl FnMut(Stamp, &Kind)) {
    for block in blocks {
        fold(block, &mut apply).expect("this version wrote it");
    }
}

/// Applies one fact to one part.
type ApplyPart<'a> = Box<dyn Fn(&mut State) + 'a>;

/// Applies a fact to the parts that it touches, one by one, in an order that chance gives.
fn apply_in_parts(state: &mut State, luck: &mut Luck, stamp: Stamp, fact: &Kind) {
    let route = route(fact);
    let mut parts: Vec<ApplyPart<'_>> = Vec::new();
    if let Some(bucket) = route.bucket {
        parts.push(Box::new(move |state| state.buckets[bucket].apply(stamp, fact)));
    }
    if route.shard {
        let shard = stamp.shard.index();
        parts.push(Box::new(move |state| state.shards[shard].apply(stamp, fact)));
    }
    if let Some(chunk) = route.purse {
        parts.push(Box::new(move |state| state.purses[chunk].apply(stamp, fact)));
    }
    for chunk in route.tallies.iter() {
        parts.push(Box::new(move |state| state.tallies[chunk].apply(chunk, stamp, fact)));
    }
    if let Some(chunk) = route.desk {
        parts.push(Box::new(move |state| state.desks[chunk].apply(stamp, fact)));
    }
    if route.feeds {
        parts.push(Box::new(move |state| state.feeds.apply(stamp, fact)));
    }
    if route.paces {
        parts.push(Box::new(move |state| state.paces.apply(stamp, fact)));
    }
    if route.shapes {
        parts.push(Box::new(move |state| state.shapes.apply(stamp, fact)));
    }
    if route.catalog {
        parts.push(Box::new(move |state| state.catalog.apply(stamp, fact)));
    }
    while !parts.is_empty() {
        let part = parts.swap_remove(luck.below(parts.len() as u64) as usize);
        part(state);
        // A part that has applied a fact skips it.
        if luck.chance(300) {
            part(state);
        }
    }
}

#[test]
fn the_parts_of_a_fact_may_be_applied_in_any_order_and_twice() {
    let blocks = crate::run(11, 1_200).blocks();
    let mut plain = State::default();
    folded(&blocks, |stamp, fact| plain.apply(stamp, fact));
    let mut twice = State::default();
    folded(&blocks, |stamp, fact| {
        twice.apply(stamp, fact);
        twice.apply(stamp, fact);
    });
    assert!(twice == plain, "a fact that came twice counted twice");
    let mut luck = Luck::new(3);
    for _ in 0..3 {
        let mut parts = State::default();
        parts.purses.resize_with(plain.purses.len(), PurseChunk::default);
        parts.tallies.resize_with(plain.tallies.len(), Default::default);
        parts.desks.resize_with(plain.desks.len(), Default::default);
        folded(&blocks, |stamp, fact| apply_in_parts(&mut parts, &mut luck, stamp, fact));
        assert!(parts == plain, "the order of a fact's parts shows");
    }
}

#[test]
fn replaying_a_tail_twice_is_replaying_it_once() {
    let blocks = crate::run(12, 800).blocks();
    let mut plain = State::default();
    folded(&blocks, |stamp, fact| plain.apply(stamp, fact));
    let mut luck = Luck::new(4);
    for _ in 0..5 {
        let mut again = State::default();
        let end = luck.below(blocks.len() as u64) as usize;
        let from = luck.below(end as u64 + 1) as usize;
        folded(&blocks[..end], |stamp, fact| again.apply(stamp, fact));
        folded(&blocks[from..], |stamp, fact| again.apply(stamp, fact));
        assert!(again == plain, "cut at {end}, replayed from {from}");
    }
}

fn catalog(luck: &mut Luck) -> Catalog {
    let amount = |luck: &mut Luck| luck.between(0, 2_000);
    let some = |luck: &mut Luck| {
        let micros = amount(luck);
        money(micros, "USD").filter(|_| luck.chance(500))
    };
    let budget = |luck: &mut Luck| {
        let (daily, lifetime) = (some(luck), some(luck));
        Some(Budget { daily, lifetime })
    };
    let id = |kind| mint(kind, 1);
    let (account_id, campaign_id) = (id(IdKind::Account), id(IdKind::Campaign));
    let (ad_set_id, business_id) = (id(IdKind::AdSet), id(IdKind::Business));
    let (ad_id, endpoint_id) = (id(IdKind::Ad), id(IdKind::Endpoint));
    let account = Account { id: account_id, spend_limit: some(luck), ..Account::default() };
    let campaign =
        Campaign { id: campaign_id, account_id, budget: budget(luck), ..Campaign::default() };
    let ad_set = AdSet { id: ad_set_id, campaign_id, budget: budget(luck), ..AdSet::default() };
    let destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
    let ad = Ad { id: ad_id, ad_set_id, destination, ..Ad::default() };
    let business = Business { id: business_id, account_id, ..Business::default() };
    let endpoint = ChannelEndpoint { id: endpoint_id, business_id, ..ChannelEndpoint::default() };
    let facts = [
        Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })),
        Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })),
        Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })),
        Kind::AdPut(Box::new(AdPut { ad: Some(ad) })),
        Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })),
        Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })),
    ];
    let mut catalog = Catalog::default();
    for (seq, fact) in (1..).zip(&facts) {
        catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) }, fact);
    }
    catalog
}

fn apply(chunk: &mut PurseChunk, seq: &mut u64, at: Moment, fact: &Kind) {
    *seq += 1;
    let shard = Shard::new(0).expect("a shard");
    chunk.apply(Stamp { shard, seq: Seq(*seq), at }, fact);
}

#[test]
fn a_charge_never_exceeds_any_line_on_any_day_or_in_its_life() {
    let mut luck = Luck::new(21);
    for case in 0..3_000 {
        let catalog = catalog(&mut luck);
        let family = catalog.family(mint(IdKind::Ad, 1)).expect("just made");
        let lines = [
            (
                LineKind::Account,
                Terms::of_account(&catalog.accounts.get(family.account).expect("made"), None),
            ),
            (
                LineKind::Campaign,
                Terms::of_campaign(&catalog.campaigns.get(family.campaign).expect("made")),
            ),
            (LineKind::AdSet, Terms::of_ad_set(&catalog.ad_sets.get(family.ad_set).expect("made"))),
        ];
        let account = family.account;
        let (mut chunk, mut seq, mut life) = (PurseChunk::default(), 0, 0);
        for number in 0..4_i32 {
            let start = i64::from(number) * 1_000;
            let day = Day { number, start: Moment(start), until: Moment(start + 1_000) };
            let mut today = 0;
            for event in 0..8 {
                let now = Moment(start + event * 120);
                // Grants come at midnight, and again at any time.
                if event == 0 && luck.chance(900) || luck.chance(100) {
                    for (kind, terms) in lines {
                        let id = match kind {
                            LineKind::Unspecified | LineKind::Account => family.account,
                            LineKind::Campaign => family.campaign,
                            LineKind::AdSet => family.ad_set,
                        };
                        let line = LineId { kind, id, account };
                        let purse = chunk.purses.get(&account);
                        if let Some(granted) = grant(line, terms, purse, day, luck.roll().max(1)) {
                            apply(&mut chunk, &mut seq, now, &Kind::Granted(granted));
                        }
                    }
                    continue;
                }
                let price = luck.between(0, 900);
                let charge = charge(&family, chunk.purses.get(&account), price, "UTC", now);
                assert_eq!(charge.amount + charge.over_delivered, price, "case {case}");
                assert!(charge.amount >= 0 && charge.over_delivered >= 0, "case {case}");
                (today, life) = (today + charge.amount, life + charge.amount);
                let showing = showing_of(&family, 0, 0, 0, 0);
                let (showing, charge) = (Some(showing), Some(charge));
                let seen = ImpressionSeen { showing, charge, ..ImpressionSeen::default() };
                apply(&mut chunk, &mut seq, now, &Kind::ImpressionSeen(seen));
                for (kind, terms) in lines {
                    let within = terms.daily.is_none_or(|daily| today <= daily)
                        && terms.lifetime.is_none_or(|lifetime| life <= lifetime);
                    assert!(within, "case {case}: {kind:?} {terms:?}: {today} today, {life}");
                }
            }
        }
    }
}

#[test]
fn a_checkpoint_at_any_moment_and_its_tail_are_the_whole_journal() {
    let mut checked = 0;
    for seed in 31..34 {
        let mut world = crate::World::new(seed);
        world.open_shops().expect("nothing fails yet");
        world.offers = true;
        let mut luck = Luck::new(seed);
        while world.steps < 600 {
            world.advance().expect("no difference");
            if luck.chance(15) {
                world.take_checkpoint().expect("written");
                let further = world.steps + luck.below(40);
                while world.steps < further {
                    world.advance().expect("no difference");
                }
                // Starts from the checkpoint and compares every part with the whole journal's fold.
                world.restart(false).expect("no difference");
                checked += 1;
            }
        }
        assert!(world.coverage.count("fault", "checkpoint used") > 0);
    }
    assert!(checked >= 10, "{checked} checkpoints");
}
