//! How often a viewer sees an ad: caps of every kind, frequency tokens, distances, and feedback.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;

use munadi::journal::memory::MemoryLog;
use munadi::journal::{Block, Completed, LogError, ShardLog, Tail, Ticket, Wake};
use munadi::node::open;
use munadi::node::writer::Work;
use munadi::types::ids::{BatchNo, JournalId, SeqVector, Shard};
use munadi::types::proto::v1;
use munadi::types::proto::v1::{CapEvent, EventKind, FrequencyCap, NoAdReason};
use munadi::types::request::{AdRequest, Claim, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, STATUS, STORIES, TACOS, calls, event, first_ad, open_shop, tray};
use crate::stage::{Offer, Shown, Stage, charged};

fn cap(event: CapEvent, max_frequency: u32, interval_hours: u32) -> FrequencyCap {
    FrequencyCap { max_frequency, interval_hours, event: event.into() }
}

fn capped(caps: &[FrequencyCap]) -> Offer {
    Offer { caps: caps.to_vec(), ..Offer::default() }
}

fn why(stage: &Stage) -> NoAdReason {
    stage.try_show("a").unwrap_err()
}

fn seen(stage: &mut Stage) -> Shown {
    let shown = stage.show("a");
    stage.see(&shown);
    shown
}

/// Checks that a reached cap of some hours ends with the first whole hour outside, not before.
fn check_end(mut stage: Stage, hours: i64) {
    // The stage begins on the hour, and that hour counts whole.
    let noon = stage.now;
    stage.now = noon.plus_ms((hours + 1) * HOUR_MS - 1);
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped);
    let mut stage = stage.restarted();
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "after a restart");
    stage.wait(1);
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn a_cap_on_impressions_ends_with_its_interval() {
    for hours in [1, 2, 720] {
        let mut stage = Stage::new();
        stage.shop(&capped(&[cap(CapEvent::Impressions, 1, hours)]));
        seen(&mut stage);
        check_end(stage, hours.into());
    }
}

#[test]
fn a_cap_on_taps_lets_views_pass_and_stops_after_the_tap() {
    for hours in [1, 720] {
        let mut stage = Stage::new();
        stage.shop(&capped(&[cap(CapEvent::Taps, 2, hours)]));
        let first = seen(&mut stage);
        stage.tap(&first);
        for _ in 0..5 {
            seen(&mut stage);
        }
        let last = seen(&mut stage);
        stage.tap(&last);
        assert!(stage.try_show("b").is_ok());
        check_end(stage, hours.into());
    }
}

#[test]
fn a_cap_on_conversations_lets_taps_pass_and_stops_after_the_chat() {
    for hours in [1, 720] {
        let mut stage = Stage::new();
        let shop = stage.shop(&capped(&[cap(CapEvent::Conversations, 1, hours)]));
        stage.tapped("a");
        let tapped = stage.tapped("a");
        let click = Claim::Click(stage.click(&tapped));
        charged(&stage.open_chat(&shop, "contact", Some(click)));
        check_end(stage, hours.into());
    }
}

#[test]
fn a_chat_that_proves_a_tap_counts_it() {
    let mut stage = Stage::new();
    let shop = stage.shop(&capped(&[cap(CapEvent::Taps, 1, 2)]));
    let shown = seen(&mut stage);
    let click = Claim::Click(stage.click(&shown));
    charged(&stage.open_chat(&shop, "contact", Some(click)));
    check_end(stage, 2);
}

#[test]
fn caps_of_several_intervals_and_events_each_hold() {
    let mut stage = Stage::new();
    let (hour, day) = (cap(CapEvent::Impressions, 1, 1), cap(CapEvent::Impressions, 3, 24));
    stage.shop(&capped(&[day, hour, cap(CapEvent::Taps, 1, 48)]));
    let noon = stage.now;
    for shows in 0..3 {
        stage.now = noon.plus_ms(2 * shows * HOUR_MS);
        seen(&mut stage);
        assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "once an hour");
    }
    stage.now = noon.plus_ms(25 * HOUR_MS - 1);
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "three a day");
    stage.wait(1);
    stage.settle();
    let shown = seen(&mut stage);
    stage.tap(&shown);
    stage.wait(48 * HOUR_MS);
    stage.settle();
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "one tap in two days");
    stage.wait(HOUR_MS);
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn an_ad_seen_after_its_promise_lapsed_is_still_counted() {
    let mut stage = Stage::new();
    stage.shop(&capped(&[cap(CapEvent::Impressions, 1, 24)]));
    let late = stage.show("a");
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "promised");
    stage.wait(10 * MINUTE_MS);
    assert!(stage.try_show("b").is_ok());
    assert_eq!(stage.see(&late), 1_000_000, "in its last second it's still charged");
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped);
}

#[test]
fn a_category_keeps_its_distance_across_trays() {
    let mut stage = Stage::new();
    stage.policy.category_distance_ms = 5 * MINUTE_MS;
    for category in ["food", "food", "travel"] {
        stage.shop(&Offer { category, ..Offer::default() });
    }
    let first = stage.show("a");
    let second = stage.show("a");
    assert_eq!(why(&stage), NoAdReason::Separation, "both were promised just now");
    stage.see(&first);
    stage.see(&second);
    let mut stage = stage.restarted();
    stage.wait(5 * MINUTE_MS - 1);
    assert_eq!(why(&stage), NoAdReason::Separation);
    stage.wait(1);
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn caps_hold_along_a_frequency_tokens_lineage() {
    let mut stage = Stage::new();
    stage.shop(&capped(&[cap(CapEvent::Impressions, 3, 24)]));
    let stranger = stage.tray_of("");
    let mut request = stranger.clone();
    let (mut shows, mut numbers) = (0, Vec::new());
    for round in 0..9 {
        let answer = stage.tray(&request).decode();
        let token = answer.frequency_token;
        let opened = stage.front.sealer().open_frequency(&token, stage.now.seconds()).unwrap();
        assert_eq!((opened.feed, opened.issued), (crate::stage::FEED, stage.now.seconds()));
        numbers.push(opened.viewer);
        match stage.filled(answer.slots.into_iter().next().unwrap()) {
            Ok(shown) => {
                assert_eq!(shown.token.viewer, opened.viewer);
                stage.see(&shown);
                shows += 1;
            }
            Err(reason) => assert_eq!(reason, NoAdReason::FrequencyCapped, "round {round}"),
        }
        // The door hands on the number that the token was sealed with.
        request = AdRequest { viewer: Some(opened.viewer), ..stranger.clone() };
        stage.wait(2 * MINUTE_MS);
    }
    assert_eq!(shows, 3);
    assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "one viewer: {numbers:?}");
    assert!(stage.try_fill(&stranger).is_ok(), "without a token it is another viewer");
    let answer = stage.tray(&stage.tray_of("a")).decode();
    assert!(answer.frequency_token.is_empty(), "a pseudonym needs none");
}

#[test]
fn a_feed_carries_a_frequency_token_from_answer_to_request() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let caps = vec![cap(CapEvent::Impressions, 1, 720)];
        let ad_set = v1::AdSet { id: shop.ad_set, frequency_caps: caps, ..Default::default() };
        let request = v1::UpdateAdSetRequest {
            request_id: "caps".into(),
            ad_set: Some(ad_set),
            update_mask: Some(prost_types::FieldMask { paths: vec!["frequency_caps".into()] }),
            ..Default::default()
        };
        desk.campaigns(TACOS).update_ad_set(request).await?;

        let ask = async |key: &str, frequency_token: &[u8], viewer: &str| {
            let frequency_token = frequency_token.to_vec().into();
            let ad_request = tray(viewer).map(|tray| v1::AdRequest { frequency_token, ..tray });
            let request = v1::RequestAdsRequest { ad_request };
            desk.ads(key).request_ads(request).await.map(tonic::Response::into_inner)
        };
        let first = ask(STATUS, &[], "").await?;
        let events = vec![event(first_ad(&first.slots), EventKind::Impression)];
        let request = v1::RecordEventsRequest { request_id: String::new(), events };
        desk.events(STATUS).record_events(request).await?;
        let mut token = first.frequency_token;
        for _ in 0..3 {
            let next = ask(STATUS, &token, "").await?;
            let capped = NoAdReason::FrequencyCapped.into();
            let filling = Some(v1::slot::Filling::NoAdReason(capped));
            assert!(next.slots.iter().all(|slot| slot.filling == filling), "{:?}", next.slots);
            token = next.frequency_token;
        }
        first_ad(&ask(STATUS, &[], "").await?.slots);
        assert!(ask(STATUS, &[], "viewer-1").await?.frequency_token.is_empty());

        let view = &first_ad(&first.slots).view_token;
        for (key, token, viewer, reason) in [
            (STORIES, &token[..], "", "TOKEN_FOREIGN"),
            (STATUS, &token[1..], "", "TOKEN_MALFORMED"),
            (STATUS, &view[..], "", "TOKEN_MALFORMED"),
            (STATUS, &[&token[..32], &[token[32] ^ 1]].concat(), "", "TOKEN_FORGED"),
            (STATUS, &token[..], "viewer-1", "FIELD_INVALID"),
        ] {
            let status = ask(key, token, viewer).await.unwrap_err();
            let foreign = reason == "TOKEN_FOREIGN";
            let code = if foreign { Code::PermissionDenied } else { Code::InvalidArgument };
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(status.get_details_error_info().unwrap().reason, reason);
            assert!(status.message().starts_with("ad_request.frequency_token: "), "{status}");
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// A log that tells of nothing finished while it is stalled.
struct Stalling {
    log: MemoryLog,
    stalled: Arc<AtomicBool>,
}

impl ShardLog for Stalling {
    fn journal_id(&self) -> JournalId {
        self.log.journal_id()
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.log.submit(block)
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        self.log.submit_all(blocks)
    }

    fn completed(&mut self) -> Option<Completed> {
        if self.stalled.load(Relaxed) { None } else { self.log.completed() }
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
        self.log.on_completion(wake);
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        Box::new(self.log).close()
    }
}

#[test]
fn feedback_is_effective_before_its_write_is_durable() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = seen(&mut stage);
    let stalled = Arc::new(AtomicBool::new(false));
    let log = Stalling { log: MemoryLog::open(&stage.disk), stalled: Arc::clone(&stalled) };
    let (front, writer, _) = open(Box::new(log), stage.ring.clone(), 7, None).unwrap();
    (stage.front, stage.writer) = (front, writer);
    stage.settle();
    for (kind, expected) in [
        (EventKind::HideAd, Some(NoAdReason::HiddenByViewer)),
        (EventKind::Undo, None),
        (EventKind::HideBusiness, Some(NoAdReason::HiddenByViewer)),
        (EventKind::Undo, None),
        (EventKind::Report, Some(NoAdReason::HiddenByViewer)),
    ] {
        let (sender, receiver) = channel();
        let reply = Box::new(move |answer| sender.send(answer).unwrap());
        let work = Work::Record(vec![crate::stage::event(&shown, kind)], reply);
        stalled.store(true, Relaxed);
        stage.writer.step(stage.now, [work]);
        assert!(receiver.try_recv().is_err(), "{kind:?} is not acknowledged yet");
        assert_eq!(stage.try_show("a").err(), expected, "{kind:?}");
        stalled.store(false, Relaxed);
        stage.settle();
        charged(&receiver.try_recv().unwrap().unwrap()[0]);
        assert_eq!(stage.try_show("a").err(), expected, "{kind:?}, durable");
    }
}

#[test]
fn an_undo_takes_back_only_what_was_hidden_from_its_own_view() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let (first, second, third) = (seen(&mut stage), seen(&mut stage), seen(&mut stage));
    stage.happen(&first, EventKind::HideBusiness);
    stage.happen(&second, EventKind::HideAd);
    stage.happen(&second, EventKind::Report);
    assert_eq!(stage.happen(&third, EventKind::Undo), Verdict::Already, "nothing to undo");
    assert_eq!(why(&stage), NoAdReason::HiddenByViewer);
    charged(&stage.happen(&second, EventKind::Undo));
    assert_eq!(why(&stage), NoAdReason::HiddenByViewer, "its business is still hidden");
    charged(&stage.happen(&first, EventKind::Undo));
    assert!(stage.try_show("a").is_ok());

    stage.happen(&first, EventKind::HideAd);
    stage.happen(&second, EventKind::HideAd);
    charged(&stage.happen(&first, EventKind::Undo));
    assert_eq!(why(&stage), NoAdReason::HiddenByViewer, "hidden twice, undone once");
    let mut stage = stage.restarted();
    assert_eq!(why(&stage), NoAdReason::HiddenByViewer, "after a restart");
    charged(&stage.happen(&second, EventKind::Undo));
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn what_is_hidden_stays_hidden_when_its_view_is_forgotten() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = seen(&mut stage);
    stage.happen(&shown, EventKind::HideBusiness);
    stage.wait(40 * DAY_MS);
    stage.settle();
    let other = stage.show("b");
    stage.see(&other);
    assert_eq!(why(&stage), NoAdReason::HiddenByViewer);
}
