//! What all targets do: read to the end or the first error.

use history_checker::formats::{Format, Independent, Reading, Records};

/// Reads whole, and again in pieces: both must say the same.
pub fn read(data: &[u8], format: Option<Format>) {
    for independent in [Independent::Auto, Independent::Yes, Independent::No] {
        let reading = Reading { format, independent, line_bytes_max: 1 << 20 };
        assert_eq!(said(data, reading), said(Pieces(data), reading));
    }
}

/// All records and how it ended.
fn said(input: impl std::io::Read, reading: Reading) -> Vec<String> {
    let mut said = Vec::new();
    let mut records = match Records::with(input, "fuzz", reading) {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    loop {
        match records.next() {
            Ok(Some(record)) => said.push(format!("{record:?}")),
            Ok(None) => {
                said.push(format!("{:?}", records.truncated_line()));
                return said;
            }
            Err(error) => {
                said.push(error.to_string());
                return said;
            }
        }
    }
}

/// An input of which a few bytes come at a time.
struct Pieces<'a>(&'a [u8]);

impl std::io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.len().min(buffer.len()).min(7);
        let (piece, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(piece);
        self.0 = rest;
        Ok(length)
    }
}
