//! Time on the processor of one thread, pinned to one core, and what is read from many of such times.

use std::time::Duration;

use core_affinity::CoreId;
use cpu_time::ThreadTime;

/// The cores that this process may use.
pub(crate) struct Cores(Vec<CoreId>);

impl Cores {
    /// Asks for the cores; must be asked before anything is pinned.
    pub(crate) fn all() -> Self {
        Self(core_affinity::get_core_ids().unwrap_or_default())
    }

    /// Runs this on a thread of its own that stays on the first core.
    pub(crate) fn pinned<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let core = self.0.first().copied();
        std::thread::scope(|scope| {
            let pinned = scope.spawn(move || {
                core.map(core_affinity::set_for_current);
                run()
            });
            pinned.join().expect("a panic was printed already")
        })
    }

    /// Keeps the current thread on the last core: beside what is measured.
    pub(crate) fn stand_beside(&self) {
        self.0.last().copied().map(core_affinity::set_for_current);
    }
}

/// Times of many runs.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Runs this for each item, and times each run alone. The reading of the clock, about 0.2 us, counts.
    /// Allocates [`Times::bytes_of`] once.
    pub(crate) fn of_each<T>(
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut run: impl FnMut(T),
    ) -> Self {
        let items = items.into_iter();
        let mut times = Vec::with_capacity(items.len());
        for item in items {
            let start = ThreadTime::now();
            run(item);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Self(times)
    }

    /// Returns the times of all of these.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let mut times: Vec<Duration> = parts.into_iter().flat_map(|part| part.0).collect();
        times.sort_unstable();
        Self(times)
    }

    /// Returns the bytes that so many times take.
    pub(crate) const fn bytes_of(count: usize) -> usize {
        count * size_of::<Duration>()
    }

    /// Returns how many runs there were.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the time that this share of runs took at most, us.
    pub(crate) fn us_at(&self, share: f64) -> f64 {
        let place = (share * self.0.len() as f64).ceil() as usize;
        self.0[place.saturating_sub(1).min(self.0.len() - 1)].as_secs_f64() * 1e6
    }
}
