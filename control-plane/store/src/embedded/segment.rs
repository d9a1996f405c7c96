//! One file of the log: its header, its name, reading and writing at offsets. What the frames mean is not known here.
//!
//! Files are named after the first sequence number they cover (`0000000007.log`). A cleaned file covers a run of former ones, which its header
//! says, so that a crash between putting it in place and removing those loses and doubles nothing.

use crate::Revision;
use nix::fcntl::FallocateFlags;
use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"orknetlg";
const FORMAT: u32 = 1;
/// Bytes of a segment before its first frame.
pub const HEADER: usize = 48;
/// A place every so many bytes is remembered, from where a replay can begin.
const MARK_EVERY: u64 = 64 << 10;
/// Mode of a new file: Secrets are in it.
pub const MODE: u32 = 0o600;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First sequence number that it covers: its name.
    pub from: u64,
    /// Last sequence number that it covers; more than `from` after cleaning.
    pub to: u64,
    /// The store's revision when the segment was begun: everything up to it is in earlier ones.
    pub base: Revision,
    /// The compacted revision then.
    pub compacted: Revision,
    /// Whether it was rewritten, so that not every revision is in it.
    pub cleaned: bool,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&(FORMAT << 1 | u32::from(self.cleaned)).to_le_bytes());
        bytes[12..20].copy_from_slice(&self.from.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.to.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.base.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.compacted.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..44]);
        bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when it is not one of ours or is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let u32_at = |at: usize| bytes[at..at + 4].try_into().ok().map(u32::from_le_bytes);
        let u64_at = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let format = u32_at(8)?;
        if &bytes[0..8] != MAGIC || format >> 1 != FORMAT || u32_at(44)? != crc32fast::hash(&bytes[..44]) {
            return None;
        }
        Some(Self { from: u64_at(12)?, to: u64_at(20)?, base: u64_at(28)?, compacted: u64_at(36)?, cleaned: format & 1 == 1 })
    }
}

/// Makes the names of the files in it durable. Blocks.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// An open segment. Readers may use it while the one writer appends: they see whole frames only, up to [`Segment::len`].
#[derive(Debug)]
pub struct Segment {
    pub header: Header,
    /// Number by which the index speaks of it, never used twice in a process.
    pub slot: u32,
    file: File,
    path: PathBuf,
    length: AtomicU64,
    newest: AtomicU64,
    /// Bytes of deletions that cleaning had to keep because older segments hold what they delete.
    pub kept_deletions: AtomicU64,
    marks: Mutex<Vec<(Revision, u64)>>,
}

impl Segment {
    /// Creates the file with its header under a temporary name; [`Segment::place`] gives it its own.
    pub fn begin(directory: &Path, header: Header, slot: u32) -> io::Result<Self> {
        let path = directory.join(format!("{:010}.log", header.from));
        let temporary = path.with_extension("tmp");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(MODE).open(&temporary)?;
        let begun = file.write_all_at(&header.encode(), 0);
        if let Err(error) = begun {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Self::opened(file, path, header, slot, HEADER as u64))
    }

    /// Makes the file durable and gives it its name, replacing the segment that had it. After an error all is as it was. Otherwise a restart
    /// may find it from now on, and surely finds it after [`sync_directory`].
    pub fn place(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let placed = self.file.sync_all().and_then(|()| fs::rename(&temporary, &self.path));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed
    }

    /// Wraps an existing file whose first `length` bytes are good.
    pub fn opened(file: File, path: PathBuf, header: Header, slot: u32, length: u64) -> Self {
        Self {
            header,
            slot,
            file,
            path,
            length: AtomicU64::new(length),
            newest: AtomicU64::new(0),
            kept_deletions: AtomicU64::new(0),
            marks: Mutex::new(Vec::new()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of header and frames that are durable.
    pub fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Newest revision in it; 0 when it is empty.
    pub fn newest(&self) -> Revision {
        self.newest.load(Ordering::Acquire)
    }

    /// Writes a frame after the last one, without making it durable or visible.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.len())
    }

    /// Waits until what was written is on the disk. Blocks.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Reserves room for `bytes` after the last frame, as zeros: syncs are then about twice as fast, since the file does not grow with each.
    pub fn allocate(&self, bytes: u64) -> io::Result<()> {
        let at = |number: u64| i64::try_from(number).map_err(io::Error::other);
        Ok(nix::fcntl::fallocate(&self.file, FallocateFlags::empty(), at(self.len())?, at(bytes)?)?)
    }

    /// Cuts off what was written but not accepted, and what was reserved.
    pub fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.len())?;
        self.file.sync_data()
    }

    /// Makes the frame of `size` bytes after the last one visible; `first` and `last` are the revisions in it.
    pub fn accept(&self, size: u64, first: Revision, last: Revision) {
        let at = self.len();
        {
            let mut marks = self.marks.lock();
            if marks.last().is_none_or(|(_, offset)| at - offset >= MARK_EVERY) {
                marks.push((first, at));
            }
        }
        self.newest.fetch_max(last, Ordering::AcqRel);
        self.length.store(at + size, Ordering::Release);
    }

    /// An offset at which a frame begins, not after the first frame that has a revision > `after`.
    pub fn replay_from(&self, after: Revision) -> u64 {
        let marks = self.marks.lock();
        let index = marks.partition_point(|(first, _)| *first <= after);
        marks.get(index.saturating_sub(1)).map_or(HEADER as u64, |(_, offset)| *offset)
    }

    /// Reads exactly `buffer.len()` bytes. Blocks.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_encoding_and_no_damage() {
        let header = Header { from: 3, to: 9, base: 100, compacted: 40, cleaned: true };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for at in 0..HEADER {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert_eq!(Header::decode(&damaged), None, "byte {at}");
        }
    }

    #[test]
    fn a_replay_begins_at_or_before_the_first_frame_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let segment = Segment::begin(directory.path(), Header { from: 1, to: 1, base: 1, compacted: 0, cleaned: false }, 0).unwrap();
        let mut starts = Vec::new();
        for revision in 2..300 {
            starts.push((revision, segment.len()));
            segment.accept(1000, revision, revision);
        }
        for (revision, start) in starts {
            assert!(segment.replay_from(revision - 1) <= start);
            assert!(start - segment.replay_from(revision - 1) <= MARK_EVERY + 1000);
        }
    }
}
