//! One token of each kind and a ring of known secrets, for the tests of this room.

use crate::tokens::{KeyRing, Sealer};
use crate::types::token::{ClickToken, FrequencyToken, PackedPrice, ViewToken};

pub(crate) const NOW: u32 = 1_800_000_000;

pub(crate) const VIEW: ViewToken = ViewToken {
    view: 0x0102_0304_0506_0708,
    ad: 0x1112_1314_1516_1718,
    viewer: 0x2122_2324_2526_2728,
    feed: 0x3132_3334,
    issued: NOW,
    show_by: 600,
    price_micros: -2,
    billing: 0x41,
    p_tap: 0x5152,
    p_chat: 0x5354,
    position: 0x61,
    placement: 0x62,
    country: *b"MX",
    region: 0x7172,
    age_gender: 0x81,
    os_device: 0x82,
    arm: 0x83,
    ghost_ad: 0x9192_9394_9596_9798,
};

pub(crate) const CLICK: ClickToken = ClickToken {
    // Both are one byte, 0xA1.
    entry_point: 0x21,
    per_tap: true,
    view: VIEW.view,
    ad: VIEW.ad,
    viewer: VIEW.viewer,
    issued: NOW,
    price: PackedPrice(0xB1B2),
};

pub(crate) const FREQUENCY: FrequencyToken =
    FrequencyToken { viewer: VIEW.viewer, feed: VIEW.feed, issued: NOW };

/// Returns a ring whose secrets are filled with `first` and the bytes after it.
pub(crate) fn ring(first: u8) -> KeyRing {
    let mut fill = first..;
    KeyRing::generate(&mut |bytes| bytes.fill(fill.next().unwrap()), NOW)
}

pub(crate) fn sealer(first: u8) -> Sealer {
    Sealer::new(ring(first))
}
