//! Services of every type on three nodes, from every side: pods, nodes, and a client outside of the cluster. One file a question.

mod bound;
mod changes;
mod cut;
mod everything;
mod expected;
mod health;
mod host_ports;
mod masquerade;
mod matrix;
mod nearness;
mod outside;
mod packets;
mod refusals;
mod scene;

use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play(&Scene::PLAIN, &[everything::GROUPS, &[cut::TESTS, nearness::TESTS]].concat())
}
