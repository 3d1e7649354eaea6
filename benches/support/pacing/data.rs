//! Where auctions come from: the real logs of a folder, or generated ones of the same kind.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use munadi::decide::pacing::plan::WEEK_HOURS;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What one price unit of the logs (a CPM) costs for one impression, micros.
pub(crate) const PRICE_UNIT: i64 = 1_000;

/// The advertisers of the price histograms.
const ADVERTISERS: [u32; 9] = [1458, 2259, 2261, 2821, 2997, 3358, 3386, 3427, 3476];

/// One auction without its moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Predicted goal events of one impression.
    pub(crate) rate: f64,
    /// What winning costs, micros.
    pub(crate) price: i64,
}

/// The prices of one advertiser.
pub(crate) struct Prices {
    pub(crate) advertiser: u32,
    /// How often each price was seen.
    pub(crate) counts: Vec<f64>,
    /// Mean price of the following days by that of these.
    pub(crate) drift: f64,
}

/// Everything the suite is made of.
pub(crate) struct Data {
    pub(crate) real: bool,
    /// A log in order of time.
    pub(crate) log: Vec<Offer>,
    pub(crate) prices: Vec<Prices>,
    /// Traffic by hour of the week, hour 0 on Monday at midnight, by region.
    pub(crate) traffic: Vec<[f64; WEEK_HOURS]>,
}

impl Data {
    /// Reads `ipinyou` and `bat` of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let ipinyou = folder.join("ipinyou");
        let log = read_log(&ipinyou.join("rlbdp_2997_test.theta.txt.gz"))?;
        let read = |&advertiser: &u32| {
            let path = ipinyou.join(format!("rlbdp_{advertiser}_info.json"));
            read_prices(advertiser, &path)
        };
        let prices = ADVERTISERS.iter().map(read).collect::<Result<_, _>>()?;
        let traffic = read_traffic(&folder.join("bat/traffic_share.csv"))?;
        Ok(Self { real: true, log, prices, traffic })
    }

    /// Makes logs, prices and shapes of the same kind.
    pub(crate) fn generate(seed: u64, offers: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let prices: Vec<_> =
            ADVERTISERS.iter().map(|&advertiser| made_prices(advertiser, &mut random)).collect();
        let draw = Draw::new(&prices[4]);
        let log = (0..offers).map(|_| draw.offer(&mut random)).collect();
        let traffic = (0..20).map(|_| made_week(&mut random)).collect();
        Self { real: false, log, prices, traffic }
    }
}

/// Draws offers of an advertiser's prices, with generated rates.
pub(crate) struct Draw {
    /// Cumulative counts.
    ends: Vec<f64>,
}

impl Draw {
    pub(crate) fn new(prices: &Prices) -> Self {
        let add = |sum: &mut f64, count: &f64| {
            *sum += count;
            Some(*sum)
        };
        Self { ends: prices.counts.iter().scan(0.0, add).collect() }
    }

    /// Returns an offer: rates are log-normal and dearer ones a little better, as in the log of 2997.
    pub(crate) fn offer(&self, random: &mut Xoshiro256PlusPlus) -> Offer {
        let total = self.ends.last().copied().unwrap_or_default();
        let place = random.random::<f64>() * total;
        let price = self.ends.partition_point(|&end| end <= place).min(self.ends.len() - 1);
        let dear = ((price as f64 + 10.0) / 80.0).ln();
        let rate = (0.0036 * (0.39 * bell(random) + 0.09 * dear).exp()).min(1.0);
        Offer { rate, price: price as i64 * PRICE_UNIT }
    }
}

/// Returns a number that is normal, near enough.
pub(crate) fn bell(random: &mut Xoshiro256PlusPlus) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

fn made_prices(advertiser: u32, random: &mut Xoshiro256PlusPlus) -> Prices {
    let (middle, width) = (random.random_range(35.0..80.0), random.random_range(0.75..1.0));
    let mut counts = vec![0.0; 301];
    for _ in 0..200_000 {
        let price: f64 = middle * (width * bell(random)).exp();
        counts[(price as usize).min(300)] += 1.0;
    }
    // Floors of publishers: many auctions at one price.
    for _ in 0..4 {
        counts[random.random_range(5..150)] += random.random_range(5_000.0..30_000.0);
    }
    Prices { advertiser, counts, drift: random.random_range(0.85..1.2) }
}

fn made_week(random: &mut Xoshiro256PlusPlus) -> [f64; WEEK_HOURS] {
    let (noon, evening) = (random.random_range(0.6..1.2), random.random_range(0.8..1.4));
    let shift = random.random_range(-1.0..1.0);
    std::array::from_fn(|hour| {
        let (day, hour) = (hour / 24, (hour % 24) as f64 + shift);
        let hump = |middle: f64, width: f64| (-((hour - middle) / width).powi(2)).exp();
        let weekend = if day >= 5 { 0.85 } else { 1.0 };
        let shape = 0.06 + noon * hump(12.0 + weekend, 4.5) + evening * hump(20.5, 3.0);
        weekend * shape * random.random_range(0.95..1.05)
    })
}

fn read_log(path: &Path) -> Result<Vec<Offer>, Box<dyn Error>> {
    let output = Command::new("gzip").arg("-dc").arg(path).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", path.display(), output.status).into());
    }
    let parse = |line: &str| -> Result<Offer, Box<dyn Error>> {
        let mut fields = line.split_whitespace().skip(1);
        let price: i64 = fields.next().ok_or("a price is missing")?.parse()?;
        let rate = fields.next().ok_or("a rate is missing")?.parse()?;
        Ok(Offer { rate, price: price * PRICE_UNIT })
    };
    String::from_utf8(output.stdout)?.lines().map(parse).collect()
}

fn read_prices(advertiser: u32, path: &Path) -> Result<Prices, Box<dyn Error>> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let number = |name: &str| json[name].as_f64().ok_or_else(|| format!("{name} is missing"));
    let counts = json["price_counter_train"].as_array().ok_or("prices are missing")?;
    let counts = counts.iter().map(|count| count.as_f64().unwrap_or_default()).collect();
    let mean = |day: &str| -> Result<f64, Box<dyn Error>> {
        Ok(number(&format!("cost_{day}"))? / number(&format!("imp_{day}"))?)
    };
    Ok(Prices { advertiser, counts, drift: mean("test")? / mean("train")? })
}

fn read_traffic(path: &Path) -> Result<Vec<[f64; WEEK_HOURS]>, Box<dyn Error>> {
    let mut regions = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(path)?.lines().skip(1) {
        let fields: Vec<_> = line.split(',').collect();
        let &[region, day, hour, share] = &fields[..] else { return Err("four fields".into()) };
        let at = (day.parse::<usize>()? + 6) % 7 * 24 + hour.parse::<usize>()?;
        let week = regions.entry(region.parse::<u64>()?).or_insert([0.0; WEEK_HOURS]);
        *week.get_mut(at).ok_or("an hour beyond the week")? = share.parse()?;
    }
    Ok(regions.into_values().collect())
}
