//! Where runs are kept: `results/<workload>/<UTC time>-<seed>/`, with a `latest` link beside and above.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

/// The record of client operations and everything around them.
pub const HISTORY: &str = "history.jsonl";
/// The verdict, and what it rests on.
pub const RESULTS: &str = "results.json";
/// The page for people.
pub const REPORT: &str = "report.html";
/// The faults as they happened.
pub const SCHEDULE: &str = "schedule.jsonl";
/// The nodes' output and data.
pub const NODES: &str = "nodes";

/// Why a result directory could not be had.
#[derive(Debug, Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// One run's directory.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    /// Its path, as the user would type it.
    pub path: PathBuf,
}

impl RunDirectory {
    /// Makes a fresh directory under `results`, and lets `latest` (of all runs, and of this workload's) point to it.
    pub fn create(
        results: &Path,
        workload: &str,
        seed: u64,
        now: SystemTime,
    ) -> Result<RunDirectory, Error> {
        let parent = results.join(workload);
        fs::create_dir_all(&parent).map_err(failed("create directory", &parent))?;
        let name = create_unique(&parent, &format!("{}-{seed}", utc_stamp(now)))?;
        point(&parent.join("latest"), Path::new(&name))?;
        point(&results.join("latest"), &Path::new(workload).join(&name))?;
        Ok(RunDirectory { path: parent.join(name) })
    }

    /// Path of the file `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the file `name` as a whole: a reader finds all of it or none.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, Error> {
        let path = self.file(name);
        let temporary = self.file(&format!("{name}.new"));
        fs::write(&temporary, contents).map_err(failed("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("write", &path))?;
        Ok(path)
    }
}

/// Makes a directory that was not there before, numbering the name if need be: two runs may start within a second.
fn create_unique(parent: &Path, name: &str) -> Result<String, Error> {
    let names = std::iter::once(name.to_owned()).chain((2..).map(|n| format!("{name}-{n}")));
    for name in names {
        let path = parent.join(&name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create directory", &path)(error)),
        }
    }
    unreachable!("the names do not end")
}

/// Lets the link at `link` point to `target`, in one step: at no time is there none.
fn point(link: &Path, target: &Path) -> Result<(), Error> {
    // The process ID keeps two harnesses apart that work in one results directory.
    let temporary = link.with_file_name(format!(".latest-{}", std::process::id()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        Ok(()) | Err(_) => {}
    }
    symlink(target, &temporary).map_err(failed("create link", &temporary))?;
    fs::rename(&temporary, link).map_err(failed("replace link", link))
}

/// `20261120T174223Z`.
fn utc_stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_196_543)
    }

    #[test]
    fn create_twice_in_one_second_makes_two_directories_and_latest_points_to_the_second() {
        let results = tempfile::tempdir().unwrap();
        let first = RunDirectory::create(results.path(), "register", 7, time()).unwrap();
        let second = RunDirectory::create(results.path(), "register", 7, time()).unwrap();
        assert_eq!(first.path, results.path().join("register/20261120T174223Z-7"));
        assert_eq!(second.path, results.path().join("register/20261120T174223Z-7-2"));
        let read = |link: &str| fs::read_link(results.path().join(link)).unwrap();
        assert_eq!(read("latest"), Path::new("register/20261120T174223Z-7-2"));
        assert_eq!(read("register/latest"), Path::new("20261120T174223Z-7-2"));
    }

    #[test]
    fn latest_stays_relative_so_that_results_can_be_moved() {
        let parent = tempfile::tempdir().unwrap();
        let (here, there) = (parent.path().join("here"), parent.path().join("there"));
        let run = RunDirectory::create(&here, "append", 1, time()).unwrap();
        run.write(RESULTS, b"{}").unwrap();
        fs::rename(&here, &there).unwrap();
        assert_eq!(fs::read(there.join("latest").join(RESULTS)).unwrap(), b"{}");
    }

    #[test]
    fn create_where_a_file_stands_names_the_path() {
        let parent = tempfile::tempdir().unwrap();
        let results = parent.path().join("file");
        fs::write(&results, "").unwrap();
        let error = RunDirectory::create(&results, "append", 1, time()).unwrap_err();
        assert!(error.to_string().contains("file/append"), "{error}");
    }
}
