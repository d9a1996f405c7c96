//! Maps that programs write: whether they are nearly full, so that somebody can act before anything is forgotten or refused. What is
//! over must have been removed before: only then does it say that something in use is in danger.

use orknet_abi::{AFFINITY, DATAGRAMS, FLOWS, MapSpec, SOCKETS};
use orknet_dataplane::MapUse;
use std::collections::BTreeSet;

/// From this percentage of its capacity on a map is nearly full, and below this one no longer.
const HIGH: u64 = 80;
const LOW: u64 = 70;

/// The maps, and what happens when they are full. FRAGMENTS is always full after a while, and none the worse: an entry is used for as long as
/// the fragments of one datagram take to come, and the oldest go first. Where it is too small, `fragment-unknown` counts it.
const WATCHED: [(&MapSpec, &str); 4] = [
    (&SOCKETS, "then UDP sockets forget which Service they speak to"),
    (&DATAGRAMS, "then UDP sockets that are not connected change their backends"),
    (&AFFINITY, "then clients lose the backends that they keep"),
    (&FLOWS, "then new flows are dropped"),
];

/// Which maps were nearly full at the last look.
#[derive(Debug, Default)]
pub struct Pressure {
    pressed: BTreeSet<&'static str>,
}

/// A map that is nearly full, or is no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    pub map: &'static str,
    pub entries: u32,
    pub capacity: u32,
    pub is_pressed: bool,
    /// What happens when it is full.
    pub consequence: &'static str,
}

/// Names of the maps that are looked at.
pub fn watched() -> impl Iterator<Item = &'static str> {
    WATCHED.iter().map(|(spec, _)| spec.name)
}

impl Pressure {
    /// Takes how full the maps are now; what is new about it.
    pub fn follow(&mut self, maps: &[MapUse]) -> Vec<News> {
        let mut news = Vec::new();
        for (spec, consequence) in WATCHED {
            let Some(map) = maps.iter().find(|map| map.name == spec.name) else { continue };
            let was = self.pressed.contains(spec.name);
            let is_pressed = percent(map) >= if was { LOW } else { HIGH };
            if is_pressed == was {
                continue;
            }
            if is_pressed {
                self.pressed.insert(spec.name)
            } else {
                self.pressed.remove(spec.name)
            };
            news.push(News { map: spec.name, entries: map.entries, capacity: map.capacity, is_pressed, consequence });
        }
        news
    }
}

fn percent(map: &MapUse) -> u64 {
    u64::from(map.entries) * 100 / u64::from(map.capacity.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_full_is_told_once_and_when_it_is_over() {
        let mut pressure = Pressure::default();
        let mut follow = |name, entries| {
            let maps = [MapUse { name, entries, capacity: 1_000, forgets: true }];
            pressure.follow(&maps).into_iter().map(|news| (news.map, news.is_pressed)).collect::<Vec<_>>()
        };
        assert_eq!(follow("SOCKETS", 799), []);
        assert_eq!(follow("SOCKETS", 800), [("SOCKETS", true)]);
        assert_eq!(follow("SOCKETS", 1_000), []);
        assert_eq!(follow("FLOWS", 900), [("FLOWS", true)]);
        assert_eq!(follow("SOCKETS", 700), []);
        assert_eq!(follow("SOCKETS", 699), [("SOCKETS", false)]);
        assert_eq!(follow("FRAGMENTS", 1_000), [], "it is full of what nobody waits for");
        assert_eq!(follow("CONNECTIONS", 1_000), [], "every slot of it is used sooner or later");
    }
}
