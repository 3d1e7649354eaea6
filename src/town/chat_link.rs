//! What a chat app hands to the business when somebody comes by an ad's link.

use crate::channels::{Channel, FoundClick, find_click};
use crate::types::proto::v1::opened::Proof;

/// Returns the token or code in a chat link, as the channel (its number in the interface) gives it back.
pub(crate) fn proof_in(channel: i32, link: &str) -> Option<Proof> {
    let channel = u8::try_from(channel).ok().and_then(Channel::from_number)?;
    find_click(channel, link).map(|found| match found {
        FoundClick::Token(token) => Proof::ClickToken(token.to_owned()),
        FoundClick::Code(code) => Proof::PrefillCode(code.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1;

    #[test]
    fn a_token_or_code_comes_back_by_its_own_channel() {
        let token = "A-_z".repeat(16);
        let by = |channel: v1::Channel, link: &str| proof_in(channel.into(), link);
        let link = format!("https://m.me/page?ref={token}");
        assert_eq!(by(v1::Channel::Messenger, &link), Some(Proof::ClickToken(token)));
        assert_eq!(by(v1::Channel::Telegram, &link), None);
        let link = "https://wa.me/15551234567?text=Hola%20%5B0G00000001%5D";
        let code = Proof::PrefillCode("0G00000001".to_owned());
        assert_eq!(by(v1::Channel::Whatsapp, link), Some(code));
        assert_eq!(proof_in(99, link), None);
    }
}
