//! Numbers of any width, one behind the other in a run of bytes, the lowest bit first.

/// Writes numbers of at most 64 bits.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// What is not in `bytes` yet.
    window: u64,
    /// Bits of the window that are taken, fewer than all.
    held: u32,
}

impl BitWriter {
    /// Goes on behind the lowest `bits` of a byte that was begun, fewer than eight.
    pub fn behind(begun: u8, bits: u32) -> Self {
        Self { bytes: Vec::new(), window: u64::from(begun) & ((1 << bits) - 1), held: bits }
    }

    /// Writes the lowest `width` bits of a number.
    #[inline]
    pub fn put(&mut self, number: u64, width: u32) {
        let number = number & (u64::MAX.checked_shr(u64::BITS - width).unwrap_or_default());
        self.window |= number << self.held;
        let held = self.held + width;
        if held < u64::BITS {
            self.held = held;
            return;
        }
        self.bytes.extend_from_slice(&self.window.to_le_bytes());
        self.window = number.checked_shr(u64::BITS - self.held).unwrap_or_default();
        self.held = held - u64::BITS;
    }

    /// Writes a number in the first of four widths that holds it, ascending, behind two bits that say which. The
    /// last must hold it.
    pub fn put_fitting(&mut self, widths: [u32; 4], number: u64) {
        let fits = |width: &u32| number.checked_shr(*width).unwrap_or_default() == 0;
        let class = widths.iter().position(fits).unwrap_or(3);
        self.put(class as u64, 2);
        self.put(number, widths[class]);
    }

    /// Returns the bytes; what is left of the last one is zero.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let left = self.held.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.window.to_le_bytes()[..left]);
        self.bytes
    }
}

/// Reads them back. Behind the end there are zeros.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    /// What is not in the window yet.
    rest: &'a [u8],
    window: u64,
    /// Bits of the window that are not read yet.
    held: u32,
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Reads from the first bit on.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, window: 0, held: 0, at: 0 }
    }

    /// Returns how many bits were read.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Reads a number of at most 64 bits.
    #[inline]
    pub fn take(&mut self, width: u32) -> u64 {
        if width > HALF {
            let low = self.take_half(HALF);
            return low | self.take_half(width - HALF) << HALF;
        }
        self.take_half(width)
    }

    #[inline]
    fn take_half(&mut self, width: u32) -> u64 {
        if self.held < width {
            self.refill();
        }
        let number = self.window & ((1 << width) - 1);
        self.window >>= width;
        self.held -= width;
        self.at += width as usize;
        number
    }

    /// Fills the window with whole bytes, as many as it has room for.
    fn refill(&mut self) {
        if let Some(eight) = self.rest.first_chunk::<8>() {
            let bytes = (u64::BITS - 1 - self.held) / 8;
            let more = u64::from_le_bytes(*eight) & ((1 << (8 * bytes)) - 1);
            self.window |= more << self.held;
            self.held += 8 * bytes;
            self.rest = &self.rest[bytes as usize..];
            return;
        }
        while self.held <= u64::BITS - 8 {
            let (byte, rest) = self.rest.split_first().unwrap_or((&0, &[]));
            self.window |= u64::from(*byte) << self.held;
            self.held += 8;
            self.rest = rest;
        }
    }

    /// Reads a number that [`BitWriter::put_fitting`] wrote.
    #[inline]
    pub fn take_fitting(&mut self, widths: [u32; 4]) -> u64 {
        let class = self.take(2) as usize;
        self.take(widths[class])
    }
}

/// Most bits that a window holds for sure, once it was filled.
const HALF: u32 = u32::BITS;

#[cfg(test)]
mod tests {
    use super::*;

    const fn mask(width: u32) -> u64 {
        if width >= u64::BITS { u64::MAX } else { (1 << width) - 1 }
    }

    #[test]
    fn numbers_of_all_widths_come_back_from_wherever_they_stand() {
        for first in 0..=64 {
            let mut writer = BitWriter::default();
            let numbers: Vec<(u64, u32)> = (0..=64)
                .map(|width| (0xD1B5_4A32_D192_ED03_u64.rotate_left(width) & mask(width), width))
                .collect();
            writer.put(mask(first), first);
            numbers.iter().for_each(|(number, width)| writer.put(*number, *width));
            let bytes = writer.into_bytes();
            let mut reader = BitReader::new(&bytes);
            assert_eq!(reader.take(first), mask(first));
            for (number, width) in numbers {
                assert_eq!(reader.take(width), number, "{width} bits behind {first}");
            }
            assert_eq!(bytes.len(), reader.at().div_ceil(8));
            assert_eq!((reader.take(64), reader.take(64)), (0, 0), "behind the end");
        }
    }

    #[test]
    fn a_number_takes_the_first_width_that_holds_it() {
        let widths = [4, 8, 20, 64];
        for (number, bits) in
            [(0, 6), (15, 6), (16, 10), (255, 10), (256, 22), (1 << 20, 66), (u64::MAX, 66)]
        {
            let mut writer = BitWriter::default();
            writer.put_fitting(widths, number);
            let bytes = writer.into_bytes();
            let mut reader = BitReader::new(&bytes);
            assert_eq!((reader.take_fitting(widths), reader.at()), (number, bits));
        }
    }

    #[test]
    fn writing_goes_on_where_it_was_left() {
        for cut in 0..=23 {
            let (mut whole, mut first) = (BitWriter::default(), BitWriter::default());
            for (index, bit) in (0..60).map(|index| (index, (index * index / 3) & 1)) {
                whole.put(bit, 1);
                if index < cut {
                    first.put(bit, 1);
                }
            }
            let mut first = first.into_bytes();
            let whole_bytes = cut as usize / 8;
            let begun = first.get(whole_bytes).copied().unwrap_or_default();
            first.truncate(whole_bytes);
            let mut again = BitWriter::behind(begun | 0x80, cut as u32 % 8);
            (cut..60).for_each(|index| again.put((index * index / 3) & 1, 1));
            first.extend(again.into_bytes());
            assert_eq!(first, whole.into_bytes(), "cut at {cut}");
        }
    }
}
