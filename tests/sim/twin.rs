//! A slow, obvious twin of selection, written from the rules and not from the code.

use std::collections::BTreeMap;

use munadi::decide::auction::{hold_of, price_of, value_of};
use munadi::decide::board::{Board, Rates};
use munadi::decide::onlooker::{Onlooker, Promise};
use munadi::decide::select::{Passes, Skip, select};
use munadi::decide::shelf::{Row, Shelf};
use munadi::state::catalog::Catalog;
use munadi::state::viewers::Viewer;
use munadi::state::{Stamp, bucket::Bucket};
use munadi::types::dice::Dice;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut, FeedbackGiven,
    ImpressionSeen, Showing,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, CapEvent, ChannelEndpoint, ChatDestination, EventKind,
    FrequencyCap, Money, NoAdReason, Placement, Targeting,
};
use munadi::types::request::{AdRequest, Policy, Profile};
use munadi::types::time::Moment;

use crate::luck::Luck;

const NOW: Moment = Moment(1_800_000_000_000);
const HOUR_MS: i64 = 3_600_000;

/// A small market with every kind of obstacle.
struct Market {
    shelf: Shelf,
    board: Board,
    viewer: Viewer,
    promised: Vec<Promise>,
    policy: Policy,
    request: AdRequest,
    free: Vec<i64>,
    rates: Vec<Rates>,
}

/// Lots in the order they are drawn, so that the twin draws the same.
struct Lots(Luck);

impl Dice for Lots {
    fn roll(&mut self) -> u64 {
        self.0.roll()
    }
}

#[derive(Default)]
struct Passed(BTreeMap<u32, Skip>);

impl Passes for Passed {
    fn pass(&mut self, row: u32, skip: Skip) {
        assert!(self.0.insert(row, skip).is_none(), "row {row} was passed over twice");
    }
}

fn catalog(luck: &mut Luck) -> Catalog {
    let mut facts = Vec::new();
    // Now and then more bids than selection puts in order at once.
    let most = if luck.chance(100) { 200 } else { 24 };
    let (accounts, ads) = (1 + luck.below(5), 1 + luck.below(most));
    for number in 1..=accounts {
        let account = Account { id: mint(IdKind::Account, number), ..Account::default() };
        facts.push(Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })));
        let campaign = Campaign {
            id: mint(IdKind::Campaign, number),
            account_id: mint(IdKind::Account, number),
            ..Campaign::default()
        };
        facts.push(Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })));
    }
    for number in 1..=2 * accounts {
        let category = luck.pick(&["", "food", "travel"]).to_string();
        let account_id = mint(IdKind::Account, (number - 1) % accounts + 1);
        let business_id = mint(IdKind::Business, number);
        let business = Business { id: business_id, account_id, category, ..Business::default() };
        facts.push(Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })));
        let id = mint(IdKind::Endpoint, number);
        let endpoint = ChannelEndpoint { id, business_id, ..ChannelEndpoint::default() };
        facts.push(Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })));
    }
    for number in 1..=ads {
        let account = 1 + luck.below(accounts);
        facts.push(Kind::AdSetPut(Box::new(AdSetPut {
            ad_set: Some(ad_set(luck, number, account)),
        })));
        let endpoint_id = mint(IdKind::Endpoint, account + accounts * luck.below(2));
        let destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
        let (id, ad_set_id) = (mint(IdKind::Ad, number), mint(IdKind::AdSet, number));
        let ad = Ad { id, ad_set_id, destination, ..Ad::default() };
        facts.push(Kind::AdPut(Box::new(AdPut { ad: Some(ad) })));
    }
    let mut catalog = Catalog::default();
    for (seq, fact) in (1..).zip(&facts) {
        catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: NOW }, fact);
    }
    catalog
}

fn ad_set(luck: &mut Luck, number: u64, account: u64) -> AdSet {
    let countries = *luck.pick(&[&[][..], &["MX"], &["IN"], &["MX", "IN"]]);
    let targeting = Targeting {
        countries: countries.iter().map(|text| (*text).to_owned()).collect(),
        placements: if luck.chance(200) { vec![3] } else { Vec::new() },
        ..Targeting::default()
    };
    let billing = 1 + luck.below(3) as i32;
    // Few different bids, so that many are equal.
    let bid = [1_000_000, 100_000, 250_000][billing as usize - 1] * (1 + luck.below(3) as i64);
    let time = |hours: i64| {
        let seconds = (NOW.0 + hours * HOUR_MS) / 1_000;
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    };
    let cap = FrequencyCap { max_frequency: 1 + luck.below(2) as u32, interval_hours: 5, event: 1 };
    AdSet {
        id: mint(IdKind::AdSet, number),
        campaign_id: mint(IdKind::Campaign, account),
        targeting: Some(targeting),
        billing_event: billing,
        bid: Some(Money { micros: bid, currency: String::new() }),
        frequency_caps: if luck.chance(300) { vec![cap] } else { Vec::new() },
        start_time: luck.chance(200).then(|| time(luck.between(-1, 2))).flatten(),
        end_time: luck.chance(200).then(|| time(luck.between(0, 2))).flatten(),
        ..AdSet::default()
    }
}

/// Returns a viewer that saw and hid some of the rows.
fn viewer(luck: &mut Luck, shelf: &Shelf) -> Viewer {
    let mut bucket = Bucket::default();
    for seq in 1..=luck.below(8) {
        let Some(row) = shelf.rows.get(luck.below(1 + shelf.rows.len() as u64) as usize) else {
            continue;
        };
        let at = NOW.plus_ms(-luck.between(0, 8) * HOUR_MS / 2);
        let stamp = |seq| Stamp { shard: Shard::new(0).expect("a shard"), seq: Seq(seq), at };
        let showing = Some(Showing {
            view: seq,
            viewer: 1,
            ad: row.ad,
            ad_set: row.ad_set,
            business: row.business,
            issued_s: at.seconds(),
            ..Showing::default()
        });
        let cap_hours = if row.caps.is_empty() { 0 } else { 5 };
        let category = row.category;
        let seen = ImpressionSeen { showing, cap_hours, category, ..ImpressionSeen::default() };
        bucket.apply(stamp(2 * seq), &Kind::ImpressionSeen(seen));
        if luck.chance(200) {
            let kind = *luck.pick(&[EventKind::HideAd, EventKind::HideBusiness]);
            let event_kind = kind as u32;
            let fact = FeedbackGiven { showing, event_kind, ..FeedbackGiven::default() };
            bucket.apply(stamp(2 * seq + 1), &Kind::FeedbackGiven(fact));
        }
    }
    bucket.viewers.get(&1).cloned().unwrap_or_default()
}

fn market(luck: &mut Luck) -> Market {
    let shelf = Shelf::of(&catalog(luck));
    let board = Board::default();
    let (mut free, mut rates) = (Vec::new(), Vec::new());
    for row in &shelf.rows {
        let left = *luck.pick(&[0, 500, 3_000, i64::MAX, i64::MAX, i64::MAX]);
        board.account(row.account).set(i64::MAX, i64::MAX);
        board.campaign(row.campaign).set(i64::MAX, i64::MAX);
        board.ad_set(row.ad_set).set(left, NOW.0 + luck.between(0, 3));
        let learned = Rates::learned([luck.below(3) * 400, luck.below(3) * 9, luck.below(3) * 4]);
        board.set_rates(row.ad, learned);
        free.push(board.ad_set(row.ad_set).free(NOW));
        rates.push(learned);
    }
    let viewer = viewer(luck, &shelf);
    let mut promised = Vec::new();
    for view in 0..luck.below(3) {
        if let Some(row) = shelf.rows.get(luck.below(1 + shelf.rows.len() as u64) as usize) {
            let Row { ad_set, business, category, .. } = *row;
            let (capped, at_ms) = (!row.caps.is_empty(), NOW.0 - 1);
            let until_ms = NOW.0 + luck.between(-1, 2);
            promised.push(Promise { view, ad_set, business, category, capped, at_ms, until_ms });
        }
    }
    let floor_cpm_micros = *luck.pick(&[0, 0, 1_500_000]);
    let advertiser_distance_ms = *luck.pick(&[0, 300_000, 2 * HOUR_MS]);
    let category_distance_ms = *luck.pick(&[0, 0, HOUR_MS]);
    let policy = Policy {
        floor_cpm_micros,
        advertiser_distance_ms,
        category_distance_ms,
        ..Policy::default()
    };
    let country = u16::from_be_bytes(*luck.pick(&[*b"MX", *b"IN", *b"US"]));
    let request = AdRequest {
        placement: *luck.pick(&[Placement::Status, Placement::Feed]),
        viewer: (!luck.chance(100)).then_some(1),
        profile: Profile { country, ..Profile::default() },
        posts: luck.below(14) as u16,
        positions: if luck.chance(200) { vec![1, 3, 9] } else { Vec::new() },
        named: true,
        ads_in_session: 0,
    };
    Market { shelf, board, viewer, promised, policy, request, free, rates }
}

/// Says in plain words why a row can't be shown, in the order of the rules.
fn obstacle(market: &Market, index: usize) -> Option<Skip> {
    let (row, policy) = (&market.shelf.rows[index], &market.policy);
    let known = market.request.viewer.is_some();
    let viewer = if known { market.viewer.clone() } else { Viewer::default() };
    let open = |promise: &&Promise| known && promise.until_ms > NOW.0;
    let promised: Vec<_> = market.promised.iter().filter(open).collect();
    if !row.target.matches(&market.request.profile, market.request.placement) {
        return Some(Skip::NotTargeted);
    }
    if NOW.0 < row.start_ms || NOW.0 >= row.end_ms {
        return Some(Skip::OutsideSchedule);
    }
    let hidden = viewer.hidden.iter();
    let mut hidden = hidden.map(|hidden| (hidden.business, hidden.id));
    if hidden.any(|hidden| hidden == (true, row.business) || hidden == (false, row.ad)) {
        return Some(Skip::HiddenByViewer);
    }
    for cap in &row.caps {
        let hours = cap.interval_hours;
        let seen = viewer.counted(row.ad_set, CapEvent::Impressions, hours, NOW);
        let soon = promised.iter().filter(|promise| promise.ad_set == row.ad_set).count();
        if seen + soon as u32 >= u32::from(cap.max) {
            return Some(Skip::FrequencyCapped);
        }
    }
    let views = viewer.views.iter();
    let views = views.map(|view| (view.business, view.category, i64::from(view.issued_s) * 1_000));
    let soon = promised.iter().map(|promise| (promise.business, promise.category, promise.at_ms));
    let (business_ms, category_ms) = (policy.advertiser_distance_ms, policy.category_distance_ms);
    if views.chain(soon).any(|(business, category, at_ms)| {
        business == row.business && at_ms > NOW.0 - business_ms
            || category == row.category && category != 0 && at_ms > NOW.0 - category_ms
    }) {
        return Some(Skip::Separation);
    }
    let value = value_of(row.billing, row.bid, market.rates[index]);
    if market.free[index] < (value / 1_000).max(1) {
        return Some(Skip::BudgetSpent);
    }
    (value < policy.floor_cpm_micros.max(1)).then_some(Skip::BelowFloor)
}

fn clash(one: &Row, other: &Row) -> bool {
    one.business == other.business
        || one.ad_set == other.ad_set
        || one.category != 0 && one.category == other.category
}

/// Takes, again and again, the best bid that clashes with none taken. Returns rows in order.
fn twin_winners(market: &Market, lots: &mut Lots) -> (Vec<usize>, Vec<usize>) {
    let rows = &market.shelf.rows;
    let visited = market.shelf.in_country(market.request.profile.country);
    let visited = visited.map(|index| index as usize);
    let bids: Vec<_> = visited
        .filter(|index| obstacle(market, *index).is_none())
        .map(|index| {
            let value = value_of(rows[index].billing, rows[index].bid, market.rates[index]);
            (value, lots.roll(), index)
        })
        .collect();
    let mut taken: Vec<usize> = Vec::new();
    loop {
        let free = bids.iter().filter(|(_, _, index)| {
            taken.iter().all(|other| *other != *index && !clash(&rows[*index], &rows[*other]))
        });
        let best = free.max_by_key(|(value, lot, _)| (*value, std::cmp::Reverse(*lot)));
        let Some((_, _, best)) = best else { break };
        taken.push(*best);
    }
    (taken, bids.into_iter().map(|(_, _, index)| index).collect())
}

#[test]
fn selection_fills_a_tray_as_its_slow_twin_does() {
    let mut luck = Luck::new(77);
    let (mut filled, mut empty) = (0, BTreeMap::<i32, u32>::new());
    for case in 0..6_000 {
        let market = market(&mut luck);
        let lots = luck.roll();
        let mut onlooker = Onlooker::default();
        if market.request.viewer.is_some() {
            onlooker.look(Some(&market.viewer), &market.promised, &market.policy, NOW);
        }
        let mut passed = Passed::default();
        let tray = select(
            &market.shelf,
            &market.board,
            &onlooker,
            &market.policy,
            &market.request,
            NOW,
            &mut Lots(Luck::new(lots)),
            &mut passed,
        );
        let (winners, bids) = twin_winners(&market, &mut Lots(Luck::new(lots)));
        let mut slots = (0..).take(winners.len());
        for (position, slot) in &tray.slots {
            match slot {
                Ok(placed) => {
                    check_placed(&market, &winners, slots.next(), placed, case);
                    filled += 1;
                }
                Err(reason) => {
                    *empty.entry(*reason as i32).or_default() += 1;
                    let policy = *reason == NoAdReason::FeedPolicy;
                    assert!(policy || slots.next().is_none(), "case {case}: {position} is empty");
                }
            }
        }
        check_passed(&market, &passed, &bids, &tray.slots, case);
    }
    assert!(filled > 3_000 && empty.len() >= 8, "{filled} filled, empty {empty:?}");
}

fn check_placed(
    market: &Market,
    winners: &[usize],
    slot: Option<usize>,
    placed: &munadi::decide::select::Placed,
    case: u32,
) {
    let slot = slot.unwrap_or_else(|| panic!("case {case}: an ad more than the twin has"));
    let (winner, rows) = (winners[slot], &market.shelf.rows);
    let row = &rows[winner];
    let value = |index: usize| value_of(rows[index].billing, rows[index].bid, market.rates[index]);
    assert_eq!(placed.row as usize, winner, "case {case}, slot {slot}");
    let next = winners.get(slot + 1).map_or(0, |next| value(*next));
    let cpm = next.max(market.policy.floor_cpm_micros);
    let price = price_of(row.billing, row.bid, market.rates[winner], cpm);
    assert_eq!(placed.price, price, "case {case}, slot {slot}");
    assert_eq!(placed.hold, hold_of(row.billing, price, market.rates[winner]));
}

/// Checks that every row that lost has its own reason.
fn check_passed(
    market: &Market,
    passed: &Passed,
    bids: &[usize],
    slots: &[(u16, Result<munadi::decide::select::Placed, NoAdReason>)],
    case: u32,
) {
    if slots.iter().all(|(_, slot)| matches!(slot, Err(NoAdReason::FeedPolicy))) {
        return;
    }
    let served: Vec<_> = slots
        .iter()
        .filter_map(|(_, slot)| slot.as_ref().ok())
        .map(|placed| placed.row as usize)
        .collect();
    for index in market.shelf.in_country(market.request.profile.country) {
        let index = index as usize;
        let skip = passed.0.get(&(index as u32)).copied();
        match obstacle(market, index) {
            Some(expected) => assert_eq!(skip, Some(expected), "case {case}, row {index}"),
            None if served.contains(&index) => assert_eq!(skip, None, "case {case}, row {index}"),
            None => {
                assert!(bids.contains(&index));
                let lost = matches!(skip, Some(Skip::Outbid | Skip::Separation));
                assert!(lost, "case {case}, row {index}: {skip:?}");
            }
        }
    }
}
