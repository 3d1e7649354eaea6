//! Free windows: what a conversation says of them, and who watches them.

use munadi::node::{ListedChats, NOTICES_WAITING_MAX, WATCHES_MAX, Watch};
use munadi::types::proto::v1::{
    Channel, Direction, EntryPoint, FreeWindow, WindowChange, WindowNotice,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Chat, Incoming, Opening, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Shop, Stage, charged};

fn whatsapp() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Whatsapp, ..Offer::default() });
    (stage, shop)
}

fn open(stage: &mut Stage, shop: &Shop, contact: &str, free_entry: bool) {
    let by_profile = Opening::by_message(EntryPoint::BusinessProfile, None);
    let opening = Opening { free_entry, ..by_profile };
    charged(&stage.record(Incoming::Opened { chat: stage.chat(shop, contact), opening }));
}

fn write(stage: &mut Stage, shop: &Shop, contact: &str, id: &str) {
    let receipt = stage.receipt(shop, contact, id, Direction::Inbound);
    charged(&stage.record(receipt));
}

fn ends(stage: &Stage, shop: &Shop, contact: &str) -> (i64, Option<i64>) {
    let chat = stage.conversation(shop, contact);
    let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
    (seconds(chat.service_window_end).unwrap(), seconds(chat.free_entry_window_end))
}

#[test]
fn a_conversation_says_when_its_windows_end() {
    let (mut stage, shop) = whatsapp();
    let start = stage.now.0 / 1_000;
    open(&mut stage, &shop, "contact", true);
    assert_eq!(ends(&stage, &shop, "contact"), (start + 86_400, None), "it is not answered yet");
    stage.wait(DAY_MS - 1_000);
    stage.answer(&shop, "contact", "hello");
    let free = start + 86_400 - 1 + 3 * 86_400;
    assert_eq!(ends(&stage, &shop, "contact"), (start + 86_400, Some(free)));
    let mut stage = stage.restarted();
    stage.wait(3 * DAY_MS - 1);
    assert_eq!(ends(&stage, &shop, "contact").1, Some(free));
    stage.wait(1);
    assert_eq!(ends(&stage, &shop, "contact").1, None);
}

#[test]
fn an_answer_a_day_after_the_referral_opens_nothing() {
    let (mut stage, shop) = whatsapp();
    open(&mut stage, &shop, "contact", true);
    stage.wait(DAY_MS);
    stage.answer(&shop, "contact", "hello");
    assert_eq!(ends(&stage, &shop, "contact").1, None);
}

fn watch(stage: &Stage, shop: &Shop, lead_ms: i64) -> Watch {
    stage.front.watch_windows(ALL, shop.business, lead_ms, stage.now).unwrap()
}

/// Returns what a watcher is told now: window, change, and its end in minutes from `start`.
fn told(stage: &mut Stage, watch: &mut Watch, start: i64) -> Vec<(FreeWindow, WindowChange, i64)> {
    stage.settle();
    let mut notices: Vec<WindowNotice> = Vec::new();
    while let Some(more) = watch.ready().unwrap() {
        notices.extend(more);
    }
    let minutes = |notice: &WindowNotice| {
        (notice.end_time.as_ref().unwrap().seconds * 1_000 - start) / MINUTE_MS
    };
    notices.iter().map(|told| (told.window(), told.change(), minutes(told))).collect()
}

const SERVICE: FreeWindow = FreeWindow::CustomerService;
const ENTRY: FreeWindow = FreeWindow::EntryPoint;

#[test]
fn a_watcher_is_told_what_is_open_what_is_leaving_and_what_has_left() {
    let (mut stage, shop) = whatsapp();
    let start = stage.now.0;
    open(&mut stage, &shop, "contact", true);
    let mut watch = watch(&stage, &shop, HOUR_MS);
    let opened = [(SERVICE, WindowChange::Open, 1_440)];
    assert_eq!(told(&mut stage, &mut watch, start), opened);
    stage.wait(23 * HOUR_MS - 1);
    assert_eq!(told(&mut stage, &mut watch, start), []);
    stage.wait(1);
    let leaving = [(SERVICE, WindowChange::Leaving, 1_440)];
    assert_eq!(told(&mut stage, &mut watch, start), leaving);
    assert_eq!(told(&mut stage, &mut watch, start), [], "once");
    write(&mut stage, &shop, "contact", "still there?");
    stage.answer(&shop, "contact", "yes");
    let restarted =
        [(SERVICE, WindowChange::Restarted, 47 * 60), (ENTRY, WindowChange::Open, 95 * 60)];
    assert_eq!(told(&mut stage, &mut watch, start), restarted);
    stage.wait(DAY_MS - 1);
    assert_eq!(told(&mut stage, &mut watch, start), [(SERVICE, WindowChange::Leaving, 47 * 60)]);
    stage.wait(1);
    assert_eq!(told(&mut stage, &mut watch, start), [(SERVICE, WindowChange::Left, 47 * 60)]);
    stage.wait(2 * DAY_MS);
    let rest = [(ENTRY, WindowChange::Left, 95 * 60)];
    assert_eq!(
        told(&mut stage, &mut watch, start),
        rest,
        "it left before it could be told to leave"
    );
}

#[test]
fn who_watches_again_is_shown_anew_what_is_open_also_after_a_restart() {
    let (mut stage, shop) = whatsapp();
    let other = stage.shop(&Offer { channel: Channel::Whatsapp, ..Offer::default() });
    let start = stage.now.0;
    for contact in 0..1_500 {
        open(&mut stage, &shop, &format!("contact {contact}"), false);
    }
    open(&mut stage, &other, "elsewhere", false);
    for _ in 0..2 {
        let mut watch = watch(&stage, &shop, DAY_MS);
        let mut all = Vec::new();
        for _ in 0..4 {
            all.extend(told(&mut stage, &mut watch, start));
        }
        let of = |change| all.iter().filter(|told| **told == (SERVICE, change, 1_440)).count();
        assert_eq!((of(WindowChange::Open), of(WindowChange::Leaving)), (1_500, 1_500));
        assert_eq!(all.len(), 3_000);
        stage = stage.restarted();
    }
}

#[test]
fn a_slow_reader_is_cut_off_and_a_node_that_stops_says_so() {
    let (mut stage, shop) = whatsapp();
    // No conversation takes so many.
    let contacts: Vec<String> = (0..8).map(|number| format!("contact {number}")).collect();
    contacts.iter().for_each(|contact| open(&mut stage, &shop, contact, false));
    let mut slow = watch(&stage, &shop, HOUR_MS);
    let mut items = Vec::new();
    for message in 0..NOTICES_WAITING_MAX * 2 {
        stage.wait(1_000);
        let contact = &contacts[message % contacts.len()];
        let receipt = stage.receipt(&shop, contact, &message.to_string(), Direction::Inbound);
        let Incoming::Message { chat, receipt } = receipt else { panic!("a message") };
        items.push(Incoming::Message { chat: Chat { at: Some(stage.now), ..chat }, receipt });
        if items.len() == 1_000 {
            stage.record_all(std::mem::take(&mut items));
        }
    }
    let refusal = loop {
        if let Err(refusal) = slow.ready() {
            break refusal;
        }
    };
    assert_eq!(refusal.reason, Reason::Busy);
    assert!(refusal.message.contains("slow"), "{}", refusal.message);
    let mut fast = watch(&stage, &shop, HOUR_MS);
    stage.settle();
    stage.writer.close(stage.now).unwrap();
    let refusal = loop {
        if let Err(refusal) = fast.ready() {
            break refusal;
        }
    };
    assert_eq!(refusal.reason, Reason::Unavailable);
}

#[test]
fn only_so_many_watch_and_only_their_own_business() {
    let (mut stage, shop) = whatsapp();
    let stranger = Scope { tenant: 99, any: false };
    let refused = stage.front.watch_windows(stranger, shop.business, HOUR_MS, stage.now);
    assert_eq!(refused.unwrap_err().reason, Reason::NotFound);
    let watches: Vec<_> = (0..WATCHES_MAX).map(|_| watch(&stage, &shop, HOUR_MS)).collect();
    let refused = stage.front.watch_windows(ALL, shop.business, HOUR_MS, stage.now);
    assert_eq!(refused.unwrap_err().reason, Reason::Busy);
    drop(watches);
    stage.settle();
    watch(&stage, &shop, HOUR_MS);
}

#[test]
fn conversations_come_in_pages_and_by_their_open_window() {
    let (mut stage, shop) = whatsapp();
    for contact in 0..25 {
        open(&mut stage, &shop, &format!("contact {contact}"), contact % 5 == 0);
        stage.answer(&shop, &format!("contact {contact}"), &format!("hello {contact}"));
    }
    let all = |stage: &Stage, open| {
        let (mut ids, mut after) = (Vec::new(), 0);
        loop {
            let list = ListedChats { business: shop.business, open, after, limit: 7 };
            let (page, next) = stage.front.list_conversations(ALL, &list, stage.now).unwrap();
            assert!(page.len() <= 7);
            ids.extend(page.iter().map(|chat| chat.id));
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b));
        ids.len()
    };
    assert_eq!(all(&stage, FreeWindow::Unspecified), 25);
    assert_eq!(all(&stage, SERVICE), 25);
    assert_eq!(all(&stage, ENTRY), 5);
    stage.wait(DAY_MS);
    assert_eq!(all(&stage, SERVICE), 0);
    assert_eq!(all(&stage, ENTRY), 5);
    let list = ListedChats { business: shop.business, open: SERVICE, after: 0, limit: 7 };
    let stranger = Scope { tenant: 99, any: false };
    let refused = stage.front.list_conversations(stranger, &list, stage.now);
    assert_eq!(refused.unwrap_err().reason, Reason::NotFound);
}
