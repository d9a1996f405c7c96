//! What the hooks cost: figures to look at, bounds that only a mistake in kind would break.

mod frames;
mod harness;
mod servers;

use frames::Frame;
use harness::{Node, ServiceSpec, pod, put_pods, put_service};
use orknet_abi::protocol::UDP;
use orknet_dataplane::{Dataplane, Hook, Verdict};
use servers::Servers;
use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Mean duration of one connect(2) of a UDP socket, which sends nothing: the best of some rounds, as the host is noisy.
fn time_connect(socket: &UdpSocket, to: SocketAddr) -> Duration {
    const CALLS: u32 = 20_000;
    let round = || {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| socket.connect(to).unwrap());
        begun.elapsed() / CALLS
    };
    (0..5).map(|_| round()).min().unwrap()
}

#[test]
fn root_a_connect_through_a_service_costs_little_more_than_one_without() {
    let node = Node::new("cost");
    let servers = Servers::start(&node);
    let bare = node.run(|| time_connect(&UdpSocket::bind("0.0.0.0:0").unwrap(), servers.udp_v4[0]));
    let dataplane = node.dataplane();
    dataplane.apply(&put_service(&ServiceSpec::new("10.96.0.1:53", UDP, 1, &servers.udp_v4)));
    let (direct, service) = node.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        (time_connect(&socket, servers.udp_v4[0]), time_connect(&socket, "10.96.0.1:53".parse().unwrap()))
    });
    println!("connect: {bare:?} without hooks, {direct:?} to an address that is no Service's, {service:?} to a Service's");
    assert!(service < bare + Duration::from_micros(20));
}

#[test]
fn root_a_packet_between_pods_costs_little_and_loading_is_quick() {
    let node = Node::new("cost");
    let begun = Instant::now();
    let dataplane = Dataplane::open(&node.config).unwrap();
    let opened = begun.elapsed();
    let (a, b) = (pod(1, [2; 6], [0; 6]), pod(7, [4; 6], [6; 6]));
    dataplane.apply(&put_pods(&[("10.244.0.2", a), ("10.244.0.3", b), ("fd00::2", a), ("fd00::3", b)]));
    for (source, destination) in [("10.244.0.2", "10.244.0.3"), ("fd00::2", "fd00::3")] {
        // All runs of a call take from the same frame's hop limit, so there are fewer runs than hops.
        let frame = Frame { hop_limit: 255, ..Frame::new(source, destination, UDP, &[0; 64]) }.bytes();
        let run = || node.run(|| dataplane.run(Hook::FromPod, &frame, 200)).unwrap();
        let costs = (0..100).map(|_| run()).map(|ran| (ran.verdict == Verdict::Redirect).then_some(ran.nanoseconds).unwrap());
        let quickest = costs.min().unwrap();
        println!("{source}: {quickest} ns for a packet");
        assert!(quickest < 20_000);
    }
    println!("opened in {opened:?}");
    assert!(opened < Duration::from_secs(10));
}
