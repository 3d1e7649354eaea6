//! The payload bytes of each token: fixed fields, big-endian, in this order for ever.

use crate::types::token::{ClickToken, FrequencyToken, PackedPrice, ViewToken};

/// Bytes of a view token inside its seal.
pub(crate) const VIEW_PAYLOAD: usize = 64;

/// Bytes of a click token inside its seal.
pub(crate) const CLICK_PAYLOAD: usize = 31;

/// The bit of a click token's first byte that says that its price is the tap's own. The others are the entry
/// point.
const PER_TAP: u8 = 1 << 7;

/// Bytes of a frequency token inside its seal.
pub(crate) const FREQUENCY_PAYLOAD: usize = 16;

pub(crate) fn write_view(token: &ViewToken) -> [u8; VIEW_PAYLOAD] {
    let mut out = Writer::new();
    out.put(token.view.to_be_bytes());
    out.put(token.ad.to_be_bytes());
    out.put(token.viewer.to_be_bytes());
    out.put(token.feed.to_be_bytes());
    out.put(token.issued.to_be_bytes());
    out.put(token.show_by.to_be_bytes());
    out.put(token.price_micros.to_be_bytes());
    out.put([token.billing]);
    out.put(token.p_tap.to_be_bytes());
    out.put(token.p_chat.to_be_bytes());
    out.put([token.position, token.placement]);
    out.put(token.country);
    out.put(token.region.to_be_bytes());
    out.put([token.age_gender, token.os_device, token.arm]);
    out.put(token.ghost_ad.to_be_bytes());
    out.finish()
}

pub(crate) fn read_view(payload: &[u8; VIEW_PAYLOAD]) -> ViewToken {
    let mut rest = Reader(payload);
    ViewToken {
        view: u64::from_be_bytes(rest.take()),
        ad: u64::from_be_bytes(rest.take()),
        viewer: u64::from_be_bytes(rest.take()),
        feed: u32::from_be_bytes(rest.take()),
        issued: u32::from_be_bytes(rest.take()),
        show_by: u16::from_be_bytes(rest.take()),
        price_micros: i64::from_be_bytes(rest.take()),
        billing: rest.byte(),
        p_tap: u16::from_be_bytes(rest.take()),
        p_chat: u16::from_be_bytes(rest.take()),
        position: rest.byte(),
        placement: rest.byte(),
        country: rest.take(),
        region: u16::from_be_bytes(rest.take()),
        age_gender: rest.byte(),
        os_device: rest.byte(),
        arm: rest.byte(),
        ghost_ad: u64::from_be_bytes(rest.take()),
    }
}

pub(crate) fn write_click(token: &ClickToken) -> [u8; CLICK_PAYLOAD] {
    let mut out = Writer::new();
    let per_tap = if token.per_tap { PER_TAP } else { 0 };
    out.put([token.entry_point & !PER_TAP | per_tap]);
    out.put(token.view.to_be_bytes());
    out.put(token.ad.to_be_bytes());
    out.put(token.viewer.to_be_bytes());
    out.put(token.issued.to_be_bytes());
    out.put(token.price.0.to_be_bytes());
    out.finish()
}

pub(crate) fn read_click(payload: &[u8; CLICK_PAYLOAD]) -> ClickToken {
    let mut rest = Reader(payload);
    let first = rest.byte();
    ClickToken {
        entry_point: first & !PER_TAP,
        per_tap: first & PER_TAP != 0,
        view: u64::from_be_bytes(rest.take()),
        ad: u64::from_be_bytes(rest.take()),
        viewer: u64::from_be_bytes(rest.take()),
        issued: u32::from_be_bytes(rest.take()),
        price: PackedPrice(u16::from_be_bytes(rest.take())),
    }
}

pub(crate) fn write_frequency(token: &FrequencyToken) -> [u8; FREQUENCY_PAYLOAD] {
    let mut out = Writer::new();
    out.put(token.viewer.to_be_bytes());
    out.put(token.feed.to_be_bytes());
    out.put(token.issued.to_be_bytes());
    out.finish()
}

pub(crate) fn read_frequency(payload: &[u8; FREQUENCY_PAYLOAD]) -> FrequencyToken {
    let mut rest = Reader(payload);
    FrequencyToken {
        viewer: u64::from_be_bytes(rest.take()),
        feed: u32::from_be_bytes(rest.take()),
        issued: u32::from_be_bytes(rest.take()),
    }
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    fn put<const M: usize>(&mut self, field: [u8; M]) {
        self.bytes[self.len..self.len + M].copy_from_slice(&field);
        self.len += M;
    }

    fn finish(self) -> [u8; N] {
        assert_eq!(self.len, N, "the fields fill the payload");
        self.bytes
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const M: usize>(&mut self) -> [u8; M] {
        let (field, rest) = self.0.split_first_chunk().expect("the payload holds every field");
        self.0 = rest;
        *field
    }

    fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::{read_click, write_click};
    use crate::tokens::Sealer;
    use crate::tokens::samples::{CLICK, FREQUENCY, NOW, VIEW, sealer};
    use crate::types::token::ClickToken;

    #[test]
    fn an_entry_point_and_whose_price_it_is_share_a_byte() {
        for (entry_point, per_tap, byte) in
            [(0, false, 0), (1, false, 1), (1, true, 0x81), (0x7F, false, 0x7F), (0x7F, true, 0xFF)]
        {
            let click = ClickToken { entry_point, per_tap, ..CLICK };
            let bytes = write_click(&click);
            assert_eq!(bytes[0], byte);
            assert_eq!(read_click(&bytes), click);
        }
    }

    /// The layouts are in links and on feeds: if this fails, the code is wrong, not the test. The bytes
    /// were made once by another implementation (OpenSSL's AES-128-SIV) under the key of bytes 1.
    #[test]
    fn the_sealed_bytes_never_change() {
        let sealer = sealer(1);
        assert_eq!(HEXLOWER.encode(&sealer.seal_view(&VIEW)), GOLDEN_VIEW);
        assert_eq!(HEXLOWER.encode(&sealer.seal_click(&CLICK)), GOLDEN_CLICK);
        assert_eq!(HEXLOWER.encode(&sealer.seal_frequency(&FREQUENCY)), GOLDEN_FREQUENCY);
        assert_eq!(HEXLOWER.encode(&sealer.seal_cursor(b"here")), GOLDEN_CURSOR);
        assert_eq!(HEXLOWER.encode(&sealer.seal_page(b"here")), GOLDEN_PAGE);
    }

    #[test]
    fn the_first_key_ring_ever_kept_still_opens_them() {
        let ring = include_str!("../../tests/golden/keyring_v1.json");
        let sealer = Sealer::new(serde_json::from_str(ring).unwrap());
        let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        assert_eq!(sealer.open_view(&bytes(GOLDEN_VIEW), NOW), Ok(VIEW));
        assert_eq!(sealer.open_click(&bytes(GOLDEN_CLICK), NOW), Ok(CLICK));
        assert_eq!(sealer.open_frequency(&bytes(GOLDEN_FREQUENCY), NOW), Ok(FREQUENCY));
        assert_eq!(sealer.open_cursor(&bytes(GOLDEN_CURSOR)).unwrap(), b"here");
        assert_eq!(sealer.open_page(&bytes(GOLDEN_PAGE)).unwrap(), b"here");
        assert!(sealer.ring().link(7).is_some());
    }

    const GOLDEN_VIEW: &str = "\
        015a45a79f047d4023ab0e175feefdad2bfa7c2c1888515e74901713f4ddce58aa1a8486de061ebe\
        5d68f0a258b7505d1feb2a7a19ba09dc892211f6a20e04b65cc874b205f753afb48d8128169f4572\
        9c";
    const GOLDEN_CLICK: &str = "\
        0166f73d46297eb608b0f272888278f3b11325efeeeb210b4c41cc9ead515375ac8775c8e5f28211\
        a63f80242a820f77";
    const GOLDEN_FREQUENCY: &str =
        "01e724d7efd9b3a3e3389d053f876c09d1d5628c60e8026ca8477c1239ca81fff3";
    const GOLDEN_CURSOR: &str = "00f5446a411f0b6ee89fefa57673047b8661f106e0";
    const GOLDEN_PAGE: &str = "00f1a13861ab751ae5b1a15a1b83cf01e9535a59bf";
}
