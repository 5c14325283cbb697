//! A node's clock that is set while the node runs: libfaketime, loaded before the C library, has every question for the time
//! answered with what a file says is to be added.
//!
//! Source: libfaketime's README (`FAKETIME_TIMESTAMP_FILE`, `FAKETIME_NO_CACHE`, `FAKETIME_DONT_FAKE_MONOTONIC`).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The library for programs with threads.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// Where distributions and its own `make install` put it, besides directories of these for each architecture.
const PLACES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib"];

/// It is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no {LIBRARY} on this machine, which sets the clock of one process: install it (apt-get install faketime)"
)]
pub struct Missing;

/// One node's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeTime {
    library: PathBuf,
    /// What is to be added to the time.
    file: PathBuf,
    /// Whether only the time of day is set, and not also the clock that never is.
    wall_only: bool,
}

/// Where the library is.
pub fn library() -> Result<PathBuf, Missing> {
    let below = |place: &str| {
        let inner = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(PathBuf::from(place)).chain(inner).collect::<Vec<_>>()
    };
    let directories = PLACES.into_iter().flat_map(below);
    let candidates =
        directories.flat_map(|place| [place.join("faketime").join(LIBRARY), place.join(LIBRARY)]);
    candidates.into_iter().find(|path| path.is_file()).ok_or(Missing)
}

/// Removes what the library in this process shares with children, which a node has none of. Once the library has opened it,
/// it works without; and nobody else would remove what a killed process leaves.
pub(super) fn forget_shared(pid: i32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // If it is not there, all is well: other versions share nothing.
        drop(fs::remove_file(format!("/dev/shm/{name}{pid}")));
    }
}

impl FakeTime {
    /// Of a node with this directory. Its clock is right at first.
    pub(super) fn new(directory: &Path, wall_only: bool) -> io::Result<FakeTime> {
        let library = library().map_err(io::Error::other)?;
        let time = FakeTime { library, file: directory.join("clock"), wall_only };
        time.set(0)?;
        Ok(time)
    }

    /// From now on the clock is so many milliseconds ahead of the machine's, or behind if that is negative.
    pub fn set(&self, ahead_ms: i64) -> io::Result<()> {
        let sign = if ahead_ms < 0 { '-' } else { '+' };
        let ms = ahead_ms.unsigned_abs();
        // At once: a file that is half written would be some other time.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{sign}{}.{:03}\n", ms / 1000, ms % 1000))?;
        fs::rename(next, &self.file)
    }

    /// What the node's environment has to say.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![
            ("LD_PRELOAD", self.library.clone().into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into_os_string()),
            // Otherwise the file is read every ten seconds only.
            ("FAKETIME_NO_CACHE", "1".into()),
        ];
        if self.wall_only {
            variables.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()));
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// What a process that goes by this clock takes for the time, seconds.
    fn told(time: &FakeTime) -> i64 {
        let date = Command::new("date").arg("+%s").envs(time.environment()).output().unwrap();
        String::from_utf8(date.stdout).unwrap().trim().parse().unwrap()
    }

    #[test]
    fn process_goes_by_the_clock_that_it_is_given() {
        if let Err(missing) = library() {
            eprintln!("skipped: {missing}");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let time = FakeTime::new(directory.path(), false).unwrap();
        for ahead in [0, 3_600_500, -7_200_250] {
            time.set(ahead).unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = i64::try_from(now.as_secs()).unwrap();
            let off = told(&time) - now - ahead / 1000;
            assert!((-2..=60).contains(&off), "{off} s off at {ahead} ms");
        }
    }
}
