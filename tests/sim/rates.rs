//! Rates beside their oracle: every event ever, counted anew for each question.

use munadi::decide::rates::{Factors, Predictor, Rates};
use munadi::state::totals::{PLACEMENTS, Totals};
use munadi::types::ids::{IdKind, mint};

use crate::luck::Luck;

const CASES: u64 = 3_000;

#[derive(Clone, Copy, Eq, PartialEq)]
enum What {
    Impression,
    Viewable,
    Tap,
    Conversation,
    Conversion,
}

/// What happened to an ad, and where.
type Event = (u64, What, usize);

/// An ad's campaign and category.
type Home = (u64, u64);

struct Oracle {
    events: Vec<Event>,
    homes: Vec<Home>,
    /// Of taps and of viewable impressions, by placement: counted once for all questions of a case.
    factors: [[f64; PLACEMENTS]; 2],
}

impl Oracle {
    fn count(&self, what: What, of: impl Fn(u64, usize) -> bool) -> f64 {
        let here = |event: &&Event| event.1 == what && of(event.0, event.2);
        self.events.iter().filter(here).count() as f64
    }

    /// The factors of placements before they are cut to 16 bits, for taps or viewable impressions.
    fn factors(&self, what: What) -> [f64; PLACEMENTS] {
        let told = |slot: usize| (1..PLACEMENTS).contains(&slot);
        let shown = self.count(What::Impression, |_, slot| told(slot));
        let done = self.count(what, |_, slot| told(slot));
        if shown == 0.0 || done == 0.0 {
            return [1.0; PLACEMENTS];
        }
        let rate = |wanted: usize| {
            let shown_here = self.count(What::Impression, |_, slot| slot == wanted);
            let done_here = self.count(what, |_, slot| slot == wanted);
            (done_here + 100.0) / (shown_here + 100.0 / (done / shown))
        };
        let best = (1..PLACEMENTS).map(rate).fold(0.0, f64::max);
        std::array::from_fn(|slot| if slot == 0 { 1.0 } else { stepped(rate(slot) / best) })
    }

    /// Events and trials of one rate, of the ads that are meant.
    fn evidence(&self, rate: usize, of: impl Fn(u64) -> bool) -> (f64, f64) {
        let count = |what| self.count(what, |ad, _| of(ad));
        let exposed = |factors: [f64; PLACEMENTS]| {
            let here = |slot| self.count(What::Impression, |ad, at| of(ad) && at == slot);
            factors.iter().enumerate().map(|(slot, factor)| here(slot) * factor).sum()
        };
        match rate {
            0 => (count(What::Tap), exposed(self.factors[0])),
            1 => (count(What::Conversation), count(What::Tap)),
            2 => (count(What::Viewable), exposed(self.factors[1])),
            _ => (count(What::Conversion), count(What::Conversation)),
        }
    }

    fn share(&self, ad: u64, rate: usize) -> f64 {
        let prior = [0.01, 0.4, 0.7, 0.05][rate];
        let home = |ad: u64| self.homes[ad as usize];
        let category = |other: u64| home(other).1 == home(ad).1;
        let campaign = |other: u64| home(other) == home(ad);
        let levels = [
            ([10.0, 20.0, 70.0, 2.0], self.evidence(rate, |other| !category(other))),
            (
                [10.0, 20.0, 70.0, 2.0],
                self.evidence(rate, |other| category(other) && !campaign(other)),
            ),
            ([10.0, 20.0, 70.0, 2.0], self.evidence(rate, |other| campaign(other) && other != ad)),
        ];
        let mut share = prior;
        for (strength, (events, trials)) in levels {
            if events > 0.0 || trials > 0.0 {
                share = posterior(share, strength[rate], events, trials);
            }
        }
        // Nobody knows better than the prior: it is not rounded.
        let above = if share.to_bits() == prior.to_bits() { prior } else { stepped(share) };
        let (events, trials) = self.evidence(rate, |other| other == ad);
        posterior(above, [4.0, 8.0, 70.0, 2.0][rate], events, trials)
    }
}

fn posterior(above: f64, strength: f64, events: f64, trials: f64) -> f64 {
    ((strength + events) / (strength / above + trials)).min(1.0)
}

/// Rounds to a thirty-second of the power of two above, half up.
fn stepped(value: f64) -> f64 {
    let mut power = 1.0;
    while power <= value {
        power *= 2.0;
    }
    while power / 2.0 > value {
        power /= 2.0;
    }
    (value / power * 32.0 + 0.5).floor() / 32.0 * power
}

fn totals(oracle: &Oracle, ad: u64) -> Totals {
    let mut totals = Totals::NONE;
    for (_, what, slot) in oracle.events.iter().filter(|event| event.0 == ad) {
        totals.add(&one(*what, *slot));
    }
    totals
}

fn one(what: What, slot: usize) -> Totals {
    let mut totals = Totals::NONE;
    match what {
        What::Impression => totals.impressions[slot] = 1,
        What::Viewable => totals.viewable[slot] = 1,
        What::Tap => totals.taps[slot] = 1,
        What::Conversation => totals.conversations = 1,
        What::Conversion => totals.conversions = 1,
    }
    totals
}

fn ad_id(number: u64) -> u64 {
    mint(IdKind::Ad, number)
}

fn place(predictor: &mut Predictor, oracle: &Oracle, ad: u64) {
    let (campaign, category) = oracle.homes[ad as usize];
    predictor.place(ad_id(ad), campaign, category, &totals(oracle, ad));
}

fn all_rates(predictor: &Predictor, oracle: &Oracle) -> Vec<Rates> {
    let rates = |ad| predictor.rates(ad_id(ad), &totals(oracle, ad));
    (1..oracle.homes.len() as u64).map(rates).collect()
}

#[test]
fn rates_are_those_of_counting_every_event_anew() {
    for case in 0..CASES {
        let mut luck = Luck::new(case);
        let ads = 1 + luck.below(5);
        let home = |luck: &mut Luck| (1 + luck.below(3), luck.below(3));
        let homes = (0..=ads).map(|_| home(&mut luck)).collect();
        let factors = [[1.0; PLACEMENTS]; 2];
        let mut oracle = Oracle { events: Vec::new(), homes, factors };
        let mut predictor = Predictor::default();
        (1..=ads).for_each(|ad| place(&mut predictor, &oracle, ad));
        let common = luck.pick(&[2, 20, 60]).to_owned();
        for _ in 0..luck.below(120) {
            let ad = 1 + luck.below(ads);
            if luck.chance(20) {
                oracle.homes[ad as usize] = home(&mut luck);
                place(&mut predictor, &oracle, ad);
                continue;
            }
            let what = match luck.below(100) {
                roll if roll < common => What::Tap,
                roll if roll < 65 => What::Impression,
                roll if roll < 80 => What::Viewable,
                roll if roll < 92 => What::Conversation,
                _ => What::Conversion,
            };
            let slot = luck.below(PLACEMENTS as u64) as usize;
            predictor.learn(ad_id(ad), &one(what, slot));
            oracle.events.push((ad, what, slot));
        }
        oracle.factors = [oracle.factors(What::Tap), oracle.factors(What::Viewable)];
        check(&predictor, &oracle, case);
    }
}

fn check(predictor: &Predictor, oracle: &Oracle, case: u64) {
    // Both cut a number with a fraction: the last bit of a sum may put it on either side.
    let near = |part: u16, share: f64| (f64::from(part) - share * 65_535.0).abs() <= 1.001;
    for (slot, Factors { tap, viewable }) in predictor.factors().iter().enumerate() {
        assert!(near(*tap, oracle.factors[0][slot]), "case {case}, placement {slot}");
        let factor = oracle.factors[1][slot];
        assert!(near(*viewable, factor), "case {case}, placement {slot}");
    }
    let rates = all_rates(predictor, oracle);
    for (ad, rates) in (1..).zip(&rates) {
        let Rates { tap, chat, viewable, sale } = *rates;
        for (at, part) in [tap, chat, viewable, sale].into_iter().enumerate() {
            let share = oracle.share(ad, at);
            // A factor is cut to 16 bits before an impression is weighed with it.
            let room = 1.001 + share * 65_535.0 * 1e-4;
            let off = (f64::from(part) - share * 65_535.0).abs();
            assert!(
                off <= room,
                "case {case}, ad {ad}, rate {at}: {part}, not {}",
                share * 65_535.0
            );
        }
    }
    // Whoever counts it all at once, in another order, says the same to the last bit.
    let mut anew = Predictor::default();
    (1..oracle.homes.len() as u64).rev().for_each(|ad| place(&mut anew, oracle, ad));
    assert_eq!(all_rates(&anew, oracle), rates, "case {case}");
    assert_eq!(anew.factors(), predictor.factors(), "case {case}");
}
