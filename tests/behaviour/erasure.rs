//! A viewer that is erased: forgotten, its old tokens worth nothing, its sums left as they are.

use std::sync::mpsc::channel;

use munadi::node::writer::Work;
use munadi::types::proto::v1;
use munadi::types::proto::v1::{DeclineReason, Dimension, EntryPoint, EventKind};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Incoming, Opening, Verdict};
use munadi::types::time::{HOUR_MS, MINUTE_MS};

use crate::desk::{Desk, OPERATOR, calls};
use crate::stage::{Offer, Stage, charged, refused};

fn erase(stage: &mut Stage, name: &str) -> bool {
    let viewer = stage.viewer(name);
    stage.work(|reply| Work::Erase(viewer, reply)).unwrap()
}

#[test]
fn an_erased_viewer_is_forgotten_and_what_it_was_handed_counts_no_more() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let tapped = stage.tapped("ana");
    let other = stage.tapped("ben");
    stage.wait(MINUTE_MS);
    let held = stage.show("ana");
    stage.settle();
    let before = stage.report(&[Dimension::Ad]).rows;
    assert!(erase(&mut stage, "ana"), "something was known");
    assert!(!erase(&mut stage, "ana"), "nothing is left");
    assert_eq!(stage.report(&[Dimension::Ad]).rows, before, "sums stay");
    for shown in [&tapped, &held] {
        for kind in [EventKind::Impression, EventKind::Tap] {
            assert_eq!(refused(&stage.happen(shown, kind)), Reason::TokenExpired);
        }
    }
    assert_eq!(stage.happen(&other, EventKind::Tap), Verdict::Already, "others are untouched");

    // A chat by a click of before earns nothing, though its token is good.
    let click = stage.click(&tapped);
    stage.open_chat(&shop, "ana", Some(Claim::Click(click)));
    let rows = stage.credits();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].decline_reason(), DeclineReason::NoTouch);

    // Asked for again, the pseudonym begins anew.
    stage.wait(MINUTE_MS);
    let anew = stage.show("ana");
    assert!(charged(&stage.happen(&anew, EventKind::Impression)) > 0);
    stage.tap(&anew);
    let click = stage.click(&anew);
    stage.open_chat(&shop, "ana again", Some(Claim::Click(click)));
    let rows = stage.credits();
    let mut credited = rows.iter().filter(|row| row.decline_reason() == DeclineReason::Unspecified);
    assert_eq!(credited.next().map(|row| row.ad_id), Some(shop.ad), "{rows:?}");
    assert!(credited.next().is_none() && rows.len() == 2, "{rows:?}");
}

#[test]
fn an_erased_viewer_stays_erased_after_a_restart_with_a_checkpoint_or_without() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.tapped("ana");
    let old = stage.checkpoint();
    erase(&mut stage, "ana");
    let new = stage.checkpoint();
    stage.wait(HOUR_MS);
    let Stage { disk, ring, now, .. } = stage;
    for checkpoint in [None, Some(&old[..]), Some(&new[..])] {
        let mut stage = Stage::open(disk.clone(), ring.clone(), now, checkpoint).unwrap();
        assert_eq!(stage.opened.checkpoint, checkpoint.is_some());
        let verdict = stage.happen(&shown, EventKind::Tap);
        assert_eq!(refused(&verdict), Reason::TokenExpired);
        // This journals once more, on the disk that all three share.
        assert!(!erase(&mut stage, "ana"), "nothing came back");
    }
}

#[test]
fn an_outcome_on_its_way_is_credited_before_its_viewer_is_forgotten() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.tapped("ana");
    let (chat, viewer) = (stage.chat(&shop, "ana"), stage.viewer("ana"));
    let proof = Some(Claim::Click(stage.click(&shown)));
    let opening = Opening::by_message(EntryPoint::Ad, proof);
    let opened = Work::Record(vec![Incoming::Opened { chat, opening }], Box::new(drop));
    let (sender, receiver) = channel();
    let erased = Work::Erase(viewer, Box::new(move |answer| sender.send(answer).unwrap()));
    stage.writer.step(stage.now, [opened, erased]);
    assert!(receiver.try_recv().is_err(), "the outcome is on its way");
    stage.settle();
    assert_eq!(receiver.try_recv().unwrap(), Ok(true));
    let rows = stage.credits();
    assert_eq!(rows.len(), 1, "credited once: {rows:?}");
    assert_eq!(rows[0].decline_reason(), DeclineReason::Unspecified);
    assert_eq!(refused(&stage.happen(&shown, EventKind::Tap)), Reason::TokenExpired);
}

#[test]
fn an_operator_erases_by_the_pseudonym_and_each_bad_word_is_refused() {
    let desk = Desk::start();
    calls(async {
        let mut admin = desk.admin(OPERATOR);
        let named = |feed_id, viewer_id: &str| v1::EraseViewerRequest {
            viewer: Some(v1::ViewerRef { feed_id, viewer_id: viewer_id.into() }),
        };
        let erased = admin.erase_viewer(named(1, "ana")).await.unwrap();
        assert!(!erased.into_inner().was_known, "nobody was shown anything");
        for bad in [v1::EraseViewerRequest::default(), named(9, "ana"), named(1, "")] {
            assert!(admin.erase_viewer(bad).await.is_err());
        }
    });
    desk.stop();
}
