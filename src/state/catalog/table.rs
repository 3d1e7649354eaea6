//! The newest version of each thing of one kind, kept encoded: messages as generated need several times
//! the memory.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use prost::{DecodeError, Message};
use triomphe::ThinArc;

use crate::types::ids::{IdKind, NUMBER_MAX, mint, number_of};
use crate::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, EntrySource, Experiment,
};

/// Rows of one page. A page is shared with copies of the table until one of its rows is replaced.
const PAGE_ROWS: usize = 1_024;

/// A kind of thing in the catalog.
pub trait Row: Message + Default + Clone {
    /// What its ids say.
    const KIND: IdKind;

    /// Returns the row's id.
    fn id(&self) -> u64;

    /// Leaves out what [`Row::fatten`] can tell again: the shards and kinds of ids, a time twice.
    fn slim(&mut self);

    /// Undoes [`Row::slim`].
    fn fatten(&mut self);
}

/// Takes the shard and kind out of an id.
fn slim_id(kind: IdKind, id: &mut u64) {
    if mint(kind, number_of(*id)) == *id {
        *id = number_of(*id);
    }
}

/// Puts the shard and kind back into an id. Zero names nothing.
fn fat_id(kind: IdKind, id: &mut u64) {
    if (1..=NUMBER_MAX).contains(id) {
        *id = mint(kind, *id);
    }
}

/// What was never changed says its time once.
fn slim_time<T: PartialEq>(created: &Option<T>, updated: &mut Option<T>) {
    if created == updated {
        *updated = None;
    }
}

fn fat_time<T: Clone>(created: &Option<T>, updated: &mut Option<T>) {
    if updated.is_none() {
        updated.clone_from(created);
    }
}

macro_rules! rows {
    ($($row:ident => $kind:ident { $($parent:ident: $of:ident),* } $([$times:ident])?),* $(,)?) => {
        $(impl Row for $row {
            const KIND: IdKind = IdKind::$kind;

            fn id(&self) -> u64 {
                self.id
            }

            fn slim(&mut self) {
                slim_id(Self::KIND, &mut self.id);
                $(slim_id(IdKind::$of, &mut self.$parent);)*
                $(slim_time(&self.create_time, &mut self.$times);)?
            }

            fn fatten(&mut self) {
                fat_id(Self::KIND, &mut self.id);
                $(fat_id(IdKind::$of, &mut self.$parent);)*
                $(fat_time(&self.create_time, &mut self.$times);)?
            }
        })*
    };
}

rows!(
    Account => Account {} [update_time],
    Business => Business { account_id: Account } [update_time],
    ChannelEndpoint => Endpoint { business_id: Business },
    Campaign => Campaign { account_id: Account } [update_time],
    EntrySource => Source { endpoint_id: Endpoint },
    Experiment => Experiment { account_id: Account },
    AdSet => AdSet { campaign_id: Campaign } [update_time],
);

impl Row for Ad {
    const KIND: IdKind = IdKind::Ad;

    fn id(&self) -> u64 {
        self.id
    }

    fn slim(&mut self) {
        slim_id(Self::KIND, &mut self.id);
        slim_id(IdKind::AdSet, &mut self.ad_set_id);
        if let Some(chat) = &mut self.destination {
            slim_id(IdKind::Endpoint, &mut chat.endpoint_id);
        }
        slim_time(&self.create_time, &mut self.update_time);
    }

    fn fatten(&mut self) {
        fat_id(Self::KIND, &mut self.id);
        fat_id(IdKind::AdSet, &mut self.ad_set_id);
        if let Some(chat) = &mut self.destination {
            fat_id(IdKind::Endpoint, &mut chat.endpoint_id);
        }
        fat_time(&self.create_time, &mut self.update_time);
    }
}

/// One version of a row, encoded. One pointer wide; a clone shares the bytes.
pub struct Packed<T> {
    bytes: ThinArc<(), u8>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), row: PhantomData }
    }
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.bytes().len())
    }
}

impl<T> Packed<T> {
    /// Returns the bytes as they are kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes.slice
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: ThinArc::from_header_and_slice((), bytes), row: PhantomData }
    }
}

impl<T: Row> Packed<T> {
    /// Packs a row.
    pub fn of(row: &T) -> Self {
        let mut slim = row.clone();
        slim.slim();
        Self::of_bytes(&slim.encode_to_vec())
    }

    /// Returns the row, decoded anew.
    pub fn decode(&self) -> T {
        Self::decoded(self.bytes()).expect("what was not encoded here was decoded when it was read")
    }

    /// Takes bytes that were kept, and decodes them once.
    pub(in crate::state) fn read(bytes: &[u8]) -> Result<(Self, T), DecodeError> {
        Ok((Self::of_bytes(bytes), Self::decoded(bytes)?))
    }

    fn decoded(bytes: &[u8]) -> Result<T, DecodeError> {
        let mut row = T::decode(bytes)?;
        row.fatten();
        Ok(row)
    }
}

type Page<T> = Vec<Option<Packed<T>>>;

/// The newest version of each thing of one kind, by its number. A copy shares all pages.
#[derive(Debug)]
pub struct Table<T> {
    pages: Vec<Arc<Page<T>>>,
    /// One more than the last number.
    end: usize,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), end: self.end }
    }
}

impl<T> PartialEq for Table<T> {
    fn eq(&self, other: &Self) -> bool {
        self.end == other.end && self.pages == other.pages
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), end: 0 }
    }
}

impl<T: Row> Table<T> {
    /// Returns the newest version as it is kept; `None`: there is no such id.
    pub fn packed(&self, id: u64) -> Option<&Packed<T>> {
        let number = number_of(id);
        if mint(T::KIND, number) != id {
            return None;
        }
        self.at(number as usize)
    }

    /// Returns the newest version, decoded; `None`: there is no such id.
    pub fn get(&self, id: u64) -> Option<T> {
        self.packed(id).map(Packed::decode)
    }

    /// Tells whether there is such an id.
    pub fn has(&self, id: u64) -> bool {
        self.packed(id).is_some()
    }

    /// Returns the id that the next new one will have. Numbers start at 1.
    pub fn next_id(&self) -> u64 {
        mint(T::KIND, self.end.max(1) as u64)
    }

    /// Returns the ids of all in order of creation, beginning after a number.
    pub fn ids_after(&self, number: u64) -> impl Iterator<Item = u64> + '_ {
        let from = number.saturating_add(1).min(self.end as u64) as usize;
        (from..self.end)
            .filter(|number| self.at(*number).is_some())
            .map(|number| mint(T::KIND, number as u64))
    }

    /// Returns all, decoded, in order of creation, beginning after a number.
    pub fn after(&self, number: u64) -> impl Iterator<Item = T> + '_ {
        let from = number.saturating_add(1).min(self.end as u64) as usize;
        (from..self.end).filter_map(|number| self.at(number).map(Packed::decode))
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.end.saturating_sub(1)
    }

    fn at(&self, number: usize) -> Option<&Packed<T>> {
        self.pages.get(number / PAGE_ROWS)?.get(number % PAGE_ROWS)?.as_ref()
    }

    pub(in crate::state) fn put(&mut self, id: u64, row: Packed<T>) {
        let number = number_of(id) as usize;
        self.pages.resize_with(self.pages.len().max(number / PAGE_ROWS + 1), Arc::default);
        // Copies of the table keep the page as it was.
        let page = Arc::make_mut(&mut self.pages[number / PAGE_ROWS]);
        let at = number % PAGE_ROWS;
        page.resize(page.len().max(at + 1), None);
        page[at] = Some(row);
        self.end = self.end.max(number + 1);
    }

    /// Returns the pages that hold anything, by their index.
    pub(in crate::state) fn pages(&self) -> impl Iterator<Item = (usize, &[Option<Packed<T>>])> {
        self.pages.iter().map(|page| &page[..]).enumerate().filter(|(_, page)| !page.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::ChatDestination;

    fn ad(number: u64) -> Ad {
        let endpoint_id = mint(IdKind::Endpoint, number + 2);
        Ad {
            id: mint(IdKind::Ad, number),
            ad_set_id: mint(IdKind::AdSet, number + 1),
            create_time: Some(prost_types::Timestamp { seconds: 5, nanos: 1 }),
            update_time: Some(prost_types::Timestamp { seconds: 5, nanos: 1 }),
            destination: Some(ChatDestination { endpoint_id, ..ChatDestination::default() }),
            ..Ad::default()
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was_and_is_kept_smaller() {
        for number in [1, 2, 1_000, NUMBER_MAX - 2] {
            let row = ad(number);
            let packed = Packed::of(&row);
            assert_eq!(packed.decode(), row);
            assert!(number > 1_000 || packed.bytes().len() + 24 < row.encoded_len());
        }
        let changed = Ad { update_time: None, create_time: None, ad_set_id: 0, ..ad(3) };
        assert_eq!(Packed::of(&changed).decode(), changed);
    }

    #[test]
    fn a_copy_of_a_table_keeps_what_was_there() {
        let mut table = Table::default();
        for number in 1..=3_000 {
            table.put(mint(IdKind::Ad, number), Packed::of(&ad(number)));
        }
        let copy = table.clone();
        table.put(mint(IdKind::Ad, 7), Packed::of(&Ad { name: "new".into(), ..ad(7) }));
        assert_eq!(copy.get(mint(IdKind::Ad, 7)), Some(ad(7)));
        assert_eq!(table.get(mint(IdKind::Ad, 7)).map(|row| row.name), Some("new".into()));
        assert_eq!(table.get(mint(IdKind::AdSet, 7)), None);
        assert_eq!(table.get(mint(IdKind::Ad, 3_001)), None);
        assert_eq!((table.count(), table.next_id()), (3_000, mint(IdKind::Ad, 3_001)));
        assert_eq!(
            table.after(2_998).map(|row| row.id).collect::<Vec<_>>(),
            [mint(IdKind::Ad, 2_999), mint(IdKind::Ad, 3_000)]
        );
        assert!(table.ids_after(2_998).eq(table.after(2_998).map(|row| row.id)));
    }
}
