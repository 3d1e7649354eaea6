//! The key ring: every secret of a journal. Plain data, kept beside the journal as `keyring.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU8;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// How long one key seals new tokens, in seconds: a day, as AppsFlyer's click signing does.
pub const KEY_ROTATION_S: u32 = 24 * HOUR_S;

/// How long a feed may wait with an ad unless its policy says otherwise, in seconds.
pub const SHOW_BY_DEFAULT_S: u16 = 10 * 60;

/// How long after its `show_by` a view token still opens, in seconds: late events count until then,
/// and reports call an hour complete after it.
pub const VIEW_TOKEN_GRACE_S: u32 = 24 * HOUR_S;

/// How long a view token with the usual `show_by` lives, in seconds after it was issued.
pub const VIEW_TOKEN_LIFE_S: u32 = SHOW_BY_DEFAULT_S as u32 + VIEW_TOKEN_GRACE_S;

/// How long a click token opens, in seconds after it was issued: the longest click window (28 days),
/// and a day for events that come late.
pub const CLICK_TOKEN_LIFE_S: u32 = 29 * 24 * HOUR_S;

/// How long a frequency token opens, in seconds after it was issued: the longest interval of a cap
/// (30 days), and a day. After that nothing is counted any more for the viewer that it stands for.
pub const FREQUENCY_TOKEN_LIFE_S: u32 = 31 * 24 * HOUR_S;

/// The longest life of any token that a rotating key seals, in seconds.
pub const TOKEN_LIFE_MAX_S: u32 = FREQUENCY_TOKEN_LIFE_S;

/// How long another node may go on sealing with the old key after a rotation, in seconds.
pub const KEY_SLACK_S: u32 = HOUR_S;

const HOUR_S: u32 = 3_600;

const _: () = assert!(CLICK_TOKEN_LIFE_S <= TOKEN_LIFE_MAX_S);
// A view token never outlives its key, however late its `show_by` is.
const _: () = assert!(u16::MAX as u32 + VIEW_TOKEN_GRACE_S <= TOKEN_LIFE_MAX_S);
// Every key of the longest life fits beside the current one, with room for rotations by hand.
const _: () = assert!((TOKEN_LIFE_MAX_S + KEY_SLACK_S) / KEY_ROTATION_S < 128);

/// 32 secret bytes. `Debug` never shows them.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps bytes that came from a source of randomness or a key file.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a new secret.
    pub fn draw(random: &mut impl FnMut(&mut [u8])) -> Self {
        let mut bytes = [0; 32];
        random(&mut bytes);
        Self(bytes)
    }

    /// Returns the bytes, for a hash or cipher only.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is a secret, so an error must not repeat it.
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("a secret is 64 hexadecimal digits"))
    }
}

/// One key that seals tokens, and how long it must stay.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SealKey {
    /// The first byte of what it sealed. Zero is the cursor key's.
    pub id: NonZeroU8,
    /// The AES-SIV key.
    pub secret: Secret,
    /// When it began to seal, in seconds since the Unix epoch.
    pub made_at: u32,
    /// When the last token it may have sealed has ended, in seconds since the Unix epoch; unknown while
    /// it still seals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u32>,
}

/// Every secret of a journal: part of the truth, as no other file can replace it.
///
/// An unknown field is refused: a release that dropped a newer one's keys when it wrote the file back
/// would lose them for good.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRing {
    /// The key that seals.
    pub current: SealKey,
    /// Keys that only open, oldest first.
    pub old: Vec<SealKey>,
    /// Seals cursors and page tokens. It is never rotated: a cursor must open as long as the journal
    /// is kept (95 days at least), and moves no money.
    pub cursor: Secret,
    /// Hashes the contacts of channel endpoints.
    pub contact: Secret,
    /// Hashes views to prefill codes.
    pub code: Secret,
    /// Hashes the viewers of each feed, by feed number; gone when the feed is.
    pub links: BTreeMap<u32, Secret>,
}

/// Why a ring did not rotate: all 255 key ids still open tokens.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("255 keys still open tokens: rotate again after the oldest one ends")]
pub struct RingFull;

impl KeyRing {
    /// Makes the ring of a new journal.
    pub fn generate(random: &mut impl FnMut(&mut [u8]), now_s: u32) -> Self {
        Self {
            current: SealKey {
                id: NonZeroU8::MIN,
                secret: Secret::draw(random),
                made_at: now_s,
                ends_at: None,
            },
            old: Vec::new(),
            cursor: Secret::draw(random),
            contact: Secret::draw(random),
            code: Secret::draw(random),
            links: BTreeMap::new(),
        }
    }

    /// Tells whether the current key has sealed for its whole period.
    pub fn is_due(&self, now_s: u32) -> bool {
        now_s >= self.current.made_at.saturating_add(KEY_ROTATION_S)
    }

    /// Begins to seal with a new key; the one before it opens until its last token ends. The ring must
    /// be durable before the new key seals anything.
    pub fn rotate(
        &mut self,
        random: &mut impl FnMut(&mut [u8]),
        now_s: u32,
    ) -> Result<(), RingFull> {
        self.prune(now_s);
        let id = self.free_id().ok_or(RingFull)?;
        let secret = Secret::draw(random);
        // After this point the rotation must succeed.
        let next = SealKey { id, secret, made_at: now_s, ends_at: None };
        let mut last = std::mem::replace(&mut self.current, next);
        // The clock may have gone back since the key was made.
        let sealed_until = now_s.max(last.made_at).saturating_add(KEY_SLACK_S);
        last.ends_at = Some(sealed_until.saturating_add(TOKEN_LIFE_MAX_S));
        self.old.push(last);
        Ok(())
    }

    /// Drops the keys whose last token has ended.
    pub fn prune(&mut self, now_s: u32) {
        self.old.retain(|key| key.ends_at.is_none_or(|end| now_s < end));
    }

    /// Returns a feed's link secret, making it if the feed is new. A known feed keeps its secret, or
    /// each of its viewers would become a stranger.
    pub fn add_feed(&mut self, feed: u32, random: &mut impl FnMut(&mut [u8])) -> &Secret {
        self.links.entry(feed).or_insert_with(|| Secret::draw(random))
    }

    /// Returns a feed's link secret, if the feed is known.
    pub fn link(&self, feed: u32) -> Option<&Secret> {
        self.links.get(&feed)
    }

    /// Forgets a feed's link secret: nobody can tell any more whose its viewer numbers were.
    pub fn drop_feed(&mut self, feed: u32) {
        self.links.remove(&feed);
    }

    /// Returns the next id after the current one, from 1 again after 255, that no key holds.
    fn free_id(&self) -> Option<NonZeroU8> {
        let next = |id: u8| NonZeroU8::new(id.wrapping_add(1)).unwrap_or(NonZeroU8::MIN);
        let mut id = next(self.current.id.get());
        while id != self.current.id {
            if self.old.iter().all(|key| key.id != id) {
                return Some(id);
            }
            id = next(id.get());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u32 = 24 * HOUR_S;

    /// Fills each secret with a byte that no other secret has.
    fn counting() -> impl FnMut(&mut [u8]) {
        let mut count = 0u8;
        move |bytes| {
            count = count.wrapping_add(1);
            bytes.fill(count);
        }
    }

    #[test]
    fn a_ring_survives_its_file_and_shows_no_secret() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 1_000);
        ring.rotate(&mut random, 2_000).unwrap();
        ring.add_feed(7, &mut random);
        let file = serde_json::to_string_pretty(&ring).unwrap();
        let back: KeyRing = serde_json::from_str(&file).unwrap();
        assert_eq!(serde_json::to_string_pretty(&back).unwrap(), file);
        assert_eq!(file.matches(&"01".repeat(32)).count(), 1, "{file}");

        let shown = format!("{ring:?}");
        for byte in 1..=6 {
            let decimal = format!("{byte}, {byte}, {byte}");
            let hex = format!("{byte:02x}").repeat(3);
            assert!(!shown.contains(&decimal) && !shown.contains(&hex), "{shown}");
        }
    }

    #[test]
    fn a_broken_ring_is_refused_without_repeating_it() {
        let ring = KeyRing::generate(&mut counting(), 0);
        let file = serde_json::to_string(&ring).unwrap();
        let secret = "01".repeat(32);
        for (from, to) in [
            (secret.as_str(), "0101"),
            (secret.as_str(), &"0g".repeat(32)),
            ("\"id\":1", "\"id\":0"),
            ("\"cursor\"", "\"newer\":1,\"cursor\""),
        ] {
            let broken = file.replacen(from, to, 1);
            let error = serde_json::from_str::<KeyRing>(&broken).unwrap_err().to_string();
            assert!(!error.contains("0101") && !error.contains("0g0g"), "{error}");
        }
    }

    #[test]
    fn an_old_key_stays_until_its_last_token_ends() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 0);
        assert!(!ring.is_due(DAY_S - 1));
        assert!(ring.is_due(DAY_S));
        ring.rotate(&mut random, DAY_S).unwrap();
        let end = DAY_S + KEY_SLACK_S + FREQUENCY_TOKEN_LIFE_S;
        ring.prune(end - 1);
        assert_eq!(ring.old.len(), 1);
        ring.prune(end);
        assert_eq!(ring.old.len(), 0);
        assert_eq!(ring.current.id.get(), 2);
    }

    #[test]
    fn a_clock_that_went_back_shortens_no_key() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 5 * DAY_S);
        ring.rotate(&mut random, DAY_S).unwrap();
        assert_eq!(ring.old[0].ends_at, Some(5 * DAY_S + KEY_SLACK_S + TOKEN_LIFE_MAX_S));
    }

    #[test]
    fn ids_wrap_past_zero_and_never_meet_a_living_key() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 0);
        for day in 1..=600 {
            ring.rotate(&mut random, day * DAY_S).unwrap();
            assert!(ring.old.len() <= 33, "{}", ring.old.len());
            assert!(ring.old.iter().all(|key| key.id != ring.current.id));
        }
        assert_eq!(u32::from(ring.current.id.get()), 600 % 255 + 1);
    }

    #[test]
    fn a_full_ring_refuses_rather_than_forget_a_key() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 0);
        (0..254).for_each(|_| ring.rotate(&mut random, 0).unwrap());
        let current = ring.current.id;
        assert_eq!(ring.rotate(&mut random, 0), Err(RingFull));
        assert_eq!((ring.old.len(), ring.current.id), (254, current));
        ring.rotate(&mut random, TOKEN_LIFE_MAX_S + KEY_SLACK_S).unwrap();
        assert_eq!(ring.old.len(), 1);
    }

    #[test]
    fn a_feed_keeps_its_secret_until_it_goes() {
        let mut random = counting();
        let mut ring = KeyRing::generate(&mut random, 0);
        let first = ring.add_feed(7, &mut random).bytes().to_vec();
        assert_eq!(ring.add_feed(7, &mut random).bytes(), &first[..]);
        ring.drop_feed(7);
        assert!(ring.link(7).is_none());
        assert_ne!(ring.add_feed(7, &mut random).bytes(), &first[..]);
    }
}
