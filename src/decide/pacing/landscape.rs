//! The bid landscape of an ad set: how much money its auctions would take at each multiplier.
//!
//! A histogram of price mass over the logarithm of `value at multiplier 1 / price to win`: an auction there
//! is won by every multiplier m with `-ln m` at most that. The engine knows the price of auctions that
//! were lost, too.

/// Bins of a landscape.
pub const BINS: usize = 64;

/// Width of a bin in ln.
const STEP: f64 = 1.0 / 8.0;

/// Average days of traffic after which prices count half.
const HALF_LIFE_DAYS: f64 = 1.0 / 3.0;

/// Average days of traffic after which the number of auctions counts half.
const VOLUME_HALF_LIFE_DAYS: f64 = 1.0;

/// After about so many wins, what the auctions took at the multiplier then is compared with what was expected.
const WATCH_WINS: f64 = 40.0;

/// From so many standard deviations on, prices are taken to have changed.
const SURPRISE: f64 = 4.0;

/// What the mass of before then weighs still.
const FADE: f64 = 0.05;

/// What the landscape of others weighs beside what was seen itself.
const TRUST: f64 = 0.1;

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

/// What came since the last comparison, of auctions won at the multiplier that was bid then.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Watch {
    /// The lowest bin that is won.
    bin: u16,
    mass: f32,
    squares: f32,
    auctions: f32,
    /// Mass of one win: the mean that weighs by mass.
    win: f32,
}

impl Default for Landscape {
    fn default() -> Self {
        Self { bins: [0.0; BINS], auctions: 0.0, volume: 0.0, days: 0.0, watch: Watch::default() }
    }
}

impl Landscape {
    /// Adds an auction: what showing the ad is worth at multiplier 1, the value it needs to win (the same
    /// unit), the money that winning costs, micros, and how many auctions this one stands for.
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
            self.watch.squares += mass * mass;
        }
    }

    /// Lets so much traffic pass, in average days ([`crate::decide::pacing::plan::Plan::between`]): that in which
    /// the auctions since the last call were added. Once a minute; `log_m` is what is bid now.
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

    /// Forgets what was before prices changed: the money that auctions take differs from what was expected of as
    /// many of them by more than chance does. A change of volume alone is no surprise.
    fn compare(&mut self, log_m: f64) {
        let watch = self.watch;
        let win = if watch.mass > 0.0 { watch.squares / watch.mass } else { watch.win };
        if self.auctions <= 0.0 || win <= 0.0 {
            return;
        }
        let above: f32 = self.bins[usize::from(watch.bin)..].iter().sum();
        let expected = above / self.auctions * watch.auctions;
        let greater = expected.max(watch.mass);
        if greater < WATCH_WINS as f32 * win {
            return;
        }
        let surprise = (watch.mass - expected) / (win * greater).sqrt();
        if surprise.abs() > SURPRISE as f32 {
            self.keep(FADE);
        }
        let bin = ((-log_m / STEP).max(0.0) as usize).min(BINS - 1) as u16;
        self.watch = Watch { bin, win, ..Watch::default() };
    }

    /// Returns the ln m that would spend this much an average day, micros: the least if several would.
    ///
    /// 0 if all there is costs less; `None` if nothing is known, or the answer lies where the grid ends.
    pub fn threshold(&self, budget: f64) -> Option<f64> {
        self.solve(budget.max(0.0), |_, mass| mass)
    }

    /// Returns the greatest ln m at which the wins of an average day cost at most `saved` micros more than
    /// `cap_share` of their value at multiplier 1: the cost of a goal event against a cap.
    ///
    /// `cap_share` is the cap by the ceiling bid. At least the ln of it, where no single win costs more.
    pub fn cap_threshold(&self, cap_share: f64, saved: f64) -> Option<f64> {
        let above_cap = |log: f64, mass: f64| {
            let (low, high) = (log.exp(), (log + STEP).exp());
            mass * (1.0 - cap_share * (high - low) / STEP)
        };
        let lowest = cap_share.ln().min(0.0);
        self.solve(saved, above_cap).map(|log_m| log_m.max(lowest))
    }

    /// Walks from the cheapest auctions to the dearest and returns the ln m at which the sum of `take` (of a
    /// bin's lower edge and its mass) crosses `wanted` an average day on its way up, for the last time.
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

    /// Returns the landscape of a campaign that is new among others, from theirs: `scale` is what share of
    /// their auctions it takes part in. It soon gives way to what is seen itself.
    pub fn seed_from(cluster: &Self, scale: f64) -> Self {
        let scale = (scale.max(0.0) * TRUST) as f32;
        Self {
            bins: cluster.bins.map(|mass| mass * scale),
            auctions: cluster.auctions * scale,
            volume: cluster.volume * scale,
            days: cluster.days * TRUST as f32,
            watch: Watch::default(),
        }
    }
}
