//! The readers of webhooks and links under bodies that nobody meant to send. `FUZZ_CASES` says how many (20,000
//! usually, of each form of a link), `FUZZ_SEED` from which on; a case that fails prints its own.

use std::panic::{RefUnwindSafe, catch_unwind};
use std::time::Duration;

use munadi::channels::inbound::{
    Form, find_in_source, parse_messenger, parse_twilio, parse_whatsapp,
};
use munadi::channels::{
    Channel, LinkParts, chat_link, find_click, find_code, is_chat_link, parse_link, prefilled_text,
    validate_address,
};
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::token::PrefillCode;
use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::bodies::{messenger_with, step, twilio_with, whatsapp_with};

/// Cases of a usual run.
const CASES: u64 = 20_000;

/// Pieces that mean something to a reader.
const WORDS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "null",
    "true",
    "1e999",
    "-1",
    "99999999999999999999",
    "\u{0}",
    "\u{fe0f}",
    "7ZK4M0Q9XA",
    "[7ZK4M0Q9XA]",
    "\"entry\":",
    "\"messages\":",
    "\"timestamp\":",
    "\"from\":",
    "\"referral\":",
    "\"text\":{\"body\":",
    "%",
    "%2",
    "%FF",
    "&",
    "=",
    "+",
    "https://wa.me/1?text=",
    "/c/",
];

const LINKS: [&str; 9] = [
    "https://wa.me/5215512345678?text=Hi%20%5B7ZK4M0Q9XA%5D",
    "https://m.me/shop?ref=AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "https://ig.me/m/shop?ref=AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "https://bcrw.apple.com/urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6?body=Hi%207ZK4M0Q9XA",
    "sms:+5215512345678?service_id=agent%40rbm.goog&body=Hi%20%5B7ZK4M0Q9XA%5D",
    "https://t.me/ShopBot?start=AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "https://line.me/R/oaMessage/%40012abcde/?Hi%20%5B7ZK4M0Q9XA%5D",
    "https://ads.example/c/AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "/start AV5aRfT4BsLvmN-pQ_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
];

/// Each form of an address, with its channel.
const ADDRESSES: [(Channel, &str); 8] = [
    (Channel::Whatsapp, "5215512345678"),
    (Channel::Messenger, "my.shop"),
    (Channel::InstagramDirect, "my_shop"),
    (Channel::AppleMessages, "urn:biz:22a3ccf1-a757-4a7b-a1a2-d7f5b9ab21a6"),
    (Channel::Rcs, "my_agent"),
    (Channel::Rcs, "5215512345678/my_agent"),
    (Channel::Telegram, "ShopBot"),
    (Channel::Line, "@012abcde"),
];

/// What a link may be spoiled by.
const SIGNS: &[u8] = b"%&?=/+[]@.:# \x00\xFF\xC3A0";

/// Returns how many cases to run, and the first.
fn asked() -> (u64, u64) {
    let told = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    (told("FUZZ_CASES").unwrap_or(CASES), told("FUZZ_SEED").unwrap_or(0))
}

/// What no reader may take for one input in a long run of an optimized build.
const SLOW: Duration = Duration::from_millis(100);

/// A run of cases, and how long the slowest took.
struct Run {
    clock: SystemClock,
    slowest: Duration,
    seed: u64,
}

impl Run {
    fn new() -> Self {
        Self { clock: SystemClock::default(), slowest: Duration::ZERO, seed: 0 }
    }

    /// Runs a case; one that panics says how to run it again.
    fn case<T>(&mut self, seed: u64, case: impl Fn() -> T + RefUnwindSafe) -> T {
        let timed = || {
            let began = self.clock.monotonic();
            let read = catch_unwind(&case).unwrap_or_else(|_| {
                panic!("again by: FUZZ_SEED={seed} FUZZ_CASES=1 cargo test --test web fuzz")
            });
            (read, self.clock.monotonic() - began)
        };
        let (read, mut took) = timed();
        // The machine may have paused: an input is slow that is slow each time.
        for _ in 0..2 {
            if took >= SLOW {
                took = took.min(timed().1);
            }
        }
        if took > self.slowest {
            (self.slowest, self.seed) = (took, seed);
        }
        read
    }

    fn check(&self) {
        let measured = std::env::var("FUZZ_CASES").is_ok() && !cfg!(debug_assertions);
        let Self { slowest, seed, .. } = self;
        assert!(!measured || *slowest < SLOW, "{slowest:?} for the input of FUZZ_SEED={seed}");
    }
}

#[test]
fn no_body_and_no_link_makes_a_reader_panic() {
    let (cases, first) = asked();
    let seeds = seeds();
    let (mut run, mut read) = (Run::new(), [0u64; 3]);
    for seed in first..first + cases {
        let mut dice = Xoshiro256PlusPlus::seed_from_u64(seed);
        let body = mutated(&seeds, &mut dice);
        let what = run.case(seed, || execute(&body));
        read.iter_mut().zip(what).for_each(|(all, one)| *all += u64::from(one));
    }
    println!(
        "{cases} cases; read as WhatsApp {}, Messenger {}, form {}; slowest {:?}",
        read[0], read[1], read[2], run.slowest
    );
    run.check();
    assert!(cases < CASES || read.iter().all(|count| *count > cases / 100), "{read:?}");
}

#[test]
fn a_link_with_some_bytes_changed_is_read_or_refused() {
    let (cases, first) = asked();
    let token = "A-_9".repeat(16);
    let parts = LinkParts {
        token: &token, code: "7ZK4M0Q9XA", text: "Olá [x] नमस्ते 👍🏽 %"
    };
    for (channel, address) in ADDRESSES {
        let link = chat_link(channel, address, &parts);
        assert_eq!(parse_link(channel, &link).unwrap().address, address);
        let (mut run, mut read) = (Run::new(), 0u64);
        for seed in first..first + cases {
            let spoiled = spoiled(&link, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            let text = String::from_utf8_lossy(&spoiled);
            read += u64::from(run.case(seed, || read_back(channel, &text)));
        }
        println!("{channel:?}: {cases} links, {read} read; slowest {:?}", run.slowest);
        run.check();
        assert!(cases < CASES || (cases / 100..cases).contains(&read), "{channel:?}: {read}");
    }
}

/// Lets every reader of links look at a text; tells whether it is one of the channel's, whose parts then are
/// what they should be.
fn read_back(channel: Channel, link: &str) -> bool {
    let _ = (find_click(channel, link), prefilled_text(channel, link), is_chat_link(link));
    let Some(parts) = parse_link(channel, link) else { return false };
    assert_eq!(validate_address(channel, &parts.address), Ok(()));
    assert!(parts.token.is_empty() || parts.token.len() == 64);
    let code = parts.code.parse::<PrefillCode>();
    assert!(parts.code.is_empty() || code.is_ok_and(|code| code.to_string() == parts.code));
    assert!(is_chat_link(link) || !link.is_ascii() || link.contains(['[', ']', '#', ' ', '\0']));
    true
}

fn spoiled(link: &str, dice: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut bytes = link.as_bytes().to_vec();
    for _ in 0..dice.random_range(1..=4) {
        let (at, sign) = (dice.random_range(0..bytes.len()), dice.random_range(0..SIGNS.len()));
        match dice.random_range(0..4) {
            0 => bytes.insert(at, SIGNS[sign]),
            1 if bytes.len() > 1 => drop(bytes.remove(at)),
            2 => bytes.truncate(at.max(1)),
            _ => bytes[at] = SIGNS[sign],
        }
    }
    bytes
}

/// Lets every reader look at some bytes; tells which could.
fn execute(body: &[u8]) -> [bool; 3] {
    let whatsapp = parse_whatsapp(body);
    let messenger = parse_messenger(body);
    let form = Form::decode(body);
    if let Some(form) = &form {
        let _ = (parse_twilio(form), form.has_twice(), form.sorted());
    }
    // A reader that takes a body gives at least one answer to it.
    assert!(whatsapp.as_ref().is_ok_and(|told| !told.is_empty()) || whatsapp.is_err());
    let text = String::from_utf8_lossy(body);
    let _ = find_code(&text);
    for channel in Channel::ALL {
        let _ = (find_click(channel, &text), prefilled_text(channel, &text));
        let _ = (find_in_source(channel, &text), validate_address(channel, &text));
    }
    [whatsapp.is_ok(), messenger.is_ok(), form.is_some()]
}

fn seeds() -> Vec<Vec<u8>> {
    let form = |fields: Vec<(&'static str, String)>| {
        let mut writer = form_urlencoded::Serializer::new(String::new());
        writer.extend_pairs(fields);
        writer.finish().into_bytes()
    };
    let pricing = r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular",
        "category":"utility"},"conversation":{"origin":{"type":"service"}}"#;
    let mut seeds: Vec<Vec<u8>> = [whatsapp_with("[7ZK4M0Q9XA]"), messenger_with("word")]
        .concat()
        .into_iter()
        .map(|(_, body)| body.into_bytes())
        .collect();
    seeds.push(step("wamid.1", "delivered", pricing).into_bytes());
    seeds.push(form(twilio_with("word [7ZK4M0Q9XA]")));
    seeds.extend(LINKS.map(|link| link.as_bytes().to_vec()));
    seeds
}

fn mutated(seeds: &[Vec<u8>], dice: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut body = seeds[dice.random_range(0..seeds.len())].clone();
    for _ in 0..dice.random_range(1..=4) {
        let at = dice.random_range(0..=body.len());
        let end = (at + dice.random_range(0..32)).min(body.len());
        match dice.random_range(0..8) {
            0 if at < body.len() => body[at] ^= 1 << dice.random_range(0..8),
            1 if at < body.len() => body[at] = dice.next_u32() as u8,
            2 => drop(body.drain(at..end)),
            3 => {
                let again = body[at..end].to_vec();
                body.splice(at..at, again);
            }
            4 => {
                let word = WORDS[dice.random_range(0..WORDS.len())];
                body.splice(at..at, word.bytes());
            }
            5 => {
                let word = WORDS[dice.random_range(0..WORDS.len())];
                body.splice(at..end, word.bytes());
            }
            6 => {
                let other = &seeds[dice.random_range(0..seeds.len())];
                let from = dice.random_range(0..=other.len());
                body.truncate(at);
                body.extend_from_slice(&other[from..]);
            }
            _ => body.truncate(at),
        }
    }
    body
}
