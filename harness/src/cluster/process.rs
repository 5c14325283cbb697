//! One thread per node keeps its process: starts it, signals it, reads its log, reaps it.
//!
//! As only that thread ever reaps the process, a signal cannot hit another process that got the same number. And as the
//! thread lives as long as the process, the process can ask the kernel to be killed when the thread dies
//! (`PR_SET_PDEATHSIG` goes by the parent *thread*): then not even SIGKILL of the harness leaves a node behind. The
//! process must ask for itself, between fork and exec, so nodes are started through the harness's own executable, which
//! asks and then becomes the node ([`exec_node`]).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use history_checker::history::Exit;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getppid};
use tokio::sync::oneshot;

use super::board::Board;
use super::faketime::{self, FakeTime};
use super::logs::Tail;
use super::netns::join_network_of;
use super::{Error, NodeId, Status};
use crate::disk::{self, Blow, Disk, Given, Harm};

/// How often a log is looked at, and whether the process still lives.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often it is looked at whether a signal has had its effect.
const PROBE_EVERY: Duration = Duration::from_micros(200);

/// How long SIGSTOP and SIGCONT may take to have their effect.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(2);

/// More panicking lines of one process than these are not worth reporting.
const PANICS_MAX: u32 = 8;

/// The hidden subcommand of the harness that [`exec_node`] implements.
pub const SUPERVISE_NODE: &str = "supervise-node";

/// Becomes `command`, to be killed when the process `parent` dies; in the network namespace of `network_of`, and with its
/// disk as it is seen in the namespace `mounts`, if these are given. For the harness's subcommand
/// `supervise-node --parent PID [--network-of PID] [--mounts NAMESPACE] -- COMMAND…`. Returns only if that fails.
pub fn exec_node(
    parent: u32,
    network_of: Option<u32>,
    mounts: Option<&Path>,
    command: &[OsString],
) -> io::Error {
    let Some((program, args)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command to become");
    };
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        return errno.into();
    }
    // It may have died before the kernel knew that it matters.
    if u32::try_from(getppid().as_raw()).ok() != Some(parent) {
        return io::Error::other(format!("process {parent}, on whose behalf this runs, is gone"));
    }
    if let Some(Err(error)) = network_of.map(join_network_of) {
        return error;
    }
    if let Some(Err(error)) = mounts.map(disk::enter) {
        return io::Error::other(format!("cannot get at the node's disk: {error}"));
    }
    std::process::Command::new(program).args(args).exec()
}

/// How to start a node.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    /// The harness's executable, which becomes the program.
    pub(super) supervisor: Option<PathBuf>,
    /// The process in whose network namespace it runs; takes a supervisor.
    pub(super) network_of: Option<u32>,
    /// Working directory, and where `stdout` and `stderr` go.
    pub(super) dir: PathBuf,
    /// A disk that can fail, and where it is mounted; needs a supervisor.
    pub(super) disk: Option<(Arc<Disk>, PathBuf)>,
    /// How the node's time passes from its next start on.
    pub(super) pace: Pace,
}

impl Launch {
    fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref().map(|(disk, _)| disk)
    }
}

/// How a node's time passes, if not as everybody's.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// At so many percent of the machine's rate.
    pub(super) percent: Option<u64>,
    /// By a clock that can be set.
    pub(super) fake: Option<FakeTime>,
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a keeper is asked to do.
pub(super) enum Command {
    Start(Reply<()>),
    Kill(Reply<bool>),
    /// From the next start on the node runs this.
    Program(PathBuf, Reply<()>),
    /// From the next start on the node's time passes so.
    Clock(Pace, Reply<()>),
    /// Kills the process, if there is one, and then does something to its disk.
    Strike {
        blow: Blow,
        seed: u64,
        reply: Reply<Harm>,
    },
    Pause(Reply<bool>),
    Resume(Reply<Duration>),
    Terminate {
        grace: Duration,
        reply: Reply<Option<Exit>>,
    },
}

/// The handle of a node's thread. Dropping it kills the node's process, if there is one, and waits until it is gone.
pub(super) struct Keeper {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn spawn(node: NodeId, launch: Launch, board: Arc<Board>) -> Result<Keeper, Error> {
        let (commands, receiver) = mpsc::channel();
        let keeping = Keeping { node, launch, board, process: None };
        let thread = thread::Builder::new()
            .name(format!("keeper-n{node}"))
            .spawn(move || keeping.run(&receiver))
            .map_err(|source| Error::Thread { node, source })?;
        Ok(Keeper { commands: Some(commands), thread: Some(thread) })
    }

    pub(super) fn send<T>(
        &self,
        node: NodeId,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Error::KeeperGone { node })?;
        commands.send(command(reply)).map_err(|_| Error::KeeperGone { node })?;
        Ok(answer)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was reported, and its own unwinding killed the process.
            drop(thread.join());
        }
    }
}

/// A keeper's thread.
struct Keeping {
    node: NodeId,
    launch: Launch,
    board: Arc<Board>,
    process: Option<Process>,
}

/// A process that was not reaped yet.
struct Process {
    child: Child,
    disk: Option<Arc<Disk>>,
    /// Its number, and that of its group.
    pid: Pid,
    tail: Tail,
    panics: u32,
    /// Since when all its threads are seen stopped, and what it was doing before.
    paused: Option<(Instant, Status)>,
    listens: bool,
    /// Whether libfaketime has left something behind that outlives the process.
    has_shared_time: bool,
    asked: Option<Asked>,
    reaped: bool,
}

/// How a process was asked to end.
enum Asked {
    Kill,
    Terminate { deadline: Instant, reply: Reply<Option<Exit>> },
}

impl Keeping {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let command = match &self.process {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => commands.recv_timeout(LOOK_EVERY),
            };
            match command {
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
                // Dropping `self` kills the process.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have given up meanwhile, so that nobody wants the answer: that is no fault.
        match command {
            Command::Start(reply) => drop(reply.send(self.start())),
            Command::Kill(reply) => drop(reply.send(self.kill())),
            Command::Clock(pace, reply) => {
                self.launch.pace = pace;
                drop(reply.send(Ok(())));
            }
            Command::Program(program, reply) => {
                self.launch.program = program;
                drop(reply.send(Ok(())));
            }
            Command::Strike { blow, seed, reply } => drop(reply.send(self.strike(blow, seed))),
            Command::Pause(reply) => drop(reply.send(self.pause())),
            Command::Resume(reply) => drop(reply.send(self.resume())),
            Command::Terminate { grace, reply } => self.terminate(grace, reply),
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        let node = self.node;
        if self.process.is_some() {
            return Err(Error::AlreadyRuns { node });
        }
        let (out, _) = append_to(&self.launch.dir.join("stdout"))?;
        let (err, log) = append_to(&self.launch.dir.join("stderr"))?;
        let tail =
            Tail::from_end(log).map_err(|source| Error::file("read", &self.launch.dir, source))?;
        let spawn = |source| Error::Spawn { node, program: self.launch.program.clone(), source };
        if let Some(disk) = self.launch.disk() {
            disk.process_starts();
        }
        let child = self
            .command()
            .current_dir(&self.launch.dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(spawn)?;
        let pid = i32::try_from(child.id()).map_err(|_| spawn(io::ErrorKind::Other.into()))?;
        self.board.started(node, child.id());
        self.process = Some(Process {
            child,
            disk: self.launch.disk().cloned(),
            pid: Pid::from_raw(pid),
            tail,
            panics: 0,
            paused: None,
            listens: false,
            has_shared_time: self.launch.pace.fake.is_some(),
            asked: None,
            reaped: false,
        });
        Ok(())
    }

    fn command(&self) -> std::process::Command {
        let Launch { program, args, supervisor, network_of, disk, .. } = &self.launch;
        let mut command;
        if let Some(supervisor) = supervisor {
            command = std::process::Command::new(supervisor);
            let parent = std::process::id().to_string();
            command.args([SUPERVISE_NODE, "--parent", &parent]);
            if let Some(pid) = network_of {
                command.args(["--network-of", &pid.to_string()]);
            }
            if let Some((_, mounts)) = disk {
                command.arg("--mounts").arg(mounts);
            }
            command.arg("--").arg(program);
        } else {
            command = std::process::Command::new(program);
        }
        command.args(args);
        if let Some(fake) = &self.launch.pace.fake {
            command.envs(fake.environment());
        }
        if let Some(percent) = self.launch.pace.percent {
            command.args(["--clock-percent", &percent.to_string()]);
        }
        command
    }

    fn kill(&mut self) -> Result<bool, Error> {
        let Some(process) = &mut self.process else {
            return Ok(false);
        };
        // First, so that nobody dials a port that may be somebody else's in a moment.
        self.board.unreachable(self.node);
        process.asked = Some(Asked::Kill);
        process.signal(self.node, Signal::SIGKILL)?;
        let status = process.reap();
        let killed = matches!(&status, Ok(status) if status.signal() == Some(9));
        self.ended(&status);
        Ok(killed)
    }

    fn strike(&mut self, blow: Blow, seed: u64) -> Result<Harm, Error> {
        let node = self.node;
        // Nothing can start a process before this returns: starting is this thread's work, too.
        self.kill()?;
        let disk = self.launch.disk().ok_or(Error::NoDisk { node })?;
        disk.strike(blow, seed).map_err(|source| Error::Strike { node, source })
    }

    fn pause(&mut self) -> Result<bool, Error> {
        let node = self.node;
        let Some(process) = &mut self.process else {
            return Ok(false);
        };
        if process.paused.is_none() {
            process.signal(node, Signal::SIGSTOP)?;
            if let Err(error) = process.await_stopped(node, true) {
                drop(process.signal(node, Signal::SIGCONT));
                return Err(error);
            }
            let before = if process.listens { Status::Up } else { Status::Starting };
            process.paused = Some((Instant::now(), before));
            self.board.paused(node);
        }
        Ok(true)
    }

    fn resume(&mut self) -> Result<Duration, Error> {
        let node = self.node;
        let Some(process) = &mut self.process else {
            return Ok(Duration::ZERO);
        };
        let Some((since, before)) = process.paused.take() else {
            return Ok(Duration::ZERO);
        };
        let stopped = if process.is_stopped() { since.elapsed() } else { Duration::ZERO };
        process.signal(node, Signal::SIGCONT)?;
        process.await_stopped(node, false)?;
        self.board.resumed(node, before);
        Ok(stopped)
    }

    fn terminate(&mut self, grace: Duration, reply: Reply<Option<Exit>>) {
        let resumed = self.resume();
        let Some(process) = &mut self.process else {
            drop(reply.send(Ok(None)));
            return;
        };
        let signalled = resumed.and_then(|_| process.signal(self.node, Signal::SIGTERM));
        match signalled {
            Ok(()) => {
                process.asked = Some(Asked::Terminate { deadline: Instant::now() + grace, reply });
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Reads the log, and notices an end.
    fn look(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.listen_to(self.node, &self.board);
        if process.listens {
            process.forget_shared_time();
        }
        if process.has_ended() {
            let status = process.reap();
            self.ended(&status);
        } else if let Some(Asked::Terminate { deadline, .. }) = &process.asked
            && Instant::now() >= *deadline
        {
            drop(process.signal(self.node, Signal::SIGKILL));
        }
    }

    /// The process is gone and reaped.
    fn ended(&mut self, status: &io::Result<ExitStatus>) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.listen_to(self.node, &self.board);
        process.forget_shared_time();
        let exit = match status {
            Ok(status) => Exit { expected: process.should_end(*status), how: how(*status) },
            Err(error) => Exit { expected: false, how: format!("unknown: {error}") },
        };
        self.board.exited(self.node, exit.clone());
        if let Some(Asked::Terminate { reply, .. }) = process.asked.take() {
            drop(reply.send(Ok(Some(exit))));
        }
    }
}

impl Process {
    fn signal(&self, node: NodeId, signal: Signal) -> Result<(), Error> {
        let sent = killpg(self.pid, signal);
        if signal == Signal::SIGKILL {
            self.let_go();
        }
        match sent {
            // It has ended but was not reaped: soon noticed.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::Signal { node, pid: self.pid.as_raw(), signal, errno }),
        }
    }

    /// It has got SIGKILL. While it waits for its disk it cannot die.
    fn let_go(&self) {
        if let Some(disk) = &self.disk {
            disk.process_dies();
        }
    }

    /// As soon as nobody needs it any more, so that it is gone even if the harness is killed.
    fn forget_shared_time(&mut self) {
        if std::mem::take(&mut self.has_shared_time) {
            faketime::forget_shared(self.pid.as_raw());
        }
    }

    fn has_ended(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid), look), Ok(WaitStatus::StillAlive))
    }

    /// Waits for the end of the process, and kills whatever it leaves behind in its group - before it is reaped, as the
    /// group's number may be somebody else's afterwards.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        let ended = waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        if ended.is_ok() {
            killpg(self.pid, Signal::SIGKILL).ok();
        }
        self.reaped = true;
        self.child.wait()
    }

    fn is_stopped(&self) -> bool {
        all_threads_stopped(self.pid).unwrap_or(false)
    }

    /// A signal that cannot be ignored takes effect at once, but not before `kill` returns.
    fn await_stopped(&self, node: NodeId, stopped: bool) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            match all_threads_stopped(self.pid) {
                Ok(is) if is == stopped => return Ok(()),
                // The process has ended, which is noticed elsewhere.
                Err(_) if !stopped => return Ok(()),
                Ok(_) | Err(_) => {}
            }
            let waited = start.elapsed();
            if waited > SIGNAL_DEADLINE {
                return Err(Error::SignalWithoutEffect {
                    node,
                    pid: self.pid.as_raw(),
                    wanted: if stopped { "stopped" } else { "running" },
                    waited_ms: waited.as_millis(),
                });
            }
            thread::park_timeout(PROBE_EVERY);
        }
    }

    fn listen_to(&mut self, node: NodeId, board: &Board) {
        let Process { tail, panics, listens, .. } = self;
        let heard = tail.drain(|said| {
            use super::logs::Said;
            match said {
                Said::Listening { .. } => *listens = true,
                Said::Panic { .. } if *panics >= PANICS_MAX => return,
                Said::Panic { .. } => *panics += 1,
                Said::Role { .. } | Said::Damaged { .. } => {}
            }
            board.said(node, said);
        });
        if let Err(error) = heard {
            tracing::warn!(node, %error, "cannot read the node's log");
        }
    }

    /// Whether this is the end that the process was asked to come to.
    fn should_end(&self, status: ExitStatus) -> bool {
        match &self.asked {
            None => match self.disk.as_ref().and_then(|disk| disk.given()) {
                // Stopping is one right answer to a disk that fails,
                Some(Given::Failure) => true,
                // and not to start is one to a full disk. But who serves already must go on.
                Some(Given::NoRoom) => !self.listens,
                None => false,
            },
            Some(Asked::Kill) => status.signal() == Some(9),
            Some(Asked::Terminate { deadline, .. }) => {
                let killed = status.signal() == Some(9) && Instant::now() >= *deadline;
                status.success() || status.signal() == Some(15) || killed
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Otherwise it was reaped already, and the number may be somebody else's.
        if !self.reaped && killpg(self.pid, Signal::SIGKILL).is_ok() {
            self.let_go();
            drop(self.child.wait());
            self.forget_shared_time();
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Opens a file to append to, twice: for the process, and to read along.
fn append_to(path: &Path) -> Result<(File, File), Error> {
    let open = || {
        let write = File::options().append(true).create(true).open(path)?;
        Ok((write, File::open(path)?))
    };
    open().map_err(|source| Error::file("open", path, source))
}

/// Whether each thread of a process is in state T, stopped by a signal.
fn all_threads_stopped(pid: Pid) -> io::Result<bool> {
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        // The name, in parentheses, may contain anything, even parentheses.
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        if !state.is_some_and(|state| state.starts_with('T')) {
            return Ok(false);
        }
        threads += 1;
    }
    Ok(threads > 0)
}
