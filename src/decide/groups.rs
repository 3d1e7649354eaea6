//! The best ads of a walk, as the auction needs them: of each group the two best advertisers.
//!
//! A tray has one ad of each group (a category, or a business without one), so with `n` slots the best of
//! `n + 1` groups decide who wins; the price of a winner is what the tray is worth without its advertiser,
//! whose place then goes to the second advertiser of its group. No other ad changes slots or prices.

use std::cmp::Reverse;

use crate::decide::board::Rates;
use crate::decide::index::{Entry, Worth};

/// An ad that may win a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Member {
    /// Where its entry is: the lane of the walk and the place in its segment.
    pub at: (u16, u32),
    /// The ad's number.
    pub ad: u32,
    /// The number of its business.
    pub business: u32,
    /// What separates it from others in a tray.
    pub group: u64,
    /// What it is worth.
    pub worth: Worth,
    /// The rates that it was valued with.
    pub rates: Rates,
    /// Orders equals, the lowest first.
    pub lot: u64,
}

impl Member {
    /// Returns an ad of the index; where it stands is left open.
    pub fn of(entry: &Entry, worth: Worth, rates: Rates, lot: u64) -> Self {
        let (ad, business) = (entry.ad, entry.business);
        // The number of a business is small and a category's hash is not, but for chance.
        let group = if entry.category == 0 { business.into() } else { entry.category };
        Self { at: (0, 0), ad, business, group, worth, rates, lot }
    }

    fn order(&self) -> (i64, Reverse<u64>, Reverse<u32>) {
        (self.worth.total(), Reverse(self.lot), Reverse(self.ad))
    }

    /// Tells whether this one goes first.
    pub fn beats(&self, other: &Self) -> bool {
        self.order() > other.order()
    }
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first: Member,
    second: Option<Member>,
}

impl Group {
    fn offer(&mut self, member: Member) {
        if member.business == self.first.business {
            if member.beats(&self.first) {
                self.first = member;
            }
        } else if member.beats(&self.first) {
            self.second = Some(self.first);
            self.first = member;
        } else if self.second.is_none_or(|second| member.beats(&second)) {
            self.second = Some(member);
        }
    }
}

/// The best groups so far.
#[derive(Debug, Default)]
pub struct Groups {
    best: Vec<Group>,
    wanted: usize,
    /// The best of the last group, once there are as many as wanted.
    last: Option<Member>,
    clashed: bool,
}

impl Groups {
    /// Begins for a tray of so many slots.
    pub fn begin(&mut self, slots: usize) {
        self.best.clear();
        self.wanted = slots + 1;
        self.last = None;
        self.clashed = false;
    }

    /// Tells whether two ads came of one group.
    pub const fn clashed(&self) -> bool {
        self.clashed
    }

    /// Returns what an ad must be worth to change slots or prices. Never falls.
    pub fn least(&self) -> i64 {
        self.last.map_or(i64::MIN, |last| last.worth.total())
    }

    /// Tells whether an ad may change slots or prices. One that is worth as much as the best of the last
    /// group and loses to it by lot does neither: whoever falls back on it falls back on that amount anyway.
    pub fn admits(&self, total: i64, lot: impl FnOnce() -> u64, ad: u32) -> bool {
        let Some(last) = &self.last else { return true };
        let least = last.worth.total();
        total > least || total == least && (lot(), ad) <= (last.lot, last.ad)
    }

    /// Takes an ad. The order in which they come makes no difference.
    pub fn offer(&mut self, member: Member) {
        if !self.admits(member.worth.total(), || member.lot, member.ad) {
            return;
        }
        match self.best.iter().position(|group| group.first.group == member.group) {
            Some(known) => {
                // An ad with several conjunctions may come once for each.
                self.clashed |= self.best[known].first.ad != member.ad;
                self.best[known].offer(member);
            }
            None if self.best.len() < self.wanted => {
                self.best.push(Group { first: member, second: None });
            }
            None => {
                let worst = self.best.iter_mut().min_by_key(|group| group.first.order());
                if let Some(worst) = worst.filter(|worst| member.beats(&worst.first)) {
                    *worst = Group { first: member, second: None };
                }
            }
        }
        if self.best.len() == self.wanted {
            let firsts = self.best.iter().map(|group| group.first);
            self.last = firsts.min_by_key(Member::order);
        }
    }

    /// Returns the best of each group and the best other advertiser of it.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.best.iter().flat_map(|group| std::iter::once(&group.first).chain(&group.second))
    }

    /// Returns how many groups there are, at most one more than slots.
    pub fn len(&self) -> usize {
        self.best.len()
    }

    /// Tells whether no ad came.
    pub fn is_empty(&self) -> bool {
        self.best.is_empty()
    }
}
