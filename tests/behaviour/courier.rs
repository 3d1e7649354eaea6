//! Conversions pushed over the wire to a real receiver, by the client that serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use munadi::cli::courier::HttpCourier;
use munadi::node::clock::MovedClock;
use munadi::node::push::{Courier, Delivery, Parcel};
use munadi::tokens::push_signature;
use munadi::types::proto::v1;
use munadi::types::time::MINUTE_MS;
use tonic::Status;

use crate::desk::{Desk, PLATFORM, TACOS, calls, open_shop};
use crate::stage::at;

/// What a receiver got: the head of a request in lower case, and its body.
type Got = (String, String);

/// Listens on a free port of this machine, and answers each request with the next of these heads.
fn receiver(answers: &'static [&'static str]) -> (String, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/munadi", listener.local_addr().unwrap());
    let (sender, got) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap() == 0 {
                    break;
                }
            }
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.split('\r').next().unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n");
            (&stream).write_all(answer.as_bytes()).unwrap();
            let _ = sender.send((head, String::from_utf8(body).unwrap()));
        }
    });
    (url, got)
}

fn clock() -> Arc<MovedClock> {
    Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")))
}

fn deliver(url: &str, insecure: bool) -> Delivery {
    let courier = HttpCourier::new(clock(), insecure);
    let header = |name| (name, "1".to_owned());
    let headers =
        ["content-type", "x-munadi-timestamp", "x-munadi-key-version", "x-munadi-signature"];
    let parcel = Parcel {
        account: 1,
        url: url.into(),
        headers: headers.map(header),
        body: "{\"data\":[]}".into(),
    };
    calls(courier.deliver(parcel))
}

#[test]
fn an_answer_is_its_status_and_how_long_to_wait_and_no_redirect_is_followed() {
    let answers =
        &["200 OK\r\ncontent-length: 2", "429 Busy\r\nretry-after: 7", "302 Found\r\nlocation: /x"];
    let (url, got) = receiver(answers);
    let told = |status, retry_after_ms| Delivery::Answered { status, retry_after_ms };
    assert_eq!(deliver(&url, true), told(200, 0));
    assert_eq!(deliver(&url, true), told(429, 7_000));
    assert_eq!(deliver(&url, true), told(302, 0));
    let (head, body) = got.recv().unwrap();
    assert!(head.starts_with("post /munadi http/1.1\r\n"), "{head}");
    assert!(head.contains("x-munadi-signature: 1"), "{head}");
    assert_eq!(body, "{\"data\":[]}");
    let (closed, _) = receiver(&[]);
    assert_eq!(deliver(&closed, true), Delivery::Unanswered);
}

#[test]
fn nobody_at_home_is_asked_unless_the_operator_allows_it() {
    let (url, got) = receiver(&["200 OK"]);
    assert_eq!(deliver(&url, false), Delivery::Unanswered);
    assert_eq!(
        deliver(&url.replace("http://127.0.0.1", "https://localhost"), false),
        Delivery::Unanswered
    );
    assert!(got.try_recv().is_err(), "nothing came");
}

#[test]
fn a_sale_reaches_the_receiver_signed() {
    let (url, got) = receiver(&["200 OK"]);
    let clock = clock();
    let desk = Desk::moved(true, &clock, |node, clock| {
        node.push_behind(Arc::new(HttpCourier::new(clock, true))).unwrap();
    });
    let secret = calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let request = v1::SetConversionPushRequest {
            request_id: "push".into(),
            account_id: shop.account,
            url,
            test_event_code: "TEST1".into(),
            ..Default::default()
        };
        let set = desk.conversions(TACOS).set_conversion_push(request).await?.into_inner();
        let key = v1::ConversationKey { endpoint_id: shop.endpoint, contact: "ana".into() };
        let opened = v1::Opened {
            entry_point: v1::EntryPoint::Ad.into(),
            wrote: true,
            channel_click_id: "clid-ana".into(),
            ..Default::default()
        };
        let event = v1::ConversationEvent {
            business_id: shop.business,
            conversation: Some(key.clone()),
            event: Some(v1::conversation_event::Event::Opened(opened)),
            ..Default::default()
        };
        let events = vec![event];
        let request = v1::RecordConversationEventsRequest { request_id: String::new(), events };
        desk.conversations(PLATFORM).record_conversation_events(request).await?;
        let sale = v1::Conversion {
            event_id: "order-1".into(),
            name: "Purchase".into(),
            origin: Some(v1::conversion::Origin::Conversation(key)),
            ..Default::default()
        };
        let conversions = vec![sale];
        let request = v1::RecordConversionsRequest { request_id: String::new(), conversions };
        desk.conversations(PLATFORM).record_conversions(request).await?;
        Ok::<_, Status>(set.signing_secret)
    })
    .unwrap();
    clock.set(at("2026-11-23T12:00:00Z").plus_ms(2 * MINUTE_MS));
    let (head, body) = got.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(body.contains("\"event_id\":\"order-1\"") && !body.contains("TEST1"), "{body}");
    let header = |name: &str| {
        let value = head.split(&format!("\r\n{name}: ")).nth(1).unwrap();
        value.split('\r').next().unwrap().to_owned()
    };
    let timestamp = header("x-munadi-timestamp").parse().unwrap();
    let signature = push_signature(&secret, timestamp, &body);
    assert_eq!(header("x-munadi-signature"), format!("sha256={signature}"));
    desk.stop();
}
