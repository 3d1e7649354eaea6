//! Segments read ahead of the walk through them: checksums and hashes on several threads, which one segment needs
//! nothing of another for. What joins them is left to the walk.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use crate::journal::block::BLOCK_MAGIC;
use crate::journal::file::segment::{self, HEADER_BYTES, SEAL_BYTES, Seal, failed};
use crate::journal::{Block, BlockHash, LogError};

/// Most threads that read segments ahead. Each holds two of them in memory, 64 MiB unless the options say otherwise.
const SURVEY_THREADS_MAX: usize = 4;

/// The bytes of a segment, and what they said by themselves.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) bytes: Vec<u8>,
    /// The hashes of its blocks in order, as far as its frames fit their checksums.
    pub(super) hashes: Vec<BlockHash>,
}

impl Segment {
    /// Reads and checks a segment, in the room of an earlier one.
    fn read(path: &Path, room: Self) -> Result<Self, LogError> {
        let Self { mut bytes, mut hashes } = room;
        let mut file = File::open(path).map_err(failed("open", path))?;
        bytes.clear();
        hashes.clear();
        file.read_to_end(&mut bytes).map_err(failed("read", path))?;
        let mut rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        loop {
            let length = if rest.starts_with(&BLOCK_MAGIC) {
                let Ok((length, hash)) = Block::check(rest) else { break };
                hashes.push(hash);
                length
            } else if Seal::decode(rest).is_ok() {
                SEAL_BYTES
            } else {
                break;
            };
            rest = &rest[length..];
        }
        Ok(Self { bytes, hashes })
    }
}

/// Returns how many threads may read segments.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(SURVEY_THREADS_MAX)
}

/// Calls `visit` with each segment in order, or why it can't be read, until it fails.
///
/// # Errors
/// That of `visit`.
pub(super) fn each_segment(
    dir: &Path,
    numbers: &[u64],
    threads: usize,
    mut visit: impl FnMut(u64, Result<&Segment, LogError>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let read = |number: u64, room| Segment::read(&segment::path_of(dir, number), room);
    let threads = threads.min(numbers.len());
    if threads < 2 {
        let mut room = Segment::default();
        return numbers.iter().try_for_each(|number| {
            match read(*number, std::mem::take(&mut room)) {
                Ok(segment) => {
                    room = segment;
                    visit(*number, Ok(&room))
                }
                Err(error) => visit(*number, Err(error)),
            }
        });
    }
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|first| {
                let (hand, segments) = sync_channel(0);
                let (give_back, rooms) = channel();
                let own = numbers.iter().skip(first).step_by(threads);
                scope.spawn(move || {
                    // Nobody takes any more where the walk has failed.
                    own.map(|number| read(*number, rooms.try_recv().unwrap_or_default()))
                        .try_for_each(|segment| hand.send(segment))
                });
                (segments, give_back)
            })
            .collect();
        for (number, (segments, give_back)) in numbers.iter().zip(readers.iter().cycle()) {
            // A reader that has gone has panicked: the scope tells.
            let Ok(segment) = segments.recv() else { break };
            match segment {
                Ok(segment) => {
                    visit(*number, Ok(&segment))?;
                    drop(give_back.send(segment));
                }
                Err(error) => visit(*number, Err(error))?,
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::conformance::{JOURNAL, append};
    use crate::journal::file::{FileLog, Options, scan::survey_by};
    use crate::types::hash::mix;

    #[test]
    fn several_readers_find_what_one_does_in_a_sound_journal_and_in_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let mut log = FileLog::create(dir.path(), JOURNAL, &options).unwrap();
        for batch in 1..=130 {
            append(&mut log, (batch % 65) as u8, batch, 30);
        }
        drop(log);
        let (numbers, _) = segment::list(dir.path()).unwrap();
        assert!(numbers.len() > 5, "the test needs several segments for each reader");
        let found = |threads: usize| {
            let mut blocks = Vec::new();
            let survey = survey_by(dir.path(), 0..u64::MAX, threads, &mut |block| {
                blocks.push(block.clone())
            });
            (survey.map(|it| format!("{it:?}")).map_err(|error| error.to_string()), blocks)
        };
        let sound = found(1);
        assert!(sound.0.is_ok() && sound.1.len() == 130);
        assert!(found(4) == sound);
        let mut refused = 0;
        for seed in 0..60_u64 {
            let luck = |step: u64| mix(seed << 8 | step) as usize;
            let path = segment::path_of(dir.path(), numbers[luck(0) % numbers.len()]);
            let before = fs::read(&path).unwrap();
            let mut bytes = before.clone();
            match luck(1) % 5 {
                0 => bytes.truncate(luck(2) % before.len()),
                1 => bytes[luck(2) % HEADER_BYTES] ^= 4,
                _ => bytes[luck(2) % before.len()] ^= 1 << (luck(3) % 8),
            }
            fs::write(&path, &bytes).unwrap();
            let one = found(1);
            for threads in [2, 3, 5] {
                assert!(found(threads) == one, "seed {seed}, {threads} readers: {:?}", one.0);
            }
            refused += usize::from(one.0.is_err());
            fs::write(&path, &before).unwrap();
        }
        assert!(refused > 30, "{refused}");
    }
}
