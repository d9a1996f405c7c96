//! Sub-commands that are programs of their own.

pub mod agent;
pub mod credentials;
pub mod daemon;
pub mod enter;
pub mod kubelet;
pub mod probe;
pub mod server;
