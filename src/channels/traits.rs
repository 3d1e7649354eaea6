//! What each channel can: the one table of it, from which README's is printed.

use thiserror::Error;

use crate::channels::{Channel, PREFILL_CHARS_MAX, returns_token};
use crate::types::proto::v1::MatchKind;

/// Most ice breakers: questions that a person finds as buttons in an empty chat (FACTS, "Chat links").
pub const ICE_BREAKERS_MAX: usize = 4;

/// The longest ice breaker, in characters (FACTS, "Chat links": WhatsApp's).
pub const ICE_BREAKER_CHARS_MAX: usize = 80;

/// What a channel can.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Which one.
    pub channel: Channel,
    /// As its owner writes it.
    pub name: &'static str,
    /// The form of its chat links: `<address>`, `<token>`, `<text>` and `<code>` stand for values.
    pub link: &'static str,
    /// What a business does not fill in but finds in links with a number for SMS; empty: there are none.
    pub other_link: &'static str,
    /// Whether people find ice breakers in an empty chat.
    pub ice_breakers: bool,
    /// How an opening is matched when all goes well.
    pub match_kind: MatchKind,
    /// How else, in this order, when that did not come back.
    pub fallback: &'static [MatchKind],
}

/// Every channel, by number (FACTS, "Chat links").
pub static TRAITS: [Traits; 7] = [
    Traits {
        channel: Channel::Whatsapp,
        name: "WhatsApp",
        link: "https://wa.me/<address>?text=<text> [<code>]",
        other_link: "",
        ice_breakers: true,
        match_kind: MatchKind::PrefillCode,
        fallback: &[MatchKind::ChannelRef, MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::Messenger,
        name: "Messenger",
        link: "https://m.me/<address>?ref=<token>",
        other_link: "",
        ice_breakers: true,
        match_kind: MatchKind::ClickToken,
        fallback: &[MatchKind::ChannelRef, MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::InstagramDirect,
        name: "Instagram Direct",
        link: "https://ig.me/m/<address>?ref=<token>",
        other_link: "",
        ice_breakers: true,
        match_kind: MatchKind::ClickToken,
        fallback: &[MatchKind::ChannelRef, MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::AppleMessages,
        name: "Apple Messages for Business",
        link: "https://bcrw.apple.com/<address>?body=<text> <code>",
        other_link: "",
        ice_breakers: false,
        match_kind: MatchKind::PrefillCode,
        fallback: &[MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::Rcs,
        name: "RCS for Business",
        link: "sms:<address>@rbm.goog?body=<text> [<code>]",
        other_link: "sms:+<number>?service_id=<agent>@rbm.goog&body=<text> [<code>]",
        ice_breakers: false,
        match_kind: MatchKind::PrefillCode,
        fallback: &[MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::Telegram,
        name: "Telegram",
        link: "https://t.me/<address>?start=<token>",
        other_link: "",
        ice_breakers: false,
        match_kind: MatchKind::ClickToken,
        fallback: &[MatchKind::OnlyTap],
    },
    Traits {
        channel: Channel::Line,
        name: "LINE",
        link: "https://line.me/R/oaMessage/<address>/?<text> [<code>]",
        other_link: "",
        ice_breakers: false,
        match_kind: MatchKind::PrefillCode,
        fallback: &[MatchKind::OnlyTap],
    },
];

/// Returns what a channel can.
pub fn traits(channel: Channel) -> &'static Traits {
    &TRAITS[channel as usize - 1]
}

impl Traits {
    /// Returns the longest prefilled text, its code included, in characters; 0: the channel prefills
    /// nothing.
    pub const fn prefill_chars_max(&self) -> usize {
        if returns_token(self.channel) { 0 } else { PREFILL_CHARS_MAX }
    }
}

/// Why ice breakers were refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum IceBreakerError {
    /// The channel shows none.
    #[error("{0} shows no ice breakers: leave them out")]
    Unsupported(&'static str),
    /// They would never be seen.
    #[error("a prefilled text hides ice breakers on WhatsApp: send one of the two")]
    Hidden,
}

/// Checks that people who follow a link of this channel would see its ice breakers.
pub fn check_ice_breakers(
    channel: Channel,
    has_text: bool,
    count: usize,
) -> Result<(), IceBreakerError> {
    let traits = traits(channel);
    match (count > 0, traits.ice_breakers) {
        (false, _) => Ok(()),
        (true, false) => Err(IceBreakerError::Unsupported(traits.name)),
        (true, true) if has_text && hides_ice_breakers(channel) => Err(IceBreakerError::Hidden),
        (true, true) => Ok(()),
    }
}

/// Tells whether a prefilled text, a bare code too, hides the channel's ice breakers: a link for an ad that
/// has them then prefills nothing, and its conversations are matched as [`Traits::fallback`] says.
pub fn hides_ice_breakers(channel: Channel) -> bool {
    traits(channel).ice_breakers && !returns_token(channel)
}

/// Returns the table of all channels in Markdown, as README has it.
pub fn table() -> String {
    let mut lines = String::from(
        "| Channel | Chat link | Comes back by itself | Prefilled text, at most | Ice breakers | \
         Matched by | Else by |\n|---|---|---|---|---|---|---|\n",
    );
    for traits in &TRAITS {
        let mut link = format!("`{}`", traits.link);
        if !traits.other_link.is_empty() {
            link.push_str(&format!(", with a number for SMS `{}`", traits.other_link));
        }
        let returned = if returns_token(traits.channel) { "the token" } else { "nothing" };
        let prefill = match traits.prefill_chars_max() {
            0 => "none".to_owned(),
            most => format!("{most} characters, the code included"),
        };
        let hides = hides_ice_breakers(traits.channel);
        let ice_breakers = match (traits.ice_breakers, hides) {
            (false, _) => "none".to_owned(),
            (true, hides) => {
                let but = if hides { "; a prefilled text hides them" } else { "" };
                format!("{ICE_BREAKERS_MAX} of {ICE_BREAKER_CHARS_MAX} characters{but}")
            }
        };
        let fallback: Vec<_> = traits.fallback.iter().map(|kind| words(*kind)).collect();
        let columns = [
            traits.name,
            &link,
            returned,
            &prefill,
            &ice_breakers,
            words(traits.match_kind),
            &fallback.join(", then "),
        ];
        lines.push_str(&format!("| {} |\n", columns.join(" | ")));
    }
    lines
}

/// Returns what a step of matching is called in the table.
const fn words(kind: MatchKind) -> &'static str {
    match kind {
        MatchKind::Unspecified => "nothing",
        MatchKind::ClickToken => "click token",
        MatchKind::PrefillCode => "prefill code",
        MatchKind::ChannelRef => "the channel's referral",
        MatchKind::SourceCode => "source code",
        MatchKind::OnlyTap => "the only tap",
        MatchKind::Viewer => "the viewer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{LinkParts, chat_link};

    const BEGIN: &str = "<!-- channels: printed by src/channels/traits.rs -->\n";
    const END: &str = "<!-- channels: end -->\n";

    #[test]
    fn the_readme_has_the_table_that_the_code_prints() {
        let readme = include_str!("../../README.md");
        let block = readme.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let (block, _) = block.expect("README.md has the two markers of the table of channels");
        let table = table();
        assert!(block == table, "put this between the markers of README.md:\n{table}");
    }

    #[test]
    fn the_stated_form_of_a_link_is_the_one_that_is_built() {
        let token = "A-_9".repeat(16);
        let parts = LinkParts { token: &token, code: "7ZK4M0Q9XA", text: "Hola" };
        let addresses = [
            "5215512345678",
            "shop",
            "shop",
            "urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6",
            "my_agent",
            "ShopBot",
            "@shop",
        ];
        let stated = |form: &str, address: &str| {
            let values = [("<address>", address), ("<token>", &token), ("<text>", "Hola")];
            let filled =
                values.iter().fold(form.to_owned(), |it, (name, value)| it.replace(name, value));
            let filled =
                filled.replace("<code>", "7ZK4M0Q9XA").replace(' ', "%20").replace('@', "%40");
            filled.replace('[', "%5B").replace(']', "%5D")
        };
        for (traits, address) in TRAITS.iter().zip(addresses) {
            assert_eq!(chat_link(traits.channel, address, &parts), stated(traits.link, address));
        }
        let form = TRAITS[4].other_link.replace("<number>", "5215512345678");
        let link = chat_link(Channel::Rcs, "5215512345678/my_agent", &parts);
        assert_eq!(link, stated(&form.replace("<agent>", "my_agent"), ""));
    }

    #[test]
    fn every_channel_has_its_row_and_ends_with_the_only_tap() {
        for (channel, row) in Channel::ALL.into_iter().zip(&TRAITS) {
            assert_eq!((row.channel, traits(channel).name), (channel, row.name));
            let kind =
                if returns_token(channel) { MatchKind::ClickToken } else { MatchKind::PrefillCode };
            assert_eq!(row.match_kind, kind);
            assert_eq!(row.fallback.last(), Some(&MatchKind::OnlyTap));
        }
    }

    #[test]
    fn ice_breakers_are_taken_only_where_they_would_be_seen() {
        use IceBreakerError::{Hidden, Unsupported};
        let check = check_ice_breakers;
        assert_eq!(check(Channel::Whatsapp, false, 4), Ok(()));
        assert_eq!(check(Channel::Whatsapp, true, 1), Err(Hidden));
        assert_eq!(check(Channel::Whatsapp, true, 0), Ok(()));
        assert_eq!(check(Channel::Messenger, true, 1), Ok(()), "it prefills nothing");
        assert_eq!(check(Channel::Line, false, 1), Err(Unsupported("LINE")));
        assert_eq!(check(Channel::Line, true, 0), Ok(()));
    }
}
