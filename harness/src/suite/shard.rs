//! A share of a series, so that several machines run it together.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the names of files with a [`Share`] begin.
pub(crate) const SHARE_PREFIX: &str = "shard-";

/// The Ith of N shares, I from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    share: usize,
    shares: usize,
}

/// What a machine was to run, so that it is noticed if it did not: a file in the results directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) of: usize,
    /// Workload and seed of each run.
    pub(crate) runs: Vec<(String, u64)>,
}

impl Shard {
    /// Leaves a note of what is to be run here.
    pub(super) fn note(self, results: &Path, runs: Vec<(String, u64)>) -> io::Result<()> {
        let Shard { share, shares } = self;
        let text = serde_json::to_vec(&Share { number: share, of: shares, runs })?;
        fs::create_dir_all(results)?;
        fs::write(results.join(format!("{SHARE_PREFIX}{share}-of-{shares}.json")), text)
    }

    /// Every Nth of all, from the Ith on: shares differ by one at most, and neighbours go to different machines.
    pub fn of<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.share - 1).step_by(self.shares).collect()
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').map(|(share, shares)| (share.parse(), shares.parse()));
        match numbers {
            Some((Ok(share), Ok(shares))) if (1..=shares).contains(&share) => {
                Ok(Shard { share, shares })
            }
            Some((Ok(_), Ok(shares))) => {
                Err(format!("the shares are 1/{shares} to {shares}/{shares}"))
            }
            _ => Err("write it like 2/4: the second of four shares".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.share, self.shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_are_everything_once_and_as_even_as_can_be() {
        for (runs, shares) in [(10, 3), (3, 5), (12, 4), (0, 2), (7, 1)] {
            let all: Vec<usize> = (0..runs).collect();
            let share = |i| format!("{i}/{shares}").parse::<Shard>().unwrap().of(all.clone());
            let parts: Vec<Vec<usize>> = (1..=shares).map(share).collect();
            let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            let mut together = parts.concat();
            together.sort_unstable();
            assert_eq!(together, all);
        }
    }

    #[test]
    fn what_is_no_share_is_refused_with_the_remedy() {
        for (text, part) in [
            ("0/4", "1/4 to 4/4"),
            ("5/4", "1/4 to 4/4"),
            ("2", "2/4"),
            ("a/b", "2/4"),
            ("1/0", "1/0"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!("2/4".parse::<Shard>().unwrap().to_string(), "2/4");
    }
}
