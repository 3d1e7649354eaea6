//! A generated market and its days, ad by ad through the real selection: what forecasts are held against.

use munadi::decide::board::{Board, MULTIPLIER_ONE};
use munadi::decide::explain::audience::Crowd;
use munadi::decide::index::{Draft, Entry, Index};
use munadi::decide::onlooker::{Onlooker, Promise};
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

/// The first day: a Monday.
pub(crate) const DAY_ONE: Moment = Moment(1_795_392_000_000);

/// Ad sets that are there before the draft comes.
const RIVALS: u64 = 90;

/// How many of 1,000 ads that are handed out are seen.
pub(crate) const SEEN: u64 = 900;

/// Requests by hour of the day, parts of the day's.
const HOURS: [u64; 24] = [2, 1, 1, 1, 1, 2, 3, 5, 6, 6, 5, 5, 6, 6, 5, 5, 5, 6, 7, 8, 9, 8, 6, 4];

/// How long an ad that nobody saw is waited for.
const SHOW_BY_MS: i64 = 10 * MINUTE_MS;

/// Pacing looks at what was spent after so long.
const STEP_MS: i64 = 5 * MINUTE_MS;

/// Live ads without budgets, and the people who might see them.
pub(crate) struct Quarter {
    pub(crate) catalog: Catalog,
    pub(crate) board: Board,
    index: Index,
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
        let mut quarter = Self { catalog, board, index: Index::default(), seed, people, facts: 0 };
        let mut luck = Luck::new(seed);
        for number in 1..=RIVALS {
            let ad_set = rival(&mut luck, number);
            let multiplier = MULTIPLIER_ONE / 1_000 * luck.between(300, 1_000) as u32;
            let category = *luck.pick(&["", "food", "travel"]);
            quarter.put(number, category, ad_set, multiplier);
        }
        quarter
    }

    /// Puts a draft into the market; returns its ad set's number.
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
            promised.retain(|promise| promise.until_ms > now.0);
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
        let counted = cap.filter(|_| seen).map_or(now.0 + SHOW_BY_MS, |cap| {
            i64::from(now.hour() + cap.interval_hours + 1) * HOUR_MS
        });
        Promise {
            view: 1,
            ad_set: entry.ad_set_id(),
            business: entry.business_id(),
            category: entry.category,
            capped: cap.is_some(),
            at_ms: now.0,
            until_ms: counted,
        }
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

    /// Runs a day with an ad set in it that has this daily budget, paced; returns what it delivered. Only
    /// those are asked whom it is meant for: nobody else's day is another.
    ///
    /// A pacer that knows nothing would buy dearly in the morning: it starts with the middle of what it did
    /// in the same day before.
    pub(crate) fn deliver(
        &self,
        number: u64,
        budget: Option<i64>,
        (visits, memory): (&[(i64, u64)], &Memory),
    ) -> Delivered {
        let ad_set = mint(IdKind::AdSet, number);
        let row = self.catalog.ad_sets.get(ad_set).expect("it is there");
        let mut crowd = Crowd::new(Target::of(&row));
        let is_meant: Vec<bool> =
            (0..=self.people).map(|viewer| crowd.has(&self.profile(viewer), u8::MAX)).collect();
        let of_them = visits.iter().filter(|(_, viewer)| is_meant[*viewer as usize]);
        let visits: Vec<(i64, u64)> = of_them.copied().collect();
        let mut pacer = Pacer::new(budget, &visits, 0.0);
        if budget.is_some() {
            self.paced(number, budget, &mut pacer, (&visits, memory.clone()));
            pacer = Pacer::new(budget, &visits, pacer.middle());
        }
        self.paced(number, budget, &mut pacer, (&visits, memory.clone()))
    }

    fn paced(
        &self,
        number: u64,
        budget: Option<i64>,
        pacer: &mut Pacer,
        (visits, mut memory): (&[(i64, u64)], Memory),
    ) -> Delivered {
        let ad_set = mint(IdKind::AdSet, number);
        let mut delivered = Delivered::default();
        let mut met = vec![false; self.people as usize + 1];
        self.board.set_multiplier(ad_set, pacer.multiplier());
        self.board.ad_set(ad_set).set(i64::MAX, i64::MAX);
        self.run(visits, &mut memory, |asked, tray| {
            let own = |placed: &&Placed| u64::from(placed.entry.ad_set) == number;
            if let Some(placed) = placed(tray).find(own).filter(|placed| is_seen(asked, placed)) {
                let viewer = asked.request.viewer.expect("named") as usize;
                delivered.impressions += 1;
                delivered.spend += placed.hold as f64;
                delivered.reach += u64::from(!std::mem::replace(&mut met[viewer], true));
            }
            if let Some(budget) = budget {
                let left = (budget as f64 - delivered.spend).max(0.0) as i64;
                self.board.ad_set(ad_set).set(left, i64::MAX);
                pacer.look(asked.now.0, delivered.spend);
                self.board.set_multiplier(ad_set, pacer.multiplier());
            }
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

/// Spends a budget along the day's requests: more below the plan, less above it.
struct Pacer {
    budget: f64,
    /// Requests by step of the day, from the first.
    steps: Vec<f64>,
    begin: i64,
    from: usize,
    spent: f64,
    log: f64,
    logs: Vec<f64>,
}

impl Pacer {
    fn new(budget: Option<i64>, visits: &[(i64, u64)], log: f64) -> Self {
        let begin = visits.first().map_or(0, |first| first.0 / DAY_MS * DAY_MS);
        let mut steps = vec![0.0; (DAY_MS / STEP_MS) as usize + 1];
        for (at, _) in visits {
            steps[((at - begin) / STEP_MS) as usize] += 1.0;
        }
        let budget = budget.unwrap_or(0) as f64;
        Self { budget, steps, begin, from: 0, spent: 0.0, log, logs: Vec::new() }
    }

    /// Looks at what was spent by now.
    fn look(&mut self, at: i64, spent: f64) {
        let step = ((at - self.begin) / STEP_MS) as usize;
        if step > self.from {
            let traffic = |steps: &[f64]| steps.iter().sum::<f64>().max(1.0);
            let part = traffic(&self.steps[self.from..step]) / traffic(&self.steps[self.from..]);
            let wanted = (self.budget - self.spent).max(0.0) * part;
            let brought = (spent - self.spent).max(wanted / 20.0).max(1.0);
            self.log += 0.1 * (wanted.max(1.0) / brought).ln().clamp(-1.0, 1.0);
            self.log = self.log.clamp(-6.0, 0.0);
            (self.spent, self.from) = (spent, step);
            self.logs.push(self.log);
        }
    }

    /// Returns the middle of the day's logarithms.
    fn middle(&self) -> f64 {
        let mut logs = self.logs.clone();
        logs.sort_by(f64::total_cmp);
        logs.get(logs.len() / 2).copied().unwrap_or_default()
    }

    fn multiplier(&self) -> u32 {
        (f64::from(MULTIPLIER_ONE) * self.log.exp()) as u32
    }
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
