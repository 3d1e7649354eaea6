//! A base's first bytes, the same in every version: they say which version wrote the rest.

const MAGIC: [u8; 8] = *b"munabase";
pub(super) const PREAMBLE_BYTES: usize = 44;
const WRITER_BYTES: std::ops::Range<usize> = 20..36;

/// The versions of a base's parts, and who wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Preamble {
    pub(super) format: u32,
    pub(super) state: u32,
    pub(super) recount: u32,
    pub(super) writer: String,
    pub(super) head_bytes: u32,
}

impl Preamble {
    pub(super) fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, number) in
            [(8, self.format), (12, self.state), (16, self.recount), (36, self.head_bytes)]
        {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let writer = self.writer.as_bytes();
        let length = writer.len().min(WRITER_BYTES.len());
        bytes[WRITER_BYTES][..length].copy_from_slice(&writer[..length]);
        let checksum = crc32c::crc32c(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; PREAMBLE_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[..8] != MAGIC || word(40) != crc32c::crc32c(&bytes[..40]) {
            return None;
        }
        let writer = String::from_utf8_lossy(&bytes[WRITER_BYTES]);
        let writer = writer.trim_end_matches('\0').to_owned();
        let (format, state, recount) = (word(8), word(12), word(16));
        Some(Self { format, state, recount, writer, head_bytes: word(36) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preamble() -> Preamble {
        let writer = "0.1.0".to_owned();
        Preamble { format: 1, state: 10, recount: 3, writer, head_bytes: 1_234 }
    }

    #[test]
    fn the_first_bytes_are_those_that_they_always_were() {
        let mut expected = Vec::from(*b"munabase");
        expected.extend([1, 0, 0, 0, 10, 0, 0, 0, 3, 0, 0, 0]);
        expected.extend(*b"0.1.0\0\0\0\0\0\0\0\0\0\0\0");
        expected.extend([210, 4, 0, 0]);
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(preamble().encode().to_vec(), expected);
        assert_eq!(Preamble::decode(&preamble().encode()), Some(preamble()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for at in 0..PREAMBLE_BYTES {
            for bit in 0..8 {
                let mut bytes = preamble().encode();
                bytes[at] ^= 1 << bit;
                assert_eq!(Preamble::decode(&bytes), None, "byte {at}, bit {bit}");
            }
        }
    }
}
