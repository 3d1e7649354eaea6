//! A server in a process of its own: how it is started, found and weighed.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use crate::Failure;

/// `USER_HZ`, the unit of the times in `/proc/PID/stat`: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Where a server listens and the feed's key to it. Written as `ADDRESS=KEY`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.address, self.key)
    }
}

impl FromStr for Target {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (address, key) = text.trim().split_once('=').ok_or("not ADDRESS=KEY")?;
        Ok(Self { address: address.parse()?, key: key.to_owned() })
    }
}

/// Reads the target that was given on the command line.
pub(crate) fn told(option: &Option<String>) -> Result<Target, Failure> {
    option.as_deref().ok_or("no target was given")?.parse()
}

/// Tells the parent where this server listens and one thing more, then serves until the parent lets go.
pub(crate) fn answer(target: &Target, more: &str) -> Result<(), Failure> {
    println!("{target}\n{more}");
    // The parent's end of the pipe closes with the parent, however it ends: no server is left behind.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A running server.
pub(crate) struct Child {
    process: std::process::Child,
    out: BufReader<ChildStdout>,
    pub(crate) target: Target,
}

impl Child {
    /// Runs this program again as a server and waits until it tells where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(process.stdout.take().ok_or("the server has no output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let target = line.parse().map_err(|_| format!("the server did not start: {line:?}"))?;
        Ok(Self { process, out, target })
    }

    /// Reads the next line that the server tells.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    /// Returns the CPU time that the server has used since it started.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        cpu_of(&self.process.id().to_string())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing is to be done about a server that ends badly after its last round.
        let _ = self.process.wait();
    }
}

/// Returns the CPU time that this process has used since it started.
pub(crate) fn own_cpu() -> Result<Duration, Failure> {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in brackets and may hold anything; utime and
    // stime are the 14th and 15th of all.
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable stat")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let user = times.next().ok_or("stat without utime")??;
    let system = times.next().ok_or("stat without stime")??;
    Ok(Duration::from_millis((user + system) * 1_000 / TICKS_PER_SECOND))
}
