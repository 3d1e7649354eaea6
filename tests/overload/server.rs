//! The `munadi` binary as a process, and a tenth of a core for it.

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
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
}

impl Server {
    /// Starts a node on the folder's `data`, on a free port.
    pub(crate) fn start(folder: &Path) -> Self {
        let config = write_config(folder);
        let mut command = Command::new(env!("CARGO_BIN_EXE_munadi"));
        command.arg("serve").arg("--config").arg(&config).current_dir(folder);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut lines = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
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

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the process's memory, kilobytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("1");
        line.trim().trim_end_matches(" kB").parse().unwrap_or(1)
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success(), "a clean stop");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tenth of a core for a process, until it is dropped: by a control group, or where there is none to write to,
/// by stopping it for nine tenths of the time.
pub(crate) enum Throttle {
    Group { root: PathBuf, group: PathBuf, pid: u32 },
    Stopping { script: Child, pid: u32 },
}

impl Throttle {
    pub(crate) fn on(pid: u32) -> Self {
        // A millisecond of each ten: a call waits for its share, not for a tenth of a second.
        let first: &[_] = &[("cpu.cfs_period_us", "10000"), ("cpu.cfs_quota_us", "1000")];
        let unified: &[_] = &[("cpu.max", "1000 10000")];
        for (root, lines) in [("/sys/fs/cgroup/cpu", first), ("/sys/fs/cgroup", unified)] {
            let root = PathBuf::from(root);
            let group = root.join(format!("munadi-overload-{pid}"));
            let write = |name: &str, text: &str| fs::write(group.join(name), text);
            let set = fs::create_dir(&group)
                .and_then(|()| lines.iter().try_for_each(|(name, text)| write(name, text)))
                .and_then(|()| write("cgroup.procs", &pid.to_string()));
            if set.is_ok() {
                return Self::Group { root, group, pid };
            }
            let _ = fs::remove_dir(&group);
        }
        let script = format!(
            "while kill -CONT {pid} 2>/dev/null; do sleep 0.002; kill -STOP {pid}; sleep 0.018; done"
        );
        let script = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
        Self::Stopping { script, pid }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        match self {
            Self::Group { root, group, pid } => {
                // A group that holds a process can't be taken away.
                let _ = fs::write(root.join("cgroup.procs"), pid.to_string());
                let _ = fs::remove_dir(group);
            }
            Self::Stopping { script, pid } => {
                let _ = script.kill();
                let _ = script.wait();
                let _ = Command::new("kill").arg("-CONT").arg(pid.to_string()).status();
            }
        }
    }
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
        // One key is a whole feed here, and no rate is to be what holds it back.
        "[limits]\nserving_per_s = 0\nevents_per_s = 0\nreports_per_s = 0\n".to_owned(),
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
