//! Webhooks while the queue to the writer is full: their senders are told to come again, and nothing is lost.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use munadi::journal::memory::MemoryLog;
use munadi::journal::{Block, Completed, LogError, ShardLog, Tail, Ticket, Wake};
use munadi::node::clock::MovedClock;
use munadi::node::writer::BATCHES_IN_FLIGHT_MAX;
use munadi::node::{Node, Pending, QUEUE_MAX};
use munadi::tokens::{KeyRing, conversation_id};
use munadi::types::ids::{BatchNo, JournalId, SeqVector, Shard};
use munadi::types::proto::v1::EntryPoint;
use munadi::types::refusal::Reason;
use munadi::types::request::{Chat, Incoming, Opening, Verdict};
use munadi::types::time::Moment;

use crate::bodies::{ACCOUNT, NUMBER, PHONE, said};
use crate::http::{raw, send};
use crate::stage::{NOW_S, Shop, Stage, TENANT, wait, whatsapp};

const PATH: &str = "/webhooks/whatsapp/all";

/// What a person's browser calls itself.
pub(crate) const BROWSER: &str =
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/125.0.0.0 Mobile";

/// Holds back what a log would tell of its disk.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Inside>);

#[derive(Default)]
struct Inside {
    is_held: AtomicBool,
    /// Batches that were submitted and are not durable, when the last one was submitted.
    in_flight: AtomicU64,
    wake: Mutex<Option<Wake>>,
    turnstile: Mutex<Turnstile>,
    turned: Condvar,
}

/// What lets the writer hand over its batches.
#[derive(Default)]
struct Turnstile {
    is_shut: bool,
    /// Whether the writer stands before it.
    is_met: bool,
}

impl Gate {
    /// Lets the writer hand over no batch any more: it stands still with the next one.
    pub(crate) fn shut(&self) {
        *self.0.turnstile.lock().unwrap() = Turnstile { is_shut: true, is_met: false };
    }

    /// Waits until the writer stands still.
    pub(crate) fn met(&self) {
        let turnstile = self.0.turnstile.lock().unwrap();
        drop(self.0.turned.wait_while(turnstile, |it| !it.is_met).unwrap());
    }

    pub(crate) fn open(&self) {
        self.0.turnstile.lock().unwrap().is_shut = false;
        self.0.turned.notify_all();
    }

    /// Lets a batch pass, or its writer wait.
    fn pass(&self) {
        let mut turnstile = self.0.turnstile.lock().unwrap();
        turnstile.is_met = true;
        self.0.turned.notify_all();
        drop(self.0.turned.wait_while(turnstile, |it| it.is_shut).unwrap());
    }

    /// Returns the batches that were submitted and are not durable.
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.in_flight.load(SeqCst)
    }

    /// Lets nothing become durable any more.
    pub(crate) fn hold(&self) {
        self.0.is_held.store(true, SeqCst);
    }

    pub(crate) fn release(&self) {
        self.0.is_held.store(false, SeqCst);
        self.0.wake.lock().unwrap().iter().for_each(|wake| wake());
    }

    /// Tells whether the writer takes no more work before something is durable.
    fn is_full(&self) -> bool {
        self.in_flight() >= BATCHES_IN_FLIGHT_MAX
    }
}

/// A log in memory whose durable mark a gate holds back.
struct Held {
    log: MemoryLog,
    gate: Gate,
}

impl ShardLog for Held {
    fn journal_id(&self) -> JournalId {
        self.log.journal_id()
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.submit_all(vec![block])
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        self.gate.pass();
        let last = blocks.last().map(|block| block.batch.0);
        let ticket = self.log.submit_all(blocks);
        if let Some(last) = last {
            self.gate.0.in_flight.store(last - self.log.last_batch().0, SeqCst);
        }
        ticket
    }

    fn completed(&mut self) -> Option<Completed> {
        if self.gate.0.is_held.load(SeqCst) { None } else { self.log.completed() }
    }

    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.log.read_from(from, visit)
    }

    fn start(&self) -> SeqVector {
        self.log.start()
    }

    fn tail(&self, shard: Shard) -> Result<Tail, LogError> {
        self.log.tail(shard)
    }

    fn last_batch(&self) -> BatchNo {
        self.log.last_batch()
    }

    fn trim(&mut self, below: &SeqVector) -> Result<u64, LogError> {
        self.log.trim(below)
    }

    fn on_completion(&mut self, wake: Wake) {
        *self.gate.0.wake.lock().unwrap() = Some(Arc::clone(&wake));
        self.log.on_completion(wake);
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        Box::new(self.log).close()
    }
}

#[test]
fn under_a_full_queue_a_post_is_told_to_come_again_and_counts_once_when_it_does() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let posts = ["wamid.1", "wamid.2"].map(|id| said(id, r#""type":"text""#));
    wait(stage.node.settled()).unwrap();
    gate.hold();
    let waiting = fill(&stage, &gate, shop);
    assert!(waiting.len() > QUEUE_MAX, "{}", waiting.len());
    for body in posts.iter().chain(&posts) {
        let answer = stage.post(PATH, body);
        assert_eq!((answer.status, answer.body()), (503, "BUSY"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    gate.release();
    wait(async {
        for pending in waiting {
            let verdicts = pending.await.unwrap();
            assert_eq!(verdicts, [Verdict::Recorded { charged: 0, invalid: None }]);
        }
    });
    assert!(stage.conversation(shop, PHONE).is_none(), "nothing of what was refused is kept");
    for body in posts.iter().chain(&posts) {
        assert_eq!(stage.post(PATH, body).status, 200);
    }
    assert_eq!(stage.conversation(shop, PHONE).unwrap().inbound_messages, 2);
    stage.stop();
}

/// Nobody waits for a body that is refused anyway; and a person who follows a link gets to the chat.
#[test]
fn under_a_full_queue_a_post_is_refused_unread_and_a_link_still_leads_to_its_chat() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let source = stage.source(shop);
    let path = format!("/c/{}", source.code);
    let follow = || send(stage.web.addr(), "GET", &path, &[("user-agent", BROWSER)], b"");
    wait(stage.node.settled()).unwrap();
    gate.hold();
    let waiting = fill(&stage, &gate, shop);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000\r\n\r\n"
    );
    let answer = raw(stage.web.addr(), head.as_bytes());
    assert_eq!((answer.status, answer.body()), (503, "BUSY"), "its body never came");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let answer = follow();
    assert_eq!(answer.status, 302);
    let chat = format!("https://wa.me/{NUMBER}?text=");
    assert!(answer.header("location").unwrap().starts_with(&chat), "{}", answer.whole);
    gate.release();
    wait(async {
        for pending in waiting {
            pending.await.unwrap();
        }
    });
    assert_eq!(follow().status, 302);
    stage.stop();
}

/// Returns a stage whose journal the gate holds back.
pub(crate) fn held() -> (Stage, Gate) {
    let gate = Gate::default();
    let log = Held { log: MemoryLog::new(JournalId([1; 16])), gate: gate.clone() };
    let now = Moment(NOW_S * 1_000);
    let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(7), now.seconds());
    let clock = Arc::new(MovedClock::at(now));
    let wall = Arc::<MovedClock>::clone(&clock);
    let node = Node::over(Box::new(log), ring, 7, wall).unwrap();
    (Stage::on(node, clock, tempfile::tempdir().unwrap()), gate)
}

/// Returns the opening of a chat.
pub(crate) fn opened(shop: Shop, contact: u64) -> Incoming {
    let chat = Chat {
        tenant: TENANT,
        business: shop.business,
        endpoint: shop.endpoint,
        id: conversation_id(shop.business, shop.endpoint, contact),
        at: None,
        country: 0,
        independent: false,
    };
    Incoming::Opened { chat, opening: Opening::by_message(EntryPoint::Organic, None) }
}

/// Opens chats until the writer stands still and nothing more may wait for it.
pub(crate) fn fill(stage: &Stage, gate: &Gate, shop: Shop) -> Vec<Pending<Vec<Verdict>>> {
    let mut waiting = Vec::new();
    for contact in 1.. {
        // What comes after has found no place either.
        let full = gate.is_full();
        match stage.node.record(vec![opened(shop, contact)]) {
            Ok(pending) => waiting.push(pending),
            Err(refusal) => {
                assert_eq!(refusal.reason, Reason::Busy);
                if full {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
    waiting
}
