//! Other programs that this command has at work: they end with it, however it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cluster::process::SUPERVISE_NODE;

/// How long a child that was asked to end may take: a bench has nodes to stop and faults to take back.
const GRACE: Duration = Duration::from_secs(20);

/// A program at work.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    /// In words, for messages.
    program: String,
    /// Whether what it has started is to be told, too, when it is to end.
    has_helpers: bool,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Exit(ExitStatus),
    /// It took too long, and was killed.
    Late,
    /// The user wants the command to end, and the program was told so.
    Interrupted,
}

impl Child {
    /// Starts a program; what it says goes to the file `log`. The kernel kills it when this process dies: it is started
    /// through the harness itself, which asks for that and then becomes the program.
    pub(super) fn spawn(
        program: &OsStr,
        args: &[&OsStr],
        log: &Path,
        more: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Child> {
        let words = program.to_string_lossy().into_owned();
        let failed = || format!("cannot start {words}");
        let own = std::env::current_exe().context("cannot find the harness's own executable")?;
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().with_context(failed)?;
        let parent = std::process::id().to_string();
        let mut command = Command::new(own);
        command.args([SUPERVISE_NODE, "--parent", &parent, "--"]).arg(program).args(args);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true);
        // A Ctrl-C is for this process to pass on, once.
        command.process_group(0);
        more(&mut command);
        let process = command.spawn().with_context(failed)?;
        Ok(Child { process, program: words, has_helpers: false })
    }

    /// What it starts does not see by itself to ending with it.
    pub(super) fn with_helpers(self) -> Child {
        Child { has_helpers: true, ..self }
    }

    /// Waits until it has ended, at most so long.
    pub(super) async fn ended(
        mut self,
        deadline: Duration,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Ended> {
        let mut interrupted = interrupted.clone();
        let failed = format!("cannot wait for {}", self.program);
        tokio::select! {
            biased;
            true = is_wanted(&mut interrupted) => {
                self.terminate().await.context(failed)?;
                Ok(Ended::Interrupted)
            }
            ended = timeout(deadline, self.process.wait()) => {
                if let Ok(status) = ended {
                    return status.map(Ended::Exit).context(failed);
                }
                self.terminate().await.context(failed)?;
                Ok(Ended::Late)
            }
        }
    }

    /// SIGTERM, and SIGKILL if that does not help.
    async fn terminate(&mut self) -> std::io::Result<()> {
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            // If it is gone already, so much the better.
            let tell = if self.has_helpers { killpg } else { kill };
            tell(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        match timeout(GRACE, self.process.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => self.process.kill().await,
        }
    }
}

/// Waits until the user wants the command to end; `false`: nobody is there who could.
async fn is_wanted(interrupted: &mut watch::Receiver<bool>) -> bool {
    interrupted.wait_for(|interrupted| *interrupted).await.is_ok()
}
