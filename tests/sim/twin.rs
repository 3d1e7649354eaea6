//! A slow, obvious twin of selection, written from the rules and not from the code.

use std::collections::BTreeMap;

use munadi::decide::auction::{Candidate, Scratch, Terms, clear, hold_of};
use munadi::decide::index::{Draft, Entry, Segment, Visitor, Walker};
use munadi::decide::plain;
use munadi::decide::promise::Promise;
use munadi::decide::select::{Asked, Passes, Placed, Selector, Tray};
use munadi::decide::skip::Skip;
use munadi::decide::target::Told;
use munadi::state::rules::Blocks;
use munadi::state::viewers::Viewer;
use munadi::types::proto::v1::{CapEvent, NoAdReason};

use crate::luck::Luck;
use crate::market::{Market, NOW, market, market_of};

#[derive(Default)]
struct Passed(BTreeMap<u32, Skip>);

impl Passes for Passed {
    fn pass(&mut self, entry: &Entry, skip: Skip) {
        assert!(self.0.insert(entry.ad, skip).is_none(), "{} was passed over twice", entry.ad);
    }
}

/// Value and quality of an ad for 1,000 impressions, by the rule.
fn worth(market: &Market, draft: &Draft) -> (i64, i64) {
    let row = draft.entry();
    let now = market.board.ad(row.ad.into());
    let rates = now.rates.in_placement(market.board.factors(market.request.placement));
    let multiplier = i128::from(market.board.multiplier(row.ad_set.into()));
    let value = i128::from(row.aim().value(row.bid, rates)) * multiplier / (1 << 30);
    let value = if row.is_for_reach() { value >> shown(market, draft, 24) } else { value };
    let value = i128::from(market.index.exchange().settle(row.currency, value as i64));
    let hidden = i128::from(market.policy.hide_cost_micros) * 1_000 * i128::from(now.hide) / 65_535;
    (value as i64, -(hidden as i64))
}

/// Returns what is known of the viewer who asks, and what was promised to it.
fn known(market: &Market) -> (Viewer, Vec<&Promise>) {
    if market.request.viewer.is_none() {
        return Default::default();
    }
    let open = market.promised.iter().filter(|promise| promise.is_open(NOW));
    (market.viewer.clone(), open.collect())
}

/// Returns how often the viewer was shown an ad set, or may still be.
fn shown(market: &Market, draft: &Draft, hours: u16) -> u32 {
    let (ad_set, (viewer, promised)) = (draft.entry().ad_set_id(), known(market));
    let soon = promised.iter().filter(|promise| promise.ad_set() == ad_set).count();
    viewer.counted(ad_set, CapEvent::Impressions, hours, NOW) + soon as u32
}

/// Says in plain words why a row can't be shown, in the order of the rules.
fn obstacle(market: &Market, draft: &Draft) -> Option<Skip> {
    let (row, extra, policy) = (draft.entry(), draft.extra(), &market.policy);
    let (viewer, promised) = known(market);
    let mut told = Told::default();
    told.take(&market.request.profile, market.request.placement, NOW);
    if !draft.targets().iter().any(|target| target.matches(&told)) {
        return Some(Skip::NotTargeted);
    }
    let closed = market.board.is_closed(row.ad_set.into());
    if NOW.0 < extra.start_ms || NOW.0 >= extra.end_ms || closed {
        return Some(Skip::OutsideSchedule);
    }
    let hidden = viewer.hidden().iter();
    let mut hidden = hidden.map(|hidden| (hidden.business, hidden.id));
    if hidden.any(|hidden| hidden == (true, row.business_id()) || hidden == (false, row.ad_id())) {
        return Some(Skip::HiddenByViewer);
    }
    for cap in extra.caps() {
        if shown(market, draft, cap.interval_hours) >= u32::from(cap.max) {
            return Some(Skip::FrequencyCapped);
        }
    }
    let views = viewer.views().iter();
    let views = views.map(|view| (view.business, view.category, i64::from(view.issued_s) * 1_000));
    let soon = promised.iter();
    let soon = soon.map(|it| (it.business(), it.category(), it.issued().0));
    // Categories are hashes of names, and told apart by their lower halves.
    let own = row.category as u32;
    let (business_ms, category_ms) = (policy.advertiser_distance_ms, policy.category_distance_ms);
    if views.chain(soon).any(|(business, category, at_ms)| {
        business == row.business_id() && at_ms > NOW.0 - business_ms
            || category as u32 == own && own != 0 && at_ms > NOW.0 - category_ms
    }) {
        return Some(Skip::Separation);
    }
    let (value, quality) = worth(market, draft);
    let own = market.index.exchange().back(row.currency, value);
    if market.board.ad_set(row.ad_set.into()).free(NOW) < (own / 1_000).max(1) {
        return Some(Skip::BudgetSpent);
    }
    (value + quality < policy.floor_cpm_micros.max(1)).then_some(Skip::BelowFloor)
}

pub(crate) fn asked<'a>(
    market: &'a Market,
    onlooker: &'a munadi::decide::onlooker::Onlooker,
    blocks: &'a Blocks,
    roll: u64,
) -> Asked<'a> {
    Asked {
        index: &market.index,
        board: &market.board,
        blocks,
        onlooker,
        policy: &market.policy,
        request: &market.request,
        now: NOW,
        roll,
        live_ads: market.drafts.len(),
    }
}

/// Shows every ad that an index has for a viewer.
#[derive(Default)]
struct Everything(BTreeMap<u32, u32>);

impl Visitor for Everything {
    fn least(&self) -> i64 {
        i64::MIN
    }

    fn visit(&mut self, segment: &Segment, _: u16, entries: &[u32]) {
        entries.iter().for_each(|at| *self.0.entry(segment.entry(*at).ad).or_default() += 1);
    }
}

/// Counts what a run of cases reached.
#[derive(Default)]
struct Reached {
    filled: u32,
    empty: BTreeMap<i32, u32>,
}

#[test]
fn selection_fills_a_tray_as_its_slow_twin_does() {
    let (mut luck, mut reached) = (Luck::new(77), Reached::default());
    let (mut selector, mut walker) = (Selector::default(), Walker::default());
    for case in 0..6_000 {
        let market = market(&mut luck);
        compare(&mut luck, &market, &mut selector, &mut walker, &mut reached, case);
    }
    let Reached { filled, empty } = reached;
    assert!(filled > 2_500 && empty.len() >= 8, "{filled} filled, empty {empty:?}");
}

#[test]
fn a_walk_over_many_blocks_misses_nobody_among_equals() {
    let (mut luck, mut reached) = (Luck::new(78), Reached::default());
    let (mut selector, mut walker) = (Selector::default(), Walker::default());
    for case in 0..30 {
        let market = market_of(&mut luck, 4_000, true);
        compare(&mut luck, &market, &mut selector, &mut walker, &mut reached, case);
    }
    assert!(reached.filled > 15, "{} filled", reached.filled);
}

/// Fills one tray through the index and the slow way, and compares.
fn compare(
    luck: &mut Luck,
    market: &Market,
    selector: &mut Selector,
    walker: &mut Walker,
    reached: &mut Reached,
    case: u32,
) {
    let (onlooker, blocks, roll) = (market.onlooker(), Blocks::default(), luck.roll());
    let asked = asked(market, &onlooker, &blocks, roll);
    check_walk(market, walker, case);
    let (mut tray, mut passed) = (Tray::default(), Passed::default());
    selector.select(&asked, &mut tray, &mut passed);
    let bids = plain::bids(&market.drafts, &asked);
    for (draft, (ad, judged)) in market.drafts.iter().zip(plain::judge(&market.drafts, &asked)) {
        assert_eq!(judged.err(), obstacle(market, draft), "case {case}, ad {ad}");
    }
    let wins = twin_wins(market, &bids);
    let mut wins = wins.iter();
    for (position, slot) in &tray.slots {
        match slot {
            Ok(placed) => {
                let win = wins.next().unwrap_or_else(|| panic!("case {case}: an ad too many"));
                assert_eq!(*position, win.0, "case {case}");
                check_placed(market, placed, &bids[win.1], win.2, case);
                reached.filled += 1;
            }
            Err(reason) => *reached.empty.entry(*reason as i32).or_default() += 1,
        }
    }
    assert_eq!(wins.next(), None, "case {case}: the twin has an ad more");
    check_reasons(market, &tray, &passed, &bids, case);
}

/// Checks that a walk shows every ad that is meant for the viewer and no dead or foreign one.
fn check_walk(market: &Market, walker: &mut Walker, case: u32) {
    let mut told = Told::default();
    told.take(&market.request.profile, market.request.placement, NOW);
    let mut seen = Everything::default();
    walker.walk(&market.index, &told, &mut seen);
    let meant = market.drafts.iter().filter(|d| d.targets().iter().any(|t| t.matches(&told)));
    for draft in meant {
        assert!(seen.0.contains_key(&draft.ad()), "case {case}: {} is missing", draft.ad());
    }
    for draft in market.drafts.iter().filter(|draft| seen.0.contains_key(&draft.ad())) {
        // Older forms of the ad say the same here, so what is shown is meant for the viewer.
        let meant = draft.targets().iter().any(|target| target.matches(&told));
        assert!(meant, "case {case}: {} is not for this viewer", draft.ad());
    }
}

/// Runs the auction over all bids, not only those that the index kept: position, bid and price of each ad.
pub(crate) fn twin_wins(
    market: &Market,
    bids: &[munadi::decide::groups::Member],
) -> Vec<(u16, usize, i64)> {
    let policy = &market.policy;
    let candidates: Vec<_> = bids
        .iter()
        .map(|bid| Candidate {
            ad: bid.ad.into(),
            business: bid.business.into(),
            group: bid.group,
            value: bid.worth.value,
            quality: bid.worth.quality,
            lot: bid.lot,
        })
        .collect();
    let positions: Vec<u16> = if market.request.positions.is_empty() {
        (policy.first_position..market.request.posts).collect()
    } else {
        let inside = |p: &&u16| **p >= policy.first_position && **p < market.request.posts;
        market.request.positions.iter().filter(inside).copied().collect()
    };
    let attention: Vec<u32> = positions
        .iter()
        .map(|position| {
            let keep = |weight: u64, _| weight * u64::from(policy.attention_keep) / 65_536;
            (0..*position).fold(65_536, keep) as u32
        })
        .collect();
    let terms = Terms {
        places: &positions,
        attention: &attention,
        min_gap: policy.min_gap,
        most: policy.most_per_tray.into(),
        interruption: policy.interruption_cpm_micros,
        floor: policy.floor_cpm_micros,
    };
    let mut wins = Vec::new();
    clear(&candidates, &terms, &mut Scratch::default(), &mut wins);
    wins.iter().map(|win| (positions[win.place], win.candidate, win.pay_cpm)).collect()
}

fn check_placed(
    market: &Market,
    placed: &Placed,
    bid: &munadi::decide::groups::Member,
    pay_cpm: i64,
    case: u32,
) {
    let entry = &placed.entry;
    assert_eq!(entry.ad, bid.ad, "case {case}");
    let rates = market.board.ad(entry.ad.into()).rates;
    let rates = rates.in_placement(market.board.factors(market.request.placement));
    let own = market.index.exchange().back(entry.currency, pay_cpm);
    let price = entry.aim().price(entry.bid, rates, own);
    let most = entry.aim().worth_of_event(entry.bid, rates);
    assert!(price <= most, "case {case}: {price} above the bid of {most}");
    assert_eq!((placed.price, placed.rates), (price, rates), "case {case}");
    assert_eq!(placed.hold, hold_of(entry.billing(), price, rates), "case {case}");
}

/// Checks that losers of the auction are counted once, and that an empty slot says how far the best ad
/// for it got.
fn check_reasons(
    market: &Market,
    tray: &Tray,
    passed: &Passed,
    bids: &[munadi::decide::groups::Member],
    case: u32,
) {
    let served = tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok()).count();
    for (ad, skip) in &passed.0 {
        let lost = [Skip::Outbid, Skip::Separation, Skip::BelowFloor, Skip::InterruptionCost];
        assert!(lost.contains(skip), "case {case}");
        assert!(bids.iter().any(|bid| bid.ad == *ad), "case {case}: {ad} made no bid");
    }
    let open = |(_, slot): &&(u16, Result<Placed, NoAdReason>)| {
        !matches!(slot, Err(NoAdReason::FeedPolicy))
    };
    let wanted = tray.slots.iter().filter(open).count();
    let mut groups: Vec<_> = bids.iter().map(|bid| bid.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let stages = market.drafts.iter().filter_map(|draft| obstacle(market, draft));
    let furthest = stages.max_by_key(|skip| skip.stage()).unwrap_or(Skip::NotTargeted);
    let expected = if market.drafts.is_empty() {
        NoAdReason::NoLiveAds
    } else if served < wanted.min(groups.len()) {
        NoAdReason::InterruptionCost
    } else if bids.len() > groups.len() {
        NoAdReason::Separation
    } else {
        furthest.of_slot()
    };
    for (_, slot) in tray.slots.iter().filter(open) {
        assert!(slot.as_ref().err().is_none_or(|reason| *reason == expected), "case {case}");
    }
}
