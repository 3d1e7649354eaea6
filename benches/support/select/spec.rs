//! The seeded workloads: what each ad is and what each viewer is, in a few numbers. The engine's messages
//! and the baselines' columns are both made from these.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Countries that viewers come from, numbered from 1; 0 stands for everywhere.
pub(crate) const COUNTRIES: usize = 50;
/// Languages, numbered from 1; 0 stands for any.
pub(crate) const LANGUAGES: usize = 20;
/// Cities of each country.
pub(crate) const CITIES: usize = 20;
/// Interests, numbered from 1.
pub(crate) const INTERESTS: usize = 5_000;
/// Segments, numbered from 1.
pub(crate) const SEGMENTS: usize = 1_000;
/// Age bands, numbered from 1.
pub(crate) const AGES: usize = 7;
/// Most interests of one ad.
const INTERESTS_MAX: usize = 10;
/// A pacing multiplier that holds nothing back.
pub(crate) const MULTIPLIER_ONE: u32 = 1 << 30;
/// Micros for 1,000 impressions that half of the ads bid more than.
const MEDIAN_CPM: f64 = 2_000_000.0;
/// Taps that the engine expects of 1,000 impressions of a new ad, and chats of 1,000 taps.
const EXPECTED: [f64; 2] = [10.0, 400.0];

/// How ads are targeted, and how hard they are to tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Workload {
    /// Many ads match: 60 % by age, 30 % by gender, 40 % by language, 25 % by city, 50 % by interests.
    Easy,
    /// Few match: 98 % by interests, half by segment.
    Hard,
    /// None matches although each list that is walked is long, and all are worth the same.
    Adversarial,
}

impl Workload {
    /// Every workload.
    pub(crate) const ALL: [Self; 3] = [Self::Easy, Self::Hard, Self::Adversarial];

    /// Returns its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Hard => "hard",
            Self::Adversarial => "adversarial",
        }
    }
}

/// What is paid for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Billing {
    Impressions,
    Taps,
    Chats,
}

/// One ad. Zero and empty: not targeted by this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) country: u8,
    /// First and last band.
    pub(crate) ages: (u8, u8),
    pub(crate) gender: u8,
    pub(crate) language: u8,
    pub(crate) city: u32,
    pub(crate) segment: u32,
    pub(crate) excluded_segment: u32,
    pub(crate) interests: [u16; INTERESTS_MAX],
    pub(crate) interest_count: u8,
    pub(crate) billing: Billing,
    /// Ceiling for one billed event, or 1,000 impressions, micros.
    pub(crate) bid: i64,
    /// The pacing multiplier when the index is built, in 1/65,536.
    pub(crate) built_multiplier: u32,
    /// The multiplier when ads are asked for: lower, so that every bound is slack.
    pub(crate) multiplier: u32,
}

impl Spec {
    /// Returns an ad for everybody, at the middle bid.
    pub(crate) const fn worldwide() -> Self {
        Self {
            country: 0,
            ages: (0, 0),
            gender: 0,
            language: 0,
            city: 0,
            segment: 0,
            excluded_segment: 0,
            interests: [0; INTERESTS_MAX],
            interest_count: 0,
            billing: Billing::Impressions,
            bid: MEDIAN_CPM as i64,
            built_multiplier: MULTIPLIER_ONE,
            multiplier: MULTIPLIER_ONE,
        }
    }

    /// Returns the interests, one of which is needed, ascending; empty: none is.
    pub(crate) fn interests(&self) -> &[u16] {
        &self.interests[..self.interest_count.into()]
    }

    /// Tells whether the ad is for this viewer: the definition that every method is checked against.
    pub(crate) fn matches(&self, query: &Query) -> bool {
        let own = |segment: u32| query.segments.binary_search(&segment).is_ok();
        let interests = self.interests();
        (self.country == 0 || self.country == query.country)
            && (self.ages.0 == 0 || (self.ages.0..=self.ages.1).contains(&query.age))
            && (self.gender == 0 || self.gender == query.gender)
            && (self.language == 0 || query.languages.contains(&self.language))
            && (self.city == 0 || self.city == query.city)
            && (self.segment == 0 || own(self.segment))
            && (self.excluded_segment == 0 || !own(self.excluded_segment))
            && (interests.is_empty()
                || interests.iter().any(|one| query.interests.binary_search(one).is_ok()))
    }
}

/// One viewer who asks.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) country: u8,
    pub(crate) age: u8,
    pub(crate) gender: u8,
    /// One or two.
    pub(crate) languages: Vec<u8>,
    pub(crate) city: u32,
    /// Ascending.
    pub(crate) interests: Vec<u16>,
    /// Ascending.
    pub(crate) segments: Vec<u32>,
    /// What decides between equal ads.
    pub(crate) roll: u64,
}

/// Draws a number from 1 on, the first ones more often: the nth in proportion to `n^-exponent`.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(numbers: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=numbers).map(|number| (number as f64).powf(-exponent));
        let mut sums: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        sums.iter_mut().for_each(|upto| *upto /= sum);
        Self(sums)
    }

    fn draw(&self, dice: &mut Xoshiro256PlusPlus) -> usize {
        let throw: f64 = dice.random();
        1 + self.0.partition_point(|upto| *upto < throw).min(self.0.len() - 1)
    }
}

/// An endless row of ads or viewers: the same for the same seed.
pub(crate) struct Source {
    workload: Workload,
    dice: Xoshiro256PlusPlus,
    countries: Zipf,
    interests: Zipf,
}

/// Streams of one seed, so that a new draw for ads does not rewrite the viewers.
const ADS: u64 = 0xAD5;
const VIEWERS: u64 = 0x4E9_0000;

impl Source {
    fn new(workload: Workload, seed: u64) -> Self {
        let skew = if workload == Workload::Easy { 0.5 } else { 0.0 };
        Self {
            workload,
            dice: Xoshiro256PlusPlus::seed_from_u64(seed),
            countries: Zipf::new(COUNTRIES, 1.1),
            interests: Zipf::new(INTERESTS, skew),
        }
    }

    /// Returns so many ads.
    pub(crate) fn ads(workload: Workload, seed: u64, count: usize) -> impl Iterator<Item = Spec> {
        let mut source = Self::new(workload, seed ^ ADS);
        (0..count).map(move |_| source.ad())
    }

    /// Returns so many viewers.
    pub(crate) fn queries(workload: Workload, seed: u64, count: usize) -> Vec<Query> {
        let mut source = Self::new(workload, seed ^ VIEWERS);
        (0..count).map(|_| source.query()).collect()
    }

    fn ad(&mut self) -> Spec {
        let hard = self.workload != Workload::Easy;
        let country = if self.luck(0.1) { 0 } else { self.countries.draw(&mut self.dice) as u8 };
        let (first, bands) = (self.number(AGES) as u8, self.number(3) as u8);
        let ages =
            if self.luck(0.6) { (first, (first + bands - 1).min(AGES as u8)) } else { (0, 0) };
        let gender = if self.luck(0.3) { self.number(2) as u8 } else { 0 };
        let home = if country == 0 { self.countries.draw(&mut self.dice) as u8 } else { country };
        let language = if self.luck(0.4) { self.language(home) } else { 0 };
        let city = if self.luck(0.25) { self.city(home) } else { 0 };
        let segment =
            if self.luck(if hard { 0.5 } else { 0.1 }) { self.number(SEGMENTS) } else { 0 };
        let excluded = if self.luck(0.1) { self.number(SEGMENTS) } else { 0 };
        let mut spec = Spec {
            country,
            ages,
            gender,
            language,
            city,
            segment: segment as u32,
            // A segment that is both asked for and excluded is a contradiction.
            excluded_segment: if excluded == segment { 0 } else { excluded as u32 },
            ..Spec::worldwide()
        };
        if self.luck(if hard { 0.98 } else { 0.5 }) {
            let count = self.number(INTERESTS_MAX);
            let list: Vec<u16> =
                (0..count).map(|_| self.interests.draw(&mut self.dice) as u16).collect();
            spec.ask_for(list);
        }
        self.price(&mut spec);
        if self.workload == Workload::Adversarial {
            self.spoil(&mut spec);
        }
        spec
    }

    /// Gives an ad its bid and its multipliers.
    fn price(&mut self, spec: &mut Spec) {
        let cpm = MEDIAN_CPM * self.normal().exp();
        let (billing, bid) = match self.number(20) {
            1..=3 => (Billing::Taps, cpm / EXPECTED[0]),
            4 => (Billing::Chats, cpm / EXPECTED[0] * 1_000.0 / EXPECTED[1]),
            _ => (Billing::Impressions, cpm),
        };
        // Bids for 1,000 impressions have steps of 1,000 micros.
        (spec.billing, spec.bid) = (billing, (bid as i64 / 1_000).max(1) * 1_000);
        let built = (0.1 * self.normal().exp()).min(1.0) * f64::from(MULTIPLIER_ONE);
        let personal = self.dice.random_range(0.05..1.0);
        spec.built_multiplier = (built as u32).max(1);
        spec.multiplier = ((built * personal) as u32).max(1);
    }

    /// Makes an ad that is for no viewer of this workload: it asks for an interest and a segment that
    /// are both odd or both even, and viewers have many of both, never of the same kind.
    fn spoil(&mut self, spec: &mut Spec) {
        let half = self.number(2);
        let count = self.number(INTERESTS_MAX);
        let interest = |number| (2 * number + half) as u16;
        spec.ask_for((0..count).map(|_| interest(self.number(INTERESTS / 2) - 1)).collect());
        // Odd ones with odd interests, even ones with even interests.
        spec.segment = (2 * self.number(SEGMENTS / 2) + half - 2) as u32;
        spec.excluded_segment = 0;
        (spec.country, spec.ages, spec.gender, spec.language, spec.city) = (0, (0, 0), 0, 0, 0);
        spec.billing = Billing::Impressions;
        spec.bid = MEDIAN_CPM as i64;
        spec.built_multiplier = MULTIPLIER_ONE / 10;
        spec.multiplier = MULTIPLIER_ONE / 20;
    }

    fn query(&mut self) -> Query {
        let country = self.countries.draw(&mut self.dice) as u8;
        let own = self.language(country);
        let mut languages = vec![own];
        if own != 1 && self.luck(0.3) {
            languages.push(1);
        }
        let (interests, segments) = match self.workload {
            Workload::Adversarial => self.many_of_one_half(),
            Workload::Easy | Workload::Hard => {
                let interests = self.dice.random_range(5..=20);
                let segments = self.dice.random_range(0..=20);
                let interest = |source: &mut Self| source.interests.draw(&mut source.dice) as u16;
                (
                    (0..interests).map(|_| interest(self)).collect(),
                    (0..segments).map(|_| self.number(SEGMENTS) as u32).collect(),
                )
            }
        };
        Query {
            country,
            age: self.number(AGES) as u8,
            gender: self.number(2) as u8,
            languages,
            city: self.city(country),
            interests: ascending(interests),
            segments: ascending(segments),
            roll: self.dice.random(),
        }
    }

    fn many_of_one_half(&mut self) -> (Vec<u16>, Vec<u32>) {
        let half = self.number(2);
        let interest = |number| (2 * number + half) as u16;
        let interests = (0..200).map(|_| interest(self.number(INTERESTS / 2) - 1)).collect();
        // Even ones with odd interests, odd ones with even interests.
        let segment = |number| (2 * number + 1 - half) as u32;
        let segments = (0..100).map(|_| segment(self.number(SEGMENTS / 2))).collect();
        (interests, segments)
    }

    /// Returns a language spoken in a country: mostly its own, now and then the first of all.
    fn language(&mut self, country: u8) -> u8 {
        if self.luck(0.15) { 1 } else { country % LANGUAGES as u8 + 1 }
    }

    fn city(&mut self, country: u8) -> u32 {
        // The lesser of two throws: the first cities are the largest.
        let city = self.number(CITIES).min(self.number(CITIES));
        ((usize::from(country) - 1) * CITIES + city) as u32
    }

    fn luck(&mut self, chance: f64) -> bool {
        self.dice.random_bool(chance)
    }

    /// Returns one of 1 to `most`.
    fn number(&mut self, most: usize) -> usize {
        self.dice.random_range(1..=most)
    }

    /// Returns a number of the normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (one, other): (f64, f64) = (self.dice.random(), self.dice.random());
        (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()
    }
}

impl Spec {
    fn ask_for(&mut self, list: Vec<u16>) {
        let list = ascending(list);
        self.interests[..list.len()].copy_from_slice(&list);
        self.interest_count = list.len() as u8;
    }
}

fn ascending<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}
