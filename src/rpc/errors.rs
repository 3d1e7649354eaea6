//! The one table from a refusal's reason to a gRPC status and to an item's result.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::guard::ERROR_DOMAIN;
use crate::rpc::limits::RETRY_AFTER;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Verdict;

/// Returns the status of a refused call: a code, what to do, and google.rpc details for programs.
pub fn status(refusal: &Refusal) -> Status {
    let mut details =
        ErrorDetails::with_error_info(refusal.reason.name(), ERROR_DOMAIN, HashMap::new());
    if !refusal.field.is_empty() {
        details.add_bad_request_violation(&*refusal.field, &*refusal.message);
    }
    if matches!(
        refusal.reason,
        Reason::Busy | Reason::Overloaded | Reason::RateExceeded | Reason::Unavailable
    ) {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    if let Some(after_ms) = u64::try_from(refusal.retry_after_ms).ok().filter(|ms| *ms > 0) {
        details.set_retry_info(Some(Duration::from_millis(after_ms)));
    }
    let message = match &*refusal.field {
        "" => refusal.message.to_string(),
        field => format!("{field}: {}", refusal.message),
    };
    Status::with_error_details(code(refusal.reason), message, details)
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        status(&refusal)
    }
}

/// Returns the status of a call that was not answered in time, which says nothing of what it did.
pub fn deadline() -> Status {
    let message = "no answer in time: the outcome is unknown; send the same again, it counts once";
    Status::deadline_exceeded(message)
}

/// Returns an item's result.
pub fn item(verdict: &Verdict) -> v1::ItemResult {
    match verdict {
        Verdict::Recorded { charged, invalid } => v1::ItemResult {
            outcome: v1::ItemOutcome::Recorded.into(),
            charged_micros: *charged,
            invalid: invalid.unwrap_or_default().into(),
            ..v1::ItemResult::default()
        },
        Verdict::Already => {
            v1::ItemResult { outcome: v1::ItemOutcome::Already.into(), ..v1::ItemResult::default() }
        }
        Verdict::Refused(refusal) => refused_item(refusal),
    }
}

/// Returns the result of a refused item.
pub fn refused_item(refusal: &Refusal) -> v1::ItemResult {
    v1::ItemResult {
        outcome: v1::ItemOutcome::Refused.into(),
        reason: refusal.reason.name().to_owned(),
        field: refusal.field.to_string(),
        message: refusal.message.to_string(),
        ..v1::ItemResult::default()
    }
}

/// Returns the gRPC code of a reason.
pub const fn code(reason: Reason) -> Code {
    match reason {
        Reason::FieldInvalid
        | Reason::FieldMissing
        | Reason::TooLarge
        | Reason::MoneyInvalid
        | Reason::CurrencyInvalid
        | Reason::EndBeforeStart
        | Reason::TokenForged
        | Reason::TokenMalformed
        | Reason::EventFromFuture
        | Reason::EventBeforeToken
        | Reason::CursorForeign => Code::InvalidArgument,
        Reason::NotFound | Reason::ConversationUnknown => Code::NotFound,
        Reason::RequestIdReused
        | Reason::IdReused
        | Reason::ContactTaken
        | Reason::TransferIdReused
        | Reason::ClickReplayed => Code::AlreadyExists,
        Reason::EtagMismatch => Code::Aborted,
        Reason::Archived
        | Reason::TokenExpired
        | Reason::ViewMissing
        | Reason::EventTooOld
        | Reason::BalanceTooLow
        | Reason::ConversionRetracted
        | Reason::JournalTrimmed
        | Reason::ViewerFull
        | Reason::ConversationFull => Code::FailedPrecondition,
        Reason::TokenForeign | Reason::EndpointForeign => Code::PermissionDenied,
        Reason::Busy
        | Reason::Overloaded
        | Reason::RateExceeded
        | Reason::ReportBudgetSpent
        | Reason::TenantFull
        | Reason::AnswersFull => Code::ResourceExhausted,
        Reason::Unavailable => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_is_named_for_people_and_for_programs() {
        let refusal =
            Refusal::new(Reason::MoneyInvalid, "campaign.budget.daily.micros", "too much");
        let status = status(&refusal);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "campaign.budget.daily.micros: too much");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "campaign.budget.daily.micros");
        assert_eq!(violations[0].description, "too much");
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("MONEY_INVALID", "munadi"));
        assert!(details.retry_info().is_none(), "the same request would be refused again");
    }

    #[test]
    fn a_busy_node_says_when_to_come_back() {
        for (reason, wanted) in
            [(Reason::Busy, Code::ResourceExhausted), (Reason::Unavailable, Code::Unavailable)]
        {
            let status = status(&Refusal::new(reason, "", "later"));
            assert_eq!((status.code(), status.message()), (wanted, "later"));
            let details = status.get_error_details();
            assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
            assert!(details.bad_request().is_none());
        }
    }

    #[test]
    fn a_spent_budget_is_no_busy_node() {
        let status = status(&Refusal::new(Reason::ReportBudgetSpent, "", "tomorrow"));
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "tomorrow"));
        assert!(status.get_error_details().retry_info().is_none(), "moments later it is the same");
    }

    #[test]
    fn what_can_be_taken_later_says_when() {
        let refusal = Refusal::new(Reason::AnswersFull, "request_id", "later");
        let status = status(&refusal.after_ms(3_600_001));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(3_600_001)));
    }

    #[test]
    fn an_item_tells_how_it_ended() {
        let recorded = item(&Verdict::Recorded { charged: 5, invalid: None });
        assert_eq!(recorded.invalid(), v1::InvalidReason::Unspecified);
        let reason = v1::InvalidReason::TapRate;
        let invalid = item(&Verdict::Recorded { charged: 0, invalid: Some(reason) });
        assert_eq!((invalid.outcome(), invalid.invalid()), (v1::ItemOutcome::Recorded, reason));
        assert_eq!((recorded.outcome(), recorded.charged_micros), (v1::ItemOutcome::Recorded, 5));
        assert_eq!(item(&Verdict::Already).outcome(), v1::ItemOutcome::Already);
        let refusal = Refusal::new(Reason::TokenExpired, "view_token", "drop it");
        let refused = item(&Verdict::Refused(refusal));
        assert_eq!(refused.outcome(), v1::ItemOutcome::Refused);
        let texts = (&*refused.reason, &*refused.field, &*refused.message);
        assert_eq!(texts, ("TOKEN_EXPIRED", "view_token", "drop it"));
    }
}
