//! The same questions where pods of different nodes reach each other through the overlay only.

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
        "o",
        &["--bare", "--nodes", "3", "--routing", "vxlan"],
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
