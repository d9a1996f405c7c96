//! The node's agent for pods: makes containerd run what the API server says this node should run, and reports what is true.
//!
//! Owns pods, sandboxes, containers, volumes, probes, logs, the Node object and the node's HTTPS server. Leaves the pod network to the CNI
//! plugin (called by containerd), Services and policies to the data plane, scheduling and eviction to the control plane.
//!
//! Reading order: [`run`] wires the parts; `pods::worker` is the life of one pod, top to bottom; `pods::plan` decides its next step.

pub mod api;
pub mod cgroups;
pub mod config;
pub mod containers;
pub mod credentials;
pub mod cri;
pub mod error;
pub mod images;
pub mod logs;
pub mod node;
pub mod paths;
pub mod pods;
pub mod probes;
pub mod quantity;
mod run;
pub mod server;
pub mod status;
pub mod streams;
pub mod volumes;

pub use config::Config;
pub use credentials::Credentials;
pub use error::Error;
pub use run::run;
