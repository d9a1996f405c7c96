//! Direct return where pods of different nodes reach each other through the overlay only.

mod direct_return;
mod expected;
mod matrix;
mod scene;

use expected::Return;
use orknet_tests::wire;
use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = &["--routing", "vxlan"];
    let scene = Scene { tag: "do", options, agent: "directReturn: true\n", prepare: wire::make_real, returns: Return::Direct };
    scene::play(&scene, &[direct_return::TESTS, matrix::TESTS])
}
