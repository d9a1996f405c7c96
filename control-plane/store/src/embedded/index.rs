//! Which versions of which keys there are, and where in the log their values lie: the store's state in memory. Pure, no I/O.

use super::frame::record_size;
use crate::{KeyRange, Revision};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Keys beyond a limit that a range read counts; a longer rest is left uncounted, since counting holds up writers.
const COUNT_AT_MOST: u64 = 10_000;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub slot: u32,
    pub offset: u32,
    pub length: u32,
}

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub mod_revision: Revision,
    /// 0 for a deletion.
    pub create_revision: Revision,
    pub place: Place,
}

impl Version {
    pub fn is_deletion(&self) -> bool {
        self.create_revision == 0
    }
}

/// The state. Versions of a key are in order of their revisions.
#[derive(Debug, Default)]
pub struct Index {
    keys: BTreeMap<Arc<[u8]>, Versions>,
    /// Keys with something to forget once the compacted revision reaches the number.
    superseded: VecDeque<(Revision, Arc<[u8]>)>,
    live: HashMap<u32, u64>,
    pub revision: Revision,
    pub compacted: Revision,
}

/// Answer of [`Index::range`].
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub versions: Vec<(Arc<[u8]>, Version)>,
    pub more: bool,
    pub count: Option<u64>,
}

/// Nearly every key has one version: it needs no allocation of its own.
#[derive(Debug)]
enum Versions {
    One(Version),
    Many(Vec<Version>),
}

impl Versions {
    fn as_slice(&self) -> &[Version] {
        match self {
            Self::One(version) => std::slice::from_ref(version),
            Self::Many(versions) => versions,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Version] {
        match self {
            Self::One(version) => std::slice::from_mut(version),
            Self::Many(versions) => versions,
        }
    }

    fn push(&mut self, version: Version) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, version]),
            Self::Many(versions) => versions.push(version),
        }
    }

    fn at(&self, revision: Revision) -> Option<&Version> {
        self.as_slice().iter().rev().find(|version| version.mod_revision <= revision)
    }
}

impl Index {
    /// Adds a version newer than every other of its key. A second one of the same revision (a rewritten log met twice) is ignored.
    pub fn insert(&mut self, key: &[u8], version: Version) {
        let size = size_of(key, &version);
        let shared = match self.keys.get_key_value(key) {
            None => {
                let shared: Arc<[u8]> = key.into();
                self.keys.insert(shared.clone(), Versions::One(version));
                version.is_deletion().then_some(shared)
            }
            Some((shared, _)) => {
                let shared = shared.clone();
                if let Some(versions) = self.keys.get_mut(key) {
                    if versions.as_slice().last().is_some_and(|last| last.mod_revision >= version.mod_revision) {
                        return;
                    }
                    versions.push(version);
                }
                Some(shared)
            }
        };
        *self.live.entry(version.place.slot).or_default() += size;
        if let Some(key) = shared {
            self.superseded.push_back((version.mod_revision, key));
        }
    }

    /// The current version of a key that is there.
    pub fn current(&self, key: &[u8]) -> Option<Version> {
        self.keys.get(key)?.as_slice().last().filter(|version| !version.is_deletion()).copied()
    }

    /// The version that a change at `revision` replaced, where it is kept.
    pub fn before(&self, key: &[u8], revision: Revision) -> Option<Version> {
        self.keys.get(key)?.at(revision.checked_sub(1)?).filter(|version| !version.is_deletion()).copied()
    }

    /// Keys in `range` as they were at `revision`, at most `limit` (0: all).
    pub fn range(&self, range: &KeyRange, revision: Revision, limit: usize) -> Found {
        let mut found = Found { versions: Vec::new(), more: false, count: Some(0) };
        if !range.end.is_empty() && range.end <= range.start {
            return found;
        }
        let end = if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&range.end[..]) };
        let (mut count, mut visited) = (0u64, 0u64);
        for (key, versions) in self.keys.range::<[u8], _>((Bound::Included(&range.start[..]), end)) {
            if found.more {
                visited += 1;
                if visited > COUNT_AT_MOST {
                    found.count = None;
                    return found;
                }
            }
            let Some(version) = versions.at(revision).filter(|version| !version.is_deletion()) else { continue };
            count += 1;
            if limit > 0 && found.versions.len() == limit {
                found.more = true;
            } else {
                found.versions.push((key.clone(), *version));
            }
        }
        found.count = Some(count);
        found
    }

    /// At most `limit` keys from `start` on, as they were at `revision`.
    pub fn page(&self, start: &[u8], revision: Revision, limit: usize) -> Vec<(Arc<[u8]>, Version)> {
        let from = self.keys.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
        let there = from.filter_map(|(key, versions)| {
            let version = versions.at(revision).filter(|version| !version.is_deletion())?;
            Some((key.clone(), *version))
        });
        there.take(limit).collect()
    }

    /// How many keys of the range there were at `revision`.
    pub fn count(&self, range: &KeyRange, revision: Revision) -> u64 {
        let from = self.keys.range::<[u8], _>((Bound::Included(&range.start[..]), Bound::Unbounded));
        let inside = from.take_while(|(key, _)| range.contains(key));
        inside.filter(|(_, versions)| versions.at(revision).is_some_and(|version| !version.is_deletion())).count() as u64
    }

    /// Forgets at most `steps` times what no reader at `compacted` or later sees; answers whether there may be more to forget.
    pub fn prune(&mut self, compacted: Revision, steps: usize) -> bool {
        for _ in 0..steps {
            match self.superseded.front() {
                Some((revision, _)) if *revision <= compacted => {}
                _ => return false,
            }
            if let Some((_, key)) = self.superseded.pop_front() {
                self.prune_key(&key, compacted);
            }
        }
        true
    }

    /// Whether the version at this place is still needed.
    pub fn holds(&self, key: &[u8], revision: Revision, place: Place) -> bool {
        self.keys
            .get(key)
            .is_some_and(|versions| versions.as_slice().iter().any(|version| version.mod_revision == revision && version.place == place))
    }

    /// Whether the log still says, by a later version that readers at `compacted` see, what the deletion at `revision` said.
    pub fn outlives_deletion(&self, key: &[u8], revision: Revision, compacted: Revision) -> bool {
        self.keys.get(key).is_some_and(|versions| {
            versions.as_slice().iter().any(|version| version.mod_revision > revision && version.mod_revision <= compacted)
        })
    }

    /// Tells that a value was moved. Nothing happens when the version is gone by now.
    pub fn relocate(&mut self, key: &[u8], revision: Revision, from: Place, to: Place) {
        let Some(version) = self.keys.get_mut(key).and_then(|versions| {
            versions.as_mut_slice().iter_mut().find(|version| version.mod_revision == revision && version.place == from)
        }) else {
            return;
        };
        version.place = to;
        let size = size_of(key, version);
        *self.live.entry(to.slot).or_default() += size;
        if let Some(live) = self.live.get_mut(&from.slot) {
            *live = live.saturating_sub(size);
        }
    }

    /// Bytes of the segment's records that are still needed.
    pub fn live(&self, slot: u32) -> u64 {
        self.live.get(&slot).copied().unwrap_or(0)
    }

    /// Forgets a segment's count.
    pub fn drop_slot(&mut self, slot: u32) {
        self.live.remove(&slot);
    }

    fn prune_key(&mut self, key: &Arc<[u8]>, compacted: Revision) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        let slice = versions.as_slice();
        let newer = slice.partition_point(|version| version.mod_revision <= compacted);
        // The newest version that the compacted revision sees stays, unless it is a deletion.
        let visible = newer.checked_sub(1).filter(|at| !slice[*at].is_deletion());
        let keep = visible.unwrap_or(newer);
        for version in &slice[..keep] {
            if let Some(live) = self.live.get_mut(&version.place.slot) {
                *live = live.saturating_sub(size_of(key, version));
            }
        }
        match &slice[keep..] {
            [] => {
                self.keys.remove(key);
            }
            [one] => *versions = Versions::One(*one),
            rest if keep > 0 => *versions = Versions::Many(rest.to_vec()),
            _ => {}
        }
    }
}

fn size_of(key: &[u8], version: &Version) -> u64 {
    record_size(key.len(), version.place.length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(index: &mut Index, key: &[u8], revision: Revision) {
        let create = index.current(key).map_or(revision, |version| version.create_revision);
        let place = Place { slot: 0, offset: revision as u32, length: 1 };
        index.insert(key, Version { mod_revision: revision, create_revision: create, place });
        index.revision = revision;
    }

    fn delete(index: &mut Index, key: &[u8], revision: Revision) {
        let place = Place { slot: 0, offset: 0, length: 0 };
        index.insert(key, Version { mod_revision: revision, create_revision: 0, place });
        index.revision = revision;
    }

    fn keys_at(index: &Index, revision: Revision) -> Vec<(Vec<u8>, Revision)> {
        let all = KeyRange { start: Default::default(), end: Default::default() };
        index.range(&all, revision, 0).versions.into_iter().map(|(key, version)| (key.to_vec(), version.mod_revision)).collect()
    }

    #[test]
    fn an_old_revision_reads_as_it_was() {
        let mut index = Index::default();
        put(&mut index, b"a", 2);
        put(&mut index, b"b", 3);
        put(&mut index, b"a", 4);
        delete(&mut index, b"b", 5);
        assert_eq!(keys_at(&index, 1), []);
        assert_eq!(keys_at(&index, 3), [(b"a".to_vec(), 2), (b"b".to_vec(), 3)]);
        assert_eq!(keys_at(&index, 5), [(b"a".to_vec(), 4)]);
        assert_eq!(index.before(b"a", 4).map(|v| v.mod_revision), Some(2));
    }

    #[test]
    fn pruning_keeps_what_the_compacted_revision_sees_and_frees_the_rest() {
        let mut index = Index::default();
        put(&mut index, b"a", 2);
        put(&mut index, b"b", 3);
        put(&mut index, b"a", 4);
        delete(&mut index, b"b", 5);
        put(&mut index, b"a", 6);
        assert!(!index.prune(4, 100));
        assert_eq!(keys_at(&index, 4), [(b"a".to_vec(), 4), (b"b".to_vec(), 3)]);
        assert_eq!(index.before(b"a", 4), None);
        index.prune(6, 100);
        assert_eq!(keys_at(&index, 6), [(b"a".to_vec(), 6)]);
        assert_eq!(index.live(0), record_size(1, 1));
        assert_eq!(index.keys.len(), 1);
    }

    #[test]
    fn a_limit_says_that_there_is_more_and_counts() {
        let mut index = Index::default();
        for at in 0..5u8 {
            put(&mut index, &[at], u64::from(at) + 2);
        }
        let all = KeyRange { start: Default::default(), end: Default::default() };
        let found = index.range(&all, 6, 2);
        assert_eq!((found.versions.len(), found.more, found.count), (2, true, Some(5)));
        let found = index.range(&all, 6, 5);
        assert_eq!((found.versions.len(), found.more, found.count), (5, false, Some(5)));
    }

    #[test]
    fn an_inverted_range_is_empty() {
        let mut index = Index::default();
        put(&mut index, b"m", 2);
        let range = KeyRange { start: "z".into(), end: "a".into() };
        assert_eq!(index.range(&range, 2, 0).versions, []);
    }
}
