//! What a peer says before it may stay: that it speaks HTTP/2, and that it saw what the server allows.

/// Bytes of the words with which every HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// Bytes of a frame's head: length, type, flags, stream.
const HEAD_BYTES: usize = 9;

/// The type of a SETTINGS frame, and its flag that acknowledges the other side's (RFC 9113, 6.5).
const SETTINGS: u8 = 0x4;
const ACK: u8 = 0x1;

/// How far a peer's greeting has come. It looks at heads of frames alone, and at nothing once it is complete;
/// whether the frames are good is for those to say who read them.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// Bytes of the preface that came.
    heard: usize,
    /// Bytes of a frame's payload that are still to be passed over.
    skip: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that came.
    filled: usize,
    is_complete: bool,
}

impl Greeting {
    /// Tells whether the peer has acknowledged the server's settings.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Listens to what came. Returns whether the greeting became complete by it.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> bool {
        while !self.is_complete && !bytes.is_empty() {
            let used = self.step(bytes);
            bytes = &bytes[used..];
            if self.is_complete {
                return true;
            }
        }
        false
    }

    /// Takes at least one byte, and returns how many it took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.heard < PREFACE_BYTES {
            let used = bytes.len().min(PREFACE_BYTES - self.heard);
            self.heard += used;
            return used;
        }
        if self.skip > 0 {
            let used = bytes.len().min(self.skip);
            self.skip -= used;
            return used;
        }
        let used = bytes.len().min(HEAD_BYTES - self.filled);
        self.head[self.filled..self.filled + used].copy_from_slice(&bytes[..used]);
        self.filled += used;
        if self.filled == HEAD_BYTES {
            let [a, b, c, kind, flags, ..] = self.head;
            self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
            self.filled = 0;
            self.is_complete = kind == SETTINGS && flags & ACK != 0;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A preface, settings of one pair, a frame of another type with a payload, and the acknowledgement.
    fn greeting() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
        // A payload that looks like the acknowledgement is none.
        bytes.extend([0, 0, 9, 0x8, 0, 0, 0, 0, 0, 0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]);
        bytes.extend([0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn it_is_complete_with_the_acknowledgement_however_it_is_cut() {
        let bytes = greeting();
        for size in 1..=bytes.len() {
            let mut greeting = Greeting::default();
            let became = bytes.chunks(size).map(|part| greeting.hear(part)).collect::<Vec<_>>();
            assert!(greeting.is_complete(), "parts of {size}");
            assert_eq!(became.iter().filter(|became| **became).count(), 1, "told once");
            assert_eq!(became.last(), Some(&true), "and at its end");
        }
    }

    #[test]
    fn nothing_less_is_a_greeting() {
        let bytes = greeting();
        for length in 0..bytes.len() {
            let mut greeting = Greeting::default();
            assert!(!greeting.hear(&bytes[..length]), "{length} bytes");
        }
    }
}
