//! The showings that are remembered of one viewer, packed: with them, most of a node's memory is decided here.
//!
//! A head of [`HEAD_BYTES`]; a column of ids, eight bytes each; a column of marks, a byte each; then a stream of bits
//! with the rest, where each showing says what differs from those before it. Ids are found without reading the
//! stream. Equal showings in equal order are equal bytes, however they came about.

mod view;

pub use view::{Context, Flags, View};

use crate::types::bits::{BitReader, BitWriter};
use crate::types::ids::{IdKind, mint, number_of};
use crate::types::proto::v1::EventKind;
use crate::types::time::SECOND_MS;
use crate::types::trades::{category_of, trade_of};

/// Bytes before the columns: how many showings there are.
const HEAD_BYTES: usize = 2;

/// Bytes of a showing's id.
const ID_BYTES: usize = 8;

/// Bytes of a showing in the columns: its id and its mark.
const COLUMN_BYTES: usize = ID_BYTES + 1;

/// Most showings in one packing.
const COUNT_MAX: usize = u16::MAX as usize;

/// The events that a mark has bits for, from its lowest on: viewable, the quarters of a video, tap.
const MARKED: u16 = 0b1111_1100;

/// Bit of a mark: the device said when it was seen.
const TIMED: u8 = 1 << 6;

/// Bit of a mark: the stream has its other events, and why it is invalid.
const MORE: u8 = 1 << 7;

/// How far back, in showings, an equal business or category is looked for: four bits of distance.
const BACK_MAX: usize = 16;

/// Bits of a distance back.
const BACK_BITS: u32 = 4;

const AD_BITS: [u32; 4] = [16, 20, 24, 64];
const BUSINESS_BITS: [u32; 2] = [16, 20];
const ISSUED_BITS: [u32; 4] = [8, 12, 18, 34];
/// Up to 4 s, 65 s and 17 minutes: no ad is seen in time later than 15 minutes after it was handed out.
const SEEN_BITS: [u32; 4] = [12, 16, 20, 64];
const FEED_BITS: [u32; 4] = [8, 16, 24, 32];
const ENGAGED_BITS: [u32; 4] = [16, 20, 24, 32];
const PLACEMENT_BITS: u32 = 3;
const POSITION_BITS: u32 = 4;
const TRADE_BITS: u32 = 8;

/// Bits of the common showing in the stream: a class of two bits and its width for the ad (of a million), the business
/// (of a million), a common category, when it was handed out and when it was seen; the place; the same viewer and
/// feed as before.
const COMMON_BITS: usize = (5 * 2 + 20 + 20 + 8 + 18 + 16) + (2 + 3 + 4) + 1;

/// Bits that the first showing needs more than the others: the feed, the viewer's context, and the absolute time.
const FIRST_BITS: usize = (2 + 8 + 48) + (34 - 18);

/// Returns the bytes of so many common showings of one viewer, allocated exactly.
pub const fn bytes_of_common(views: usize) -> usize {
    HEAD_BYTES + views * COLUMN_BYTES + (views * COMMON_BITS + FIRST_BITS).div_ceil(8)
}

/// The mean of views a day that memory is planned for.
pub const VIEWS_A_DAY: usize = 12;

/// Most bytes that the showings of a viewer's day may take, of the 320 that an active viewer may.
pub const DAY_BYTES_MAX: usize = 275;

const _: () = assert!(bytes_of_common(VIEWS_A_DAY) <= DAY_BYTES_MAX);

/// Showings of one viewer, oldest first. One allocation, as large as it must be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Views(Box<[u8]>);

// A pointer and a length.
const _: () = assert!(size_of::<Views>() == 16);

impl Views {
    /// Packs showings. What is behind the 65,535th is left out; viewers have fewer by far.
    pub fn of(views: &[View]) -> Self {
        let views = &views[..views.len().min(COUNT_MAX)];
        if views.is_empty() {
            return Self::default();
        }
        let (mut trail, mut stream) = (Trail::default(), BitWriter::default());
        for view in views {
            put(&mut stream, &trail, view);
            trail.note(view);
        }
        let stream = stream.into_bytes();
        let mut bytes = with_head(views.len(), stream.len());
        views.iter().for_each(|view| bytes.extend_from_slice(&view.view.to_le_bytes()));
        bytes.extend(views.iter().map(mark_of));
        bytes.extend_from_slice(&stream);
        Self(bytes.into_boxed_slice())
    }

    /// Takes bytes that [`Views::bytes`] gave; `None`: they can't be those of any.
    pub fn of_bytes(bytes: Vec<u8>) -> Option<Self> {
        let views = Self(bytes.into_boxed_slice());
        let columns = HEAD_BYTES + views.len() * COLUMN_BYTES;
        (views.0.is_empty() || (!views.is_empty() && views.0.len() > columns)).then_some(views)
    }

    /// Returns them as they lie.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.first_chunk().map_or(0, |head| usize::from(u16::from_le_bytes(*head)))
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all showings, oldest first.
    pub fn iter(&self) -> Iter<'_> {
        let (ids, marks, stream) = self.parts();
        let stream = BitReader::new(stream);
        Iter { ids, marks, at: 0, stream, trail: Trail::default() }
    }

    /// Returns the newest showing with this id.
    pub fn find(&self, view: u64) -> Option<View> {
        let at = self.last_place(view)?;
        self.iter().nth(at)
    }

    /// Adds a showing behind the others.
    pub fn push(&mut self, view: &View) {
        let count = self.len();
        if count >= COUNT_MAX {
            return;
        }
        let mut all = self.iter();
        all.by_ref().for_each(drop);
        let (ids, marks, stream) = self.parts();
        let bits = all.stream.at();
        let (whole, begun) = stream.split_at_checked(bits / 8).unwrap_or((stream, &[]));
        let begun = begun.first().copied().unwrap_or_default();
        let mut more = BitWriter::behind(begun, (bits % 8) as u32);
        put(&mut more, &all.trail, view);
        let more = more.into_bytes();
        let mut bytes = with_head(count + 1, whole.len() + more.len());
        bytes.extend_from_slice(ids.as_flattened());
        bytes.extend_from_slice(&view.view.to_le_bytes());
        bytes.extend_from_slice(marks);
        bytes.push(mark_of(view));
        bytes.extend_from_slice(whole);
        bytes.extend_from_slice(&more);
        self.0 = bytes.into_boxed_slice();
    }

    /// Notes that an event of this kind happened to the newest showing with this id.
    pub fn mark(&mut self, view: u64, kind: EventKind) {
        let Some(at) = self.last_place(view) else { return };
        let bit = 1u16 << kind as u16;
        let place = HEAD_BYTES + self.len() * ID_BYTES + at;
        match self.0.get_mut(place) {
            Some(mark) if bit & MARKED != 0 && *mark & MORE == 0 => *mark |= (bit >> 2) as u8,
            _ => self.change(|views| {
                views.get_mut(at).into_iter().for_each(|view| view.flags.0 |= bit);
            }),
        }
    }

    /// Changes showings in any way.
    pub fn change(&mut self, change: impl FnOnce(&mut Vec<View>)) {
        let mut views: Vec<View> = self.iter().collect();
        change(&mut views);
        *self = Self::of(&views);
    }

    /// Keeps the showings that are as asked.
    pub fn retain(&mut self, keep: impl Fn(&View) -> bool) {
        if !self.iter().all(|view| keep(&view)) {
            self.change(|views| views.retain(keep));
        }
    }

    fn last_place(&self, view: u64) -> Option<usize> {
        let id = view.to_le_bytes();
        self.parts().0.iter().rposition(|known| *known == id)
    }

    fn parts(&self) -> (&[[u8; ID_BYTES]], &[u8], &[u8]) {
        let count = self.len();
        let columns = self.0.get(HEAD_BYTES..).unwrap_or_default();
        let (ids, rest) = columns.split_at_checked(count * ID_BYTES).unwrap_or_default();
        let (marks, stream) = rest.split_at_checked(count).unwrap_or_default();
        (ids.as_chunks().0, marks, stream)
    }
}

impl From<Vec<View>> for Views {
    fn from(views: Vec<View>) -> Self {
        Self::of(&views)
    }
}

impl<'a> IntoIterator for &'a Views {
    type Item = View;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Returns room for exactly so many showings and bytes of the stream, with the head written.
fn with_head(count: usize, stream: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + count * COLUMN_BYTES + stream);
    bytes.extend_from_slice(&(count as u16).to_le_bytes());
    bytes
}

/// Unpacks one showing after the other.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    ids: &'a [[u8; ID_BYTES]],
    marks: &'a [u8],
    at: usize,
    stream: BitReader<'a>,
    trail: Trail,
}

impl Iterator for Iter<'_> {
    type Item = View;

    fn next(&mut self) -> Option<View> {
        let (id, mark) = (self.ids.get(self.at)?, *self.marks.get(self.at)?);
        self.at += 1;
        let view = take(&mut self.stream, &self.trail, u64::from_le_bytes(*id), mark);
        self.trail.note(&view);
        Some(view)
    }
}

/// What a showing may refer back to.
#[derive(Clone, Debug, Default)]
struct Trail {
    feed: u32,
    issued_s: u32,
    context: Context,
    /// Businesses with their categories, the newest at `count - 1`, modulo its length.
    trades: [(u64, u64); BACK_MAX],
    count: usize,
}

impl Trail {
    fn note(&mut self, view: &View) {
        self.trades[self.count % BACK_MAX] = (view.business, view.category);
        self.count += 1;
        self.feed = view.feed;
        self.issued_s = view.issued_s;
        self.context = view.context;
    }

    /// Returns how far back the nearest one is that is asked for: 0 for the last.
    fn back(&self, is_it: impl Fn(&(u64, u64)) -> bool) -> Option<u64> {
        let far = self.count.min(BACK_MAX);
        (0..far as u64).find(|back| is_it(&self.trade(*back)))
    }

    fn trade(&self, back: u64) -> (u64, u64) {
        self.trades[(self.count + BACK_MAX - 1 - back as usize) % BACK_MAX]
    }
}

/// Returns the number of an id that its kind's rule gives back; `None`: it is another's, or too large.
fn short(kind: IdKind, id: u64, bits: u32) -> Option<u64> {
    let number = number_of(id);
    (number >> bits == 0 && mint(kind, number) == id).then_some(number)
}

const fn mark_of(view: &View) -> u8 {
    let events = ((view.flags.0 & MARKED) >> 2) as u8;
    let timed = if view.timed { TIMED } else { 0 };
    let more = if has_more(view) { MORE } else { 0 };
    events | timed | more
}

/// Tells whether a mark is not enough: it is invalid, engaged, has other events, or lacks its impression.
const fn has_more(view: &View) -> bool {
    let common = 1 << EventKind::Impression as u16;
    view.flags.0 & !MARKED != common || view.invalid != 0 || view.engaged_after_ms != 0
}

fn put(out: &mut BitWriter, trail: &Trail, view: &View) {
    if has_more(view) {
        out.put(view.flags.0.into(), 16);
        out.put(view.invalid.into(), 8);
        out.put_fitting(ENGAGED_BITS, view.engaged_after_ms.into());
    }
    let (who, before) = (viewer_of(&view.context), viewer_of(&trail.context));
    let same = (view.feed, who) == (trail.feed, before);
    out.put(same.into(), 1);
    if !same {
        out.put_fitting(FEED_BITS, view.feed.into());
        out.put(who, 48);
    }
    let Context { placement, position, .. } = view.context;
    if (placement, position) == (trail.context.placement, trail.context.position) {
        out.put(0, 2);
    } else if placement >> PLACEMENT_BITS == 0 && position >> POSITION_BITS == 0 {
        out.put(1, 2);
        out.put(placement.into(), PLACEMENT_BITS);
        out.put(position.into(), POSITION_BITS);
    } else {
        out.put(2, 2);
        out.put(placement.into(), 8);
        out.put(position.into(), 8);
    }
    match short(IdKind::Ad, view.ad, AD_BITS[2]) {
        Some(number) => out.put_fitting(AD_BITS, number),
        None => {
            out.put(3, 2);
            out.put(view.ad, 64);
        }
    }
    put_business(out, trail, view);
    let issued = i64::from(view.issued_s) - i64::from(trail.issued_s);
    // Signed numbers by turns: 0, -1, 1, -2, ...
    out.put_fitting(ISSUED_BITS, ((issued << 1) ^ (issued >> 63)) as u64);
    let seen = view.seen_ms.wrapping_sub(i64::from(view.issued_s) * SECOND_MS);
    out.put_fitting(SEEN_BITS, seen.cast_unsigned());
}

/// Writes the business and its category: as both were before, or the business and then the category.
fn put_business(out: &mut BitWriter, trail: &Trail, view: &View) {
    let View { business, category, .. } = *view;
    if let Some(back) = trail.back(|known| *known == (business, category)) {
        out.put(0, 2);
        return out.put(back, BACK_BITS);
    }
    match short(IdKind::Business, business, BUSINESS_BITS[1]) {
        Some(number) => {
            let class = usize::from(number >> BUSINESS_BITS[0] != 0);
            out.put(1 + class as u64, 2);
            out.put(number, BUSINESS_BITS[class]);
        }
        None => {
            out.put(3, 2);
            out.put(business, 64);
        }
    }
    if category == 0 {
        out.put(0, 2);
    } else if let Some(back) = trail.back(|known| known.1 == category) {
        out.put(1, 2);
        out.put(back, BACK_BITS);
    } else if let Some(trade) = trade_of(category) {
        out.put(2, 2);
        out.put(trade.into(), TRADE_BITS);
    } else {
        out.put(3, 2);
        out.put(category, 64);
    }
}

fn take(from: &mut BitReader<'_>, trail: &Trail, view: u64, mark: u8) -> View {
    let marked = u16::from(mark) << 2 & MARKED;
    let (mut flags, mut invalid, mut engaged) = (marked | 1 << EventKind::Impression as u16, 0, 0);
    if mark & MORE != 0 {
        flags = from.take(16) as u16;
        invalid = from.take(8) as u8;
        engaged = from.take_fitting(ENGAGED_BITS) as u32;
    }
    let (mut feed, mut context) = (trail.feed, trail.context);
    if from.take(1) == 0 {
        feed = from.take_fitting(FEED_BITS) as u32;
        context = with_viewer(context, from.take(48));
    }
    let widths = match from.take(2) {
        0 => None,
        1 => Some((PLACEMENT_BITS, POSITION_BITS)),
        _ => Some((8, 8)),
    };
    if let Some((placement, position)) = widths {
        context.placement = from.take(placement) as u8;
        context.position = from.take(position) as u8;
    }
    let ad = match from.take(2) {
        3 => from.take(64),
        class => mint(IdKind::Ad, from.take(AD_BITS[class as usize])),
    };
    let (business, category) = take_business(from, trail);
    let turns = from.take_fitting(ISSUED_BITS);
    let issued = (turns >> 1).cast_signed() ^ -(turns & 1).cast_signed();
    let issued_s = i64::from(trail.issued_s).wrapping_add(issued) as u32;
    let seen = from.take_fitting(SEEN_BITS).cast_signed();
    View {
        view,
        ad,
        business,
        category,
        issued_s,
        feed,
        flags: Flags(flags),
        timed: mark & TIMED != 0,
        invalid,
        engaged_after_ms: engaged,
        seen_ms: (i64::from(issued_s) * SECOND_MS).wrapping_add(seen),
        context,
    }
}

fn take_business(from: &mut BitReader<'_>, trail: &Trail) -> (u64, u64) {
    let business = match from.take(2) {
        0 => return trail.trade(from.take(BACK_BITS)),
        3 => from.take(64),
        class => mint(IdKind::Business, from.take(BUSINESS_BITS[class as usize - 1])),
    };
    let category = match from.take(2) {
        0 => 0,
        1 => trail.trade(from.take(BACK_BITS)).1,
        2 => category_of(from.take(TRADE_BITS) as u8),
        _ => from.take(64),
    };
    (business, category)
}

/// Returns what of a context is the viewer's, 48 bits: mostly the same from one showing to the next.
fn viewer_of(context: &Context) -> u64 {
    let Context { country, region, age_gender, os_device, .. } = *context;
    let [high, low] = [country, region].map(u64::from);
    high << 32 | low << 16 | u64::from(age_gender) << 8 | u64::from(os_device)
}

const fn with_viewer(context: Context, viewer: u64) -> Context {
    Context {
        country: (viewer >> 32) as u16,
        region: (viewer >> 16) as u16,
        age_gender: (viewer >> 8) as u8,
        os_device: viewer as u8,
        ..context
    }
}

#[cfg(test)]
mod tests;
