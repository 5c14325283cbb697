//! What a command costs as a whole: wall time, processor time, peak memory.
//!
//! The kernel keeps the peak memory of the largest child only, so each measured command is the only child of a process
//! of its own: this program, started once more.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Beyond these a command is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) seconds: u64,
    pub(crate) memory_gib: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) wall_ms: u64,
    /// Of all its threads.
    pub(crate) cpu_ms: u64,
    pub(crate) peak_kib: u64,
    /// None if a signal ended it.
    pub(crate) exit: Option<i32>,
    pub(crate) timed_out: bool,
}

/// Runs a command as the only child of a new process.
pub(crate) fn measure(command: &[String], caps: Caps) -> anyhow::Result<Cost> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new(this)
        .arg("measure")
        .args(["--seconds", &caps.seconds.to_string()])
        .args(["--memory-gib", &caps.memory_gib.to_string()])
        .arg("--")
        .args(command)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start this program")?;
    ensure!(output.status.success(), "cannot measure {}", command.join(" "));
    serde_json::from_slice(&output.stdout).context("cannot read what was measured")
}

/// In that process: runs it, and says what it cost.
pub(crate) fn run(command: &[String], caps: Caps) -> anyhow::Result<Cost> {
    let (program, args) = command.split_first().context("a command is missing")?;
    let bytes = caps.memory_gib << 30;
    setrlimit(Resource::RLIMIT_AS, bytes, bytes).context("cannot limit memory")?;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = end.recv_timeout(Duration::from_secs(caps.seconds)).is_err();
        // It is not waited for before this thread has ended, so the number is still its own.
        late && kill(pid, Signal::SIGKILL).is_ok()
    });
    // Waits without reaping it, so that the watch never kills a stranger.
    wait_for(pid)?;
    let wall = start.elapsed();
    ended.send(()).ok();
    let timed_out = watch.join().unwrap_or(false);
    let status = child.wait().context("cannot wait for the command")?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for its usage")?;
    let cpu_us = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec())
        .into_iter()
        .sum::<i64>();
    Ok(Cost {
        wall_ms: u64::try_from(wall.as_millis())?,
        cpu_ms: u64::try_from(cpu_us / 1000)?,
        peak_kib: u64::try_from(usage.max_rss())?,
        exit: status.code(),
        timed_out: timed_out && status.code().is_none(),
    })
}

fn wait_for(pid: Pid) -> anyhow::Result<()> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), flags).context("cannot wait for the command")?;
    Ok(())
}
