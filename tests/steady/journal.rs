//! What a journal holds when its node has stopped.

use std::collections::BTreeMap;
use std::path::Path;

use munadi::journal::file::scan;
use munadi::node::Files;
use munadi::tokens::Sealer;
use munadi::types::proto::journal::v1::{Decision, fact::Kind};
use munadi::types::proto::v1::EventKind;
use prost::Message;

/// An event by its view and kind.
pub(crate) type Named = (u64, i32);

/// How often each event is in the journal of a stopped node.
///
/// # Panics
/// Where the journal's time goes back within a shard, or its end was not sealed.
pub(crate) fn journaled(folder: &Path) -> BTreeMap<Named, u64> {
    let (mut events, mut latest) = (BTreeMap::new(), BTreeMap::new());
    let scanned = scan(&folder.join("data/journal"), |block| {
        let last = latest.entry(block.shard).or_insert(i64::MIN);
        for bytes in block.decisions() {
            let decision = Decision::decode(bytes).unwrap();
            assert!(decision.at_ms >= *last, "shard {}: the time goes back", block.shard);
            *last = decision.at_ms;
            for fact in decision.facts {
                let (showing, kind) = match fact.kind.unwrap() {
                    Kind::ImpressionSeen(fact) => (fact.showing, EventKind::Impression),
                    Kind::Tapped(fact) => (fact.showing, EventKind::Tap),
                    _ => continue,
                };
                *events.entry((showing.unwrap().view, kind.into())).or_insert(0) += 1;
            }
        }
    });
    assert_eq!(scanned.unwrap().torn, None, "the stop sealed the journal");
    events
}

/// Checks that each of these events is in a stopped node's journal, and none is there twice.
pub(crate) fn once_each(folder: &Path, acknowledged: &[Named]) {
    let counts = journaled(folder);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "counted more than once: {twice:?}");
    let lost: Vec<_> = acknowledged.iter().filter(|event| !counts.contains_key(event)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
}

/// Returns what opens tokens by the keys that a node has now.
pub(crate) fn sealer(folder: &Path) -> Sealer {
    Sealer::new(Files::new(&folder.join("data")).ring().unwrap().unwrap())
}
