//! What nodes say of themselves on stderr: JSON lines, some of which are events.
//!
//! ```text
//! {"event":"listening","peer":"127.0.0.1:40001","client":"127.0.0.1:40002"}
//! {"event":"role","node":1,"role":"leader","term":4,"leader":1}
//! {"event":"panic","message":"…"}
//! {"event":"damaged","reason":"…"}
//! ```

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;

/// Longer lines are not looked at. Events are short.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How much of a panicking line goes to the history, bytes.
const PANIC_BYTES_MAX: usize = 500;

/// How much of a log's end goes into an error message, bytes.
const LAST_BYTES: u64 = 2000;

/// A line that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It accepts connections.
    Listening { peer: SocketAddr, client: SocketAddr },
    /// Its role, term or leader changed.
    Role { role: String, term: u64, leader: Option<u64> },
    /// It should not have come to this.
    Panic { line: String },
    /// It found its files damaged, and begins anew.
    Damaged { reason: String },
}

/// Events of a log that matter here. Others fail to parse, which is as good as unknown.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum LogEvent {
    Listening {
        peer: SocketAddr,
        client: SocketAddr,
    },
    Role {
        role: String,
        term: u64,
        #[serde(default)]
        leader: Option<u64>,
    },
    Panic {},
    Damaged {
        #[serde(default)]
        reason: String,
    },
}

/// What a line says, if it matters.
fn parse(line: &str) -> Option<Said> {
    if line.contains("\"event\"") {
        match serde_json::from_str(line) {
            Ok(LogEvent::Listening { peer, client }) => {
                return Some(Said::Listening { peer, client });
            }
            Ok(LogEvent::Role { role, term, leader }) => {
                return Some(Said::Role { role, term, leader: leader.filter(|id| *id != 0) });
            }
            Ok(LogEvent::Panic {}) => return Some(panic(line)),
            Ok(LogEvent::Damaged { reason }) => return Some(Said::Damaged { reason }),
            Err(_) => {}
        }
    }
    line.contains("panicked at").then(|| panic(line))
}

fn panic(line: &str) -> Said {
    let end = line.floor_char_boundary(PANIC_BYTES_MAX);
    Said::Panic { line: line[..end].to_owned() }
}

/// Follows a file that another process appends to.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// The beginning of a line whose end is not there yet; cut off at [`LINE_BYTES_MAX`].
    partial: Vec<u8>,
}

impl Tail {
    /// Follows from the present end.
    pub(super) fn from_end(mut file: File) -> io::Result<Tail> {
        file.seek(SeekFrom::End(0))?;
        Ok(Tail { file, partial: Vec::new() })
    }

    /// Hands over what was said since the last call. A line without its end waits for it.
    pub(super) fn drain(&mut self, mut on: impl FnMut(Said)) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        loop {
            let bytes = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => &chunk[..length],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                let room = LINE_BYTES_MAX - self.partial.len();
                self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    if let Some(said) = parse(&String::from_utf8_lossy(&self.partial)) {
                        on(said);
                    }
                    self.partial.clear();
                }
            }
        }
    }
}

/// When a line was written, as the node says.
pub(super) fn timestamp(line: &str) -> Option<SystemTime> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    humantime::parse_rfc3339(line.get("timestamp")?.as_str()?).ok()
}

/// The end of a log, for people.
pub(crate) fn last_lines(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error: io::Error| format!("(cannot be read: {error})"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn line_that_matters_is_understood() {
        let listening =
            r#"{"time":"…","event":"listening","peer":"127.0.0.1:1","client":"127.0.0.1:2"}"#;
        let peer = "127.0.0.1:1".parse().unwrap();
        let client = "127.0.0.1:2".parse().unwrap();
        assert_eq!(parse(listening), Some(Said::Listening { peer, client }));
        let role = r#"{"event":"role","node":1,"role":"leader","term":4,"leader":1}"#;
        let said = Said::Role { role: "leader".to_owned(), term: 4, leader: Some(1) };
        assert_eq!(parse(role), Some(said));
        let role = r#"{"event":"role","node":1,"role":"candidate","term":5,"leader":null}"#;
        let said = Said::Role { role: "candidate".to_owned(), term: 5, leader: None };
        assert_eq!(parse(role), Some(said));
        for line in
            [r#"{"event":"panic","message":"no"}"#, "thread 'main' panicked at src/main.rs:1:1:"]
        {
            assert_eq!(parse(line), Some(Said::Panic { line: line.to_owned() }));
        }
        let damaged =
            r#"{"event":"damaged","node":1,"incarnation":7,"reason":"line 3","moved_to":"d"}"#;
        assert_eq!(parse(damaged), Some(Said::Damaged { reason: "line 3".to_owned() }));
    }

    #[test]
    fn line_that_does_not_matter_is_passed_over() {
        for line in ["", "hello", "{", r#"{"event":"sync"}"#, r#"{"event":"role","term":"four"}"#] {
            assert_eq!(parse(line), None);
        }
    }

    #[test]
    fn line_says_when_it_was_written() {
        let line =
            r#"{"timestamp":"1970-01-01T00:00:01.500000Z","level":"INFO","event":"stopped"}"#;
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1500);
        assert_eq!(timestamp(line), Some(at));
        assert_eq!(
            (timestamp("{}"), timestamp("no"), timestamp(r#"{"timestamp":"x"}"#)),
            (None, None, None)
        );
    }

    #[test]
    fn tail_hands_over_whole_lines_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"an old line panicked at start\n").unwrap();
        let mut tail = Tail::from_end(file.reopen().unwrap()).unwrap();
        let mut drain = || {
            let mut said = Vec::new();
            tail.drain(|line| said.push(line)).unwrap();
            said.len()
        };
        assert_eq!(drain(), 0);
        file.write_all(b"it panicked at one\nit panicked ").unwrap();
        assert_eq!(drain(), 1);
        assert_eq!(drain(), 0);
        file.write_all(b"at two\n").unwrap();
        file.write_all(&vec![b'x'; 5 * LINE_BYTES_MAX]).unwrap();
        file.write_all(b"\nit panicked at three\n").unwrap();
        assert_eq!(drain(), 2);
    }
}
