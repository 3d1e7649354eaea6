//! The `[limits]` part of the configuration: what callers may take.

use serde::Deserialize;

use crate::cli::config::BadConfig;
use crate::rpc::limits::{CONNECTIONS_MAX, Limits};

/// The lines of `[limits]`. What is left out is as usual.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsLines {
    shed: Option<bool>,
    events_per_s: Option<u32>,
    serving_per_s: Option<u32>,
    reports_per_s: Option<u32>,
    administration_per_s: Option<u32>,
    address_connections: Option<usize>,
}

impl LimitsLines {
    /// Checks what the types don't say.
    pub(super) fn checked(&self) -> Result<Limits, BadConfig> {
        let usual = Limits::default();
        let address_connections = self.address_connections.unwrap_or(usual.address_connections);
        if !(1..=CONNECTIONS_MAX).contains(&address_connections) {
            return Err(BadConfig::AddressConnections);
        }
        Ok(Limits {
            shed: self.shed.unwrap_or(usual.shed),
            events_per_s: self.events_per_s.unwrap_or(usual.events_per_s),
            serving_per_s: self.serving_per_s.unwrap_or(usual.serving_per_s),
            reports_per_s: self.reports_per_s.unwrap_or(usual.reports_per_s),
            administration_per_s: self.administration_per_s.unwrap_or(usual.administration_per_s),
            address_connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `[limits]` in the example, up to the next part.
    fn example() -> &'static str {
        let text = include_str!("../../munadi.example.toml");
        let (_, lines) = text.split_once("[limits]\n").unwrap();
        lines.split_once("\n[").unwrap().0
    }

    fn read(lines: &str) -> LimitsLines {
        let text = config::File::from_str(lines, config::FileFormat::Toml);
        config::Config::builder().add_source(text).build().unwrap().try_deserialize().unwrap()
    }

    #[test]
    fn the_example_shows_every_limit_as_it_is_without_it() {
        let lines = read(example());
        let LimitsLines {
            shed: Some(_),
            events_per_s: Some(_),
            serving_per_s: Some(_),
            reports_per_s: Some(_),
            administration_per_s: Some(_),
            address_connections: Some(_),
        } = lines
        else {
            panic!("{lines:?} leaves one out")
        };
        assert_eq!(lines.checked().unwrap(), Limits::default());
        assert_eq!(LimitsLines::default().checked().unwrap(), Limits::default());
    }

    #[test]
    fn all_can_be_switched_off() {
        let off = "shed = false\nevents_per_s = 0\nserving_per_s = 0\nreports_per_s = 0\n\
                   administration_per_s = 0\naddress_connections = 800";
        assert_eq!(read(off).checked().unwrap(), Limits::OFF);
    }

    #[test]
    fn an_address_has_a_connection_and_no_more_than_there_are() {
        for (lines, good) in [
            ("address_connections = 0", false),
            ("address_connections = 1", true),
            ("address_connections = 800", true),
            ("address_connections = 801", false),
        ] {
            assert_eq!(read(lines).checked().is_ok(), good, "{lines}");
        }
    }
}
