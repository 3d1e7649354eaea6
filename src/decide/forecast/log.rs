//! What sampled viewers asked for lately, and what stood in their trays: what forecasts are replayed on.
//!
//! A viewer is in it with *all* of its requests or with none: sampled by request, people who come often
//! would stand for too many. The log is bounded twice, by requests and by people. When it is full, what is
//! older than a day goes first; then the share of viewers is halved, and those who fall out are forgotten.
//! It may lose requests (whoever fills it drops them when it is busy): a forecast is a little low then.

use std::sync::Arc;

use crate::decide::forecast::ladder::Shape;
use crate::decide::groups::Member;
use crate::decide::index::Entry;
use crate::decide::select::{Asked, Tray};
use crate::state::Map;
use crate::types::hash::mix;
use crate::types::proto::v1::NoAdReason;
use crate::types::request::Profile;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Requests that are kept: 12 bytes each, and 16 for each ad in their trays.
pub const VISITS_MAX: usize = 1_000_000;

/// Viewers that are kept, some 600 bytes each: with [`VISITS_MAX`] the log stays under 220 MB (measured:
/// 176 MB for a million requests of 173,000 viewers).
pub const PEOPLE_MAX: usize = 200_000;

/// Days that are kept where there is room.
pub const LOG_DAYS: i64 = 7;

/// Different profiles of one viewer (other connections, other places); a further one replaces the last.
pub const FACES_MAX: usize = 8;

/// Different trays: policies, places and attention. Requests of further ones are not kept.
pub const SHAPES_MAX: usize = 4_096;

/// Where fewer than a quarter of the room is used, the share of viewers is doubled again.
const WIDEN_BELOW: usize = VISITS_MAX / 4;

/// The smallest share of viewers is one of this many.
pub const DIVISOR_MAX: u32 = 1 << 20;

/// How much older a part of the log must be to go before viewers do.
const CUT_STEP_MS: i64 = 6 * HOUR_MS;

/// Returns what decides whether a viewer is in the log: other bits than those of other samples.
pub const fn sample_hash(viewer: u64) -> u64 {
    mix(viewer ^ 0x3C3C_C3C3_5A5A_A5A5)
}

/// Tells whether a viewer is among one of `divisor`, a power of two.
pub const fn is_sampled(viewer: u64, divisor: u32) -> bool {
    sample_hash(viewer) & (divisor as u64 - 1) == 0
}

/// An ad that stood in a tray. Amounts are in micros of the settlement currency for 1,000 impressions; they
/// are estimates from here on, so 24 bits of them are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rival {
    /// Value and quality.
    pub total: f32,
    /// What it paid.
    pub pay: f32,
    /// What separates it from others, folded.
    pub group: u32,
    /// Its ad set's number.
    pub ad_set: u32,
}

/// Folds what separates ads to 32 bits; only 0 becomes 0.
pub const fn fold_group(group: u64) -> u32 {
    let folded = (mix(group) >> 32) as u32;
    if group == 0 {
        0
    } else if folded == 0 {
        1
    } else {
        folded
    }
}

/// One request that was just answered, on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Noticed {
    /// Who asked.
    pub viewer: u64,
    /// What is known of it.
    pub profile: Profile,
    /// Where the ads would stand.
    pub placement: u8,
    /// When.
    pub at: Moment,
    /// What the tray asks of an ad.
    pub shape: Shape,
    /// The ads in it.
    pub rivals: Vec<Rival>,
}

impl Noticed {
    /// Returns a tray that was just filled; `None`: it had no place for any ad.
    pub fn of(viewer: u64, tray: &Tray, asked: &Asked<'_>) -> Option<Self> {
        let allowed = |slot: &&(u16, Result<_, NoAdReason>)| {
            slot.1.as_ref().err() != Some(&NoAdReason::FeedPolicy)
        };
        let positions = tray.slots.iter().filter(allowed).map(|(position, _)| *position);
        let shape = Shape::of(asked.policy, positions)?;
        let placed = tray.slots.iter().filter_map(|(_, slot)| slot.as_ref().ok());
        let exchange = asked.index.exchange();
        let settle = |entry: &Entry, micros| exchange.settle(entry.currency, micros);
        let rivals = placed.map(|placed| {
            let (worth, rates) = asked.worth(&placed.entry);
            let member = Member::of(&placed.entry, worth, rates, 0);
            Rival {
                total: worth.total() as f32,
                // What one showing costs on the average, which is what is held for it.
                pay: settle(&placed.entry, placed.hold.saturating_mul(1_000)) as f32,
                group: fold_group(member.group),
                ad_set: placed.entry.ad_set,
            }
        });
        Some(Self {
            viewer,
            profile: asked.request.profile.clone(),
            placement: asked.request.placement as u8,
            at: asked.now,
            shape,
            rivals: rivals.collect(),
        })
    }
}

/// One request of a viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) at_s: u32,
    /// Where its rivals end among those of the viewer; they begin where those of the one before end.
    rivals_end: u32,
    pub(super) shape: u16,
    pub(super) placement: u8,
    pub(super) face: u8,
}

/// One viewer with all its requests, ascending by time but for clocks that step back.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) faces: Vec<Profile>,
    visits: Vec<Visit>,
    rivals: Vec<Rival>,
}

impl Person {
    /// Returns the requests, each with the ads that stood in its tray.
    pub(super) fn visits(&self) -> impl Iterator<Item = (&Visit, &[Rival])> {
        let mut from = 0;
        self.visits.iter().map(move |visit| {
            let end = visit.rivals_end as usize;
            let rivals = &self.rivals[from..end];
            from = end;
            (visit, rivals)
        })
    }

    fn add(&mut self, noticed: Noticed, shape: u16) {
        let known = self.faces.iter().position(|face| *face == noticed.profile);
        let face = known.unwrap_or_else(|| {
            if self.faces.len() == FACES_MAX {
                self.faces.pop();
            }
            self.faces.push(noticed.profile);
            self.faces.len() - 1
        });
        self.rivals.extend(noticed.rivals);
        self.visits.push(Visit {
            at_s: noticed.at.seconds(),
            rivals_end: self.rivals.len() as u32,
            shape,
            placement: noticed.placement,
            face: face as u8,
        });
    }

    /// Forgets what was before; returns how many requests that were.
    fn forget(&mut self, before_s: u32) -> usize {
        let count = self.visits.partition_point(|visit| visit.at_s < before_s);
        if let Some(last) = count.checked_sub(1).map(|last| self.visits[last].rivals_end) {
            self.rivals.drain(..last as usize);
            self.visits.drain(..count);
            self.visits.iter_mut().for_each(|visit| visit.rivals_end -= last);
        }
        count
    }
}

/// From when on one of so many viewers is in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Share {
    since: Moment,
    divisor: u32,
}

/// The log.
#[derive(Debug, Default)]
pub struct Log {
    people: Map<u64, Arc<Person>>,
    shapes: Arc<Vec<Shape>>,
    /// Ascending by `since`, descending by `divisor`: a wider share is known for a shorter time.
    shares: Vec<Share>,
    visits: usize,
    hour: u32,
}

impl Log {
    /// Returns how many requests are in it.
    pub const fn visits(&self) -> usize {
        self.visits
    }

    /// Returns how many viewers are in it.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// Of so many viewers one is taken now.
    pub fn divisor(&self) -> u32 {
        self.shares.last().map_or(1, |share| share.divisor)
    }

    /// Takes a request; returns of how many viewers one is to be taken from now on. Costs as much as a
    /// look-up, but for once in a while, when much is forgotten at once.
    pub fn take(&mut self, noticed: Noticed) -> u32 {
        let now = noticed.at;
        if self.shares.is_empty() {
            self.shares.push(Share { since: now, divisor: 1 });
        }
        if now.hour() != self.hour {
            self.hour = now.hour();
            self.new_hour(now);
        }
        if !is_sampled(noticed.viewer, self.divisor()) {
            return self.divisor();
        }
        if let Some(shape) = self.shape(&noticed.shape) {
            let person = self.people.entry(noticed.viewer).or_default();
            Arc::make_mut(person).add(noticed, shape);
            self.visits += 1;
        }
        while self.visits > VISITS_MAX || self.people.len() > PEOPLE_MAX {
            self.make_room(now);
        }
        self.divisor()
    }

    /// Takes one of so many viewers only from now on, and forgets the others. A share that is wider than
    /// the present one is not taken.
    pub fn narrow(&mut self, divisor: u32) {
        let known = self.shares.iter().position(|share| share.divisor <= divisor);
        let Some(since) = known.map(|at| self.shares[at].since) else { return };
        if self.divisor() >= divisor {
            return;
        }
        self.shares.retain(|share| share.divisor > divisor);
        self.shares.push(Share { since, divisor });
        self.people.retain(|viewer, _| is_sampled(*viewer, divisor));
        self.visits = self.people.values().map(|person| person.visits.len()).sum();
    }

    fn new_hour(&mut self, now: Moment) {
        self.forget(now.plus_ms(-LOG_DAYS * DAY_MS));
        let last = self.divisor();
        let known = self.shares.last().map_or(now, |share| share.since);
        // Not again before the last step has shown what it brings.
        let roomy = self.visits < WIDEN_BELOW && self.people.len() < PEOPLE_MAX / 4;
        if last > 1 && roomy && now.0 - known.0 >= HOUR_MS {
            self.shares.push(Share { since: now, divisor: last / 2 });
        }
    }

    /// Forgets hours that are older than a day, or else half of the viewers.
    fn make_room(&mut self, now: Moment) {
        let oldest = self.shares.first().map_or(now, |share| share.since);
        let cut = oldest.plus_ms(CUT_STEP_MS).min(now.plus_ms(-DAY_MS));
        if cut > oldest {
            self.forget(cut);
        } else if self.divisor() < DIVISOR_MAX {
            self.narrow(self.divisor() * 2);
        } else {
            *self = Self::default();
        }
    }

    fn forget(&mut self, before: Moment) {
        if self.shares.first().is_none_or(|share| share.since >= before) {
            return;
        }
        for share in &mut self.shares {
            share.since = share.since.max(before);
        }
        // Of shares that are known for the same time the widest says it all.
        let shares = self.shares.clone();
        let wider = |share: &Share| {
            shares.iter().any(|it| it.since == share.since && it.divisor < share.divisor)
        };
        self.shares.retain(|share| !wider(share));
        let (mut gone, before_s) = (0, before.seconds());
        self.people.retain(|_, person| {
            if person.visits.first().is_some_and(|visit| visit.at_s < before_s) {
                gone += Arc::make_mut(person).forget(before_s);
            }
            !person.visits.is_empty()
        });
        self.visits -= gone;
    }

    fn shape(&mut self, shape: &Shape) -> Option<u16> {
        let known = self.shapes.iter().position(|known| known == shape);
        known
            .or_else(|| {
                let room = self.shapes.len() < SHAPES_MAX;
                room.then(|| Arc::make_mut(&mut self.shapes).push(shape.clone()))?;
                Some(self.shapes.len() - 1)
            })
            .map(|at| at as u16)
    }

    /// Returns the sample to forecast on: the widest share that is known for a day, else the one that is
    /// known for the longest. Shares what it holds with the log, which copies what it changes.
    pub fn sample(&self, now: Moment) -> Sample {
        let old = |share: &&Share| now.0 - share.since.0 >= DAY_MS;
        let share = self.shares.iter().rev().find(old).or_else(|| self.shares.first());
        let Share { since, divisor } = share.copied().unwrap_or(Share { since: now, divisor: 1 });
        let span = now.0.saturating_sub(since.0).max(0);
        // Whole days are alike in their hours; what is left over of a longer time is not looked at.
        let whole = (span / DAY_MS).min(LOG_DAYS);
        let length = if whole > 0 { whole * DAY_MS } else { span };
        let from = now.plus_ms(-length);
        let inside = |viewer: &u64| is_sampled(*viewer, divisor);
        let people = self.people.iter().filter(|(viewer, _)| inside(viewer));
        Sample {
            people: people.map(|(viewer, person)| (*viewer, Arc::clone(person))).collect(),
            shapes: Arc::clone(&self.shapes),
            divisor,
            from,
            until: now,
        }
    }
}

/// Some viewers with all their requests of some time.
#[derive(Clone, Debug)]
pub struct Sample {
    pub(super) people: Vec<(u64, Arc<Person>)>,
    pub(super) shapes: Arc<Vec<Shape>>,
    /// One of so many viewers is in it.
    pub divisor: u32,
    /// From when on requests count.
    pub from: Moment,
    /// Up to when, excluded.
    pub until: Moment,
}

impl Sample {
    /// Returns the share of a day that it covers: whole days, or less than one.
    pub fn days(&self) -> f64 {
        (self.until.0 - self.from.0) as f64 / DAY_MS as f64
    }

    /// Returns how many requests it holds, those outside its time too.
    pub fn requests(&self) -> usize {
        self.people.iter().map(|(_, person)| person.visits.len()).sum()
    }

    /// Returns the requests of another time within that of the log.
    pub fn between(self, from: Moment, until: Moment) -> Self {
        Self { from: from.max(self.from), until: until.min(self.until), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::request::Policy;

    const NOW: Moment = Moment(1_795_392_000_000);

    fn visit(viewer: u64, at: Moment) -> Noticed {
        let rival = Rival { total: 9.0, pay: 5.0, group: 1, ad_set: viewer as u32 };
        Noticed {
            viewer,
            profile: Profile::default(),
            placement: 1,
            at,
            shape: Shape::of(&Policy::USUAL, [2].into_iter()).unwrap(),
            rivals: vec![rival],
        }
    }

    /// Fills a log with so many people who come every so many hours, for so many days.
    fn filled(log: &mut Log, people: u64, every: i64, days: i64) -> Moment {
        let end = NOW.plus_ms(days * DAY_MS);
        for step in 0..days * 24 / every {
            (1..=people).for_each(|viewer| {
                log.take(visit(viewer, NOW.plus_ms(step * every * HOUR_MS)));
            });
        }
        end
    }

    #[test]
    fn a_viewer_is_in_it_with_all_requests_or_with_none() {
        let mut log = Log::default();
        let end = filled(&mut log, 400, 6, 2);
        assert_eq!((log.visits(), log.people()), (3_200, 400));
        log.narrow(4);
        let sample = log.sample(end);
        assert!((60..140).contains(&log.people()), "{}", log.people());
        assert_eq!(log.visits(), 8 * log.people());
        assert_eq!((sample.divisor, sample.days() as u32), (4, 2));
        for (viewer, person) in &sample.people {
            assert!(is_sampled(*viewer, 4) && person.visits().count() == 8);
            assert!(person.visits().all(|(_, rivals)| rivals[0].ad_set == *viewer as u32));
        }
        log.narrow(2);
        assert_eq!(log.divisor(), 4, "who was forgotten does not come back");
    }

    #[test]
    fn a_full_log_forgets_old_days_first_and_then_half_of_the_viewers() {
        let mut log = Log::default();
        let people = PEOPLE_MAX as u64 / 10;
        // 480,000 requests a day: two days fit, a third one pushes out the first.
        let end = filled(&mut log, people, 1, 3);
        assert_eq!(log.divisor(), 1);
        assert!(log.visits() <= VISITS_MAX && log.visits() > VISITS_MAX / 2, "{}", log.visits());
        assert_eq!(log.sample(end).days() as u32, 2, "the first day is gone");
        (people..2 * PEOPLE_MAX as u64).for_each(|viewer| {
            log.take(visit(viewer, end));
        });
        assert_eq!(log.divisor(), 2);
        assert!(log.people() <= PEOPLE_MAX);
        let counted: usize = log.people.values().map(|person| person.visits.len()).sum();
        assert_eq!(log.visits(), counted);
    }

    #[test]
    fn a_wider_share_counts_once_it_is_known_for_a_day() {
        let mut log = Log::default();
        log.take(visit(1, NOW));
        log.narrow(8);
        let mut at = NOW;
        for _ in 0..25 {
            at = at.plus_ms(HOUR_MS);
            (0..50).for_each(|viewer| {
                log.take(visit(viewer, at));
            });
        }
        assert_eq!(log.divisor(), 1, "there was room");
        assert_eq!(log.sample(at).divisor, 4, "the first step up is a day old");
        let all = log.sample(NOW.plus_ms(27 * HOUR_MS));
        assert_eq!((all.divisor, all.days() as u32), (1, 1));
    }

    #[test]
    fn what_is_older_than_a_week_goes() {
        let mut log = Log::default();
        let end = filled(&mut log, 3, 12, 9);
        assert_eq!(log.sample(end).days() as u32, 7);
        assert!(log.visits() <= 3 * (2 * LOG_DAYS as usize + 1), "{}", log.visits());
    }

    #[test]
    fn only_no_group_folds_to_none() {
        assert_eq!(fold_group(0), 0);
        assert!((1..100_000).all(|group| fold_group(group) != 0));
    }
}
