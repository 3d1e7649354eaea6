//! Which steps of the funnel a person has taken in which campaigns, so that each counts a person once.

use serde::{Deserialize, Serialize};

/// Campaigns of one person at one endpoint whose steps are remembered: the first ones. In further campaigns
/// the person counts as known.
pub const CAMPAIGNS_MAX: usize = 32;

/// A step that a person takes in a chat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// An ad of the campaign has led to a conversation.
    Opened = 0,
    /// The person wrote in it.
    Wrote = 1,
    /// The business answered.
    Replied = 2,
    /// It became a qualified one.
    Qualified = 3,
}

/// The steps that one person has taken, a bit each, by campaign.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Taken(Vec<(u64, u8)>);

impl Taken {
    /// Tells whether a step would be the person's first of its kind in the campaign.
    pub fn is_new(&self, campaign: u64, step: Step) -> bool {
        let known = self.0.iter().find(|(known, _)| *known == campaign);
        known.map_or(self.0.len() < CAMPAIGNS_MAX, |(_, steps)| steps & 1 << step as u8 == 0)
    }

    pub(in crate::state) fn take(&mut self, campaign: u64, step: Step) {
        let known = self.0.iter().position(|(known, _)| *known == campaign);
        let index = known.unwrap_or(self.0.len());
        if known.is_none() {
            if index == CAMPAIGNS_MAX {
                return;
            }
            self.0.push((campaign, 0));
        }
        self.0[index].1 |= 1 << step as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_new_once_in_each_campaign() {
        let mut taken = Taken::default();
        taken.take(7, Step::Opened);
        taken.take(7, Step::Replied);
        let new = |campaign| {
            [Step::Opened, Step::Wrote, Step::Replied, Step::Qualified]
                .map(|step| taken.is_new(campaign, step))
        };
        assert_eq!(new(7), [false, true, false, true]);
        assert_eq!(new(8), [true; 4]);
    }

    #[test]
    fn a_full_memory_forgets_nothing_and_takes_further_campaigns_as_known() {
        let mut taken = Taken::default();
        (0..CAMPAIGNS_MAX as u64 + 5).for_each(|campaign| taken.take(campaign, Step::Opened));
        let last = CAMPAIGNS_MAX as u64;
        assert!(!taken.is_new(0, Step::Opened) && taken.is_new(0, Step::Wrote));
        assert!(!taken.is_new(last, Step::Opened) && !taken.is_new(last, Step::Wrote));
    }
}
