//! What an opening or a conversion proves: the click, ad or viewer that it came by.

use crate::decide::chats::{FoundTap, may_come_from_ad};
use crate::state::chats::Chat as KnownChat;
use crate::types::proto::journal::v1::Proof;
use crate::types::proto::v1::MatchKind;
use crate::types::request::{Claim, Opening};

/// What a conversion inherits of the conversation that it names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Inherited {
    /// What its latest opening claims.
    pub proof: Option<Proof>,
    /// The printed code or web button that it came by; 0: none.
    pub source: u64,
}

impl Inherited {
    /// Returns what conversions of a conversation inherit.
    pub fn of(chat: &KnownChat) -> Self {
        Self { proof: chat.claim.as_ref().map(|claim| claim.0), source: chat.source }
    }
}

/// Returns what a claim says of a click or an ad; `None`: it is of a place without an ad. Of an ad without a
/// tap it is known that no click led here.
pub(in crate::decide::chats) fn proof_of(claim: &Claim, found: Option<FoundTap>) -> Option<Proof> {
    Some(match claim {
        Claim::Click(token) => Proof {
            match_kind: MatchKind::ClickToken.into(),
            view: token.view,
            viewer: token.viewer,
            ad: token.ad,
            issued_s: token.issued,
            price: if token.per_tap { 0 } else { token.price.micros() },
            tap_price: if token.per_tap { token.price.micros() } else { 0 },
            ..Proof::default()
        },
        Claim::Code(code) => Proof {
            match_kind: MatchKind::PrefillCode.into(),
            code: code.number(),
            ..Proof::default()
        },
        Claim::Ad(ad) => {
            let tap = found.unwrap_or(FoundTap { view: 0, viewer: 0, ad: *ad });
            found_proof(MatchKind::ChannelRef, tap)
        }
        Claim::Source(_) => return None,
    })
}

/// Returns what an opening proves: by its claim, else by its viewer, else by the tap that was found.
pub(in crate::decide::chats) fn opening_proof(
    opening: &Opening,
    found: Option<FoundTap>,
) -> Option<Proof> {
    let told = viewer_proof(opening.viewer);
    match &opening.claim {
        // The channel names its ad, but no click of it is known.
        Some(Claim::Ad(_)) if found.is_none() && told.is_some() => told,
        Some(claim) => proof_of(claim, found),
        None if told.is_some() && may_come_from_ad(opening) => told,
        None => found.map(|tap| found_proof(MatchKind::OnlyTap, tap)),
    }
}

/// Returns what a viewer whom the platform tells proves; `None`: it tells none.
pub(in crate::decide::chats) fn viewer_proof(viewer: u64) -> Option<Proof> {
    let match_kind = MatchKind::Viewer.into();
    (viewer != 0).then(|| Proof { match_kind, viewer, by_viewer: true, ..Proof::default() })
}

/// Returns the proof of a tap that was looked up. Its price is the tap's own.
fn found_proof(kind: MatchKind, tap: FoundTap) -> Proof {
    let FoundTap { view, viewer, ad } = tap;
    Proof { match_kind: kind.into(), view, viewer, ad, ..Proof::default() }
}
