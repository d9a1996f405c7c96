//! Ten thousand Services with ten endpoints each: what a change costs must not grow with them.

use orknet_abi::{Address, protocol};
use orknet_compiler::facts::{Endpoint, Readiness, ServicePort, SlicePort};
use orknet_compiler::{Change, NodeFacts, ObjectName, ServiceFacts, SliceFacts, State, Step};
use std::time::{Duration, Instant};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;

fn object(number: u32) -> ObjectName {
    ObjectName { namespace: "default".into(), name: format!("service-{number}").into() }
}

fn service(number: u32) -> ServiceFacts {
    ServiceFacts {
        cluster_addresses: Box::new([Address::from_v4((0x0a60_0000 + number).to_be_bytes())]),
        ports: Box::new([ServicePort { name: "http".into(), protocol: protocol::TCP, port: 80 }]),
        internal_local: false,
        affinity_seconds: 0,
        is_foreign: false,
    }
}

fn slice(number: u32, endpoints: u32) -> SliceFacts {
    let endpoint = |n: u32| Endpoint {
        address: Address::from_v4((0x0af4_0000 + number * ENDPOINTS + n).to_be_bytes()),
        node: Some("there".into()),
        readiness: Readiness::Ready,
        hints: None,
    };
    SliceFacts {
        service: object(number).name,
        ports: Box::new([SlicePort { name: "http".into(), protocol: protocol::TCP, port: 8080 }]),
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

/// Bytes of this process that are in memory (proc_pid_statm(5), in pages of 4,096 bytes on the machines that tests run on).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn one_endpoint_among_a_hundred_thousand_touches_one_service() {
    let before = resident();
    let mut state = State::new(NodeFacts::default());
    for number in 0..SERVICES {
        state.note(Change::Service(object(number), Some(service(number))));
        state.note(Change::Slice(object(number), Some(slice(number, ENDPOINTS))));
    }
    assert_eq!(state.plan().steps.len() as u32, SERVICES * (2 + ENDPOINTS));
    let each = (resident() - before) / SERVICES as usize;
    println!("{each} bytes for a Service");
    assert!(each < 6 * 1024, "{each} bytes for a Service");
    let began = Instant::now();
    let rounds = 1_000;
    for number in 0..rounds {
        let plan = state.apply([Change::Slice(object(number), Some(slice(number, ENDPOINTS - 1)))]);
        let services = plan.steps.iter().filter(|step| matches!(step, Step::PutService(..))).count();
        let backends = plan.steps.iter().filter(|step| matches!(step, Step::PutBackend(..))).count();
        assert_eq!((services, backends as u32, plan.steps.len() as u32), (1, ENDPOINTS - 1, 1 + ENDPOINTS - 1 + ENDPOINTS));
    }
    // Generous for a debug build on a busy machine; a cost that grows with the number of Services would miss it by far.
    let each = began.elapsed() / rounds;
    assert!(each < Duration::from_millis(5), "one change took {each:?}");
}
