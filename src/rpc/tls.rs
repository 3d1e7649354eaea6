//! TLS of the gRPC door: the server's certificate, those of clients, and what was revoked of them; read again when the
//! files change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// How often it is looked whether the files have changed.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// The largest of the files, bytes: a chain, a key, or the authorities of clients.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The largest file of revoked certificates, bytes: about 100,000 of them.
pub const CRL_BYTES_MAX: u64 = 4 << 20;

/// What a file of revoked certificates holds.
const LISTS: &str = "full certificate revocation lists (X509 CRL)";

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
    /// The certificates that those authorities have revoked, a list of each; `None`: none is. A list that is past its
    /// next update still counts.
    pub crl: Option<PathBuf>,
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
    ClientCa(#[from] VerifierBuilderError),
    /// Nobody's certificate is asked for.
    #[error("crl: revokes nothing without client_ca: name that too, or leave crl out")]
    CrlAlone,
    /// Certificates could not be looked up.
    #[error(
        "crl: {}: has no list of an authority in client_ca, of which every certificate would be refused: add it",
        .0.display()
    )]
    CrlMissing(PathBuf),
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
    crl: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one can't be read, or they can't be used.
    pub fn open(files: TlsFiles) -> Result<Self, BadTls> {
        if files.crl.is_some() && files.client_ca.is_none() {
            return Err(BadTls::CrlAlone);
        }
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
            certificate: bytes(&files.certificate, FILE_BYTES_MAX)?,
            key: bytes(&files.key, FILE_BYTES_MAX)?,
            client_ca: bytes_of(files.client_ca.as_deref(), FILE_BYTES_MAX)?,
            crl: bytes_of(files.crl.as_deref(), CRL_BYTES_MAX)?,
        })
    }

    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let (client_ca, crl) = (self.client_ca.as_ref(), self.crl.as_ref());
        for part in [Some(&self.certificate), Some(&self.key), client_ca, crl] {
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
                let authorities = certificates(pem, path)?;
                builder.with_client_cert_verifier(self.verifier(files, authorities, provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key =
            key.map_err(|_| BadTls::Pem { file: files.key.clone(), what: "a private key" })?;
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![H2.to_vec()];
        if self.client_ca.is_some() {
            // A session that is resumed is not looked at again: its certificate may have ended meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            (config.send_tls13_tickets, config.max_tls13_tickets) = (0, 0);
        }
        Ok(Arc::new(config))
    }

    /// Returns what looks at the certificates of clients.
    fn verifier(
        &self,
        files: &TlsFiles,
        authorities: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, BadTls> {
        let lists = match (&self.crl, &files.crl) {
            (Some(pem), Some(path)) => lists(pem, path, &authorities)?,
            _ => Vec::new(),
        };
        let mut roots = RootCertStore::empty();
        for root in authorities {
            roots.add(root)?;
        }
        let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            // Who has no certificate sends a key.
            .allow_unauthenticated()
            .with_crls(lists)
            .build();
        built.map_err(|error| match (error, &files.crl) {
            (VerifierBuilderError::InvalidCrl(_), Some(file)) => {
                BadTls::Pem { file: file.clone(), what: LISTS }
            }
            (error, _) => BadTls::ClientCa(error),
        })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| BadTls::Pem { file: path.to_owned(), what: "certificates" })
}

/// Returns the lists of revoked certificates, of which there is one of each authority.
fn lists(
    pem: &[u8],
    path: &Path,
    authorities: &[CertificateDer<'_>],
) -> Result<Vec<CertificateRevocationListDer<'static>>, BadTls> {
    let bad = || BadTls::Pem { file: path.to_owned(), what: LISTS };
    let found: Result<Vec<_>, pem::Error> =
        CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| bad())?;
    let mut issuers = Vec::with_capacity(found.len());
    for list in &found {
        let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| bad())?;
        issuers.push(list.issuer().as_raw().to_vec());
    }
    let has_list = |authority: &CertificateDer<'_>| {
        let parsed = X509Certificate::from_der(authority);
        parsed.is_ok_and(|(_, it)| issuers.iter().any(|issuer| issuer == it.subject().as_raw()))
    };
    if found.is_empty() {
        return Err(bad());
    }
    if !authorities.iter().all(has_list) {
        return Err(BadTls::CrlMissing(path.to_owned()));
    }
    Ok(found)
}

fn bytes_of(path: Option<&Path>, most: u64) -> Result<Option<Vec<u8>>, BadTls> {
    path.map(|path| bytes(path, most)).transpose()
}

fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, BadTls> {
    use std::io::Read;
    let bad = |error| BadTls::File { file: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(bad)?;
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(bad)?;
    if content.len() as u64 > most {
        return Err(bad(io::Error::other("is longer than it may be")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
        CertifiedKey, DnType, IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
        generate_simple_self_signed,
    };

    use super::*;

    fn write(folder: &Path) -> TlsFiles {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_ca: None,
            crl: None,
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
    fn revoked_certificates_come_in_whole_lists_of_every_authority() {
        let folder = tempfile::tempdir().unwrap();
        let [client_ca, crl] = ["clients.pem", "revoked.pem"].map(|name| folder.path().join(name));
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let (our_list, their_list) = (list_of(&ours), list_of(&theirs));
        fs::write(&client_ca, ours.pem() + &theirs.pem()).unwrap();
        let alone = TlsFiles { crl: Some(crl.clone()), ..write(folder.path()) };
        assert!(matches!(Tls::open(alone.clone()), Err(BadTls::CrlAlone)));
        let files = TlsFiles { client_ca: Some(client_ca), ..alone };
        let read = |text: &str| {
            fs::write(&crl, text).unwrap();
            Tls::open(files.clone())
        };
        for wrong in ["", "planted-secret", &*ours.pem()] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("X509 CRL") && !error.contains("planted"), "{error}");
        }
        assert!(matches!(read(&our_list), Err(BadTls::CrlMissing(_))));
        let both = our_list + &their_list;
        let tls = read(&both).unwrap();
        let first = tls.current();
        fs::write(&crl, &both[..both.len() / 2]).unwrap();
        assert!(!tls.reload() && Arc::ptr_eq(&first, &tls.current()), "the earlier ones stay");
        fs::write(&crl, both + &list_of(&ours)).unwrap();
        assert!(tls.reload());
        assert!(!Arc::ptr_eq(&first, &tls.current()));
        fs::write(&crl, vec![b'#'; CRL_BYTES_MAX as usize + 1]).unwrap();
        let error = Tls::open(files.clone()).unwrap_err().to_string();
        assert!(error.contains("longer"), "{error}");
    }

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Returns a list on which nothing stands, in PEM.
    fn list_of(by: &Authority) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2046, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(by).unwrap().pem().unwrap()
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
