//! Reading a backup. Nothing is believed that its checksum does not say, and nothing is whole before its end was seen.

use super::format::{self, FORMAT, HEADER_START, Header, KeptFile, MAGIC, MOST_HEADER, MOST_PART, PART_START, Part};
use super::{Record, SnapshotError};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// What a whole backup holds, besides its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub header: Header,
    pub files: Vec<KeptFile>,
    /// The key with the largest value, and its bytes.
    pub largest: Option<(String, usize)>,
}

/// Reads all of a backup and keeps nothing but what it says of itself and its files. Blocks.
/// Errors: what is wrong with it, and where.
pub fn check(path: &Path) -> Result<Contents, SnapshotError> {
    let mut reader = Reader::open(path)?;
    let mut files = Vec::new();
    let mut largest: Option<(String, usize)> = None;
    while let Some(part) = reader.next()? {
        match part {
            Part::File(file) => files.push(file),
            Part::Keys(records) => {
                let of_part = records.into_iter().map(|record| (record.key, record.value.len())).max_by_key(|(_, size)| *size);
                let of_part = of_part.map(|(key, size)| (String::from_utf8_lossy(&key).into_owned(), size));
                largest = largest.into_iter().chain(of_part).max_by_key(|(_, size)| *size);
            }
            Part::End { .. } => {}
        }
    }
    Ok(Contents { header: reader.header, files, largest })
}

/// A backup being read.
pub struct Reader {
    pub header: Header,
    input: BufReader<File>,
    path: PathBuf,
    at: u64,
    parts: u32,
    keys: u64,
    /// The last key: they are in order.
    last: Bytes,
    checksum: crc32fast::Hasher,
    ended: bool,
}

impl Reader {
    /// Opens a backup and reads its header. Blocks.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(|source| SnapshotError::File { operation: "open", path: path.to_owned(), source })?;
        let empty = Header { cluster: String::new(), revision: 0, keys: 0, taken_at: 0, program: String::new() };
        let mut reader = Self {
            header: empty,
            input: BufReader::with_capacity(64 << 10, file),
            path: path.to_owned(),
            at: 0,
            parts: 0,
            keys: 0,
            last: Bytes::new(),
            checksum: crc32fast::Hasher::new(),
            ended: false,
        };
        reader.header = reader.read_header()?;
        Ok(reader)
    }

    /// The next part; `None` once the end was reached and all before it is what the writer wrote. Blocks.
    pub fn next(&mut self) -> Result<Option<Part>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let before = self.checksum.clone().finalize();
        let begins = self.at;
        let start = self.take(PART_START)?;
        let length = number(&start[5..]) as usize;
        if length > MOST_PART {
            return Err(self.damaged(begins, "a part is too long"));
        }
        let payload = self.take(length)?;
        let checksum = number(&self.take(4)?);
        let mut expected = crc32fast::Hasher::new();
        expected.update(&start);
        expected.update(&payload);
        if expected.finalize() != checksum {
            return Err(self.damaged(begins, "a part is not what was written"));
        }
        if number(&start[1..]) != self.parts {
            return Err(self.damaged(begins, "a part is missing or repeated"));
        }
        self.parts += 1;
        match format::part(start[0], payload.into()) {
            Some(Part::End { keys, checksum }) => {
                if (keys, keys, checksum) != (self.keys, self.header.keys, before) {
                    return Err(self.damaged(begins, "the end is of another backup"));
                }
                let mut one = [0];
                if self.input.read(&mut one).map_err(|error| self.unreadable(error))? != 0 {
                    return Err(self.damaged(self.at, "something follows the end"));
                }
                self.ended = true;
                Ok(None)
            }
            Some(Part::Keys(records)) => {
                self.in_order(&records).map_err(|what| self.damaged(begins, what))?;
                Ok(Some(Part::Keys(records)))
            }
            Some(Part::File(file)) if !is_name(&file.name) => Err(self.damaged(begins, "a file's name is none")),
            Some(file) => Ok(Some(file)),
            None => Err(self.damaged(begins, "a part cannot be understood")),
        }
    }

    fn read_header(&mut self) -> Result<Header, SnapshotError> {
        let start = self.take(HEADER_START)?;
        if &start[..8] != MAGIC {
            return Err(self.damaged(0, "it does not begin like one"));
        }
        let length = number(&start[12..]) as usize;
        if length > MOST_HEADER {
            return Err(self.damaged(0, "the header is too long"));
        }
        let json = self.take(length)?;
        let expected = self.checksum.clone().finalize();
        if number(&self.take(4)?) != expected {
            return Err(self.damaged(0, "the header is not what was written"));
        }
        match number(&start[8..]) {
            FORMAT => serde_json::from_slice(&json).map_err(|error| self.damaged(0, &format!("the header cannot be understood: {error}"))),
            format => Err(SnapshotError::Format { path: self.path.clone(), format }),
        }
    }

    fn in_order(&mut self, records: &[Record]) -> Result<(), &'static str> {
        for record in records {
            if record.key.is_empty() || record.key <= self.last {
                return Err("keys are not in order");
            }
            self.last = record.key.clone();
            self.keys += 1;
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = vec![0; length];
        match self.input.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged(self.at, "it ends here, before its end mark"));
            }
            Err(error) => return Err(self.unreadable(error)),
        }
        self.at += length as u64;
        self.checksum.update(&bytes);
        Ok(bytes)
    }

    fn damaged(&self, at: u64, what: &str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), what: format!("{what} (byte {at})") }
    }

    fn unreadable(&self, source: io::Error) -> SnapshotError {
        SnapshotError::File { operation: "read", path: self.path.clone(), source }
    }
}

/// Whether it names a file in a directory, and nothing else.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
