//! Which connections are left unread while a share of them is. Pure: they take turns, by the time that has passed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rpc::limits::READ_ROUND;

/// The golden ratio's part of 2^64: its multiples fall evenly, however few there are (Weyl).
pub(super) const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the share of so many connections that is not above this one: there are only whole ones.
pub(super) fn whole(share: f64, connections: usize) -> f64 {
    match connections {
        _ if share >= 1.0 => 1.0,
        0 => 0.0,
        count => (share * count as f64).floor() / count as f64,
    }
}

/// The connections of a class, numbered: each has the least number that was free, so that they stay close.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The least number that nobody ever had.
    next: u64,
    free: BTreeSet<u64>,
}

impl Numbers {
    pub(super) fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(super) fn give_back(&mut self, number: u64) {
        self.free.insert(number);
    }

    pub(super) fn count(&self) -> usize {
        self.next as usize - self.free.len()
    }
}

/// A connection's place in the round in which those of a class take turns.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Place(u64);

impl Place {
    /// Returns the place of the connection with this number: neighbours stand far apart.
    pub(super) const fn of(number: u64) -> Self {
        Self(number.wrapping_mul(STEP))
    }

    /// Tells whether it is left unread at this point of the round, while this share is.
    pub(super) fn waits(self, point: Point, unread: f64) -> bool {
        let at = (self.0.wrapping_add(point.0) >> 11) as f64 / (1_u64 << 53) as f64;
        at < unread
    }
}

/// A point of the round.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Point(u64);

impl Point {
    /// Returns the point that has come after so long.
    pub(super) fn after(elapsed: Duration) -> Self {
        let round = READ_ROUND.as_nanos();
        let part = (elapsed.as_nanos() % round) << 64;
        // Less than 2^64: the part is less than a round.
        Self((part / round) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: [usize; 7] = [0, 1, 2, 3, 7, 20, 500];

    #[test]
    fn of_connections_only_whole_ones_are_left_unread() {
        for count in COUNTS {
            for share in (0..=100).map(|part| f64::from(part) / 100.0) {
                let whole = whole(share, count);
                assert!(whole <= share && share - whole <= 1.0 / count.max(1) as f64);
                let unread = whole * count as f64;
                assert!((unread - unread.round()).abs() < 1e-9, "{share} of {count}: {unread}");
            }
            assert!(whole(1.0, count) >= 1.0);
        }
    }

    #[test]
    fn a_number_that_is_given_back_is_the_next_ones() {
        let mut numbers = Numbers::default();
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [0, 1, 2]);
        numbers.give_back(1);
        assert_eq!(numbers.count(), 2);
        assert_eq!([numbers.take(), numbers.take()], [1, 3]);
        assert_eq!(numbers.count(), 4);
    }

    #[test]
    fn of_each_number_of_connections_just_so_many_wait() {
        for count in COUNTS {
            for part in 0..=20 {
                let unread = f64::from(part) / 20.0;
                for second in 0..60 {
                    let point = Point::after(Duration::from_secs(second));
                    let waits = |number: &u64| Place::of(*number).waits(point, unread);
                    let waiting = (0..count as u64).filter(waits).count() as f64;
                    let wanted = unread * count as f64;
                    assert!((waiting - wanted).abs() <= 2.0, "{waiting} of {count} at {unread}");
                }
            }
        }
    }

    #[test]
    fn in_a_round_each_waits_for_its_share_in_one_go() {
        let steps = 600;
        for number in 0..20 {
            let waits = |step: u32| {
                let point = Point::after(READ_ROUND * step / steps);
                Place::of(number).waits(point, 0.7)
            };
            let waiting = (0..steps).filter(|step| waits(*step)).count();
            assert!((415..=425).contains(&waiting), "{waiting}");
            let begun = (0..steps).filter(|step| waits(*step) != waits((step + 1) % steps)).count();
            assert_eq!(begun, 2, "it begins and ends once");
        }
    }
}
