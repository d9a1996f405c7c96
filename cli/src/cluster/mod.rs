//! The local cluster: a control plane and nodes on one host, each in namespaces of its own. Starts the same programs that run on
//! real hosts, with flags and files; they know nothing of it.

pub mod cgroups;
mod containerd;
pub mod down;
mod files;
mod hello;
pub mod identity;
pub mod images;
pub mod layout;
mod lock;
pub mod namespaces;
mod network;
mod node;
mod preflight;
mod process;
mod progress;
pub mod record;
mod server;
pub mod status;
pub mod up;

pub use containerd::{add_image, archives};
