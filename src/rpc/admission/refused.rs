//! What those are told who are refused: why, and when to come again. For load it is written once and then copied:
//! a refusal must cost little, or refusing is what the core is busy with.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::guard::{Class, ERROR_DOMAIN};
use crate::rpc::admission::rates::TooOften;
use crate::rpc::limits::RETRY_AFTER;
use crate::types::hash::mix;
use crate::types::refusal::{Reason, Refusal};

/// The bits of a number that choose a turn.
const TURN_BITS: u32 = 3;

/// Times to come again that callers are told. Few, so that both ends of a connection remember each and a further
/// refusal is a few bytes there: their tables hold 4 KiB (RFC 9113, 6.5.2), and one of these takes a third of one.
const TURNS: usize = 1 << TURN_BITS;

/// Levels of shedding, 0 to 3.
const LEVELS: usize = 4;

/// The level under which what has nothing to do with any level is kept: too many calls at work.
const NO_LEVEL: usize = 0;

/// Which of the times to come again a caller is told: those who are refused together don't come back together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Turn(u8);

impl Turn {
    /// Returns the turn of a call's number.
    pub(super) const fn of(number: u64) -> Self {
        Self((mix(number) >> (u64::BITS - TURN_BITS)) as u8)
    }

    /// Returns when to come again: [`RETRY_AFTER`], up to half as much less or more.
    fn wait(self) -> Duration {
        let halves = 2 * u32::from(self.0) + 1;
        RETRY_AFTER / 2 + RETRY_AFTER * halves / (2 * TURNS as u32)
    }
}

/// Why a call is not taken. Nothing of it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refused {
    /// The node has more to do than it can.
    Overloaded { class: Class, level: u8, turn: Turn },
    /// Too many of its class are at work.
    AtWork { class: Class, turn: Turn },
    /// Its key called too often.
    TooOften { class: Class, late: TooOften },
}

impl Refused {
    /// Returns the status of a whole call. `key`: whose rate it was.
    fn status(self, key: &str) -> Status {
        let Refusal { reason, message, .. } = self.refusal();
        let mut about = HashMap::new();
        about.insert("class".to_owned(), self.class().name().to_owned());
        if let Self::Overloaded { level, .. } = self {
            about.insert("level".to_owned(), level.to_string());
        }
        let mut details = ErrorDetails::with_error_info(reason.name(), ERROR_DOMAIN, about);
        details.set_retry_info(Some(self.retry()));
        if let Self::TooOften { class, late } = self {
            let allowed = format!("{} calls a second of class {}", late.per_s, class.name());
            details.add_quota_failure_violation(format!("key:{key}"), allowed);
        }
        Status::with_error_details(Code::ResourceExhausted, message, details)
    }

    /// Returns the same for one message of a stream.
    pub(super) fn refusal(self) -> Refusal {
        let (reason, message) = match self {
            Self::Overloaded { .. } => (
                Reason::Overloaded,
                "the node is overloaded: nothing was done; send it again later",
            ),
            Self::AtWork { .. } => {
                let message =
                    "too many such calls are at work: nothing was done; send it again later";
                (Reason::Overloaded, message)
            }
            Self::TooOften { .. } => {
                let message =
                    "this key calls too often: nothing was done; send it again later, and slower";
                (Reason::RateExceeded, message)
            }
        };
        Refusal::new(reason, "", message)
    }

    pub(super) const fn class(self) -> Class {
        match self {
            Self::Overloaded { class, .. }
            | Self::AtWork { class, .. }
            | Self::TooOften { class, .. } => class,
        }
    }

    fn retry(self) -> Duration {
        match self {
            Self::Overloaded { turn, .. } | Self::AtWork { turn, .. } => turn.wait(),
            Self::TooOften { late, .. } => late.wait,
        }
    }

    /// Returns where its answer is kept; `None`: it is the key's own.
    fn place(self) -> Option<(usize, Turn)> {
        match self {
            Self::Overloaded { level, turn, .. } => {
                Some((usize::from(level).min(LEVELS - 1), turn))
            }
            Self::AtWork { turn, .. } => Some((NO_LEVEL, turn)),
            Self::TooOften { .. } => None,
        }
    }
}

/// The heads of one class's answers, by level and turn, each written when it is first told.
type Heads = [[OnceLock<HeaderMap>; TURNS]; LEVELS];

/// The answers to what is refused for load, for all cores of a server.
#[derive(Default)]
pub(super) struct Answers([Heads; Class::ALL.len()]);

impl Answers {
    /// Returns the answer to a whole call: a head and nothing behind it. `key`: whose rate it was.
    pub(super) fn answer<Answer: Default>(&self, refused: Refused, key: &str) -> Response<Answer> {
        let Some((level, turn)) = refused.place() else {
            return refused.status(key).into_http();
        };
        let write = || refused.status("").into_http::<()>().into_parts().0.headers;
        let kept = &self.0[refused.class().index()][level][usize::from(turn.0)];
        let mut answer = Response::new(Answer::default());
        answer.headers_mut().clone_from(kept.get_or_init(write));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn told(answers: &Answers, refused: Refused) -> Status {
        let answer: Response<()> = answers.answer(refused, "analyst");
        Status::from_header_map(answer.headers()).unwrap()
    }

    /// What is kept is told of the class, the level and the time that it was written for, and of no other.
    #[test]
    fn each_kept_answer_is_that_of_its_refusal() {
        let answers = Answers::default();
        for again in 0..2 {
            for class in [Class::Reports, Class::Serving, Class::Events] {
                for number in 0..50 {
                    let turn = Turn::of(number);
                    let mut refusals = vec![Refused::AtWork { class, turn }];
                    let of_level = |level| Refused::Overloaded { class, level, turn };
                    refusals.extend((1..LEVELS as u8).map(of_level));
                    for refused in refusals {
                        let (told, wanted) = (told(&answers, refused), refused.status(""));
                        assert_eq!(told.code(), Code::ResourceExhausted);
                        assert_eq!(told.message(), wanted.message());
                        // Pairs of a map are written in any order.
                        let about = |status: &Status| {
                            let details = status.get_error_details();
                            let info = details.error_info().unwrap();
                            let retry = details.retry_info().unwrap().retry_delay;
                            (info.reason.clone(), info.metadata.clone(), retry)
                        };
                        assert_eq!(about(&told), about(&wanted), "{again}: {refused:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_rate_is_told_of_the_key_that_it_is_of() {
        let late = TooOften { wait: Duration::from_millis(250), per_s: 7 };
        let refused = Refused::TooOften { class: Class::Events, late };
        let details = told(&Answers::default(), refused).get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "RATE_EXCEEDED");
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "key:analyst");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(late.wait));
    }

    #[test]
    fn times_to_come_again_are_few_and_fall_evenly() {
        let mut counts = [0; TURNS];
        (0..8_000).for_each(|number| counts[usize::from(Turn::of(number).0)] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        let waits: BTreeSet<_> = (0..TURNS as u8).map(|turn| Turn(turn).wait()).collect();
        assert_eq!(waits.len(), TURNS);
        assert!(waits.iter().all(|it| (RETRY_AFTER / 2..=RETRY_AFTER * 3 / 2).contains(it)));
    }
}
