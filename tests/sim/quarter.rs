//! A generated market and its days, ad by ad through the real selection: what forecasts are held against.

use munadi::decide::board::{Board, MULTIPLIER_ONE};
use munadi::decide::explain::audience::Crowd;
use munadi::decide::index::{Draft, Entry, Index};
use munadi::decide::onlooker::{Cap, Onlooker, Passing};
use munadi::decide::promise::Promise;
use munadi::decide::select::{Asked, Passes, Placed, Selector, Tray};
use munadi::decide::skip::Skip;
use munadi::decide::target::Target;
use munadi::state::Stamp;
use munadi::state::catalog::Catalog;
use munadi::state::rules::Blocks;
use munadi::types::hash::mix;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, ChatDestination, FrequencyCap, Gender,
    Money, Placement, Targeting,
};
use munadi::types::request::{AdRequest, Policy, Profile};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

use crate::luck::Luck;
use crate::pacer::Pacer;

/// The first day: a Monday.
pub(crate) const DAY_ONE: Moment = Moment(1_795_392_000_000);

/// Ad sets that are there before the draft comes.
const RIVALS: u64 = 90;

/// How many of 1,000 ads that are handed out are seen.
pub(crate) const SEEN: u64 = 900;

/// Requests by hour of the day, parts of the day's.
const HOURS: [u64; 24] = [2, 1, 1, 1, 1, 2, 3, 5, 6, 6, 5, 5, 6, 6, 5, 5, 5, 6, 7, 8, 9, 8, 6, 4];

/// How long an ad that nobody saw is waited for.
const SHOW_BY_S: u32 = 600;

/// Live ads without budgets, and the people who might see them.
pub(crate) struct Quarter {
    pub(crate) catalog: Catalog,
    pub(crate) board: Board,
    index: Index,
    /// The ad that was put last.
    newest: Option<Draft>,
    seed: u64,
    pub(crate) people: u64,
    facts: u64,
}

struct Uncounted;

impl Passes for Uncounted {
    fn pass(&mut self, _entry: &Entry, _skip: Skip) {}
}

/// What became of one ad set in a day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) impressions: u64,
    pub(crate) reach: u64,
    /// Micros.
    pub(crate) spend: f64,
}

impl Quarter {
    pub(crate) fn new(seed: u64, people: u64) -> Self {
        let (catalog, board) = (Catalog::default(), Board::default());
        let (index, newest, facts) = (Index::default(), None, 0);
        let mut quarter = Self { catalog, board, index, newest, seed, people, facts };
        let mut luck = Luck::new(seed);
        for number in 1..=RIVALS {
            let ad_set = rival(&mut luck, number);
            let multiplier = MULTIPLIER_ONE / 1_000 * luck.between(300, 1_000) as u32;
            let category = *luck.pick(&["", "food", "travel"]);
            quarter.put(number, category, ad_set, multiplier);
        }
        quarter
    }

    /// Puts a draft into the market; returns its number.
    pub(crate) fn add(&mut self, number: u64, category: &str, draft: &AdSet) -> u64 {
        let number = RIVALS + 1 + number;
        let id = mint(IdKind::AdSet, number);
        let campaign_id = mint(IdKind::Campaign, number);
        let ad_set = AdSet { id, campaign_id, ..draft.clone() };
        self.put(number, category, ad_set, MULTIPLIER_ONE);
        number
    }

    /// Takes an ad out of the market again.
    pub(crate) fn remove(&mut self, number: u64) {
        self.board.set_epoch(number, self.board.ad(number).epoch + 1);
    }

    fn put(&mut self, number: u64, category: &str, ad_set: AdSet, multiplier: u32) {
        let (account_id, campaign_id) = (mint(IdKind::Account, number), ad_set.campaign_id);
        let business_id = mint(IdKind::Business, number);
        let endpoint_id = mint(IdKind::Endpoint, number);
        let account = Account { id: account_id, ..Account::default() };
        let campaign = Campaign { id: campaign_id, account_id, ..Campaign::default() };
        let category = category.to_owned();
        let business = Business { id: business_id, account_id, category, ..Business::default() };
        let endpoint = ChannelEndpoint { id: endpoint_id, business_id, ..Default::default() };
        let destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
        let ad = mint(IdKind::Ad, number);
        let row = Ad { id: ad, ad_set_id: ad_set.id, destination, ..Ad::default() };
        for line in [
            self.board.account(account_id),
            self.board.campaign(campaign_id),
            self.board.ad_set(ad_set.id),
        ] {
            line.set(i64::MAX, i64::MAX);
        }
        self.board.set_multiplier(ad_set.id, multiplier);
        for fact in [
            Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })),
            Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })),
            Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })),
            Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })),
            Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })),
            Kind::AdPut(Box::new(AdPut { ad: Some(row) })),
        ] {
            self.facts += 1;
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(self.facts), at: DAY_ONE };
            self.catalog.apply(stamp, &fact);
        }
        let mut draft = Draft::of(&self.catalog, ad, &self.board).expect("it serves");
        draft.set_epoch(self.board.ad(ad).epoch + 1);
        self.index = self.index.with(vec![draft.clone()], &self.board, 0);
        self.board.set_epoch(ad, draft.entry().epoch);
        self.newest = Some(draft);
    }

    /// Returns what is known of a viewer, the same every day.
    pub(crate) fn profile(&self, viewer: u64) -> Profile {
        let mut luck = Luck::new(mix(self.seed ^ viewer << 1));
        Profile {
            country: u16::from_be_bytes(*luck.pick(&[*b"MX", *b"MX", *b"IN"])),
            age_band: 1 + luck.below(6) as u8,
            gender: 1 + luck.below(2) as u8,
            utc_offset_minutes: Some(-360),
            ..Profile::default()
        }
    }

    /// Returns the requests of a day, in order of time. How often somebody comes is the same every day.
    pub(crate) fn visits(&self, day: i64) -> Vec<(i64, u64)> {
        let begin = DAY_ONE.0 + day * DAY_MS;
        let all: u64 = HOURS.iter().sum();
        let mut visits = Vec::new();
        for viewer in 1..=self.people {
            let mut steady = Luck::new(mix(self.seed ^ viewer << 1 ^ 1));
            // Many come once or twice, few come often.
            let often = *steady.pick(&[300, 600, 800, 900, 930]);
            let mut luck = Luck::new(mix(mix(self.seed ^ viewer) ^ day as u64));
            while luck.chance(often) {
                let mut part = luck.below(all);
                let hour = HOURS.iter().take_while(|of| {
                    let is_later = part >= **of;
                    part = part.saturating_sub(if is_later { **of } else { 0 });
                    is_later
                });
                let hour = hour.count() as i64;
                visits.push((begin + hour * HOUR_MS + luck.between(0, HOUR_MS), viewer));
            }
        }
        visits.sort_unstable();
        visits
    }

    /// Runs requests through selection, and shows each filled tray. What viewers remember stays for the
    /// next run: caps don't end at midnight.
    pub(crate) fn run(
        &self,
        visits: &[(i64, u64)],
        memory: &mut Memory,
        mut shown: impl FnMut(&Asked<'_>, &Tray),
    ) {
        let (mut selector, mut tray, mut onlooker) =
            (Selector::default(), Tray::default(), Onlooker::default());
        let blocks = Blocks::default();
        memory.resize(self.people as usize + 1, Vec::new());
        for (at, viewer) in visits {
            let request = self.request(*viewer, *at);
            let policy = policy_of(request.placement);
            let now = Moment(*at);
            let promised = &mut memory[*viewer as usize];
            promised.retain(|promise| promise.is_open(now));
            onlooker.look(None, promised, &policy, now);
            let asked = Asked {
                index: &self.index,
                board: &self.board,
                blocks: &blocks,
                onlooker: &onlooker,
                policy: &policy,
                request: &request,
                now,
                roll: mix(*at as u64 ^ viewer << 20),
                live_ads: RIVALS as usize,
            };
            selector.select(&asked, &mut tray, &mut Uncounted);
            for placed in placed(&tray) {
                promised.push(self.promise(&placed.entry, now, is_seen(&asked, placed)));
            }
            shown(&asked, &tray);
        }
    }

    fn promise(&self, entry: &Entry, now: Moment, seen: bool) -> Promise {
        let ad_set = self.catalog.ad_sets.get(entry.ad_set_id()).expect("it is there");
        let cap = ad_set.frequency_caps.first();
        // What was seen counts for the interval; the hour that is partly inside counts whole.
        let counted_s = cap
            .filter(|_| seen)
            .map_or(SHOW_BY_S, |cap| 3_600 * (now.hour() + cap.interval_hours + 1) - now.seconds());
        let caps: Vec<_> = Cap::of(&ad_set).collect();
        let passing = Passing {
            ad: entry.ad_id(),
            ad_set: entry.ad_set_id(),
            business: entry.business_id(),
            category: entry.category,
            caps: &caps,
            is_counted: false,
        };
        Promise::of(1, &passing, now, counted_s)
    }

    fn request(&self, viewer: u64, at: i64) -> AdRequest {
        let mut luck = Luck::new(mix(viewer << 24 ^ at as u64));
        AdRequest {
            placement: *luck.pick(&[Placement::Status, Placement::Feed]),
            viewer: Some(viewer),
            profile: self.profile(viewer),
            posts: 3 + luck.below(12) as u16,
            positions: Vec::new(),
            named: true,
            ads_in_session: 0,
        }
    }

    /// Runs a day with the newest ad in it, its ad set having this daily budget; returns what it delivered.
    /// Only those are asked whom it is meant for: nobody else's day is another. `yesterday`: the requests of
    /// the day before, by which pacing plans.
    pub(crate) fn deliver(
        &self,
        budget: Option<i64>,
        (visits, memory): (&[(i64, u64)], &Memory),
        yesterday: &[(i64, u64)],
    ) -> Delivered {
        let draft = self.newest.as_ref().expect("it was put");
        let ad_set = draft.entry().ad_set_id();
        let row = self.catalog.ad_sets.get(ad_set).expect("it is there");
        let mut crowd = Crowd::new(Target::of(&row));
        let is_meant: Vec<bool> =
            (0..=self.people).map(|viewer| crowd.has(&self.profile(viewer), u8::MAX)).collect();
        let of_them = visits.iter().filter(|(_, viewer)| is_meant[*viewer as usize]);
        let of_them: Vec<(i64, u64)> = of_them.copied().collect();
        let begin = visits.first().map_or(0, |first| first.0 / DAY_MS * DAY_MS);
        let mut pacer = budget.map(|budget| Pacer::new(budget, begin, yesterday, self.people));
        let mut delivered = Delivered::default();
        let mut met = vec![false; self.people as usize + 1];
        self.board.set_multiplier(ad_set, MULTIPLIER_ONE);
        self.board.ad_set(ad_set).set(budget.unwrap_or(i64::MAX), i64::MAX);
        self.run(&of_them, &mut memory.clone(), |asked, tray| {
            let own = placed(tray).find(|placed| placed.entry.ad == draft.entry().ad);
            if let Some(placed) = own.filter(|placed| is_seen(asked, placed)) {
                let viewer = asked.request.viewer.expect("named") as usize;
                delivered.impressions += 1;
                delivered.spend += placed.hold as f64;
                delivered.reach += u64::from(!std::mem::replace(&mut met[viewer], true));
            }
            let (Some(budget), Some(pacer)) = (budget, &mut pacer) else { return };
            own.iter().for_each(|placed| pacer.serve(placed.hold));
            pacer.look(asked, tray, draft);
            pacer.pass(asked.now.0, delivered.spend);
            let left = (budget as f64 - delivered.spend).max(0.0) as i64;
            self.board.ad_set(ad_set).set(left, i64::MAX);
            self.board.set_multiplier(ad_set, pacer.multiplier());
        });
        delivered
    }
}

/// What viewers were shown and is still counted, by viewer.
pub(crate) type Memory = Vec<Vec<Promise>>;

fn placed(tray: &Tray) -> impl Iterator<Item = &Placed> {
    tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok())
}

fn is_seen(asked: &Asked<'_>, placed: &Placed) -> bool {
    mix(asked.roll ^ u64::from(placed.entry.ad) << 32) % 1_000 < SEEN
}

fn policy_of(placement: Placement) -> Policy {
    let usual =
        Policy { floor_cpm_micros: 4_000_000, interruption_cpm_micros: 2_000_000, ..Policy::USUAL };
    match placement {
        Placement::Status => Policy { attention_keep: 63_000, ..usual },
        _ => Policy { category_distance_ms: 10 * MINUTE_MS, ..usual },
    }
}

fn money(micros: i64) -> Option<Money> {
    Some(Money { micros, currency: "MXN".into() })
}

/// Returns an ad set with some targeting, a bid worth 5 to 120 units for 1,000 impressions, and a cap.
pub(crate) fn rival(luck: &mut Luck, number: u64) -> AdSet {
    let billing_event = 1 + luck.below(3) as i32;
    let worth = luck.between(5, 120) * 1_000_000;
    // A tap comes once in 100 impressions, a conversation once in 250.
    let bid = [worth, worth / 10, worth / 4][billing_event as usize - 1];
    let cap = FrequencyCap {
        max_frequency: 1 + luck.below(4) as u32,
        interval_hours: *luck.pick(&[3, 24]),
        event: 1,
    };
    AdSet {
        id: mint(IdKind::AdSet, number),
        campaign_id: mint(IdKind::Campaign, number),
        billing_event,
        bid: money(bid),
        frequency_caps: if luck.chance(800) { vec![cap] } else { Vec::new() },
        targeting: Some(targeting(luck)),
        ..AdSet::default()
    }
}

fn targeting(luck: &mut Luck) -> Targeting {
    let countries = *luck.pick(&[&["MX"][..], &["MX"], &["IN"], &["MX", "IN"], &[]]);
    let mut wire = Targeting {
        countries: countries.iter().map(|text| (*text).to_owned()).collect(),
        ..Targeting::default()
    };
    if luck.chance(250) {
        wire.genders = vec![Gender::Female.into()];
    }
    if luck.chance(250) {
        (wire.age_min, wire.age_max) = *luck.pick(&[(18, 34), (25, 0)]);
    }
    if luck.chance(200) {
        wire.placements = vec![Placement::Status.into()];
    }
    if luck.chance(100) {
        wire.hours_of_week = (0..168).filter(|hour| hour % 24 >= 9).collect();
    }
    wire
}
