//! How late events are told: what says which share of an hour's events has come in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::time::Moment;

/// Hours of delay that are told apart: a token of an hour ends within the next 25, later ones count as those.
pub const DELAY_HOURS: usize = 27;

/// Events by the hours between theirs and the journal's.
pub type Delays = [u64; DELAY_HOURS];

/// Delays of some ads' events. Only hours whose tokens have all ended teach: of an open one only the early
/// events are known.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lateness {
    /// The journal's latest hour.
    hour: u32,
    open: BTreeMap<u32, Delays>,
    /// Of all closed hours.
    pub closed: Delays,
}

impl Lateness {
    /// Counts an event of a moment that is journaled at another.
    pub(in crate::state) fn note(&mut self, event_ms: i64, at: Moment) {
        let event = Moment(event_ms).hour();
        let delay = at.hour().saturating_sub(event) as usize;
        let last = DELAY_HOURS - 1;
        if at.hour() > self.hour {
            self.hour = at.hour();
            let still = self.open.split_off(&self.hour.saturating_sub(last as u32));
            let ended = std::mem::replace(&mut self.open, still);
            for delays in ended.into_values() {
                self.closed.iter_mut().zip(delays).for_each(|(sum, more)| *sum += more);
            }
        }
        let is_open = self.hour.saturating_sub(event) as usize <= last;
        let delays = if is_open { self.open.entry(event).or_default() } else { &mut self.closed };
        delays[delay.min(last)] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    #[test]
    fn an_hour_teaches_once_it_is_closed_whatever_the_order() {
        let hour = |hour: i64| Moment(hour * HOUR_MS);
        let notes = [(100, 100), (100, 103), (100, 160), (101, 101), (99, 99), (127, 127)];
        let (mut one, mut other) = (Lateness::default(), Lateness::default());
        notes.iter().for_each(|(event, at)| one.note(hour(*event).0, hour(*at)));
        notes.iter().rev().for_each(|(event, at)| other.note(hour(*event).0, hour(*at)));
        assert_eq!(one, other);
        assert_eq!((one.closed[0], one.closed[3], one.closed[26]), (4, 1, 1));
        assert!(one.open.is_empty());
        let mut young = Lateness::default();
        young.note(hour(5).0, hour(5));
        young.note(hour(31).0, hour(31));
        assert_eq!((young.closed[0], young.open.len()), (0, 2));
        young.note(hour(32).0, hour(32));
        assert_eq!((young.closed[0], young.open.len()), (1, 2));
    }
}
