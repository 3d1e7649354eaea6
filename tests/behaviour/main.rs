//! What the engine promises, shown through its doors.

mod h2;
mod wire;
