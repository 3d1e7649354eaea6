//! The `munadi` binary.

fn main() {}
