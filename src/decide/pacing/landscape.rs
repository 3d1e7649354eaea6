//! The bid landscape of an ad set: how much money its auctions would take at each multiplier.
//!
//! A histogram of price mass over the logarithm of `value at multiplier 1 / price to win`: an
//! auction there is won by every multiplier m with `-ln m` at most that. The engine knows the price
//! of auctions that were lost, too.

/// Bins of a landscape.
pub const BINS: usize = 64;

/// Width of a bin in ln.
const STEP: f64 = 1.0 / 4.0;

/// Average days of traffic after which prices count half.
const HALF_LIFE_DAYS: f64 = 1.0 / 3.0;

/// Average days of traffic after which the number of auctions counts half.
const VOLUME_HALF_LIFE_DAYS: f64 = 1.0;

/// Factor on the money that auctions take that is looked for.
const CHANGE: f64 = 1.5;

/// Log-likelihood ratio from which that is taken for a change of prices.
const SURPRISE: f64 = 25.0;

/// What the mass of before such a change weighs still.
const FADE: f64 = 1.0 / 64.0;

/// What the mean mass of a win keeps of itself a minute.
const WIN_KEEP: f64 = 0.98;

/// Price mass by how cheap it is to win.
#[derive(Clone, Debug, PartialEq)]
pub struct Landscape {
    bins: [f32; BINS],
    /// Auctions that the mass is of.
    auctions: f32,
    /// Auctions that are counted for volume, and the average days they came in.
    volume: f32,
    days: f32,
    watch: Watch,
}

/// What came since the last minute of auctions won at the multiplier that was bid, and what speaks
/// for a change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Watch {
    /// The lowest bin that is won.
    bin: u16,
    mass: f32,
    auctions: f32,
    /// Sums of the mass of wins, and of its squares, the last hour's mostly.
    wins: f32,
    squares: f32,
    /// Log-likelihood ratio of more mass than was expected, since it was last 0 (CUSUM, Page 1954).
    more: f32,
}

impl Default for Landscape {
    fn default() -> Self {
        Self { bins: [0.0; BINS], auctions: 0.0, volume: 0.0, days: 0.0, watch: Watch::default() }
    }
}

impl Landscape {
    /// Adds an auction: what showing the ad is worth at multiplier 1, the value it needs to win
    /// (the same unit), the money that winning costs, micros, and how many auctions this one stands
    /// for.
    ///
    /// Auctions that the ceiling bid would lose must be added, too: they count as traffic.
    pub fn add(&mut self, value: f64, price: f64, cost: f64, weight: f64) {
        self.auctions += weight as f32;
        self.volume += weight as f32;
        self.watch.auctions += weight as f32;
        if value < price || value <= 0.0 || cost <= 0.0 || weight <= 0.0 {
            return;
        }
        let log = (value / price.max(f64::MIN_POSITIVE)).ln();
        let bin = ((log / STEP) as usize).min(BINS - 1);
        let mass = (cost * weight) as f32;
        self.bins[bin] += mass;
        if bin >= self.watch.bin.into() {
            self.watch.mass += mass;
            self.watch.wins += mass;
            self.watch.squares += mass * mass;
        }
    }

    /// Lets so much traffic pass, in average days ([`crate::decide::pacing::plan::Plan::between`]):
    /// that in which the auctions since the last call were added. Once a minute; `log_m` is what is
    /// bid now.
    pub fn pass(&mut self, days: f64, log_m: f64) {
        self.keep((-days / HALF_LIFE_DAYS).exp2());
        let keep = (-days / VOLUME_HALF_LIFE_DAYS).exp2() as f32;
        self.volume *= keep;
        self.days = (self.days + days as f32) * keep;
        self.compare(log_m);
    }

    fn keep(&mut self, share: f64) {
        let share = share as f32;
        self.bins.iter_mut().for_each(|bin| *bin *= share);
        self.auctions *= share;
    }

    /// Forgets what was before prices fell: when auctions take more money than was expected of as
    /// many of them, by more than chance does. What is overspent is gone; where they take less, the
    /// plan has time. A change of volume alone is no surprise.
    fn compare(&mut self, log_m: f64) {
        let watch = &mut self.watch;
        if self.auctions > 0.0 && watch.squares > 0.0 {
            let above: f32 = self.bins[usize::from(watch.bin)..].iter().sum();
            let win = watch.squares / watch.wins;
            let expected = above / self.auctions * watch.auctions / win;
            let came = watch.mass / win;
            let (log, factor) = (CHANGE.ln() as f32, CHANGE as f32);
            watch.more = (watch.more + came * log - expected * (factor - 1.0)).max(0.0);
        }
        let surprised = watch.more > SURPRISE as f32;
        watch.bin = ((-log_m / STEP).max(0.0) as usize).min(BINS - 1) as u16;
        (watch.mass, watch.auctions) = (0.0, 0.0);
        watch.wins *= WIN_KEEP as f32;
        watch.squares *= WIN_KEEP as f32;
        if surprised {
            watch.more = 0.0;
            self.keep(FADE);
        }
    }

    /// Returns the ln m that would spend this much an average day, micros: the least if several
    /// would.
    ///
    /// 0 if all there is costs less; `None` if nothing is known, or the answer lies where the grid
    /// ends.
    pub fn threshold(&self, budget: f64) -> Option<f64> {
        self.solve(budget.max(0.0), |_, mass| mass)
    }

    /// Returns the greatest ln m at which the wins of an average day cost at most `saved` micros
    /// more than `cap_share` of their value at multiplier 1: the cost of a goal event against a
    /// cap.
    ///
    /// `cap_share` is the cap by the ceiling bid. At least the ln of it, where no single win costs
    /// more.
    pub fn cap_threshold(&self, cap_share: f64, saved: f64) -> Option<f64> {
        let above_cap = |log: f64, mass: f64| {
            let (low, high) = (log.exp(), (log + STEP).exp());
            mass * (1.0 - cap_share * (high - low) / STEP)
        };
        let lowest = cap_share.ln().min(0.0);
        self.solve(saved, above_cap).map(|log_m| log_m.max(lowest))
    }

    /// Walks from the cheapest auctions to the dearest and returns the ln m at which the sum of
    /// `take` (of a bin's lower edge and its mass) crosses `wanted` an average day on its way up,
    /// for the last time.
    fn solve(&self, wanted: f64, take: impl Fn(f64, f64) -> f64) -> Option<f64> {
        if self.days <= 0.0 || self.volume <= 0.0 {
            return None;
        }
        let share = f64::from(self.days) * f64::from(self.auctions) / f64::from(self.volume);
        let wanted = wanted * share;
        let (mut sum, mut found, mut known) = (0.0, None, false);
        for (at, &mass) in self.bins.iter().enumerate().rev() {
            known |= mass > 0.0;
            let taken = take(STEP * at as f64, mass.into());
            if taken > 0.0 && sum <= wanted && sum + taken > wanted {
                let inside = (wanted - sum) / taken;
                found = Some((at, -STEP * (at as f64 + 1.0 - inside)));
            }
            sum += taken;
        }
        match found {
            _ if !known => None,
            Some((at, _)) if at + 1 == BINS => None,
            Some((_, log_m)) => Some(log_m),
            None if sum <= wanted => Some(0.0),
            // Even the cheapest are too much.
            None => Some(f64::NEG_INFINITY),
        }
    }

    /// Lets what was seen count for values that are `e^log` times what they were: every price is as much
    /// cheaper to win. What the ceiling bid would lose now counts as traffic only.
    pub fn rescale(&mut self, log: f64) {
        let (whole, part) = ((log / STEP).floor(), (log / STEP).rem_euclid(1.0) as f32);
        let bins = std::mem::replace(&mut self.bins, [0.0; BINS]);
        for (at, mass) in bins.into_iter().enumerate() {
            let to = at as f64 + whole;
            for (to, mass) in [(to, mass * (1.0 - part)), (to + 1.0, mass * part)] {
                if to >= 0.0 {
                    self.bins[(to as usize).min(BINS - 1)] += mass;
                }
            }
        }
        self.watch = Watch::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of 1,000 auctions whose value is e^0 to e^4 times their price, each of 100 micros.
    fn day(landscape: &mut Landscape, cheaper: f64) {
        for at in 0..1_000 {
            // In no order: 387 and 1,000 have no common factor.
            let value = (f64::from(at * 387 % 1_000) / 250.0 + cheaper).exp();
            landscape.add(value, 1.0, 100.0, 1.0);
            landscape.pass(0.001, -3.0);
        }
    }

    #[test]
    fn the_threshold_spends_the_budget_of_an_average_day() {
        let mut landscape = Landscape::default();
        assert_eq!(landscape.threshold(1_000.0), None);
        (0..4).for_each(|_| day(&mut landscape, 0.0));
        let quarter = landscape.threshold(25_000.0).unwrap();
        assert!((quarter + 3.0).abs() < 0.1, "{quarter}");
        let half = landscape.threshold(50_000.0).unwrap();
        assert!((half + 2.0).abs() < 0.1, "{half}");
        assert_eq!(landscape.threshold(1e9), Some(0.0));
    }

    #[test]
    fn an_auction_stands_for_as_many_as_it_weighs() {
        let mut every = Landscape::default();
        let mut sampled = Landscape::default();
        for at in 0..4_096 {
            let value = (f64::from(at % 64) / 16.0).exp();
            every.add(value, 1.0, 100.0, 1.0);
            if at % 65 == 0 {
                sampled.add(value, 1.0, 100.0, 65.0);
            }
        }
        every.pass(1.0, 0.0);
        sampled.pass(1.0, 0.0);
        let (one, other) =
            (every.threshold(90_000.0).unwrap(), sampled.threshold(90_000.0).unwrap());
        assert!((one - other).abs() < 0.05, "{one} {other}");
    }

    #[test]
    fn auctions_that_the_ceiling_loses_count_as_traffic_only() {
        let mut landscape = Landscape::default();
        (0..10).for_each(|_| landscape.add(0.5, 1.0, 100.0, 1.0));
        landscape.pass(1.0, 0.0);
        assert_eq!(landscape.threshold(1.0), None);
        assert!(landscape.auctions > 0.0);
    }

    #[test]
    fn prices_that_fall_are_believed_after_a_hundred_wins() {
        let mut landscape = Landscape::default();
        (0..4).for_each(|_| day(&mut landscape, 0.0));
        let before = landscape.auctions;
        // Less than half a day at a seventh of the prices.
        for at in 0..400 {
            let value = (f64::from(at * 37 % 100) / 25.0 + 2.0).exp();
            landscape.add(value, 1.0, 100.0, 1.0);
            landscape.pass(0.001, -3.0);
        }
        assert!(landscape.auctions < before / 2.0, "{} {before}", landscape.auctions);
        let quarter = landscape.threshold(25_000.0).unwrap();
        assert!((-5.2..-4.8).contains(&quarter), "{quarter}");
    }

    #[test]
    fn more_traffic_alone_is_no_surprise() {
        let mut landscape = Landscape::default();
        for at in 0..8_000 {
            let value = (f64::from(at * 7 % 1_000) / 250.0).exp();
            landscape.add(value, 1.0, 100.0, 1.0);
            // From the middle on five times as much in the same time.
            landscape.pass(if at < 4_000 { 0.001 } else { 0.000_2 }, -3.0);
        }
        assert!(landscape.auctions > 400.0, "{}", landscape.auctions);
    }

    #[test]
    fn under_a_cap_the_dear_are_bought_with_what_the_cheap_save() {
        let mut landscape = Landscape::default();
        for at in 0..10_000 {
            // Values at multiplier 1 of 100 micros by prices of 100 e^-4 to 100 micros.
            let log = f64::from(at) / 2_500.0;
            landscape.add(100.0, 100.0 * (-log).exp(), 100.0 * (-log).exp(), 1.0);
        }
        landscape.pass(1.0, 0.0);
        // The cap is a third of the ceiling; the mean price up to k is (k - e^-4) / (ln k + 4).
        let log_m = landscape.cap_threshold(1.0 / 3.0, 0.0).unwrap();
        let (mean, k) = ((log_m.exp() - (-4f64).exp()) / (log_m + 4.0), log_m.exp());
        assert!((mean - 1.0 / 3.0).abs() < 0.02 || k > 0.99, "{k} {mean}");
        let tight = landscape.cap_threshold(0.1, 0.0).unwrap();
        let mean = (tight.exp() - (-4f64).exp()) / (tight + 4.0);
        assert!((mean - 0.1).abs() < 0.01, "{mean}");
        // Nothing saved, and more to make good than the day can: never below the cap itself.
        let least = landscape.cap_threshold(0.1, -1e9).unwrap();
        assert!((least - 0.1f64.ln()).abs() < 1e-9);
        assert!(landscape.cap_threshold(0.1, 1e5).unwrap() > tight);
    }

    #[test]
    fn a_value_of_another_scale_takes_its_landscape_along() {
        let mut landscape = Landscape::default();
        (0..4).for_each(|_| day(&mut landscape, 0.0));
        for log in [0.6_f64, -0.6] {
            let mut other = landscape.clone();
            other.rescale(log);
            for budget in [10_000.0, 25_000.0] {
                let before = landscape.threshold(budget).unwrap();
                let after = other.threshold(budget).unwrap();
                assert!((after + log - before).abs() < 0.1, "{before} {after} by {log}");
            }
            other.pass(0.0, -3.0);
        }
        let mut poor = landscape.clone();
        poor.rescale(-3.0);
        assert_eq!(poor.threshold(50_000.0), Some(0.0), "a quarter of it is in reach");
    }
}
