//! Inputs that nobody meant to send: good ones, altered by seed, for the tests of every reader from here up.
//! `FUZZ_CASES=10000000 cargo test --release --lib fuzz` makes each of them long; `FUZZ_SEED` says from which
//! case on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::node::clock::{Clock, SystemClock};
use crate::node::dice::SeededDice;
use crate::types::dice::Dice;

/// Cases of a usual run of one reader.
pub(crate) const CASES: u64 = 2_000;

/// What no reader may take for one input in an optimized build (RELIABILITY 7, R14).
const SLOW: Duration = Duration::from_millis(100);

/// Pieces that mean something to a reader of protobuf: zero, the largest numbers of each width, one that never
/// ends, lengths beyond the end, a group, fields by number, texts that are none.
pub(crate) const WIRE_WORDS: [&[u8]; 12] = [
    b"\x00",
    b"\x7F",
    b"\xFF\xFF\xFF\xFF\x0F",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    b"\x0A\xFF\xFF\xFF\x7F",
    b"\x0B\x0C",
    b"\x08\x01\x10\x02\x18\x03\x20\x04",
    b"\x0A\x00\x12\x00\x1A\x00\x22\x00",
    b"\x80\xC0\xED\xA0\x80",
    b"\xF0\x9F\xA5\x96",
];

/// Lets a reader read altered inputs. No input may make it panic, nor be slow in a long run of an optimized build.
/// Returns how many were run and how many it took.
///
/// # Panics
/// With the way to run the case again.
pub(crate) fn fuzz(
    name: &str,
    usual: u64,
    seeds: &[Vec<u8>],
    words: &[&[u8]],
    read: impl Fn(&[u8]) -> bool,
) -> (u64, u64) {
    let told = asked("FUZZ_CASES");
    let (cases, first) = (told.unwrap_or(usual), asked("FUZZ_SEED").unwrap_or(0));
    let clock = SystemClock::default();
    let (mut taken, mut slowest) = (0, (Duration::ZERO, first));
    for seed in first..first + cases {
        let input = altered(seeds, words, &mut SeededDice::new(seed));
        let timed = || {
            let began = clock.monotonic();
            let took = catch_unwind(AssertUnwindSafe(|| read(&input)));
            let is_taken = took.unwrap_or_else(|_| {
                panic!(
                    "{name} panics at {input:02x?}; again by: FUZZ_SEED={seed} FUZZ_CASES=1 cargo test \
                     --lib fuzz"
                )
            });
            (is_taken, clock.monotonic() - began)
        };
        let (is_taken, mut took) = timed();
        // The machine may have paused: an input is slow that is slow each time.
        for _ in 0..2 {
            if took >= SLOW {
                took = took.min(timed().1);
            }
        }
        taken += u64::from(is_taken);
        if took > slowest.0 {
            slowest = (took, seed);
        }
    }
    let (took, seed) = slowest;
    println!(
        "{name}: {cases} inputs, {taken} taken, 0 panics, slowest {took:?} (FUZZ_SEED={seed})"
    );
    let measured = told.is_some() && !cfg!(debug_assertions);
    assert!(!measured || took < SLOW, "{name} took {took:?} for the input of FUZZ_SEED={seed}");
    (cases, taken)
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Returns one of the seeds with one to four changes; numbers in messages come to the ends of their widths.
fn altered(seeds: &[Vec<u8>], words: &[&[u8]], dice: &mut SeededDice) -> Vec<u8> {
    let mut below = |end: usize| (dice.roll() % end as u64) as usize;
    let mut input = seeds[below(seeds.len())].clone();
    for _ in 0..=below(4) {
        let at = below(input.len() + 1);
        let end = (at + below(32)).min(input.len());
        let word = words[below(words.len())];
        match below(10) {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 if at < input.len() => input[at] = below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => drop(input.splice(at..at, word.iter().copied())),
            5 => drop(input.splice(at..end, word.iter().copied())),
            6 => {
                let other = &seeds[below(seeds.len())];
                let from = below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => input.extend(word.repeat(1 + below(64))),
            8 => input = with_boundary(&input, &mut below).unwrap_or(input),
            _ => input.truncate(at),
        }
    }
    input
}

/// How deep numbers are looked for in messages.
const DEPTH_MAX: usize = 8;

/// Returns a message with another number in one place, however deep: one at the end of what some width holds. `None`:
/// it is no message, or has no number.
fn with_boundary(message: &[u8], below: &mut impl FnMut(usize) -> usize) -> Option<Vec<u8>> {
    let mut count = 0;
    renumbered(message, DEPTH_MAX, &mut |number| {
        count += 1;
        number
    })?;
    let mut left = (count > 0).then(|| below(count))?;
    let max = u64::MAX >> [63, 56, 48, 33, 32, 1, 0][below(7)];
    // One below, the largest, one above: beyond 64 bits that is zero again.
    let boundary = (max - 1).wrapping_add(below(3) as u64);
    renumbered(message, DEPTH_MAX, &mut |number| {
        let is_it = left == 0;
        left = left.wrapping_sub(1);
        if is_it { boundary } else { number }
    })
}

/// Writes a message anew with what `change` makes of each of its numbers, packed ones among them. `None`: it is none.
fn renumbered(
    mut bytes: &[u8],
    depth: usize,
    change: &mut dyn FnMut(u64) -> u64,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        encode_key(number, wire, &mut out);
        let length = match wire {
            WireType::Varint => {
                encode_varint(change(decode_varint(&mut bytes).ok()?), &mut out);
                continue;
            }
            WireType::LengthDelimited => decode_varint(&mut bytes).ok()?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        if wire != WireType::LengthDelimited {
            out.extend_from_slice(value);
            continue;
        }
        let inner = within(value, depth, change);
        encode_varint(inner.len() as u64, &mut out);
        out.extend(inner);
    }
    Some(out)
}

/// Returns what becomes of a text, a message or packed numbers.
fn within(value: &[u8], depth: usize, change: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
    let is_text = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if is_text || depth == 0 {
        return value.to_vec();
    }
    // Nothing is changed before it is known what it is.
    if renumbered(value, depth - 1, &mut |number| number).is_some() {
        return renumbered(value, depth - 1, change).unwrap_or_default();
    }
    let mut packed = Vec::new();
    let mut left = value;
    while !left.is_empty() {
        let Ok(number) = decode_varint(&mut left) else { return value.to_vec() };
        packed.push(number);
    }
    let mut out = Vec::new();
    packed.into_iter().for_each(|number| encode_varint(change(number), &mut out));
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;

    use super::*;
    use crate::journal::{Block, BlockBuilder, BlockHash};
    use crate::types::ids::{BatchNo, IdKind, JournalId, Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{
        AccountPut, AdSetPut, Charge, Decision, Fact, Granted, ImpressionSeen, Showing, Tapped,
        TrafficRulesPut, ViewContext,
    };
    use crate::types::proto::v1;

    /// A fresh block's prefix: magic, length, checksum.
    const PREFIX_BYTES: usize = 12;

    fn decisions() -> Vec<Vec<u8>> {
        let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
        let account = v1::Account {
            id: mint(IdKind::Account, 1),
            name: "Tacos".into(),
            currency: "MXN".into(),
            spend_limit: money(i64::MAX),
            ..Default::default()
        };
        let ad_set = v1::AdSet {
            id: mint(IdKind::AdSet, 1),
            bid: money(5),
            schedule_hours: vec![1, 167],
            targeting: Some(v1::Targeting { countries: vec!["MX".into()], ..Default::default() }),
            ..Default::default()
        };
        let showing =
            Some(Showing { view: u64::MAX, viewer: 63 << 58, ad: 7, ..Showing::default() });
        let charge =
            Some(Charge { amount: 1_000, day: -1, campaign_grant: 3, ..Charge::default() });
        let context = Some(ViewContext { placement: 1, country: 0x4D58, ..ViewContext::default() });
        let rules = v1::TrafficRules { networks: vec!["10.0.0.0/8".into()], ..Default::default() };
        let facts = [
            Kind::AccountPut(Box::new(AccountPut { tenant: 5, account: Some(account) })),
            Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })),
            Kind::Granted(Granted { grant: 3, amount: -5, ..Granted::default() }),
            Kind::ImpressionSeen(ImpressionSeen { showing, charge, ..ImpressionSeen::default() }),
            Kind::Tapped(Tapped { showing, context, code: 1 << 49, ..Tapped::default() }),
            Kind::TrafficRulesPut(Box::new(TrafficRulesPut { rules: Some(rules), added: true })),
        ];
        let facts = facts.map(|kind| Fact { kind: Some(kind) });
        let decision = |facts| Decision { at_ms: 1_800_000_000_000, facts }.encode_to_vec();
        let alone = facts.iter().map(|fact| decision(vec![fact.clone()]));
        alone.chain([decision(facts.to_vec())]).collect()
    }

    fn blocks() -> Vec<Vec<u8>> {
        let golden = include_bytes!("../../tests/golden/block_v1.bin").to_vec();
        let mut builder = BlockBuilder::new(Shard::new(3).unwrap(), Seq(9));
        decisions().iter().for_each(|decision| {
            builder.push(decision, 1);
        });
        let block = builder.seal(JournalId([7; 16]), BatchNo(4), BatchNo(3), BlockHash::NONE);
        vec![golden, block.bytes.to_vec()]
    }

    /// Gives bytes the length and the checksum that a block of them would have.
    fn resealed(bytes: &[u8]) -> Vec<u8> {
        let mut block = bytes.to_vec();
        block.resize(block.len().max(PREFIX_BYTES), 0);
        let length = block.len() as u32;
        block[4..8].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32c::crc32c(&block[PREFIX_BYTES..]);
        block[8..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
        block
    }

    #[test]
    fn numbers_are_drawn_at_the_ends_of_widths_however_deep_they_stand() {
        let targeting = v1::Targeting {
            countries: vec!["MX".into()],
            interests: vec![v1::InterestGroup { any_of: vec![3, 9] }],
            ..Default::default()
        };
        let targeting = Some(targeting);
        let good = v1::AdSet { name: "Everyone".into(), targeting, ..Default::default() };
        let message = good.encode_to_vec();
        let mut drawn = BTreeSet::new();
        for seed in 0..CASES {
            let mut dice = SeededDice::new(seed);
            let mut below = |end: usize| (dice.roll() % end as u64) as usize;
            let other = with_boundary(&message, &mut below).expect("it has numbers");
            let mut other = v1::AdSet::decode(&*other).expect("its lengths are right");
            let interests = &mut other.targeting.as_mut().unwrap().interests[0].any_of;
            drawn.extend(std::mem::replace(interests, vec![3, 9]));
            assert_eq!(other, good, "all else stays");
        }
        let ends = [1, u32::from(u8::MAX), u32::from(u16::MAX), u32::MAX >> 1];
        for end in ends {
            assert!([end - 1, end, end + 1].iter().all(|number| drawn.contains(number)), "{end}");
        }
        assert!(drawn.contains(&u32::MAX), "it is cut to what its field holds");
        assert_eq!(with_boundary(b"\xFF", &mut |_| 0), None);
    }

    #[test]
    fn no_altered_decision_makes_its_reader_panic() {
        let (cases, taken) = fuzz("decision", CASES, &decisions(), &WIRE_WORDS, |bytes| {
            let Ok(decision) = Decision::decode(bytes) else { return false };
            let again = Decision::decode(&*decision.encode_to_vec());
            assert_eq!(again.as_ref(), Ok(&decision), "it is read as it was written");
            true
        });
        assert!(cases < CASES || taken > cases / 1_000, "{taken} of {cases}");
    }

    #[test]
    fn no_altered_block_is_taken_for_another_nor_makes_its_reader_panic() {
        let seeds = blocks();
        fuzz("block", CASES, &seeds, &WIRE_WORDS, |bytes| {
            let Ok(block) = Block::decode(bytes) else { return false };
            // What stands behind a block is another matter.
            assert!(seeds.iter().any(|seed| **seed == *block.bytes), "an altered block was taken");
            true
        });
        let (cases, taken) = fuzz("block, resealed", CASES, &seeds, &WIRE_WORDS, |bytes| {
            let Ok(block) = Block::decode(&resealed(bytes)) else { return false };
            assert!(block.next() > block.first, "it has facts");
            block.decisions().for_each(|bytes| drop(Decision::decode(bytes)));
            let _ = (block.previous(), block.durable(), block.journal());
            true
        });
        assert!(cases < CASES || taken > cases / 1_000, "{taken} of {cases}");
    }
}
