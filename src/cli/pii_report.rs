//! `munadi pii-report`: says where data of one pseudonym lies in a node's folder, and how long.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::audit::recount::RECOUNT_MEMORY_MS;
use crate::cli::{Failure, tell};
use crate::journal::file::scan_within;
use crate::node::base::beginning_of;
use crate::node::{Files, OpenError, fold};
use crate::rpc::limits::CAP_HOURS_MAX;
use crate::state::bucket::{Bucket, ERASED_MEMORY_MS};
use crate::state::credit::{CREDIT_MEMORY_MS, ShardPart};
use crate::state::exposures::EXPOSURE_MEMORY_MS;
use crate::state::past::PAST_MEMORY_MS;
use crate::state::viewers::{TOUCH_MEMORY_MS, VIEW_MEMORY_MS};
use crate::state::{bucket_of, route};
use crate::tokens::viewer_number;
use crate::types::ids::shard_of;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Proof, Showing};
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Say where data of a feed's pseudonym lies: how many facts of the journal name its viewer, and what is remembered.
///
/// Reads the folder's key ring, without which no pseudonym leads anywhere, and its journal from end to end; writes
/// nothing. What a running node has not made durable yet is not seen.
#[derive(Debug, Args)]
pub struct PiiReportArgs {
    /// The node's folder: the one with `journal` and `keyring.json` in it.
    dir: PathBuf,
    /// The feed whose pseudonym it is.
    #[arg(long)]
    feed: u32,
    /// The pseudonym, as the feed names the viewer in its requests for ads.
    #[arg(long)]
    viewer: String,
}

/// How often one kind of fact names a viewer, and when first and last by the journal's time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Named {
    /// How many facts.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The last.
    pub last: Moment,
}

/// Where data of a viewer lies.
#[derive(Debug, Default)]
pub struct PiiReport {
    /// The viewer's number.
    pub viewer: u64,
    /// Facts of the journal that name it, by their kind.
    pub facts: BTreeMap<&'static str, Named>,
    /// What is remembered, how much, and for how long after it happened, hours; `None`: until it is undone.
    pub remembered: Vec<(&'static str, usize, Option<i64>)>,
    /// When it was last erased, while that is remembered.
    pub erased: Option<Moment>,
    /// The journal's time until which facts are in the base and were not looked at; `None`: there is no base.
    pub base: Option<Moment>,
}

pub(super) fn run(arguments: &PiiReportArgs) -> Result<ExitCode, Failure> {
    let report = pii_report(&arguments.dir, arguments.feed, &arguments.viewer)?;
    tell(std::io::stdout(), report);
    Ok(ExitCode::SUCCESS)
}

/// Looks for a pseudonym in a node's folder.
///
/// # Errors
/// When the folder has no key ring, knows no such feed, or its journal can't be read.
pub fn pii_report(dir: &Path, feed: u32, pseudonym: &str) -> Result<PiiReport, Failure> {
    let files = Files::new(dir);
    let ring =
        files.ring()?.ok_or("the folder has no keyring.json, so no pseudonym leads anywhere")?;
    let link = ring.link(feed).ok_or("feed: the key ring knows no such feed")?;
    let viewer = viewer_number(link, pseudonym);
    let mut report = PiiReport { viewer, ..PiiReport::default() };
    let (journal, (base, first)) = (files.journal(), beginning_of(&files)?);
    let (mut bucket, mut shard) = (Bucket::default(), ShardPart::default());
    if let Some(base) = &base {
        let mut state = base.load(&journal)?;
        bucket = std::mem::take(&mut state.buckets[bucket_of(viewer)]);
        shard = std::mem::take(&mut state.shards[shard_of(viewer).index()]);
        report.base = Some(base.span().1);
    }
    let mut failed: Option<OpenError> = None;
    scan_within(&journal, first..u64::MAX, |block| {
        let folded = fold(block, |stamp, fact| {
            if let Some(kind) = names(fact, viewer) {
                let new = Named { count: 0, first: stamp.at, last: stamp.at };
                let named = report.facts.entry(kind).or_insert(new);
                (named.count, named.last) = (named.count + 1, named.last.max(stamp.at));
            }
            let parts = route(fact);
            if stamp.shard == shard_of(viewer) && parts.shard {
                shard.apply(stamp, fact);
            }
            if parts.bucket == Some(bucket_of(viewer)) {
                bucket.apply(stamp, fact);
            }
        });
        failed = failed.take().or_else(|| folded.err());
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    report.erased = bucket.erased.get(&viewer).map(|erased_ms| Moment(*erased_ms));
    report.remembered = remembered(&bucket, &shard, viewer);
    Ok(report)
}

fn remembered(
    bucket: &Bucket,
    shard: &ShardPart,
    viewer: u64,
) -> Vec<(&'static str, usize, Option<i64>)> {
    let known = bucket.viewers.get(&viewer);
    let of = |count: &dyn Fn(&crate::state::viewers::Viewer) -> usize| known.map_or(0, count);
    let hours = |ms: i64| Some(ms / HOUR_MS);
    let touches = hours(TOUCH_MEMORY_MS);
    let codes = shard.codes.values().filter(|entry| entry.viewer == viewer).count();
    let rows = shard.credits.iter().filter(|credit| credit.shown.viewer == viewer).count();
    vec![
        ("views", of(&|it| it.views().len()), hours(VIEW_MEMORY_MS)),
        ("taps", of(&|it| it.touches().len()), touches),
        ("capped ad sets", of(&|it| it.caps().len()), Some(CAP_HOURS_MAX.into())),
        ("hidden ads and businesses", of(&|it| it.hidden().len()), None),
        ("credited outcomes", of(&|it| it.credited().len()), touches),
        ("imported history", usize::from(bucket.past.contains_key(&viewer)), hours(PAST_MEMORY_MS)),
        (
            "experiments",
            usize::from(bucket.measured.contains_key(&viewer)),
            hours(EXPOSURE_MEMORY_MS),
        ),
        ("prefill codes", codes, touches),
        ("rows of outcomes", rows, hours(CREDIT_MEMORY_MS)),
    ]
}

/// Returns the kind of a fact that names a viewer; `None`: it does not.
fn names(fact: &Kind, viewer: u64) -> Option<&'static str> {
    let shown = |showing: &Option<Showing>| showing.map_or(0, |showing| showing.viewer);
    let proven = |proof: &Option<Proof>, told: u64| match told {
        0 => proof.map_or(0, |proof| proof.viewer),
        told => told,
    };
    let (named, kind) = match fact {
        Kind::ImpressionSeen(fact) => (shown(&fact.showing), "impressions"),
        Kind::Watched(fact) => (shown(&fact.showing), "views watched"),
        Kind::Tapped(fact) => (shown(&fact.showing), "taps"),
        Kind::FeedbackGiven(fact) => (shown(&fact.showing), "feedback"),
        Kind::ClickMatched(fact) => (shown(&fact.showing), "conversations credited"),
        Kind::ConversionCredited(fact) => (shown(&fact.showing), "conversions credited"),
        Kind::EventCredited(fact) => (shown(&fact.showing), "charges given back"),
        Kind::StepCredited(fact) => (shown(&fact.showing), "steps credited"),
        Kind::GhostNoted(fact) => (shown(&fact.showing), "ads held back"),
        Kind::OutcomeNoted(fact) => (fact.viewer, "outcomes noted"),
        Kind::OutcomeRevised(fact) => (fact.viewer, "outcomes revised"),
        Kind::RevisionSettled(fact) => (fact.viewer, "revisions settled"),
        Kind::ConversationOpened(fact) => {
            (proven(&fact.proof, fact.told_viewer), "conversations opened")
        }
        Kind::Converted(fact) => (proven(&fact.proof, fact.told_viewer), "conversions told"),
        Kind::ViewerErased(fact) => (fact.viewer, "erasures"),
        _ => return None,
    };
    (named == viewer).then_some(kind)
}

impl fmt::Display for PiiReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: Moment| {
            let text = jiff::Timestamp::from_millisecond(at.0);
            text.map_or_else(|_| at.0.to_string(), |text| text.to_string())
        };
        writeln!(
            f,
            "viewer {:016x}: a keyed hash; only this folder's keyring.json leads",
            self.viewer
        )?;
        writeln!(f, "from the pseudonym to it.\n\nFacts of the journal that name it:")?;
        for (kind, Named { count, first, last }) in &self.facts {
            writeln!(f, "  {kind:<26} {count:>8}  {} to {}", time(*first), time(*last))?;
        }
        writeln!(f, "  (none other; facts stay as long as the journal and its backups)")?;
        if let Some(last) = self.base {
            let days = RECOUNT_MEMORY_MS / DAY_MS;
            writeln!(
                f,
                "  Facts until {} are summed up in the base, where the recount",
                time(last)
            )?;
            writeln!(
                f,
                "  remembers what viewers did for {days} days before that, with their numbers;"
            )?;
            writeln!(f, "  segments before it that were not removed are not looked at.")?;
        }
        writeln!(
            f,
            "\nRemembered, in memory and checkpoints, for so many hours after it happened:"
        )?;
        for (what, count, hours) in &self.remembered {
            let hours = hours.map_or("until undone".to_owned(), |hours| format!("{hours} h"));
            writeln!(f, "  {what:<26} {count:>8}  {hours}")?;
        }
        if let Some(erased) = self.erased {
            let hours = ERASED_MEMORY_MS / HOUR_MS;
            writeln!(f, "  erased at {}, which is remembered for {hours} h", time(erased))?;
        }
        write!(
            f,
            "\nConversations know their contacts by other hashes. Logs and metrics hold no viewer."
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::node::clock::SystemClock;
    use crate::node::{Node, NodeOptions};
    use crate::types::request::Author;

    #[test]
    fn an_erasure_is_found_by_the_pseudonym_and_nothing_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let options = NodeOptions { feeds: vec![7], ..NodeOptions::default() };
        let clock = Arc::new(SystemClock::default());
        let node = Node::start(folder.path(), clock, &options).unwrap();
        let ring = Files::new(folder.path()).ring().unwrap().unwrap();
        let viewer = viewer_number(ring.link(7).unwrap(), "ana");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(!runtime.block_on(node.erase_viewer(&Author::default(), 7, viewer)).unwrap());
        node.stop().unwrap();
        let report = pii_report(folder.path(), 7, "ana").unwrap();
        assert_eq!(report.facts["erasures"].count, 1);
        assert!(report.erased.is_some());
        assert!(report.remembered.iter().all(|(_, count, _)| *count == 0));
        assert!(!report.to_string().contains("ana"), "the pseudonym is not repeated");
        let other = pii_report(folder.path(), 7, "ben").unwrap();
        assert!(other.facts.is_empty() && other.erased.is_none());
        assert!(pii_report(folder.path(), 8, "ana").is_err());
    }
}
