//! Versions of systems and apps: at most four numbers of 16 bits, as one number that orders as they do.

use crate::types::proto::v1::VersionRange;

/// Numbers of a version.
const PARTS: usize = 4;

/// Reads "16.4.1": one to four numbers up to 65,535, joined by dots; missing ones are 0. `None` for any
/// other text, and for a version of zeros alone: 0 stands for "not told".
pub fn version(text: &str) -> Option<u64> {
    let mut parts = [0u16; PARTS];
    for (at, part) in text.split('.').enumerate() {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *parts.get_mut(at)? = digits.then(|| part.parse().ok()).flatten()?;
    }
    let packed = parts.iter().fold(0, |packed, part| packed << 16 | u64::from(*part));
    (packed != 0).then_some(packed)
}

/// Returns the first and last version of a range, both within it. An open end is the lowest or highest
/// there is; so is one that is no version, which the door refuses.
pub fn version_range(range: &VersionRange) -> (u64, u64) {
    let first = version(&range.min).unwrap_or_default();
    let last = version(&range.max).unwrap_or(u64::MAX);
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_order_them() {
        let ordered = ["0.1", "1", "1.0.1", "1.2", "1.10", "2.24.9.65535", "16", "16.4.1"];
        let packed: Vec<_> = ordered.iter().map(|text| version(text)).collect();
        assert!(packed.is_sorted() && packed.iter().all(Option::is_some), "{packed:?}");
        assert_eq!(version("16"), version("16.0.0.0"));
    }

    #[test]
    fn anything_else_is_no_version() {
        for text in ["", ".", "1.", "v1", "1.2.3.4.5", "65536", "-1", "+1", "0", "0.0", "1 2", "١"]
        {
            assert_eq!(version(text), None, "{text:?}");
        }
    }
}
