//! One `raftd` process.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::wait::{DEADLINE, wait_for};

/// A running process, killed when dropped. It logs JSON; its events can be waited for.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// What it has written to stderr.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Daemon {
    /// Starts `raftd` with these arguments.
    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftd"));
        command.args(args);
        Daemon::spawn(command)
    }

    /// Starts a command that is or becomes `raftd`.
    pub(crate) fn spawn(mut command: Command) -> Daemon {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG");
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Log::default());
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    log.lines.lock().unwrap().lines.push(line);
                    log.grown.notify_all();
                }
                log.lines.lock().unwrap().ended = true;
                log.grown.notify_all();
            }
        });
        Daemon { child, log, reader: Some(reader) }
    }

    /// Starts a command whose stderr is a pipe that nobody reads from.
    pub(crate) fn spawn_unheard(mut command: Command) -> Daemon {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stderr.take());
        Daemon { child, log: Arc::new(Log::default()), reader: None }
    }

    /// The first logged event of that name that the test accepts; waits for it.
    pub(crate) fn event(&self, name: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let find = |lines: &Lines| {
            lines
                .lines
                .iter()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["event"] == name && accept(line))
        };
        let lines = self.log.lines.lock().unwrap();
        let goes_on = |lines: &mut Lines| find(lines).is_none() && !lines.ended;
        let (lines, _) = self.log.grown.wait_timeout_while(lines, DEADLINE, goes_on).unwrap();
        let (found, text) = (find(&lines), lines.lines.join("\n"));
        // The thread that reads the log must not find a poisoned lock.
        drop(lines);
        found.unwrap_or_else(|| panic!("no such event {name:?} in the log:\n{text}"))
    }

    /// How many events of that name, as the test accepts them, were logged so far.
    pub(crate) fn count(&self, name: &str, accept: impl Fn(&Value) -> bool) -> usize {
        let lines = self.log.lines.lock().unwrap();
        let events = lines.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name && accept(event)).count()
    }

    /// The addresses it listens on, for members and for clients; waits until it does.
    pub(crate) fn listening(&self) -> (SocketAddr, SocketAddr) {
        let event = self.event("listening", |_| true);
        let address = |port: &str| event[port].as_str().unwrap().parse().unwrap();
        (address("peer"), address("client"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the process to end.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        wait_for("the process to end", || self.child.try_wait().unwrap().ok_or("it runs"))
    }

    /// Waits for the process to end by itself; its exit code and all that it wrote to stderr.
    pub(crate) fn exit(mut self) -> (Option<i32>, String) {
        let code = self.exit_status().code();
        self.reader.take().unwrap().join().unwrap();
        let text = self.log.lines.lock().unwrap().lines.join("\n");
        (code, text)
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.exit_status();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
