//! Power cuts by the thousand: a disk that forgets any sectors of what was written and not synced.

use crate::journal::file::torn::Journal;

/// Cuts unless the environment says otherwise.
const CUTS: u64 = 1_000;

/// Groups of one journal, and cuts in each.
const GROUPS: u64 = 5;
const CUTS_PER_GROUP: u64 = 20;

/// A small generator (xorshift64*): a seed replays its cuts.
struct Luck(u64);

impl Luck {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % end
    }
}

/// Forgets sectors behind `synced`: each keeps what it had before, which are zeroes.
fn cut(image: &[u8], synced: usize, end: usize, sector: usize, luck: &mut Luck) -> Vec<u8> {
    let mut torn = image.to_vec();
    let kept_of_8 = [1, 4, 7][luck.below(3) as usize];
    for number in synced / sector..=end / sector {
        if luck.below(8) >= kept_of_8 {
            let ends = ((number + 1) * sector).min(torn.len());
            torn[(number * sector).max(synced)..ends].fill(0);
        }
    }
    torn
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_the_journal_opens() {
    let cuts = std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS);
    let (mut torn_ones, mut whole_ones) = (0, 0);
    for seed in 1..=cuts.div_ceil(GROUPS * CUTS_PER_GROUP) {
        let mut luck = Luck(seed);
        let mut journal = Journal::new(64 << 10);
        for group in 0..GROUPS {
            let (synced, acknowledged) = (journal.end(), journal.blocks.len());
            journal.group(1 + luck.below(2), 1 + luck.below(40) as u32);
            let (image, end) = (journal.image(), journal.end());
            for number in 0..CUTS_PER_GROUP {
                let sector = if number % 2 == 0 { 512 } else { 4_096 };
                let torn = cut(&image, synced, end, sector, &mut luck);
                let what = format!("seed {seed}, group {group}, cut {number}, sectors of {sector}");
                let kept = journal.check_torn(&torn, acknowledged, &what);
                if kept < journal.blocks.len() as u64 { torn_ones += 1 } else { whole_ones += 1 }
            }
            // The machine did not stop after all: the next group stands behind this one.
            journal.check_torn(&image, journal.blocks.len(), "as it was written");
        }
    }
    assert!(torn_ones > 0 && whole_ones > 0, "{torn_ones} torn, {whole_ones} whole");
}
