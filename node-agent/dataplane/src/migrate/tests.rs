//! From maps as former versions made them, pinned on a BPF file system of the test's own, into maps of ours.

use super::*;
use crate::bpffs::is_bpffs;
use nix::mount::{MntFlags, umount2};
use orknet_abi::{FlowKey, MAPS, SocketKey, connection_slot, flow_state};
use std::fs;

/// A directory for pins with our maps in it, unmounted when dropped.
struct Pinned {
    folder: tempfile::TempDir,
    pins: Pins,
    tables: Tables,
}

impl Pinned {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        bpffs::ensure(folder.path()).unwrap();
        let pins = Pins::new(folder.path());
        pins.make().unwrap();
        for spec in MAPS {
            let capacity = if spec.kind == MapKind::Array { spec.capacity } else { 64 };
            MapFile::create(spec.kind, spec.key_size, spec.value_size, capacity).unwrap().pin(&pins.map(spec.name)).unwrap();
        }
        let tables = Tables::open(&pins, false).unwrap();
        Self { folder, pins, tables }
    }

    /// Makes a map of another directory, of any layout.
    fn other(&self, version: &str, spec: &MapSpec, key_size: u32, value_size: u32) -> MapFile {
        let maps = self.folder.path().join(version).join("maps");
        fs::create_dir_all(&maps).unwrap();
        let capacity = if spec.kind == MapKind::Array { spec.capacity } else { 64 };
        let made = MapFile::create(spec.kind, key_size, value_size, capacity).unwrap();
        made.pin(&maps.join(spec.name)).unwrap();
        made
    }

    fn carry_over(&self) {
        carry_over(self.folder.path(), &self.pins, &self.tables).unwrap();
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if is_bpffs(self.folder.path()).unwrap() {
            umount2(self.folder.path(), MntFlags::MNT_DETACH).unwrap();
        }
    }
}

fn v4(last: u8) -> Address {
    Address::from_v4([10, 0, 0, last])
}

fn connection(cookie: u64) -> Connection {
    Connection { cookie, address: v4(1), backend: v4(2), port_be: 80, backend_port_be: 8_080, reserved: 0 }
}

#[test]
fn root_what_version_1_knew_of_sockets_and_clients_is_known_to_ours() {
    let given = Pinned::new();
    let socket = SocketKey { cookie: 7, address: v4(2), port_be: 53, reserved: [0; 3] };
    let origin = SocketOrigin { address: v4(1), port_be: 53, reserved: 0 };
    given.other("v1", &abi::SOCKETS, 32, 20).put_one(&socket, origin, When::Any).unwrap();
    given.other("v1", &abi::CONNECTIONS, 4, 48).put_one(&connection_slot(9), connection(9), When::Any).unwrap();
    let key =
        AffinityKeyV1 { cookie: 0x0102_0304, address: v4(1), port_be: 80, protocol: 6, client_kind: client_kind::NAMESPACE, reserved: 0 };
    let choice = AffinityChoice { address: v4(2), port_be: 8_080, reserved: 0, list: 3, slot: 1, used_seconds: 100 };
    let clients = given.other("v1", &abi::AFFINITY, 32, 32);
    clients.put_one(&key, choice, When::Any).unwrap();
    clients.put_one(&AffinityKeyV1 { client_kind: client_kind::SOCKET, ..key }, choice, When::Any).unwrap();
    given.carry_over();
    assert_eq!(given.tables.sockets.get_single(&socket).unwrap(), Some(origin));
    assert_eq!(given.tables.connections.get_single(&connection_slot(9)).unwrap(), Some(connection(9)));
    let mut client = [0; 16];
    client[..8].copy_from_slice(&0x0102_0304_u64.to_ne_bytes());
    let widened = AffinityKey { client: Address(client), address: v4(1), port_be: 80, protocol: 6, client_kind: client_kind::NAMESPACE };
    let kept = AffinityChoice { list: 0, slot: 0, ..choice };
    assert_eq!(given.tables.affinity.get_single(&widened).unwrap(), Some(kept), "no list has number 0");
    let of_socket = AffinityKey { client_kind: client_kind::SOCKET, ..widened };
    assert_eq!(given.tables.datagrams.get_single(&of_socket).unwrap(), Some(kept), "sockets have a map of their own");
    let entries = [given.tables.sockets.entries(), given.tables.datagrams.entries(), given.tables.affinity.entries()];
    assert_eq!(entries.map(Result::unwrap), [1; 3]);
}

#[test]
fn root_what_was_set_aside_for_its_capacity_gives_its_flows_and_repeating_that_loses_nothing() {
    let given = Pinned::new();
    let aside = given.other("v2-1", &abi::FLOWS, 40, 96);
    let flow = |used_seconds| Flow { state: flow_state::FORWARD, used_seconds, ..Flow::default() };
    let key = |port| FlowKey { source_port_be: port, ..FlowKey::default() };
    given.other("v2-1", &abi::TRANSLATED, 4, 4).put_one(&0_u32, 1_u32, When::Any).unwrap();
    for (port, used) in [(1, 10), (2, 10), (3, 10)] {
        aside.put_one(&key(port), flow(used), When::Any).unwrap();
    }
    given.carry_over();
    // Both go on: the old programs with the first flow and a new one, ours with the second.
    given.tables.flows.put_one(&key(2), flow(20)).unwrap();
    for (port, used) in [(1, 30), (4, 30)] {
        aside.put_one(&key(port), flow(used), When::Any).unwrap();
    }
    given.carry_over();
    let used = |port| given.tables.flows.get_single(&key(port)).unwrap().unwrap().used_seconds;
    assert_eq!([1, 2, 3, 4].map(used), [30, 20, 10, 30]);
    assert_eq!(given.tables.flows.entries().unwrap(), 4);
    assert_eq!(given.tables.translated.get_single(&0).unwrap(), Some(1), "packets of pods are looked at, for the flows' sake");
}

#[test]
fn root_flows_of_programs_that_are_gone_are_forgotten_and_ours_are_not() {
    let given = Pinned::new();
    let key = |port| FlowKey { source_port_be: port, ..FlowKey::default() };
    let aside = given.other("v2-1", &abi::FLOWS, 40, 96);
    for port in 0..60 {
        aside.put_one(&key(port), Flow::default(), When::Any).unwrap();
    }
    let version = given.folder.path().join("v2-1");
    assert_eq!(former_flows(given.folder.path(), &given.pins).unwrap(), Some(version.join("maps/FLOWS")));
    given.tables.flows.put_one(&key(1), Flow::default()).unwrap();
    forget_flows(&version, &given.tables, |_, _| true).unwrap();
    let mut left = 0;
    aside.read_all(|_: FlowKey, _: &[Flow]| left += 1).unwrap();
    assert_eq!((left, given.tables.flows.entries().unwrap()), (0, 1));
    // One that is shared is ours.
    fs::remove_file(version.join("maps/FLOWS")).unwrap();
    MapFile::open(&given.pins.map("FLOWS"), false).unwrap().pin(&version.join("maps/FLOWS")).unwrap();
    forget_flows(&version, &given.tables, |_, _| true).unwrap();
    assert_eq!(given.tables.flows.entries().unwrap(), 1);
    assert_eq!(former_flows(given.folder.path(), &given.pins).unwrap(), None);
}

#[test]
fn root_the_younger_of_two_sockets_has_the_slot_and_the_newest_maps_count_most() {
    let given = Pinned::new();
    let slots = abi::CONNECTIONS.capacity;
    let old = given.other("v1", &abi::CONNECTIONS, 4, 48);
    for cookie in [5, 6, u64::from(slots) + 7] {
        old.put_one(&connection_slot(cookie), connection(cookie), When::Any).unwrap();
    }
    let ours = [u64::from(slots) + 5, 7];
    ours.iter().for_each(|cookie| given.tables.connections.put_one(&connection_slot(*cookie), connection(*cookie)).unwrap());
    given.carry_over();
    let cookie = |slot| given.tables.connections.get_single(&slot).unwrap().unwrap().cookie;
    assert_eq!([5, 6, 7].map(cookie), [u64::from(slots) + 5, 6, u64::from(slots) + 7]);
    let socket = SocketKey { cookie: 1, ..SocketKey::default() };
    let origin = |last| SocketOrigin { address: v4(last), ..SocketOrigin::default() };
    for (version, last) in [("v1", 1), ("v2-2", 3), ("v2-1", 2)] {
        given.other(version, &abi::SOCKETS, 32, 20).put_one(&socket, origin(last), When::Any).unwrap();
    }
    given.carry_over();
    assert_eq!(given.tables.sockets.get_single(&socket).unwrap(), Some(origin(3)));
}

#[test]
fn root_maps_of_unknown_layouts_give_nothing_and_stop_nothing() {
    let given = Pinned::new();
    given.other("v99", &abi::AFFINITY, 64, 8);
    given.other("v99", &abi::FLOWS, 40, 56);
    fs::create_dir_all(given.folder.path().join("v98/maps/SOCKETS")).unwrap();
    given.other("v97", &abi::CONNECTIONS, 4, 48).put_one(&connection_slot(3), connection(3), When::Any).unwrap();
    given.carry_over();
    assert_eq!(given.tables.connections.get_single(&connection_slot(3)).unwrap(), Some(connection(3)));
    assert_eq!(
        given.tables.flows.entries().unwrap() + given.tables.affinity.entries().unwrap() + given.tables.sockets.entries().unwrap(),
        0
    );
}

#[test]
fn root_maps_that_mean_the_same_are_shared_and_outlive_the_version_that_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let given = Unmade { pins: Pins::new(folder.path()), folder };
    bpffs::ensure(given.folder.path()).unwrap();
    given.pins.make().unwrap();
    let made = |version: &str, spec: &MapSpec, capacity: u32| {
        let maps = given.folder.path().join(version).join("maps");
        fs::create_dir_all(&maps).unwrap();
        let map = MapFile::create(spec.kind, spec.key_size, spec.value_size, capacity).unwrap();
        map.pin(&maps.join(spec.name)).unwrap();
        map.shape().id
    };
    let sockets = made("v1", &abi::SOCKETS, 64);
    // Another capacity, a version that was older than the map's meaning, and a newer map that goes before.
    made("v1", &abi::CONNECTIONS, 32);
    made("v1", &abi::FLOWS, 64);
    made("v2-1", &abi::AFFINITY, 64);
    let affinity = made("v2-2", &abi::AFFINITY, 64);
    let translated = made("v2-2", &abi::TRANSLATED, 1);
    share(given.folder.path(), &given.pins, |spec| spec.capacity.min(64)).unwrap();
    let shared = |spec: &MapSpec| MapFile::open(&given.pins.map(spec.name), true).ok().map(|map| map.shape().id);
    assert_eq!((shared(&abi::SOCKETS), shared(&abi::AFFINITY)), (Some(sockets), Some(affinity)));
    assert_eq!(shared(&abi::TRANSLATED), Some(translated));
    assert_eq!((shared(&abi::CONNECTIONS), shared(&abi::FLOWS)), (None, None));
    crate::cleanup::remove_maps(&given.folder.path().join("v1")).unwrap();
    assert_eq!(shared(&abi::SOCKETS), Some(sockets));
}

/// A directory on a BPF file system without maps of ours, unmounted when dropped.
struct Unmade {
    pins: Pins,
    folder: tempfile::TempDir,
}

impl Drop for Unmade {
    fn drop(&mut self) {
        umount2(self.folder.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn root_flows_of_a_map_that_takes_memory_as_it_fills_go_into_one_that_has_it_from_the_start() {
    for grows in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let capacities = [(abi::FLOWS.name.to_owned(), 1_000)].into();
        let config = crate::Config { pin_dir: folder.path().join("bpf"), capacities, ..crate::Config::default() };
        bpffs::ensure(&config.pin_dir).unwrap();
        let version = config.pin_dir.join("v2");
        ["maps", "links"].iter().for_each(|folder| fs::create_dir_all(version.join(folder)).unwrap());
        let theirs = MapFile::create_growing(grows, MapKind::Hash, 40, 96, 1_000).unwrap();
        theirs.pin(&version.join("maps").join(abi::FLOWS.name)).unwrap();
        let key = FlowKey { source_port_be: 1, ..FlowKey::default() };
        theirs.put_one(&key, Flow { used_seconds: 7, ..Flow::default() }, When::Any).unwrap();
        let dataplane = crate::Dataplane::open(&config).unwrap();
        let ours = MapFile::open(&Pins::new(&config.pin_dir).map(abi::FLOWS.name), true).unwrap();
        assert_eq!((ours.shape().grows(), ours.shape().id == theirs.shape().id), (false, !grows));
        assert_eq!(dataplane.reader().tables().flows.get_single(&key).unwrap().map(|flow| flow.used_seconds), Some(7));
        drop(dataplane);
        assert!(crate::Dataplane::open(&config).unwrap().adopted(), "every map is as it would be made");
        crate::cleanup(&config.pin_dir).unwrap();
    }
}

#[test]
fn root_an_upgrade_from_version_1_knows_what_that_knew_and_what_it_learns_until_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::Config { pin_dir: folder.path().join("bpf"), ..crate::Config::default() };
    bpffs::ensure(&config.pin_dir).unwrap();
    // As version 1 made them: names, kinds, sizes.
    let layout = [
        ("SERVICES", MapKind::Hash, 20, 16),
        ("BACKENDS", MapKind::Hash, 8, 20),
        ("RANGES", MapKind::LpmTrie, 20, 4),
        ("CONNECTIONS", MapKind::Array, 4, 48),
        ("SOCKETS", MapKind::LruHash, 32, 20),
        ("AFFINITY", MapKind::LruHash, 32, 32),
        ("PODS", MapKind::Hash, 16, 16),
        ("DROPS", MapKind::PerCpuArray, 4, 16),
        ("TRAFFIC", MapKind::PerCpuHash, 8, 16),
    ];
    let maps = config.pin_dir.join("v1/maps");
    fs::create_dir_all(&maps).unwrap();
    fs::create_dir_all(config.pin_dir.join("v1/links")).unwrap();
    let old: std::collections::BTreeMap<_, _> = layout
        .into_iter()
        .map(|(name, kind, key, value)| {
            let capacity = if kind == MapKind::Array { abi::CONNECTIONS.capacity } else { 64 };
            let map = MapFile::create(kind, key, value, capacity).unwrap();
            map.pin(&maps.join(name)).unwrap();
            (name, map)
        })
        .collect();
    let socket = |cookie| SocketKey { cookie, address: v4(2), port_be: 53, reserved: [0; 3] };
    let origin = SocketOrigin { address: v4(1), port_be: 53, reserved: 0 };
    let learn = |cookie: u64| {
        old["SOCKETS"].put_one(&socket(cookie), origin, When::Any).unwrap();
        old["CONNECTIONS"].put_one(&connection_slot(cookie), connection(cookie), When::Any).unwrap();
    };
    learn(1);
    let dataplane = crate::Dataplane::open(&config).unwrap();
    let tables = dataplane.reader().tables();
    let known = |cookie| {
        let slot = tables.connections.get_single(&connection_slot(cookie)).unwrap().unwrap();
        (tables.sockets.get_single(&socket(cookie)).unwrap().is_some(), slot.cookie == cookie)
    };
    assert_eq!((known(1), known(2)), ((true, true), (false, false)));
    assert!(!dataplane.adopted(), "what plans write comes from plans");
    learn(2);
    dataplane.retire_other_versions().unwrap();
    assert_eq!((known(1), known(2)), ((true, true), (true, true)));
    assert!(!config.pin_dir.join("v1").exists());
    crate::cleanup(&config.pin_dir).unwrap();
    assert!(!config.pin_dir.exists());
}
