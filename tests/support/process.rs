//! The `munadi` binary as a process of its own, for tests that kill it, stop it or load it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use munadi::guard::secret_blake3;

/// The secret of every key.
pub(crate) const SECRET: &str = "planted-secret";

/// How long a start may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where it serves, as a URL.
    pub(crate) addr: String,
}

impl Process {
    /// Starts a node on the folder's `data`, on a free port. `top`: further lines
    /// of its configuration; `limits`: those of its table `[limits]`.
    pub(crate) fn start(folder: &Path, top: &str, limits: &str) -> Self {
        let config = write_config(folder, top, limits);
        let mut command = Command::new(env!("CARGO_BIN_EXE_munadi"));
        command.arg("serve").arg("--config").arg(&config).current_dir(folder);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut lines = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
                // `serving address=127.0.0.1:40123`
                let plain = without_colours(&line);
                if let Some((_, addr)) = plain.split_once("serving address=") {
                    let addr = addr.split_whitespace().next().unwrap_or_default();
                    let _ = sender.send(Ok(addr.to_owned()));
                }
                lines.push(plain);
            }
            let _ = sender.send(Err(lines.join("\n")));
        });
        let told = receiver.recv_timeout(PATIENCE).expect("the node starts in time");
        let addr = told.unwrap_or_else(|log| panic!("the node did not start:\n{log}"));
        Self { child, addr: format!("http://{addr}") }
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let asked =
            Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success(), "a clean stop");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that fails leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(folder: &Path, top: &str, limits: &str) -> PathBuf {
    let data = folder.join("data");
    let key = |id: &str, role: &str, tenant: u32| {
        let hash = secret_blake3(SECRET);
        format!(
            "[[keys]]\nid = \"{id}\"\nrole = \"{role}\"\ntenant = {tenant}\nsecret_blake3 = \"{hash}\"\n"
        )
    };
    let text = [
        format!("listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\nlog = \"info\"\n"),
        format!("approve_ads = true\n{top}"),
        "[[feeds]]\nid = 1\nname = \"status\"\nfloor_cpm_micros = 1000000\n".to_owned(),
        "advertiser_distance_s = 0\n".to_owned(),
        key("advertiser", "advertiser", 4),
        key("feed", "feed", 1),
        // One key is a whole feed here, and no rate is to be what holds it back.
        format!("[limits]\nserving_per_s = 0\nevents_per_s = 0\nreports_per_s = 0\n{limits}"),
    ];
    let path = folder.join("munadi.toml");
    fs::write(&path, text.concat()).unwrap();
    path
}

/// Drops terminal colours: an escape, then all up to an `m`.
fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(|letter| *letter == 'm');
        } else {
            plain.push(letter);
        }
    }
    plain
}
