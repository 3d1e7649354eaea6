//! Batches that several threads work on, as if one did: they are prepared in any order, and each strand takes its
//! share of every batch in the order of the batches.
//!
//! Whoever is free applies what is furthest behind, or else prepares the next batch: a strand with more to do than the
//! others is never waited for while there is other work.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::node::live::locked;

/// Strands of every batch: some for each thread, so that threads that have done their share find more.
pub(in crate::node) const STRANDS: usize = 32;

/// Batches in memory at once.
const BATCHES_MAX: usize = 16;

/// What is done with batches.
pub(in crate::node) trait Work: Sync {
    /// A batch as it is read.
    type Raw: Send;
    /// A batch that can be applied.
    type Batch: Send + Sync;
    /// Why it can't.
    type Error: Send;

    /// Makes a batch ready to be applied. Called in any order.
    ///
    /// # Errors
    /// When it can't be applied. Nothing that follows is then.
    fn prepare(&self, raw: Self::Raw) -> Result<Self::Batch, Self::Error>;

    /// Applies one strand's share of a batch: by one thread at a time, and after its share of every batch before.
    fn apply(&self, batch: &Self::Batch, strand: usize);
}

/// Works on what `read` hands over, which may be told to stop; returns when all is applied. The threads begin with the
/// second batch; one alone is worked on by the caller.
///
/// # Errors
/// That of the first batch that can't be applied. Those before it are, wholly or in part.
pub(in crate::node) fn run<W: Work, T>(
    work: &W,
    threads: usize,
    read: impl FnOnce(&mut dyn FnMut(W::Raw) -> ControlFlow<()>) -> T,
) -> (T, Result<(), W::Error>) {
    let pool = Pool { work, state: Mutex::new(State::default()), changed: Condvar::new() };
    let shared = &pool;
    let read = thread::scope(|scope| {
        let _leaving = Leaving { pool: shared, is_reader: true };
        let (mut alone, mut is_begun) = (None, false);
        let read = read(&mut |raw| {
            if !is_begun {
                let Some(first) = alone.take() else {
                    alone = Some(raw);
                    return ControlFlow::Continue(());
                };
                is_begun = true;
                for _ in 0..threads {
                    scope.spawn(|| shared.work());
                }
                shared.push(first)?;
            }
            shared.push(raw)
        });
        if let Some(raw) = alone {
            match work.prepare(raw) {
                Ok(batch) => (0..STRANDS).for_each(|strand| work.apply(&batch, strand)),
                Err(error) => shared.lock().fail(0, error),
            }
        }
        read
    });
    let state = pool.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    (read, state.failed.map_or(Ok(()), |(_, error)| Err(error)))
}

struct Pool<'a, W: Work> {
    work: &'a W,
    state: Mutex<State<W>>,
    changed: Condvar,
}

/// What the threads tell each other.
struct State<W: Work> {
    /// The number of the first batch that is kept.
    first: u64,
    batches: VecDeque<Kept<W>>,
    /// The number of the next batch to be prepared.
    raw: u64,
    strands: [Strand; STRANDS],
    /// Nothing more is read.
    is_ended: bool,
    /// A thread has panicked.
    is_broken: bool,
    /// The first batch that can't be applied, as far as is known.
    failed: Option<(u64, W::Error)>,
}

struct Kept<W: Work> {
    content: Content<W>,
    /// Strands that have not applied it.
    left: usize,
}

enum Content<W: Work> {
    Raw(W::Raw),
    /// Somebody prepares it.
    Taken,
    Ready(Arc<W::Batch>),
}

#[derive(Clone, Copy, Default)]
struct Strand {
    /// The number of its next batch.
    next: u64,
    is_busy: bool,
}

/// What a thread does next.
enum Task<W: Work> {
    Prepare(u64, W::Raw),
    Apply(usize, Arc<W::Batch>),
    Wait,
    Stop,
}

impl<W: Work> Default for State<W> {
    fn default() -> Self {
        Self {
            first: 0,
            batches: VecDeque::new(),
            raw: 0,
            strands: [Strand::default(); STRANDS],
            is_ended: false,
            is_broken: false,
            failed: None,
        }
    }
}

impl<W: Work> State<W> {
    const fn is_stopped(&self) -> bool {
        self.is_broken || self.failed.is_some()
    }

    fn kept(&mut self, number: u64) -> Option<&mut Kept<W>> {
        self.batches.get_mut((number - self.first) as usize)
    }

    fn next(&mut self) -> Task<W> {
        if self.is_stopped() || (self.is_ended && self.batches.is_empty()) {
            return Task::Stop;
        }
        // Where its batch is not ready, none is that is further ahead: nobody has come past it.
        let idle = (0..STRANDS).filter(|strand| !self.strands[*strand].is_busy);
        if let Some(strand) = idle.min_by_key(|strand| self.strands[*strand].next)
            && let Some(kept) = self.kept(self.strands[strand].next)
            && let Content::Ready(batch) = &kept.content
        {
            let batch = Arc::clone(batch);
            self.strands[strand].is_busy = true;
            return Task::Apply(strand, batch);
        }
        let number = self.raw;
        let Some(kept) = self.kept(number) else { return Task::Wait };
        match std::mem::replace(&mut kept.content, Content::Taken) {
            Content::Raw(raw) => {
                self.raw += 1;
                Task::Prepare(number, raw)
            }
            // Batches are prepared one after the other from the first on: this one is not yet.
            other => {
                kept.content = other;
                Task::Wait
            }
        }
    }

    fn fail(&mut self, number: u64, error: W::Error) {
        if self.failed.as_ref().is_none_or(|(known, _)| number < *known) {
            self.failed = Some((number, error));
        }
    }

    fn prepared(&mut self, number: u64, prepared: Result<W::Batch, W::Error>) {
        match prepared {
            Ok(batch) => {
                let batch = Arc::new(batch);
                self.kept(number).into_iter().for_each(|kept| {
                    kept.content = Content::Ready(Arc::clone(&batch));
                });
            }
            Err(error) => self.fail(number, error),
        }
    }

    /// Notes that a strand has applied its batch; returns the batches that all have.
    fn applied(&mut self, strand: usize) -> Vec<Kept<W>> {
        let number = self.strands[strand].next;
        self.strands[strand] = Strand { next: number + 1, is_busy: false };
        self.kept(number).into_iter().for_each(|kept| kept.left -= 1);
        let mut done = Vec::new();
        while let Some(kept) = self.batches.pop_front_if(|kept| kept.left == 0) {
            done.push(kept);
            self.first += 1;
        }
        done
    }
}

impl<W: Work> Pool<'_, W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        locked(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<W>>) -> MutexGuard<'a, State<W>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a batch over, once there is room for it.
    fn push(&self, raw: W::Raw) -> ControlFlow<()> {
        let mut state = self.lock();
        while state.batches.len() >= BATCHES_MAX && !state.is_stopped() {
            state = self.wait(state);
        }
        if state.is_stopped() {
            return ControlFlow::Break(());
        }
        state.batches.push_back(Kept { content: Content::Raw(raw), left: STRANDS });
        self.changed.notify_all();
        ControlFlow::Continue(())
    }

    /// Does what there is to do, until all is done.
    fn work(&self) {
        let _leaving = Leaving { pool: self, is_reader: false };
        let mut state = self.lock();
        loop {
            let mut done = Vec::new();
            match state.next() {
                Task::Stop => return,
                Task::Wait => {
                    state = self.wait(state);
                    continue;
                }
                Task::Prepare(number, raw) => {
                    drop(state);
                    let prepared = self.work.prepare(raw);
                    state = self.lock();
                    state.prepared(number, prepared);
                }
                Task::Apply(strand, batch) => {
                    drop(state);
                    self.work.apply(&batch, strand);
                    drop(batch);
                    state = self.lock();
                    done = state.applied(strand);
                }
            }
            self.changed.notify_all();
            if !done.is_empty() {
                // To let thousands of facts go takes a while.
                drop(state);
                drop(done);
                state = self.lock();
            }
        }
    }
}

/// Tells the others when a thread leaves: that nothing more is read, or that it has panicked.
struct Leaving<'a, W: Work> {
    pool: &'a Pool<'a, W>,
    is_reader: bool,
}

impl<W: Work> Drop for Leaving<'_, W> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.is_ended |= self.is_reader;
        state.is_broken |= thread::panicking();
        self.pool.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::types::hash::mix;

    /// Numbers of a batch, each of the strand that it is dealt to; one that can't be prepared, one that panics.
    #[derive(Default)]
    struct Numbers {
        seed: u64,
        applied: [Mutex<Vec<u64>>; STRANDS],
        bad: Vec<u64>,
        fatal: Option<u64>,
    }

    fn strand_of(number: u64) -> usize {
        // Half of all is of one strand.
        if number.is_multiple_of(2) { 3 } else { mix(number) as usize % STRANDS }
    }

    impl Work for Numbers {
        type Raw = Vec<u64>;
        type Batch = Vec<u64>;
        type Error = u64;

        fn prepare(&self, raw: Vec<u64>) -> Result<Vec<u64>, u64> {
            if mix(self.seed ^ raw[0]).is_multiple_of(3) {
                thread::yield_now();
            }
            match raw.iter().find(|number| self.bad.contains(number)) {
                Some(bad) => Err(*bad),
                None => Ok(raw),
            }
        }

        fn apply(&self, batch: &Vec<u64>, strand: usize) {
            for number in batch.iter().filter(|number| strand_of(**number) == strand) {
                assert_ne!(Some(*number), self.fatal, "as the test asks");
                locked(&self.applied[strand]).push(*number);
            }
        }
    }

    /// Hands over the numbers below an end, some at a time; returns how many were taken.
    fn hand_over(seed: u64, end: u64, hand: &mut dyn FnMut(Vec<u64>) -> ControlFlow<()>) -> u64 {
        let mut from = 0;
        while from < end {
            let to = end.min(from + 1 + mix(seed ^ from) % 40);
            if hand((from..to).collect()).is_break() {
                break;
            }
            from = to;
        }
        from
    }

    #[test]
    fn every_strand_applies_its_share_in_order_whatever_the_threads_do() {
        for seed in 0..40 {
            let end = mix(seed) % 3_000;
            let numbers = Numbers { seed, ..Numbers::default() };
            let threads = 1 + seed as usize % 5;
            let (taken, ended) = run(&numbers, threads, |hand| hand_over(seed, end, hand));
            assert_eq!((taken, ended), (end, Ok(())), "seed {seed}");
            for (strand, applied) in numbers.applied.iter().enumerate() {
                let own = (0..end).filter(|number| strand_of(*number) == strand);
                assert!(own.eq(locked(applied).iter().copied()), "seed {seed}, strand {strand}");
            }
        }
    }

    #[test]
    fn the_first_batch_that_is_no_good_is_told_and_none_behind_it_is_applied() {
        for seed in 0..60 {
            let end = 1 + mix(seed) % 2_000;
            let bad: Vec<u64> = (0..1 + seed % 3).map(|nth| mix(seed + 100 * nth) % end).collect();
            let first = bad.iter().min().copied().unwrap();
            let numbers = Numbers { seed, bad, ..Numbers::default() };
            let (_, ended) =
                run(&numbers, 1 + seed as usize % 4, |hand| hand_over(seed, end, hand));
            assert_eq!(ended, Err(first), "seed {seed}");
            let applied = numbers.applied.iter().filter_map(|it| locked(it).last().copied()).max();
            assert!(applied.is_none_or(|last| last < first), "seed {seed}: {applied:?}, {first}");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_while_the_others_stop() {
        for fatal in [0, 700, 1_999] {
            let numbers = Numbers { fatal: Some(fatal), ..Numbers::default() };
            let run = || run(&numbers, 3, |hand| hand_over(1, 2_000, hand));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{fatal}");
        }
        let numbers = Numbers::default();
        let reads = || {
            run(&numbers, 3, |hand| {
                hand_over(1, 900, hand);
                panic!("the log's reader, as the test asks")
            })
        };
        let read: Result<((), _), _> = catch_unwind(AssertUnwindSafe(reads));
        assert!(read.is_err());
    }
}
