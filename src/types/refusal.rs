//! Why something was refused: a stable reason, the field at fault, and what to do.

use std::borrow::Cow;

/// Stable names of refusals. Callers' programs read them: add, never change.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// A field has a value that is not allowed.
    FieldInvalid,
    /// A field that is needed is empty.
    FieldMissing,
    /// A list or text is over its limit.
    TooLarge,
    /// An amount is negative, zero where that makes no sense, or over the limit.
    MoneyInvalid,
    /// The currency is not in ISO 4217, or not the account's.
    CurrencyInvalid,
    /// The end is not after the start.
    EndBeforeStart,
    /// There is no such thing, or it belongs to another tenant.
    NotFound,
    /// The same `request_id` came with another body.
    RequestIdReused,
    /// The etag is not that of the newest version.
    EtagMismatch,
    /// The thing is archived and can't be changed.
    Archived,
    /// The token is not one of this engine's, or was changed on the way.
    TokenForged,
    /// The token is past its end.
    TokenExpired,
    /// The token is of another kind than was asked for, or cannot be read at all.
    TokenMalformed,
    /// The token was given to another feed.
    TokenForeign,
    /// The click was used by another conversation.
    ClickReplayed,
    /// A tap, quartile or feedback came for an ad that was never seen.
    ViewMissing,
    /// The event's time is more than five minutes ahead of the server.
    EventFromFuture,
    /// The event's time is before its token was made.
    EventBeforeToken,
    /// The event is too old to be counted.
    EventTooOld,
    /// The business does not own the channel endpoint.
    EndpointForeign,
    /// The conversation is not known: report its opening first.
    ConversationUnknown,
    /// The viewer's record is full.
    ViewerFull,
    /// The conversation has as many messages as are told apart.
    ConversationFull,
    /// The tenant has as many things of this kind as one may have.
    TenantFull,
    /// As many answers to writes are remembered as can be, of the tenant or in all.
    AnswersFull,
    /// The cursor or page token is of another journal or list.
    CursorForeign,
    /// The same id came with other content.
    IdReused,
    /// The same transfer id came with another content.
    TransferIdReused,
    /// More was to be paid out than is unused.
    BalanceTooLow,
    /// The conversion was retracted: nothing of it can be adjusted any more.
    ConversionRetracted,
    /// The new name of a person has a conversation of its own.
    ContactTaken,
    /// What is asked for lies before the journal's first segment, or before its base.
    JournalTrimmed,
    /// The account's questions about viewers have cost what a day allows.
    ReportBudgetSpent,
    /// The node's queue is full.
    Busy,
    /// The node has more to do than it can, and this comes after other work.
    Overloaded,
    /// The key calls more often than it may.
    RateExceeded,
    /// The node is stopping, or its journal can't be written.
    Unavailable,
}

impl Reason {
    /// Returns the stable name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FieldInvalid => "FIELD_INVALID",
            Self::FieldMissing => "FIELD_MISSING",
            Self::TooLarge => "TOO_LARGE",
            Self::MoneyInvalid => "MONEY_INVALID",
            Self::CurrencyInvalid => "CURRENCY_INVALID",
            Self::EndBeforeStart => "END_BEFORE_START",
            Self::NotFound => "NOT_FOUND",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::Archived => "ARCHIVED",
            Self::TokenForged => "TOKEN_FORGED",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenMalformed => "TOKEN_MALFORMED",
            Self::TokenForeign => "TOKEN_FOREIGN",
            Self::ClickReplayed => "CLICK_REPLAYED",
            Self::ViewMissing => "VIEW_MISSING",
            Self::EventFromFuture => "EVENT_FROM_FUTURE",
            Self::EventBeforeToken => "EVENT_BEFORE_TOKEN",
            Self::EventTooOld => "EVENT_TOO_OLD",
            Self::EndpointForeign => "ENDPOINT_FOREIGN",
            Self::ConversationUnknown => "CONVERSATION_UNKNOWN",
            Self::ViewerFull => "VIEWER_FULL",
            Self::ConversationFull => "CONVERSATION_FULL",
            Self::TenantFull => "TENANT_FULL",
            Self::AnswersFull => "ANSWERS_FULL",
            Self::CursorForeign => "CURSOR_FOREIGN",
            Self::IdReused => "ID_REUSED",
            Self::TransferIdReused => "TRANSFER_ID_REUSED",
            Self::BalanceTooLow => "BALANCE_TOO_LOW",
            Self::ConversionRetracted => "CONVERSION_RETRACTED",
            Self::ContactTaken => "CONTACT_TAKEN",
            Self::JournalTrimmed => "JOURNAL_TRIMMED",
            Self::ReportBudgetSpent => "REPORT_BUDGET_SPENT",
            Self::Busy => "BUSY",
            Self::Overloaded => "OVERLOADED",
            Self::RateExceeded => "RATE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// One refusal. Nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What kind of fault it is.
    pub reason: Reason,
    /// Path of the field at fault: `campaign.budget.daily`. Empty: no single one.
    pub field: Cow<'static, str>,
    /// What was wrong and what to do.
    pub message: Cow<'static, str>,
    /// After how long the same may be taken, milliseconds; 0: not known.
    pub retry_after_ms: i64,
}

impl Refusal {
    /// Returns a refusal of one field.
    pub fn new(
        reason: Reason,
        field: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { reason, field: field.into(), message: message.into(), retry_after_ms: 0 }
    }

    /// Returns it with the time after which the same may be taken, milliseconds.
    #[must_use]
    pub fn after_ms(self, retry_after_ms: i64) -> Self {
        Self { retry_after_ms, ..self }
    }
}
