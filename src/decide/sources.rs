//! What a followed code or web button changes: it is counted, and costs nothing.

use crate::decide::Decided;
use crate::decide::record::event_time;
use crate::state::catalog::Catalog;
use crate::types::proto::journal::v1::SourceTapped;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// Judges a tap on an entry source. Nothing names a tap, so each one counts.
pub fn tapped(
    catalog: &Catalog,
    source: u64,
    country: u16,
    at: Option<Moment>,
    now: Moment,
) -> Decided {
    let Some(known) = catalog.source(source) else {
        return Decided::Refused(Refusal::new(Reason::NotFound, "source", "no such source"));
    };
    match event_time(at, now) {
        Ok(at) => Decided::Facts(vec![Kind::SourceTapped(SourceTapped {
            source,
            endpoint: known.endpoint,
            event_ms: at.0,
            country: country.into(),
        })]),
        Err(refusal) => Decided::Refused(refusal),
    }
}
