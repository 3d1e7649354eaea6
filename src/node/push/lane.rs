//! One account's way out: one parcel at a time, in order, again until it is delivered or given up.

use crate::node::live::{Live, locked};
use crate::node::push::Delivery;
use crate::report::outbound::body;
use crate::types::dice::Dice;
use crate::types::ids::{SHARDS, Seq, SeqVector};
use crate::types::proto::journal::v1::{ConversionPushPut, ConversionsPushed, DeadLetter};
use crate::types::time::{DAY_MS, HOUR_MS, Moment, SECOND_MS};

/// Most events of one parcel.
pub const EVENTS_PER_PARCEL_MAX: usize = 100;

/// How often a parcel is tried before it is given up: about three hours with the pauses in between.
pub const PUSH_TRIES_MAX: u32 = 12;

/// The pause after the first failure; each next one is twice as long. Half of a pause is up to the dice, so that
/// receivers that come back are not asked by everyone at once.
pub const PUSH_BACKOFF_MS_MIN: i64 = 5 * SECOND_MS;

/// The longest pause that the engine makes of itself.
pub const PUSH_BACKOFF_MS_MAX: i64 = HOUR_MS;

/// The longest pause that a receiver may ask for.
pub const RETRY_AFTER_MS_MAX: i64 = DAY_MS;

/// One conversion in a parcel.
#[derive(Clone, Debug)]
struct Letter {
    outcome: u64,
    shard: usize,
    seq: u64,
    event: String,
}

/// What is tried until it is delivered or given up.
#[derive(Debug)]
struct Batch {
    letters: Vec<Letter>,
    /// Where the stream stands behind it; `None`: it was given up once already.
    up_to: Option<SeqVector>,
    tries: u32,
    is_test: bool,
}

/// The way out of one account.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Up to here was looked at; `None`: as the state says.
    scanned: Option<SeqVector>,
    batch: Option<Batch>,
    is_sending: bool,
    fact: Option<ConversionsPushed>,
    /// Whether the fact was handed out.
    is_journaling: bool,
    /// Conversions that are sent one by one, for one among them was refused.
    alone: usize,
    due_ms: i64,
    /// The minute in which there was nothing more to send.
    idle_minute: u32,
}

impl Lane {
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_sending || self.fact.is_some()
    }

    /// Returns the body of the parcel that goes out now, if one does.
    pub(super) fn step(
        &mut self,
        live: &Live,
        push: &ConversionPushPut,
        now: Moment,
    ) -> Option<String> {
        if self.is_busy() || now.0 < self.due_ms {
            return None;
        }
        if self.batch.is_none() {
            self.batch = self.resent(live, push).or_else(|| self.next(live, push, now));
        }
        let batch = self.batch.as_mut()?;
        batch.tries += 1;
        self.is_sending = true;
        let events: Vec<_> = batch.letters.iter().map(|letter| letter.event.clone()).collect();
        Some(body(&events, if batch.is_test { &push.test_event_code } else { "" }))
    }

    /// Takes the next given-up conversion that is wanted once more.
    fn resent(&self, live: &Live, push: &ConversionPushPut) -> Option<Batch> {
        loop {
            let outcome = {
                let mut resends = locked(&live.resends);
                let wanted = resends.get_mut(&push.account)?;
                let outcome = wanted.pop_first();
                if wanted.is_empty() {
                    resends.remove(&push.account);
                }
                outcome?
            };
            let dead =
                live.desks(push.account).pushes.get(&push.account)?.dead.get(&outcome).cloned();
            let Some(DeadLetter { shard, seq, tries, .. }) = dead.map(|dead| dead.0) else {
                continue;
            };
            let shard = shard as usize % SHARDS;
            let credit = live.shard(shard).credit_at(seq).cloned();
            let tests = !push.test_event_code.is_empty();
            let event = credit.and_then(|credit| {
                let event = live.event_of(shard, &credit, tests).ok()?;
                Some((event.json(), credit.row.invalid != 0))
            });
            // What can't go out any more stays in the list until it is dropped.
            let Some((event, is_test)) = event else { continue };
            let letters = vec![Letter { outcome, shard, seq, event }];
            return Some(Batch { letters, up_to: None, tries, is_test });
        }
    }

    /// Takes the next conversions of the stream: all of tests, or all of none.
    fn next(&mut self, live: &Live, push: &ConversionPushPut, now: Moment) -> Option<Batch> {
        if self.idle_minute == now.minute() {
            return None;
        }
        let limit = if self.alone > 0 { 1 } else { EVENTS_PER_PARCEL_MAX };
        let tests = !push.test_event_code.is_empty();
        let mut from = match &self.scanned {
            Some(scanned) => scanned.clone(),
            None => pushed_up_to(live, push.account),
        };
        loop {
            let (credits, end, more) = live.outgoing(push.account, &from, now, limit);
            let count = credits.len();
            let (mut letters, mut is_test, mut at) = (Vec::new(), false, from.clone());
            for (number, (shard, credit)) in credits.into_iter().enumerate() {
                let young = credit.at_ms >= push.from_ms;
                let event = young.then(|| live.event_of(shard, &credit, tests).ok()).flatten();
                if let Some(event) = event {
                    let of_test = credit.row.invalid != 0;
                    if !letters.is_empty() && of_test != is_test {
                        break;
                    }
                    is_test = of_test;
                    let (outcome, seq) = (credit.row.outcome_id, credit.seq);
                    letters.push(Letter { outcome, shard, seq, event: event.json() });
                }
                at.0[shard] = Seq(credit.seq);
                if number + 1 == count {
                    at = end.clone();
                }
            }
            if !letters.is_empty() {
                return Some(Batch { letters, up_to: Some(at), tries: 0, is_test });
            }
            from = end;
            self.scanned = Some(from.clone());
            if !more {
                self.idle_minute = now.minute();
                return None;
            }
        }
    }

    /// Takes what became of the parcel.
    pub(super) fn delivered(
        &mut self,
        account: u64,
        delivery: Delivery,
        now: Moment,
        dice: &mut impl Dice,
    ) {
        self.is_sending = false;
        let Some(batch) = self.batch.take() else { return };
        let (status, retry_after_ms) = match delivery {
            Delivery::Answered { status, retry_after_ms } => (status, retry_after_ms),
            Delivery::Unanswered => (0, 0),
        };
        let is_final = !(status == 0 || status >= 500 || [408, 425, 429].contains(&status));
        metrics::counter!("munadi_conversion_posts_total", "status" => class(status)).increment(1);
        if (200..300).contains(&status) {
            return self.finish(account, batch, |_| None);
        }
        // A given-up conversion has used all of its tries before: it has one more each time it is wanted.
        let is_last = batch.tries >= PUSH_TRIES_MAX || batch.up_to.is_none();
        if !is_final && !is_last {
            let pause = backoff_ms(batch.tries, dice).max(retry_after_ms.min(RETRY_AFTER_MS_MAX));
            self.due_ms = now.0 + pause;
            self.batch = Some(batch);
            return;
        }
        if is_final && batch.letters.len() > 1 {
            // One of them is refused, or all: each is asked for alone.
            self.alone = batch.letters.len();
            return;
        }
        let tries = batch.tries;
        let dead = |letter: &Letter| DeadLetter {
            outcome: letter.outcome,
            shard: letter.shard as u32,
            seq: letter.seq,
            status: status.into(),
            tries,
            last_ms: now.0,
        };
        tracing::warn!(account, status, tries, "conversions were given up: see ListDeadLetters");
        self.finish(account, batch, |letter| Some(dead(letter)));
    }

    fn finish(&mut self, account: u64, batch: Batch, dead: impl Fn(&Letter) -> Option<DeadLetter>) {
        self.alone = self.alone.saturating_sub(batch.letters.len());
        let dead: Vec<_> = batch.letters.iter().filter_map(dead).collect();
        let again = batch.up_to.is_none() && dead.is_empty();
        let revived = batch.letters.iter().filter(|_| again).map(|letter| letter.outcome);
        let up_to = batch
            .up_to
            .map_or_else(Vec::new, |at| at.0.iter().take(SHARDS).map(|seq| seq.0).collect());
        self.fact = Some(ConversionsPushed { account, up_to, dead, revived: revived.collect() });
    }

    pub(super) fn take_fact(&mut self) -> Option<ConversionsPushed> {
        if self.is_journaling {
            return None;
        }
        self.is_journaling = self.fact.is_some();
        self.fact.clone()
    }

    pub(super) fn journaled(&mut self, is_durable: bool) {
        self.is_journaling = false;
        if is_durable
            && let Some(fact) = self.fact.take()
            && !fact.up_to.is_empty()
        {
            self.scanned = Some(vector_of(&fact.up_to));
        }
    }
}

fn pushed_up_to(live: &Live, account: u64) -> SeqVector {
    let desks = live.desks(account);
    desks.pushes.get(&account).map(|push| vector_of(&push.up_to)).unwrap_or_default()
}

fn vector_of(up_to: &[u64]) -> SeqVector {
    let mut at = SeqVector::default();
    at.0.iter_mut().zip(up_to).for_each(|(place, seq)| *place = Seq(*seq));
    at
}

/// Returns the pause after this many tries: between half of what doubling gives and all of it.
fn backoff_ms(tries: u32, dice: &mut impl Dice) -> i64 {
    let doubled = PUSH_BACKOFF_MS_MIN.saturating_mul(1 << tries.saturating_sub(1).min(30));
    let whole = doubled.min(PUSH_BACKOFF_MS_MAX);
    whole / 2 + (dice.roll() % (whole / 2 + 1) as u64) as i64
}

const fn class(status: u16) -> &'static str {
    match status {
        0 => "none",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::dice::SeededDice;

    #[test]
    fn pauses_double_up_to_an_hour_and_half_of_each_is_chance() {
        let mut dice = SeededDice::new(1);
        for (tries, whole) in [(1, 5), (2, 10), (5, 80), (10, 2_560), (11, 3_600), (40, 3_600)] {
            let pauses: Vec<_> = (0..200).map(|_| backoff_ms(tries, &mut dice)).collect();
            let (least, most) = (whole * SECOND_MS / 2, whole * SECOND_MS);
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{tries}");
            let spread = pauses.iter().max().unwrap() - pauses.iter().min().unwrap();
            assert!(spread > whole * SECOND_MS / 3, "{tries}: {spread}");
        }
    }

    #[test]
    fn what_could_not_be_journaled_is_journaled_again_before_anything_more_is_sent() {
        let fact = ConversionsPushed { account: 1, up_to: vec![5], ..Default::default() };
        let mut lane = Lane { fact: Some(fact.clone()), ..Lane::default() };
        assert_eq!(lane.take_fact().as_ref(), Some(&fact));
        assert_eq!(lane.take_fact(), None, "it is on its way");
        lane.journaled(false);
        assert!(lane.is_busy() && lane.scanned.is_none());
        assert_eq!(lane.take_fact(), Some(fact));
        lane.journaled(true);
        assert!(!lane.is_busy());
        assert_eq!(lane.scanned.map(|at| at.0[0]), Some(Seq(5)));
    }

    #[test]
    fn what_is_tried_again_waits_about_three_hours_in_all() {
        let longest: i64 = (1..PUSH_TRIES_MAX)
            .map(|tries| (PUSH_BACKOFF_MS_MIN << (tries - 1)).min(PUSH_BACKOFF_MS_MAX))
            .sum();
        assert!((2 * HOUR_MS..=4 * HOUR_MS).contains(&longest), "{longest}");
    }
}
