//! The click in what a platform says of where a person came from.

use crate::channels::{Channel, FoundClick, find_click, find_code};

/// The part of a path behind which our own links carry their token: `https://…/c/<token>`.
const REDIRECT: &str = "/c/";

/// Returns what of a click stands in the address or `ref` that was followed: a token that can be opened, or
/// a code that can be looked up. Whether it is one of ours, the seal or the look-up tells.
pub fn find_in_source(channel: Channel, source: &str) -> Option<FoundClick<'_>> {
    if let Some(found) = Channel::ALL.iter().find_map(|channel| of_link(*channel, source)) {
        return Some(found);
    }
    let address = source.strip_prefix("https://").or_else(|| source.strip_prefix("http://"));
    match address {
        // The host may be any that forwards to us.
        Some(address) => address.split_once(REDIRECT).and_then(|(_, token)| of_token(token)),
        None => of_ref(channel, source),
    }
}

/// Reads a chat link of one channel.
fn of_link(channel: Channel, source: &str) -> Option<FoundClick<'_>> {
    let links = source.starts_with("https://") || source.starts_with("sms:");
    let found = links.then(|| find_click(channel, source)).flatten()?;
    // Not of this channel's form, the whole address was looked through.
    let is_link = crate::channels::prefilled_text(channel, source).is_some();
    (is_link || matches!(found, FoundClick::Token(_))).then_some(found)
}

fn of_token(rest: &str) -> Option<FoundClick<'_>> {
    let end = rest.find(['/', '?', '#', '&']).unwrap_or(rest.len());
    match find_click(Channel::Telegram, &rest[..end]) {
        Some(FoundClick::Token(token)) => Some(FoundClick::Token(token)),
        _ => None,
    }
}

fn of_ref(channel: Channel, source: &str) -> Option<FoundClick<'_>> {
    match find_click(channel, source) {
        Some(FoundClick::Token(token)) => Some(FoundClick::Token(token)),
        _ => find_code(source).map(FoundClick::Code),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::{LinkParts, chat_link};

    const TOKEN: &str = "AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
    const CODE: &str = "7ZK4M0Q9XA";

    #[test]
    fn a_click_is_found_in_links_of_ours_and_of_channels() {
        let code = || Some(FoundClick::Code(CODE.parse().unwrap()));
        let token = Some(FoundClick::Token(TOKEN));
        for (source, found) in [
            (format!("https://ads.example/c/{TOKEN}"), token),
            (format!("https://ads.example/c/{TOKEN}?fbclid=x"), token),
            (format!("https://wa.me/5215512345678?text=Hi%20%5B{CODE}%5D"), code()),
            (format!("https://m.me/shop?ref={TOKEN}"), token),
            (format!("https://t.me/ShopBot?start={TOKEN}"), token),
            (TOKEN.to_owned(), token),
            (CODE.to_owned(), code()),
            (format!("https://ads.example/c/{CODE}"), None),
            ("https://fb.me/2AbCdEfGhI".to_owned(), None),
            ("https://example.com/7ZK4M0Q9XA".to_owned(), None),
            ("AD_OR_POST_FB_URL".to_owned(), None),
            (String::new(), None),
        ] {
            let channel = Channel::Messenger;
            assert_eq!(find_in_source(channel, &source), found, "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_source_is_read_without_a_panic(source: String, head in 0usize..10) {
            let heads = ["", "https://wa.me/", "https://m.me/", "https://ig.me/m/", "sms:",
                "https://bcrw.apple.com/", "https://t.me/", "https://line.me/R/oaMessage/",
                "https://a/c/", "http://"];
            let _ = find_in_source(Channel::Whatsapp, &format!("{}{source}", heads[head]));
        }

        #[test]
        fn what_a_link_carries_is_found_again(text in "[a-zA-Z0-9 ñ]{0,40}") {
            let parts = LinkParts { token: TOKEN, code: CODE, text: &text };
            for (channel, address) in
                [(Channel::Whatsapp, "5215512345678"), (Channel::Messenger, "shop")]
            {
                let link = chat_link(channel, address, &parts);
                prop_assert!(find_in_source(channel, &link).is_some());
            }
        }
    }
}
