//! What faults do to a cluster: parts killed, paused, out of room. Each test has a cluster of its own.

use anyhow::Result;
use std::process::ExitCode;

const TESTS: &[(&str, fn() -> Result<()>)] = &[];

fn main() -> ExitCode {
    orknet_tests::suite::separate(TESTS)
}
