//! Sub-commands that are programs of their own.

pub mod agent;
pub mod backup;
pub mod balance;
pub mod credentials;
pub mod daemon;
pub mod enter;
pub mod join;
mod kept;
pub mod keys;
pub mod kubelet;
pub mod migrate;
pub mod place;
pub mod probe;
pub mod restore;
pub mod server;
pub mod token;
