//! End-to-end tests with real parts: kubectl, the binary, containerd, runc, the kernel. One file a question.

mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    orknet_tests::suite::shared("e", &["--bare"], &[services::TESTS])
}
