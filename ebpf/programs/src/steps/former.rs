//! Flows that other programs know, over a map of their own, whose hooks these here take over: until those are gone, and what they know has
//! been carried over, it is looked up as it is needed. A flow that is found so is ours from then on.

use crate::maps::{FLOWS, FORMER_FLOWS};
use aya_ebpf::{Global, bindings::BPF_NOEXIST};
use orknet_abi::FlowKey;

/// Whether there are such programs (1). The loader says so before the kernel verifies anything: where there are none, nothing of this is
/// left in the programs.
#[unsafe(no_mangle)]
static FORMER: Global<u32> = Global::new(0);

/// Whether they know a flow.
#[inline(always)]
pub fn know(key: &FlowKey) -> bool {
    FORMER.load() != 0 && FORMER_FLOWS.get_ptr(key).is_some()
}

/// Makes a flow ours that only they know.
#[inline(always)]
pub fn take_over(key: &FlowKey) {
    if FORMER.load() == 0 || FLOWS.get_ptr(key).is_some() {
        return;
    }
    let Some(theirs) = FORMER_FLOWS.get_ptr(key) else { return };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of that map until the program ends, and the
    // kernel copies it as it is.
    if FLOWS.insert(key, unsafe { &*theirs }, u64::from(BPF_NOEXIST)).is_err() {
        return;
    }
    let Some(ours) = FLOWS.get_ptr_mut(key) else { return };
    // SAFETY: as above. Its way was noted by other programs, in generations that they count; 0 is no stamp of a way.
    unsafe { (&raw mut (*ours).way.stamp).write_volatile(0) };
}
