//! What bad clients do to an API server: nobody else may notice. A server of its own on the loopback for each test, without nodes. One file a question.

mod bodies;
mod connections;
mod fuzz;
mod guard;
mod numbers;
mod watches;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A thousand connections are a thousand files of this process as well.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    orknet_tests::suite::separate(&[watches::TESTS, connections::TESTS, bodies::TESTS, fuzz::TESTS])
}
