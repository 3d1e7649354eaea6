//! Peers that mean harm: each is cut or refused, and whoever means well is answered meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::node::clock::{Clock, SystemClock};
use munadi::rpc::limits::Limits;
use munadi::rpc::{Patience, Running, ServerConfig, serve_routes};
use tonic::service::Routes;

use crate::h2::{self, Frame, Peer};
use crate::wire::serving;

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Another address of this machine than the one that means well.
const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// How long the server is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Empty frames of a flood.
const EMPTY_FRAMES: usize = 20_000;

#[test]
fn a_flood_of_continuations_is_ended() {
    let server = server(Patience::default(), Limits::OFF);
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    // Headers that never end.
    let mut flood = h2::frame(h2::HEADERS, 0, 1, &h2::literal(":method", "POST"));
    for _ in 0..100 {
        flood.extend(h2::frame(h2::CONTINUATION, 0, 1, &h2::literal("x", "y")));
    }
    peer.send(&flood).unwrap();
    let (code, _) = peer.goaway().expect("a GOAWAY");
    assert_eq!(code, h2::ENHANCE_YOUR_CALM);
    answered(&server);
    server.stop();
}

#[test]
fn a_flood_of_empty_frames_is_ended() {
    let server = server(Patience::default(), Limits::OFF);
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    peer.send(&h2::call(1, HEALTH_CHECK, &[])).unwrap();
    let thousand = h2::frame(h2::DATA, 0, 1, &[]).repeat(1_000);
    let sent = (0..EMPTY_FRAMES / 1_000).take_while(|_| peer.send(&thousand).is_ok()).count();
    assert!(peer.closed(), "{sent} thousand empty frames were taken");
    answered(&server);
    server.stop();
}

#[test]
fn headers_beyond_the_limit_are_refused_and_the_connection_goes_on() {
    let long = "v".repeat(100);
    let more: Vec<(&str, &str)> = (0..100).map(|_| ("x-filler", &*long)).collect();
    refused(&h2::call(1, HEALTH_WATCH, &more));
}

#[test]
fn what_is_compressed_is_refused_unread() {
    let call = h2::call(1, HEALTH_CHECK, &[("grpc-encoding", "gzip")]);
    // A message that says it is compressed, of a kilobyte that could be a gigabyte.
    let message = [&[1, 0, 0, 4, 0][..], &[0x1f; 1_024]].concat();
    refused(&[call, h2::frame(h2::DATA, h2::END_STREAM, 1, &message)].concat());
}

/// Sends frames on stream 1, and checks that they get no message, and that stream 3 is answered behind them.
#[track_caller]
fn refused(frames: &[u8]) {
    let server = server(Patience::default(), Limits::OFF);
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    peer.send(frames).unwrap();
    peer.send(&h2::question(3, HEALTH_WATCH)).unwrap();
    let (mut refused, mut answered) = (false, false);
    while !(refused && answered) {
        let Frame { kind, stream, payload } = peer.receive().expect("the connection goes on");
        match (stream, kind) {
            (1, h2::HEADERS | h2::RST_STREAM) => refused = true,
            (1, h2::DATA) => assert!(payload.is_empty(), "it was answered: {payload:?}"),
            (3, h2::DATA) => answered = true,
            _ => {}
        }
    }
    server.stop();
}

/// Whoever is refused is no peer that misbehaves, though what it asks for comes after it could have been refused.
#[test]
fn a_connection_whose_calls_are_refused_goes_on() {
    let server = server(Patience::default(), Limits::OFF);
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    let streams = |round: u32| (0..60).map(move |call| 2 * (60 * round + call) + 1);
    let (last, mut told) = (streams(4).next_back(), None);
    let mut next = |peer: &mut Peer| {
        let frame = peer.receive().expect("the connection goes on");
        assert_eq!(frame.goaway(), None, "it has done nothing");
        if frame.kind == h2::HEADERS {
            told = told.max(Some(frame.stream));
        }
        (frame.kind, told)
    };
    for round in 0..5 {
        let call = |it| h2::call(it, "/munadi.v1.AdService/RequestAds", &[]);
        peer.send(&streams(round).flat_map(call).collect::<Vec<u8>>()).unwrap();
        // So often that what was begun before could have been answered.
        for _ in 0..10 {
            peer.send(&h2::frame(h2::PING, 0, 0, &[0; 8])).unwrap();
            while next(&mut peer).0 != h2::PING {}
        }
        let message = |it| h2::frame(h2::DATA, h2::END_STREAM, it, &[0; 5]);
        peer.send(&streams(round).flat_map(message).collect::<Vec<u8>>()).unwrap();
        while next(&mut peer).1 < streams(round).next_back() {}
    }
    assert_eq!(told, last);
    drop(peer);
    server.stop();
}

#[test]
fn a_peer_that_never_acknowledges_the_settings_is_cut() {
    let greet = Duration::from_millis(150);
    let server = server(Patience { greet, ..Patience::default() }, Limits::OFF);
    let clock = SystemClock::default();
    let mut peer = Peer::silent(server.addr()).unwrap();
    peer.greet().unwrap();
    // It speaks, and asks, but does not do as it must.
    peer.send(&h2::frame(h2::PING, 0, 0, &[0; 8])).unwrap();
    peer.send(&h2::question(1, HEALTH_WATCH)).unwrap();
    assert!(peer.closed(), "the server waits for ever");
    // Later it would be cut as one that answers no ping.
    assert!(clock.monotonic() < PATIENCE / 2, "it was not cut for its greeting");
    server.stop();
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_cut() {
    let stall = Duration::from_millis(200);
    let server = server(Patience { stall, ..Patience::default() }, Limits::OFF);
    let mut peer = Peer::narrow(THEIRS, server.addr()).unwrap();
    peer.greet().unwrap();
    peer.acknowledge().unwrap();
    // Each ping is answered, until no answer fits into what the kernel keeps for both.
    let pings = h2::frame(h2::PING, 0, 0, &[0; 8]).repeat(1_000);
    let ended = std::iter::repeat_with(|| peer.send(&pings)).take(10_000).find_map(Result::err);
    let kind = ended.expect("170 MB of pings were taken").kind();
    assert!(!matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{kind:?}");
    answered(&server);
    server.stop();
}

#[test]
fn an_address_has_its_number_of_connections_and_others_theirs() {
    let limits = Limits { address_connections: 3, ..Limits::OFF };
    let server = server(Patience::default(), limits);
    let open = || {
        let mut peer = Peer::narrow(THEIRS, server.addr())?;
        peer.greet()?;
        // The server's settings, where it has a place for the connection.
        peer.receive().map(|_| peer)
    };
    let peers: Vec<Peer> = (0..3).map(|_| open().expect("a place")).collect();
    for _ in 0..20 {
        assert!(open().is_err(), "one too many");
    }
    answered(&server);
    drop(peers);
    let clock = SystemClock::default();
    while open().is_err() {
        assert!(clock.monotonic() < PATIENCE, "their places are free again");
    }
    server.stop();
}

#[test]
fn others_are_answered_while_a_hundred_misbehave() {
    let server = server(Patience::default(), Limits::OFF);
    let mut peers = Vec::new();
    for number in 0..100_u32 {
        let mut peer = Peer::narrow(THEIRS, server.addr()).unwrap();
        // A connection that was cut already takes no more: that is as good.
        let _ = match number % 5 {
            0 => Ok(()),
            1 => peer.send(b"PRI * HTTP/2.0\r\n"),
            2 => peer.greet(),
            3 => peer.greet().and_then(|()| peer.send(&h2::call(1, HEALTH_CHECK, &[]))),
            _ => {
                let streams = (0..50).map(|stream| 2 * stream + 1);
                let burst = |it| [h2::call(it, HEALTH_WATCH, &[]), h2::reset(it)].concat();
                let burst: Vec<u8> = streams.flat_map(burst).collect();
                peer.greet().and_then(|()| peer.send(&burst))
            }
        };
        peers.push(peer);
    }
    let clock = SystemClock::default();
    (0..10).for_each(|_| answered(&server));
    assert!(clock.monotonic() < PATIENCE);
    drop(peers);
    server.stop();
}

#[test]
fn a_stop_tells_that_it_serves_no_more_and_ends_whoever_never_answers() {
    let drain = Duration::from_millis(300);
    let server = server(Patience { drain, ..Patience::default() }, Limits::OFF);
    let addr = server.addr();
    let (mut watching, _) = Peer::greeted(addr).unwrap();
    watching.send(&h2::question(1, HEALTH_WATCH)).unwrap();
    assert!(serving(&mut watching));
    // One never greets, one never ends what it asks, one never reads.
    let mut silent = Peer::silent(addr).unwrap();
    let (mut half, _) = Peer::greeted(addr).unwrap();
    half.send(&h2::call(1, HEALTH_CHECK, &[])).unwrap();
    let mut deaf = Peer::narrow(THEIRS, addr).unwrap();
    deaf.greet().unwrap();
    deaf.acknowledge().unwrap();
    deaf.send(&h2::question(1, HEALTH_WATCH)).unwrap();

    let clock = SystemClock::default();
    server.stop();
    assert!(clock.monotonic() < PATIENCE, "{:?}", clock.monotonic());
    // One message of two bytes: field 1 is 2, NOT_SERVING.
    let mut told = false;
    while let Ok(frame) = watching.receive() {
        told |= frame.kind == h2::DATA && frame.payload == [0, 0, 0, 0, 2, 8, 2];
    }
    assert!(told, "a watch of health hears of the stop");
    assert!(silent.closed() && half.closed() && deaf.closed());
    assert!(Peer::silent(addr).is_err(), "nobody listens any more");
}

/// Checks that whoever means well is answered.
#[track_caller]
fn answered(server: &Running) {
    let (mut peer, _) = Peer::greeted(server.addr()).unwrap();
    peer.send(&h2::question(1, HEALTH_WATCH)).unwrap();
    assert!(serving(&mut peer));
}

fn server(patience: Patience, limits: Limits) -> Running {
    let key = Key {
        id: "operator".into(),
        role: Role::Operator,
        tenant: 0,
        secret_blake3: secret_blake3("secret"),
    };
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(Keys::new([key]).expect("a good key")),
        patience,
        tls: None,
        limits,
        traces: None,
    };
    serve_routes(Routes::default(), config).expect("a free port")
}
