//! How many flows fit unless the configuration says so: by the host's memory.

use crate::{Config, bpffs::Pins, kernel::MapFile};
use orknet_abi::FLOWS;
use std::fs;

/// A flow's entry with what the kernel adds to it, in bytes, and the part of the memory that all of them may take together.
const ENTRY: u64 = 160;
const PART: u64 = 400;
/// Bounds: a small host still serves thousands of clients, a large one needs no more than this.
const FEWEST: u32 = 65_536;
const MOST: u32 = 4_194_304;

const MEMORY: &str = "/proc/meminfo";

/// The configuration with a capacity for flows, if it has none. The one of a pinned map is kept unless it is far off: what a host says
/// of its memory can change a little while it runs.
pub(crate) fn scaled(config: &Config, pins: &Pins) -> Config {
    let mut config = config.clone();
    if !config.capacities.contains_key(FLOWS.name) {
        let memory = fs::read_to_string(MEMORY).ok().and_then(|text| total_bytes(&text));
        let wanted = memory.map_or(FLOWS.capacity, for_memory);
        let pinned = MapFile::open(&pins.map(FLOWS.name), true).ok().map(|file| file.shape().capacity);
        config.capacities.insert(FLOWS.name.to_owned(), settled(wanted, pinned));
    }
    config
}

/// Entries of flows for a host with so many bytes of memory: 0.25 % of it.
fn for_memory(bytes: u64) -> u32 {
    u32::try_from(bytes / PART / ENTRY).unwrap_or(MOST).clamp(FEWEST, MOST)
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

    #[test]
    fn flows_take_a_four_hundredth_of_the_memory_within_bounds() {
        const GIB: u64 = 1 << 30;
        assert_eq!([0, GIB, 3 * GIB].map(for_memory), [FEWEST; 3]);
        assert_eq!(for_memory(24 * GIB), 402_653);
        assert_eq!([256 * GIB, u64::MAX].map(for_memory), [MOST; 2]);
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
