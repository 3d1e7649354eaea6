//! Reports against a slow twin that recounts the facts one by one, for each row that it is asked for.
//!
//! `SIM_CASE=7 cargo sim a_report_is_what_a_recount` replays one case.

use std::collections::{BTreeMap, BTreeSet};

use munadi::report::fold::Report;
use munadi::report::metrics::{METRICS, mismatch, steps_of};
use munadi::report::query::{Filters, Query};
use munadi::report::subjects::Subjects;
use munadi::state::breakdowns::{Cut, Step};
use munadi::state::{Stamp, State};
use munadi::tokens::Secret;
use munadi::types::day::day_of;
use munadi::types::ids::{IdKind, Seq, Shard, mint, number_of, shard_of};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, Charge, ClickMatched,
    ConversionCredited, EndpointPut, ImpressionSeen, Showing, Tapped, ViewContext, Watched,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, ChatDestination, Dimension, EventKind,
    Metric, ReportRow,
};
use munadi::types::request::Scope;
use munadi::types::time::{DAY_MS, HOUR_MS, Moment};

use crate::luck::Luck;
use crate::number;
use crate::shop::money;

const CASES: u64 = 400;
const FACTS: u64 = 1_500;
/// The first day of events.
const FIRST_DAY: i64 = 20_000;
const DAYS: i64 = 2;
const ZONES: [(&str, &str); 2] = [("UTC", "MXN"), ("Asia/Kolkata", "INR")];

/// Two letters as a number each: MX, IN, BR, and one that is not known.
const COUNTRIES: [u32; 9] = [0, 0x4D58, 0x4D58, 0x4D58, 0x4D58, 0x494E, 0x494E, 0x494E, 0x4252];

/// Something that happened, as plainly as can be.
#[derive(Clone, Copy, Debug)]
struct Event {
    what: Metric,
    ad: u64,
    viewer: u64,
    feed: u32,
    placement: u32,
    country: u32,
    position: u32,
    hour: i64,
    at: Moment,
    amount: i64,
    invalid: bool,
}

fn ad_of(index: u64) -> u64 {
    mint(IdKind::Ad, index + 1)
}

/// Returns which of the two accounts, and which campaign, an ad is of.
fn owner(ad: u64) -> (usize, u64) {
    let index = number_of(ad) - 1;
    ((index / 2) as usize, mint(IdKind::Campaign, index / 2 + 1))
}

/// Returns two accounts with a campaign, an ad set and two ads each.
fn catalog() -> Vec<Kind> {
    let mut facts = Vec::new();
    for (index, (zone, currency)) in (0..).zip(ZONES) {
        let number = index + 1;
        let id = |kind| mint(kind, number);
        let (account, campaign) = (id(IdKind::Account), id(IdKind::Campaign));
        let (business, endpoint) = (id(IdKind::Business), id(IdKind::Endpoint));
        let row = Account {
            id: account,
            time_zone: zone.into(),
            currency: currency.into(),
            ..Account::default()
        };
        let put = AccountPut { tenant: number as u32, account: Some(row) };
        facts.push(Kind::AccountPut(Box::new(put)));
        let row = Business { id: business, account_id: account, ..Business::default() };
        facts.push(Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) })));
        let row =
            ChannelEndpoint { id: endpoint, business_id: business, ..ChannelEndpoint::default() };
        facts.push(Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(row) })));
        let row = Campaign { id: campaign, account_id: account, ..Campaign::default() };
        facts.push(Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(row) })));
        let ad_set_id = id(IdKind::AdSet);
        let row = AdSet { id: ad_set_id, campaign_id: campaign, ..AdSet::default() };
        facts.push(Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(row) })));
        for at in 0..2 {
            let destination =
                Some(ChatDestination { endpoint_id: endpoint, ..ChatDestination::default() });
            let id = ad_of(index * 2 + at);
            let row = Ad { id, ad_set_id, destination, ..Ad::default() };
            facts.push(Kind::AdPut(Box::new(AdPut { ad: Some(row) })));
        }
    }
    facts
}

impl Event {
    fn random(luck: &mut Luck, people: &[u64], at: Moment) -> Self {
        let kinds = [
            Metric::Impressions,
            Metric::Impressions,
            Metric::Impressions,
            Metric::Impressions,
            Metric::Viewable,
            Metric::Taps,
            Metric::Conversations,
            Metric::Conversions,
        ];
        let late = if luck.chance(900) { luck.below(3) } else { luck.below(70) };
        Self {
            what: *luck.pick(&kinds),
            ad: if luck.chance(600) { ad_of(0) } else { ad_of(luck.below(4)) },
            viewer: *luck.pick(people),
            feed: 1 + luck.below(2) as u32,
            placement: 1 + luck.below(2) as u32,
            country: *luck.pick(&COUNTRIES),
            position: 1 + luck.below(3) as u32,
            hour: (i64::from(at.hour()) - late as i64).max(FIRST_DAY * 24),
            at,
            amount: luck.between(0, 3) * 1_000,
            invalid: luck.chance(50),
        }
    }

    fn fact(&self, seq: u64) -> Kind {
        let showing = Some(Showing {
            view: seq,
            viewer: self.viewer,
            ad: self.ad,
            account: mint(IdKind::Account, owner(self.ad).0 as u64 + 1),
            feed: self.feed,
            ..Showing::default()
        });
        let (event_ms, invalid) = (self.hour * HOUR_MS, i32::from(self.invalid));
        let context = Some(ViewContext {
            placement: self.placement,
            position: self.position,
            country: self.country,
            ..ViewContext::default()
        });
        let paid = self.amount != 0 && !self.invalid;
        let charge = paid.then(|| Charge { amount: self.amount, ..Charge::default() });
        match self.what {
            Metric::Viewable => Kind::Watched(Watched {
                showing,
                event_ms,
                event_kind: EventKind::Viewable as u32,
                placement: self.placement,
                invalid,
                context,
                imported: false,
            }),
            Metric::Taps => Kind::Tapped(Tapped {
                showing,
                event_ms,
                charge,
                invalid,
                placement: self.placement,
                context,
                ..Tapped::default()
            }),
            Metric::Conversations => Kind::ClickMatched(ClickMatched {
                showing,
                event_ms,
                charge,
                invalid,
                context,
                ..ClickMatched::default()
            }),
            Metric::Conversions => Kind::ConversionCredited(Box::new(ConversionCredited {
                showing,
                event_ms,
                invalid,
                context,
                value: money(self.amount, ZONES[owner(self.ad).0].1),
                ..ConversionCredited::default()
            })),
            _ => Kind::ImpressionSeen(ImpressionSeen {
                showing,
                event_ms,
                charge,
                invalid,
                placement: self.placement,
                position: self.position - 1,
                country: self.country,
                ..ImpressionSeen::default()
            }),
        }
    }

    fn day(&self) -> i64 {
        self.hour / 24
    }

    /// Tells whether it came while its day still took people.
    fn in_time(&self) -> bool {
        self.at.0.div_euclid(DAY_MS) <= self.day() + 1
    }

    fn value(&self, cut: Cut) -> u32 {
        if cut == Cut::Country { self.country } else { self.position }
    }

    fn step(&self) -> Option<Step> {
        match self.what {
            Metric::Impressions => Some(Step::Seen),
            Metric::Taps => Some(Step::Tapped),
            Metric::Conversations => Some(Step::Opened),
            Metric::Conversions => Some(Step::Converted),
            _ => None,
        }
    }
}

/// Impressions, viewable, taps, conversations, conversions, value, spend.
type Figures = [i64; 7];

fn figures(row: &ReportRow) -> Figures {
    let counts = [row.impressions, row.viewable, row.taps, row.conversations, row.conversions];
    let [seen, viewable, taps, chats, sales] = counts.map(|count| count as i64);
    [seen, viewable, taps, chats, sales, row.conversion_value_micros, row.spend_micros]
}

const COLUMNS: [Metric; 7] = [
    Metric::Impressions,
    Metric::Viewable,
    Metric::Taps,
    Metric::Conversations,
    Metric::Conversions,
    Metric::ConversionValue,
    Metric::Spend,
];

/// The twin: every event is looked at once for each question.
struct Twin<'a> {
    query: &'a Query,
    events: &'a [Event],
    now: Moment,
}

impl Twin<'_> {
    fn asks_for(&self, event: &Event) -> bool {
        let (account, campaign) = owner(event.ad);
        let filters = &self.query.filters;
        let account_id = mint(IdKind::Account, account as u64 + 1);
        (self.query.account == 0 || self.query.account == account_id)
            && (filters.campaigns.is_empty() || filters.campaigns.contains(&campaign))
            && (filters.ads.is_empty() || filters.ads.contains(&event.ad))
            && (filters.feeds.is_empty() || filters.feeds.contains(&event.feed))
    }

    fn is_inside(&self, hour: i64) -> bool {
        (i64::from(self.query.start_hour)..i64::from(self.query.end_hour)).contains(&hour)
    }

    fn key(&self, event: &Event, hour: i64, value: &str) -> String {
        let has = |dimension| self.query.dimensions.contains(&dimension);
        let (account, campaign) = owner(event.ad);
        let start = Moment(hour * HOUR_MS);
        let period = if has(Dimension::Hour) {
            start.0
        } else if has(Dimension::Day) {
            day_of(ZONES[account].0, start).start.0
        } else if has(Dimension::UtcDay) {
            hour / 24 * DAY_MS
        } else {
            -1
        };
        format!(
            "campaign {} ad {} feed {} placement {} period {period} value {value} {}",
            if has(Dimension::Campaign) { campaign } else { 0 },
            if has(Dimension::Ad) { event.ad } else { 0 },
            if has(Dimension::Feed) { event.feed } else { 0 },
            if has(Dimension::Placement) { event.placement } else { 0 },
            ZONES[account].1,
        )
    }

    /// Returns the value under which an event of a day is shown.
    fn shown(&self, cut: Cut, event: &Event, day: i64, folded: &BTreeSet<u32>) -> String {
        let value = event.value(cut);
        let name = match cut {
            _ if value == 0 => String::new(),
            Cut::Country => String::from_utf8_lossy(&(value as u16).to_be_bytes()).into_owned(),
            _ => value.to_string(),
        };
        let late = event.day() == day && !event.in_time();
        let open = self.now.0.div_euclid(DAY_MS) <= day + 1;
        let hidden = late || open || folded.contains(&value);
        if cut == Cut::Country && hidden { "other".into() } else { name }
    }

    /// Returns the values that an ad's day does not show.
    fn folded(&self, cut: Cut, ad: u64, day: i64) -> BTreeSet<u32> {
        let all: Vec<&Event> = self.events.iter().filter(|it| it.ad == ad && !it.invalid).collect();
        // Charges put a cell on the day of the journal, whatever its event's.
        let billed = |it: &Event| {
            it.amount != 0 && !matches!(it.what, Metric::Viewable | Metric::Conversions)
        };
        let present = |it: &&&Event| {
            let counted = it.day() == day && it.in_time();
            counted || (it.at.0.div_euclid(DAY_MS) == day && billed(it))
        };
        let values: BTreeSet<u32> = all.iter().filter(present).map(|it| it.value(cut)).collect();
        let of = |value: u32, step: Step| {
            let theirs = |it: &&&Event| {
                let same = it.value(cut) == value && it.step() == Some(step);
                same && it.day() == day && it.in_time()
            };
            all.iter().filter(theirs).map(|it| it.viewer as u32).collect::<Vec<_>>()
        };
        let mut folded = BTreeSet::new();
        let asked = METRICS.into_iter().filter(|metric| self.query.asks(*metric));
        let steps = asked.flat_map(|metric| steps_of(metric).iter().copied());
        for step in Step::ALL.into_iter().filter(|step| steps.clone().any(|it| it == *step)) {
            let enough = if step == Step::Seen { 50 } else { 10 };
            let (good, few): (Vec<u32>, Vec<u32>) = values.iter().partition(|value| {
                of(**value, step).into_iter().collect::<BTreeSet<_>>().len() >= enough
            });
            if !few.is_empty() {
                folded.extend(good.iter().min_by_key(|value| of(**value, Step::Seen).len()));
            }
            folded.extend(few);
        }
        folded
    }

    fn rows(&self) -> BTreeMap<String, Figures> {
        let mut rows = BTreeMap::<String, Figures>::new();
        let mut folds = BTreeMap::new();
        for event in self.events.iter().filter(|event| self.asks_for(event)) {
            let mut add = |hour: i64, column: usize, more: i64| {
                if !self.is_inside(hour) || !self.query.asks(COLUMNS[column]) || more == 0 {
                    return;
                }
                let cut = self.query.breakdown;
                let value = cut.map_or(String::new(), |cut| {
                    let day = hour / 24;
                    let fold = || self.folded(cut, event.ad, day);
                    self.shown(cut, event, day, folds.entry((event.ad, day)).or_insert_with(fold))
                });
                rows.entry(self.key(event, hour, &value)).or_default()[column] += more;
            };
            if event.invalid {
                continue;
            }
            let column = COLUMNS.iter().position(|metric| *metric == event.what).expect("listed");
            add(event.hour, column, 1);
            match event.what {
                Metric::Conversions => add(event.hour, 5, event.amount),
                Metric::Viewable => {}
                _ => add(i64::from(event.at.hour()), 6, event.amount),
            }
        }
        rows
    }
}

fn random_query(luck: &mut Luck, last_hour: u32) -> Query {
    let first = FIRST_DAY as u32 * 24;
    let breakdown =
        luck.chance(500).then(|| *luck.pick(&[Cut::Country, Cut::Country, Cut::Position]));
    let mut dimensions =
        vec![Dimension::Campaign, Dimension::Ad, Dimension::Feed, Dimension::Placement];
    if breakdown.is_some() {
        dimensions.truncate(2);
    }
    dimensions.retain(|_| luck.chance(400));
    let periods = [Dimension::UtcDay, Dimension::Hour, Dimension::Day];
    let choices = if breakdown.is_some() { 1 } else { periods.len() };
    if luck.chance(500) {
        dimensions.push(*luck.pick(&periods[..choices]));
    }
    let span = [luck.below(4) as u32 * 24, luck.below(4) as u32 * 24];
    let uneven = if breakdown.is_none() && luck.chance(300) { luck.below(24) as u32 } else { 0 };
    let filters = Filters {
        campaigns: if luck.chance(150) { vec![mint(IdKind::Campaign, 1)] } else { vec![] },
        ads: if luck.chance(150) { vec![ad_of(0), ad_of(3)] } else { vec![] },
        feeds: if breakdown.is_none() && luck.chance(150) { vec![2] } else { vec![] },
        ..Filters::default()
    };
    let mut query = Query {
        start_hour: first + span[0] + uneven,
        end_hour: if luck.chance(500) {
            last_hour.next_multiple_of(24)
        } else {
            first + span[0] + span[1]
        },
        dimensions,
        breakdown,
        account: if luck.chance(100) { mint(IdKind::Account, 1) } else { 0 },
        filters,
        limit: usize::MAX,
        ..Query::default()
    };
    if luck.chance(600) {
        let mut metrics: Vec<Metric> = COLUMNS.to_vec();
        metrics.retain(|_| luck.chance(300));
        metrics.retain(|metric| mismatch(*metric, &query).is_none());
        query.metrics = metrics;
    }
    query
}

/// Returns how many rows of single values and how many of others there were.
fn check(case: u64) -> [usize; 2] {
    let mut luck = Luck::new(case);
    let mut state = State::default();
    for (seq, fact) in (1..).zip(catalog()) {
        state.apply(Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) }, &fact);
    }
    let people: Vec<u64> = (0..200).map(|_| luck.roll()).collect();
    let mut at = Moment(FIRST_DAY * DAY_MS);
    let mut events = Vec::new();
    let until = (DAYS * DAY_MS) as u64;
    for seq in 0..FACTS {
        at = at.plus_ms(luck.below(2 * until / FACTS) as i64);
        let event = Event::random(&mut luck, &people, at);
        let stamp = Stamp { shard: shard_of(0), seq: Seq(1 + seq), at };
        state.apply(stamp, &event.fact(seq));
        events.push(event);
    }
    let now = at.plus_ms(luck.below(3) as i64 * DAY_MS);
    let (scope, secret) = (Scope { tenant: 0, any: true }, Secret::new([7; 32]));
    let mut seen = [0, 0];
    for _ in 0..3 {
        let query = random_query(&mut luck, now.hour() + 1);
        // In two parts, as a node's threads have them.
        let mut parts = [Report::new(&query, now), Report::new(&query, now)];
        // No account has noise, so a secret to draw it from changes nothing.
        let mut subjects = Subjects::new(&query, scope, &state.catalog).with_noise(&secret);
        for (ad, tally) in state.tallies.iter().flat_map(|chunk| &chunk.ads) {
            if let Some(subject) = subjects.of(*ad) {
                parts[luck.below(2) as usize].add(&subject, tally);
            }
        }
        let [mut report, other] = parts;
        report.merge(other);
        assert_eq!(report.costs().count(), 0, "{}", replay(case));
        let rows = report.page().0;
        let twin = Twin { query: &query, events: &events, now };
        let mut wanted = twin.rows();
        for row in rows {
            let value = if row.other { "other" } else { &*row.breakdown };
            seen[usize::from(row.other)] += usize::from(query.breakdown == Some(Cut::Country));
            let period = row.period.map_or(-1, |period| period.seconds * 1_000);
            let key = format!(
                "campaign {} ad {} feed {} placement {} period {period} value {value} {}",
                row.campaign_id, row.ad_id, row.feed_id, row.placement, row.currency
            );
            let wanted = wanted.remove(&key).unwrap_or_default();
            assert_eq!(figures(&row), wanted, "{key}\n{query:?}\n{}", replay(case));
        }
        assert!(wanted.is_empty(), "missing: {wanted:?}\n{query:?}\n{}", replay(case));
    }
    seen
}

fn replay(case: u64) -> String {
    format!("replay: SIM_CASE={case} cargo sim a_report_is_what_a_recount")
}

#[test]
fn a_report_is_what_a_recount_of_the_facts_says() {
    if let Some(case) = number("SIM_CASE") {
        check(case);
        return;
    }
    let mut seen = [0, 0];
    for case in 1..=CASES {
        let [values, others] = check(case);
        seen = [seen[0] + values, seen[1] + others];
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}
