//! The thread that drives the pusher of a node.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::dice::SeededDice;
use crate::node::front::Front;
use crate::node::pending::submit;
use crate::node::push::{Courier, Delivery, Pusher};
use crate::node::queue::Queue;
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::types::dice::Dice;
use crate::types::time::Moment;

/// How often it is looked for what has become due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread; whoever drops it without stopping it leaves it running.
pub(in crate::node) struct PushThread {
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
}

impl PushThread {
    /// Starts the thread.
    pub(in crate::node) fn start(
        front: &Front,
        queue: Arc<Queue>,
        courier: Arc<dyn Courier>,
        seed: u64,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (pusher, stop) = (Pusher::new(front, seed), Arc::new(Notify::new()));
        let stopped = Arc::clone(&stop);
        let work = move || runtime.block_on(drive(pusher, &queue, &*courier, &stopped));
        Ok(Self { stop, thread: Builder::new().name("push".into()).spawn(work)? })
    }

    /// Stops it. What is on its way then counts as not delivered, and is sent again by the next start.
    pub(in crate::node) fn stop(self) {
        self.stop.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the thread that pushes conversions panicked");
        }
    }
}

impl Node {
    /// Pushes conversions by this courier from now on, in a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn push_behind(&mut self, courier: Arc<dyn Courier>) -> io::Result<()> {
        let seed = SeededDice::from_system().roll();
        let thread = PushThread::start(self.front(), Arc::clone(&self.queue), courier, seed)?;
        self.push = Some(thread);
        Ok(())
    }

    /// Tells whether conversions may be pushed to this machine and private networks.
    pub const fn push_insecure(&self) -> bool {
        self.push_insecure
    }
}

async fn drive(mut pusher: Pusher, queue: &Queue, courier: &dyn Courier, stop: &Notify) {
    let mut sending: JoinSet<(u64, Delivery)> = JoinSet::new();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut now = Moment::default();
    loop {
        let mut done = None;
        tokio::select! {
            () = stop.notified() => return,
            Some(ended) = sending.join_next() => done = ended.ok(),
            _ = look.tick() => {}
        }
        if done.is_none() && !pusher.is_wanted() {
            continue;
        }
        // Only what is durable goes out; the writer's time is the one of the retries.
        let durable = settled(queue).await;
        now = durable.unwrap_or(now);
        if let Some((account, delivery)) = done {
            pusher.delivered(account, delivery, now);
        }
        if durable.is_none() {
            continue;
        }
        for fact in pusher.facts() {
            let account = fact.account;
            let journaled = submit(queue, |reply| Work::Pushed(Box::new(fact), reply));
            let is_durable = match journaled {
                Ok(pending) => pending.await.is_ok(),
                Err(_) => false,
            };
            pusher.journaled(account, is_durable);
        }
        for parcel in pusher.step(now) {
            let (account, delivery) = (parcel.account, courier.deliver(parcel));
            sending.spawn(async move { (account, delivery.await) });
        }
    }
}

async fn settled(queue: &Queue) -> Option<Moment> {
    submit(queue, Work::Settle).ok()?.await.ok()
}
