//! Flows: what packets become, remembered in both directions.

use super::{
    clock::{is_past, now_seconds},
    former,
    judge::{self, judging},
    node, range, read,
    resolve::{self, Resolution},
    scratch,
    segment::{Kind, Segment, is_portless},
    sticky::PacketClient,
    words::{self, Words, wipe},
};
use crate::{
    global,
    maps::{FLOWS, PODS, SERVICES},
};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_prandom_u32};
use core::ptr;
use orknet_abi::{
    Address, DropReason, Flow, FlowKey, Node, PodKey, ServiceKey, flow_state, node_flags, protocol, range_kinds, scope, service_flags,
};

/// How many ports source NAT tries at random: with nine of ten in use, one flow in thirty finds none of them free.
const RANDOM_ATTEMPTS: u32 = 32;
/// How many it tries at the most, those that follow the last one of these too. A range that is no larger is looked through as a whole;
/// of a larger one with 99 of 100 in use, nine flows in ten still find a port.
const PORT_ATTEMPTS: u32 = 256;
/// Whose address [`claim_port`] makes the source: the one that is there already.
const GIVEN: u32 = 0;
/// The node's own.
const NODES: u32 = 1;
/// The kernel's answer to an insertion with `BPF_NOEXIST` of what exists.
const EXISTS: i32 = -17;
const NO_EXIST: u64 = BPF_NOEXIST as u64;

/// What is known of a packet's flow.
pub mod known {
    /// Nothing.
    pub const NOTHING: u32 = 0;
    /// What the packet becomes.
    pub const BECOMES: u32 = 1;
    /// Its backend is gone.
    pub const GONE: u32 = 2;
    /// What the packet becomes; its backend must learn which Service the client knows.
    pub const DIRECT: u32 = 3;
    /// The bits that say one of these.
    pub const KIND: u32 = 7;
    /// Beside them: the packet goes against the direction in which the flow was opened.
    pub const BACK: u32 = 8;
    /// Beside them: the flow translates nothing.
    pub const PLAIN: u32 = 16;
    /// No answer of [`follow`](super::follow), but beside it: the packet came from the network.
    pub const FOREIGN: u32 = 32;
}

/// What became of the first packet of a flow, as a number; from [`opened::REFUSED`] on, that and the number of a drop reason.
pub mod opened {
    /// Not to be translated.
    pub const NOT: u32 = 0;
    /// There is a flow now.
    pub const FLOW: u32 = 1;
    /// Another flow has the addresses and ports.
    pub const TAKEN: u32 = 2;
    /// There is a flow now, whose backend answers the client directly.
    pub const DIRECT: u32 = 3;
    /// A pod's backend is chosen, and would see the node, if it is none of the node's own addresses: see [`open_chosen`].
    pub const ASKS: u32 = 4;
    /// It leads nowhere.
    pub const REFUSED: u32 = 256;
}

/// From where a flow is opened.
pub mod entrance {
    /// A packet that came in from the network: an answer from a backend elsewhere must come back through this node.
    pub const NETWORK: u32 = 0;
    /// A packet of a pod of this node.
    pub const POD: u32 = 1;
    /// A packet of the node itself, past its sockets.
    pub const NODE: u32 = 8;
    /// Beside one of these: the packet is known to have no flow.
    pub const NO_FLOW: u32 = 2;
    /// Beside one of these: the packet has no room to tell its backend anything.
    pub const NO_ROOM: u32 = 4;
    /// A packet that the node's stack is about to hand to a pod, from elsewhere.
    pub const STACK: u32 = 16;
    /// Beside NETWORK: a frame from the wire, which another hook will see too where it is for this node.
    pub const WIRE: u32 = 32;
}

#[inline(always)]
const fn refused(reason: DropReason) -> u32 {
    opened::REFUSED + reason as u32
}

/// Finds what the packet becomes and takes note of it; see [`known`]. A flow that is over, or whose backend is gone, is forgotten where its
/// client begins a new connection: that one may go to another backend.
#[inline(always)]
pub fn follow(segment: &Segment, becomes: &mut FlowKey) -> u32 {
    former::take_over(&segment.key);
    let Some(flow) = FLOWS.get_ptr_mut(&segment.key) else { return known::NOTHING };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends. What is
    // read never changes in place but for `state` and `used_seconds`, and both are whole words.
    let (kept, kept_state, used_seconds) =
        unsafe { (&(*flow).becomes, (&raw const (*flow).state).read(), (&raw const (*flow).used_seconds).read()) };
    let now = now_seconds();
    const OVER: u32 = flow_state::GONE | flow_state::FINISHED | flow_state::RESET;
    if kept_state & OVER != 0 && kept_state & flow_state::FORWARD != 0 && segment.is_opening() {
        let _ = FLOWS.remove(&segment.key);
        let _ = FLOWS.remove(Words::of(kept).reversed().key());
        return known::NOTHING;
    }
    if kept_state & flow_state::GONE != 0 {
        return known::GONE;
    }
    let is_back = kept_state & flow_state::FORWARD == 0;
    if is_back && segment.is_opening() && is_same(kept, &segment.key) {
        // A connection of its own, as far as policy is concerned.
        if kept_state & OVER != 0 {
            let _ = FLOWS.remove(&segment.key);
            let _ = FLOWS.remove(Words::of(kept).reversed().key());
        }
        return known::NOTHING;
    }
    let state = next_state(kept_state, segment.says());
    // Most packets change nothing: a line that is only read stays in every processor's cache. What translates nothing is used by what may pass
    // alone: a flow of which nothing may be any more ends, and then the other end may open one between the same ports.
    if used_seconds != now && kept_state & flow_state::PLAIN == 0 {
        // SAFETY: as above.
        unsafe { (&raw mut (*flow).used_seconds).write(now) };
    }
    if kept_state != state {
        // SAFETY: as above.
        unsafe { (&raw mut (*flow).state).write(state) };
    }
    words::copy(kept, becomes);
    // Of a connection the first segment tells it, of datagrams each one, in its first fragment.
    let tells = kept_state & flow_state::DIRECT != 0
        && segment.kind == Kind::Flow
        && (segment.key.protocol != protocol::TCP || segment.is_opening());
    let plain = if kept_state & flow_state::PLAIN != 0 { known::PLAIN } else { 0 };
    match (is_back, tells) {
        (true, _) => known::BECOMES | known::BACK | plain,
        (false, true) => known::DIRECT,
        (false, false) => known::BECOMES | plain,
    }
}

/// Whether both are the same: the flow translates nothing.
#[inline(always)]
pub fn is_same(becomes: &FlowKey, key: &FlowKey) -> bool {
    let (one, other) = (Words::of(becomes), Words::of(key));
    let differs = |one: &[u32; 4], other: &[u32; 4]| (0..4).fold(0, |all, word| all | (one[word] ^ other[word]));
    differs(&one.source, &other.source) | differs(&one.destination, &other.destination) | (one.ports ^ other.ports) == 0
}

/// Takes note that a packet went this way.
#[inline(always)]
pub fn touch(key: &FlowKey) {
    let Some(flow) = FLOWS.get_ptr_mut(key) else { return };
    let now = now_seconds();
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends, and the field is
    // a whole word.
    unsafe {
        let used = &raw mut (*flow).used_seconds;
        if used.read() != now {
            used.write(now);
        }
    }
}

/// Takes note of what a packet that takes the quick way says of its direction, as [`follow`] does of others; and, as the packet has been let
/// through, of the time: of its end exactly, else every other second.
#[inline(always)]
pub fn renew(flow: *mut Flow, state: u32, says: u32) {
    let next = next_state(state, says);
    // SAFETY: callers pass a value of the map of flows, whose memory stays one until the program ends; both fields are whole words.
    unsafe {
        if next != state {
            (&raw mut (*flow).state).write(next);
        }
        let used = &raw mut (*flow).used_seconds;
        if says & (flow_state::FINISHED | flow_state::RESET) != 0 || is_past(used.read()) {
            used.write(now_seconds());
        }
    }
}

/// Forgets the flow that a packet goes against, if it translates nothing; whether it was so.
#[inline(always)]
pub fn forget_plain(key: &FlowKey) -> bool {
    let Some(flow) = FLOWS.get_ptr(key) else { return false };
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
    if unsafe { (&raw const (*flow).state).read() } & (flow_state::PLAIN | flow_state::FORWARD) != flow_state::PLAIN {
        return false;
    }
    let _ = FLOWS.remove(key);
    let Some(answers) = scratch::answers() else { return false };
    *answers = Words::of(key).reversed();
    let _ = FLOWS.remove(answers.key());
    true
}

/// Whether answers to a packet are translated by a flow that came in at another node, and whether policy has let that one through.
#[inline(always)]
pub fn is_judged_elsewhere(key: &FlowKey) -> bool {
    let Some(answers) = scratch::answers() else { return false };
    *answers = Words::of(key).reversed();
    // SAFETY: the pointer comes from a map look-up that succeeded; the memory stays a value of this map until the program ends.
    let state = FLOWS.get_ptr(answers.key()).map_or(0, |flow| unsafe { (&raw const (*flow).state).read() });
    const JUDGED: u32 = flow_state::DIRECT | flow_state::JUDGED;
    state & (JUDGED | flow_state::FORWARD) == JUDGED
}

/// Takes note that policy has let through the flow by which answers to a packet are translated, if it came in at another node.
#[inline(always)]
pub fn note_judged_elsewhere(key: &FlowKey) {
    let Some(answers) = scratch::answers() else { return };
    *answers = Words::of(key).reversed();
    if let Some(flow) = FLOWS.get_ptr_mut(answers.key()) {
        // SAFETY: as above; the state is a whole word. Who changes it at the same time knows as much: the next packet notes it again.
        unsafe {
            let state = &raw mut (*flow).state;
            if state.read() & (flow_state::DIRECT | flow_state::FORWARD) == flow_state::DIRECT {
                state.write(state.read() | flow_state::JUDGED);
            }
        }
    }
}

/// What a packet makes of the state of its direction: a new connection forgets the former one; what comes after a reset revives
/// the flow, since a reset may be forged (RFC 7857 section 2.2).
#[inline(always)]
pub fn next_state(state: u32, says: u32) -> u32 {
    const LASTING: u32 = flow_state::FORWARD | flow_state::MASQUERADE | flow_state::DIRECT | flow_state::JUDGED | flow_state::PLAIN;
    match says {
        flow_state::OPENED => state & LASTING | flow_state::OPENED,
        flow_state::CONFIRMED => state & !flow_state::RESET | flow_state::CONFIRMED,
        says => state | says,
    }
}

/// Opens a flow to a backend of the Service that the packet is for; see [`opened`].
///
/// A backend on this node sees the client's address; one elsewhere sees, of what came from the network, an address of this node,
/// since its answer has to come back through here. So does every backend of a client that reaches pods as they are (another node's pod,
/// another node, a network without masquerade), unless the Service promises it the client's address: from the same port that client may
/// reach the same backend without this Service, and its answers would be taken for those of the flow. Nobody sees who does that, so
/// ports alone would not tell the two apart; nobody but this node has its address and ports. A backend outside of the cluster sees the
/// node of a pod. A pod that reaches itself sees the Service, and so does the node; what else the node sends has a port that no process of
/// its own has, so that answers are told from theirs. A backend that is the node itself sees every other client: from a device the stack takes
/// nothing with the node's address for a source. Whether a pod's backend is one of those of its addresses that only routes know is asked
/// where rules refuse it, and where it would see the node: see [`open_chosen`].
#[inline(always)]
pub fn open_to_service(segment: &Segment, scope: u8, from: u32, bytes: u32, becomes: &mut FlowKey) -> u32 {
    if !segment.may_open() || segment.is_portless() {
        return opened::NOT;
    }
    let key = &segment.key;
    let Some(front) = scratch::front() else { return opened::NOT };
    words::copy(&key.destination, &mut front.address);
    (front.port_be, front.protocol, front.scope) = (key.destination_port_be, key.protocol, scope);
    words::copy(key, becomes);
    let resolved = global::resolve_packet(front, key, becomes);
    if resolved != opened::FLOW {
        return resolved;
    }
    if from & entrance::NODE == 0 {
        // Where a frame from the wire is for this node, its packet will open the flow again, and is counted then.
        let how = if from & entrance::WIRE == 0 { judging::NEW } else { 0 };
        let how = how | if from & (entrance::POD | entrance::STACK) == 0 { judging::FOREIGN } else { 0 };
        let verdict = global::judge(key, becomes, how, bytes);
        if verdict != judge::ALLOWED {
            return opened::REFUSED.wrapping_add(verdict);
        }
    }
    let from = from & !entrance::WIRE;
    // A flow's first packet does not confirm it.
    let state = flow_state::FORWARD | segment.says() & !flow_state::CONFIRMED;
    let is_here = global::is_here(becomes) != 0;
    if from == entrance::NETWORK && !is_here && answers_directly(key, becomes) {
        return match global::insert_pair(key, becomes, state | flow_state::DIRECT) {
            opened::FLOW => opened::DIRECT,
            opened::TAKEN => global::claim_port(key, becomes, state, NODES),
            other => other,
        };
    }
    let from = from & !entrance::NO_ROOM;
    let is_nodes = node::is_own(&becomes.destination);
    if from == entrance::NETWORK && !is_nodes && (!is_here || scope == orknet_abi::scope::INSIDE || global::may_go_around(front, key) != 0)
    {
        return global::claim_port(key, becomes, state, NODES);
    }
    if from == entrance::POD {
        super::pod::expect_answers();
        if !is_here && global::leaves_cluster_as(becomes) != 0 {
            return opened::ASKS;
        }
    }
    if from == entrance::NODE && !is_nodes {
        return global::claim_port(key, becomes, state, NODES);
    }
    if from == entrance::NODE || becomes.destination == key.source {
        becomes.source = key.destination;
    }
    // The same client may have the same ports at the same backend through another front: then one of the two must look different.
    match global::insert_pair(key, becomes, state) {
        opened::TAKEN => global::claim_port(key, becomes, state, GIVEN),
        other => other,
    }
}

/// Opens a flow of a pod to a backend that has been chosen: another machine outside of the cluster, or the node itself, whatever rules say. See
/// [`opened`].
#[inline(always)]
pub fn open_chosen(segment: &Segment, is_to_node: bool, becomes: &mut FlowKey) -> u32 {
    super::pod::expect_answers();
    let state = flow_state::FORWARD | segment.says() & !flow_state::CONFIRMED;
    if !is_to_node {
        return global::claim_port(&segment.key, becomes, state, NODES);
    }
    match global::insert_pair(&segment.key, becomes, state) {
        opened::TAKEN => global::claim_port(&segment.key, becomes, state, GIVEN),
        other => other,
    }
}

/// Whether the client may reach the backend without the front, from the same port, and the front does not promise its address to the
/// backend (`externalTrafficPolicy: Local`, host ports).
#[inline(always)]
pub fn may_go_around(front: &ServiceKey, key: &FlowKey) -> bool {
    range::kinds(&key.source) & range_kinds::DIRECT != 0
        && read(SERVICES.get_ptr(front)).is_some_and(|service| service.flags & service_flags::LOCAL_ONLY == 0)
}

/// Whether backends of other nodes answer this client themselves. Those who reach pods as they are, are no clients for that: see
/// [`open_to_service`]. Neither is the backend's own node a client: its stack takes no address of another node from a pod (rp_filter).
#[inline(always)]
fn answers_directly(key: &FlowKey, becomes: &FlowKey) -> bool {
    node::pointer().is_some_and(|node| node.flags & node_flags::DIRECT_RETURN != 0)
        && range::kinds(&key.source) & (range_kinds::PODS | range_kinds::DIRECT) == 0
        && range::range(&becomes.destination).is_none_or(|range| range.node != key.source)
        && matches!(key.protocol, protocol::TCP | protocol::UDP)
}

/// Whether the destination may be what clients outside know a Service by: a front that every node has, or a node port of another node.
#[inline(always)]
pub fn may_be_front(key: &FlowKey) -> bool {
    let front = ServiceKey { address: key.destination, port_be: key.destination_port_be, protocol: key.protocol, scope: scope::OUTSIDE };
    SERVICES.get_ptr(front).is_some() || range::kinds(&key.destination) & range_kinds::DIRECT != 0
}

/// Opens a flow that came in at another node: that node has chosen a pod of this one, and tells which Service the client knows. The
/// answers will go to the client from here. `key` is the packet as the client sent it. A flow of before, to the same backend by another way, is over.
#[inline(always)]
pub fn open_direct(segment: &Segment, key: &FlowKey) {
    if let Some(known) = FLOWS.get_ptr(key)
        && leads_to(known, &segment.key)
    {
        return;
    }
    let Some(becomes) = scratch::becomes() else { return };
    words::copy(&segment.key, becomes);
    let state = flow_state::FORWARD | flow_state::DIRECT | segment.says();
    if global::insert_pair(key, becomes, state) == opened::TAKEN {
        let Some(answers) = scratch::answers() else { return };
        *answers = Words::of(becomes).reversed();
        if let Some(former) = FLOWS.get_ptr(answers.key()) {
            // SAFETY: the pointer comes from a map look-up that succeeded, and this field never changes in place.
            let _ = FLOWS.remove(unsafe { (&raw const (*former).becomes).read() }.reversed());
        }
        let _ = FLOWS.remove(answers.key());
        let _ = global::insert_pair(key, becomes, state);
    }
}

/// Chooses the backend: the new destination.
#[inline(always)]
pub fn resolve_packet(front: &ServiceKey, key: &FlowKey, becomes: &mut FlowKey) -> u32 {
    let Some(room) = scratch::room() else { return opened::NOT };
    match resolve::resolve(front, &PacketClient { key }, room) {
        Resolution::NotAService => opened::NOT,
        Resolution::Refused(reason) => refused(reason),
        Resolution::Backend => {
            becomes.destination = room.backend.address;
            becomes.destination_port_be = room.backend.port_be;
            opened::FLOW
        }
    }
}

/// Opens a flow from a pod out of the cluster: it seems to come from the node. See [`opened`]. Of a connection (TCP, SCTP) only the first
/// packet does: the others may be answers to a client outside that knows the pod by its own address.
#[inline(always)]
pub fn open_masquerade(segment: &Segment, becomes: &mut FlowKey) -> u32 {
    if !segment.may_open() || matches!(segment.key.protocol, protocol::TCP | protocol::SCTP) && !segment.is_opening() {
        return opened::NOT;
    }
    words::copy(&segment.key, becomes);
    let state = flow_state::FORWARD | flow_state::MASQUERADE | segment.says() & !flow_state::CONFIRMED;
    global::claim_port(&segment.key, becomes, state, NODES)
}

/// Whether the backend is a pod of this node or the node itself.
#[inline(always)]
pub fn is_here(backend: &Address) -> bool {
    PODS.get_ptr(PodKey { address: *backend }).is_some() || node::is_own(backend)
}

/// Finds a source port for what the packet becomes: the insertion of the answers' entry under it claims it, so that no two flows to one
/// destination have the same. The source is what `becomes` says ([`GIVEN`]) or an address of the node ([`NODES`]). See [`opened`].
#[inline(always)]
pub fn claim_port(key: &FlowKey, becomes: &mut FlowKey, state: u32, whose: u32) -> u32 {
    let Some(node) = node::pointer() else { return refused(DropReason::NoNodeAddress) };
    if whose == NODES {
        if is_tunnel(node, becomes) {
            return refused(DropReason::TunnelNotNode);
        }
        becomes.source = if key.source.is_v4() { node.v4 } else { node.v6 };
    }
    if becomes.source.is_unspecified_v6() || node.last_port < node.first_port {
        return refused(DropReason::NoNodeAddress);
    }
    let span = u32::from(node.last_port - node.first_port) + 1;
    let (mut attempts, mut place) = (0, 0);
    // Without ports, the first flow of a protocol between two addresses has them.
    let has_ports = !is_portless(key.protocol);
    while attempts < PORT_ATTEMPTS && (has_ports || attempts == 0) {
        place = if attempts < RANDOM_ATTEMPTS {
            // SAFETY: the helper takes nothing and touches no memory.
            let random = unsafe { bpf_get_prandom_u32() };
            ((u64::from(random) * u64::from(span)) >> 32) as u32
        } else {
            // Without a branch, of which the verifier would look at both sides each time.
            (place + 1) % span
        };
        let port = u32::from(node.first_port) + place;
        becomes.source_port_be = if has_ports { (port as u16).to_be() } else { 0 };
        let outcome = global::insert_pair(key, becomes, state);
        if outcome != opened::TAKEN {
            return outcome;
        }
        attempts += 1;
    }
    refused(DropReason::NatPortsExhausted)
}

/// Opens a flow that translates nothing for the first packet of a connection that rules let through; see [`opened`].
#[inline(always)]
pub fn open_plain(key: &FlowKey) -> u32 {
    let Some(becomes) = scratch::becomes() else { return opened::NOT };
    words::copy(key, becomes);
    global::insert_pair(key, becomes, flow_state::FORWARD | flow_state::PLAIN | flow_state::OPENED)
}

/// Whether a packet would reach the overlay's end on some machine, of whose addresses not all need be known. With this node's address for a
/// source it would be believed there, whoever had sent it.
#[inline(always)]
fn is_tunnel(node: &Node, becomes: &FlowKey) -> bool {
    becomes.protocol == protocol::UDP
        && node.overlay_port != 0
        && becomes.destination_port_be == node.overlay_port.to_be()
        && range::kinds(&becomes.destination) & (range_kinds::PODS | range_kinds::DIRECT) != range_kinds::PODS
}

/// A flow by words.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    becomes: Words,
    state: u32,
    used_seconds: u32,
    way: [u64; 6],
}

const _: () = assert!(size_of::<Entry>() == size_of::<Flow>());

/// Inserts both directions or none: first the answers', which says whether the addresses and ports are free. See [`opened`].
#[inline(always)]
pub fn insert_pair(key: &FlowKey, becomes: &mut FlowKey, state: u32) -> u32 {
    let now = now_seconds();
    let (Some(entry), Some(answers)) = (scratch::entry(), scratch::answers()) else { return refused(DropReason::FlowsFull) };
    *answers = Words::of(becomes).reversed();
    // One value for both: what differs is written in between.
    wipe(&mut entry.way);
    entry.becomes = Words::of(key).reversed();
    entry.state = state & (flow_state::MASQUERADE | flow_state::DIRECT | flow_state::PLAIN);
    entry.used_seconds = now;
    // SAFETY: both are the same words; the alignment is that of the larger ones.
    let flow = unsafe { &*ptr::from_ref(entry).cast::<Flow>() };
    match FLOWS.insert(answers.key(), flow, NO_EXIST) {
        Ok(()) => {}
        // Half of a pair that this flow left behind, or the other half of what another processor is just inserting.
        Err(EXISTS) if FLOWS.get_ptr(answers.key()).is_some_and(|there| leads_to(there, &flow.becomes)) => {}
        Err(EXISTS) => return opened::TAKEN,
        Err(_) => return refused(DropReason::FlowsFull),
    }
    entry.becomes = *Words::of(becomes);
    entry.state = state;
    // SAFETY: as above.
    let flow = unsafe { &*ptr::from_ref(entry).cast::<Flow>() };
    match FLOWS.insert(key, flow, NO_EXIST) {
        Ok(()) => opened::FLOW,
        Err(EXISTS) => {
            // Another processor opened the same flow meanwhile: its choice counts.
            if let Some(theirs) = FLOWS.get_ptr(key)
                && !leads_to(theirs, becomes)
            {
                let _ = FLOWS.remove(answers.key());
                // SAFETY: the pointer comes from a map look-up that succeeded, and this field never changes in place.
                words::copy(unsafe { &(*theirs).becomes }, becomes);
            }
            opened::FLOW
        }
        Err(_) => {
            let _ = FLOWS.remove(answers.key());
            refused(DropReason::FlowsFull)
        }
    }
}

/// Whether the packets of a flow become this.
#[inline(always)]
fn leads_to(flow: *const Flow, becomes: &FlowKey) -> bool {
    // SAFETY: the pointer comes from a map look-up that succeeded; the field is ten words that never change in place.
    let there = unsafe { &*(&raw const (*flow).becomes).cast::<[u32; 10]>() };
    // SAFETY: the same, of a value of our own.
    let wanted = unsafe { &*ptr::from_ref(becomes).cast::<[u32; 10]>() };
    (0..10).all(|word| there[word] == wanted[word])
}

/// In which scope a packet from the network uses Services: those of other nodes' pods count as inside.
#[inline(always)]
pub fn scope_of(source: &Address) -> u8 {
    if range::kinds(source) & range_kinds::PODS != 0 { scope::INSIDE } else { scope::OUTSIDE }
}
