//! The checks of a viewer against a plain list of everything that ever happened to it.

use munadi::decide::onlooker::{Cap, Onlooker, Passing};
use munadi::decide::promise::Promise;
use munadi::decide::skip::Skip;
use munadi::state::bucket::Bucket;
use munadi::state::viewers::CAPPED_AD_SETS_MAX;
use munadi::state::{Stamp, viewers::Viewer};
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    ClickMatched, FeedbackGiven, ImpressionSeen, Showing, Tapped,
};
use munadi::types::proto::v1::EventKind;
use munadi::types::request::Policy;
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};

use crate::luck::Luck;

const CASES: u64 = 2_000;
const STEPS: u64 = 60;
const IMPRESSIONS: u8 = 1;
const TAPS: u8 = 2;
const CONVERSATIONS: u8 = 3;

/// An ad; its ad set has its own number.
struct Ad {
    number: u64,
    caps: Vec<Cap>,
}

impl Ad {
    fn new(number: u64, luck: &mut Luck) -> Self {
        let caps = (0..luck.below(4)).map(|_| Cap {
            event: 1 + luck.below(3) as u8,
            max: 1 + luck.below(3) as u8,
            interval_hours: *luck.pick(&[1, 2, 24, 720]),
        });
        Self { number, caps: caps.collect() }
    }

    const fn ad_set(&self) -> u64 {
        mint(IdKind::AdSet, self.number)
    }

    const fn business(&self) -> u64 {
        mint(IdKind::Business, 100 + self.number / 2)
    }

    const fn category(&self) -> u64 {
        self.number % 4
    }

    fn longest(&self, event: u8) -> u32 {
        let caps = self.caps.iter().filter(|cap| cap.event == event);
        caps.map(|cap| u32::from(cap.interval_hours)).max().unwrap_or_default()
    }

    fn passing(&self) -> Passing<'_> {
        Passing {
            ad: self.number,
            ad_set: self.ad_set(),
            business: self.business(),
            category: self.category(),
            caps: &self.caps,
            is_counted: false,
        }
    }
}

/// One viewer, as the engine keeps it and as a list.
struct Case {
    bucket: Bucket,
    promised: Vec<Promise>,
    happened: Vec<(Moment, u64, u8)>,
    hidden: Vec<(u64, u64, EventKind)>,
    seq: u64,
}

impl Case {
    fn tell(&mut self, at: Moment, fact: &Kind) {
        self.seq += 1;
        let shard = Shard::new(0).expect("a shard");
        self.bucket.apply(Stamp { shard, seq: Seq(self.seq), at }, fact);
    }

    /// Lets something happen to the viewer and notes it in both ways.
    fn step(&mut self, ads: &[Ad], now: Moment, luck: &mut Luck) {
        let ad = luck.pick(ads);
        let view = 1 + luck.below(40);
        let showing = Some(Showing {
            view,
            viewer: 1,
            ad: ad.number,
            ad_set: ad.ad_set(),
            business: ad.business(),
            issued_s: now.seconds(),
            ..Showing::default()
        });
        let base = || ClickMatched { showing, ..ClickMatched::default() };
        match luck.below(12) {
            0..=4 => {
                let (cap_hours, category) = (ad.longest(IMPRESSIONS), ad.category());
                let seen = ImpressionSeen { showing, cap_hours, category, ..Default::default() };
                self.tell(now, &Kind::ImpressionSeen(seen));
                self.happened.push((now, ad.number, IMPRESSIONS));
                self.promised.retain(|promise| !promise.is_of(view));
            }
            5 | 6 => {
                let cap_hours = ad.longest(TAPS);
                self.tell(now, &Kind::Tapped(Tapped { showing, cap_hours, ..Tapped::default() }));
                self.happened.push((now, ad.number, TAPS));
            }
            7 => {
                let implied_tap = luck.chance(500);
                let (cap_hours, tap_cap_hours) = (ad.longest(CONVERSATIONS), ad.longest(TAPS));
                let fact = ClickMatched { cap_hours, tap_cap_hours, implied_tap, ..base() };
                self.tell(now, &Kind::ClickMatched(fact));
                self.happened.push((now, ad.number, CONVERSATIONS));
                if implied_tap {
                    self.happened.push((now, ad.number, TAPS));
                }
            }
            8 if luck.chance(100) => {
                let kinds = [EventKind::HideAd, EventKind::HideBusiness, EventKind::Undo];
                let kind = *luck.pick(&kinds);
                let event_kind = kind as u32;
                let fact = FeedbackGiven { showing, event_kind, ..FeedbackGiven::default() };
                self.tell(now, &Kind::FeedbackGiven(fact));
                match kind {
                    EventKind::Undo => self.hidden.retain(|(of, ..)| *of != view),
                    EventKind::HideAd => self.hidden.push((view, ad.number, kind)),
                    _ => self.hidden.push((view, ad.business(), kind)),
                }
            }
            _ => {
                let show_by_s = 60 * luck.below(16) as u32;
                self.promised.push(Promise::of(view, &ad.passing(), now, show_by_s));
            }
        }
    }

    fn open(&self, now: Moment) -> impl Iterator<Item = &Promise> {
        self.promised.iter().filter(move |promise| promise.is_open(now))
    }

    /// Counts by walking the whole list.
    fn count(&self, ad_set: u64, event: u8, hours: u16, now: Moment) -> u64 {
        let from = u64::from(now.hour()) - u64::from(hours);
        let counted = |(at, of, kind): &&(Moment, u64, u8)| {
            *of == ad_set && *kind == event && u64::from(at.hour()) >= from
        };
        self.happened.iter().filter(counted).count() as u64
    }

    fn expected(&self, ads: &[Ad], ad: &Ad, policy: &Policy, now: Moment) -> Result<(), Skip> {
        if self.hidden.iter().any(|(_, id, kind)| {
            *id == if *kind == EventKind::HideAd { ad.number } else { ad.business() }
        }) {
            return Err(Skip::HiddenByViewer);
        }
        let recorded = |ad: &&Ad| {
            let counted = [IMPRESSIONS, TAPS, CONVERSATIONS].into_iter().any(|event| {
                let hours = ad.longest(event) as u16;
                hours > 0 && self.count(ad.number, event, hours, now) > 0
            });
            let promised = self
                .open(now)
                .any(|promise| promise.ad_set() == ad.ad_set() && promise.is_counted());
            counted || promised
        };
        let full = ads.iter().filter(recorded).count() >= CAPPED_AD_SETS_MAX;
        if !ad.caps.is_empty() && full && !recorded(&ad) {
            return Err(Skip::CapStateFull);
        }
        let promised =
            self.open(now).filter(|promise| promise.ad_set() == ad.ad_set()).count() as u64;
        let reached = ad.caps.iter().any(|cap| {
            let soon = if cap.event == IMPRESSIONS { promised } else { 0 };
            let happened = self.count(ad.number, cap.event, cap.interval_hours, now);
            happened + soon >= u64::from(cap.max)
        });
        if reached {
            return Err(Skip::FrequencyCapped);
        }
        let shown = self.happened.iter().filter(|(.., event)| *event == IMPRESSIONS);
        let shown = shown.map(|(at, number, _)| (&ads[*number as usize - 1], at.seconds()));
        let shown = shown.map(|(of, at_s)| (of.business(), of.category(), i64::from(at_s) * 1_000));
        let soon = self.open(now).map(|it| (it.business(), it.category(), it.issued().0));
        let near = shown.chain(soon).any(|(business, category, at_ms)| {
            let ago = now.0 - at_ms;
            business == ad.business() && ago < policy.advertiser_distance_ms
                || category != 0 && category == ad.category() && ago < policy.category_distance_ms
        });
        if near { Err(Skip::Separation) } else { Ok(()) }
    }
}

#[test]
fn a_viewer_is_admitted_as_a_list_of_all_events_says() {
    let mut luck = Luck::new(4_711);
    let mut outcomes = std::collections::BTreeMap::<String, u64>::new();
    // One for all cases: nothing of one viewer may be left for the next.
    let mut onlooker = Onlooker::default();
    for case in 0..CASES {
        let many = luck.chance(300);
        let ads = 1 + luck.below(if many { 40 } else { 6 });
        let ads: Vec<_> = (1..=ads).map(|number| Ad::new(number, &mut luck)).collect();
        let policy = Policy {
            advertiser_distance_ms: luck.between(0, 3) * HOUR_MS,
            category_distance_ms: luck.between(0, 3) * 5 * MINUTE_MS,
            ..Policy::USUAL
        };
        let mut viewer = Case {
            bucket: Bucket::default(),
            promised: Vec::new(),
            happened: Vec::new(),
            hidden: Vec::new(),
            seq: 0,
        };
        let mut now = Moment(500_000 * HOUR_MS);
        // Some live for minutes, some for months.
        let pace = *luck.pick(&[MINUTE_MS, 20 * MINUTE_MS, if many { MINUTE_MS } else { DAY }]);
        // Those that see many ads live long enough to fill their record.
        for step in 0..if many { 3 * STEPS } else { STEPS } {
            viewer.step(&ads, now, &mut luck);
            now = now.plus_ms(luck.between(0, pace));
            let known: Option<&Viewer> = viewer.bucket.viewers.get(&1);
            onlooker.look(known, &viewer.promised, &policy, now);
            let ad = luck.pick(&ads);
            let expected = viewer.expected(&ads, ad, &policy, now);
            let found = onlooker.admits(&ad.passing(), now);
            assert_eq!(found, expected, "case {case}, step {step}, ad {}", ad.number);
            *outcomes.entry(format!("{found:?}")).or_default() += 1;
        }
    }
    assert!(outcomes.len() == 5 && outcomes.values().all(|count| *count > 300), "{outcomes:?}");
}

const DAY: i64 = 24 * HOUR_MS;
