//! From a declared container to the configuration that CRI wants: environment, command, mounts, resources, security. Pure throughout; the
//! values that need I/O (ConfigMaps, Secrets, volumes, images) come in as arguments.

pub mod config;
pub mod env;
pub mod expand;
pub mod fields;
pub mod hash;
pub mod resources;
pub mod sandbox;
pub mod security;
pub mod service_links;
