//! The data directory: whose it is, who has it, and how files appear in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::segment::SegmentFile;
use super::sequence::Position;
use super::walk::Walk;
use super::{Error, Identity};
use crate::codec::{self, LogLine, SegmentStart};

/// The only format there is.
const FORMAT: u32 = 1;

/// `node.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    format: u32,
    cluster: String,
    node: NodeId,
    /// How many segments there are at least, so that a missing newest one is noticed.
    segments: u64,
}

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

    /// A directory as it is, whoever owns it.
    pub(super) fn inspect(root: &Path) -> Result<Directory, Error> {
        let path = root.join("node.json");
        if let Some(NodeFile { cluster, node, .. }) = read_node_file(&path)? {
            return Ok(Directory::new(root, &Identity { cluster, node }));
        }
        let nobody = Identity { cluster: String::new(), node: 0 };
        if Directory::new(root, &nobody).list_segments()?.is_empty() {
            return Err(Error::NoData { dir: root.to_owned() });
        }
        Err(Error::MissingIdentity { path })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn node_path(&self) -> PathBuf {
        self.root.join("node.json")
    }

    fn log_dir(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The directory's segments, all of which are there. A directory that was never used is made ready first.
    pub(super) fn open(&self) -> Result<Vec<SegmentFile>, Error> {
        let node_path = self.node_path();
        match read_node_file(&node_path)? {
            Some(found) => self.check_owner(&node_path, found)?,
            None if self.is_unused()? => {
                create_dir(&self.log_dir())?;
                self.create_segment(1, 0, Position { next: 1, term: 0, vote: None })?;
            }
            None => return Err(Error::MissingIdentity { path: node_path }),
        }
        self.segments()
    }

    /// All segments, if none is missing.
    pub(super) fn segments(&self) -> Result<Vec<SegmentFile>, Error> {
        let least = read_node_file(&self.node_path())?.map_or(1, |file| file.segments);
        let log_dir = self.log_dir();
        let found = self.list_segments()?;
        let mut expected = 1;
        for segment in &found {
            if segment.number != expected {
                return Err(Error::MissingSegment {
                    path: SegmentFile::new(&log_dir, expected).path,
                });
            }
            expected += 1;
        }
        if expected <= least {
            return Err(Error::MissingSegment { path: SegmentFile::new(&log_dir, expected).path });
        }
        Ok(found)
    }

    /// Creates a segment that holds its first line, durably, and remembers that there is one. Doing it again is
    /// harmless as long as nothing was written to it.
    pub(super) fn create_segment(
        &self,
        number: u64,
        previous_bytes: u64,
        at: Position,
    ) -> Result<(File, PathBuf, u64), Error> {
        let Identity { cluster, node } = self.identity.clone();
        let Position { next, term, vote } = at;
        let start = SegmentStart { number, cluster, node, previous_bytes, next, term, vote };
        let mut content = Vec::new();
        codec::encode_segment_start(&start, &mut content);
        content.push(b'\n');
        let path = SegmentFile::new(&self.log_dir(), number).path;
        publish(&path, &content)?;
        self.publish_node_file(number)?;
        let bytes = u64::try_from(content.len()).expect("lengths fit 64 bits");
        Ok((open_segment(&path)?, path, bytes))
    }

    /// Makes `node.json` say how many segments there are, unless it does.
    pub(super) fn publish_node_file(&self, segments: u64) -> Result<(), Error> {
        let path = self.node_path();
        if read_node_file(&path)?.is_some_and(|file| file.segments == segments) {
            return Ok(());
        }
        let Identity { cluster, node } = self.identity.clone();
        let file = NodeFile { format: FORMAT, cluster, node, segments };
        let mut content = serde_json::to_vec(&file).expect("memory takes everything");
        content.push(b'\n');
        publish(&path, &content)
    }

    /// Makes what is visible in the directory durable: an earlier process may have died before it could.
    pub(super) fn sync(&self) -> Result<(), Error> {
        sync_dir(&self.log_dir())?;
        sync_dir(&self.root)
    }

    fn check_owner(&self, path: &Path, found: NodeFile) -> Result<(), Error> {
        let path = path.to_owned();
        let Identity { cluster, node } = self.identity.clone();
        if found.cluster != cluster {
            return Err(Error::OtherCluster { path, found: found.cluster, expected: cluster });
        }
        if found.node != node {
            return Err(Error::OtherNode { path, found: found.node, expected: node });
        }
        Ok(())
    }

    /// Whether nothing was ever recorded here: there is no log, or one that a process had only begun to set up (its
    /// first segment comes before `node.json`, and without that nothing is ever written to it).
    fn is_unused(&self) -> Result<bool, Error> {
        let segments = self.list_segments()?;
        match segments.as_slice() {
            [] => Ok(true),
            [first] if first.number == 1 => {
                let mut walk = Walk::new(segments, self.identity.clone());
                let started = matches!(walk.next(), Ok(Some(LogLine::Segment(_))));
                Ok(started && matches!(walk.next(), Ok(None)) && walk.tail().torn.is_none())
            }
            _ => Ok(false),
        }
    }

    fn list_segments(&self) -> Result<Vec<SegmentFile>, Error> {
        let dir = self.log_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &dir, e)),
        };
        let mut segments = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| Error::io("read", &dir, e))?.file_name();
            segments.extend(name.to_str().and_then(|name| SegmentFile::parse(&dir, name)));
        }
        segments.sort();
        Ok(segments)
    }
}

fn read_node_file(path: &Path) -> Result<Option<NodeFile>, Error> {
    /// What every version's file has.
    #[derive(Deserialize)]
    struct AnyFormat {
        format: u32,
    }
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let bad = |source| Error::BadIdentity { path: path.to_owned(), source };
    let AnyFormat { format: found } = serde_json::from_slice(&text).map_err(bad)?;
    if found != FORMAT {
        return Err(Error::OtherFormat { path: path.to_owned(), found, known: FORMAT });
    }
    serde_json::from_slice(&text).map(Some).map_err(bad)
}

pub(super) fn open_segment(path: &Path) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io("open", path, e))
}

/// Makes a file appear with its whole content or not at all, durably.
fn publish(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = File::create(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
        file.write_all(content).map_err(|e| Error::io("write", &temporary, e))?;
        file.sync_all().map_err(|e| Error::sync(&temporary, e))?;
        fs::rename(&temporary, path).map_err(|e| Error::io("rename to", path, e))
    })();
    if written.is_err() {
        // It takes room, and may be why there is none. Should it stay, the next attempt overwrites it.
        let removed = fs::remove_file(&temporary);
        tracing::debug!(path = %temporary.display(), ?removed, "gave up a file");
    }
    written?;
    sync_dir(path.parent().expect("published files are in directories"))
}

/// Creates a directory and its missing ancestors, durably.
pub(super) fn create_dir(dir: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> =
        dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    for dir in missing.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", dir, e));
            }
            Ok(()) | Err(_) => {}
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::sync(dir, e))
}

/// Held while a process uses a data directory; the kernel drops it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
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
        Ok(Lock { _file: file })
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
