//! Opening: reads the log from its oldest segment on and rebuilds the index. Cuts off what was never acknowledged; refuses what is damaged.

use super::EmbeddedConfig;
use super::feed::Feed;
use super::frame::{self, Decoded};
use super::index::{Index, Place, Version};
use super::segment::{HEADER, Header, Segment, sync_directory};
use super::state::{Segments, State, failed};
use super::writer::Expiries;
use crate::{Revision, StoreError};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// The revision of an empty store.
const EMPTY: Revision = 1;

/// The store as the log tells it.
pub struct Recovered {
    pub state: State,
    pub active: Arc<Segment>,
    pub expiries: Expiries,
}

/// Reads the log in the configured directory, or begins one. Blocks.
pub fn recover(config: EmbeddedConfig) -> Result<Recovered, StoreError> {
    recover_from(config, EMPTY)
}

/// The same; a log that is begun begins after `first`, and has no past before it.
pub fn recover_from(config: EmbeddedConfig, first: Revision) -> Result<Recovered, StoreError> {
    let files = live_files(&config.directory, Access::Own)?;
    let (mut replay, mut segments) = replay(files, Access::Own)?;
    if segments.ordered.is_empty() {
        replay.index.revision = first;
        replay.index.compacted = if first > EMPTY { first } else { 0 };
    }
    let mut slots = segments.ordered.len() as u32;
    let active = match segments.ordered.last() {
        Some(last) if !last.header.cleaned => last.clone(),
        last => {
            let sequence = last.map_or(1, |last| last.header.to + 1);
            let header =
                Header { from: sequence, to: sequence, base: replay.index.revision, compacted: replay.index.compacted, cleaned: false };
            let segment = begin(&config.directory, header, slots).map_err(|error| failed("begin the log", error))?;
            slots += 1;
            let segment = Arc::new(segment);
            segments.push(segment.clone());
            segment
        }
    };
    let expiries = replay.deadlines.into_iter().map(|(key, (deadline, revision))| (deadline, key, revision)).collect();
    let feed = Feed::new(config.recent_bytes);
    feed.publish(Vec::new(), replay.index.revision);
    let state = State { index: RwLock::new(replay.index), segments: RwLock::new(segments), feed, config, next_slot: AtomicU32::new(slots) };
    Ok(Recovered { state, active, expiries })
}

/// How often the log is read again because its owner changed it meanwhile.
const TRIES: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Reads the log beside the process that has it open, and changes nothing: what that has made durable so far. Segments stay readable when they
/// are rewritten later. Blocks.
pub fn read_beside(directory: &Path) -> Result<(Index, Segments), StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match live_files(directory, Access::Beside).and_then(|files| replay(files, Access::Beside)) {
            Ok((replay, segments)) => return Ok((replay.index, segments)),
            Err(error) if tries == TRIES => return Err(error),
            // A file went while they were opened, or was cut while it was read.
            Err(error) => {
                tracing::debug!(%error, "the log is read again");
                std::thread::sleep(TRY_AGAIN);
            }
        }
    }
}

/// Whether the files are this process's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Own,
    Beside,
}

/// Reads all of the files, oldest first.
fn replay(files: Vec<LogFile>, access: Access) -> Result<(Replay, Segments), StoreError> {
    let mut replay = Replay { access, index: Index::default(), deadlines: HashMap::new() };
    replay.index.revision = EMPTY;
    replay.index.compacted = files.iter().map(|file| file.header.compacted).max().unwrap_or(0);
    let bases: Vec<Revision> = files.iter().map(|file| file.header.base).collect();
    let mut segments = Segments::default();
    for (at, file) in files.into_iter().enumerate() {
        segments.push(Arc::new(replay.segment(file, at as u32, bases.get(at + 1).copied())?));
        replay.index.prune(replay.index.compacted, usize::MAX);
    }
    Ok((replay, segments))
}

fn begin(directory: &Path, header: Header, slot: u32) -> io::Result<Segment> {
    let segment = Segment::begin(directory, header, slot)?;
    segment.place()?;
    sync_directory(directory)?;
    Ok(segment)
}

struct LogFile {
    path: PathBuf,
    file: File,
    header: Header,
}

struct Replay {
    access: Access,
    index: Index,
    deadlines: HashMap<Bytes, (u64, Revision)>,
}

impl Replay {
    /// Reads one segment; `next_base` is the revision at which the following one was begun, if there is one.
    fn segment(&mut self, file: LogFile, slot: u32, next_base: Option<Revision>) -> Result<Segment, StoreError> {
        let bytes = contents(&file.file).map_err(|error| failed("read the log", error))?;
        self.index.revision = self.index.revision.max(file.header.base);
        let mut read = Vec::new();
        let mut at = HEADER;
        while let Some(frame) = frame::decode(&bytes, at) {
            let revisions = frame.commits.iter().filter_map(|commit| match commit {
                Decoded::Commit { revision, .. } => Some(*revision),
                Decoded::Compaction { .. } => None,
            });
            let (first, last) = (revisions.clone().min(), revisions.max());
            if !file.header.cleaned && last.is_some_and(|last| next_base.is_some_and(|base| last > base)) {
                // Never acknowledged: its revisions were given again in the next segment.
                break;
            }
            for commit in &frame.commits {
                self.apply(commit, slot);
            }
            let revision = self.index.revision;
            read.push((frame.end - at, first.unwrap_or(revision), last.unwrap_or(revision)));
            at = frame.end;
        }
        if at < bytes.len() {
            self.check_tail(&file, &bytes, at, next_base)?;
        }
        if next_base.is_none() && self.access == Access::Own {
            if bytes[at..].iter().any(|byte| *byte != 0) {
                tracing::warn!(path = %file.path.display(), at, "an unfinished write at the end of the log was cut off");
            }
            // Also when there is nothing to cut: a frame that was written just before a crash is read from now on, so it must stay.
            file.file.set_len(at as u64).and_then(|()| file.file.sync_all()).map_err(|error| failed("cut the log", error))?;
        }
        let segment = Segment::opened(file.file, file.path, file.header, slot, HEADER as u64);
        for (size, first, last) in read {
            segment.accept(size as u64, first, last);
        }
        Ok(segment)
    }

    /// Whether what follows the last good frame was never acknowledged; if it may have been, the log is damaged.
    fn check_tail(&self, file: &LogFile, bytes: &[u8], at: usize, next_base: Option<Revision>) -> Result<(), StoreError> {
        let damaged = match next_base {
            _ if file.header.cleaned => true,
            Some(base) => self.index.revision < base,
            None => frame::any_intact_after(bytes, at + 1),
        };
        if !damaged {
            return Ok(());
        }
        let message = format!("{} is damaged at byte {at}: restore the store from a copy", file.path.display());
        Err(StoreError::Failed { operation: "read the log", source: io::Error::new(io::ErrorKind::InvalidData, message).into() })
    }

    fn apply(&mut self, commit: &Decoded<'_>, slot: u32) {
        let (revision, records) = match commit {
            Decoded::Compaction { revision } => {
                self.index.compacted = self.index.compacted.max(*revision);
                return;
            }
            Decoded::Commit { revision, records } => (*revision, records),
        };
        self.index.revision = self.index.revision.max(revision);
        for record in records {
            let place = record.value.as_ref().map_or(Place { slot, offset: 0, length: 0 }, |value| Place {
                slot,
                offset: value.start as u32,
                length: value.len() as u32,
            });
            let create_revision = if record.value.is_some() { record.create_revision } else { 0 };
            self.index.insert(record.key, Version { mod_revision: revision, create_revision, place });
            if record.deadline != 0 {
                self.deadlines.insert(Bytes::copy_from_slice(record.key), (record.deadline, revision));
            } else if !self.deadlines.is_empty() {
                self.deadlines.remove(record.key);
            }
        }
    }
}

/// The log's files, oldest first, without those that a cleaned one stands for; where they are our own, those and unfinished ones are removed.
fn live_files(directory: &Path, access: Access) -> Result<Vec<LogFile>, StoreError> {
    let list = || -> io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect() };
    let mut files = Vec::new();
    for path in list().map_err(|error| failed("list the log", error))? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") if access == Access::Own => remove(&path)?,
            Some("log") => files.push(open(path, access)?),
            _ => {}
        }
    }
    files.sort_by_key(|file| file.header.from);
    let mut live: Vec<LogFile> = Vec::new();
    for file in files {
        let expected = live.last().map_or(1, |last| last.header.to + 1);
        if file.header.from < expected {
            if access == Access::Own {
                remove(&file.path)?;
            }
        } else if file.header.from > expected {
            let message = format!("segment {expected} is missing before {}", file.path.display());
            return Err(StoreError::Failed { operation: "read the log", source: message.into() });
        } else {
            live.push(file);
        }
    }
    Ok(live)
}

fn open(path: PathBuf, access: Access) -> Result<LogFile, StoreError> {
    let file = OpenOptions::new().read(true).write(access == Access::Own).open(&path).map_err(|error| failed("open the log", error))?;
    let mut bytes = vec![0; HEADER];
    let header = match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Header::decode(&bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(failed("read the log", error)),
    };
    let damaged = || format!("{} has no valid header: it is damaged or of another version", path.display());
    let header = header.ok_or_else(|| StoreError::Failed { operation: "read the log", source: damaged().into() })?;
    Ok(LogFile { path, file, header })
}

fn contents(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|error| failed("remove a leftover of the log", error))
}
