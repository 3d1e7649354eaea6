//! What the node told its callers and reports, against what the auditor counted.

use std::collections::BTreeMap;

use munadi::report::query::Query;
use munadi::types::proto::v1::Dimension;
use munadi::types::request::Scope;

use crate::audit::{Counts, Finding, Key, ensure};
use crate::world::World;

impl World {
    pub(crate) fn check_told(&self) -> Finding {
        for (key, told) in &self.told {
            let (found, charged) = self.ledger.found.get(key).copied().unwrap_or_default();
            let most = told.recorded + told.lost + told.open;
            let again = matches!(key, Key::Ad(_, kind) if *kind as i32 >= 8);
            // A message is heard of, and priced, once each.
            let most_found = if matches!(key, Key::Message(..)) { 2 } else { 1 };
            let once = again || found <= most_found;
            // A volume step that is known is answered, and stands nowhere.
            let idle = matches!(key, Key::Write(_, id) if id.starts_with("tier"));
            let written = matches!(key, Key::Write(..)) && found == 1;
            let heard = found >= told.recorded || written || idle;
            let fits = once && heard && found <= most;
            ensure(fits, || format!("{key:?} stands {found} times in the journal: {told:?}"))?;
            let exact = told.lost + told.open > 0 || charged == told.charged;
            ensure(exact && told.charged <= charged || matches!(key, Key::Write(..)), || {
                format!("{key:?} was charged {charged}: {told:?}")
            })?;
        }
        let stranger = self.ledger.found.keys().find(|key| !self.told.contains_key(key));
        ensure(stranger.is_none(), || format!("nobody sent {stranger:?}"))
    }

    pub(crate) fn check_report(&mut self) -> Finding {
        let query = Query {
            end_hour: u32::MAX,
            dimensions: vec![Dimension::Ad, Dimension::Hour],
            limit: usize::MAX,
            ..Query::default()
        };
        let now = self.clock();
        let scope = Scope { tenant: 0, any: true };
        let (report, _) = self.front().report(scope, &query, now).expect("operators spend nothing");
        let mut reported = BTreeMap::<(u64, i64), Counts>::new();
        for row in &report.rows {
            let hour = row.period.as_ref().map_or(0, |time| time.seconds / 3_600);
            let counts = [
                row.impressions as i64,
                row.viewable as i64,
                row.taps as i64,
                row.conversations as i64,
                row.first_replies as i64,
                row.conversions as i64,
                row.conversion_value_micros,
                row.spend_micros,
                row.over_delivered_micros,
                row.hides as i64,
                row.reports as i64,
            ];
            reported.insert((row.ad_id, hour), counts);
            self.ledger.steps.check((row.ad_id, hour), row)?;
        }
        let untold = self.ledger.steps.hours.keys().find(|key| !reported.contains_key(key));
        ensure(untold.is_none(), || format!("the report leaves out {untold:?}"))?;
        let some = |counts: &&Counts| counts.iter().any(|count| *count != 0);
        for (key, counts) in &self.ledger.tallies {
            let told = reported.get(key).copied().unwrap_or_default();
            ensure(told == *counts, || format!("report {key:?}: {told:?}, counted {counts:?}"))?;
        }
        for (key, _) in reported.iter().filter(|(_, counts)| some(counts)) {
            let known = self.ledger.tallies.contains_key(key);
            ensure(known, || format!("the report invents {key:?}"))?;
        }
        ensure(report.requests == self.ledger.requests, || "requests of the feeds".into())
    }
}
