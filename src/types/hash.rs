//! Short numbers that tell texts apart or order equals, but for chance. They guard nothing.

/// What an FNV-1a hash begins with.
const FNV_BASIS: u64 = 0xCBF2_9CE4_8422_2325;

/// Returns the 64-bit FNV-1a hash of some bytes.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(FNV_BASIS, fnv1a_step)
}

const fn fnv1a_step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01B3)
}

/// Returns a number whose bits all depend on all bits of this one (the finaliser of SplitMix64: Steele, Lea
/// and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Returns the number of a business's category: of its name's letters. 0: it has none.
pub const fn category_number(name: &str) -> u64 {
    let (bytes, mut at, mut hash) = (name.as_bytes(), 0, FNV_BASIS);
    while at < bytes.len() {
        hash = fnv1a_step(hash, bytes[at]);
        at += 1;
    }
    // Zero stays free for "none".
    match hash {
        _ if name.is_empty() => 0,
        0 => 1,
        hash => hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_business_without_a_category_has_none() {
        assert_eq!(category_number(""), 0);
        assert_ne!(category_number("food"), category_number("travel"));
        assert_eq!(category_number("food"), fnv1a(*b"food"));
    }

    #[test]
    fn the_hash_is_that_of_its_authors_test_vectors() {
        assert_eq!(fnv1a([]), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(*b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv1a(*b"foobar"), 0x8594_4171_F739_67E8);
    }
}
