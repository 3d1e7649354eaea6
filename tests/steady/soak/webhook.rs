//! A platform that tells of messages by webhooks: a few messages, again and again.

use std::io;
use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use munadi::node::clock::{Clock, SystemClock};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Status;

use crate::calls::PATIENCE;
use crate::server::{APP_SECRET, Server};
use crate::shops::{NUMBER, NUMBER_ID};

/// Messages that are told of: fewer than a chat remembers.
const MESSAGES: u64 = 8;

/// Who posts, and from when all its messages are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Platform {
    to: SocketAddr,
    said_s: u32,
}

impl Platform {
    pub(super) fn of(server: &Server) -> Self {
        Self { to: server.web, said_s: SystemClock::default().now().seconds() }
    }
}

/// Posts that somebody wrote, and waits until it is taken.
pub(super) async fn post(platform: Platform, number: u64) -> Result<(), Status> {
    let answered = timeout(PATIENCE, answer(platform.to, &body(platform, number))).await;
    let answer = answered.map_err(|_| Status::deadline_exceeded("a webhook"))??;
    let taken = answer.starts_with("HTTP/1.1 200 ");
    if taken { Ok(()) } else { Err(Status::unknown(answer)) }
}

fn body(platform: Platform, number: u64) -> String {
    let (said_s, message) = (platform.said_s, number % MESSAGES);
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"waba","time":{said_s},
        "changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp",
        "metadata":{{"display_phone_number":"{NUMBER}","phone_number_id":"{NUMBER_ID}"}},
        "messages":[{{"from":"5215550001111","id":"wamid.{message}","timestamp":"{said_s}",
        "type":"text"}}]}}}}]}}]}}"#
    )
}

/// Posts a body on a connection of its own, and returns what came back.
async fn answer(to: SocketAddr, body: &str) -> io::Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(APP_SECRET.as_bytes()).expect("any length fits");
    mac.update(body.as_bytes());
    let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let head = format!(
        "POST /webhooks/whatsapp/all HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
         x-hub-signature-256: sha256={signature}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(to).await?;
    socket.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}
