//! Network policy as programs see it: who the other end is, what the rules of a pod say about it, and which rule that was.
//!
//! A connection is judged by its client, its server and the server's port, as they are once Services are translated and before source NAT:
//! first the client's set of rules for what goes out, then the server's for what comes in. Each judgement is one longest-prefix match for the
//! other end ([`PEERS`](crate::PEERS)), one look-up of what the set says about such ends ([`VERDICTS`](crate::VERDICTS)), and, where that depends on
//! ports, one more longest-prefix match ([`PORTS`](crate::PORTS)). Numbers of sets, peer sets, tables and rules are this node's own.

/// What a rule says; see [`Judgement::action`].
pub mod action {
    /// The connection is refused. A value of all zeros says so.
    pub const DENY: u32 = 0;
    /// The connection is let through.
    pub const ALLOW: u32 = 1;
}

/// What is said about a connection, and by which rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Judgement {
    /// See [`action`].
    pub action: u32,
    /// The rule, by its number in the map of rules; 0 where no rule says anything: a pod that policies isolate refuses, any other lets
    /// through.
    pub rule: u32,
}

/// Which selectors an address satisfies, of those that rules on this node ask for: addresses with the same answers have the same number.
/// Its key is a [`RangeKey`](crate::RangeKey): a pod's address as a whole, or a part of an `ipBlock`. An address without an entry
/// satisfies none, which is peer set 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Never 0. Immutable in its meaning to the sets of rules that there are, as long as an address or a verdict has it.
    pub peers: u32,
}

/// A set of rules and the other end's peer set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerdictKey {
    /// A pod's set of rules in one direction: see [`Pod`](crate::Pod). Never 0.
    pub set: u32,
    /// See [`Peer::peers`]. What the set says about peer set 0 it says about every one that it has no entry for.
    pub peers: u32,
}

/// What a set of rules says about such ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    /// The table of ports, in the map of ports; 0 where ports make no difference.
    pub table: u32,
    /// What holds for what the table has no entry for.
    pub otherwise: Judgement,
}

/// A range of ports of one protocol in a table, or a protocol's, or all. The longest prefix counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// 32 for the table as a whole (all protocols), 48 for all ports of a protocol, 48 and the bits of the port's prefix for some: up to 64.
    /// Native order.
    pub prefix_bits: u32,
    /// See [`Verdict::table`]. Never 0, immutable.
    pub table: u32,
    /// See [`protocol`](crate::protocol); 0 where the prefix does not reach so far.
    pub protocol: u8,
    /// 0.
    pub reserved: u8,
    /// The server's port, network order; the bits after the prefix are 0. Of protocols without ports, 0.
    pub port_be: u16,
}

impl PortKey {
    /// Prefix of a table as a whole.
    pub const TABLE_BITS: u32 = 32;
    /// Prefix of all ports of a protocol.
    pub const PROTOCOL_BITS: u32 = 48;
    /// Prefix of one port.
    pub const PORT_BITS: u32 = 64;

    /// All ports of all protocols.
    pub const fn whole(table: u32) -> Self {
        Self { prefix_bits: Self::TABLE_BITS, table, protocol: 0, reserved: 0, port_be: 0 }
    }

    /// The ports that share the first `bits` bits (0 to 16) with `port`, native order.
    pub const fn ports(table: u32, protocol: u8, port: u16, bits: u32) -> Self {
        let kept = if bits == 0 { 0 } else { u16::MAX << (16 - bits) };
        Self { prefix_bits: Self::PROTOCOL_BITS + bits, table, protocol, reserved: 0, port_be: (port & kept).to_be() }
    }
}

/// Kinds of policies; see [`Rule::kind`].
pub mod policy_kind {
    /// `networking.k8s.io/v1` NetworkPolicy.
    pub const NETWORK_POLICY: u8 = 1;
    /// `policy.networking.k8s.io` ClusterNetworkPolicy.
    pub const CLUSTER_NETWORK_POLICY: u8 = 2;
}

/// Which rule of which object a number stands for: for those who explain, programs do not read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// `metadata.uid` of the policy, the 16 bytes of a UUID; what is none, is hashed to as many.
    pub policy: [u8; 16],
    /// Place in `spec.ingress` or `spec.egress`, from 0.
    pub index: u32,
    /// See [`direction`](crate::direction).
    pub direction: u8,
    /// See [`policy_kind`].
    pub kind: u8,
    /// 0.
    pub reserved: u16,
}

/// Kinds of events; see [`Event::kind`].
pub mod event_kind {
    /// A packet was dropped, or a connection refused: [`Event::reason`] says why.
    pub const DROP: u32 = 1;
    /// A flow was opened: what the packet became, and the rule that let it through.
    pub const FLOW: u32 = 2;
    /// A call at a socket was refused, so that there is no packet: [`Event::reason`] says why, as of a drop; `becomes` has what was asked for
    /// (address, port, protocol) as its destination, [`Event::cookie`] who asked.
    pub const REFUSED: u32 = 3;
    /// From here on: the steps of a packet that is traced, which no others tell. The packet's flow is known: `becomes` says what the packet
    /// becomes, `reason` has bit 3 set (8) if it goes against the direction in which the flow was opened.
    pub const STEP_FLOW: u32 = 16;
    /// A Service's backend was looked for: `reason` is 0 if the packet is no Service's, 1 or 3 if one was found (3: it answers the client
    /// directly), else 256 and a drop reason; `becomes` has the backend.
    pub const STEP_SERVICE: u32 = 17;
    /// A judgement: `direction`, `set`, `peers`, `rule`, and in `reason` the action.
    pub const STEP_JUDGED: u32 = 18;
    /// A way: `reason` is its kind, `set` the index of the device where it leads.
    pub const STEP_WAY: u32 = 19;
}

/// Bytes of a frame that an event shows.
pub const EVENT_BYTES: usize = 96;

/// Something that happened to a packet, as it lies in the ring of events.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of the kernel's monotonic clock.
    pub time: u64,
    /// Who did it, by the kernel's numbers, which are never used again: of a packet, the socket that sent it, where that is known; of a refused
    /// call, the caller's network namespace; else 0.
    pub cookie: u64,
    /// See [`event_kind`].
    pub kind: u32,
    /// A [`DropReason`](crate::DropReason) by number, or as the kind says.
    pub reason: u32,
    /// The rule behind it, as in [`Judgement::rule`]; of a flow, the one by which its server takes it.
    pub rule: u32,
    /// Of a flow, the rule by which its client may open it; else 0.
    pub egress_rule: u32,
    /// The set of rules that was asked; 0 for none.
    pub set: u32,
    /// The other end's peer set.
    pub peers: u32,
    /// See [`direction`](crate::direction); of the judgement, else 0.
    pub direction: u32,
    /// Index of the device where the packet was met.
    pub device: u32,
    /// The packet's length in bytes, from the Ethernet header on.
    pub bytes: u32,
    /// What the packet becomes, or became; all zero where that is not known.
    pub becomes: crate::FlowKey,
    /// How many of the bytes below are the frame's.
    pub head_bytes: u32,
    /// The beginning of the frame, from the Ethernet header on: as it came in, or in part as it was to become where it could not be rewritten. Of a
    /// refused call, nothing.
    pub head: [u8; EVENT_BYTES],
}

/// A UDP port of a pod that got its first rules a moment ago; port 0 stands for the pod as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UncertainKey {
    /// The pod's.
    pub address: crate::Address,
    /// Network order.
    pub port_be: u16,
    /// 0.
    pub reserved: u16,
}

/// Which datagrams of a port may answer others of before, that nobody took note of: rules let them through as any, but they open no flow, since
/// what comes after them would be taken for their answers. Of the pod as a whole it counts for every port that may be such a one: what a client
/// sends, and what a server hears, is no answer. Without it, the pod's ports are not looked up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uncertain {
    /// Bits of [`uncertain`].
    pub which: u32,
    /// Until when: seconds of the kernel's monotonic clock.
    pub until_seconds: u32,
    /// Of the pod as a whole: the ports that its clients have, both included, native order.
    pub first_client: u16,
    pub last_client: u16,
}

impl Uncertain {
    /// What may be an answer of all that a port sends and hears: [`uncertain::HEARD`] of a client's, else [`uncertain::SENT`]. `port` in native order.
    #[inline(always)]
    pub const fn may_answer(&self, port: u16) -> u32 {
        if self.first_client <= port && port <= self.last_client { uncertain::HEARD } else { uncertain::SENT }
    }
}

/// Bits of [`Uncertain::which`].
pub mod uncertain {
    /// Those that the pod sends from the port.
    pub const SENT: u32 = 1 << 0;
    /// Those that it hears at the port.
    pub const HEARD: u32 = 1 << 1;
}

/// Bits of [`Monitor::flags`].
pub mod monitor_flags {
    /// Drops are told.
    pub const DROPS: u32 = 1 << 0;
    /// Flows that are opened are told.
    pub const FLOWS: u32 = 1 << 1;
}

/// What programs are to tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monitor {
    /// See [`monitor_flags`].
    pub flags: u32,
    /// The most events of each kind that each CPU tells in a tick of about a second; more are counted as lost.
    pub per_tick: u32,
}

/// Why an event was not told: index in the map of lost events.
pub mod lost {
    /// There were more than [`Monitor::per_tick`](super::Monitor::per_tick).
    pub const RATE: u32 = 0;
    /// The ring was full.
    pub const FULL: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_is_the_prefix_and_nothing_after_it() {
        assert_eq!(
            PortKey::ports(3, 6, 8_443, 16),
            PortKey { prefix_bits: 64, table: 3, protocol: 6, reserved: 0, port_be: 8_443_u16.to_be() }
        );
        assert_eq!(PortKey::ports(3, 6, 0x8fff, 4).port_be, 0x8000_u16.to_be());
        assert_eq!(PortKey::ports(3, 17, 0xffff, 0), PortKey { prefix_bits: 48, table: 3, protocol: 17, reserved: 0, port_be: 0 });
    }
}
