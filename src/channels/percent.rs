//! Percent-encoding (RFC 3986) of one value in a link.

/// Appends `value` to `link`, each byte encoded that is not unreserved, a space too.
pub(crate) fn push_encoded(link: &mut String, value: &str) {
    // Most texts are words with spaces between them: run by run, with room for some escapes.
    link.reserve(value.len() + value.len() / 2);
    let reserved = |byte: u8| !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| reserved(*byte)) {
        // Every byte of a character that takes several is encoded: a run, where there is one, has none.
        if from < at {
            link.push_str(&value[from..at]);
        }
        link.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        from = at + 1;
    }
    link.push_str(&value[from..]);
}

/// Returns the text that `value` encodes. A percent sign that begins no escape stands for itself, and
/// bytes that are no UTF-8 become U+FFFD: a link may have been typed by hand.
pub(crate) fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => nibble(*high).zip(nibble(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &rest[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(digit)])
}

/// Returns the value of a hexadecimal digit.
pub(crate) fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_link_reserves_is_encoded() {
        for (value, encoded) in [
            ("", ""),
            ("aZ09-._~", "aZ09-._~"),
            ("a b\n", "a%20b%0A"),
            ("&#[](){}/?=+%@:\"<>", "%26%23%5B%5D%28%29%7B%7D%2F%3F%3D%2B%25%40%3A%22%3C%3E"),
            ("¿Qué?", "%C2%BFQu%C3%A9%3F"),
        ] {
            assert_eq!(encode(value), encoded);
            assert_eq!(decode(encoded), value);
        }
    }

    #[test]
    fn a_broken_escape_stands_for_itself() {
        for (value, decoded) in
            [("%", "%"), ("%4", "%4"), ("%G0", "%G0"), ("%%41", "%A"), ("%ff", "\u{FFFD}")]
        {
            assert_eq!(decode(value), decoded);
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_a_link(text: String) {
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }

    fn encode(value: &str) -> String {
        let mut link = String::new();
        push_encoded(&mut link, value);
        link
    }
}
