//! Clicks to test with: an impression and a tap that nobody made, marked so that nothing comes of them.

use crate::channels::{Channel, LinkParts, chat_link, returns_token};
use crate::node::dice::fill_from_system;
use crate::node::front::Front;
use crate::node::running::Node;
use crate::tokens::prefill_code;
use crate::types::ids::{IdKind, from_hash};
use crate::types::proto::v1::{BillingEvent, EntryPoint, EventKind, InvalidReason};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Incoming, Scope, Verdict};
use crate::types::time::Moment;
use crate::types::token::{ClickToken, PackedPrice, ViewToken};

/// Viewers that make an account's test clicks. Each makes as many as are remembered of one, and no more.
const TEST_VIEWERS_MAX: u64 = 16;

/// What a test click is known by, as a feed and a chat would hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct TestClick {
    /// The click's id.
    pub click: u64,
    /// The impression's token, sealed.
    pub view_token: Vec<u8>,
    /// The click token as text.
    pub click_token: String,
    /// The code for the first message.
    pub prefill_code: String,
    /// Opens the chat.
    pub chat_link: String,
}

impl Front {
    /// Returns a test click on an ad, and its events to be recorded. The view's number is drawn, and by another number
    /// which of the account's test viewers makes it; no feed has shown anything.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign ad.
    pub fn test_click(
        &self,
        scope: Scope,
        ad: u64,
        numbers: [u64; 2],
        now: Moment,
    ) -> Result<(TestClick, Vec<Incoming>), Refusal> {
        let [view, drawn] = numbers;
        let catalog = self.0.catalog();
        let theirs = crate::node::front::sees(&catalog, scope, catalog.account_of(IdKind::Ad, ad));
        let family = catalog.family(ad).filter(|_| theirs);
        let rows = family.and_then(|family| {
            Some((catalog.ads.get(ad)?, catalog.endpoints.get(family.endpoint)?, family))
        });
        let message = "no such id";
        let (row, endpoint, family) =
            rows.ok_or_else(|| Refusal::new(Reason::NotFound, "ad_id", message))?;
        let billing = catalog.ad_sets.get(family.ad_set).map(|ad_set| ad_set.billing_event());
        drop(catalog);
        let viewer = test_viewer(family.account, drawn);
        let issued = now.seconds();
        let token = ViewToken {
            view,
            ad,
            viewer,
            issued,
            // An event whose price is nothing costs nothing, whatever becomes of its mark.
            price_micros: 0,
            billing: billing.unwrap_or(BillingEvent::Unspecified) as u8,
            ..ViewToken::default()
        };
        let click = ClickToken {
            entry_point: EntryPoint::Ad as u8,
            per_tap: false,
            view,
            ad,
            viewer,
            issued,
            price: PackedPrice::default(),
        };
        let sealer = self.sealer();
        let click_token = sealer.seal_click_text(&click);
        let code = prefill_code(&sealer.ring().code, view, viewer).to_string();
        let text = row.destination.map(|chat| chat.prefilled_text).unwrap_or_default();
        let link = Channel::from_number(endpoint.channel as u8).map(|channel| {
            let back = returns_token(channel);
            let (token, code) = if back { (&*click_token, "") } else { ("", &*code) };
            chat_link(channel, &endpoint.address, &LinkParts { token, code, text: &text })
        });
        let event = |kind| Incoming::Ad {
            token,
            kind,
            at: Some(Moment::from_seconds(issued)),
            suspect: Some(InvalidReason::Sandbox),
            network: 0,
        };
        let made = TestClick {
            click: view,
            view_token: sealer.seal_view(&token).to_vec(),
            click_token,
            prefill_code: code,
            chat_link: link.unwrap_or_default(),
        };
        Ok((made, vec![event(EventKind::Impression), event(EventKind::Tap)]))
    }
}

impl Node {
    /// Makes a test click on an ad of the caller's; it is durable when it is answered.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign ad, `ViewerFull` where the account's test viewers have made as many as are
    /// remembered, or as [`Node::record`].
    pub async fn create_test_click(&self, scope: Scope, ad: u64) -> Result<TestClick, Refusal> {
        let number = || {
            let mut bytes = [0; 8];
            fill_from_system(&mut bytes);
            u64::from_be_bytes(bytes).max(1)
        };
        let numbers = [number(), number()];
        let (made, events) = self.front().test_click(scope, ad, numbers, self.now())?;
        for verdict in self.record(events)?.await? {
            if let Verdict::Refused(refusal) = verdict {
                return Err(told(refusal));
            }
        }
        Ok(made)
    }
}

/// Returns one of the viewers that make an account's test clicks. No pseudonym has its number.
fn test_viewer(account: u64, drawn: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi test viewer").update(&account.to_be_bytes());
    hasher.update(&(drawn % TEST_VIEWERS_MAX).to_be_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Says of a full viewer what the caller can do about it.
fn told(refusal: Refusal) -> Refusal {
    if refusal.reason != Reason::ViewerFull {
        return refusal;
    }
    let message = "the account has made as many test clicks in 29 days as are remembered: use those that it has, or \
        send this again for another viewer";
    Refusal::new(Reason::ViewerFull, "", message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_account_has_a_few_test_viewers_of_its_own() {
        let of = |account| (0..1_000).map(|drawn| test_viewer(account, drawn)).collect();
        let (one, other): (BTreeSet<u64>, BTreeSet<u64>) = (of(1), of(2));
        assert_eq!((one.len() as u64, other.len() as u64), (TEST_VIEWERS_MAX, TEST_VIEWERS_MAX));
        assert!(one.is_disjoint(&other));
    }
}
