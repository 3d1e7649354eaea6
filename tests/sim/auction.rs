//! The tray's auction beside a slow twin that tries every placement, and against advertisers who lie.
//! `SIM_SEED=7 cargo sim auction::` replays one market.

use std::collections::BTreeMap;
use std::ops::Range;

use munadi::decide::auction::{Candidate, Scratch, Terms, Win, clear};
use munadi::types::request::ATTENTION_ONE;

use crate::luck::Luck;

/// Welfare is in micros for 1,000 impressions, times this.
const ONE: i128 = ATTENTION_ONE as i128;

/// What a feed allows and who wants to stand in it.
#[derive(Clone, Debug)]
struct Market {
    candidates: Vec<Candidate>,
    places: Vec<u16>,
    attention: Vec<u32>,
    min_gap: u16,
    most: usize,
    interruption: i64,
    floor: i64,
}

impl Market {
    /// Draws a market with at most so many ads and places.
    fn new(luck: &mut Luck, ads: u64, places: u64) -> Self {
        let scale = *luck.pick(&[6, 40, 1_000, 5_000_000]);
        let businesses = 1 + luck.below(ads);
        let categories = 1 + luck.below(4);
        // Of each business: all its ads have one group.
        let groups: Vec<u64> = (0..businesses)
            .map(
                |business| {
                    if luck.chance(400) { 1_000 + luck.below(categories) } else { business }
                },
            )
            .collect();
        let quality = luck.below(4);
        let candidates = (0..1 + luck.below(ads))
            .map(|ad| {
                let business = luck.below(businesses);
                let (value, lot) = (luck.between(0, scale + 1), luck.below(3));
                let quality = match quality {
                    0 => 0,
                    1 | 2 => -luck.between(0, scale / 2 + 1),
                    _ => luck.between(-scale / 3, scale / 4 + 1),
                };
                let group = groups[business as usize];
                Candidate { ad, business, group, value, quality, lot }
            })
            .collect();
        let mut market = Self {
            candidates,
            places: Vec::new(),
            attention: Vec::new(),
            min_gap: luck.below(5) as u16,
            most: luck.below(5) as usize,
            interruption: if luck.chance(500) { 0 } else { luck.between(0, scale / 3 + 1) },
            floor: if luck.chance(400) { 0 } else { luck.between(0, scale * 2 / 3 + 1) },
        };
        market.draw_places(luck, places);
        market
    }

    fn draw_places(&mut self, luck: &mut Luck, places: u64) {
        let keep = *luck.pick(&[1_000, 900, 500]);
        let (mut position, mut weight) = (0, ATTENTION_ONE);
        for _ in 0..luck.below(places + 1) {
            position += 1 + luck.below(3) as u16;
            self.places.push(position);
            self.attention.push(weight);
            if luck.chance(700) {
                weight = (u64::from(weight) * keep / 1_000) as u32;
            }
            if luck.chance(10) {
                weight = 0;
            }
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            places: &self.places,
            attention: &self.attention,
            min_gap: self.min_gap,
            most: self.most,
            interruption: self.interruption,
            floor: self.floor,
        }
    }

    fn clear(&self, scratch: &mut Scratch) -> Vec<Win> {
        let mut wins = Vec::new();
        clear(&self.candidates, &self.terms(), scratch, &mut wins);
        wins
    }

    /// Returns what the total of each ad of a business has to reach.
    fn bar(&self, business: u64) -> i64 {
        let own = self.candidates.iter().filter(|ad| ad.business == business);
        self.floor + own.map(|ad| ad.quality).max().unwrap_or(0).max(0)
    }

    /// Returns all that take part: (group, total, business).
    fn standing(&self) -> Vec<(u64, i64, u64)> {
        let takes_part =
            |ad: &&Candidate| ad.value >= 1 && ad.value + ad.quality >= self.bar(ad.business);
        let standing = self.candidates.iter().filter(takes_part);
        standing.map(|ad| (ad.group, ad.value + ad.quality, ad.business)).collect()
    }

    /// Returns the greatest welfare of any placement of any of these.
    fn most_welfare(&self, standing: &[(u64, i64, u64)]) -> i128 {
        let mut best = BTreeMap::new();
        for &(group, total, _) in standing {
            let known = best.entry(group).or_insert(total);
            *known = total.max(*known);
        }
        let totals: Vec<_> = best.into_values().collect();
        self.best_from(0, None, &totals, 0, 0)
    }

    /// Tries every ad at every place, and leaving the place free. `used` has a bit for each ad.
    fn best_from(
        &self,
        place: usize,
        last: Option<u16>,
        totals: &[i64],
        used: u32,
        count: usize,
    ) -> i128 {
        if place == self.places.len() || count == self.most {
            return 0;
        }
        let mut best = self.best_from(place + 1, last, totals, used, count);
        let here = self.places[place];
        if last.is_some_and(|last| here - last < self.min_gap) {
            return best;
        }
        for (index, &total) in totals.iter().enumerate().filter(|(index, _)| used >> index & 1 == 0)
        {
            let rest = self.best_from(place + 1, Some(here), totals, used | 1 << index, count + 1);
            best = best.max(self.gain(place, total) + rest);
        }
        best
    }

    fn gain(&self, place: usize, total: i64) -> i128 {
        i128::from(self.attention[place]) * i128::from(total) - i128::from(self.interruption) * ONE
    }

    /// Finds the greatest welfare by the dynamic programme of the general case.
    fn by_programme(&self) -> i128 {
        let mut best = BTreeMap::new();
        for (group, total, _) in self.standing() {
            let known = best.entry(group).or_insert(total);
            *known = total.max(*known);
        }
        let mut totals: Vec<_> = best.into_values().collect();
        totals.sort_unstable_by(|one, other| other.cmp(one));
        let most = self.most.min(totals.len());
        // From each place on, when so many ads already stand.
        let mut table = vec![vec![0_i128; most + 1]; self.places.len() + 1];
        for place in (0..self.places.len()).rev() {
            let apart = |&&later: &&u16| later - self.places[place] < self.min_gap.max(1);
            let next = place + self.places[place..].iter().take_while(apart).count();
            for placed in 0..most {
                let take = self.gain(place, totals[placed]) + table[next][placed + 1];
                table[place][placed] = table[place + 1][placed].max(take);
            }
        }
        table[0][0]
    }

    /// Returns what a winner pays by the book, in micros for 1,000 x `ONE`:
    /// VCG at its value, less VCG at its reserve, and the reserve for what it would get there.
    fn pay_by_the_book(&self, win: &Win) -> i128 {
        let winner = self.candidates[win.candidate];
        let standing = self.standing();
        let mut others = standing.clone();
        others.retain(|&(_, _, business)| business != winner.business);
        let without = self.most_welfare(&others);
        let all = self.most_welfare(&standing);
        let weight = i128::from(self.attention[win.place]);
        let vcg = without - (all - weight * i128::from(winner.value));
        let bar = self.bar(winner.business);
        others.push((winner.group, bar, winner.business));
        // VCG at the reserve is `without - (at_bar - x r)`: less it, and `x r` more, leaves this.
        vcg + (self.most_welfare(&others) - without)
    }

    /// Returns what the true market's business gains when this one is cleared, in micros x `ONE`.
    fn utility(&self, truth: &Self, business: u64, wins: &[Win]) -> (i128, u32) {
        let own = |win: &&Win| self.candidates[win.candidate].business == business;
        wins.iter().find(own).map_or((0, 0), |win| {
            let worth = truth.candidates[win.candidate].value - win.pay_cpm;
            let weight = self.attention[win.place];
            (i128::from(weight) * i128::from(worth), weight)
        })
    }
}

/// Runs the seed that was asked for, or all of the push; a failure tells how to replay it.
fn for_each_seed(seeds: Range<u64>, mut check: impl FnMut(u64) -> Result<(), String>) {
    let seeds = crate::number("SIM_SEED").map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(what) = check(seed) {
            panic!(
                "seed {seed}: {what}\nreplay: SIM_SEED={seed} cargo sim auction:: -- --nocapture"
            );
        }
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Checks one tray against the twin.
fn check_tray(market: &Market, wins: &[Win]) -> Result<(), String> {
    let told = || format!("{market:?}\n{wins:?}");
    let ads = || wins.iter().map(|win| &market.candidates[win.candidate]);
    let unique = |mut names: Vec<u64>| {
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] < pair[1])
    };
    let apart = |pair: &[Win]| {
        let [from, to] = [pair[0], pair[1]].map(|win| market.places[win.place]);
        from < to && to - from >= market.min_gap
    };
    ensure(wins.len() <= market.most && wins.windows(2).all(apart), || {
        format!("too many or too near: {}", told())
    })?;
    ensure(unique(ads().map(|ad| ad.group).collect()), || format!("a group twice: {}", told()))?;
    ensure(unique(ads().map(|ad| ad.business).collect()), || {
        format!("a business twice: {}", told())
    })?;
    let gains =
        wins.iter().zip(ads()).map(|(win, ad)| market.gain(win.place, ad.value + ad.quality));
    ensure(gains.clone().all(|gain| gain > 0), || format!("an ad for nothing: {}", told()))?;
    let (welfare, best) = (gains.sum::<i128>(), market.most_welfare(&market.standing()));
    ensure(welfare == best, || format!("welfare {welfare}, the best is {best}: {}", told()))?;
    ensure(best == market.by_programme(), || format!("not the programme's: {}", told()))?;
    for (win, ad) in wins.iter().zip(ads()) {
        let pay = market.pay_by_the_book(win);
        let weight = i128::from(market.attention[win.place]);
        ensure((0..=weight * i128::from(ad.value)).contains(&pay), || {
            format!("{pay}: {}", told())
        })?;
        let (pay, floor) = (pay / weight, i128::from(market.floor));
        ensure(i128::from(win.pay_cpm) == pay, || {
            format!("by the book {pay}: {win:?} {}", told())
        })?;
        ensure(pay >= floor, || format!("{pay} is below the floor: {}", told()))?;
    }
    Ok(())
}

#[test]
fn a_tray_is_placed_and_priced_as_its_slow_twin_does() {
    let (mut wins_of, mut scratch) = ([0; 5], Scratch::default());
    for_each_seed(0..2_000, |seed| {
        let market = Market::new(&mut Luck::new(seed), 7, 6);
        let wins = market.clear(&mut scratch);
        wins_of[wins.len()] += 1;
        check_tray(&market, &wins)
    });
    println!("trays by number of ads: {wins_of:?}");
    let all = crate::number("SIM_SEED").is_some() || wins_of[..4].iter().all(|&count| count > 30);
    assert!(all, "{wins_of:?}");
}

#[test]
fn equal_weights_take_the_earliest_positions() {
    for_each_seed(0..500, |seed| {
        let mut market = Market::new(&mut Luck::new(seed), 12, 12);
        market.attention.fill(ATTENTION_ONE);
        let wins = market.clear(&mut Scratch::default());
        let mut free = 0;
        for win in &wins {
            let first = market.places.iter().position(|&place| place >= free);
            ensure(first == Some(win.place), || format!("{market:?}\n{wins:?}"))?;
            free = market.places[win.place] + market.min_gap.max(1);
        }
        Ok(())
    });
}

/// Draws the bids of a lie: of one ad of a business, or of several at once.
fn lie(luck: &mut Luck, truth: &Market, business: u64) -> Market {
    let mut told = truth.clone();
    let all_at_once = luck.chance(300);
    let factor = luck.below(300) as i64;
    let rival = *luck.pick(&truth.candidates);
    let own = told.candidates.iter_mut().filter(|ad| ad.business == business);
    for (index, ad) in own.enumerate() {
        if index > 0 && luck.chance(400) {
            continue;
        }
        let near = luck.between(-1, 2) - ad.quality;
        ad.value = match luck.below(6) {
            _ if all_at_once => ad.value * factor / 100,
            0 => 0,
            // Just beside a rival, or beside the floor.
            1 => (rival.value + rival.quality + near).max(0),
            2 => (truth.floor + near).max(0),
            _ => ad.value * luck.below(300) as i64 / 100,
        };
    }
    told
}

/// Lies, one after another: 16 a seed. Prices are rounded down to a micro for 1,000 seen impressions, so
/// a lie may gain less than one micro at the attention it gets; what gains more is reported.
#[test]
fn no_lie_about_a_bid_pays() {
    let (mut tries, mut moved, mut raised) = (0, 0, 0);
    let mut scratch = Scratch::default();
    for_each_seed(0..2_500, |seed| {
        let mut luck = Luck::new(seed);
        let truth = Market::new(&mut luck, 14, 12);
        let honest = truth.clear(&mut scratch);
        for _ in 0..16 {
            let business = luck.pick(&truth.candidates).business;
            let told = lie(&mut luck, &truth, business);
            let wins = told.clear(&mut scratch);
            let before = truth.utility(&truth, business, &honest);
            let after = told.utility(&truth, business, &wins);
            for win in &wins {
                let value = told.candidates[win.candidate].value;
                ensure((truth.floor..=value).contains(&win.pay_cpm), || {
                    format!("{win:?} {told:?}")
                })?;
            }
            ensure(before.0 >= 0, || format!("honesty costs {}: {truth:?}", before.0))?;
            tries += 1;
            moved += u64::from(before != after);
            raised += u64::from(after.1 > before.1);
            ensure(after.0 <= before.0 || after.0 - before.0 < i128::from(after.1), || {
                let gain = (after.0 - before.0) / ONE;
                format!(
                    "business {business} gains {gain}\ntruth {truth:?}\n{honest:?}\nlie {told:?}\n{wins:?}"
                )
            })?;
        }
        Ok(())
    });
    println!("{tries} lies, {moved} of them with another outcome, {raised} with a better slot");
    let enough = tries >= 25_000 && moved * 5 > tries && raised * 50 > tries;
    assert!(enough || crate::number("SIM_SEED").is_some(), "{tries} {moved} {raised}");
}

#[test]
fn a_higher_bid_never_gets_a_lower_slot() {
    let (mut scratch, mut better) = (Scratch::default(), 0);
    for_each_seed(0..10_000, |seed| {
        let mut luck = Luck::new(seed);
        let market = Market::new(&mut luck, 14, 12);
        let before = market.clear(&mut scratch);
        let index = luck.below(market.candidates.len() as u64) as usize;
        let business = market.candidates[index].business;
        let mut raised = market.clone();
        let old = market.candidates[index].value;
        raised.candidates[index].value += luck.between(0, old + 10);
        let after = raised.clear(&mut scratch);
        let weights = [(&market, &before), (&raised, &after)]
            .map(|(told, wins)| told.utility(&market, business, wins).1);
        better += u64::from(weights[0] < weights[1]);
        ensure(weights[0] <= weights[1], || format!("{weights:?} {market:?}\n{raised:?}"))
    });
    assert!(better > 300 || crate::number("SIM_SEED").is_some(), "{better}");
}

#[test]
fn a_higher_floor_or_cost_never_lowers_the_price_of_who_stays() {
    let (mut scratch, mut dearer) = (Scratch::default(), 0);
    for_each_seed(0..5_000, |seed| {
        let mut luck = Luck::new(seed);
        let mut market = Market::new(&mut luck, 14, 12);
        // A bonus lifts the bar of its business, so that a rival before one may leave first.
        market.candidates.iter_mut().for_each(|ad| ad.quality = ad.quality.min(0));
        let before = market.clear(&mut scratch);
        let mut strict = market.clone();
        let most = market.candidates.iter().map(|ad| ad.value).max().unwrap_or(0);
        let more = luck.between(0, most / 2 + 2);
        let which = if luck.chance(500) { &mut strict.floor } else { &mut strict.interruption };
        *which += more;
        let after = strict.clear(&mut scratch);
        ensure(after.len() <= before.len(), || format!("more ads: {market:?}\n{strict:?}"))?;
        // Who stays keeps its slot: only those behind it can have gone.
        for (old, new) in before.iter().zip(&after) {
            let same = (old.candidate, old.place) == (new.candidate, new.place);
            dearer += u64::from(old.pay_cpm < new.pay_cpm);
            ensure(same && old.pay_cpm <= new.pay_cpm, || {
                format!("{market:?}\n{before:?}\n{strict:?}\n{after:?}")
            })?;
        }
        Ok(())
    });
    assert!(dearer > 300 || crate::number("SIM_SEED").is_some(), "{dearer}");
}
