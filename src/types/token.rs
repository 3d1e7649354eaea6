//! What a token or code carries: plain values; `tokens` seals and opens them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::types::ids::{SHARDS, Shard};

/// All that serving knew about one ad in one slot. The feed keeps it, sealed, and hands it back with
/// each event, so a node that never saw the request can settle it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ViewToken {
    /// The id of this showing, random; a click id *is* its view id.
    pub view: u64,
    /// The ad shown, or held back when `ghost_ad` names it.
    pub ad: u64,
    /// The viewer's number: 6 bits of shard, 58 of keyed hash.
    pub viewer: u64,
    /// The feed that asked.
    pub feed: u32,
    /// When the ad was handed out, in seconds since the Unix epoch.
    pub issued: u32,
    /// How long the feed may wait before it shows the ad, in seconds after `issued`. A later view is
    /// counted, not charged.
    pub show_by: u16,
    /// The cleared price of one billed event, in millionths of the account's currency.
    pub price_micros: i64,
    /// Which event is billed, by the interface's number.
    pub billing: u8,
    /// The predicted chance of a tap once seen, in 1/65,535.
    pub p_tap: u16,
    /// The predicted chance of a conversation once tapped, in 1/65,535.
    pub p_chat: u16,
    /// The slot's place in its tray, from 0.
    pub position: u8,
    /// Where the slot is, by the interface's number.
    pub placement: u8,
    /// The viewer's country, ISO 3166-1 alpha-2 in upper case; two zeros when unknown.
    pub country: [u8; 2],
    /// The viewer's region, as [`pack_region`] gives it; 0 when unknown.
    pub region: u16,
    /// The viewer's age band and gender, by the interface's numbers; 0 when unknown.
    pub age_gender: u8,
    /// The viewer's system and device class, by the interface's numbers; 0 when unknown.
    pub os_device: u8,
    /// The experiment arm the viewer is in.
    pub arm: u8,
    /// The ad that won but was held back for a lift measurement; 0 when none was.
    pub ghost_ad: u64,
}

/// What rides in a chat link: enough to charge what it leads to and to find its impression.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClickToken {
    /// What the user touched (ad button, web button, printed code), by the interface's number: below 128.
    pub entry_point: u8,
    /// Whether `price` is the tap's own, and not that of the conversation that it leads to.
    pub per_tap: bool,
    /// The click's id: the view it came from.
    pub view: u64,
    /// The ad that was tapped.
    pub ad: u64,
    /// The viewer's number.
    pub viewer: u64,
    /// When the link was made, in seconds since the Unix epoch.
    pub issued: u32,
    /// The cleared price of the tap or the conversation, should one of them be what is billed.
    pub price: PackedPrice,
}

/// What a feed keeps, sealed, for a viewer without a pseudonym: a number that stands for it, so that caps
/// hold from one answer to the next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FrequencyToken {
    /// The viewer's number, random at the first answer and the same from then on.
    pub viewer: u64,
    /// The feed that asked.
    pub feed: u32,
    /// When the answer was given, in seconds since the Unix epoch.
    pub issued: u32,
}

/// A price in 16 bits, rounded down: 5 bits of exponent above 11 bits of mantissa, so the packed
/// numbers are ordered as the prices are. Exact to 4,095 micros, then less than 1/2,048 too low.
///
/// An auction rounds the price by packing it *before* it clears, so a token never says less than what
/// was agreed. The form is fixed for ever: it is inside click tokens.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PackedPrice(pub u16);

/// Bits of a packed price below its exponent.
const MANTISSA_BITS: u32 = 11;

/// The first mantissa that does not fit; also the bit every exponent above zero implies.
const MANTISSA_END: u64 = 1 << MANTISSA_BITS;

impl PackedPrice {
    /// The highest price: 4,396,972,769,280 micros, about 4.4 million units of a currency.
    pub const MAX: Self = Self(u16::MAX);

    /// Returns the highest packed price that is not above `micros`; zero for a negative one.
    pub const fn pack(micros: i64) -> Self {
        if micros <= 0 {
            return Self(0);
        }
        if micros >= Self::MAX.micros() {
            return Self::MAX;
        }
        let micros = micros as u64;
        let bits = u64::BITS - micros.leading_zeros();
        if bits <= MANTISSA_BITS {
            return Self(micros as u16);
        }
        let shift = bits - MANTISSA_BITS - 1;
        let mantissa = (micros >> shift) - MANTISSA_END;
        Self((((shift + 1) as u16) << MANTISSA_BITS) | mantissa as u16)
    }

    /// Returns the price in millionths of the account's currency.
    pub const fn micros(self) -> i64 {
        let mantissa = self.0 as u64 % MANTISSA_END;
        match self.0 >> MANTISSA_BITS {
            0 => mantissa as i64,
            exponent => ((mantissa + MANTISSA_END) << (exponent - 1)) as i64,
        }
    }
}

/// The first number above every packed region: three digits of base 37, where 0 is "no character".
const REGION_END: u16 = 37 * 37 * 37;

/// Packs the part of an ISO 3166-2 code after the hyphen (`CMX`, `SP`, `07`), at most three letters or
/// digits in either case, into 16 bits. Returns `None` for any other text, and 0 for an empty one.
pub fn pack_region(suffix: &str) -> Option<u16> {
    if suffix.len() > 3 {
        return None;
    }
    suffix.bytes().try_fold(0, |packed: u16, byte| {
        let digit = char::from(byte).to_digit(36)? as u16;
        Some(packed * 37 + digit + 1)
    })
}

/// Returns the region that [`pack_region`] packed, in upper case; empty for 0 and for a number that it
/// never gives.
pub fn unpack_region(packed: u16) -> String {
    if packed >= REGION_END {
        return String::new();
    }
    let mut rest = packed;
    let mut letters = Vec::with_capacity(3);
    while rest > 0 {
        let Some(letter) = (rest % 37).checked_sub(1).and_then(|d| char::from_digit(d.into(), 36))
        else {
            return String::new();
        };
        letters.push(letter.to_ascii_uppercase());
        rest /= 37;
    }
    letters.iter().rev().collect()
}

/// A short code inside the first message's text, for the channels that return nothing else: 6 bits of
/// shard, then 44 bits of keyed hash. It is scoped to one channel endpoint and looked up, not opened.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PrefillCode(u64);

/// Characters of a prefill code's text.
pub const PREFILL_CODE_CHARS: usize = 10;

/// Bits of a prefill code below its shard.
const CODE_HASH_BITS: u32 = 44;

/// Bits of a prefill code: five to a character.
const CODE_BITS: u32 = 5 * PREFILL_CODE_CHARS as u32;

// The shard and the hash fill the ten characters to the last bit.
const _: () = assert!(SHARDS.ilog2() + CODE_HASH_BITS == CODE_BITS);

/// Crockford's base 32: no I, L, O or U.
const CODE_LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl PrefillCode {
    /// Returns the code of a shard and the low 44 bits of a hash.
    ///
    /// # Panics
    /// When `shard` is the catalog's, which is in no id.
    pub const fn new(shard: Shard, hash44: u64) -> Self {
        assert!(shard.index() < SHARDS, "the catalog shard is in no code");
        let hash = hash44 & ((1 << CODE_HASH_BITS) - 1);
        Self(((shard.number() as u64) << CODE_HASH_BITS) | hash)
    }

    /// Returns the code with this number, or `None` above 50 bits.
    pub const fn from_number(number: u64) -> Option<Self> {
        if number >> CODE_BITS == 0 { Some(Self(number)) } else { None }
    }

    /// Returns the code as a number of 50 bits.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the shard of the viewer whom the code was made for.
    pub fn shard(self) -> Shard {
        Shard::new((self.0 >> CODE_HASH_BITS) as u8).expect("six bits are always a shard")
    }
}

impl fmt::Display for PrefillCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: [u8; PREFILL_CODE_CHARS] = std::array::from_fn(|i| {
            let shift = CODE_BITS - 5 * (i as u32 + 1);
            CODE_LETTERS[(self.0 >> shift) as usize % 32]
        });
        f.pad(str::from_utf8(&letters).expect("the letters are ASCII"))
    }
}

/// Why a text is not a prefill code.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BadCode {
    /// The text is shorter or longer than a code.
    #[error("a code has {PREFILL_CODE_CHARS} characters, not {0}: copy the whole of it")]
    Length(usize),
    /// The text has a character that no code has.
    #[error("a code has digits and letters other than U, not {0:?}: copy it as it was shown")]
    Character(char),
}

impl FromStr for PrefillCode {
    type Err = BadCode;

    /// Reads a code in either case, taking I and L for 1 and O for 0 as people do.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        let chars = text.chars().count();
        if chars != PREFILL_CODE_CHARS {
            return Err(BadCode::Length(chars));
        }
        let number = text.chars().try_fold(0, |number: u64, character| {
            let value = code_digit(character).ok_or(BadCode::Character(character))?;
            Ok((number << 5) | value)
        })?;
        Ok(Self(number))
    }
}

fn code_digit(character: char) -> Option<u64> {
    let letter = match character.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        letter => letter,
    };
    CODE_LETTERS.iter().position(|&known| char::from(known) == letter).map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_price_is_exact_and_an_absurd_one_is_clipped() {
        (0..=4_095).for_each(|micros| assert_eq!(PackedPrice::pack(micros).micros(), micros));
        assert_eq!(PackedPrice::pack(4_097).micros(), 4_096);
        assert_eq!(PackedPrice::pack(-1).micros(), 0);
        assert_eq!(PackedPrice::pack(i64::MAX), PackedPrice::MAX);
        assert_eq!(PackedPrice::MAX.micros(), 4_396_972_769_280);
    }

    #[test]
    fn each_packed_price_is_the_packing_of_its_own_value_and_they_are_in_order() {
        let mut last = -1;
        for packed in (0..=u16::MAX).map(PackedPrice) {
            assert_eq!(PackedPrice::pack(packed.micros()), packed);
            assert!(packed.micros() > last);
            last = packed.micros();
        }
    }

    proptest! {
        #[test]
        fn packing_rounds_down_by_less_than_a_2048th(micros in 1..PackedPrice::MAX.micros()) {
            let got = PackedPrice::pack(micros).micros();
            prop_assert!(got <= micros);
            prop_assert!((micros - got) * 2_048 < micros);
        }

        #[test]
        fn packing_keeps_the_order(a: i64, b: i64) {
            prop_assert!(PackedPrice::pack(a.min(b)) <= PackedPrice::pack(a.max(b)));
        }

        #[test]
        fn a_code_survives_its_text(number in 0u64..1 << 50) {
            let code = PrefillCode::from_number(number).unwrap();
            prop_assert_eq!(code.to_string().parse(), Ok(code));
            prop_assert_eq!(code.to_string().to_lowercase().parse(), Ok(code));
            prop_assert_eq!(PrefillCode::new(code.shard(), number), code);
        }
    }

    #[test]
    fn a_region_survives_packing() {
        for (suffix, back) in [
            ("CMX", "CMX"),
            ("sp", "SP"),
            ("07", "07"),
            ("0", "0"),
            ("", ""),
            ("ZZZ", "ZZZ"),
            ("000", "000"),
        ] {
            assert_eq!(unpack_region(pack_region(suffix).unwrap()), back);
        }
        assert_eq!(pack_region("ABCD"), None);
        assert_eq!(pack_region("A-1"), None);
        assert_eq!(unpack_region(37), "", "a zero digit inside is not a region");
        assert_eq!(unpack_region(REGION_END + 37 * 37 + 37 + 1), "", "`0000` is not a region");
        assert_eq!(unpack_region(u16::MAX), "");
    }

    #[test]
    fn a_code_is_read_as_people_write_it_and_refused_by_name() {
        let code = PrefillCode::new(Shard::new(63).unwrap(), u64::MAX);
        assert_eq!(code.to_string(), "ZZZZZZZZZZ");
        let first = PrefillCode::new(Shard::new(1).unwrap(), 1);
        assert_eq!(first.to_string(), "0G00000001");
        assert_eq!("oOiIlL0011".parse(), "0011110011".parse::<PrefillCode>());
        assert_eq!("".parse::<PrefillCode>(), Err(BadCode::Length(0)));
        assert_eq!("01234567890".parse::<PrefillCode>(), Err(BadCode::Length(11)));
        assert_eq!("012345678U".parse::<PrefillCode>(), Err(BadCode::Character('U')));
        assert_eq!("012345678é".parse::<PrefillCode>(), Err(BadCode::Character('é')));
        assert_eq!(PrefillCode::from_number(1 << 50), None);
    }
}
