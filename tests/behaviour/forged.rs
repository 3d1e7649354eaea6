//! Tokens that nobody was handed, by the thousand: none of them opens, in no reader, as bytes or in a link.
//! `TOKEN_CASES=10000000 cargo test --release --test behaviour forged` makes it long; `TOKEN_SEED` says from which
//! case on.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use munadi::node::Follower;
use munadi::node::dice::SeededDice;
use munadi::tokens::{KeyRing, Kind, Sealer};
use munadi::types::dice::Dice;
use munadi::types::token::{ClickToken, FrequencyToken, ViewToken};

use crate::stage::{FEED, Offer, Stage};

/// Forgeries of a usual run.
const CASES: u64 = 20_000;

/// Tokens of each kind that were really handed out.
const GENUINE: usize = 8;

/// What reads tokens: each kind as bytes, then the two that ride in links as text.
const READERS: usize = Kind::ALL.len() + 2;
const CLICK_TEXT: usize = Kind::ALL.len();

/// How a token is forged as bytes, and as text.
const WAYS: [&str; 10] = [
    "bits flipped",
    "cut short",
    "made longer",
    "two of a kind joined",
    "two kinds joined",
    "sealed by another journal",
    "of another kind",
    "another key named",
    "two bytes swapped",
    "made up",
];
const TEXT_WAYS: [&str; 8] = [
    "a letter changed",
    "the last letter changed",
    "a letter's case changed",
    "two joined",
    "padded",
    "of the other alphabet",
    "something put in",
    "cut short",
];

/// What may stand in a text that is no token.
const SIGNS: [&str; 12] = ["=", "==", " ", "\n", "\0", "%3D", "+", "/", "\u{fe0f}", "é", ".", "A"];

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The tokens of a node, and who else makes some.
struct Bench {
    stage: Stage,
    ours: Arc<Sealer>,
    foreign: Sealer,
    views: Vec<ViewToken>,
    /// By reader: what is handed out.
    genuine: Vec<Vec<Vec<u8>>>,
}

impl Bench {
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.shop(&Offer::default());
        // Two keys are in the ring: what the old one sealed still opens.
        let mut byte = 100..;
        let mut random = |bytes: &mut [u8]| bytes.fill(byte.next().unwrap());
        let old = Sealer::new(stage.ring.clone());
        stage.ring.rotate(&mut random, stage.now.seconds()).unwrap();
        let Stage { disk, ring, now, .. } = stage;
        let stage = Stage::open(disk, ring, now, None).unwrap();
        let ours = stage.front.sealer();
        let mut byte = 200..;
        let mut random = |bytes: &mut [u8]| bytes.fill(byte.next().unwrap());
        let mut ring = KeyRing::generate(&mut random, now.seconds());
        ring.add_feed(FEED, &mut random);
        let foreign = Sealer::new(ring);
        let views = (0..GENUINE).map(|number| stage.show(&format!("viewer {number}")).token);
        let mut bench = Self { views: views.collect(), stage, ours, foreign, genuine: Vec::new() };
        for reader in 0..READERS {
            let sealed = |number: usize| {
                let sealer = if number.is_multiple_of(2) { &*bench.ours } else { &old };
                bench.sealed(sealer, reader, number)
            };
            let tokens = (0..GENUINE).map(sealed).collect();
            bench.genuine.push(tokens);
        }
        bench
    }

    /// Returns a token for this reader.
    fn sealed(&self, sealer: &Sealer, reader: usize, number: usize) -> Vec<u8> {
        let view = self.views[number];
        let click = ClickToken {
            entry_point: 1,
            view: view.view,
            ad: view.ad,
            viewer: view.viewer,
            issued: view.issued,
            ..ClickToken::default()
        };
        let ViewToken { viewer, feed, issued, .. } = view;
        match Kind::ALL.get(reader) {
            Some(Kind::View) => sealer.seal_view(&view).to_vec(),
            Some(Kind::Click) => sealer.seal_click(&click).to_vec(),
            Some(Kind::Cursor) => sealer.seal_cursor(&view.view.to_be_bytes().repeat(67)),
            Some(Kind::Page) => sealer.seal_page(&view.view.to_be_bytes().repeat(2)),
            Some(Kind::Frequency) => {
                sealer.seal_frequency(&FrequencyToken { viewer, feed, issued }).to_vec()
            }
            None if reader == CLICK_TEXT => sealer.seal_click_text(&click).into_bytes(),
            None => BASE64URL_NOPAD.encode(&sealer.seal_view(&view)).into_bytes(),
        }
    }

    /// Tells whether a reader takes what it is handed.
    fn opens(&self, reader: usize, token: &[u8]) -> bool {
        let now_s = self.stage.now.seconds();
        match Kind::ALL.get(reader) {
            Some(Kind::View) => self.ours.open_view(token, now_s).is_ok(),
            Some(Kind::Click) => self.ours.open_click(token, now_s).is_ok(),
            Some(Kind::Cursor) => self.ours.open_cursor(token).is_ok(),
            Some(Kind::Page) => self.ours.open_page(token).is_ok(),
            Some(Kind::Frequency) => self.ours.open_frequency(token, now_s).is_ok(),
            None => {
                let text = String::from_utf8_lossy(token);
                let follower = Follower::default();
                let followed = self.stage.front.follow(&text, &follower, self.stage.now).is_some();
                let opened =
                    reader == CLICK_TEXT && self.ours.open_click_text(&text, now_s).is_ok();
                followed || opened
            }
        }
    }

    /// Forges a token; returns how, and for which reader.
    fn forged(&self, dice: &mut SeededDice) -> (usize, usize, Vec<u8>) {
        let reader = below(dice, READERS);
        let own = &self.genuine[reader];
        let token = own[below(dice, GENUINE)].clone();
        let other = &own[below(dice, GENUINE)];
        if reader >= CLICK_TEXT {
            let way = below(dice, TEXT_WAYS.len());
            return (reader, WAYS.len() + way, text_forged(way, token, other, dice));
        }
        let way = below(dice, WAYS.len());
        let stranger = &self.genuine[(reader + 1 + below(dice, CLICK_TEXT - 1)) % CLICK_TEXT];
        let stranger = &stranger[below(dice, GENUINE)];
        let made = match way {
            3 => joined(&token, other, dice),
            4 => joined(&token, stranger, dice),
            5 => self.sealed(&self.foreign, reader, below(dice, GENUINE)),
            6 => stranger.clone(),
            _ => bytes_forged(way, token, dice),
        };
        (reader, way, made)
    }
}

fn below(dice: &mut SeededDice, end: usize) -> usize {
    (dice.roll() % end as u64) as usize
}

/// Returns the front of one token and the back of another.
fn joined(front: &[u8], back: &[u8], dice: &mut SeededDice) -> Vec<u8> {
    let at = below(dice, front.len().min(back.len()));
    [&front[..at], &back[at..]].concat()
}

fn bytes_forged(way: usize, mut token: Vec<u8>, dice: &mut SeededDice) -> Vec<u8> {
    let length = token.len();
    match way {
        0 => {
            for _ in 0..=below(dice, 8) {
                token[below(dice, length)] ^= 1 << below(dice, 8);
            }
        }
        1 => token.truncate(below(dice, length)),
        2 => (0..=below(dice, 40)).for_each(|_| token.push(dice.roll() as u8)),
        7 => token[0] = dice.roll() as u8,
        8 => token.swap(below(dice, length), below(dice, length)),
        _ => token[1..].iter_mut().for_each(|byte| *byte = dice.roll() as u8),
    }
    token
}

fn text_forged(way: usize, mut token: Vec<u8>, other: &[u8], dice: &mut SeededDice) -> Vec<u8> {
    let at = below(dice, token.len());
    let last = token.len() - 1;
    let sign = SIGNS[below(dice, SIGNS.len())].bytes();
    match way {
        0 => token[at] = LETTERS[below(dice, 64)],
        1 => token[last] = LETTERS[below(dice, 64)],
        2 => token[at] ^= 0x20,
        3 => return joined(&token, other, dice),
        4 => token.extend(sign),
        5 => token.iter_mut().for_each(|letter| match *letter {
            b'-' => *letter = b'+',
            b'_' => *letter = b'/',
            _ => {}
        }),
        6 => drop(token.splice(at..at + below(dice, 2), sign)),
        _ => token.truncate(at),
    }
    token
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_forged_token_opens() {
    let bench = Bench::new();
    for (reader, tokens) in bench.genuine.iter().enumerate() {
        assert!(tokens.iter().all(|token| bench.opens(reader, token)), "reader {reader}");
    }
    let (cases, first) =
        (number("TOKEN_CASES").unwrap_or(CASES), number("TOKEN_SEED").unwrap_or(0));
    let mut tried: BTreeMap<usize, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let mut dice = SeededDice::new(seed);
        let (reader, way, token) = bench.forged(&mut dice);
        // A change may change nothing.
        if bench.genuine[reader].contains(&token) {
            continue;
        }
        *tried.entry(way).or_default() += 1;
        assert!(
            !bench.opens(reader, &token),
            "reader {reader} took {token:02x?}; again by: TOKEN_SEED={seed} TOKEN_CASES=1 cargo test \
             --test behaviour forged"
        );
    }
    let all: u64 = tried.values().sum();
    println!("{all} forged tokens, 0 accepted");
    for (way, count) in &tried {
        println!("  {}: {count}", WAYS.iter().chain(&TEXT_WAYS).nth(*way).unwrap());
    }
    let ways = WAYS.len() + TEXT_WAYS.len();
    assert!(cases < CASES || (all > cases * 4 / 5 && tried.len() == ways), "{tried:?}");
}
