//! Money put into an account or taken out: once for each transfer id, for ever.

use crate::state::catalog::Catalog;
use crate::state::purses::{Funding, Purse};
use crate::types::ids::IdKind;
use crate::types::money::{FUNDINGS_MAX, PAID_IN_MICROS_MAX};
use crate::types::proto::journal::v1::Funded;
use crate::types::proto::v1::{LedgerAccount, TransferKind};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::FundRequest;

/// Judges a transfer; `None`: it stands already.
///
/// # Errors
/// With the field at fault; nothing is changed then.
pub fn fund(
    catalog: &Catalog,
    purse: Option<&Purse>,
    request: &FundRequest,
) -> Result<Option<Funded>, Refusal> {
    if catalog.account_of(IdKind::Account, request.account).is_none() {
        return Err(Refusal::new(Reason::NotFound, "account_id", "no such id"));
    }
    let currency = catalog.currency_of(request.account).unwrap_or_default();
    if request.amount.currency != currency {
        let message = format!("must be in the account's currency, {currency}");
        return Err(Refusal::new(Reason::CurrencyInvalid, "amount.currency", message));
    }
    match purse.and_then(|purse| purse.fundings.get(&request.transfer)) {
        Some(known) if same(known, request) => return Ok(None),
        Some(_) => {
            let message = "this transfer id was used with another kind, amount or reason: \
                           transfers never change, make another one";
            return Err(Refusal::new(Reason::TransferIdReused, "transfer_id", message));
        }
        None => {}
    }
    if let Some(purse) = purse {
        fits(purse, request)?;
    } else if request.kind == TransferKind::Withdrawal {
        return Err(too_low(0));
    }
    Ok(Some(Funded {
        transfer: request.transfer.to_be_bytes().to_vec(),
        account: request.account,
        kind: request.kind.into(),
        amount: request.amount.micros,
        reason: request.reason.clone(),
    }))
}

fn same(known: &Funding, request: &FundRequest) -> bool {
    known.kind == i32::from(request.kind)
        && known.amount == request.amount.micros
        && known.reason == request.reason
}

fn fits(purse: &Purse, request: &FundRequest) -> Result<(), Refusal> {
    // Whoever has as many transfers as there can be must still be paid out.
    if request.kind == TransferKind::Withdrawal {
        let funds = purse.funds();
        let most = funds.prepaid.saturating_add(funds.granted_prepaid);
        return if request.amount.micros <= most { Ok(()) } else { Err(too_low(most)) };
    }
    if purse.fundings.len() >= FUNDINGS_MAX {
        let message = format!("the account has {FUNDINGS_MAX} transfers, the most it can have");
        return Err(Refusal::new(Reason::TooLarge, "account_id", message));
    }
    let ever = |account| purse.ledger.sums(account).debits;
    let ever = ever(LedgerAccount::Funding) + ever(LedgerAccount::PromoGiven);
    let most = i128::from(PAID_IN_MICROS_MAX) - ever;
    if i128::from(request.amount.micros) > most {
        let message = format!(
            "is {}: of the {PAID_IN_MICROS_MAX} micros that an account may ever be given, {most} \
             are left",
            request.amount.micros
        );
        return Err(Refusal::new(Reason::MoneyInvalid, "amount.micros", message));
    }
    Ok(())
}

fn too_low(most: i64) -> Refusal {
    let message = format!("only prepaid money that is not spent can be paid out: at most {most}");
    Refusal::new(Reason::BalanceTooLow, "amount.micros", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ledger::of_funded;
    use crate::types::proto::v1::Money;
    use crate::types::request::Author;

    #[test]
    fn an_account_with_all_the_transfers_it_can_have_is_still_paid_out() {
        let mut purse = Purse::default();
        let funded = |number| (number, Funding::default());
        purse.fundings = (0..FUNDINGS_MAX as u128).map(funded).collect();
        let kind = TransferKind::Funding.into();
        purse.ledger.post([of_funded(&Funded { kind, amount: 100, ..Funded::default() })]);
        let judged = |kind, micros| {
            let request = FundRequest {
                tenant: 0,
                request_id: String::new(),
                body_hash: [0; 16],
                by: Author::default(),
                account: 1,
                transfer: u128::MAX,
                kind,
                amount: Money { micros, currency: "MXN".into() },
                reason: String::new(),
            };
            fits(&purse, &request).map_err(|refusal| refusal.reason)
        };
        assert_eq!(judged(TransferKind::Withdrawal, 100), Ok(()));
        assert_eq!(judged(TransferKind::Withdrawal, 101), Err(Reason::BalanceTooLow));
        assert_eq!(judged(TransferKind::Funding, 1), Err(Reason::TooLarge));
    }
}
