//! The load: a closed loop over HTTP/1.1 that signs a new message for each post and only counts the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;
use crate::support::child::Target;
use crate::support::hooks::server::ACCOUNT;

/// Threads that make the load; the servers have as many.
const THREADS: usize = 2;

/// People who write.
const PEOPLE: u64 = 20_000;

/// Numbers the messages of all loads.
static MESSAGES: AtomicU64 = AtomicU64::new(0);

/// A load that is running.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    posts: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Load {
    /// Starts to post over so many connections.
    pub(crate) fn start(target: &Target, connections: usize) -> Self {
        let (stop, posts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..THREADS).map(|thread| {
            let lane = Lane { target: target.clone(), stop: stop.clone(), posts: posts.clone() };
            let connections = (thread..connections).step_by(THREADS).count();
            std::thread::spawn(move || drive(&lane, connections))
        });
        let threads = threads.collect();
        Self { stop, posts, threads }
    }

    /// Returns how many posts were answered with 200 so far.
    pub(crate) fn posts(&self) -> u64 {
        self.posts.load(Ordering::Relaxed)
    }

    /// Ends the load after the posts in flight. Tells of the first that failed.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "a thread of the load panicked")??;
        }
        Ok(())
    }
}

fn drive(lane: &Lane, connections: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut lanes = JoinSet::new();
        (0..connections).for_each(|_| drop(lanes.spawn(lane.clone().run())));
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        Ok(())
    })
}

/// One connection.
#[derive(Clone)]
struct Lane {
    target: Target,
    stop: Arc<AtomicBool>,
    posts: Arc<AtomicU64>,
}

impl Lane {
    /// Posts, waits for the answer, and posts again.
    async fn run(self) -> Result<(), Failure> {
        let mut socket = TcpStream::connect(self.target.address).await?;
        socket.set_nodelay(true)?;
        let mut answer = vec![0; 4_096];
        while !self.stop.load(Ordering::Relaxed) {
            let number = MESSAGES.fetch_add(1, Ordering::Relaxed);
            socket.write_all(&post(number, &self.target.key)?).await?;
            let mut filled = 0;
            // Every answer here is short and ends with this body.
            while !answer[..filled].ends_with(b"\r\n\r\nok") {
                let read = socket.read(&mut answer[filled..]).await?;
                if read == 0 || filled + read == answer.len() {
                    let answer = String::from_utf8_lossy(&answer[..filled]);
                    return Err(format!("no answer of this bench: {answer}").into());
                }
                filled += read;
            }
            if !answer.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&answer[..filled]).into());
            }
            self.posts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Returns one signed post: a text message as the Cloud API sends it.
pub(crate) fn post(number: u64, secret: &str) -> Result<Vec<u8>, Failure> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let phone = 5_215_500_000_000 + number % PEOPLE;
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"5215512345678","phone_number_id":"{ACCOUNT}"}},"contacts":[{{"profile":{{"name":"Ana Mar\u00eda"}},"wa_id":"{phone}"}}],"messages":[{{"from":"{phone}","id":"wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQUdGNTg2QkE0QzI{number:016x}","timestamp":"{seconds}","text":{{"body":"Buenos d\u00edas, \u00bftienen mesa para cuatro personas esta noche?"}},"type":"text"}}]}},"field":"messages"}}]}}]}}"#
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(body.as_bytes());
    let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let head = format!(
        "POST /webhooks/whatsapp/bench HTTP/1.1\r\nhost: ads.example\r\naccept: */*\r\n\
         user-agent: facebookexternalua\r\ncontent-type: application/json\r\n\
         x-hub-signature-256: sha256={signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.as_bytes(), body.as_bytes()].concat())
}
