//! Pods: one worker per pod (`worker`), which compares what is wanted with what containerd runs (`view`), decides (`plan`) and acts.
//! `manager` gives every pod its worker; `admission` says which pods may begin; `relist` wakes workers when containerd's state moves.

pub mod admission;
pub mod backoff;
mod cleanup;
pub mod context;
pub mod declared;
pub mod hooks;
mod key;
pub mod manager;
pub mod observe;
pub mod plan;
mod plan_retain;
pub mod qos;
pub mod references;
pub mod relist;
mod sandbox;
mod start;
mod terminate;
pub mod view;
mod watchers;
mod worker;

pub use context::Context;
pub use key::PodKey;
