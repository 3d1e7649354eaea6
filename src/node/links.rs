//! Links that people follow: to a chat, through the redirect, and what a source has brought.

use data_encoding::BASE64URL_NOPAD;

use crate::channels::{
    Channel, LinkParts, chat_link, hides_ice_breakers, is_chat_link, returns_token,
};
use crate::node::front::Front;
use crate::state::catalog::Catalog;
use crate::tokens::{CLICK_TOKEN_CHARS, Sealer, VIEW_TOKEN_BYTES, prefill_code};
use crate::types::proto::v1::{
    BillingEvent, ChatDestination, EntryPoint, EntrySource, EventKind, InvalidReason,
};
use crate::types::request::{Incoming, Resource, SHOW_BY_S_MAX};
use crate::types::time::Moment;
use crate::types::token::{ClickToken, PREFILL_CODE_CHARS, PackedPrice, PrefillCode, ViewToken};

/// Characters of a view token in a redirect's link: base64url without padding.
const VIEW_TOKEN_CHARS: usize = VIEW_TOKEN_BYTES * 8 / 6;

// No bits are left over in the last character, so each view token has exactly one text.
const _: () = assert!(VIEW_TOKEN_BYTES * 8 == VIEW_TOKEN_CHARS * 6);
// The length of what stands behind `/c/` tells what it is.
const _: () = assert!(PREFILL_CODE_CHARS < CLICK_TOKEN_CHARS);
const _: () = assert!(CLICK_TOKEN_CHARS < VIEW_TOKEN_CHARS);

/// What is known of the person who follows a link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Follower {
    /// Two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// What the operator's lists say against it.
    pub suspect: Option<InvalidReason>,
    /// Keyed hash of the network; 0: not told.
    pub network: u64,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The chat link: always of one of the channels.
    pub link: String,
    /// What the tap counts as, if the follower is a person. `None`: only its feed can tell.
    pub counts: Option<Incoming>,
}

impl Front {
    /// Puts the redirect into links from now on. The first call counts.
    pub(in crate::node) fn use_public_url(&self, url: &str) {
        self.0.public_url.get_or_init(|| url.to_owned());
    }

    /// Returns where the HTTP door is reached from outside; empty: nowhere.
    pub(in crate::node) fn public_url(&self) -> &str {
        self.0.public_url.get().map_or("", String::as_str)
    }

    /// Returns where what stands behind `/c/` leads: the code of a source, the view token of a placed ad, or
    /// a click token. `None`: it is none of ours, or its end has passed.
    pub fn follow(&self, token: &str, follower: &Follower, now: Moment) -> Option<Followed> {
        let followed = match token.len() {
            PREFILL_CODE_CHARS => self.follow_source(token.parse().ok()?, follower),
            CLICK_TOKEN_CHARS => self.follow_click(token, follower, now),
            VIEW_TOKEN_CHARS => self.follow_view(token, follower, now),
            _ => None,
        }?;
        // Addresses are checked when endpoints are made. This door forwards nowhere else whatever they say.
        is_chat_link(&followed.link).then_some(followed)
    }

    fn follow_source(&self, code: PrefillCode, follower: &Follower) -> Option<Followed> {
        let catalog = self.0.catalog();
        let source = catalog.source_of_code(code.number())?;
        let row = catalog.sources.get(source.id)?;
        let endpoint = catalog.endpoints.get(source.endpoint)?;
        let channel = Channel::from_number(endpoint.channel as u8)?;
        let parts = LinkParts { token: "", code: &row.code, text: &row.prefilled_text };
        let link = chat_link(channel, &endpoint.address, &parts);
        let country = follower.country;
        let counts = Incoming::SourceTapped { source: source.id, country, at: None };
        // What is marked would still be counted: it costs nothing.
        let counts = follower.suspect.is_none().then_some(counts);
        Some(Followed { link, counts })
    }

    /// Follows the link of a placed ad: its tap is the one that the feed would report.
    fn follow_view(&self, text: &str, follower: &Follower, now: Moment) -> Option<Followed> {
        let sealer = self.sealer();
        let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let token = sealer.open_view(&sealed, now.seconds()).ok()?;
        let click = click_of(&token);
        let link = link_of_ad(&self.0.catalog(), &sealer, &click)?;
        Some(Followed { link, counts: Some(tap(token, follower)) })
    }

    /// Follows a click token. Who talks to the chat has it too, so where taps may be what is billed, the tap is left
    /// to the feed to report, or to the opening that the token comes back with.
    fn follow_click(&self, text: &str, follower: &Follower, now: Moment) -> Option<Followed> {
        let sealer = self.sealer();
        let click = sealer.open_click_text(text, now.seconds()).ok()?;
        let catalog = self.0.catalog();
        let link = link_of_ad(&catalog, &sealer, &click)?;
        let ad_set = catalog.ad_sets.get(catalog.family(click.ad)?.ad_set)?;
        let billing = ad_set.billing_event();
        let token = ViewToken {
            view: click.view,
            ad: click.ad,
            viewer: click.viewer,
            issued: click.issued,
            show_by: SHOW_BY_S_MAX,
            price_micros: click.price.micros(),
            billing: billing as u8,
            country: follower.country.to_be_bytes(),
            ..ViewToken::default()
        };
        let is_free = match billing {
            BillingEvent::LinkClicks => false,
            // Without a price it was shown while an issue stood, and is paid for by the tap.
            BillingEvent::Conversations => click.price.micros() > 0 && !click.per_tap,
            BillingEvent::Impressions | BillingEvent::Unspecified => !click.per_tap,
        };
        let counts = is_free.then(|| tap(token, follower));
        Some(Followed { link, counts })
    }

    /// Returns a resource with what was counted of it: of a source its taps and conversations.
    pub(in crate::node) fn counted(&self, found: Resource) -> Resource {
        let Resource::Source(row) = found else { return found };
        let desks = self.0.desks(row.endpoint_id);
        let desk = desks.desks.get(&row.endpoint_id);
        let tally = desk.and_then(|desk| desk.sources.get(&row.id));
        let (taps, conversations) =
            tally.map_or((0, 0), |tally| (tally.taps.values().sum(), tally.opened.values().sum()));
        drop(desks);
        Resource::Source(EntrySource { taps, conversations, ..row })
    }
}

fn tap(token: ViewToken, follower: &Follower) -> Incoming {
    let Follower { suspect, network, .. } = *follower;
    Incoming::Ad { token, kind: EventKind::Tap, at: None, suspect, network }
}

/// Returns the click that a tap on a placed ad makes.
pub(in crate::node) fn click_of(token: &ViewToken) -> ClickToken {
    let per_tap = token.billing == BillingEvent::LinkClicks as u8;
    // An auction has rounded both to what is packed.
    let billed = per_tap || token.billing == BillingEvent::Conversations as u8;
    ClickToken {
        entry_point: EntryPoint::Ad as u8,
        per_tap,
        view: token.view,
        ad: token.ad,
        viewer: token.viewer,
        issued: token.issued,
        price: PackedPrice::pack(if billed { token.price_micros } else { 0 }),
    }
}

/// What a link needs of an ad's destination.
pub(in crate::node) struct Chat<'a> {
    pub(in crate::node) channel: Channel,
    pub(in crate::node) address: &'a str,
    pub(in crate::node) text: &'a str,
    pub(in crate::node) has_ice_breakers: bool,
}

impl Chat<'_> {
    /// Returns the chat link that carries a click.
    pub(in crate::node) fn link(&self, sealer: &Sealer, click: &ClickToken) -> String {
        // A link carries one of the two, and each costs as much as the rest of it.
        let (mut token, mut code) = (String::new(), String::new());
        if returns_token(self.channel) {
            token = sealer.seal_click_text(click);
        } else if !(self.has_ice_breakers && hides_ice_breakers(self.channel)) {
            code = prefill_code(&sealer.ring().code, click.view, click.viewer).to_string();
        }
        let parts = LinkParts { token: &token, code: &code, text: self.text };
        chat_link(self.channel, self.address, &parts)
    }
}

/// Returns the chat link of an ad as it is now, carrying a click.
fn link_of_ad(catalog: &Catalog, sealer: &Sealer, click: &ClickToken) -> Option<String> {
    let row = catalog.ads.get(click.ad)?;
    let ChatDestination { endpoint_id, prefilled_text, ice_breakers } = row.destination?;
    let endpoint = catalog.endpoints.get(endpoint_id)?;
    let chat = Chat {
        channel: Channel::from_number(endpoint.channel as u8)?,
        address: &endpoint.address,
        text: &prefilled_text,
        has_ice_breakers: !ice_breakers.is_empty(),
    };
    Some(chat.link(sealer, click))
}

/// Returns the link through the redirect of a placed ad; empty without a public address.
pub(in crate::node) fn redirect_link(public_url: &str, view_token: &[u8]) -> String {
    if public_url.is_empty() {
        return String::new();
    }
    let mut link = String::with_capacity(public_url.len() + 3 + VIEW_TOKEN_CHARS);
    link.push_str(public_url);
    link.push_str("/c/");
    BASE64URL_NOPAD.encode_append(view_token, &mut link);
    link
}
