//! The bytes of the log: one frame per group of commits, with its checksum. Pure encoding and decoding; files belong to `segment`.
//!
//! Frame: magic `u32`, payload length `u32`, CRC-32 of the payload `u32`, payload. Payload: commits one after the other, each its revision `u64`,
//! kind `u8`, number of records `u32`, records. Record: kind `u8`, key length `u32`, value length `u32`, create revision `u64`, deadline `u64`
//! (milliseconds since 1970, 0: none), key, value. All integers are little-endian.

use crate::Revision;
use std::ops::Range;

const MAGIC: u32 = 0x3147_4b4f;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 12;
/// Bytes of a record besides its key and value.
pub const RECORD_HEADER: usize = 25;

/// The deadline is so many bytes before the key.
pub const DEADLINE_BEFORE_KEY: usize = 8;

const COMMIT: u8 = 0;
const COMPACTION: u8 = 1;
const DELETE: u8 = 0;
const PUT: u8 = 1;

/// One write of one commit, its value as a place in the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: &'a [u8],
    pub create_revision: Revision,
    /// Milliseconds since 1970 at which the key expires; 0: never.
    pub deadline: u64,
    /// Where the value is, from the first byte of the decoded buffer; `None` is a deletion.
    pub value: Option<Range<usize>>,
}

impl Record<'_> {
    /// Bytes that it takes in the log.
    pub fn size(&self) -> u64 {
        record_size(self.key.len(), self.value.as_ref().map_or(0, Range::len))
    }
}

/// What a commit in the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    Commit {
        revision: Revision,
        records: Vec<Record<'a>>,
    },
    /// Everything superseded before this revision may be forgotten.
    Compaction {
        revision: Revision,
    },
}

/// One frame read from a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub commits: Vec<Decoded<'a>>,
    /// Offset of the first byte after it in the buffer.
    pub end: usize,
}

/// Collects the commits of one frame.
pub struct Builder {
    bytes: Vec<u8>,
}

/// Offsets at which [`Builder::put`] wrote the value, from the frame's first byte.
pub type ValueOffset = usize;

impl Builder {
    pub fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER] }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEADER
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a commit of `records` records, which the caller adds next.
    pub fn commit(&mut self, revision: Revision, records: u32) {
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        self.bytes.push(COMMIT);
        self.bytes.extend_from_slice(&records.to_le_bytes());
    }

    /// Adds the mark of a compaction.
    pub fn compaction(&mut self, revision: Revision) {
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        self.bytes.push(COMPACTION);
        self.bytes.extend_from_slice(&0u32.to_le_bytes());
    }

    /// Adds the writing of a value; answers where the value is in the frame.
    pub fn put(&mut self, key: &[u8], value: &[u8], create_revision: Revision, deadline: u64) -> ValueOffset {
        self.record(PUT, key, value, create_revision, deadline)
    }

    /// Adds a deletion.
    pub fn delete(&mut self, key: &[u8]) {
        self.record(DELETE, key, &[], 0, 0);
    }

    /// The finished frame.
    pub fn finish(mut self) -> Vec<u8> {
        let payload = &self.bytes[FRAME_HEADER..];
        let (length, checksum) = (payload.len() as u32, crc32fast::hash(payload));
        self.bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }

    fn record(&mut self, kind: u8, key: &[u8], value: &[u8], create_revision: Revision, deadline: u64) -> ValueOffset {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&create_revision.to_le_bytes());
        self.bytes.extend_from_slice(&deadline.to_le_bytes());
        self.bytes.extend_from_slice(key);
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(value);
        offset
    }
}

/// Bytes of a record with a key and a value of these lengths.
pub fn record_size(key: usize, value: usize) -> u64 {
    (RECORD_HEADER + key + value) as u64
}

/// Reads the frame that begins at `offset` of `buffer`; `None` when there is no whole, intact frame.
pub fn decode(buffer: &[u8], offset: usize) -> Option<Frame<'_>> {
    let end = intact(buffer, offset)?;
    let mut cursor = Cursor { bytes: &buffer[..end], at: offset + FRAME_HEADER };
    let mut commits = Vec::new();
    while cursor.at < end {
        let revision = cursor.u64()?;
        let kind = cursor.u8()?;
        let count = cursor.u32()?;
        commits.push(match kind {
            COMMIT => {
                let mut records = Vec::with_capacity(count.min(1024) as usize);
                for _ in 0..count {
                    records.push(cursor.record()?);
                }
                Decoded::Commit { revision, records }
            }
            COMPACTION => Decoded::Compaction { revision },
            _ => return None,
        });
    }
    Some(Frame { commits, end })
}

/// Whether an intact frame begins anywhere in `buffer` at or after `offset`: what tells a torn tail from a damaged middle.
pub fn any_intact_after(buffer: &[u8], offset: usize) -> bool {
    let magic = MAGIC.to_le_bytes();
    let mut at = offset;
    while at + FRAME_HEADER <= buffer.len() {
        if buffer[at..at + 4] == magic && intact(buffer, at).is_some() {
            return true;
        }
        at += 1;
    }
    false
}

/// End of the frame at `offset` if it is whole and its checksum holds.
fn intact(buffer: &[u8], offset: usize) -> Option<usize> {
    let mut cursor = Cursor { bytes: buffer, at: offset };
    if cursor.u32()? != MAGIC {
        return None;
    }
    let length = cursor.u32()? as usize;
    let checksum = cursor.u32()?;
    let payload = cursor.take(length)?;
    (length > 0 && crc32fast::hash(payload) == checksum).then_some(cursor.at)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let kind = self.u8()?;
        let key_length = self.u32()? as usize;
        let value_length = self.u32()? as usize;
        let create_revision = self.u64()?;
        let deadline = self.u64()?;
        let key = self.take(key_length)?;
        let start = self.at;
        self.take(value_length)?;
        let value = match kind {
            PUT => Some(start..start + value_length),
            DELETE => None,
            _ => return None,
        };
        Some(Record { key, create_revision, deadline, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut builder = Builder::new();
        builder.commit(7, 2);
        builder.put(b"key", b"value", 3, 99);
        builder.delete(b"gone");
        builder.compaction(5);
        builder.finish()
    }

    #[test]
    fn a_frame_decodes_to_what_was_encoded() {
        let mut bytes = vec![1, 2, 3];
        bytes.extend(sample());
        let frame = decode(&bytes, 3).unwrap();
        assert_eq!(frame.end, bytes.len());
        let Decoded::Commit { revision: 7, records } = &frame.commits[0] else { panic!("{frame:?}") };
        assert_eq!((records[0].key, records[0].create_revision, records[0].deadline), (&b"key"[..], 3, 99));
        assert_eq!(&bytes[records[0].value.clone().unwrap()], b"value");
        assert_eq!((records[1].key, &records[1].value), (&b"gone"[..], &None));
        assert_eq!(frame.commits[1], Decoded::Compaction { revision: 5 });
    }

    #[test]
    fn no_cut_and_no_flipped_bit_passes_for_a_frame() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], 0), None, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&damaged, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn an_intact_frame_after_damage_is_found() {
        let mut bytes = sample();
        bytes[14] ^= 0xff;
        assert!(!any_intact_after(&bytes, 0));
        bytes.extend(sample());
        assert!(any_intact_after(&bytes, 1));
    }
}
