//! The namespaces that the harness itself goes into, and whether that is possible here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use super::{Net, PROBE_NETWORK};
use crate::cluster::netns::{Ban, Fate};

/// Why nodes cannot have networks of their own here.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// A tool is missing.
    #[error(
        "the netns backend takes the program {program}, which is not to be found; install {package}, or use --backend proxy"
    )]
    NoTool {
        /// Its name.
        program: &'static str,
        /// The package that has it.
        package: &'static str,
    },
    /// The kernel refuses a namespace.
    #[error(
        "the netns backend takes a network namespace, which the kernel refuses ({cause}): run as root, or allow \
         unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, \
         or the container's seccomp profile), or use --backend proxy"
    )]
    Refused {
        /// What it says.
        cause: io::Error,
    },
    /// Something in the namespace does not work.
    #[error("{why}")]
    Broken {
        /// In whole words: what, how, and what to do instead.
        why: String,
    },
}

/// Goes into a network namespace of its own, for good, and into a user namespace if that takes one. Must be called
/// while the process has one thread: others would stay outside.
pub fn enter() -> Result<(), Unavailable> {
    let refused = |cause| Unavailable::Refused { cause };
    if geteuid().is_root() && new_network().is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| refused(errno.into()))?;
    // Without a mapping of groups being given up first, the kernel takes none from the unprivileged.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(Path::new("/proc/self").join(file), text).map_err(refused)?;
    }
    Ok(())
}

/// A new network namespace for this process.
pub(super) fn new_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Goes into the network namespace of another process.
pub(in crate::cluster) fn join_network_of(pid: u32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno: Errno| errno.into())
}

/// Where tools are looked for: not everybody has those of administrators on the path.
pub(super) fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Whether networks of nodes' own are possible here: tries one, in a process of its own.
pub fn probe() -> Result<(), Unavailable> {
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let asked = Command::new(program)
            .arg("-V")
            .env("PATH", path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if asked.is_err() {
            return Err(Unavailable::NoTool { program, package });
        }
    }
    let broken = |why: String| Unavailable::Broken { why };
    let failed = |error: io::Error| {
        broken(format!("cannot try whether the netns backend works: {error}; use --backend proxy"))
    };
    let own = std::env::current_exe().map_err(failed)?;
    let tried =
        Command::new(own).arg(PROBE_NETWORK).stdin(Stdio::null()).output().map_err(failed)?;
    if tried.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&tried.stderr);
    Err(broken(why.trim().trim_start_matches("error: ").to_owned()))
}

/// Makes a network of two nodes with one rule of each sort, and lets go of it. For the harness's subcommand
/// `probe-network`; must be called while the process has one thread.
pub fn try_out() -> anyhow::Result<()> {
    enter()?;
    let tried = try_network().map_err(|error| format!("{error:#}"));
    tried.map_err(|why| {
        anyhow::anyhow!("the netns backend does not work here: {why}; use --backend proxy")
    })
}

fn try_network() -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let net = Net::set_up(2, &own).await?;
        let ban = |fate| Ban { from: Some(1), to: 2, port: None, fate };
        let bans = [Fate::Drop, Fate::Reset, Fate::Lose(50)].map(ban);
        let number = net.impose(bans.to_vec()).await?;
        net.lift(number).await?;
        Ok(())
    })
}
