//! Which calls go first when there is more to do than can be done.

/// What a call is worth to the whole. Under load the lowest are refused first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Asks for what can be asked later: reports, explanations, histories.
    Reports,
    /// Asks for ads.
    Serving,
    /// Tells what is billed: refused last, and unacknowledged, so that the caller keeps it.
    Events,
    /// Runs the market: never refused for load, only for its number.
    Administration,
    /// Asks whether the node lives: never refused.
    Health,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] =
        [Self::Reports, Self::Serving, Self::Events, Self::Administration, Self::Health];

    /// Returns the name used in metrics and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reports => "reports",
            Self::Serving => "serving",
            Self::Events => "events",
            Self::Administration => "administration",
            Self::Health => "health",
        }
    }

    /// Returns its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Classes by how a method's path begins: the first line that fits counts.
const CLASSES: &[(&str, Class)] = &[
    ("/munadi.v1.AdService/", Class::Serving),
    ("/munadi.v1.EventService/", Class::Events),
    ("/munadi.v1.ConversationService/Record", Class::Events),
    ("/munadi.v1.ReportService/", Class::Reports),
    ("/munadi.v1.AttributionService/", Class::Reports),
    ("/munadi.v1.ExplainService/", Class::Reports),
    ("/munadi.v1.ImportService/", Class::Reports),
    ("/munadi.v1.ConversionService/Pull", Class::Reports),
    ("/munadi.v1.BillingService/List", Class::Reports),
    ("/arrow.flight.protocol.FlightService/", Class::Reports),
    ("/grpc.health.", Class::Health),
];

/// Returns the class of the method with this path: administration, where no line fits.
pub fn class(path: &str) -> Class {
    let found = CLASSES.iter().find(|(begin, _)| path.starts_with(begin));
    found.map_or(Class::Administration, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::guard::table::TABLE;

    #[test]
    fn each_line_is_of_a_method_and_stands_for_itself() {
        for (at, (begin, wanted)) in CLASSES.iter().enumerate() {
            let flight = begin.starts_with("/arrow.") && !cfg!(feature = "columns");
            let of = TABLE.iter().filter(|(path, _)| path.starts_with(begin)).count();
            assert!(of > 0 || flight, "{begin} is no method's");
            assert_eq!(class(begin), *wanted);
            let hides = CLASSES[..at].iter().any(|(before, _)| begin.starts_with(before));
            assert!(!hides, "{begin} is never reached");
        }
    }

    #[test]
    fn what_bills_and_what_serves_is_named_to_the_method() {
        let mut by_class: BTreeMap<Class, Vec<&str>> = BTreeMap::new();
        for (path, _) in TABLE {
            by_class.entry(class(path)).or_default().push(path);
        }
        assert_eq!(
            by_class[&Class::Events],
            [
                "/munadi.v1.ConversationService/RecordConversationEvents",
                "/munadi.v1.ConversationService/RecordConversions",
                "/munadi.v1.EventService/RecordEvents",
                "/munadi.v1.EventService/StreamEvents",
            ]
        );
        assert_eq!(
            by_class[&Class::Serving],
            ["/munadi.v1.AdService/RequestAds", "/munadi.v1.AdService/StreamAds"]
        );
        assert_eq!(
            by_class[&Class::Health],
            ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
        );
        assert_eq!(class("/munadi.v1.BillingService/FundAccount"), Class::Administration);
        assert_eq!(class("/munadi.v1.ReportService/QueryReport"), Class::Reports);
        assert_eq!(class(""), Class::Administration);
    }

    #[test]
    fn classes_are_numbered_in_their_order() {
        for (number, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), number);
        }
        assert!(Class::Reports < Class::Serving && Class::Serving < Class::Events);
    }
}
