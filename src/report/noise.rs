//! Noise on what depends on viewers: whole numbers of a two-sided geometric distribution, drawn from a keyed hash.
//!
//! A number k is drawn with a likelihood in proportion to e^(-epsilon |k|), the discrete Laplace distribution
//! (ALGORITHMS 6): whether one view, tap, conversation or conversion is in a cell changes the likelihood of what is
//! shown of it by at most a factor of e^epsilon. Each cell of an ad's frozen day draws once and for ever, so neither
//! repeating a question nor adding up its parts averages the noise away.

use blake3::{Hasher, OutputReader};

use crate::report::query::{Query, people_up_to};
use crate::state::breakdowns::{Cut, day_number};
use crate::tokens::Secret;
use crate::types::proto::v1::ReportNoise;
use crate::types::time::Moment;

/// Parts of an epsilon of one.
const ONE: u32 = 1_000_000;

/// Counts of a cell that take noise: impressions, viewable ones, taps, conversations, conversions. Money does not.
pub(super) const NOISY_COUNTS: usize = 5;

/// Names the noise of unions of people, whose input is a sum of keyed hashes.
const REACH_CONTEXT: &str = "munadi 2026-11 noise of reach";

/// What an account's answers are blurred by.
#[derive(Clone, Debug)]
pub struct Noise {
    key: Secret,
    /// What a question about the account's viewers costs.
    pub cost: Cost,
}

/// What one question costs an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost {
    /// The account.
    pub account: u64,
    /// Epsilon of the question, in millionths.
    pub epsilon_micros: u32,
    /// Epsilon of all questions of a day (UTC), in millionths.
    pub daily_epsilon_micros: u32,
}

impl Noise {
    /// Returns the noise of an account under its own key; `None`: it has none.
    pub fn of(account: u64, setting: Option<&ReportNoise>, key: Secret) -> Option<Self> {
        let setting = setting.filter(|setting| setting.epsilon_micros > 0)?;
        let ReportNoise { epsilon_micros, daily_epsilon_micros } = *setting;
        Some(Self { key, cost: Cost { account, epsilon_micros, daily_epsilon_micros } })
    }

    /// Returns what is added to the counts of one value of a cut on an ad's day.
    pub(super) fn of_cell(
        &self,
        ad: u64,
        day: u32,
        (cut, value): (Cut, u32),
    ) -> [i64; NOISY_COUNTS] {
        let mut hasher = self.hasher(ad, day);
        hasher.update(&[cut as u8]).update(&value.to_be_bytes());
        let mut bits = Bits::new(&hasher);
        [(); NOISY_COUNTS].map(|()| bits.two_sided(self.cost.epsilon_micros))
    }

    /// Returns what an ad's day adds to the name of a union of people.
    pub(super) fn of_people(&self, ad: u64, day: u32) -> Veil {
        let mut name = [0; 16];
        self.hasher(ad, day).finalize_xof().fill(&mut name);
        Veil { name: u128::from_be_bytes(name), epsilon_micros: self.cost.epsilon_micros }
    }

    /// Another epsilon draws anew: of the same numbers, only scaled, the two together would tell the count.
    fn hasher(&self, ad: u64, day: u32) -> Hasher {
        let mut hasher = Hasher::new_keyed(self.key.bytes());
        hasher.update(&self.cost.epsilon_micros.to_be_bytes());
        hasher.update(&ad.to_be_bytes()).update(&day.to_be_bytes());
        hasher
    }
}

/// The noise of a union of people: the same whenever the same days of the same ads are joined, in any order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Veil {
    name: u128,
    /// The least of those joined.
    epsilon_micros: u32,
}

impl Veil {
    /// Joins the noise of another part of the union.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            name: self.name.wrapping_add(other.name),
            epsilon_micros: self.epsilon_micros.min(other.epsilon_micros),
        }
    }

    /// Returns what is added to the union's size.
    pub(super) fn draw(self) -> i64 {
        let mut hasher = Hasher::new_derive_key(REACH_CONTEXT);
        hasher.update(&self.name.to_be_bytes()).update(&self.epsilon_micros.to_be_bytes());
        Bits::new(&hasher).two_sided(self.epsilon_micros)
    }
}

/// A stream of bits that looks random to whoever does not have the key.
struct Bits {
    reader: OutputReader,
    block: [u8; 64],
    used: usize,
}

impl Bits {
    fn new(hasher: &Hasher) -> Self {
        Self { reader: hasher.finalize_xof(), block: [0; 64], used: 64 }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.reader.fill(&mut self.block);
            self.used = 0;
        }
        let mut word = [0; 4];
        word.copy_from_slice(&self.block[self.used..self.used + 4]);
        self.used += 4;
        u32::from_le_bytes(word)
    }

    /// Draws a number below an end, each as likely.
    fn below(&mut self, end: u32) -> u32 {
        // Words behind the last whole multiple would favour low numbers.
        let whole = u32::MAX - u32::MAX % end;
        loop {
            let word = self.word();
            if word < whole {
                return word % end;
            }
        }
    }

    /// Draws true with the likelihood e^(-part / whole), where `part` is at most `whole`: without any floating point,
    /// as Canonne, Kamath and Steinke 2020 do (algorithm 1).
    fn decays(&mut self, part: u32, whole: u32) -> bool {
        let mut trials = 1;
        while self.below(whole.saturating_mul(trials)) < part {
            trials += 1;
        }
        trials % 2 == 1
    }

    /// Draws a number of the two-sided geometric distribution (the same, algorithm 2).
    fn two_sided(&mut self, epsilon_micros: u32) -> i64 {
        loop {
            let part = self.below(ONE);
            if !self.decays(part, ONE) {
                continue;
            }
            let mut wholes = 0;
            while self.decays(1, 1) {
                wholes += 1;
            }
            let size = (i64::from(part) + i64::from(ONE) * wholes) / i64::from(epsilon_micros);
            match self.below(2) {
                0 => return size,
                // Zero has one sign only.
                _ if size == 0 => {}
                _ => return -size,
            }
        }
    }
}

/// Returns the name of a question about viewers: the same for whatever has the same numbers about them. Pages,
/// orders, and hours that no frozen day has, tell nothing more.
pub fn name_of(query: &Query, now: Moment) -> u128 {
    let frozen = day_number(people_up_to(now).0);
    let days = query.days();
    let filters = &query.filters;
    let mut hasher = Hasher::new();
    let mut put = |list: &mut dyn Iterator<Item = i64>| {
        let mut list: Vec<i64> = list.collect();
        list.sort_unstable();
        list.dedup();
        hasher.update(&(list.len() as u64).to_be_bytes());
        list.iter().for_each(|number| {
            hasher.update(&number.to_be_bytes());
        });
    };
    let one = std::iter::once::<i64>;
    put(&mut one(days.start.into()));
    put(&mut one(days.end.min(frozen).into()));
    put(&mut one(query.breakdown.map_or(-1, |cut| cut as i64)));
    put(&mut one(query.account.cast_signed()));
    put(&mut one(query.campaign.cast_signed()));
    put(&mut query.dimensions.iter().map(|it| i64::from(i32::from(*it))));
    put(&mut query.metrics.iter().map(|it| i64::from(i32::from(*it))));
    for ids in [&filters.campaigns, &filters.ad_sets, &filters.ads] {
        put(&mut ids.iter().map(|id| id.cast_signed()));
    }
    put(&mut filters.feeds.iter().map(|feed| i64::from(*feed)));
    let numbers = [
        &filters.channels,
        &filters.placements,
        &filters.confidences,
        &filters.models,
        &filters.windows,
    ];
    for numbers in numbers {
        put(&mut numbers.iter().map(|number| i64::from(*number)));
    }
    let mut name = [0; 16];
    hasher.finalize_xof().fill(&mut name);
    u128::from_be_bytes(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::query::Filters;
    use crate::types::proto::v1::{Dimension, Metric};
    use crate::types::time::{DAY_MS, HOUR_MS};

    const DRAWS: u32 = 20_000;

    fn noise(epsilon_micros: u32, key: u8) -> Noise {
        let setting = ReportNoise { epsilon_micros, daily_epsilon_micros: 1_000_000 };
        Noise::of(7, Some(&setting), Secret::new([key; 32])).unwrap()
    }

    /// Returns how far draws are from the closed form, as a chi-square with its degrees of freedom.
    fn distance(epsilon_micros: u32, draws: &[i64]) -> (f64, f64) {
        let epsilon = f64::from(epsilon_micros) / 1e6;
        let ratio = (-epsilon).exp();
        let all = draws.len() as f64;
        let likely = |size: i64| (1.0 - ratio) / (1.0 + ratio) * ratio.powi(size as i32);
        let mut counts = BTreeMap::<i64, f64>::new();
        draws.iter().for_each(|draw| *counts.entry(*draw).or_default() += 1.0);
        // Beyond the last size of which 20 are expected, both tails are a bin each.
        let last = (0..).take_while(|size| likely(*size) * all >= 20.0).last().unwrap();
        let tail = ratio.powi(last as i32 + 1) / (1.0 + ratio) * all;
        let found = |inside: &dyn Fn(i64) -> bool| {
            counts.iter().filter(|(draw, _)| inside(**draw)).map(|(_, count)| *count).sum::<f64>()
        };
        let mut bins =
            vec![(found(&|draw| draw > last), tail), (found(&|draw| draw < -last), tail)];
        bins.extend((-last..=last).map(|it| (found(&|draw| draw == it), likely(it.abs()) * all)));
        assert!((bins.iter().map(|bin| bin.1).sum::<f64>() - all).abs() < 1e-6);
        let parts = bins.iter().filter(|bin| bin.1 > 1.0);
        let chi = parts.clone().map(|(found, wanted)| (found - wanted).powi(2) / wanted).sum();
        (chi, parts.count() as f64 - 1.0)
    }

    #[test]
    fn noise_is_spread_as_the_closed_form_says() {
        for epsilon_micros in [20_000, 100_000, 500_000, 1_000_000, 2_000_000, 3_333_333] {
            let noise = noise(epsilon_micros, 3);
            let cell = |number: u32| noise.of_cell(number.into(), number % 90, (Cut::Country, 5));
            let cells: Vec<i64> = (0..DRAWS / 5).flat_map(cell).collect();
            let people = |number: u32| noise.of_people(number.into(), number % 90).draw();
            let people: Vec<i64> = (0..DRAWS).map(people).collect();
            for draws in [cells, people] {
                let (chi, freedom) = distance(epsilon_micros, &draws);
                // About one in a million is farther; the draws are the same every time.
                let far = freedom + 5.0 * (2.0 * freedom).sqrt() + 15.0;
                assert!(chi < far, "epsilon {epsilon_micros}: {chi} of {freedom}");
            }
        }
    }

    #[test]
    fn a_cell_draws_once_and_other_cells_keys_and_epsilons_draw_anew() {
        let cell = |noise: &Noise, ad, day, value| noise.of_cell(ad, day, (Cut::Country, value));
        let one = noise(20_000, 3);
        let first = cell(&one, 1, 2, 3);
        assert_eq!(first, cell(&noise(20_000, 3), 1, 2, 3));
        let others = [
            cell(&one, 2, 2, 3),
            cell(&one, 1, 3, 3),
            cell(&one, 1, 2, 4),
            one.of_cell(1, 2, (Cut::Os, 3)),
            cell(&noise(20_000, 4), 1, 2, 3),
            cell(&noise(20_001, 3), 1, 2, 3),
        ];
        assert!(others.iter().all(|other| *other != first), "{first:?}: {others:?}");
        let (a, b, c) = (one.of_people(1, 2), one.of_people(1, 3), one.of_people(2, 2));
        assert_eq!(a.join(b).join(c), c.join(b).join(a));
        assert_ne!(a.join(b).name, a.join(c).name);
        assert_eq!(a.join(noise(10_000, 3).of_people(5, 5)).epsilon_micros, 10_000);
    }

    #[test]
    fn an_account_without_an_epsilon_has_no_noise() {
        let none = |setting: Option<&ReportNoise>| Noise::of(7, setting, Secret::new([1; 32]));
        assert!(none(None).is_none() && none(Some(&ReportNoise::default())).is_none());
    }

    #[test]
    fn pages_orders_and_open_days_ask_nothing_new() {
        let now = Moment(20_010 * DAY_MS + 5 * HOUR_MS);
        let query = Query {
            start_hour: 20_000 * 24,
            end_hour: now.hour() + 1,
            is_open: true,
            dimensions: vec![Dimension::Ad, Dimension::Campaign],
            metrics: vec![Metric::Reach, Metric::Taps],
            filters: Filters { ads: vec![5, 4], ..Filters::default() },
            limit: 10,
            ..Query::default()
        };
        let name = name_of(&query, now);
        let same = [
            Query { skip: 10, limit: 99, ..query.clone() },
            Query { dimensions: vec![Dimension::Campaign, Dimension::Ad], ..query.clone() },
            Query { metrics: vec![Metric::Taps, Metric::Reach, Metric::Taps], ..query.clone() },
            Query { filters: Filters { ads: vec![4, 5], ..Filters::default() }, ..query.clone() },
            Query { end_hour: 20_009 * 24, is_open: false, ..query.clone() },
        ];
        assert!(same.iter().all(|other| name_of(other, now) == name));
        assert_eq!(name_of(&query, now.plus_ms(18 * HOUR_MS)), name, "the same day");
        assert_ne!(name_of(&query, now.plus_ms(DAY_MS)), name, "one more day is frozen");
        let others = [
            Query { end_hour: 20_008 * 24, ..query.clone() },
            Query { start_hour: 20_001 * 24, ..query.clone() },
            Query { metrics: vec![Metric::Reach], ..query.clone() },
            Query { breakdown: Some(Cut::Country), ..query.clone() },
            Query { account: 1, ..query.clone() },
            Query { campaign: 1, ..query.clone() },
            Query { filters: Filters { ads: vec![4], ..Filters::default() }, ..query.clone() },
            Query { filters: Filters { ad_sets: vec![4, 5], ..Filters::default() }, ..query },
        ];
        assert!(others.iter().all(|other| name_of(other, now) != name));
    }
}
