//! The same questions where pods of different nodes reach each other through the overlay only.

mod changes;
mod expected;
mod health;
mod host_ports;
mod masquerade;
mod matrix;
mod outside;
mod packets;
mod refusals;
mod scene;

use std::process::ExitCode;

fn main() -> ExitCode {
    scene::play("o", &["--routing", "vxlan"])
}
