//! The same questions where pods of different nodes reach each other through the overlay only.

mod bound;
mod changes;
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

use scene::Scene;
use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play(&Scene { tag: "o", options: &["--routing", "vxlan"], ..Scene::PLAIN }, everything::GROUPS)
}
