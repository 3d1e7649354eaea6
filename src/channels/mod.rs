//! How each chat app spells a link, and what of a click comes back through it: pure text.
//!
//! Floor 1: imports only `types`. Nothing here owns a message: what a user wrote is looked at where it
//! lies, and only a code leaves (`find_code`).

mod address;
mod code;
mod country;
mod cut;
pub mod inbound;
mod link;
mod percent;
mod qr;
mod read;
mod snippet;
mod traits;

pub use address::{AddressError, validate_address};
pub use code::find_code;
pub use country::{country_of_number, country_of_user_id};
pub use link::{
    FoundClick, LinkParts, PREFILL_CHARS_MAX, PREFILL_TEXT_CHARS_MAX, chat_link, find_click,
};
pub use qr::{QR_LINK_BYTES_MAX, QR_PIXELS_PER_MODULE_MAX, QR_QUIET_MODULES, Qr};
pub use read::{Parts, is_chat_link, parse_link, prefilled_text};
pub use snippet::web_button;
pub use traits::{
    ICE_BREAKER_CHARS_MAX, ICE_BREAKERS_MAX, IceBreakerError, TRAITS, Traits, check_ice_breakers,
    hides_ice_breakers, table, traits,
};

/// A chat app that an ad's button can open. Numbers are those of the interface's `Channel`: add, never
/// change or reuse.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Channel {
    /// WhatsApp Business.
    Whatsapp = 1,
    /// A Facebook page's Messenger.
    Messenger = 2,
    /// Instagram Direct.
    InstagramDirect = 3,
    /// Apple Messages for Business.
    AppleMessages = 4,
    /// RCS for Business.
    Rcs = 5,
    /// A Telegram bot.
    Telegram = 6,
    /// A LINE official account.
    Line = 7,
}

impl Channel {
    /// Every channel, by number.
    pub const ALL: [Self; 7] = [
        Self::Whatsapp,
        Self::Messenger,
        Self::InstagramDirect,
        Self::AppleMessages,
        Self::Rcs,
        Self::Telegram,
        Self::Line,
    ];

    /// Returns the channel with the interface's number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.number() == number)
    }

    /// Returns the interface's number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Tells whether the channel hands the click token back by itself. The others return only what the user
/// sends, so their links carry a prefill code.
pub const fn returns_token(channel: Channel) -> bool {
    match channel {
        Channel::Messenger | Channel::InstagramDirect | Channel::Telegram => true,
        Channel::Whatsapp | Channel::AppleMessages | Channel::Rcs | Channel::Line => false,
    }
}

/// Tells whether the channel opens a chat before the person has written (Telegram's start, a referral of
/// Messenger or Instagram). On the others an opening is a message.
pub const fn opens_silently(channel: Channel) -> bool {
    match channel {
        Channel::Messenger | Channel::InstagramDirect | Channel::Telegram => true,
        Channel::Whatsapp | Channel::AppleMessages | Channel::Rcs | Channel::Line => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_survives_its_number() {
        for (number, channel) in (1..).zip(Channel::ALL) {
            assert_eq!(channel.number(), number);
            assert_eq!(Channel::from_number(number), Some(channel));
        }
        assert_eq!(Channel::from_number(0), None);
        assert_eq!(Channel::from_number(8), None);
    }
}
