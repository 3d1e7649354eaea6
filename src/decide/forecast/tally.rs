//! What a replay brought, and how sure that is: a bootstrap over viewers.

use crate::decide::forecast::Plan;
use crate::decide::forecast::bound::over_delivery_ppm;
use crate::decide::forecast::replay::{Lot, Replay, Threshold};
use crate::types::hash::mix;
use crate::types::proto::v1::BillingEvent;

/// Replicates of the bootstrap.
pub const REPLICATES: usize = 50;

/// How often one person is told to see an ad: once, twice, …, the last so often or more.
pub const FREQUENCIES: usize = 8;

/// The replicates below and above the interval that holds the truth 80 times of 100.
const ENDS: (usize, usize) = (REPLICATES / 10 - 1, REPLICATES - REPLICATES / 10);

/// How often each viewer is drawn into a replicate: Poisson of mean 1, by 256ths. From a count on, so many
/// draws of 256 lie below.
const POISSON: [u16; 5] = [94, 188, 235, 251, 255];

/// Standard normal numbers of a replicate.
const LUCK: usize = 6;

/// The standard deviation of a normal number whose middle absolute size is 1.
const MIDDLE_TO_DEVIATION: f64 = 1.4826;

/// The mean of that table, which is a little above 1.
const POISSON_MEAN: f64 = 257.0 / 256.0;

/// A figure and both ends of the interval that holds the truth 80 times of 100.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// The lower end.
    pub low: u64,
    /// The most likely.
    pub expected: u64,
    /// The upper end.
    pub high: u64,
}

/// What one day would bring.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forecast {
    /// Micros.
    pub spend: Span,
    /// First frames seen.
    pub impressions: Span,
    /// People.
    pub reach: Span,
    /// Taps.
    pub taps: Span,
    /// Conversations.
    pub conversations: Span,
    /// People by how often they would see it.
    pub frequency: [u64; FREQUENCIES],
    /// What may be delivered beyond such a budget and not charged, in millionths of spend.
    pub over_delivery_ppm: u32,
}

/// Sums of a sample, or of one replicate of it.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    spend: f64,
    impressions: f64,
    /// Impressions in the best placement that would be tapped as often.
    taps: f64,
    /// Viewers and days.
    reach: f64,
}

impl Sums {
    fn add(&mut self, times: f64, other: &Self) {
        self.spend += times * other.spend;
        self.impressions += times * other.impressions;
        self.taps += times * other.taps;
        self.reach += times * other.reach;
    }
}

/// What a replay brought, of the sample.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    all: Sums,
    replicates: [Sums; REPLICATES],
    frequency: [u64; FREQUENCIES],
}

/// How a sample becomes a day of everyone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Of so many viewers one is in it.
    pub(super) divisor: f64,
    /// Days that it covers.
    pub(super) days: f64,
}

impl Tally {
    pub(super) fn of(replay: &mut Replay<'_>, threshold: &Threshold) -> Self {
        let mut tally = Self {
            all: Sums::default(),
            replicates: [Sums::default(); REPLICATES],
            frequency: [0; FREQUENCIES],
        };
        replay.run(threshold, |run, lot| tally.add(run.viewer, lot));
        tally
    }

    fn add(&mut self, viewer: u64, lot: &Lot) {
        let mut sums = Sums {
            spend: lot.pay / 1_000.0,
            impressions: lot.impressions.into(),
            taps: lot.taps,
            reach: 0.0,
        };
        for times in lot.days.into_iter().filter(|times| *times > 0) {
            sums.reach += 1.0;
            self.frequency[usize::from(times).min(FREQUENCIES) - 1] += 1;
        }
        self.all.add(1.0, &sums);
        let mut roll = viewer;
        for few in self.replicates.chunks_mut(8) {
            roll = mix(roll.wrapping_add(0x9E37_79B9_7F4A_7C15));
            for (byte, replicate) in roll.to_le_bytes().into_iter().zip(few) {
                let times = POISSON.iter().filter(|below| u16::from(byte) >= **below).count();
                if times > 0 {
                    replicate.add(times as f64, &sums);
                }
            }
        }
        // Divided out at the end, by `POISSON_MEAN`.
    }

    /// Returns the day's forecast. `end`: the budget, if that is what ended it.
    pub(super) fn forecast(&self, plan: &Plan, scale: Scale, end: Option<End>) -> Forecast {
        let day = Day { plan, scale, end };
        let expected = day.of(self.all, [0.0; LUCK]);
        let replicates: Vec<Outcome> = self
            .replicates
            .iter()
            .enumerate()
            .map(|(number, sums)| {
                let divided = |sum| sum / POISSON_MEAN;
                let Sums { spend, impressions, taps, reach } = *sums;
                let [spend, impressions] = [spend, impressions].map(divided);
                let [taps, reach] = [taps, reach].map(divided);
                day.of(Sums { spend, impressions, taps, reach }, luck(number as u64))
            })
            .collect();
        // With a share s of the viewers, a part r of what tells viewers apart staying from day to day: the
        // sampled ones are part of the truth, which takes s r off the variance, and the next day is another
        // draw of everybody's requests, which adds s (1 - r). Of about half each that is nothing.
        let span = |of: fn(&Outcome) -> f64| span(of(&expected), replicates.iter().map(of));
        let mut reach = span(|day| day.reach);
        if scale.days < 1.0 {
            // Some of those who come later came before: at the most nobody did, at the least all.
            let low = self.all.reach * scale.divisor;
            reach.low = (low as u64).min(reach.low);
            reach.high =
                reach.high.max(((low / scale.days) as u64).min(expected.impressions as u64));
        }
        let people = self.frequency.iter().sum::<u64>().max(1) as f64;
        let of_people = |count: u64| (count as f64 / people * expected.reach).round() as u64;
        Forecast {
            spend: span(|day| day.spend),
            impressions: span(|day| day.impressions),
            reach,
            taps: span(|day| day.taps),
            conversations: span(|day| day.chats),
            frequency: self.frequency.map(of_people),
            over_delivery_ppm: over_delivery_ppm(plan.aim.billing, day.events(&expected)),
        }
    }
}

/// The budget that ends a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Micros a day of the account's currency.
    pub(super) budget: f64,
    /// What the dearest impressions cost that it buys, in the same.
    pub(super) dearest: f64,
}

/// One day of everyone.
struct Day<'a> {
    plan: &'a Plan,
    scale: Scale,
    end: Option<End>,
}

#[derive(Clone, Copy)]
struct Outcome {
    spend: f64,
    impressions: f64,
    reach: f64,
    taps: f64,
    chats: f64,
}

impl Day<'_> {
    /// Scales a sample, or a replicate of it. `luck` are standard normal numbers, 0 for what is expected:
    /// how far the rates of taps and of conversations are off what is known of them, how far what comes of
    /// them is off the rates, and how far forecasts of impressions and of reach are off in themselves.
    fn of(&self, sums: Sums, luck: [f64; LUCK]) -> Outcome {
        let Scale { divisor, days } = self.scale;
        let [tap_off, chat_off, tap_luck, chat_luck, model_off, reach_off] = luck;
        let odds = &self.plan.odds;
        let off = |known: f64, luck: f64| (luck / known.max(1.0).sqrt()).exp();
        let (tap_off, chat_off) = (off(odds.taps, tap_off), off(odds.chats, chat_off));
        let billed = match self.plan.aim.billing {
            BillingEvent::Conversations => tap_off * chat_off,
            BillingEvent::LinkClicks => tap_off,
            BillingEvent::Impressions | BillingEvent::Unspecified => 1.0,
        };
        let a_day = divisor / days;
        let mut spend = sums.spend / self.plan.settled * a_day * billed;
        let mut impressions = sums.impressions * a_day;
        // Of a part of a day: between all coming again and nobody.
        let mut reach = sums.reach * divisor / days.max(1.0) / days.min(1.0).sqrt();
        reach = reach.min(impressions);
        if let Some(End { budget, dearest }) = self.end.filter(|_| spend > 0.0) {
            // Pacing spends it in any case: where a day brings less, more is bought at the highest price. A
            // viewer who sees less of it is reached less often first.
            let price = (dearest * billed).max(spend / impressions);
            let bought = (impressions + (budget - spend) / price).max(0.0);
            let once = reach / impressions;
            reach = (reach * (bought / impressions).powf(once)).min(bought);
            (spend, impressions) = (budget, bought);
        }
        // What rivals answer, and what else a replay leaves out.
        let off = |luck: f64| (luck * self.plan.off * MIDDLE_TO_DEVIATION).exp();
        let model = off(model_off);
        if impressions > 0.0 {
            // Reach is off by as large a share, the less by the same the more often one person is shown it:
            // where it was only off with impressions, too few intervals of reach held in generated markets
            // (`tests/sim/forecast.rs`).
            let once = reach / impressions;
            let apart = (1.0 - once * once).max(0.0).sqrt();
            (impressions, reach) =
                (impressions * model, reach * off(once * model_off + apart * reach_off));
            reach = reach.min(impressions);
        }
        if self.end.is_none() {
            spend *= model;
        }
        let noisy = |count: f64, luck: f64| (count + luck * count.sqrt()).max(0.0);
        let [tap, chat] = odds.shares();
        let placed = if sums.impressions > 0.0 { sums.taps / sums.impressions } else { 1.0 };
        let taps = impressions * placed * tap * tap_off;
        let chats = taps * chat * chat_off;
        let (seen_taps, seen_chats) = (noisy(taps, tap_luck), noisy(chats, chat_luck));
        if self.end.is_none() {
            spend *= match self.plan.aim.billing {
                BillingEvent::Conversations if chats > 0.0 => seen_chats / chats,
                BillingEvent::LinkClicks if taps > 0.0 => seen_taps / taps,
                _ => 1.0,
            };
        }
        Outcome { spend, impressions, reach, taps: seen_taps, chats: seen_chats }
    }

    fn events(&self, outcome: &Outcome) -> f64 {
        match self.plan.aim.billing {
            BillingEvent::Conversations => outcome.chats,
            BillingEvent::LinkClicks => outcome.taps,
            BillingEvent::Impressions | BillingEvent::Unspecified => outcome.impressions,
        }
    }
}

/// Returns the standard normal numbers of a replicate, nearly: sums of uniform ones.
fn luck(number: u64) -> [f64; LUCK] {
    std::array::from_fn(|which| {
        let roll = mix(number << 8 | which as u64 | 1 << 40).to_le_bytes();
        let sum: f64 = roll.chunks(2).map(|it| f64::from(u16::from_le_bytes([it[0], it[1]]))).sum();
        // Four uniform numbers have the variance 4 / 12.
        (sum / 65_536.0 - 2.0) * 3.0_f64.sqrt()
    })
}

fn span(expected: f64, replicates: impl Iterator<Item = f64>) -> Span {
    let mut all: Vec<f64> = replicates.collect();
    all.sort_by(f64::total_cmp);
    let round = |figure: f64| figure.round().max(0.0) as u64;
    Span {
        low: round(expected.min(all[ENDS.0])),
        expected: round(expected),
        high: round(expected.max(all[ENDS.1])),
    }
}
