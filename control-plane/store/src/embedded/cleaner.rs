//! Gives room back after a compaction, beside the writer: forgets superseded versions in memory, and rewrites segments that are mostly garbage.

use super::frame::{self, Builder, Decoded, Record};
use super::index::Place;
use super::segment::{HEADER, Header, Segment, sync_directory};
use super::state::State;
use crate::Revision;
use std::fs;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

/// Keys handled while the index is locked.
const STEPS: usize = 512;
/// Bytes of a frame in a cleaned segment.
const FRAME_BYTES: usize = 256 << 10;
/// Small segments are merged when so many lie side by side, so that each is rewritten a logarithmic number of times.
const MERGE: usize = 8;

/// Works each time it is woken, until the sender is gone. Errors are logged and tried again at the next compaction.
pub fn run(state: Arc<State>, wake: Receiver<()>) {
    while wake.recv().is_ok() {
        while wake.try_recv().is_ok() {}
        // One revision for all of it: what a compaction meanwhile makes superfluous is not pruned yet, so that its deletions still count.
        let compacted = state.index.read().compacted;
        prune(&state, compacted);
        if let Err(error) = clean_all(&state, compacted) {
            tracing::warn!(%error, "a log segment could not be rewritten");
        }
    }
}

fn prune(state: &State, compacted: Revision) {
    while state.index.write().prune(compacted, STEPS) {
        std::thread::yield_now();
    }
}

/// What [`plan`] looks at.
#[derive(Clone, Copy, Debug)]
struct Stat {
    /// Bytes of frames.
    size: u64,
    /// Bytes that are needed.
    live: u64,
    /// Bytes of deletions needed as long as there are older segments.
    deletions: u64,
}

/// The next run to rewrite: half of it is garbage, or it is many small segments. The result stays within `target` bytes where more than one is taken.
fn plan(stats: &[Stat], target: u64) -> Option<Range<usize>> {
    let mut start = 0;
    while start < stats.len() {
        let (mut end, mut kept, mut size) = (start, 0, 0);
        let mut chosen = None;
        while let Some(stat) = stats.get(end) {
            let needed = stat.live + if start == 0 { 0 } else { stat.deletions };
            if end > start && kept + needed > target {
                break;
            }
            kept += needed;
            size += stat.size;
            end += 1;
            if size > 0 && (kept * 2 <= size || end - start >= MERGE) {
                chosen = Some(start..end);
            }
        }
        if chosen.is_some() {
            return chosen;
        }
        start += 1;
    }
    None
}

/// Rewrites what is worth it of the segments up to `compacted`, to which the index must have been pruned.
fn clean_all(state: &State, compacted: Revision) -> io::Result<()> {
    loop {
        let mut old: Vec<Arc<Segment>> = state.segments.read().ordered.clone();
        old.pop();
        old.truncate(old.partition_point(|segment| segment.newest() <= compacted));
        let stats: Vec<Stat> = {
            let index = state.index.read();
            old.iter()
                .map(|segment| Stat {
                    size: segment.len() - HEADER as u64,
                    live: index.live(segment.slot),
                    deletions: segment.kept_deletions.load(Ordering::Relaxed),
                })
                .collect()
        };
        let Some(run) = plan(&stats, state.config.segment_bytes) else { return Ok(()) };
        rewrite(state, &old[run.clone()], run.start == 0, compacted)?;
    }
}

/// A value that got a new place.
struct Move {
    key: Vec<u8>,
    revision: Revision,
    from: Place,
    to: Place,
}

/// The segment being filled.
struct Output {
    segment: Segment,
    builder: Builder,
    newest: Revision,
    moves: Vec<Move>,
    deletions: u64,
    /// Whether nothing is older: then deletions have nothing more to delete.
    oldest: bool,
}

fn rewrite(state: &State, run: &[Arc<Segment>], oldest: bool, compacted: Revision) -> io::Result<()> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    let header = Header { from: first.header.from, to: last.header.to, base: first.header.base, compacted, cleaned: true };
    let segment = Segment::begin(&state.config.directory, header, state.slot())?;
    let mut output = Output { segment, builder: Builder::new(), newest: 0, moves: Vec::new(), deletions: 0, oldest };
    for segment in run {
        output.take(state, segment)?;
    }
    output.flush()?;
    output.segment.place()?;
    // It is in place of the run for a restart, so it is here too, whatever fails from now on.
    output.segment.kept_deletions.store(output.deletions, Ordering::Relaxed);

    let new = Arc::new(output.segment);
    state.segments.write().register(new.clone());
    for moves in output.moves.chunks(STEPS) {
        let mut index = state.index.write();
        for Move { key, revision, from, to } in moves {
            index.relocate(key, *revision, *from, *to);
        }
    }
    let mut index = state.index.write();
    for segment in run {
        index.drop_slot(segment.slot);
    }
    state.segments.write().replace(run, new);
    drop(index);
    sync_directory(&state.config.directory)?;
    // What is not removed now is removed by the next opening.
    for segment in &run[1..] {
        fs::remove_file(segment.path())?;
    }
    tracing::debug!(segments = run.len(), from = header.from, to = header.to, "log segments were rewritten");
    Ok(())
}

impl Output {
    fn take(&mut self, state: &State, segment: &Segment) -> io::Result<()> {
        let mut bytes = vec![0; segment.len() as usize];
        segment.read(&mut bytes, 0)?;
        let mut at = HEADER;
        while at < bytes.len() {
            let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged at byte {at}", segment.path().display()));
            let frame = frame::decode(&bytes, at).ok_or_else(damaged)?;
            for commit in &frame.commits {
                let Decoded::Commit { revision, records } = commit else { continue };
                for record in records {
                    self.record(state, &bytes, segment.slot, *revision, record);
                }
            }
            if self.builder.len() >= FRAME_BYTES {
                self.flush()?;
            }
            at = frame.end;
        }
        Ok(())
    }

    fn record(&mut self, state: &State, bytes: &[u8], slot: u32, revision: Revision, record: &Record<'_>) {
        let Some(value) = record.value.clone() else {
            if !self.oldest && !state.index.read().outlives_deletion(record.key, revision, self.segment.header.compacted) {
                self.newest = revision;
                self.builder.commit(revision, 1);
                self.builder.delete(record.key);
                self.deletions += record.size();
            }
            return;
        };
        let from = Place { slot, offset: value.start as u32, length: value.len() as u32 };
        if !state.index.read().holds(record.key, revision, from) {
            return;
        }
        self.newest = revision;
        self.builder.commit(revision, 1);
        let offset = self.builder.put(record.key, &bytes[value], record.create_revision, record.deadline);
        let to = Place { slot: self.segment.slot, offset: (self.segment.len() + offset as u64) as u32, length: from.length };
        self.moves.push(Move { key: record.key.to_vec(), revision, from, to });
    }

    fn flush(&mut self) -> io::Result<()> {
        let builder = std::mem::replace(&mut self.builder, Builder::new());
        if builder.is_empty() {
            return Ok(());
        }
        let frame = builder.finish();
        self.segment.write(&frame)?;
        self.segment.accept(frame.len() as u64, self.newest, self.newest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddedConfig;
    use super::super::frame::{FRAME_HEADER, record_size};
    use super::super::log::Log;
    use super::super::recover::recover;
    use super::*;
    use std::path::Path;

    /// A key and its new value; `None` deletes it.
    type Write = (&'static [u8], Option<&'static [u8]>);

    /// A store that was never compacted, with a segment for each list of changes; the first change is of revision 2.
    fn store(directory: &Path, segments: &[&[Write]]) -> State {
        let config = EmbeddedConfig { segment_bytes: 1, ..EmbeddedConfig::new(directory) };
        let recovered = recover(config).unwrap();
        let (state, mut log) = (recovered.state, Log::new(recovered.active));
        let mut revision = 1;
        for changes in segments {
            let (mut builder, first) = (Builder::new(), revision + 1);
            for (key, value) in *changes {
                revision += 1;
                builder.commit(revision, 1);
                match value {
                    Some(value) => drop(builder.put(key, value, revision, 0)),
                    None => builder.delete(key),
                }
            }
            log.append(&state, &builder.finish(), first, revision).unwrap();
            state.index.write().revision = revision;
            log.rotate_when_full(&state);
        }
        log.close();
        recover(EmbeddedConfig::new(directory)).unwrap().state
    }

    fn segments(state: &State) -> Vec<(u64, u64)> {
        state.segments.read().ordered.iter().map(|segment| (segment.header.from, segment.header.to)).collect()
    }

    #[test]
    fn a_compaction_during_the_cleaning_brings_no_deleted_key_back() {
        let directory = tempfile::tempdir().unwrap();
        let garbage: Write = (b"garbage", Some(&[0; 500]));
        let state = store(directory.path(), &[&[(b"deleted", Some(b"v")), garbage, garbage, garbage], &[(b"deleted", None), garbage]]);
        assert_eq!(segments(&state), [(1, 1), (2, 2), (3, 3)]);
        prune(&state, 5);
        state.index.write().compacted = 7;
        clean_all(&state, 5).unwrap();
        let names = |state: &State| [&b"deleted"[..], b"garbage"].map(|key| state.current(key).unwrap().is_some());
        assert_eq!(names(&state), [false, true]);
        assert_eq!(names(&recover(EmbeddedConfig::new(directory.path())).unwrap().state), [false, true]);
        // The compaction's own turn.
        prune(&state, 7);
        clean_all(&state, 7).unwrap();
        assert_eq!(segments(&state), [(1, 2), (3, 3)]);
        assert_eq!(names(&recover(EmbeddedConfig::new(directory.path())).unwrap().state), [false, true]);
    }

    /// As when the directory can't be synced after the new file got its name.
    #[test]
    fn a_rewritten_segment_that_is_in_place_is_used_whatever_fails_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let garbage: Write = (b"garbage", Some(&[0; 500]));
        let state = store(directory.path(), &[&[(b"kept", Some(b"v")), garbage], &[garbage, garbage], &[garbage]]);
        prune(&state, 6);
        // The second file of the run can't be removed.
        let second = directory.path().join("0000000002.log");
        fs::remove_file(&second).unwrap();
        fs::create_dir(&second).unwrap();
        clean_all(&state, 6).unwrap_err();
        assert_eq!(segments(&state)[0].0, 1);
        assert!(segments(&state)[0].1 > 1, "{:?}", segments(&state));
        assert_eq!(&state.current(b"kept").unwrap().unwrap().value[..], b"v");
    }

    fn stat(size: u64, live: u64) -> Stat {
        Stat { size, live, deletions: 0 }
    }

    #[test]
    fn a_segment_that_is_mostly_needed_is_left_alone() {
        assert_eq!(plan(&[stat(100, 90), stat(100, 60)], 100), None);
        assert_eq!(plan(&[], 100), None);
    }

    #[test]
    fn a_segment_that_is_half_garbage_is_rewritten() {
        assert_eq!(plan(&[stat(100, 90), stat(100, 40)], 100), Some(1..2));
    }

    #[test]
    fn neighbours_are_merged_as_long_as_they_fit() {
        assert_eq!(plan(&[stat(100, 40), stat(100, 40), stat(100, 40)], 100), Some(0..2));
    }

    #[test]
    fn many_small_segments_become_one() {
        assert_eq!(plan(&[stat(10, 10); 7], 100), None);
        assert_eq!(plan(&[stat(10, 10); 9], 100), Some(0..9));
    }

    #[test]
    fn deletions_count_as_needed_until_nothing_is_older() {
        let kept = Stat { size: 100, live: 0, deletions: 90 };
        assert_eq!(plan(&[stat(100, 90), stat(100, 90), kept], 100), None);
        assert_eq!(plan(&[kept], 100), Some(0..1));
    }

    #[test]
    fn a_rewrite_is_not_planned_again() {
        assert_eq!(plan(&[stat(record_size(10, 10) + FRAME_HEADER as u64 + 13, record_size(10, 10))], 100), None);
        assert_eq!(plan(&[stat(0, 0)], 100), None);
    }
}
