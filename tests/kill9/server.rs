//! The `munadi` binary as a process: started on a folder, killed, stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use munadi::guard::secret_blake3;
use tokio::runtime::{Builder, Runtime};

use crate::feed::{self, Ledger};

/// The secret of every key.
pub(crate) const SECRET: &str = "planted-secret";

/// How long a start may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node in a process of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
    runtime: Runtime,
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
                // `serving address=127.0.0.1:40123`
                let plain: String = without_colours(&line);
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
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { child, addr: format!("http://{addr}"), runtime }
    }

    /// Lets feeds report for so long, kills the process, and returns how many events it acknowledged.
    pub(crate) fn live(
        mut self,
        life: Duration,
        clients: u64,
        round: u64,
        ledger: &mut Ledger,
    ) -> u64 {
        let tasks: Vec<_> = (0..clients)
            .map(|client| {
                let seed = round * clients + client;
                self.runtime.spawn(feed::report(self.addr.clone(), seed))
            })
            .collect();
        // The node lives for as long as the dice said, while its feeds report.
        thread::sleep(life);
        // SIGKILL: the process gets no chance to finish anything.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let reported = tasks.into_iter().map(|task| self.runtime.block_on(task).unwrap());
        reported.map(|reported| ledger.note(reported)).sum()
    }

    /// Makes calls of the node.
    pub(crate) fn within(self, calls: impl AsyncFnOnce(&Self)) -> Self {
        self.runtime.block_on(calls(&self));
        self
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg("-TERM").arg(pid).status().unwrap();
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

fn write_config(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    let key = |id: &str, role: &str, tenant: u32| {
        let hash = secret_blake3(SECRET);
        format!(
            "[[keys]]\nid = \"{id}\"\nrole = \"{role}\"\ntenant = {tenant}\nsecret_blake3 = \"{hash}\"\n"
        )
    };
    let text = [
        format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\nlog = \"info\"\napprove_ads = true\n"
        ),
        "[[feeds]]\nid = 1\nname = \"status\"\nfloor_cpm_micros = 1000000\n".to_owned(),
        "advertiser_distance_s = 0\n".to_owned(),
        key("advertiser", "advertiser", 4),
        key("feed", "feed", 1),
        // What is refused for load is another test's affair.
        "[limits]\nshed = false\nserving_per_s = 0\nevents_per_s = 0\n".to_owned(),
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
