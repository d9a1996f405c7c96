//! The end of the log: makes frames durable, begins new segments, and keeps the file good when a write fails.

use super::segment::{Header, Segment};
use super::state::State;
use crate::Revision;
use std::io;
use std::sync::Arc;

/// The segment written to. One writer owns it.
pub struct Log {
    active: Arc<Segment>,
    damage: Damage,
}

/// What a failed write left to be repaired before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// The file may have bytes after its last accepted frame.
    Tail,
    /// A sync failed: the kernel may have dropped what it could not write, so that the file is not written to again.
    Unsynced,
}

impl Log {
    pub fn new(active: Arc<Segment>) -> Self {
        Self { active, damage: Damage::None }
    }

    /// Makes the frame durable and answers where it begins. After an error nothing of it remains. Blocks.
    pub fn append(&mut self, state: &State, frame: &[u8], first: Revision, last: Revision) -> io::Result<(Arc<Segment>, u64)> {
        self.repair(state)?;
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

    fn repair(&mut self, state: &State) -> io::Result<()> {
        match self.damage {
            Damage::None => return Ok(()),
            Damage::Tail => self.active.cut()?,
            Damage::Unsynced => self.rotate(state)?,
        }
        self.damage = Damage::None;
        Ok(())
    }

    fn try_cut(&mut self) {
        match self.active.cut() {
            Ok(()) if self.damage == Damage::Tail => self.damage = Damage::None,
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the unfinished end of the log could not be cut off"),
        }
    }

    fn rotate(&mut self, state: &State) -> io::Result<()> {
        let (base, compacted) = {
            let index = state.index.read();
            (index.revision, index.compacted)
        };
        let sequence = self.active.header.to + 1;
        let header = Header { from: sequence, to: sequence, base, compacted, cleaned: false };
        let segment = Arc::new(Segment::create(&state.config.directory, header, state.slot())?);
        state.segments.write().push(segment.clone());
        self.active = segment;
        Ok(())
    }
}
