//! Which build of the daemon each node runs, and to which one it is upgraded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::NodeId;

/// Paths of executables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builds {
    /// What nodes run of which nothing else is said.
    pub all: PathBuf,
    /// What these nodes run instead, from the start.
    pub of: BTreeMap<NodeId, PathBuf>,
    /// What nodes are upgraded to; `None`: to `all`, which then shows no more than that nodes can be replaced.
    pub upgrade: Option<PathBuf>,
}

impl Builds {
    /// The same for all, always.
    pub fn one(path: impl Into<PathBuf>) -> Builds {
        Builds { all: path.into(), of: BTreeMap::new(), upgrade: None }
    }

    /// What a node runs before and after an upgrade.
    pub fn of(&self, node: NodeId, is_upgraded: bool) -> &Path {
        if is_upgraded {
            self.upgrade.as_deref().unwrap_or(&self.all)
        } else {
            self.of.get(&node).unwrap_or(&self.all)
        }
    }

    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let others = self.of.values().chain(&self.upgrade);
        std::iter::once(&self.all).chain(others).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_runs_its_own_build_until_it_is_upgraded() {
        let mut builds = Builds::one("a");
        assert_eq!((builds.of(1, false), builds.of(1, true)), (Path::new("a"), Path::new("a")));
        builds.of.insert(2, "b".into());
        builds.upgrade = Some("c".into());
        assert_eq!((builds.of(1, false), builds.of(1, true)), (Path::new("a"), Path::new("c")));
        assert_eq!((builds.of(2, false), builds.of(2, true)), (Path::new("b"), Path::new("c")));
        assert_eq!(builds.paths().count(), 3);
    }
}
