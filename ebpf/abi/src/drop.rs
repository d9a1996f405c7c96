//! Why a packet or a connection attempt was not let through. Counters, logs and documents are made from this one list.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// One reason per drop; the number indexes the `drops` map.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[doc = $doc])+ $name = $number,)+ }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name in metrics, tables and documents.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// One sentence for the person who reads it.
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame is shorter than the headers that it announces.
    Truncated = 0, "truncated";
    /// The source address is not one of the pod's own.
    SourceNotPod = 1, "source-not-pod";
    /// The Service has no endpoint that may take traffic; the caller gets "connection refused".
    NoEndpoints = 2, "no-endpoints";
    /// The Service's policy asks for endpoints on this node and there are none; the caller gets "operation not permitted".
    NoLocalEndpoints = 3, "no-local-endpoints";
    /// The Service's entry named a backend that is not in the map, however often it was read again.
    BackendGone = 4, "backend-gone";
    /// The kernel refused to redirect the packet to its device.
    RedirectFailed = 5, "redirect-failed";
    /// A header contradicts itself: a wrong version, a length that is too small, an IPv4-mapped address in IPv6.
    Malformed = 6, "malformed";
    /// The Service's address is live, and no port of it is this one; the caller gets "connection refused".
    NoSuchPort = 7, "no-such-port";
    /// The address is from a range of Services and no Service has it; the caller gets "operation not permitted", a packet nothing.
    NoSuchService = 8, "no-such-service";
    /// The load-balancer address may not be used from this source (`loadBalancerSourceRanges`); a socket of the node gets "operation not
    /// permitted".
    SourceNotAllowed = 9, "source-not-allowed";
    /// Source NAT found no free port towards the destination; of a protocol without ports, another flow has the two addresses.
    NatPortsExhausted = 10, "nat-ports-exhausted";
    /// There is no room for another flow in the map of flows.
    FlowsFull = 11, "flows-full";
    /// A fragment whose first one, which carries the ports, was not seen.
    FragmentUnknown = 12, "fragment-unknown";
    /// The backend of the flow is gone; over TCP the sender gets a reset.
    EndpointGone = 13, "endpoint-gone";
    /// Source NAT needs an address of the node, and the node has none of this family.
    NoNodeAddress = 14, "no-node-address";
    /// The node has no way to the destination.
    NoRoute = 15, "no-route";
    /// The packet could not be rewritten.
    RewriteFailed = 16, "rewrite-failed";
    /// The packet is larger than the way to the backend lets through; the sender is told ("fragmentation needed").
    TooBig = 17, "too-big";
    /// The packet's hop limit is used up; the sender is told ("time exceeded").
    NoHopLeft = 18, "no-hop-left";
    /// The node's own packet to a Service's address, past its sockets, for no port of a Service; the sender gets "port unreachable".
    NotForService = 19, "not-for-service";
    /// No rule of the policies that isolate the server lets the client in.
    PolicyIngress = 20, "policy-ingress";
    /// No rule of the policies that isolate the client lets it out to the server.
    PolicyEgress = 21, "policy-egress";
    /// It came through the overlay from somebody who is no node, a pod; or it would reach a node's end of the overlay with this node's address.
    TunnelNotNode = 22, "tunnel-not-node";
    /// It came from the network with the address of a pod of this node, to a pod that has rules.
    SourceIsPod = 23, "source-is-pod";
}
