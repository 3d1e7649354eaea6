//! A caller over plain HTTP/1.1: it writes bytes and reads what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Everything, head and body.
    pub(crate) whole: String,
}

impl Answer {
    pub(crate) fn body(&self) -> &str {
        self.whole.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.whole.lines().skip(1).take_while(|line| !line.is_empty());
        let mut pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn send(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    if method != "GET" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    raw(addr, &[head.as_bytes(), b"\r\n", body].concat())
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn raw(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that has heard enough may close before all is written.
    let _ = socket.write_all(bytes);
    let mut whole = Vec::new();
    let _ = socket.read_to_end(&mut whole);
    let whole = String::from_utf8(whole).unwrap();
    let status = whole.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, whole }
}
