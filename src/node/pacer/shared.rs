//! Money that several budgets share: what an account may spend or has paid in, and a campaign's spend cap over
//! ad sets with budgets of their own.
//!
//! Where it ends before their budgets do, each of them plans with its part: as much less of what it wants as
//! all of them want too much. Both are looked at each minute, so what one leaves goes to the others.

use crate::decide::purse::LineId;
use crate::state::Map;

/// What is planned to be spent of a shared line, micros.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// By the end of the day.
    pub(super) today: f64,
    /// By the end of the budgets' own spans.
    pub(super) ever: f64,
}

/// A shared line in one minute: what it had free, micros, and what those below it wanted.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    free: f64,
    wanted: Wanted,
}

/// The shared lines, as of the last minute and of this one.
#[derive(Debug, Default)]
pub(super) struct Shared {
    last: Map<LineId, Asked>,
    next: Map<LineId, Asked>,
}

impl Shared {
    /// Begins a minute: all were asked in the last one.
    pub(super) fn begin_minute(&mut self) {
        std::mem::swap(&mut self.last, &mut self.next);
        self.next.clear();
    }

    /// Notes what one wants of a line that has so much free, micros; returns which part of it that is given.
    /// `daily`: it is to be spent today, else in the span of a life.
    pub(super) fn part(&mut self, line: LineId, free: f64, wanted: Wanted, daily: bool) -> f64 {
        let next = self.next.entry(line).or_insert(Asked { free, ..Asked::default() });
        next.wanted.today += wanted.today;
        next.wanted.ever += wanted.ever;
        let Some(Asked { free, wanted }) = self.last.get(&line).copied() else { return 1.0 };
        let all = if daily { wanted.today } else { wanted.ever };
        if all > free { free / all } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::journal::v1::LineKind;

    const LINE: LineId = LineId { kind: LineKind::Account, id: 1, account: 1 };

    fn day(micros: f64) -> Wanted {
        Wanted { today: micros, ever: micros }
    }

    /// Returns which part is given, in hundredths.
    fn part(shared: &mut Shared, free: f64, wanted: Wanted, daily: bool) -> i64 {
        (shared.part(LINE, free, wanted, daily) * 100.0).round() as i64
    }

    #[test]
    fn a_line_is_shared_by_what_is_planned() {
        let mut shared = Shared::default();
        for (minute, wanted, parts) in [
            // Nobody knows of the others yet.
            (0, [60.0, 30.0], [100, 100]),
            (1, [60.0, 30.0], [33, 33]),
            (2, [60.0, 0.0], [33, 33]),
            (3, [20.0, 0.0], [50, 50]),
            (4, [20.0, 0.0], [100, 100]),
        ] {
            shared.begin_minute();
            let found = wanted.map(|wanted| part(&mut shared, 30.0, day(wanted), true));
            assert_eq!(found, parts, "minute {minute}");
        }
    }

    #[test]
    fn what_is_for_later_leaves_today_its_money() {
        let mut shared = Shared::default();
        let life = Wanted { today: 10.0, ever: 310.0 };
        for of_life in [100, 25] {
            shared.begin_minute();
            assert_eq!(part(&mut shared, 100.0, day(90.0), true), 100);
            assert_eq!(part(&mut shared, 100.0, life, false), of_life);
        }
    }
}
