//! Selection for a viewer who may be in control groups: what it is shown, and what it would have been.
//!
//! The tray is filled without the ads that are withheld from the viewer. For each experiment one of whose
//! ads may have stood in it, it is filled once more with these let in: who wins a slot then is a ghost
//! (Johnson, Lewis and Nubbemeyer, "Ghost Ads: Improving the Economics of Measuring Online Ad
//! Effectiveness", Journal of Marketing Research 54, 2017). Each experiment is asked by itself, so that its
//! ghosts are where viewers of its other group are shown ads.

use crate::decide::holdouts::{Tests, Withheld};
use crate::decide::index::Entry;
use crate::decide::select::{Asked, Passes, Selector, Tray};
use crate::decide::skip::Skip;
use crate::types::proto::v1::NoAdReason;

/// An ad that would have won a slot, had it not been withheld.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ghost {
    /// The slot.
    pub position: u16,
    /// The ad.
    pub ad: u64,
}

/// What was held back from one tray, and buffers.
#[derive(Debug, Default)]
pub struct Ghosts {
    /// Of all experiments, ascending by experiment, then by position.
    pub list: Vec<Ghost>,
    experiments: Vec<u32>,
    tray: Tray,
}

/// Counts nothing.
struct Uncounted;

impl Passes for Uncounted {
    fn pass(&mut self, _: &Entry, _: Skip) {}
}

impl Ghosts {
    /// Fills a tray for a viewer, and notes what it was not shown.
    pub fn select(
        &mut self,
        (tests, viewer): (&Tests, u64),
        selector: &mut Selector,
        asked: &Asked<'_>,
        tray: &mut Tray,
        passes: &mut impl Passes,
    ) {
        self.list.clear();
        let withheld = Withheld { tests, viewer, but: 0 };
        selector.select_without(Some(&withheld), asked, tray, passes);
        self.experiments.clear();
        self.experiments.extend(selector.held_back());
        self.experiments.sort_unstable();
        self.experiments.dedup();
        for &but in &self.experiments {
            let withheld = Withheld { but, ..withheld };
            selector.select_without(Some(&withheld), asked, &mut self.tray, &mut Uncounted);
            for (position, slot) in &self.tray.slots {
                let Ok(placed) = slot else { continue };
                let test = tests.covering(&placed.entry, asked.now);
                if test.is_some_and(|test| test.number == but) {
                    let ghost = Ghost { position: *position, ad: placed.entry.ad_id() };
                    self.list.push(ghost);
                }
            }
        }
        for (position, slot) in &mut tray.slots {
            if slot.is_err() && self.at(*position).next().is_some() {
                *slot = Err(NoAdReason::HeldBack);
            }
        }
    }

    /// Returns the ads that would have stood in a slot, one for each experiment at the most.
    pub fn at(&self, position: u16) -> impl Iterator<Item = u64> + '_ {
        self.list.iter().filter(move |ghost| ghost.position == position).map(|ghost| ghost.ad)
    }
}
