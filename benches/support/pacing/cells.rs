//! The suite's cells: pairs of days, budgets, and what goes otherwise than forecast.

use std::rc::Rc;

use munadi::decide::pacing::plan::{Plan, Shape, Slot};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::pacing::data::{Data, Draw, Offer};
use crate::pacing::day::{Auction, Cell, DAY_MINUTES, best};

/// Budgets as parts of what all auctions of the day cost.
pub(crate) const BUDGETS: [i64; 5] = [32, 16, 8, 4, 2];

/// How a day differs from what was forecast.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) name: &'static str,
    /// Today's day of the week, 0 is Monday; and yesterday's, whose shape is the forecast.
    pub(crate) days: (usize, usize),
    /// Whether the forecast is the mean shape of all markets instead.
    pub(crate) elsewhere: bool,
    /// Factor on today's volume.
    pub(crate) volume: f64,
    /// Factor on today's prices.
    pub(crate) prices: f64,
    /// Factor on them in a sixth of the day, from a minute on.
    pub(crate) shock: Option<(u32, f64)>,
    /// Minutes by which spending is reported late.
    pub(crate) delay: u32,
    /// The budget changes by this factor at a minute.
    pub(crate) change: Option<(u32, f64)>,
    /// One auction in so many is seen by the landscape.
    pub(crate) sample: u32,
    /// Budgets are so many times smaller.
    pub(crate) smaller: i64,
}

/// Nothing but the weekday differs.
pub(crate) const PLAIN: Turn = Turn {
    name: "as forecast",
    days: (2, 1),
    elsewhere: false,
    volume: 1.0,
    prices: 1.0,
    shock: None,
    delay: 0,
    change: None,
    sample: 1,
    smaller: 1,
};

/// What the further rows of the table differ by.
pub(crate) const ROWS: [Turn; 11] = [
    PLAIN,
    Turn { name: "spend reported 60 s late", delay: 1, ..PLAIN },
    Turn { name: "spend reported 5 min late", delay: 5, ..PLAIN },
    Turn { name: "volume 30 % below forecast", volume: 0.7, ..PLAIN },
    Turn { name: "volume 30 % above forecast", volume: 1.3, ..PLAIN },
    Turn { name: "forecast of all markets", elsewhere: true, ..PLAIN },
    Turn { name: "prices x2 for 4 hours", shock: Some((600, 2.0)), ..PLAIN },
    Turn { name: "budget raised by half at noon", change: Some((720, 1.5)), ..PLAIN },
    Turn { name: "budget cut by 0.3 at noon", change: Some((720, 0.7)), ..PLAIN },
    Turn { name: "landscape of 1 auction in 16", sample: 16, ..PLAIN },
    Turn { name: "budgets 128 times smaller", smaller: 128, ..PLAIN },
];

/// Makes cells out of data.
pub(crate) struct Maker<'a> {
    pub(crate) data: &'a Data,
    random: Xoshiro256PlusPlus,
    /// Auctions of a generated day.
    offers: usize,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(data: &'a Data, offers: usize, seed: u64) -> Self {
        Self { data, random: Xoshiro256PlusPlus::seed_from_u64(seed), offers }
    }

    /// Returns the suite: pairs of quarters, every advertiser's prices with the drift they had, dearer prices
    /// with another volume and weekday, and shocks.
    pub(crate) fn suite(&mut self) -> Vec<Cell> {
        let mut cells = self.quarters(PLAIN);
        for at in 0..self.data.prices.len() {
            let prices = self.data.prices[at].drift;
            cells.extend(self.drawn(at, Turn { name: "with its drift", prices, ..PLAIN }));
        }
        for volume in [0.7, 1.3] {
            for days in [(2, 1), (2, 6)] {
                let turn = Turn { name: "prices x1.3, other volume", prices: 1.3, ..PLAIN };
                cells.extend(self.drawn(0, Turn { days, volume, ..turn }));
            }
        }
        for begin in [600, 1_020] {
            let shock = Some((begin, 2.0));
            cells.extend(self.drawn(0, Turn { name: "with a shock", shock, ..PLAIN }));
        }
        cells
    }

    /// Returns the cells of a row of the table: pairs of quarters, and every advertiser's prices.
    pub(crate) fn row(&mut self, turn: Turn) -> Vec<Cell> {
        let mut cells = self.quarters(turn);
        for at in 0..self.data.prices.len() {
            cells.extend(self.drawn(at, turn));
        }
        cells
    }

    /// Returns the cells of each pair of neighbouring quarters of the log, both ways.
    fn quarters(&mut self, turn: Turn) -> Vec<Cell> {
        let data = self.data;
        let quarters: Vec<_> = data.log.chunks_exact((data.log.len() / 4).max(1)).take(4).collect();
        let mut cells = Vec::new();
        for at in 1..quarters.len() {
            for (from, to) in [(at - 1, at), (at, at - 1)] {
                let name = format!("log, quarter {} to {}, {}", from + 1, to + 1, turn.name);
                let yesterday = self.thinned(quarters[from], 1.0 / turn.volume);
                let today = self.thinned(quarters[to], turn.volume);
                cells.extend(self.pair(&name, &yesterday, &today, turn));
            }
        }
        cells
    }

    /// Returns such a share of some offers, all from 1 up.
    fn thinned(&mut self, offers: &[Offer], share: f64) -> Vec<Offer> {
        offers.iter().filter(|_| self.random.random::<f64>() < share).copied().collect()
    }

    /// Returns the cells of generated days with one advertiser's prices.
    pub(crate) fn drawn(&mut self, advertiser: usize, turn: Turn) -> Vec<Cell> {
        let prices = &self.data.prices[advertiser];
        let draw = Draw::new(prices);
        let mut offers = |count: f64| -> Vec<_> {
            (0..count as usize).map(|_| draw.offer(&mut self.random)).collect()
        };
        let yesterday = offers(self.offers as f64);
        let today = offers(self.offers as f64 * turn.volume);
        let name = format!("{}, {}", prices.advertiser, turn.name);
        self.pair(&name, &yesterday, &today, turn)
    }

    /// Returns the cells of two days, one a budget.
    fn pair(&mut self, name: &str, yesterday: &[Offer], today: &[Offer], turn: Turn) -> Vec<Cell> {
        let regions = &self.data.traffic;
        let region = Shape::of(&regions[self.random.random_range(0..regions.len())]);
        let truth = day_of(&region, turn.days.0);
        let before = day_of(&region, turn.days.1);
        let yesterday = Rc::new(self.spread(yesterday, &before));
        let mut today = self.spread(today, &truth);
        for auction in &mut today {
            let begun = |shock: &(u32, f64)| {
                (shock.0..shock.0 + DAY_MINUTES / 6).contains(&auction.minute.into())
            };
            let factor = turn.prices * turn.shock.filter(begun).map_or(1.0, |shock| shock.1);
            auction.price = (auction.price as f64 * factor) as i64;
        }
        let today = Rc::new(today);
        let forecast = if turn.elsewhere {
            let markets: Vec<_> = regions.iter().map(Shape::of).collect();
            day_of(&Shape::mixed(markets.iter().map(|market| (market, 1.0))), turn.days.1)
        } else {
            before
        };
        let total: i64 = today.iter().map(|auction| auction.price).sum();
        let cell = |part: i64| {
            let budget = total / part / turn.smaller;
            Cell {
                name: format!("{name}, budget 1/{part}"),
                yesterday: yesterday.clone(),
                today: today.clone(),
                forecast: forecast.clone(),
                truth: truth.clone(),
                budget,
                change: turn.change.map(|(at, by)| (at, (budget as f64 * by) as i64)),
                // Four times what would have cleared yesterday.
                ceiling: 4.0 * best(&yesterday, budget as f64).worst,
                delay: turn.delay,
                sample: turn.sample,
            }
        };
        BUDGETS.into_iter().map(cell).collect()
    }

    /// Gives offers their minutes, in their order: arrivals at random, as dense as the traffic.
    fn spread(&mut self, offers: &[Offer], traffic: &Plan) -> Vec<Auction> {
        let mut moments: Vec<f64> = offers.iter().map(|_| self.random.random()).collect();
        moments.sort_by(f64::total_cmp);
        let (whole, mut minute) = (traffic.left(0), 0u16);
        let place = |(offer, moment): (&Offer, f64)| {
            while u32::from(minute) + 1 < DAY_MINUTES
                && traffic.until(u32::from(minute) + 1) <= moment * whole
            {
                minute += 1;
            }
            Auction { minute, rate: offer.rate, price: offer.price }
        };
        offers.iter().zip(moments).map(place).collect()
    }
}

/// Returns the plan of one day of a week.
pub(crate) fn day_of(shape: &Shape, day: usize) -> Plan {
    let slot = |hour: usize| Slot { minutes: 60, hour: (day * 24 + hour) as u8, open: true };
    Plan::new(shape, (0..24).map(slot))
}
