//! Probes: `tracker` counts results against thresholds (pure), `board` holds what is known of every running container, `prober` runs one
//! probe in a loop, and one file per kind of handler does the asking.

pub mod board;
mod exec;
mod grpc;
pub mod http;
pub mod prober;
pub mod tcp;
pub mod tracker;
mod trust;

pub use board::{Board, Failure, Health};
pub use tracker::{Outcome, ProbeKind};
