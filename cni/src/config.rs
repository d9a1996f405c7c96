//! The network configuration that the runtime gives on standard input.

use crate::VERSIONS;
use crate::error::{CniError, Code};
use crate::port_mappings::{self, PortMapping};
use crate::protocol::HostPort;
use serde::Deserialize;
use std::path::PathBuf;

/// Smallest MTU that carries IPv6 (RFC 8200 section 5).
const MIN_MTU: u32 = 1280;
const MAX_MTU: u32 = 65_535;

/// The configuration. Fields of the runtime's that are not ours (capabilities, ipMasq, dns, …) are ignored, as the specification asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    pub cni_version: String,
    pub name: String,
    /// Socket on which the node's agent listens.
    #[serde(default = "default_agent_socket")]
    pub agent_socket: PathBuf,
    /// Folder for addresses and attachments; must survive a restart of the host's processes.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Bytes; what the agent says unless given.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// What the runtime gives for the capabilities that our entry of the network list declares.
    #[serde(default)]
    runtime_config: RuntimeConfig,
    /// What ADD returned; given to CHECK.
    #[serde(default)]
    pub prev_result: Option<serde_json::Value>,
    /// What is still in use; given to GC.
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RuntimeConfig {
    /// Runtimes written in Go give `null` for none.
    #[serde(default, rename = "portMappings")]
    port_mappings: Option<Vec<PortMapping>>,
}

/// One attachment that GC must leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

fn default_agent_socket() -> PathBuf {
    "/run/orknet/agent.sock".into()
}

fn default_state_dir() -> PathBuf {
    "/var/lib/orknet/cni".into()
}

impl NetworkConfig {
    /// Reads and checks a configuration.
    pub fn parse(input: &[u8]) -> Result<Self, CniError> {
        let config: Self =
            serde_json::from_slice(input).map_err(|error| CniError::new(Code::Decoding, "reading the network configuration", error))?;
        if !VERSIONS.contains(&config.cni_version.as_str()) {
            let known = format!("{} is not among {}", config.cni_version, VERSIONS.join(", "));
            return Err(CniError::new(Code::IncompatibleVersion, "checking cniVersion", known));
        }
        let invalid = |what: &str| Err(CniError::new(Code::InvalidConfig, "checking the network configuration", what));
        if config.name.is_empty() {
            return invalid("name is empty");
        }
        if !config.agent_socket.is_absolute() || !config.state_dir.is_absolute() {
            return invalid("agentSocket and stateDir must be absolute paths");
        }
        if config.mtu.is_some_and(|mtu| !(MIN_MTU..=MAX_MTU).contains(&mtu)) {
            return invalid("mtu must be from 1280 to 65535");
        }
        Ok(config)
    }

    /// The ports of the node that are to lead to the pod. Checked by who needs them: a DEL must not fail for them.
    pub fn host_ports(&self) -> Result<Vec<HostPort>, CniError> {
        port_mappings::host_ports(self.runtime_config.port_mappings.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(input: &str) -> Code {
        NetworkConfig::parse(input.as_bytes()).unwrap_err().code
    }

    #[test]
    fn fields_of_the_runtime_are_ignored_and_ours_have_defaults() {
        let input = r#"{"cniVersion":"1.0.0","name":"orknet","type":"orknet-cni","runtimeConfig":{"portMappings":[]}}"#;
        let config = NetworkConfig::parse(input.as_bytes()).unwrap();
        assert_eq!(config.agent_socket, default_agent_socket());
        assert_eq!(config.mtu, None);
        assert_eq!(config.host_ports().unwrap(), []);
    }

    #[test]
    fn bad_configurations_have_their_codes() {
        assert_eq!(code("{"), Code::Decoding);
        assert_eq!(code(r#"{"name":"orknet"}"#), Code::Decoding);
        assert_eq!(code(r#"{"cniVersion":"0.2.0","name":"orknet"}"#), Code::IncompatibleVersion);
        assert_eq!(code(r#"{"cniVersion":"1.0.0","name":""}"#), Code::InvalidConfig);
        assert_eq!(code(r#"{"cniVersion":"1.0.0","name":"o","stateDir":"here"}"#), Code::InvalidConfig);
        assert_eq!(code(r#"{"cniVersion":"1.0.0","name":"o","mtu":1279}"#), Code::InvalidConfig);
    }
}
