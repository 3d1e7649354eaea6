//! Names of many facts at once, as patterns: every `apply` names each fact, and most touch few of them.

/// Matches the facts of the catalog shard, which only the catalog applies.
macro_rules! catalog_kinds {
    () => {
        $crate::types::proto::journal::v1::fact::Kind::AccountPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::BusinessPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::EndpointPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::CampaignPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::AdSetPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::AdPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::RequestAnswered(_)
            | $crate::types::proto::journal::v1::fact::Kind::TaxonomyPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::PolicyRulesPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::ExchangeRatesPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::TrafficRulesPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::RateCardsPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::VolumeTierPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::EntrySourcePut(_)
            | $crate::types::proto::journal::v1::fact::Kind::ConversionPushPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::ExperimentPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::ChangeNoted(_)
            | $crate::types::proto::journal::v1::fact::Kind::ApiKeyPut(_)
            | $crate::types::proto::journal::v1::fact::Kind::ApiKeysUsed(_)
    };
}

/// Matches every fact that the catalog does not apply.
macro_rules! other_kinds {
    () => {
        $crate::types::proto::journal::v1::fact::Kind::Granted(_)
            | $crate::types::proto::journal::v1::fact::Kind::ServedMinute(_)
            | $crate::types::proto::journal::v1::fact::Kind::Funded(_)
            | $crate::types::proto::journal::v1::fact::Kind::ConversionsPushed(_)
            | $crate::types::proto::journal::v1::fact::Kind::ImpressionSeen(_)
            | $crate::types::proto::journal::v1::fact::Kind::Watched(_)
            | $crate::types::proto::journal::v1::fact::Kind::Tapped(_)
            | $crate::types::proto::journal::v1::fact::Kind::FeedbackGiven(_)
            | $crate::types::proto::journal::v1::fact::Kind::ClickMatched(_)
            | $crate::types::proto::journal::v1::fact::Kind::ConversionCredited(_)
            | $crate::types::proto::journal::v1::fact::Kind::EventCredited(_)
            | $crate::types::proto::journal::v1::fact::Kind::ConversationOpened(_)
            | $crate::types::proto::journal::v1::fact::Kind::MessageRecorded(_)
            | $crate::types::proto::journal::v1::fact::Kind::Converted(_)
            | $crate::types::proto::journal::v1::fact::Kind::OutboxSettled(_)
            | $crate::types::proto::journal::v1::fact::Kind::OutcomeDeclined(_)
            | $crate::types::proto::journal::v1::fact::Kind::MessagePriced(_)
            | $crate::types::proto::journal::v1::fact::Kind::ContactMoved(_)
            | $crate::types::proto::journal::v1::fact::Kind::SourceTapped(_)
            | $crate::types::proto::journal::v1::fact::Kind::ReferralNoted(_)
            | $crate::types::proto::journal::v1::fact::Kind::StepCredited(_)
            | $crate::types::proto::journal::v1::fact::Kind::GhostNoted(_)
            | $crate::types::proto::journal::v1::fact::Kind::OutcomeNoted(_)
            | $crate::types::proto::journal::v1::fact::Kind::OutcomeRevised(_)
            | $crate::types::proto::journal::v1::fact::Kind::RevisionSettled(_)
            | $crate::types::proto::journal::v1::fact::Kind::TouchRevised(_)
            | $crate::types::proto::journal::v1::fact::Kind::ViewerErased(_)
    };
}

pub(in crate::state) use {catalog_kinds, other_kinds};
