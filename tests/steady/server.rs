//! The `munadi` binary with both doors, as seen from outside.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::process::Process;

/// What the platform of the webhooks signs with.
pub(crate) const APP_SECRET: &str = "planted-app-secret";

/// A node in a process of its own.
pub(crate) struct Server {
    process: Process,
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
    /// Starts a node on the folder's `data`, on free ports.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::of(Process::start(folder, TOP, &limits_and_web()))
    }

    /// Starts a node with these variables in its environment.
    pub(crate) fn start_with(folder: &Path, environment: &[(&str, &Path)]) -> Self {
        Self::of(Process::start_with(folder, TOP, &limits_and_web(), environment))
    }

    fn of(process: Process) -> Self {
        let told = process.logged.last().and_then(|line| addresses(line));
        let (addr, web) = told.expect("it says where it serves");
        Self { process, addr, web }
    }

    /// Returns where calls go.
    pub(crate) fn url(&self) -> &str {
        &self.process.addr
    }

    /// Returns what the process holds now.
    pub(crate) fn held(&self) -> Held {
        let folder = PathBuf::from(format!("/proc/{}", self.process.child.id()));
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
        self.process.runs()
    }

    /// Asks the process to stop, and does not wait.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until the process that was asked to stop has ended, well and without a panic.
    pub(crate) fn ended(self) {
        self.process.ended();
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.process.stop();
    }
}

/// Returns the addresses of both doors, from `serving address=127.0.0.1:40123 web=Some(127.0.0.1:40124)`.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, told) = line.split_once("serving address=")?;
    let (addr, web) = told.split_once(" web=Some(")?;
    Some((addr.parse().unwrap(), web.split_once(')')?.0.parse().unwrap()))
}

const TOP: &str = "cores = 1\n";

/// Returns the rest of the configuration: what is refused for load is another test's affair.
fn limits_and_web() -> String {
    let lines = [
        "shed = false",
        "[web]",
        "listen = \"127.0.0.1:0\"",
        "public_url = \"https://ads.example\"",
        "[[web.apps]]",
        "name = \"all\"",
        "kind = \"whatsapp\"",
        "tenant = 0",
        "verify_token = \"planted-verify-token\"",
    ];
    format!("{}\napp_secret = \"{APP_SECRET}\"\n", lines.join("\n"))
}
