//! TLS of the gRPC door: certificates of clients are credentials, and the server's own are read again while
//! connections are open.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::rpc::limits::Limits;
use munadi::rpc::tls::{Tls, TlsFiles};
use munadi::rpc::{Patience, Running, ServerConfig, serve_routes};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::calls::send;
use crate::desk::{Bearer, OPERATOR, Way, calls};
use crate::h2::Peer;

const ACCOUNTS: &str = "CampaignService/ListAccounts";
const KEYS: &str = "AdminService/ListKeys";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Returns a certificate for these names and URIs, and its key.
fn issued(by: &Authority, uris: &[&str]) -> (rcgen::Certificate, KeyPair) {
    numbered(by, uris, None)
}

/// Returns the same with a serial number of its own.
fn numbered(by: &Authority, uris: &[&str], serial: Option<u64>) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.serial_number = serial.map(SerialNumber::from);
    let uris = uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap()));
    params.subject_alt_names.extend(uris);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// Writes a server's certificate and key, and the authority of its clients.
fn write(folder: &Path, by: &Authority) -> TlsFiles {
    let (certificate, key) = issued(by, &[]);
    let [chain, secret, clients] =
        ["server.pem", "server.key", "clients.pem"].map(|name| folder.join(name));
    fs::write(&chain, certificate.pem()).unwrap();
    fs::write(&secret, key.serialize_pem()).unwrap();
    fs::write(&clients, by.pem()).unwrap();
    TlsFiles { certificate: chain, key: secret, client_ca: Some(clients), crl: None }
}

/// Returns the authority's list of revoked certificates, in PEM.
fn revoked(by: &Authority, serials: &[u64]) -> String {
    let revoked = |&serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2046, 1, 1),
        crl_number: SerialNumber::from(serials.len() as u64 + 1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().pem().unwrap()
}

/// A server without services: what passes the guard is not implemented.
fn server(tls: &Arc<Tls>, patience: Patience) -> Running {
    let key = Key {
        id: OPERATOR.into(),
        role: Role::Operator,
        tenant: 0,
        secret_blake3: secret_blake3("planted-secret"),
    };
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(Keys::new([key]).unwrap()),
        patience,
        tls: Some(Arc::clone(tls)),
        limits: Limits::OFF,
        traces: None,
    };
    serve_routes(Routes::default(), config).unwrap()
}

/// Connects within TLS, and notes the certificate of each server that it met, and how they shook hands.
#[derive(Clone)]
struct Dial {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    met: Arc<Mutex<Vec<Vec<u8>>>>,
    kinds: Arc<Mutex<Vec<HandshakeKind>>>,
}

impl Dial {
    fn new(
        addr: SocketAddr,
        trusted: &Authority,
        own: Option<&(rcgen::Certificate, KeyPair)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            Some((certificate, key)) => {
                let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { addr, config: Arc::new(config), met: Arc::default(), kinds: Arc::default() }
    }

    async fn way(&self, key: &str) -> Result<Way, Status> {
        let endpoint = Endpoint::from_static("http://localhost");
        let channel: Result<Channel, _> = endpoint.connect_with_connector(self.clone()).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(InterceptedService::new(channel, Bearer::new(key)))
    }

    /// Calls a method on a connection of its own, and returns how it was refused.
    async fn refused(&self, key: &str, method: &str) -> Code {
        match self.way(key).await {
            Ok(way) => send(way, method, Vec::new()).await.unwrap_err().code(),
            Err(status) => status.code(),
        }
    }
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { addr, config, met, kinds } = self.clone();
        Box::pin(async move {
            let socket = TcpStream::connect(addr).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(config).connect(name, socket).await?;
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            met.lock().unwrap().push(certificate);
            kinds.lock().unwrap().push(stream.get_ref().1.handshake_kind().unwrap());
            Ok(TokioIo::new(stream))
        })
    }
}

#[test]
fn a_clients_certificate_is_a_credential_and_a_key_is_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let tls = Arc::new(Tls::open(write(folder.path(), &ours)).unwrap());
    let server = server(&tls, Patience::default());
    calls(async {
        let nobody = Dial::new(server.addr(), &ours, None);
        assert_eq!(nobody.refused("", ACCOUNTS).await, Code::Unauthenticated);
        assert_eq!(nobody.refused(OPERATOR, KEYS).await, Code::Unimplemented, "let in");
        let own = issued(&ours, &["munadi://advertiser/4"]);
        let advertiser = Dial::new(server.addr(), &ours, Some(&own));
        assert_eq!(advertiser.refused("", ACCOUNTS).await, Code::Unimplemented, "let in");
        assert_eq!(advertiser.refused("", KEYS).await, Code::PermissionDenied);
        assert_eq!(advertiser.refused("nobody", ACCOUNTS).await, Code::Unauthenticated);
        let own = issued(&ours, &["https://a.example"]);
        let unnamed = Dial::new(server.addr(), &ours, Some(&own));
        assert_eq!(unnamed.refused("", ACCOUNTS).await, Code::Unauthenticated);
        // The authority is no one that the server trusts: there is no connection to call on.
        let own = issued(&authority("theirs"), &["munadi://operator/0"]);
        let forged = Dial::new(server.addr(), &ours, Some(&own)).refused("", KEYS).await;
        let answered = [Code::Unimplemented, Code::PermissionDenied, Code::Unauthenticated];
        assert!(!answered.contains(&forged), "{forged}");
    });
    server.stop();
}

/// Of a session that is resumed the certificate would not be looked at again, and it may have ended meanwhile.
#[test]
fn where_certificates_are_credentials_no_session_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let tls = Arc::new(Tls::open(write(folder.path(), &ours)).unwrap());
    let server = server(&tls, Patience::default());
    calls(async {
        let own = issued(&ours, &["munadi://advertiser/4"]);
        let advertiser = Dial::new(server.addr(), &ours, Some(&own));
        for _ in 0..3 {
            // With the answer comes whatever would let the next connection resume.
            assert_eq!(advertiser.refused("", ACCOUNTS).await, Code::Unimplemented, "let in");
        }
        let kinds = advertiser.kinds.lock().unwrap();
        assert_eq!(kinds.len(), 3);
        assert!(!kinds.contains(&HandshakeKind::Resumed), "{kinds:?}");
    });
    server.stop();
}

#[test]
fn certificates_are_read_again_while_connections_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let tls = Arc::new(Tls::open(write(folder.path(), &ours)).unwrap());
    let server = server(&tls, Patience::default());
    calls(async {
        let dial = Dial::new(server.addr(), &ours, None);
        let open = dial.way(OPERATOR).await.unwrap();
        let asked = async |way: &Way| send(way.clone(), KEYS, Vec::new()).await.unwrap_err().code();
        assert_eq!(asked(&open).await, Code::Unimplemented);
        write(folder.path(), &ours);
        // The server looks by itself, too: whichever of both comes first takes the new ones.
        tls.reload();
        assert_eq!(asked(&open).await, Code::Unimplemented, "what is open stays open");
        assert_eq!(dial.refused(OPERATOR, KEYS).await, Code::Unimplemented);
        let met = dial.met.lock().unwrap();
        assert_eq!(met.len(), 2);
        assert_ne!(met[0], met[1]);
    });
    server.stop();
}

#[test]
fn a_revoked_certificate_is_refused_once_its_list_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let crl = folder.path().join("revoked.pem");
    fs::write(&crl, revoked(&ours, &[])).unwrap();
    let files = TlsFiles { crl: Some(crl.clone()), ..write(folder.path(), &ours) };
    let tls = Arc::new(Tls::open(files).unwrap());
    let server = server(&tls, Patience::default());
    calls(async {
        let [lost, kept] = [1_001, 1_002].map(|serial| {
            let own = numbered(&ours, &["munadi://advertiser/4"], Some(serial));
            Dial::new(server.addr(), &ours, Some(&own))
        });
        for dial in [&lost, &kept] {
            assert_eq!(dial.refused("", ACCOUNTS).await, Code::Unimplemented, "let in");
        }
        let taken = |text: &str| {
            fs::write(&crl, text).unwrap();
            // The server looks by itself, too: whichever of both comes first takes it.
            tls.reload();
        };
        taken(&revoked(&ours, &[1_001]));
        let refused = lost.refused("", ACCOUNTS).await;
        let answered = [Code::Unimplemented, Code::PermissionDenied, Code::Unauthenticated];
        assert!(!answered.contains(&refused), "{refused}");
        assert_eq!(kept.refused("", ACCOUNTS).await, Code::Unimplemented, "let in");
        taken("no list");
        let refused = lost.refused("", ACCOUNTS).await;
        assert!(!answered.contains(&refused), "the earlier list stays: {refused}");
        assert_eq!(kept.refused("", ACCOUNTS).await, Code::Unimplemented, "let in");
        taken(&revoked(&ours, &[]));
        assert_eq!(lost.refused("", ACCOUNTS).await, Code::Unimplemented, "let in again");
    });
    server.stop();
}

#[test]
fn whoever_never_shakes_hands_or_speaks_in_clear_loses_its_seat() {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority("ours");
    let tls = Arc::new(Tls::open(write(folder.path(), &ours)).unwrap());
    let greet = Duration::from_millis(100);
    let server = server(&tls, Patience { greet, ..Patience::default() });
    let mut peer = Peer::silent(server.addr()).unwrap();
    assert!(peer.closed(), "the server waits for ever");
    // It may end before it has greeted at all.
    assert!(Peer::greeted(server.addr()).is_err(), "in clear");
    server.stop();
}
