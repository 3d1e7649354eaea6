//! What an experiment has shown: the difference between viewers who were exposed and viewers who would have
//! been, with what chance alone may have made of it.

/// Quantile of the normal distribution that leaves 5 % outside, on both sides together.
const QUANTILE: f64 = 1.959_963_984_540_054;

/// A true effect of so many standard errors is found four times in five: 1.96 + 0.84 (ALGORITHMS 6).
const DETECTABLE_ERRORS: f64 = 2.8;

/// The chance that an always-valid interval ever misses the truth.
const ALPHA: f64 = 0.05;

/// Effective viewers at which an always-valid interval is tightest. It must be chosen before there is data.
const TIGHTEST_AT: f64 = 10_000.0;

/// Viewers of a group with an outcome from which on its own variance is trusted. Below, the variance of rare
/// outcomes is as uncertain as their mean, and moves with it.
const OWN_VARIANCE_FROM: u64 = 1_000;

/// Viewers of each group with an outcome from which on an always-valid interval is given: it builds on the
/// central limit theorem.
const ALWAYS_VALID_FROM: u64 = 30;

/// Sums over the viewers of one group, of one outcome after their first exposure and of the same before it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    viewers: u64,
    /// With any outcome.
    active: u64,
    after: f64,
    after_squares: f64,
    before: f64,
    before_squares: f64,
    products: f64,
}

impl Sums {
    /// Adds a viewer who did so much after its first exposure, and so much before.
    pub fn add(&mut self, after: f64, before: f64) {
        self.viewers += 1;
        self.active += u64::from(after > 0.0);
        self.after += after;
        self.after_squares += after * after;
        self.before += before;
        self.before_squares += before * before;
        self.products += after * before;
    }

    /// Adds viewers who did nothing.
    pub fn add_idle(&mut self, viewers: u64) {
        self.viewers += viewers;
    }

    fn count(&self) -> f64 {
        self.viewers as f64
    }

    fn mean(&self) -> f64 {
        self.after / self.count()
    }

    fn mean_before(&self) -> f64 {
        self.before / self.count()
    }

    /// Returns the sums of squares and products about the means: of what came after, before, and both.
    fn spread(&self) -> [f64; 3] {
        let (mean, before) = (self.mean(), self.mean_before());
        [
            (self.after_squares - self.after * mean).max(0.0),
            (self.before_squares - self.before * before).max(0.0),
            self.products - self.after * before,
        ]
    }
}

/// An estimate and what it lies between, 95 times in 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub at: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Returns the interval of so many times as much.
    pub fn times(self, factor: f64) -> Self {
        Self { at: self.at * factor, low: self.low * factor, high: self.high * factor }
    }

    /// Tells whether it covers a value.
    pub fn covers(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// What one outcome shows, per viewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What an exposure brings about: the mean of the exposed less that of the ghosts.
    pub difference: Interval,
    /// The same as a share of what happens without it; `None`: nothing happened in the control group, or too
    /// little to divide by.
    pub relative: Option<Interval>,
    /// As `difference`, and valid however often it is looked at; `None`: too few outcomes.
    pub always_valid: Option<Interval>,
    /// The smallest true difference that would be found four times in five.
    pub smallest_found: f64,
    /// How much less the estimate varies because of what viewers did before: 0 to 1.
    pub explained: f64,
}

/// Both groups, and what they have in common.
struct Groups {
    treated: Sums,
    control: Sums,
    /// What a unit more before tells of after.
    theta: f64,
    /// Share of the variance that is explained by it.
    explained: f64,
    /// Variance of an outcome in parts of its mean.
    dispersion: f64,
}

impl Groups {
    fn of(treated: &Sums, control: &Sums) -> Option<Self> {
        if treated.viewers < 2 || control.viewers < 2 {
            return None;
        }
        let [one, other] = [treated.spread(), control.spread()];
        let [after, before, both]: [f64; 3] = std::array::from_fn(|at| one[at] + other[at]);
        let useful = before > 0.0 && after > 0.0;
        let free = treated.count() + control.count() - 2.0;
        let sum = treated.after + control.after;
        Some(Self {
            treated: *treated,
            control: *control,
            theta: if useful { both / before } else { 0.0 },
            explained: if useful { (both * both / (before * after)).min(1.0) } else { 0.0 },
            dispersion: if sum > 0.0 { after / free / (sum / (free + 2.0)) } else { 0.0 },
        })
    }

    /// Returns the means of both groups, of viewers who did alike before.
    fn means(&self) -> [f64; 2] {
        let viewers = self.treated.count() + self.control.count();
        let before = (self.treated.before + self.control.before) / viewers;
        [&self.treated, &self.control]
            .map(|group| group.mean() - self.theta * (group.mean_before() - before))
    }

    fn difference(&self) -> f64 {
        let [treated, control] = self.means();
        treated - control
    }

    /// Returns the variance of a group's mean by its own viewers.
    fn own_variance(&self, group: &Sums) -> f64 {
        let [after, before, both] = group.spread();
        let rest = after - 2.0 * self.theta * both + self.theta * self.theta * before;
        rest.max(0.0) / (group.count() - 1.0) / group.count()
    }

    /// Returns the differences that are not refused where a squared error may be `square` times its variance.
    ///
    /// With many outcomes that is the difference plus and minus its standard error times a quantile. With few,
    /// a difference is refused by the variance that there would be if *it* were the truth (a score interval:
    /// Miettinen and Nurminen, Statistics in Medicine 4, 1985), the variance of a mean being in proportion to
    /// the mean (a quasi-Poisson model: McCullagh and Nelder, "Generalized Linear Models", 1989). A group of
    /// a tenth needs it: its interval would else miss upwards five times as often as downwards.
    fn interval(&self, square: f64) -> Interval {
        let at = self.difference();
        let (treated, control) = (&self.treated, &self.control);
        if treated.active.min(control.active) >= OWN_VARIANCE_FROM {
            let variance = self.own_variance(treated) + self.own_variance(control);
            let reach = (square * variance).sqrt();
            return Interval { at, low: at - reach, high: at + reach };
        }
        // (at - x)^2 = square * variance(x), and the variance is a line.
        let (exposed, ghosts) = (treated.count(), control.count());
        let slope = (ghosts / exposed - exposed / ghosts) / (exposed + ghosts);
        let scale = square * self.dispersion * (1.0 - self.explained);
        let middle = at + scale * slope / 2.0;
        let reach = (middle * middle - at * at + square * self.pooled_variance()).max(0.0).sqrt();
        Interval { at, low: middle - reach, high: middle + reach }
    }

    /// Returns the variance of the difference where there is none.
    fn pooled_variance(&self) -> f64 {
        let (exposed, ghosts) = (self.treated.count(), self.control.count());
        let mean = (self.treated.after + self.control.after) / (exposed + ghosts);
        self.dispersion * (1.0 - self.explained) * mean * (1.0 / exposed + 1.0 / ghosts)
    }

    /// Returns the relative lift by the delta method, on the scale of logarithms, where a ratio is least skew.
    fn relative(&self) -> Option<Interval> {
        let [treated, control] = self.means();
        if treated <= 0.0 || control <= 0.0 {
            return None;
        }
        let many = self.treated.active.min(self.control.active) >= OWN_VARIANCE_FROM;
        let variance = |group: &Sums, mean: f64| match many {
            true => self.own_variance(group) / (mean * mean),
            false => self.dispersion * (1.0 - self.explained) / (group.count() * mean),
        };
        let variance = variance(&self.treated, treated) + variance(&self.control, control);
        let (ratio, reach) = (treated / control, (QUANTILE * variance.sqrt()).exp());
        let lift = |ratio: f64| ratio - 1.0;
        Some(Interval { at: lift(ratio), low: lift(ratio / reach), high: lift(ratio * reach) })
    }

    /// Returns an interval that misses the truth at *any* look in one experiment of twenty: a normal mixture of
    /// sequential probability ratio tests (Robbins, Annals of Mathematical Statistics 41, 1970; Johari,
    /// Koomen, Pekelis and Walsh, "Always Valid Inference", Operations Research 70, 2022) in the form of
    /// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
    /// confidence sequences", Annals of Statistics 52, 2024: with `n` effective viewers
    ///
    /// radius^2 = variance * (n rho^2 + 1) / (n rho^2) * (ln(n rho^2 + 1) - 2 ln alpha)
    ///
    /// and rho^2 = (-2 ln alpha + ln(1 - 2 ln alpha)) / [`TIGHTEST_AT`].
    fn always_valid(&self) -> Option<Interval> {
        if self.treated.active.min(self.control.active) < ALWAYS_VALID_FROM {
            return None;
        }
        let doubts = -2.0 * ALPHA.ln();
        let rho = (doubts + (1.0 + doubts).ln()) / TIGHTEST_AT;
        // The variance is that of one viewer over this, wherever groups are as large as they are.
        let viewers = 4.0 / (1.0 / self.treated.count() + 1.0 / self.control.count());
        let mixed = viewers * rho;
        Some(self.interval((mixed + 1.0) / mixed * ((mixed + 1.0).ln() + doubts)))
    }
}

/// Returns what one outcome shows; `None`: a group has no viewers to speak of.
pub fn estimate(treated: &Sums, control: &Sums) -> Option<Estimate> {
    let groups = Groups::of(treated, control)?;
    Some(Estimate {
        difference: groups.interval(QUANTILE * QUANTILE),
        relative: groups.relative(),
        always_valid: groups.always_valid(),
        smallest_found: DETECTABLE_ERRORS * groups.pooled_variance().sqrt(),
        explained: groups.explained,
    })
}

/// Returns how likely it is that groups of these sizes come from shares of these millionths, if nothing but chance
/// made them: far below 0.001, exposures of one group are not reported as those of the other are.
pub fn sample_ratio_p_value(treated: u64, control: u64, control_micros: u32) -> f64 {
    let (all, share) = ((treated + control) as f64, f64::from(control_micros) / 1e6);
    if all == 0.0 || !(share > 0.0 && share < 1.0) {
        return 1.0;
    }
    let off = control as f64 - all * share;
    let errors = off.abs() / (all * share * (1.0 - share)).sqrt();
    two_sided(errors)
}

/// Returns the chance that a normal variable is further off than so many standard errors, to 1.5e-7 (Abramowitz
/// and Stegun, "Handbook of Mathematical Functions", 7.1.26).
fn two_sided(errors: f64) -> f64 {
    let x = errors / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let polynomial = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    (polynomial * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeded dice: SplitMix64.
    struct Dice(u64);

    impl Dice {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + 1e-17
        }

        /// Viewers until the next with an outcome.
        fn until_next(&mut self, rate: f64) -> u64 {
            (self.uniform().ln() / (1.0 - rate).ln()) as u64
        }

        /// A heavy-tailed value with mean 1: log-normal with a standard deviation of 1.8 times its mean.
        fn value(&mut self) -> f64 {
            const SIGMA: f64 = 1.2;
            let (radius, angle) = (-2.0 * self.uniform().ln(), self.uniform());
            let normal = radius.sqrt() * (std::f64::consts::TAU * angle).cos();
            (SIGMA * normal - SIGMA * SIGMA / 2.0).exp()
        }
    }

    /// One group of viewers, all alike.
    fn group(dice: &mut Dice, viewers: u64, rate: f64, valued: bool) -> Sums {
        let mut sums = Sums::default();
        let mut at = dice.until_next(rate);
        while at < viewers {
            sums.add(if valued { dice.value() } else { 1.0 }, 0.0);
            at += 1 + dice.until_next(rate);
        }
        sums.add_idle(viewers - sums.viewers);
        sums
    }

    /// Returns shares of runs in which the intervals of difference and relative lift cover the truth.
    fn coverage(seed: u64, effect: f64, valued: bool) -> (f64, f64) {
        let mut dice = Dice(seed);
        let (runs, mut covered, mut relative) = (2_000, 0, 0);
        for run in 0..runs {
            let rate = [0.001, 0.005, 0.02, 0.05][run % 4];
            let (exposed, ghosts) = [(90_000, 10_000), (20_000, 20_000)][run / 4 % 2];
            let treated = group(&mut dice, exposed, rate * (1.0 + effect), valued);
            let control = group(&mut dice, ghosts, rate, valued);
            let found = estimate(&treated, &control).unwrap();
            covered += u32::from(found.difference.covers(rate * effect));
            relative += u32::from(found.relative.is_some_and(|lift| lift.covers(effect)));
        }
        (f64::from(covered) / runs as f64, f64::from(relative) / runs as f64)
    }

    #[test]
    fn intervals_cover_the_truth_in_94_to_96_of_100_runs() {
        for (seed, effect, valued) in
            [(1, 0.0, false), (2, 0.2, false), (3, 0.0, true), (4, 0.2, true), (5, -0.1, false)]
        {
            let (difference, relative) = coverage(seed, effect, valued);
            let context = format!("seed {seed}, effect {effect}, valued {valued}");
            assert!((0.94..=0.96).contains(&difference), "{context}: {difference}");
            assert!((0.935..=0.965).contains(&relative), "{context}: relative {relative}");
        }
    }

    /// Viewers of whom a tenth, by chance, buys often, before as after.
    fn habitual(dice: &mut Dice, viewers: u64, effect: f64) -> Sums {
        let mut sums = Sums::default();
        for _ in 0..viewers {
            let rate = if dice.uniform() < 0.1 { 0.2 } else { 0.002 };
            let mut times = |rate: f64, tries: u32| {
                (0..tries).map(|_| f64::from(u8::from(dice.uniform() < rate))).sum::<f64>()
            };
            let after = times(rate * (1.0 + effect), 1);
            sums.add(after, times(rate, 4));
        }
        sums
    }

    #[test]
    fn what_viewers_did_before_makes_intervals_narrower_and_no_less_true() {
        let mut dice = Dice(11);
        let (runs, mut covered) = (2_000, 0);
        let (mut width, mut plain_width) = (0.0, 0.0);
        for _ in 0..runs {
            let treated = habitual(&mut dice, 3_000, 0.3);
            let control = habitual(&mut dice, 1_000, 0.0);
            let found = estimate(&treated, &control).unwrap();
            covered += u32::from(found.difference.covers(0.0218 * 0.3));
            let blind =
                |sums: &Sums| Sums { before: 0.0, before_squares: 0.0, products: 0.0, ..*sums };
            let plain = estimate(&blind(&treated), &blind(&control)).unwrap();
            width += found.difference.high - found.difference.low;
            plain_width += plain.difference.high - plain.difference.low;
            assert!(found.explained > 0.0 && plain.explained == 0.0);
        }
        let share = f64::from(covered) / f64::from(runs);
        assert!((0.94..=0.96).contains(&share), "{share}");
        assert!(width < 0.97 * plain_width, "{width} of {plain_width}");
    }

    #[test]
    fn an_always_valid_interval_covers_the_truth_at_every_look() {
        let mut dice = Dice(21);
        let runs = 1_000;
        for (rate, effect) in [(0.02, 0.0), (0.02, 0.2)] {
            let (mut missed, mut ended) = (0, 0);
            for _ in 0..runs {
                let [mut treated, mut control] = [Sums::default(); 2];
                let mut out = false;
                for viewer in 0..40_000 {
                    let (sums, rate) = match viewer % 5 {
                        0 => (&mut control, rate),
                        _ => (&mut treated, rate * (1.0 + effect)),
                    };
                    let acts = dice.uniform() < rate;
                    if acts {
                        sums.add(1.0, 0.0)
                    } else {
                        sums.add_idle(1)
                    }
                    // Only an outcome moves the interval by more than a viewer's share.
                    if acts && !out {
                        let found = estimate(&treated, &control).and_then(|it| it.always_valid);
                        out = found.is_some_and(|it| !it.covers(0.02 * effect));
                    }
                }
                missed += u32::from(out);
                let found = estimate(&treated, &control).unwrap();
                ended += u32::from(!found.difference.covers(0.02 * effect));
            }
            assert!(f64::from(missed) <= 0.05 * f64::from(runs), "{effect}: {missed} missed");
            assert!(ended > 0, "the other interval is no wider");
        }
    }

    #[test]
    fn a_plain_interval_that_is_looked_at_always_is_not_valid() {
        let (mut dice, runs, mut missed) = (Dice(31), 300, 0);
        for _ in 0..runs {
            let [mut treated, mut control] = [Sums::default(); 2];
            let out = (0..20_000).any(|viewer| {
                let sums = if viewer % 2 == 0 { &mut control } else { &mut treated };
                let acts = dice.uniform() < 0.02;
                if acts {
                    sums.add(1.0, 0.0)
                } else {
                    sums.add_idle(1)
                }
                let few = treated.active.min(control.active) < ALWAYS_VALID_FROM;
                acts && !few && !estimate(&treated, &control).unwrap().difference.covers(0.0)
            });
            missed += u32::from(out);
        }
        assert!(f64::from(missed) > 0.15 * f64::from(runs), "{missed}");
    }

    #[test]
    fn the_smallest_effect_is_that_of_the_textbook() {
        let half = group(&mut Dice(41), 50_000, 0.02, false);
        let found = estimate(&half, &half).unwrap();
        let p = half.mean();
        let textbook = 2.8 * (2.0 * p * (1.0 - p) / half.count()).sqrt();
        assert!((found.smallest_found / textbook - 1.0).abs() < 1e-4);
        let tenth = group(&mut Dice(42), 5_000, 0.02, false);
        assert!(estimate(&half, &tenth).unwrap().smallest_found > 2.0 * found.smallest_found);
    }

    #[test]
    fn an_effect_of_that_size_is_found_four_times_in_five() {
        let (mut dice, runs, mut hits) = (Dice(51), 2_000, 0);
        for _ in 0..runs {
            let effect = 2.8 * (2.0 * 0.02 * 0.98 / 20_000.0_f64).sqrt();
            let treated = group(&mut dice, 20_000, 0.02 + effect, false);
            let control = group(&mut dice, 20_000, 0.02, false);
            hits += u32::from(estimate(&treated, &control).unwrap().difference.low > 0.0);
        }
        let share = f64::from(hits) / f64::from(runs);
        assert!((0.76..=0.84).contains(&share), "{share}");
    }

    #[test]
    fn nothing_is_claimed_of_groups_without_viewers_or_outcomes() {
        let mut some = Sums::default();
        some.add_idle(10);
        assert_eq!(estimate(&Sums::default(), &some), None);
        let idle = estimate(&some, &some).unwrap();
        let nothing = Interval::default();
        assert_eq!((idle.difference, idle.relative, idle.always_valid), (nothing, None, None));
        assert_eq!((idle.smallest_found, idle.explained), (0.0, 0.0));
    }

    #[test]
    fn groups_of_another_ratio_than_asked_for_are_told() {
        assert!(sample_ratio_p_value(9_000, 1_000, 100_000) > 0.99);
        assert!((sample_ratio_p_value(9_059, 941, 100_000) - 0.0492).abs() < 0.001);
        assert!(sample_ratio_p_value(9_500, 500, 100_000) < 1e-6);
        assert!((sample_ratio_p_value(0, 0, 100_000) - 1.0).abs() < f64::EPSILON);
    }
}
