//! Sealing: what a feed is handed for a placed ad, with its tokens and its chat link.

use prost::Message;

use crate::channels::Channel;
use crate::decide::holdouts::Arm;
use crate::decide::index::{Extra, Index, Source};
use crate::decide::parameters::parameter_names;
use crate::decide::select::Placed;
use crate::node::links::{Chat, click_of, redirect_link};
use crate::state::credit::timestamp;
use crate::tokens::{SealedFrequency, SealedView, Sealer};
use crate::types::encoded::{Fields, Value, put_bytes, put_message, put_nested, put_number, text};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::{FrequencyToken, ViewToken};

/// The fields of a `PlacedAd` that are written, by number.
mod field {
    pub(super) const AD_ID: u32 = 1;
    pub(super) const CREATIVE: u32 = 2;
    pub(super) const CHAT_LINK: u32 = 3;
    pub(super) const VIEW_TOKEN: u32 = 4;
    pub(super) const SHOW_BY: u32 = 5;
    pub(super) const VALID_UNTIL: u32 = 6;
    pub(super) const WHY_THIS_AD: u32 = 7;
    pub(super) const REDIRECT_LINK: u32 = 8;
}

/// What serving shows of an `Ad`, as it lies in the row: a creative is copied and never decoded.
#[derive(Clone, Copy, Debug, Default)]
struct Shown<'a> {
    creative: Option<&'a [u8]>,
    text: &'a str,
    has_ice_breakers: bool,
}

impl<'a> Shown<'a> {
    fn of(ad: &'a [u8]) -> Self {
        let (mut shown, mut destination) = (Self::default(), &[][..]);
        for (number, value) in Fields(ad) {
            match (number, value) {
                (6, Value::Bytes(bytes)) => shown.creative = Some(bytes),
                (7, Value::Bytes(bytes)) => destination = bytes,
                _ => {}
            }
        }
        for (number, value) in Fields(destination) {
            match (number, value) {
                (2, Value::Bytes(bytes)) => shown.text = text(bytes),
                (3, Value::Bytes(_)) => shown.has_ice_breakers = true,
                _ => {}
            }
        }
        shown
    }
}

/// What a link needs of a `ChannelEndpoint`.
#[derive(Clone, Copy, Debug, Default)]
struct Reached<'a> {
    channel: u64,
    address: &'a str,
}

impl<'a> Reached<'a> {
    fn of(endpoint: &'a [u8]) -> Self {
        let mut reached = Self::default();
        for (number, value) in Fields(endpoint) {
            match (number, value) {
                (3, Value::Number(channel)) => reached.channel = channel,
                (4, Value::Bytes(bytes)) => reached.address = text(bytes),
                _ => {}
            }
        }
        reached
    }
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
    pub(in crate::node) fn frequency_token(&self) -> Option<SealedFrequency> {
        let (viewer, feed, issued) = (self.viewer, self.feed, self.now.seconds());
        let seal = || self.sealer.seal_frequency(&FrequencyToken { viewer, feed, issued });
        (!self.request.named).then(seal)
    }

    /// Writes the `PlacedAd` that the feed is handed.
    pub(in crate::node) fn put(
        &self,
        out: &mut Vec<u8>,
        placed: &Placed,
        (position, view): (u16, u64),
        mark: Mark,
    ) {
        let (lane, at) = placed.at;
        let segment = self.index.segment(self.request.profile.country, lane.into());
        let who = Who::of(segment.source(at), segment.extra(&placed.entry));
        let token = ViewToken {
            price_micros: placed.price,
            billing: placed.billing as u8,
            p_tap: placed.rates.tap,
            p_chat: placed.rates.chat,
            arm: mark.arm,
            ghost_ad: mark.ghost,
            ..self.token(placed.entry.ad_id(), position, view)
        };
        self.put_ad(out, &token, &who);
    }

    /// Returns the token of an ad that is held back, where no other ad's can tell of it.
    pub(in crate::node) fn ghost(&self, ad: u64, position: u16, view: u64) -> SealedView {
        let arm = Arm::Control as u8;
        self.sealer.seal_view(&ViewToken { arm, ghost_ad: ad, ..self.token(ad, position, view) })
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

    fn put_ad(&self, out: &mut Vec<u8>, token: &ViewToken, who: &Who<'_>) {
        let shown = Shown::of(who.source.ad.bytes());
        let issued_ms = Moment::from_seconds(token.issued).0;
        let until = |ms: i64| move |out: &mut Vec<u8>| timestamp(issued_ms + ms).encode_raw(out);
        let sealed = self.sealer.seal_view(token);
        put_number(out, field::AD_ID, token.ad);
        if let Some(creative) = shown.creative {
            put_message(out, field::CREATIVE, creative);
        }
        put_bytes(out, field::CHAT_LINK, self.link(who, &shown, token).as_bytes());
        put_bytes(out, field::VIEW_TOKEN, &sealed);
        put_nested(out, field::SHOW_BY, until(i64::from(token.show_by) * 1_000));
        put_nested(out, field::VALID_UNTIL, until(DAY_MS));
        put_nested(out, field::WHY_THIS_AD, |out| who.put_why(out));
        put_bytes(out, field::REDIRECT_LINK, redirect_link(self.public_url, &sealed).as_bytes());
    }

    fn link(&self, who: &Who<'_>, shown: &Shown<'_>, token: &ViewToken) -> String {
        let Reached { channel, address } = Reached::of(who.source.endpoint.bytes());
        let Some(channel) = Channel::from_number(channel as u8) else {
            return String::new();
        };
        let Shown { text, has_ice_breakers, .. } = *shown;
        let chat = Chat { channel, address, text, has_ice_breakers };
        chat.link(self.sealer, &click_of(token))
    }
}

/// Whose ad it is, and what chose it.
struct Who<'a> {
    source: &'a Source,
    parameters: u16,
    has_parties: bool,
}

impl<'a> Who<'a> {
    const fn of(source: &'a Source, extra: &Extra) -> Self {
        Self { source, parameters: extra.parameters, has_parties: extra.has_parties }
    }

    /// Writes the `WhyThisAd`: the facts that transparency law asks for.
    fn put_why(&self, out: &mut Vec<u8>) {
        // Few ad sets name anyone, and looking through one takes a while.
        let ad_set = Fields(if self.has_parties { self.source.ad_set.bytes() } else { &[] });
        let or = |text: &'a str, other: &'a str| if text.is_empty() { other } else { text };
        let advertiser = or(ad_set.text(18), Fields(self.source.business.bytes()).text(3));
        let payer = or(ad_set.text(19), advertiser);
        put_bytes(out, 1, advertiser.as_bytes());
        parameter_names(self.parameters).for_each(|name| put_message(out, 2, name.as_bytes()));
        put_bytes(out, 3, payer.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::IndexedRandom;
    use rand::{RngExt, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;
    use crate::state::catalog::Packed;
    use crate::tokens::KeyRing;
    use crate::types::proto::v1::{
        Ad, AdSet, Business, CarouselCard, ChannelEndpoint, ChatDestination, Creative, PlacedAd,
        Placement, WhyThisAd,
    };
    use crate::types::request::Profile;

    const CASES: u64 = 4_000;

    /// The twin: decodes the whole rows, builds the message, and lets `prost` encode it.
    fn plain(seal: &Seal<'_>, token: &ViewToken, who: &Who<'_>) -> PlacedAd {
        let (ad, ad_set) = (who.source.ad.decode(), who.source.ad_set.decode());
        let (business, endpoint) = (who.source.business.decode(), who.source.endpoint.decode());
        let chat = ad.destination.unwrap_or_default();
        let link = Channel::from_number(endpoint.channel as u8).map(|channel| {
            let (address, text) = (&*endpoint.address, &*chat.prefilled_text);
            let has_ice_breakers = !chat.ice_breakers.is_empty();
            let chat = Chat { channel, address, text, has_ice_breakers };
            chat.link(seal.sealer, &click_of(token))
        });
        let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
        let advertiser = or(ad_set.beneficiary, &business.name);
        let payer = or(ad_set.payer, &advertiser);
        let parameters = parameter_names(who.parameters).map(str::to_owned).collect();
        let sealed = seal.sealer.seal_view(token);
        let issued_ms = Moment::from_seconds(token.issued).0;
        PlacedAd {
            ad_id: token.ad,
            creative: ad.creative,
            chat_link: link.unwrap_or_default(),
            view_token: sealed.to_vec().into(),
            show_by: Some(timestamp(issued_ms + i64::from(token.show_by) * 1_000)),
            valid_until: Some(timestamp(issued_ms + DAY_MS)),
            why_this_ad: Some(WhyThisAd { advertiser, parameters, payer }),
            redirect_link: redirect_link(seal.public_url, &sealed),
        }
    }

    #[test]
    fn what_is_spliced_is_what_the_rows_say() {
        let sealer = sealer();
        let (policy, index) = (Policy::default(), Index::default());
        let request = request();
        for case in 0..CASES {
            let mut dice = Xoshiro256PlusPlus::seed_from_u64(case);
            let public_url = if dice.random() { "" } else { "https://ads.example" };
            let (feed, viewer, now) = (7, dice.random(), Moment(0));
            let seal = Seal {
                index: &index,
                sealer: &sealer,
                feed,
                viewer,
                policy: &policy,
                request: &request,
                public_url,
                now,
            };
            let source = source(&mut dice);
            let ad_set = source.ad_set.decode();
            let has_parties = !ad_set.beneficiary.is_empty() || !ad_set.payer.is_empty();
            let who = Who { source: &source, parameters: dice.random(), has_parties };
            let token = token(&mut dice);
            let mut spliced = Vec::new();
            seal.put_ad(&mut spliced, &token, &who);
            let plain = plain(&seal, &token, &who);
            let again = "again: cargo test --lib what_is_spliced";
            assert_eq!(PlacedAd::decode(&*spliced).unwrap(), plain, "case {case}; {again}");
            assert_eq!(spliced, plain.encode_to_vec(), "case {case}; {again}");
        }
    }

    fn token(dice: &mut Xoshiro256PlusPlus) -> ViewToken {
        ViewToken {
            view: dice.random(),
            ad: if dice.random_bool(0.1) { 0 } else { dice.random() },
            viewer: dice.random(),
            issued: dice.random_range(0..=u32::MAX / 2),
            show_by: dice.random(),
            price_micros: dice.random_range(0..1 << 40),
            billing: dice.random_range(0..4),
            ..ViewToken::default()
        }
    }

    fn source(dice: &mut Xoshiro256PlusPlus) -> Source {
        let creative = dice.random_bool(0.9).then(|| creative(dice));
        let destination = dice.random_bool(0.9).then(|| ChatDestination {
            endpoint_id: dice.random(),
            prefilled_text: some_text(dice, 127),
            ice_breakers: (0..dice.random_range(0..3)).map(|_| some_text(dice, 80)).collect(),
        });
        let ad = Ad {
            id: dice.random(),
            ad_set_id: dice.random(),
            name: some_text(dice, 60),
            creative,
            destination,
            create_time: dice.random_bool(0.5).then(|| timestamp(dice.random_range(0..1 << 41))),
            etag: some_text(dice, 20),
            ..Ad::default()
        };
        let ad_set = AdSet {
            name: some_text(dice, 60),
            beneficiary: some_text(dice, 40),
            payer: some_text(dice, 200),
            ..AdSet::default()
        };
        let business = Business {
            id: dice.random(),
            name: some_text(dice, 200),
            category: some_text(dice, 20),
            ..Business::default()
        };
        let endpoint = ChannelEndpoint {
            id: dice.random(),
            channel: dice.random_range(0..9),
            address: some_text(dice, 40),
            channel_account_id: some_text(dice, 20),
            ..ChannelEndpoint::default()
        };
        Source {
            ad: Packed::of(&ad),
            ad_set: Packed::of(&ad_set),
            business: Packed::of(&business),
            endpoint: Packed::of(&endpoint),
        }
    }

    fn creative(dice: &mut Xoshiro256PlusPlus) -> Creative {
        let card = |dice: &mut Xoshiro256PlusPlus| CarouselCard {
            headline: some_text(dice, 40),
            ..CarouselCard::default()
        };
        Creative {
            primary_text: some_text(dice, 125),
            headline: some_text(dice, 40),
            media_url: some_text(dice, 300),
            media_sha256: vec![dice.random(); dice.random_range(0..33)],
            format: dice.random_range(0..5),
            cards: (0..dice.random_range(0..4)).map(|_| card(dice)).collect(),
            ..Creative::default()
        }
    }

    /// Draws a text of up to so many characters, of one, two and four bytes; a third are empty.
    fn some_text(dice: &mut Xoshiro256PlusPlus, most: usize) -> String {
        let length = if dice.random_bool(0.3) { 0 } else { dice.random_range(0..=most) };
        (0..length).map(|_| *['a', ' ', '?', 'é', '🥖'].choose(dice).unwrap()).collect()
    }

    fn sealer() -> Sealer {
        let mut random = |bytes: &mut [u8]| bytes.fill(9);
        Sealer::new(KeyRing::generate(&mut random, 0))
    }

    fn request() -> AdRequest {
        AdRequest {
            placement: Placement::Status,
            viewer: None,
            profile: Profile::default(),
            posts: 20,
            positions: Vec::new(),
            named: true,
            ads_in_session: 0,
        }
    }
}
