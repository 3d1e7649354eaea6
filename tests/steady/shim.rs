//! Libraries that a C compiler makes on the spot, for the process of the binary alone.
#![allow(clippy::print_stdout, reason = "a run says what it could not try")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a library. `None`, with a printed notice: there is no compiler, or the binary asks another library.
pub(crate) fn compiled(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let fits = cfg!(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"));
    let (file, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    fs::write(&file, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&file);
    let status = compiler.status();
    let is_there = !matches!(&status, Err(error) if error.kind() == ErrorKind::NotFound);
    if !fits || !is_there {
        println!("NOTICE: no C compiler, or no GNU libc: nothing was tried with {name}");
        return None;
    }
    assert!(status.unwrap().success(), "{name} compiles");
    Some(library)
}
