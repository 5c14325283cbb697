//! Appends to the newest segment, and begins new ones.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::effects::{Record, Write};
use raft_core::types::Index;

use super::directory::{Directory, Lock, remove_unneeded};
use super::segment::{Counters, SegmentFile, Segments, create_segment, open_segment};
use super::sequence::{Position, Sequence};
use super::walk::{Beginnings, Tail, Walk};
use super::{Error, Options};
use crate::codec;

/// A buffer that a rare large batch has made larger than this is given back.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// The log, open for appending.
#[derive(Debug)]
pub struct LogFile {
    directory: Directory,
    _lock: Arc<Lock>,
    options: Options,
    /// The newest segment.
    file: File,
    path: PathBuf,
    /// As in the file of that name.
    counters: Counters,
    /// Up to here the segment holds durable batches.
    end: u64,
    /// The segment's length: from `end` on it is padding.
    length: u64,
    /// The next batch, encoded.
    buffer: Vec<u8>,
    /// Records in the buffer.
    records: u64,
    /// What the records lead to, those in the buffer included.
    sequence: Sequence,
    /// What the durable records lead to.
    durable: Position,
    /// Where the log may come to begin.
    beginnings: Beginnings,
    /// The first index that a record in the buffer declares void.
    buffered_void: Index,
}

impl LogFile {
    /// Goes on where the log ends, as `walk` found it: after cutting what is torn.
    pub(super) fn adopt(
        directory: Directory,
        lock: Arc<Lock>,
        options: Options,
        segments: &Segments,
        walk: &Walk,
    ) -> Result<LogFile, Error> {
        let tail = walk.tail();
        let sequence = walk.sequence().clone();
        let file = open_segment(&tail.path)?;
        let end = readopt(&file, &tail)?;
        // First what an earlier process left visible, then what counts it.
        directory.sync()?;
        let counters = Counters { newest: tail.number, ..segments.counters };
        if counters != segments.counters {
            counters.publish(&directory)?;
        }
        for purged in &segments.purged {
            remove_unneeded(&purged.path);
        }
        Ok(LogFile {
            directory,
            _lock: lock,
            options,
            file,
            path: tail.path,
            counters,
            end,
            length: end,
            buffer: Vec::new(),
            records: 0,
            durable: sequence.position(),
            sequence,
            beginnings: walk.beginnings().clone(),
            buffered_void: Index::MAX,
        })
    }

    /// Takes the records into the buffer; durable after [`LogFile::sync`].
    ///
    /// Panics on a record that cannot follow those before: a node must not write what it could not read again.
    pub fn append(&mut self, write: &Write) {
        for record in &write.records {
            if let Err(fault) = self.sequence.accept(record) {
                panic!("write {} cannot be recorded: {fault}", write.seq);
            }
            if let Record::Truncate { from } = record {
                self.buffered_void = self.buffered_void.min(*from);
            }
            self.beginnings.note(record);
            codec::encode_record(record, &mut self.buffer);
            self.records += 1;
        }
    }

    /// The newest segment.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Records in the buffer.
    pub fn buffered_records(&self) -> u64 {
        self.records
    }

    /// Bytes in the buffer.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the buffer out with one call and makes it durable with another.
    ///
    /// After [`Error::DiskFull`] everything is as before the call, and it may be made again. Any other error is final.
    pub fn sync(&mut self) -> Result<(), Error> {
        if self.records == 0 {
            return Ok(());
        }
        if self.end >= self.options.segment_bytes {
            self.begin_segment()?;
        }
        let batch_bytes = self.buffer.len();
        self.buffer.push(b'\n');
        let end = self.end + length(&self.buffer);
        self.pad(end);
        let written = self.file.write_all_at(&self.buffer, self.end);
        self.length = self.length.max(self.end + length(&self.buffer));
        self.buffer.truncate(batch_bytes);
        if let Err(e) = written {
            self.trim()?;
            return Err(Error::io("write", &self.path, e));
        }
        self.file.sync_data().map_err(|e| Error::sync(&self.path, e))?;
        self.end = end;
        self.durable = self.sequence.position();
        self.records = 0;
        self.buffered_void = Index::MAX;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// Removes the segments that are not needed for entries from `index` on. Those before are in a durable snapshot, so
    /// it does not matter which records are durable meanwhile.
    ///
    /// From the moment that `segments.json` says so, the others count for nothing: they may go in any order.
    ///
    /// After [`Error::DiskFull`] nothing has changed, and it may be tried again. Any other error is final.
    pub fn purge(&mut self, index: Index) -> Result<(), Error> {
        let Counters { first, newest } = self.counters;
        let Some(begin) = self.beginnings.before(index).filter(|begin| *begin > first) else {
            return Ok(());
        };
        let counters = Counters { first: begin, newest };
        counters.publish(&self.directory)?;
        self.counters = counters;
        self.beginnings.purge(begin);
        for number in first..begin {
            remove_unneeded(&SegmentFile::new(&self.directory.log_dir(), number).path);
        }
        Ok(())
    }

    /// Removes the padding, so that a stopped node's files show their true size. What was durable stays so.
    pub fn close(mut self) -> Result<(), Error> {
        self.trim()?;
        self.file.sync_all().map_err(|e| Error::sync(&self.path, e))
    }

    /// Lets the batch in the buffer, which will end at `end`, be followed by padding, if it exceeds the present one.
    fn pad(&mut self, end: u64) {
        let step = self.options.padding_bytes;
        if step > 0 && end > self.length {
            let padding = end.next_multiple_of(step) - end;
            let padding = usize::try_from(padding).expect("a step fits memory");
            self.buffer.resize(self.buffer.len() + padding, b'\n');
        }
    }

    /// Cuts the file where its durable batches end.
    fn trim(&mut self) -> Result<(), Error> {
        self.file.set_len(self.end).map_err(|e| Error::io("truncate", &self.path, e))?;
        self.length = self.end;
        Ok(())
    }

    /// Closes the newest segment and begins the next one.
    fn begin_segment(&mut self) -> Result<(), Error> {
        self.trim()?;
        self.file.sync_all().map_err(|e| Error::sync(&self.path, e))?;
        let counters = Counters { newest: self.counters.newest + 1, ..self.counters };
        let (file, path, bytes) =
            create_segment(&self.directory, counters, self.end, self.durable)?;
        // The buffer's records come after this line.
        if self.durable.next <= self.buffered_void {
            self.beginnings.push(counters.newest, self.durable.next);
        }
        (self.file, self.path, self.counters) = (file, path, counters);
        (self.end, self.length) = (bytes, bytes);
        Ok(())
    }
}

/// Cuts what is torn, and makes sure that the rest is what the disk has; the new end.
///
/// The last batch may never have been made durable; all before it were. It is written again rather than just synced:
/// after a failed fsync the kernel shows data that it takes for written, and syncing that once more does nothing.
fn readopt(file: &File, tail: &Tail) -> Result<u64, Error> {
    let path = &tail.path;
    let batch_bytes = usize::try_from(tail.end - tail.batch_start).expect("a batch fits memory");
    let mut batch = vec![0; batch_bytes];
    file.read_exact_at(&mut batch, tail.batch_start).map_err(|e| Error::io("read", path, e))?;
    if !tail.batch_ended {
        batch.push(b'\n');
    }
    file.set_len(tail.end).map_err(|e| Error::io("truncate", path, e))?;
    file.write_all_at(&batch, tail.batch_start).map_err(|e| Error::io("write", path, e))?;
    file.sync_all().map_err(|e| Error::sync(path, e))?;
    Ok(tail.batch_start + length(&batch))
}

fn length(buffer: &[u8]) -> u64 {
    u64::try_from(buffer.len()).expect("lengths fit 64 bits")
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Duration;

    use raft_core::effects::{Record, Write};

    use super::super::{Error, Founding, Identity, Writer, WriterEvent, open};
    use super::LogFile;

    fn open_log(dir: &Path) -> LogFile {
        let identity = Identity { cluster: "demo".into(), node: 1 };
        let founding = Founding { founders: [1].into(), has_peers: false };
        open(dir, &identity, &founding).unwrap().log
    }

    fn hard_state(seq: u64) -> Write {
        let record = Record::HardState { term: seq, vote: None };
        Write { seq, term: seq, records: vec![record] }
    }

    /// A device that takes all writes and cannot be synced stands in for a disk that fails.
    #[test]
    fn writer_whose_fsync_fails_says_so_once_and_acknowledges_nothing_more() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut log = open_log(dir.path());
        let null = Path::new("/dev/null");
        log.file = OpenOptions::new().read(true).write(true).open(null).unwrap();
        log.path = null.to_owned();
        let (notify, events) = mpsc::channel();
        let writer = Writer::spawn(log, move |event| notify.send(event).unwrap()).unwrap();
        for seq in 1..=3 {
            writer.submit(hard_state(seq));
        }
        let event = events.recv_timeout(Duration::from_mins(1)).unwrap();
        let WriterEvent::Failed(Error::Io { operation: "sync", path, .. }) = event else {
            panic!("a failed fsync is reported, not {event:?}");
        };
        assert_eq!(path, null);
        writer.submit(hard_state(4));
        writer.close();
        assert_eq!(events.iter().count(), 0);
    }

    #[test]
    fn log_refuses_to_write_what_it_would_not_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut log = open_log(dir.path());
        log.append(&hard_state(2));
        let append = AssertUnwindSafe(|| log.append(&hard_state(1)));
        let panic = catch_unwind(append).unwrap_err();
        let expected = "write 1 cannot be recorded: the term falls from 2 to 1";
        assert_eq!(panic.downcast_ref::<String>().unwrap(), expected);
    }
}
