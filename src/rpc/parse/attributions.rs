//! What analysts ask of the attribution stream.

use crate::rpc::parse::field::{Path, moment};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// Returns the moment up to which rows were known; `None`: now.
pub(in crate::rpc) fn as_of(
    wire: &v1::PullAttributionsRequest,
    now: Moment,
) -> Result<Option<Moment>, Refusal> {
    let path = Path::root("as_of");
    let Some(at) = moment(wire.as_of, path)? else { return Ok(None) };
    if at > now {
        let message = "is in the future: what will be known is not; send a moment up to now";
        return Err(path.refuse(Reason::FieldInvalid, message));
    }
    if wire.follow {
        let message = "goes with no as_of: what was known at a moment changes no more";
        return Err(Path::root("follow").refuse(Reason::FieldInvalid, message));
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_is_asked_of_the_past_and_not_followed() {
        let ask = |seconds, follow| {
            let as_of = Some(prost_types::Timestamp { seconds, nanos: 0 });
            let wire = v1::PullAttributionsRequest { as_of, follow, ..Default::default() };
            as_of_at(&wire).map_err(|refusal| refusal.field.into_owned())
        };
        let as_of_now = 1_800_000_000;
        assert_eq!(ask(as_of_now, false), Ok(Some(Moment(as_of_now * 1_000))));
        assert_eq!(ask(as_of_now + 1, false), Err("as_of".to_owned()));
        assert_eq!(ask(as_of_now, true), Err("follow".to_owned()));
        let open = v1::PullAttributionsRequest { follow: true, ..Default::default() };
        assert_eq!(as_of_at(&open), Ok(None));
    }

    fn as_of_at(wire: &v1::PullAttributionsRequest) -> Result<Option<Moment>, Refusal> {
        as_of(wire, Moment(1_800_000_000_000))
    }
}
