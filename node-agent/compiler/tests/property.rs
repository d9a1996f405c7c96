//! Property tests: any sequence of changes ends in the image of one full compile, every prefix of every plan is safe, and a restart
//! that finds the kernel as it was left rewrites nothing.

mod course;

use course::Course;
use orknet_abi::{
    Address, Backend, BackendKey, Node, Pod, PodKey, Range, RangeKey, Service, ServiceKey, SourceKey, TableChunk, TableKey, protocol,
};
use orknet_compiler::facts::{Endpoint, ExternalFacts, Hints, Readiness, ServicePort, SlicePort};
use orknet_compiler::{
    Attachment, Change, HostPort, Inputs, Lead, MapImage, NodeFacts, ObjectName, Options, ServiceFacts, SliceFacts, State, compile,
};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

fn name(prefix: &str, number: u8) -> Arc<str> {
    format!("{prefix}{number}").into()
}

fn object(prefix: &str, number: u8) -> ObjectName {
    ObjectName { namespace: name("ns", number % 2), name: name(prefix, number / 2) }
}

fn address(v6: bool, last: u8) -> Address {
    if v6 { Address([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, last]) } else { Address::from_v4([10, 0, 1, last]) }
}

fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![Just(protocol::TCP), Just(protocol::UDP), Just(protocol::SCTP)]
}

/// Few addresses and ports, so that Services often claim the same one: cluster addresses end in 0 to 3, external ones in 2 to 6, the
/// node's in 5 to 7.
fn service() -> impl Strategy<Value = ServiceFacts> {
    let port = (0..3u8, protocols(), 1..4u16, 0..5u16);
    let port = port.prop_map(|(n, protocol, port, node_port)| ServicePort { name: name("p", n), protocol, port, node_port });
    let shape = (0..4u8, any::<bool>(), any::<bool>(), vec(port, 0..4), any::<bool>(), 0..3u32, weighted(0.2, Just(())));
    (shape, of(external())).prop_map(|((last, v4, v6, mut ports, internal_local, affinity_seconds, foreign), external)| {
        let mut seen = HashSet::new();
        ports.retain(|port| seen.insert((port.protocol, port.port)));
        let families = [(v4, false), (v6, true)];
        ServiceFacts {
            cluster_addresses: families.into_iter().filter(|(wanted, _)| *wanted).map(|(_, v6)| address(v6, last)).collect(),
            ports: if foreign.is_some() { Box::default() } else { ports.into() },
            internal_local,
            affinity_seconds,
            is_foreign: foreign.is_some(),
            external: external.filter(|_| foreign.is_none()).map(Box::new),
        }
    })
}

fn external() -> impl Strategy<Value = ExternalFacts> {
    let addresses = || vec((any::<bool>(), 2..7u8), 0..3).prop_map(|all| all.into_iter().map(|(v6, last)| address(v6, last)).collect());
    let sources = of(vec((any::<bool>(), 0..2u8), 0..3));
    (addresses(), addresses(), any::<bool>(), sources, 0..2u16).prop_map(|(balancer_addresses, addresses, local, sources, health_port)| {
        let range = |(v6, n): (bool, u8)| RangeKey::new(address(v6, n).into(), if v6 { 112 } else { 24 + n });
        let sources =
            sources.map(|sources| sources.into_iter().map(range).collect::<std::collections::BTreeSet<_>>().into_iter().collect());
        ExternalFacts { balancer_addresses, addresses, local, sources, health_port }
    })
}

fn hints() -> impl Strategy<Value = Hints> {
    (vec(0..2u8, 0..2), vec(0..2u8, 0..2)).prop_map(|(zones, nodes)| Hints {
        zones: zones.into_iter().map(|n| name("zone", n)).collect(),
        nodes: nodes.into_iter().map(|n| name("node", n)).collect(),
    })
}

fn slice() -> impl Strategy<Value = SliceFacts> {
    let readiness = prop_oneof![Just(Readiness::No), Just(Readiness::ServingTerminating), Just(Readiness::Ready)];
    let endpoint = (10..16u8, of(0..3u8), readiness, of(hints()));
    let port = (0..3u8, protocols(), 1..3u16).prop_map(|(n, protocol, port)| SlicePort { name: name("p", n), protocol, port });
    (0..4u8, any::<bool>(), vec(port, 0..4), vec(endpoint, 0..6)).prop_map(|(service, v6, ports, endpoints)| SliceFacts {
        service: name("s", service),
        ports: ports.into(),
        endpoints: endpoints
            .into_iter()
            .map(|(last, node, readiness, hints)| Endpoint {
                address: address(v6, last),
                node: node.map(|n| name("node", n)),
                readiness,
                hints: hints.filter(|hints| *hints != Hints::default()).map(Box::new),
            })
            .collect(),
    })
}

fn node() -> impl Strategy<Value = NodeFacts> {
    let addresses = || vec((any::<bool>(), 5..8u8), 0..3).prop_map(|all| all.into_iter().map(|(v6, last)| address(v6, last)).collect());
    (0..2u8, of(0..2u8), addresses(), addresses()).prop_map(|(n, zone, addresses, other_addresses)| NodeFacts {
        name: name("node", n),
        zone: zone.map(|n| name("zone", n)),
        addresses,
        other_addresses,
    })
}

/// Some sizes can be no tables'.
fn settings() -> impl Strategy<Value = Node> {
    let size = prop_oneof![Just(0), Just(2), Just(7), Just(8), Just(491), Just(499)];
    (0..3u16, size).prop_map(|(first_port, table_size)| Node { first_port, table_size, ..Node::default() })
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let own = (weighted(0.5, (any::<bool>(), 4..7u8)), protocols(), 1..5u16);
    let host_port = own.prop_map(|(own, protocol, port)| HostPort {
        address: own.map(|(v6, last)| if last == 4 { Address::from_v4([0; 4]) } else { address(v6, last) }),
        port,
        protocol,
        container_port: 80,
    });
    (vec((any::<bool>(), 20..24u8), 0..3), 1..4u32, vec(host_port, 0..3)).prop_map(|(own, ifindex, host_ports)| Attachment {
        addresses: own.into_iter().map(|(v6, last)| address(v6, last)).collect(),
        pod: Pod { ifindex, ..Pod::default() },
        host_ports,
        owner: None,
    })
}

/// Ranges that overlap, of both families.
fn ranges() -> impl Strategy<Value = BTreeMap<RangeKey, Range>> {
    let range = (any::<bool>(), 0..3u8).prop_map(|(v6, n)| RangeKey::new(address(v6, 0).into(), if v6 { 112 + n } else { 24 + n }));
    vec((range, 0..3u32), 0..3)
        .prop_map(|ranges| ranges.into_iter().map(|(key, kinds)| (key, Range { kinds, ..Range::default() })).collect())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..8u8, weighted(0.7, service())).prop_map(|(n, facts)| Change::Service(object("s", n), facts)),
        6 => (0..8u8, weighted(0.8, slice())).prop_map(|(n, facts)| Change::Slice(object("slice", n), facts)),
        1 => node().prop_map(Change::Node),
        1 => ranges().prop_map(Change::Ranges),
        1 => settings().prop_map(Change::Settings),
        1 => (any::<bool>(), vec((any::<bool>(), 0..3u8), 0..2), prop_oneof![0..4u32, Just(u32::MAX)]).prop_map(|(loopback_ports, ranges, table_room)| {
            let range = |(v6, n)| RangeKey::new(address(v6, n).into(), if v6 { 128 - n } else { 32 - n });
            Change::Options(Options { loopback_ports, node_port_ranges: ranges.into_iter().map(range).collect(), table_room })
        }),
        2 => (0..4u8, weighted(0.7, attachment())).prop_map(|(n, facts)| Change::Attachment(name("c", n), facts)),
    ]
}

/// Contents that some other process may have left: broken, shared, orphaned.
fn leftovers() -> impl Strategy<Value = MapImage> {
    let number = || prop_oneof![0..4u32, Just(u32::MAX)];
    let key = (any::<bool>(), 0..8u8, 0..4u16, protocols(), 0..2u8);
    let services = vec((key, number(), 0..3u32, number(), number()), 0..6);
    let backends = vec((number(), 0..3u32, 10..16u8), 0..10);
    let parts = (vec((number(), 0..3u32, 0..3u16), 0..4), vec((number(), any::<bool>(), 0..2u8), 0..4));
    (services, backends, parts, vec(20..26u8, 0..3), ranges(), of(settings())).prop_map(
        |(services, backends, (tables, sources), pods, ranges, node)| {
            let mut image = MapImage { ranges, node: node.filter(|node| *node != Node::default()), ..MapImage::default() };
            for ((v6, last, port, protocol, scope), list, count, table, sources) in services {
                let key = ServiceKey { address: address(v6, last), port_be: port.to_be(), protocol, scope };
                image.services.insert(key, Service { list, count, table, sources, ..Service::default() });
            }
            for (list, slot, last) in backends {
                let backend = Backend { address: address(false, last), port_be: 1u16.to_be(), reserved: 0 };
                image.backends.insert(BackendKey { list, slot }, backend);
            }
            for (table, chunk, slot) in tables {
                let mut slots = TableChunk::default();
                slots.slots[0] = slot;
                image.tables.insert(TableKey { table, chunk }, Arc::new(slots));
            }
            let range = |v6, n| RangeKey::new(address(v6, n).into(), if v6 { 112 } else { 24 + n });
            image.sources.extend(sources.into_iter().map(|(set, v6, n)| SourceKey::new(set, &range(v6, n))));
            image.pods.extend(pods.into_iter().map(|last| (PodKey { address: address(false, last) }, Pod::default())));
            image
        },
    )
}

fn put(inputs: &mut Inputs, change: Change) {
    match change {
        Change::Service(name, Some(facts)) => drop(inputs.services.insert(name, facts)),
        Change::Service(name, None) => drop(inputs.services.remove(&name)),
        Change::Slice(name, Some(facts)) => drop(inputs.slices.insert(name, facts)),
        Change::Slice(name, None) => drop(inputs.slices.remove(&name)),
        Change::Node(facts) => inputs.node = facts,
        Change::Attachment(name, Some(facts)) => {
            inputs.attachments.retain(|_, other| !other.collides_with(&facts));
            inputs.attachments.insert(name, facts);
        }
        Change::Attachment(name, None) => drop(inputs.attachments.remove(&name)),
        Change::Ranges(ranges) => inputs.ranges = ranges,
        Change::Settings(node) => inputs.settings = Some(node).filter(|node| *node != Node::default()),
        Change::Options(options) => inputs.options = options,
        other => unreachable!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_in_the_image_of_one_compile_and_every_step_is_safe(bursts in vec(vec(change(), 1..6), 1..20)) {
        let mut course = Course::new(put);
        for burst in bursts {
            course.go_soundly(burst)?;
            course.is_one_compile()?;
            let Course { inputs, state, maps, .. } = &course;
            prop_assert_eq!(state.service_count(), inputs.services.len());
            for (key, service) in maps.services.iter().filter(|(key, _)| key.port_be != 0) {
                let question = |backend| Lead { front: key.address, front_port_be: key.port_be, protocol: key.protocol, backend };
                let backends = maps.list(service.list).take(service.count as usize).map(|(_, backend)| backend);
                let strange = Backend { port_be: 99, ..Backend::default() };
                let questions: Vec<_> = backends.chain([strange]).map(question).collect();
                let answers: Vec<_> = questions.iter().map(|question| question.backend != strange).collect();
                prop_assert_eq!(state.lead(&questions), answers, "{:?}", key);
            }
        }
    }

    #[test]
    fn a_restart_rewrites_nothing_and_goes_on(before in vec(change(), 1..30), after in vec(change(), 1..10)) {
        let mut course = Course::new(put);
        course.go(before);
        let inputs = &course.inputs;
        let mut second = State::new(inputs.node.clone());
        second.adopt(course.maps.clone());
        inputs.services.iter().for_each(|(name, facts)| second.note(Change::Service(name.clone(), Some(facts.clone()))));
        inputs.slices.iter().for_each(|(name, facts)| second.note(Change::Slice(name.clone(), Some(facts.clone()))));
        inputs.attachments.iter().for_each(|(name, facts)| second.note(Change::Attachment(name.clone(), Some(facts.clone()))));
        second.note(Change::Ranges(inputs.ranges.clone()));
        second.note(Change::Options(inputs.options.clone()));
        inputs.settings.iter().for_each(|node| second.note(Change::Settings(*node)));
        prop_assert_eq!(second.plan().steps, vec![]);
        course.state = second;
        course.go(after);
        course.is_one_compile()?;
    }

    #[test]
    fn whatever_the_maps_hold_becomes_what_is_wanted(found in leftovers(), changes in vec(change(), 0..20)) {
        let mut course = Course::new(put);
        course.go_over(changes, found);
        course.is_one_compile()?;
    }

    #[test]
    fn lists_tables_and_sets_are_never_rewritten(bursts in vec(vec(change(), 1..4), 1..15)) {
        let (mut state, mut maps) = (State::default(), MapImage::default());
        for burst in bursts {
            let before = maps.clone();
            state.apply(burst).steps.into_iter().for_each(|step| maps.apply(step));
            for (key, backend) in &maps.backends {
                let in_old_list = before.list(key.list).next().is_some();
                prop_assert!(!in_old_list || before.backends.get(key) == Some(backend), "list {} changed", key.list);
            }
            for (key, chunk) in &maps.tables {
                let in_old_table = before.table(key.table).next().is_some();
                prop_assert!(!in_old_table || before.tables.get(key) == Some(chunk), "table {} changed", key.table);
            }
            for key in &maps.sources {
                let in_old_set = before.sources.iter().any(|old| old.set == key.set);
                prop_assert!(!in_old_set || before.sources.contains(key), "set {} changed", key.set);
            }
        }
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_show(changes in vec(change(), 1..30), relisted in vec(change(), 1..10)) {
        let (mut inputs, mut state) = (Inputs::default(), State::default());
        let is_listed = |change: &Change| matches!(change, Change::Service(..) | Change::Slice(..));
        changes.iter().filter(|change| !is_listed(change)).cloned().for_each(|change| put(&mut inputs, change));
        state.apply(changes);
        for change in relisted {
            if !is_listed(&change) {
                continue;
            }
            put(&mut inputs, change.clone());
            state.note(change);
        }
        let services: HashSet<_> = inputs.services.keys().cloned().collect();
        let slices: HashSet<_> = inputs.slices.keys().cloned().collect();
        state.retain_services(&services);
        state.retain_slices(&slices);
        state.plan();
        let shown = compile(&inputs);
        prop_assert_eq!(state.image().services.keys().collect::<Vec<_>>(), shown.services.keys().collect::<Vec<_>>());
    }
}
