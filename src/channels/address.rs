//! What a business's address looks like on each channel.

use thiserror::Error;

use crate::channels::Channel;

/// Why an address was refused: what one of its channel looks like.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AddressError {
    /// Not an E.164 number.
    #[error(
        "give the number in E.164 without plus sign or spaces: 8 to 15 digits, such as 5215512345678"
    )]
    Number,
    /// Not a Facebook page.
    #[error("give the page's user name or number: 1 to 100 letters, digits, dots or hyphens")]
    Page,
    /// Not an Instagram account.
    #[error("give the account's name without @: 1 to 30 letters, digits, dots or underscores")]
    Account,
    /// Not an Apple business id.
    #[error("give the business id as urn:biz: and a UUID in lower case")]
    AppleBusiness,
    /// Not an RCS agent, with or without a number.
    #[error("give the agent's id without @rbm.goog, after <E.164 digits>/ if it has an SMS number")]
    Agent,
    /// Not a Telegram bot.
    #[error(
        "give the bot's name without @: 5 to 32 letters, digits or underscores, a letter first"
    )]
    Bot,
    /// Not a LINE official account.
    #[error(
        "give the LINE id with its @: 3 to 20 small letters, digits, dots, hyphens or underscores"
    )]
    LineId,
}

impl AddressError {
    /// Returns the reason that callers may match on; it never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Number => "ADDRESS_NOT_E164",
            Self::Page => "ADDRESS_NOT_A_PAGE",
            Self::Account => "ADDRESS_NOT_AN_ACCOUNT",
            Self::AppleBusiness => "ADDRESS_NOT_AN_APPLE_BUSINESS",
            Self::Agent => "ADDRESS_NOT_AN_AGENT",
            Self::Bot => "ADDRESS_NOT_A_BOT",
            Self::LineId => "ADDRESS_NOT_A_LINE_ID",
        }
    }
}

/// Checks that an address has the form its channel uses. Whether it exists is the channel's to know.
pub fn validate_address(channel: Channel, address: &str) -> Result<(), AddressError> {
    let (valid, error) = match channel {
        Channel::Whatsapp => (is_number(address), AddressError::Number),
        Channel::Messenger => (is_name(address, 1..=100, b".-"), AddressError::Page),
        Channel::InstagramDirect => (is_name(address, 1..=30, b"._"), AddressError::Account),
        Channel::AppleMessages => (is_apple_business(address), AddressError::AppleBusiness),
        Channel::Rcs => (is_agent(address), AddressError::Agent),
        Channel::Telegram => (is_bot(address), AddressError::Bot),
        Channel::Line => (is_line_id(address), AddressError::LineId),
    };
    if valid { Ok(()) } else { Err(error) }
}

/// Splits an RCS address into the number that takes SMS, if there is one, and the agent.
pub(crate) fn split_agent(address: &str) -> (Option<&str>, &str) {
    match address.split_once('/') {
        Some((number, agent)) => (Some(number), agent),
        None => (None, address),
    }
}

fn is_name(name: &str, length: std::ops::RangeInclusive<usize>, signs: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
    length.contains(&name.len()) && name.bytes().all(allowed)
}

fn is_number(number: &str) -> bool {
    (8..=15).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.starts_with('0')
}

fn is_apple_business(address: &str) -> bool {
    const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    address.strip_prefix("urn:biz:").is_some_and(|uuid| {
        uuid.split('-').map(str::len).eq(UUID_GROUPS)
            && uuid.bytes().all(|byte| byte == b'-' || is_hex(byte))
    })
}

fn is_agent(address: &str) -> bool {
    let (number, agent) = split_agent(address);
    number.is_none_or(is_number) && is_name(agent, 1..=100, b"_-")
}

fn is_bot(name: &str) -> bool {
    is_name(name, 5..=32, b"_") && name.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn is_line_id(address: &str) -> bool {
    address.strip_prefix('@').is_some_and(|id| {
        is_name(id, 3..=20, b"._-") && !id.bytes().any(|byte| byte.is_ascii_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLE: &str = "urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6";

    /// Channel, addresses it takes, addresses it refuses, and how.
    const CASES: [(Channel, &str, &str, AddressError); 7] = [
        (
            Channel::Whatsapp,
            "5215512345678 12345678 123456789012345",
            "+5215512345678 521-551-2345 1234567 1234567890123456 05512345678",
            AddressError::Number,
        ),
        (
            Channel::Messenger,
            "shop my.shop-12 100064860875397",
            "my,shop shop?ref=x shop/x tienda_ñ",
            AddressError::Page,
        ),
        (
            Channel::InstagramDirect,
            "my_shop.mx a a12345678901234567890123456789",
            "@shop my-shop a123456789012345678901234567890",
            AddressError::Account,
        ),
        (
            Channel::AppleMessages,
            APPLE,
            "22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6 urn:biz: urn:biz:22a3ccf1a757-4a7b \
             urn:biz:22A3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6 \
             urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6- \
             urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21ag",
            AddressError::AppleBusiness,
        ),
        (
            Channel::Rcs,
            "my_agent my-agent_1 5215512345678/my_agent",
            "my_agent@rbm.goog +5215512345678/a /a 5215512345678/ a/b",
            AddressError::Agent,
        ),
        (
            Channel::Telegram,
            "ShopBot shop_bot_mx",
            "@ShopBot bot1 1shop_bot shop-bot shop.bot",
            AddressError::Bot,
        ),
        (
            Channel::Line,
            "@012abcde @my.shop_mx-1",
            "@ shop @@shop @Shop @shop/x @ab",
            AddressError::LineId,
        ),
    ];

    #[test]
    fn an_address_is_accepted_only_in_its_channels_form() {
        for (channel, good, bad, error) in CASES {
            for address in good.split(' ') {
                assert_eq!(validate_address(channel, address), Ok(()), "{channel:?} {address}");
            }
            for address in bad.split(' ').chain([""]) {
                assert_eq!(validate_address(channel, address), Err(error), "{channel:?} {address}");
            }
        }
    }
}
