//! Columns of a segment: for each value of an attribute the rows that take it.

use crate::state::Map;

/// Rows in one word of a set.
pub(super) const WORD: usize = u64::BITS as usize;

/// A value that more than one row of this many takes has a bit set of its own: as small as a list of
/// row numbers would be, and faster.
const ROWS_PER_BIT_SET: usize = 32;

/// A set of rows, a bit each.
type Bits = Box<[u64]>;

fn no_rows(rows: usize) -> Bits {
    vec![0; rows.div_ceil(WORD)].into()
}

fn add(bits: &mut Bits, row: usize) {
    bits[row / WORD] |= 1 << (row % WORD);
}

/// An attribute of a few values: which rows take each of them, "not told" being value 0.
#[derive(Debug, Default)]
pub(super) struct SmallColumn {
    /// Empty: every row takes every value.
    values: Vec<Bits>,
}

impl SmallColumn {
    /// Returns the column of masks with a bit for each value.
    pub(super) fn of(rows: usize, values: usize, mask: impl Fn(usize) -> u8) -> Self {
        let all = ((1u16 << values) - 1) as u8;
        if (0..rows).all(|row| mask(row) & all == all) {
            return Self::default();
        }
        let mut column = vec![no_rows(rows); values];
        for row in 0..rows {
            let mask = mask(row);
            let taken = (0..values).filter(|value| mask >> value & 1 == 1);
            taken.for_each(|value| add(&mut column[value], row));
        }
        Self { values: column }
    }

    /// Returns the rows that take a value; `None`: all do.
    pub(super) fn rows_of(&self, value: u8) -> Option<&[u64]> {
        // A value that no row was built for is as good as untold.
        let known = self.values.get(usize::from(value)).or_else(|| self.values.first());
        known.map(|bits| &**bits)
    }

    /// Returns the bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.values.iter().map(|bits| bits.len() * 8).sum()
    }
}

/// The rows that take one value: a slice of the postings, or a bit set. Two numbers, for an index has
/// a hundred thousand of them.
#[derive(Clone, Copy, Debug)]
struct Rows {
    /// Where the slice begins; of a bit set, which one it is.
    first: u32,
    /// Where it ends; [`MANY`] for a bit set.
    end: u32,
}

/// Stands for a bit set. No slice ends there: a segment has fewer rows.
const MANY: u32 = u32::MAX;

/// An attribute of many values: rows that don't care, and for each value those that name it.
#[derive(Debug, Default)]
pub(super) struct ListColumn {
    /// Rows that take anyone; empty: all rows do.
    wild: Bits,
    values: Map<u64, Rows>,
    /// Ascending within each value.
    postings: Box<[u32]>,
    many: Box<[Bits]>,
}

/// How far a walk has read the rows of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    next: u32,
    end: u32,
}

/// What one viewer's values select of a column: reused from one walk to the next.
#[derive(Debug, Default)]
pub(super) struct Selected {
    few: Vec<Cursor>,
    /// Which bit sets.
    many: Vec<u32>,
}

impl ListColumn {
    /// Returns the column of rows that each name values, or none and so take anyone.
    pub(super) fn of<'a>(rows: usize, named: impl Fn(usize) -> &'a [u64]) -> Self {
        if (0..rows).all(|row| named(row).is_empty()) {
            return Self::default();
        }
        let mut counts = Map::<u64, u32>::default();
        let mut wild = no_rows(rows);
        for row in 0..rows {
            let values = named(row);
            if values.is_empty() {
                add(&mut wild, row);
            }
            values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
        }
        let (mut values, mut many, mut end) = (Map::default(), Vec::new(), 0);
        values.reserve(counts.len());
        for (value, count) in counts {
            let held = if count as usize * ROWS_PER_BIT_SET > rows {
                many.push(no_rows(rows));
                Rows { first: many.len() as u32 - 1, end: MANY }
            } else {
                end += count;
                // Filled from the front; its end moves as rows come in.
                Rows { first: end - count, end: end - count }
            };
            values.insert(value, held);
        }
        let mut postings = vec![0; end as usize].into_boxed_slice();
        for row in 0..rows {
            for value in named(row) {
                let Some(held) = values.get_mut(value) else { continue };
                if held.end == MANY {
                    add(&mut many[held.first as usize], row);
                } else if held.first == held.end || postings[held.end as usize - 1] != row as u32 {
                    // The same value twice would shift all that follows.
                    postings[held.end as usize] = row as u32;
                    held.end += 1;
                }
            }
        }
        values.shrink_to_fit();
        Self { wild, values, postings, many: many.into() }
    }

    /// Tells whether no row cares.
    pub(super) fn is_unused(&self) -> bool {
        self.wild.is_empty()
    }

    /// Starts a walk: looks up the viewer's values.
    pub(super) fn select(&self, told: impl Iterator<Item = u64>, selected: &mut Selected) {
        selected.few.clear();
        selected.many.clear();
        for value in told {
            match self.values.get(&value) {
                Some(Rows { first, end: MANY }) => selected.many.push(*first),
                Some(Rows { first, end }) => {
                    selected.few.push(Cursor { next: *first, end: *end });
                }
                None => {}
            }
        }
    }

    /// Keeps of `kept`, which begins at word `first`, the rows that take the viewer. Words are asked for
    /// in ascending order.
    pub(super) fn keep(
        &self,
        selected: &mut Selected,
        first: usize,
        kept: &mut [u64],
        taking: &mut [u64],
    ) {
        let words = first..first + kept.len();
        let taking = &mut taking[..kept.len()];
        taking.copy_from_slice(&self.wild[words.clone()]);
        for which in &selected.many {
            let bits = &self.many[*which as usize][words.clone()];
            taking.iter_mut().zip(bits).for_each(|(set, more)| *set |= more);
        }
        let (begin, end) = ((words.start * WORD) as u32, (words.end * WORD) as u32);
        for cursor in &mut selected.few {
            while cursor.next < cursor.end {
                let row = self.postings[cursor.next as usize];
                if row >= end {
                    break;
                }
                // Rows before the block were passed over with a block that nothing was left of.
                if let Some(at) = row.checked_sub(begin) {
                    taking[at as usize / WORD] |= 1 << (at as usize % WORD);
                }
                cursor.next += 1;
            }
        }
        kept.iter_mut().zip(taking).for_each(|(kept, taking)| *kept &= *taking);
    }

    /// Returns the bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let many: usize = self.many.iter().map(|bits| size_of_val(&**bits)).sum();
        // A byte of each place of the map says whether it is taken.
        let values = self.values.capacity() * (size_of::<(u64, Rows)>() + 1);
        size_of_val(&*self.wild) + size_of_val(&*self.postings) + many + values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(column: &ListColumn, told: &[u64], rows: usize, block: usize) -> Vec<usize> {
        let (mut selected, words) = (Selected::default(), rows.div_ceil(WORD));
        column.select(told.iter().copied(), &mut selected);
        let mut all = Vec::new();
        let mut first = 0;
        while first < words {
            let mut kept = vec![u64::MAX; block.min(words - first)];
            let mut taking = vec![0; block];
            column.keep(&mut selected, first, &mut kept, &mut taking);
            let rows = kept.iter().enumerate().flat_map(|(word, bits)| {
                (0..WORD)
                    .filter(move |bit| bits >> bit & 1 == 1)
                    .map(move |bit| (first + word) * WORD + bit)
            });
            all.extend(rows);
            first += block;
        }
        all
    }

    #[test]
    fn a_list_column_keeps_who_is_named_and_who_takes_anyone() {
        let rows = 1_000;
        // Every second row takes anyone; of the others all name 7, and each its own number.
        let named: Vec<Vec<u64>> = (0..rows as u64)
            .map(|row| if row % 2 == 0 { vec![] } else { vec![7, 1_000 + row, 1_000 + row] })
            .collect();
        let column = ListColumn::of(rows, |row| &named[row]);
        for block in [1, 3, 16] {
            assert_eq!(kept(&column, &[], rows, block).len(), 500);
            assert_eq!(kept(&column, &[7], rows, block).len(), 1_000);
            let one = kept(&column, &[1_333, 5_000], rows, block);
            assert!(one.len() == 501 && one.contains(&333), "{block}");
        }
    }

    #[test]
    fn a_small_column_takes_untold_values_only_from_rows_that_don_t_care() {
        let column = SmallColumn::of(3, 4, |row| [u8::MAX, 0b0010, 0b0100][row]);
        let rows = |value| column.rows_of(value).map(|bits| bits[0]);
        assert_eq!((rows(0), rows(1), rows(2)), (Some(0b001), Some(0b011), Some(0b101)));
        assert_eq!(rows(200), Some(0b001), "a value of a newer version");
        assert_eq!(SmallColumn::of(3, 4, |_| u8::MAX).rows_of(1), None);
    }
}
