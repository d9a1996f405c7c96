//! The capability `portMappings` as runtimes give it (CNI conventions, "portMappings"), checked and in our own terms.

use crate::error::{CniError, Code};
use crate::protocol::{HostPort, Transport};
use serde::Deserialize;

/// One mapping. The convention's names, and those of runtimes that write their own structure's (containerd does).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortMapping {
    #[serde(default, alias = "HostPort")]
    host_port: i64,
    #[serde(default, alias = "ContainerPort")]
    container_port: i64,
    #[serde(default, alias = "Protocol")]
    protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP", alias = "hostIp")]
    host_ip: String,
}

/// The mappings, without those that want no port of the node, each once.
pub(crate) fn host_ports(mappings: &[PortMapping]) -> Result<Vec<HostPort>, CniError> {
    let wanted = mappings.iter().filter(|mapping| mapping.host_port != 0);
    let mut ports = wanted.map(host_port).collect::<Result<Vec<_>, _>>()?;
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn host_port(mapping: &PortMapping) -> Result<HostPort, CniError> {
    let invalid = |what: String| CniError::new(Code::InvalidConfig, "checking runtimeConfig.portMappings", what);
    let number = |port: i64| u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| invalid(format!("{port} is not a port")));
    let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
        // What the convention says of a mapping without one.
        "" | "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        other => return Err(invalid(format!("{other:?} is not a protocol"))),
    };
    let host_ip = match mapping.host_ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid(format!("{text:?} is not an address")))?),
    };
    Ok(HostPort { host_port: number(mapping.host_port)?, container_port: number(mapping.container_port)?, protocol, host_ip })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<HostPort>, CniError> {
        host_ports(&serde_json::from_str::<Vec<PortMapping>>(text).unwrap())
    }

    #[test]
    fn mappings_are_read_in_either_spelling_and_once() {
        let text = r#"[{"hostPort":8080,"containerPort":80,"protocol":"TCP","hostIP":"192.0.2.1"},{"hostPort":0,"containerPort":81},
            {"HostPort":53,"ContainerPort":5353,"Protocol":"udp","HostIP":""},{"hostPort":53,"containerPort":5353,"protocol":"udp"},
            {"hostPort":9,"containerPort":9,"protocol":"sctp","hostIP":"::"},{"hostPort":10,"containerPort":10}]"#;
        let port =
            |host_port, container_port, protocol, ip: &str| HostPort { host_port, container_port, protocol, host_ip: ip.parse().ok() };
        let expected = [
            port(9, 9, Transport::Sctp, "::"),
            port(10, 10, Transport::Tcp, ""),
            port(53, 5353, Transport::Udp, ""),
            port(8080, 80, Transport::Tcp, "192.0.2.1"),
        ];
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_port_protocol_or_address_is_refused() {
        for text in [
            r#"[{"hostPort":65536,"containerPort":80}]"#,
            r#"[{"hostPort":-1,"containerPort":80}]"#,
            r#"[{"hostPort":80}]"#,
            r#"[{"hostPort":80,"containerPort":80,"protocol":"icmp"}]"#,
            r#"[{"hostPort":80,"containerPort":80,"hostIP":"here"}]"#,
        ] {
            assert_eq!(read(text).unwrap_err().code, Code::InvalidConfig, "{text}");
        }
    }
}
