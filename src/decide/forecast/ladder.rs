//! What a tray asks of one more ad: how much it must be worth for a place, and what it pays there.
//!
//! The same auction as that of [`crate::decide::auction`], solved for an ad that was not there: against
//! the ads that stood in the tray its price does not depend on its own bid, so one look at a request
//! serves all bids and budgets. A test holds both against each other.

use crate::decide::forecast::log::Rival;
use crate::types::request::{ATTENTION_ONE, Policy};
use crate::types::time::SECOND_MS;

/// Most places of one tray that are looked at: an ad that can only stand behind them is not forecast.
pub const RUNGS_MAX: usize = 8;

/// What trays of one kind ask of any ad.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Parts of full attention by place, never rising, in 1/65,536.
    weights: Vec<u32>,
    floor: f32,
    interruption: f32,
    /// The same advertiser not again for this long, seconds.
    pub(super) advertiser_s: u32,
    /// The same category not again for this long, seconds.
    pub(super) category_s: u32,
}

impl Shape {
    /// Returns the shape of a tray with these places, ascending; `None`: it has none.
    pub fn of(policy: &Policy, positions: impl Iterator<Item = u16>) -> Option<Self> {
        let (mut at, mut weight) = (0, ATTENTION_ONE);
        let weights: Vec<u32> = positions
            .take(RUNGS_MAX)
            .map(|position| {
                if policy.attention_keep < ATTENTION_ONE {
                    while at < position {
                        weight = policy.next_attention(weight);
                        at += 1;
                    }
                }
                weight
            })
            .collect();
        let seconds = |ms: i64| u32::try_from(ms / SECOND_MS).unwrap_or_default();
        (!weights.is_empty()).then(|| Self {
            weights,
            floor: policy.floor_cpm_micros.max(0) as f32,
            interruption: policy.interruption_cpm_micros.max(0) as f32,
            advertiser_s: seconds(policy.advertiser_distance_ms),
            category_s: seconds(policy.category_distance_ms),
        })
    }

    fn is_flat(&self) -> bool {
        self.weights.last() == self.weights.first() && self.weights[0] == ATTENTION_ONE
    }

    /// Returns what an ad of this total adds to the tray at a place, scaled by `ATTENTION_ONE`.
    fn gain(&self, place: usize, total: f64) -> f64 {
        let cost = f64::from(self.interruption) * f64::from(ATTENTION_ONE);
        (f64::from(self.weights[place]) * total - cost).max(0.0)
    }
}

/// Whoever is worth more than `bar` stands there (at just the bar a lot decides), and pays `pay`: both in
/// micros for 1,000 impressions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rung {
    /// The total to be worth more than.
    pub bar: f32,
    /// What it pays for 1,000 seen impressions.
    pub pay: f32,
}

/// Who enters: what separates it from others (folded; 0: nothing does), and the ad set whose own ads don't
/// count (0: none).
#[derive(Clone, Copy, Debug, Default)]
pub struct Entrant {
    /// What separates it.
    pub group: u32,
    /// The ad set that it is, or 0 for a draft.
    pub own: u32,
}

/// Writes what a tray asks of an entrant, ascending: with flat attention there is one rung.
pub fn ladder(shape: &Shape, rivals: &[Rival], entrant: Entrant, rungs: &mut Vec<Rung>) {
    rungs.clear();
    let own = |rival: &&Rival| entrant.own != 0 && rival.ad_set == entrant.own;
    if let Some(own) = rivals.iter().find(own) {
        // It stood there at what it paid, so at just that it stands.
        return rungs.push(Rung { bar: below(own.pay), pay: own.pay });
    }
    let mate = rivals.iter().find(|rival| entrant.group != 0 && rival.group == entrant.group);
    if shape.is_flat() {
        let full = || rivals.len() >= shape.weights.len();
        let least = || rivals.iter().map(|rival| rival.total).fold(f32::INFINITY, f32::min);
        let bar = match mate {
            Some(mate) => mate.total,
            None if full() => least(),
            None => shape.interruption,
        };
        return rungs.push(floored(shape, bar, bar));
    }
    let mut totals = [0.0; RUNGS_MAX + 1];
    let mut count = 0;
    for rival in rivals.iter().filter(|rival| mate.is_none_or(|mate| !std::ptr::eq(*rival, mate))) {
        if count < RUNGS_MAX {
            totals[count] = f64::from(rival.total);
            count += 1;
        }
    }
    let mate = mate.map_or(0.0, |mate| f64::from(mate.total));
    steep(shape, &totals[..count], mate, rungs);
}

/// The general case: places that get less and less attention. `totals` are descending.
fn steep(shape: &Shape, totals: &[f64], mate: f64, rungs: &mut Vec<Rung>) {
    let total = |at: usize| totals.get(at).copied().unwrap_or_default();
    let cost = f64::from(shape.interruption) * f64::from(ATTENTION_ONE);
    let last = totals.len().min(shape.weights.len() - 1);
    for rank in (0..=last).rev() {
        let weight = f64::from(shape.weights[rank]).max(1.0);
        let bar = total(rank).max(cost / weight).max(mate);
        if rank > 0 && bar.max(f64::from(shape.floor)) >= total(rank - 1) {
            continue;
        }
        // What those behind are worth less because it stands there, as in `auction::payments`.
        let fallback = mate.max(f64::from(shape.floor));
        let mut pay = cost + shape.gain(rank, total(rank).max(fallback));
        for at in rank + 1..shape.weights.len() {
            if total(at - 1) <= fallback || at > totals.len() {
                break;
            }
            pay -= shape.gain(at, total(at - 1)) - shape.gain(at, total(at).max(fallback));
        }
        rungs.push(floored(shape, bar as f32, (pay / weight) as f32));
    }
}

/// Raises a rung to the floor, at which an ad stands.
fn floored(shape: &Shape, bar: f32, pay: f32) -> Rung {
    Rung { bar: bar.max(below(shape.floor)), pay: pay.max(shape.floor) }
}

fn below(floor: f32) -> f32 {
    if floor > 0.0 { floor.next_down() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::auction::{Candidate, Scratch, Terms, clear};

    /// Small numbers that depend on a seed.
    struct Luck(u64);

    impl Luck {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = crate::types::hash::mix(self.0.wrapping_add(0x9E37_79B9_7F4A_7C15));
            self.0 % end
        }
    }

    /// One random tray: its policy, places, and the candidates of its auction.
    fn tray(luck: &mut Luck) -> (Policy, Vec<u16>, Vec<Candidate>) {
        let flat = luck.below(2) == 0;
        let policy = Policy {
            most_per_tray: 1 + luck.below(4) as u8,
            attention_keep: if flat { ATTENTION_ONE } else { 40_000 + luck.below(25_000) as u32 },
            interruption_cpm_micros: [0, 30_000][luck.below(2) as usize],
            floor_cpm_micros: [0, 50_000][luck.below(2) as usize],
            ..Policy::USUAL
        };
        let places: Vec<u16> = (0..u16::from(policy.most_per_tray)).map(|n| 2 + 4 * n).collect();
        let candidates = (1..=luck.below(7)).map(|ad| {
            let group = if luck.below(3) == 0 { 100 + luck.below(2) } else { ad };
            let value = 1_000 * (1 + luck.below(200) as i64);
            Candidate { ad, business: ad, group, value, quality: 0, lot: ad }
        });
        let candidates = candidates.collect();
        (policy, places, candidates)
    }

    /// Runs the auction; returns (index, price) of each win.
    fn run(policy: &Policy, places: &[u16], candidates: &[Candidate]) -> Vec<(usize, i64)> {
        let keep =
            |position: &u16| (0..*position).fold(ATTENTION_ONE, |w, _| policy.next_attention(w));
        let attention: Vec<u32> = places.iter().map(keep).collect();
        let terms = Terms {
            places,
            attention: &attention,
            min_gap: policy.min_gap,
            most: policy.most_per_tray.into(),
            interruption: policy.interruption_cpm_micros,
            floor: policy.floor_cpm_micros,
        };
        let mut wins = Vec::new();
        clear(candidates, &terms, &mut Scratch::default(), &mut wins);
        wins.iter().map(|win| (win.candidate, win.pay_cpm)).collect()
    }

    #[test]
    fn an_entrant_wins_and_pays_as_in_the_auction() {
        let (mut luck, mut rungs) = (Luck(7), Vec::new());
        let (mut won, mut lost, mut steep) = (0, 0, 0);
        for case in 0..20_000 {
            let (policy, places, mut candidates) = tray(&mut luck);
            let stood: Vec<Candidate> =
                run(&policy, &places, &candidates).iter().map(|(at, _)| candidates[*at]).collect();
            let group = if luck.below(3) == 0 { 100 } else { 77 };
            // Half a step off, so that no lot decides.
            let value = 500 + 1_000 * luck.below(220) as i64;
            candidates.push(Candidate { ad: 50, business: 50, group, value, quality: 0, lot: 50 });
            let own = candidates.len() - 1;
            let wins = run(&policy, &places, &candidates);
            let expected = wins.iter().find(|(at, _)| *at == own).map(|(_, pay)| *pay);
            let rivals = stood.iter().map(|it| Rival {
                total: it.value as f32,
                pay: 0.0,
                group: fold(it.group),
                ad_set: 1,
            });
            let rivals: Vec<Rival> = rivals.collect();
            let shape = Shape::of(&policy, places.iter().copied()).unwrap();
            let entrant = Entrant { group: fold(group), own: 0 };
            ladder(&shape, &rivals, entrant, &mut rungs);
            assert!(rungs.is_sorted_by(|one, next| one.bar <= next.bar), "case {case}: {rungs:?}");
            let said = rungs.iter().rev().find(|rung| value as f32 > rung.bar);
            let context = format!("case {case}: {value} in {policy:?}: {rivals:?}: {rungs:?}");
            match (expected, said) {
                (Some(pay), Some(rung)) => {
                    let off = (pay as f32 - rung.pay).abs();
                    assert!(off <= 1.0 + pay as f32 * 1e-5, "{context}: pays {pay}");
                    won += 1;
                    steep += usize::from(rungs.len() > 1);
                }
                (None, None) => lost += 1,
                _ => panic!("{context}: {expected:?}"),
            }
        }
        assert!(won > 5_000 && lost > 2_000 && steep > 1_000, "{won} {lost} {steep}");
    }

    fn fold(group: u64) -> u32 {
        crate::decide::forecast::log::fold_group(group)
    }

    #[test]
    fn an_ad_that_stood_there_stands_for_what_it_paid() {
        let shape = Shape::of(&Policy::USUAL, [2].into_iter()).unwrap();
        let own = Rival { total: 90.0, pay: 40.0, group: 5, ad_set: 8 };
        let mut rungs = Vec::new();
        ladder(&shape, &[own], Entrant { group: 5, own: 8 }, &mut rungs);
        assert_eq!(rungs, [Rung { bar: 40.0_f32.next_down(), pay: 40.0 }]);
        ladder(&shape, &[own], Entrant { group: 5, own: 0 }, &mut rungs);
        assert_eq!(rungs, [Rung { bar: 90.0, pay: 90.0 }]);
        assert_eq!(Shape::of(&Policy::USUAL, [].into_iter()), None);
    }
}
