//! End-to-end tests with real parts: kubectl, the binary, containerd, runc, the kernel. One file a question.

mod apply;
mod autoscaling;
mod bad_input;
mod certificates;
mod conversion;
mod credentials;
mod custom_resources;
mod deletion;
mod discovery;
mod exec;
mod forward;
mod fuzz;
mod inspect;
mod logs;
mod monitor;
mod network;
mod network_allocation;
mod network_kinds;
mod node_verbs;
mod pod_environment;
mod pod_failures;
mod pod_isolation;
mod pod_life;
mod pod_probes;
mod pod_restarts;
mod policy_kinds;
mod quotas;
mod rollouts;
mod scheduling;
mod services;
mod tables;
mod top;
mod trace;
mod verbs;
mod views;
mod volumes;
mod workloads;

use orknet_tests::{suite, talk};
use std::process::ExitCode;

fn main() -> ExitCode {
    let tools = suite::Image { name: talk::TOOLS, programs: &[env!("CARGO_BIN_EXE_nettool"), env!("CARGO_BIN_EXE_healthd")] };
    let setting = suite::Setting { tag: "e", options: &["--bare"], images: &[tools], prepare: |_| Ok(()), threads: None };
    suite::shared(
        &setting,
        &[
            autoscaling::TESTS,
            top::TESTS,
            bad_input::TESTS,
            discovery::TESTS,
            tables::TESTS,
            trace::TESTS,
            node_verbs::TESTS,
            views::TESTS,
            quotas::TESTS,
            rollouts::TESTS,
            verbs::TESTS,
            deletion::TESTS,
            apply::TESTS,
            credentials::TESTS,
            certificates::TESTS,
            conversion::TESTS,
            custom_resources::TESTS,
            fuzz::TESTS,
            inspect::TESTS,
            monitor::TESTS,
            network::TESTS,
            network_allocation::TESTS,
            network_kinds::TESTS,
            services::TESTS,
            pod_environment::TESTS,
            pod_failures::TESTS,
            pod_isolation::TESTS,
            pod_life::TESTS,
            pod_probes::TESTS,
            pod_restarts::TESTS,
            policy_kinds::TESTS,
            scheduling::TESTS,
            volumes::TESTS,
            workloads::TESTS,
            logs::TESTS,
            exec::TESTS,
            forward::TESTS,
        ],
    )
}
