//! What a chat app hands to the business when somebody comes by an ad's link.

use crate::types::proto::v1::opened::Proof;
use crate::types::token::PrefillCode;

/// Characters of a click token in a link.
const CLICK_TOKEN_CHARS: usize = 64;

/// Returns the token or code in a chat link: a token where the channel has a place of its own for it,
/// else the code in the text that the person sends.
pub(crate) fn proof_in(link: &str) -> Option<Proof> {
    let query = link.split_once('?')?.1;
    let values = || {
        query
            .split('&')
            .map(|pair| pair.split_once('=').map_or(pair, |pair| pair.1))
    };
    let is_token = |value: &&str| {
        value.len() == CLICK_TOKEN_CHARS
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if let Some(token) = values().find(is_token) {
        return Some(Proof::ClickToken(token.to_owned()));
    }
    values()
        .find_map(code_in)
        .map(|code| Proof::PrefillCode(code.to_string()))
}

/// Returns the last word of an encoded text that is a code.
fn code_in(encoded: &str) -> Option<PrefillCode> {
    let plain = ["%20", "%5B", "%5D", "+"]
        .iter()
        .fold(encoded.to_owned(), |text, separator| {
            text.replace(separator, " ")
        });
    plain
        .split_whitespace()
        .rev()
        .find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_or_code_is_found_in_every_kind_of_link() {
        let token = "A-_z".repeat(16);
        let code = "0G00000001";
        for (link, proof) in [
            (
                format!("https://m.me/page?ref={token}"),
                Proof::ClickToken(token.clone()),
            ),
            (
                format!("https://t.me/bot?start={token}"),
                Proof::ClickToken(token),
            ),
            (
                format!("https://wa.me/15?text=Hola%21%20%5B{code}%5D"),
                Proof::PrefillCode(code.into()),
            ),
            (
                format!("sms:+15?service_id=a&body={code}"),
                Proof::PrefillCode(code.into()),
            ),
            (
                format!("https://line.me/R/oaMessage/x/?{code}"),
                Proof::PrefillCode(code.into()),
            ),
        ] {
            assert_eq!(proof_in(&link), Some(proof), "{link}");
        }
        assert_eq!(proof_in("https://wa.me/15"), None);
        assert_eq!(proof_in("https://wa.me/15?text=Hola"), None);
    }
}
