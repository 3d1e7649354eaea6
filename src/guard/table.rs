//! The one table of methods and the roles that may call them. Default deny.

use crate::guard::Role;

/// Who may call a method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Anyone, without a key: health probes have none.
    Open,
    /// A key of one of these roles.
    Roles(&'static [Role]),
}

const ADVERTISERS: Access = Access::Roles(&[Role::Advertiser, Role::Operator]);
const OPERATORS: Access = Access::Roles(&[Role::Operator]);
const FEEDS: Access = Access::Roles(&[Role::Feed]);
const CHATS: Access = Access::Roles(&[Role::Chat, Role::Operator]);
const READERS: Access = Access::Roles(&[Role::Advertiser, Role::Analytics, Role::Operator]);
/// The interface is public, so any caller that is known may ask for its descriptors; strangers may not,
/// as each answer costs the server more than the question costs them.
const KNOWN: Access = Access::Roles(&Role::ALL);

/// Every method of the server, ascending by path.
pub(super) const TABLE: &[(&str, Access)] = &[
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/DoAction", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/DoExchange", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/DoGet", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/DoPut", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/GetFlightInfo", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/GetSchema", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/Handshake", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/ListActions", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/ListFlights", READERS),
    #[cfg(feature = "columns")]
    ("/arrow.flight.protocol.FlightService/PollFlightInfo", READERS),
    ("/grpc.health.v1.Health/Check", Access::Open),
    ("/grpc.health.v1.Health/Watch", Access::Open),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", KNOWN),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", KNOWN),
    ("/munadi.v1.AdService/RequestAds", FEEDS),
    ("/munadi.v1.AdService/StreamAds", FEEDS),
    ("/munadi.v1.AdminService/CreateKey", OPERATORS),
    ("/munadi.v1.AdminService/EraseViewer", OPERATORS),
    ("/munadi.v1.AdminService/GetTrafficRules", OPERATORS),
    ("/munadi.v1.AdminService/ListChanges", OPERATORS),
    ("/munadi.v1.AdminService/ListExchangeRates", OPERATORS),
    ("/munadi.v1.AdminService/ListKeys", OPERATORS),
    ("/munadi.v1.AdminService/ListMessageRules", OPERATORS),
    ("/munadi.v1.AdminService/ListPolicyRules", OPERATORS),
    ("/munadi.v1.AdminService/ListRateCards", OPERATORS),
    ("/munadi.v1.AdminService/ReviewAd", OPERATORS),
    ("/munadi.v1.AdminService/RevokeKey", OPERATORS),
    ("/munadi.v1.AdminService/RotateKey", OPERATORS),
    ("/munadi.v1.AdminService/SetExchangeRates", OPERATORS),
    ("/munadi.v1.AdminService/SetPolicyRules", OPERATORS),
    ("/munadi.v1.AdminService/SetRateCards", OPERATORS),
    ("/munadi.v1.AdminService/SetTrafficRules", OPERATORS),
    ("/munadi.v1.AdminService/UpdateTaxonomy", OPERATORS),
    ("/munadi.v1.AttributionService/CompareModels", READERS),
    ("/munadi.v1.AttributionService/GetLift", READERS),
    ("/munadi.v1.AttributionService/PullAttributions", READERS),
    ("/munadi.v1.AttributionService/Reconcile", READERS),
    ("/munadi.v1.BillingService/FundAccount", OPERATORS),
    ("/munadi.v1.BillingService/GetBalance", ADVERTISERS),
    ("/munadi.v1.BillingService/InvalidateEvents", OPERATORS),
    ("/munadi.v1.BillingService/ListInvoices", ADVERTISERS),
    ("/munadi.v1.BillingService/ListTransfers", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateAccount", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateAd", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateAdSet", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateBusiness", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateCampaign", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateChannelEndpoint", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateEntrySource", ADVERTISERS),
    ("/munadi.v1.CampaignService/CreateExperiment", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetAccount", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetAd", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetAdSet", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetBusiness", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetCampaign", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetChannelEndpoint", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetEntryKit", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetEntrySource", ADVERTISERS),
    ("/munadi.v1.CampaignService/GetExperiment", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListAccounts", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListAdSets", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListAds", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListBusinesses", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListCampaigns", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListChannelEndpoints", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListEntrySources", ADVERTISERS),
    ("/munadi.v1.CampaignService/ListExperiments", ADVERTISERS),
    ("/munadi.v1.CampaignService/SearchTargeting", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateAccount", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateAd", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateAdSet", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateBusiness", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateCampaign", ADVERTISERS),
    ("/munadi.v1.CampaignService/UpdateExperiment", ADVERTISERS),
    ("/munadi.v1.ConversationService/GetConversation", CHATS),
    ("/munadi.v1.ConversationService/ListConversations", CHATS),
    ("/munadi.v1.ConversationService/RecordConversationEvents", CHATS),
    ("/munadi.v1.ConversationService/RecordConversions", CHATS),
    ("/munadi.v1.ConversationService/WatchWindows", CHATS),
    ("/munadi.v1.ConversionService/CreateTestClick", ADVERTISERS),
    ("/munadi.v1.ConversionService/GetConversionPush", ADVERTISERS),
    ("/munadi.v1.ConversionService/ListDeadLetters", ADVERTISERS),
    ("/munadi.v1.ConversionService/PullConversionPayloads", READERS),
    ("/munadi.v1.ConversionService/RetryDeadLetters", ADVERTISERS),
    ("/munadi.v1.ConversionService/SetConversionPush", ADVERTISERS),
    ("/munadi.v1.EventService/RecordEvents", FEEDS),
    ("/munadi.v1.EventService/StreamEvents", FEEDS),
    ("/munadi.v1.ExplainService/EstimateDelivery", ADVERTISERS),
    ("/munadi.v1.ExplainService/ExplainDelivery", ADVERTISERS),
    ("/munadi.v1.ExplainService/ExplainRequest", ADVERTISERS),
    ("/munadi.v1.ImportService/ImportEvents", ADVERTISERS),
    ("/munadi.v1.ReportService/QueryReport", READERS),
];

/// Returns who may call the method with this path; nobody, when it is not in the table.
pub fn access(path: &str) -> Access {
    place(path).map_or(Access::Roles(&[]), |at| TABLE[at].1)
}

/// Returns where a path stands among [`paths`]; `None`: it is no method.
pub fn place(path: &str) -> Option<usize> {
    TABLE.binary_search_by_key(&path, |(known, _)| known).ok()
}

/// Returns the path of every method, ascending.
pub fn paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(path, _)| *path)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::types::proto::DESCRIPTORS;

    #[test]
    fn the_table_is_sorted_so_that_looking_up_finds() {
        assert!(TABLE.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn every_method_of_the_interface_has_a_role_and_no_row_is_stale() {
        let methods = methods();
        assert!(methods.len() > 25, "{}", methods.len());
        for path in &methods {
            let Access::Roles(roles) = access(path) else { panic!("{path} is open") };
            assert!(!roles.is_empty(), "{path} is in the table with no role");
        }
        let ours = TABLE.iter().filter(|(path, _)| path.starts_with("/munadi."));
        for (path, _) in ours {
            assert!(methods.iter().any(|known| known == path), "{path} is not in the interface");
        }
    }

    #[test]
    fn only_health_is_open() {
        for (path, access) in TABLE {
            assert_eq!(*access == Access::Open, path.starts_with("/grpc.health."), "{path}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_nobodys() {
        for path in ["", "/", "/munadi.v1.AdService/", "/munadi.v1.AdminService/Drain"] {
            assert_eq!(access(path), Access::Roles(&[]), "{path}");
        }
    }

    fn methods() -> Vec<String> {
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut paths = Vec::new();
        for file in &set.file {
            for service in &file.service {
                paths.extend(service.method.iter().map(|method| {
                    format!("/{}.{}/{}", file.package(), service.name(), method.name())
                }));
            }
        }
        paths
    }
}
