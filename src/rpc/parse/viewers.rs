//! A viewer whom the platform tells: hashed at the door, as its requests for ads are.

use crate::rpc::limits::PSEUDONYM_CHARS_MAX;
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::field::{Path, required, text};
use crate::tokens::{Sealer, viewer_number};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};

/// Returns the number of a viewer whom the platform tells; 0: it tells none.
///
/// # Errors
/// When the caller is neither the platform itself nor an operator, when there is no such feed, or when the
/// pseudonym is empty or too long.
pub(in crate::rpc::parse) fn told_viewer(
    desk: &Desk<'_>,
    wire: Option<&v1::ViewerRef>,
    path: Path,
) -> Result<u64, Refusal> {
    let Some(wire) = wire else { return Ok(0) };
    if desk.tenant != 0 {
        let message = "only the platform itself or an operator may say who it was: leave it empty";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    number_of(desk.sealer, wire, path)
}

/// Returns the number of the viewer that an operator names.
///
/// # Errors
/// When none is named, when there is no such feed, or when the pseudonym is empty or too long.
pub(in crate::rpc) fn named_viewer(
    sealer: &Sealer,
    wire: Option<&v1::ViewerRef>,
) -> Result<u64, Refusal> {
    let path = Path::root("viewer");
    number_of(sealer, required(wire, path)?, path)
}

fn number_of(sealer: &Sealer, wire: &v1::ViewerRef, path: Path) -> Result<u64, Refusal> {
    text(&wire.viewer_id, PSEUDONYM_CHARS_MAX, path.field("viewer_id"))?;
    let link = sealer.ring().link(wire.feed_id).ok_or_else(|| {
        let message = "no such feed: send the id under which the feed asks for ads";
        path.field("feed_id").refuse(Reason::NotFound, message)
    })?;
    Ok(viewer_number(link, &wire.viewer_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};

    fn told(tenant: u32, feed_id: u32, viewer_id: &str) -> Result<u64, Refusal> {
        let sealer = sealer();
        let desk = Desk { sealer: &sealer, tenant, now: NOW };
        let wire = v1::ViewerRef { feed_id, viewer_id: viewer_id.into() };
        told_viewer(&desk, Some(&wire), Path::root("viewer"))
    }

    #[test]
    fn a_viewer_is_the_one_that_its_feed_asks_for() {
        let sealer = sealer();
        let link = sealer.ring().link(FEED).unwrap();
        assert_eq!(told(0, FEED, "ana").unwrap(), viewer_number(link, "ana"));
        let desk = Desk { sealer: &sealer, tenant: 4, now: NOW };
        assert_eq!(told_viewer(&desk, None, Path::root("viewer")), Ok(0));
    }

    #[test]
    fn each_field_of_a_viewer_is_refused_by_its_path_and_so_are_advertisers() {
        let check = |told: Result<u64, Refusal>, field: &str, reason| {
            let refusal = told.unwrap_err();
            assert_eq!((&*refusal.field, refusal.reason), (field, reason));
        };
        check(told(4, FEED, "ana"), "viewer", Reason::FieldInvalid);
        check(told(0, FEED + 1, "ana"), "viewer.feed_id", Reason::NotFound);
        check(told(0, FEED, ""), "viewer.viewer_id", Reason::FieldMissing);
        let long = "x".repeat(PSEUDONYM_CHARS_MAX + 1);
        check(told(0, FEED, &long), "viewer.viewer_id", Reason::TooLarge);
    }
}
