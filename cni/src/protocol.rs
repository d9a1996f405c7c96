//! What the plugin and the agent say to each other: one JSON document per line and connection, a [`Request`] and then an [`Answer`],
//! over a Unix stream socket that only root may open.
//!
//! ```text
//! "configuration"                                        → {"configuration":{"podCidrs":[…],"mtu":1500,"gateways":[…]}}
//! {"attach":{"containerID":"…","ifname":"eth0",…}}       → "done", once packets of the pod would be handled
//! {"check":{"containerID":"…","ifname":"eth0"}}          → "done", or an error if the pod is not programmed
//! {"detach":{"containerID":"…","ifname":"eth0"}}         → "done", also if there was nothing
//! "status"                                               → {"status":{…}}
//! anything                                               → {"error":{"reason":"not-ready","message":"…"}}
//! ```

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Longest line that either side accepts, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// Asked by the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How to address pods on this node.
    Configuration,
    /// Program a pod. Answered when its device has its programs and the maps have its addresses.
    Attach(Attachment),
    /// Is it still programmed?
    Check(AttachmentName),
    /// Forget a pod.
    Detach(AttachmentName),
    /// Is the agent able to serve?
    Status,
}

/// Answered by the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Configuration(NodeConfiguration),
    Done,
    Status(AgentStatus),
    Error(Refusal),
}

/// Why the agent did not do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It will work later: the node has no pod addresses yet, or the agent has not yet seen the cluster.
    NotReady,
    /// The request is malformed.
    BadRequest,
    /// The attachment is not known or its device is gone.
    NotFound,
    /// The kernel refused.
    Failed,
}

/// How pods on this node are addressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfiguration {
    /// `spec.podCIDRs` of the Node; one per family, never empty.
    pub pod_cidrs: Vec<IpNet>,
    /// Bytes.
    pub mtu: u32,
    /// What pods use as their next hop, one per family; no device has these addresses.
    pub gateways: Vec<IpAddr>,
}

/// How the agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// The cluster's Services have been seen completely since the agent started.
    pub synced: bool,
    /// The maps hold what the cluster wants.
    pub programmed: bool,
    /// The node has pod addresses.
    pub addressed: bool,
    /// Number of attachments.
    pub attachments: usize,
}

/// Names an attachment on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentName {
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Interface inside of the pod.
    pub ifname: String,
}

/// The pod, as the runtime names it; empty where the runtime does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A pod's device and addresses. Also what the plugin keeps on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    #[serde(flatten)]
    pub attachment: AttachmentName,
    pub pod: PodName,
    /// Path of the pod's network namespace.
    pub netns: String,
    /// Name of the host's side of the veth pair.
    pub host_ifname: String,
    /// Its index.
    pub host_ifindex: u32,
    /// Its MAC address.
    pub host_mac: MacAddress,
    /// MAC address of the pod's side.
    pub pod_mac: MacAddress,
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to the pod; records of older plugins have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
}

/// A port of the node that leads to a pod (`hostPort` of a container's port; in CNI the capability `portMappings`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// On the node; never 0.
    pub host_port: u16,
    /// Of the pod; never 0.
    pub container_port: u16,
    pub protocol: Transport,
    /// The node's address; an unspecified one stands for all of its family, none for all of both.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// What carries a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// A MAC address; `02:00:00:00:00:01` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddress(pub [u8; 6]);

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.0.map(|byte| format!("{byte:02x}")).join(":")
    }
}

impl TryFrom<String> for MacAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes: Vec<u8> = text.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
        match <[u8; 6]>::try_from(bytes) {
            Ok(bytes) if text.len() == 17 => Ok(Self(bytes)),
            _ => Err(format!("{text:?} is not a MAC address")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_as_documented() {
        assert_eq!(serde_json::to_string(&Request::Configuration).unwrap(), r#""configuration""#);
        let name = AttachmentName { container_id: "c1".into(), ifname: "eth0".into() };
        assert_eq!(serde_json::to_string(&Request::Detach(name)).unwrap(), r#"{"detach":{"containerID":"c1","ifname":"eth0"}}"#);
        assert_eq!(serde_json::to_string(&Answer::Done).unwrap(), r#""done""#);
        let refusal = Answer::Error(Refusal { reason: Reason::NotReady, message: "wait".into() });
        assert_eq!(serde_json::to_string(&refusal).unwrap(), r#"{"error":{"reason":"not-ready","message":"wait"}}"#);
    }

    #[test]
    fn host_ports_are_optional_and_come_back() {
        let old = r#"{"containerID":"c1","ifname":"eth0","pod":{"namespace":"","name":"","uid":""},"netns":"","hostIfname":"ork0","hostIfindex":7,
            "hostMac":"02:00:00:00:00:01","podMac":"02:00:00:00:00:02","addresses":["10.0.0.2"]}"#;
        let mut attachment: Attachment = serde_json::from_str(old).unwrap();
        assert_eq!(attachment.host_ports, []);
        assert!(!serde_json::to_string(&attachment).unwrap().contains("hostPorts"));
        let port = |host_ip| HostPort { host_port: 8080, container_port: 80, protocol: Transport::Udp, host_ip };
        attachment.host_ports = vec![port(None), port(Some("192.0.2.1".parse().unwrap()))];
        let text = serde_json::to_string(&attachment).unwrap();
        assert!(text.contains(r#"{"hostPort":8080,"containerPort":80,"protocol":"udp","hostIP":"192.0.2.1"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Attachment>(&text).unwrap(), attachment);
    }

    #[test]
    fn mac_addresses_come_back_and_nonsense_does_not() {
        let mac = MacAddress([2, 0, 0, 0xab, 0, 1]);
        assert_eq!(MacAddress::try_from(String::from(mac)), Ok(mac));
        for text in ["", "02:00:00:00:00", "02:00:00:00:00:zz", "2:0:0:0:0:0", "+2:00:00:00:00:00:00"] {
            assert!(MacAddress::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
