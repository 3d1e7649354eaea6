//! Finding a prefill code in the text of a first message, without keeping any of the text.

use crate::types::token::PrefillCode;

/// Returns the code in a message: the last one in square brackets, as the links write it; else the last
/// word in capitals that can be one, for Apple and for users who edit. Such a word may be no code at
/// all, which the look-up then finds out. A number of ten digits is not taken for a code.
pub fn find_code(text: &str) -> Option<PrefillCode> {
    let mut bare = None;
    let mut start = 0;
    let mut bracketed = None;
    for (end, separator) in text.char_indices().chain([(text.len(), ' ')]) {
        if separator.is_alphanumeric() {
            continue;
        }
        let word = &text[start..end];
        if let Ok(code) = word.parse() {
            if separator == ']' && text[..start].ends_with('[') {
                bracketed = Some(code);
            } else if is_plain(word) {
                bare = Some(code);
            }
        }
        start = end + separator.len_utf8();
    }
    bracketed.or(bare)
}

/// Tells whether a word outside brackets looks like a code as it is printed.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && word.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_found_where_users_leave_it() {
        for (text, code) in [
            ("Hi, about the blue shoes [7ZK4M0Q9XA]", Some("7ZK4M0Q9XA")),
            ("[7ZK4M0Q9XA]", Some("7ZK4M0Q9XA")),
            ("[7ZK4M0Q9XA] and one more thing", Some("7ZK4M0Q9XA")),
            ("[7zk4moq9xa]", Some("7ZK4M0Q9XA")),
            ("Hi 7ZK4M0Q9XA", Some("7ZK4M0Q9XA")),
            ("Hi 7ZK4M0Q9XA.", Some("7ZK4M0Q9XA")),
            ("¿Qué tal?\n7ZK4M0Q9XA\n", Some("7ZK4M0Q9XA")),
            ("PROMO2026A [7ZK4M0Q9XA] APARTMENTS", Some("7ZK4M0Q9XA")),
            ("[PROMO2026A] old, [7ZK4M0Q9XA] new", Some("7ZK4M0Q9XA")),
            ("PROMO2026A 7ZK4M0Q9XA", Some("7ZK4M0Q9XA")),
            ("[0123456789]", Some("0123456789")),
            ("", None),
            ("call 5512345678", None),
            ("about apartments or ApArtments", None),
            ("5512345678] and [5512345678", None),
            ("7ZK4M0Q9X", None),
            ("7ZK4M0Q9XA1", None),
            ("é7ZK4M0Q9XA", None),
            ("[7ZK4M0Q9XU]", None),
            ("[ ]", None),
        ] {
            assert_eq!(find_code(text).map(|code| code.to_string()).as_deref(), code, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_bracketed_code_is_found_after_any_text(text: String, number in 0u64..1 << 50) {
            let code = PrefillCode::from_number(number);
            let message = format!("{text} [{}]", code.unwrap());
            prop_assert_eq!(find_code(&message), code);
        }
    }
}
