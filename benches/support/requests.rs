//! The requests: 256 kinds of viewers, encoded once, and a million pseudonyms to fill in.
//!
//! Each call comes from another viewer, as in a feed. With 256 viewers every one of them would soon
//! have met every advertiser, and the answers would run empty.

use std::sync::LazyLock;

use munadi::types::iso::{country_code, language_code};
use munadi::types::proto::v1;
use munadi::types::request::{AdRequest, Profile};
use prost::Message;
use prost::bytes::BufMut;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Kinds of viewers.
pub(crate) const KINDS: u32 = 256;

/// Viewers. Each is always of the same kind.
const VIEWERS: u32 = 1 << 20;

const POSTS: u32 = 20;
const DIGITS: usize = 8;
const NOBODY: &str = "viewer-00000000";

/// Where viewers are, the commonest first.
pub(crate) const COUNTRIES: [&str; 10] =
    ["IN", "BR", "MX", "ID", "US", "NG", "DE", "ES", "EG", "TR"];

/// What they speak, in the order of their countries.
pub(crate) const LANGUAGES: [&str; 10] =
    ["hi", "pt", "es", "id", "en", "en", "de", "es", "ar", "tr"];

/// All kinds of requests.
static REQUESTS: LazyLock<Vec<v1::AdRequest>> = LazyLock::new(|| {
    let mut dice = Xoshiro256PlusPlus::seed_from_u64(0x5E27E);
    (0..KINDS).map(|_| ad_request(&mut dice)).collect()
});

/// The same, encoded.
pub(crate) static TEMPLATES: LazyLock<Vec<Template>> =
    LazyLock::new(|| REQUESTS.iter().map(Template::new).collect());

/// An encoded `AdRequest` that lacks the digits of the viewer's pseudonym.
pub(crate) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Template {
    fn new(request: &v1::AdRequest) -> Self {
        let bytes = request.encode_to_vec();
        let pseudonym = bytes
            .windows(NOBODY.len())
            .position(|window| window == NOBODY.as_bytes())
            .expect("the request was made with this pseudonym");
        let digits = pseudonym + NOBODY.len() - DIGITS;
        Self { before: bytes[..digits].to_vec(), after: bytes[digits + DIGITS..].to_vec() }
    }

    /// Returns the length of the encoded request.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + DIGITS + self.after.len()
    }

    /// Writes the request of this viewer.
    pub(crate) fn put(&self, viewer: u32, out: &mut impl BufMut) {
        let mut digits = [0; DIGITS];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(viewer >> (4 * place)) as usize & 0xF];
        }
        out.put_slice(&self.before);
        out.put_slice(&digits);
        out.put_slice(&self.after);
    }
}

/// Returns the viewer who asks at this turn, and what is asked. Walks all viewers before it repeats.
pub(crate) fn at_turn(turn: u32) -> (u32, &'static Template) {
    // An odd factor makes the walk visit each number below a power of two once.
    let viewer = turn.wrapping_mul(0x9E37_79B1) % VIEWERS;
    (viewer, &TEMPLATES[(viewer % KINDS) as usize])
}

/// Returns the request of this turn as the door hands it on. Its viewer is none of those of [`at_turn`].
pub(crate) fn parsed(turn: u32) -> AdRequest {
    let wire = &REQUESTS[(turn % KINDS) as usize];
    let viewer = wire.viewer.clone().unwrap_or_default();
    let code = |text: &String| language_code(text).unwrap_or_default();
    AdRequest {
        placement: v1::Placement::Status,
        viewer: Some((u64::from(turn) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        named: true,
        profile: Profile {
            country: country_code(&viewer.country).unwrap_or_default(),
            languages: viewer.languages.iter().map(code).collect(),
            age_band: viewer.age_band as u8,
            gender: viewer.gender as u8,
            os: viewer.os as u8,
            interests: viewer.interests.iter().map(|interest| *interest as u16).collect(),
            ..Profile::default()
        },
        posts: POSTS as u16,
        positions: Vec::new(),
        ads_in_session: 0,
    }
}

/// Returns a checksum of all that is asked: the same on every machine.
pub(crate) fn checksum() -> u32 {
    let mut bytes = Vec::new();
    for turn in 0..KINDS {
        let (viewer, template) = at_turn(turn);
        template.put(viewer, &mut bytes);
    }
    crc32c::crc32c(&bytes)
}

fn ad_request(dice: &mut Xoshiro256PlusPlus) -> v1::AdRequest {
    // The lesser of two throws: the first countries are the commonest.
    let country = dice.random_range(0..10).min(dice.random_range(0..10));
    let mut languages = vec![LANGUAGES[country].to_owned()];
    if dice.random_bool(0.3) && LANGUAGES[country] != "en" {
        languages.push("en".to_owned());
    }
    let mut interests: Vec<u32> = (0..dice.random_range(0..=12)).map(|_| interest(dice)).collect();
    interests.sort_unstable();
    interests.dedup();
    let viewer = v1::ViewerContext {
        pseudonym: NOBODY.to_owned(),
        country: COUNTRIES[country].to_owned(),
        region: String::new(),
        languages,
        age_band: dice.random_range(0..=7),
        gender: *[0, 1, 1, 2, 2, 3].choose(dice).expect("not empty"),
        os: *[1, 1, 1, 2, 3, 4].choose(dice).expect("not empty"),
        interests,
        ..Default::default()
    };
    v1::AdRequest {
        placement: v1::Placement::Status.into(),
        viewer: Some(viewer),
        posts: POSTS,
        positions: Vec::new(),
        time: None,
        ..Default::default()
    }
}

/// Draws one of 300 interests, the first ones more often.
pub(crate) fn interest(dice: &mut Xoshiro256PlusPlus) -> u32 {
    1 + dice.random_range(0..300u32).min(dice.random_range(0..300))
}
