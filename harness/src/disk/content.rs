//! A file's bytes: as programs see them, and what the disk would have of them if the power failed now.
//!
//! The bytes that programs see are in the file underneath. What is kept here is the way back: the pages that were
//! written to since the last fsync, as they were before. So what is appended costs no memory, however long nobody syncs.
//!
//! After an fsync that failed, pages are as Linux leaves them with ext4, XFS and Btrfs (Rebello et al., "Can Applications
//! Recover from fsync Failures?", ATC 2020): programs see what they wrote, the kernel takes it for written, the disk does
//! not have it, and the next fsync succeeds. Only what writes to a page once more has it written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;

use nix::fcntl::FallocateFlags;
use rand::Rng;
use rand::rngs::StdRng;

/// What a kernel writes back at a time, bytes.
const PAGE: u64 = 4096;

/// What a disk writes at a time, bytes.
const SECTOR: u64 = 512;

/// Which of the unsynced bytes survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// None.
    Nothing,
    /// Those that were written first: up to any byte, or up to the boundary of a sector.
    Beginning,
    /// Any pages, whatever their order.
    SomePages,
}

/// A regular file.
#[derive(Debug)]
pub(super) struct Content {
    file: File,
    length: u64,
    durable_length: u64,
    /// Pages that were written to since the last fsync, as they were then, as far as the file reached; by number.
    before: BTreeMap<u64, Vec<u8>>,
    /// What was written since the last fsync, in order.
    unsynced: Vec<Range<u64>>,
    /// What an fsync failed to write, and no later one will, in no order.
    stranded: Vec<Range<u64>>,
    /// What the last fsync that had something to do made durable: damage to it cannot be told from a write that the
    /// disk never finished.
    last_synced: Vec<Range<u64>>,
    /// It got its present name when it had its present bytes: whoever damages it cannot hide behind a torn write.
    pub(super) is_published: bool,
}

/// What a power loss did to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Unsynced bytes that are gone.
    pub(super) lost_bytes: u64,
    /// Unsynced bytes that the disk has all the same.
    pub(super) kept_bytes: u64,
}

impl Content {
    /// What is in `file` already is durable.
    pub(super) fn adopt(file: File) -> io::Result<Content> {
        let length = file.metadata()?.len();
        Ok(Content {
            file,
            length,
            durable_length: length,
            before: BTreeMap::new(),
            unsynced: Vec::new(),
            stranded: Vec::new(),
            last_synced: Vec::new(),
            is_published: true,
        })
    }

    /// The file underneath.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes, as programs see them.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that would be lost if the power failed now.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        let ranges = merged(&[self.unsynced.as_slice(), &self.stranded].concat());
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Up to `size` bytes from `offset` on; fewer at the end of the file only.
    pub(super) fn read(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let size = size.min(index(self.length.saturating_sub(offset)));
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Overwrites from `offset` on, and makes the file longer if need be.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(position(bytes.len())).ok_or(io::ErrorKind::FileTooLarge)?;
        self.remember(offset..end)?;
        self.dirty(offset.min(self.length)..end);
        self.is_published = false;
        self.file.write_all_at(bytes, offset)?;
        self.length = self.length.max(end);
        Ok(())
    }

    /// Makes the file this long: cuts it, or fills it up with zeros.
    pub(super) fn set_length(&mut self, length: u64) -> io::Result<()> {
        if length == self.length {
            return Ok(());
        }
        if length < self.length {
            self.remember(length..self.length)?;
            self.unsynced.retain(|range| range.start < length);
            self.stranded = without(&self.stranded, &(length..u64::MAX));
        } else {
            self.dirty(self.length..length);
        }
        self.is_published = false;
        self.file.set_len(length)?;
        for range in &mut self.unsynced {
            range.end = range.end.min(length);
        }
        self.length = length;
        Ok(())
    }

    /// As fallocate(2) does with these flags.
    pub(super) fn allocate(
        &mut self,
        flags: FallocateFlags,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let end = offset.checked_add(length).ok_or(io::ErrorKind::FileTooLarge)?;
        self.remember(offset..end)?;
        let from = i64::try_from(offset).map_err(too_large)?;
        let count = i64::try_from(length).map_err(too_large)?;
        nix::fcntl::fallocate(&self.file, flags, from, count)?;
        let now = self.file.metadata()?.len();
        let changed = if flags.contains(FallocateFlags::FALLOC_FL_PUNCH_HOLE)
            || flags.contains(FallocateFlags::FALLOC_FL_ZERO_RANGE)
        {
            offset..end.min(now)
        } else {
            self.length..now
        };
        self.dirty(changed);
        self.is_published = false;
        self.length = now;
        Ok(())
    }

    /// Makes everything durable, but for what an earlier fsync failed to write.
    pub(super) fn sync(&mut self) {
        self.durable_length = self.length;
        let mut before = std::mem::take(&mut self.before);
        // Where nothing was written, the disk has what it had, and zeros where it had nothing.
        for page in self.stranded.iter().flat_map(pages) {
            let length = (self.durable_length - page * PAGE).min(PAGE);
            let mut bytes = before.remove(&page).unwrap_or_default();
            bytes.resize(index(length), 0);
            self.before.insert(page, bytes);
        }
        if !self.unsynced.is_empty() {
            self.last_synced = merged(&std::mem::take(&mut self.unsynced));
        }
    }

    /// An fsync fails: nothing becomes durable, and what was to be written will not be written by the next one either.
    pub(super) fn fail_sync(&mut self) {
        self.stranded.append(&mut self.unsynced);
        self.stranded = merged(&self.stranded);
    }

    /// The power fails: the file is as the disk has it.
    pub(super) fn lose_power(&mut self, survival: Survival, rng: &mut StdRng) -> io::Result<Loss> {
        let bytes = self.unsynced_bytes();
        let survivors = match survival {
            Survival::Nothing => Vec::new(),
            Survival::Beginning => beginning(&self.unsynced, rng),
            Survival::SomePages => some_pages(&merged(&self.unsynced), rng),
        };
        let mut kept = Vec::new();
        for range in &survivors {
            kept.push((range.start, self.read(range.start, index(range.end - range.start))?));
        }
        self.file.set_len(self.durable_length)?;
        self.length = self.durable_length;
        for (page, bytes) in std::mem::take(&mut self.before) {
            self.file.write_all_at(&bytes, page * PAGE)?;
        }
        let mut kept_bytes = 0;
        for (offset, bytes) in kept {
            self.file.write_all_at(&bytes, offset)?;
            self.length = self.length.max(offset + position(bytes.len()));
            kept_bytes += position(bytes.len());
        }
        self.durable_length = self.length;
        self.unsynced.clear();
        self.stranded.clear();
        if !survivors.is_empty() {
            self.last_synced = survivors;
        }
        Ok(Loss { lost_bytes: bytes - kept_bytes, kept_bytes })
    }

    /// The durable bytes that cannot have been lost by a write that the disk never finished: all of a file that was
    /// complete when it got its name; of another, what stands before the last thing that was synced.
    pub(super) fn settled(&self) -> Range<u64> {
        let end = if self.is_published {
            self.durable_length
        } else {
            let first = self.last_synced.iter().map(|range| range.start).min();
            first.unwrap_or(0).min(self.durable_length)
        };
        0..end
    }

    /// Turns one bit of what the disk has. Only while nothing is unsynced: after a power loss, say.
    pub(super) fn flip(&mut self, offset: u64, bit: u8) -> io::Result<()> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, offset)?;
        byte[0] ^= 1 << (bit % 8);
        self.file.write_all_at(&byte, offset)
    }

    /// Cuts what the disk has. Only while nothing is unsynced.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        self.durable_length = length;
        Ok(())
    }

    /// The next fsync has this to write, and with it all of the pages that it is on.
    fn dirty(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let whole = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE);
        for stranded in &self.stranded {
            let (start, end) = (stranded.start.max(whole.start), stranded.end.min(whole.end));
            if start < end {
                self.unsynced.push(start..end);
            }
        }
        self.stranded = without(&self.stranded, &whole);
        self.unsynced.push(range);
    }

    /// Keeps the durable pages that are about to be changed.
    fn remember(&mut self, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.durable_length);
        if range.start >= end {
            return Ok(());
        }
        for page in pages(&(range.start..end)) {
            if self.before.contains_key(&page) {
                continue;
            }
            // What the file was cut to since is in here already: cutting keeps all that it cuts.
            let length = (self.durable_length - page * PAGE).min(PAGE);
            let mut bytes = vec![0; index(length)];
            self.file.read_exact_at(&mut bytes, page * PAGE)?;
            self.before.insert(page, bytes);
        }
        Ok(())
    }
}

/// The pages that a range is on; it is not empty.
fn pages(range: &Range<u64>) -> RangeInclusive<u64> {
    range.start / PAGE..=(range.end - 1) / PAGE
}

/// What of the ranges is outside of another.
fn without(ranges: &[Range<u64>], other: &Range<u64>) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for range in ranges {
        left.push(range.start..range.end.min(other.start));
        left.push(range.start.max(other.end)..range.end);
    }
    left.retain(|range| !range.is_empty());
    left
}

/// The ranges without overlaps, in order.
fn merged(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged.retain(|range| !range.is_empty());
    merged
}

/// What was written first, but not all of it.
fn beginning(writes: &[Range<u64>], rng: &mut StdRng) -> Vec<Range<u64>> {
    let total: u64 = writes.iter().map(|range| range.end - range.start).sum();
    if total < 2 {
        return Vec::new();
    }
    let mut left = rng.random_range(1..total);
    let by_sector: bool = rng.random();
    let mut kept = Vec::new();
    for range in writes {
        let mut end = range.end.min(range.start + left);
        left -= end - range.start;
        if by_sector && left == 0 && end < range.end {
            end = (end / SECTOR * SECTOR).max(range.start);
        }
        kept.push(range.start..end);
        if left == 0 {
            break;
        }
    }
    // Where something was written twice, all of the later write may be among the survivors: then nothing is lost, and
    // that is what the count will say.
    merged(&kept)
}

/// Each page or not; one at least is lost.
fn some_pages(ranges: &[Range<u64>], rng: &mut StdRng) -> Vec<Range<u64>> {
    let mut pages = Vec::new();
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let end = ((start / PAGE + 1) * PAGE).min(range.end);
            pages.push(start..end);
            start = end;
        }
    }
    if pages.is_empty() {
        return pages;
    }
    let lost = rng.random_range(0..pages.len());
    let mut number = 0;
    pages.retain(|_| {
        number += 1;
        number - 1 != lost && rng.random()
    });
    merged(&pages)
}

fn position(length: usize) -> u64 {
    u64::try_from(length).expect("lengths fit 64 bits")
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("positions inside a buffer are indexes")
}
