//! The kernel's requests.
//!
//! Nothing is kept by the kernel that this layer does not know of: writes come through at once (no write-back cache),
//! names and attributes are asked for each time, and what was read is forgotten when a file is opened again - as after a
//! power loss it must be. Locks are the kernel's own affair.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    AccessFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, OFlag};

use super::names::Inode;
use super::volume::{Renaming, Volume};
use super::{Disk, Inner, Operation};

/// How long the kernel may believe what it was told.
const TTL: Duration = Duration::ZERO;

/// Most bytes of a write that come in one request.
const WRITE_BYTES_MAX: u32 = 1 << 20;

/// Where an fsync's outcome goes.
#[derive(Debug)]
pub(super) struct SyncReply(ReplyEmpty);

impl SyncReply {
    pub(super) fn send(self, outcome: io::Result<()>) {
        answer(self.0, outcome);
    }
}

/// What fuser calls.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) disk: Arc<Disk>,
}

fn answer(reply: ReplyEmpty, outcome: io::Result<()>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

fn attributes(volume: &Volume, inode: Inode) -> io::Result<FileAttr> {
    let metadata = volume.metadata(inode)?;
    let time = |seconds: i64, nanos: i64| {
        let since = u64::try_from(seconds).unwrap_or(0);
        UNIX_EPOCH + Duration::new(since, u32::try_from(nanos).unwrap_or(0))
    };
    let is_directory = volume.is_directory(inode);
    Ok(FileAttr {
        ino: INodeNo(inode),
        size: metadata.size(),
        blocks: metadata.blocks(),
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: if is_directory { FileType::Directory } else { FileType::RegularFile },
        perm: u16::try_from(metadata.mode() & 0o7777).unwrap_or(0o600),
        // The links that the layer itself keeps are nobody's business.
        nlink: if is_directory { 2 } else { 1 },
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

impl Server {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        work(&mut self.disk.lock())
    }

    /// A change that takes room.
    fn create<T>(&self, work: impl FnOnce(&mut Volume) -> io::Result<T>) -> io::Result<T> {
        self.with(|inner| {
            inner.state.admit(Operation::Create)?;
            work(&mut inner.volume)
        })
    }

    fn sync(&self, inode: INodeNo, reply: ReplyEmpty) {
        let mut inner = self.disk.lock();
        let Inner { volume, state, .. } = &mut *inner;
        state.sync(volume, inode.0, SyncReply(reply));
        drop(inner);
        self.disk.changed.notify_all();
    }
}

fn entry(reply: ReplyEntry, outcome: io::Result<FileAttr>) {
    match outcome {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(error) => reply.error(error.into()),
    }
}

fn attr(reply: ReplyAttr, outcome: io::Result<FileAttr>) {
    match outcome {
        Ok(attributes) => reply.attr(&TTL, &attributes),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Less than fuser's own default, which takes several requests' worth of memory each time.
        config.set_max_write(WRITE_BYTES_MAX).map(drop).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|Inner { volume, .. }| {
            let inode = volume.lookup(parent.0, name)?;
            attributes(volume, inode)
        });
        entry(reply, found);
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        attr(reply, self.with(|inner| attributes(&inner.volume, inode.0)));
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|Inner { volume, state, .. }| {
            if let Some(mode) = mode {
                volume.set_mode(inode.0, mode)?;
            }
            if let Some(size) = size {
                // A full disk does not keep anybody from making a file shorter.
                if size > volume.metadata(inode.0)?.len() {
                    state.admit(Operation::Write)?;
                }
                volume.set_length(inode.0, size)?;
            }
            attributes(volume, inode.0)
        });
        attr(reply, changed);
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let created = self.create(|volume| {
            let inode = volume.create_directory(parent.0, name, mode & !umask)?;
            attributes(volume, inode)
        });
        entry(reply, created);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.with(|inner| inner.volume.remove_file(parent.0, name)));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.with(|inner| inner.volume.remove_directory(parent.0, name)));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = if flags.is_empty() {
            Renaming::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            Renaming::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            Renaming::Exchange
        } else {
            return reply.error(Errno::EINVAL);
        };
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        answer(reply, self.with(|inner| inner.volume.rename(from, to, how)));
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.with(|inner| inner.volume.open_file(inode.0)) {
            // Without flags the kernel forgets what it has read of the file.
            Ok(()) => reply.opened(FileHandle(inode.0), FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.create(|volume| {
            let inode = volume.create_file(parent.0, name, mode & !umask)?;
            volume.open_file(inode)?;
            attributes(volume, inode)
        });
        match created {
            Ok(attributes) => {
                let handle = FileHandle(attributes.ino.0);
                reply.created(&TTL, &attributes, Generation(0), handle, FopenFlags::empty());
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.with(|Inner { volume, state, .. }| {
            state.admit(Operation::Read)?;
            volume.read(inode.0, offset, usize::try_from(size).unwrap_or(usize::MAX))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let is_synchronous = flags.0 & OFlag::O_DSYNC.bits() != 0;
        let written = self.with(|Inner { volume, state, .. }| {
            state.admit(Operation::Write)?;
            volume.write(inode.0, offset, data)?;
            if is_synchronous { volume.sync(inode.0) } else { Ok(()) }
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Closing a file makes nothing durable.
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.with(|inner| inner.volume.close_file(inode.0)));
    }

    fn fsync(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        // The length, without which the bytes could not be found, is made durable by fdatasync as well.
        self.sync(inode, reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.sync(inode, reply);
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.with(|Inner { volume, .. }| {
            let names = volume.list(inode.0)?;
            Ok(names
                .into_iter()
                .map(|(name, inode)| (name, inode, volume.is_directory(inode)))
                .collect::<Vec<_>>())
        });
        let names = match listed {
            Ok(names) => names,
            Err(error) => return reply.error(error.into()),
        };
        let rest = (1_u64..).zip(names).filter(|(number, _)| *number > offset);
        for (number, (name, inode, is_directory)) in rest {
            let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(inode), number, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        match self.with(|inner| inner.volume.statistics()) {
            Ok(statistics) => reply.statfs(
                statistics.blocks(),
                statistics.blocks_free(),
                statistics.blocks_available(),
                statistics.files(),
                statistics.files_free(),
                u32::try_from(statistics.block_size()).unwrap_or(4096),
                u32::try_from(statistics.name_max()).unwrap_or(255),
                u32::try_from(statistics.fragment_size()).unwrap_or(4096),
            ),
            Err(error) => reply.error(error.into()),
        }
    }

    fn access(&self, _request: &Request, _inode: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel has looked at the permissions.
        reply.ok();
    }

    fn fallocate(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let known = FallocateFlags::FALLOC_FL_KEEP_SIZE
            | FallocateFlags::FALLOC_FL_PUNCH_HOLE
            | FallocateFlags::FALLOC_FL_ZERO_RANGE;
        let flags = FallocateFlags::from_bits(mode).filter(|flags| known.contains(*flags));
        let Some(flags) = flags else { return reply.error(Errno::EOPNOTSUPP) };
        let allocated = self.with(|Inner { volume, state, .. }| {
            state.admit(Operation::Write)?;
            volume.allocate(inode.0, flags, offset, length)
        });
        answer(reply, allocated);
    }

    // What the kernel can do without, or no program here needs. It does not ask again after this answer.

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _from: INodeNo,
        _from_handle: FileHandle,
        _from_offset: u64,
        _to: INodeNo,
        _to_handle: FileHandle,
        _to_offset: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_bytes: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn getxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _size: u32,
        reply: ReplyXattr,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _inode: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }
}
