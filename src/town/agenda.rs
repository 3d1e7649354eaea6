//! What people and businesses are going to do: deeds in the order of their time.

use std::collections::BTreeMap;

use crate::town::founding::AdHome;
use crate::town::talk::Saying;
use crate::types::proto::v1;
use crate::types::time::Moment;

/// One thing that somebody does and a door must hear of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Something happens to an ad in a feed.
    Ad {
        /// What the feed reports.
        event: v1::AdEvent,
        /// Where the ad belongs.
        home: AdHome,
    },
    /// The place is drawn where an experiment holds an ad back: what the feed reports of it.
    Ghost(v1::AdEvent),
    /// A conversation opens, or a message goes over it.
    Chat(Saying),
    /// Somebody buys, or leaves a lead.
    Sale(v1::Conversion),
}

/// All deeds to come. Deeds of one moment keep the order in which they were planned.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    due: BTreeMap<(Moment, u64), Deed>,
    planned: u64,
}

impl Agenda {
    /// Plans a deed.
    pub(crate) fn plan(&mut self, at: Moment, deed: Deed) {
        self.due.insert((at, self.planned), deed);
        self.planned += 1;
    }

    /// Takes out what is due by now, in order.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<Deed> {
        let later = self.due.split_off(&(now.plus_ms(1), 0));
        std::mem::replace(&mut self.due, later).into_values().collect()
    }

    /// Returns when the next deed is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(name: &str) -> Deed {
        Deed::Sale(v1::Conversion { event_id: name.to_owned(), ..Default::default() })
    }

    #[test]
    fn deeds_come_in_the_order_of_their_time_and_then_of_their_planning() {
        let mut agenda = Agenda::default();
        for (at, name) in [(9, "d"), (5, "b"), (5, "c"), (3, "a"), (10, "e")] {
            agenda.plan(Moment(at), deed(name));
        }
        assert_eq!(agenda.next(), Some(Moment(3)));
        assert_eq!(agenda.take_due(Moment(9)), ["a", "b", "c", "d"].map(deed));
        assert_eq!(agenda.take_due(Moment(9)), []);
        assert_eq!(agenda.take_due(Moment(99)), [deed("e")]);
        assert_eq!(agenda.next(), None);
    }
}
