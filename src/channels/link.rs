//! Chat links: written with what a click needs to be known again, and read back.

use std::borrow::Cow;

use crate::channels::address::split_agent;
use crate::channels::percent::{decode, push_encoded};
use crate::channels::{Channel, find_code, returns_token};
use crate::types::token::PrefillCode;

/// The longest prefilled text, its code included, in characters: WhatsApp's limit for QR codes.
pub const PREFILL_CHARS_MAX: usize = 140;

/// The longest text an advertiser may prefill: what a space, two brackets and the code leave.
pub const PREFILL_TEXT_CHARS_MAX: usize = PREFILL_CHARS_MAX - 13;

/// The domain of RCS agents, its @ already encoded.
const RCS_DOMAIN: &str = "%40rbm.goog";

/// Characters that Apple allows in no value, not even encoded.
const APPLE_FORBIDDEN: &str = "&#[](){}/";

/// What a chat link carries. The channel decides which of them it can.
#[derive(Clone, Copy, Debug)]
pub struct LinkParts<'a> {
    /// The sealed click token, 64 characters.
    pub token: &'a str,
    /// The prefill code, 10 characters.
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
    /// The prefill code, to be looked up.
    Code(PrefillCode),
}

/// Returns the link that opens a chat with `address`, which `validate_address` has accepted.
pub fn chat_link(channel: Channel, address: &str, parts: &LinkParts) -> String {
    let value = if returns_token(channel) {
        Cow::Borrowed(parts.token)
    } else {
        Cow::Owned(prefill(channel, parts))
    };
    let mut link = String::from(head(channel));
    match channel {
        Channel::Whatsapp => push_with(&mut link, address, "?text="),
        Channel::Messenger | Channel::InstagramDirect => push_with(&mut link, address, "?ref="),
        Channel::AppleMessages => {
            // Its colons belong to the path and stay as they are.
            link.push_str(address);
            link.push_str("?body=");
        }
        Channel::Rcs => push_agent(&mut link, address),
        Channel::Telegram => push_with(&mut link, address, "?start="),
        Channel::Line => push_with(&mut link, address, "/?"),
    }
    push_encoded(&mut link, &value);
    link
}

/// Returns the text that opening the link puts into the user's message box, or `None` for a link of
/// another channel or one that prefills nothing.
pub fn prefilled_text(channel: Channel, link: &str) -> Option<String> {
    let query = link.strip_prefix(head(channel))?.split_once('?')?.1;
    let value = match channel {
        Channel::Whatsapp => parameter(query, "text"),
        Channel::AppleMessages | Channel::Rcs => parameter(query, "body"),
        Channel::Line => Some(query),
        Channel::Messenger | Channel::InstagramDirect | Channel::Telegram => None,
    };
    value.map(decode)
}

/// Returns what of a click comes back through a channel: from the chat link that was opened, from the
/// referral that the channel reported, or from the first message. A door that holds a user's message
/// calls `find_code` instead, which copies none of it.
pub fn find_click(channel: Channel, link_or_text: &str) -> Option<FoundClick<'_>> {
    if !returns_token(channel) {
        let code = match prefilled_text(channel, link_or_text) {
            Some(text) => find_code(&text),
            None => find_code(link_or_text),
        };
        return code.map(FoundClick::Code);
    }
    let token = match link_or_text.strip_prefix(head(channel)) {
        Some(rest) => {
            let name = if channel == Channel::Telegram { "start" } else { "ref" };
            parameter(rest.split_once('?')?.1, name)?
        }
        // Telegram reports the referral as the bot's first command.
        None => link_or_text.strip_prefix("/start ").unwrap_or(link_or_text),
    };
    is_token(token).then_some(FoundClick::Token(token))
}

fn head(channel: Channel) -> &'static str {
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

fn push_with(link: &mut String, address: &str, tail: &str) {
    push_encoded(link, address);
    link.push_str(tail);
}

/// Appends an RCS address: with a number, phones without RCS send an SMS to it instead.
fn push_agent(link: &mut String, address: &str) {
    let (number, agent) = split_agent(address);
    if let Some(number) = number {
        link.push('+');
        push_with(link, number, "?service_id=");
    }
    push_with(link, agent, RCS_DOMAIN);
    link.push_str(if number.is_some() { "&body=" } else { "?body=" });
}

/// Returns the advertiser's text with the code behind it.
fn prefill(channel: Channel, parts: &LinkParts) -> String {
    let text = parts.text.trim();
    if channel == Channel::AppleMessages {
        let allowed = text.replace(|c| APPLE_FORBIDDEN.contains(c), " ");
        let words: Vec<_> = allowed.split_whitespace().collect();
        return format!("{} {}", cut(&words.join(" ")), parts.code).trim_start().to_owned();
    }
    let text = cut(text);
    let space = if text.is_empty() { "" } else { " " };
    [text, space, "[", parts.code, "]"].concat()
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(PREFILL_TEXT_CHARS_MAX).map_or(text.len(), |(end, _)| end);
    text[..end].trim_end()
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Tells whether a text can be a click token: its length is the room that Telegram gives.
fn is_token(text: &str) -> bool {
    text.len() == 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::validate_address;

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
