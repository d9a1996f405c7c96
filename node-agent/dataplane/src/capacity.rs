//! How much the maps hold that programs write, unless the configuration says so: it goes by the host's memory.

use crate::{Config, bpffs::Pins, kernel::MapFile};
use orknet_abi::{AFFINITY, DATAGRAMS, FLOWS, FRAGMENTS, MapSpec, SOCKETS};
use std::{fs, ops::RangeInclusive};

/// A map whose capacity goes by the memory. CONNECTIONS does not: programs know its capacity, and sockets share its places.
struct Scaled {
    map: MapSpec,
    /// Of so many bytes of the host's memory its entries take one, when all are there.
    part: u64,
    /// A small host still serves thousands of clients, a large one needs no more than this.
    bounds: RangeInclusive<u32>,
}

const SCALED: [Scaled; 5] = [
    Scaled { map: FLOWS, part: 400, bounds: 65_536..=4_194_304 },
    Scaled { map: SOCKETS, part: 4_000, bounds: 16_384..=1_048_576 },
    Scaled { map: DATAGRAMS, part: 4_000, bounds: 16_384..=1_048_576 },
    Scaled { map: AFFINITY, part: 4_000, bounds: 16_384..=1_048_576 },
    Scaled { map: FRAGMENTS, part: 20_000, bounds: 8_192..=131_072 },
];

const MEMORY: &str = "/proc/meminfo";

/// The configuration with capacities for the maps that go by the memory and have none. That of a pinned map is kept unless it is far off:
/// what a host says of its memory can change a little while it runs.
pub(crate) fn scaled(config: &Config, pins: &Pins) -> Config {
    let mut config = config.clone();
    let memory = fs::read_to_string(MEMORY).ok().and_then(|text| total_bytes(&text));
    for scaled in &SCALED {
        config.capacities.entry(scaled.map.name.to_owned()).or_insert_with(|| {
            let wanted = memory.map_or(scaled.map.capacity, |bytes| scaled.for_memory(bytes));
            let pinned = MapFile::open(&pins.map(scaled.map.name), true).ok().map(|file| file.shape().capacity);
            settled(wanted, pinned)
        });
    }
    config
}

impl Scaled {
    /// Entries for a host with so many bytes of memory.
    fn for_memory(&self, bytes: u64) -> u32 {
        let wanted = bytes / self.part / entry_bytes(&self.map);
        u32::try_from(wanted).unwrap_or(u32::MAX).clamp(*self.bounds.start(), *self.bounds.end())
    }
}

/// What an entry of a hash that is made beforehand takes, in bytes: `struct htab_elem` (48) and key and value in words of eight.
fn entry_bytes(map: &MapSpec) -> u64 {
    const ELEMENT: u64 = 48;
    ELEMENT + u64::from(map.key_size.next_multiple_of(8)) + u64::from(map.value_size.next_multiple_of(8))
}

/// What is there, if it is at least half and at most twice what is wanted.
fn settled(wanted: u32, pinned: Option<u32>) -> u32 {
    pinned.filter(|pinned| (wanted / 2..=wanted.saturating_mul(2)).contains(pinned)).unwrap_or(wanted)
}

/// `MemTotal`, which is given in KiB (proc_meminfo(5)).
fn total_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn maps_that_programs_write_take_their_part_of_the_memory_within_bounds() {
        for scaled in &SCALED {
            let (name, fewest, most) = (scaled.map.name, *scaled.bounds.start(), *scaled.bounds.end());
            assert_eq!([0, GIB, u64::MAX].map(|bytes| scaled.for_memory(bytes)), [fewest, fewest, most], "{name}");
            let held = u64::from(scaled.for_memory(64 * GIB)) * entry_bytes(&scaled.map);
            assert!((64 * GIB / scaled.part - held) < entry_bytes(&scaled.map), "{name}");
        }
    }

    #[test]
    fn an_entry_takes_what_the_kernel_gives_it() {
        assert_eq!([FLOWS, SOCKETS, AFFINITY, FRAGMENTS].map(|map| entry_bytes(&map)), [184, 104, 120, 96]);
    }

    #[test]
    fn a_map_that_is_about_right_is_kept() {
        assert_eq!(settled(100, None), 100);
        assert_eq!([50, 90, 200].map(|pinned| settled(100, Some(pinned))), [50, 90, 200]);
        assert_eq!([49, 201].map(|pinned| settled(100, Some(pinned))), [100, 100]);
    }

    #[test]
    fn the_hosts_memory_is_read() {
        assert_eq!(total_bytes("MemTotal:       25165824 kB\nMemFree: 1 kB\n"), Some(24 << 30));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
        assert!(fs::read_to_string(MEMORY).ok().and_then(|text| total_bytes(&text)).is_some());
    }
}
