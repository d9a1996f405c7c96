//! End-to-end tests with real parts: kubectl, the binary, containerd, runc, the kernel. One file a question.

mod services;

use orknet_tests::{suite, talk};
use std::process::ExitCode;

fn main() -> ExitCode {
    let tools = suite::Image { name: talk::TOOLS, programs: &[env!("CARGO_BIN_EXE_nettool")] };
    suite::shared("e", &["--bare"], &[tools], &[services::TESTS])
}
