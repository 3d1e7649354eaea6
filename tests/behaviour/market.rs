//! A market of rivals without limits, in which budgets are paced by the minute.

use std::collections::BTreeMap;

use munadi::types::proto::v1::{EventKind, Money, Targeting};
use munadi::types::request::{Incoming, Verdict};
use munadi::types::time::MINUTE_MS;

use crate::stage::{Offer, Stage, event, letters};

pub(crate) const MXN: i64 = 1_000_000;

/// In each of these somebody else bids one more eighth of 1 MXN for an impression.
pub(crate) const COUNTRIES: [&str; 8] = ["MX", "US", "BR", "IN", "ES", "CO", "AR", "PE"];

/// What winning everything costs a minute.
pub(crate) const ALL: i64 = MXN * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8) / 8;

/// A market of rivals without limits.
pub(crate) struct Market {
    pub(crate) stage: Stage,
    minutes: i64,
    /// Charged to each ad set, by hour since the market opened.
    charged: Vec<Vec<(u64, i64)>>,
    /// Conversations that each ad's impressions were predicted to bring.
    pub(crate) promised: BTreeMap<u64, f64>,
}

impl Market {
    /// Opens at midnight of the accounts' zone.
    pub(crate) fn open(midnight: &str) -> Self {
        let mut stage = Stage::at(midnight);
        stage.policy.floor_cpm_micros = 0;
        for (eighths, country) in (1..).zip(COUNTRIES) {
            let targeting = only(&[country]);
            let bid = MXN / 8 * eighths;
            stage.shop(&Offer { bid, targeting, ..Offer::default() });
        }
        Self { stage, minutes: 0, charged: Vec::new(), promised: BTreeMap::new() }
    }

    /// Lets a viewer of each country ask, and look at what it gets; then a minute passes.
    pub(crate) fn minute(&mut self) {
        let mut seen = Vec::new();
        for country in COUNTRIES {
            let mut request = self.stage.tray_of(&format!("{country} {}", self.minutes));
            request.profile.country = letters(country);
            if let Ok(shown) = self.stage.try_fill(&request) {
                let one = f64::from(u16::MAX);
                let rate = f64::from(shown.token.p_tap) / one * f64::from(shown.token.p_chat) / one;
                *self.promised.entry(shown.token.ad).or_default() += rate;
                seen.push((shown.token.ad, event(&shown, EventKind::Impression)));
            }
        }
        let (ads, events): (Vec<u64>, Vec<Incoming>) = seen.into_iter().unzip();
        let verdicts = self.stage.record_all(events);
        let hour = (self.minutes / 60) as usize;
        self.charged.resize(self.charged.len().max(hour + 1), Vec::new());
        for (ad, verdict) in ads.into_iter().zip(verdicts) {
            let Verdict::Recorded { charged, .. } = verdict else { panic!("{verdict:?}") };
            self.charged[hour].push((ad, charged));
        }
        self.minutes += 1;
        self.stage.wait(MINUTE_MS);
        self.stage.settle();
    }

    pub(crate) fn hours(&mut self, hours: i64) {
        (0..hours * 60).for_each(|_| self.minute());
    }

    /// Returns what ads of these were charged in hours since the market opened.
    pub(crate) fn charged(&self, ads: &[u64], hours: std::ops::Range<usize>) -> i64 {
        let all = self.charged.get(hours.start..hours.end.min(self.charged.len()));
        let charges = all.into_iter().flatten().flatten();
        charges.filter(|(ad, _)| ads.contains(ad)).map(|(_, charged)| charged).sum()
    }
}

pub(crate) fn only(countries: &[&str]) -> Targeting {
    let countries = countries.iter().map(|&country| country.to_owned()).collect();
    Targeting { countries, ..Targeting::default() }
}

/// Offers 2 MXN an impression: more than anybody else.
pub(crate) fn rich(daily: i64) -> Offer {
    Offer {
        bid: 2 * MXN,
        campaign: (Some(daily), None),
        targeting: only(&COUNTRIES),
        ..Offer::default()
    }
}

/// Returns an amount in the accounts' currency.
pub(crate) fn money(micros: i64) -> Money {
    Offer::default().money(micros)
}
