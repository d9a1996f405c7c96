//! Direct return where pods of different nodes reach each other through the overlay only; and node ports at loopback addresses, which are a
//! setting.

mod direct_return;
mod expected;
mod loopback;
mod matrix;
mod scene;

use expected::Return;
use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = &["--routing", "vxlan"];
    let agent = "directReturn: true\nnodePortLoopback: true\n";
    let scene = Scene { tag: "do", options, agent, prepare: wire::make_real, returns: Return::Direct, ..Scene::PLAIN };
    scene::play(&scene, &[direct_return::TESTS, matrix::TESTS, loopback::TESTS])
}
