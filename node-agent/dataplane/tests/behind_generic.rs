//! Packets that the kernel has copied for its generic form of XDP: real sockets, a real veth pair, one Service.
//!
//! ```text
//! client 192.0.2.254 ═ wire0 ═ eth0 ─[from_wire, generic]─[from_network]─ node ─[from_pod]─ veth2 ═ pod 10.244.0.2
//! ```

mod harness;

use harness::{Namespace, Node, TestPod, eventually, put_pods, sysctl};
use orknet_abi::{self as abi, Backend, BackendKey, Service, ServiceKey, flow_state, protocol, scope};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Dataplane, Xdp};
use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

/// Node and client, the client's network, the pod; both families.
const NODE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const CLIENT: [&str; 2] = ["192.0.2.254", "2001:db8::fe"];
const PORT: u16 = 53;
const NODE_PORT: u16 = 30_053;

/// Answers each datagram with itself, as long as the test's process lives.
fn echo(pod: &TestPod, address: &str) -> SocketAddr {
    pod.namespace.run(|| {
        let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), PORT)).unwrap();
        let at = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..count], from);
            }
        });
        at
    })
}

fn node_port(list: u32, front: SocketAddr, backend: SocketAddr) -> Plan {
    let key = ServiceKey { address: front.ip().into(), port_be: front.port().to_be(), protocol: protocol::UDP, scope: scope::OUTSIDE };
    let backend = Backend { address: backend.ip().into(), port_be: backend.port().to_be(), reserved: 0 };
    let service = Service { list, count: 1, ..Service::default() };
    Plan { steps: vec![Step::PutBackend(BackendKey { list, slot: 0 }, backend), Step::PutService(key, service)] }
}

#[test]
fn root_packets_that_lost_their_ethernet_header_to_a_copy_are_translated() {
    let mut node = Node::new("generic");
    node.config.xdp = Xdp::Generic;
    let wire = Namespace::new("generic-wire");
    let pod = TestPod::new(&node, 2);
    node.namespace.command("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "wire0", "netns", &wire.name]);
    for (namespace, device, addresses) in [(&node.namespace, "eth0", NODE), (&wire, "wire0", CLIENT)] {
        namespace.command("ip", &["link", "set", device, "up"]);
        namespace.command("ip", &["address", "add", &format!("{}/24", addresses[0]), "dev", device]);
        namespace.command("ip", &["address", "add", &format!("{}/64", addresses[1]), "dev", device, "nodad"]);
    }
    for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        sysctl(&node.namespace, &format!("net/{family}"), "1");
    }
    let dataplane = Dataplane::open(&node.config).unwrap();
    let (eth0, address) = (node.namespace.run(|| nix::net::if_::if_nametoindex("eth0").unwrap()), |text: &str| text.parse().unwrap());
    let [v4, v6] = NODE.map(|text| abi::Address::from(address(text)));
    let settings = abi::Node { v4, v6, first_port: 61_000, last_port: 65_000, table_size: 251, ..abi::Node::default() };
    let pods = [pod.v4.as_str(), pod.v6.as_str()];
    let mut plan = Plan { steps: vec![Step::PutNode(settings)] };
    plan.steps.extend(put_pods(&pods.map(|address| (address, pod.value))).steps);
    let fronts = NODE.map(|text| SocketAddr::new(address(text), NODE_PORT));
    for (list, (front, backend)) in (1..).zip(fronts.into_iter().zip(pods)) {
        plan.steps.extend(node_port(list, front, echo(&pod, backend)).steps);
    }
    assert!(dataplane.apply(&plan).failures.is_empty());
    node.namespace.run(|| {
        dataplane.attach_pod(pod.ifindex).unwrap();
        assert!(dataplane.keep_network_devices(&BTreeSet::from([eth0])).is_empty());
    });
    assert!(node.namespace.command("ip", &["-details", "link", "show", "eth0"]).contains("xdpgeneric"), "the form that copies");

    let sockets = wire.run(|| CLIENT.map(|text| UdpSocket::bind(SocketAddr::new(address(text), 0)).unwrap()));
    for (socket, front) in sockets.iter().zip(fronts) {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        socket.connect(front).unwrap();
        for size in [1, 100, 1_400] {
            // The first ones wait for neighbours to be found.
            let answer = eventually("the pod to answer through the node port", || {
                let mut buffer = [0; 2_048];
                socket.send(&vec![7; size]).and_then(|_| socket.recv(&mut buffer)).map_err(|error| error.to_string())
            });
            assert_eq!(answer, size, "{front}");
        }
    }
    let flows = dataplane.reader().flows().unwrap();
    let forward = flows.iter().filter(|(_, flow)| flow.state & flow_state::FORWARD != 0);
    assert_eq!(forward.count(), fronts.len(), "one flow a family, opened where packets come in: {flows:?}");
}
