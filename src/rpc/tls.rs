//! TLS of the gRPC door: the server's certificate, read again when its files change, and those of clients.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

/// How often it is looked whether the files have changed.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// The largest of the files, bytes: a chain, a key, or the authorities of clients.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The protocol that every caller of gRPC speaks.
const H2: &[u8] = b"h2";

/// Where the certificates are, in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The server's certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// The private key of the first of them.
    pub key: PathBuf,
    /// The authorities that vouch for clients; `None`: certificates of clients are not asked for.
    pub client_ca: Option<PathBuf>,
}

/// Why certificates can't be used. Nothing of a file's content is told.
#[derive(Debug, Error)]
pub enum BadTls {
    /// A file can't be read.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: must hold {what} in PEM", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They don't belong together, or can't be used.
    #[error("certificate and key can't be used together: {0}")]
    Unusable(#[from] rustls::Error),
    /// No client could be vouched for.
    #[error("client_ca: {0}")]
    ClientCa(#[from] rustls::server::VerifierBuilderError),
}

/// What connections are opened with. It is replaced when the files change; open connections keep what they have.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// Hash of the files that `current` was made of.
    read: Mutex<blake3::Hash>,
}

/// What the files hold.
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one can't be read, or they can't be used.
    pub fn open(files: TlsFiles) -> Result<Self, BadTls> {
        let content = Content::read(&files)?;
        let current = ArcSwap::from(content.config(&files)?);
        Ok(Self { files, current, read: Mutex::new(content.hash()) })
    }

    /// Returns what the next connection is opened with.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again and tells whether they have changed. What can't be used is logged once, and the
    /// earlier certificate stays: the next connections are opened as before.
    pub fn reload(&self) -> bool {
        let content = match Content::read(&self.files) {
            Ok(content) => content,
            // A file is being replaced: it is looked at again soon.
            Err(error) => {
                tracing::warn!(%error, "certificates could not be read again");
                return false;
            }
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = content.hash();
        if *read == hash {
            return false;
        }
        *read = hash;
        match content.config(&self.files) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!(certificate = %self.files.certificate.display(), "certificates read again");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the new certificates can't be used: the earlier ones stay");
                false
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Content {
    fn read(files: &TlsFiles) -> Result<Self, BadTls> {
        Ok(Self {
            certificate: bytes(&files.certificate)?,
            key: bytes(&files.key)?,
            client_ca: files.client_ca.as_deref().map(bytes).transpose()?,
        })
    }

    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()] {
            let part = part.map_or(&[][..], Vec::as_slice);
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hasher.finalize()
    }

    fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, BadTls> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(pem, path)? {
                    roots.add(root)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        // Who has no certificate sends a key.
                        .allow_unauthenticated()
                        .build()?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key =
            key.map_err(|_| BadTls::Pem { file: files.key.clone(), what: "a private key" })?;
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![H2.to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| BadTls::Pem { file: path.to_owned(), what: "certificates" })
}

fn bytes(path: &Path) -> Result<Vec<u8>, BadTls> {
    use std::io::Read;
    let bad = |error| BadTls::File { file: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(bad)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(bad)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(bad(io::Error::other("is longer than certificates are")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn write(folder: &Path) -> TlsFiles {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_ca: None,
        };
        fs::write(&files.certificate, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn changed_files_are_taken_and_spoiled_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path());
        let tls = Tls::open(files.clone()).unwrap();
        let first = tls.current();
        assert!(!tls.reload(), "nothing has changed");
        assert!(Arc::ptr_eq(&first, &tls.current()));
        write(folder.path());
        assert!(tls.reload());
        let second = tls.current();
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(&files.key, "no key").unwrap();
        assert!(!tls.reload());
        assert!(Arc::ptr_eq(&second, &tls.current()), "the earlier one stays");
        fs::remove_file(&files.key).unwrap();
        assert!(!tls.reload());
        write(folder.path());
        assert!(tls.reload(), "good again");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path());
        let refused =
            |files: &TlsFiles| Tls::open(files.clone()).map(drop).unwrap_err().to_string();
        let swapped = TlsFiles { key: files.certificate.clone(), ..files.clone() };
        assert!(refused(&swapped).contains("a private key"), "{}", refused(&swapped));
        let missing = TlsFiles { client_ca: Some(folder.path().join("none")), ..files.clone() };
        assert!(refused(&missing).contains("none"));
        fs::write(folder.path().join("none"), "planted-secret").unwrap();
        let error = refused(&missing);
        assert!(error.contains("certificates") && !error.contains("planted"), "{error}");
        let other = tempfile::tempdir().unwrap();
        let foreign = TlsFiles { key: write(other.path()).key, ..files };
        assert!(refused(&foreign).contains("together"), "{}", refused(&foreign));
    }
}
