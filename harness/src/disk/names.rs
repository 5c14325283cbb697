//! Directories: which names they have, and which of them the disk would have if the power failed now.
//!
//! What changes names - creating, removing, renaming - happens at once for programs, and waits here for the directory's
//! fsync. A change is one thing however many names it touches: after a power loss a file that was being renamed has its
//! old name or its new one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// Number of a file or a directory. The root's is [`ROOT`].
pub(super) type Inode = u64;

/// The directory that the layer is mounted at.
pub(super) const ROOT: Inode = 1;

/// A place for a name.
type Place = (Inode, OsString);

/// A directory.
#[derive(Clone, Debug, Default)]
struct Directory {
    now: BTreeMap<OsString, Inode>,
    durable: BTreeMap<OsString, Inode>,
}

/// Names that change together, and what they lead to then.
#[derive(Clone, Debug)]
struct Change(Vec<(Place, Option<Inode>)>);

/// All names.
#[derive(Debug)]
pub(super) struct Names {
    directories: BTreeMap<Inode, Directory>,
    /// Changes that the disk does not know of, in order.
    pending: Vec<Change>,
}

impl Names {
    /// An empty root.
    pub(super) fn new() -> Names {
        let directories = [(ROOT, Directory::default())].into();
        Names { directories, pending: Vec::new() }
    }

    /// Whether this is a directory.
    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        self.directories.contains_key(&inode)
    }

    /// What a name leads to.
    pub(super) fn get(&self, parent: Inode, name: &OsStr) -> Option<Inode> {
        self.directories.get(&parent)?.now.get(name).copied()
    }

    /// The names in a directory, in order.
    pub(super) fn list(&self, directory: Inode) -> Vec<(&OsStr, Inode)> {
        let entries = self.directories.get(&directory).map(|directory| &directory.now);
        entries.into_iter().flatten().map(|(name, inode)| (name.as_os_str(), *inode)).collect()
    }

    /// The directory that this one is in, and its name there.
    pub(super) fn place(&self, directory: Inode) -> Option<(Inode, &OsStr)> {
        self.directories.iter().find_map(|(parent, entries)| {
            let found = entries.now.iter().find(|(_, inode)| **inode == directory);
            found.map(|(name, _)| (*parent, name.as_os_str()))
        })
    }

    /// A new directory, which nothing leads to yet.
    pub(super) fn add_directory(&mut self, inode: Inode) {
        self.directories.insert(inode, Directory::default());
    }

    /// A name that was there before anybody could change it.
    pub(super) fn adopt(&mut self, parent: Inode, name: OsString, inode: Inode) {
        let directory = self.directories.entry(parent).or_default();
        directory.now.insert(name.clone(), inode);
        directory.durable.insert(name, inode);
    }

    /// A name leads somewhere else from now on, or nowhere.
    pub(super) fn set(&mut self, parent: Inode, name: &OsStr, inode: Option<Inode>) {
        self.change(vec![((parent, name.to_owned()), inode)]);
    }

    /// What `from` leads to, `to` leads to from now on; what `to` led to is given back. `exchange`: `from` leads there.
    pub(super) fn rename(
        &mut self,
        from: (Inode, &OsStr),
        to: (Inode, &OsStr),
        exchange: bool,
    ) -> Option<Inode> {
        let moved = self.get(from.0, from.1);
        let replaced = self.get(to.0, to.1);
        let left = if exchange { replaced } else { None };
        self.change(vec![((from.0, from.1.to_owned()), left), ((to.0, to.1.to_owned()), moved)]);
        replaced
    }

    fn change(&mut self, sets: Vec<(Place, Option<Inode>)>) {
        for ((parent, name), inode) in &sets {
            if let Some(directory) = self.directories.get_mut(parent) {
                set(&mut directory.now, name, *inode);
            }
        }
        self.pending.push(Change(sets));
    }

    /// Makes the names in a directory durable; how many changes that took.
    ///
    /// A change of two directories is durable with either. What an earlier change did to the same names happened
    /// before, so it is durable as well: nothing that was renamed ever has two names, or none.
    pub(super) fn sync(&mut self, directory: Inode) -> u64 {
        let mut places: BTreeSet<Place> = BTreeSet::new();
        let mut durable = Vec::new();
        let mut pending = Vec::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            let is_due =
                change.0.iter().any(|(place, _)| place.0 == directory || places.contains(place));
            if is_due {
                places.extend(change.0.iter().map(|(place, _)| place.clone()));
                durable.push(change);
            } else {
                pending.push(change);
            }
        }
        pending.reverse();
        self.pending = pending;
        let count = durable.len();
        for change in durable.into_iter().rev() {
            self.write(change);
        }
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// How many changes the disk does not know of.
    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// The power fails. The disk has the first `kept` of the changes that were not made durable; how many it has not.
    pub(super) fn lose_power(&mut self, kept: usize) -> u64 {
        let mut pending = std::mem::take(&mut self.pending);
        let lost = pending.split_off(kept.min(pending.len()));
        for change in pending {
            self.write(change);
        }
        for directory in self.directories.values_mut() {
            directory.now.clone_from(&directory.durable);
        }
        u64::try_from(lost.len()).unwrap_or(u64::MAX)
    }

    fn write(&mut self, change: Change) {
        for ((parent, name), inode) in change.0 {
            if let Some(directory) = self.directories.get_mut(&parent) {
                set(&mut directory.durable, &name, inode);
            }
        }
    }

    /// Everything that a name leads to, or would after a power loss.
    pub(super) fn reachable(&self) -> BTreeSet<Inode> {
        let names = self.directories.values();
        let named =
            names.flat_map(|directory| directory.now.values().chain(directory.durable.values()));
        let pending = self.pending.iter().flat_map(|change| &change.0);
        named.copied().chain(pending.filter_map(|(_, inode)| *inode)).collect()
    }
}

fn set(entries: &mut BTreeMap<OsString, Inode>, name: &OsStr, inode: Option<Inode>) {
    match inode {
        Some(inode) => entries.insert(name.to_owned(), inode),
        None => entries.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    #[test]
    fn names_are_lost_until_their_directory_is_synced() {
        let mut names = Names::new();
        names.set(ROOT, name("a"), Some(2));
        assert_eq!(names.get(ROOT, name("a")), Some(2));
        assert_eq!(names.lose_power(0), 1);
        assert_eq!(names.get(ROOT, name("a")), None);
        names.set(ROOT, name("a"), Some(2));
        assert_eq!(names.sync(ROOT), 1);
        names.set(ROOT, name("a"), None);
        assert_eq!(names.lose_power(0), 1);
        assert_eq!(names.get(ROOT, name("a")), Some(2));
    }

    #[test]
    fn rename_is_durable_with_either_directory_and_whole() {
        for synced in [ROOT, 2] {
            let mut names = Names::new();
            names.add_directory(2);
            names.set(ROOT, name("d"), Some(2));
            names.sync(ROOT);
            names.set(ROOT, name("a"), Some(3));
            assert_eq!(names.rename((ROOT, name("a")), (2, name("b")), false), None);
            assert_eq!(names.sync(synced), 2);
            names.lose_power(usize::MAX);
            assert_eq!((names.get(ROOT, name("a")), names.get(2, name("b"))), (None, Some(3)));
        }
    }

    #[test]
    fn changes_survive_in_order() {
        let mut names = Names::new();
        names.set(ROOT, name("a"), Some(2));
        names.rename((ROOT, name("a")), (ROOT, name("b")), false);
        names.set(ROOT, name("c"), Some(3));
        assert_eq!(names.lose_power(2), 1);
        assert_eq!(names.list(ROOT), [(name("b"), 2)]);
    }

    #[test]
    fn exchange_is_one_change() {
        let mut names = Names::new();
        names.adopt(ROOT, "a".into(), 2);
        names.adopt(ROOT, "b".into(), 3);
        assert_eq!(names.rename((ROOT, name("a")), (ROOT, name("b")), true), Some(3));
        assert_eq!(names.list(ROOT), [(name("a"), 3), (name("b"), 2)]);
        names.lose_power(0);
        assert_eq!(names.list(ROOT), [(name("a"), 2), (name("b"), 3)]);
    }
}
