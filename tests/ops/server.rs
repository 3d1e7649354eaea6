//! The `munadi` binary as a process that logs JSON and shows its metrics.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use munadi::guard::secret_blake3;
use serde_json::Value;

/// How long a start may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secret of its only key: it must never be told.
pub(crate) const SECRET: &str = "planted-secret";

/// A node in a process of its own.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Where it answers gRPC.
    pub(crate) door: String,
    /// Where it shows its metrics.
    pub(crate) page: String,
    /// What it has logged, each line an object.
    pub(crate) logged: Vec<Value>,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        let config = folder.join("munadi.toml");
        let (data, hash) = (folder.join("data"), secret_blake3(SECRET));
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\nlog_format = \"json\"\n\
             [metrics]\naddress = \"127.0.0.1:0\"\n\
             [[keys]]\nid = \"root\"\nrole = \"operator\"\ntenant = 0\nsecret_blake3 = \"{hash}\"\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_munadi"));
        command.arg("serve").arg("--config").arg(&config).current_dir(folder);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (door, page) = (String::new(), String::new());
        let mut server = Self { child, lines, door, page, logged: Vec::new() };
        while server.door.is_empty() {
            let line = server.lines.recv_timeout(PATIENCE).expect("the node starts in time");
            server.note(&line);
        }
        server
    }

    fn note(&mut self, line: &str) {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let fields = &object["fields"];
        match fields["message"].as_str().unwrap_or_default() {
            "serving" => self.door = fields["address"].as_str().unwrap().to_owned(),
            "the operator's page is open" => {
                self.page = fields["metrics"].as_str().unwrap().to_owned();
            }
            _ => {}
        }
        self.logged.push(object);
    }

    /// Runs `munadi health` against it.
    pub(crate) fn health(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_munadi"));
        command.env_clear().args(["health", "--listen", &self.door]).args(more);
        command.output().unwrap()
    }

    /// Asks its page, and returns the status and the text.
    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.page).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(socket, "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Asks the process to stop, waits until it has, and returns all that it logged.
    pub(crate) fn stop(mut self) -> Vec<Value> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg("-TERM").arg(pid).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success(), "a clean stop");
        while let Ok(line) = self.lines.recv() {
            self.note(&line);
        }
        std::mem::take(&mut self.logged)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
