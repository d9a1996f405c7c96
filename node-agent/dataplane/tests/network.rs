//! Programs on devices that lead to the network: exactly where they are wanted, by links or filters, whatever becomes of the devices.

mod harness;

use aya::programs::{SchedClassifier, TcAttachType};
use harness::{Namespace, Node};
use orknet_abi::device_takes;
use orknet_dataplane::{Dataplane, DeviceAttach, Hook, TroubleKind, Xdp, is_attached};
use std::collections::BTreeSet;

/// A device without addresses; its index.
fn device(namespace: &Namespace, name: &str) -> u32 {
    namespace.command("ip", &["link", "add", name, "type", "veth", "peer", "name", &format!("to-{name}")]);
    namespace.run(|| nix::net::if_::if_nametoindex(name).unwrap())
}

/// Has this end of a veth pair take the frames that the other end's driver sends back.
fn hear(namespace: &Namespace, name: &str) {
    namespace.command("ip", &["link", "set", name, "up"]);
    namespace.command("ethtool", &["-K", name, "gro", "on"]);
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

/// Index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;
const BOTH: [&str; 2] = ["from_network", "to_network"];
const NONE: [&str; 0] = [];

#[test]
fn root_programs_follow_the_wanted_devices_by_links_and_by_filters() {
    for how in [DeviceAttach::Auto, DeviceAttach::Clsact] {
        let mut node = Node::new("follow");
        node.config.device_attach = how;
        let (first, second) = (device(&node.namespace, "first"), device(&node.namespace, "second"));
        let told = |device: u32| {
            let hooks = [Hook::FromNetwork, Hook::ToNetwork];
            hooks.map(|hook| node.namespace.run(|| is_attached(&node.pin_dir(), hook, device).unwrap()))
        };
        let dataplane = Dataplane::open(&node.config).unwrap();
        assert_eq!((told(first), told(LOOPBACK), told(u32::MAX >> 1)), ([false; 2], [false; 2], [false; 2]), "{how:?}");
        for _ in 0..2 {
            assert_eq!(keep(&node, &dataplane, &[first, second]), NONE, "{how:?}");
        }
        assert_eq!((told(first), told(second), told(LOOPBACK)), ([true; 2], [true; 2], [false; 2]), "{how:?}");
        assert_eq!(
            (programs(&node.namespace, "first"), programs(&node.namespace, "second")),
            (BOTH.map(str::to_owned).to_vec(), BOTH.map(str::to_owned).to_vec())
        );
        assert_eq!(keep(&node, &dataplane, &[second]), NONE);
        assert_eq!((programs(&node.namespace, "first").len(), programs(&node.namespace, "second").len()), (0, 2), "{how:?}");
        assert_eq!((told(first), told(second)), ([false; 2], [true; 2]), "the discipline of {how:?} stays without filters");
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
        hear(&node.namespace, "to-cable");
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
    hear(&node.namespace, "to-cable");
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

/// What programs know of a device: whether they serve its frames, and what it takes from others.
fn known(node: &Node, ifindex: u32) -> Option<(bool, u8)> {
    let path = node.pin_dir().join(format!("v{}/maps/DEVICES", orknet_abi::ABI_VERSION));
    let map = aya::maps::Map::HashMap(aya::maps::MapData::from_pin(path).unwrap());
    let devices: aya::maps::HashMap<_, u32, [u8; 8]> = map.try_into().unwrap();
    devices.get(&ifindex, 0).ok().map(|value| (value[..6] != [0; 6], value[6]))
}

const ALL: u8 = device_takes::FRAMES | device_takes::PIECES;

#[test]
fn root_what_a_veth_device_could_not_send_back_is_left_to_the_stack_until_the_other_end_hears() {
    let mut node = Node::new("deaf");
    node.config.xdp = Xdp::Native;
    let cable = device(&node.namespace, "cable");
    let dataplane = Dataplane::open(&node.config).unwrap();
    for _ in 0..2 {
        let troubles = keep(&node, &dataplane, &[cable]);
        assert!(troubles.len() == 1 && troubles[0].starts_with("cable: frames are served by the stack's programs"), "{troubles:?}");
        assert!(troubles[0].contains("`ethtool -K NAME gro on`"), "{troubles:?}");
        assert_eq!(known(&node, cable), Some((false, ALL)));
    }
    hear(&node.namespace, "to-cable");
    assert_eq!(keep(&node, &dataplane, &[cable]), NONE);
    assert_eq!(known(&node, cable), Some((true, ALL)));
}

#[test]
fn root_a_driver_that_runs_no_programs_is_named_and_a_setting_that_does_without_ends_it() {
    for (how, said, is_served) in [
        (Xdp::Native, Some("bridge: frames are served by the stack's programs, not by XDP, since its driver runs no XDP programs"), false),
        (Xdp::Auto, Some("bridge: XDP takes the kernel's generic way, since its driver runs no XDP programs"), true),
        (Xdp::Generic, None, true),
    ] {
        let mut node = Node::new("driverless");
        node.config.xdp = how;
        node.namespace.command("ip", &["link", "add", "bridge", "type", "bridge"]);
        let bridge = node.namespace.run(|| nix::net::if_::if_nametoindex("bridge").unwrap());
        let dataplane = Dataplane::open(&node.config).unwrap();
        // Not only at first: it lasts.
        for _ in 0..3 {
            let troubles = keep(&node, &dataplane, &[bridge]);
            assert_eq!(troubles.len(), usize::from(said.is_some()), "{how:?} {troubles:?}");
            assert!(
                said.is_none_or(|said| troubles[0].starts_with(said) && troubles[0].contains("set dataplane.xdp: generic")),
                "{troubles:?}"
            );
            assert_eq!(programs(&node.namespace, "bridge"), BOTH, "Services are served all the same");
            assert_eq!(known(&node, bridge).is_some(), is_served, "{how:?}");
        }
    }
}

#[test]
fn root_a_tunnel_has_no_driver_and_nobody_misses_one() {
    for (how, is_served) in [(Xdp::Native, false), (Xdp::Auto, true)] {
        let mut node = Node::new("tunnel");
        node.config.xdp = how;
        node.namespace.command("ip", &["link", "add", "tunnel", "type", "vxlan", "external", "dstport", "4789"]);
        let tunnel = node.namespace.run(|| nix::net::if_::if_nametoindex("tunnel").unwrap());
        let dataplane = Dataplane::open(&node.config).unwrap();
        assert_eq!(keep(&node, &dataplane, &[tunnel]), NONE, "{how:?}");
        assert_eq!(known(&node, tunnel).is_some(), is_served, "{how:?}");
    }
}

#[test]
fn root_frames_are_redirected_only_where_drivers_take_them() {
    let mut node = Node::new("takers");
    node.config.xdp = Xdp::Native;
    let (hears, deaf) = (device(&node.namespace, "hears"), device(&node.namespace, "deaf"));
    hear(&node.namespace, "to-hears");
    let dataplane = Dataplane::open(&node.config).unwrap();
    assert_eq!(keep(&node, &dataplane, &[hears, deaf]).len(), 1);
    assert_eq!((known(&node, hears), known(&node, deaf)), (Some((true, ALL)), Some((false, 0))));
    assert_eq!(keep(&node, &dataplane, &[deaf]).len(), 1);
    assert_eq!(known(&node, deaf), Some((false, ALL)), "nobody is there whose frames it would not take");
}

/// A device takes one program for frames from the wire: it is another's until that one goes.
#[test]
fn root_another_program_on_the_wire_is_named_and_ours_comes_when_it_goes() {
    let mut node = Node::new("upgrade");
    node.config.xdp = Xdp::Generic;
    let cable = device(&node.namespace, "cable");
    let old = Dataplane::open(&node.config).unwrap();
    assert_eq!(keep(&node, &old, &[cable]), NONE);
    drop(old);
    let own = format!("v{}", orknet_abi::ABI_VERSION);
    std::fs::rename(node.pin_dir().join(own), node.pin_dir().join("v0")).unwrap();
    let dataplane = Dataplane::open(&node.config).unwrap();
    let keep_kinds = || {
        let troubles = node.namespace.run(|| dataplane.keep_network_devices(&BTreeSet::from([cable])));
        troubles.into_values().map(|trouble| (trouble.kind, trouble.why)).collect::<Vec<_>>()
    };
    assert_eq!(keep_kinds(), [(TroubleKind::NotBeforeStack, "another XDP program is there".to_owned())]);
    assert!(!TroubleKind::NotBeforeStack.is_failure(), "else nobody would ever retire it");
    assert_eq!(programs(&node.namespace, "cable").len(), 4, "the other version's, and ours");
    node.namespace.run(|| dataplane.retire_other_versions()).unwrap();
    assert_eq!(keep_kinds(), []);
    assert_eq!((programs(&node.namespace, "cable"), known(&node, cable)), (BOTH.map(str::to_owned).to_vec(), Some((true, ALL))));
}
