//! One good request for every method.

/// What a method does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Changes what is set up: it leaves a change in the log.
    Change,
    /// Reads, asks or waits.
    Read,
    /// Tells what happened, which is journaled itself.
    Event,
}

/// A method, what it does, who calls it, and a request in protobuf's JSON. `$name$` stands for an id, `$request`
/// for a request id.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) kind: Kind,
    /// A key that owns the things that the request names, or may see everyone's.
    pub(crate) key: &'static str,
    pub(crate) json: &'static str,
}

const fn call(method: &'static str, kind: Kind, key: &'static str, json: &'static str) -> Call {
    Call { method, kind, key, json }
}

use Kind::{Change, Event, Read};

const OPERATOR: &str = crate::desk::OPERATOR;
const OWNER: &str = crate::desk::TACOS;
const FEED: &str = crate::desk::STATUS;
const CHAT: &str = crate::desk::PLATFORM;

/// In an order in which each finds what it needs.
pub(crate) const REQUESTS: &[Call] = &[
    call(
        "AdService/RequestAds",
        Read,
        FEED,
        r#"{"adRequest":{"placement":"PLACEMENT_STATUS","viewer":{"pseudonym":"viewer-1"},"posts":20}}"#,
    ),
    call(
        "AdService/StreamAds",
        Read,
        FEED,
        r#"{"sequence":"1","adRequest":{"placement":"PLACEMENT_STATUS","viewer":{"pseudonym":"viewer-1"},"posts":20}}"#,
    ),
    call(
        "AdminService/SetPolicyRules",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","rules":[{"category":"POLICY_CATEGORY_ALCOHOL","country":"MX","allowed":true,"ageMin":18}]}"#,
    ),
    call("AdminService/ListPolicyRules", Read, OPERATOR, "{}"),
    call(
        "AdminService/SetExchangeRates",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","settlementCurrency":"USD","rates":[{"currency":"MXN","rateMicros":"50000","validFrom":"2026-01-01T00:00:00Z"}]}"#,
    ),
    call("AdminService/ListExchangeRates", Read, OPERATOR, "{}"),
    call(
        "AdminService/SetTrafficRules",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","rules":{"userAgents":["bot"],"networks":["203.0.113.0/24"]}}"#,
    ),
    call("AdminService/GetTrafficRules", Read, OPERATOR, "{}"),
    call(
        "AdminService/SetRateCards",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","cards":[{"channel":"CHANNEL_WHATSAPP","market":"Mexico","category":"MESSAGE_CATEGORY_MARKETING","price":{"micros":"30500","currency":"USD"},"validFrom":"2026-01-01T00:00:00Z","source":"by hand"}]}"#,
    ),
    call("AdminService/ListRateCards", Read, OPERATOR, "{}"),
    call("AdminService/ListMessageRules", Read, OPERATOR, "{}"),
    call(
        "AdminService/UpdateTaxonomy",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","taxonomy":"TAXONOMY_KEY","put":[{"name":"plan"}]}"#,
    ),
    call(
        "AdminService/ReviewAd",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","adId":"$ad$","review":{"state":"REVIEW_STATE_APPROVED"}}"#,
    ),
    call(
        "AdminService/EraseViewer",
        Change,
        OPERATOR,
        r#"{"viewer":{"feedId":1,"viewerId":"planted"}}"#,
    ),
    call(
        "AdminService/CreateKey",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","key":{"name":"another","role":"CALLER_ROLE_ANALYTICS","tenant":4}}"#,
    ),
    call("AdminService/RotateKey", Change, OPERATOR, r#"{"requestId":"$request","keyId":"$key$"}"#),
    call("AdminService/RevokeKey", Change, OPERATOR, r#"{"requestId":"$request","keyId":"$key$"}"#),
    call("AdminService/ListKeys", Read, OPERATOR, "{}"),
    call("AdminService/ListChanges", Read, OPERATOR, "{}"),
    call(
        "AttributionService/CompareModels",
        Read,
        OWNER,
        r#"{"accountId":"$account$","outcome":"OUTCOME_CONVERSATION"}"#,
    ),
    call("AttributionService/GetLift", Read, OWNER, r#"{"experimentId":"$experiment$"}"#),
    call("AttributionService/PullAttributions", Read, OWNER, "{}"),
    call(
        "AttributionService/Reconcile",
        Read,
        OWNER,
        r#"{"accountId":"$account$","startTime":"2026-11-23T00:00:00Z"}"#,
    ),
    call(
        "BillingService/FundAccount",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","accountId":"$account$","transferId":"0000000000000000000000000000000a","kind":"TRANSFER_KIND_PROMO","amount":{"micros":"5000000","currency":"MXN"},"reason":"as agreed"}"#,
    ),
    call("BillingService/GetBalance", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call(
        "BillingService/InvalidateEvents",
        Change,
        OPERATOR,
        r#"{"requestId":"$request","reason":"a click farm","filter":{"accountId":"$account$","startTime":"2026-11-23T00:00:00Z","endTime":"2026-11-23T12:00:00Z"}}"#,
    ),
    call("BillingService/ListInvoices", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("BillingService/ListTransfers", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call(
        "CampaignService/CreateAccount",
        Change,
        OWNER,
        r#"{"requestId":"$request","account":{"name":"Second","currency":"MXN","timeZone":"America/Mexico_City"}}"#,
    ),
    call(
        "CampaignService/CreateBusiness",
        Change,
        OWNER,
        r#"{"requestId":"$request","business":{"accountId":"$account$","name":"Second"}}"#,
    ),
    call(
        "CampaignService/CreateChannelEndpoint",
        Change,
        OWNER,
        r#"{"requestId":"$request","channelEndpoint":{"businessId":"$business$","channel":"CHANNEL_WHATSAPP","address":"5215512345679","channelBusinessId":"1029384757"}}"#,
    ),
    call(
        "CampaignService/CreateCampaign",
        Change,
        OWNER,
        r#"{"requestId":"$request","campaign":{"accountId":"$account$","name":"Second","objective":"OBJECTIVE_OUTCOME_ENGAGEMENT","budget":{"daily":{"micros":"1000000000","currency":"MXN"}}}}"#,
    ),
    call(
        "CampaignService/CreateAdSet",
        Change,
        OWNER,
        r#"{"requestId":"$request","adSet":{"campaignId":"$campaign$","name":"Second","billingEvent":"BILLING_EVENT_IMPRESSIONS","bid":{"micros":"50000000","currency":"MXN"}}}"#,
    ),
    call(
        "CampaignService/CreateAd",
        Change,
        OWNER,
        r#"{"requestId":"$request","ad":{"adSetId":"$ad_set$","name":"Second","creative":{"primaryText":"Tacos!"},"destination":{"endpointId":"$endpoint$"}}}"#,
    ),
    call(
        "CampaignService/CreateEntrySource",
        Change,
        OWNER,
        r#"{"requestId":"$request","entrySource":{"endpointId":"$endpoint$","name":"Menu","entryPoint":"ENTRY_POINT_QR_CODE","prefilledText":"Hola"}}"#,
    ),
    call(
        "CampaignService/CreateExperiment",
        Change,
        OWNER,
        r#"{"requestId":"$request","experiment":{"accountId":"$account$","name":"Second","campaignIds":["$second_campaign$"],"controlMicros":500000}}"#,
    ),
    call("CampaignService/GetAccount", Read, OWNER, r#"{"id":"$account$"}"#),
    call("CampaignService/GetBusiness", Read, OWNER, r#"{"id":"$business$"}"#),
    call("CampaignService/GetChannelEndpoint", Read, OWNER, r#"{"id":"$endpoint$"}"#),
    call("CampaignService/GetCampaign", Read, OWNER, r#"{"id":"$campaign$"}"#),
    call("CampaignService/GetAdSet", Read, OWNER, r#"{"id":"$ad_set$"}"#),
    call("CampaignService/GetAd", Read, OWNER, r#"{"id":"$ad$"}"#),
    call("CampaignService/GetEntrySource", Read, OWNER, r#"{"id":"$source$"}"#),
    call("CampaignService/GetEntryKit", Read, OWNER, r#"{"id":"$source$"}"#),
    call("CampaignService/GetExperiment", Read, OWNER, r#"{"id":"$experiment$"}"#),
    call("CampaignService/ListAccounts", Read, OWNER, "{}"),
    call("CampaignService/ListBusinesses", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("CampaignService/ListChannelEndpoints", Read, OWNER, r#"{"businessId":"$business$"}"#),
    call("CampaignService/ListCampaigns", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("CampaignService/ListAdSets", Read, OWNER, r#"{"campaignId":"$campaign$"}"#),
    call("CampaignService/ListAds", Read, OWNER, r#"{"adSetId":"$ad_set$"}"#),
    call("CampaignService/ListEntrySources", Read, OWNER, r#"{"endpointId":"$endpoint$"}"#),
    call("CampaignService/ListExperiments", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call(
        "CampaignService/SearchTargeting",
        Read,
        OWNER,
        r#"{"taxonomy":"TAXONOMY_COUNTRY","query":"MX"}"#,
    ),
    call(
        "CampaignService/UpdateAccount",
        Change,
        OWNER,
        r#"{"requestId":"$request","account":{"id":"$account$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "CampaignService/UpdateBusiness",
        Change,
        OWNER,
        r#"{"requestId":"$request","business":{"id":"$business$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "CampaignService/UpdateCampaign",
        Change,
        OWNER,
        r#"{"requestId":"$request","campaign":{"id":"$campaign$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "CampaignService/UpdateAdSet",
        Change,
        OWNER,
        r#"{"requestId":"$request","adSet":{"id":"$ad_set$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "CampaignService/UpdateAd",
        Change,
        OWNER,
        r#"{"requestId":"$request","ad":{"id":"$ad$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "CampaignService/UpdateExperiment",
        Change,
        OWNER,
        r#"{"requestId":"$request","experiment":{"id":"$experiment$","name":"Renamed"},"updateMask":"name"}"#,
    ),
    call(
        "ConversationService/RecordConversationEvents",
        Event,
        CHAT,
        r#"{"events":[{"businessId":"$business$","conversation":{"endpointId":"$endpoint$","contact":"contact-1"},"opened":{"entryPoint":"ENTRY_POINT_ORGANIC"}}]}"#,
    ),
    call(
        "ConversationService/RecordConversions",
        Event,
        CHAT,
        r#"{"conversions":[{"eventId":"order-1","name":"Purchase","conversation":{"endpointId":"$endpoint$","contact":"contact-1"}}]}"#,
    ),
    call(
        "ConversationService/GetConversation",
        Read,
        CHAT,
        r#"{"businessId":"$business$","conversation":{"endpointId":"$endpoint$","contact":"contact-1"}}"#,
    ),
    call("ConversationService/ListConversations", Read, CHAT, r#"{"businessId":"$business$"}"#),
    call(
        "ConversationService/WatchWindows",
        Read,
        CHAT,
        r#"{"businessId":"$business$","leadMinutes":30}"#,
    ),
    call("ConversionService/CreateTestClick", Event, OWNER, r#"{"adId":"$ad$"}"#),
    call(
        "ConversionService/SetConversionPush",
        Change,
        OWNER,
        r#"{"requestId":"$request","accountId":"$account$","url":"https://shop.example/hook?token=planted-in-a-url"}"#,
    ),
    call("ConversionService/GetConversionPush", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("ConversionService/ListDeadLetters", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("ConversionService/PullConversionPayloads", Read, OWNER, r#"{"accountId":"$account$"}"#),
    call("ConversionService/RetryDeadLetters", Change, OWNER, r#"{"accountId":"$account$"}"#),
    call(
        "EventService/RecordEvents",
        Event,
        FEED,
        r#"{"events":[{"viewToken":"AAAA","kind":"EVENT_KIND_TAP"}]}"#,
    ),
    call(
        "EventService/StreamEvents",
        Event,
        FEED,
        r#"{"sequence":"1","events":[{"viewToken":"AAAA","kind":"EVENT_KIND_TAP"}]}"#,
    ),
    call(
        "ExplainService/EstimateDelivery",
        Read,
        OWNER,
        r#"{"adSet":{"billingEvent":"BILLING_EVENT_IMPRESSIONS","bid":{"micros":"50000000","currency":"MXN"}},"accountId":"$account$"}"#,
    ),
    call("ExplainService/ExplainDelivery", Read, OWNER, r#"{"adId":"$ad$"}"#),
    call(
        "ExplainService/ExplainRequest",
        Read,
        OWNER,
        r#"{"adRequest":{"placement":"PLACEMENT_STATUS","viewer":{"pseudonym":"viewer-1"},"posts":20},"feed":1}"#,
    ),
    call(
        "ImportService/ImportEvents",
        Event,
        OWNER,
        r#"{"sequence":"1","dryRun":true,"events":[{"type":"IMPORTED_EVENT_TYPE_TAP","eventId":"t-1","eventTime":"2026-11-22T12:00:00Z","viewer":"viewer-1","accountId":"$account$","adId":"$ad$"}]}"#,
    ),
    call("ReportService/QueryReport", Read, OWNER, r#"{"accountId":"$account$"}"#),
];
