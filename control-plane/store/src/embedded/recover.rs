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
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

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
    let files = live_files(&config.directory)?;
    let mut replay = Replay { index: Index::default(), deadlines: HashMap::new() };
    replay.index.revision = EMPTY;
    replay.index.compacted = files.iter().map(|file| file.header.compacted).max().unwrap_or(0);
    let mut segments = Segments::default();
    let mut slots = 0;
    for (at, file) in files.iter().enumerate() {
        let next = files.get(at + 1).map(|next| next.header.base);
        segments.push(Arc::new(replay.segment(file, slots, next)?));
        replay.index.prune(replay.index.compacted, usize::MAX);
        slots += 1;
    }
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

fn begin(directory: &Path, header: Header, slot: u32) -> io::Result<Segment> {
    let segment = Segment::begin(directory, header, slot)?;
    segment.place()?;
    sync_directory(directory)?;
    Ok(segment)
}

struct LogFile {
    path: PathBuf,
    header: Header,
}

struct Replay {
    index: Index,
    deadlines: HashMap<Bytes, (u64, Revision)>,
}

impl Replay {
    /// Reads one segment; `next_base` is the revision at which the following one was begun, if there is one.
    fn segment(&mut self, file: &LogFile, slot: u32, next_base: Option<Revision>) -> Result<Segment, StoreError> {
        let bytes = fs::read(&file.path).map_err(|error| failed("read the log", error))?;
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
            self.check_tail(file, &bytes, at, next_base)?;
        }
        let open = OpenOptions::new().read(true).write(true).open(&file.path).map_err(|error| failed("open the log", error))?;
        if next_base.is_none() {
            if bytes[at..].iter().any(|byte| *byte != 0) {
                tracing::warn!(path = %file.path.display(), at, "an unfinished write at the end of the log was cut off");
            }
            // Also when there is nothing to cut: a frame that was written just before a crash is read from now on, so it must stay.
            open.set_len(at as u64).and_then(|()| open.sync_all()).map_err(|error| failed("cut the log", error))?;
        }
        let segment = Segment::opened(open, file.path.clone(), file.header, slot, HEADER as u64);
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

/// The log's files, oldest first, without those that a cleaned one stands for; those and unfinished ones are removed.
fn live_files(directory: &Path) -> Result<Vec<LogFile>, StoreError> {
    let list = || -> io::Result<Vec<PathBuf>> { fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect() };
    let mut files = Vec::new();
    for path in list().map_err(|error| failed("list the log", error))? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tmp") => remove(&path)?,
            Some("log") => {
                let header = read_header(&path)?;
                files.push(LogFile { path, header });
            }
            _ => {}
        }
    }
    files.sort_by_key(|file| file.header.from);
    let mut live: Vec<LogFile> = Vec::new();
    for file in files {
        let expected = live.last().map_or(1, |last| last.header.to + 1);
        if file.header.from < expected {
            remove(&file.path)?;
        } else if file.header.from > expected {
            let message = format!("segment {expected} is missing before {}", file.path.display());
            return Err(StoreError::Failed { operation: "read the log", source: message.into() });
        } else {
            live.push(file);
        }
    }
    Ok(live)
}

fn read_header(path: &Path) -> Result<Header, StoreError> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(HEADER);
    let file = fs::File::open(path).map_err(|error| failed("open the log", error))?;
    file.take(HEADER as u64).read_to_end(&mut bytes).map_err(|error| failed("read the log", error))?;
    Header::decode(&bytes).ok_or_else(|| StoreError::Failed {
        operation: "read the log",
        source: format!("{} has no valid header: it is damaged or of another version", path.display()).into(),
    })
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|error| failed("remove a leftover of the log", error))
}
