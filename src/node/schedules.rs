//! Day parts: which ad sets their own schedule keeps from being served at this hour.

use std::collections::BTreeMap;

use crate::node::live::Live;
use crate::state::catalog::Catalog;
use crate::types::day::hour_of_week_in;
use crate::types::ids::IdKind;
use crate::types::proto::v1::AdSet;
use crate::types::time::{MINUTE_MS, Moment};
use crate::types::week::Week;

/// Clocks of all zones show a full hour at some quarter of an hour.
const QUARTER_MS: i64 = 15 * MINUTE_MS;

/// The ad sets that have a schedule, and when to look at them again.
#[derive(Debug, Default)]
pub(in crate::node) struct Schedules {
    /// By zone, then by ad set.
    of_zone: BTreeMap<String, BTreeMap<u64, Week>>,
    next: Moment,
}

impl Schedules {
    /// Returns the schedules of a catalog; the first look opens and closes them.
    pub(in crate::node) fn of(catalog: &Catalog) -> Self {
        let mut schedules = Self::default();
        for row in catalog.ad_sets.after(0) {
            schedules.put(catalog, &row);
        }
        schedules
    }

    /// Takes an ad set in its newest version; the next look opens or closes it.
    pub(in crate::node) fn note(&mut self, live: &Live, row: &AdSet) {
        let catalog = live.catalog();
        let known =
            self.zone_of(&catalog, row).is_some_and(|known| known.remove(&row.id).is_some());
        if known {
            live.board.set_closed(row.id, false);
        }
        self.put(&catalog, row);
    }

    fn put(&mut self, catalog: &Catalog, row: &AdSet) {
        let Some(week) = Week::of(&row.schedule_hours) else { return };
        if let Some(ad_sets) = self.zone_of(catalog, row) {
            ad_sets.insert(row.id, week);
            self.next = Moment::default();
        }
    }

    fn zone_of(&mut self, catalog: &Catalog, row: &AdSet) -> Option<&mut BTreeMap<u64, Week>> {
        let account = catalog.parent_of(IdKind::Campaign, row.campaign_id)?;
        Some(self.of_zone.entry(catalog.zone_of(account)?.to_owned()).or_default())
    }

    /// Opens and closes what the hour asks for: at each quarter of an hour, and after a change.
    pub(in crate::node) fn look(&mut self, live: &Live, now: Moment) {
        if now.0 < self.next.0 {
            return;
        }
        self.next = Moment((now.0.div_euclid(QUARTER_MS) + 1) * QUARTER_MS);
        for (zone, ad_sets) in &self.of_zone {
            let hour = hour_of_week_in(zone, now);
            for (ad_set, week) in ad_sets {
                live.board.set_closed(*ad_set, !week.has(hour));
            }
        }
    }
}
