//! Sealing: what a feed is handed for a placed ad, with its tokens and its chat link.

use prost::Message;
use prost::bytes::Bytes;

use crate::channels::Channel;
use crate::decide::holdouts::Arm;
use crate::decide::index::{Extra, Index, Source};
use crate::decide::parameters::parameter_names;
use crate::decide::select::Placed;
use crate::node::links::{Chat, click_of, redirect_link};
use crate::state::credit::timestamp;
use crate::tokens::Sealer;
use crate::types::proto::v1::{Creative, PlacedAd, WhyThisAd};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::{FrequencyToken, ViewToken};

/// What serving shows of an `Ad`, by the same numbers.
#[derive(Clone, PartialEq, Message)]
struct Shown {
    #[prost(message, optional, tag = "6")]
    creative: Option<Creative>,
    #[prost(message, optional, tag = "7")]
    destination: Option<Prefilled>,
}

/// What a link needs of a `ChatDestination`.
#[derive(Clone, PartialEq, Message)]
struct Prefilled {
    #[prost(string, tag = "2")]
    text: String,
    #[prost(string, repeated, tag = "3")]
    ice_breakers: Vec<String>,
}

/// What is told of a `Business`.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "3")]
    name: String,
}

/// What a link needs of a `ChannelEndpoint`.
#[derive(Clone, PartialEq, Message)]
struct Reached {
    #[prost(int32, tag = "3")]
    channel: i32,
    #[prost(string, tag = "4")]
    address: String,
}

/// What is told of an `AdSet` that names anyone.
#[derive(Clone, PartialEq, Message)]
struct Parties {
    #[prost(string, tag = "18")]
    beneficiary: String,
    #[prost(string, tag = "19")]
    payer: String,
}

/// What the answers of one tray have in common.
pub(in crate::node) struct Seal<'a> {
    pub(in crate::node) index: &'a Index,
    pub(in crate::node) sealer: &'a Sealer,
    pub(in crate::node) feed: u32,
    pub(in crate::node) viewer: u64,
    pub(in crate::node) policy: &'a Policy,
    pub(in crate::node) request: &'a AdRequest,
    pub(in crate::node) public_url: &'a str,
    pub(in crate::node) now: Moment,
}

/// What an experiment says of one placed ad.
#[derive(Clone, Copy)]
pub(in crate::node) struct Mark {
    /// The group of the viewer in the experiment that the ad belongs to, see
    /// [`crate::decide::holdouts::Arm`]; 0: it belongs to none, and stands for no other.
    pub(in crate::node) arm: u8,
    /// The ad that would have stood there; 0: this one would.
    pub(in crate::node) ghost: u64,
}

impl Mark {
    /// Returns the mark of an ad that stands where another would have.
    pub(in crate::node) const fn of(arm: u8, ghost: Option<u64>) -> Self {
        match ghost {
            Some(ghost) if arm == 0 => Self { arm: Arm::Control as u8, ghost },
            Some(ghost) => Self { arm, ghost },
            None => Self { arm, ghost: 0 },
        }
    }
}

impl Seal<'_> {
    /// Returns what stands for a viewer without a pseudonym from now on.
    pub(in crate::node) fn frequency_token(&self) -> Bytes {
        if self.request.named {
            return Bytes::new();
        }
        let (viewer, feed, issued) = (self.viewer, self.feed, self.now.seconds());
        Bytes::copy_from_slice(&self.sealer.seal_frequency(&FrequencyToken {
            viewer,
            feed,
            issued,
        }))
    }

    /// Returns what the feed is handed for an ad.
    pub(in crate::node) fn seal(
        &self,
        placed: &Placed,
        position: u16,
        view: u64,
        mark: Mark,
    ) -> PlacedAd {
        let profile = &self.request.profile;
        let ad = placed.entry.ad_id();
        let token = ViewToken {
            price_micros: placed.price,
            billing: placed.billing as u8,
            p_tap: placed.rates.tap,
            p_chat: placed.rates.chat,
            arm: mark.arm,
            ghost_ad: mark.ghost,
            ..self.token(ad, position, view)
        };
        let issued = token.issued;
        let (lane, at) = placed.at;
        let segment = self.index.segment(profile.country, lane.into());
        let (source, extra) = (segment.source(at), segment.extra(&placed.entry));
        let shown: Shown = source.ad.part();
        let issued_ms = Moment::from_seconds(issued).0;
        let sealed = self.sealer.seal_view(&token);
        PlacedAd {
            ad_id: ad,
            chat_link: self.link(source, shown.destination.as_ref(), &token),
            creative: shown.creative,
            redirect_link: redirect_link(self.public_url, &sealed),
            view_token: sealed.to_vec().into(),
            show_by: Some(timestamp(issued_ms + i64::from(self.policy.show_by_s) * 1_000)),
            valid_until: Some(timestamp(issued_ms + DAY_MS)),
            why_this_ad: Some(why(source, extra)),
        }
    }

    /// Returns the token of an ad that is held back, where no other ad's can tell of it.
    pub(in crate::node) fn ghost(&self, ad: u64, position: u16, view: u64) -> Vec<u8> {
        let arm = Arm::Control as u8;
        let token = ViewToken { arm, ghost_ad: ad, ..self.token(ad, position, view) };
        self.sealer.seal_view(&token).to_vec()
    }

    /// Returns what all tokens of the tray say.
    fn token(&self, ad: u64, position: u16, view: u64) -> ViewToken {
        let profile = &self.request.profile;
        ViewToken {
            view,
            ad,
            viewer: self.viewer,
            feed: self.feed,
            issued: self.now.seconds(),
            show_by: self.policy.show_by_s,
            position: position as u8,
            placement: self.request.placement as u8,
            country: profile.country.to_be_bytes(),
            region: profile.region,
            age_gender: profile.age_band << 4 | profile.gender,
            os_device: profile.os << 4 | profile.device_class,
            ..ViewToken::default()
        }
    }

    fn link(&self, source: &Source, destination: Option<&Prefilled>, token: &ViewToken) -> String {
        let endpoint: Reached = source.endpoint.part();
        let Some(channel) = Channel::from_number(endpoint.channel as u8) else {
            return String::new();
        };
        let chat = Chat {
            channel,
            address: &endpoint.address,
            text: destination.map_or("", |chat| &chat.text),
            has_ice_breakers: destination.is_some_and(|chat| !chat.ice_breakers.is_empty()),
        };
        chat.link(self.sealer, &click_of(token))
    }
}

/// Returns the facts that transparency law asks for.
fn why(source: &Source, extra: &Extra) -> WhyThisAd {
    // Few ad sets name anyone, and decoding one takes a while.
    let parties: Parties =
        if extra.has_parties { source.ad_set.part() } else { Parties::default() };
    let parameters = parameter_names(extra.parameters);
    let or = |text: String, other: String| if text.is_empty() { other } else { text };
    let advertiser = or(parties.beneficiary, source.business.part::<Named>().name);
    let payer = or(parties.payer, advertiser.clone());
    WhyThisAd { advertiser, payer, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::catalog::Packed;
    use crate::types::proto::v1::{Ad, AdSet, Business, ChannelEndpoint, ChatDestination};

    #[test]
    fn a_part_says_what_the_whole_row_does() {
        let text = || "text".to_owned();
        let creative = Some(Creative { headline: text(), ..Creative::default() });
        let destination = Some(ChatDestination {
            endpoint_id: 9,
            prefilled_text: text(),
            ice_breakers: vec![text()],
        });
        let ad = Ad { name: "other".into(), creative, destination, ..Ad::default() };
        let shown: Shown = Packed::of(&ad).part();
        assert_eq!(shown.creative, ad.creative);
        let asked = Prefilled { text: text(), ice_breakers: vec![text()] };
        assert_eq!(shown.destination, Some(asked));
        let endpoint = ChannelEndpoint { channel: 4, address: text(), ..Default::default() };
        let reached = Reached { channel: 4, address: text() };
        assert_eq!(Packed::of(&endpoint).part::<Reached>(), reached);
        let business = Business { name: text(), category: "other".into(), ..Default::default() };
        assert_eq!(Packed::of(&business).part::<Named>(), Named { name: text() });
        let ad_set = AdSet { beneficiary: text(), payer: "payer".into(), ..AdSet::default() };
        let parties = Parties { beneficiary: text(), payer: "payer".into() };
        assert_eq!(Packed::of(&ad_set).part::<Parties>(), parties);
    }
}
