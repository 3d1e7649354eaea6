//! What viewers weigh: resident in this process, and by how they lie.

use std::path::Path;

use munadi::node::{Files, fold};
use munadi::state::bucket::Bucket;
use munadi::state::viewers::{View, Viewer, Views};
use munadi::state::{BUCKETS, route};
use munadi::types::hash::mix;

use crate::Failure;

/// Returns the bytes of this process that are in memory.
pub(crate) fn resident_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1_024)
}

/// Means over all viewers.
pub(crate) struct Laid {
    pub(crate) views: f64,
    /// Its place in the bucket and what it has allocated.
    pub(crate) bytes: f64,
    pub(crate) showing_bytes: f64,
    /// The same as `bytes`, were no category a common one.
    pub(crate) own_names_bytes: f64,
}

/// Folds a journal's viewers, and adds up what they weigh.
pub(crate) fn of_journal(dir: &Path) -> Result<Laid, Failure> {
    let mut buckets: Vec<Bucket> = (0..BUCKETS).map(|_| Bucket::default()).collect();
    let mut failed = None;
    munadi::journal::file::scan(&Files::new(dir).journal(), |block| {
        let folded = fold(block, |stamp, kind| {
            if let Some(bucket) = route(kind).bucket {
                buckets[bucket].apply(stamp, kind);
            }
        });
        failed = failed.take().or(folded.err());
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (mut viewers, mut views, mut bytes, mut showings, mut renamed) = (0u64, 0, 0, 0, 0);
    for viewer in buckets.iter().flat_map(|bucket| bucket.viewers.values()) {
        let packed = viewer.views();
        viewers += 1;
        views += packed.len();
        bytes += size_of::<(u64, Viewer)>() + viewer.allocated_bytes();
        showings += packed.bytes().len();
        let own = |view: View| View { category: mix(view.category).max(1), ..view };
        renamed += Views::of(&packed.iter().map(own).collect::<Vec<_>>()).bytes().len();
    }
    let mean = |sum: usize| sum as f64 / viewers.max(1) as f64;
    Ok(Laid {
        views: mean(views),
        bytes: mean(bytes),
        showing_bytes: mean(showings),
        own_names_bytes: mean(bytes - showings + renamed),
    })
}
