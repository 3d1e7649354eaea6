//! Where an account's conversions are sent: what a write of it becomes.

use crate::state::catalog::Catalog;
use crate::types::proto::journal::v1::ConversionPushPut;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::PushChange;
use crate::types::time::Moment;

/// Judges a write; tells too whether it makes a new key.
///
/// # Errors
/// `NotFound` for an account that is not the caller's.
pub fn set_push(
    catalog: &Catalog,
    change: &PushChange,
    now: Moment,
) -> Result<(ConversionPushPut, bool), Refusal> {
    let owner = catalog.tenant_of(change.account);
    if !owner.is_some_and(|owner| change.scope.any || owner == change.scope.tenant) {
        return Err(Refusal::new(Reason::NotFound, "account_id", "no such id"));
    }
    let known = catalog.pushes.get(&change.account).map(|known| known.0.clone());
    let known = known.unwrap_or_default();
    let sends = !change.url.is_empty();
    let new_key = change.rotate_key || (sends && known.key_version == 0);
    // Another URL goes on where the last one was; after a pause nothing is made up for.
    let goes_on = sends && !known.url.is_empty();
    let put = ConversionPushPut {
        account: change.account,
        url: change.url.clone(),
        key_version: known.key_version + u32::from(new_key),
        from_ms: if goes_on { known.from_ms } else { now.0 },
        test_event_code: change.test_event_code.clone(),
    };
    Ok((put, new_key))
}
