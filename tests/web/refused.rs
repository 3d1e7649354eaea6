//! What the door refuses, and that nothing of it is stored.

use std::io::Read;
use std::net::TcpStream;

use crate::bodies::{ACCOUNT, NUMBER, PHONE, said};
use crate::http::{raw, send};
use crate::stage::{OTHER_SECRET, SECRET, Stage, TENANT, signed, whatsapp};

const PATH: &str = "/webhooks/whatsapp/all";

#[test]
fn a_body_without_the_apps_own_signature_is_refused_and_stores_nothing() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let before = stage.node.front().durable();
    let body = said("wamid.1", r#""type":"text""#);
    let good = signed(SECRET, body.as_bytes());
    let post = |headers: &[(&str, &str)]| {
        send(stage.web.addr(), "POST", PATH, headers, body.as_bytes()).status
    };
    let header = "x-hub-signature-256";
    assert_eq!(post(&[]), 401);
    for wrong in [
        "",
        "sha256=",
        &good[..good.len() - 1],
        &good[..good.len() - 2],
        &good["sha256=".len()..],
        &good.replace("sha256", "sha1"),
        &signed(OTHER_SECRET, body.as_bytes()),
        &signed(SECRET, &body.as_bytes()[1..]),
    ] {
        assert_eq!(post(&[(header, wrong)]), 401, "{wrong}");
    }
    assert_eq!(post(&[(header, &good), (header, &good)]), 401, "two are one too many");
    assert_eq!(stage.node.front().durable(), before);
    assert!(stage.conversation(shop, PHONE).is_none());
    assert_eq!(post(&[(header, &good)]), 200);
    assert!(stage.conversation(shop, PHONE).is_some());
    stage.stop();
}

#[test]
fn a_form_is_signed_over_its_address_and_every_field() {
    let stage = Stage::new();
    let fields = [("MessageSid", "SM1"), ("To", "whatsapp:+1"), ("From", "whatsapp:+2")];
    assert_eq!(stage.post_form("/webhooks/twilio/tw", &fields).status, 200);
    assert_eq!(stage.post_form("/webhooks/twilio/tw?x=1", &fields).status, 200);
    let body = b"MessageSid=SM1&To=whatsapp%3A%2B1";
    let unsigned = send(stage.web.addr(), "POST", "/webhooks/twilio/tw", &[], body);
    assert_eq!(unsigned.status, 401);
    let twice = [("MessageSid", "SM1"), ("MessageSid", "SM2")];
    assert_eq!(stage.post_form("/webhooks/twilio/tw", &twice).status, 400);
    stage.stop();
}

#[test]
fn what_can_not_be_read_is_malformed_and_stores_nothing() {
    let stage = Stage::new();
    stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let before = stage.node.front().durable();
    let good = said("wamid.1", r#""type":"text""#);
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_in = said("wamid.1", &format!(r#""type":{}1{}"#, "[".repeat(500), "]".repeat(500)));
    for body in [
        "",
        "{",
        "not json",
        &good[..good.len() - 1],
        &format!("{good}}}"),
        &good.replace(r#""type""#, r#""id":"wamid.2","type""#),
        &good.replace(r#""type":"text""#, r#""type":"text","timestamp":1e999"#),
        &said("wamid.1", r#""type":"text","text":{"body":"\ud800"}"#),
        &good.replacen(&format!("\"{}\"", crate::stage::NOW_S), "99999999999999999999", 1),
        &deep,
        &deep_in,
    ] {
        let answer = stage.post(PATH, body);
        assert_eq!(answer.status, 400, "{body:.300}");
        assert_eq!(answer.body(), "BODY_MALFORMED");
    }
    let latin = signed(SECRET, b"{\"object\":\"\xe9\"}");
    let headers = [("x-hub-signature-256", &*latin)];
    let answer = send(stage.web.addr(), "POST", PATH, &headers, b"{\"object\":\"\xe9\"}");
    assert_eq!(answer.status, 400);
    assert_eq!(stage.node.front().durable(), before);
    stage.stop();
}

#[test]
fn a_body_of_five_megabytes_is_refused_however_it_is_sent() {
    let stage = Stage::new();
    let before = stage.node.front().durable();
    let large =
        said("wamid.1", &format!(r#""type":"text","text":{{"body":"{}"}}"#, "x".repeat(5 << 20)));
    let answer = stage.post(PATH, &large);
    assert_eq!((answer.status, answer.body()), (413, "BODY_TOO_LARGE"));
    let mut chunked = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         x-hub-signature-256: {}\r\n\r\n{:x}\r\n",
        signed(SECRET, large.as_bytes()),
        large.len()
    )
    .into_bytes();
    chunked.extend(large.bytes());
    chunked.extend(b"\r\n0\r\n\r\n");
    assert_eq!(raw(stage.web.addr(), &chunked).status, 413);
    let largest =
        said("wamid.1", &format!(r#""type":"text","text":{{"body":"{}"}}"#, "x".repeat(1_000_000)));
    assert_eq!(stage.post(PATH, &largest).status, 200);
    assert_eq!(stage.node.front().durable(), before);
    stage.stop();
}

#[test]
fn paths_and_methods_that_there_are_not_say_so() {
    let stage = Stage::new();
    let ask = |method: &str, target: &str| {
        let answer = send(stage.web.addr(), method, target, &[], b"");
        (answer.status, answer.header("allow").map(str::to_owned))
    };
    assert_eq!(ask("GET", "/healthz"), (200, None));
    assert_eq!(ask("POST", "/healthz"), (405, Some("GET, HEAD".into())));
    assert_eq!(ask("PUT", PATH), (405, Some("GET, POST".into())));
    assert_eq!(ask("GET", "/webhooks/twilio/tw"), (405, Some("POST".into())));
    assert_eq!(ask("POST", "/webhooks/whatsapp/nobody").0, 404);
    assert_eq!(ask("POST", "/webhooks/telegram/all").0, 404);
    assert_eq!(ask("GET", "/").0, 404);
    assert_eq!(ask("GET", "/../etc/passwd").0, 404);
    stage.stop();
}

#[test]
fn heads_beyond_their_limits_are_refused() {
    let stage = Stage::new();
    let long = "x".repeat(20 * 1_024);
    let answer = send(stage.web.addr(), "GET", "/healthz", &[("x-long", &long)], b"");
    assert_eq!(answer.status, 431);
    let names: Vec<String> = (0..100).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(send(stage.web.addr(), "GET", "/healthz", &many, b"").status, 431);
    assert_eq!(raw(stage.web.addr(), b"nonsense\r\n\r\n").status, 400);
    stage.stop();
}

#[test]
fn a_door_that_closes_lets_go_of_silent_connections() {
    let stage = Stage::new();
    let addr = stage.web.addr();
    let mut silent = TcpStream::connect(addr).unwrap();
    assert_eq!(send(addr, "GET", "/healthz", &[], b"").status, 200);
    stage.stop();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed without a word");
    assert!(TcpStream::connect(addr).is_err(), "a closed door takes nobody");
}
