//! What user space says of this node.

use crate::maps::NODE;
use orknet_abi::{Address, Node, node_flags};

/// The settings where they lie; all zero before user space has written them.
#[inline(always)]
pub fn pointer() -> Option<&'static Node> {
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map. A write of user space may be
    // seen in part: every field stands for itself.
    NODE.get_ptr(0).map(|node| unsafe { &*node })
}

/// Whether the number is that of the node's own network namespace.
#[inline(always)]
pub fn is_own_namespace(cookie: u64) -> bool {
    pointer().is_some_and(|node| node.namespace_cookie == cookie)
}

/// Whether packets are redirected past the stack where it would send them the same way.
#[inline(always)]
pub fn redirects() -> bool {
    pointer().is_none_or(|node| node.flags & node_flags::NO_REDIRECT == 0)
}

/// Whether the device is the overlay's.
#[inline(always)]
pub fn is_overlay(device: u32) -> bool {
    pointer().is_some_and(|node| node.overlay == device)
}

/// Whether other nodes' pods are behind the overlay, of which the stack knows nothing.
#[inline(always)]
pub fn has_overlay() -> bool {
    pointer().is_some_and(|node| node.overlay != 0)
}

/// Whether the address is one that source NAT uses, that is the node's own.
#[inline(always)]
pub fn is_own(address: &Address) -> bool {
    let Some(node) = pointer() else { return false };
    *address == node.v4 || *address == node.v6
}
