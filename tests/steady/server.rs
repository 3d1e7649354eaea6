//! The `munadi` binary as a process: started on a folder, looked at from outside, stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use munadi::guard::secret_blake3;
use munadi::node::clock::{Clock, SystemClock};

/// The secret of every key.
pub(crate) const SECRET: &str = "planted-secret";

/// What the platform of the webhooks signs with.
pub(crate) const APP_SECRET: &str = "planted-app-secret";

/// How long a start or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A node in a process of its own.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    logged: Vec<String>,
    pub(crate) addr: SocketAddr,
    /// Where webhooks go.
    pub(crate) web: SocketAddr,
}

/// What the process holds at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// Its own share of that, bytes: pages that others map too count in parts.
    pub(crate) own: u64,
    /// Open files, sockets among them.
    pub(crate) files: usize,
}

impl Server {
    /// Starts a node on the folder's `data`, on a free port.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts a node with these variables in its environment.
    pub(crate) fn start_with(folder: &Path, environment: &[(&str, &Path)]) -> Self {
        let config = write_config(folder);
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
        let mut logged = Vec::new();
        let (addr, web) = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("the node did not start:\n{}", logged.join("\n"));
            };
            let told = addresses(&line);
            logged.push(line);
            if let Some(addresses) = told {
                break addresses;
            }
        };
        Self { child, lines, logged, addr, web }
    }

    /// Returns where calls go.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns what the process holds now.
    pub(crate) fn held(&self) -> Held {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let kilobytes = |file: &str, name: &str| -> u64 {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
        };
        Held {
            resident: 1_024 * kilobytes("status", "VmRSS:"),
            own: 1_024 * kilobytes("smaps_rollup", "Pss:"),
            files: fs::read_dir(folder.join("fd")).map_or(0, Iterator::count),
        }
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

    /// Waits until the process that was asked to stop has ended, well and without a panic. Returns how long that took.
    pub(crate) fn ended(mut self) -> Duration {
        let clock = SystemClock::default();
        while self.runs() {
            assert!(clock.monotonic() < PATIENCE, "the node does not stop");
            thread::sleep(LOOK_EVERY);
        }
        let took = clock.monotonic();
        let status = self.child.wait().unwrap();
        // The process holds the other end no more, so the log has an end.
        self.logged.extend(self.lines.iter());
        let log = self.logged.join("\n");
        assert!(status.success(), "no clean stop: {status}\n{log}");
        assert!(!log.contains("panicked"), "the node panicked:\n{log}");
        took
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(self) -> Duration {
        self.terminate();
        self.ended()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the addresses of both doors, from `serving address=127.0.0.1:40123 web=Some(127.0.0.1:40124)`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, told) = line.split_once("serving address=")?;
    let (addr, web) = told.split_once(" web=Some(")?;
    Some((addr.parse().unwrap(), web.split_once(')')?.0.parse().unwrap()))
}

fn write_config(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let key = |id: &str, role: &str, tenant: u32| {
        let hash = secret_blake3(SECRET);
        format!(
            "[[keys]]\nid = \"{id}\"\nrole = \"{role}\"\ntenant = {tenant}\nsecret_blake3 = \"{hash}\"\n"
        )
    };
    let text = [
        format!("listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\ncores = 1\napprove_ads = true\n"),
        "[[feeds]]\nid = 1\nname = \"status\"\nfloor_cpm_micros = 1000000\n".to_owned(),
        "advertiser_distance_s = 0\n".to_owned(),
        key("advertiser", "advertiser", 4),
        key("feed", "feed", 1),
        key("chat", "chat", 0),
        key("operator", "operator", 0),
        // One key is a whole feed here, and what is refused for load is another test's affair.
        "[limits]\nshed = false\nserving_per_s = 0\nevents_per_s = 0\nreports_per_s = 0\n"
            .to_owned(),
        "[web]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://ads.example\"\n".to_owned(),
        "[[web.apps]]\nname = \"all\"\nkind = \"whatsapp\"\ntenant = 0\n".to_owned(),
        format!("verify_token = \"planted-verify-token\"\napp_secret = \"{APP_SECRET}\"\n"),
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
