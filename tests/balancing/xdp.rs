//! Services whose frames take the way below the stack, by the programs that the nodes' drivers run.

mod expected;
mod masquerade;
mod matrix;
mod packets;
mod refusals;
mod scene;
mod shortcut;

use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let scene =
        Scene { tag: "x", agent: "dataplane: {xdp: native}\nresyncSeconds: 2\n", prepare: wire::make_real_for_drivers, ..Scene::PLAIN };
    scene::play(&scene, &[matrix::TESTS, shortcut::TESTS, masquerade::TESTS, refusals::TESTS, packets::TESTS])
}
