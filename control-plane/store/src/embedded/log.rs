//! The end of the log: makes frames durable, begins new segments, and keeps the file good when a write fails.

use super::segment::{Header, Segment, sync_directory};
use super::state::State;
use crate::Revision;
use std::io;
use std::sync::Arc;

/// The segment written to. One writer owns it.
pub struct Log {
    active: Arc<Segment>,
    /// End of the room reserved in the file.
    allocated: u64,
    damage: Damage,
}

/// Room is reserved in such steps.
const ALLOCATE: u64 = 1 << 20;

/// What a failed write left to be repaired before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// The file may have bytes after its last accepted frame.
    Tail,
    /// A sync failed: the kernel may have dropped what it could not write, so that the file is not written to again.
    Unsynced,
    /// The file is new and its name may not outlive a power failure.
    Unnamed,
}

impl Log {
    pub fn new(active: Arc<Segment>) -> Self {
        Self { active, allocated: 0, damage: Damage::None }
    }

    /// Makes the frame durable and answers where it begins. After an error nothing of it remains. Blocks.
    pub fn append(&mut self, state: &State, frame: &[u8], first: Revision, last: Revision) -> io::Result<(Arc<Segment>, u64)> {
        self.repair(state)?;
        self.allocate(frame.len() as u64, state.config.segment_bytes);
        if let Err(error) = self.active.write(frame) {
            self.damage = Damage::Tail;
            self.try_cut();
            return Err(error);
        }
        if let Err(error) = self.active.sync() {
            self.damage = Damage::Unsynced;
            self.try_cut();
            return Err(error);
        }
        let offset = self.active.len();
        self.active.accept(frame.len() as u64, first, last);
        Ok((self.active.clone(), offset))
    }

    /// Begins a new segment when the present one is full. A failure is no harm: the present one grows.
    pub fn rotate_when_full(&mut self, state: &State) {
        if self.active.len() < state.config.segment_bytes || self.damage != Damage::None {
            return;
        }
        if let Err(error) = self.rotate(state) {
            tracing::warn!(%error, "a new log segment could not be begun");
        }
    }

    /// Gives back what was reserved and not used.
    pub fn close(mut self) {
        self.try_cut();
    }

    /// Reserving is for speed alone: where it fails the write tells whether there is room.
    fn allocate(&mut self, frame: u64, segment: u64) {
        let end = self.active.len() + frame;
        if end > self.allocated {
            let bytes = frame.max(ALLOCATE.min(segment));
            let allocated = self.active.allocate(bytes).is_ok();
            self.allocated = if allocated { self.active.len() + bytes } else { end };
        }
    }

    fn repair(&mut self, state: &State) -> io::Result<()> {
        match self.damage {
            Damage::None => return Ok(()),
            Damage::Tail => self.active.cut()?,
            Damage::Unsynced => self.rotate(state)?,
            Damage::Unnamed => sync_directory(&state.config.directory)?,
        }
        self.damage = Damage::None;
        Ok(())
    }

    fn try_cut(&mut self) {
        self.allocated = 0;
        match self.active.cut() {
            Ok(()) if self.damage == Damage::Tail => self.damage = Damage::None,
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the unfinished end of the log could not be cut off"),
        }
    }

    fn rotate(&mut self, state: &State) -> io::Result<()> {
        self.begin_next(state)?;
        sync_directory(&state.config.directory)?;
        self.damage = Damage::None;
        Ok(())
    }

    /// Puts a new segment in place and writes to it from now on: a restart may find it, and then takes nothing more from the former one.
    fn begin_next(&mut self, state: &State) -> io::Result<()> {
        let (base, compacted) = {
            let index = state.index.read();
            (index.revision, index.compacted)
        };
        let sequence = self.active.header.to + 1;
        let header = Header { from: sequence, to: sequence, base, compacted, cleaned: false };
        let segment = Arc::new(Segment::begin(&state.config.directory, header, state.slot())?);
        segment.place()?;
        state.segments.write().push(segment.clone());
        if self.damage == Damage::None {
            self.try_cut();
        }
        self.active = segment;
        self.allocated = 0;
        self.damage = Damage::Unnamed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::EmbeddedConfig;
    use super::super::frame::Builder;
    use super::super::recover::recover;
    use super::*;

    fn frame(revision: Revision, value: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new();
        builder.commit(revision, 1);
        builder.put(b"key", value, revision, 0);
        builder.finish()
    }

    /// As after a sync that failed and a cut that failed too: the refused frame is whole in the old file.
    #[test]
    fn what_a_failed_sync_left_behind_is_never_read() {
        let directory = tempfile::tempdir().unwrap();
        let recovered = recover(EmbeddedConfig::new(directory.path())).unwrap();
        let (state, mut log) = (recovered.state, Log::new(recovered.active));
        log.append(&state, &frame(2, b"first"), 2, 2).unwrap();
        state.index.write().revision = 2;
        log.active.write(&frame(3, b"refused")).unwrap();
        log.damage = Damage::Unsynced;
        log.append(&state, &frame(3, b"second"), 3, 3).unwrap();
        assert_eq!((log.damage, log.active.header.from, log.active.header.base), (Damage::None, 2, 2));
        log.close();

        let again = recover(EmbeddedConfig::new(directory.path())).unwrap();
        let entry = again.state.current(b"key").unwrap().unwrap();
        assert_eq!((&entry.value[..], entry.mod_revision), (&b"second"[..], 3));
        assert_eq!(&again.state.before(b"key", 3).unwrap().unwrap().value[..], b"first");
    }

    #[test]
    fn a_segment_that_is_in_place_is_written_to_once_its_name_is_durable() {
        let above = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (above.path().join("store"), above.path().join("elsewhere"));
        std::fs::create_dir(&path).unwrap();
        let recovered = recover(EmbeddedConfig::new(&path)).unwrap();
        let (state, mut log) = (recovered.state, Log::new(recovered.active));
        log.append(&state, &frame(2, b"first"), 2, 2).unwrap();
        state.index.write().revision = 2;
        // As when the directory's sync fails after the new file got its name: the former one must not grow beyond what the new one says.
        log.begin_next(&state).unwrap();
        std::fs::rename(&path, &elsewhere).unwrap();
        log.append(&state, &frame(3, b"refused"), 3, 3).unwrap_err();
        std::fs::rename(&elsewhere, &path).unwrap();
        let (segment, _) = log.append(&state, &frame(3, b"second"), 3, 3).unwrap();
        assert_eq!((segment.header.from, segment.header.base, log.damage), (2, 2, Damage::None));
        log.close();

        let again = recover(EmbeddedConfig::new(&path)).unwrap();
        let entry = again.state.current(b"key").unwrap().unwrap();
        assert_eq!((&entry.value[..], entry.mod_revision), (&b"second"[..], 3));
    }

    #[test]
    fn a_frame_after_a_torn_one_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let recovered = recover(EmbeddedConfig::new(directory.path())).unwrap();
        let (state, mut log) = (recovered.state, Log::new(recovered.active));
        log.active.write(&frame(2, &[b'x'; 5000])[..3000]).unwrap();
        log.damage = Damage::Tail;
        log.append(&state, &frame(2, b"short"), 2, 2).unwrap();
        log.close();
        let again = recover(EmbeddedConfig::new(directory.path())).unwrap();
        assert_eq!(&again.state.current(b"key").unwrap().unwrap().value[..], b"short");
        assert_eq!(again.state.index.read().revision, 2);
    }
}
