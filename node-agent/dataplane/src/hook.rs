//! The attach points: which program goes where. The names are those of the functions in ebpf/programs/src/main.rs.

use std::fmt;

/// One program and its place in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    Connect4,
    Connect6,
    Sendmsg4,
    Sendmsg6,
    Recvmsg4,
    Recvmsg6,
    Getpeername4,
    Getpeername6,
    /// What a pod sends: ingress of the host's side of its veth pair.
    FromPod,
    /// What the stack sends to a pod: egress of the host's side of its veth pair.
    ToPod,
    /// What comes in from the network: ingress of the devices with the node's addresses.
    FromNetwork,
    /// What the stack sends to the network: egress of the same devices.
    ToNetwork,
    /// What the node itself sends to Services past its sockets: ingress of the far end of the veth pair that is there for it.
    FromNode,
    /// Frames of the devices that lead to the network before the stack sees them: XDP.
    FromWire,
}

impl Hook {
    /// The hooks of a cgroup.
    pub const SOCKETS: [Self; 8] = [
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
    ];

    /// The hooks of a pod device.
    pub const DEVICES: [Self; 2] = [Self::FromPod, Self::ToPod];

    /// The hooks of a device that leads to the network, in the order in which they are attached: nothing is translated before its
    /// answers are.
    pub const NETWORK: [Self; 2] = [Self::ToNetwork, Self::FromNetwork];

    /// The hook of the device for the node's own packets.
    pub const NODE: [Self; 1] = [Self::FromNode];

    /// Every hook.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SOCKETS.into_iter().chain(Self::DEVICES).chain(Self::NETWORK).chain(Self::NODE).chain([Self::FromWire])
    }

    /// The hook whose program has this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|hook| hook.name() == name)
    }

    /// The program's name in the object file and in pins.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Recvmsg4 => "recvmsg4",
            Self::Recvmsg6 => "recvmsg6",
            Self::Getpeername4 => "getpeername4",
            Self::Getpeername6 => "getpeername6",
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::FromNetwork => "from_network",
            Self::ToNetwork => "to_network",
            Self::FromNode => "from_node",
            Self::FromWire => "from_wire",
        }
    }

    /// The kernel's number for the attach point (`enum bpf_attach_type` in linux/bpf.h); for devices that of tcx.
    pub(crate) const fn attach_type(self) -> u32 {
        match self {
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Sendmsg4 => 14,
            Self::Sendmsg6 => 15,
            Self::Recvmsg4 => 19,
            Self::Recvmsg6 => 20,
            Self::Getpeername4 => 29,
            Self::Getpeername6 => 30,
            Self::FromPod | Self::FromNetwork | Self::FromNode => 46,
            Self::ToPod | Self::ToNetwork => 47,
            Self::FromWire => 37,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
