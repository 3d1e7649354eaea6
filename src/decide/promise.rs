//! What was promised to a viewer and not seen yet: an ad in a tray that was handed out may be drawn until its
//! `show_by`, and counts until then as if it had been.
//!
//! Each ad of each tray of the last minutes is one, so what a busy node holds beside its state is mostly this.

use crate::decide::onlooker::Passing;
use crate::types::ids::{IdKind, mint, number_of};
use crate::types::time::Moment;

/// An ad that was promised to a viewer and not seen yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Promise {
    /// The lower half of the view's name. Of the few promises to one viewer another has the same by a chance of one in
    /// four thousand millions, and then goes too early.
    view: u32,
    /// Numbers, without kind and shard.
    ad_set: u32,
    business: u32,
    category: u32,
    issued_s: u32,
    /// For how many seconds it is open, above one bit that tells whether it is counted.
    lasts: u32,
}

const _: () = assert!(size_of::<Promise>() == 24);

impl Promise {
    /// Returns the promise that an ad will be drawn within so many seconds; the moment counts in seconds too, as in the
    /// view's token.
    pub const fn of(view: u64, ad: &Passing<'_>, now: Moment, show_by_s: u32) -> Self {
        let is_counted = ad.is_counted || !ad.caps.is_empty();
        Self {
            view: view as u32,
            ad_set: number_of(ad.ad_set) as u32,
            business: number_of(ad.business) as u32,
            category: half(ad.category) as u32,
            issued_s: now.seconds(),
            lasts: show_by_s << 1 | is_counted as u32,
        }
    }

    /// Tells whether it is that of a view.
    pub const fn is_of(&self, view: u64) -> bool {
        self.view == view as u32
    }

    /// Returns its ad set's id.
    pub const fn ad_set(&self) -> u64 {
        mint(IdKind::AdSet, self.ad_set as u64)
    }

    /// Returns its business's id.
    pub const fn business(&self) -> u64 {
        mint(IdKind::Business, self.business as u64)
    }

    /// Returns the [`half`] of its business's category.
    pub const fn category(&self) -> u64 {
        self.category as u64
    }

    /// Returns when it was made, as its token has it.
    pub const fn issued(&self) -> Moment {
        Moment::from_seconds(self.issued_s)
    }

    /// Tells whether the ad may still be drawn.
    pub const fn is_open(&self, now: Moment) -> bool {
        now.0 <= Moment::from_seconds(self.issued_s.saturating_add(self.lasts >> 1)).0
    }

    /// Tells whether its ad set is counted, as with a cap: it will need room in the viewer's record.
    pub const fn is_counted(&self) -> bool {
        self.lasts & 1 == 1
    }
}

/// Returns what of a category's hash ads are kept apart by; 0 of none.
pub const fn half(category: u64) -> u64 {
    category & u32::MAX as u64
}

/// What was promised to one viewer.
#[derive(Debug, Default)]
pub struct Promises {
    version: u32,
    list: Vec<Promise>,
}

impl Promises {
    /// Returns a number that changes with every tray of which something was promised.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Returns the promises, oldest first; some may have lapsed.
    pub fn list(&self) -> &[Promise] {
        &self.list
    }

    /// Makes so many more, and forgets what has lapsed.
    pub fn make(&mut self, count: usize, new: impl Iterator<Item = Promise>, now: Moment) {
        self.version = self.version.wrapping_add(1);
        self.forget(now);
        // Not twice the room, as a list that grows by itself takes: half of it would stand empty.
        if self.list.capacity() - self.list.len() < count {
            self.list.reserve_exact(count.max(self.list.len() / 4));
        }
        self.list.extend(new);
    }

    /// Forgets what a view was promised as: it is seen.
    pub fn keep(&mut self, view: u64) {
        self.list.retain(|promise| !promise.is_of(view));
    }

    /// Forgets what has lapsed; tells whether anything is left.
    pub fn forget(&mut self, now: Moment) -> bool {
        self.list.retain(|promise| promise.is_open(now));
        if self.list.len() < self.list.capacity() / 4 {
            self.list.shrink_to(2 * self.list.len());
        }
        !self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::onlooker::Cap;
    use crate::types::time::SECOND_MS;

    const NOW: Moment = Moment(1_795_392_000_777);
    const CAPS: [Cap; 1] = [Cap { event: 1, max: 1, interval_hours: 24 }];

    fn ad(caps: &[Cap]) -> Passing<'_> {
        Passing {
            ad: 1,
            ad_set: mint(IdKind::AdSet, u32::MAX as u64),
            business: mint(IdKind::Business, 7),
            category: 0xABCD_0000_0123,
            caps,
            is_counted: false,
        }
    }

    #[test]
    fn a_promise_is_of_its_ad_and_view_and_open_as_long_as_its_token() {
        let view = 0x1234_5678_9ABC_DEF0;
        let promise = Promise::of(view, &ad(&[]), NOW, 600);
        assert_eq!((promise.ad_set(), promise.business()), (ad(&[]).ad_set, ad(&[]).business));
        assert_eq!((promise.category(), promise.issued().0), (0x123, NOW.0 - 777));
        assert!(promise.is_of(view) && !promise.is_of(view + 1));
        let end = promise.issued().plus_ms(600 * SECOND_MS);
        assert!(promise.is_open(NOW) && promise.is_open(end) && !promise.is_open(end.plus_ms(1)));
        assert!(!promise.is_counted() && Promise::of(view, &ad(&CAPS), NOW, 600).is_counted());
        let for_reach = Passing { is_counted: true, ..ad(&[]) };
        assert!(Promise::of(view, &for_reach, NOW, 600).is_counted());
    }

    #[test]
    fn promises_go_when_they_are_kept_or_lapse_and_their_room_with_them() {
        let mut promises = Promises::default();
        let make = |promises: &mut Promises, views: std::ops::Range<u64>, at_s: i64| {
            let (ad, at) = (ad(&[]), NOW.plus_ms(at_s * SECOND_MS));
            let count = (views.end - views.start) as usize;
            promises.make(count, views.map(|view| Promise::of(view, &ad, at, 60)), at);
        };
        make(&mut promises, 0..4, 0);
        assert_eq!((promises.version(), promises.list.capacity()), (1, 4));
        for tray in 1..30 {
            make(&mut promises, 4 * tray..4 * tray + 4, 1);
            let (len, room) = (promises.list.len(), promises.list.capacity());
            assert!(room < len + len / 4 + 4, "{room} for {len}");
        }
        promises.keep(5);
        assert_eq!((promises.version(), promises.list().len()), (30, 119));
        assert!(promises.list().iter().all(|promise| !promise.is_of(5)));
        make(&mut promises, 500..502, 60);
        assert_eq!(promises.list().len(), 115 + 2, "the first tray has lapsed");
        make(&mut promises, 600..601, 63);
        assert_eq!(promises.list().len(), 3);
        assert!(promises.list.capacity() < 16, "{}", promises.list.capacity());
        assert!(promises.forget(NOW.plus_ms(121 * SECOND_MS)), "one of the last is open");
        assert!(!promises.forget(NOW.plus_ms(124 * SECOND_MS)));
        assert_eq!(promises.list.capacity(), 0);
    }
}
