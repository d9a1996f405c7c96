//! Who gets a look-up table when there is room for only so many.
//!
//! Tables are ranked by a hash of what they are made of, and the first ones are there: the same on all nodes that know the same
//! Services, whatever they saw first, and one more or less takes a table from one other at most.

use crate::tables::{self, Addresses};
use orknet_abi::ServiceKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

/// A table's place among all that are wanted.
pub(crate) type Rank = (u64, Addresses);

/// Every table that is wanted, and by which entries.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    wanted: BTreeMap<Rank, BTreeSet<ServiceKey>>,
    by_key: HashMap<ServiceKey, Rank>,
    /// The first that there is no room for; `None` if there is room for all.
    limit: Option<Rank>,
}

impl Demand {
    /// An entry wants this table, or none.
    pub fn set(&mut self, key: ServiceKey, content: Option<Addresses>) {
        let rank = content.map(|addresses| (tables::rank(&addresses), addresses));
        let before = match &rank {
            Some(rank) => self.by_key.insert(key, rank.clone()),
            None => self.by_key.remove(&key),
        };
        if before == rank {
            return;
        }
        if let Some(before) = before
            && let Some(keys) = self.wanted.get_mut(&before)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.wanted.remove(&before);
            }
        }
        if let Some(rank) = rank {
            self.wanted.entry(rank).or_default().insert(key);
        }
    }

    /// Decides anew with room for so many tables. The entries that get or lose a table by that, although they want the same as before.
    pub fn settle(&mut self, room: usize) -> BTreeSet<ServiceKey> {
        let limit = limit(&self.wanted, room);
        let before = std::mem::replace(&mut self.limit, limit);
        let bounds = match (before.as_ref(), self.limit.as_ref()) {
            (one, other) if one == other => return BTreeSet::new(),
            (Some(one), Some(other)) => (Bound::Included(one.min(other)), Bound::Excluded(one.max(other))),
            (one, other) => (one.or(other).map_or(Bound::Unbounded, Bound::Included), Bound::Unbounded),
        };
        self.wanted.range::<Rank, _>(bounds).flat_map(|(_, keys)| keys).copied().collect()
    }

    /// The table that an entry gets: the one that it wants, if there is room for it.
    pub fn granted(&self, key: &ServiceKey) -> Option<&Addresses> {
        let rank = self.by_key.get(key)?;
        self.limit.as_ref().is_none_or(|limit| rank < limit).then_some(&rank.1)
    }

    /// For each table that there is no room for, the entries that want it.
    pub fn refused(&self) -> impl Iterator<Item = &BTreeSet<ServiceKey>> {
        self.limit.iter().flat_map(|limit| self.wanted.range(limit..).map(|(_, keys)| keys))
    }
}

/// The first table beyond the room.
pub(crate) fn limit<V>(wanted: &BTreeMap<Rank, V>, room: usize) -> Option<Rank> {
    if wanted.len() <= room { None } else { wanted.keys().nth(room).cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::Address;

    fn key(number: u16) -> ServiceKey {
        ServiceKey { port_be: number, ..ServiceKey::default() }
    }

    fn content(last: u8) -> Addresses {
        [1, last].into_iter().map(|last| Address::from_v4([10, 0, 0, last])).collect()
    }

    #[test]
    fn as_many_as_fit_are_granted_and_who_came_first_does_not_matter() {
        let granted = |order: &[u16], room: usize| -> Vec<u16> {
            let mut demand = Demand::default();
            for number in order {
                demand.set(key(*number), Some(content(*number as u8)));
                demand.settle(room);
            }
            (0..10).filter(|number| demand.granted(&key(*number)).is_some()).collect()
        };
        let forward: Vec<u16> = (0..10).collect();
        let backward: Vec<u16> = (0..10).rev().collect();
        for room in 0..12 {
            assert_eq!(granted(&forward, room).len(), room.min(10));
            assert_eq!(granted(&forward, room), granted(&backward, room));
        }
    }

    #[test]
    fn who_wants_the_same_is_told_when_that_gives_or_takes_a_table() {
        let mut demand = Demand::default();
        (0..10).for_each(|number| demand.set(key(number), Some(content(number as u8))));
        demand.set(key(10), Some(content(3)));
        assert!(demand.settle(10).is_empty(), "equal contents share a table");
        let lost = demand.settle(4);
        assert!((0..11).all(|number| lost.contains(&key(number)) == demand.granted(&key(number)).is_none()));
        assert_eq!(demand.refused().map(BTreeSet::len).sum::<usize>(), lost.len());
        // One goes: one that had none takes its room.
        let gone = (0..11).map(key).find(|key| demand.granted(key).is_some() && key.port_be != 3 && key.port_be != 10).unwrap();
        demand.set(gone, None);
        assert_eq!(demand.settle(4).len(), 1 + usize::from(demand.granted(&key(3)).is_some() && lost.contains(&key(3))));
        assert_eq!(demand.settle(10).len(), demand.settle(4).len());
        assert!(demand.settle(4).is_empty());
    }
}
