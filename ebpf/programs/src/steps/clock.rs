//! The kernel's coarse monotonic clock, a few nanoseconds a look.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

#[inline(always)]
pub fn now_seconds() -> u32 {
    // SAFETY: the helper takes nothing and touches no memory.
    (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}

/// The same in units of 2^30 ns, 1.07 s: no division.
#[inline(always)]
pub fn now_ticks() -> u32 {
    // SAFETY: as above.
    (unsafe { bpf_ktime_get_coarse_ns() } >> 30) as u32
}

/// Whether that second is over, and the next one too: no division.
#[inline(always)]
pub fn is_past(second: u32) -> bool {
    // SAFETY: as above.
    (unsafe { bpf_ktime_get_coarse_ns() }) > (u64::from(second) + 2) * 1_000_000_000
}
