//! Keeps the house in order: floors, pure rooms, lengths, first lines. The rules are in src/README.md.

mod text;

use std::fmt;
use std::fs;
use std::path::Path;

use text::{code_only, is_ident, line_of, names_under, words};

/// Most lines of a Rust file, its tests included.
const FILE_LINES_MAX: usize = 500;

/// Most lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Most exceptions the house may have. Mend one before adding another.
const EXCEPTIONS_MAX: usize = 6;

/// Files that may break one rule, each with the reason.
const EXCEPTIONS: &[(Rule, &str, &str)] = &[(
    Rule::PureRooms,
    "src/channels/qr.rs",
    "its test reads a picture back, and the decoder asks for a reader; there is only memory behind it",
)];

/// The rooms, by floor. A room imports from lower floors only.
const FLOORS: &[&[&str]] = &[
    &["types"],
    &["state", "journal", "tokens", "channels"],
    &["decide", "report"],
    &["node"],
    &["guard", "listen"],
    &["rpc", "web"],
    &["town"],
    &["cli"],
];

/// Rooms without clock, dice, I/O, threads or locks: a replay of them is exact.
const PURE_ROOMS: &[&str] = &["types", "state", "tokens", "channels", "decide", "report"];

/// Words that no pure room has.
const IMPURE_WORDS: &str = "Instant SystemTime tokio async Mutex RwLock Condvar parking_lot thread_local \
    OsRng SysRng ThreadRng thread_rng getrandom File TcpStream UdpSocket";

/// Modules of the standard library that no pure room uses.
const IMPURE_STD: &[&str] = &["env", "fs", "io", "net", "process", "thread"];

/// The only pure files with atomics: what serving reads while the writer writes.
const BOARD: [&str; 2] = ["src/decide/board.rs", "src/decide/board/line.rs"];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    Floors,
    PureRooms,
    NoFloats,
    FileLength,
    FunctionLength,
    FirstLine,
    BannedWords,
}

impl Rule {
    const ALL: [Self; 7] = [
        Self::Floors,
        Self::PureRooms,
        Self::NoFloats,
        Self::FileLength,
        Self::FunctionLength,
        Self::FirstLine,
        Self::BannedWords,
    ];
}

struct Finding {
    rule: Rule,
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}: {}", self.path, self.line, self.rule, self.what)
    }
}

#[test]
fn the_house_is_tidy() {
    let findings = house();
    let excused = |finding: &&Finding| {
        !EXCEPTIONS.iter().any(|(rule, path, _)| *rule == finding.rule && *path == finding.path)
    };
    let left: Vec<_> = findings.iter().filter(excused).map(Finding::to_string).collect();
    assert!(left.is_empty(), "\n{}\n", left.join("\n"));
}

#[test]
fn exceptions_are_few_have_reasons_and_are_still_needed() {
    let findings = house();
    assert!(EXCEPTIONS.len() <= EXCEPTIONS_MAX, "mend an exception before adding another");
    for (rule, path, reason) in EXCEPTIONS {
        let needed = findings.iter().any(|found| found.rule == *rule && found.path == *path);
        assert!(needed, "{path} keeps {rule:?} now: strike its exception");
        assert!(reason.len() > 20, "{path}: say why it may break {rule:?}");
    }
}

#[test]
fn each_rule_catches_its_sample() {
    use Rule::*;
    let long_file = "//! x\n".repeat(FILE_LINES_MAX + 1);
    let long_function = format!("//! x\nfn f() {{\n{}}}\n", "();\n".repeat(FUNCTION_LINES_MAX - 1));
    let samples = [
        (Floors, "src/state/a.rs", "use crate::node::Live;"),
        (Floors, "src/state/a.rs", "use crate::tokens::Kind;"),
        (Floors, "src/state/a.rs", "use crate::{\n    types::ids, decide};"),
        (Floors, "src/state/mod.rs", "use super::journal::Log;"),
        (
            Floors,
            "src/types/a.rs",
            r###"/* a /* b */ */ f("\"", r#"""#, '"', '\'') + crate::node::x"###,
        ),
        (Floors, "src/types/a.rs", "fn f() { crate::state::f() }"),
        (Floors, "src/rpc/a.rs", "mod tests { use crate::web; }"),
        (Floors, "src/attic/a.rs", ""),
        (PureRooms, "src/decide/a.rs", "fn f(at: std::time::Instant) {}"),
        (PureRooms, "src/decide/a.rs", "use std::{collections::BTreeMap, fs};"),
        (PureRooms, "src/types/a.rs", "use std::io::Read;"),
        (PureRooms, "src/tokens/a.rs", "fn f() { rand::rng(); }"),
        (PureRooms, "src/report/a.rs", "use std::sync::Mutex;"),
        (PureRooms, "src/channels/a.rs", "async fn f() {}"),
        (PureRooms, "src/decide/a.rs", "static A: AtomicU64 = AtomicU64::new(0);"),
        (NoFloats, "src/state/a.rs", "fn f(a: f64) {}"),
        (NoFloats, "src/state/a.rs", "const A: u8 = (2.5 * x) as u8;"),
        (NoFloats, "src/state/a.rs", "const A: u8 = 1e3 as u8;"),
        (FileLength, "tests/a.rs", &long_file),
        (FunctionLength, "benches/a.rs", &long_function),
        (FirstLine, "src/node/a.rs", "use std::fmt;"),
        (FirstLine, "proto/a.proto", "syntax = \"proto3\";"),
        (FirstLine, ".ci/run", "set -e"),
        (BannedWords, "src/node/a.rs", "use super::super::Live;"),
        (BannedWords, "tests/a.rs", "#[test]\n#[ignore]\nfn f() {}"),
        (BannedWords, "src/node/a.rs", "fn f() { todo!() }"),
        (BannedWords, "src/node/a.rs", "fn f() { unimplemented!() }"),
    ];
    for (rule, path, text) in samples {
        let text = if rule == FirstLine { text.to_owned() } else { format!("//! x\n{text}") };
        assert!(inspect(path, &text).iter().any(|found| found.rule == rule), "{path}: {text}");
    }
    let has_sample = |rule: &Rule| samples.iter().any(|(sample, ..)| sample == rule);
    assert!(Rule::ALL.iter().all(has_sample));
}

#[test]
fn what_is_allowed_is_not_found() {
    let text = r###"//! Says tokio and todo!() in a comment.
use crate::state::{self, purses};
use crate::types::{ids, money};
/* use crate::node; /* Mutex */ f64 */
pub(crate) fn f<'a>(a: &'a (u8, (u8, u8)), instant: u8) -> &'a str {
    let (_, _, _) = ('"', '\'','"', b'\\'); // use crate::node;
    let _ = "use crate::node; \" todo!()";
    let _ = (r#"std::fs "f64"#, br"tokio", a.1.0, 0..5, 1.max(2), 0x1e5, 1_000);
    let r#type: fn(u8) -> u8 = g;
    atomics::InstantOf(mutex)
}
"###;
    for path in ["src/state/a.rs", "src/state/mod.rs"] {
        let found: Vec<_> = inspect(path, text).iter().map(Finding::to_string).collect();
        assert_eq!(found, Vec::<String>::new());
    }
    for path in BOARD {
        assert!(inspect(path, "//! x\nuse std::sync::atomic::AtomicU64;").is_empty());
    }
    let longest = format!("//! x\nfn f() {{\n{}}}\n", "();\n".repeat(FUNCTION_LINES_MAX - 2));
    assert!(inspect("src/node/a.rs", &longest).is_empty());
}

fn house() -> Vec<Finding> {
    // Tests run in the package's folder; a path kept at compile time could be another checkout's.
    let root = Path::new(".");
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "proto", ".ci"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the walk finds the crate");
    files.iter().flat_map(|(path, text)| inspect(path, text)).collect()
}

/// Adds each Rust, protobuf and shell file below `folder`, named as seen from `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            collect(root, &path, files);
        } else if matches!(extension, Some("rs" | "proto" | "sh")) || path.ends_with(".ci/run") {
            let name = path.strip_prefix(root).expect("it lies below the root");
            let name = name.to_string_lossy().replace('\\', "/");
            files.push((name, fs::read_to_string(&path).expect("a source file is UTF-8")));
        }
    }
}

fn inspect(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |rule, line, what: String| {
        found.push(Finding { rule, path: path.to_owned(), line, what });
    };
    check_first_line(path, text, &mut find);
    if path.ends_with(".rs") {
        let code = code_only(text);
        check_lengths(text, &code, &mut find);
        check_banned_words(&code, &mut find);
        if let Some(room) = room_of(path) {
            check_floors(path, room, &code, &mut find);
            if PURE_ROOMS.contains(&room) {
                check_purity(path, &code, &mut find);
            }
            if room == "state" {
                check_floats(&code, &mut find);
            }
        }
    }
    found
}

fn check_first_line(path: &str, text: &str, find: &mut impl FnMut(Rule, usize, String)) {
    let first = text.lines().next().unwrap_or_default();
    let told = if path.ends_with(".rs") {
        // The root's text is src/README.md.
        first.starts_with("//! ") || first.starts_with("#![doc = include_str!(")
    } else if path.ends_with(".proto") {
        first.starts_with("// ")
    } else {
        first.starts_with('#')
    };
    if !told {
        find(Rule::FirstLine, 1, "the first line says what lives here".to_owned());
    }
}

fn check_lengths(text: &str, code: &str, find: &mut impl FnMut(Rule, usize, String)) {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        find(Rule::FileLength, lines, format!("{lines} lines, at most {FILE_LINES_MAX}"));
    }
    for at in words(code, "fn") {
        let rest = code[at + 2..].trim_start();
        // A function pointer's type has no name.
        if rest.starts_with('(') {
            continue;
        }
        let length = function_lines(&code[at..]);
        if length > FUNCTION_LINES_MAX {
            let name = rest.split(|c: char| !is_ident(c)).next().unwrap_or_default();
            let what = format!("`{name}` has {length} lines, at most {FUNCTION_LINES_MAX}");
            find(Rule::FunctionLength, line_of(code, at), what);
        }
    }
}

/// Returns how many lines the function has that `code` begins with; 1 for one without a body.
fn function_lines(code: &str) -> usize {
    let (mut round, mut curly) = (0, 0);
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => curly -= 1,
            ';' if round == 0 && curly == 0 => return 1,
            _ => continue,
        }
        if character == '}' && curly == 0 && round == 0 {
            return line_of(code, at);
        }
    }
    1
}

fn check_banned_words(code: &str, find: &mut impl FnMut(Rule, usize, String)) {
    for banned in ["super::super", "#[ignore", "todo!", "unimplemented!"] {
        for at in words(code, banned) {
            find(Rule::BannedWords, line_of(code, at), format!("`{banned}`"));
        }
    }
}

fn check_floors(path: &str, room: &str, code: &str, find: &mut impl FnMut(Rule, usize, String)) {
    let Some(floor) = floor_of(room) else {
        find(Rule::Floors, 1, format!("the room `{room}` is on no floor: give it one here"));
        return;
    };
    let mut imports = names_under(code, "crate");
    if path.ends_with("/mod.rs") {
        // From a room's first file, `super` is the crate.
        let above = names_under(code, "super").into_iter();
        imports.extend(above.filter(|(_, name)| floor_of(name).is_some()));
    }
    for (at, name) in imports {
        if floor_of(&name).is_none_or(|other| other >= floor) && name != room {
            let what = format!("`{room}` may import from lower floors only, not `{name}`");
            find(Rule::Floors, line_of(code, at), what);
        }
    }
}

fn check_purity(path: &str, code: &str, find: &mut impl FnMut(Rule, usize, String)) {
    let named = IMPURE_WORDS.split(' ').filter(|word| !word.is_empty());
    let named = named.flat_map(|word| words(code, word).map(move |at| (at, word)));
    for (at, word) in named {
        find(Rule::PureRooms, line_of(code, at), format!("`{word}` in a pure room"));
    }
    for (at, name) in names_under(code, "std") {
        if IMPURE_STD.contains(&name.as_str()) {
            find(Rule::PureRooms, line_of(code, at), format!("`std::{name}` in a pure room"));
        }
    }
    for (at, name) in names_under(code, "rand") {
        if matches!(name.as_str(), "rng" | "random" | "rngs") {
            find(Rule::PureRooms, line_of(code, at), format!("`rand::{name}`: dice are arguments"));
        }
    }
    for (at, _) in code.match_indices("Atomic").filter(|_| !BOARD.contains(&path)) {
        if !code[..at].ends_with(is_ident) {
            find(Rule::PureRooms, line_of(code, at), format!("an atomic outside {}", BOARD[0]));
        }
    }
}

fn check_floats(code: &str, find: &mut impl FnMut(Rule, usize, String)) {
    let mut found: Vec<usize> = words(code, "f32").chain(words(code, "f64")).collect();
    let mut last = ' ';
    for (at, character) in code.char_indices() {
        // A number, not the end of a name and not a field of a tuple.
        if character.is_ascii_digit() && !is_ident(last) && last != '.' {
            let number = code[at..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
            let after = number.strip_prefix('.').is_some_and(|rest| !rest.starts_with(['.', '_']))
                && !number[1..].starts_with(|c: char| c.is_alphabetic());
            let suffix = ["f32", "f64", "e", "E"].iter().any(|suffix| number.starts_with(suffix));
            if after || suffix {
                found.push(at);
            }
        }
        last = character;
    }
    for at in found {
        find(Rule::NoFloats, line_of(code, at), "a float in the state".to_owned());
    }
}

fn room_of(path: &str) -> Option<&str> {
    let room = path.strip_prefix("src/")?.split('/').next()?;
    // The roots stand above every floor.
    let room = room.strip_suffix(".rs").unwrap_or(room);
    (!matches!(room, "lib" | "main")).then_some(room)
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}
