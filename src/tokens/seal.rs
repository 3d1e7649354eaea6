//! The sealer: seals and opens every token of a journal under its key ring.

use aes_siv::siv::Aes128Siv;
use aes_siv::{KeyInit, Tag};
use data_encoding::BASE64URL_NOPAD;

use crate::tokens::layout::{
    CLICK_PAYLOAD, FREQUENCY_PAYLOAD, VIEW_PAYLOAD, read_click, read_frequency, read_view,
    write_click, write_frequency, write_view,
};
use crate::tokens::{
    CLICK_TOKEN_LIFE_S, FREQUENCY_TOKEN_LIFE_S, KeyRing, Kind, Secret, TokenRefusal,
    VIEW_TOKEN_GRACE_S,
};
use crate::types::token::{ClickToken, FrequencyToken, ViewToken};

/// Bytes that a seal adds: the key id, then the tag.
const OVERHEAD: usize = 1 + TAG;

const TAG: usize = 16;

/// The key id of cursors and page tokens.
const CURSOR_KEY: u8 = 0;

/// Bytes of a sealed view token.
pub const VIEW_TOKEN_BYTES: usize = OVERHEAD + VIEW_PAYLOAD;

/// Bytes of a sealed click token.
pub const CLICK_TOKEN_BYTES: usize = OVERHEAD + CLICK_PAYLOAD;

/// Bytes of a sealed frequency token.
pub const FREQUENCY_TOKEN_BYTES: usize = OVERHEAD + FREQUENCY_PAYLOAD;

/// Characters of a click token in a link: base64url without padding, as long as Telegram allows.
pub const CLICK_TOKEN_CHARS: usize = 64;

const _: () = assert!(VIEW_TOKEN_BYTES <= 128);
// No bits are left over in the last character, so each click token has exactly one text.
const _: () = assert!(CLICK_TOKEN_BYTES * 8 == CLICK_TOKEN_CHARS * 6);

/// The longest cursor or page token that is looked at, in bytes: one with a sequence for each of the
/// 65 shards has about 700.
pub const PLACE_BYTES_MAX: usize = 4_096;

/// A view token as the feed keeps it.
pub type SealedView = [u8; VIEW_TOKEN_BYTES];

/// A frequency token as the feed keeps it.
pub type SealedFrequency = [u8; FREQUENCY_TOKEN_BYTES];

/// A click token before it becomes text.
pub type SealedClick = [u8; CLICK_TOKEN_BYTES];

/// Seals and opens under one version of a key ring; made anew when the ring changes.
///
/// The cipher is set up for each call: it is not `Clone` and works in place, so one kept here would need
/// a lock or a copy per thread, and would save 0.07 us of 0.7 us.
#[derive(Debug)]
pub struct Sealer {
    ring: KeyRing,
    /// Each key by its id, so that opening looks up and never searches.
    keys: Box<[Option<Secret>; 256]>,
}

impl Sealer {
    /// Makes the sealer of a ring.
    pub fn new(ring: KeyRing) -> Self {
        let mut keys = Box::new([const { None }; 256]);
        for key in ring.old.iter().chain([&ring.current]) {
            keys[usize::from(key.id.get())] = Some(key.secret.clone());
        }
        keys[usize::from(CURSOR_KEY)] = Some(ring.cursor.clone());
        Self { ring, keys }
    }

    /// Returns the ring this sealer was made of.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Seals a view token under the current key.
    pub fn seal_view(&self, token: &ViewToken) -> SealedView {
        let mut out = [0; VIEW_TOKEN_BYTES];
        self.seal(Kind::View, &write_view(token), &mut out);
        out
    }

    /// Opens a view token, or names why it is refused.
    pub fn open_view(&self, bytes: &[u8], now_s: u32) -> Result<ViewToken, TokenRefusal> {
        let token = read_view(&self.open_fixed(Kind::View, bytes)?);
        let shown_by = token.issued.saturating_add(token.show_by.into());
        refuse_past(shown_by.saturating_add(VIEW_TOKEN_GRACE_S), now_s)?;
        Ok(token)
    }

    /// Seals a click token under the current key.
    pub fn seal_click(&self, token: &ClickToken) -> SealedClick {
        let mut out = [0; CLICK_TOKEN_BYTES];
        self.seal(Kind::Click, &write_click(token), &mut out);
        out
    }

    /// Opens a click token, or names why it is refused.
    pub fn open_click(&self, bytes: &[u8], now_s: u32) -> Result<ClickToken, TokenRefusal> {
        let token = read_click(&self.open_fixed(Kind::Click, bytes)?);
        refuse_past(token.issued.saturating_add(CLICK_TOKEN_LIFE_S), now_s)?;
        Ok(token)
    }

    /// Seals a click token to the 64 characters that ride in a chat link.
    pub fn seal_click_text(&self, token: &ClickToken) -> String {
        BASE64URL_NOPAD.encode(&self.seal_click(token))
    }

    /// Opens a click token that came back from a chat link as text.
    pub fn open_click_text(&self, text: &str, now_s: u32) -> Result<ClickToken, TokenRefusal> {
        let mut bytes = [0; CLICK_TOKEN_BYTES];
        if text.len() != CLICK_TOKEN_CHARS {
            return Err(TokenRefusal::Malformed);
        }
        BASE64URL_NOPAD
            .decode_mut(text.as_bytes(), &mut bytes)
            .map_err(|_| TokenRefusal::Malformed)?;
        self.open_click(&bytes, now_s)
    }

    /// Seals a frequency token under the current key.
    pub fn seal_frequency(&self, token: &FrequencyToken) -> SealedFrequency {
        let mut out = [0; FREQUENCY_TOKEN_BYTES];
        self.seal(Kind::Frequency, &write_frequency(token), &mut out);
        out
    }

    /// Opens a frequency token, or names why it is refused.
    pub fn open_frequency(&self, bytes: &[u8], now_s: u32) -> Result<FrequencyToken, TokenRefusal> {
        let token = read_frequency(&self.open_fixed(Kind::Frequency, bytes)?);
        refuse_past(token.issued.saturating_add(FREQUENCY_TOKEN_LIFE_S), now_s)?;
        Ok(token)
    }

    /// Seals a place in a pull.
    ///
    /// # Panics
    /// When the place has more bytes than [`PLACE_BYTES_MAX`] leaves, which one sequence a shard never has.
    pub fn seal_cursor(&self, cursor: &[u8]) -> Vec<u8> {
        self.seal_place(Kind::Cursor, cursor)
    }

    /// Opens a place in a pull. It never ends by itself: the journal says whether it still reaches it.
    pub fn open_cursor(&self, bytes: &[u8]) -> Result<Vec<u8>, TokenRefusal> {
        self.open_place(Kind::Cursor, bytes)
    }

    /// Seals a place in a list.
    ///
    /// # Panics
    /// When the place has more bytes than [`PLACE_BYTES_MAX`] leaves.
    pub fn seal_page(&self, page: &[u8]) -> Vec<u8> {
        self.seal_place(Kind::Page, page)
    }

    /// Opens a place in a list.
    pub fn open_page(&self, bytes: &[u8]) -> Result<Vec<u8>, TokenRefusal> {
        self.open_place(Kind::Page, bytes)
    }

    fn seal_place(&self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() <= PLACE_BYTES_MAX - OVERHEAD, "a place fits PLACE_BYTES_MAX");
        let mut out = vec![0; OVERHEAD + payload.len()];
        self.seal(kind, payload, &mut out);
        out
    }

    fn open_place(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, TokenRefusal> {
        let mut payload = vec![0; bytes.len().clamp(OVERHEAD, PLACE_BYTES_MAX) - OVERHEAD];
        self.open(kind, bytes, &mut payload)?;
        Ok(payload)
    }

    fn seal(&self, kind: Kind, payload: &[u8], out: &mut [u8]) {
        let (id, secret) = match kind {
            Kind::View | Kind::Click | Kind::Frequency => {
                (self.ring.current.id.get(), &self.ring.current.secret)
            }
            Kind::Cursor | Kind::Page => (CURSOR_KEY, &self.ring.cursor),
        };
        let (head, body) = out.split_at_mut(OVERHEAD);
        body.copy_from_slice(payload);
        let tag = Aes128Siv::new(secret.bytes().into())
            .encrypt_inout_detached([[kind as u8, id]], body.into())
            .expect("one header is fewer than the 126 that SIV takes");
        head[0] = id;
        head[1..].copy_from_slice(&tag);
    }

    fn open_fixed<const N: usize>(
        &self,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<[u8; N], TokenRefusal> {
        let mut payload = [0; N];
        self.open(kind, bytes, &mut payload)?;
        Ok(payload)
    }

    /// Opens `bytes` into `payload`, whose length is that of the kind.
    fn open(&self, kind: Kind, bytes: &[u8], payload: &mut [u8]) -> Result<(), TokenRefusal> {
        let Some((&[id], sealed)) = bytes.split_first_chunk() else {
            return Err(TokenRefusal::Malformed);
        };
        if !(OVERHEAD..=PLACE_BYTES_MAX).contains(&bytes.len()) {
            return Err(TokenRefusal::Malformed);
        }
        let secret = self.keys[usize::from(id)].as_ref();
        let fits = bytes.len() == OVERHEAD + payload.len();
        if let Some(secret) = secret {
            if fits && unseal(secret, kind, id, sealed, payload) {
                return Ok(());
            }
            if let Some(found) = recognise(secret, kind, id, sealed) {
                return Err(TokenRefusal::WrongKind { wanted: kind, found });
            }
        }
        Err(match secret {
            _ if !fits => TokenRefusal::Malformed,
            None => TokenRefusal::UnknownKey(id),
            Some(_) => TokenRefusal::Forged,
        })
    }
}

/// Decrypts tag and ciphertext into `payload` and tells whether they are authentic.
fn unseal(secret: &Secret, kind: Kind, id: u8, sealed: &[u8], payload: &mut [u8]) -> bool {
    let Some((tag, body)) = sealed.split_first_chunk::<TAG>() else {
        return false;
    };
    payload.copy_from_slice(body);
    Aes128Siv::new(secret.bytes().into())
        .decrypt_inout_detached([[kind as u8, id]], payload.into(), &Tag::from(*tag))
        .is_ok()
}

/// Returns which other kind a refused token is, so that the caller learns of a swapped field.
fn recognise(secret: &Secret, wanted: Kind, id: u8, sealed: &[u8]) -> Option<Kind> {
    let mut payload = vec![0; sealed.len().checked_sub(TAG)?];
    let mut others = Kind::ALL.into_iter().filter(|&kind| kind != wanted);
    others.find(|&kind| unseal(secret, kind, id, sealed, &mut payload))
}

fn refuse_past(ended_at: u32, now_s: u32) -> Result<(), TokenRefusal> {
    if now_s < ended_at { Ok(()) } else { Err(TokenRefusal::Expired { ended_at }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::samples::{CLICK, FREQUENCY, NOW, VIEW, ring, sealer};
    use crate::types::token::pack_region;

    #[test]
    fn what_was_sealed_opens_as_it_was() {
        let sealer = sealer(1);
        assert_eq!(sealer.open_view(&sealer.seal_view(&VIEW), NOW), Ok(VIEW));
        assert_eq!(sealer.open_click(&sealer.seal_click(&CLICK), NOW), Ok(CLICK));
        assert_eq!(sealer.open_frequency(&sealer.seal_frequency(&FREQUENCY), NOW), Ok(FREQUENCY));
        for place in [&b""[..], b"here", &[7; PLACE_BYTES_MAX - OVERHEAD]] {
            assert_eq!(sealer.open_cursor(&sealer.seal_cursor(place)).unwrap(), place);
            assert_eq!(sealer.open_page(&sealer.seal_page(place)).unwrap(), place);
        }
    }

    #[test]
    fn a_click_token_fits_the_narrowest_link() {
        let sealer = sealer(1);
        for view in 0..200 {
            let text = sealer.seal_click_text(&ClickToken { view, ..CLICK });
            assert_eq!(text.len(), CLICK_TOKEN_CHARS);
            assert!(
                text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                "{text}"
            );
            assert_eq!(sealer.open_click_text(&text, NOW).unwrap().view, view);
        }
        for bad in ["", "A", &"A".repeat(63), &"A".repeat(65), &"=".repeat(64), &"+".repeat(64)] {
            assert_eq!(sealer.open_click_text(bad, NOW), Err(TokenRefusal::Malformed), "{bad}");
        }
    }

    #[test]
    fn no_token_opens_with_any_bit_flipped() {
        let sealer = sealer(1);
        each_bit_flipped(&sealer.seal_view(&VIEW), |bytes| sealer.open_view(bytes, NOW).err());
        each_bit_flipped(&sealer.seal_click(&CLICK), |bytes| sealer.open_click(bytes, NOW).err());
        each_bit_flipped(&sealer.seal_frequency(&FREQUENCY), |bytes| {
            sealer.open_frequency(bytes, NOW).err()
        });
        each_bit_flipped(&sealer.seal_cursor(b"here"), |bytes| sealer.open_cursor(bytes).err());
        each_bit_flipped(&sealer.seal_page(b"here"), |bytes| sealer.open_page(bytes).err());
    }

    #[test]
    fn no_token_opens_cut_short_or_made_longer() {
        let sealer = sealer(1);
        let sealed = sealer.seal_view(&VIEW);
        for len in 0..sealed.len() {
            assert_eq!(sealer.open_view(&sealed[..len], NOW), Err(TokenRefusal::Malformed));
            assert!(sealer.open_cursor(&sealed[..len]).is_err());
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(sealer.open_view(&longer, NOW), Err(TokenRefusal::Malformed));
        let endless = vec![1; PLACE_BYTES_MAX + 1];
        assert_eq!(sealer.open_cursor(&endless), Err(TokenRefusal::Malformed));
    }

    #[test]
    fn twenty_thousand_random_changes_open_nothing() {
        let sealer = sealer(1);
        let (view, click) = (sealer.seal_view(&VIEW), sealer.seal_click(&CLICK));
        let mut dice = blake3::Hasher::new().update(b"mutations").finalize_xof();
        let mut draw = || {
            let mut bytes = [0; 4];
            dice.fill(&mut bytes);
            u32::from_le_bytes(bytes) as usize
        };
        for _ in 0..10_000 {
            let (mut a, mut b) = (view, click);
            for _ in 0..draw() % 8 + 1 {
                a[draw() % VIEW_TOKEN_BYTES] = draw() as u8;
                b[draw() % CLICK_TOKEN_BYTES] = draw() as u8;
            }
            assert!(a == view || sealer.open_view(&a, NOW).is_err());
            assert!(b == click || sealer.open_click(&b, NOW).is_err());
        }
    }

    #[test]
    fn a_token_of_another_journal_is_refused() {
        let (ours, foreign) = (sealer(1), sealer(101));
        let sealed = foreign.seal_view(&VIEW);
        assert_eq!(ours.open_view(&sealed, NOW), Err(TokenRefusal::Forged));
        let sealed = foreign.seal_click(&CLICK);
        assert_eq!(ours.open_click(&sealed, NOW), Err(TokenRefusal::Forged));
        assert_eq!(ours.open_cursor(&foreign.seal_cursor(b"")), Err(TokenRefusal::Forged));
    }

    #[test]
    fn a_token_ends_to_the_second() {
        let sealer = sealer(1);
        let view_end = NOW + 600 + 24 * 3_600;
        let click_end = NOW + 29 * 24 * 3_600;
        let (view, click) = (sealer.seal_view(&VIEW), sealer.seal_click(&CLICK));
        assert_eq!(sealer.open_view(&view, view_end - 1), Ok(VIEW));
        let expired = Err(TokenRefusal::Expired { ended_at: view_end });
        assert_eq!(sealer.open_view(&view, view_end), expired);
        assert_eq!(sealer.open_click(&click, click_end - 1), Ok(CLICK));
        let expired = Err(TokenRefusal::Expired { ended_at: click_end });
        assert_eq!(sealer.open_click(&click, click_end), expired);
        let frequency = sealer.seal_frequency(&FREQUENCY);
        let frequency_end = NOW + 31 * 24 * 3_600;
        assert_eq!(sealer.open_frequency(&frequency, frequency_end - 1), Ok(FREQUENCY));
        let expired = Err(TokenRefusal::Expired { ended_at: frequency_end });
        assert_eq!(sealer.open_frequency(&frequency, frequency_end), expired);
        assert_eq!(sealer.open_view(&view, 0), Ok(VIEW), "a clock behind ours refuses nothing");
    }

    #[test]
    fn a_retired_key_opens_to_the_end_of_its_tokens_and_then_is_unknown() {
        let mut ring = ring(1);
        let before = Sealer::new(ring.clone());
        let (sealed, frequency) = (before.seal_click(&CLICK), before.seal_frequency(&FREQUENCY));
        ring.rotate(&mut |bytes| bytes.fill(50), NOW).unwrap();
        let last = NOW + FREQUENCY_TOKEN_LIFE_S - 1;
        ring.prune(last);
        let rotated = Sealer::new(ring.clone());
        assert_eq!(rotated.open_click(&sealed, NOW + CLICK_TOKEN_LIFE_S - 1), Ok(CLICK));
        assert_eq!(rotated.open_frequency(&frequency, last), Ok(FREQUENCY));
        assert_ne!(rotated.seal_click(&CLICK)[0], sealed[0]);
        ring.prune(u32::MAX);
        let pruned = Sealer::new(ring);
        assert_eq!(pruned.open_click(&sealed, NOW), Err(TokenRefusal::UnknownKey(1)));
        assert_eq!(pruned.open_cursor(&rotated.seal_cursor(b"kept")).unwrap(), b"kept");
    }

    #[test]
    fn a_token_in_the_wrong_field_is_named() {
        let sealer = sealer(1);
        let wrong = |wanted, found| TokenRefusal::WrongKind { wanted, found };
        let click = sealer.seal_click(&CLICK);
        assert_eq!(sealer.open_view(&click, NOW), Err(wrong(Kind::View, Kind::Click)));
        let view = sealer.seal_view(&VIEW);
        assert_eq!(sealer.open_click(&view, NOW), Err(wrong(Kind::Click, Kind::View)));
        assert_eq!(sealer.open_cursor(&view), Err(wrong(Kind::Cursor, Kind::View)));
        // As long as a click token, so only the associated data tells them apart.
        let page = sealer.seal_page(&[0; CLICK_PAYLOAD]);
        assert_eq!(sealer.open_click(&page, NOW), Err(wrong(Kind::Click, Kind::Page)));
        assert_eq!(sealer.open_cursor(&page), Err(wrong(Kind::Cursor, Kind::Page)));
        let frequency = sealer.seal_frequency(&FREQUENCY);
        assert_eq!(sealer.open_view(&frequency, NOW), Err(wrong(Kind::View, Kind::Frequency)));
        assert_eq!(sealer.open_frequency(&view, NOW), Err(wrong(Kind::Frequency, Kind::View)));
    }

    #[test]
    fn a_sealer_shows_no_secret() {
        let shown = format!("{:?}", sealer(1));
        assert!(!shown.contains("1, 1, 1") && !shown.contains("010101"), "{shown}");
    }

    #[test]
    fn a_region_rides_in_a_view_token() {
        let sealer = sealer(1);
        let region = pack_region("CMX").unwrap();
        let sealed = sealer.seal_view(&ViewToken { region, ..VIEW });
        assert_eq!(sealer.open_view(&sealed, NOW).unwrap().region, region);
    }

    fn each_bit_flipped(sealed: &[u8], open: impl Fn(&[u8]) -> Option<TokenRefusal>) {
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refusal =
                open(&bytes).unwrap_or_else(|| panic!("bit {bit} flipped, and it opened"));
            // A flip in the first byte names another key, which is in the ring or is not.
            let named = match refusal {
                TokenRefusal::Forged => true,
                TokenRefusal::UnknownKey(_) => bit < 8,
                _ => false,
            };
            assert!(named, "bit {bit}: {refusal:?}");
        }
    }
}
