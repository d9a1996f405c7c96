//! The same questions where backends answer clients directly, and what is special about that.

mod bound;
mod changes;
mod direct_return;
mod everything;
mod expected;
mod health;
mod host_ports;
mod masquerade;
mod matrix;
mod outside;
mod packets;
mod refusals;
mod scene;

use expected::Return;
use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let scene = Scene { tag: "d", agent: "directReturn: true\n", prepare: wire::make_real, returns: Return::Direct, ..Scene::PLAIN };
    scene::play(&scene, &[everything::GROUPS, &[direct_return::TESTS]].concat())
}
