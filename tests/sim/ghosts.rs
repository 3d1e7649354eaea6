//! Ghost ads beside a plain twin that runs the auction with every experiment's ads and without.
//! `SIM_SEED=7 cargo sim ghosts::` replays one market.

use std::collections::BTreeMap;

use munadi::decide::ghosts::{Ghost, Ghosts};
use munadi::decide::groups::Member;
use munadi::decide::holdouts::Tests;
use munadi::decide::index::Entry;
use munadi::decide::plain;
use munadi::decide::select::{Passes, Selector, Tray};
use munadi::decide::skip::Skip;
use munadi::state::Stamp;
use munadi::state::catalog::Catalog;
use munadi::state::rules::Blocks;
use munadi::types::hash::mix;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::ExperimentPut;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::{Experiment, NoAdReason};

use crate::luck::Luck;
use crate::market::{Market, NOW, market};
use crate::twin::{asked, twin_wins};

/// Campaigns of the largest market.
const CAMPAIGNS: u64 = 5;

/// What one experiment covers, in plain words.
struct Held {
    number: u32,
    /// Numbers of campaigns.
    campaigns: Vec<u32>,
    /// Whether the viewer is in its control group, and that sees no ads.
    withholds: bool,
}

struct Uncounted;

impl Passes for Uncounted {
    fn pass(&mut self, _: &Entry, _: Skip) {}
}

const fn key(experiment: u64) -> u64 {
    mix(experiment ^ 0x5EED)
}

/// Draws experiments over the campaigns of a market, and says of each what it does to the viewer.
fn experiments(luck: &mut Luck, viewer: u64) -> (Tests, Vec<Held>) {
    let mut catalog = Catalog::default();
    let mut held = Vec::new();
    let mut free: Vec<u64> = (1..=CAMPAIGNS).collect();
    for number in 1..=1 + luck.below(3) {
        let covered: Vec<u64> = free.iter().copied().filter(|_| luck.chance(400)).collect();
        free.retain(|campaign| !covered.contains(campaign));
        if covered.is_empty() {
            continue;
        }
        let (id, aa, ended) =
            (mint(IdKind::Experiment, number), luck.chance(100), luck.chance(100));
        // A market's accounts have one campaign each, so both ways to cover it are the same.
        let whole = covered.len() == 1 && luck.chance(500);
        let campaigns = covered.iter().map(|campaign| mint(IdKind::Campaign, *campaign));
        let seconds = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let now = i64::from(NOW.seconds());
        let experiment = Experiment {
            id,
            account_id: mint(IdKind::Account, covered[0]),
            campaign_ids: if whole { Vec::new() } else { campaigns.collect() },
            control_micros: 500_000,
            start_time: seconds(now - 9),
            end_time: seconds(if ended { now } else { now + 1 }),
            aa,
            ..Experiment::default()
        };
        let fact = Kind::ExperimentPut(Box::new(ExperimentPut { experiment: Some(experiment) }));
        catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(number), at: NOW }, &fact);
        let is_control = mix(viewer ^ key(id)) < 1 << 63;
        let campaigns = covered.iter().map(|campaign| *campaign as u32).collect();
        let withholds = is_control && !aa && !ended;
        held.push(Held { number: number as u32, campaigns, withholds });
    }
    (Tests::of(&catalog.holdouts, NOW, key), held)
}

/// Returns the number of the experiment that keeps an ad from the viewer; 0: none does.
fn held_by(held: &[Held], campaign: u32) -> u32 {
    let covers = |held: &&Held| held.withholds && held.campaigns.contains(&campaign);
    held.iter().find(covers).map_or(0, |held| held.number)
}

/// Runs the auction over these bids alone: position and ad of each win.
fn wins(market: &Market, bids: &[Member], takes_part: impl Fn(u32) -> bool) -> Vec<(u16, u32)> {
    let bids: Vec<Member> = bids.iter().filter(|bid| takes_part(bid.ad)).copied().collect();
    twin_wins(market, &bids).into_iter().map(|(at, bid, _)| (at, bids[bid].ad)).collect()
}

#[test]
fn a_viewer_is_shown_what_wins_without_its_experiments_and_haunted_by_what_would_have() {
    let [mut ghosts_seen, mut held_back, mut filled] = [0_u32; 3];
    let one = crate::number("SIM_SEED");
    for seed in one.map_or(0..4_000, |seed| seed..seed + 1) {
        let mut luck = Luck::new(seed);
        let market = market(&mut luck);
        let viewer = luck.roll();
        let (tests, held) = experiments(&mut luck, viewer);
        let (onlooker, blocks) = (market.onlooker(), Blocks::default());
        let asked = asked(&market, &onlooker, &blocks, luck.roll());
        let (mut selector, mut ghosts, mut tray) = <(Selector, Ghosts, Tray)>::default();
        ghosts.select((&tests, viewer), &mut selector, &asked, &mut tray, &mut Uncounted);

        let campaigns: BTreeMap<u32, u32> =
            market.drafts.iter().map(|draft| (draft.ad(), draft.entry().campaign)).collect();
        let of = |ad: u32| held_by(&held, campaigns[&ad]);
        let bids = plain::bids(&market.drafts, &asked);
        let shown = wins(&market, &bids, |ad| of(ad) == 0);
        let mut haunting = Vec::new();
        for experiment in held.iter().filter(|held| held.withholds) {
            let both = wins(&market, &bids, |ad| [0, experiment.number].contains(&of(ad)));
            let theirs = both.into_iter().filter(|(_, ad)| of(*ad) == experiment.number);
            haunting.extend(
                theirs.map(|(position, ad)| Ghost { position, ad: mint(IdKind::Ad, ad.into()) }),
            );
        }

        let placed = tray.slots.iter().filter_map(|(position, slot)| {
            slot.as_ref().ok().map(|placed| (*position, placed.entry.ad))
        });
        let context = format!("replay: SIM_SEED={seed} cargo sim ghosts:: -- --nocapture");
        assert_eq!(placed.collect::<Vec<_>>(), shown, "{context}");
        assert_eq!(ghosts.list, haunting, "{context}");
        for (position, slot) in &tray.slots {
            let is_haunted = haunting.iter().any(|ghost| ghost.position == *position);
            let told = slot.as_ref().err() == Some(&NoAdReason::HeldBack);
            assert_eq!(told, slot.is_err() && is_haunted, "{context}, slot {position}");
            held_back += u32::from(told);
        }
        ghosts_seen += haunting.len() as u32;
        filled += shown.len() as u32;
    }
    let enough = ghosts_seen > 300 && held_back > 50 && filled > 1_000;
    assert!(enough || one.is_some(), "{ghosts_seen} {held_back} {filled}");
}
