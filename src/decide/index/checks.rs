//! What the columns of a segment don't decide: asked of the few rows that are left of a block.

use crate::decide::target::{Target, Told, within};
use crate::types::geo::Circle;

/// Which of its parts a row's check has, in its first word.
const EXCLUDED: u64 = 1;
const GROUPS: u64 = 1 << 1;
const SYSTEM: u64 = 1 << 2;
const APP: u64 = 1 << 3;
const CIRCLES: u64 = 1 << 4;

/// The checks of all rows, one after the other: a word of which parts there are, then each part.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Where each row's check begins; 0: it has none.
    of_row: Box<[u32]>,
    words: Box<[u64]>,
}

/// Gathers checks, row by row.
#[derive(Debug)]
pub(super) struct Builder {
    of_row: Vec<u32>,
    words: Vec<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        // Nothing begins at 0, which stands for "none".
        Self { of_row: Vec::new(), words: vec![0] }
    }
}

impl Builder {
    /// Adds the next row: what its target asks beside the groups of tags that are the columns'.
    pub(super) fn push(&mut self, target: &Target, in_columns: &[Option<usize>]) {
        let start = self.words.len();
        self.words.push(0);
        let mut parts = 0;
        let mut part = |is: bool, mark| {
            if is {
                parts |= mark;
            }
            is
        };
        if part(!target.excluded_tags.is_empty() || !target.excluded_places.is_empty(), EXCLUDED) {
            self.list(&target.excluded_tags);
            self.list(&target.excluded_places);
        }
        let others = target.groups.len() - in_columns.iter().flatten().count();
        if part(others > 0, GROUPS) {
            self.words.push(others as u64);
            let groups = target.groups.iter().enumerate();
            let others = groups.filter(|(at, _)| !in_columns.contains(&Some(*at)));
            others.for_each(|(_, group)| self.list(group));
        }
        if part(target.os_versions.is_some(), SYSTEM) {
            self.range(target.os_versions);
        }
        if part(target.app_versions.is_some(), APP) {
            self.range(target.app_versions);
        }
        if part(!target.circles.is_empty(), CIRCLES) {
            self.list(&target.places);
            self.words.push(target.circles.len() as u64);
            self.words.extend(target.circles.iter().flat_map(|circle| {
                let place = u64::from(circle.latitude_e6 as u32) << 32;
                [place | u64::from(circle.longitude_e6 as u32), u64::from(circle.meters)]
            }));
        }
        if parts == 0 {
            self.words.truncate(start);
            return self.of_row.push(0);
        }
        self.words[start] = parts;
        self.of_row.push(start as u32);
    }

    fn list(&mut self, values: &[u64]) {
        self.words.push(values.len() as u64);
        self.words.extend_from_slice(values);
    }

    fn range(&mut self, range: Option<(u64, u64)>) {
        let (first, last) = range.unwrap_or_default();
        self.words.extend([first, last]);
    }

    /// Returns the checks of all rows.
    pub(super) fn finish(self) -> Checks {
        let of_row = if self.words.len() == 1 { Vec::new() } else { self.of_row };
        Checks { of_row: of_row.into(), words: self.words.into() }
    }
}

/// Reads one check.
struct Reader<'a>(&'a [u64]);

impl<'a> Reader<'a> {
    fn word(&mut self) -> u64 {
        let (first, rest) = self.0.split_first().expect("a check is as long as it says");
        self.0 = rest;
        *first
    }

    fn list(&mut self) -> &'a [u64] {
        let length = self.word() as usize;
        let (list, rest) = self.0.split_at(length);
        self.0 = rest;
        list
    }
}

impl Checks {
    /// Tells whether a row that its columns kept is for this viewer.
    pub(super) fn pass(&self, row: usize, told: &Told) -> bool {
        match self.of_row.get(row) {
            None | Some(0) => true,
            Some(start) => self.check(*start as usize, told),
        }
    }

    fn check(&self, start: usize, told: &Told) -> bool {
        let mut reader = Reader(&self.words[start..]);
        let parts = reader.word();
        if parts & EXCLUDED != 0 {
            let (tags, places) = (reader.list(), reader.list());
            let away = |place: &u64| told.places.contains(place);
            if tags.iter().any(|tag| told.has(*tag)) || places.iter().any(away) {
                return false;
            }
        }
        if parts & GROUPS != 0 {
            for _ in 0..reader.word() {
                if !reader.list().iter().any(|tag| told.has(*tag)) {
                    return false;
                }
            }
        }
        if parts & SYSTEM != 0 && !within(Some((reader.word(), reader.word())), told.os_version) {
            return false;
        }
        if parts & APP != 0 && !within(Some((reader.word(), reader.word())), told.app_version) {
            return false;
        }
        parts & CIRCLES == 0 || is_here(&mut reader, told)
    }

    /// Returns the bytes that they hold.
    pub(super) fn bytes(&self) -> usize {
        self.of_row.len() * 4 + self.words.len() * 8
    }
}

/// The column kept a row by one of its regions and cities, or only by a cell that a circle touches.
fn is_here(reader: &mut Reader<'_>, told: &Told) -> bool {
    if reader.list().iter().any(|place| told.places.contains(place)) {
        return true;
    }
    let Some((latitude, longitude)) = told.location else { return false };
    (0..reader.word()).any(|_| {
        let (place, meters) = (reader.word(), reader.word() as u32);
        let (latitude_e6, longitude_e6) = ((place >> 32) as i32, place as u32 as i32);
        Circle { latitude_e6, longitude_e6, meters }.contains(latitude, longitude)
    })
}
