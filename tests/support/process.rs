//! The `munadi` binary as a process of its own, for tests that kill it, stop it, load it or look at it from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use munadi::guard::secret_blake3;
use munadi::node::clock::{Clock, SystemClock};

/// The secret of every key.
pub(crate) const SECRET: &str = "planted-secret";

/// How long a start or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A node in a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Where it serves, as a URL.
    pub(crate) addr: String,
    lines: Receiver<String>,
    /// What it has logged, up to where it serves.
    pub(crate) logged: Vec<String>,
}

impl Process {
    /// Starts a node on the folder's `data`, on a free port. `top`: further lines of its configuration; `limits`:
    /// those of its table `[limits]`, and tables behind it.
    pub(crate) fn start(folder: &Path, top: &str, limits: &str) -> Self {
        Self::start_with(folder, top, limits, &[])
    }

    /// Starts a node with these variables in its environment, and no others.
    pub(crate) fn start_with(
        folder: &Path,
        top: &str,
        limits: &str,
        environment: &[(&str, &Path)],
    ) -> Self {
        let config = write_config(folder, top, limits);
        let mut command = Command::new(env!("CARGO_BIN_EXE_munadi"));
        command.arg("serve").arg("--config").arg(&config).current_dir(folder);
        command.env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(without_colours(&line));
            }
        });
        let mut logged: Vec<String> = Vec::new();
        let addr = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("the node did not start:\n{}", logged.join("\n"));
            };
            // `serving address=127.0.0.1:40123`
            let serving = line.split_once("serving address=");
            let addr = serving.and_then(|(_, told)| told.split_whitespace().next());
            let addr = addr.map(|addr| format!("http://{addr}"));
            logged.push(line);
            if let Some(addr) = addr {
                break addr;
            }
        };
        Self { child, addr, lines, logged }
    }

    /// Tells whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks the process to stop, and does not wait.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg("-TERM").arg(pid).status().unwrap();
        assert!(asked.success());
    }

    /// Waits until the process that was asked to stop has ended, well and without a panic.
    pub(crate) fn ended(mut self) {
        let clock = SystemClock::default();
        while self.runs() {
            assert!(clock.monotonic() < PATIENCE, "the node does not stop");
            thread::sleep(LOOK_EVERY);
        }
        let status = self.child.wait().unwrap();
        // The process holds the other end no more, so the log has an end.
        self.logged.extend(self.lines.iter());
        let log = self.logged.join("\n");
        assert!(status.success(), "no clean stop: {status}\n{log}");
        assert!(!log.contains("panicked"), "the node panicked:\n{log}");
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.terminate();
        self.ended();
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
        key("chat", "chat", 0),
        key("operator", "operator", 0),
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
