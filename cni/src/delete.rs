//! DEL: everything that ADD made, in the reverse order. Missing things are fine, so it can be repeated until it succeeds.

use crate::agent;
use crate::allocate::Addresses;
use crate::config::NetworkConfig;
use crate::environment::Environment;
use crate::error::CniError;
use crate::namespace::Namespace;
use crate::protocol::AttachmentName;
use crate::state::Attachments;
use crate::wiring::host_name;

/// Undoes an attachment. The agent may be down: it drops what has no state file when it starts.
pub fn delete(config: &NetworkConfig, environment: &Environment) -> Result<(), CniError> {
    delete_attachment(config, &environment.attachment)
}

/// The same by name, for GC.
pub fn delete_attachment(config: &NetworkConfig, name: &AttachmentName) -> Result<(), CniError> {
    // First, so that the maps no longer have the addresses when they become free.
    if let Err(error) = agent::detach(&config.agent_socket, name) {
        // Standard error is the runtime's log.
        eprintln!("orknet-cni: {error}; going on without it");
    }
    free_local(config, name)
}

/// Device, record and addresses, without the agent. Addresses last: only then may another pod get them.
pub fn free_local(config: &NetworkConfig, name: &AttachmentName) -> Result<(), CniError> {
    Namespace::own()?.enter(|netlink| netlink.remove_link(&host_name(name)))?;
    Attachments::new(&config.state_dir).remove(name)?;
    Addresses::open(&config.state_dir)?.free(name)?;
    Ok(())
}
