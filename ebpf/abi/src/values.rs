//! Keys and values of the maps. No padding: sizes are asserted below, so a field more is a compile error until it is counted.

use crate::{Address, Event, Judgement, Monitor, Pair, Peer, PortKey, Rule, Uncertain, UncertainKey, Verdict, VerdictKey, Way};

/// IP protocol numbers (IANA): those that Services know, and those that carry their errors.
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMP6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
}

/// From where a Service's front is used; see [`ServiceKey::scope`].
pub mod scope {
    /// By sockets of the node and its pods, by packets of pods. Every front is there.
    pub const INSIDE: u8 = 0;
    /// By packets that come in from the network. Only what is meant for the outside is there: node ports, load-balancer addresses,
    /// external addresses, host ports.
    pub const OUTSIDE: u8 = 1;
}

/// A Service's front: what clients connect to. `port_be` = 0 with `protocol` = 0 stands for the address as a whole: it is there, in
/// scope [`scope::INSIDE`], for every live cluster address, so that an undefined port can be told from an unallocated address, and for
/// every load-balancer and external address, so that it answers a ping. A node's addresses have none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The cluster, load-balancer or external address, or an address of the node for node ports and host ports.
    pub address: Address,
    /// The Service's port, node port or host port, network order.
    pub port_be: u16,
    /// See [`protocol`].
    pub protocol: u8,
    /// See [`scope`].
    pub scope: u8,
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// `sessionAffinity: ClientIP`.
    pub const AFFINITY: u32 = 1 << 0;
    /// `internalTrafficPolicy: Local`, in scope [`super::scope::OUTSIDE`] `externalTrafficPolicy: Local`: only backends of this node.
    /// Without one the traffic is dropped, not refused.
    pub const LOCAL_ONLY: u32 = 1 << 1;
    /// The entry stands for an address as a whole, not for a port.
    pub const ADDRESS: u32 = 1 << 2;
    /// With [`ADDRESS`]: another proxy serves the address (label `service.kubernetes.io/service-proxy-name`), it is left alone.
    pub const FOREIGN: u32 = 1 << 3;
    /// With [`ADDRESS`]: a load-balancer or external address. Its other ports are not ours: it may be a host's, too.
    pub const EXTERNAL: u32 = 1 << 4;
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
    /// The look-up table (Maglev) over the list, in the map of tables; 0 without: then a packet's slot is its hash scaled to `count`.
    pub table: u32,
    /// The set of ranges (`loadBalancerSourceRanges`) from which a packet must come, in the map of sources; 0 for any. Sockets of the node
    /// count as its address; those of pods are left alone, and their packets are looked at.
    pub sources: u32,
}

/// Part of a look-up table: positions `chunk` × [`TABLE_CHUNK`] and on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableKey {
    /// Which immutable table; see [`Service::table`].
    pub table: u32,
    /// From 0.
    pub chunk: u32,
}

/// Positions in one entry of the map of tables: with the kernel's own fields an entry takes just under 1 KiB.
pub const TABLE_CHUNK: usize = 480;

/// For each position the slot of a backend in every list that uses the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableChunk {
    /// Slots; positions after the table's last one are 0.
    pub slots: [u16; TABLE_CHUNK],
}

impl Default for TableChunk {
    fn default() -> Self {
        Self { slots: [0; TABLE_CHUNK] }
    }
}

/// A range from which a Service's load-balancer address may be used.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    /// 32 and the prefix of the address, native order: the set always counts as a whole.
    pub prefix_bits: u32,
    /// Which immutable set; see [`Service::sources`].
    pub set: u32,
    /// The bits after the prefix are 0.
    pub address: Address,
}

impl SourceKey {
    /// A range of a set.
    pub const fn new(set: u32, range: &RangeKey) -> Self {
        Self { prefix_bits: 32 + range.prefix_bits, set, address: range.address }
    }

    /// The range alone.
    pub const fn range(&self) -> RangeKey {
        RangeKey { prefix_bits: self.prefix_bits.saturating_sub(32), address: self.address }
    }
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

/// A range of addresses: the first `prefix_bits` bits of `address`.
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

    /// Whether the address is in the range. An IPv4 address is in IPv6's `::/0` as well, in the mapped form.
    pub fn contains(&self, address: Address) -> bool {
        let kept = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix_bits)).unwrap_or(0);
        u128::from_be_bytes(address.0) & kept == u128::from_be_bytes(self.address.0)
    }
}

/// Bits of [`Range::kinds`].
pub mod range_kinds {
    /// Services get their cluster addresses from it. An address in it that no Service has leads nowhere.
    pub const SERVICES: u32 = 1 << 0;
    /// Pods get their addresses from it, on the node at [`Range::node`](super::Range::node).
    pub const PODS: u32 = 1 << 1;
    /// Pods are seen there with their own addresses: no masquerade. Nodes' addresses and configured ranges.
    pub const DIRECT: u32 = 1 << 2;
}

/// What a range of addresses is. The longest prefix says all that is known of an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// See [`range_kinds`].
    pub kinds: u32,
    /// With [`range_kinds::PODS`]: the node's address, unspecified (`::`) for this node.
    pub node: Address,
}

/// Bits of [`Node::flags`].
pub mod node_flags {
    /// What pods send out of the cluster gets the node's address.
    pub const MASQUERADE: u32 = 1 << 0;
    /// Backends of other nodes answer the client directly (direct server return).
    pub const DIRECT_RETURN: u32 = 1 << 1;
    /// Packets that the stack would send the same way are left to it, and not redirected past it.
    pub const NO_REDIRECT: u32 = 1 << 2;
    /// Policy counts for new connections only: what it let through once is not judged again.
    pub const LENIENT: u32 = 1 << 3;
}

/// What programs must know of this node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The IPv4 address that stands for others in source NAT; unspecified (`::`) if the node has none.
    pub v4: Address,
    /// The same for IPv6.
    pub v6: Address,
    /// First port that source NAT may use, native order.
    pub first_port: u16,
    /// Last port that source NAT may use, native order; it and those between are outside of the ports that the node itself connects
    /// from (`net.ipv4.ip_local_port_range`).
    pub last_port: u16,
    /// See [`node_flags`].
    pub flags: u32,
    /// Positions of every look-up table, a prime number.
    pub table_size: u32,
    /// Index of the VXLAN device through which other nodes' pods are reached; 0 where routes lead to them.
    pub overlay: u32,
    /// The kernel's number of the node's network namespace, by which its own processes are told from those of pods; 0 if it is not known.
    pub namespace_cookie: u64,
    /// The overlay's UDP port, native order. Who sends to it with a node's address is believed to be that node.
    pub overlay_port: u16,
    /// 0.
    pub reserved: [u8; 6],
}

/// A device of the node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Its MAC address: frames to another one are not for this node. 0 if none of its frames is to be served before the stack.
    pub mac: [u8; 6],
    /// What it takes from programs for frames on other devices: see [`device_takes`].
    pub takes: u8,
    /// 0.
    pub reserved: u8,
}

/// What a device takes from programs for frames on other devices; all else must go there through the stack, or is lost.
pub mod device_takes {
    /// Frames of one piece.
    pub const FRAMES: u8 = 1;
    /// Frames of several pieces.
    pub const PIECES: u8 = 2;
}

/// A packet's addresses and ports, before translation. The ports of an ICMP query are its identifier, where the asker's port is, and 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Who sent it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// Network order.
    pub source_port_be: u16,
    /// Network order.
    pub destination_port_be: u16,
    /// See [`protocol`].
    pub protocol: u8,
    /// 0.
    pub reserved: [u8; 3],
}

impl FlowKey {
    /// The same seen from the other end.
    #[inline(always)]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port_be: self.destination_port_be,
            destination_port_be: self.source_port_be,
            protocol: self.protocol,
            reserved: [0; 3],
        }
    }
}

/// Bits of [`Flow::state`].
pub mod flow_state {
    /// The direction of who opened the flow; its pair is the answers' direction.
    pub const FORWARD: u32 = 1 << 0;
    /// TCP: a SYN went this way. SCTP: an INIT or INIT ACK.
    pub const OPENED: u32 = 1 << 1;
    /// TCP: a FIN went this way. SCTP: a SHUTDOWN chunk.
    pub const FINISHED: u32 = 1 << 2;
    /// TCP: a RST went this way. SCTP: an ABORT.
    pub const RESET: u32 = 1 << 3;
    /// User space: the backend is gone. TCP is answered with a reset, anything else is dropped.
    pub const GONE: u32 = 1 << 4;
    /// A packet went this way that was not the first of its flow.
    pub const CONFIRMED: u32 = 1 << 5;
    /// The flow leads from a pod out of the cluster, not to a Service.
    pub const MASQUERADE: u32 = 1 << 6;
    /// The backend answers the client directly: this node sees one direction only.
    pub const DIRECT: u32 = 1 << 7;
    /// With [`DIRECT`]: policy has let a packet of it through, here where the backend is.
    pub const JUDGED: u32 = 1 << 8;
    /// The flow translates nothing: it is there so that policy knows who began.
    pub const PLAIN: u32 = 1 << 9;
}

/// One direction of a translated flow: what its packets become. Two entries make a flow; the key of each is the other's
/// [`Flow::becomes`], reversed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// What the packet is after translation.
    pub becomes: FlowKey,
    /// See [`flow_state`].
    pub state: u32,
    /// When a packet went this way last: seconds of the kernel's coarse monotonic clock. Packets that take the way that the flow knows
    /// leave it alone, so it may be up to two seconds late.
    pub used_seconds: u32,
    /// Where packets went just now.
    pub way: Way,
}

/// Seconds without a packet after which a flow is forgotten, by what is known of both directions: the bits of [`flow_state`] that
/// either has (`any`), and that both have (`both`).
///
/// TCP: 2 hours 4 minutes once both ends have spoken and the handshake is complete, else 4 minutes (RFC 5382 REQ-5: who only sends the first
/// segment, with a source that is not its own, takes no place for hours), and after a RST too (RFC 7857 section 2.2).
/// UDP: 5 minutes (RFC 4787 REQ-5), 2 minutes before an answer. ICMP queries: 60 seconds (RFC 5508 REQ-2). SCTP as TCP. Protocols without
/// ports: 10 minutes (`nf_conntrack_generic_timeout`). What translates nothing ([`flow_state::PLAIN`], which both have or neither) is forgotten 10
/// seconds after its end: no address or port of somebody else's waits for it. Where only one direction comes by ([`flow_state::DIRECT`]), it speaks for both.
pub const fn flow_timeout(protocol: u8, any: u32, both: u32) -> u32 {
    const TRANSITORY: u32 = 240;
    const ESTABLISHED: u32 = 7_440;
    let is_plain = both & flow_state::PLAIN != 0;
    let both = if any & flow_state::DIRECT != 0 { any } else { both };
    match protocol {
        protocol::TCP | protocol::SCTP => {
            let is_over = any & (flow_state::RESET | flow_state::GONE) != 0 || both & flow_state::FINISHED != 0;
            let is_whole = both & flow_state::OPENED != 0 && any & flow_state::CONFIRMED != 0;
            match (is_over, is_whole) {
                (true, _) if is_plain => 10,
                (false, true) => ESTABLISHED,
                _ => TRANSITORY,
            }
        }
        protocol::ICMP | protocol::ICMP6 => 60,
        protocol::UDP if both & flow_state::CONFIRMED != 0 => 300,
        protocol::UDP => 120,
        _ => 600,
    }
}

/// A datagram in fragments.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey {
    /// Who sent it.
    pub source: Address,
    /// To whom.
    pub destination: Address,
    /// IPv4's 16 bits or IPv6's 32 bits as they stand in the packet, in the first bytes.
    pub identification_be: u32,
    /// See [`protocol`].
    pub protocol: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// The ports, which only the first fragment carries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentPorts {
    /// Network order.
    pub source_port_be: u16,
    /// Network order.
    pub destination_port_be: u16,
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
    /// `client` is the source address of packets (`sessionAffinity: ClientIP`).
    pub const ADDRESS: u8 = 3;
}

/// A client of a Service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityKey {
    /// An address, or a cookie in the first eight bytes; `client_kind` says which.
    pub client: Address,
    /// The Service's address.
    pub address: Address,
    /// The Service's port, network order.
    pub port_be: u16,
    /// The Service's protocol, see [`protocol`].
    pub protocol: u8,
    /// See [`client_kind`].
    pub client_kind: u8,
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

/// The device behind which a pod of this node lives, and the sets of rules that hold for it; see [`Verdict`](crate::Verdict). A set is
/// immutable: when policies change, the pod gets another one. 0 is for a pod that no policy isolates in this direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod {
    /// Interface index of the host side of the veth pair.
    pub ifindex: u32,
    /// MAC address of the pod's side, which frames to it must carry.
    pub pod_mac: [u8; 6],
    /// MAC address of the host's side.
    pub host_mac: [u8; 6],
    /// Rules for what comes in.
    pub ingress: u32,
    /// Rules for what goes out.
    pub egress: u32,
    /// Rules for what comes in from the pod itself, through a Service: ClusterNetworkPolicies alone count there.
    pub own_ingress: u32,
    /// Rules for what goes out to the pod itself, through a Service.
    pub own_egress: u32,
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
    Service = 24,
    TableKey = 8,
    TableChunk = 960,
    SourceKey = 24,
    BackendKey = 8,
    Backend = 20,
    RangeKey = 20,
    Range = 20,
    Node = 64,
    Device = 8,
    FlowKey = 40,
    Flow = 96,
    Way = 48,
    Pair = 96,
    FragmentKey = 40,
    FragmentPorts = 4,
    Connection = 48,
    SocketKey = 32,
    SocketOrigin = 20,
    AffinityKey = 36,
    AffinityChoice = 32,
    PodKey = 16,
    Pod = 32,
    TrafficKey = 8,
    Count = 16,
    Judgement = 8,
    Peer = 4,
    VerdictKey = 8,
    Verdict = 12,
    PortKey = 12,
    Rule = 24,
    UncertainKey = 20,
    Uncertain = 12,
    Event = 192,
    Monitor = 8,
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
