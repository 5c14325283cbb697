//! Where mutants are made: a copy of the source that patches are applied to and that is built, in `target/mutants/`.
//!
//! ```text
//! target/mutants/LOCK    held by the one command that uses it
//!                source/ the source as it was when the command began, whatever is edited meanwhile
//!                tree/   its copy, which is built; a patch is in it only for that time
//!                build/  cargo's target directory for it: a bug costs seconds, as only what it touches is built again
//!                runs/   what the runs of the present command leave behind
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::sync::watch;

use super::child::{Child, Ended};

/// What a build needs of a checkout.
const PARTS: [&str; 6] = ["Cargo.toml", "Cargo.lock", "raftd", "raftctl", "harness", "workloads"];

/// What of a build is this project's own, and what a bug changes.
const OWN_PACKAGES: [&str; 5] = ["raft-core", "raftd", "raftctl", "history-checker", "harness"];

/// Most time for a build: the first one compiles everything there is.
const BUILD_DEADLINE: Duration = Duration::from_hours(1);

/// A checkout, and the place in it for mutants.
#[derive(Debug)]
pub(super) struct Workshop {
    place: PathBuf,
    _lock: File,
}

/// What is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// Nothing: only whether the daemon compiles.
    Check,
    /// The daemon.
    Raftd,
    /// The bench with its simulator.
    Harness,
}

/// What became of a build.
#[derive(Debug)]
pub(super) enum Built {
    /// The executable.
    Ready(PathBuf),
    /// What cargo says.
    Failed(String),
    /// The user wants the command to end.
    Interrupted,
}

/// The checkout that the current directory is in.
pub(super) fn find_checkout() -> anyhow::Result<PathBuf> {
    let current = std::env::current_dir().context("cannot find the current directory")?;
    let is_root = |dir: &&Path| {
        dir.join(super::museum::FOLDER).is_dir() && PARTS.iter().all(|part| dir.join(part).exists())
    };
    match current.ancestors().find(is_root) {
        Some(root) => Ok(root.to_owned()),
        None => bail!(
            "{} is in no checkout of this project: `harness mutants` builds its source, so call it from there",
            current.display()
        ),
    }
}

impl Workshop {
    /// Takes the workshop of a checkout, and the source as it is now.
    pub(super) fn open(root: &Path) -> anyhow::Result<Workshop> {
        let place = root.join("target/mutants");
        let failed = || format!("cannot prepare {}", place.display());
        fs::create_dir_all(&place).with_context(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(place.join("LOCK"))
            .with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("{} is in use by another `harness mutants`: one at a time", place.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let workshop = Workshop { place, _lock: lock };
        for part in PARTS {
            let from = root.join(part);
            copy(&from, &workshop.place.join("source").join(part))
                .with_context(|| format!("cannot copy {}", from.display()))?;
        }
        workshop.restore()?;
        workshop.clear_runs()?;
        Ok(workshop)
    }

    fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    /// Where runs may leave what they leave.
    pub(super) fn runs(&self) -> PathBuf {
        self.place.join("runs")
    }

    /// Throws away what runs have left.
    pub(super) fn clear_runs(&self) -> anyhow::Result<()> {
        let runs = self.runs();
        match fs::remove_dir_all(&runs) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", runs.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the copy what the source is. A file that is the same already is left alone, so that it is not built again.
    pub(super) fn restore(&self) -> anyhow::Result<()> {
        for part in PARTS {
            let (from, to) = (self.place.join("source").join(part), self.tree().join(part));
            copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(())
    }

    /// Puts a patch into the copy, or only tries whether it could be.
    pub(super) async fn apply(&self, patch: &Path, only_try: bool) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        git.arg("apply").args(only_try.then_some("--check")).arg(patch).current_dir(self.tree());
        // A repository around the copy is not the one that is meant: git would leave out what that one ignores.
        git.env("GIT_CEILING_DIRECTORIES", &self.place);
        let output = git.output().await.context("cannot run git, which applies the patches")?;
        if output.status.success() {
            return Ok(());
        }
        bail!(
            "{} does not apply any more: {}",
            patch.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }

    /// Builds the copy as it is.
    ///
    /// What fails is built once more, from nothing of this project's own: a build that was killed may have left behind
    /// what no later one can use.
    pub(super) async fn build(
        &self,
        product: Product,
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Built> {
        let (words, name): (&[&str], _) = match product {
            Product::Check => (&["check", "-p", "raftd"], "raftd"),
            Product::Raftd => (&["build", "--release", "-p", "raftd", "--bin", "raftd"], "raftd"),
            Product::Harness => {
                (&["build", "--release", "-p", "harness", "--bin", "harness"], "harness")
            }
        };
        let mut ended = self.cargo(words, interrupted).await?;
        if matches!(&ended, Ended::Exit(status) if !status.success()) && product != Product::Check {
            let own = OWN_PACKAGES.iter().flat_map(|package| ["-p", package]);
            let clean: Vec<&str> = ["clean", "--release"].into_iter().chain(own).collect();
            self.cargo(&clean, interrupted).await?;
            ended = self.cargo(words, interrupted).await?;
        }
        Ok(match ended {
            Ended::Exit(status) if status.success() => {
                Built::Ready(self.place.join("build/release").join(name))
            }
            Ended::Exit(_) => Built::Failed(crate::cluster::logs::last_lines(&self.log())),
            Ended::Late => Built::Failed("the build does not come to an end".to_owned()),
            Ended::Interrupted => Built::Interrupted,
        })
    }

    fn log(&self) -> PathBuf {
        self.place.join("build.log")
    }

    async fn cargo(
        &self,
        words: &[&str],
        interrupted: &watch::Receiver<bool>,
    ) -> anyhow::Result<Ended> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        args.extend(["--locked", "--quiet", "--color", "never"].map(OsStr::new));
        let child = Child::spawn(&cargo, &args, &self.log(), |command| {
            command.current_dir(self.tree()).env("CARGO_TARGET_DIR", self.place.join("build"));
            // What makes a mutant cost seconds: only the functions that it touches are compiled again.
            command.env("CARGO_INCREMENTAL", "1");
        })?;
        child.with_helpers().ended(BUILD_DEADLINE, interrupted).await
    }
}

/// Copies a file, or a directory with all that is in it, and removes what is not there. Hidden files and build products
/// are no source.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        let content = fs::read(from)?;
        if fs::read(to).ok().as_ref() != Some(&content) {
            fs::create_dir_all(to.parent().unwrap_or(to))?;
            fs::write(to, content)?;
        }
        return Ok(());
    }
    fs::create_dir_all(to)?;
    let is_source = |name: &OsStr| name != "target" && !name.to_string_lossy().starts_with('.');
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if is_source(&name) {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        let original = from.join(path.file_name().unwrap_or_default());
        if !original.exists() {
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_follows_the_original_and_leaves_alone_what_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("src/target")).unwrap();
        for (name, text) in [("a", "1"), ("src/b", "2"), ("src/target/x", "3"), (".hidden", "4")] {
            fs::write(from.join(name), text).unwrap();
        }
        copy(&from, &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).ok();
        assert_eq!((read("a"), read("src/b")), (Some("1".into()), Some("2".into())));
        assert_eq!((read("src/target/x"), read(".hidden")), (None, None));
        let changed = |name: &str| fs::metadata(to.join(name)).unwrap().modified().unwrap();
        let before = changed("a");
        fs::write(to.join("src/b"), "patched").unwrap();
        fs::write(to.join("src/new"), "patched").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(
            (changed("a"), read("src/b"), read("src/new")),
            (before, Some("2".into()), None)
        );
    }
}
