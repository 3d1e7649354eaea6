//! The `[tls]` part of the configuration: certificates of the server and of clients.

use std::path::PathBuf;

use serde::Deserialize;

use crate::rpc::tls::{BadTls, Tls, TlsFiles};

/// The lines of `[tls]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsLines {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    crl: Option<PathBuf>,
}

impl TlsLines {
    /// Reads the files that they name.
    pub(super) fn open(&self) -> Result<Tls, BadTls> {
        let Self { certificate, key, client_ca, crl } = self;
        let (certificate, key) = (certificate.clone(), key.clone());
        Tls::open(TlsFiles { certificate, key, client_ca: client_ca.clone(), crl: crl.clone() })
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::config::{BadConfig, Config};

    #[test]
    fn a_door_within_tls_may_be_anywhere_and_its_files_must_be_good() {
        let exposed = "listen = '0.0.0.0:7700'";
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.path().join(name));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let within = format!("{exposed}\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
        assert!(read(&within).check().unwrap().tls.is_some());
        std::fs::write(&key, "planted-secret").unwrap();
        let error = read(&within).check().unwrap_err();
        assert!(matches!(error, BadConfig::Tls(_)), "{error}");
        assert!(!error.to_string().contains("planted"), "{error}");
    }

    /// Reads TOML text as if it were the file.
    fn read(file: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("munadi.toml");
        std::fs::write(&path, file).unwrap();
        Config::read(Some(&path), std::iter::empty(), &[]).unwrap()
    }
}
