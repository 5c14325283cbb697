//! The bugs: what `harness/mutants/` holds.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::nemesis::Moment;

/// Where they are, in a checkout.
pub const FOLDER: &str = "harness/mutants";

/// The name of the build without a bug.
pub const CLEAN: &str = "clean";

/// Bounds of the time limit of a run.
const TIME_LIMITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);

/// A bug.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// `reads-before-applied`; what it is about comes first.
    pub name: String,
    /// The diff that puts it in.
    pub patch: PathBuf,
    /// What there is to say of it.
    pub about: About,
}

/// A TOML beside a patch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What is wrong, in one sentence.
    pub title: String,
    /// Where it really happened: project and public reference.
    pub source: String,
    /// The rule of Raft that it breaks, with the section.
    pub property: String,
    /// The checks that are expected to see it.
    pub finder: String,
    /// How it is looked for on real processes.
    pub run: Exposure<Run>,
    /// How it is looked for in the simulator.
    pub sim: Exposure<Sim>,
}

/// Whether a bug can be looked for at all.
#[derive(Clone, Debug)]
pub enum Exposure<T> {
    /// It can, and so.
    How(T),
    /// It cannot, and why.
    Impossible(String),
}

/// How a bug is looked for on real processes: an excerpt of the command line of `harness run`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// A workload by name, or a file by its path from the checkout's root.
    pub workload: String,
    /// Cluster size; otherwise the workload's.
    pub nodes: Option<u64>,
    /// Clients; otherwise the workload's.
    pub clients: Option<u64>,
    /// Operations a second; otherwise the workload's.
    pub rate: Option<u64>,
    /// Kinds of fault; otherwise the workload's.
    pub faults: Option<Vec<String>>,
    /// Moments that faults wait for; otherwise the workload's.
    pub at: Option<Vec<Moment>>,
    /// How long traffic and faults go on.
    #[serde(deserialize_with = "time_limit")]
    pub time_limit: Duration,
    /// Most runs, if none finds it; otherwise as many as the command says.
    pub runs: Option<u32>,
    /// What is expected.
    #[serde(default)]
    pub expected: Expected,
    /// Why it is not expected to be found.
    pub because: Option<String>,
}

/// How a bug is looked for in the simulator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sim {
    /// How many seeds are tried.
    pub seeds: u64,
    /// Founders of the cluster; otherwise as the seed says.
    pub nodes: Option<u64>,
    /// What the clients do; otherwise as the seed says.
    pub workload: Option<String>,
    /// What is expected.
    #[serde(default)]
    pub expected: Expected,
    /// Why it is not expected to be found.
    pub because: Option<String>,
}

/// Whether a bug is expected to be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Expected {
    /// Yes.
    #[default]
    #[serde(rename = "found")]
    Found,
    /// No; an honest museum says so, and why.
    #[serde(rename = "not found")]
    NotFound,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Exposure<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exposure<T>, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        match (table.remove("impossible"), table.is_empty()) {
            (None, _) => {
                T::deserialize(table).map(Exposure::How).map_err(|e| D::Error::custom(e.message()))
            }
            (Some(toml::Value::String(why)), true) => Ok(Exposure::Impossible(why)),
            (Some(_), _) => {
                Err(D::Error::custom("`impossible` is a text, and nothing else stands beside it"))
            }
        }
    }
}

fn time_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let limit = humantime::parse_duration(&text).map_err(D::Error::custom)?;
    if TIME_LIMITS.contains(&limit) {
        return Ok(limit);
    }
    Err(D::Error::custom("time_limit must be 1s to 10m"))
}

impl Mutant {
    /// All of a checkout's, by name. An error names the file.
    pub fn all(root: &Path) -> anyhow::Result<Vec<Mutant>> {
        let folder = root.join(FOLDER);
        let failed = || format!("cannot read {}", folder.display());
        let mut found = Vec::new();
        let mut tables = 0;
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            let is = |extension: &str| path.extension().is_some_and(|end| end == extension);
            tables += u32::from(is("toml"));
            if is("patch") {
                found.push(Mutant::read(path)?);
            }
        }
        if usize::try_from(tables) != Ok(found.len()) {
            bail!(
                "{} holds {} patches and {tables} TOML files: each patch needs one of the same name",
                folder.display(),
                found.len()
            );
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn read(patch: PathBuf) -> anyhow::Result<Mutant> {
        let table = patch.with_extension("toml");
        let text = fs::read_to_string(&table)
            .with_context(|| format!("{} says nothing of {}", table.display(), patch.display()))?;
        let about: About =
            toml::from_str(&text).with_context(|| format!("{} is wrong", table.display()))?;
        about.check().with_context(|| format!("{} is wrong", table.display()))?;
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Mutant { name, patch, about })
    }

    /// What it is about: `reads`.
    pub fn section(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }
}

impl About {
    fn check(&self) -> anyhow::Result<()> {
        let run = match &self.run {
            Exposure::How(run) => Some((run.expected, &run.because)),
            Exposure::Impossible(_) => None,
        };
        let sim = match &self.sim {
            Exposure::How(sim) => Some((sim.expected, &sim.because)),
            Exposure::Impossible(_) => None,
        };
        for (expected, because) in run.into_iter().chain(sim) {
            if (expected == Expected::NotFound) != because.is_some() {
                bail!("`expected = \"not found\"` and `because` go together");
            }
        }
        Ok(())
    }
}

/// Those that a command line names, in order, and whether the clean build is among them. No names: all, and the clean
/// build. An error is the user's.
pub fn select(all: Vec<Mutant>, names: &[String]) -> anyhow::Result<(Vec<Mutant>, bool)> {
    if names.is_empty() {
        return Ok((all, true));
    }
    let means = |word: &String, mutant: &Mutant| mutant.name.starts_with(word.as_str());
    let stray = names.iter().find(|word| *word != CLEAN && !all.iter().any(|m| means(word, m)));
    if let Some(word) = stray {
        let known: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
        bail!("no bug's name begins with {word:?}; there are {CLEAN}, {}", known.join(", "));
    }
    let is_meant = |mutant: &Mutant| names.iter().any(|word| means(word, mutant));
    let chosen = all.into_iter().filter(is_meant).collect();
    Ok((chosen, names.iter().any(|word| word == CLEAN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = r#"
title = "t"
source = "s"
property = "p"
finder = "f"
"#;

    fn about(rest: &str) -> Result<About, String> {
        let about: About =
            toml::from_str(&format!("{ABOUT}{rest}")).map_err(|e| e.message().to_owned())?;
        about.check().map_err(|error| error.to_string())?;
        Ok(about)
    }

    #[test]
    fn about_says_how_or_why_not() {
        let good = about(
            "[run]\nworkload = \"append\"\ntime_limit = \"20s\"\n[sim]\nimpossible = \"no disk\"\n",
        );
        let About { run, sim, .. } = good.unwrap();
        let Exposure::How(run) = run else { panic!("{run:?}") };
        assert_eq!((run.workload.as_str(), run.expected), ("append", Expected::Found));
        assert!(matches!(sim, Exposure::Impossible(why) if why == "no disk"));
    }

    #[test]
    fn about_that_makes_no_sense_is_refused() {
        let sim = "[sim]\nseeds = 1\n";
        let run = "[run]\nworkload = \"append\"\ntime_limit = \"20s\"\n";
        for (bad, message) in [
            (format!("{run}expected = \"not found\"\n{sim}"), "go together"),
            (format!("{run}because = \"so\"\n{sim}"), "go together"),
            (format!("{run}impossible = \"so\"\n{sim}"), "nothing else stands beside it"),
            (format!("{run}typo = 1\n{sim}"), "unknown field `typo`"),
            (format!("[run]\nworkload = \"a\"\ntime_limit = \"20h\"\n{sim}"), "1s to 10m"),
            (run.to_owned(), "missing field `sim`"),
        ] {
            let error = about(&bad).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn names_select_by_their_beginnings() {
        let about = about("[run]\nimpossible = \"a\"\n[sim]\nimpossible = \"b\"\n").unwrap();
        let mutant = |name: &str| Mutant {
            name: name.to_owned(),
            patch: PathBuf::new(),
            about: about.clone(),
        };
        let all = || vec![mutant("reads-a"), mutant("reads-b"), mutant("storage-c")];
        let chosen = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let (chosen, clean) = select(all(), &words)?;
            Ok((chosen.into_iter().map(|m| m.name).collect::<Vec<_>>().join(" "), clean))
        };
        let of = |words: &[&str]| -> anyhow::Result<(String, bool)> { chosen(words) };
        assert_eq!(of(&[]).unwrap(), ("reads-a reads-b storage-c".to_owned(), true));
        assert_eq!(of(&["reads-"]).unwrap(), ("reads-a reads-b".to_owned(), false));
        assert_eq!(of(&["storage-c", "clean"]).unwrap(), ("storage-c".to_owned(), true));
        let error = of(&["writes"]).unwrap_err().to_string();
        assert!(error.contains("\"writes\"; there are clean, reads-a"), "{error}");
    }
}
