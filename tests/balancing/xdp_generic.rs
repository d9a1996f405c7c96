//! The same way by the kernel's generic form, for drivers that run no programs.

mod expected;
mod matrix;
mod scene;
mod shortcut;

use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let scene = Scene { tag: "g", agent: "dataplane: {xdp: generic}\n", prepare: wire::make_real, ..Scene::PLAIN };
    scene::play(&scene, &[matrix::TESTS, shortcut::TESTS])
}
