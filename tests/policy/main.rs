//! Policies in a cluster: real sockets in real pods, policies by kubectl, on two nodes. One file a question. Tests run one after the other, since
//! policies of the cluster are about all pods.

mod changes;
mod churn;
mod crowd;
mod hosts;
mod matrix;
mod outside;
mod scene;
mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play("p", &[], "", &[matrix::TESTS, services::TESTS, outside::TESTS, hosts::TESTS, changes::TESTS, churn::TESTS])
}
