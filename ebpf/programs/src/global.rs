//! Functions that the kernel verifies by themselves, once, and not again for every way that leads to them: without these seams the
//! number of ways through a program is the product of its steps' ways.
//!
//! Such a function takes the context, numbers and pointers to values that may be absent, and answers a number
//! (Documentation/bpf/verifier.rst, btf.rst: functions of global linkage). Each does nothing but call its step.

use crate::{
    frame::Frame as _,
    steps::{self, packet::Ip, segment::Segment},
};
use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    programs::{TcContext, XdpContext},
};
use orknet_abi::{Address, AffinityKey, Backend, FlowKey, Pair, Service, ServiceKey, Way};

/// The values behind pointers, or an answer where one is absent, which never happens.
macro_rules! present {
    ($answer:expr; $($name:ident: $how:ident),+) => {
        // SAFETY: the verifier sees to it that a pointer which is not null leads to a whole value that nothing else uses.
        let ($(Some($name),)+) = (unsafe { ($($name.$how(),)+) }) else { return $answer };
    };
}

/// [`steps::packet::parse`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn parse(ctx: *mut __sk_buff, ip: *mut Ip) -> u32 {
    present!(steps::packet::parsed::OTHER; ip: as_mut);
    steps::packet::parse(&TcContext::new(ctx), ip)
}

/// [`steps::packet::straighten`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn straighten(ctx: *mut __sk_buff) -> u32 {
    u32::from(steps::packet::straighten(&TcContext::new(ctx)))
}

/// [`steps::check_source`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn check_source(ip: *const Ip, device: u32) -> u32 {
    present!(0; ip: as_ref);
    steps::check_source(ip, device)
}

/// [`steps::forward::leave_alone`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leave_alone(ctx: *mut __sk_buff, ip: *const Ip) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref);
    steps::forward::leave_alone(&TcContext::new(ctx), ip)
}

/// [`steps::forward::is_front`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_front(ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::forward::is_front(&ip.destination))
}

/// [`steps::is_unallocated`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_unallocated(ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::is_unallocated(&ip.destination))
}

/// [`steps::flow::scope_of`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn scope_of(ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::flow::scope_of(&ip.source))
}

/// [`steps::forward::leaves_cluster`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leaves_cluster(ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::forward::leaves_cluster(&ip.source, &ip.destination))
}

/// [`steps::forward::leaves_cluster`] of what a packet becomes: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leaves_cluster_as(becomes: *const FlowKey) -> u32 {
    present!(0; becomes: as_ref);
    u32::from(steps::forward::leaves_cluster(&becomes.source, &becomes.destination))
}

/// [`steps::flow::may_go_around`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn may_go_around(front: *const ServiceKey, key: *const FlowKey) -> u32 {
    present!(0; front: as_ref, key: as_ref);
    u32::from(steps::flow::may_go_around(front, key))
}

/// [`steps::hand_over`]; `is_plain` is 0 if not.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn hand_over(ctx: *mut __sk_buff, ip: *const Ip, device: u32, is_plain: u32) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref);
    steps::hand_over(&TcContext::new(ctx), ip, device, is_plain != 0)
}

/// [`steps::pair::find_slot`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_pair(key: *const FlowKey, device: u32, asked: u32) -> u32 {
    present!(steps::pair::NONE; key: as_ref);
    steps::pair::find_slot(steps::Words::of(key), device, asked)
}

/// [`steps::pair::note`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_pair(ip: *const Ip, way: *const Way, kind: u32, device: u32) -> u32 {
    present!(0; ip: as_ref, way: as_ref);
    steps::pair::note(ip, way, kind, device);
    1
}

/// [`steps::pair::note_judged`]: 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_judged_pair(ip: *const Ip, way: *const Way, kind: u32, device: u32) -> u32 {
    present!(0; ip: as_ref, way: as_ref);
    u32::from(steps::pair::note_judged(ip, way, kind, device))
}

/// [`steps::judge::count`] for both rules of a pair; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn count_rules(pair: *const Pair, bytes: u32) -> u32 {
    present!(0; pair: as_ref);
    pair.rules.into_iter().for_each(|rule| steps::judge::count(rule, bytes));
    1
}

/// [`steps::police::need_not_know`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn need_not_know(segment: *const Segment) -> u32 {
    present!(0; segment: as_ref);
    u32::from(steps::police::need_not_know(segment))
}

/// [`steps::police::may_answer_unknown`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn may_answer_unknown(key: *const FlowKey) -> u32 {
    present!(0; key: as_ref);
    u32::from(steps::police::may_answer_unknown(key))
}

/// [`steps::forward::pass_on`]; `is_plain` is 0 if not.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn pass_on(ctx: *mut __sk_buff, ip: *const Ip, is_plain: u32) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref);
    steps::forward::pass_on(&TcContext::new(ctx), ip, is_plain != 0)
}

/// [`steps::own::serve`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn serve_node(ctx: *mut __sk_buff, ip: *const Ip) -> i32 {
    present!(steps::packet::DROP; ip: as_ref);
    steps::own::serve(&TcContext::new(ctx), ip)
}

/// [`steps::own::leave_own_alone`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leave_own_alone(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::own::leave_own_alone(&TcContext::new(ctx), ip, segment)
}

/// [`steps::own::note_home`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note_home(ctx: *mut __sk_buff, becomes: *const FlowKey) -> u32 {
    present!(0; becomes: as_ref);
    steps::own::note_home(&TcContext::new(ctx), becomes);
    1
}

/// [`steps::own::find_home`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_home(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, way: *mut Way, how: u32) -> u32 {
    present!(steps::way::kind::STACK; ip: as_ref, segment: as_ref, way: as_mut);
    steps::own::find_home(&TcContext::new(ctx), ip, segment, way, how)
}

/// [`steps::forward::end`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn end(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::forward::end(&TcContext::new(ctx), ip, segment)
}

/// [`steps::packet::parse`] of a frame that comes from the wire.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn parse_on_wire(ctx: *mut xdp_md, ip: *mut Ip) -> u32 {
    present!(steps::packet::parsed::OTHER; ip: as_mut);
    steps::packet::parse(&XdpContext::new(ctx), ip)
}

/// [`steps::way::find_way`] of a frame that comes from the wire.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_way_on_wire(ctx: *mut xdp_md, ip: *const Ip, becomes: *const FlowKey, way: *mut Way) -> u32 {
    present!(0; ip: as_ref, becomes: as_ref, way: as_mut);
    steps::way::find_way(&XdpContext::new(ctx), ip, becomes, way, 0)
}

/// [`steps::rewrite::rewrite`] of a frame that comes from the wire; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn rewrite_on_wire(ctx: *mut xdp_md, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey) -> u32 {
    present!(0; ip: as_ref, segment: as_ref, becomes: as_ref);
    u32::from(steps::rewrite::rewrite(&XdpContext::new(ctx), ip, segment, becomes))
}

/// [`steps::quick::send`]; `is_leaving` is 0 or 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn quick(ctx: *mut __sk_buff, is_leaving: u32) -> i32 {
    steps::quick::send(&TcContext::new(ctx), is_leaving != 0)
}

/// [`steps::quick::send_on_wire`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn quick_on_wire(ctx: *mut xdp_md) -> i32 {
    steps::quick::send_on_wire(&XdpContext::new(ctx))
}

/// [`steps::quick::note`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn note(key: *const FlowKey, becomes: *const FlowKey, way: *const Way, kind: u32, device: u32) -> u32 {
    present!(0; key: as_ref, becomes: as_ref, way: as_ref);
    steps::quick::note(key, becomes, way, kind, device);
    1
}

/// [`steps::segment::read_segment`] of a packet.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn read_segment(ctx: *mut __sk_buff, ip: *const Ip, segment: *mut Segment) -> u32 {
    present!(0; ip: as_ref, segment: as_mut);
    steps::segment::read_segment(&TcContext::new(ctx), ip, segment)
}

/// [`steps::is_for_device`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_for_device(ctx: *mut xdp_md) -> u32 {
    let frame = XdpContext::new(ctx);
    u32::from(steps::is_for_device(&frame, frame.device()))
}

/// [`steps::forward::translate_on_wire`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn translate_on_wire(ctx: *mut xdp_md, ip: *const Ip, quick: i32) -> u32 {
    present!(aya_ebpf::bindings::xdp_action::XDP_PASS; ip: as_ref);
    steps::forward::translate_on_wire(&XdpContext::new(ctx), ip, quick)
}

/// [`steps::forward::send_on_wire`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn send_on_wire(ctx: *mut xdp_md, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey, how: u32) -> u32 {
    present!(aya_ebpf::bindings::xdp_action::XDP_PASS; ip: as_ref, segment: as_ref, becomes: as_ref);
    steps::forward::send_on_wire(&XdpContext::new(ctx), ip, segment, becomes, how)
}

/// [`steps::segment::read_segment`] of a frame that comes from the wire.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn read_segment_on_wire(ctx: *mut xdp_md, ip: *const Ip, segment: *mut Segment) -> u32 {
    present!(0; ip: as_ref, segment: as_mut);
    steps::segment::read_segment(&XdpContext::new(ctx), ip, segment)
}

/// [`steps::local::opens_nothing`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn opens_nothing(ctx: *mut __sk_buff, segment: *const Segment, scope: u32) -> u32 {
    present!(0; segment: as_ref);
    u32::from(steps::local::opens_nothing(&TcContext::new(ctx), segment, scope))
}

/// [`steps::local::opens_nothing`] of a frame that comes from the wire: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn opens_nothing_on_wire(ctx: *mut xdp_md, segment: *const Segment, scope: u32) -> u32 {
    present!(0; segment: as_ref);
    u32::from(steps::local::opens_nothing(&XdpContext::new(ctx), segment, scope))
}

/// [`steps::flow::open_to_service`]; `from` is the scope and, above its eight bits, the entrance.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn open_to_service(segment: *const Segment, from: u32, bytes: u32, becomes: *mut FlowKey) -> u32 {
    present!(0; segment: as_ref, becomes: as_mut);
    steps::flow::open_to_service(segment, from as u8, from >> 8, bytes, becomes)
}

/// [`steps::flow::open_chosen`]; `is_to_node` is 0 or 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn open_chosen(segment: *const Segment, is_to_node: u32, becomes: *mut FlowKey) -> u32 {
    present!(0; segment: as_ref, becomes: as_mut);
    steps::flow::open_chosen(segment, is_to_node != 0, becomes)
}

/// [`steps::forward::find_asked`]; `is_refused` is 0 or 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_asked(ctx: *mut __sk_buff, ip: *const Ip, is_refused: u32) -> u32 {
    present!(steps::forward::translated::NOT_OURS; ip: as_ref);
    steps::forward::find_asked(&TcContext::new(ctx), ip, is_refused != 0)
}

/// [`steps::judge::judge`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn judge(key: *const FlowKey, becomes: *const FlowKey, how: u32, bytes: u32) -> u32 {
    present!(0; key: as_ref, becomes: as_ref);
    steps::judge::judge(key, becomes, how, bytes)
}

/// [`steps::judge::judge_known`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn judge_known(key: *const FlowKey, becomes: *const FlowKey, is_known: u32, bytes: u32) -> u32 {
    present!(0; key: as_ref, becomes: as_ref);
    steps::judge::judge_known(key, becomes, is_known, bytes)
}

/// [`steps::judge::ask`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn ask(set: u32, other: *const Address, port: u32, way: u32) -> u32 {
    present!(0; other: as_ref);
    steps::judge::ask(set, other, port, way)
}

/// [`steps::police::find_policed`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_policed(ctx: *mut __sk_buff, ip: *const Ip, from: u32) -> u32 {
    present!(steps::police::policed::DROPPED; ip: as_ref);
    steps::police::find_policed(&TcContext::new(ctx), ip, from)
}

/// [`steps::police::is_about_forgotten`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_about_forgotten(segment: *const Segment) -> u32 {
    present!(0; segment: as_ref);
    u32::from(steps::police::is_about_forgotten(segment))
}

/// [`steps::police::is_for_node`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_for_node(ctx: *mut __sk_buff, ip: *const Ip, becomes: *const FlowKey) -> u32 {
    present!(0; ip: as_ref, becomes: as_ref);
    u32::from(steps::police::is_for_node(&TcContext::new(ctx), ip, becomes))
}

/// [`steps::police::pass_judged`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn pass_judged(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, from: u32) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::police::pass_judged(&TcContext::new(ctx), ip, segment, from)
}

/// [`steps::flow::forget_plain`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn forget_plain(key: *const FlowKey) -> u32 {
    present!(0; key: as_ref);
    u32::from(steps::flow::forget_plain(key))
}

/// [`steps::way::is_tunnel_of_pod`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_tunnel_of_pod(ctx: *mut __sk_buff) -> u32 {
    u32::from(steps::way::is_tunnel_of_pod(&TcContext::new(ctx)))
}

/// [`steps::event::tell_judged`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_judged(ctx: *mut __sk_buff) -> u32 {
    steps::event::tell_judged(&TcContext::new(ctx));
    1
}

/// [`steps::event::tell_way`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_way(ctx: *mut __sk_buff, kind: u32, ifindex: u32) -> u32 {
    steps::event::tell_way(&TcContext::new(ctx), kind, ifindex);
    1
}

/// [`steps::flow::open_masquerade`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn open_masquerade(segment: *const Segment, becomes: *mut FlowKey) -> u32 {
    present!(0; segment: as_ref, becomes: as_mut);
    steps::flow::open_masquerade(segment, becomes)
}

/// [`steps::flow::insert_pair`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn insert_pair(key: *const FlowKey, becomes: *mut FlowKey, state: u32) -> u32 {
    present!(0; key: as_ref, becomes: as_mut);
    steps::flow::insert_pair(key, becomes, state)
}

/// [`steps::flow::claim_port`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn claim_port(key: *const FlowKey, becomes: *mut FlowKey, state: u32, whose: u32) -> u32 {
    present!(0; key: as_ref, becomes: as_mut);
    steps::flow::claim_port(key, becomes, state, whose)
}

/// [`steps::flow::is_here`] of the destination: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_here(becomes: *const FlowKey) -> u32 {
    present!(0; becomes: as_ref);
    u32::from(steps::flow::is_here(&becomes.destination))
}

/// [`steps::flow::may_be_front`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn may_be_front(key: *const FlowKey) -> u32 {
    present!(0; key: as_ref);
    u32::from(steps::flow::may_be_front(key))
}

/// [`steps::flow::resolve_packet`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn resolve_packet(front: *const ServiceKey, key: *const FlowKey, becomes: *mut FlowKey) -> u32 {
    present!(0; front: as_ref, key: as_ref, becomes: as_mut);
    steps::flow::resolve_packet(front, key, becomes)
}

/// [`steps::sticky::find_in_list`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_in_list(service: *const Service, backend: *const Backend) -> u32 {
    present!(steps::sticky::NOWHERE; service: as_ref, backend: as_ref);
    steps::sticky::find_in_list(service, backend)
}

/// [`steps::sticky::keep`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn keep(key: *const AffinityKey, service: *const Service, slot: u32, backend: *const Backend) -> u32 {
    present!(0; key: as_ref, service: as_ref, backend: as_ref);
    steps::sticky::keep(key, service, slot, backend);
    1
}

/// [`steps::resolve::is_allowed`]: 1 if so.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_allowed(set: u32, address: *const Address) -> u32 {
    present!(0; address: as_ref);
    u32::from(steps::resolve::is_allowed(set, address))
}

/// [`steps::resolve::may_socket_use`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn may_socket_use(front: *const ServiceKey, sources: u32, namespace_cookie: u64) -> u32 {
    present!(0; front: as_ref);
    steps::resolve::may_socket_use(front, sources, namespace_cookie)
}

/// [`steps::forward::find_translated`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_translated(ctx: *mut __sk_buff, ip: *const Ip, from: u32) -> u32 {
    present!(steps::forward::translated::NOT_OURS; ip: as_ref);
    steps::forward::find_translated(&TcContext::new(ctx), ip, from)
}

/// [`steps::forward::find_opened`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_opened(ctx: *mut __sk_buff, ip: *const Ip, from: u32) -> u32 {
    present!(steps::forward::translated::NOT_OURS; ip: as_ref);
    steps::forward::find_opened(&TcContext::new(ctx), ip, from)
}

/// [`steps::forward::translate_on_leaving`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn translate_on_leaving(ctx: *mut __sk_buff, ip: *const Ip, quick: i32) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref);
    steps::forward::translate_on_leaving(&TcContext::new(ctx), ip, quick)
}

/// [`steps::flow::follow`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn follow(segment: *const Segment, becomes: *mut FlowKey) -> u32 {
    present!(0; segment: as_ref, becomes: as_mut);
    steps::flow::follow(segment, becomes)
}

/// [`steps::way::find_fitting_way`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_way(ctx: *mut __sk_buff, ip: *const Ip, becomes: *const FlowKey, way: *mut Way, more: u32) -> u32 {
    present!(0; ip: as_ref, becomes: as_ref, way: as_mut);
    steps::way::find_fitting_way(&TcContext::new(ctx), ip, becomes, way, more)
}

/// [`steps::direct_return::tell`]; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell(ctx: *mut __sk_buff, ip: *const Ip, key: *const FlowKey) -> u32 {
    present!(0; ip: as_ref, key: as_ref);
    u32::from(steps::direct_return::tell(&TcContext::new(ctx), ip, key))
}

/// [`steps::flow::open_direct`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn open_direct(segment: *const Segment, key: *const FlowKey) -> u32 {
    present!(0; segment: as_ref, key: as_ref);
    steps::flow::open_direct(segment, key);
    1
}

/// [`steps::direct_return::listen`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn listen(ctx: *mut __sk_buff, ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    steps::direct_return::listen(&TcContext::new(ctx), ip)
}

/// [`steps::way::to_neighbour`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn to_neighbour(ctx: *mut __sk_buff, way: *const Way) -> i32 {
    present!(steps::packet::DROP; way: as_ref);
    steps::way::to_neighbour(&TcContext::new(ctx), way)
}

/// [`steps::way::to_tunnel`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn to_tunnel(ctx: *mut __sk_buff, way: *const Way) -> i32 {
    present!(steps::packet::DROP; way: as_ref);
    steps::way::to_tunnel(&TcContext::new(ctx), way)
}

/// [`steps::way::turn_tunnel`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn turn_tunnel(ctx: *mut __sk_buff) -> u32 {
    steps::way::turn_tunnel(&TcContext::new(ctx))
}

/// [`steps::event::tell`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_event(ctx: *mut __sk_buff, kind: u32, reason: u32) -> u32 {
    steps::event::tell(&TcContext::new(ctx), kind, reason);
    1
}

/// [`steps::event::tell_refused`]; answers 1.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn tell_refused(front: *const ServiceKey, namespace_cookie: u64, reason: u32) -> u32 {
    present!(0; front: as_ref);
    steps::event::tell_refused(front, namespace_cookie, reason);
    1
}

/// [`steps::drop_frame`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn drop_on_wire(ctx: *mut xdp_md, reason: u32) -> u32 {
    steps::drop_frame(&XdpContext::new(ctx), reason)
}

/// [`steps::drop_number`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn drop_packet(ctx: *mut __sk_buff, reason: u32) -> i32 {
    steps::drop_number(&TcContext::new(ctx), reason)
}

/// [`steps::forward::send`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn send(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey, how: u32) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref, segment: as_ref, becomes: as_ref);
    steps::forward::send(&TcContext::new(ctx), ip, segment, becomes, how)
}

/// [`steps::cut::leave_to_stack`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leave_to_stack(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey) -> i32 {
    present!(steps::packet::NEXT; ip: as_ref, segment: as_ref, becomes: as_ref);
    steps::cut::leave_to_stack(&TcContext::new(ctx), ip, segment, becomes)
}

/// [`steps::cut::finish`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn finish_cut(ctx: *mut __sk_buff, mark: u32) -> i32 {
    steps::cut::finish(&TcContext::new(ctx), mark)
}

/// [`steps::rewrite::rewrite`] of a packet; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn rewrite(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey) -> u32 {
    present!(0; ip: as_ref, segment: as_ref, becomes: as_ref);
    u32::from(steps::rewrite::rewrite(&TcContext::new(ctx), ip, segment, becomes))
}

/// [`steps::rewrite::rewrite_error`]; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn rewrite_error(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, becomes: *const FlowKey) -> u32 {
    present!(0; ip: as_ref, segment: as_ref, becomes: as_ref);
    u32::from(steps::rewrite::rewrite_error(&TcContext::new(ctx), ip, segment, becomes))
}

/// [`steps::forward::refuse`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn refuse(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, reason: u32) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::forward::refuse(&TcContext::new(ctx), ip, segment, reason)
}

/// [`steps::answer::answer_ping`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn answer_ping(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::answer::answer_ping(&TcContext::new(ctx), ip, segment)
}

/// [`steps::answer::complain`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn complain(ctx: *mut __sk_buff, ip: *const Ip, complaint: u32, mtu: u32, reason: u32) -> i32 {
    present!(steps::packet::DROP; ip: as_ref);
    steps::answer::complain(&TcContext::new(ctx), ip, complaint, mtu as u16, reason)
}

/// [`steps::answer::quote`]; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn quote(ctx: *mut __sk_buff, ip: *const Ip, complaint: u32, mtu: u32) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::answer::quote(&TcContext::new(ctx), ip, complaint, mtu as u16))
}

/// [`steps::answer::reset`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn reset(ctx: *mut __sk_buff, ip: *const Ip, segment: *const Segment, reason: u32) -> i32 {
    present!(steps::packet::DROP; ip: as_ref, segment: as_ref);
    steps::answer::reset(&TcContext::new(ctx), ip, segment, reason)
}

/// [`steps::answer::leave_open`]; 1 if it was done.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn leave_open(ctx: *mut __sk_buff, ip: *const Ip) -> u32 {
    present!(0; ip: as_ref);
    u32::from(steps::answer::leave_open(&TcContext::new(ctx), ip))
}

/// [`steps::sctp::advance`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn advance(difference: u32, length: u32) -> u32 {
    steps::sctp::advance(difference, length)
}

/// [`steps::sctp::multiply`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn multiply(one: u32, other: u32) -> u32 {
    steps::sctp::multiply(one, other)
}
