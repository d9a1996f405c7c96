//! Services of every type on three nodes, from every side: pods, nodes, and a client outside of the cluster. One file a question.

mod expected;
mod outside;
mod scene;

use orknet_tests::{suite, talk};
use std::process::ExitCode;

fn main() -> ExitCode {
    let tools = suite::Image { name: talk::TOOLS, programs: &[scene::NETTOOL] };
    suite::shared("b", &["--bare", "--nodes", "3"], &[tools], &[outside::TESTS])
}
