//! Programs on devices that lead to the network: exactly where they are wanted, by links or filters, whatever becomes of the devices.

mod harness;

use aya::programs::{SchedClassifier, TcAttachType};
use harness::{Namespace, Node};
use orknet_dataplane::{Dataplane, DeviceAttach, Xdp};
use std::collections::BTreeSet;

/// A device without addresses; its index.
fn device(namespace: &Namespace, name: &str) -> u32 {
    namespace.command("ip", &["link", "add", name, "type", "veth", "peer", "name", &format!("to-{name}")]);
    namespace.run(|| nix::net::if_::if_nametoindex(name).unwrap())
}

/// Sees to it that the programs are on these devices, as the agent does; what could not be done.
fn keep(node: &Node, dataplane: &Dataplane, devices: &[u32]) -> Vec<String> {
    let wanted: BTreeSet<u32> = devices.iter().copied().collect();
    node.namespace.run(|| dataplane.keep_network_devices(&wanted)).values().map(ToString::to_string).collect()
}

/// The programs that are on a device, as links or as filters.
fn programs(namespace: &Namespace, device: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (direction, attach_type) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
        let (_, linked) = namespace.run(|| SchedClassifier::query_tcx(device, attach_type).unwrap());
        names.extend(linked.iter().map(|program| program.name_as_str().unwrap().to_owned()));
        let filters = namespace.command("tc", &["filter", "show", "dev", device, direction]);
        names.extend(BOTH.into_iter().filter(|program| filters.contains(&format!(" {program} "))).map(str::to_owned));
    }
    names
}

const BOTH: [&str; 2] = ["from_network", "to_network"];
const NONE: [&str; 0] = [];

#[test]
fn root_programs_follow_the_wanted_devices_by_links_and_by_filters() {
    for how in [DeviceAttach::Auto, DeviceAttach::Clsact] {
        let mut node = Node::new("follow");
        node.config.device_attach = how;
        let (first, second) = (device(&node.namespace, "first"), device(&node.namespace, "second"));
        let dataplane = Dataplane::open(&node.config).unwrap();
        for _ in 0..2 {
            assert_eq!(keep(&node, &dataplane, &[first, second]), NONE, "{how:?}");
        }
        assert_eq!(
            (programs(&node.namespace, "first"), programs(&node.namespace, "second")),
            (BOTH.map(str::to_owned).to_vec(), BOTH.map(str::to_owned).to_vec())
        );
        assert_eq!(keep(&node, &dataplane, &[second]), NONE);
        assert_eq!((programs(&node.namespace, "first").len(), programs(&node.namespace, "second").len()), (0, 2), "{how:?}");
        // Another process, which knows of no device yet, takes over what is there and removes what is not wanted.
        drop(dataplane);
        let dataplane = Dataplane::open(&node.config).unwrap();
        assert_eq!(programs(&node.namespace, "second"), BOTH);
        assert_eq!(keep(&node, &dataplane, &[first]), NONE);
        assert_eq!((programs(&node.namespace, "first").len(), programs(&node.namespace, "second").len()), (2, 0), "{how:?}");
    }
}

#[test]
fn root_a_device_that_goes_leaves_nothing_and_one_that_is_not_there_costs_only_itself() {
    let node = Node::new("gone");
    let (stays, goes) = (device(&node.namespace, "stays"), device(&node.namespace, "goes"));
    let dataplane = Dataplane::open(&node.config).unwrap();
    keep(&node, &dataplane, &[stays, goes]);
    assert_eq!(dataplane.network_devices().unwrap(), BTreeSet::from([stays, goes]));
    node.namespace.command("ip", &["link", "del", "goes"]);
    let failures = keep(&node, &dataplane, &[stays, goes]);
    assert!(failures.len() == 1 && failures[0].contains(&format!("device {goes}")), "{failures:?}");
    assert_eq!(programs(&node.namespace, "stays"), BOTH);
    assert_eq!(dataplane.network_devices().unwrap(), BTreeSet::from([stays]));
    assert_eq!(keep(&node, &dataplane, &[]), NONE);
    assert!(dataplane.network_devices().unwrap().is_empty() && programs(&node.namespace, "stays").is_empty());
}

#[test]
fn root_on_a_veth_device_frames_from_the_wire_take_the_generic_way_unless_the_driver_is_asked_for() {
    for (how, form) in [(Xdp::Auto, "xdpgeneric"), (Xdp::Generic, "xdpgeneric"), (Xdp::Native, "xdp")] {
        let mut node = Node::new("wire");
        node.config.xdp = how;
        let cable = device(&node.namespace, "cable");
        let dataplane = Dataplane::open(&node.config).unwrap();
        assert_eq!(keep(&node, &dataplane, &[cable]), NONE, "{how:?}");
        let shown = node.namespace.command("ip", &["link", "show", "cable"]);
        assert!(shown.split_whitespace().any(|word| word == form), "{how:?}: {shown}");
    }
}

#[test]
fn root_a_process_with_other_settings_leaves_nothing_of_the_former_ones() {
    let mut node = Node::new("settings");
    let cable = device(&node.namespace, "cable");
    for (how, xdp, form) in [
        (DeviceAttach::Tcx, Xdp::Generic, "xdpgeneric"),
        (DeviceAttach::Clsact, Xdp::Native, "xdp"),
        (DeviceAttach::Tcx, Xdp::Auto, "xdpgeneric"),
        (DeviceAttach::Auto, Xdp::Native, "xdp"),
    ] {
        node.config = orknet_dataplane::Config { device_attach: how, xdp, ..node.config.clone() };
        let dataplane = Dataplane::open(&node.config).unwrap();
        for _ in 0..2 {
            assert_eq!(keep(&node, &dataplane, &[cable]), NONE, "{how:?} {xdp:?}");
        }
        assert_eq!(programs(&node.namespace, "cable"), BOTH, "{how:?}");
        let filters = node.namespace.command("tc", &["filter", "show", "dev", "cable", "ingress"]);
        assert_eq!(filters.contains("from_network"), how == DeviceAttach::Clsact, "{how:?}");
        let shown = node.namespace.command("ip", &["link", "show", "cable"]);
        assert!(shown.split_whitespace().any(|word| word == form), "{xdp:?}: {shown}");
    }
}
