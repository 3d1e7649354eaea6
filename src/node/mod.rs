//! The only floor with clock, dice and threads: one writer, readers that never wait for the disk.

mod ads;
mod asked;
pub mod backup;
pub mod base;
mod billing;
mod changes;
mod checkpoint;
pub mod clock;
mod coach;
#[cfg(feature = "columns")]
mod columns;
mod conversations;
mod counts;
mod credits;
pub mod dice;
mod drive;
mod erasure;
mod estimate;
mod explain;
mod files;
mod forecaster;
mod front;
#[cfg(test)]
pub(crate) mod fuzz;
mod helper;
mod imports;
mod indexer;
#[cfg(test)]
mod interleaved;
mod keys;
mod lift;
mod links;
mod live;
#[cfg(test)]
mod lives;
mod load;
mod lobby;
mod meters;
mod models;
mod openings;
mod outbound;
mod paced;
mod pacer;
mod panel;
mod pending;
mod pressure;
mod prices;
pub mod push;
mod queue;
mod rates;
mod reconcile;
mod recover;
mod replay;
mod reports;
mod running;
mod sandbox;
mod schedules;
mod scrub;
mod seal;
mod serve;
mod strands;
mod traffic;
mod walker;
pub mod writer;

pub use asked::ASKED_MAX;
pub use billing::{CREDITS_PER_STEP, TransfersAsked};
pub use changes::{CHANGES_PAGE_BYTES, ChangesAsked};
pub use coach::{
    NOTICES_AT_ONCE_MAX, NOTICES_WAITING_MAX, WATCHED_WINDOWS_MAX, WATCHES_MAX, Watch,
};
#[cfg(feature = "columns")]
pub use columns::{Readable, Walk};
pub use conversations::ListedChats;
pub use credits::PULL_ROWS_MAX;
pub use estimate::daily_budget_of;
pub use files::Files;
pub use forecaster::{
    COMPARED_LEAST, COMPARED_MAX, FORECASTS_MAX, Question, VISITS_PER_MINUTE, Wanted,
};
pub use front::Front;
pub use keys::{ISSUED_PREFIX, Issued, NewKey};
pub use links::{Followed, Follower};
pub use lobby::Counter;
pub use meters::{READY_LAG_MS_MAX, Unready};
pub use models::MODEL_DAYS;
pub use outbound::PulledPayloads;
pub use paced::Paced;
pub use panel::{PANEL_MAX, PANEL_MEMORY_MS};
pub use pending::Pending;
pub use pressure::{Gauge, Pressure};
pub use queue::QUEUE_MAX;
pub use recover::{OpenError, Opened, fold, open};
pub use running::{CHECKPOINT_EVERY, Node, NodeOptions, StartError};
pub use sandbox::TestClick;
pub use serve::{ANSWER_BYTES, Answer};
pub use traffic::NETWORKS_MAX;
pub use walker::{EXPLAIN_COUNTS_MAX, EXPLAIN_HOURS, SAMPLE_STEP, SAMPLED_OF, SAMPLES_WAITING_MAX};
