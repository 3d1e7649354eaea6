//! The only floor with clock, dice and threads: one writer, readers that never wait for the disk.

pub mod clock;
mod counts;
pub mod dice;
mod live;
mod serve;
pub mod writer;
