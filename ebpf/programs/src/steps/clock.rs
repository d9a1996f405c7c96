//! The kernel's coarse monotonic clock: seconds, a few nanoseconds a look.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

#[inline(always)]
pub fn now_seconds() -> u32 {
    // SAFETY: the helper takes nothing and touches no memory.
    (unsafe { bpf_ktime_get_coarse_ns() } / 1_000_000_000) as u32
}
