//! Who may stand, in which order, and where: bars, leaders of groups, and the slots of a tray.

use crate::decide::auction::{Candidate, Terms};

/// A place where an ad stands if enough are worth it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Index among the allowed places.
    pub(super) place: usize,
    /// Parts of full attention. Invariant: no more than that of the slot before.
    pub(super) weight: u32,
}

/// Lays the slots of a tray: the earliest places that keep the gap.
pub(super) fn lay_slots(terms: &Terms<'_>, slots: &mut Vec<Slot>) {
    slots.clear();
    let gap = u32::from(terms.min_gap.max(1));
    let (mut from, mut ceiling) = (0, u32::MAX);
    for (place, (&position, &weight)) in terms.places.iter().zip(terms.attention).enumerate() {
        if slots.len() == terms.most {
            break;
        }
        // Places that are passed over count too, or a rise behind one would go unseen.
        ceiling = ceiling.min(weight);
        if u32::from(position) < from {
            continue;
        }
        slots.push(Slot { place, weight: ceiling });
        from = u32::from(position) + gap;
    }
}

/// What the total of an ad has to reach, by business.
#[derive(Debug, Default)]
pub(super) struct Bars {
    floor: i64,
    /// Businesses with a quality above 0, ascending; the last of a business is its highest.
    bonuses: Vec<(u64, i64)>,
}

impl Bars {
    /// Sets the bars from *all* candidates, also those worth nothing: a bid must not move its own bar.
    pub(super) fn set(&mut self, candidates: &[Candidate], floor: i64) {
        self.floor = floor.max(0);
        self.bonuses.clear();
        let with_bonus = candidates.iter().filter(|candidate| candidate.quality > 0);
        self.bonuses.extend(with_bonus.map(|candidate| (candidate.business, candidate.quality)));
        self.bonuses.sort_unstable();
    }

    fn of(&self, business: u64) -> i64 {
        let end = self.bonuses.partition_point(|bonus| bonus.0 <= business);
        match self.bonuses[..end].last() {
            Some(&(owner, bonus)) if owner == business => self.floor.saturating_add(bonus),
            _ => self.floor,
        }
    }

    fn admit(&self, candidate: &Candidate) -> bool {
        candidate.value > 0 && candidate.total() >= self.of(candidate.business)
    }
}

/// The best ad of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leader {
    /// Index among the candidates.
    pub(super) candidate: usize,
    pub(super) total: i64,
    group: u64,
    business: u64,
    lot: u64,
    ad: u64,
}

impl Leader {
    fn new(index: usize, candidate: &Candidate) -> Self {
        let Candidate { ad, business, group, lot, .. } = *candidate;
        Self { candidate: index, total: candidate.total(), group, business, lot, ad }
    }

    fn is_before(&self, other: &Self) -> bool {
        (other.total, self.lot, self.ad) < (self.total, other.lot, other.ad)
    }
}

/// Lines up the best ads of the `most` best groups, best first. A group's best is that of its best
/// business, since a business is in one group.
pub(super) fn line_up(
    candidates: &[Candidate],
    bars: &Bars,
    most: usize,
    leaders: &mut Vec<Leader>,
) {
    leaders.clear();
    for (index, candidate) in candidates.iter().enumerate() {
        let new = Leader::new(index, candidate);
        let is_full = leaders.len() == most;
        if is_full && leaders.last().is_some_and(|last| !new.is_before(last)) {
            continue;
        }
        if !bars.admit(candidate) {
            continue;
        }
        match leaders.iter().position(|leader| leader.group == new.group) {
            Some(at) if new.is_before(&leaders[at]) => drop(leaders.remove(at)),
            Some(_) => continue,
            None if is_full => drop(leaders.pop()),
            None => {}
        }
        let at = leaders.partition_point(|leader| leader.is_before(&new));
        leaders.insert(at, new);
    }
}

/// Finds for each winner the total that its group falls back to when the winner's business bids no more
/// than its bar: the bar, or that of the best other business of the group.
pub(super) fn find_fallbacks(
    candidates: &[Candidate],
    bars: &Bars,
    winners: &[Leader],
    fallbacks: &mut Vec<i64>,
) {
    fallbacks.clear();
    fallbacks.extend(winners.iter().map(|winner| bars.of(winner.business)));
    for candidate in candidates {
        let Some(rank) = winners.iter().position(|winner| winner.group == candidate.group) else {
            continue;
        };
        let is_mate = candidate.business != winners[rank].business;
        if is_mate && candidate.total() > fallbacks[rank] && bars.admit(candidate) {
            fallbacks[rank] = candidate.total();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(places: &[u16], attention: &[u32], min_gap: u16, most: usize) -> Vec<(usize, u32)> {
        let terms = Terms { places, attention, min_gap, most, interruption: 0, floor: 0 };
        let mut slots = Vec::new();
        lay_slots(&terms, &mut slots);
        slots.iter().map(|slot| (slot.place, slot.weight)).collect()
    }

    #[test]
    fn slots_keep_the_gap_and_their_weights_never_rise() {
        assert_eq!(slots(&[0, 3, 4, 7], &[9, 8, 7, 6], 4, 9), [(0, 9), (2, 7)]);
        assert_eq!(slots(&[0, 3, 4, 8], &[9, 8, 7, 6], 4, 9), [(0, 9), (2, 7), (3, 6)]);
        assert_eq!(slots(&[0, 1, 2], &[9, 5, 7], 0, 9), [(0, 9), (1, 5), (2, 5)]);
        assert_eq!(slots(&[0, 1, 2], &[9, 5, 7], 2, 9), [(0, 9), (2, 5)]);
        assert_eq!(slots(&[65_534, 65_535], &[9, 9], u16::MAX, 9), [(0, 9)]);
    }

    #[test]
    fn a_group_that_was_pushed_out_comes_back_with_a_better_ad() {
        let ad =
            |ad, group, value| Candidate { ad, business: group, group, value, quality: 0, lot: 0 };
        let ads = [ad(1, 1, 10), ad(2, 2, 20), ad(3, 3, 30), ad(4, 1, 25), ad(5, 3, 5)];
        let mut leaders = Vec::new();
        line_up(&ads, &Bars::default(), 2, &mut leaders);
        let order: Vec<_> = leaders.iter().map(|leader| leader.ad).collect();
        assert_eq!(order, [3, 4]);
    }
}
