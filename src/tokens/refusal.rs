//! Why a token was refused, and which kinds of token there are.

use std::fmt;

use thiserror::Error;

/// What a sealed text is. The number is in each seal's associated data: add, never change or reuse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// A showing of an ad; the feed keeps it.
    View = 1,
    /// A tap on an ad; it rides in the chat link.
    Click = 2,
    /// A place in a pull.
    Cursor = 3,
    /// A place in a list.
    Page = 4,
    /// A viewer without a pseudonym; the feed keeps it from one answer to the next request.
    Frequency = 5,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::View, Self::Click, Self::Cursor, Self::Page, Self::Frequency];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view token",
            Self::Click => "click token",
            Self::Cursor => "cursor",
            Self::Page => "page token",
            Self::Frequency => "frequency token",
        })
    }
}

/// Why a token was refused. Nothing is charged for a refused one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TokenRefusal {
    /// It has not the length or alphabet of its kind.
    #[error(
        "not a token of this kind by its length or letters: send it whole, as it was handed out"
    )]
    Malformed,
    /// It does not open under the key it names: altered, made up, or of another journal.
    #[error(
        "altered, or not from this journal: send it as it was handed out, to where it came from"
    )]
    Forged,
    /// Its key is not in the ring: long expired, or of another journal.
    #[error(
        "its key {0} is not in the ring: it ended long ago or is from another journal; drop it"
    )]
    UnknownKey(u8),
    /// It is ours, but of another kind.
    #[error("this is a {found}, not a {wanted}: send it in the field meant for it")]
    WrongKind {
        /// The kind that was asked for.
        wanted: Kind,
        /// The kind it is.
        found: Kind,
    },
    /// It was good once; drop it.
    #[error("it ended at {ended_at} s since the Unix epoch: drop it, a retry cannot help")]
    Expired {
        /// The first second at which it was refused, since the Unix epoch.
        ended_at: u32,
    },
}

impl TokenRefusal {
    /// Returns the reason that callers may match on; it never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "TOKEN_MALFORMED",
            Self::Forged => "TOKEN_FORGED",
            Self::UnknownKey(_) => "TOKEN_KEY_UNKNOWN",
            Self::WrongKind { .. } => "TOKEN_WRONG_KIND",
            Self::Expired { .. } => "TOKEN_EXPIRED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_stable_reason_and_says_what_to_do() {
        let wrong = TokenRefusal::WrongKind { wanted: Kind::View, found: Kind::Click };
        for (refusal, reason, text) in [
            (TokenRefusal::Malformed, "TOKEN_MALFORMED", "send it whole"),
            (TokenRefusal::Forged, "TOKEN_FORGED", "send it as it was handed out"),
            (TokenRefusal::UnknownKey(9), "TOKEN_KEY_UNKNOWN", "drop it"),
            (wrong, "TOKEN_WRONG_KIND", "this is a click token, not a view token"),
            (TokenRefusal::Expired { ended_at: 5 }, "TOKEN_EXPIRED", "ended at 5 s"),
        ] {
            assert_eq!(refusal.reason(), reason);
            assert!(refusal.to_string().contains(text), "{refusal}");
        }
    }
}
