//! The same questions where pods of different nodes reach each other through the overlay only.

mod changes;
mod crowd;
mod hosts;
mod matrix;
mod outside;
mod scene;
mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play("po", &["--routing", "vxlan"], "", &[matrix::TESTS, services::TESTS, outside::TESTS, hosts::TESTS, changes::TESTS])
}
