//! What a packet through a Service costs: figures to look at, and that a known way is quicker than the search for one.

use crate::bench::{Bench, FAMILIES, Front, at, wired};
use crate::frames::{flags, tcp};
use orknet_abi::protocol::TCP;
use orknet_dataplane::{Arrival, Hook, Verdict};

/// Connections, of one packet of a kind after the other.
const FLOWS: u16 = 1_000;

#[test]
fn root_packets_of_a_flow_that_knows_its_way_cost_less_than_those_before() {
    let bench = Bench::new("costs");
    bench.serve_wire();
    let mut list = 0;
    for family in FAMILIES {
        let mut ports = 10_000;
        for (hook, backend) in
            [(Hook::FromNetwork, family.pod_b), (Hook::FromNetwork, family.remote_pod), (Hook::FromWire, family.remote_pod)]
        {
            list += 1;
            let front = at(family.load_balancer, 80 + list as u16);
            bench.put(&Front::new(list, TCP, front, &[at(backend, 8080)]));
            let median = |flag: u8| {
                let mut costs: Vec<u32> = bench.node.run(|| {
                    let one = |number: u16| {
                        let frame = wired(tcp(at(family.client, ports + number), front, flag, b"")).bytes();
                        let ran = bench.dataplane.run_from(hook, &Arrival { device: bench.eth0, ..Arrival::default() }, &frame, 1).unwrap();
                        assert_eq!(ran.verdict, Verdict::Redirect);
                        ran.nanoseconds
                    };
                    (0..FLOWS).map(one).collect()
                });
                costs.sort_unstable();
                costs[costs.len() / 2]
            };
            let [new, second, known] = [flags::SYN, flags::ACK, flags::ACK].map(median);
            println!(
                "{hook:?} to {backend}: {new} ns for a connection's first packet, {second} ns for the second one, {known} ns for the third"
            );
            assert!(known < second && known < new, "{hook:?} to {backend}");
            ports += FLOWS;
        }
    }
    assert!(bench.drops().is_empty());
}
