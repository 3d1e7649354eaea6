//! A node on a stage: a log in memory, a clock moved by hand, and short words for what people do.

mod shop;

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::mpsc::channel;

use munadi::channels::{Channel, FoundClick, find_click};
use munadi::journal::memory::{MemoryDisk, MemoryLog};
use munadi::journal::{Outcome, ShardLog};
use munadi::node::writer::{Work, Writer};
use munadi::node::{Answer, Front, Opened, open};
use munadi::report::query::Query;
use munadi::tokens::{KeyRing, contact_number, conversation_id, message_number, viewer_number};
use munadi::types::ids::{BatchNo, JournalId, SeqVector};
use munadi::types::proto::v1::slot::Filling;
use munadi::types::proto::v1::{
    AttributionRow, Conversation, Dimension, Direction, EntryPoint, EventKind, MessageCategory,
    Money, NoAdReason, PlacedAd, Placement, QueryReportResponse, Slot,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{
    AdRequest, Author, Chat, Claim, Conversion, Incoming, ListChange, ListMutation, Mutation,
    Opening, Origin, Policy, Profile, Receipt, Resource, ResourceKind, Scope, Verdict,
};
use munadi::types::time::{HOUR_MS, Moment};
use munadi::types::token::{ClickToken, PrefillCode, ViewToken};

pub(crate) use shop::{Offer, Shop};

/// The feed that asks.
pub(crate) const FEED: u32 = 7;
/// The tenant of most shops.
pub(crate) const TENANT: u32 = 5;
/// Everybody's things.
pub(crate) const ALL: Scope = Scope { tenant: 0, any: true };
/// Every start has the same seed.
const SEED: u64 = 42;
/// Rounds after which everything that waits for nothing outside must be done.
const ROUNDS_MAX: usize = 20;

/// Returns the moment that a text names.
pub(crate) fn at(text: &str) -> Moment {
    Moment(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// An ad in a slot, as the feed holds it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) ad: PlacedAd,
    pub(crate) token: ViewToken,
}

/// A node and its surroundings.
pub(crate) struct Stage {
    pub(crate) now: Moment,
    pub(crate) disk: MemoryDisk,
    pub(crate) ring: KeyRing,
    pub(crate) front: Front,
    pub(crate) writer: Writer,
    pub(crate) opened: Opened,
    /// What the feed allows.
    pub(crate) policy: Policy,
    writes: u64,
}

impl Stage {
    /// Opens an empty journal, at noon UTC of 2026-11-23 or whenever it is told.
    pub(crate) fn new() -> Self {
        Self::at("2026-11-23T12:00:00Z")
    }

    pub(crate) fn at(time: &str) -> Self {
        let now = at(time);
        let mut byte = 0;
        let mut random = |buffer: &mut [u8]| {
            byte += 1;
            buffer.fill(byte);
        };
        let mut ring = KeyRing::generate(&mut random, now.seconds());
        ring.add_feed(FEED, &mut random);
        let disk = MemoryLog::new(JournalId([1; 16])).disk();
        Self::open(disk, ring, now, None).unwrap()
    }

    /// Opens what is on a disk, with a checkpoint or without.
    pub(crate) fn open(
        disk: MemoryDisk,
        ring: KeyRing,
        now: Moment,
        checkpoint: Option<&[u8]>,
    ) -> Result<Self, munadi::node::OpenError> {
        let log: Box<dyn ShardLog> = Box::new(MemoryLog::open(&disk));
        let checkpoint = checkpoint.map(|bytes| Box::new(bytes) as Box<dyn Read + '_>);
        let (front, writer, opened) = open(log, ring.clone(), SEED, checkpoint)?;
        let policy = near();
        let mut stage = Self { now, disk, ring, front, writer, opened, policy, writes: 0 };
        stage.settle();
        Ok(stage)
    }

    /// Kills the node and opens its disk again.
    pub(crate) fn restarted(self) -> Self {
        let Self { disk, ring, now, policy, writes, .. } = self;
        Self { policy, writes, ..Self::open(disk, ring, now, None).unwrap() }
    }

    /// Kills the node before its last batches were stored, and opens what is left.
    pub(crate) fn losing(self, batches: u64) -> Self {
        let last = BatchNo(self.writer.log().last_batch().0 - batches);
        let mut shorter = MemoryLog::new(self.writer.log().journal_id());
        let whole = self.writer.log().read_from(&SeqVector::default(), &mut |block| {
            if block.batch <= last {
                shorter.submit(block.clone());
                assert_eq!(shorter.completed().unwrap().outcome, Outcome::Done);
            }
            ControlFlow::Continue(())
        });
        whole.unwrap();
        Self { disk: shorter.disk(), ..self }.restarted()
    }

    pub(crate) fn wait(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    /// Runs the writer until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.writer.step(self.now, []);
            if self.writer.is_idle() {
                return;
            }
        }
        panic!("the writer never comes to rest");
    }

    /// Gives work to the writer and returns the answer, which is durable then.
    pub(crate) fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(munadi::node::writer::Reply<T>) -> Work,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = channel();
        let reply = Box::new(move |answer| sender.send(answer).unwrap());
        self.writer.step(self.now, [work(reply)]);
        self.settle();
        receiver.try_recv().expect("an answer comes when everything is durable")
    }

    pub(crate) fn record_all(&mut self, items: Vec<Incoming>) -> Vec<Verdict> {
        self.work(|reply| Work::Record(items, reply)).unwrap()
    }

    pub(crate) fn record(&mut self, item: Incoming) -> Verdict {
        self.record_all(vec![item]).remove(0)
    }

    pub(crate) fn mutate(&mut self, mutation: Mutation) -> Result<Resource, Refusal> {
        self.work(|reply| Work::Mutate(Box::new(mutation), reply))
    }

    /// Writes to the operator's lists or rules.
    pub(crate) fn write_lists(
        &mut self,
        request_id: &str,
        change: ListChange,
    ) -> Result<u32, Refusal> {
        let hash = blake3::hash(format!("{change:?}").as_bytes());
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&hash.as_bytes()[..16]);
        let mutation = ListMutation {
            tenant: 0,
            request_id: request_id.into(),
            body_hash,
            by: Author::default(),
            change,
        };
        self.work(|reply| Work::MutateLists(Box::new(mutation), reply))
    }

    /// Returns a `request_id` that was not used yet.
    pub(crate) fn fresh_id(&mut self) -> String {
        self.writes += 1;
        format!("write-{}-{}", self.now.0, self.writes)
    }

    pub(crate) fn get(&self, kind: ResourceKind, id: u64) -> Result<Resource, Refusal> {
        self.front.get(ALL, kind, id)
    }
}

/// Serving.
impl Stage {
    pub(crate) fn viewer(&self, name: &str) -> u64 {
        viewer_number(self.ring.link(FEED).unwrap(), name)
    }

    /// Returns what a viewer in Mexico asks for: a tray with one place for an ad.
    pub(crate) fn tray_of(&self, name: &str) -> AdRequest {
        AdRequest {
            placement: Placement::Status,
            viewer: (!name.is_empty()).then(|| self.viewer(name)),
            profile: Profile { country: letters("MX"), ..Profile::default() },
            posts: 3,
            positions: Vec::new(),
            named: !name.is_empty(),
            ads_in_session: 0,
        }
    }

    pub(crate) fn tray(&self, request: &AdRequest) -> Answer {
        self.front.request_ads(FEED, &self.policy, request, self.now)
    }

    pub(crate) fn ask(&self, request: &AdRequest) -> Vec<Slot> {
        self.tray(request).slots()
    }

    /// Returns what fills the only slot of a tray.
    pub(crate) fn try_fill(&self, request: &AdRequest) -> Result<Shown, NoAdReason> {
        let slots = self.ask(request);
        assert_eq!(slots.len(), 1);
        self.filled(slots.into_iter().next().unwrap())
    }

    pub(crate) fn try_show(&self, name: &str) -> Result<Shown, NoAdReason> {
        self.try_fill(&self.tray_of(name))
    }

    pub(crate) fn show(&self, name: &str) -> Shown {
        self.try_show(name).unwrap()
    }

    /// Returns the ad in a slot, its token opened.
    pub(crate) fn filled(&self, slot: Slot) -> Result<Shown, NoAdReason> {
        match slot.filling.unwrap() {
            Filling::NoAdReason(reason) => Err(NoAdReason::try_from(reason).unwrap()),
            Filling::Ad(ad) => {
                let sealer = self.front.sealer();
                let token = sealer.open_view(&ad.view_token, self.now.seconds()).unwrap();
                Ok(Shown { ad, token })
            }
        }
    }

    /// Returns the click token in a shown ad's link, or in no link where the channel drops it.
    pub(crate) fn click(&self, shown: &Shown) -> ClickToken {
        let Some(FoundClick::Token(text)) = find_click(Channel::Telegram, &shown.ad.chat_link)
        else {
            panic!("no token in {}", shown.ad.chat_link)
        };
        self.front.sealer().open_click_text(text, self.now.seconds()).unwrap()
    }

    /// Returns the prefill code in a shown ad's link.
    pub(crate) fn code(&self, shown: &Shown) -> PrefillCode {
        match find_click(Channel::Whatsapp, &shown.ad.chat_link) {
            Some(FoundClick::Code(code)) => code,
            _ => panic!("no code in {}", shown.ad.chat_link),
        }
    }
}

/// Events.
impl Stage {
    pub(crate) fn happen(&mut self, shown: &Shown, kind: EventKind) -> Verdict {
        self.record(event(shown, kind))
    }

    pub(crate) fn see(&mut self, shown: &Shown) -> i64 {
        charged(&self.happen(shown, EventKind::Impression))
    }

    pub(crate) fn tap(&mut self, shown: &Shown) -> i64 {
        charged(&self.happen(shown, EventKind::Tap))
    }

    /// Shows an ad to a viewer, who looks at it and taps it.
    pub(crate) fn tapped(&mut self, name: &str) -> Shown {
        let shown = self.show(name);
        self.see(&shown);
        self.tap(&shown);
        shown
    }

    pub(crate) fn chat(&self, shop: &Shop, contact: &str) -> Chat {
        let number = contact_number(&self.ring.contact, shop.endpoint, contact);
        let id = conversation_id(shop.business, shop.endpoint, number);
        let (business, endpoint) = (shop.business, shop.endpoint);
        Chat {
            tenant: shop.tenant,
            business,
            endpoint,
            id,
            at: None,
            country: 0,
            // As the platform tells of them.
            independent: true,
        }
    }

    pub(crate) fn open_chat(
        &mut self,
        shop: &Shop,
        contact: &str,
        proof: Option<Claim>,
    ) -> Verdict {
        let entry_point =
            if proof.is_some() { EntryPoint::Ad } else { EntryPoint::BusinessProfile };
        let chat = self.chat(shop, contact);
        self.record(Incoming::Opened { chat, opening: Opening::by_message(entry_point, proof) })
    }

    /// Returns a message's receipt.
    pub(crate) fn receipt(
        &self,
        shop: &Shop,
        contact: &str,
        id: &str,
        direction: Direction,
    ) -> Incoming {
        let message = message_number(&self.ring.contact, shop.endpoint, id);
        let category = MessageCategory::Service;
        let receipt = Receipt::delivered(message, direction, category);
        Incoming::Message { chat: self.chat(shop, contact), receipt }
    }

    pub(crate) fn answer(&mut self, shop: &Shop, contact: &str, id: &str) -> Verdict {
        let receipt = self.receipt(shop, contact, id, Direction::Outbound);
        self.record(receipt)
    }

    pub(crate) fn convert(&mut self, shop: &Shop, event_id: &str, origin: Origin) -> Verdict {
        self.record(Incoming::Converted(Box::new(sale(shop, event_id, 9_000_000, origin))))
    }

    /// Returns the conversation as an origin of conversions.
    pub(crate) fn by_chat(&self, shop: &Shop, contact: &str) -> Origin {
        Origin::Conversation { endpoint: shop.endpoint, id: self.chat(shop, contact).id }
    }
}

/// Looking.
impl Stage {
    pub(crate) fn conversation(&self, shop: &Shop, contact: &str) -> Conversation {
        self.front.conversation(ALL, self.chat(shop, contact).id, self.now).unwrap()
    }

    /// Returns a report over all hours.
    pub(crate) fn report(&self, dimensions: &[Dimension]) -> QueryReportResponse {
        let query = Query { dimensions: dimensions.to_vec(), ..whole() };
        self.front.report(ALL, &query, self.now).unwrap().0
    }

    /// Returns every row of the attribution stream, all minutes closed.
    pub(crate) fn credits(&mut self) -> Vec<AttributionRow> {
        self.settle();
        let end = self.now.plus_ms(HOUR_MS);
        self.front.pull(ALL, &SeqVector::default(), end).0.rows
    }

    /// Returns a checkpoint of this moment.
    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let log = self.writer.log();
        self.front.write_checkpoint(log.journal_id(), &mut bytes).unwrap();
        bytes
    }
}

/// Returns the query for all hours, in one page.
pub(crate) fn whole() -> Query {
    Query { end_hour: u32::MAX, limit: 10_000, ..Query::default() }
}

/// Returns two letters as a number.
pub(crate) fn letters(text: &str) -> u16 {
    u16::from_be_bytes(text.as_bytes().try_into().unwrap())
}

/// Returns the usual policy, but no advertiser keeps its distance, and the floor is what an [`Offer`]
/// bids: without competitors an impression costs 1 MXN.
pub(crate) fn near() -> Policy {
    let floor_cpm_micros = 1_000_000_000;
    Policy { advertiser_distance_ms: 0, floor_cpm_micros, ..Policy::default() }
}

pub(crate) fn event(shown: &Shown, kind: EventKind) -> Incoming {
    Incoming::Ad { token: shown.token, kind, at: None, suspect: None, network: 0 }
}

pub(crate) fn event_at(shown: &Shown, kind: EventKind, at: Moment) -> Incoming {
    Incoming::Ad { token: shown.token, kind, at: Some(at), suspect: None, network: 0 }
}

/// Returns a sale.
pub(crate) fn sale(shop: &Shop, event_id: &str, micros: i64, origin: Origin) -> Conversion {
    let value = Some(Money { micros, currency: "MXN".into() });
    let (event_id, name) = (event_id.to_owned(), "Purchase".to_owned());
    let (at, viewer) = (None, 0);
    Conversion { tenant: shop.tenant, event_id, name, value, at, origin, viewer }
}

/// Returns what was charged for a new event.
pub(crate) fn charged(verdict: &Verdict) -> i64 {
    match verdict {
        Verdict::Recorded { charged, .. } => *charged,
        other => panic!("not recorded: {other:?}"),
    }
}

/// Returns why an event was refused.
pub(crate) fn refused(verdict: &Verdict) -> Reason {
    match verdict {
        Verdict::Refused(refusal) => refusal.reason,
        other => panic!("not refused: {other:?}"),
    }
}
