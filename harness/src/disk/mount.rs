//! Mounts that nobody else sees and that nobody has to remove.
//!
//! Each disk is mounted in a mount namespace of its own, over the node's data directory. The node enters that namespace
//! before it becomes the node; everybody else goes on seeing the directory underneath. What keeps the namespace alive is
//! one open file of the harness and the node itself, which dies with the harness: when both are gone, the kernel removes
//! namespace and mount, however the harness ended.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, Session, SessionACL};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getgid, getppid, getuid, pause};

use super::Disk;
use super::filesystem::Server;
use super::volume::Volume;

/// The hidden subcommand of the harness that [`hold_mount`] implements.
pub const HOLD_MOUNT: &str = "hold-mount";

/// Where the kernel is told what a file system in user space has to say.
const DEVICE: &str = "/dev/fuse";

/// What the holder says when all is well.
const MOUNTED: &str = "mounted";

/// How long the kernel may take to let go of a mount whose namespace is gone.
const GONE_DEADLINE: Duration = Duration::from_secs(5);

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Disk faults do not work here.
#[derive(Debug, thiserror::Error)]
#[error("disk faults do not work here: cannot {what}: {why}; {remedy}")]
pub struct Unavailable {
    /// What could not be done.
    pub what: String,
    /// Why not.
    pub why: String,
    /// What can be done about it.
    pub remedy: &'static str,
}

impl Unavailable {
    pub(crate) fn no_holder() -> Unavailable {
        Unavailable::new("mount anything", &"the harness's own executable is not known")
    }

    fn new(what: impl Into<String>, why: &dyn Display) -> Unavailable {
        let remedy = "run the harness as root, with /dev/fuse and the right to mount (in a container: --privileged, or \
             --device /dev/fuse --cap-add SYS_ADMIN), or leave disk faults out of --faults";
        Unavailable { what: what.into(), why: why.to_string(), remedy }
    }
}

/// A disk and its mount. Dropping it removes the mount; the process that uses it must be gone by then.
#[derive(Debug)]
pub struct Mounted {
    disk: Arc<Disk>,
    /// Keeps the namespace alive.
    namespace: Option<File>,
    session: Option<BackgroundSession>,
    late: Option<JoinHandle<()>>,
}

impl Mounted {
    /// A disk for the node whose directory this is: `data` in it is what the node gets to see, `disk` what it takes to
    /// take something back. `holder`: the harness's own executable.
    pub fn mount(holder: &Path, node_dir: &Path) -> Result<Mounted, Unavailable> {
        let view = node_dir.join("data");
        let failed = |what: &str, path: &Path| {
            let what = format!("{what} {}", path.display());
            move |why: io::Error| Unavailable::new(what, &why)
        };
        let volume = Volume::open(&view, &node_dir.join("disk"))
            .map_err(failed("keep a disk's files in", node_dir))?;
        let device = File::options()
            .read(true)
            .write(true)
            .open(DEVICE)
            .map_err(failed("open", Path::new(DEVICE)))?;
        let passed = device.try_clone().map_err(failed("pass on", Path::new(DEVICE)))?;
        let namespace = mount_aside(holder, &view, passed)?;
        let disk = Arc::new(Disk::new(volume));
        let server = Server { disk: Arc::clone(&disk) };
        let serve = failed("serve", &view);
        let session = Session::from_fd(server, device.into(), SessionACL::Owner, Config::default())
            .and_then(Session::spawn)
            .map_err(serve)?;
        let answering = Arc::clone(&disk);
        let late = thread::Builder::new()
            .name("disk-late".to_owned())
            .spawn(move || answering.answer_late())
            .map_err(failed("start a thread for", &view))?;
        let (namespace, session, late) = (Some(namespace), Some(session), Some(late));
        Ok(Mounted { disk, namespace, session, late })
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// What [`enter`] takes, for a child of this process.
    pub fn namespace(&self) -> PathBuf {
        let number = self.namespace.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        PathBuf::from(format!("/proc/{}/fd/{number}", process::id()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.disk.close();
        drop(self.namespace.take());
        if let Some(late) = self.late.take() {
            drop(late.join());
        }
        let Some(session) = self.session.take() else { return };
        let start = Instant::now();
        while !session.guard.is_finished() && start.elapsed() < GONE_DEADLINE {
            thread::park_timeout(LOOK_EVERY);
        }
        if session.guard.is_finished() {
            drop(session.join());
        } else {
            tracing::warn!("a process still uses a disk of a node that is gone");
        }
        if let Err(error) = self.disk.lock().volume.close() {
            tracing::warn!(%error, "a disk's files were not removed");
        }
    }
}

/// Has a child make a namespace and the mount in it; the namespace.
fn mount_aside(holder: &Path, view: &Path, device: File) -> Result<File, Unavailable> {
    let what = || format!("mount a file system over {}", view.display());
    let mut child = Command::new(holder)
        .args([HOLD_MOUNT, "--parent", &process::id().to_string(), "--directory"])
        .arg(view)
        .stdin(device)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| Unavailable::new(what(), &why))?;
    let mut said = String::new();
    let heard = child.stdout.take().map_or(Ok(0), |out| BufReader::new(out).read_line(&mut said));
    let namespace = heard.and_then(|_| match said.trim() {
        MOUNTED => File::open(format!("/proc/{}/ns/mnt", child.id())),
        "" => Err(io::Error::other("the process that was to do it ended")),
        why => Err(io::Error::other(why.to_owned())),
    });
    // It has done all it was for: from here on, the open file keeps the namespace.
    drop(child.kill());
    drop(child.wait());
    namespace.map_err(|why| Unavailable::new(what(), &why))
}

/// Mounts what is served through stdin, a /dev/fuse, over `directory`, in a mount namespace of its own; says so, and holds
/// it until it is killed, or the process `parent` is gone. For the harness's subcommand `hold-mount`.
pub fn hold_mount(parent: u32, directory: &Path) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if u32::try_from(getppid().as_raw()).ok() != Some(parent) {
        return Err(io::Error::other(format!("process {parent} is gone")));
    }
    let mounted = mount_here(directory);
    let mut out = io::stdout().lock();
    match &mounted {
        Ok(()) => writeln!(out, "{MOUNTED}")?,
        Err(error) => writeln!(out, "{error}")?,
    }
    out.flush()?;
    drop(out);
    mounted?;
    loop {
        pause();
    }
}

fn mount_here(directory: &Path) -> io::Result<()> {
    let nothing: Option<&str> = None;
    let step = |what: &'static str| {
        move |errno: nix::errno::Errno| io::Error::other(format!("{what}: {}", errno.desc()))
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("a mount namespace of its own"))?;
    // Or everybody would see the mount.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing).map_err(step("keeping mounts private"))?;
    let options = format!(
        "fd=0,rootmode=40000,user_id={},group_id={},default_permissions",
        getuid(),
        getgid()
    );
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("harness"), directory, Some("fuse"), flags, Some(options.as_str()))
        .map_err(step("mount(2)"))
}

/// Enters a namespace with a disk's mount, for this process and all it becomes. It must have one thread only. The working
/// directory stays what it was, by name.
pub fn enter(namespace: &Path) -> io::Result<()> {
    let directory = std::env::current_dir()?;
    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNS)?;
    std::env::set_current_dir(directory)
}

/// Whether disk faults work here: tries it. `holder`: the harness's own executable.
pub fn check(holder: &Path) -> Result<(), Unavailable> {
    let directory = std::env::temp_dir().join(format!("harness-disk-{}", process::id()));
    let tried = Mounted::mount(holder, &directory).map(drop);
    if let Err(error) = fs::remove_dir_all(&directory) {
        tracing::debug!(%error, "the directory of a trial mount stays");
    }
    tried
}
