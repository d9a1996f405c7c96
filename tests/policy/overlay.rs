//! The questions that depend on the way between nodes, where pods of different nodes reach each other through the overlay only.

mod hosts;
mod outside;
mod scene;
mod services;

use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play("po", &["--routing", "vxlan"], "", &[services::TESTS, outside::TESTS, hosts::TESTS])
}
