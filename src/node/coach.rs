//! The free-window coach: who watches a business is told which conversations are about to leave a free window.
//!
//! Of each watched business the ends of its open windows stand in order, fed by the facts as they are journaled;
//! time only takes from the front. Nothing is journaled here: a watcher that asks again after a restart is shown
//! anew what is open.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::mpsc;

use crate::node::live::{Live, locked};
use crate::state::BUCKETS_PER_SHARD;
use crate::state::chats::Chat;
use crate::state::credit::timestamp;
use crate::types::ids::{BatchNo, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::{FreeWindow, WindowChange, WindowNotice};
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::Moment;

/// Watchers that one node serves at a time.
pub const WATCHES_MAX: usize = 1_024;

/// Open windows of all watched businesses together.
pub const WATCHED_WINDOWS_MAX: usize = 1 << 20;

/// Notices that wait for a slow watcher before it is cut off.
pub const NOTICES_WAITING_MAX: usize = 10_000;

/// Notices that are handed over at once.
pub const NOTICES_AT_ONCE_MAX: usize = 1_000;

/// Hand-overs that a watcher may be behind.
const AHEAD: usize = 4;

/// Where a window stands in the order of ends: its end, its conversation, which one it is.
type Place = (i64, u64, FreeWindow);

/// One who watches.
#[derive(Debug)]
struct Watcher {
    lead_ms: i64,
    /// Every window that ends up to here was told to be leaving.
    leaving_ms: i64,
    /// The last window that was shown; `None`: all that were open have been.
    shown: Option<Place>,
    /// Told once their batch is durable.
    waiting: VecDeque<(BatchNo, WindowNotice)>,
    sender: mpsc::Sender<Vec<WindowNotice>>,
    cause: Arc<OnceLock<Refusal>>,
}

/// The open windows of one business.
#[derive(Debug, Default)]
struct Desk {
    /// The endpoint of each, by end.
    windows: BTreeMap<Place, u64>,
    /// The end of each.
    ends: HashMap<(u64, FreeWindow), i64>,
    watchers: Vec<Watcher>,
    /// Those who are still gathering what is open.
    coming: usize,
}

#[derive(Debug, Default)]
struct Inside {
    desks: HashMap<u64, Desk>,
    windows: usize,
    now_ms: i64,
    head: BatchNo,
}

/// What is watched in one node.
#[derive(Debug, Default)]
pub(in crate::node) struct Coach {
    watched: AtomicUsize,
    inside: Mutex<Inside>,
}

/// What a watcher holds.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Vec<WindowNotice>>,
    cause: Arc<OnceLock<Refusal>>,
}

impl Watch {
    /// Returns what is new, at most [`NOTICES_AT_ONCE_MAX`] notices, when there is something.
    ///
    /// # Errors
    /// `Busy` when the watcher was too slow, `Unavailable` when the node stops.
    pub async fn next(&mut self) -> Result<Vec<WindowNotice>, Refusal> {
        self.receiver.recv().await.ok_or_else(|| self.ended())
    }

    /// Returns what waits, without waiting.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn ready(&mut self) -> Result<Option<Vec<WindowNotice>>, Refusal> {
        match self.receiver.try_recv() {
            Ok(notices) => Ok(Some(notices)),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&self) -> Refusal {
        let message = "the node stops; watch again";
        let stopping = || Refusal::new(Reason::Unavailable, "", message);
        self.cause.get().cloned().unwrap_or_else(stopping)
    }
}

impl Live {
    /// Begins to watch a business.
    ///
    /// # Errors
    /// `Busy` when the node serves as many watchers, or as many windows, as it can.
    pub(in crate::node) fn watch_windows(
        &self,
        business: u64,
        lead_ms: i64,
        now: Moment,
    ) -> Result<Watch, Refusal> {
        let coach = &self.coach;
        if self.progress.is_stopped() {
            let message = "the node stops; watch again";
            return Err(Refusal::new(Reason::Unavailable, "", message));
        }
        if coach.watched.fetch_add(1, SeqCst) >= WATCHES_MAX {
            coach.watched.fetch_sub(1, SeqCst);
            let message = "this node serves as many watchers as it can; watch again later";
            return Err(Refusal::new(Reason::Busy, "", message));
        }
        // From here on the writer notes what changes; what is open already is gathered beside it.
        locked(&coach.inside).desks.entry(business).or_default().coming += 1;
        let first = shard_of(business).index() * BUCKETS_PER_SHARD;
        for bucket in first..first + BUCKETS_PER_SHARD {
            let cell = self.cell_at(bucket);
            let theirs = cell.facts.chats.iter().filter(|(_, chat)| chat.business == business);
            for (id, chat) in theirs {
                locked(&coach.inside).note(*id, chat, now);
            }
        }
        let mut inside = locked(&coach.inside);
        let full = inside.windows > WATCHED_WINDOWS_MAX;
        let now_ms = inside.now_ms.max(now.0);
        let (sender, receiver) = mpsc::channel(AHEAD);
        let cause = Arc::new(OnceLock::new());
        if let Some(desk) = inside.desks.get_mut(&business) {
            desk.coming -= 1;
            desk.watchers.push(Watcher {
                lead_ms,
                leaving_ms: now_ms + lead_ms,
                shown: Some((now_ms, u64::MAX, FreeWindow::EntryPoint)),
                waiting: VecDeque::new(),
                sender,
                cause: Arc::clone(&cause),
            });
            if full {
                desk.cut_off(too_many());
            }
        }
        Ok(Watch { receiver, cause })
    }
}

impl Coach {
    /// Notes what a journaled fact changed of a conversation's windows.
    pub(in crate::node) fn note(&self, live: &Live, fact: &Kind, now: Moment, head: BatchNo) {
        if self.watched.load(SeqCst) == 0 {
            return;
        }
        let conversation = match fact {
            Kind::ConversationOpened(fact) => fact.conversation,
            Kind::MessageRecorded(fact) => fact.conversation,
            _ => return,
        };
        let cell = live.cell(conversation);
        let Some(chat) = cell.facts.chats.get(&conversation) else { return };
        let mut inside = locked(&self.inside);
        inside.head = head;
        inside.note(conversation, chat, now);
    }

    /// Lets time go on, and tells what is durable.
    pub(in crate::node) fn advance(&self, now: Moment, head: BatchNo, durable: BatchNo) {
        if self.watched.load(SeqCst) == 0 {
            return;
        }
        let gone = locked(&self.inside).advance(now, head, durable);
        self.watched.fetch_sub(gone, SeqCst);
    }

    /// Ends every watch.
    pub(in crate::node) fn close(&self) {
        let mut inside = locked(&self.inside);
        let mut ended = 0;
        for desk in inside.desks.values_mut() {
            ended += desk.watchers.len();
            desk.watchers.clear();
        }
        self.watched.fetch_sub(ended, SeqCst);
    }
}

impl Inside {
    /// Lets time go on, and tells what is durable; returns how many watchers have gone.
    fn advance(&mut self, now: Moment, head: BatchNo, durable: BatchNo) -> usize {
        self.head = head;
        self.now_ms = self.now_ms.max(now.0);
        let (now_ms, mut left, mut gone) = (self.now_ms, 0, 0);
        self.desks.retain(|_, desk| {
            left += desk.advance(now_ms, head);
            gone += desk.tell(head, durable);
            let watched = !desk.watchers.is_empty() || desk.coming > 0;
            left += if watched { 0 } else { desk.windows.len() };
            watched
        });
        self.windows -= left;
        gone
    }

    /// Notes the windows of a conversation as they are now. Who watches them is cut off where they are too many.
    fn note(&mut self, conversation: u64, chat: &Chat, now: Moment) {
        self.now_ms = self.now_ms.max(now.0);
        let Some(desk) = self.desks.get_mut(&chat.business) else { return };
        let open = chat.windows.now(now);
        let before = desk.windows.len();
        for (window, end) in [
            (FreeWindow::CustomerService, open.service_until),
            (FreeWindow::EntryPoint, open.free_entry_until),
        ] {
            let end_ms = end.map(|end| end.0).filter(|end_ms| *end_ms > self.now_ms);
            desk.put(conversation, chat.endpoint, window, end_ms, self.head);
        }
        self.windows = self.windows + desk.windows.len() - before;
        if self.windows > WATCHED_WINDOWS_MAX {
            desk.cut_off(too_many());
        }
    }
}

impl Desk {
    fn put(
        &mut self,
        conversation: u64,
        endpoint: u64,
        window: FreeWindow,
        end_ms: Option<i64>,
        head: BatchNo,
    ) {
        let known = self.ends.get(&(conversation, window)).copied();
        if known == end_ms {
            return;
        }
        if let Some(known_ms) = known {
            self.windows.remove(&(known_ms, conversation, window));
            self.ends.remove(&(conversation, window));
        }
        let Some(end_ms) = end_ms else { return };
        self.windows.insert((end_ms, conversation, window), endpoint);
        self.ends.insert((conversation, window), end_ms);
        let change = match known {
            Some(_) => WindowChange::Restarted,
            None => WindowChange::Open,
        };
        let place = (end_ms, conversation, window);
        for watcher in &mut self.watchers {
            watcher.show(place, endpoint, change, head);
        }
    }

    /// Takes the windows that have ended, and tells of those that come within a watcher's lead; returns how many
    /// have ended.
    fn advance(&mut self, now_ms: i64, head: BatchNo) -> usize {
        let mut left = 0;
        while let Some(first) = self.windows.first_entry()
            && first.key().0 <= now_ms
        {
            let (place, endpoint) = first.remove_entry();
            self.ends.remove(&(place.1, place.2));
            left += 1;
            for watcher in &mut self.watchers {
                watcher.push(place, endpoint, WindowChange::Left, head);
            }
        }
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.shown.is_none()) {
            let from = (watcher.leaving_ms, u64::MAX, FreeWindow::EntryPoint);
            let to = (now_ms + watcher.lead_ms, u64::MAX, FreeWindow::EntryPoint);
            if to <= from {
                continue;
            }
            watcher.leaving_ms = to.0;
            for (place, endpoint) in self.windows.range((Excluded(from), Included(to))) {
                watcher.push(*place, *endpoint, WindowChange::Leaving, head);
            }
        }
        left
    }

    /// Hands over what is durable; returns how many watchers have gone.
    fn tell(&mut self, head: BatchNo, durable: BatchNo) -> usize {
        let before = self.watchers.len();
        let windows = &self.windows;
        self.watchers.retain_mut(|watcher| {
            watcher.show_more(windows, head);
            watcher.hand_over(durable)
        });
        before - self.watchers.len()
    }

    fn cut_off(&mut self, refusal: Refusal) {
        for watcher in &mut self.watchers {
            // The first cause stands.
            let _ = watcher.cause.set(refusal.clone());
        }
    }
}

impl Watcher {
    fn push(&mut self, place: Place, endpoint: u64, change: WindowChange, head: BatchNo) {
        let (end_ms, conversation_id, window) = place;
        let notice = WindowNotice {
            conversation_id,
            endpoint_id: endpoint,
            window: window.into(),
            change: change.into(),
            end_time: Some(timestamp(end_ms)),
        };
        self.waiting.push_back((head, notice));
    }

    /// Tells of a window that is open, and at once if it is within the lead.
    fn show(&mut self, place: Place, endpoint: u64, change: WindowChange, head: BatchNo) {
        self.push(place, endpoint, change, head);
        if place.0 <= self.leaving_ms {
            self.push(place, endpoint, WindowChange::Leaving, head);
        }
    }

    /// Shows the next of the windows that were open at the beginning, if the last ones were taken.
    fn show_more(&mut self, windows: &BTreeMap<Place, u64>, head: BatchNo) {
        let Some(shown) = self.shown.filter(|_| self.waiting.is_empty()) else { return };
        let mut next = windows.range((Excluded(shown), Unbounded));
        for (place, endpoint) in next.by_ref().take(NOTICES_AT_ONCE_MAX) {
            self.show(*place, *endpoint, WindowChange::Open, head);
            self.shown = Some(*place);
        }
        if next.next().is_none() {
            self.shown = None;
        }
    }

    /// Hands over what is durable; tells whether the watcher is still there.
    fn hand_over(&mut self, durable: BatchNo) -> bool {
        while self.sender.capacity() > 0 {
            let ready = self.waiting.iter().take_while(|(batch, _)| *batch <= durable);
            let ready = ready.take(NOTICES_AT_ONCE_MAX).count();
            if ready == 0 {
                break;
            }
            let notices = self.waiting.drain(..ready).map(|(_, notice)| notice).collect();
            if self.sender.try_send(notices).is_err() {
                return false;
            }
        }
        if self.waiting.len() > NOTICES_WAITING_MAX {
            let message = "the reader is too slow for what changes; watch again and read faster";
            let _ = self.cause.set(Refusal::new(Reason::Busy, "", message));
        }
        !self.sender.is_closed() && self.cause.get().is_none()
    }
}

fn too_many() -> Refusal {
    let message = "more free windows are open than this node watches; use ListConversations";
    Refusal::new(Reason::Busy, "business_id", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::Direction;

    fn watcher() -> (Watcher, Watch) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let cause = Arc::new(OnceLock::new());
        let watch = Watch { receiver, cause: Arc::clone(&cause) };
        let (shown, waiting) = (None, VecDeque::new());
        (Watcher { lead_ms: 10, leaving_ms: 10, shown, waiting, sender, cause }, watch)
    }

    #[test]
    fn nothing_is_told_before_it_is_durable() {
        let (mut watcher, mut watch) = watcher();
        let service = FreeWindow::CustomerService;
        watcher.show((50, 1, service), 2, WindowChange::Restarted, BatchNo(7));
        watcher.push((60, 1, service), 2, WindowChange::Left, BatchNo(8));
        assert!(watcher.hand_over(BatchNo(6)));
        assert_eq!(watch.ready(), Ok(None));
        assert!(watcher.hand_over(BatchNo(7)));
        let told = watch.ready().unwrap().unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].change(), WindowChange::Restarted);
        assert_eq!(watch.ready(), Ok(None));
    }

    #[test]
    fn a_window_within_the_lead_is_leaving_at_once() {
        let (mut watcher, _watch) = watcher();
        let mut show = |end_ms| {
            let place = (end_ms, 1, FreeWindow::EntryPoint);
            watcher.show(place, 2, WindowChange::Open, BatchNo(1));
            watcher.waiting.drain(..).count()
        };
        assert_eq!((show(10), show(11)), (2, 1));
    }

    #[test]
    fn one_window_beyond_the_last_ends_the_watch_of_its_business_and_gives_its_windows_back() {
        let (watcher, mut watch) = watcher();
        let (other, mut others) = self::watcher();
        let desk = |watcher| Desk { watchers: vec![watcher], ..Desk::default() };
        let desks = HashMap::from([(7, desk(watcher)), (8, desk(other))]);
        // All places but two are taken by others.
        let windows = WATCHED_WINDOWS_MAX - 2;
        let mut inside = Inside { desks, windows, ..Inside::default() };
        let (now, batch) = (Moment(1_000), BatchNo(1));
        let mut chat = Chat::default();
        chat.business = 7;
        chat.windows.hear(Direction::Inbound, now.0);
        for conversation in [1, 2, 2] {
            inside.note(conversation, &chat, now);
            assert_eq!(inside.advance(now, batch, batch), 0, "{conversation}");
        }
        assert_eq!(inside.windows, WATCHED_WINDOWS_MAX);
        inside.note(3, &chat, now);
        assert_eq!(inside.advance(now, batch, batch), 1);
        assert_eq!(inside.windows, windows);
        while watch.ready().is_ok_and(|notices| notices.is_some()) {}
        let refusal = watch.ready().unwrap_err();
        assert_eq!((refusal.reason, refusal.field), (Reason::Busy, "business_id".into()));
        assert!(refusal.message.contains("ListConversations"), "{}", refusal.message);
        assert_eq!(others.ready(), Ok(None), "who watches another business goes on");
    }

    #[test]
    fn a_desk_tells_each_end_once() {
        let (watcher, mut watch) = watcher();
        let mut desk = Desk { watchers: vec![watcher], ..Desk::default() };
        let service = FreeWindow::CustomerService;
        desk.put(1, 2, service, Some(30), BatchNo(1));
        desk.put(1, 2, service, Some(30), BatchNo(1));
        for now_ms in [5, 19, 20, 20, 29, 30, 31] {
            desk.advance(now_ms, BatchNo(1));
        }
        desk.tell(BatchNo(1), BatchNo(1));
        let told = watch.ready().unwrap().unwrap();
        let changes: Vec<_> = told.iter().map(WindowNotice::change).collect();
        assert_eq!(changes, [WindowChange::Open, WindowChange::Leaving, WindowChange::Left]);
        assert!(desk.windows.is_empty() && desk.ends.is_empty());
    }
}
