//! Whether there is room for what a tenant writes: for one more thing of its kind, and for the answer, which is
//! remembered for a day. Operators are trusted, and refused neither.

use crate::decide::mutate::THINGS_MAX;
use crate::state::catalog::{ANSWERS_BYTES_MAX, ANSWERS_OF_TENANT_BYTES_MAX, Catalog};
use crate::types::ids::{IdKind, number_of};
use crate::types::proto::journal::v1::RequestAnswered;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::{HOUR_MS, Moment};

/// Most things of one kind of one tenant, archived ones too: a quarter of all.
pub const THINGS_OF_TENANT_MAX: u64 = THINGS_MAX / 4;

/// Finds room for a new thing. `id` is the next free one.
///
/// # Errors
/// `TooLarge` where the engine is full, `TenantFull` where the tenant has as many as one may have.
pub(super) fn for_thing(
    catalog: &Catalog,
    (tenant, is_operator): (u32, bool),
    (kind, id): (IdKind, u64),
) -> Result<(), Refusal> {
    if number_of(id) > THINGS_MAX {
        let message = "this engine holds as many things of this kind as it can";
        return Err(Refusal::new(Reason::TooLarge, "", message));
    }
    if !is_operator && catalog.things_of(tenant, kind) >= THINGS_OF_TENANT_MAX {
        let message = format!(
            "the tenant has {THINGS_OF_TENANT_MAX} things of this kind, archived ones too, which is \
             as many as one may have: change those that are there, or ask the operator"
        );
        return Err(Refusal::new(Reason::TenantFull, "", message));
    }
    Ok(())
}

/// Finds room for the answer to a write.
///
/// # Errors
/// `AnswersFull`, with the time after which there may be some. No answer is forgotten before its time, for the same
/// write would then be done twice.
pub fn for_answer(
    catalog: &Catalog,
    is_operator: bool,
    answered: &RequestAnswered,
    now: Moment,
) -> Result<(), Refusal> {
    let Some(until_ms) = catalog.answers_full_until(answered).filter(|_| !is_operator) else {
        return Ok(());
    };
    let after_ms = (until_ms - now.0).max(1);
    let message = format!(
        "the answers to a day's writes take as much memory as they may ({} MiB of one tenant, {} \
         MiB in all): nothing was changed; send the same again in {} hours, and fewer or smaller \
         writes a day",
        ANSWERS_OF_TENANT_BYTES_MAX >> 20,
        ANSWERS_BYTES_MAX >> 20,
        after_ms / HOUR_MS + 1,
    );
    Err(Refusal::new(Reason::AnswersFull, "request_id", message).after_ms(after_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::mutate::{Spent, mutate};
    use crate::types::proto::v1::Account;
    use crate::types::request::{Author, Change, Mutation, Resource};
    use crate::types::time::DAY_MS;
    use crate::types::token::PrefillCode;

    const TENANT: u32 = 5;

    /// Creates an account, and returns why it was refused.
    fn refused(catalog: &Catalog, any_tenant: bool, now_ms: i64) -> Option<Refusal> {
        let account = Account {
            name: "Tacos el Rey".into(),
            currency: "MXN".into(),
            time_zone: "UTC".into(),
            ..Account::default()
        };
        let mutation = Mutation {
            tenant: TENANT,
            any_tenant,
            request_id: "new".into(),
            body_hash: [0; 16],
            by: Author::default(),
            validate_only: false,
            approve: true,
            change: Change::Create(Resource::Account(account)),
        };
        let (code, now) = (PrefillCode::default(), Moment(now_ms));
        mutate(catalog, &mutation, &|_| Spent::default(), code, now).err()
    }

    #[test]
    fn a_tenant_has_a_share_of_all_things_and_an_operator_as_many_as_there_are() {
        let with = |tenant, kind, count| {
            let mut catalog = Catalog::default();
            catalog.pretend_things(tenant, kind, count);
            catalog
        };
        let full = with(TENANT, IdKind::Account, THINGS_OF_TENANT_MAX);
        let refusal = refused(&full, false, 0).expect("the tenant is full");
        assert_eq!((refusal.reason, refusal.retry_after_ms), (Reason::TenantFull, 0));
        assert_eq!(refused(&full, true, 0), None);
        let others = [
            with(TENANT, IdKind::Account, THINGS_OF_TENANT_MAX - 1),
            with(TENANT, IdKind::Ad, THINGS_OF_TENANT_MAX),
            with(TENANT + 1, IdKind::Account, THINGS_OF_TENANT_MAX),
        ];
        assert!(others.iter().all(|catalog| refused(catalog, false, 0).is_none()));
    }

    #[test]
    fn what_cannot_be_remembered_is_not_done_and_says_when_it_can() {
        let mut catalog = Catalog::default();
        catalog.pretend_answers(TENANT, ANSWERS_OF_TENANT_BYTES_MAX, 1_000);
        let refusal = refused(&catalog, false, 5_000).expect("nothing more can be remembered");
        assert_eq!(refusal.reason, Reason::AnswersFull);
        assert_eq!(refusal.retry_after_ms, DAY_MS - 4_000);
        assert_eq!(refused(&catalog, true, 5_000), None, "an operator");
    }
}
