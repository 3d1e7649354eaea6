//! Cutting a text without tearing what a reader sees as one character.

/// Returns at most the first `chars_max` characters of a text, without white space at their end. Marks,
/// joined emoji, Indic conjuncts and flags stay whole or go, unless nothing would be left.
pub(super) fn cut(text: &str, chars_max: usize) -> &str {
    let Some((hard, _)) = text.char_indices().nth(chars_max) else {
        return text.trim_end();
    };
    let inside = text[..hard].char_indices().rev();
    let mut end = hard;
    for (at, _) in inside {
        if !joins(&text[..end], &text[end..]) {
            return text[..end].trim_end();
        }
        end = at;
    }
    text[..hard].trim_end()
}

/// Tells whether a character would be torn between these two parts (Unicode Annex 29, rules GB9 to GB13, for
/// the scripts that are written where these channels are used).
fn joins(before: &str, after: &str) -> bool {
    let (Some(last), Some(next)) = (before.chars().next_back(), after.chars().next()) else {
        return false;
    };
    if extends(next) || last == ZERO_WIDTH_JOINER {
        return true;
    }
    if is_virama(last) && is_indic(next) {
        return true;
    }
    let flags = before.chars().rev().take_while(|character| is_flag_letter(*character)).count();
    is_flag_letter(next) && flags % 2 == 1
}

const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// Tells whether a character belongs to the one before it.
fn extends(character: char) -> bool {
    let marks_of_indic_block = |offset: u32| matches!(offset, 0..=3 | 0x3A..=0x3C | 0x3E..=0x4F | 0x51..=0x57 | 0x62..=0x63);
    match character {
        '\u{900}'..='\u{DFF}' => marks_of_indic_block(character as u32 % 0x80),
        '\u{300}'..='\u{36F}'
        | '\u{483}'..='\u{489}'
        | '\u{591}'..='\u{5BD}'
        | '\u{610}'..='\u{61A}'
        | '\u{64B}'..='\u{65F}'
        | '\u{670}'
        | '\u{6D6}'..='\u{6DC}'
        | '\u{6DF}'..='\u{6E8}'
        | '\u{E31}'
        | '\u{E34}'..='\u{E3A}'
        | '\u{E47}'..='\u{E4E}'
        | ZERO_WIDTH_JOINER
        | '\u{20D0}'..='\u{20FF}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FE20}'..='\u{FE2F}'
        | '\u{1F3FB}'..='\u{1F3FF}'
        | '\u{E0020}'..='\u{E007F}' => true,
        _ => false,
    }
}

fn is_indic(character: char) -> bool {
    ('\u{900}'..='\u{DFF}').contains(&character)
}

/// Tells whether an Indic letter and the next one are written as one.
fn is_virama(character: char) -> bool {
    is_indic(character) && character as u32 % 0x80 == 0x4D
}

fn is_flag_letter(character: char) -> bool {
    ('\u{1F1E6}'..='\u{1F1FF}').contains(&character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_seen_as_one_character_is_not_torn() {
        for (text, chars, kept) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("ab cd", 3, "ab"),
            ("cafe\u{301}s", 4, "caf"),
            ("cafe\u{301}s", 5, "cafe\u{301}"),
            ("a👩‍👩‍👧b", 4, "a"),
            ("a👍🏽b", 2, "a"),
            ("a👍🏽b", 3, "a👍🏽"),
            ("🇲🇽🇧🇷", 3, "🇲🇽"),
            ("🇲🇽🇧🇷", 2, "🇲🇽"),
            ("नमस्ते", 2, "नम"),
            ("नमस्ते", 3, "नम"),
            ("नमस्ते", 5, "नम"),
            ("مَرحبا", 1, "م"),
            ("xمَرحبا", 2, "x"),
            ("1️⃣2", 2, "1\u{FE0F}"),
            ("", 5, ""),
            ("\u{301}\u{301}\u{301}", 2, "\u{301}\u{301}"),
        ] {
            assert_eq!(cut(text, chars), kept, "{text} {chars}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_is_a_beginning_within_its_length(text: String, most in 0usize..50) {
            let kept = cut(&text, most);
            prop_assert!(text.starts_with(kept));
            prop_assert!(kept.chars().count() <= most);
            prop_assert_eq!(cut(kept, most), kept);
        }
    }
}
