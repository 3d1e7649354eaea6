//! `munadi fsck`: checks a node's journal, and cuts off what a stop in mid-write left behind.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::journal::LogError;
use crate::journal::fsck::{FsckReport, fsck};
use crate::node::Files;
use crate::node::base::{Base, BaseError, check_bases};

/// Check a node's journal: is every acknowledged fact still there and readable?
///
/// Reads the journal below DIR from end to end: every block's checksum, its place in its shard's chain,
/// and where the segments end. Writes nothing unless told to --cut, and needs no lock to look.
///
/// A base (`munadi base`) is checked too: every byte of it, and that the journal goes on from it where older segments
/// are gone.
///
/// Exit code: 0 sound. 1 a torn tail: the last write was cut short by a crash or power cut. Nobody was
/// told that it was stored, so nothing is lost; the next start of the node cuts it off, as --cut does.
/// While a node is running, the group that it is writing may look torn. 2 damaged: facts that were
/// acknowledged can't be read; the report says from which byte on. Restore a backup.
#[derive(Debug, clap::Args)]
pub struct FsckArgs {
    /// The node's folder: the one with `journal` and `keyring.json` in it.
    pub dir: PathBuf,
    /// Cut a torn tail off. Never touches what was acknowledged; refuses while a node is running.
    #[arg(long)]
    pub cut: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why a journal can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// It is absent, can't be read, or is in use while it is to be cut.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The report can't be printed.
    #[error("the report can't be printed: {0}")]
    Output(#[from] io::Error),
}

/// How a journal is. The numbers are exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Health {
    /// Everything can be read.
    Sound = 0,
    /// The last write was cut short; none of it was acknowledged.
    Torn = 1,
    /// Acknowledged facts can't be read.
    Damaged = 2,
}

impl Health {
    /// Returns the health that a check found.
    pub const fn of(report: &FsckReport) -> Self {
        match report {
            FsckReport { damage: Some(_), .. } => Self::Damaged,
            FsckReport { torn: Some(_), cut: false, .. } => Self::Torn,
            _ => Self::Sound,
        }
    }
}

/// The report as JSON has it.
#[derive(Serialize)]
struct Json<'a> {
    health: Health,
    segments: Option<usize>,
    blocks: u64,
    facts: u64,
    last_batch: u64,
    torn: Option<TornJson<'a>>,
    cut: bool,
    damage: Option<String>,
    base: Option<u64>,
}

#[derive(Serialize)]
struct TornJson<'a> {
    segment: &'a Path,
    offset: u64,
    bytes: u64,
    blocks: u64,
}

/// Runs the command.
///
/// # Errors
/// When there is no journal to check, or the report can't be printed.
pub fn run(args: &FsckArgs) -> Result<ExitCode, FsckError> {
    let health = check(args, &mut io::stdout().lock())?;
    Ok(ExitCode::from(health as u8))
}

fn check(args: &FsckArgs, out: &mut dyn Write) -> Result<Health, FsckError> {
    let files = Files::new(&args.dir);
    let report = fsck(&files.journal(), args.cut)?;
    let base = if report.damage.is_none() { check_bases(&files) } else { Ok(None) };
    let health = if base.is_err() { Health::Damaged } else { Health::of(&report) };
    if args.json {
        let json = json(&report, health, &base);
        serde_json::to_writer_pretty(&mut *out, &json).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(health);
    }
    if let Ok(Some(base)) = &base {
        writeln!(out, "base        sound, up to batch {}", base.last_batch())?;
    }
    writeln!(out, "{report}")?;
    if let Err(error) = &base {
        writeln!(out, "DAMAGED     {error}")?;
    }
    if health == Health::Torn {
        let bytes = report.torn.as_ref().map_or(0, |torn| torn.bytes);
        let dir = args.dir.display();
        writeln!(
            out,
            "would cut {bytes} bytes that nobody was told of. To cut them now, stop the"
        )?;
        writeln!(
            out,
            "node and run: munadi fsck {dir} --cut. The node's next start does the same."
        )?;
    }
    Ok(health)
}

fn json<'a>(
    report: &'a FsckReport,
    health: Health,
    base: &Result<Option<Base>, BaseError>,
) -> Json<'a> {
    Json {
        health,
        segments: report.segments,
        blocks: report.blocks,
        facts: report.facts,
        last_batch: report.last_batch.0,
        torn: report.torn.as_ref().map(|torn| TornJson {
            segment: &torn.segment,
            offset: torn.offset,
            bytes: torn.bytes,
            blocks: torn.blocks,
        }),
        cut: report.cut,
        damage: match (&report.damage, base) {
            (Some(damage), _) => Some(damage.to_string()),
            (None, Err(error)) => Some(error.to_string()),
            (None, Ok(_)) => None,
        },
        base: base.as_ref().ok().and_then(|base| base.as_ref().map(|base| base.last_batch().0)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::*;
    use crate::journal::file::Options;
    use crate::node::clock::MovedClock;
    use crate::node::{Node, NodeOptions};
    use crate::types::proto::v1::Placement;
    use crate::types::request::{AdRequest, Policy, Profile};
    use crate::types::time::Moment;

    /// A stopped node's folder.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let clock = Arc::new(MovedClock::at(Moment(1_800_000_000_000)));
            let journal = Options { segment_bytes: 1 << 16, ..Options::default() };
            let options = NodeOptions { feeds: vec![1], journal, ..NodeOptions::default() };
            let node = Node::start(dir.path(), clock, &options).unwrap();
            let request = AdRequest {
                placement: Placement::Status,
                viewer: None,
                profile: Profile::default(),
                posts: 20,
                positions: Vec::new(),
                named: true,
                ads_in_session: 0,
            };
            // The count of this tray is journaled when the node stops.
            node.request_ads(1, &Policy::default(), &request);
            node.stop().unwrap();
            Self(dir)
        }

        /// Returns the only segment that holds blocks.
        fn segment(&self) -> PathBuf {
            let journal = Files::new(self.0.path()).journal();
            let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
            let mut segments = files.filter(|path| fs::read(path).unwrap().starts_with(b"mnj1"));
            segments.next().unwrap()
        }

        /// Writes over the segment, at a byte counted from its written end.
        fn scratch(&self, from_end: i64, bytes: &[u8]) {
            let path = self.segment();
            let written = fs::read(&path).unwrap();
            let end = written.iter().rposition(|byte| *byte != 0).unwrap() as i64 + 1;
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(bytes, (end + from_end) as u64).unwrap();
        }

        fn check(&self, cut: bool, json: bool) -> (Health, String) {
            let mut out = Vec::new();
            let args = FsckArgs { dir: self.0.path().to_owned(), cut, json };
            let health = check(&args, &mut out).unwrap();
            (health, String::from_utf8(out).unwrap())
        }
    }

    #[test]
    fn a_journal_that_was_closed_is_sound() {
        let (health, text) = Folder::new().check(false, false);
        assert_eq!(health, Health::Sound, "{text}");
        assert!(text.contains("facts       2\n") && text.ends_with("sound\n"), "{text}");
    }

    #[test]
    fn a_torn_tail_is_measured_then_cut_and_the_rest_is_sound() {
        let folder = Folder::new();
        folder.scratch(64, b"torn");
        let (health, text) = folder.check(false, false);
        assert_eq!(health, Health::Torn, "{text}");
        assert!(text.contains("would cut ") && text.contains(" --cut."), "{text}");
        assert_eq!(folder.check(true, false).0, Health::Sound);
        let (health, text) = folder.check(false, false);
        assert_eq!(health, Health::Sound, "{text}");
    }

    #[test]
    fn a_changed_byte_before_the_last_seal_is_damage_and_is_not_cut() {
        let folder = Folder::new();
        folder.scratch(-60, b"rot");
        for cut in [false, true] {
            let (health, text) = folder.check(cut, true);
            assert_eq!(health, Health::Damaged, "{text}");
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((&json["health"], &json["cut"]), (&"damaged".into(), &false.into()));
            assert!(json["damage"].as_str().unwrap().contains("damaged at byte"));
        }
    }

    #[test]
    fn a_damaged_base_is_damage_although_the_journal_is_sound() {
        let folder = Folder::new();
        fs::write(folder.0.path().join("base-00000000000000000001"), [7; 100]).unwrap();
        let (health, text) = folder.check(false, false);
        assert_eq!(health, Health::Damaged, "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("DAMAGED") && last.contains("base-0000"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&folder.check(false, true).1).unwrap();
        assert_eq!((&json["health"], &json["base"]), (&"damaged".into(), &().into()));
        assert!(json["damage"].as_str().unwrap().contains("base-0000"), "{json}");
    }

    #[test]
    fn a_folder_without_a_journal_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let args = FsckArgs { dir: dir.path().to_owned(), cut: false, json: false };
        let error = check(&args, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, FsckError::Log(LogError::Absent(_))), "{error}");
    }
}
