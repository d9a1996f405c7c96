//! Services of every type on three nodes, from every side: pods, nodes, and a client outside of the cluster. One file a question.

mod changes;
mod expected;
mod health;
mod host_ports;
mod masquerade;
mod matrix;
mod outside;
mod packets;
mod refusals;
mod scene;

use orknet_tests::{suite, talk};
use std::process::ExitCode;

fn main() -> ExitCode {
    let tools = suite::Image { name: talk::TOOLS, programs: &[scene::NETTOOL] };
    suite::shared(
        "b",
        &["--bare", "--nodes", "3"],
        &[tools],
        &[
            outside::TESTS,
            matrix::TESTS,
            refusals::TESTS,
            packets::TESTS,
            changes::TESTS,
            health::TESTS,
            masquerade::TESTS,
            host_ports::TESTS,
        ],
    )
}
