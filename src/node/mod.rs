//! The only floor with clock, dice and threads: one writer, readers that never wait for the disk.

pub mod clock;
