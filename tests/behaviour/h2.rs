//! A hand-written HTTP/2 peer, std only: sends what no library would, and reads what comes back.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Frame types (RFC 9113, 6).
pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
pub(crate) const CONTINUATION: u8 = 0x9;

/// Settings and errors by their numbers (RFC 9113, 6.5.2 and 7).
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
pub(crate) const NO_ERROR: u32 = 0x0;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;
const CANCEL: u32 = 0x8;

const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// How long the peer waits for a frame before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Returns a GOAWAY's error and its text.
    pub(crate) fn goaway(&self) -> Option<(u32, String)> {
        let code = self.payload.get(4..8).filter(|_| self.kind == GOAWAY)?;
        let text = String::from_utf8_lossy(&self.payload[8..]).into_owned();
        Some((u32::from_be_bytes(code.try_into().expect("four bytes")), text))
    }

    /// Returns the value of a setting.
    pub(crate) fn setting(&self, id: u16) -> Option<u32> {
        let pairs = self.payload.chunks_exact(6).filter(|_| self.kind == SETTINGS);
        let mut values = pairs.filter(|pair| pair[..2] == id.to_be_bytes());
        values.next().map(|pair| u32::from_be_bytes(pair[2..].try_into().expect("four bytes")))
    }
}

/// A connection that speaks frames.
pub(crate) struct Peer {
    socket: TcpStream,
}

impl Peer {
    /// Connects without a word.
    pub(crate) fn silent(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Connects without a word from an address of this machine, with as little room for answers as there can be.
    pub(crate) fn narrow(from: Ipv4Addr, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(1)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&addr.into())?;
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket })
    }

    /// Greets, and acknowledges nothing.
    pub(crate) fn greet(&mut self) -> io::Result<()> {
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        self.send(&frame(SETTINGS, 0, 0, &[]))
    }

    /// Connects, greets and acknowledges. Returns the server's settings too.
    pub(crate) fn greeted(addr: SocketAddr) -> io::Result<(Self, Frame)> {
        let mut peer = Self::silent(addr)?;
        peer.greet()?;
        let settings = peer.receive()?;
        assert_eq!(settings.kind, SETTINGS, "a server greets with its settings");
        peer.acknowledge()?;
        Ok((peer, settings))
    }

    /// Acknowledges the server's settings.
    pub(crate) fn acknowledge(&mut self) -> io::Result<()> {
        self.send(&frame(SETTINGS, ACK, 0, &[]))
    }

    /// Sends frames in one write.
    pub(crate) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.socket.write_all(frames)
    }

    /// Reads one frame.
    pub(crate) fn receive(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head)?;
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload)?;
        Ok(Frame { kind, stream: u32::from_be_bytes(stream), payload })
    }

    /// Reads until a GOAWAY, or until the server closes.
    pub(crate) fn goaway(&mut self) -> Option<(u32, String)> {
        loop {
            match self.receive() {
                Ok(frame) if frame.kind == GOAWAY => return frame.goaway(),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads until the server closes; `false` when it does not.
    pub(crate) fn closed(&mut self) -> bool {
        let mut rest = [0; 1_024];
        loop {
            match self.socket.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// Returns the frame that begins a call of a method, with further headers as they are.
pub(crate) fn call(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let block: Vec<u8> = usual.iter().chain(more).flat_map(|it| literal(it.0, it.1)).collect();
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Returns the frame that begins a call in as few bytes as can be: that of stream 1 says what the others refer to
/// (RFC 7541, 2.3 and 6).
pub(crate) fn terse(stream: u32, path: &str) -> Vec<u8> {
    // POST and http stand in the static table.
    let mut block = vec![0x83, 0x86];
    let named = [
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    if stream == 1 {
        for (name, value) in named {
            let mut remembered = literal(name, value);
            remembered[0] = 0x40;
            block.extend(remembered);
        }
    } else {
        // The newest entry is the first behind the 61 of the static table.
        block.extend((0..4).rev().map(|entry| 0x80 | (62 + entry)));
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Returns the frames of a call with an empty message, its sending side ended.
pub(crate) fn question(stream: u32, path: &str) -> Vec<u8> {
    [call(stream, path, &[]), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// Returns the frame by which a caller gives up a stream.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// Returns one frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Returns one header as a literal that no table remembers (RFC 7541, 6.2.2), without Huffman.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    let sized = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        assert!(length < 127, "longer lengths have more bytes");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], sized(name), sized(value)].concat()
}
