//! What runs have reached. A workload that never reaches a thing proves nothing about it.

use std::collections::BTreeMap;

use munadi::types::proto::journal::v1::fact::Kind;

/// How often each thing happened, by family and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Coverage {
    pub(crate) fn note(&mut self, family: &'static str, name: impl Into<String>) {
        *self.0.entry(family).or_default().entry(name.into()).or_default() += 1;
    }

    /// Returns how often a thing happened.
    pub(crate) fn count(&self, family: &str, name: &str) -> u64 {
        self.0.get(family).and_then(|names| names.get(name)).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (family, names) in &other.0 {
            for (name, count) in names {
                *self.0.entry(family).or_default().entry(name.clone()).or_default() += count;
            }
        }
    }

    /// Returns what was expected and never happened.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (family, names) in EXPECTED {
            for name in names.split(", ") {
                let seen = self.0.get(family).is_some_and(|names| names.contains_key(name));
                if !seen {
                    missing.push(format!("{family}: {name}"));
                }
            }
        }
        missing
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (family, names) in &self.0 {
            let names: Vec<_> =
                names.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "{family}: {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// Everything that a set of runs must reach. Left out: `NO_AD_REASON_BUSY` needs two threads.
const EXPECTED: &[(&str, &str)] = &[
    (
        "fact",
        "AccountPut, BusinessPut, EndpointPut, CampaignPut, AdSetPut, AdPut, RequestAnswered, \
         Granted, ServedMinute, ImpressionSeen, Watched, Tapped, FeedbackGiven, ClickMatched, \
         ConversionCredited, ConversationOpened, MessageRecorded, Converted, OutboxSettled, \
         OutcomeDeclined, ReferralNoted, ContactMoved, RateCardsPut, VolumeTierPut, MessagePriced",
    ),
    // Numbers of `decide::skip::Skip` that are counted where an auction is held.
    ("skip", "500"),
    (
        "no ad",
        "NoLiveAds, NotTargeted, OutsideSchedule, BudgetSpent, FrequencyCapped, HiddenByViewer, \
         FeedPolicy, Separation, BelowFloor, CapStateFull",
    ),
    (
        "refusal",
        "FIELD_INVALID, FIELD_MISSING, CURRENCY_INVALID, END_BEFORE_START, NOT_FOUND, \
         REQUEST_ID_REUSED, ETAG_MISMATCH, ARCHIVED, TOKEN_FORGED, TOKEN_EXPIRED, \
         TOKEN_MALFORMED, TOKEN_FOREIGN, VIEW_MISSING, EVENT_FROM_FUTURE, EVENT_BEFORE_TOKEN, \
         EVENT_TOO_OLD, ENDPOINT_FOREIGN, CONVERSATION_UNKNOWN, VIEWER_FULL, ID_REUSED, BUSY, \
         UNAVAILABLE",
    ),
    (
        "match",
        "MATCH_KIND_CLICK_TOKEN, MATCH_KIND_PREFILL_CODE, MATCH_KIND_CHANNEL_REF, \
         MATCH_KIND_SOURCE_CODE, MATCH_KIND_ONLY_TAP, no tap of the ad",
    ),
    (
        "receipt",
        "MESSAGE_STATUS_SENT, MESSAGE_STATUS_DELIVERED, MESSAGE_STATUS_READ, MESSAGE_STATUS_FAILED",
    ),
    (
        "price",
        "PRICE_REASON_REGULAR, PRICE_REASON_FREE_CUSTOMER_SERVICE, \
         PRICE_REASON_FREE_ENTRY_POINT, PRICE_REASON_FREE_ALLOWANCE, \
         PRICE_REASON_CONVERSATION_OPEN, PRICE_REASON_UNPRICED, PRICE_REASON_NO_CHARGE, \
         by a card of the operator, in the account's currency",
    ),
    (
        "mismatch",
        "PRICE_MISMATCH_UNSPECIFIED, PRICE_MISMATCH_MODEL, PRICE_MISMATCH_CATEGORY, \
         PRICE_MISMATCH_CHARGED, PRICE_MISMATCH_REASON",
    ),
    ("declined", "OutOfLookbackWindow, Duplicated, NoTouch, AttributeToOtherSource"),
    (
        "fault",
        "refused, answer lost but written, answer lost and not written, slow, fenced off, unacknowledged tail kept, unacknowledged tail cut, killed, closed, \
         clock back, queue full, sent again, late, checkpoint used, checkpoint refused, \
         checkpoint while running, full replay",
    ),
    (
        "invalid",
        "INVALID_REASON_TAP_RATE, INVALID_REASON_VIEW_RATE, INVALID_REASON_TAP_TOO_FAST, \
         INVALID_REASON_NO_VIEW, INVALID_REASON_USER_AGENT, INVALID_REASON_NETWORK, \
         INVALID_REASON_REPLAY",
    ),
    (
        "money",
        "charged for an impression, charged for a tap, charged for an implied tap, \
         charged for a conversation, clipped, nothing left, budget raised, budget lowered, new day",
    ),
];

/// Returns the name of a fact.
pub(crate) fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::AccountPut(_) => "AccountPut",
        Kind::BusinessPut(_) => "BusinessPut",
        Kind::EndpointPut(_) => "EndpointPut",
        Kind::CampaignPut(_) => "CampaignPut",
        Kind::AdSetPut(_) => "AdSetPut",
        Kind::AdPut(_) => "AdPut",
        Kind::RequestAnswered(_) => "RequestAnswered",
        Kind::TaxonomyPut(_) => "TaxonomyPut",
        Kind::PolicyRulesPut(_) => "PolicyRulesPut",
        Kind::ExchangeRatesPut(_) => "ExchangeRatesPut",
        Kind::TrafficRulesPut(_) => "TrafficRulesPut",
        Kind::Funded(_) => "Funded",
        Kind::EventCredited(_) => "EventCredited",
        Kind::Granted(_) => "Granted",
        Kind::ServedMinute(_) => "ServedMinute",
        Kind::ImpressionSeen(_) => "ImpressionSeen",
        Kind::Watched(_) => "Watched",
        Kind::Tapped(_) => "Tapped",
        Kind::FeedbackGiven(_) => "FeedbackGiven",
        Kind::ClickMatched(_) => "ClickMatched",
        Kind::ConversionCredited(_) => "ConversionCredited",
        Kind::ConversationOpened(_) => "ConversationOpened",
        Kind::MessageRecorded(_) => "MessageRecorded",
        Kind::Converted(_) => "Converted",
        Kind::OutboxSettled(_) => "OutboxSettled",
        Kind::OutcomeDeclined(_) => "OutcomeDeclined",
        Kind::OutcomeRevised(_) => "OutcomeRevised",
        Kind::RevisionSettled(_) => "RevisionSettled",
        Kind::TouchRevised(_) => "TouchRevised",
        Kind::RateCardsPut(_) => "RateCardsPut",
        Kind::VolumeTierPut(_) => "VolumeTierPut",
        Kind::EntrySourcePut(_) => "EntrySourcePut",
        Kind::ConversionPushPut(_) => "ConversionPushPut",
        Kind::ConversionsPushed(_) => "ConversionsPushed",
        Kind::MessagePriced(_) => "MessagePriced",
        Kind::ContactMoved(_) => "ContactMoved",
        Kind::SourceTapped(_) => "SourceTapped",
        Kind::ReferralNoted(_) => "ReferralNoted",
        Kind::StepCredited(_) => "StepCredited",
        Kind::GhostNoted(_) => "GhostNoted",
        Kind::OutcomeNoted(_) => "OutcomeNoted",
        Kind::ExperimentPut(_) => "ExperimentPut",
        Kind::ChangeNoted(_) => "ChangeNoted",
        Kind::ApiKeyPut(_) => "ApiKeyPut",
        Kind::ApiKeysUsed(_) => "ApiKeysUsed",
        Kind::ViewerErased(_) => "ViewerErased",
    }
}
