//! Peers that mean harm: each goes on with its mischief, and comes back when it is cut.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Frame types and flags (RFC 9113, 6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Peers of one address: fewer than one may have.
const PEERS_PER_ADDRESS: usize = 90;

/// Between two bytes or bursts of a peer, and before one that was cut comes back.
const PAUSE: Duration = Duration::from_millis(250);

/// What a peer does.
#[derive(Clone, Copy, Debug)]
enum Mischief {
    /// Connects and says nothing.
    Idle,
    /// Sends its head byte by byte.
    Slow,
    /// Never acknowledges the settings, and asks and pings.
    Rude,
    /// Opens streams, and never ends what it asks.
    Stalled,
    /// Asks much and reads a byte at a time.
    Deaf,
    /// Opens streams and gives them up at once.
    Resets,
}

impl Mischief {
    const ALL: [Self; 6] =
        [Self::Idle, Self::Slow, Self::Rude, Self::Stalled, Self::Deaf, Self::Resets];
}

/// What the peers have done.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Connections that were made, and that the server has cut.
    pub(crate) connected: AtomicUsize,
    pub(crate) cut: AtomicUsize,
}

/// Is one of the peers, by its number, for ever.
pub(crate) async fn misbehave(addr: SocketAddr, number: usize, told: Arc<Told>) {
    let mischief = Mischief::ALL[number % Mischief::ALL.len()];
    // Other addresses of this machine than the one that means well.
    let address = u8::try_from(2 + number / PEERS_PER_ADDRESS).expect("few peers");
    let from = Ipv4Addr::new(127, 0, 0, address);
    loop {
        if let Ok(mut socket) = connect(from, addr, mischief).await {
            told.connected.fetch_add(1, Ordering::Relaxed);
            let Err(_) = harm(&mut socket, mischief).await;
            told.cut.fetch_add(1, Ordering::Relaxed);
        }
        sleep(PAUSE).await;
    }
}

async fn connect(from: Ipv4Addr, addr: SocketAddr, mischief: Mischief) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if matches!(mischief, Mischief::Deaf) {
        // As little room for answers as there can be.
        socket.set_recv_buffer_size(1)?;
    }
    socket.bind((from, 0).into())?;
    socket.connect(addr).await
}

/// Does a peer's mischief until it is cut.
async fn harm(socket: &mut TcpStream, mischief: Mischief) -> io::Result<Infallible> {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let greeting = [PREFACE, &settings].concat();
    let acknowledged = [&greeting[..], &frame(SETTINGS, ACK, 0, &[])].concat();
    match mischief {
        Mischief::Idle => {}
        Mischief::Slow => {
            for byte in [greeting, call(1, HEALTH_CHECK)].concat() {
                socket.write_all(&[byte]).await?;
                sleep(PAUSE).await;
            }
        }
        Mischief::Rude => {
            socket.write_all(&[greeting, question(1)].concat()).await?;
            loop {
                socket.write_all(&frame(PING, 0, 0, &[0; 8])).await?;
                read(socket, 4_096).await?;
            }
        }
        Mischief::Stalled => {
            let calls = (0..20).flat_map(|at| call(2 * at + 1, HEALTH_CHECK));
            socket.write_all(&acknowledged).await?;
            socket.write_all(&calls.collect::<Vec<_>>()).await?;
        }
        Mischief::Deaf => {
            let pings = frame(PING, 0, 0, &[0; 8]).repeat(1_000);
            let mut at = 0;
            socket.write_all(&[acknowledged, question(1)].concat()).await?;
            loop {
                // It is not held up by its own deafness, and sends whole frames whatever it takes.
                if let Ok(written) = timeout(PAUSE, socket.write(&pings[at..])).await {
                    at = (at + written?) % pings.len();
                }
                read(socket, 1).await?;
            }
        }
        Mischief::Resets => {
            socket.write_all(&acknowledged).await?;
            for at in 0_u32.. {
                let burst = (20 * at..20 * at + 20).map(|it| 2 * it + 1);
                let burst = burst.flat_map(|it| [call(it, HEALTH_WATCH), reset(it)].concat());
                socket.write_all(&burst.collect::<Vec<_>>()).await?;
                read(socket, 4_096).await?;
            }
        }
    }
    loop {
        read(socket, 4_096).await?;
    }
}

/// Reads what has come, for a while. An error: the connection is at its end.
async fn read(socket: &mut TcpStream, most: usize) -> io::Result<()> {
    let mut room = vec![0; most];
    match timeout(PAUSE, socket.read(&mut room)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            read?;
            sleep(PAUSE).await;
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

/// Returns what a peer sends that greets, acknowledges the settings before they come, and begins a call without an
/// end: a stop waits for it.
pub(crate) fn unending() -> Vec<u8> {
    let settings = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
    [PREFACE, &settings, &call(1, HEALTH_CHECK)].concat()
}

/// Returns the frame that begins a call of a method.
fn call(stream: u32, path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let block: Vec<u8> = headers.iter().flat_map(|it| literal(it.0, it.1)).collect();
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Returns the frames of a watch of health, its sending side ended.
fn question(stream: u32) -> Vec<u8> {
    [call(stream, HEALTH_WATCH), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// Returns the frame by which a caller gives up a stream, with CANCEL.
fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Returns one header as a literal that no table remembers (RFC 7541, 6.2.2), without Huffman.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let sized = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        assert!(length < 127, "longer lengths have more bytes");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], sized(name), sized(value)].concat()
}
