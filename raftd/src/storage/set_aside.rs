//! What is done about damage where there are peers to recover from.
//!
//! The order, with a crash possible between any two steps:
//!
//! 1. `node.json` gets a new incarnation, the standing "lost", and says what is being moved where. From here on the old
//!    log counts for nothing, and nobody relies on this node.
//! 2. The directories `log` and `snapshot` are moved, each with one rename.
//! 3. Empty ones are set up.
//! 4. `node.json` says that it is done. Before that, nothing is written to the new log, so 2 and 3 may be done again.

use std::fs;
use std::path::PathBuf;

use super::directory::{Directory, create_dir, publish, sync_dir};
use super::papers::{NodeFile, PapersStanding, SettingAside, draw_incarnation};
use super::recovery::set_up;
use super::{Damage, Error, Founding, sealed};

/// Damaged files were moved away, and the node starts as one that lost its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What was damaged: file, line, and why.
    pub reason: String,
    /// Where the files are now.
    pub dir: PathBuf,
    /// The directory's new number.
    pub incarnation: u64,
}

/// Declares what is there void. `old`: the papers, if they are intact.
pub(super) fn begin(
    directory: &Directory,
    founding: &Founding,
    old: Option<NodeFile>,
    damage: &Damage,
) -> Result<NodeFile, Error> {
    let number = directory.asides()?.last().map_or(1, |(number, _)| number + 1);
    let aside = directory.aside(number);
    create_dir(&aside)?;
    if let Some(content) = sealed::read_bytes(&directory.node_path())? {
        publish(&aside.join("node.json"), &content)?;
    }
    let old = old.map_or_else(|| NodeFile::found(directory.identity(), founding), Ok)?;
    let file = NodeFile {
        incarnation: draw_incarnation()?,
        standing: PapersStanding::Lost,
        set_aside: Some(SettingAside { number, reason: damage.to_string() }),
        ..old
    };
    file.publish(directory)?;
    Ok(file)
}

/// Does what [`begin`] declared, or what is left of it.
pub(super) fn finish(
    directory: &Directory,
    mut file: NodeFile,
) -> Result<(NodeFile, SetAside), Error> {
    let unfinished = file.set_aside.take().expect("there is something to finish");
    let SettingAside { number, reason } = unfinished;
    let dir = directory.aside(number);
    create_dir(&dir)?;
    for from in [directory.log_dir(), directory.snapshot_dir()] {
        let to = dir.join(from.file_name().expect("both have names"));
        if from.exists() && !to.exists() {
            fs::rename(&from, &to).map_err(|e| Error::io("rename to", &to, e))?;
        }
    }
    sync_dir(&dir)?;
    sync_dir(directory.root())?;
    set_up(directory)?;
    file.publish(directory)?;
    let incarnation = file.incarnation;
    Ok((file, SetAside { reason, dir, incarnation }))
}
