//! One day in the demo's town, from midnight to midnight UTC.

use std::sync::Arc;

use crate::node::clock::MovedClock;
use crate::town::businesses::plan;
use crate::town::close::DayReport;
use crate::town::doors::Doors;
use crate::town::error::TownError;
use crate::town::habits::Habits;
use crate::town::lasting::lasting;
use crate::town::life::{Look, Town, Wake};
use crate::town::lines::Line;
use crate::town::lists::load_lists;
use crate::town::people::{Person, settle};
use crate::town::rhythm::{Ask, script};
use crate::types::proto::v1;
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

/// The day that every town lives first: 1 June 2026.
pub const DAY_START: Moment = Moment(1_780_272_000_000);

/// A step of the town's time; every viewer opens at most one tray in it.
pub const TICK_MS: i64 = 5 * MINUTE_MS;

/// How long the town goes on after its last tray, so that what was served is seen and charged.
const EVENING_MS: i64 = HOUR_MS;

/// What a town is made of.
#[derive(Clone, Copy, Debug)]
pub struct TownOptions {
    /// Everything random in the town follows from it.
    pub seed: u64,
    /// How many people live there.
    pub viewers: usize,
}

/// Everything that the town does in one day, written down before it begins.
pub struct Day {
    start: Moment,
    people: Vec<Person>,
    script: Vec<Vec<Ask>>,
}

impl Day {
    /// Writes the script of the day.
    #[must_use]
    pub fn new(options: TownOptions) -> Self {
        Self::after(options, 0)
    }

    /// Writes the script of the day that comes so many days later: the same people with the same habits.
    #[must_use]
    pub fn after(options: TownOptions, days: u32) -> Self {
        let people = settle(options.seed, options.viewers);
        let start = DAY_START.plus_ms(i64::from(days) * DAY_MS);
        let seed = options.seed ^ u64::from(days) << 32;
        let script = script(seed, &people, start, TICK_MS);
        Self { start, people, script }
    }

    /// Returns how many trays will be opened.
    #[must_use]
    pub fn trays(&self) -> usize {
        self.script.iter().map(Vec::len).sum()
    }

    /// Lives the day and its evening, and asks what it came to; `progress` hears how many trays have been
    /// opened so far.
    ///
    /// # Errors
    /// When the server fails or breaks its contract.
    pub async fn live(
        &self,
        town: &mut Town,
        progress: impl FnMut(usize),
    ) -> Result<DayReport, TownError> {
        let mut now = self.pass(town, progress).await?;
        while now <= self.start.plus_ms(DAY_MS + EVENING_MS) {
            town.move_to(now).await?;
            now = now.plus_ms(TICK_MS);
        }
        town.close().await
    }

    /// Lives the day until its midnight, which is returned: another day may follow.
    ///
    /// # Errors
    /// When the server fails or breaks its contract.
    pub async fn pass(
        &self,
        town: &mut Town,
        mut progress: impl FnMut(usize),
    ) -> Result<Moment, TownError> {
        let mut opened = 0;
        let mut now = self.start;
        for (tick, asks) in self.script.iter().enumerate() {
            town.move_to(now).await?;
            let looks: Vec<Look> = asks.iter().map(|ask| self.look(ask, tick)).collect();
            town.serve(&looks, now).await?;
            opened += asks.len();
            progress(opened);
            now = now.plus_ms(TICK_MS);
        }
        Ok(now)
    }

    /// Returns the ticks before the day, of all days.
    const fn first_tick(&self) -> u64 {
        ((self.start.0 - DAY_START.0) / TICK_MS) as u64
    }

    fn look(&self, ask: &Ask, tick: usize) -> Look {
        let person = &self.people[ask.person];
        let viewer = if ask.known { person.viewer.clone() } else { v1::ViewerContext::default() };
        Look {
            request: v1::AdRequest {
                placement: ask.placement.into(),
                viewer: Some(viewer),
                posts: ask.posts,
                ..Default::default()
            },
            name: person.viewer.pseudonym.clone(),
            country: person.viewer.country.clone(),
            liking: person.liking,
            place: [ask.person as u64, self.first_tick() + tick as u64],
        }
    }
}

/// Founds the demo's businesses and returns the town, at the beginning of its day.
///
/// # Errors
/// When the server fails or refuses one of the businesses.
pub async fn found_town(
    doors: Doors,
    clock: Arc<MovedClock>,
    wake: Wake,
    options: TownOptions,
) -> Result<Town, TownError> {
    let lines = plan(options.seed, options.viewers, DAY_START);
    found(doors, clock, wake, options, &lines).await
}

/// Founds the same businesses as a market that is the same every day: for who looks at more days than one.
///
/// # Errors
/// As [`found_town`].
pub async fn found_lasting_town(
    doors: Doors,
    clock: Arc<MovedClock>,
    wake: Wake,
    options: TownOptions,
) -> Result<Town, TownError> {
    let lines = plan(options.seed, options.viewers, DAY_START).into_iter().map(lasting);
    let lines: Vec<_> = lines.collect();
    found(doors, clock, wake, options, &lines).await
}

async fn found(
    mut doors: Doors,
    clock: Arc<MovedClock>,
    wake: Wake,
    TownOptions { seed, .. }: TownOptions,
    lines: &[Line],
) -> Result<Town, TownError> {
    load_lists(&mut doors, seed).await?;
    Town::found(doors, clock, wake, seed, Habits::town(), lines).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_day() {
        let looks = |seed| -> Vec<Look> {
            let day = Day::new(TownOptions { seed, viewers: 200 });
            let of_tick = |(tick, asks): (usize, &Vec<Ask>)| -> Vec<Look> {
                asks.iter().map(|ask| day.look(ask, tick)).collect()
            };
            day.script.iter().enumerate().flat_map(of_tick).collect()
        };
        assert_eq!(looks(7), looks(7));
        assert_ne!(looks(7), looks(8));
    }

    #[test]
    fn nobody_tells_who_an_unknown_viewer_is() {
        let day = Day::new(TownOptions { seed: 7, viewers: 500 });
        let mut unknown = 0;
        for ask in day.script.iter().flatten().filter(|ask| !ask.known) {
            assert_eq!(day.look(ask, 0).request.viewer, Some(v1::ViewerContext::default()));
            unknown += 1;
        }
        assert!(unknown > 20, "{unknown}");
    }
}
