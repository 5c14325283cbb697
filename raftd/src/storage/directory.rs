//! The data directory: where things are, how files appear in it, and who has it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use raft_core::types::NodeId;

use super::{Error, Identity};

/// A data directory and its owner.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: PathBuf,
    identity: Identity,
}

impl Directory {
    pub(super) fn new(root: &Path, identity: &Identity) -> Directory {
        Directory { root: root.to_owned(), identity: identity.clone() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn node_path(&self) -> PathBuf {
        self.root.join("node.json")
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(super) fn snapshot_dir(&self) -> PathBuf {
        self.root.join("snapshot")
    }

    /// Where damaged files are moved.
    pub(super) fn aside(&self, number: u64) -> PathBuf {
        self.root.join(format!("damaged-{number}"))
    }

    /// The directories of damaged files that there are, by number.
    pub(super) fn asides(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let number = |name: &str| name.strip_prefix("damaged-").and_then(|n| n.parse().ok());
        let mut found: Vec<(u64, PathBuf)> = list(&self.root)?
            .into_iter()
            .filter_map(|name| Some((number(&name)?, self.root.join(&name))))
            .collect();
        found.sort();
        Ok(found)
    }

    /// Makes what is visible in the directory durable: an earlier process may have died before it could.
    pub(super) fn sync(&self) -> Result<(), Error> {
        sync_dir(&self.log_dir())?;
        sync_dir(&self.snapshot_dir())?;
        sync_dir(&self.root)
    }

    /// What earlier processes began to write and did not finish.
    pub(super) fn unfinished(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        for dir in [self.root.clone(), self.log_dir(), self.snapshot_dir()] {
            let paths = list(&dir)?.into_iter().map(|name| dir.join(name));
            found.extend(
                paths.filter(|path| {
                    path.extension().is_some_and(|end| end == "tmp" || end == "part")
                }),
            );
        }
        Ok(found)
    }

    /// Refuses what states another owner.
    pub(super) fn check_owner(
        &self,
        path: &Path,
        cluster: &str,
        node: NodeId,
    ) -> Result<(), Error> {
        let path = path.to_owned();
        let expected = &self.identity;
        if cluster != expected.cluster {
            let (found, expected) = (cluster.to_owned(), expected.cluster.clone());
            return Err(Error::OtherCluster { path, found, expected });
        }
        if node != expected.node {
            return Err(Error::OtherNode { path, found: node, expected: expected.node });
        }
        Ok(())
    }
}

/// Names in a directory, in order; none if it does not exist. What is not UTF-8 is none of our business.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", dir, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("read", dir, e))?.file_name();
        names.extend(name.into_string());
    }
    names.sort();
    Ok(names)
}

/// Makes a file appear with its whole content or not at all, durably.
pub(super) fn publish(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = File::create(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
        file.write_all(content).map_err(|e| Error::io("write", &temporary, e))?;
        file.sync_all().map_err(|e| Error::sync(&temporary, e))?;
        fs::rename(&temporary, path).map_err(|e| Error::io("rename to", path, e))
    })();
    if written.is_err() {
        // It takes room, and may be why there is none. Should it stay, the next attempt overwrites it.
        remove_unneeded(&temporary);
    }
    written?;
    sync_dir(path.parent().expect("published files are in directories"))
}

/// Removes a file that means nothing any more. If that fails, it goes on meaning nothing, and the next start tries again.
pub(super) fn remove_unneeded(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file that is not needed any more");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Creates a directory and its missing ancestors, durably.
///
/// What exists already may have been created by a process that died before it could make that durable, so the entry of
/// the directory, or of its last ancestor that exists, is made durable in any case.
pub(super) fn create_dir(dir: &Path) -> Result<(), Error> {
    let ancestors = || dir.ancestors().filter(|dir| !dir.as_os_str().is_empty());
    let mut missing: Vec<&Path> = ancestors().take_while(|dir| !dir.exists()).collect();
    if let Some(existing) = ancestors().nth(missing.len()) {
        match sync_dir(parent(existing)) {
            // Then it was not us who created anything there.
            Err(Error::Io { operation: "open", source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    missing.reverse();
    for dir in missing {
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", dir, e));
            }
            Ok(()) | Err(_) => {}
        }
        sync_dir(parent(dir))?;
    }
    Ok(())
}

fn parent(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    }
}

pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    let dir = File::open(path).map_err(|e| Error::io("open", path, e))?;
    dir.sync_all().map_err(|e| Error::sync(path, e))
}

/// Held while a process uses a data directory; the kernel drops it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started has a copy of the descriptor until it
        // becomes another program, and the lock lasts as long as the last copy.
        self.file.unlock().ok();
    }
}

impl Lock {
    pub(super) fn acquire(root: &Path) -> Result<Lock, Error> {
        let path = root.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path, e)),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse { dir: root.to_owned(), holder: holder(&mut file) });
            }
        }
        // Only for the message above; a full disk does not keep a node from starting.
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::debug!(path = %path.display(), %error, "process id not noted");
        }
        Ok(Lock { file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.read_to_string(&mut text).ok();
    match read.and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}
