//! Decides what a group of commits does: applies compares and writes in order, each seeing those before it, and encodes one frame.
//! Nothing takes effect here; the writer makes the frame durable and publishes the group.

use super::feed::Committed;
use super::frame::Builder;
use crate::{Commit, Compare, Entry, Event, EventKind, Op, Revision, StoreError};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::Duration;

/// Reads the entry of a key as it is before the group.
pub type Lookup<'a> = dyn Fn(&[u8]) -> Result<Option<Entry>, StoreError> + 'a;

/// A group being built.
pub struct Group<'a> {
    lookup: &'a Lookup<'a>,
    known: HashMap<Bytes, Option<Entry>>,
    builder: Builder,
    pub first: Revision,
    /// The newest revision if the group succeeds.
    pub revision: Revision,
    pub writes: Vec<Write>,
    pub committed: Vec<Committed>,
    /// The compacted revision that the group sets.
    pub compacted: Option<Revision>,
    now: u64,
    puts_allowed: bool,
}

/// One write for the index.
pub struct Write {
    pub key: Bytes,
    pub revision: Revision,
    /// 0 for a deletion.
    pub create_revision: Revision,
    /// Milliseconds since 1970; 0: never.
    pub deadline: u64,
    /// Place of the value in the frame.
    pub offset: usize,
    pub length: usize,
}

impl<'a> Group<'a> {
    /// `now` is in milliseconds since 1970. Without `puts_allowed` every commit that writes a value is refused for want of space.
    pub fn new(lookup: &'a Lookup<'a>, revision: Revision, now: u64, puts_allowed: bool) -> Self {
        Self {
            lookup,
            known: HashMap::new(),
            builder: Builder::new(),
            first: revision + 1,
            revision,
            writes: Vec::new(),
            committed: Vec::new(),
            compacted: None,
            now,
            puts_allowed,
        }
    }

    /// Applies one commit on top of those before it.
    pub fn commit(&mut self, compares: &[Compare], ops: &[Op]) -> Result<Commit, StoreError> {
        let mut current = Vec::with_capacity(compares.len());
        let mut holds = true;
        for compare in compares {
            let entry = self.entry(compare.key())?;
            holds &= match compare {
                Compare::Absent(_) => entry.is_none(),
                Compare::ModRevision(_, revision) => entry.as_ref().is_some_and(|entry| entry.mod_revision == *revision),
            };
            current.push(entry);
        }
        if !holds {
            return Ok(Commit::Failed { current, revision: self.revision });
        }
        if !self.puts_allowed && ops.iter().any(|op| matches!(op, Op::Put { .. })) {
            return Err(StoreError::NoSpace("less than the reserve is free; only deletions are taken".into()));
        }
        let mut effective = Vec::with_capacity(ops.len());
        for op in ops {
            match op {
                Op::Put { key, .. } => effective.push((op, self.entry(key)?)),
                Op::Delete { key } => effective.extend(self.entry(key)?.map(|entry| (op, Some(entry)))),
            }
        }
        if effective.is_empty() {
            return Ok(Commit::Done(self.revision));
        }
        self.revision += 1;
        self.builder.commit(self.revision, effective.len() as u32);
        let events = effective.into_iter().map(|(op, previous)| self.write(op, previous)).collect();
        self.committed.push(Committed { revision: self.revision, events });
        Ok(Commit::Done(self.revision))
    }

    /// Deletes an expired key, unless it was written again since `revision`.
    pub fn expire(&mut self, key: &Bytes, revision: Revision) -> Result<(), StoreError> {
        self.commit(&[Compare::ModRevision(key.clone(), revision)], &[Op::Delete { key: key.clone() }]).map(drop)
    }

    /// Sets the compacted revision, `compacted` being the present one.
    pub fn compact(&mut self, revision: Revision, compacted: Revision) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::FutureRevision { requested: revision, newest: self.revision });
        }
        if revision > self.compacted.unwrap_or(compacted) {
            self.builder.compaction(revision);
            self.compacted = Some(revision);
        }
        Ok(())
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// The frame, and what to publish once it is durable.
    pub fn finish(self) -> Finished {
        Finished {
            frame: self.builder.finish(),
            first: self.first,
            revision: self.revision,
            writes: self.writes,
            committed: self.committed,
            compacted: self.compacted,
        }
    }

    fn entry(&mut self, key: &Bytes) -> Result<Option<Entry>, StoreError> {
        if let Some(known) = self.known.get(key) {
            return Ok(known.clone());
        }
        let entry = (self.lookup)(key)?;
        self.known.insert(key.clone(), entry.clone());
        Ok(entry)
    }

    fn write(&mut self, op: &Op, previous: Option<Entry>) -> Event {
        let revision = self.revision;
        let (key, kind, write) = match op {
            Op::Put { key, value, ttl } => {
                let create_revision = previous.as_ref().map_or(revision, |entry| entry.create_revision);
                // The clock's milliseconds are cut off, so the one that has begun is not counted.
                let deadline = ttl.map_or(0, |ttl| self.now.saturating_add(millis(ttl)).saturating_add(1));
                let offset = self.builder.put(key, value, create_revision, deadline);
                let entry = Entry { key: key.clone(), value: value.clone(), create_revision, mod_revision: revision };
                self.known.insert(key.clone(), Some(entry));
                let write = Write { key: key.clone(), revision, create_revision, deadline, offset, length: value.len() };
                (key, EventKind::Put { value: value.clone(), create_revision }, write)
            }
            Op::Delete { key } => {
                self.builder.delete(key);
                self.known.insert(key.clone(), None);
                let write = Write { key: key.clone(), revision, create_revision: 0, deadline: 0, offset: 0, length: 0 };
                (key, EventKind::Delete, write)
            }
        };
        self.writes.push(write);
        Event { revision, key: key.clone(), kind, previous }
    }
}

/// A group ready to be written.
pub struct Finished {
    pub frame: Vec<u8>,
    /// First revision that the group takes, if it takes any.
    pub first: Revision,
    pub revision: Revision,
    pub writes: Vec<Write>,
    pub committed: Vec<Committed>,
    pub compacted: Option<Revision>,
}

/// At least one millisecond, since a deadline of now is still a deadline.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Op {
        Op::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: "v".into(), ttl: None }
    }

    fn empty(_: &[u8]) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }

    #[test]
    fn a_commit_sees_those_before_it_in_its_group() {
        let mut group = Group::new(&empty, 1, 0, true);
        assert_eq!(group.commit(&[Compare::Absent("a".into())], &[put("a")]).unwrap(), Commit::Done(2));
        let Commit::Failed { current, revision: 2 } = group.commit(&[Compare::Absent("a".into())], &[put("a")]).unwrap() else {
            panic!("the second creation went through")
        };
        assert_eq!(current[0].as_ref().unwrap().mod_revision, 2);
        assert_eq!(group.commit(&[Compare::ModRevision("a".into(), 2)], &[put("a")]).unwrap(), Commit::Done(3));
        assert_eq!(group.committed[1].events[0].previous.as_ref().unwrap().mod_revision, 2);
    }

    #[test]
    fn what_changes_nothing_takes_no_revision_and_no_bytes() {
        let mut group = Group::new(&empty, 5, 0, true);
        assert_eq!(group.commit(&[], &[Op::Delete { key: "a".into() }]).unwrap(), Commit::Done(5));
        assert!(group.is_empty());
    }

    #[test]
    fn without_space_deletions_go_on_and_values_are_refused() {
        let there =
            |key: &[u8]| Ok(Some(Entry { key: Bytes::copy_from_slice(key), value: "v".into(), create_revision: 2, mod_revision: 3 }));
        let mut group = Group::new(&there, 5, 0, false);
        assert!(matches!(group.commit(&[], &[put("a")]), Err(StoreError::NoSpace(_))));
        assert_eq!(group.commit(&[], &[Op::Delete { key: "a".into() }]).unwrap(), Commit::Done(6));
    }

    #[test]
    fn a_key_written_again_does_not_expire() {
        let there =
            |key: &[u8]| Ok(Some(Entry { key: Bytes::copy_from_slice(key), value: "v".into(), create_revision: 2, mod_revision: 3 }));
        let mut group = Group::new(&there, 5, 0, true);
        group.expire(&"a".into(), 2).unwrap();
        assert!(group.is_empty());
        group.expire(&"a".into(), 3).unwrap();
        assert_eq!(group.revision, 6);
    }

    #[test]
    fn compaction_goes_forward_only_and_not_into_the_future() {
        let mut group = Group::new(&empty, 5, 0, true);
        group.compact(3, 4).unwrap();
        assert_eq!(group.compacted, None);
        group.compact(5, 4).unwrap();
        assert_eq!(group.compacted, Some(5));
        assert!(matches!(group.compact(6, 4), Err(StoreError::FutureRevision { requested: 6, newest: 5 })));
    }
}
