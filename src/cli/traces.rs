//! The `[traces]` part of the configuration: where spans of calls are sent, and of how many calls.

use serde::Deserialize;

use crate::rpc::traces::{BadTraces, SAMPLE_USUAL, TraceConfig};

/// The lines of `[traces]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TracesLines {
    endpoint: String,
    sample: Option<f64>,
}

impl TracesLines {
    /// Checks what the types don't say.
    pub(super) fn checked(&self) -> Result<TraceConfig, BadTraces> {
        TraceConfig::new(&self.endpoint, self.sample.unwrap_or(SAMPLE_USUAL))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::config::{BadConfig, Config};
    use crate::rpc::traces::BadTraces;

    #[test]
    fn bad_lines_are_named_and_a_build_without_traces_says_so() {
        for (lines, named) in [
            ("endpoint = 'collector'", "traces: endpoint"),
            ("endpoint = 'https://127.0.0.1:4317'", "traces: endpoint"),
            ("endpoint = 'http://127.0.0.1:4317'\nsample = 2", "traces: sample"),
            ("endpoint = 'http://127.0.0.1:4317'\nsample = nan", "traces: sample"),
        ] {
            let error = read(lines).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
        assert!(read("sample = 1").is_err(), "without an endpoint");
        assert!(read("endpoint = 'http://127.0.0.1:4317'\nsampel = 1").is_err());
        let checked = read("endpoint = 'http://127.0.0.1:4317'\nsample = 1").unwrap().check();
        let sample = match checked {
            Ok(checked) => checked.traces.map(|config| config.sample()),
            Err(BadConfig::Traces(BadTraces::NotBuilt)) => None,
            Err(error) => panic!("{error}"),
        };
        let is_built = cfg!(feature = "traces");
        assert_eq!(sample.is_some_and(|sample| sample >= 1.0), is_built);
    }

    /// Reads these lines of `[traces]` as if they were the file.
    fn read(lines: &str) -> Result<Config, BadConfig> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("munadi.toml");
        std::fs::write(&path, format!("[traces]\n{lines}\n")).unwrap();
        Config::read(Some(&path), std::iter::empty(), &[])
    }
}
