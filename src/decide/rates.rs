//! Predicted action rates: what they are, and how they are learned from counts.
//!
//! [`Predictor`] is the seam: it is told of every valid event, and asked for the rates of an ad. A learned
//! model takes its place by the same calls: `place` an ad among others, `learn` of its events, give its
//! `rates` in the best placement, and the `factors` of the placements. Everything behind them (bounds of
//! the index, prices, holds) reads rates and factors from the board and knows nothing of averages.

mod predictor;

pub use predictor::{Foreseen, Learned, Predictor};

/// Predicted action rates in 1/65,535, in the placement where they are highest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Taps per impression.
    pub tap: u16,
    /// Conversations per tap.
    pub chat: u16,
    /// Viewable impressions per impression.
    pub viewable: u16,
    /// Conversions per conversation.
    pub sale: u16,
}

/// The rates of one placement in 1/65,535 of those in the best one. A conversation after a tap and a
/// conversion after that depend on the ad, not on where it was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Factors {
    /// Of taps per impression.
    pub tap: u16,
    /// Of viewable impressions per impression.
    pub viewable: u16,
}

impl Factors {
    /// Those of the best placement.
    pub const ONE: Self = Self { tap: u16::MAX, viewable: u16::MAX };
}

/// Events and trials of a prior: what an ad's rate is thought to be before anything is known.
struct Prior {
    events: u64,
    trials: u64,
}

// Ours, until there is a market to ask: overwritten by the first thousands of events of any ad.
const PRIOR_TAPS: Prior = Prior { events: 4, trials: 400 };
const PRIOR_CHATS: Prior = Prior { events: 8, trials: 20 };
const PRIOR_VIEWABLE: Prior = Prior { events: 7, trials: 10 };
const PRIOR_SALES: Prior = Prior { events: 5, trials: 100 };

/// Impressions that a hide rate of 0 weighs as much as.
const PRIOR_HIDES_IMPRESSIONS: u64 = 400;

/// How far the viewable rate may rise before the row is built anew: a sixteenth of all impressions. Most
/// impressions are viewable, so without room a young ad's row would be built with every other event.
const VIEWABLE_ROOM: u16 = 4_096;

impl Prior {
    const fn rate(&self) -> u16 {
        (self.events * u16::MAX as u64 / self.trials) as u16
    }

    const fn share(&self) -> f64 {
        self.events as f64 / self.trials as f64
    }
}

impl Rates {
    /// Those of an ad where nobody has seen any.
    pub const NEW: Self = Self {
        tap: PRIOR_TAPS.rate(),
        chat: PRIOR_CHATS.rate(),
        viewable: PRIOR_VIEWABLE.rate(),
        sale: PRIOR_SALES.rate(),
    };

    /// Returns the rates in a placement: never above these, and never 0.
    pub const fn in_placement(self, factors: Factors) -> Self {
        Self {
            tap: part(self.tap, factors.tap),
            viewable: part(self.viewable, factors.viewable),
            ..self
        }
    }

    /// Returns the highest rates that a row built now allows for.
    pub const fn with_room(self) -> Self {
        Self { viewable: self.viewable.saturating_add(VIEWABLE_ROOM), ..self }
    }

    /// Tells whether any of these is above the other's.
    pub const fn above(self, other: Self) -> bool {
        self.tap > other.tap
            || self.chat > other.chat
            || self.viewable > other.viewable
            || self.sale > other.sale
    }

    /// Returns the lower of each.
    pub fn least(self, other: Self) -> Self {
        Self {
            tap: self.tap.min(other.tap),
            chat: self.chat.min(other.chat),
            viewable: self.viewable.min(other.viewable),
            sale: self.sale.min(other.sale),
        }
    }
}

/// Returns a rate times a factor, rounded down, at least 1. A factor of 65,535 changes nothing.
const fn part(rate: u16, factor: u16) -> u16 {
    let part = (rate as u32 * factor as u32 / u16::MAX as u32) as u16;
    if part == 0 { 1 } else { part }
}

/// Returns how often viewers hide or report an ad once seen, in 1/65,535: as good as never until
/// something is known.
pub fn hide_rate(hides: u64, impressions: u64) -> u16 {
    let share = hides * u64::from(u16::MAX) / (impressions + PRIOR_HIDES_IMPRESSIONS);
    share.min(u64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_only_lowers_rates_and_never_to_nothing() {
        let rates = Rates { tap: 655, chat: 26_214, viewable: u16::MAX, sale: 1 };
        assert_eq!(rates.in_placement(Factors::ONE), rates);
        let least = rates.in_placement(Factors { tap: 1, viewable: 1 });
        assert_eq!(least, Rates { tap: 1, viewable: 1, ..rates });
        let half = rates.in_placement(Factors { tap: 32_768, viewable: 49_151 });
        assert_eq!(half, Rates { tap: 327, viewable: 49_151, ..rates });
    }

    #[test]
    fn hides_are_of_impressions() {
        assert_eq!((hide_rate(0, 0), hide_rate(40, 400)), (0, 3_276));
        assert_eq!(hide_rate(1_000_000, 0), u16::MAX);
    }

    #[test]
    fn room_is_for_viewable_impressions_only() {
        let room = Rates::NEW.with_room();
        assert_eq!(room.viewable, Rates::NEW.viewable + VIEWABLE_ROOM);
        assert_eq!(Rates { viewable: u16::MAX, ..room }.with_room().viewable, u16::MAX);
        assert!(room.above(Rates::NEW) && !Rates::NEW.above(room));
    }
}
