//! A node as a process, and the feeds that report to it until it is killed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::feed::{self, Ledger};
use crate::process::Process;

/// What is refused for load is another test's affair.
const LIMITS: &str = "shed = false\n";

/// A node in a process of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    runtime: Runtime,
}

impl Server {
    /// Starts a node on the folder's `data`, on a free port.
    pub(crate) fn start(folder: &Path) -> Self {
        let process = Process::start(folder, "", LIMITS);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { process, runtime }
    }

    /// Lets feeds report for so long, kills the process, and returns how many events it acknowledged.
    pub(crate) fn live(
        mut self,
        life: Duration,
        clients: u64,
        round: u64,
        ledger: &mut Ledger,
    ) -> u64 {
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let seed = round * clients + client;
                self.runtime.spawn(feed::report(self.process.addr.clone(), seed))
            })
            .collect();
        // The node lives for as long as the dice said, while its feeds report.
        thread::sleep(life);
        // SIGKILL: the process gets no chance to finish anything.
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
        let reported = tasks.into_iter().map(|task| self.runtime.block_on(task).unwrap());
        reported.map(|reported| ledger.note(reported)).sum()
    }

    /// Makes calls of the node.
    pub(crate) fn within(self, calls: impl AsyncFnOnce(&Self)) -> Self {
        self.runtime.block_on(calls(&self));
        self
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}
