//! What one tray's auction costs: a pod of 4 from 200 ads with prices, and the longest tray; and what the
//! same seeded instances do under GSP, where lies pay. Without `--bench` the input is tiny.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;
use std::hint::black_box;

use cpu_time::ThreadTime;
use munadi::decide::auction::{Candidate, Scratch, Terms, Win, clear};
use munadi::types::request::ATTENTION_ONE;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Auctions that are timed as one sample: the clock's own cost is spread over them.
const BATCH: usize = 10;

/// Factors of its bids that a bidder tries, percent.
const LIES: [i64; 14] = [0, 20, 35, 50, 60, 70, 80, 85, 90, 95, 105, 120, 150, 200];

/// A tray and its ads, prices in micros.
struct Market {
    candidates: Vec<Candidate>,
    places: Vec<u16>,
    attention: Vec<u32>,
    most: usize,
    interruption: i64,
    floor: i64,
}

impl Market {
    /// Draws `ads` ads of half as many businesses, a third of which are in one of 20 categories.
    fn new(random: &mut Xoshiro256PlusPlus, ads: u64, posts: u16, most: usize) -> Self {
        let candidate = |ad, random: &mut Xoshiro256PlusPlus| {
            let business = random.random_range(0..ads.div_ceil(2));
            // Log-normal, near enough: a median of 0.8 in the account's currency.
            let bell: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            let value = (800_000.0 * (0.8 * bell).exp()) as i64;
            let quality = -(value / 100 * random.random_range(0..30));
            let group = if business % 3 == 0 { 1_000_000 + business % 20 } else { business };
            Candidate { ad, business, group, value, quality, lot: random.random() }
        };
        let candidates = (0..ads).map(|ad| candidate(ad, random)).collect();
        // Authors' boundaries: about two posts each.
        let places: Vec<u16> = (1..posts).filter(|_| random.random_bool(0.6)).collect();
        let weight = |&place: &u16| (f64::from(ATTENTION_ONE) * 0.97_f64.powi(place.into())) as u32;
        let attention = places.iter().map(weight).collect();
        Self { candidates, places, attention, most, interruption: 300_000, floor: 200_000 }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            places: &self.places,
            attention: &self.attention,
            min_gap: 4,
            most: self.most,
            interruption: self.interruption,
            floor: self.floor,
        }
    }
}

/// How a tray is priced: by `clear`, or by the same slots at generalised second prices.
#[derive(Clone, Copy)]
enum Rule {
    Vcg,
    Gsp,
}

/// Fills a tray and prices it; `clear` finds who stands where under both rules.
fn run(rule: Rule, market: &Market, scratch: &mut Scratch, wins: &mut Vec<Win>) {
    clear(&market.candidates, &market.terms(), scratch, wins);
    if let Rule::Gsp = rule {
        let prices: Vec<_> = (0..wins.len()).map(|rank| second_price(market, wins, rank)).collect();
        wins.iter_mut().zip(prices).for_each(|(win, price)| win.pay_cpm = price);
    }
}

/// Returns the least bid that keeps the slot: above the next total, the floor and the interruption.
fn second_price(market: &Market, wins: &[Win], rank: usize) -> i64 {
    let winner = market.candidates[wins[rank].candidate];
    let above =
        |group| wins[..rank].iter().any(|win| market.candidates[win.candidate].group == group);
    let rival = |ad: &&Candidate| ad.business != winner.business && !above(ad.group);
    let total = |ad: &Candidate| ad.value + ad.quality;
    let next = market.candidates.iter().filter(rival).map(total).max().unwrap_or(0);
    let weight = i64::from(market.attention[wins[rank].place].max(1));
    let alone = market.interruption * i64::from(ATTENTION_ONE) / weight;
    (next.max(alone).max(market.floor) - winner.quality).min(winner.value)
}

/// Returns what a business gains and what all its ads shown are worth, micros at the attention they get.
fn utility(truth: &Market, business: u64, wins: &[Win]) -> (f64, f64) {
    let own = |win: &&Win| truth.candidates[win.candidate].business == business;
    wins.iter().find(own).map_or((0.0, 0.0), |win| {
        let weight = f64::from(truth.attention[win.place]) / f64::from(ATTENTION_ONE);
        let value = truth.candidates[win.candidate].value;
        (weight * (value - win.pay_cpm) as f64, weight * value as f64)
    })
}

/// What lies do under one rule.
#[derive(Default)]
struct Lies {
    bidders: usize,
    gainers: usize,
    gain_share: f64,
    revenue: f64,
}

/// Tries all lies of all bidders of some markets. A gain below a thousandth of the value is rounding.
fn try_lies(rule: Rule, markets: &mut [Market]) -> Lies {
    let (mut scratch, mut wins, mut lies) = (Scratch::default(), Vec::new(), Lies::default());
    for market in markets {
        run(rule, market, &mut scratch, &mut wins);
        let honest = wins.clone();
        let paid = |win: &Win| win.pay_cpm as f64 * f64::from(market.attention[win.place]);
        lies.revenue += honest.iter().map(paid).sum::<f64>() / f64::from(ATTENTION_ONE) / 1e6;
        let truth: Vec<_> = market.candidates.clone();
        let mut businesses: Vec<_> = truth.iter().map(|ad| ad.business).collect();
        businesses.sort_unstable();
        businesses.dedup();
        for business in businesses {
            let before = utility(market, business, &honest);
            let (mut best, mut worth) = (before.0, before.1);
            for factor in LIES {
                let own = |ad: &&mut Candidate| ad.business == business;
                let bids = market.candidates.iter_mut().filter(own);
                bids.for_each(|ad| ad.value = ad.value * factor / 100);
                run(rule, market, &mut scratch, &mut wins);
                market.candidates.clone_from(&truth);
                let after = utility(market, business, &wins);
                (best, worth) = (best.max(after.0), worth.max(after.1));
            }
            lies.bidders += 1;
            if best - before.0 > worth / 1_000.0 {
                lies.gainers += 1;
                lies.gain_share += (best - before.0) / worth;
            }
        }
    }
    lies
}

/// Returns the median and the 99th percentile of the thread's CPU time of one auction, microseconds.
fn time(markets: &[Market], samples: usize) -> (f64, f64) {
    let (mut scratch, mut wins) = (Scratch::default(), Vec::new());
    let mut sample = |number: usize| {
        let begun = ThreadTime::now();
        for at in 0..BATCH {
            let market = &markets[(number * BATCH + at) % markets.len()];
            clear(black_box(&market.candidates), &market.terms(), &mut scratch, &mut wins);
            black_box(&wins);
        }
        begun.elapsed().as_secs_f64() * 1e6 / BATCH as f64
    };
    let mut times: Vec<_> = (0..samples).map(&mut sample).collect();
    times.sort_by(f64::total_cmp);
    (times[samples / 2], times[samples * 99 / 100])
}

fn main() -> Result<(), Box<dyn Error>> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (samples, instances) = if full { (20_000, 250) } else { (20, 3) };
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let pods: Vec<_> = (0..100).map(|_| Market::new(&mut random, 200, 30, 4)).collect();
    let long: Vec<_> = (0..100).map(|_| Market::new(&mut random, 200, 250, 16)).collect();
    let (pod, longest) = (time(&pods, samples), time(&long, samples));
    println!("pod of 4 from 200 ads: p50 {:.2} us, p99 {:.2} us", pod.0, pod.1);
    println!("16 of 250 places from 200 ads: p50 {:.2} us, p99 {:.2} us", longest.0, longest.1);
    let mut markets: Vec<_> = (0..instances).map(|_| Market::new(&mut random, 24, 30, 4)).collect();
    let told = [("vcg", Rule::Vcg), ("gsp", Rule::Gsp)].map(|(name, rule)| {
        let lies = try_lies(rule, &mut markets);
        let share = lies.gainers as f64 / lies.bidders as f64;
        let gain = 100.0 * lies.gain_share / lies.gainers.max(1) as f64;
        let revenue = lies.revenue / instances as f64;
        println!(
            "{name}: {} of {} bidders gain by lying, by {gain:.1} % of the value; {revenue:.3} a tray",
            lies.gainers, lies.bidders,
        );
        (share, gain, revenue)
    });
    let [vcg, gsp] = told;
    let line = serde_json::json!({
        "bench": "auction",
        "ads": 200,
        "slots": 4,
        "p50_us": pod.0,
        "p99_us": pod.1,
        "long_p50_us": longest.0,
        "long_p99_us": longest.1,
        "vcg": { "share_who_gain": vcg.0, "mean_best_gain_percent": vcg.1, "revenue": vcg.2 },
        "gsp": { "share_who_gain": gsp.0, "mean_best_gain_percent": gsp.1, "revenue": gsp.2 },
    });
    println!("{line}");
    Ok(())
}
