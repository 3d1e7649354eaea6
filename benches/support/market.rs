//! A node in this process and a fast way to fill it: many writes are under way at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use munadi::node::clock::SystemClock;
use munadi::node::{Node, NodeOptions};
use munadi::types::request::{Author, Change, Mutation, Resource};
use tokio::runtime::Runtime;

use crate::Failure;

/// The feed that asks for ads.
pub(crate) const FEED: u32 = 7;

/// Whose the ads are.
pub(crate) const TENANT: u32 = 42;

/// Writes that are under way at once: half of what may wait for the writer.
const IN_FLIGHT: usize = 2_000;

/// How long new ads may take to go live.
const LIVE_WITHIN: Duration = Duration::from_secs(60);

/// Numbers the writes.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A node and what its writes are waited for with.
pub(crate) struct Market {
    pub(crate) node: Arc<Node>,
    runtime: Runtime,
}

impl Market {
    /// Starts a node on a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        Self::open_watched(folder, true)
    }

    /// Starts a node that notes what it serves, or doesn't.
    pub(crate) fn open_watched(folder: &Path, watch: bool) -> Result<Self, Failure> {
        // A checkpoint of all ads is no part of what is measured.
        let checkpoint_every = Duration::from_secs(24 * 3_600);
        let options = NodeOptions {
            feeds: vec![FEED],
            checkpoint_every,
            approve_ads: true,
            watch,
            ..NodeOptions::default()
        };
        let node = Arc::new(Node::start(folder, Arc::new(SystemClock::default()), &options)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { node, runtime })
    }

    /// Creates things and returns their ids in the same order.
    pub(crate) fn create(&self, resources: Vec<Resource>) -> Result<Vec<u64>, Failure> {
        self.write(resources.into_iter().map(Change::Create))
    }

    /// Does these writes and returns the ids of what was written, in the same order.
    pub(crate) fn write(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Vec<u64>, Failure> {
        let (mut ids, mut changes) = (Vec::new(), changes.into_iter().peekable());
        while changes.peek().is_some() {
            let some: Vec<Change> = changes.by_ref().take(IN_FLIGHT).collect();
            ids.extend(self.runtime.block_on(self.write_at_once(some))?);
        }
        Ok(ids)
    }

    async fn write_at_once(&self, changes: Vec<Change>) -> Result<Vec<u64>, Failure> {
        let mut waiting = Vec::with_capacity(changes.len());
        for change in changes {
            let (node, mutation) = (self.node.clone(), mutation(change));
            waiting.push(tokio::spawn(async move { node.mutate(mutation).await }));
        }
        let mut ids = Vec::with_capacity(waiting.len());
        for one in waiting {
            let made = one.await?;
            ids.push(
                made.map_err(|refusal| format!("{}: {}", refusal.field, refusal.message))?.id(),
            );
        }
        Ok(ids)
    }

    /// Waits until so many ads are live.
    pub(crate) fn wait_for(&self, ads: usize) -> Result<(), Failure> {
        let start = Instant::now();
        while self.node.front().live_ads() < ads {
            if start.elapsed() > LIVE_WITHIN {
                let live = self.node.front().live_ads();
                return Err(format!("{live} of {ads} ads are live").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn mutation(change: Change) -> Mutation {
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut body_hash = [0; 16];
    body_hash[..8].copy_from_slice(&number.to_le_bytes());
    Mutation {
        tenant: TENANT,
        // As an operator loads a market: no tenant has room for so many.
        any_tenant: true,
        request_id: number.to_string(),
        body_hash,
        by: Author::default(),
        validate_only: false,
        approve: true,
        change,
    }
}
