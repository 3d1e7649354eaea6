//! Small seeded markets with every kind of obstacle, for the twins of selection.

use std::sync::Arc;

use munadi::decide::board::{Board, Rates};
use munadi::decide::exchange::Converter;
use munadi::decide::index::{Draft, Index};
use munadi::decide::onlooker::Onlooker;
use munadi::decide::promise::Promise;
use munadi::decide::rates::Factors;
use munadi::state::catalog::Catalog;
use munadi::state::viewers::Viewer;
use munadi::state::{Stamp, bucket::Bucket};
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::iso::currency_index;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut, FeedbackGiven,
    ImpressionSeen, Showing,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, ChatDestination, EventKind,
    FrequencyCap, InterestGroup, KeyValues, Money, Placement, Radius, SegmentGroup, Targeting,
    VersionRange,
};
use munadi::types::request::{AdRequest, Policy, Profile, key_value};
use munadi::types::time::{Moment, SECOND_MS};

use crate::luck::Luck;

/// When everything happens: a Friday, 08:00 UTC.
pub(crate) const NOW: Moment = Moment(1_800_000_000_000);
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// Currencies of the accounts; markets have rates for them, or none at all.
const CURRENCIES: [&str; 4] = ["MXN", "INR", "BRL", "USD"];

/// A market at one moment, and one viewer who asks.
pub(crate) struct Market {
    /// Every live ad, in order of creation.
    pub(crate) drafts: Vec<Draft>,
    /// The same ads as serving finds them.
    pub(crate) index: Index,
    pub(crate) board: Board,
    pub(crate) viewer: Viewer,
    pub(crate) promised: Vec<Promise>,
    pub(crate) policy: Policy,
    pub(crate) request: AdRequest,
}

impl Market {
    /// Returns what the checks know of the viewer.
    pub(crate) fn onlooker(&self) -> Onlooker {
        let mut onlooker = Onlooker::default();
        match self.request.viewer {
            Some(_) => onlooker.look(Some(&self.viewer), &self.promised, &self.policy, NOW),
            None => onlooker.stranger(),
        }
        onlooker
    }
}

fn catalog(luck: &mut Luck, most: u64, flat: bool) -> Catalog {
    let mut facts = Vec::new();
    let (accounts, ads) = (1 + luck.below(5), 1 + luck.below(most));
    for number in 1..=accounts {
        let currency = luck.pick(&CURRENCIES).to_string();
        let id = mint(IdKind::Account, number);
        let account = Account { id, currency, ..Account::default() };
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
            ad_set: Some(ad_set(luck, number, account, flat)),
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

fn ad_set(luck: &mut Luck, number: u64, account: u64, flat: bool) -> AdSet {
    let or_targeting = (0..luck.below(20).saturating_sub(17)).map(|_| targeting(luck)).collect();
    let billing = if flat { 1 } else { 1 + luck.below(3) as i32 };
    // Few different bids, so that many are equal.
    let times = if flat { 1 } else { 1 + luck.below(3) as i64 };
    let bid = [1_000_000, 100_000, 250_000][billing as usize - 1] * times;
    let time = |hours: i64| {
        let seconds = (NOW.0 + hours * HOUR_MS) / 1_000;
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    };
    let cap = FrequencyCap { max_frequency: 1 + luck.below(2) as u32, interval_hours: 5, event: 1 };
    AdSet {
        id: mint(IdKind::AdSet, number),
        campaign_id: mint(IdKind::Campaign, account),
        targeting: Some(targeting(luck)),
        or_targeting,
        billing_event: billing,
        optimization_goal: if flat { 0 } else { luck.between(0, 7).max(goal_min(billing)) as i32 },
        bid: Some(Money { micros: bid, currency: String::new() }),
        frequency_caps: if luck.chance(300) { vec![cap] } else { Vec::new() },
        start_time: luck.chance(200).then(|| time(luck.between(-1, 2))).flatten(),
        end_time: luck.chance(200).then(|| time(luck.between(0, 2))).flatten(),
        ..AdSet::default()
    }
}

/// The first goal behind a billed event that is not an impression; 0 leaves it to the billed event.
const fn goal_min(billing: i32) -> i64 {
    [0, 4, 5][billing as usize - 1]
}

/// Returns a viewer that saw and hid some of the rows.
fn viewer(luck: &mut Luck, drafts: &[Draft]) -> Viewer {
    let mut bucket = Bucket::default();
    for seq in 1..=luck.below(8) {
        let Some(draft) = drafts.get(luck.below(1 + drafts.len() as u64) as usize) else {
            continue;
        };
        let row = draft.entry();
        let at = NOW.plus_ms(-luck.between(0, 8) * HOUR_MS / 2);
        let stamp = |seq| Stamp { shard: Shard::new(0).expect("a shard"), seq: Seq(seq), at };
        let showing = Some(Showing {
            view: seq,
            viewer: 1,
            ad: row.ad_id(),
            ad_set: row.ad_set_id(),
            business: row.business_id(),
            issued_s: at.seconds(),
            ..Showing::default()
        });
        let of_caps = if draft.extra().caps().is_empty() { 0 } else { 5 };
        let cap_hours = if row.is_for_reach() { 24 } else { of_caps };
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

/// Returns one conjunction with a few of everything that can be asked for.
fn targeting(luck: &mut Luck) -> Targeting {
    let countries = *luck.pick(&[&[][..], &["MX"], &["IN"], &["MX", "IN"]]);
    let mut wire = Targeting {
        countries: countries.iter().map(|text| (*text).to_owned()).collect(),
        placements: if luck.chance(200) { vec![3] } else { Vec::new() },
        ..Targeting::default()
    };
    let two = |luck: &mut Luck| vec![1 + luck.below(4) as u32, 1 + luck.below(4) as u32];
    if luck.chance(150) {
        wire.languages = vec![(*luck.pick(&["es", "hi"])).to_owned()];
    }
    if luck.chance(150) {
        (wire.age_min, wire.age_max) = *luck.pick(&[(18, 0), (0, 24), (25, 34)]);
    }
    if luck.chance(150) {
        wire.interests = vec![InterestGroup { any_of: two(luck) }];
    }
    if luck.chance(100) {
        wire.interests.push(InterestGroup { any_of: two(luck) });
        wire.segments = vec![SegmentGroup { any_of: two(luck) }];
    }
    if luck.chance(80) {
        wire.excluded_interests = two(luck);
    }
    if luck.chance(80) {
        let any_of = vec![(*luck.pick(&["free", "gold"])).to_owned()];
        wire.key_values = vec![KeyValues { key: "plan".into(), any_of }];
    }
    if luck.chance(100) {
        let (latitude_e6, longitude_e6) = (19_400_000, -99_100_000);
        let meters = *luck.pick(&[2_000, 50_000]);
        wire.radii = vec![Radius { latitude_e6, longitude_e6, meters }];
        wire.cities = vec![luck.below(3) as u32 + 1];
    }
    if luck.chance(80) {
        wire.excluded_cities = vec![luck.below(3) as u32 + 1];
    }
    if luck.chance(80) {
        wire.hours_of_week = (0..60).map(|step| (step * 3 + luck.below(2) as u32) % 168).collect();
        wire.hours_of_week.sort_unstable();
        wire.hours_of_week.dedup();
    }
    if luck.chance(80) {
        let (min, max) = *luck.pick(&[("2", ""), ("", "2.9"), ("1.5", "3")]);
        wire.app_version = Some(VersionRange { min: min.into(), max: max.into() });
    }
    wire
}

fn profile(luck: &mut Luck) -> Profile {
    let few = |luck: &mut Luck| {
        let mut few: Vec<u16> = (0..luck.below(4)).map(|_| 1 + luck.below(4) as u16).collect();
        few.sort_unstable();
        few.dedup();
        few
    };
    let plan = *luck.pick(&["free", "gold"][..]);
    let plan = luck.chance(500).then(|| key_value("plan", plan));
    Profile {
        country: u16::from_be_bytes(*luck.pick(&[*b"MX", *b"MX", *b"IN", *b"US"])),
        city: luck.below(4) as u32,
        location: luck.chance(500).then_some((19_432_600, -99_133_200)),
        languages: luck.chance(600).then_some(u16::from_be_bytes(*b"es")).into_iter().collect(),
        age_band: luck.below(4) as u8,
        app_version: luck.below(4) << 48,
        utc_offset_minutes: luck.chance(700).then_some(-360),
        interests: few(luck),
        segments: few(luck).into_iter().map(u32::from).collect(),
        key_values: plan.into_iter().collect(),
        ..Profile::default()
    }
}

/// Returns rates that make some currency worth more, less or nothing; now and then none are loaded.
fn converter(luck: &mut Luck) -> Arc<Converter> {
    if luck.chance(400) {
        return Arc::default();
    }
    let rates = CURRENCIES.map(|code| (code, *luck.pick(&[0, 900_000, 1_000_000, 1_700_000])));
    let rate_of = |number| {
        let known = rates.iter().find(|(code, _)| currency_index(code) == Some(number));
        known.map_or(0, |(_, rate)| *rate)
    };
    Arc::new(Converter::of(rate_of))
}

/// Returns an index of the drafts that came to be in one of many ways: at once, bit by bit, with older
/// forms of some ads, with ads that are gone, merged or not.
pub(crate) fn index_of(luck: &mut Luck, drafts: &mut [Draft], board: &Board) -> Index {
    let mut index = Index::default().with_exchange(converter(luck));
    if luck.chance(500) {
        let old = luck.below(1 + drafts.len() as u64) as usize;
        index = Index::build_by(&drafts[..old], board, &converter(luck));
        for draft in &drafts[..old] {
            board.set_epoch(draft.ad().into(), draft.entry().epoch);
        }
    }
    let mut rest: Vec<usize> = (0..drafts.len()).collect();
    while !rest.is_empty() {
        let few = rest.split_off(rest.len().saturating_sub(1 + luck.below(9) as usize));
        let mut put = Vec::new();
        for at in few {
            let ad = drafts[at].ad().into();
            drafts[at].set_epoch(board.ad(ad).epoch + 1);
            put.push(drafts[at].clone());
            // Now and then the ad comes in this form once more.
            if luck.chance(100) {
                rest.push(at);
            }
        }
        index = index.with(put.clone(), board, 0);
        put.iter().for_each(|draft| board.set_epoch(draft.ad().into(), draft.entry().epoch));
        if luck.chance(100) {
            index = index.with_exchange(converter(luck));
        }
        if luck.chance(100) {
            let rebased = index.rebase(board, Moment(0));
            index = index.rebased(rebased);
        }
    }
    index
}

/// Returns a market of a few ads, now and then of more than a word of a bit set.
pub(crate) fn market(luck: &mut Luck) -> Market {
    let most = if luck.chance(100) { 200 } else { 24 };
    market_of(luck, most, false)
}

/// Returns a market of at most so many ads; a flat one has only equals.
pub(crate) fn market_of(luck: &mut Luck, most: u64, flat: bool) -> Market {
    let catalog = catalog(luck, most, flat);
    let board = Board::default();
    for ad_set in catalog.ad_sets.after(0) {
        let left = *luck.pick(&[0, 500, 3_000, i64::MAX, i64::MAX, i64::MAX]);
        board.ad_set(ad_set.id).set(left, NOW.0 + luck.between(0, 3));
        let multiplier =
            if flat { 1 << 30 } else { *luck.pick(&[1 << 30, 1 << 30, 1 << 29, 1 << 26]) };
        board.set_multiplier(ad_set.id, multiplier);
        board.set_closed(ad_set.id, !flat && luck.chance(50));
    }
    for account in catalog.accounts.after(0) {
        board.account(account.id).set(i64::MAX, i64::MAX);
    }
    for campaign in catalog.campaigns.after(0) {
        board.campaign(campaign.id).set(i64::MAX, i64::MAX);
    }
    let factors = Factors { tap: *luck.pick(&[u16::MAX, u16::MAX, 40_000]), viewable: u16::MAX };
    board.set_factors(Placement::Status, factors);
    let mut drafts = Vec::new();
    for ad in catalog.ads.after(0) {
        let rates = Rates {
            tap: *luck.pick(&[655, 900, 2_000]),
            chat: *luck.pick(&[15_000, 26_214]),
            ..Rates::NEW
        };
        board.set_rates(ad.id, rates, *luck.pick(&[0, 0, 200]));
        drafts.extend(Draft::of(&catalog, ad.id, &board));
    }
    let index = index_of(luck, &mut drafts, &board);
    // What was paused since stands dead in the index.
    drafts.retain(|draft| {
        let paused = luck.chance(50);
        if paused {
            board.set_epoch(draft.ad().into(), draft.entry().epoch + 1);
        }
        !paused
    });
    // Multipliers and rates fall after the bounds were made.
    for draft in drafts.iter().filter(|_| !flat) {
        let (ad, ad_set) = (draft.entry().ad.into(), draft.entry().ad_set.into());
        if luck.chance(300) {
            board.set_multiplier(ad_set, board.multiplier(ad_set) / 3);
        }
        let now = board.ad(ad);
        if luck.chance(300) {
            let rates = Rates { chat: now.rates.chat / 2 + 1, ..now.rates };
            assert!(!board.set_rates(ad, rates, now.hide));
        }
    }
    let viewer = viewer(luck, &drafts);
    let mut promised = Vec::new();
    for view in 0..luck.below(3) {
        if let Some(draft) = drafts.get(luck.below(1 + drafts.len() as u64) as usize) {
            let passing = draft.entry().passing(draft.extra());
            let at = NOW.plus_ms(-2 * SECOND_MS);
            promised.push(Promise::of(view, &passing, at, luck.below(4) as u32));
        }
    }
    Market { index, board, viewer, promised, policy: policy(luck), request: request(luck), drafts }
}

fn policy(luck: &mut Luck) -> Policy {
    Policy {
        floor_cpm_micros: *luck.pick(&[0, 0, 1_500_000]),
        advertiser_distance_ms: *luck.pick(&[0, 300_000, 2 * HOUR_MS]),
        category_distance_ms: *luck.pick(&[0, 0, HOUR_MS]),
        attention_keep: *luck.pick(&[1 << 16, 1 << 16, 64_000]),
        interruption_cpm_micros: *luck.pick(&[0, 0, 300_000]),
        hide_cost_micros: *luck.pick(&[0, 0, 10_000]),
        ..Policy::default()
    }
}

fn request(luck: &mut Luck) -> AdRequest {
    AdRequest {
        placement: *luck.pick(&[Placement::Status, Placement::Feed]),
        viewer: (!luck.chance(100)).then_some(1),
        profile: profile(luck),
        posts: luck.below(14) as u16,
        positions: if luck.chance(200) { vec![1, 3, 9] } else { Vec::new() },
        named: true,
        ads_in_session: 0,
    }
}
