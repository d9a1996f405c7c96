//! What faults do to a cluster: parts killed, paused, out of room. Each test has a cluster of its own. One file a question.

mod backup;
mod balancing;
mod certificates;
mod containerd;
mod cordons;
mod disk;
mod down;
mod etcd;
mod host;
mod killed;
mod neighbours;
mod resume;
mod servers;
mod stages;
mod taints;
mod writes;

use std::process::ExitCode;

fn main() -> ExitCode {
    orknet_tests::suite::separate(&[
        down::TESTS,
        resume::TESTS,
        neighbours::TESTS,
        host::TESTS,
        killed::TESTS,
        balancing::TESTS,
        containerd::TESTS,
        etcd::TESTS,
        writes::TESTS,
        backup::TESTS,
        servers::TESTS,
        disk::TESTS,
        taints::TESTS,
        cordons::TESTS,
        certificates::TESTS,
    ])
}
