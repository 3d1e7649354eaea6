//! Which parts of the state a fact touches.

use crate::state::kinds::catalog_kinds;
use crate::types::ids::{SHARDS, number_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    OutcomeRevised, PathTouch, ServedMinute, Showing, Standing,
};
use crate::types::proto::v1::InvalidReason;

/// Buckets of one shard. Fixed: a viewer's bucket is in the bits of its number.
pub const BUCKETS_PER_SHARD: usize = 1_024;

/// All buckets.
pub const BUCKETS: usize = SHARDS * BUCKETS_PER_SHARD;

/// Accounts or ads in one chunk of purses or tallies.
pub const PER_CHUNK: u64 = 1_024;

/// Most chunks: 4,194,304 accounts, and as many ads.
pub const CHUNKS_MAX: usize = 4_096;

/// Returns the bucket of a hashed id: its shard, then the next ten bits.
pub const fn bucket_of(id: u64) -> usize {
    (id >> (64 - BUCKETS.ilog2())) as usize
}

/// Returns the chunk of a numbered id.
pub const fn chunk_of(id: u64) -> usize {
    (number_of(id) / PER_CHUNK) as usize
}

/// The chunks of tallies that a fact touches: mostly one, for a minute's rows as many as they name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Chunks {
    /// None.
    None,
    /// One.
    One(usize),
    /// Several, ascending, each once.
    Many(Vec<usize>),
}

impl Chunks {
    /// Returns each chunk once.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (one, many) = match self {
            Self::None => (None, &[][..]),
            Self::One(chunk) => (Some(*chunk), &[][..]),
            Self::Many(chunks) => (None, &chunks[..]),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

/// The parts that one fact touches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The bucket of its viewer, conversation or conversion.
    pub bucket: Option<usize>,
    /// Whether its shard's codes and credits.
    pub shard: bool,
    /// The chunk of its account's purse.
    pub purse: Option<usize>,
    /// The chunks of its ads' tallies.
    pub tallies: Chunks,
    /// Whether the feeds' counts.
    pub feeds: bool,
    /// Whether the controllers of budgets.
    pub paces: bool,
    /// Whether the markets' requests by hour.
    pub shapes: bool,
    /// Whether the catalog.
    pub catalog: bool,
    /// The chunk of its endpoint's or account's desk.
    pub desk: Option<usize>,
}

const NOWHERE: Route = Route {
    bucket: None,
    shard: false,
    purse: None,
    tallies: Chunks::None,
    feeds: false,
    paces: false,
    shapes: false,
    catalog: false,
    desk: None,
};

/// Returns the parts that a fact touches.
pub fn route(fact: &Kind) -> Route {
    let row = |tallies| Route { shard: true, tallies, ..NOWHERE };
    match fact {
        catalog_kinds!() => Route { catalog: true, ..NOWHERE },
        Kind::Granted(fact) => Route { purse: Some(chunk_of(fact.account)), ..NOWHERE },
        Kind::Funded(fact) => Route { purse: Some(chunk_of(fact.account)), ..NOWHERE },
        Kind::ServedMinute(fact) => of_minute(fact),
        Kind::ImpressionSeen(fact) => {
            let charged = fact.charge.is_some() || fact.invalid_price != 0;
            of_showing(&fact.showing, charged, false)
        }
        Kind::EventCredited(fact) => of_showing(&fact.showing, true, false),
        Kind::Watched(fact) => of_showing(&fact.showing, false, false),
        Kind::FeedbackGiven(fact) => of_showing(&fact.showing, false, false),
        Kind::Tapped(fact) => {
            let charged = fact.charge.is_some() || fact.invalid_price != 0;
            // An imported tap has no code.
            let shown = of_showing(&fact.showing, charged, !fact.imported);
            Route { desk: desk_of(fact.endpoint), ..shown }
        }
        Kind::ClickMatched(fact) => {
            let charged = fact.charge.is_some() || fact.invalid_price != 0;
            let (desk, tallies) = (desk_of(fact.endpoint), of_path(&fact.showing, &fact.path));
            Route { desk, tallies, ..of_showing(&fact.showing, charged, true) }
        }
        Kind::ConversionCredited(fact) => {
            let tallies = of_path(&fact.showing, &fact.path);
            Route { tallies, ..of_showing(&fact.showing, false, true) }
        }
        // There is no conversation to an imported opening.
        Kind::ConversationOpened(fact) if fact.imported => of_bucket(fact.outcome),
        Kind::ConversationOpened(fact) => {
            Route { desk: desk_of(fact.endpoint), ..of_bucket(fact.conversation) }
        }
        Kind::ContactMoved(fact) => of_bucket(fact.conversation),
        Kind::ReferralNoted(fact) => of_bucket(fact.conversation),
        Kind::GhostNoted(fact) => of_bucket(fact.showing.map_or(0, |showing| showing.viewer)),
        Kind::OutcomeNoted(fact) => of_bucket(fact.viewer),
        Kind::ViewerErased(fact) => Route { shard: true, ..of_bucket(fact.viewer) },
        Kind::StepCredited(fact) => row(of_path(&fact.showing, &fact.path)),
        Kind::MessagePriced(fact) => Route {
            bucket: Some(bucket_of(fact.conversation)),
            tallies: several([fact.ad]),
            desk: (fact.free_month != 0).then(|| chunk_of(fact.endpoint)),
            ..NOWHERE
        },
        Kind::SourceTapped(fact) => Route { desk: Some(chunk_of(fact.endpoint)), ..NOWHERE },
        Kind::ConversionsPushed(fact) => Route { desk: Some(chunk_of(fact.account)), ..NOWHERE },
        Kind::MessageRecorded(fact) => Route {
            bucket: Some(bucket_of(fact.conversation)),
            tallies: several([fact.first_reply_ad, fact.qualified_ad, fact.wrote_ad]),
            ..NOWHERE
        },
        Kind::Converted(fact) => of_bucket(fact.outcome),
        Kind::OutboxSettled(fact) => Route {
            bucket: Some(bucket_of(fact.outcome)),
            tallies: several([fact.first_reply_ad, fact.qualified_ad, fact.wrote_ad]),
            ..NOWHERE
        },
        Kind::OutcomeDeclined(fact) => of_told(fact.viewer, row(several([fact.ad]))),
        Kind::OutcomeRevised(fact) => of_told(fact.viewer, row(of_revision(fact))),
        Kind::RevisionSettled(fact) => of_bucket(fact.viewer),
        Kind::TouchRevised(fact) => of_bucket(fact.conversation),
    }
}

/// A row of an outcome, also remembered by its viewer where one is told.
fn of_told(viewer: u64, row: Route) -> Route {
    Route { bucket: (viewer != 0).then(|| bucket_of(viewer)), ..row }
}

fn of_minute(fact: &ServedMinute) -> Route {
    let mut chunks: Vec<_> = fact.rows.iter().map(|row| chunk_of(row.ad)).collect();
    chunks.sort_unstable();
    chunks.dedup();
    Route {
        tallies: Chunks::Many(chunks),
        feeds: !fact.feeds.is_empty(),
        paces: !fact.paces.is_empty(),
        shapes: !fact.markets.is_empty(),
        ..NOWHERE
    }
}

/// Returns the chunk of an endpoint's desk; `None`: no endpoint is told.
fn desk_of(endpoint: u64) -> Option<usize> {
    (endpoint != 0).then(|| chunk_of(endpoint))
}

/// Returns the route of a fact that touches its bucket alone.
const fn of_bucket(id: u64) -> Route {
    Route { bucket: Some(bucket_of(id)), ..NOWHERE }
}

/// Returns the chunks of these ads; 0 is none.
fn several(ads: impl IntoIterator<Item = u64>) -> Chunks {
    let mut chunks: Vec<_> = ads.into_iter().filter(|ad| *ad != 0).map(chunk_of).collect();
    chunks.sort_unstable();
    chunks.dedup();
    match *chunks {
        [] => Chunks::None,
        [one] => Chunks::One(one),
        _ => Chunks::Many(chunks),
    }
}

/// Returns the chunks of the ad shown, and of those on the path to an outcome.
fn of_path(showing: &Option<Showing>, path: &[PathTouch]) -> Chunks {
    let credited = showing.as_ref().map_or(0, |showing| showing.ad);
    several(path.iter().map(|touch| touch.ad).chain([credited]))
}

/// Returns the chunks of the ads that lose an outcome, and of those that gain it.
fn of_revision(fact: &OutcomeRevised) -> Chunks {
    let ads = |standing: &Standing| {
        let credited = standing.showing.map_or(0, |showing| showing.ad);
        let path = standing.path.iter().map(|touch| touch.ad);
        path.chain([credited]).collect::<Vec<_>>()
    };
    several(fact.before.iter().chain(&fact.after).flat_map(ads))
}

/// Returns the route of a fact about one showing.
fn of_showing(showing: &Option<Showing>, charged: bool, shard: bool) -> Route {
    let Some(showing) = showing else {
        return NOWHERE;
    };
    Route {
        bucket: Some(bucket_of(showing.viewer)),
        shard,
        purse: charged.then(|| chunk_of(showing.account)),
        tallies: Chunks::One(chunk_of(showing.ad)),
        ..NOWHERE
    }
}

/// Returns why a fact's event is invalid traffic: kept, but not charged, not counted with the valid ones and
/// not learned from. `None`: it is valid, or of no event.
pub fn invalid_of(fact: &Kind) -> Option<InvalidReason> {
    let reason = match fact {
        Kind::ImpressionSeen(fact) => fact.invalid(),
        Kind::Watched(fact) => fact.invalid(),
        Kind::Tapped(fact) => fact.invalid(),
        Kind::FeedbackGiven(fact) => fact.invalid(),
        Kind::ClickMatched(fact) => fact.invalid(),
        Kind::ConversionCredited(fact) => fact.invalid(),
        Kind::OutcomeDeclined(fact) => fact.invalid(),
        _ => return None,
    };
    Some(reason).filter(|reason| *reason != InvalidReason::Unspecified)
}

/// Tells whether a fact's event, or the touch that it is credited to, is of a history that was imported: it counts,
/// but nothing is learned from it.
pub const fn is_imported(fact: &Kind) -> bool {
    match fact {
        Kind::ImpressionSeen(fact) => fact.imported,
        Kind::Watched(fact) => fact.imported,
        Kind::Tapped(fact) => fact.imported,
        Kind::ConversationOpened(fact) => fact.imported,
        Kind::ClickMatched(fact) => fact.imported,
        Kind::Converted(fact) => fact.imported,
        Kind::ConversionCredited(fact) => fact.imported,
        Kind::OutcomeDeclined(fact) => fact.imported,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::shard_of;
    use crate::types::proto::journal::v1::ImpressionSeen;

    #[test]
    fn an_invalid_event_reaches_the_purse_by_its_price_though_nobody_pays() {
        let showing = Some(Showing::default());
        let seen = |invalid_price| ImpressionSeen { showing, invalid_price, ..Default::default() };
        assert_eq!(route(&Kind::ImpressionSeen(seen(5))).purse, Some(0));
        assert_eq!(route(&Kind::ImpressionSeen(seen(0))).purse, None);
    }

    #[test]
    fn a_bucket_lies_in_its_ids_shard() {
        for id in [0, 1, u64::MAX, 0x8123_4567_89AB_CDEF] {
            assert_eq!(bucket_of(id) / BUCKETS_PER_SHARD, shard_of(id).index());
        }
    }
}
