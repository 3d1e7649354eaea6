//! A sealer and tokens for the tests of the parsers.

use crate::tokens::{KeyRing, Sealer};
use crate::types::time::Moment;

/// The feed of the samples.
pub(super) const FEED: u32 = 7;

/// When the samples were made.
pub(super) const NOW: Moment = Moment(1_800_000_000_000);

/// Returns a sealer whose secrets are each filled with another byte.
pub(super) fn sealer() -> Sealer {
    let mut fill = 1u8..;
    let mut random =
        |bytes: &mut [u8]| bytes.fill(fill.next().expect("a ring has fewer than 255 secrets"));
    let mut ring = KeyRing::generate(&mut random, NOW.seconds());
    ring.add_feed(FEED, &mut random);
    Sealer::new(ring)
}
