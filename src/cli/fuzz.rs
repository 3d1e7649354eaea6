//! Configurations, altered: none makes `munadi serve` panic. How they are altered: `node/fuzz.rs`.

use std::fs;

use crate::cli::config::Config;
use crate::node::fuzz::{CASES, fuzz};

/// Pieces that mean something in TOML, and values out of every bound.
const WORDS: [&[u8]; 18] = [
    b"[limits]\n",
    b"[[feeds]]\n",
    b"[[keys]]\n",
    b"[web]\n",
    b"[tls]\n",
    b"\nshed = false\n",
    b"\nevents_per_s = 0\n",
    b"\naddress_connections = 801\n",
    b"\nlisten = '0.0.0.0:1'\n",
    b"\ninsecure = true\n",
    b" = -1\n",
    b" = 99999999999999999999\n",
    b" = 1e999\n",
    b" = \"\\ud800\"\n",
    b"'''",
    b"\"\"\"",
    b"\xFF",
    b"{ a = { b = [[",
];

const LIMITS: &str = "listen = '127.0.0.1:7700'\napprove_ads = true\n[limits]\nshed = true\n\
    events_per_s = 5\nserving_per_s = 6\nreports_per_s = 7\naddress_connections = 8\n";

const FEEDS: &str = "[[feeds]]\nid = 1\nname = 'a'\nmin_gap = 2\nshow_by_s = 600\n[[feeds]]\nid = 2\n\
    name = 'b'\nfloor_cpm_micros = 5\nattention_keep = 60000\n";

#[test]
fn no_altered_configuration_makes_its_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("munadi.toml");
    let example = include_str!("../../munadi.example.toml");
    let seeds: Vec<_> = [example, LIMITS, FEEDS].map(|text| text.as_bytes().to_vec()).into();
    let (cases, taken) = fuzz("configuration", CASES / 4, &seeds, &WORDS, |bytes| {
        fs::write(&path, bytes).unwrap();
        let environment = [("MUNADI_LOG".to_owned(), "debug".to_owned())].into_iter();
        let read = Config::read(Some(&path), environment, &[("listen", None)]);
        read.is_ok_and(|config| config.check().is_ok())
    });
    assert!(cases < CASES / 4 || taken > cases / 1_000, "{taken} of {cases}");
}
