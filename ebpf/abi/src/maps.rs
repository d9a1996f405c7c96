//! The maps by name, with their key, value and default capacity. Programs declare them with these names; the loader compares.

/// Version of everything in this crate that outlives a process: map names, layouts and meanings. A change of it makes the
/// agent build new maps beside the old ones.
pub const ABI_VERSION: u32 = 1;

/// What both sides must agree on for one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name in the object file and of the pin.
    pub name: &'static str,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries unless configured.
    pub capacity: u32,
}

macro_rules! maps {
    ($($(#[doc = $doc:literal])+ $konst:ident: $name:literal, $key:ty => $value:ty, $capacity:literal;)+) => {
        $($(#[doc = $doc])+ pub const $konst: MapSpec = MapSpec {
            name: $name,
            key_size: size_of::<$key>() as u32,
            value_size: size_of::<$value>() as u32,
            capacity: $capacity,
        };)+

        /// Every map.
        pub const MAPS: &[MapSpec] = &[$($konst,)+];
    };
}

use crate::values::*;

maps! {
    /// Hash: a Service address and port to the list of its backends. One update of one value switches a Service to a new list.
    SERVICES: "SERVICES", ServiceKey => Service, 65_536;
    /// Hash: one backend of one list. Lists are immutable: a change makes a new list, switches the Service, removes the old list.
    BACKENDS: "BACKENDS", BackendKey => Backend, 524_288;
    /// LRU hash: which Service address a socket spoke to when its destination was translated.
    SOCKETS: "SOCKETS", SocketKey => SocketOrigin, 131_072;
    /// LRU hash: the backend that a client keeps: by session affinity, or for the datagrams of one unconnected socket.
    AFFINITY: "AFFINITY", AffinityKey => AffinityChoice, 65_536;
    /// Hash: the addresses of this node's pods.
    PODS: "PODS", PodKey => Pod, 4_096;
    /// Per-CPU array: packets and bytes by drop reason.
    DROPS: "DROPS", u32 => Count, 64;
    /// Per-CPU hash: packets and bytes by pod device and direction.
    TRAFFIC: "TRAFFIC", TrafficKey => Count, 8_192;
}
