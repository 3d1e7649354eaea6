//! Backups of a node whose oldest segments are gone.

use munadi::journal::fsck::fsck;
use munadi::node::backup::{BackupError, backup, restore, verify};
use munadi::types::time::DAY_MS;

use super::{Room, figures, first_segment, reported, without};

#[test]
fn a_backup_holds_the_base_and_what_is_behind_it() {
    let (room, _) = Room::of_120_days();
    let path = |name: &str| room.path(name);
    let take = |to: &str| backup(&path("node"), &path(to), room.start, &mut |_| ()).unwrap();
    let sound = |name: &str| verify(&path(name), &mut |_| ()).unwrap();
    let whole = take("older").manifest;
    let base = room.base("node");
    let with_base = take("older").manifest;
    assert_eq!(with_base.segments, whole.segments);
    assert_eq!(with_base.files.len(), whole.files.len() + 1, "the base");
    sound("older");
    room.trim("node");
    let before = figures(&path("node"));

    // One that had them keeps the segments that the node removed.
    let kept = take("older").manifest;
    assert_eq!(kept.segments[0], whole.segments[0]);
    assert_eq!(kept.facts, before.facts);
    sound("older");
    restore(&path("older"), &path("from older"), None, &mut |_| ()).unwrap();
    assert_eq!(
        (first_segment(&path("from older")), figures(&path("from older"))),
        (1, before.clone())
    );

    let fresh = take("fresh").manifest;
    assert!(fresh.segments.len() < kept.segments.len() && fresh.facts < kept.facts);
    sound("fresh");
    let restored = restore(&path("fresh"), &path("from fresh"), None, &mut |_| ()).unwrap();
    assert!(restored.checkpoint && restored.facts == fresh.facts, "{restored:?}");
    assert_eq!(first_segment(&path("from fresh")), base.segment());
    assert_eq!(figures(&path("from fresh")), before);
    assert!(fsck(&path("from fresh").join("journal"), false).unwrap().damage.is_none());
    assert!(without(&path("from fresh"), "checkpoint-") > 0);
    let node = room.node("from fresh", true).unwrap();
    assert_eq!(reported(&node, &room.clock).0, before.impressions);
    node.stop().unwrap();

    // At a moment: behind the base, before it with the older segments, and before it without them.
    let until = |day: i64| Some(room.start.plus_ms(day * DAY_MS + DAY_MS / 2));
    let at =
        |from: &str, to: &str, day: i64| restore(&path(from), &path(to), until(day), &mut |_| ());
    at("fresh", "day 60", 60).unwrap();
    assert_eq!(first_segment(&path("day 60")), base.segment());
    let then = figures(&path("day 60"));
    assert!(then.impressions < before.impressions && then.impressions > 0);
    at("older", "day 60 of older", 60).unwrap();
    assert_eq!(figures(&path("day 60 of older")), then);
    let early = at("fresh", "day 0", 0).unwrap_err();
    assert!(matches!(&early, BackupError::TooEarly { .. }), "{early}");
    assert!(!path("day 0").exists() && !path("day 0.part").exists());
    at("older", "day 0 of older", 0).unwrap();
    assert_eq!(without(&path("day 0 of older"), "base-"), 0, "it stands for what is later");
    assert!(figures(&path("day 0 of older")).impressions < then.impressions);
}
