//! A base stands for the journal's oldest segments: they go, and nothing that was known goes with them.

mod copies;
mod golden;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use munadi::cli::audit::{AuditReport, audit};
use munadi::cli::base::{MakeError, make_base};
use munadi::cli::pii_report::pii_report;
use munadi::journal::file::archive::Archive;
use munadi::journal::file::{FileLog, Options, boundaries, scan, scan_within};
use munadi::journal::{BlockBuilder, ShardLog};
use munadi::node::base::{Base, BaseError, base_of};
use munadi::node::clock::{Clock, MovedClock};
use munadi::node::{Files, Front, Node, NodeOptions, StartError, fold, open};
use munadi::state::State;
use munadi::types::ids::BatchNo;
use munadi::types::proto::journal::v1::Decision;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::EventKind;
use munadi::types::refusal::Reason;
use munadi::types::request::{Author, EventFilter, Invalidation, Verdict};
use munadi::types::time::{DAY_MS, MINUTE_MS, Moment};
use prost::Message;
use tempfile::TempDir;

use crate::site::Site;
use crate::stage::{ALL, FEED, Offer, Shop, event, whole};

/// Days of the journal that stay.
const KEPT: u32 = 95;

/// Bytes of a segment: a day fills about one.
const SEGMENT_BYTES: u64 = 20 << 10;

/// Viewers of one day.
const VIEWERS: u64 = 80;

/// What a campaign may spend a day, which nobody does, micros.
const ENDLESS: i64 = 500_000_000_000_000;

/// A node that lives on one day of ten.
struct Life {
    site: Site,
    shop: Shop,
    start: Moment,
    chats: u64,
}

impl Life {
    fn new() -> Self {
        let site = Site::of(SEGMENT_BYTES);
        let shop = site.shop("MX", &Offer { campaign: (Some(ENDLESS), None), ..Offer::default() });
        let start = site.clock.now();
        Self { site, shop, start, chats: 0 }
    }

    /// Lets days pass, the first to the last, and viewers come on every tenth.
    fn days(&mut self, first: i64, last: i64) {
        for day in (first..=last).step_by(10) {
            self.site.clock.set(self.start.plus_ms(day * DAY_MS));
            self.settle();
            self.day(day);
            // The counts and the seal of the ledgers are journaled in the next minute.
            self.site.clock.set(self.site.clock.now().plus_ms(2 * MINUTE_MS));
            self.settle();
        }
    }

    fn day(&mut self, day: i64) {
        let mut items = Vec::new();
        for number in 0..VIEWERS {
            let name = format!("viewer {number} of day {day}");
            let Some(shown) = self.site.show("MX", &name) else { continue };
            items.push(event(&shown, EventKind::Impression));
            if number.is_multiple_of(4) {
                items.push(event(&shown, EventKind::Tap));
            }
            if number.is_multiple_of(8) {
                items.push(self.site.opening(&self.shop, &name, self.site.click(&shown)));
                self.chats += 1;
            }
        }
        assert!(items.len() as u64 > VIEWERS, "most viewers are shown something on day {day}");
        let verdicts = self.site.record(items);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Recorded { .. })));
        self.site.deliver(self.chats);
    }

    fn settle(&self) {
        for _ in 0..3 {
            self.site.wait(self.site.node.settled()).unwrap();
        }
    }

    /// Stops the node; its folder is `node` in the room.
    fn stop(self) -> (Room, Shop) {
        let (start, shop) = (self.start, self.shop);
        let (folder, clock) = self.site.stop();
        (Room { clock, start, folder }, shop)
    }
}

/// What is left of a life: folders.
struct Room {
    clock: Arc<MovedClock>,
    start: Moment,
    /// Dropped last.
    folder: TempDir,
}

impl Room {
    /// A life of 120 days, of which a base takes the first ones.
    fn of_120_days() -> (Self, Shop) {
        let mut life = Life::new();
        life.days(0, 120);
        life.stop()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a folder and what is in it.
    fn copy(&self, from: &str, to: &str) -> PathBuf {
        copy(&self.path(from), &self.path(to));
        self.path(to)
    }

    fn node(&self, name: &str, remove_behind_base: bool) -> Result<Node, StartError> {
        let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
        let feeds = vec![FEED];
        let options =
            NodeOptions { feeds, watch: false, journal, remove_behind_base, ..Default::default() };
        Node::start(&self.path(name), Arc::clone(&self.clock) as Arc<_>, &options)
    }

    fn base(&self, name: &str) -> Base {
        made(&self.path(name)).unwrap().expect("the first days are old enough")
    }

    /// Lets a node remove what it can, and stops it.
    fn trim(&self, name: &str) {
        self.node(name, true).unwrap().stop().unwrap();
    }
}

fn made(dir: &Path) -> Result<Option<Base>, MakeError> {
    make_base(dir, KEPT, &mut |_| ())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Takes the files out of a folder whose names begin so; returns how many there were.
pub(crate) fn without(dir: &Path, begin: &str) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
    files.map(|entry| fs::remove_file(entry.path()).unwrap()).count()
}

/// Returns where a segment of a folder's journal lies.
pub(crate) fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("journal/journal-{number:016x}.seg"))
}

fn first_segment(dir: &Path) -> u64 {
    boundaries(&dir.join("journal")).unwrap()[0].segment
}

/// Opens a journal that is there from its first fact.
fn whole_front(dir: &Path) -> Front {
    let log = Box::new(Archive::open(&dir.join("journal")).unwrap());
    let ring = Files::new(dir).ring().unwrap().unwrap();
    open(log, ring, 0, Vec::<Box<dyn Read>>::new()).unwrap().0
}

/// Returns what a folder's base and the journal behind it come to.
fn state_of(dir: &Path) -> State {
    let base = base_of(&Files::new(dir)).unwrap().expect("there is a base");
    let mut state = base.load(&dir.join("journal")).unwrap();
    scan_within(&dir.join("journal"), base.segment()..u64::MAX, |block| {
        fold(block, |stamp, fact| state.apply(stamp, fact)).unwrap();
    })
    .unwrap();
    state
}

/// Returns the report of an audit that must be equal, without what it says of a base.
fn figures(dir: &Path) -> AuditReport {
    let report = audit(dir).unwrap();
    assert!(report.equal && report.complete, "{report}");
    AuditReport { base_batch: 0, base_time: String::new(), ..report }
}

fn reported(node: &Node, clock: &MovedClock) -> (u64, u64, u64, i64) {
    let rows = node.front().report(ALL, &whole(), clock.now()).unwrap().0.rows;
    let row = rows.first().cloned().unwrap_or_default();
    (row.impressions, row.taps, row.conversations, row.spend_micros)
}

#[test]
fn a_base_stands_for_the_segments_that_are_removed() {
    let (room, _) = Room::of_120_days();
    let untouched = room.copy("node", "untouched");
    let before = figures(&untouched);
    let dir = room.path("node");
    let base = room.base("node");
    assert!(base.span().1 < room.start.plus_ms(25 * DAY_MS), "95 days stay behind it");
    assert!(base.segment() >= 3, "it must stand for segments: {base:?}");
    assert!(made(&dir).unwrap().is_none(), "nothing more is old enough");
    let report = audit(&dir).unwrap();
    assert_eq!((report.base_batch, report.facts), (base.last_batch().0, before.facts));
    assert!(report.to_string().contains("base            batches up to"), "{report}");
    assert_eq!(figures(&dir), before);
    assert_eq!(whole_front(&untouched).difference(&state_of(&dir)), None);
    let named = |name: &str| pii_report(&dir, FEED, name).unwrap();
    let early = named("viewer 0 of day 0");
    assert!(early.facts.is_empty() && early.base == Some(base.span().1), "{early}");
    let late = |number| !named(&format!("viewer {number} of day 120")).facts.is_empty();
    assert!((0..3).any(late), "they are behind the base");

    // Nothing goes unless it is asked for.
    let unasked = room.copy("node", "unasked");
    room.node("unasked", false).unwrap().stop().unwrap();
    assert_eq!(first_segment(&unasked), 1);
    for with_checkpoint in [true, false] {
        let name = format!("with a checkpoint: {with_checkpoint}");
        let dir = room.copy("node", &name);
        assert!(with_checkpoint || without(&dir, "checkpoint-") > 0, "one was written at the stop");
        let node = room.node(&name, true).unwrap();
        assert_eq!(first_segment(&dir), base.segment());
        let (replayed, behind) = (node.opened().replayed, before.facts - base.facts());
        assert!(node.opened().checkpoint, "or the state of the base");
        assert!(
            if with_checkpoint { replayed < behind / 10 } else { replayed == behind },
            "{name}"
        );
        let counted = (before.impressions, before.taps, before.conversations);
        let (impressions, taps, conversations, spend) = reported(&node, &room.clock);
        assert_eq!((impressions, taps, conversations), counted, "{name}");
        assert_eq!(spend, before.invoiced_micros["MXN"], "{name}");
        node.stop().unwrap();
        let after = figures(&dir);
        assert_eq!(after.invoiced_micros, before.invoiced_micros, "{name}");
        assert_eq!((after.impressions, after.credits), (before.impressions, before.credits));
        // It opens again, now without what was removed, and with nothing but the base.
        without(&dir, "checkpoint-");
        room.node(&name, true).unwrap().stop().unwrap();
        assert!(audit(&dir).unwrap().equal, "{name}");
    }
}

#[test]
fn a_second_base_goes_on_from_the_first_which_is_removed_then() {
    let mut life = Life::new();
    life.days(0, 120);
    let dir = life.site.path("node");
    // Beside the running node.
    let first = made(&dir).unwrap().expect("the first days are old enough");
    life.days(130, 250);
    let (room, _) = life.stop();
    let untouched = room.copy("node", "untouched");
    without(&untouched, "base-");
    let before = figures(&untouched);
    room.trim("node");
    let between = figures(&dir);
    assert_eq!(between.invoiced_micros, before.invoiced_micros);
    let second = room.base("node");
    assert!(second.last_batch() > first.last_batch() && second.segment() > first.segment());
    assert!(second.span().1 < room.start.plus_ms(155 * DAY_MS));
    assert_eq!(second.span().0, first.span().0);
    assert_eq!(figures(&dir), between, "what the second one forgot changes no figure");
    assert!(first.path().exists(), "the segments between are there yet");
    room.trim("node");
    assert!(!first.path().exists() && second.path().exists());
    assert_eq!(first_segment(&dir), second.segment());
    let after = figures(&dir);
    assert_eq!(after.invoiced_micros, before.invoiced_micros);
    assert_eq!((after.impressions, after.taps), (before.impressions, before.taps));
    without(&dir, "checkpoint-");
    let node = room.node("node", true).unwrap();
    assert_eq!(reported(&node, &room.clock).0, before.impressions);
    node.stop().unwrap();
}

/// Copies a journal from its first fact, one charge of it altered by a micro, and seals everything again.
fn altered(from: &Path, to: &Path, since: Moment) {
    let journal = scan(&from.join("journal"), |_| ()).unwrap().journal;
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let mut log = FileLog::create(&to.join("journal"), journal, &options).unwrap();
    let mut is_done = false;
    scan(&from.join("journal"), |block| {
        let tail = log.tail(block.shard).unwrap();
        let mut builder = BlockBuilder::new(block.shard, block.first);
        for bytes in block.decisions() {
            let mut decision = Decision::decode(bytes).unwrap();
            let is_late = decision.at_ms >= since.0;
            for fact in &mut decision.facts {
                if let Some(Kind::ImpressionSeen(fact)) = &mut fact.kind
                    && let Some(charge) = fact.charge.as_mut().filter(|_| is_late && !is_done)
                {
                    charge.amount -= 1;
                    is_done = true;
                }
            }
            builder.push(&decision.encode_to_vec(), decision.facts.len() as u32);
        }
        log.submit(builder.seal(journal, block.batch, BatchNo(0), tail.hash));
    })
    .unwrap();
    assert!(is_done, "something was charged");
    Box::new(log).close().unwrap();
}

#[test]
fn an_altered_charge_gets_no_base_and_is_found_behind_one() {
    let (room, _) = Room::of_120_days();
    let (early, late) = (room.path("early"), room.path("late"));
    altered(&room.path("node"), &early, room.start);
    let refused = made(&early).unwrap_err();
    assert!(matches!(&refused, MakeError::Differs(found) if !found.is_empty()), "{refused}");
    assert_eq!(without(&early, "base"), 0, "nothing is left of it");
    altered(&room.path("node"), &late, room.start.plus_ms(60 * DAY_MS));
    let base = room.base("late");
    assert!(base.span().1 < room.start.plus_ms(60 * DAY_MS));
    let report = audit(&late).unwrap();
    assert!(!report.equal && report.base_batch == base.last_batch().0, "{report}");
    assert!(report.differences.iter().any(|found| found.contains("seal")), "{report}");
}

#[test]
fn an_altered_base_is_found_and_nothing_is_removed_for_it() {
    let (room, _) = Room::of_120_days();
    let path = room.base("node").path().to_owned();
    let dir = room.path("node");
    let image = fs::read(&path).unwrap();
    let length = image.len();
    // In the state, the recount, the lengths, the hash.
    for at in [length / 3, length - 60, length - 45, length - 1] {
        let mut bytes = image.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        // One that can't be read at all is passed over as long as the journal is whole.
        let found = audit(&dir).map_or(true, |report| report.base_batch == 0);
        assert!(found, "byte {at} of {length}");
        room.trim("node");
        assert_eq!(first_segment(&dir), 1, "byte {at} of {length}");
    }
    fs::write(&path, &image).unwrap();
    room.trim("node");
    assert!(first_segment(&dir) > 1);
    // Now it is the only one that knows.
    for at in [3, 13, 60, length - 45] {
        let mut bytes = image.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let refused = room.node("node", true).err().expect("it can't be known what came before");
        let StartError::Base(BaseError::Damaged { path: named, .. }) = &refused else {
            panic!("byte {at}: {refused}")
        };
        assert_eq!(*named, path, "byte {at}");
        assert!(audit(&dir).is_err(), "byte {at}");
    }
    // Another version says which one it is.
    let mut bytes = image.clone();
    bytes[12] += 1;
    bytes[20..36].copy_from_slice(b"9.8.7\0\0\0\0\0\0\0\0\0\0\0");
    let checksum = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let refused = room.node("node", true).err().expect("its state is laid out otherwise");
    assert!(refused.to_string().contains("was written by munadi 9.8.7"), "{refused}");
}

#[test]
fn a_lost_segment_is_not_taken_for_a_removed_one() {
    let (room, _) = Room::of_120_days();
    let base = room.base("node");
    // A crash between two removals leaves any number of the oldest.
    for removed in 1..base.segment() {
        let name = format!("cut short after {removed}");
        let dir = room.copy("node", &name);
        (1..=removed).for_each(|number| fs::remove_file(segment(&dir, number)).unwrap());
        assert!(audit(&dir).unwrap().equal, "{name}");
        without(&dir, "checkpoint-");
        room.node(&name, false).unwrap().stop().unwrap();
        room.trim(&name);
        assert_eq!(first_segment(&dir), base.segment(), "{name}");
        assert!(audit(&dir).unwrap().equal, "{name}");
    }
    room.trim("node");
    let lost = room.copy("node", "lost");
    fs::remove_file(segment(&lost, base.segment())).unwrap();
    let refused = room.node("lost", false).err().expect("a segment is lost");
    assert!(matches!(&refused, StartError::Base(BaseError::Apart { .. })), "{refused}");
    assert!(audit(&lost).is_err() && made(&lost).is_err());
    let without_base = room.copy("node", "without the base");
    assert_eq!(without(&without_base, "base-"), 1);
    let refused = room.node("without the base", false).err().expect("no base");
    assert!(matches!(&refused, StartError::Base(BaseError::Lost { .. })), "{refused}");
    assert!(audit(&without_base).is_err());
}

#[test]
fn charges_before_the_base_are_not_looked_for() {
    let (room, shop) = Room::of_120_days();
    let base = room.base("node");
    let node = room.node("node", true).unwrap();
    let finding = |start: Moment, id: &str| Invalidation {
        tenant: 0,
        request_id: id.into(),
        body_hash: [id.len() as u8; 16],
        by: Author::default(),
        filter: EventFilter {
            account: shop.account,
            start,
            end: start.plus_ms(11 * DAY_MS),
            ..EventFilter::default()
        },
        reason: "a click farm".into(),
        dry_run: false,
    };
    let (_, last) = base.span();
    let refused = node.invalidate(&finding(last, "too early")).unwrap_err();
    assert_eq!((refused.reason, &*refused.field), (Reason::JournalTrimmed, "filter.start_time"));
    let first = jiff::Timestamp::from_millisecond(last.0 + 1).unwrap().to_string();
    assert!(refused.message.contains(&first), "{}", refused.message);
    let found = node.invalidate(&finding(last.plus_ms(1), "just behind")).unwrap();
    assert!(found.events > 0 && found.credited[0].micros > 0, "{found:?}");
    node.stop().unwrap();
    let report = audit(&room.path("node")).unwrap();
    assert!(report.equal, "{report}");
    assert_eq!(report.credited_micros["MXN"], found.credited[0].micros);
}
