//! Chat links: written with what a click needs to be known again, and what of it comes back.

use std::borrow::Cow;

use crate::channels::address::split_agent;
use crate::channels::cut::cut;
use crate::channels::percent::push_encoded;
use crate::channels::{Channel, find_code, returns_token};
use crate::types::token::PrefillCode;

/// The longest prefilled text, its code included, in characters: WhatsApp's limit for QR codes (FACTS,
/// "Chat links"), kept on every channel.
pub const PREFILL_CHARS_MAX: usize = 140;

/// The longest text an advertiser may prefill: what a space, two brackets and the code leave.
pub const PREFILL_TEXT_CHARS_MAX: usize = PREFILL_CHARS_MAX - 13;

/// Characters of what a channel hands back by itself: Telegram takes no more (FACTS, "Chat links").
const TOKEN_CHARS: usize = 64;

/// The domain of RCS agents, its @ already encoded.
pub(super) const RCS_DOMAIN: &str = "%40rbm.goog";

/// Characters that Apple allows in no value, not even encoded.
pub(super) const APPLE_FORBIDDEN: &str = "&#[](){}/";

/// What a chat link carries. The channel decides which of them it can.
#[derive(Clone, Copy, Debug)]
pub struct LinkParts<'a> {
    /// The sealed click token, 64 characters. Empty: there is no click, and the code stands in its place.
    pub token: &'a str,
    /// The prefill code of the click or of the source, 10 characters. Empty, and no text: the link only
    /// opens the chat, and prefills nothing.
    pub code: &'a str,
    /// The advertiser's text for the user's first message. Of a text longer than
    /// [`PREFILL_TEXT_CHARS_MAX`] the end is left out, never the code.
    pub text: &'a str,
}

/// What a link or a first message gives back of a click.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FoundClick<'a> {
    /// The click token, to be opened.
    Token(&'a str),
    /// The prefill code of a click or source, to be looked up.
    Code(PrefillCode),
}

/// Returns the link that opens a chat with `address`, which `validate_address` has accepted.
pub fn chat_link(channel: Channel, address: &str, parts: &LinkParts) -> String {
    let value = if returns_token(channel) {
        Cow::Borrowed(if parts.token.is_empty() { parts.code } else { parts.token })
    } else {
        Cow::Owned(prefill(channel, parts))
    };
    let mut link = String::from(head(channel));
    let mut name = parameter_name(channel);
    match channel {
        // Its colons belong to the path and stay as they are.
        Channel::AppleMessages => link.push_str(address),
        Channel::Rcs => {
            if push_agent(&mut link, address) {
                name = "&body=";
            }
        }
        Channel::Line => {
            push_encoded(&mut link, address);
            link.push('/');
        }
        Channel::Whatsapp | Channel::Messenger | Channel::InstagramDirect | Channel::Telegram => {
            push_encoded(&mut link, address)
        }
    }
    if !value.is_empty() {
        link.push_str(name);
        push_encoded(&mut link, &value);
    }
    link
}

/// Returns what of a click comes back through a channel: from the chat link that was opened, from the
/// referral that the channel reported, or from the first message. A door that holds a user's message
/// calls `find_code` instead, which copies none of it.
pub fn find_click(channel: Channel, link_or_text: &str) -> Option<FoundClick<'_>> {
    if !returns_token(channel) {
        let code = match super::prefilled_text(channel, link_or_text) {
            Some(text) => find_code(&text),
            None => find_code(link_or_text),
        };
        return code.map(FoundClick::Code);
    }
    let value = match link_or_text.strip_prefix(head(channel)) {
        Some(rest) => returned(channel, rest.split_once('?')?.1)?,
        // Telegram reports the referral as the bot's first command.
        None => link_or_text.strip_prefix("/start ").unwrap_or(link_or_text),
    };
    if is_token(value) {
        return Some(FoundClick::Token(value));
    }
    // A source's code, where there was no click.
    value.parse().ok().map(FoundClick::Code)
}

/// Returns what every link of a channel begins with: nothing that an address adds can change the host.
pub(super) const fn head(channel: Channel) -> &'static str {
    match channel {
        Channel::Whatsapp => "https://wa.me/",
        Channel::Messenger => "https://m.me/",
        Channel::InstagramDirect => "https://ig.me/m/",
        Channel::AppleMessages => "https://bcrw.apple.com/",
        Channel::Rcs => "sms:",
        Channel::Telegram => "https://t.me/",
        Channel::Line => "https://line.me/R/oaMessage/",
    }
}

const fn parameter_name(channel: Channel) -> &'static str {
    match channel {
        Channel::Whatsapp => "?text=",
        Channel::Messenger | Channel::InstagramDirect => "?ref=",
        Channel::AppleMessages | Channel::Rcs => "?body=",
        Channel::Telegram => "?start=",
        Channel::Line => "?",
    }
}

/// Returns what a query says that the channel hands back by itself.
pub(super) fn returned(channel: Channel, query: &str) -> Option<&str> {
    parameter(query, if channel == Channel::Telegram { "start" } else { "ref" })
}

/// Appends an RCS address, and tells whether it began the query: with a number, phones without RCS send an
/// SMS to it instead.
fn push_agent(link: &mut String, address: &str) -> bool {
    let (number, agent) = split_agent(address);
    if let Some(number) = number {
        link.push('+');
        push_encoded(link, number);
        link.push_str("?service_id=");
    }
    push_encoded(link, agent);
    link.push_str(RCS_DOMAIN);
    number.is_some()
}

/// Returns the advertiser's text as the channel takes it.
pub(super) fn fitted(channel: Channel, text: &str) -> Cow<'_, str> {
    if channel != Channel::AppleMessages {
        return Cow::Borrowed(cut(text.trim(), PREFILL_TEXT_CHARS_MAX));
    }
    let allowed = text.replace(|c| APPLE_FORBIDDEN.contains(c), " ");
    let words: Vec<_> = allowed.split_whitespace().collect();
    Cow::Owned(cut(&words.join(" "), PREFILL_TEXT_CHARS_MAX).to_owned())
}

/// Returns the advertiser's text with the code behind it.
fn prefill(channel: Channel, parts: &LinkParts) -> String {
    let text = fitted(channel, parts.text);
    if parts.code.is_empty() {
        return text.into_owned();
    }
    let space = if text.is_empty() { "" } else { " " };
    let (open, close) = if channel == Channel::AppleMessages { ("", "") } else { ("[", "]") };
    [&text, space, open, parts.code, close].concat()
}

pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Tells whether a text can be a click token: its length is the room that Telegram gives.
pub(super) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_CHARS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{prefilled_text, validate_address};

    const TOKEN: &str = "AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
    const CODE: &str = "7ZK4M0Q9XA";
    const TEXT: &str = "¿50 % off (today) & more?";
    const ENCODED: &str = "%C2%BF50%20%25%20off%20%28today%29%20%26%20more%3F%20%5B7ZK4M0Q9XA%5D";
    const PARTS: LinkParts = LinkParts { token: TOKEN, code: CODE, text: TEXT };
    const APPLE: &str = "urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6";

    const ADDRESSES: [(Channel, &str); 8] = [
        (Channel::Whatsapp, "5215512345678"),
        (Channel::Messenger, "my.shop"),
        (Channel::InstagramDirect, "my_shop"),
        (Channel::AppleMessages, APPLE),
        (Channel::Rcs, "my_agent"),
        (Channel::Rcs, "5215512345678/my_agent"),
        (Channel::Telegram, "ShopBot"),
        (Channel::Line, "@012abcde"),
    ];

    #[test]
    fn each_channel_has_its_own_link() {
        let apple = "%C2%BF50%20%25%20off%20today%20more%3F%207ZK4M0Q9XA";
        let links = [
            format!("https://wa.me/5215512345678?text={ENCODED}"),
            format!("https://m.me/my.shop?ref={TOKEN}"),
            format!("https://ig.me/m/my_shop?ref={TOKEN}"),
            format!("https://bcrw.apple.com/{APPLE}?body={apple}"),
            format!("sms:my_agent%40rbm.goog?body={ENCODED}"),
            format!("sms:+5215512345678?service_id=my_agent%40rbm.goog&body={ENCODED}"),
            format!("https://t.me/ShopBot?start={TOKEN}"),
            format!("https://line.me/R/oaMessage/%40012abcde/?{ENCODED}"),
        ];
        for ((channel, address), link) in ADDRESSES.into_iter().zip(links) {
            assert_eq!(validate_address(channel, address), Ok(()));
            assert_eq!(chat_link(channel, address, &PARTS), link);
        }
    }

    #[test]
    fn each_link_gives_its_click_back() {
        for (channel, address) in ADDRESSES {
            let link = chat_link(channel, address, &PARTS);
            let click = if returns_token(channel) {
                FoundClick::Token(TOKEN)
            } else {
                FoundClick::Code(CODE.parse().unwrap())
            };
            assert_eq!(find_click(channel, &link), Some(click), "{link}");
            let sent = prefilled_text(channel, &link);
            assert_eq!(sent.is_none(), returns_token(channel));
            let source = chat_link(channel, address, &LinkParts { token: "", ..PARTS });
            let code = Some(FoundClick::Code(CODE.parse().unwrap()));
            assert_eq!(find_click(channel, &source), code, "{source}");
            if let Some(sent) = sent {
                assert_eq!(find_click(channel, &sent), Some(click), "{sent}");
            }
        }
    }

    #[test]
    fn a_reported_referral_gives_its_token_and_nothing_else_does() {
        let start = format!("/start {TOKEN}");
        let other = format!("https://t.me/ShopBot?startapp={TOKEN}");
        for (channel, text, found) in [
            (Channel::Messenger, TOKEN, true),
            (Channel::Telegram, &start, true),
            (Channel::Telegram, "https://t.me/ShopBot", false),
            (Channel::Telegram, &other, false),
            (Channel::Telegram, "/start", false),
            (Channel::Messenger, &TOKEN[1..], false),
            (Channel::Messenger, "hello", false),
            (Channel::Whatsapp, TOKEN, false),
            (Channel::Whatsapp, "https://wa.me/5215512345678", false),
        ] {
            let click = found.then_some(FoundClick::Token(TOKEN));
            assert_eq!(find_click(channel, text), click, "{channel:?} {text}");
        }
    }

    #[test]
    fn a_long_text_loses_its_end_and_never_its_code() {
        for (channel, address) in
            ADDRESSES.into_iter().filter(|(channel, _)| !returns_token(*channel))
        {
            for length in [0, 1, PREFILL_TEXT_CHARS_MAX, PREFILL_TEXT_CHARS_MAX + 1, 500] {
                let text = "ñ".repeat(length);
                let link = chat_link(channel, address, &LinkParts { text: &text, ..PARTS });
                let sent = prefilled_text(channel, &link).unwrap();
                assert!(sent.chars().count() <= PREFILL_CHARS_MAX);
                assert_eq!(sent.matches('ñ').count(), length.min(PREFILL_TEXT_CHARS_MAX));
                assert_eq!(find_code(&sent), CODE.parse().ok());
                assert!(!sent.starts_with(' '));
            }
        }
    }

    #[test]
    fn no_forbidden_character_reaches_apple() {
        let text = "a&b#c[d](e){f}/g  h";
        let link = chat_link(Channel::AppleMessages, APPLE, &LinkParts { text, ..PARTS });
        let sent = prefilled_text(Channel::AppleMessages, &link).unwrap();
        assert_eq!(sent, "a b c d e f g h 7ZK4M0Q9XA");
    }
}
