//! What next: pure decisions. Which ads fill a tray, what an event changes, what a write becomes.
//!
//! Time, chance and state are arguments. Nothing here is changed but the counters of `board`.

pub mod auction;
pub mod board;
pub mod chats;
pub mod credits;
pub mod deliver;
pub mod exchange;
pub mod explain;
pub mod forecast;
pub mod fund;
pub mod ghosts;
pub mod groups;
pub mod holdouts;
pub mod imports;
pub mod index;
pub mod keys;
pub mod mutate;
pub mod noted;
pub mod onlooker;
pub mod openings;
pub mod outbound;
pub mod pacing;
pub mod parameters;
pub mod paths;
pub mod plain;
pub mod promise;
pub mod purse;
pub mod rates;
pub mod record;
pub mod revise;
pub mod room;
pub mod select;
pub mod skip;
pub mod slots;
pub mod sources;
pub mod steps;
pub mod target;
pub mod tariff;
pub mod traffic;

use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::Refusal;

/// What became of one incoming event.
#[derive(Clone, Debug, PartialEq)]
pub enum Decided {
    /// New: these facts, together or not at all.
    Facts(Vec<Kind>),
    /// Counted before.
    Already,
    /// Nothing is counted.
    Refused(Refusal),
}
