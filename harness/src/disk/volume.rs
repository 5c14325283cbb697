//! Files and directories with everything that can be done to them: as programs see them, and as the disk has them.
//!
//! ```text
//! nodes/ID/data/…       what programs see, for whoever looks at it from outside: hard links to
//! nodes/ID/disk/NUMBER  every file that there is, or would be again if the power failed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::FallocateFlags;
use nix::sys::statvfs::{Statvfs, statvfs};
use rand::Rng;
use rand::rngs::StdRng;

use super::content::{Content, Survival};
use super::names::{Inode, Names, ROOT};

/// What a power loss did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Unsynced bytes that are gone.
    pub lost_bytes: u64,
    /// Unsynced changes of names that are gone: of files created, renamed or removed.
    pub lost_names: u64,
    /// Unsynced bytes that the disk has all the same.
    pub kept_bytes: u64,
}

/// A file.
#[derive(Debug)]
struct Node {
    content: Content,
    /// How often it is open.
    open: u64,
    /// Whether the present process, or the last one, has opened it.
    is_in_use: bool,
}

/// How something is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renaming {
    /// What has the new name goes.
    Replace,
    /// Nothing may have the new name.
    NoReplace,
    /// What has the new name gets the old one.
    Exchange,
}

/// What is there, and where it is kept.
#[derive(Debug)]
pub(super) struct Volume {
    /// What programs see.
    view: PathBuf,
    /// Where files are kept whatever happens to their names.
    objects: PathBuf,
    names: Names,
    files: BTreeMap<Inode, Node>,
    /// Files that lost a name: some of them may not be needed any more.
    nameless: BTreeSet<Inode>,
    next: Inode,
}

impl Volume {
    /// Takes over what is in `view`; all of it counts as durable. `objects` is emptied first.
    pub(super) fn open(view: &Path, objects: &Path) -> io::Result<Volume> {
        fs::create_dir_all(view)?;
        if objects.exists() {
            fs::remove_dir_all(objects)?;
        }
        fs::create_dir_all(objects)?;
        let mut volume = Volume {
            view: view.to_owned(),
            objects: objects.to_owned(),
            names: Names::new(),
            files: BTreeMap::new(),
            nameless: BTreeSet::new(),
            next: ROOT + 1,
        };
        volume.adopt(ROOT, view)?;
        Ok(volume)
    }

    fn adopt(&mut self, directory: Inode, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let inode = self.number();
            if kind.is_dir() {
                self.names.add_directory(inode);
                self.adopt(inode, &entry.path())?;
            } else if kind.is_file() {
                fs::hard_link(entry.path(), self.object(inode))?;
                self.add_file(inode)?;
            } else {
                continue;
            }
            self.names.adopt(directory, entry.file_name(), inode);
        }
        Ok(())
    }

    /// Removes what is only needed to take something back.
    pub(super) fn close(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.objects)
    }

    /// Nobody has opened anything: a new process is about to start.
    pub(super) fn forget_use(&mut self) {
        for node in self.files.values_mut() {
            node.is_in_use = node.open > 0;
        }
    }

    pub(super) fn lookup(&self, parent: Inode, name: &OsStr) -> io::Result<Inode> {
        if !self.names.is_directory(parent) {
            return Err(Errno::ENOTDIR.into());
        }
        self.names.get(parent, name).ok_or_else(|| Errno::ENOENT.into())
    }

    pub(super) fn statistics(&self) -> io::Result<Statvfs> {
        Ok(statvfs(&self.view)?)
    }

    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        self.names.is_directory(inode)
    }

    pub(super) fn metadata(&self, inode: Inode) -> io::Result<Metadata> {
        match self.files.get(&inode) {
            Some(node) => node.content.file().metadata(),
            None => self.path(inode)?.metadata(),
        }
    }

    /// The names in a directory, `.` and `..` first.
    pub(super) fn list(&self, directory: Inode) -> io::Result<Vec<(OsString, Inode)>> {
        if !self.names.is_directory(directory) {
            return Err(Errno::ENOTDIR.into());
        }
        let parent = self.names.place(directory).map_or(ROOT, |(parent, _)| parent);
        let mut list = vec![(".".into(), directory), ("..".into(), parent)];
        let names = self.names.list(directory);
        list.extend(names.into_iter().map(|(name, inode)| (name.to_owned(), inode)));
        Ok(list)
    }

    pub(super) fn create_file(
        &mut self,
        parent: Inode,
        name: &OsStr,
        mode: u32,
    ) -> io::Result<Inode> {
        let path = self.vacant(parent, name)?;
        let inode = self.number();
        let object = self.object(inode);
        // Readable and writable for the harness, whatever the program wants it to be.
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600).open(&object)?;
        fs::set_permissions(&object, Permissions::from_mode(mode & 0o7777))?;
        fs::hard_link(&object, path)?;
        self.add_file(inode)?;
        self.names.set(parent, name, Some(inode));
        Ok(inode)
    }

    pub(super) fn create_directory(
        &mut self,
        parent: Inode,
        name: &OsStr,
        mode: u32,
    ) -> io::Result<Inode> {
        let path = self.vacant(parent, name)?;
        DirBuilder::new().mode(mode & 0o7777).create(path)?;
        let inode = self.number();
        self.names.add_directory(inode);
        self.names.set(parent, name, Some(inode));
        Ok(inode)
    }

    pub(super) fn remove_file(&mut self, parent: Inode, name: &OsStr) -> io::Result<()> {
        let inode = self.lookup(parent, name)?;
        if self.names.is_directory(inode) {
            return Err(Errno::EISDIR.into());
        }
        fs::remove_file(self.path(parent)?.join(name))?;
        self.names.set(parent, name, None);
        self.lost_name(inode)
    }

    pub(super) fn remove_directory(&mut self, parent: Inode, name: &OsStr) -> io::Result<()> {
        let inode = self.lookup(parent, name)?;
        if !self.names.is_directory(inode) {
            return Err(Errno::ENOTDIR.into());
        }
        if !self.names.list(inode).is_empty() {
            return Err(Errno::ENOTEMPTY.into());
        }
        fs::remove_dir(self.path(parent)?.join(name))?;
        self.names.set(parent, name, None);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: (Inode, &OsStr),
        to: (Inode, &OsStr),
        how: Renaming,
    ) -> io::Result<()> {
        let moved = self.lookup(from.0, from.1)?;
        let target = self.names.get(to.0, to.1);
        match (how, target) {
            (Renaming::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (Renaming::Exchange, None) => return Err(Errno::ENOENT.into()),
            _ => {}
        }
        if target == Some(moved) {
            return Ok(());
        }
        let (old, new) = (self.path(from.0)?.join(from.1), self.path(to.0)?.join(to.1));
        if how == Renaming::Exchange {
            let between = self.objects.join("exchanged");
            fs::rename(&new, &between)?;
            fs::rename(&old, &new)?;
            fs::rename(&between, &old)?;
        } else {
            // The kernel underneath refuses what makes no sense.
            fs::rename(old, new)?;
        }
        let replaced = self.names.rename(from, to, how == Renaming::Exchange);
        if let Some(node) = self.files.get_mut(&moved) {
            node.content.is_published = true;
        }
        replaced.map_or(Ok(()), |replaced| self.lost_name(replaced))
    }

    pub(super) fn set_mode(&mut self, inode: Inode, mode: u32) -> io::Result<()> {
        let permissions = Permissions::from_mode(mode & 0o7777);
        match self.files.get(&inode) {
            Some(node) => node.content.file().set_permissions(permissions),
            None => fs::set_permissions(self.path(inode)?, permissions),
        }
    }

    pub(super) fn set_length(&mut self, inode: Inode, length: u64) -> io::Result<()> {
        self.content(inode)?.set_length(length)
    }

    pub(super) fn read(&self, inode: Inode, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        self.files.get(&inode).ok_or(Errno::EBADF)?.content.read(offset, size)
    }

    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.content(inode)?.write(offset, bytes)
    }

    pub(super) fn allocate(
        &mut self,
        inode: Inode,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        self.content(inode)?.allocate(flags, offset, length)
    }

    pub(super) fn open_file(&mut self, inode: Inode) -> io::Result<()> {
        let node = self.files.get_mut(&inode).ok_or(Errno::ENOENT)?;
        node.open += 1;
        node.is_in_use = true;
        Ok(())
    }

    pub(super) fn close_file(&mut self, inode: Inode) -> io::Result<()> {
        if let Some(node) = self.files.get_mut(&inode) {
            node.open = node.open.saturating_sub(1);
        }
        self.drop_unneeded()
    }

    /// Makes a file's bytes durable, or a directory's names.
    pub(super) fn sync(&mut self, inode: Inode) -> io::Result<()> {
        if self.names.is_directory(inode) {
            self.names.sync(inode);
            return self.drop_unneeded();
        }
        self.content(inode)?.sync();
        Ok(())
    }

    /// An fsync fails. A directory's names stay to be written: who cannot write its journal does not go on at all.
    pub(super) fn fail_sync(&mut self, inode: Inode) {
        if let Some(node) = self.files.get_mut(&inode) {
            node.content.fail_sync();
        }
    }

    /// Whether a power loss would cost something now.
    pub(super) fn has_unsynced(&self) -> bool {
        self.names.unsynced() > 0
            || self.files.values().any(|node| node.content.unsynced_bytes() > 0)
    }

    /// The power fails; everything is as the disk has it.
    pub(super) fn lose_power(&mut self, survival: Survival, rng: &mut StdRng) -> io::Result<Loss> {
        let kept_names = match survival {
            Survival::Nothing => 0,
            // Names are written in order by any file system that has a journal.
            Survival::Beginning | Survival::SomePages => {
                rng.random_range(0..=self.names.unsynced())
            }
        };
        let mut loss = Loss { lost_names: self.names.lose_power(kept_names), ..Loss::default() };
        for node in self.files.values_mut() {
            let lost = node.content.lose_power(survival, rng)?;
            loss.lost_bytes += lost.lost_bytes;
            loss.kept_bytes += lost.kept_bytes;
        }
        self.nameless = self.files.keys().copied().collect();
        self.drop_unneeded()?;
        self.rebuild()?;
        Ok(loss)
    }

    /// Files that the last process used, with their paths, for whoever wants to damage them.
    pub(super) fn in_use(&mut self) -> Vec<(PathBuf, &mut Content)> {
        let mut paths = BTreeMap::new();
        collect(&self.names, ROOT, Path::new(""), &mut paths);
        self.files
            .iter_mut()
            .filter(|(_, node)| node.is_in_use)
            .filter_map(|(inode, node)| Some((paths.remove(inode)?, &mut node.content)))
            .collect()
    }

    /// Nothing is left; how many bytes there were.
    pub(super) fn wipe(&mut self) -> io::Result<u64> {
        let bytes = self.files.values().map(|node| node.content.length()).sum();
        self.names = Names::new();
        self.nameless = self.files.keys().copied().collect();
        self.drop_unneeded()?;
        self.rebuild()?;
        Ok(bytes)
    }

    /// Lets the outside see what programs see.
    fn rebuild(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.view)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        self.link_all(ROOT, &self.view)
    }

    fn link_all(&self, directory: Inode, path: &Path) -> io::Result<()> {
        for (name, inode) in self.names.list(directory) {
            let path = path.join(name);
            if self.names.is_directory(inode) {
                fs::create_dir(&path)?;
                self.link_all(inode, &path)?;
            } else {
                fs::hard_link(self.object(inode), path)?;
            }
        }
        Ok(())
    }

    fn lost_name(&mut self, inode: Inode) -> io::Result<()> {
        self.nameless.insert(inode);
        self.drop_unneeded()
    }

    /// Forgets files that nothing leads to any more, and that a power loss would not bring back either.
    fn drop_unneeded(&mut self) -> io::Result<()> {
        if self.nameless.is_empty() {
            return Ok(());
        }
        let reachable = self.names.reachable();
        for inode in std::mem::take(&mut self.nameless) {
            match self.files.get(&inode) {
                None => {}
                Some(_) if reachable.contains(&inode) => {
                    self.nameless.insert(inode);
                }
                Some(node) if node.open > 0 => {
                    self.nameless.insert(inode);
                }
                Some(_) => {
                    self.files.remove(&inode);
                    fs::remove_file(self.object(inode))?;
                }
            }
        }
        Ok(())
    }

    fn add_file(&mut self, inode: Inode) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(self.object(inode))?;
        let content = Content::adopt(file)?;
        self.files.insert(inode, Node { content, open: 0, is_in_use: false });
        Ok(())
    }

    fn content(&mut self, inode: Inode) -> io::Result<&mut Content> {
        Ok(&mut self.files.get_mut(&inode).ok_or(Errno::EBADF)?.content)
    }

    /// Where a new name's file is to be seen; an error if the name is taken.
    fn vacant(&self, parent: Inode, name: &OsStr) -> io::Result<PathBuf> {
        match self.lookup(parent, name) {
            Ok(_) => Err(Errno::EEXIST.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.path(parent)?.join(name))
            }
            Err(error) => Err(error),
        }
    }

    /// Where a directory is to be seen.
    fn path(&self, mut directory: Inode) -> io::Result<PathBuf> {
        let mut names = Vec::new();
        while directory != ROOT {
            let (parent, name) = self.names.place(directory).ok_or(Errno::ENOENT)?;
            names.push(name);
            directory = parent;
        }
        let mut path = self.view.clone();
        path.extend(names.into_iter().rev());
        Ok(path)
    }

    fn object(&self, inode: Inode) -> PathBuf {
        self.objects.join(inode.to_string())
    }

    fn number(&mut self) -> Inode {
        self.next += 1;
        self.next - 1
    }
}

/// The paths of all files, as programs see them.
fn collect(names: &Names, directory: Inode, path: &Path, paths: &mut BTreeMap<Inode, PathBuf>) {
    for (name, inode) in names.list(directory) {
        let path = path.join(name);
        if names.is_directory(inode) {
            collect(names, inode, &path, paths);
        } else {
            paths.insert(inode, path);
        }
    }
}
