//! The server's own limits, seen from the wire: the only tests that open a port.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::node::clock::{Clock, SystemClock};
use munadi::rpc::{Patience, Running, ServerConfig, limits, serve_routes};
use tonic::service::Routes;

use crate::h2::{self, Peer};

const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Faulty streams after which any server must have had enough.
const FAULTS: u32 = 300;

#[test]
fn a_server_announces_its_limits() {
    let server = server(Patience::default());
    let (_, settings) = Peer::greeted(server.addr()).unwrap();
    let announced = |id| settings.setting(id);
    assert_eq!(announced(h2::MAX_CONCURRENT_STREAMS), Some(limits::STREAMS_MAX));
    assert_eq!(announced(h2::MAX_HEADER_LIST_SIZE), Some(limits::HEADER_BYTES_MAX));
    assert_eq!(announced(h2::MAX_FRAME_SIZE), Some(limits::FRAME_BYTES_MAX));
    server.stop();
}

#[test]
fn a_peer_of_nothing_but_faulty_streams_is_sent_away() {
    let server = server(Patience::default());
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    for number in 0..FAULTS {
        // A header of HTTP/1 makes the request malformed (RFC 9113, 8.2.2).
        let faulty = h2::call(2 * number + 1, HEALTH_WATCH, &[("connection", "close")]);
        if peer.send(&faulty).is_err() {
            break;
        }
    }
    let (code, text) = peer.goaway().expect("a GOAWAY");
    assert_eq!((code, &*text), (h2::ENHANCE_YOUR_CALM, "too_many_internal_resets"));
    server.stop();
}

#[test]
fn a_peer_that_opens_and_resets_is_sent_away() {
    let server = server(Patience::default());
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    let streams = (0..FAULTS).map(|number| 2 * number + 1);
    // So short that many resets are read before their streams are accepted: a connection reads a little in turn.
    let burst: Vec<u8> =
        streams.flat_map(|it| [h2::terse(it, HEALTH_WATCH), h2::reset(it)].concat()).collect();
    peer.send(&burst).unwrap();
    let (code, text) = peer.goaway().expect("a GOAWAY");
    assert_eq!((code, &*text), (h2::ENHANCE_YOUR_CALM, "too_many_resets"));
    server.stop();
}

#[test]
fn a_peer_that_never_greets_loses_its_seat() {
    let server = server(Patience { greet: Duration::from_millis(100), ..Patience::default() });
    let mut peer = Peer::silent(server.addr()).unwrap();
    assert!(peer.closed(), "the server waits for ever");
    server.stop();
}

#[test]
fn an_old_connection_is_asked_to_go_and_then_cut() {
    let age = Duration::from_millis(200);
    let server = server(Patience { age, grace: age, ..Patience::default() });
    let clock = SystemClock::default();
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    peer.send(&h2::question(1, HEALTH_WATCH)).unwrap();
    assert_eq!(peer.goaway(), Some((h2::NO_ERROR, String::new())), "asked politely");
    let asked = clock.monotonic();
    assert!(asked < 2 * age + age / 2, "asked at its age, not at its end: {asked:?}");
    assert!(peer.closed(), "the watch never ends, so the connection must");
    assert!(clock.monotonic() >= 2 * age);
    server.stop();
}

#[test]
fn a_stop_ends_although_a_caller_never_does() {
    let drain = Duration::from_millis(300);
    let server = server(Patience { drain, ..Patience::default() });
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    peer.send(&h2::question(1, HEALTH_WATCH)).unwrap();
    assert!(serving(&mut peer));
    let clock = SystemClock::default();
    server.stop();
    let took = clock.monotonic();
    assert!(took >= drain, "the watch was not waited for: {took:?}");
    assert!(took < 10 * drain, "{took:?}");
    assert!(peer.closed());
}

#[test]
fn a_stop_without_callers_is_quick() {
    let server = server(Patience::default());
    let clock = SystemClock::default();
    server.stop();
    assert!(clock.monotonic() < limits::DRAIN_DEADLINE / 4);
}

#[test]
fn all_cores_share_one_port_and_nobody_else_does() {
    let server = server(Patience::default());
    let addr = server.addr();
    assert_ne!(addr.port(), 0);
    assert!(serve_routes(Routes::default(), config(addr, Patience::default())).is_err());
    for _ in 0..8 {
        let (mut peer, _) = Peer::greeted(addr).unwrap();
        peer.send(&h2::question(1, HEALTH_WATCH)).unwrap();
        assert!(serving(&mut peer));
    }
    server.stop();
}

/// Reads until the health service says SERVING.
pub(crate) fn serving(peer: &mut Peer) -> bool {
    loop {
        let frame = peer.receive().expect("a frame");
        if frame.kind == h2::DATA && frame.stream == 1 {
            // One message of two bytes: field 1 is 1.
            return frame.payload == [0, 0, 0, 0, 2, 8, 1];
        }
    }
}

fn server(patience: Patience) -> Running {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    serve_routes(Routes::default(), config(anywhere, patience)).expect("a free port")
}

const CORES: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

fn config(listen: SocketAddr, patience: Patience) -> ServerConfig {
    let key = Key {
        id: "operator".into(),
        role: Role::Operator,
        tenant: 0,
        secret_blake3: secret_blake3("secret"),
    };
    let keys = Arc::new(Keys::new([key]).expect("a good key"));
    // A machine that builds and tests at once is no overload.
    let limits = limits::Limits::OFF;
    ServerConfig { listen, cores: CORES, keys, patience, tls: None, limits, traces: None }
}
