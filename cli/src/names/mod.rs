//! What commands that look into nodes know of names: who is asked ([`Server`]), of which kubeconfig, and what its objects say. Everything works
//! without it, for addresses and uids alone.

pub mod kubeconfig;
mod objects;
mod server;

pub use objects::{Pods, addresses, has_ended, is_on_host, phase, rule_text, service_addresses, unknown_policy};
pub use server::Server;
