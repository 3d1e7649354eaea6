//! The configuration: a TOML file, then `MUNADI_*` of the environment, then flags; checked as a whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat, Map};
use serde::Deserialize;
use thiserror::Error;

use crate::cli::base::JournalLines;
use crate::cli::jwt::JwtLines;
use crate::cli::limits::LimitsLines;
use crate::cli::metrics::MetricsLines;
use crate::cli::telemetry::LogFormat;
use crate::cli::tls::TlsLines;
use crate::cli::traces::TracesLines;
use crate::cli::web::{Web, WebLines};
use crate::guard::{BadIssuer, BadKey, Issuers, Key, Keys, Role};
use crate::rpc::limits::{CONNECTIONS_MAX, Limits, NAME_CHARS_MAX, POSTS_MAX, SLOTS_MAX};
use crate::rpc::tls::{BadTls, Tls};
use crate::rpc::traces::{BadTraces, TraceConfig};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::request::{ATTENTION_ONE, Policy, SHOW_BY_S_MAX};
use crate::types::time::{DAY_MS, SECOND_MS};
use crate::web::{BadApp, BadUrl};

/// How each environment variable begins.
const PREFIX: &str = "MUNADI_";

/// Ads a day that a feed may limit its viewers to: a viewer's record counts not many more.
const MOST_PER_DAY_MAX: u16 = 1_000;

/// Names the file itself, so it is no key of it.
pub(super) const CONFIG_VARIABLE: &str = "MUNADI_CONFIG";

/// What `munadi serve` reads; see munadi.example.toml for what each key means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    #[serde(default = "default_listen")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default = "default_data_dir")]
    pub(super) data_dir: PathBuf,
    pub(super) cores: Option<NonZeroUsize>,
    #[serde(default = "default_log")]
    pub(super) log: String,
    #[serde(default)]
    pub(super) log_format: LogFormat,
    #[serde(default)]
    pub(super) approve_ads: bool,
    #[serde(default)]
    pub(super) push_insecure: bool,
    #[serde(default)]
    pub(super) journal: JournalLines,
    #[serde(default)]
    keys: Vec<KeyLines>,
    #[serde(default)]
    feeds: Vec<FeedLines>,
    web: Option<WebLines>,
    tls: Option<TlsLines>,
    #[serde(default)]
    jwt: Vec<JwtLines>,
    #[serde(default)]
    limits: LimitsLines,
    /// `None`: nothing is counted.
    pub(super) metrics: Option<MetricsLines>,
    traces: Option<TracesLines>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLines {
    id: String,
    role: Role,
    tenant: u32,
    secret_blake3: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedLines {
    id: u32,
    name: String,
    first_position: Option<u16>,
    min_gap: Option<u16>,
    most_per_tray: Option<u8>,
    most_per_session: Option<u16>,
    most_per_day: Option<u16>,
    advertiser_distance_s: Option<u32>,
    category_distance_s: Option<u32>,
    attention_keep: Option<u32>,
    interruption_cpm_micros: Option<i64>,
    hide_cost_micros: Option<i64>,
    floor_cpm_micros: Option<i64>,
    show_by_s: Option<u32>,
}

/// A configuration that can be served.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) keys: Keys,
    pub(super) policies: BTreeMap<u32, Policy>,
    /// `None`: there is no HTTP door.
    pub(super) web: Option<Web>,
    /// `None`: the gRPC door speaks in clear.
    pub(super) tls: Option<Tls>,
    pub(super) limits: Limits,
    /// `None`: no call is traced.
    pub(super) traces: Option<TraceConfig>,
}

/// Why a configuration can't be served, by the key at fault.
#[derive(Debug, Error)]
pub(super) enum BadConfig {
    /// It can't be read, or has a key that is none.
    #[error(transparent)]
    Unreadable(#[from] config::ConfigError),
    /// No call could be traced.
    #[error("traces: {0}")]
    Traces(#[from] BadTraces),
    /// A key would go over the network in clear.
    #[error(
        "{0}: {1} is not this machine alone, and what is secret would be sent in clear: name \
         certificates under [tls] (gRPC), or put TLS before it and say so by --insecure, or listen on 127.0.0.1"
    )]
    Exposed(&'static str, SocketAddr),
    /// No connection could be opened.
    #[error("tls: {0}")]
    Tls(#[from] BadTls),
    /// An outside issuer can't be taken.
    #[error("jwt: {0}")]
    Issuer(#[from] BadIssuer),
    /// The keys of an outside issuer can't be read.
    #[error("jwt: {}: {error}", file.display())]
    JwtFile { file: PathBuf, error: std::io::Error },
    /// An outside issuer has no keys, or two files of them.
    #[error("jwt: name either key_file, a public key in PEM, or jwks_file, a set of keys in JSON")]
    JwtKeys,
    /// A file with a secret can't be read.
    #[error("{name}_file: {}: {error}", file.display())]
    SecretFile { name: &'static str, file: PathBuf, error: std::io::Error },
    /// A secret is there twice.
    #[error("{0}: give either {0} or {0}_file, which names a file that holds it")]
    Secret(&'static str),
    /// A key can't work.
    #[error("keys: {0}")]
    Key(#[from] BadKey),
    /// A feed's key names no feed.
    #[error("keys: {0:?} is of feed {1}, which is not under [[feeds]]: add it, or change tenant")]
    FeedUnknown(String, u32),
    /// An app can't work.
    #[error("web.apps: {0}")]
    App(#[from] BadApp),
    /// No header has this name.
    #[error(
        "web.country_header: is no name of a header: name one such as CF-IPCountry, or leave it out"
    )]
    CountryHeader,
    /// An address could have no connection, or more than all have.
    #[error("limits.address_connections: must be 1 to {CONNECTIONS_MAX}")]
    AddressConnections,
    /// No link can begin with it.
    #[error("web.public_url: {0}")]
    PublicUrl(#[from] BadUrl),
    /// A feed's line is out of its bounds.
    #[error("feeds: feed {id}: {key} must be {bounds}")]
    Feed { id: u32, key: &'static str, bounds: String },
}

impl Config {
    /// Reads the file, if there is one, and the environment; `flags` has the last word.
    pub(super) fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, Option<String>)],
    ) -> Result<Self, BadConfig> {
        let mut sources = ConfigBuilder::<DefaultState>::default();
        if let Some(file) = file {
            sources = sources.add_source(File::from(file).format(FileFormat::Toml));
        }
        let ours =
            |(name, _): &(String, String)| name.starts_with(PREFIX) && name != CONFIG_VARIABLE;
        let variables: Map<String, String> = environment.filter(ours).collect();
        let environment = Environment::with_prefix(PREFIX.trim_end_matches('_'));
        sources = sources.add_source(environment.try_parsing(true).source(Some(variables)));
        for (key, value) in flags {
            sources = sources.set_override_option(*key, value.clone())?;
        }
        Ok(sources.build()?.try_deserialize()?)
    }

    /// Checks what the types don't say.
    pub(super) fn check(&self) -> Result<Checked, BadConfig> {
        if self.tls.is_none() {
            self.not_exposed("listen", self.listen)?;
        }
        if let Some(metrics) = &self.metrics {
            self.not_exposed("metrics.address", metrics.address)?;
        }
        let mut policies = BTreeMap::new();
        for feed in &self.feeds {
            if policies.insert(feed.id, feed.policy()?).is_some() {
                return Err(feed.bad("id", "there once"));
            }
        }
        let unknown =
            |key: &&KeyLines| key.role == Role::Feed && !policies.contains_key(&key.tenant);
        if let Some(key) = self.keys.iter().find(unknown) {
            return Err(BadConfig::FeedUnknown(key.id.clone(), key.tenant));
        }
        let keys = Keys::new(self.keys.iter().map(|key| Key {
            id: key.id.clone(),
            role: key.role,
            tenant: key.tenant,
            secret_blake3: key.secret_blake3.clone(),
        }))?;
        let issuers: Result<Vec<_>, _> = self.jwt.iter().map(JwtLines::issuer).collect();
        let keys = keys.with_issuers(Issuers::new(issuers?)?);
        let web = self.web.as_ref().map(|web| {
            self.not_exposed("web.listen", web.listen)?;
            web.checked()
        });
        let tls = self.tls.as_ref().map(TlsLines::open).transpose()?;
        let traces = self.traces.as_ref().map(TracesLines::checked).transpose()?;
        let (web, limits) = (web.transpose()?, self.limits.checked()?);
        Ok(Checked { keys, policies, web, tls, limits, traces })
    }

    fn not_exposed(&self, key: &'static str, listen: SocketAddr) -> Result<(), BadConfig> {
        if listen.ip().is_loopback() || self.insecure {
            return Ok(());
        }
        Err(BadConfig::Exposed(key, listen))
    }
}

impl FeedLines {
    fn policy(&self) -> Result<Policy, BadConfig> {
        let usual = Policy::default();
        let distance_ms = |told: Option<u32>, usual_ms| {
            told.map_or(usual_ms, |seconds| i64::from(seconds) * SECOND_MS)
        };
        let show_by_s = self.show_by_s.unwrap_or(usual.show_by_s.into());
        let policy = Policy {
            first_position: self.first_position.unwrap_or(usual.first_position),
            min_gap: self.min_gap.unwrap_or(usual.min_gap),
            most_per_tray: self.most_per_tray.unwrap_or(usual.most_per_tray),
            most_per_session: self.most_per_session.unwrap_or(usual.most_per_session),
            most_per_day: self.most_per_day.unwrap_or(usual.most_per_day),
            advertiser_distance_ms: distance_ms(
                self.advertiser_distance_s,
                usual.advertiser_distance_ms,
            ),
            category_distance_ms: distance_ms(self.category_distance_s, usual.category_distance_ms),
            attention_keep: self.attention_keep.unwrap_or(usual.attention_keep),
            interruption_cpm_micros: self
                .interruption_cpm_micros
                .unwrap_or(usual.interruption_cpm_micros),
            hide_cost_micros: self.hide_cost_micros.unwrap_or(usual.hide_cost_micros),
            floor_cpm_micros: self.floor_cpm_micros.unwrap_or(usual.floor_cpm_micros),
            // Too much for its type is too much for its bounds.
            show_by_s: u16::try_from(show_by_s).unwrap_or(u16::MAX),
        };
        let checks = self.whom().into_iter().chain(trays(&policy)).chain(prices(&policy));
        match checks.into_iter().find(|check| !check.is_good) {
            Some(Check { key, bounds, .. }) => Err(self.bad(key, bounds)),
            None => Ok(policy),
        }
    }

    fn whom(&self) -> [Check; 2] {
        let name_fits = (1..=NAME_CHARS_MAX).contains(&self.name.chars().count());
        [
            Check::new("id", self.id != 0, "above 0"),
            Check::new("name", name_fits, format!("1 to {NAME_CHARS_MAX} characters")),
        ]
    }

    fn bad(&self, key: &'static str, bounds: impl Into<String>) -> BadConfig {
        BadConfig::Feed { id: self.id, key, bounds: bounds.into() }
    }
}

/// Whether one key of a feed is within its bounds.
struct Check {
    key: &'static str,
    is_good: bool,
    bounds: String,
}

impl Check {
    fn new(key: &'static str, is_good: bool, bounds: impl Into<String>) -> Self {
        Self { key, is_good, bounds: bounds.into() }
    }
}

/// Checks how many ads there may be, and where.
fn trays(policy: &Policy) -> [Check; 7] {
    let slots_max = SLOTS_MAX as u8;
    let day = format!("at most {} (a day)", DAY_MS / SECOND_MS);
    let show_by = 1..=SHOW_BY_S_MAX;
    [
        Check::new(
            "first_position",
            u32::from(policy.first_position) < POSTS_MAX,
            format!("below {POSTS_MAX}"),
        ),
        Check::new("min_gap", policy.min_gap > 0, "1 or more"),
        Check::new(
            "most_per_tray",
            (1..=slots_max).contains(&policy.most_per_tray),
            format!("1 to {slots_max}"),
        ),
        Check::new(
            "most_per_day",
            policy.most_per_day <= MOST_PER_DAY_MAX,
            format!("at most {MOST_PER_DAY_MAX}, or 0 for no limit"),
        ),
        Check::new("advertiser_distance_s", policy.advertiser_distance_ms <= DAY_MS, &*day),
        Check::new("category_distance_s", policy.category_distance_ms <= DAY_MS, &*day),
        Check::new(
            "show_by_s",
            show_by.contains(&policy.show_by_s),
            format!("1 to {SHOW_BY_S_MAX} (15 minutes)"),
        ),
    ]
}

/// Checks what ads must be worth.
fn prices(policy: &Policy) -> [Check; 4] {
    let amount = |key, micros: i64| {
        let bounds = 0..=AMOUNT_MICROS_MAX;
        Check::new(key, bounds.contains(&micros), format!("0 to {AMOUNT_MICROS_MAX}"))
    };
    [
        Check::new(
            "attention_keep",
            (1..=ATTENTION_ONE).contains(&policy.attention_keep),
            format!("1 to {ATTENTION_ONE}"),
        ),
        amount("floor_cpm_micros", policy.floor_cpm_micros),
        amount("interruption_cpm_micros", policy.interruption_cpm_micros),
        amount("hide_cost_micros", policy.hide_cost_micros),
    ]
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_700))
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("munadi-data")
}

fn default_log() -> String {
    "info".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../munadi.example.toml");

    #[test]
    fn the_example_is_a_good_configuration_with_every_key() {
        let config = read(EXAMPLE, &[], &[]).unwrap();
        let checked = config.check().unwrap();
        assert_eq!(checked.policies[&1], Policy::default(), "it shows the defaults");
        assert!(!config.approve_ads, "ads wait for their review unless it is asked for");
        let shown = keys_of(EXAMPLE);
        for name in "listen insecure data_dir cores log log_format address approve_ads push_insecure id role tenant secret_blake3 \
                     name first_position min_gap most_per_tray most_per_session most_per_day \
                     advertiser_distance_s category_distance_s attention_keep floor_cpm_micros \
                     interruption_cpm_micros hide_cost_micros show_by_s public_url kind \
                     verify_token verify_token_file app_secret app_secret_file certificate key client_ca \
                     issuer audience algorithms key_file jwks_file role_claim tenant_claim \
                     crl endpoint sample remove_behind_base"
            .split_whitespace()
        {
            assert!(shown.contains(&name), "{name} is not shown");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "listen = '127.0.0.1:1'\ncores = 1\ndata_dir = 'a'";
        let environment = [("MUNADI_LISTEN", "127.0.0.1:2"), ("MUNADI_CORES", "2")];
        let config = read(file, &environment, &[("listen", Some("127.0.0.1:3".into()))]).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.cores, NonZeroUsize::new(2));
        assert_eq!(config.data_dir, PathBuf::from("a"));
        assert_eq!(read("", &[], &[("listen", None)]).unwrap().listen.port(), 7_700);
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for (file, environment, named) in [
            ("lisen = '127.0.0.1:1'", None, "lisen"),
            ("[[feeds]]\nid = 1\nname = 'a'\nfirst_positon = 3", None, "first_positon"),
            ("[[keys]]\nid = 'a'\nrole = 'king'", None, "king"),
            ("", Some(("MUNADI_DATADIR", "x")), "datadir"),
            ("listen = 'here'", None, "listen"),
            ("log_format = 'xml'", None, "xml"),
            ("[metrics]\nadress = '127.0.0.1:1'", None, "adress"),
        ] {
            let error = read(file, environment.as_slice(), &[]).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(read("", &[(CONFIG_VARIABLE, "x"), ("MUNADI", "x")], &[]).is_ok());
    }

    #[test]
    fn only_loopback_is_served_in_clear_unless_it_is_asked_for() {
        let exposed = EXAMPLE.replace("127.0.0.1:7700", "0.0.0.0:7700");
        let error = read(&exposed, &[], &[]).unwrap().check().unwrap_err();
        assert!(matches!(error, BadConfig::Exposed("listen", _)), "{error}");
        let asked = read(&exposed, &[], &[("insecure", Some("true".into()))]).unwrap();
        assert!(asked.check().is_ok());
        let exposed = EXAMPLE.replace("127.0.0.1:7702", "0.0.0.0:7702");
        let error = read(&exposed, &[], &[]).unwrap().check().unwrap_err();
        assert!(matches!(error, BadConfig::Exposed("metrics.address", _)), "{error}");
    }

    #[test]
    fn each_line_of_a_feed_has_its_bounds() {
        for (line, key) in [
            ("id = 0", "id"),
            ("name = ''", "name"),
            ("first_position = 250", "first_position"),
            ("min_gap = 0", "min_gap"),
            ("most_per_tray = 17", "most_per_tray"),
            ("advertiser_distance_s = 86401", "advertiser_distance_s"),
            ("most_per_day = 1001", "most_per_day"),
            ("category_distance_s = 86401", "category_distance_s"),
            ("attention_keep = 0", "attention_keep"),
            ("attention_keep = 65537", "attention_keep"),
            ("interruption_cpm_micros = -1", "interruption_cpm_micros"),
            ("hide_cost_micros = 1000000000000001", "hide_cost_micros"),
            ("floor_cpm_micros = -1", "floor_cpm_micros"),
            ("show_by_s = 64801", "show_by_s"),
            ("show_by_s = 0", "show_by_s"),
        ] {
            let name = line.split(' ').next().unwrap();
            let usual = [("id", "id = 1"), ("name", "name = 'a'")];
            let usual = usual.iter().filter(|(key, _)| *key != name).map(|(_, line)| *line);
            let file = ["[[feeds]]", line].into_iter().chain(usual).collect::<Vec<_>>().join("\n");
            let error = read(&file, &[], &[]).unwrap().check().unwrap_err();
            let BadConfig::Feed { key: found, .. } = error else { panic!("{error}") };
            assert_eq!(found, key);
        }
        let twice = "[[feeds]]\nid = 1\nname = 'a'\n[[feeds]]\nid = 1\nname = 'b'";
        assert!(read(twice, &[], &[]).unwrap().check().is_err());
    }

    #[test]
    fn a_key_without_its_feed_and_a_server_without_keys_are_refused() {
        let feedless = EXAMPLE.replace("id = 1\n", "id = 2\n");
        let error = read(&feedless, &[], &[]).unwrap().check().unwrap_err();
        assert!(matches!(error, BadConfig::FeedUnknown(_, 1)), "{error}");
        assert_eq!(
            read("", &[], &[]).unwrap().check().unwrap().keys.count(),
            0,
            "one will be made"
        );
    }

    /// Reads TOML text as if it were the file.
    fn read(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, Option<String>)],
    ) -> Result<Config, BadConfig> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("munadi.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::read(Some(&path), environment, flags)
    }

    /// Returns the keys of a TOML text, those that are commented out too.
    fn keys_of(text: &str) -> Vec<&str> {
        let lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
        lines.filter_map(|line| line.split_once(" = ").map(|(key, _)| key)).collect()
    }
}
