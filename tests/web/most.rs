//! Bodies at the door's limits: many at once, slow ones, long lists and long names.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use munadi::channels::inbound::ID_BYTES_MAX;
use munadi::web::Patience;
use munadi::web::limits::{BODIES_BYTES_MAX, BODY_BYTES_MAX, EVENTS_MAX};

use crate::bodies::{ACCOUNT, NUMBER, PHONE, about, said};
use crate::http::raw;
use crate::stage::{NOW_S, Stage, TENANT, door, whatsapp};

const PATH: &str = "/webhooks/whatsapp/all";

/// Begins a post whose body does not come, and waits until the door reads it.
fn begun(stage: &Stage, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(stage.web.addr()).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket
}

#[test]
fn bodies_beyond_the_memory_for_all_of_them_are_told_to_come_again() {
    let stage = Stage::new();
    let mut open: Vec<_> =
        (0..BODIES_BYTES_MAX / BODY_BYTES_MAX).map(|_| begun(&stage, BODY_BYTES_MAX)).collect();
    let answer = stage.post(PATH, "{}");
    assert_eq!((answer.status, answer.body()), (503, "BUSY"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let mut last = open.pop().unwrap();
    last.write_all(&[b' '; BODY_BYTES_MAX]).unwrap();
    let mut status = [0; 12];
    last.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 401", "it is not signed");
    assert_eq!(stage.post(PATH, "{}").status, 200, "its memory is free again");
    drop(open);
    stage.stop();
}

#[test]
fn a_body_that_does_not_come_in_time_is_given_up() {
    let stage = Stage::new();
    let patience = Patience { body: Duration::from_millis(50), ..Patience::default() };
    let slow = door(&stage.node, patience);
    let head = "POST /webhooks/whatsapp/all HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for length in [10, BODY_BYTES_MAX + 1] {
        let post = format!("{head}content-length: {length}\r\n\r\n{{");
        let answer = raw(slow.addr(), post.as_bytes());
        let expected = if length == 10 { (408, "BODY_TOO_SLOW") } else { (413, "BODY_TOO_LARGE") };
        assert_eq!((answer.status, answer.body()), expected);
    }
    slow.stop();
    stage.stop();
}

#[test]
fn a_post_of_more_events_than_the_writer_takes_at_a_time_loses_none() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let count = EVENTS_MAX + 1;
    let messages = (0..count).map(|number| {
        format!(r#"{{"from":"{PHONE}","id":"wamid.{number}","timestamp":"{NOW_S}","type":"text"}}"#)
    });
    let body = about(&format!(r#""messages":[{}]"#, messages.collect::<Vec<_>>().join(",")));
    for _ in 0..2 {
        assert_eq!(stage.post(PATH, &body).status, 200);
    }
    let chat = stage.conversation(shop, PHONE).unwrap();
    assert_eq!(chat.inbound_messages, count as u64);
    stage.stop();
}

#[test]
fn a_name_longer_than_any_platform_gives_is_nobodys() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let said = |id: &str| said(id, r#""type":"text""#);
    let before = stage.node.front().durable();
    let longest = "w".repeat(ID_BYTES_MAX);
    for long in [format!("{longest}w"), format!("{longest}\\u0077")] {
        assert_eq!(stage.post(PATH, &said(&long)).status, 200);
    }
    assert_eq!(stage.node.front().durable(), before);
    assert_eq!(stage.post(PATH, &said(&longest)).status, 200);
    assert_eq!(stage.conversation(shop, PHONE).unwrap().inbound_messages, 1);
    stage.stop();
}
