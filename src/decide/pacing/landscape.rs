//! The bid landscape of an ad set: how much money its auctions would take at each multiplier.
//!
//! A histogram of price mass over the logarithm of `value at multiplier 1 / price to win`: an auction there
//! is won by every multiplier m with `-ln m` at most that. The engine knows the price of auctions that
//! were lost, too. Mass is kept for an average day of the last third of a day's traffic, older mass fading.

/// Bins of a landscape.
pub const BINS: usize = 64;

/// Width of a bin in ln.
const STEP: f64 = 1.0 / 8.0;

/// Average days of traffic after which mass counts half.
pub const HALF_LIFE_DAYS: f64 = 1.0 / 3.0;

/// Price mass by how cheap it is to win.
#[derive(Clone, Debug, PartialEq)]
pub struct Landscape {
    bins: [f32; BINS],
    /// Average days of traffic that the mass stands for.
    days: f32,
}

impl Default for Landscape {
    fn default() -> Self {
        Self { bins: [0.0; BINS], days: 0.0 }
    }
}

impl Landscape {
    /// Adds one auction: what showing the ad is worth at multiplier 1, the value it needs to win (the same
    /// unit), and the money that winning costs, micros, times how many auctions this one stands for.
    ///
    /// Auctions that the ceiling bid would lose are left out: no multiplier wins them.
    pub fn add(&mut self, value: f64, price: f64, mass: f64) {
        if value >= price && value > 0.0 && mass > 0.0 {
            let log = (value / price.max(f64::MIN_POSITIVE)).ln();
            self.bins[((log / STEP) as usize).min(BINS - 1)] += mass as f32;
        }
    }

    /// Lets so much traffic pass, in average days ([`crate::decide::pacing::plan::Plan::between`]): that in which
    /// the auctions since the last call were added.
    pub fn pass(&mut self, days: f64) {
        let keep = (-days / HALF_LIFE_DAYS).exp2() as f32;
        self.bins.iter_mut().for_each(|bin| *bin *= keep);
        self.days = self.days * keep + days as f32;
    }

    /// Returns the ln m that would spend this much an average day, micros: the least if several would.
    ///
    /// 0 if all there is costs less; `None` if nothing is known, or the answer lies where the grid ends.
    pub fn threshold(&self, budget: f64) -> Option<f64> {
        if self.days <= 0.0 {
            return None;
        }
        let wanted = budget.max(0.0) * f64::from(self.days);
        let mut above = 0.0;
        for (at, &mass) in self.bins.iter().enumerate().rev() {
            let mass = f64::from(mass);
            if above + mass > wanted {
                let inside = (wanted - above) / mass;
                let log = STEP * (at as f64 + 1.0 - inside);
                return (at + 1 < BINS).then_some(-log);
            }
            above += mass;
        }
        (above > 0.0).then_some(0.0)
    }

    /// Returns the landscape of a campaign that is new among others, from theirs.
    ///
    /// `scale` is what share of the auctions of the others it takes part in. It weighs a tenth of what it
    /// would had it been seen itself.
    pub fn seed_from(cluster: &Self, scale: f64) -> Self {
        const TRUST: f32 = 0.1;
        let scale = scale.max(0.0) as f32 * TRUST;
        Self { bins: cluster.bins.map(|mass| mass * scale), days: cluster.days * TRUST }
    }
}
