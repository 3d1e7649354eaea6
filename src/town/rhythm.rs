//! When people look: the script of one day, in ticks, by the hours of each place.

use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::people::Person;
use crate::town::places::PLACES;
use crate::types::proto::v1::Placement;
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

/// How much people look in each hour of their own day: asleep, on the way, at noon, in the evening.
const HOURS: [u32; 24] =
    [12, 6, 3, 2, 3, 8, 25, 52, 60, 48, 42, 45, 62, 66, 50, 44, 46, 55, 68, 84, 96, 98, 70, 32];

/// A tray that a viewer opens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ask {
    /// Index of the person.
    pub(crate) person: usize,
    /// Posts in the tray.
    pub(crate) posts: u32,
    /// Where it is.
    pub(crate) placement: Placement,
    /// Whether the feed knows who is looking.
    pub(crate) known: bool,
}

/// Returns who opens a tray in each tick of the day from `start`: each person at most once a tick, in
/// the order of the people.
pub(crate) fn script(seed: u64, people: &[Person], start: Moment, tick_ms: i64) -> Vec<Vec<Ask>> {
    let ticks = (DAY_MS / tick_ms) as usize;
    let mut script: Vec<Vec<Ask>> = vec![Vec::new(); ticks];
    for (number, person) in people.iter().enumerate() {
        let mut dice = Dice::new(seed, Concern::Rhythm, &[number as u64]);
        for _ in 0..person.sessions {
            session(&mut dice, number, person, start, tick_ms, &mut script);
        }
    }
    script
}

/// Writes one session into the script: a tray a tick, until the person has had enough.
fn session(
    dice: &mut Dice,
    number: usize,
    person: &Person,
    start: Moment,
    tick_ms: i64,
    script: &mut [Vec<Ask>],
) {
    let local_ms = dice.weighted(&HOURS) as i64 * HOUR_MS + dice.between(0..=HOUR_MS - 1);
    let ahead_ms = (PLACES[person.place].ahead_minutes - person.late_riser_minutes) * MINUTE_MS;
    let into_day = (local_ms - ahead_ms - start.0).rem_euclid(DAY_MS);
    let placement = match dice.weighted(&[60, 15, 20, 5]) {
        0 => Placement::Status,
        1 => Placement::Stories,
        2 => Placement::Feed,
        _ => Placement::ChatList,
    };
    let known = !dice.chance(CERTAIN / 50);
    let trays = 1 + dice.weighted(&[30, 30, 20, 12, 8]);
    for tick in ((into_day / tick_ms) as usize..script.len()).take(trays) {
        let ask = Ask { person: number, posts: dice.between(10..=40) as u32, placement, known };
        // People are written one after the other, so an earlier tray of the same one is the last.
        if script[tick].last().is_none_or(|last| last.person != number) {
            script[tick].push(ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::people::settle;

    const START: Moment = Moment(1_780_272_000_000);
    const TICK_MS: i64 = 5 * MINUTE_MS;

    #[test]
    fn the_same_seed_gives_the_same_script() {
        let people = settle(7, 500);
        let script_of = |seed| script(seed, &people, START, TICK_MS);
        assert_eq!(script_of(7), script_of(7));
        assert_ne!(script_of(7), script_of(8));
    }

    #[test]
    fn a_viewer_opens_one_tray_a_tick_in_the_order_of_the_people() {
        for tick in script(7, &settle(7, 2_000), START, TICK_MS) {
            assert!(tick.is_sorted_by(|a, b| a.person < b.person));
        }
    }

    #[test]
    fn a_day_has_some_nine_trays_a_viewer_and_a_quiet_night() {
        let mut people = settle(7, 4_000);
        people.retain(|person| PLACES[person.place].country == "MX");
        let script = script(7, &people, START, TICK_MS);
        let trays: usize = script.iter().map(Vec::len).sum();
        assert!((7..11).contains(&(trays / people.len())), "{}", trays / people.len());
        // 3:00 and 20:00 in Mexico City are 9:00 and 2:00 UTC.
        let hour = |utc: usize| script[utc * 12..][..12].iter().map(Vec::len).sum::<usize>();
        assert!(hour(2) > 5 * hour(9), "evening {} night {}", hour(2), hour(9));
    }
}
