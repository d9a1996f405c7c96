//! Namespace tests of what is written and read: switches under load, restarts, full maps, speed, clean-up.

mod harness;
mod servers;

use harness::{Node, ServiceSpec, put_service};
use orknet_abi::{Backend, BackendKey, Service, ServiceKey, protocol::TCP};
use orknet_compiler::{MapImage, Plan, Step};
use orknet_dataplane::{Config, Dataplane, Error, FailureCause, Reader, cleanup};
use servers::{Servers, tcp_answer};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Instant,
};

const FRONT: &str = "10.96.0.1:80";

fn delete_list(list: u32, slots: u32) -> Plan {
    Plan { steps: (0..slots).map(|slot| Step::DeleteBackend(BackendKey { list, slot })).collect() }
}

/// Closes without the wait that keeps ports from use.
fn reset(stream: TcpStream) {
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

#[test]
fn root_ten_thousand_connections_survive_that_their_lists_are_switched() {
    const CONNECTIONS: u32 = 10_000;
    let node = Node::new("switch");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let spec = ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4);
    dataplane.apply(&put_service(&spec));
    let (done, switches) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for list in 2.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                // Lists of changing length, so that a mixture of two of them would name places that are not there.
                let backends = servers.tcp_v4[..1 + list as usize % 3].to_vec();
                let applied = dataplane.apply(&put_service(&ServiceSpec { list, backends, ..spec.clone() }));
                assert!(applied.failures.is_empty());
                assert!(dataplane.apply(&delete_list(list - 1, 3)).failures.is_empty());
                switches.fetch_add(1, Ordering::Relaxed);
                // Thousands of switches a second, yet not one between any two instructions of a program that was preempted.
                thread::sleep(std::time::Duration::from_micros(100));
            }
        });
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    node.enter();
                    for _ in 0..CONNECTIONS / 2 {
                        reset(TcpStream::connect(FRONT).unwrap());
                    }
                })
            })
            .collect();
        let failed = clients.into_iter().map(|client| client.join()).filter(Result::is_err).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(failed, 0, "a connection failed");
    });
    assert!(switches.load(Ordering::Relaxed) > 100, "only {switches:?} switches");
    let drops = dataplane.reader().drops().unwrap();
    assert!(drops.iter().all(|(_, count)| count.packets == 0), "{drops:?}");
}

#[test]
fn root_a_restart_keeps_maps_and_connections_and_replaces_the_programs() {
    let node = Node::new("restart");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    assert!(!dataplane.adopted());
    dataplane.apply(&put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4)));
    let image = dataplane.reader().image().unwrap();
    let connect = || node.run(|| TcpStream::connect(FRONT).unwrap());
    let mut before = connect();
    let peer = tcp_answer(&mut before);
    let programs = attached_programs(&node);

    drop(dataplane);
    assert_eq!(attached_programs(&node), programs, "hooks stay when the agent goes");
    let mut between = connect();
    tcp_answer(&mut between);

    let dataplane = node.dataplane();
    assert!(dataplane.adopted());
    assert_eq!(dataplane.reader().image().unwrap(), image);
    let replaced = attached_programs(&node);
    assert_eq!(replaced.len(), programs.len(), "one program for each hook, not two");
    assert!(replaced.iter().all(|program| !programs.contains(program)), "{replaced:?} {programs:?}");
    assert_eq!(tcp_answer(&mut before), peer);
    assert_eq!(node.run(|| before.peer_addr().unwrap()).to_string(), FRONT);
    tcp_answer(&mut between);
    tcp_answer(&mut connect());
}

#[test]
fn root_another_versions_hooks_work_until_they_are_retired() {
    let node = Node::new("versions");
    let servers = Servers::start(&node);
    let old = node.dataplane();
    old.apply(&put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4)));
    drop(old);
    let own = format!("v{}", orknet_abi::ABI_VERSION);
    std::fs::rename(node.pin_dir().join(own), node.pin_dir().join("v0")).unwrap();

    let connect = || node.run(|| TcpStream::connect(FRONT));
    let peers =
        |streams: &[TcpStream]| node.run(|| streams.iter().map(|stream| stream.peer_addr().unwrap().to_string()).collect::<Vec<_>>());
    let mut streams = vec![connect().unwrap()];

    let dataplane = node.dataplane();
    assert!(!dataplane.adopted(), "maps of another version are not read");
    assert_eq!(attached_programs(&node).len(), 16);
    streams.push(connect().unwrap());
    tcp_answer(&mut streams[1]);
    dataplane.retire_other_versions().unwrap();
    assert_eq!(peers(&streams), [FRONT; 2], "what sockets speak to is carried over, from before and from in between");
    assert_eq!(attached_programs(&node).len(), 8);
    assert!(!node.pin_dir().join("v0").exists());
    connect().unwrap_err();
    dataplane.apply(&put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4)));
    tcp_answer(&mut connect().unwrap());
}

#[test]
fn root_maps_of_another_layout_or_capacity_work_until_they_are_retired() {
    let mut node = Node::new("misfit");
    let servers = Servers::start(&node);
    let plan = put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4));
    node.dataplane().apply(&plan);
    let maps = node.pin_dir().join(format!("v{}/maps", orknet_abi::ABI_VERSION));
    std::fs::remove_file(maps.join("PODS")).unwrap();
    std::fs::rename(maps.join("AFFINITY"), maps.join("PODS")).unwrap();
    let error = Reader::open(&node.pin_dir()).err().unwrap().to_string();
    assert!(error.contains("maps/PODS does not fit: its kind is 9 instead of 1"), "{error}");
    let connect = || node.run(|| TcpStream::connect(FRONT));
    let mut old = connect().unwrap();

    let asides = [1, 2].map(|number| format!("v{}-{number}", orknet_abi::ABI_VERSION));
    for (capacity, aside) in [65_536, 1_000].into_iter().zip(&asides) {
        node.config.capacities = BTreeMap::from([("SERVICES".to_owned(), capacity)]);
        let dataplane = node.dataplane();
        assert!(!dataplane.adopted() && dataplane.reader().services().unwrap().is_empty());
        assert!(node.pin_dir().join(aside).exists());
        let connect = || node.run(|| TcpStream::connect(FRONT));
        tcp_answer(&mut connect().unwrap());
        dataplane.apply(&plan);
        tcp_answer(&mut connect().unwrap());
    }
    let dataplane = node.dataplane();
    assert!(dataplane.adopted(), "the same capacities again");
    dataplane.retire_other_versions().unwrap();
    assert_eq!(attached_programs(&node).len(), 8);
    let connect = || node.run(|| TcpStream::connect(FRONT));
    tcp_answer(&mut connect().unwrap());
    tcp_answer(&mut old);
    assert!(asides.iter().all(|aside| !node.pin_dir().join(aside).exists()));
}

/// The numbers of the programs on the node's cgroup.
fn attached_programs(node: &Node) -> Vec<u32> {
    let list = harness::command("bpftool", &["cgroup", "show", node.cgroup().to_str().unwrap()]);
    list.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn root_a_restart_under_load_fails_no_connection() {
    let node = Node::new("reload");
    let servers = Servers::start(&node);
    let first = node.dataplane();
    first.apply(&put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4)));
    drop(first);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            node.enter();
            let mut connections = 0;
            while !done.load(Ordering::Relaxed) {
                reset(TcpStream::connect(FRONT).unwrap());
                connections += 1;
            }
            connections
        });
        for _ in 0..10 {
            drop(node.dataplane());
        }
        done.store(true, Ordering::Relaxed);
        assert!(client.join().unwrap() > 100);
    });
}

#[test]
fn root_the_hooks_move_when_another_cgroup_is_named() {
    let node = Node::new("move");
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    dataplane.apply(&put_service(&ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4)));
    let other = Node::new("moved");
    dataplane.attach_cgroup(other.cgroup()).unwrap();
    assert!(attached_programs(&node).is_empty());
    assert_eq!(attached_programs(&other).len(), 8);
    let wrong = dataplane.attach_cgroup(std::path::Path::new("/proc/self"));
    assert!(matches!(wrong, Err(Error::NotACgroup { .. })), "{wrong:?}");
}

#[test]
fn root_maps_are_read_without_an_agent_and_gone_after_cleanup() {
    let node = Node::new("reader");
    let backends: [SocketAddr; 2] = ["127.0.0.11:1".parse().unwrap(), "127.0.0.12:2".parse().unwrap()];
    assert!(matches!(Reader::open(&node.pin_dir()), Err(Error::NotPinned { .. })));
    let dataplane = node.dataplane();
    let spec = ServiceSpec::new(FRONT, TCP, 7, &backends);
    let plan = put_service(&spec);
    dataplane.apply(&plan);
    drop(dataplane);

    let mut wanted = MapImage::default();
    plan.steps.iter().for_each(|step| wanted.apply(step.clone()));
    let reader = Reader::open(&node.pin_dir()).unwrap();
    assert_eq!(reader.image().unwrap(), wanted);
    assert_eq!(reader.services().unwrap()[&spec.key()].count, 2);
    let maps = reader.maps().unwrap();
    let entries: BTreeMap<_, _> = maps.iter().map(|map| (map.name, map.entries)).collect();
    assert_eq!((entries["SERVICES"], entries["BACKENDS"], entries["SOCKETS"], entries["CONNECTIONS"]), (2, 2, 0, 0));
    assert_eq!(maps.iter().map(|map| map.name).collect::<Vec<_>>(), orknet_abi::MAPS.iter().map(|spec| spec.name).collect::<Vec<_>>());
    assert!(reader.holds(&wanted).unwrap());
    let mut other = wanted.clone();
    other.backends.values_mut().next().unwrap().port_be ^= 1;
    assert!(!reader.holds(&other).unwrap() && !reader.holds(&MapImage::default()).unwrap());

    node.namespace.run(|| cleanup(&node.pin_dir())).unwrap();
    assert!(!node.pin_dir().exists());
    assert!(attached_programs(&node).is_empty());
    cleanup(&node.pin_dir()).unwrap();
}

#[test]
fn root_a_full_map_is_reported_and_never_breaks_a_service() {
    let mut node = Node::new("full");
    node.config.capacities = BTreeMap::from([("BACKENDS".to_owned(), 4), ("SERVICES".to_owned(), 3)]);
    let servers = Servers::start(&node);
    let dataplane = node.dataplane();
    let spec = ServiceSpec::new(FRONT, TCP, 1, &servers.tcp_v4);
    assert!(dataplane.apply(&put_service(&spec)).failures.is_empty());

    // Three backends more have no room: the Service must keep the list it has, whatever the plan removes after that.
    let mut switch = put_service(&ServiceSpec { list: 2, ..spec.clone() });
    switch.steps.extend(delete_list(1, 3).steps);
    let applied = dataplane.apply(&switch);
    let causes: Vec<String> = applied.failures.iter().map(ToString::to_string).collect();
    let full = |failure: &&orknet_dataplane::Failure| matches!(failure.cause, FailureCause::Full(4)) && failure.map == "BACKENDS";
    assert_eq!(applied.failures.iter().filter(full).count(), 2, "{causes:?}");
    assert!(
        causes.contains(&"SERVICES 10.96.0.1 port 80 protocol 6 inside: not switched: its backends or sources are incomplete".to_owned()),
        "{causes:?}"
    );
    assert!(causes.contains(&"BACKENDS list 1 slot 0: not removed: a Service still uses it".to_owned()), "{causes:?}");
    node.run(|| (0..20).for_each(|_| drop(tcp_answer(&mut TcpStream::connect(FRONT).unwrap()))));

    // A Service more than fits costs that Service alone.
    let more = dataplane.apply(&put_service(&ServiceSpec::new("10.96.0.9:80", TCP, 9, &[])));
    assert_eq!((more.done, more.failures.len()), (1, 1));
    assert!(matches!(more.failures[0].cause, FailureCause::Full(3)));
}

#[test]
fn root_capacities_that_mean_nothing_are_refused_by_name() {
    let node = Node::new("capacity");
    for (map, message) in
        [("SERVICE", "capacities: SERVICE: there is no such map"), ("CONNECTIONS", "capacities: CONNECTIONS: its size is fixed")]
    {
        let config = Config { capacities: BTreeMap::from([(map.to_owned(), 4)]), ..node.config.clone() };
        assert_eq!(Dataplane::open(&config).err().unwrap().to_string(), message);
    }
}

#[test]
fn root_ten_thousand_services_of_ten_backends_are_written_and_read_in_moments() {
    let node = Node::new("speed");
    let dataplane = node.dataplane();
    let mut image = MapImage::default();
    for list in 0..10_000_u32 {
        for slot in 0..10 {
            let address = orknet_abi::Address::from_v4((0x0af4_0000 + list * 10 + slot).to_be_bytes());
            image.backends.insert(BackendKey { list, slot }, Backend { address, port_be: 8_080_u16.to_be(), reserved: 0 });
        }
        let address = orknet_abi::Address::from_v4((0x0a60_0000 + list).to_be_bytes());
        let key = ServiceKey { address, port_be: 80_u16.to_be(), protocol: TCP, scope: 0 };
        image.services.insert(key, Service { list, count: 10, ..Service::default() });
    }
    let backends = image.backends.iter().map(|(key, value)| Step::PutBackend(*key, *value));
    let services = image.services.iter().map(|(key, value)| Step::PutService(*key, *value));
    let plan = Plan { steps: backends.chain(services).collect() };

    let begun = Instant::now();
    let applied = dataplane.apply(&plan);
    let written = begun.elapsed();
    assert!(applied.failures.is_empty(), "{} failed, first: {}", applied.failures.len(), applied.failures[0]);
    assert_eq!(applied.done, 110_000);

    let begun = Instant::now();
    let read = dataplane.reader().image().unwrap();
    let read_in = begun.elapsed();
    assert!(read == image, "read {} services and {} backends", read.services.len(), read.backends.len());
    println!("110,000 entries: written in {written:?}, read in {read_in:?}");
    // Tenths of a second; more where the host is busy.
    assert!(written.as_secs() < 10 && read_in.as_secs() < 10);
}
