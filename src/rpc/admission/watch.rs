//! The watch of one core: how long what is ready waits for it, window by window, and connections for their turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::sleep;

use crate::node::clock::Clock;
use crate::rpc::admission::gate::Gate;
use crate::rpc::admission::shed::{Controller, WINDOW};

/// How often it looks: a timer that fires late, and then waits for its turn as a call does, tells how long calls
/// wait.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Windows after which keys that called long ago are forgotten: five seconds.
const TIDY_WINDOWS: u32 = 50;

/// Watches the core that it runs on, for as long as that runs.
pub(super) async fn watch(gate: Arc<Gate>) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let level = metrics::gauge!("munadi_overload_level", "core" => name);
    let mut controller = Controller::default();
    let mut windows = 0;
    loop {
        let wait = window(&gate).await;
        if gate.sheds() {
            let wait = wait.max(gate.ahead().take_mean());
            let shed = controller.after(wait, gate.gauge.read());
            gate.use_shed(shed);
            level.set(f64::from(shed.level()));
        }
        windows += 1;
        if windows == TIDY_WINDOWS {
            windows = 0;
            gate.rates.tidy();
        }
    }
}

/// Returns how long the core let this wait, on average of a window.
async fn window(gate: &Gate) -> Duration {
    let clock = gate.clock();
    let begun = clock.monotonic();
    let (mut waited, mut looks) = (Duration::ZERO, 0);
    loop {
        let asked = clock.monotonic();
        gate.must_look_by(asked + LOOK_EVERY);
        sleep(LOOK_EVERY).await;
        yield_now().await;
        let now = clock.monotonic();
        waited += now.saturating_sub(asked + LOOK_EVERY);
        looks += 1;
        if now.saturating_sub(begun) >= WINDOW {
            return waited / looks;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::clock::SystemClock;
    use crate::rpc::limits::Limits;

    #[test]
    fn a_busy_core_is_seen_to_be_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let busy = Duration::from_millis(60);
        let wait = runtime.block_on(async {
            tokio::spawn(async move {
                let clock = SystemClock::default();
                loop {
                    let until = clock.monotonic() + busy;
                    while clock.monotonic() < until {
                        std::hint::spin_loop();
                    }
                    yield_now().await;
                }
            });
            window(&Gate::of_nothing(Limits::OFF)).await
        });
        assert!(wait >= busy / 2, "{wait:?}");
    }
}
