//! The quick way: a packet of a flow that knows its way is translated and sent on in one straight line, with one look-up. Whatever is not
//! plain leaves the line, untouched, for the steps that know everything; these note the way for the next packet.
//!
//! What is noted is believed for about a second (routes, neighbours), in the generation in which it was asked (what user space knows),
//! on the device where it was asked (whose packets may have that source). So nothing of that is asked again.

use super::{
    clock::now_ticks,
    count::count_left,
    event,
    flow::{self, entrance, opened},
    former, open,
    packet::{self, ETHERNET},
    pair::{self, asked},
    read, scratch,
    segment::{Kind, Segment, tcp},
    way::{self, kind},
    words::{Words, wipe},
};
use crate::{
    frame::{Checksum, Frame, fold},
    global,
    maps::{FLOWS, GENERATION},
};
use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    programs::{TcContext, XdpContext},
};
use core::{arch::asm, ptr};
use orknet_abi::{DropReason, Flow, FlowKey, LeftReason, Pair, Way, flow_state, pair_side, protocol};

/// In the place of a verdict: the packet has left the line.
pub const NOT_QUICK: i32 = i32::MIN;
/// The same, and there is no flow of the packet's addresses and ports.
pub const NO_FLOW: i32 = i32::MIN + 1;

const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;
const V4_HEADER: u32 = 20;
const V6_HEADER: u32 = 40;
/// The third word of an IPv4 address in mapped form.
const MAPPED: u32 = u32::from_be(0xffff);

/// A plain packet.
#[repr(C)]
pub struct Plain {
    key: Words,
    /// Bytes from the IP header on.
    length: u32,
    hops: u32,
    /// Flags of TCP; none of UDP.
    flags: u8,
    /// 1 if so.
    is_v4: u32,
    /// The third word of an IPv4 header: hop limit, protocol, checksum; the second one of IPv6: length, next header, hop limit.
    word: u32,
}

impl Plain {
    /// Where the protocol's header is.
    #[inline(always)]
    fn offset(&self) -> u32 {
        ETHERNET + if self.is_v4 != 0 { V4_HEADER } else { V6_HEADER }
    }

    /// Bytes from there on.
    #[inline(always)]
    fn payload(&self) -> u32 {
        (self.length + ETHERNET).saturating_sub(self.offset())
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.key.protocol.to_ne_bytes()[0]
    }

    /// Whether it opens or ends a connection.
    #[inline(always)]
    fn turns(&self) -> bool {
        self.flags & (tcp::SYN | tcp::FIN | tcp::RST) != 0
    }

    /// Whether a new connection begins here.
    #[inline(always)]
    fn is_opening(&self) -> bool {
        self.flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN
    }

    /// What it says about the state of its direction.
    #[inline(always)]
    fn says(&self) -> u32 {
        match self.flags {
            flags if flags & tcp::RST != 0 => flow_state::RESET,
            flags if flags & tcp::FIN != 0 => flow_state::FINISHED,
            flags if flags & tcp::SYN != 0 => flow_state::OPENED,
            _ => flow_state::CONFIRMED,
        }
    }

    /// Whether it may go such a way as it is, into which so much fits.
    #[inline(always)]
    fn fits(&self, kind: u32, length: u32, mtu: u16) -> bool {
        length <= u32::from(mtu) && (self.hops > 1 || !travels(kind))
    }

    /// Bytes from the IP header on that must fit into a way: of merged packets, of each that they are cut into.
    #[inline(always)]
    fn travelling_length(&self, frame: &impl Frame) -> u32 {
        match frame.segment_size() {
            0 => self.length,
            size => way::segment_length(frame, self.offset(), self.protocol(), size).unwrap_or(self.length),
        }
    }
}

/// What the line's answer says of a packet that has left it; see [`entrance`].
#[inline(always)]
pub fn knowledge(quick: i32) -> u32 {
    if quick == NO_FLOW { entrance::NO_FLOW } else { 0 }
}

/// Whether a packet's flow may learn the way of such a kind from it.
#[inline(always)]
pub fn may_know(segment: &Segment, kind: u32) -> bool {
    segment.kind == Kind::Flow
        && matches!(segment.key.protocol, protocol::TCP | protocol::UDP)
        && segment.says() == flow_state::CONFIRMED
        && may_be_known(kind)
}

/// Whether a way of such a kind may be known.
#[inline(always)]
pub fn may_be_known(kind: u32) -> bool {
    matches!(kind, kind::POD | kind::NEIGHBOUR | kind::STACK | kind::LEAVING | kind::TUNNEL | kind::PASSED)
}

/// In which generation ways are asked now; must be read before anything is asked. It is odd while user space changes what ways depend on:
/// then none is believed, and none noted.
#[inline(always)]
pub fn generation() -> u64 {
    u64::from(read(GENERATION.get_ptr(0)).unwrap_or(0))
}

#[inline(always)]
fn stamp(generation: u64, becomes: &Words) -> u64 {
    Way::stamp(generation as u32, now_ticks(), [becomes.source[3], becomes.destination[3], becomes.ports])
}

/// Notes a way in its flow. `way.stamp` is the generation in which it was asked.
///
/// One processor writes at a time: who exchanges another stamp for [`Way::WRITING`] owns the way until it gives the new stamp; who finds
/// that somebody is writing leaves it to them. Readers look at the stamp before and after.
#[inline(always)]
pub fn note(key: &FlowKey, becomes: &FlowKey, way: &Way, kind: u32, device: u32) {
    // While user space changes what ways depend on, nothing is noted.
    if way.stamp & 1 != 0 {
        return;
    }
    let Some(flow) = FLOWS.get_ptr_mut(key) else { return };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends, with the
    // way at eight bytes' alignment. Should the entry be used for another flow meanwhile, that one does not believe the stamp.
    unsafe {
        let there = &raw mut (*flow).way;
        let mut before = Way::WRITING;
        asm!("{before} = xchg_64({at} + 0, {before})", before = inout(reg) before, at = in(reg) &raw mut (*there).stamp);
        if before == Way::WRITING {
            return;
        }
        (&raw mut (*there).device).write_volatile(device);
        (&raw mut (*there).ifindex).write_volatile(way.ifindex);
        (&raw mut (*there).address).write_volatile(way.address);
        (&raw mut (*there).macs).write_volatile(way.macs);
        (&raw mut (*there).mtu).write_volatile(way.mtu);
        (&raw mut (*there).kind).write_volatile(kind as u8);
        (&raw mut (*there).family).write_volatile(way.family);
        (&raw mut (*there).stamp).write_volatile(stamp(way.stamp, Words::of(becomes)));
    }
}

/// Reads a plain packet, whole and not in fragments, without options or extension headers, of TCP or UDP; false for any other.
#[inline(always)]
fn read_plain(frame: &impl Frame, plain: &mut Plain) -> bool {
    let mut first = 0_u32;
    if !frame.near(ETHERNET, &mut first) {
        return false;
    }
    let [version_and_words, _, high, low] = first.to_ne_bytes();
    let next;
    match frame.near_ethertype() {
        ETHERTYPE_V4 => {
            let mut fragment = 0_u32;
            let is_read = frame.near(ETHERNET + 4, &mut fragment)
                && frame.near(ETHERNET + 8, &mut plain.word)
                && frame.near(ETHERNET + 12, &mut plain.key.source[3])
                && frame.near(ETHERNET + 16, &mut plain.key.destination[3]);
            // More fragments, or an offset.
            if !is_read || version_and_words != 0x45 || fragment & u32::from_be(0x3fff) != 0 {
                return false;
            }
            plain.is_v4 = 1;
            let [hops, protocol, _, _] = plain.word.to_ne_bytes();
            (next, plain.hops) = (protocol, u32::from(hops));
            plain.length = u32::from(u16::from_be_bytes([high, low]));
            (plain.key.source[0], plain.key.source[1], plain.key.source[2]) = (0, 0, MAPPED);
            (plain.key.destination[0], plain.key.destination[1], plain.key.destination[2]) = (0, 0, MAPPED);
        }
        ETHERTYPE_V6 => {
            let is_read = frame.near(ETHERNET + 4, &mut plain.word)
                && frame.near(ETHERNET + 8, &mut plain.key.source)
                && frame.near(ETHERNET + 24, &mut plain.key.destination);
            // Of a flow both addresses are mapped ones, or none is.
            let [s0, s1, s2, _] = plain.key.source;
            if !is_read || version_and_words >> 4 != 6 || s0 | s1 == 0 && s2 == MAPPED {
                return false;
            }
            plain.is_v4 = 0;
            let [high, low, protocol, hops] = plain.word.to_ne_bytes();
            (next, plain.hops) = (protocol, u32::from(hops));
            plain.length = V6_HEADER + u32::from(u16::from_be_bytes([high, low]));
        }
        _ => return false,
    }
    plain.key.protocol = u32::from_ne_bytes([next, 0, 0, 0]);
    let offset = plain.offset();
    if !frame.near(offset, &mut plain.key.ports) {
        return false;
    }
    let payload = plain.payload();
    if next == protocol::TCP {
        let mut flags = 0_u8;
        if payload < 20 || !frame.near(offset + 13, &mut flags) {
            return false;
        }
        plain.flags = flags;
    } else if next != protocol::UDP || payload < 8 {
        return false;
    }
    frame.length() >= ETHERNET + plain.length
}

/// A way that a packet may take as it is.
struct Found {
    flow: *const Flow,
    stamp: u64,
    /// The way, where it is that of all such flows.
    pair: Option<&'static Pair>,
}

impl Found {
    const NOTHING: Self = Self { flow: ptr::null(), stamp: 0, pair: None };
}

/// Where a packet is met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    /// It came in on the wire.
    OnWire,
    /// It came in on a device.
    ComingIn,
    /// The node's stack sends it.
    Leaving,
}

/// Finds the packet's flow and its way, into which `length` must fit. Answers the kind of way, [`NOT_QUICK`] or [`NO_FLOW`].
#[inline(always)]
fn find(plain: &Plain, device: u32, met: Met, length: u32, found: &mut Found) -> i32 {
    let Some(flow) = FLOWS.get_ptr_mut(plain.key.key()) else {
        return if former::know(plain.key.key()) { NOT_QUICK } else { NO_FLOW };
    };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
    let (state, way) = unsafe { ((&raw const (*flow).state).read(), &(*flow).way) };
    // What would change the state, or be answered, or tell the backend something.
    const ORDINARY: u32 = flow_state::CONFIRMED | flow_state::RESET | flow_state::GONE;
    const TELLS: u32 = flow_state::DIRECT | flow_state::FORWARD;
    if state & flow_state::PLAIN != 0 && plain.protocol() == protocol::TCP {
        if met == Met::OnWire {
            // Policy judges it where the packet comes in.
            return kind::STACK as i32;
        }
        if met == Met::ComingIn
            && let Some(pair) = find_judged(plain, device, length, flow, state)
        {
            found.pair = Some(pair);
            return i32::from(pair.way.kind);
        }
    }
    if plain.turns() || state & ORDINARY != flow_state::CONFIRMED || plain.protocol() == protocol::UDP && state & TELLS == TELLS {
        return NOT_QUICK;
    }
    *found = Found { flow, stamp: stamp(generation(), becomes(flow)), pair: None };
    let kind = u32::from(way.kind);
    let is_it =
        is_still(found) && way.device == device && (kind == kind::LEAVING) == (met == Met::Leaving) && plain.fits(kind, length, way.mtu);
    if is_it { kind as i32 } else { NOT_QUICK }
}

/// The pair whose way a packet of a known connection that nobody translates may take, which takes note of what the packet says. A new connection
/// between the same ports is none of it.
#[inline(always)]
fn find_judged(plain: &Plain, device: u32, length: u32, flow: *mut Flow, state: u32) -> Option<&'static Pair> {
    if plain.is_opening() || state & flow_state::GONE != 0 {
        return None;
    }
    let asked = if state & flow_state::FORWARD != 0 { asked::FORWARD } else { asked::BACK };
    let pair = pair::find(plain.key.key(), device, asked)?;
    if !plain.fits(u32::from(pair.way.kind), length, pair.way.mtu) {
        return None;
    }
    flow::renew(flow, state, plain.says());
    Some(pair)
}

/// Whether the flow translates nothing.
#[inline(always)]
fn is_plain(found: &Found) -> bool {
    // SAFETY: a value of the map, as `find` found it.
    unsafe { (&raw const (*found.flow).state).read() & flow_state::PLAIN != 0 }
}

/// Whether packets that go such a way lose a hop.
#[inline(always)]
fn travels(kind: u32) -> bool {
    matches!(kind, kind::POD | kind::NEIGHBOUR | kind::TUNNEL)
}

/// Whether the way is still the one that was found.
#[inline(always)]
fn is_still(found: &Found) -> bool {
    // SAFETY: a value of the map, as `find` found it.
    unsafe { (&raw const (*found.flow).way.stamp).read_volatile() == found.stamp }
}

/// A copy of the way; false if somebody wrote it meanwhile.
#[inline(always)]
fn copy_way(found: &Found, way: &mut Way) -> bool {
    // SAFETY: a value of the map. The empty instruction keeps the compiler from moving reads behind the second look at the stamp.
    unsafe {
        let (from, to) = ((&raw const (*found.flow).way).cast::<u64>(), ptr::from_mut(way).cast::<u64>());
        for word in 0..size_of::<Way>() / 8 {
            to.add(word).write_volatile(from.add(word).read());
        }
        asm!("", options(nostack));
    }
    is_still(found)
}

#[inline(always)]
fn becomes<'a>(flow: *const Flow) -> &'a Words {
    // SAFETY: callers pass a value of the map, which begins with these words; they never change in place.
    unsafe { &*flow.cast::<Words>() }
}

/// Makes the packet what its flow says.
#[inline(always)]
fn rewrite(frame: &impl Frame, plain: &Plain, becomes: &Words, takes_hop: bool) -> bool {
    let mut addresses = 0_u64;
    let hop = u8::from(takes_hop);
    let (before, [source, destination]) = (&plain.key, [&becomes.source, &becomes.destination]);
    let is_written = if plain.is_v4 != 0 {
        addresses += change(before.source[3], source[3]) + change(before.destination[3], destination[3]);
        let [hops, next, one, other] = plain.word.to_ne_bytes();
        let word = |hops: u8| u16::from_ne_bytes([hops, 0]);
        let hops_by = if takes_hop { u64::from(!word(hops)) + u64::from(word(hops - hop)) } else { 0 };
        let [one, other] = (!fold(u64::from(!u16::from_ne_bytes([one, other])) + addresses + hops_by)).to_ne_bytes();
        frame.put_near(ETHERNET + 8, &[u32::from_ne_bytes([hops - hop, next, one, other]), source[3], destination[3]])
    } else {
        for word in 0..4 {
            addresses += change(before.source[word], source[word]) + change(before.destination[word], destination[word]);
        }
        let hops = plain.hops as u8;
        let word = |hops: u8| u16::from_ne_bytes([0, hops]);
        if takes_hop {
            frame.mend_sum(u32::from(word(hops - hop)) + u32::from(!word(hops)));
        }
        frame.put_near(ETHERNET + 7, &(hops - hop)) && frame.put_near(ETHERNET + 8, source) && frame.put_near(ETHERNET + 24, destination)
    };
    let is_udp = plain.protocol() == protocol::UDP;
    let checksum = plain.offset() + if is_udp { 6 } else { 16 };
    let ports_differ = before.ports != becomes.ports;
    if !is_written || ports_differ && !frame.put_near(plain.offset(), &becomes.ports) {
        return false;
    }
    // The kernel's helpers know of checksums that the sender has left to the device.
    frame.mend(checksum, whole(addresses), Checksum::Pseudo, is_udp)
        && (!ports_differ || frame.mend(checksum, whole(change(before.ports, becomes.ports)), Checksum::Payload, is_udp))
}

/// What the change of one word does to a checksum.
#[inline(always)]
fn change(before: u32, after: u32) -> u64 {
    u64::from(!before) + u64::from(after)
}

/// The sum in one word.
#[inline(always)]
fn whole(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// Sends on a packet that came in, or that leaves. Answers the verdict, [`NOT_QUICK`] or [`NO_FLOW`].
#[inline(always)]
pub fn send(ctx: &TcContext, is_leaving: bool) -> i32 {
    let Some(plain) = scratch::plain() else { return NOT_QUICK };
    wipe(plain);
    if !is_leaving && !packet::is_for_host(ctx) || !read_plain(ctx, plain) {
        return NOT_QUICK;
    }
    let mut found = Found::NOTHING;
    let length = plain.travelling_length(ctx);
    let kind = find(plain, ctx.device(), if is_leaving { Met::Leaving } else { Met::ComingIn }, length, &mut found);
    if kind == NO_FLOW && !is_leaving {
        return pass(ctx, plain, length);
    }
    if kind <= NO_FLOW {
        return kind;
    }
    let kind = kind as u32;
    if let Some(pair) = found.pair {
        return go_as_it_is(ctx, plain, &pair.way, kind);
    }
    let Some(way) = scratch::way() else { return NOT_QUICK };
    if !copy_way(&found, way) {
        return NOT_QUICK;
    }
    if is_plain(&found) {
        return go_as_it_is(ctx, plain, way, kind);
    }
    if !rewrite(ctx, plain, becomes(found.flow), travels(kind)) {
        return super::drop_packet(ctx, DropReason::RewriteFailed);
    }
    go(ctx, way, kind)
}

/// Sends on a packet without a flow whose pair of addresses knows its way. Answers the verdict or [`NO_FLOW`].
#[inline(always)]
fn pass(ctx: &TcContext, plain: &Plain, length: u32) -> i32 {
    let Some(pair) = pair::find(plain.key.key(), ctx.device(), asked::UNKNOWN) else { return NO_FLOW };
    let way = &pair.way;
    let kind = u32::from(way.kind);
    if !plain.fits(kind, length, way.mtu) {
        return NO_FLOW;
    }
    if plain.is_opening() && matches!(pair.side, pair_side::TO_PORT | pair_side::OPENS) {
        // Whoever wants to hear of flows hears of it from the slow way, which knows what to do where there is no room or another flow, too.
        if event::tells_flows() || pair.side == pair_side::OPENS && flow::open_plain(plain.key.key()) != opened::FLOW {
            return NO_FLOW;
        }
        let _ = global::count_rules(pair, ctx.len());
    }
    go_as_it_is(ctx, plain, way, kind)
}

/// Sends a packet that nobody translates such a way.
#[inline(always)]
fn go_as_it_is(ctx: &TcContext, plain: &Plain, way: &Way, kind: u32) -> i32 {
    if travels(kind) && !take_hop(ctx, plain) {
        return super::drop_packet(ctx, DropReason::RewriteFailed);
    }
    go(ctx, way, kind)
}

/// Sends a packet that is what it is to be such a way.
#[inline(always)]
fn go(ctx: &TcContext, way: &Way, kind: u32) -> i32 {
    match kind {
        kind::POD => way::into_pod(ctx, way.ifindex, &way.macs),
        kind::NEIGHBOUR => way::to_neighbour(ctx, way),
        kind::TUNNEL => global::to_tunnel(ctx.skb.skb, way),
        kind::PASSED => way::leave_judged(ctx, way.ifindex),
        _ => packet::NEXT,
    }
}

/// Takes a hop from a packet that has one.
#[inline(always)]
fn take_hop(frame: &impl Frame, plain: &Plain) -> bool {
    let (before, after) = (plain.hops as u8, plain.hops as u8 - 1);
    if plain.is_v4 == 0 {
        let word = |hops: u8| u16::from_ne_bytes([0, hops]);
        frame.mend_sum(u32::from(word(after)) + u32::from(!word(before)));
        return frame.put_near(ETHERNET + 7, &after);
    }
    let [_, next, one, other] = plain.word.to_ne_bytes();
    let word = |hops: u8| u16::from_ne_bytes([hops, 0]);
    let difference = u64::from(word(after)) + u64::from(!word(before));
    let [one, other] = (!fold(u64::from(!u16::from_ne_bytes([one, other])) + difference)).to_ne_bytes();
    frame.put_near(ETHERNET + 8, &u32::from_ne_bytes([after, next, one, other]))
}

/// [`send`] of a frame from the wire: one that does not go on to another machine passes at once, for [`send`] to find.
#[inline(always)]
pub fn send_on_wire(frame: &XdpContext) -> i32 {
    let Some(plain) = scratch::plain() else { return NOT_QUICK };
    wipe(plain);
    if !read_plain(frame, plain) {
        return NOT_QUICK;
    }
    let mut found = Found::NOTHING;
    let device = frame.device();
    let kind = find(plain, device, Met::OnWire, plain.length, &mut found);
    if kind <= NO_FLOW {
        return kind;
    }
    let Some(way) = scratch::way() else { return XDP_PASS as i32 };
    if kind as u32 != kind::NEIGHBOUR || !copy_way(&found, way) || !packet::is_for_device(frame, device) {
        return XDP_PASS as i32;
    }
    if open::is_open(frame, &plain.key, plain.offset(), plain.payload()) {
        count_left(LeftReason::OpenChecksum, frame.length());
        return XDP_PASS as i32;
    }
    if !way::takes_frames(frame, way) {
        return XDP_PASS as i32;
    }
    if !rewrite(frame, plain, becomes(found.flow), true) {
        return global::drop_on_wire(frame.ctx, DropReason::RewriteFailed as u32) as i32;
    }
    way::onto_wire(frame, way) as i32
}
