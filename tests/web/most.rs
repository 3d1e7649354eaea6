//! Bodies at the door's limits: many at once, slow ones, long lists and long names.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use munadi::channels::inbound::ID_BYTES_MAX;
use munadi::web::Patience;
use munadi::web::limits::{APP_BODIES_BYTES_MAX, BODIES_BYTES_MAX, BODY_BYTES_MAX, EVENTS_MAX};

use crate::bodies::{ACCOUNT, NUMBER, PHONE, about, said};
use crate::http::{Answer, raw, send};
use crate::stage::{NOW_S, SECRET, Stage, TENANT, door, signed, whatsapp};

const PATH: &str = "/webhooks/whatsapp/all";

/// Posts after which the door has read what was sent before, most likely and at the latest.
const POSTS: usize = 200;
const POSTS_MAX: usize = 5_000;

/// How often memory is filled until nothing has come between.
const FILLS_MAX: usize = 5;

/// A signature as good as any until the body is there.
fn signature() -> String {
    format!("x-hub-signature-256: sha256={}", "0".repeat(64))
}

/// Begins a post whose body does not come, and waits until the door reads it.
fn begun(addr: SocketAddr, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n{}\r\n\r\n",
        signature()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket
}

/// Posts a small body that is well signed.
fn post(addr: SocketAddr, path: &str) -> Answer {
    let signature = signed(SECRET, b"{}");
    send(addr, "POST", path, &[("x-hub-signature-256", &signature)], b"{}")
}

#[test]
fn bodies_of_one_app_beyond_its_memory_are_told_to_come_again_and_anothers_are_read() {
    let stage = Stage::new();
    // However slowly all of them are sent.
    let patience = Patience { body: Duration::from_secs(120), ..Patience::default() };
    let door = door(&stage.node, patience);
    let fill = || {
        let begin = |_| begun(door.addr(), BODY_BYTES_MAX);
        let mut open: Vec<_> = (0..APP_BODIES_BYTES_MAX / BODY_BYTES_MAX).map(begin).collect();
        for socket in &mut open {
            socket.write_all(&[b' '; BODY_BYTES_MAX - 1]).unwrap();
        }
        open
    };
    let filled = || {
        let open = fill();
        // Each takes memory as it is read, and is read while others are answered.
        for _ in 0..POSTS {
            assert_eq!(post(door.addr(), "/webhooks/whatsapp/own").status, 200, "another app's");
        }
        let mut answers = (0..POSTS_MAX).map(|_| post(door.addr(), PATH));
        answers.find(|answer| answer.status != 200).map(|answer| (open, answer))
    };
    // A post of the same app that comes too soon may take what the last of them would have had.
    let (mut open, answer) = (0..FILLS_MAX).find_map(|_| filled()).expect("the memory is full");
    assert_eq!((answer.status, answer.body()), (503, "BUSY"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(post(door.addr(), "/webhooks/whatsapp/own").status, 200, "another app's");
    let mut last = open.pop().unwrap();
    last.write_all(b" ").unwrap();
    let mut status = [0; 12];
    last.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 401", "it is not signed");
    assert_eq!(post(door.addr(), PATH).status, 200, "its memory is free again");
    drop(open);
    door.stop();
    stage.stop();
}

/// More than the memory for all bodies is announced here, in the name of one app, and nothing of it comes.
#[test]
fn bodies_that_do_not_come_take_no_memory_from_those_that_do() {
    let stage = Stage::new();
    let count = BODIES_BYTES_MAX / BODY_BYTES_MAX + 8;
    let open: Vec<_> = (0..count).map(|_| begun(stage.web.addr(), BODY_BYTES_MAX)).collect();
    assert_eq!(stage.post(PATH, "{}").status, 200);
    drop(open);
    stage.stop();
}

#[test]
fn nothing_is_read_for_an_app_that_is_not_known_or_without_what_may_be_a_signature() {
    let stage = Stage::new();
    let hex = "0".repeat(64);
    let (good, bare) = (signature(), format!("x-hub-signature-256: {hex}"));
    let short = format!("x-hub-signature-256: sha256={}", &hex[1..]);
    let no_hex = format!("x-hub-signature-256: sha256=g{}", &hex[1..]);
    let twilio = ["AAAA", "no base64", ""].map(|it| format!("x-twilio-signature: {it}"));
    for (path, header, status, word) in [
        ("whatsapp/nobody", &good, 404, "APP_UNKNOWN"),
        ("messenger/all", &good, 404, "APP_UNKNOWN"),
        ("whatsapp/all", &"x-none: 1".to_owned(), 401, "SIGNATURE_INVALID"),
        ("whatsapp/all", &bare, 401, "SIGNATURE_INVALID"),
        ("whatsapp/all", &short, 401, "SIGNATURE_INVALID"),
        ("messenger/fb", &no_hex, 401, "SIGNATURE_INVALID"),
        ("twilio/tw", &good, 401, "SIGNATURE_INVALID"),
        ("twilio/tw", &twilio[0], 401, "SIGNATURE_INVALID"),
        ("twilio/tw", &twilio[1], 401, "SIGNATURE_INVALID"),
        ("twilio/tw", &twilio[2], 401, "SIGNATURE_INVALID"),
    ] {
        // Whoever is asked to go on is read.
        let head = format!(
            "POST /webhooks/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             expect: 100-continue\r\ncontent-length: 1000\r\n{header}\r\n\r\n"
        );
        let answer = raw(stage.web.addr(), head.as_bytes());
        assert_eq!((answer.status, answer.body()), (status, word), "{path} {header}");
    }
    stage.stop();
}

#[test]
fn a_body_that_does_not_come_in_time_is_given_up() {
    let stage = Stage::new();
    let patience = Patience { body: Duration::from_millis(50), ..Patience::default() };
    let slow = door(&stage.node, patience);
    let head =
        format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", signature());
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
