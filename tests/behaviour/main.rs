//! What the engine promises, shown through its doors.

mod desk;
mod doors;
mod h2;
mod streams;
mod wire;
