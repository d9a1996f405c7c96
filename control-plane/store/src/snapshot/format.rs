//! The bytes of a backup. Pure; files belong to `reader` and `writer`.
//!
//! Header: magic (8 bytes), format `u32`, length `u32`, a [`Header`] as JSON of that length, CRC-32 `u32` of all before. Parts follow: kind `u8`,
//! number `u32` (from 0 on), length `u32`, payload, CRC-32 `u32` of all of the part before. Kinds: a file (length of its name `u32`, mode `u32`,
//! name, contents), keys (records one after the other: key length `u32`, value length `u32`, time to live in milliseconds `u64` or 0, key, value),
//! and, once and last, the end: number of keys `u64`, CRC-32 `u32` of the whole file before that part. All integers are little-endian. This
//! header's frame is the same in every format, so that an older program can tell a newer backup from a damaged one.

use super::Record;
use crate::Revision;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub const MAGIC: &[u8; 8] = b"orknetbk";
/// The format that is written and read.
pub const FORMAT: u32 = 1;
/// Bytes before the header's JSON, and before a part's payload.
pub const HEADER_START: usize = 16;
pub const PART_START: usize = 9;
/// Longest header and longest part that are believed.
pub const MOST_HEADER: usize = 64 << 10;
pub const MOST_PART: usize = 16 << 20;
/// Keys are collected to parts of so many bytes; one longer key has a part of its own.
pub const PART_BYTES: usize = 256 << 10;

const FILE: u8 = 1;
const KEYS: u8 = 2;
const END: u8 = 3;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Which cluster it is of.
    pub cluster: String,
    /// The revision that all keys are of.
    pub revision: Revision,
    /// How many keys it holds.
    pub keys: u64,
    /// Milliseconds since 1970.
    pub taken_at: u64,
    /// What wrote it.
    pub program: String,
}

/// A file that is kept beside the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Without a directory.
    pub name: String,
    /// Unix permissions.
    pub mode: u32,
    pub contents: Bytes,
}

impl std::fmt::Debug for KeptFile {
    /// Not the contents: they may be a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptFile").field("name", &self.name).field("mode", &self.mode).field("bytes", &self.contents.len()).finish()
    }
}

/// One part.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    File(KeptFile),
    Keys(Vec<Record>),
    End { keys: u64, checksum: u32 },
}

/// The header's bytes.
pub fn header(header: &Header) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(header)?;
    let mut bytes = [&MAGIC[..], &FORMAT.to_le_bytes(), &(json.len() as u32).to_le_bytes(), &json].concat();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// A part's payload, being made.
pub struct Payload {
    kind: u8,
    bytes: Vec<u8>,
}

impl Payload {
    pub fn keys() -> Self {
        Self { kind: KEYS, bytes: Vec::new() }
    }

    pub fn file(file: &KeptFile) -> Self {
        let mut payload = Self { kind: FILE, bytes: Vec::new() };
        payload.u32(file.name.len());
        payload.bytes.extend_from_slice(&file.mode.to_le_bytes());
        payload.bytes.extend_from_slice(file.name.as_bytes());
        payload.bytes.extend_from_slice(&file.contents);
        payload
    }

    pub fn end(keys: u64, checksum: u32) -> Self {
        Self { kind: END, bytes: [&keys.to_le_bytes()[..], &checksum.to_le_bytes()].concat() }
    }

    pub fn add(&mut self, record: &Record) {
        self.u32(record.key.len());
        self.u32(record.value.len());
        let ttl = record.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        self.bytes.extend_from_slice(&ttl.to_le_bytes());
        self.bytes.extend_from_slice(&record.key);
        self.bytes.extend_from_slice(&record.value);
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole part.
    pub fn part(&self, number: u32) -> Vec<u8> {
        let length = (self.bytes.len() as u32).to_le_bytes();
        let mut bytes = [&[self.kind][..], &number.to_le_bytes(), &length, &self.bytes].concat();
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn u32(&mut self, number: usize) {
        self.bytes.extend_from_slice(&(number as u32).to_le_bytes());
    }
}

/// Reads a part's payload; `None` when it does not hold what its kind does.
pub fn part(kind: u8, payload: Bytes) -> Option<Part> {
    let mut rest = payload;
    match kind {
        FILE => {
            let (length, mode) = (u32(&mut rest)? as usize, u32(&mut rest)?);
            let name = String::from_utf8(take(&mut rest, length)?.to_vec()).ok()?;
            Some(Part::File(KeptFile { name, mode, contents: rest }))
        }
        KEYS => {
            let mut records = Vec::new();
            while !rest.is_empty() {
                let (key, value, ttl) = (u32(&mut rest)? as usize, u32(&mut rest)? as usize, u64(&mut rest)?);
                let (key, value) = (take(&mut rest, key)?, take(&mut rest, value)?);
                records.push(Record { key, value, ttl: (ttl > 0).then(|| Duration::from_millis(ttl)) });
            }
            Some(Part::Keys(records))
        }
        END => {
            let (keys, checksum) = (u64(&mut rest)?, u32(&mut rest)?);
            rest.is_empty().then_some(Part::End { keys, checksum })
        }
        _ => None,
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

fn u32(bytes: &mut Bytes) -> Option<u32> {
    Some(u32::from_le_bytes(*take(bytes, 4)?.first_chunk()?))
}

fn u64(bytes: &mut Bytes) -> Option<u64> {
    Some(u64::from_le_bytes(*take(bytes, 8)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &Payload) -> Option<Part> {
        part(payload.kind, payload.bytes.clone().into())
    }

    #[test]
    fn parts_come_back_as_they_went() {
        let record = |key: &'static str, ttl| Record { key: key.into(), value: vec![7; 300].into(), ttl };
        let records = vec![record("a", None), record("b", Some(Duration::from_millis(1500)))];
        let mut keys = Payload::keys();
        records.iter().for_each(|record| keys.add(record));
        assert_eq!(read(&keys), Some(Part::Keys(records)));
        let file = KeptFile { name: "ca.key".into(), mode: 0o600, contents: "secret".into() };
        assert_eq!(read(&Payload::file(&file)), Some(Part::File(file.clone())));
        assert!(!format!("{file:?}").contains("secret"));
        assert_eq!(read(&Payload::end(3, 4)), Some(Part::End { keys: 3, checksum: 4 }));
    }

    #[test]
    fn a_payload_that_ends_early_is_none() {
        let mut keys = Payload::keys();
        keys.add(&Record { key: "key".into(), value: "value".into(), ttl: None });
        for cut in 1..keys.len() {
            assert_eq!(part(KEYS, keys.bytes[..cut].to_vec().into()), None, "cut at {cut}");
        }
        assert_eq!(part(9, Bytes::new()), None);
    }
}
