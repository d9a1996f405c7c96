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
    /// The cluster address.
    pub address: Address,
    /// The Service's port, network order.
    pub port_be: u16,
    /// See [`protocol`].
    pub protocol: u8,
    /// 0.
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
    /// With [`ADDRESS`]: another proxy serves the address (label `service.kubernetes.io/service-proxy-name`), it is left alone.
    pub const FOREIGN: u32 = 1 << 3;
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
    /// See [`Service::list`].
    pub list: u32,
    /// Place in the list, from 0.
    pub slot: u32,
}

/// A backend: a pod's address and port, after translation of named ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// The pod's address.
    pub address: Address,
    /// The pod's port, network order.
    pub port_be: u16,
    /// 0.
    pub reserved: u16,
}

/// A range from which Services get their addresses: the first `prefix_bits` bits of `address`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeKey {
    /// 0 to 128, native order as the kernel's prefix trees want it. An IPv4 prefix begins after the 96 bits of the mapped form.
    pub prefix_bits: u32,
    /// The bits after the prefix are 0.
    pub address: Address,
}

impl RangeKey {
    /// The range of an address and the length of a prefix of its family. More bits than the family has count as all.
    pub fn new(address: core::net::IpAddr, bits: u8) -> Self {
        let before = if address.is_ipv4() { 96 } else { 0 };
        let prefix_bits = (u32::from(bits) + before).min(128);
        let kept = u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0);
        let address = u128::from_be_bytes(Address::from(address).0) & kept;
        Self { prefix_bits, address: Address(address.to_be_bytes()) }
    }
}

/// What a TCP socket believes it is connected to, and what it is connected to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The kernel's number of the socket, never used again; 0 where no socket has been.
    pub cookie: u64,
    /// The Service's address.
    pub address: Address,
    /// The backend's address.
    pub backend: Address,
    /// The Service's port, network order.
    pub port_be: u16,
    /// The backend's port, network order.
    pub backend_port_be: u16,
    /// 0.
    pub reserved: u32,
}

/// A translated UDP socket: its cookie and where its packets really go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    /// The kernel's number of the socket, never used again.
    pub cookie: u64,
    /// The backend's address.
    pub address: Address,
    /// The backend's port, network order.
    pub port_be: u16,
    /// 0.
    pub reserved: [u16; 3],
}

/// What the socket believes it speaks to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketOrigin {
    /// The Service's address.
    pub address: Address,
    /// The Service's port, network order.
    pub port_be: u16,
    /// 0.
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
    /// A cookie; of what, `client_kind` says.
    pub client: u64,
    /// The Service's address.
    pub address: Address,
    /// The Service's port, network order.
    pub port_be: u16,
    /// The Service's protocol, see [`protocol`].
    pub protocol: u8,
    /// See [`client_kind`].
    pub client_kind: u8,
    /// 0.
    pub reserved: u32,
}

/// The backend that the client keeps, as long as the Service has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityChoice {
    /// The backend's address.
    pub address: Address,
    /// The backend's port, network order.
    pub port_be: u16,
    /// 0.
    pub reserved: u16,
    /// The list where the backend was found last.
    pub list: u32,
    /// Its place in that list.
    pub slot: u32,
    /// When it was used last: seconds of the kernel's monotonic clock.
    pub used_seconds: u32,
}

/// A pod's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// An address that the pod was given.
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
    /// Interface index of the host side of the pod's veth pair.
    pub ifindex: u32,
    /// See [`direction`].
    pub direction: u32,
}

/// Packets and bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count {
    /// Packets, or calls that were refused.
    pub packets: u64,
    /// Bytes of the packets, from the Ethernet header on; none for calls.
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
    RangeKey = 20,
    Connection = 48,
    SocketKey = 32,
    SocketOrigin = 20,
    AffinityKey = 32,
    AffinityChoice = 32,
    PodKey = 16,
    Pod = 16,
    TrafficKey = 8,
    Count = 16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_prefix_and_nothing_after_it() {
        let range = |text: &str, bits| RangeKey::new(text.parse().unwrap(), bits);
        let v4 = range("10.96.7.9", 16);
        assert_eq!((v4.prefix_bits, v4.address), (112, Address::from_v4([10, 96, 0, 0])));
        assert_eq!(range("10.96.7.9", 33), range("10.96.7.9", 32));
        let v6 = range("fd00:10:96::ff", 112);
        assert_eq!((v6.prefix_bits, v6), (112, range("fd00:10:96::", 112)));
        assert_eq!(range("fd00::", 0), RangeKey::default());
        assert_eq!(range("1.2.3.4", 0).address, Address::from_v4([0, 0, 0, 0]));
    }
}
