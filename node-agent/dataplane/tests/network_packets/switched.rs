//! Lists of backends that are switched while packets are on their way through the programs: a new connection goes to a backend of the list
//! that there was or of the one that there is, never to a mixture, and is never refused.

use crate::bench::{Bench, FAMILIES, Family, Front, at, wired};
use crate::frames::{Packet, flags, tcp};
use orknet_abi::protocol::TCP;
use orknet_abi::{BackendKey, TABLE_CHUNK, TableKey};
use orknet_compiler::{Plan, Step};
use orknet_dataplane::{Hook, Verdict};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// New connections.
const CONNECTIONS: u32 = 20_000;

/// The port of the backends of a list, which tells it.
fn port(list: u32) -> u16 {
    1_024 + (list % 60_000) as u16
}

/// The list of a number: one to three backends, with a look-up table where there are several, now and then.
fn front(family: &Family, list: u32) -> Front {
    let prefix = family.remote_pod.trim_end_matches('9');
    let backends: Vec<SocketAddr> = (1..=1 + list % 3).map(|number| at(&format!("{prefix}{number}"), port(list))).collect();
    Front { with_table: list % 16 == 2, ..Front::new(list, TCP, at(family.load_balancer, 80), &backends) }
}

/// Removes a list, after its front has another.
fn removal(list: u32) -> Plan {
    let chunks = crate::bench::TABLE_SIZE.div_ceil(TABLE_CHUNK as u32);
    let tables = (0..chunks).filter(|_| list % 16 == 2).map(|chunk| Step::DeleteTable(TableKey { table: list, chunk }));
    Plan { steps: (0..=list % 3).map(|slot| Step::DeleteBackend(BackendKey { list, slot })).chain(tables).collect() }
}

#[test]
fn root_new_connections_never_meet_half_an_update() {
    for family in FAMILIES {
        let bench = Bench::sized("switched", &[("FLOWS", 4 * CONNECTIONS)]);
        bench.put(&front(&family, 1));
        // The list that is written last, and the one that was written whole.
        let (begun, done, is_over) = (AtomicU32::new(1), AtomicU32::new(1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for list in 2.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    begun.store(list, Ordering::SeqCst);
                    bench.put(&front(&family, list));
                    done.store(list, Ordering::SeqCst);
                    bench.apply(&removal(list - 1));
                }
            });
            let packets = scope.spawn(|| {
                bench.node.enter();
                let arrival = bench.arrival();
                for connection in 0..CONNECTIONS {
                    let client = at(if connection % 2 == 0 { family.client } else { family.router }, 1_024 + (connection / 2) as u16);
                    let frame = wired(tcp(client, at(family.load_balancer, 80), flags::SYN, b"")).bytes();
                    let oldest = done.load(Ordering::SeqCst);
                    let ran = bench.dataplane.run_from(Hook::FromNetwork, &arrival, &frame, 1).unwrap();
                    let newest = begun.load(Ordering::SeqCst);
                    assert_eq!(ran.verdict, Verdict::Redirect, "connection {connection}, lists {oldest} to {newest}");
                    let backend = Packet::read(&ran.frame).unwrap().ends().1;
                    let is_one = (oldest..=newest).any(|list| front(&family, list).backends.contains(&backend));
                    assert!(is_one, "connection {connection} went to {backend}, lists {oldest} to {newest}");
                }
            });
            let outcome = packets.join();
            is_over.store(true, Ordering::SeqCst);
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let switches = done.load(Ordering::SeqCst);
        assert!(switches > 100, "only {switches} switches");
        println!("{switches} switches under {CONNECTIONS} connections");
        assert!(bench.drops().is_empty(), "{:?}", bench.drops());
        bench.assert_pairs();
    }
}
