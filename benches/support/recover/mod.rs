//! What bench `recover` is made of.

pub(crate) mod day;
pub(crate) mod folder;
pub(crate) mod layout;
pub(crate) mod pass;
