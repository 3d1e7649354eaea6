//! Printed codes and web buttons: a tap on one is counted and costs nothing, and a conversation that brings
//! its code is of it.

use crate::decide::Decided;
use crate::decide::record::event_time;
use crate::state::catalog::Catalog;
use crate::types::proto::journal::v1::SourceTapped;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Claim, Opening};
use crate::types::time::Moment;

/// Returns an opening at an endpoint with the code of one of its sources taken for that source, whose entry
/// point then counts. Any other code is a click's, or nobody's: whoever delivers it finds that out.
pub fn resolved(catalog: &Catalog, endpoint: u64, opening: Opening) -> Opening {
    let source = match opening.claim {
        Some(Claim::Code(code)) => catalog.source_of_code(code.number()),
        Some(Claim::Source(source)) => catalog.source(source),
        Some(Claim::Click(_) | Claim::Ad(_)) | None => None,
    };
    match source.filter(|source| source.endpoint == endpoint) {
        Some(source) => Opening {
            claim: Some(Claim::Source(source.id)),
            entry_point: source.entry_point,
            ..opening
        },
        None => opening,
    }
}

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
