//! What an advertiser prints or pastes to open a chat: link, button, QR code.

use crate::channels::{Channel, LinkParts, Qr, chat_link, web_button};
use crate::types::proto::v1::{ChannelEndpoint, EntrySource, GetEntryKitResponse};
use crate::types::refusal::{Reason, Refusal};

/// Returns the kit of a source of this endpoint. `public_url` is where the server is reached from outside,
/// without a slash at its end; empty: nowhere, and the link leads to the chat without a count.
///
/// # Errors
/// `TooLarge` when the link is too long for a QR code, which none of ours is.
pub(super) fn entry_kit(
    source: &EntrySource,
    endpoint: &ChannelEndpoint,
    public_url: &str,
    pixels_per_module: u32,
) -> Result<GetEntryKitResponse, Refusal> {
    let parts = LinkParts { token: "", code: &source.code, text: &source.prefilled_text };
    let channel = Channel::from_number(endpoint.channel as u8);
    let chat_link = channel.map(|channel| chat_link(channel, &endpoint.address, &parts));
    let chat_link = chat_link.unwrap_or_default();
    let link = match public_url {
        "" => chat_link.clone(),
        url => [url, "/c/", &source.code].concat(),
    };
    let too_long = || Refusal::new(Reason::TooLarge, "id", "the link is too long for a QR code");
    let code = Qr::of(&link).ok_or_else(too_long)?;
    Ok(GetEntryKitResponse {
        html: web_button(&link, &source.name),
        qr_svg: code.svg(),
        qr_png: code.png(pixels_per_module),
        link,
        chat_link,
    })
}
