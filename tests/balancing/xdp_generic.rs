//! The same way by the kernel's generic form, for drivers that run no programs. Only one node has a wire that carries whole frames: at the
//! others packets come in with checksums that nobody has computed, as they do where nodes are containers, and all is answered all the same.

mod expected;
mod matrix;
mod packets;
mod scene;
mod shortcut;

use expected::FAR;
use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let prepare = |cluster: &_| wire::make_real_of(cluster, FAR);
    let scene = Scene { tag: "g", agent: "dataplane: {xdp: auto}\n", prepare, ..Scene::PLAIN };
    scene::play(&scene, &[matrix::TESTS, shortcut::TESTS, packets::TESTS])
}
