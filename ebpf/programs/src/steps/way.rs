//! The way of a packet: into a pod of this node, to a neighbour past the node's own stack, through the overlay, or by the stack.

use super::{
    count, node,
    packet::{self, ETHERNET, Ip},
    pair, pod, quick, range, read, scratch,
    segment::must_not_be_cut,
    words::{self, clear, wipe},
};
use crate::{direct, frame::Frame, global, maps::DEVICES};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS,
        BPF_FIB_LKUP_RET_UNSUPP_LWT, TC_ACT_REDIRECT, bpf_fib_lookup as Question, bpf_redir_neigh, bpf_tunnel_key, xdp_action::XDP_TX,
    },
    helpers::{
        bpf_check_mtu, bpf_fib_lookup, bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key,
    },
    programs::{TcContext, XdpContext},
};
use core::mem::{self, MaybeUninit};
use orknet_abi::{Address, DropReason, FlowKey, OVERLAY_ID, Way, device_takes, direction::INGRESS, overlay_mac, protocol, range_kinds};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// The fragment header of IPv6 (RFC 8200 section 4.5).
pub const FRAGMENT: u8 = 44;
/// `BPF_F_TUNINFO_IPV6`.
const TUNNEL_V6: u64 = 1;
/// The mark of packets that the node's devices need not look at once more, as they leave.
const DONE: u32 = orknet_abi::DONE_MARK;

/// Kinds of ways: those that a flow may know, and those that it may not.
pub mod kind {
    use orknet_abi::way_kind;

    /// None.
    pub const NOWHERE: u32 = way_kind::NONE as u32;
    /// A pod of this node.
    pub const POD: u32 = way_kind::POD as u32;
    /// Another machine, by the node's routes.
    pub const NEIGHBOUR: u32 = way_kind::NEIGHBOUR as u32;
    /// What the node's stack makes of it: it is for the node itself, or needs what only the stack does.
    pub const STACK: u32 = way_kind::STACK as u32;
    /// What the node's stack has decided on already.
    pub const LEAVING: u32 = way_kind::LEAVING as u32;
    /// Into the node, where its own packets to Services came out.
    pub const HOME: u32 = way_kind::HOME as u32;
    /// Another node's pod, through the overlay.
    pub const TUNNEL: u32 = way_kind::TUNNEL as u32;
    /// A pod of this node, by the stack, with nothing left to do.
    pub const PASSED: u32 = way_kind::PASSED as u32;
    /// Another machine whose MAC address the kernel has to ask for.
    pub const STRANGER: u32 = 16;
    /// The packet is larger than what goes this way.
    pub const TOO_BIG: u32 = 18;
}

/// The way of what a packet becomes; answers its kind. `more` is how many bytes longer it will be.
#[inline(always)]
pub fn find_way(frame: &impl Frame, ip: &Ip, becomes: &FlowKey, way: &mut Way, more: u32) -> u32 {
    wipe(way);
    way.stamp = quick::generation();
    way.mtu = u16::MAX;
    if pod::find_way(&becomes.destination, way) {
        return kind::POD;
    }
    if node::is_own(&becomes.destination) {
        return kind::STACK;
    }
    if let Some(node) = node::pointer()
        && node.overlay != 0
        && let Some(range) = range::range(&becomes.destination)
        && range.kinds & range_kinds::PODS != 0
        && !range.node.is_unspecified_v6()
    {
        way.address = range.node;
        way.ifindex = node.overlay;
        return kind::TUNNEL;
    }
    route(frame, ip, becomes, way, more)
}

/// The same where the way may be the overlay: a packet must fit into it, unless it may be cut, which is done outside of the tunnel. So are
/// fragments of IPv6: nobody complains of those.
#[inline(always)]
pub fn find_fitting_way(ctx: &TcContext, ip: &Ip, becomes: &FlowKey, way: &mut Way, more: u32) -> u32 {
    let kind = find_way(ctx, ip, becomes, way, more);
    if kind != kind::TUNNEL {
        return kind;
    }
    // What the helper finds there is a length to look at, and it puts the device's measure there. Its own verdict holds for packets that
    // are one: of merged ones it looks at the segments only where no header is added.
    let mut mtu = 0;
    // SAFETY: the context is the program's own, and the helper writes one word.
    let outcome = unsafe { bpf_check_mtu(ctx.context(), way.ifindex, &raw mut mtu, 0, 0) };
    // With no measure known, no packet but this one goes without asking.
    way.mtu = if outcome >= 0 { mtu as u16 } else { 0 };
    if outcome < 0 || may_be_cut(ip) || ip.protocol == FRAGMENT || travelling_length(ctx, ip) + more <= mtu {
        return kind;
    }
    kind::TOO_BIG
}

/// How many bytes the packet has on its way, from the IP header on: what merged packets are cut into has the headers of the whole and one
/// segment's payload. 1 where nobody can say (segments of SCTP, each of which has its own size).
#[inline(always)]
fn travelling_length(frame: &impl Frame, ip: &Ip) -> u32 {
    match frame.segment_size() {
        0 => ip.length,
        size => segment_length(frame, ip.next, ip.protocol, size).unwrap_or(1),
    }
}

/// The same of one segment of a merged packet; `offset` is where the header of the protocol is.
#[inline(always)]
pub fn segment_length(frame: &impl Frame, offset: u32, number: u8, size: u32) -> Option<u32> {
    let header = match number {
        protocol::TCP => u32::from(frame.read::<u8>(offset + 12)? >> 4) * 4,
        protocol::UDP => 8,
        _ => return None,
    };
    Some(offset - ETHERNET + header + size)
}

#[inline(always)]
fn to_words(address: &Address) -> [u32; 4] {
    // SAFETY: both are sixteen plain bytes.
    unsafe { mem::transmute::<[u8; 16], [u32; 4]>(address.0) }
}

/// In the place of a device: the stack sends the packet to another machine.
const ELSEWHERE: u32 = u32::MAX;

/// Whether a way of this kind ends at the node itself.
#[inline(always)]
pub fn is_to_node(way: &Way, kind: u32) -> bool {
    kind == kind::STACK && way.ifindex != ELSEWHERE
}

/// Whether the next machine of a way by the node's routes is the one that has this address.
#[inline(always)]
pub fn is_end(way: &Way, address: &Address) -> bool {
    let (next, end) = (to_words(&way.address), to_words(address));
    match way.family {
        AF_INET => address.is_v4() && next[0] == end[3],
        _ => (0..4).all(|word| next[word] == end[word]),
    }
}

/// Asks the node's routes, for a packet of this length that came in where the hook is.
#[inline(always)]
fn route(frame: &impl Frame, ip: &Ip, becomes: &FlowKey, way: &mut Way, more: u32) -> u32 {
    let generation = way.stamp;
    let device = frame.device();
    let length = travelling_length(frame, ip) + more;
    if let Some(known) = pair::find_route(becomes, device)
        && length <= u32::from(known.mtu)
    {
        words::copy(known, way);
        // For whoever notes it.
        way.stamp = generation;
        return kind::NEIGHBOUR;
    }
    let Some(question) = scratch::question() else { return kind::NOWHERE };
    wipe(question);
    question.family = if ip.is_v4 { AF_INET } else { AF_INET6 };
    question.l4_protocol = ip.protocol;
    question.ifindex = device;
    // With a length the answer tells the way's measure.
    question.__bindgen_anon_1.tot_len = length.min(u32::from(u16::MAX)) as u16;
    let (source, destination) = (to_words(&becomes.source), to_words(&becomes.destination));
    if ip.is_v4 {
        question.__bindgen_anon_3.ipv4_src = source[3];
        question.__bindgen_anon_4.ipv4_dst = destination[3];
    } else {
        question.__bindgen_anon_3.ipv6_src = source;
        question.__bindgen_anon_4.ipv6_dst = destination;
    }
    // SAFETY: the structure is as long as the helper is told.
    let answer = unsafe { bpf_fib_lookup(frame.context(), question, size_of::<Question>() as i32, 0) };
    match answer as u32 {
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH => {
            way.ifindex = question.ifindex;
            // A route of IPv4 may lead over IPv6, and the helper says so.
            way.family = question.family;
            // SAFETY: the helper has put the next machine's address there; both are sixteen plain bytes.
            way.address = Address(unsafe { mem::transmute::<[u32; 4], [u8; 16]>(question.__bindgen_anon_4.ipv6_dst) });
            if answer as u32 == BPF_FIB_LKUP_RET_NO_NEIGH {
                return kind::STRANGER;
            }
            way.macs = [question.dmac, question.smac];
            // SAFETY: with this answer the helper has put the way's measure there.
            way.mtu = unsafe { question.__bindgen_anon_1.mtu_result };
            pair::note_route(becomes, way, device);
            kind::NEIGHBOUR
        }
        BPF_FIB_LKUP_RET_FRAG_NEEDED => {
            // SAFETY: as above.
            way.mtu = unsafe { question.__bindgen_anon_1.mtu_result };
            kind::TOO_BIG
        }
        BPF_FIB_LKUP_RET_NOT_FWDED => kind::STACK,
        // Routes with an encapsulation of their own are the stack's to take.
        BPF_FIB_LKUP_RET_UNSUPP_LWT => {
            way.ifindex = ELSEWHERE;
            kind::STACK
        }
        _ => kind::NOWHERE,
    }
}

/// Whether a packet that is too big for its way may be cut up on it.
#[inline(always)]
pub fn may_be_cut(ip: &Ip) -> bool {
    !must_not_be_cut(ip)
}

/// Puts the packet into a pod of this node. Its hop has been taken.
#[inline(always)]
pub fn into_pod(ctx: &TcContext, ifindex: u32, macs: &[[u8; 6]; 2]) -> i32 {
    packet::set_macs(ctx, macs);
    count::count_traffic(ifindex, INGRESS, ctx.len());
    // SAFETY: the helper takes numbers only.
    redirected(ctx, unsafe { bpf_redirect_peer(ifindex, 0) } as i32)
}

/// Hands the packet to the next machine: the kernel finds its MAC address. Nothing is left to do as it leaves.
#[inline(always)]
pub fn to_neighbour(ctx: &TcContext, way: &Way) -> i32 {
    let mut place = MaybeUninit::uninit();
    let next: &mut bpf_redir_neigh = clear(&mut place);
    next.nh_family = u32::from(way.family);
    next.__bindgen_anon_1.ipv6_nh = to_words(&way.address);
    ctx.set_mark(DONE);
    // SAFETY: the structure is as long as the helper is told.
    redirected(ctx, unsafe { bpf_redirect_neigh(way.ifindex, next, size_of::<bpf_redir_neigh>() as i32, 0) } as i32)
}

/// The verdict on a packet for which the kernel was asked to redirect it.
#[inline(always)]
fn redirected(ctx: &TcContext, verdict: i32) -> i32 {
    if verdict == TC_ACT_REDIRECT { verdict } else { count::drop_packet(ctx, DropReason::RedirectFailed) }
}

/// Whether a frame from the wire can go such a way as it is. Drivers take frames from others only where they can, some of them only of one
/// piece, and devices without a driver of their own (VLANs, bridges) never do: such a frame would be lost, and nobody would say so.
#[inline(always)]
pub fn takes_frames(frame: &XdpContext, way: &Way) -> bool {
    if way.ifindex == frame.device() {
        return true;
    }
    let Some(next) = read(DEVICES.get_ptr(way.ifindex)) else { return false };
    let is_whole = u64::from(frame.length()) <= direct::length(frame.bounds());
    let needed = if is_whole { device_takes::FRAMES } else { device_takes::FRAMES | device_takes::PIECES };
    next.takes & needed == needed
}

/// Sends a frame that came from the wire to the next machine, whose MAC address is known.
#[inline(always)]
pub fn onto_wire(frame: &XdpContext, way: &Way) -> u32 {
    packet::set_macs(frame, &way.macs);
    if way.ifindex == frame.device() {
        return XDP_TX;
    }
    // SAFETY: the helper takes numbers only.
    unsafe { bpf_redirect(way.ifindex, 0) as u32 }
}

/// Sends the packet to another node through the overlay.
#[inline(always)]
pub fn to_tunnel(ctx: &TcContext, way: &Way) -> i32 {
    let node_address = &way.address;
    let Some(key) = scratch::tunnel() else { return packet::DROP };
    wipe(key);
    key.tunnel_id = OVERLAY_ID;
    key.tunnel_ttl = 64;
    let is_v4 = node_address.is_v4();
    if is_v4 {
        // The helper wants this one in native order.
        key.__bindgen_anon_1.remote_ipv4 = u32::from_be_bytes(node_address.v4_octets());
    } else {
        key.__bindgen_anon_1.remote_ipv6 = to_words(node_address);
    }
    ctx.set_mark(DONE);
    let flags = if is_v4 { 0 } else { TUNNEL_V6 };
    let Some(own) = node::pointer() else { return redirected(ctx, packet::NEXT) };
    let device = own.overlay;
    // Ends of tunnels are known by addresses of one family, and what the far end answers without looking goes to this one.
    let own_mac = if is_v4 { overlay_mac(&own.v4) } else { overlay_mac(&own.v6) };
    packet::set_macs(ctx, &[overlay_mac(node_address), own_mac]);
    // SAFETY: the structure is as long as the helper is told.
    let verdict = unsafe {
        match bpf_skb_set_tunnel_key(ctx.skb.skb, key, size_of::<bpf_tunnel_key>() as u32, flags) {
            0 => bpf_redirect(device, 0) as i32,
            _ => 0,
        }
    };
    redirected(ctx, verdict)
}

/// Has a packet that came through the overlay go back to the node that sent it; 1 if it is so.
#[inline(always)]
pub fn turn_tunnel(ctx: &TcContext) -> u32 {
    const BYTES: u32 = size_of::<bpf_tunnel_key>() as u32;
    // SAFETY: all zero is a value of this structure of numbers.
    let mut key: bpf_tunnel_key = unsafe { MaybeUninit::zeroed().assume_init() };
    for flags in [0, TUNNEL_V6] {
        // SAFETY: the structure is as long as the helpers are told. What was its source is its destination then.
        let is_turned = unsafe {
            bpf_skb_get_tunnel_key(ctx.skb.skb, &raw mut key, BYTES, flags) == 0
                && bpf_skb_set_tunnel_key(ctx.skb.skb, &raw mut key, BYTES, flags) == 0
        };
        if is_turned {
            return 1;
        }
    }
    0
}

/// Whether a packet came through the overlay from a pod: nothing keeps pods from sending such to their nodes, and it is only nodes that have
/// judged what is inside. A pod's packets have its own address, or one of the link to its node.
#[inline(always)]
pub fn is_tunnel_of_pod(ctx: &TcContext) -> bool {
    const BYTES: u32 = size_of::<bpf_tunnel_key>() as u32;
    let Some(key) = scratch::tunnel() else { return true };
    wipe(key);
    // SAFETY: the structure is as long as the helper is told; which member of the union holds the address, the flag says.
    let remote = unsafe {
        if bpf_skb_get_tunnel_key(ctx.skb.skb, key, BYTES, 0) == 0 {
            Address::from_v4(key.__bindgen_anon_1.remote_ipv4.to_be_bytes())
        } else if bpf_skb_get_tunnel_key(ctx.skb.skb, key, BYTES, TUNNEL_V6) == 0 {
            Address(mem::transmute::<[u32; 4], [u8; 16]>(key.__bindgen_anon_1.remote_ipv6))
        } else {
            return false;
        }
    };
    remote.is_link_local_v6() || range::kinds(&remote) & range_kinds::PODS != 0
}

/// Sends the packet back out of the device that it came in on.
#[inline(always)]
pub fn back(ctx: &TcContext) -> i32 {
    packet::swap_macs(ctx);
    ctx.set_mark(DONE);
    if node::pointer().is_some_and(|node| node.overlay == ctx.device()) && global::turn_tunnel(ctx.skb.skb) == 0 {
        return count::drop_packet(ctx, DropReason::RedirectFailed);
    }
    // SAFETY: the helper takes numbers only.
    redirected(ctx, unsafe { bpf_redirect(ctx.device(), 0) } as i32)
}

/// Sends the packet in where the node's own packets came out.
#[inline(always)]
pub fn go_home(ctx: &TcContext, way: &Way) -> i32 {
    packet::set_macs(ctx, &way.macs);
    // By the mark the stack's check of sources finds that it comes from there.
    ctx.set_mark(DONE);
    // SAFETY: the helper takes numbers only.
    redirected(ctx, unsafe { bpf_redirect(way.ifindex, 0) } as i32)
}

/// Leaves a packet for a pod of this node to the stack, for which all is done.
#[inline(always)]
pub fn leave_judged(ctx: &TcContext, ifindex: u32) -> i32 {
    ctx.set_mark(orknet_abi::judged_mark(ifindex));
    packet::NEXT
}

/// Whether a packet that the stack hands to this pod is one of these. Takes the mark off.
#[inline(always)]
pub fn is_judged(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    let is_judged = unsafe { (*ctx.skb.skb).mark } == orknet_abi::judged_mark(ctx.device());
    if is_judged {
        ctx.set_mark(0);
    }
    is_judged
}

/// Whether a packet that leaves needs nothing more. Takes the mark off.
#[inline(always)]
pub fn is_done(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid context to the program; the word may be read.
    let is_done = unsafe { (*ctx.skb.skb).mark } == DONE;
    if is_done {
        ctx.set_mark(0);
    }
    is_done
}
