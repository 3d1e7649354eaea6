//! Hours of a week: when an ad set is meant to run, on the clocks of a viewer or an account.

/// Hours of a week.
pub const WEEK_HOURS: u32 = 7 * 24;

/// Hours of the week, a bit each: 0 is Monday from 00:00 to 00:59, 167 the last of Sunday.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Week([u64; 3]);

impl Week {
    /// All hours.
    pub const ALL: Self = Self([u64::MAX; 3]);

    /// Returns the hours of a list; `None`: it is empty, which stands for always. Doors let no hour beyond a
    /// week in.
    pub fn of(list: &[u32]) -> Option<Self> {
        let mut week = Self::default();
        for hour in list {
            if let Some(word) = week.0.get_mut((hour / u64::BITS) as usize) {
                *word |= 1 << (hour % u64::BITS);
            }
        }
        (!list.is_empty()).then_some(week)
    }

    /// Tells whether it has an hour.
    pub fn has(self, hour: u8) -> bool {
        let (word, bit) = (u32::from(hour) / u64::BITS, u32::from(hour) % u64::BITS);
        self.0.get(word as usize).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Returns the hours of either.
    pub fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// Returns its hours, ascending.
    pub fn hours(self) -> impl Iterator<Item = u8> {
        (0..WEEK_HOURS as u8).filter(move |hour| self.has(*hour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_has_the_hours_that_were_set_and_no_other() {
        let week = Week::of(&[0, 63, 64, 167, 168, 400]).expect("some hours");
        let open: Vec<u8> = (0..=u8::MAX).filter(|hour| week.has(*hour)).collect();
        assert_eq!(open, [0, 63, 64, 167, 168], "168 is in the last word, and no clock shows it");
        assert_eq!(week.hours().collect::<Vec<_>>(), [0, 63, 64, 167]);
    }

    #[test]
    fn a_schedule_names_its_hours() {
        assert_eq!(Week::of(&[]), None);
        assert_eq!(Week::of(&[0, 64, 167]), Some(Week([1, 1, 1 << 39])));
        assert_eq!(Week::ALL.hours().count(), 168);
        assert_eq!(Week([1, 0, 0]).or(Week([2, 0, 0])), Week([3, 0, 0]));
    }
}
