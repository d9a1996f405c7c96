//! Policies in a cluster: real sockets in real pods, policies by kubectl, on two nodes. One file a question. Tests run one after the other, since
//! policies of the cluster are about all pods.

mod addresses;
mod asked;
mod changes;
mod churn;
mod crowd;
mod families;
mod faults;
mod fresh;
mod held;
mod hosts;
mod lenient;
mod matrix;
mod outside;
mod scene;
mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play(
        "p",
        &["--store", "etcd"],
        "",
        &[
            matrix::TESTS,
            services::TESTS,
            outside::TESTS,
            hosts::TESTS,
            changes::TESTS,
            addresses::TESTS,
            faults::TESTS,
            lenient::TESTS,
            churn::TESTS,
            // Another node comes to stay.
            families::TESTS,
        ],
    )
}
