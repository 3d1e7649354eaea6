//! Nouns with units: ids, money, time, the wire and journal messages, and why a thing was refused.
//!
//! Floor 0: imports nothing of the crate; no clock, dice, I/O or lock.

mod apportion;
pub mod attribution;
pub mod bits;
pub mod day;
pub mod dice;
pub mod encoded;
pub mod geo;
pub mod hash;
pub mod ids;
pub mod iso;
pub mod meters;
pub mod money;
pub mod proto;
pub mod public;
pub mod refusal;
pub mod request;
pub mod shown;
pub mod time;
pub mod token;
pub mod trades;
pub mod version;
pub mod week;
