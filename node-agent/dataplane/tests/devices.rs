//! Namespace tests of the hooks on pod devices: real veth pairs, real TCP and UDP, frames from a packet socket.
//!
//! ```text
//! pod 2 (eth0) ═ veth2 ─[from_pod / to_pod]─ node ─[from_pod / to_pod]─ veth3 ═ (eth0) pod 3
//!                         the node forwards nothing: only bpf_redirect_peer joins the pods
//! ```

mod frames;
mod harness;

use frames::{Frame, IP};
use harness::{Node, TestPod, command, eventually, put_pods, sysctl};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, sendto, socket};
use orknet_abi::{
    ABI_VERSION, DropReason, TrafficKey,
    direction::{EGRESS, INGRESS},
};
use orknet_dataplane::{Attachment, Dataplane, DeviceAttach, cleanup};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// A node with two pods whose addresses are in the map and whose devices are attached.
struct Pair {
    // Before the node, whose drop removes the pins in the namespace that both are joined to.
    pods: [TestPod; 2],
    dataplane: Dataplane,
    node: Node,
}

impl Pair {
    fn new(name: &str, how: DeviceAttach) -> Self {
        let mut node = Node::new(name);
        node.config.device_attach = how;
        let pods = [TestPod::new(&node, 2), TestPod::new(&node, 3)];
        for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            sysctl(&node.namespace, &format!("net/{family}"), "0");
        }
        let dataplane = Dataplane::open(&node.config).unwrap();
        let [a, b] = &pods;
        let addresses = [(a.v4.as_str(), a.value), (a.v6.as_str(), a.value), (b.v4.as_str(), b.value), (b.v6.as_str(), b.value)];
        assert!(dataplane.apply(&put_pods(&addresses)).failures.is_empty());
        Self { pods, dataplane, node }
    }

    fn attach(&self) -> Vec<Attachment> {
        self.node.namespace.run(|| self.pods.each_ref().map(|pod| self.dataplane.attach_pod(pod.ifindex).unwrap()).to_vec())
    }

    fn packets(&self, pod: usize, direction: u32) -> u64 {
        let key = TrafficKey { ifindex: self.pods[pod].ifindex, direction };
        self.dataplane.reader().traffic().unwrap()[&key].packets
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.dataplane.reader().drops().unwrap().iter().find(|(found, _)| *found == reason).unwrap().1.packets
    }

    /// An echo server in a pod; it serves until the test process ends.
    fn serve(&self, pod: usize, address: &str) -> SocketAddr {
        self.pods[pod].namespace.run(|| {
            let listener = TcpListener::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
            let local = listener.local_addr().unwrap();
            thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|stream| drop(thread::spawn(move || echo(stream)))));
            local
        })
    }
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
}

/// One byte there and back.
fn ask(stream: &mut TcpStream, byte: u8) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[byte]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [byte]);
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, Duration::from_secs(5))
}

#[test]
fn root_pods_of_one_node_talk_by_redirect_in_both_families() {
    let pair = Pair::new("peer", DeviceAttach::Auto);
    assert_eq!(pair.attach(), [Attachment::Tcx; 2]);
    let [a, b] = &pair.pods;
    for (server, client) in [(&b.v4, &a.v4), (&b.v6, &a.v6)] {
        let server = pair.serve(1, server);
        let mut stream = a.namespace.run(|| connect(server).unwrap());
        ask(&mut stream, 1);
        assert_eq!(stream.local_addr().unwrap().ip(), client.parse::<IpAddr>().unwrap());
    }
    for pod in 0..2 {
        for direction in [EGRESS, INGRESS] {
            assert!(pair.packets(pod, direction) >= 6, "pod {pod}, direction {direction}");
        }
    }
    assert!(pair.dataplane.reader().drops().unwrap().iter().all(|(_, count)| count.packets == 0));
}

#[test]
fn root_the_node_reaches_its_pods_through_the_stack() {
    let pair = Pair::new("stack", DeviceAttach::Auto);
    pair.attach();
    pair.node.namespace.command("ip", &["address", "add", "10.0.0.1/32", "dev", "lo"]);
    pair.node.namespace.command("ip", &["-6", "address", "add", "fd00:a::1/128", "dev", "lo", "nodad"]);
    for address in [&pair.pods[0].v4, &pair.pods[0].v6] {
        let server = pair.serve(0, address);
        let before = pair.packets(0, INGRESS);
        // IPv6 resolves the pod's MAC address here, from link-local and by neighbour discovery.
        ask(&mut pair.node.namespace.run(|| connect(server).unwrap()), 1);
        assert!(pair.packets(0, INGRESS) > before);
    }
}

#[test]
fn root_a_pod_with_a_foreign_address_reaches_nobody() {
    let pair = Pair::new("foreign", DeviceAttach::Auto);
    pair.attach();
    let [a, b] = &pair.pods;
    a.namespace.command("ip", &["address", "add", "10.244.0.99/32", "dev", "eth0"]);
    let receiver = b.namespace.run(|| UdpSocket::bind((b.v4.as_str(), 0)).unwrap());
    let to = receiver.local_addr().unwrap();
    let before = pair.drops(DropReason::SourceNotPod);
    a.namespace.run(|| UdpSocket::bind("10.244.0.99:0").unwrap().send_to(b"foreign", to).unwrap());
    eventually("the drop is counted", || match pair.drops(DropReason::SourceNotPod) - before {
        1 => Ok(()),
        other => Err(format!("{other} drops")),
    });
    a.namespace.run(|| UdpSocket::bind((a.v4.as_str(), 0)).unwrap().send_to(b"own", to).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut message = [0; 16];
    let (length, from) = receiver.recv_from(&mut message).unwrap();
    assert_eq!((&message[..length], from.ip().to_string()), (&b"own"[..], a.v4.clone()), "the foreign datagram would have come first");
}

#[test]
fn root_frames_shorter_than_their_headers_are_dropped_as_truncated() {
    let pair = Pair::new("short", DeviceAttach::Auto);
    pair.attach();
    let [a, b] = &pair.pods;
    let before = pair.drops(DropReason::Truncated);
    let sent = a.namespace.run(|| {
        let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None::<SockProtocol>).unwrap();
        let eth0 = link_address("eth0");
        let mut sent = 0;
        for frame in [Frame::new(&a.v4, &b.v4, 17, b"payload"), Frame::new(&a.v6, &b.v6, 17, b"payload")] {
            let whole = Frame { destination_mac: a.value.host_mac, ..frame }.bytes();
            for length in IP + 1..whole.len() {
                sendto(raw.as_raw_fd(), &whole[..length], &eth0, MsgFlags::empty()).unwrap();
                sent += 1;
            }
        }
        sent
    });
    eventually("every frame is counted", || match pair.drops(DropReason::Truncated) - before {
        dropped if dropped == sent => Ok(()),
        dropped => Err(format!("{dropped} of {sent}")),
    });
}

fn link_address(device: &str) -> LinkAddr {
    let mut devices = nix::ifaddrs::getifaddrs().unwrap().filter(|entry| entry.interface_name == device);
    devices.find_map(|entry| entry.address?.as_link_addr().copied()).unwrap()
}

#[test]
fn root_devices_are_known_until_they_are_detached_or_gone() {
    let pair = Pair::new("known", DeviceAttach::Auto);
    pair.attach();
    let [a, b] = &pair.pods;
    let (known, stale) = pair.node.namespace.run(|| (pair.dataplane.pod_devices().unwrap(), pair.dataplane.stale_devices().unwrap()));
    assert_eq!((known, stale.len()), ([a.ifindex, b.ifindex].into(), 0));
    let server = pair.serve(1, &b.v4);
    ask(&mut a.namespace.run(|| connect(server).unwrap()), 1);
    pair.node.namespace.run(|| pair.dataplane.detach_pod(a.ifindex)).unwrap();
    let cut = a.namespace.run(|| TcpStream::connect_timeout(&server, Duration::from_millis(200))).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::TimedOut, "nothing redirects from a device that is detached");

    pair.node.namespace.command("ip", &["link", "delete", &b.device]);
    let (known, stale) = pair.node.namespace.run(|| (pair.dataplane.pod_devices().unwrap(), pair.dataplane.stale_devices().unwrap()));
    assert_eq!((known, stale), ([].into(), [b.ifindex].into()), "{}", pair.node.namespace.command("ip", &["link"]));
    for ifindex in [a.ifindex, b.ifindex, 4_711] {
        pair.node.namespace.run(|| pair.dataplane.detach_pod(ifindex)).unwrap();
    }
    assert!(pair.dataplane.reader().traffic().unwrap().is_empty());
    let error = pair.node.namespace.run(|| pair.dataplane.attach_pod(4_711)).unwrap_err();
    assert!(error.to_string().contains("from_pod to device 4711"), "{error}");
    assert!(pair.dataplane.reader().traffic().unwrap().is_empty(), "a device that is not there leaves no trace");
}

#[test]
fn root_streams_between_pods_live_through_restarts_and_none_is_let_slip() {
    restarts_leave_streams_alone("live", DeviceAttach::Auto);
}

#[test]
fn root_clsact_does_the_same_where_tcx_is_missing() {
    let pair = restarts_leave_streams_alone("clsact", DeviceAttach::Clsact);
    let filters = |direction: &str| {
        let device = pair.pods[0].device.as_str();
        pair.node.namespace.command("tc", &["filter", "show", "dev", device, direction]).matches("direct-action").count()
    };
    assert_eq!((filters("ingress"), filters("egress")), (1, 1), "a restart replaces, it does not add");
    pair.node.namespace.run(|| pair.dataplane.retire_other_versions()).unwrap();
    assert_eq!((filters("ingress"), filters("egress")), (1, 1), "these are of this version");
    // Maps of another version say nothing to this one about their devices, and a filter of somebody else is none of our business.
    let pins = pair.node.pin_dir();
    fs::rename(pins.join(format!("v{ABI_VERSION}")), pins.join("v4711")).unwrap();
    let device = pair.pods[0].device.as_str();
    let other = ["filter", "add", "dev", device, "ingress", "prio", "7", "bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1"];
    pair.node.namespace.command("tc", &other);
    pair.node.namespace.run(|| cleanup(&pins)).unwrap();
    assert_eq!((filters("ingress"), filters("egress")), (0, 0));
    let left = pair.node.namespace.command("tc", &["filter", "show", "dev", device, "ingress"]);
    assert!(left.contains("pref 7 bpf"), "{left}");
}

fn restarts_leave_streams_alone(name: &str, how: DeviceAttach) -> Pair {
    let mut pair = Pair::new(name, how);
    let wanted = if how == DeviceAttach::Clsact { Attachment::Clsact } else { Attachment::Tcx };
    assert_eq!(pair.attach(), [wanted; 2]);
    let server = pair.serve(1, &pair.pods[1].v4);
    let mut stream = pair.pods[0].namespace.run(|| connect(server).unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut asked = 0_u32;
            while !done.load(Ordering::Relaxed) {
                ask(&mut stream, asked as u8);
                asked += 1;
            }
            asked
        });
        for _ in 0..5 {
            pair.dataplane = Dataplane::open(&pair.node.config).unwrap();
            assert_eq!(pair.attach(), [wanted; 2]);
        }
        done.store(true, Ordering::Relaxed);
        assert!(client.join().unwrap() > 0);
    });
    assert!(pair.dataplane.reader().drops().unwrap().iter().all(|(_, count)| count.packets == 0));
    pair
}

#[test]
fn root_a_pod_without_an_entry_reaches_nobody_on_its_node() {
    let pair = Pair::new("unknown", DeviceAttach::Auto);
    pair.attach();
    let stranger = TestPod::new(&pair.node, 9);
    pair.node.namespace.run(|| pair.dataplane.attach_pod(stranger.ifindex)).unwrap();
    let server = pair.serve(1, &pair.pods[1].v4);
    let refused = stranger.namespace.run(|| TcpStream::connect_timeout(&server, Duration::from_millis(200))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
    assert!(pair.drops(DropReason::SourceNotPod) > 0);
    // Only its entry is missing.
    assert!(pair.dataplane.apply(&put_pods(&[(&stranger.v4, stranger.value)])).failures.is_empty());
    ask(&mut stranger.namespace.run(|| connect(server).unwrap()), 1);
    assert!(command("ip", &["netns", "list"]).contains(&stranger.namespace.name));
}
