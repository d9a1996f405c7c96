//! STATUS: could an ADD be served now? (specification 1.1.0)

use crate::agent;
use crate::config::NetworkConfig;
use crate::error::{CniError, Code};

/// The agent answers and the node has pod addresses.
pub fn status(config: &NetworkConfig) -> Result<(), CniError> {
    match agent::configuration(&config.agent_socket) {
        Ok(_) => Ok(()),
        Err(error) => Err(CniError { code: Code::NotAvailable, ..error }),
    }
}
