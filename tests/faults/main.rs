//! What faults do to a cluster: parts killed, paused, out of room. Each test has a cluster of its own. One file a question.

mod down;
mod host;
mod neighbours;
mod resume;
mod stages;

use std::process::ExitCode;

fn main() -> ExitCode {
    orknet_tests::suite::separate(&[down::TESTS, resume::TESTS, neighbours::TESTS, host::TESTS])
}
