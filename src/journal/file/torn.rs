//! Torn tails.
