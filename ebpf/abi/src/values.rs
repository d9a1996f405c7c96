//! Keys and values of the maps. No padding: sizes are asserted below, so a field more is a compile error until it is counted.

use crate::Address;

/// IP protocol numbers (IANA) that Services know.
pub mod protocol {
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}

/// A Service's front: what clients connect to. `port_be` = 0 with `protocol` = 0 stands for the address as a whole: it is there
/// for every live address, so that an undefined port can be told from an unallocated address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    pub address: Address,
    pub port_be: u16,
    pub protocol: u8,
    pub reserved: u8,
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// `sessionAffinity: ClientIP`.
    pub const AFFINITY: u32 = 1 << 0;
    /// `internalTrafficPolicy: Local`: without a backend the traffic is dropped, not refused.
    pub const LOCAL_ONLY: u32 = 1 << 1;
    /// The entry stands for an address as a whole, not for a port.
    pub const ADDRESS: u32 = 1 << 2;
}

/// Where a Service's front leads: `count` backends, at (`list`, 0) to (`list`, `count` - 1) in the backends map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    /// Which immutable list; never used again for another list while a program may still read it.
    pub list: u32,
    /// Backends in the list; 0 refuses.
    pub count: u32,
    /// See [`service_flags`].
    pub flags: u32,
    /// Seconds of session affinity; 0 without.
    pub affinity_seconds: u32,
}

/// One place in one list of backends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    pub list: u32,
    pub slot: u32,
}

/// A backend: a pod's address and port, after translation of named ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub address: Address,
    pub port_be: u16,
    pub reserved: u16,
}

/// A translated socket: its cookie and where its packets really go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    pub cookie: u64,
    pub address: Address,
    pub port_be: u16,
    pub reserved: [u16; 3],
}

/// What the socket believes it speaks to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketOrigin {
    pub address: Address,
    pub port_be: u16,
    pub reserved: u16,
}

/// Who keeps a backend: see [`AffinityKey::client_kind`].
pub mod client_kind {
    /// `client` is the cookie of a network namespace, which for a pod is the pod (`sessionAffinity: ClientIP`).
    pub const NAMESPACE: u8 = 1;
    /// `client` is a socket's cookie: the datagrams of one unconnected socket stay together.
    pub const SOCKET: u8 = 2;
}

/// A client of a Service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityKey {
    pub client: u64,
    /// The Service's address, port and protocol.
    pub address: Address,
    pub port_be: u16,
    pub protocol: u8,
    /// See [`client_kind`].
    pub client_kind: u8,
    pub reserved: u32,
}

/// The backend that the client keeps, as long as the Service has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityChoice {
    pub address: Address,
    pub port_be: u16,
    pub reserved: u16,
    /// The list and the place in it where the backend was found last.
    pub list: u32,
    pub slot: u32,
    /// When it was used last: seconds of the kernel's monotonic clock.
    pub used_seconds: u32,
}

/// A pod's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    pub address: Address,
}

/// The device behind which a pod of this node lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod {
    /// Interface index of the host side of the veth pair.
    pub ifindex: u32,
    /// MAC address of the pod's side, which frames to it must carry.
    pub pod_mac: [u8; 6],
    /// MAC address of the host's side.
    pub host_mac: [u8; 6],
}

/// Direction as the pod sees it.
pub mod direction {
    /// From the pod.
    pub const EGRESS: u32 = 0;
    /// To the pod.
    pub const INGRESS: u32 = 1;
}

/// One pod device and a direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficKey {
    pub ifindex: u32,
    /// See [`direction`].
    pub direction: u32,
}

/// Packets and bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

macro_rules! sizes {
    ($($type:ty = $bytes:literal,)+) => { $(const _: () = assert!(size_of::<$type>() == $bytes);)+ };
}

sizes! {
    Address = 16,
    ServiceKey = 20,
    Service = 16,
    BackendKey = 8,
    Backend = 20,
    SocketKey = 32,
    SocketOrigin = 20,
    AffinityKey = 32,
    AffinityChoice = 32,
    PodKey = 16,
    Pod = 16,
    TrafficKey = 8,
    Count = 16,
}
