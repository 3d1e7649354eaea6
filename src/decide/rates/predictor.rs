//! Bayesian averages that fall back from the ad to its campaign, its business's category, and all ads.
//!
//! Each level's mean is that of the level above, as if so many events had shown it, and its own events. What an ad
//! taught is left out of the levels above when its own rate is asked for, so that nothing counts twice: an
//! ad alone in the world has the plain average of its own counts and the prior.

use crate::decide::rates::{
    Factors, PRIOR_CHATS, PRIOR_SALES, PRIOR_TAPS, PRIOR_VIEWABLE, Prior, Rates,
};
use crate::state::Map;
use crate::state::totals::{PLACEMENTS, Totals};
use crate::types::ids::number_of;

/// Events that the mean of the level above weighs as much as.
#[derive(Clone, Copy)]
struct Strength {
    /// Taps.
    tap: f64,
    /// Conversations.
    chat: f64,
    /// Viewable impressions.
    viewable: f64,
    /// Conversions.
    sale: f64,
}

// A strength of n events says that true rates scatter about the mean above by 1 / sqrt(n) of it: 4 are a
// scatter of a half, 10 of a third. In events, not trials: rare actions are learned from more impressions
// (the Gamma prior of a Poisson rate). Of taps, 4 and 10 foretold real clicks best (`examples/rates.rs`);
// conversations stand as they did, and the rest is in proportion.

/// Of all ads about the prior, a category about all ads, and a campaign about its category. The same for all
/// three: else the first events of a market would say more of strangers than of their own campaign.
const LEVEL: Strength = Strength { tap: 10.0, chat: 20.0, viewable: 70.0, sale: 2.0 };
/// Of an ad about its campaign, where the mean is the prior's: 400 impressions, 20 taps, 100 impressions,
/// 40 conversations. Large enough that a new ad's first taps don't decide its fate.
const AD: Strength = Strength { tap: 4.0, chat: 8.0, viewable: 70.0, sale: 2.0 };

/// Taps, or viewable impressions, that the same rate in all placements weighs as much as: the share of a
/// hundred events is known to a tenth.
const FACTOR_EVENTS: f64 = 100.0;

/// Bits of a mantissa that are left when what many ads share is rounded, to steps of 3 to 6 %: each rise of
/// an ad's rate has its row built anew, so what is not its own must move seldom.
const COARSE_BITS: u32 = 4;

/// Events and trials of the four rates, in the order of [`Rates`].
type Evidence = [(f64, f64); 4];

/// The ads of one campaign whose businesses are of one category: mostly the campaign's all.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Where its category's counts are.
    category: u32,
    /// Where its own are; 0: it has none yet.
    counts: u32,
}

/// What a new ad is thought to do.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen {
    /// Its rates in the best placement.
    pub rates: Rates,
    /// Its tap rate is known as well as from so many taps of its own.
    pub taps: f64,
    /// Its rate of conversations is known as well as from so many of its own.
    pub chats: f64,
}

/// What an event changed beside the rates of its ad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Learned {
    /// Nothing.
    Ad,
    /// The factors of placements too.
    Factors,
}

/// Predicts action rates from counts of ads, campaigns, categories and placements.
///
/// The same counts give the same rates, bit by bit, whatever their order. An ad's rates move with those of
/// its campaign, but nobody is told of the others when one ad's event came: whoever keeps rates asks again
/// with the ad's own next event.
#[derive(Debug)]
pub struct Predictor {
    overall: Totals,
    categories: Vec<Totals>,
    /// By number of a category.
    category_places: Map<u64, u32>,
    /// The first is nobody's.
    groups: Vec<Group>,
    /// By campaign and place of the category.
    group_places: Map<(u64, u32), u32>,
    /// Counts of groups. The first are nobody's.
    counts: Vec<Totals>,
    /// By number of an ad: its group; 0: it is not known here.
    ads: Vec<u32>,
    factors: [Factors; PLACEMENTS],
}

impl Default for Predictor {
    fn default() -> Self {
        Self {
            overall: Totals::NONE,
            categories: Vec::new(),
            category_places: Map::default(),
            groups: vec![Group::default()],
            group_places: Map::default(),
            counts: vec![Totals::NONE],
            ads: Vec::new(),
            factors: [Factors::ONE; PLACEMENTS],
        }
    }
}

impl Predictor {
    /// Puts an ad, with all that is counted of it, into its campaign and category, or moves it there.
    pub fn place(&mut self, ad: u64, campaign: u64, category: u64, totals: &Totals) -> Learned {
        let group = self.group(campaign, category);
        let at = number_of(ad) as usize;
        if self.ads.len() <= at {
            self.ads.resize(at + 1, 0);
        }
        let before = std::mem::replace(&mut self.ads[at], group);
        if before == group {
            return Learned::Ad;
        }
        if before != 0 {
            let Group { category, counts } = self.groups[before as usize];
            self.categories[category as usize].take_off(totals);
            self.counts[counts as usize].take_off(totals);
            self.overall.take_off(totals);
        }
        self.count(group, totals)
    }

    /// Learns what an event added to the counts of an ad. One that was never placed teaches nothing.
    pub fn learn(&mut self, ad: u64, more: &Totals) -> Learned {
        match self.group_of(ad) {
            0 => Learned::Ad,
            group => self.count(group, more),
        }
    }

    /// Returns an ad's rates in the best placement, from all that is counted of it.
    pub fn rates(&self, ad: u64, totals: &Totals) -> Rates {
        let above = match self.group_of(ad) {
            // Whoever is not placed has no part in any level.
            0 => self.overall(&Totals::NONE),
            group => {
                let Group { category, counts } = self.groups[group as usize];
                let of_group = &self.counts[counts as usize];
                let of_category = self.of_category(&self.categories[category as usize], of_group);
                mean(&LEVEL, &of_category, &self.evidence(of_group, totals))
            }
        };
        let own = mean(&AD, &foretold(above), &self.evidence(totals, &Totals::NONE));
        rates_of(own)
    }

    /// Returns what a new ad of a campaign and a category would have, either of which may be new too, and
    /// how well that is known.
    pub fn foresee(&self, campaign: u64, category: u64) -> Foreseen {
        let place = self.category_places.get(&category);
        let group = place.and_then(|place| self.group_places.get(&(campaign, *place)));
        let of_category = place.map_or(&Totals::NONE, |place| &self.categories[*place as usize]);
        let of_group = group.map_or(&Totals::NONE, |group| {
            &self.counts[self.groups[*group as usize].counts as usize]
        });
        let above = self.of_category(of_category, of_group);
        let evidence = self.evidence(of_group, &Totals::NONE);
        let above = foretold(mean(&LEVEL, &above, &evidence));
        // True rates scatter about the mean above, which is not known better than what it was learned from.
        let [(taps, _), (chats, _), ..] = evidence;
        let known = |scatter: f64, learned: f64| 1.0 / (1.0 / scatter + 1.0 / learned);
        Foreseen {
            rates: rates_of(above),
            taps: known(AD.tap, LEVEL.tap + taps),
            chats: known(AD.chat, LEVEL.chat + chats),
        }
    }

    /// Returns the mean of all ads but some, about the prior.
    fn overall(&self, others: &Totals) -> [f64; 4] {
        mean(&LEVEL, &priors(), &self.evidence(&self.overall, others))
    }

    /// Returns the mean of a category without one of its groups, about all other ads.
    fn of_category(&self, of_category: &Totals, of_group: &Totals) -> [f64; 4] {
        let others = self.evidence(of_category, of_group);
        mean(&LEVEL, &self.overall(of_category), &others)
    }

    /// Returns by placement what its rates are of those in the best one. That of a placement not told
    /// is 1.
    pub const fn factors(&self) -> &[Factors; PLACEMENTS] {
        &self.factors
    }

    fn group_of(&self, ad: u64) -> u32 {
        self.ads.get(number_of(ad) as usize).copied().unwrap_or_default()
    }

    fn group(&mut self, campaign: u64, category: u64) -> u32 {
        let next = self.categories.len() as u32;
        let category = *self.category_places.entry(category).or_insert(next);
        if category == next {
            self.categories.push(Totals::NONE);
        }
        let next = self.groups.len() as u32;
        let group = *self.group_places.entry((campaign, category)).or_insert(next);
        if group == next {
            self.groups.push(Group { category, counts: 0 });
        }
        group
    }

    fn count(&mut self, group: u32, more: &Totals) -> Learned {
        if *more == Totals::NONE {
            return Learned::Ad;
        }
        let group = &mut self.groups[group as usize];
        if group.counts == 0 {
            group.counts = self.counts.len() as u32;
            self.counts.push(Totals::NONE);
        }
        self.counts[group.counts as usize].add(more);
        self.categories[group.category as usize].add(more);
        self.overall.add(more);
        let factors = factors(&self.overall);
        if factors == self.factors {
            return Learned::Ad;
        }
        self.factors = factors;
        Learned::Factors
    }

    /// Returns what is known of some ads beside others that are among them. An impression in a weak
    /// placement is worth as much less as it could have shown, so that ads are compared fairly.
    fn evidence(&self, all: &Totals, others: &Totals) -> Evidence {
        let (mut taps, mut viewable) = (0, 0);
        let (mut exposed, mut viewed) = (0.0, 0.0);
        for (slot, factors) in self.factors.iter().enumerate() {
            let left = |of: fn(&Totals) -> &[u64; PLACEMENTS]| {
                of(all)[slot].saturating_sub(of(others)[slot])
            };
            let impressions = left(|totals| &totals.impressions) as f64;
            exposed += impressions * share_of(factors.tap);
            viewed += impressions * share_of(factors.viewable);
            taps += left(|totals| &totals.taps);
            viewable += left(|totals| &totals.viewable);
        }
        let chats = all.conversations.saturating_sub(others.conversations) as f64;
        let sales = all.conversions.saturating_sub(others.conversions) as f64;
        let (taps, viewable) = (taps as f64, viewable as f64);
        [(taps, exposed), (chats, taps), (viewable, viewed), (sales, chats)]
    }
}

/// Returns a mean as the level below takes it: what nothing was learned about stays exactly as it is.
fn foretold(mut above: [f64; 4]) -> [f64; 4] {
    for (mean, prior) in above.iter_mut().zip(priors()) {
        *mean = if mean.total_cmp(&prior).is_eq() { prior } else { coarse(*mean) };
    }
    above
}

fn rates_of(means: [f64; 4]) -> Rates {
    let [tap, chat, viewable, sale] = means.map(rate);
    Rates { tap, chat, viewable, sale }
}

const fn priors() -> [f64; 4] {
    const fn share(prior: &Prior) -> f64 {
        prior.share()
    }
    [share(&PRIOR_TAPS), share(&PRIOR_CHATS), share(&PRIOR_VIEWABLE), share(&PRIOR_SALES)]
}

/// Returns the posterior means of a level: its own events and trials, and as many events more as the
/// strength says at the rate of the level above.
fn mean(strength: &Strength, above: &[f64; 4], evidence: &Evidence) -> [f64; 4] {
    let strengths = [strength.tap, strength.chat, strength.viewable, strength.sale];
    std::array::from_fn(|at| {
        let (events, trials) = evidence[at];
        if events == 0.0 && trials == 0.0 {
            return above[at];
        }
        // More events than trials (taps that a token implied, of views never sent) are no rate above 1.
        let mean = (strengths[at] + events) / (strengths[at] / above[at] + trials);
        mean.min(1.0)
    })
}

/// Returns by placement what its rates are of those in the best one. A placement's rate is drawn to that
/// of all by [`FACTOR_EVENTS`] events; ads are taken to be shown alike in all placements.
fn factors(all: &Totals) -> [Factors; PLACEMENTS] {
    let tap = factors_of(&all.impressions, &all.taps);
    let viewable = factors_of(&all.impressions, &all.viewable);
    std::array::from_fn(|slot| Factors { tap: tap[slot], viewable: viewable[slot] })
}

fn factors_of(trials: &[u64; PLACEMENTS], events: &[u64; PLACEMENTS]) -> [u16; PLACEMENTS] {
    // The first is of events whose placement is not told: of those there is nothing to learn.
    let sum = |counts: &[u64; PLACEMENTS]| counts[1..].iter().sum::<u64>() as f64;
    let (all_trials, all_events) = (sum(trials), sum(events));
    if all_events == 0.0 || all_trials == 0.0 {
        return [u16::MAX; PLACEMENTS];
    }
    let drawn = FACTOR_EVENTS * all_trials / all_events;
    let rates: [f64; PLACEMENTS] = std::array::from_fn(|slot| {
        (events[slot] as f64 + FACTOR_EVENTS) / (trials[slot] as f64 + drawn)
    });
    let best = rates[1..].iter().copied().fold(0.0, f64::max);
    let mut factors = rates.map(|rate| {
        let factor = coarse(rate / best) * f64::from(u16::MAX);
        (factor.round() as u16).max(1)
    });
    factors[0] = u16::MAX;
    factors
}

/// Rounds to [`COARSE_BITS`] bits behind the first. 1 stays 1.
fn coarse(value: f64) -> f64 {
    let dropped = f64::MANTISSA_DIGITS - 1 - COARSE_BITS;
    let half = 1 << (dropped - 1);
    f64::from_bits((value.to_bits() + half) >> dropped << dropped)
}

fn share_of(factor: u16) -> f64 {
    f64::from(factor) / f64::from(u16::MAX)
}

/// Returns a mean in 1/65,535, rounded down, at least 1.
fn rate(mean: f64) -> u16 {
    // A whole number of parts must not fall to the one below it by the last bit of a division.
    const LAST_BIT: f64 = 1e-6;
    ((mean * f64::from(u16::MAX) + LAST_BIT) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: usize = 1;
    const FEED: usize = 3;
    /// Categories and campaigns.
    const SHOES: u64 = 77;
    const BOOKS: u64 = 78;

    /// Counts in one placement.
    fn counts(slot: usize, impressions: u64, taps: u64, chats: u64) -> Totals {
        let mut totals = Totals { conversations: chats, ..Totals::NONE };
        totals.impressions[slot] = impressions;
        totals.taps[slot] = taps;
        totals
    }

    fn share(rate: u16) -> f64 {
        f64::from(rate) / 65_535.0
    }

    #[track_caller]
    fn near(rate: u16, expected: f64) {
        let off = share(rate) / expected - 1.0;
        assert!(off.abs() < 0.05, "{} instead of {expected}", share(rate));
    }

    #[test]
    fn an_ad_where_nobody_saw_any_has_the_prior() {
        let mut predictor = Predictor::default();
        assert_eq!(predictor.rates(1, &Totals::NONE), Rates::NEW);
        predictor.place(1, 5, SHOES, &Totals::NONE);
        assert_eq!(predictor.rates(1, &Totals::NONE), Rates::NEW);
    }

    #[test]
    fn an_ad_alone_has_the_average_of_its_own_counts_and_the_prior() {
        for (impressions, taps, chats) in [(0, 0, 0), (1, 1, 1), (600, 16, 4), (40_000, 4_000, 400)]
        {
            let own = counts(FEED, impressions, taps, chats);
            let mut predictor = Predictor::default();
            predictor.place(1, 5, SHOES, &own);
            let rates = predictor.rates(1, &own);
            assert_eq!(u64::from(rates.tap), (taps + 4) * 65_535 / (impressions + 400));
            assert_eq!(u64::from(rates.chat), (chats + 8) * 65_535 / (taps + 20));
        }
    }

    #[test]
    fn a_new_ad_of_a_known_campaign_starts_at_the_campaigns_rate() {
        let mut predictor = Predictor::default();
        predictor.place(1, 5, SHOES, &counts(FEED, 100_000, 5_000, 3_000));
        predictor.place(2, 6, SHOES, &counts(FEED, 100_000, 500, 50));
        predictor.place(3, 5, SHOES, &Totals::NONE);
        let rates = predictor.rates(3, &Totals::NONE);
        near(rates.tap, 0.05);
        near(rates.chat, 0.6);
    }

    #[test]
    fn a_new_campaign_starts_at_its_categorys_rate_and_a_new_category_at_all_ads() {
        let mut predictor = Predictor::default();
        predictor.place(1, 5, SHOES, &counts(FEED, 100_000, 5_000, 0));
        predictor.place(2, 6, BOOKS, &counts(FEED, 100_000, 500, 0));
        predictor.place(3, 7, SHOES, &Totals::NONE);
        predictor.place(4, 7, BOOKS, &Totals::NONE);
        predictor.place(5, 8, 79, &Totals::NONE);
        near(predictor.rates(3, &Totals::NONE).tap, 0.05);
        near(predictor.rates(4, &Totals::NONE).tap, 0.005);
        near(predictor.rates(5, &Totals::NONE).tap, 0.0275);
    }

    #[test]
    fn what_is_foreseen_of_an_ad_is_what_it_has_once_it_is_placed() {
        let mut predictor = Predictor::default();
        predictor.place(1, 5, SHOES, &counts(FEED, 100_000, 5_000, 900));
        predictor.place(2, 6, BOOKS, &counts(STATUS, 100_000, 500, 300));
        for (ad, campaign, category) in
            [(3, 5, SHOES), (4, 5, BOOKS), (5, 9, SHOES), (6, 6, BOOKS), (7, 6, 79), (8, 8, 80)]
        {
            let foreseen = predictor.foresee(campaign, category);
            predictor.place(ad, campaign, category, &Totals::NONE);
            assert_eq!(predictor.rates(ad, &Totals::NONE), foreseen.rates, "{ad}");
        }
        let (known, new) = (predictor.foresee(5, SHOES), predictor.foresee(8, 80));
        assert!(known.taps > 3.9 && known.taps < AD.tap, "{known:?}");
        assert!(new.taps < 3.0 && new.chats < known.chats, "{new:?}");
    }

    #[test]
    fn what_an_ad_taught_is_not_its_own_prior() {
        let own = counts(FEED, 400, 36, 0);
        let mut predictor = Predictor::default();
        predictor.place(1, 5, SHOES, &own);
        predictor.place(2, 6, BOOKS, &counts(FEED, 1_000_000, 10_000, 0));
        // Halfway between one in a hundred and nine.
        near(predictor.rates(1, &own).tap, 0.05);
    }

    #[test]
    fn a_placement_that_shows_half_as_much_has_half_the_factor() {
        let mut predictor = Predictor::default();
        assert_eq!(predictor.factors(), &[Factors::ONE; PLACEMENTS]);
        predictor.place(1, 5, SHOES, &counts(FEED, 1_000_000, 20_000, 0));
        assert_eq!(predictor.factors()[STATUS], Factors::ONE, "nothing to compare with");
        let more = predictor.learn(1, &counts(STATUS, 1_000_000, 10_000, 0));
        assert_eq!(more, Learned::Factors);
        assert_eq!(predictor.factors()[FEED].tap, 65_535);
        assert_eq!(predictor.factors()[STATUS].tap, 32_768);
        // Where nothing was seen yet it is as in all.
        near(predictor.factors()[2].tap, 0.75);
    }

    #[test]
    fn an_ad_that_is_shown_in_a_weak_placement_only_is_not_thought_weak() {
        let mut predictor = Predictor::default();
        let (strong, weak) =
            (counts(FEED, 1_000_000, 20_000, 0), counts(STATUS, 1_000_000, 10_000, 0));
        predictor.place(1, 5, SHOES, &strong);
        predictor.place(2, 6, BOOKS, &weak);
        near(predictor.rates(2, &weak).tap, share(predictor.rates(1, &strong).tap));
        let there = predictor.rates(2, &weak).in_placement(predictor.factors()[STATUS]);
        near(there.tap, 0.01);
    }

    #[test]
    fn an_ad_takes_its_counts_along_when_its_category_changes() {
        let own = counts(FEED, 100_000, 5_000, 0);
        let mut predictor = Predictor::default();
        predictor.place(1, 5, SHOES, &own);
        predictor.place(2, 6, SHOES, &counts(FEED, 100_000, 1_000, 0));
        predictor.place(1, 5, BOOKS, &own);
        predictor.place(3, 7, SHOES, &Totals::NONE);
        predictor.place(4, 8, BOOKS, &Totals::NONE);
        near(predictor.rates(3, &Totals::NONE).tap, 0.01);
        near(predictor.rates(4, &Totals::NONE).tap, 0.05);
    }

    #[test]
    fn rates_are_never_nothing_and_never_more_than_always() {
        let mut predictor = Predictor::default();
        let all = counts(FEED, 3, u64::MAX >> 20, u64::MAX >> 10);
        predictor.place(1, 5, SHOES, &all);
        let Rates { tap, chat, .. } = predictor.rates(1, &all);
        assert_eq!((tap, chat), (65_535, 65_535));
        let none = counts(FEED, u64::MAX >> 20, 0, 0);
        predictor.place(2, 6, BOOKS, &none);
        assert_eq!(predictor.rates(2, &none).tap, 1);
    }

    #[test]
    fn rounding_leaves_steps_of_a_sixteenth() {
        let stepped =
            [1.0, 1.03, 1.04, 0.984].map(|value| coarse(value) * 32.0).map(|step| step as u32);
        assert_eq!(stepped, [32, 32, 34, 31]);
        let close = |value: f64| (coarse(value) / value - 1.0).abs() <= 1.0 / 32.0;
        assert!((1..10_000).all(|step| close(f64::from(step) * 1.37e-5)));
    }
}
