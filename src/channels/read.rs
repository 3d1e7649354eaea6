//! Chat links read back: the inverse of writing them. Whatever bytes come in, nothing here fails.

use crate::channels::link::{RCS_DOMAIN, head, is_token, parameter, returned};
use crate::channels::percent::decode;
use crate::channels::{Channel, returns_token, validate_address};
use crate::types::token::PrefillCode;

/// What a chat link says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    /// Whom it opens a chat with; `validate_address` accepts it.
    pub address: String,
    /// The click token, 64 characters. Empty: there is none.
    pub token: String,
    /// The prefill code of a click or source, as it is printed. Empty: there is none.
    pub code: String,
    /// The text before the code.
    pub text: String,
}

/// Returns the parts of a link of a channel, or `None` for a link that is none of its.
pub fn parse_link(channel: Channel, link: &str) -> Option<Parts> {
    let rest = link.strip_prefix(head(channel))?;
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, q)| (path, Some(q)));
    let address = match channel {
        Channel::Rcs => agent(path, query)?,
        Channel::Line => decode(path.strip_suffix('/')?),
        Channel::Whatsapp
        | Channel::Messenger
        | Channel::InstagramDirect
        | Channel::AppleMessages
        | Channel::Telegram => decode(path),
    };
    validate_address(channel, &address).ok()?;
    let mut parts = Parts { address, ..Parts::default() };
    if returns_token(channel) {
        let value = query.and_then(|query| returned(channel, query)).unwrap_or_default();
        if is_token(value) {
            value.clone_into(&mut parts.token);
        } else if is_code(value) {
            value.clone_into(&mut parts.code);
        }
        return Some(parts);
    }
    let sent = prefilled_text(channel, link).unwrap_or_default();
    let (text, code) = split_code(channel, &sent);
    text.clone_into(&mut parts.text);
    code.clone_into(&mut parts.code);
    Some(parts)
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

/// Tells whether a link leads to one of the channels and to nowhere else, in the characters of a URL: what
/// a redirect may forward to.
pub fn is_chat_link(link: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%?=&+:/@".contains(&byte);
    link.bytes().all(allowed) && Channel::ALL.into_iter().any(|it| parse_link(it, link).is_some())
}

/// Returns the agent that an RCS link names, with its number if there is one.
fn agent(path: &str, query: Option<&str>) -> Option<String> {
    let bare = |encoded: &str| encoded.strip_suffix(RCS_DOMAIN).map(decode);
    let Some(number) = path.strip_prefix('+') else {
        return bare(path);
    };
    let agent = bare(parameter(query?, "service_id")?)?;
    Some([&decode(number), "/", &agent].concat())
}

/// Splits what a link prefills into the advertiser's text and the code behind it.
fn split_code(channel: Channel, sent: &str) -> (&str, &str) {
    let (text, code) = if channel == Channel::AppleMessages {
        sent.rsplit_once(' ').unwrap_or(("", sent))
    } else {
        let inside = sent.strip_suffix(']').and_then(|sent| sent.rsplit_once('['));
        inside.map_or((sent, ""), |(text, code)| (text.strip_suffix(' ').unwrap_or(text), code))
    };
    if is_code(code) { (text, code) } else { (sent, "") }
}

/// Tells whether a text is a code as it is printed.
fn is_code(text: &str) -> bool {
    text.parse().is_ok_and(|code: PrefillCode| code.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::link::{APPLE_FORBIDDEN, fitted};
    use crate::channels::{FoundClick, LinkParts, chat_link, find_click, find_code};
    use crate::channels::{PREFILL_CHARS_MAX, PREFILL_TEXT_CHARS_MAX};

    /// Executions of each property; more by `PROPTEST_CASES`, which proptest reads when it runs. The web tests
    /// change links by the million.
    fn config() -> ProptestConfig {
        ProptestConfig::with_cases(ProptestConfig::default().cases.max(500))
    }

    /// A channel and an address that it takes.
    fn endpoint() -> impl Strategy<Value = (Channel, String)> {
        let uuid = "urn:biz:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let of = |channel: Channel, form: &'static str| form.prop_map(move |it| (channel, it));
        prop_oneof![
            of(Channel::Whatsapp, "[1-9][0-9]{7,14}"),
            of(Channel::Messenger, "[A-Za-z0-9.-]{1,100}"),
            of(Channel::InstagramDirect, "[A-Za-z0-9._]{1,30}"),
            of(Channel::AppleMessages, uuid),
            of(Channel::Rcs, "[A-Za-z0-9_-]{1,100}"),
            of(Channel::Rcs, "[1-9][0-9]{7,14}/[A-Za-z0-9_-]{1,100}"),
            of(Channel::Telegram, "[A-Za-z][A-Za-z0-9_]{4,31}"),
            of(Channel::Line, "@[a-z0-9._-]{3,20}"),
        ]
    }

    /// Texts of every script, hostile ones, and the longest there may be.
    fn text() -> impl Strategy<Value = String> {
        let most = PREFILL_TEXT_CHARS_MAX;
        let whole = |script: &str| script.chars().cycle().take(most).collect::<String>();
        prop_oneof![
            any::<String>(),
            "[\\p{Arabic} ]{1,160}",
            "[\\p{Devanagari} ]{1,160}",
            "[&#?=%+/\\\\@:;,<>\"'\\[\\](){} .\u{0}\r\n-]{0,160}",
            Just(whole("مرحبا، أريد أن أسأل عن العرض ")),
            Just(whole("नमस्ते, मुझे ऑफ़र के बारे में पूछना है ")),
            Just(whole("Olá! Quero saber mais sobre a promoção de amanhã ")),
            Just(whole("👩‍👩‍👧🇲🇽👍🏽🌮")),
            Just("x".repeat(1_000)),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn every_link_gives_its_parts_back(
            (channel, address) in endpoint(),
            token in "[A-Za-z0-9_-]{64}",
            number in 0u64..1 << 50,
            text in text(),
            (has_token, has_code) in any::<(bool, bool)>(),
        ) {
            let code = PrefillCode::from_number(number).unwrap().to_string();
            let token = if has_token { &*token } else { "" };
            let code = if has_code { &*code } else { "" };
            let text = if has_code { &*text } else { "" };
            let link = chat_link(channel, &address, &LinkParts { token, code, text });
            let returned = returns_token(channel);
            let expected = Parts {
                address,
                token: if returned { token.to_owned() } else { String::new() },
                code: if returned && has_token { String::new() } else { code.to_owned() },
                text: if returned { String::new() } else { fitted(channel, text).into_owned() },
            };
            prop_assert_eq!(parse_link(channel, &link), Some(expected));
            prop_assert!(is_chat_link(&link), "{}", link);
            for other in Channel::ALL.into_iter().filter(|other| *other != channel) {
                prop_assert_eq!(parse_link(other, &link), None);
            }
        }

        #[test]
        fn every_link_stays_inside_its_channels_limits(
            (channel, address) in endpoint(),
            number in 0u64..1 << 50,
            text in text(),
        ) {
            let code = PrefillCode::from_number(number).unwrap();
            let (token, printed) = ("A-_9".repeat(16), code.to_string());
            let parts = LinkParts { token: &token, code: &printed, text: &text };
            let link = chat_link(channel, &address, &parts);
            let is_url = |byte: u8| (0x21..0x7F).contains(&byte) && !b"\"<>\\^`{|}#[]".contains(&byte);
            prop_assert!(link.bytes().all(is_url), "{}", link);
            match prefilled_text(channel, &link) {
                None => prop_assert_eq!(find_click(channel, &link), Some(FoundClick::Token(&token))),
                Some(sent) => {
                    prop_assert!(sent.chars().count() <= PREFILL_CHARS_MAX);
                    let apple = channel == Channel::AppleMessages;
                    prop_assert!(!apple || !sent.contains(|it| APPLE_FORBIDDEN.contains(it)));
                    // A code of digits alone is told only inside brackets.
                    let digits = apple && printed.bytes().all(|byte| byte.is_ascii_digit());
                    prop_assert_eq!(find_code(&sent), (!digits).then_some(code));
                    let end = if apple { &*printed } else { "]" };
                    prop_assert!(sent.ends_with(end));
                }
            }
        }

        #[test]
        fn no_link_that_leads_elsewhere_may_be_forwarded_to(
            host in "[a-z0-9.@:%/\\\\-]{0,30}",
            (channel, address) in endpoint(),
            cut in 0usize..40,
        ) {
            let good = chat_link(channel, &address, &LinkParts { token: "", code: "", text: "" });
            let at = cut.min(good.len());
            let (before, behind) = good.split_at(at);
            let spoiled = [before, &*host, behind].concat();
            let ours = ["wa.me/", "m.me/", "ig.me/m/", "bcrw.apple.com/", "t.me/", "line.me/R/oaMessage/"];
            let https = ours.iter().any(|it| {
                let rest = spoiled.strip_prefix("https://");
                rest.is_some_and(|rest| rest.starts_with(it))
            });
            if is_chat_link(&spoiled) {
                prop_assert!(https || spoiled.starts_with("sms:"), "{}", spoiled);
            }
        }

        #[test]
        fn whatever_bytes_come_in_reading_never_fails(bytes: Vec<u8>, at in 0usize..7) {
            let channel = Channel::ALL[at];
            let link = String::from_utf8_lossy(&bytes);
            read_all(channel, &link);
            read_all(channel, &[head(channel), &link].concat());
        }
    }

    fn read_all(channel: Channel, link: &str) {
        if let Some(parts) = parse_link(channel, link) {
            assert_eq!(validate_address(channel, &parts.address), Ok(()));
            assert!(parts.token.is_empty() || is_token(&parts.token));
            assert!(parts.code.is_empty() || is_code(&parts.code));
        }
        let _ = (find_click(channel, link), prefilled_text(channel, link), is_chat_link(link));
    }

    #[test]
    fn links_of_others_are_none_of_ours() {
        for (channel, link) in [
            (Channel::Whatsapp, "https://wa.me/"),
            (Channel::Whatsapp, "https://wa.me/message/ABCDEF"),
            (Channel::Whatsapp, "http://wa.me/5215512345678"),
            (Channel::Whatsapp, "https://wa.me.evil.example/5215512345678"),
            (Channel::Whatsapp, "https://wa.me@evil.example/5215512345678"),
            (Channel::Messenger, "https://m.me/shop/other"),
            (Channel::Messenger, "https://m.me/%2F%2Fevil.example"),
            (Channel::Rcs, "sms:+5215512345678"),
            (Channel::Rcs, "sms:+5215512345678?body=x"),
            (Channel::Rcs, "sms:my_agent%40evil.example"),
            (Channel::Line, "https://line.me/R/oaMessage/%40shop"),
            (Channel::Telegram, "https://t.me/joinchat/abcdef"),
        ] {
            assert_eq!(parse_link(channel, link), None, "{link}");
            assert!(!is_chat_link(link), "{link}");
        }
        assert!(!is_chat_link("javascript:alert(1)"));
        assert!(!is_chat_link("https://wa.me/5215512345678?text=a\r\nSet-Cookie: x"));
    }
}
