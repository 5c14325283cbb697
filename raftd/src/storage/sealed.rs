//! Small JSON files that show whether they are intact: the last field is the checksum of the text before it.
//!
//! ```text
//! {"first":3,"newest":5,"checksum":"5f1c8a30"}
//! ```

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Damage, Error, FileFault};

const FIELD: &str = ",\"checksum\":\"";
const END: &str = "\"}";

/// The file's content. `value` must be a JSON object with at least one field.
pub(super) fn seal(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("all keys are strings");
    let closing = text.pop();
    assert_eq!(closing, Some('}'), "only objects are sealed");
    let checksum = checksum(&text);
    text + FIELD + &checksum + END + "\n"
}

/// Reads a sealed file; `None` if there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(text) = read_bytes(path)? else { return Ok(None) };
    let damaged = |fault| Error::Damaged(Damage::File { path: path.to_owned(), fault });
    let text = unseal(&text).map_err(damaged)?;
    serde_json::from_str(&text).map(Some).map_err(|e| damaged(FileFault::Json(e)))
}

pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// The object without its checksum, if that is right.
fn unseal(content: &[u8]) -> Result<String, FileFault> {
    let text = std::str::from_utf8(content).map_err(|_| FileFault::NoChecksum)?;
    let (body, stated) = text
        .strip_suffix('\n')
        .and_then(|text| text.strip_suffix(END))
        .and_then(|text| text.rsplit_once(FIELD))
        .ok_or(FileFault::NoChecksum)?;
    let computed = checksum(body);
    if stated != computed {
        return Err(FileFault::Checksum { stated: stated.to_owned(), computed });
    }
    Ok(body.to_owned() + "}")
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}
