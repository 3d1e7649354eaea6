//! What every frame on disk begins with: magic, length, CRC32C. All numbers are little-endian.

/// Bytes before a frame's own fields: magic 4, length of the whole frame 4, CRC32C of what follows 4.
pub(super) const PREFIX_BYTES: usize = 12;

/// Why bytes are not the frame that belongs there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Damage {
    /// The bytes do not begin with the magic.
    #[error("no frame begins here")]
    Magic,
    /// The frame claims more bytes than there are or may be, or fewer than its fields need.
    #[error("the frame's length is impossible")]
    Length,
    /// The bytes are not those that were written.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right, but the fields contradict each other.
    #[error("the frame's fields contradict each other")]
    Layout,
    /// The frame is whole, but belongs to another journal.
    #[error("the frame belongs to another journal")]
    Foreign,
    /// The frame is whole, but does not continue what precedes it.
    #[error("the frame does not continue what precedes it")]
    Chain,
    /// What a later frame says was stored is not there.
    #[error("frames are missing")]
    Missing,
}

impl Damage {
    /// Tells whether a write that power cut short can look like this. All else was written so.
    pub(super) fn may_be_torn(self) -> bool {
        matches!(self, Self::Magic | Self::Length | Self::Checksum)
    }
}

/// Writes the prefix of a frame whose other fields are in place.
pub(super) fn finish(frame: &mut [u8], magic: [u8; 4]) {
    let length = u32::try_from(frame.len()).expect("a frame is at most 1 MiB");
    frame[..4].copy_from_slice(&magic);
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&frame[PREFIX_BYTES..]);
    frame[8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Returns the frame at the start of `bytes`, which may go on behind it.
pub(super) fn check(
    bytes: &[u8],
    magic: [u8; 4],
    bytes_min: usize,
    bytes_max: usize,
) -> Result<&[u8], Damage> {
    if bytes.get(..4) != Some(&magic) {
        return Err(Damage::Magic);
    }
    if bytes.len() < PREFIX_BYTES {
        return Err(Damage::Length);
    }
    let length = u32_at(bytes, 4) as usize;
    if !(bytes_min..=bytes_max).contains(&length) || length > bytes.len() {
        return Err(Damage::Length);
    }
    if crc32c::crc32c(&bytes[PREFIX_BYTES..length]) != u32_at(bytes, 8) {
        return Err(Damage::Checksum);
    }
    Ok(&bytes[..length])
}

/// Returns the number at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// Returns the number at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// Returns the `N` bytes at `at`.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice is as long as the array")
}
