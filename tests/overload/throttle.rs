//! A tenth of a core for a process, and how much memory it has.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

/// Returns the memory that a process holds now, kilobytes.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("1");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(1)
}

/// A tenth of a core for a process, until it is dropped: by a control group, or where there is none to write to,
/// by stopping it for nine tenths of the time.
pub(crate) enum Throttle {
    Group { root: PathBuf, group: PathBuf, pid: u32 },
    Stopping { script: Child, pid: u32 },
}

impl Throttle {
    /// Returns by what the process is held back.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Group { .. } => "control group",
            Self::Stopping { .. } => "stopped for nine tenths of the time",
        }
    }

    pub(crate) fn on(pid: u32) -> Self {
        // A millisecond of each ten: a call waits for its share, not for a tenth of a second.
        let first: &[_] = &[("cpu.cfs_period_us", "10000"), ("cpu.cfs_quota_us", "1000")];
        let unified: &[_] = &[("cpu.max", "1000 10000")];
        for (root, lines) in [("/sys/fs/cgroup/cpu", first), ("/sys/fs/cgroup", unified)] {
            let root = PathBuf::from(root);
            // Where groups hand nothing on by themselves, they are told to; where they can't, the next line fails.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+cpu");
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
        // Periods that are twice as long: a shell is no kernel.
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
