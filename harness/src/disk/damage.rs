//! What goes wrong with what the disk has, while nobody uses it.
//!
//! Damage is of the kind that a program can tell: a file's last write is spared, as what is wrong there looks like a write
//! that the disk never finished, and any program takes it for that. The same goes for the end of a file that grows, so only
//! files that were complete when they got their names are cut.

use std::io;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::content::{Content, Survival};
use super::volume::{Loss, Volume};

/// Most bits that are turned at a time.
const FLIPS_MAX: u64 = 3;

/// Something that happens to a disk. The power is off meanwhile, so what was not synced is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The power fails.
    LosePower(Survival),
    /// Some bits of a file turn.
    FlipBits,
    /// A file loses its end.
    Truncate,
    /// Everything is gone.
    Wipe,
}

/// What came of a blow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// What was not synced.
    pub loss: Loss,
    /// Of what was durable: bits turned, or bytes gone.
    pub damage: u64,
    /// What is damaged, below the data directory.
    pub path: Option<PathBuf>,
}

pub(super) fn strike(volume: &mut Volume, blow: Blow, rng: &mut StdRng) -> io::Result<Harm> {
    let survival = match blow {
        Blow::LosePower(survival) => survival,
        Blow::FlipBits | Blow::Truncate | Blow::Wipe => Survival::Nothing,
    };
    let loss = volume.lose_power(survival, rng)?;
    let (damage, path) = match blow {
        Blow::LosePower(_) => (0, None),
        Blow::FlipBits => flip_bits(volume, rng)?,
        Blow::Truncate => truncate(volume, rng)?,
        Blow::Wipe => (volume.wipe()?, Some(PathBuf::from("."))),
    };
    Ok(Harm { loss, damage, path })
}

fn flip_bits(volume: &mut Volume, rng: &mut StdRng) -> io::Result<(u64, Option<PathBuf>)> {
    let is_open_to_it = |_: &Path, content: &Content| !content.settled().is_empty();
    let Some((path, content)) = choose(volume, is_open_to_it, rng) else {
        return Ok((0, None));
    };
    let mut turned = std::collections::BTreeSet::new();
    for _ in 0..rng.random_range(1..=FLIPS_MAX) {
        let offset = rng.random_range(content.settled());
        let bit = rng.random_range(0..8);
        // Turned twice it would be as before.
        if turned.insert((offset, bit)) {
            content.flip(offset, bit)?;
        }
    }
    Ok((u64::try_from(turned.len()).unwrap_or(u64::MAX), Some(path)))
}

fn truncate(volume: &mut Volume, rng: &mut StdRng) -> io::Result<(u64, Option<PathBuf>)> {
    let is_open_to_it = |_: &Path, content: &Content| content.is_published && content.length() > 0;
    let Some((path, content)) = choose(volume, is_open_to_it, rng) else {
        return Ok((0, None));
    };
    let before = content.length();
    let length = rng.random_range(0..before);
    content.cut(length)?;
    Ok((before - length, Some(path)))
}

fn choose<'a>(
    volume: &'a mut Volume,
    is_open_to_it: impl Fn(&Path, &Content) -> bool,
    rng: &mut StdRng,
) -> Option<(PathBuf, &'a mut Content)> {
    let mut files = volume.in_use();
    files.retain(|(path, content)| is_open_to_it(path, content));
    let numbers: Vec<usize> = (0..files.len()).collect();
    let chosen = *numbers.choose(rng)?;
    Some(files.swap_remove(chosen))
}
