//! A seeded town: viewers, businesses, a feed service and chat platforms that speak to a node only
//! through its doors. One seed gives one day.
//!
//! Floor 6. It knows the node's moved clock, which it moves, and nothing else of the floors between.

mod agenda;
mod businesses;
mod chat_link;
mod chats;
mod close;
mod create;
mod day;
mod dice;
mod doors;
mod encounter;
mod error;
mod founding;
mod funnel;
mod habits;
mod holdout;
mod hooks;
mod lasting;
mod life;
pub mod lines;
mod lists;
mod looking;
mod measured;
mod people;
mod places;
mod platform;
mod recorded;
mod replay;
mod rhythm;
mod talk;
mod tally;
mod wire;

pub use businesses::ADVERTISERS;
pub use close::{CampaignRow, DayReport};
pub use day::{DAY_START, Day, TICK_MS, TownOptions, found_lasting_town, found_town};
pub use doors::{Doors, FEED, Keys};
pub use error::TownError;
pub use funnel::{ChannelCost, ChannelRow, MessageCost, Steps};
pub use habits::Habits;
pub use hooks::{APP, Hooks};
pub use life::{Town, Wake};
pub use measured::{Group, LiftFigures, LiftReport, ModelsReport, ModelsRow, ModelsTable, Span};
pub use recorded::{BadLine, JsonForm, LINE_BYTES_MAX};
pub use replay::Recording;
