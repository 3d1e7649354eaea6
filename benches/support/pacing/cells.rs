//! The suite's cells: pairs of days, budgets, and what goes otherwise than forecast.

use munadi::decide::pacing::plan::{Plan, Shape, Slot};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::pacing::data::{Data, Draw, Offer};
use crate::pacing::day::{Auction, Cell, DAY_MINUTES, best};

/// Budgets as parts of what all auctions of the day cost.
pub(crate) const BUDGETS: [i64; 5] = [32, 16, 8, 4, 2];

/// Auctions of a generated day.
const OFFERS: usize = 60_000;

/// How a day differs from what was forecast.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) name: &'static str,
    /// Today's day of the week, 0 is Monday; and that of the shape that is forecast.
    pub(crate) days: (usize, usize),
    /// Factor on today's prices.
    pub(crate) prices: f64,
    /// Factor on them in a sixth of the day, from a minute on.
    pub(crate) shock: Option<(u32, f64)>,
    /// Minutes by which spending is reported late.
    pub(crate) delay: u32,
    /// The budget changes by this factor at a minute.
    pub(crate) change: Option<(u32, f64)>,
}

/// Nothing but the weekday differs.
pub(crate) const PLAIN: Turn =
    Turn { name: "", days: (2, 1), prices: 1.0, shock: None, delay: 0, change: None };

/// Makes cells out of data.
pub(crate) struct Maker<'a> {
    pub(crate) data: &'a Data,
    pub(crate) random: Xoshiro256PlusPlus,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(data: &'a Data) -> Self {
        Self { data, random: Xoshiro256PlusPlus::seed_from_u64(7) }
    }

    /// Returns the suite.
    pub(crate) fn suite(&mut self) -> Vec<Cell> {
        let mut cells = Vec::new();
        let quarter = self.data.log.len() / 4;
        let quarters: Vec<_> = self.data.log.chunks_exact(quarter.max(1)).take(4).collect();
        for at in 1..quarters.len() {
            for (from, to) in [(at - 1, at), (at, at - 1)] {
                let name = format!("2997 quarter {} to {}", from + 1, to + 1);
                cells.extend(self.pair(&name, quarters[from], quarters[to], PLAIN));
            }
        }
        for at in 0..self.data.prices.len() {
            let drift = self.data.prices[at].drift;
            cells.extend(self.drawn(at, 1.0, Turn { prices: drift, ..PLAIN }));
        }
        for volume in [0.7, 1.3] {
            for days in [(2, 1), (2, 6)] {
                let turn = Turn { name: "prices x1.3", days, prices: 1.3, ..PLAIN };
                cells.extend(self.drawn(0, volume, turn));
            }
        }
        for begin in [600, 1_020] {
            let turn = Turn { name: "shock", shock: Some((begin, 2.0)), ..PLAIN };
            cells.extend(self.drawn(0, 1.0, turn));
        }
        cells
    }

    /// Returns the cells of generated days with one advertiser's prices, today with a factor on its volume.
    pub(crate) fn drawn(&mut self, advertiser: usize, volume: f64, turn: Turn) -> Vec<Cell> {
        let prices = &self.data.prices[advertiser];
        let draw = Draw::new(prices);
        let offers = |count: f64, random: &mut Xoshiro256PlusPlus| -> Vec<_> {
            (0..count as usize).map(|_| draw.offer(random)).collect()
        };
        let yesterday = offers(OFFERS as f64, &mut self.random);
        let today = offers(OFFERS as f64 * volume, &mut self.random);
        let name = format!("{} {} volume x{volume}", prices.advertiser, turn.name);
        self.pair(&name, &yesterday, &today, turn)
    }

    /// Returns the cells of two days, one a budget.
    pub(crate) fn pair(
        &mut self,
        name: &str,
        yesterday: &[Offer],
        today: &[Offer],
        turn: Turn,
    ) -> Vec<Cell> {
        let regions = &self.data.traffic;
        let region = regions[self.random.random_range(0..regions.len())];
        let forecast = day_of(&Shape::of(&region), turn.days.1);
        let truth = day_of(&Shape::of(&region), turn.days.0);
        let yesterday = self.spread(yesterday, &day_of(&Shape::of(&region), turn.days.1));
        let mut today = self.spread(today, &truth);
        for auction in &mut today {
            let shock = turn.shock.filter(|shock| {
                let minute = u32::from(auction.minute);
                (shock.0..shock.0 + DAY_MINUTES / 6).contains(&minute)
            });
            let factor = turn.prices * shock.map_or(1.0, |shock| shock.1);
            auction.price = (auction.price as f64 * factor) as i64;
        }
        let total: i64 = today.iter().map(|auction| auction.price).sum();
        let cell = |part: i64| {
            let budget = total / part;
            Cell {
                name: format!("{name} budget 1/{part}"),
                yesterday: yesterday.clone(),
                today: today.clone(),
                forecast: forecast.clone(),
                truth: truth.clone(),
                budget,
                change: turn.change.map(|(at, by)| (at, (budget as f64 * by) as i64)),
                ceiling: 4.0 * best(&yesterday, budget as f64).worst,
                delay: turn.delay,
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
