//! The end-to-end harness: a cluster brought up by the real binary and driven by the real kubectl, removed when it is dropped.

pub mod cluster;
pub mod columns;
pub mod etcd;
pub mod history;
pub mod https;
pub mod kubectl;
pub mod lines;
pub mod losses;
pub mod nodes;
pub mod outside;
pub mod panics;
pub mod pods;
pub mod policy;
pub mod probes;
pub mod programmed;
#[cfg(test)]
mod promises;
mod record;
pub mod sctp;
pub mod server;
pub mod stream;
pub mod suite;
pub mod talk;
pub mod traces;
pub mod traffic;
pub mod wait;
pub mod watch;
pub mod webhook;
pub mod wire;

pub use cluster::Cluster;
pub use kubectl::{Kubectl, Output};
pub use lines::Lines;
pub use outside::Outside;
pub use stream::Stream;
pub use wait::eventually;
pub use watch::Watch;
pub use webhook::Webhook;
