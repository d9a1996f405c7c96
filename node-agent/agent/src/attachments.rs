//! The pods of this node, from the CNI plugin's records, and their devices. A pod counts only while its device is there.

use orknet_abi::{Address, Pod, protocol as ip_protocol};
use orknet_cni::error::CniError;
use orknet_cni::protocol::{self, AttachmentName};
use orknet_cni::state::Attachments;
use orknet_compiler::facts::Uid;
use orknet_compiler::{Attachment, HostPort, MapImage, ObjectName, Owner};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A pod that the plugin has recorded and whose device is there.
#[derive(Debug)]
pub enum Record {
    Whole(protocol::Attachment),
    /// Its file says nothing that can be read, but the file's name tells the device.
    Broken {
        name: AttachmentName,
        host_ifindex: u32,
    },
}

impl Record {
    /// Whose it is.
    pub fn name(&self) -> &AttachmentName {
        match self {
            Self::Whole(record) => &record.attachment,
            Self::Broken { name, .. } => name,
        }
    }

    /// The pod's device.
    pub fn device(&self) -> u32 {
        match self {
            Self::Whole(record) => record.host_ifindex,
            Self::Broken { host_ifindex, .. } => *host_ifindex,
        }
    }

    /// The file of the pod's network namespace, if it is known.
    pub fn namespace(&self) -> Option<PathBuf> {
        match self {
            Self::Whole(record) => namespace(record),
            Self::Broken { .. } => None,
        }
    }

    /// The pod as the maps know it. A broken record loses nothing that `held`, the image of the kernel's maps, still has.
    /// `has_policies` says whether its policies count.
    pub fn facts(&self, held: &MapImage, has_policies: bool) -> Attachment {
        match self {
            Self::Whole(record) => facts(record, owner(&record.pod).filter(|_| has_policies)),
            Self::Broken { host_ifindex, .. } => salvage(*host_ifindex, held),
        }
    }
}

/// Reads the records; `device_index` finds a device by name. Devices of a former boot are gone, and an index may have been given to
/// another device since, so the name decides. Broken ones come first: who is noted after them knows better whose an address is.
///
/// # Errors
/// When the folder cannot be read. Then nothing is known of any pod, which must not be taken for "there are none".
pub fn restore(state_dir: &Path, device_index: impl Fn(&str) -> Option<u32>) -> Result<Vec<Record>, CniError> {
    let records = Attachments::new(state_dir);
    let (mut broken, mut whole) = (Vec::new(), Vec::new());
    for name in records.names()? {
        let device = orknet_cni::host_name(&name);
        match records.get(&name) {
            // Removed since its name was read.
            Ok(None) => {}
            Ok(Some(mut record)) => match device_index(&record.host_ifname) {
                Some(index) => {
                    record.host_ifindex = index;
                    whole.push(Record::Whole(record));
                }
                None => tracing::info!(device = record.host_ifname, container = name.container_id, "the device of a record is gone"),
            },
            Err(error) => {
                tracing::error!(%error, device, "a record of the CNI plugin is broken; keeping what the maps hold for its pod");
                broken.extend(device_index(&device).map(|host_ifindex| Record::Broken { name, host_ifindex }));
            }
        }
    }
    Ok(broken.into_iter().chain(whole).collect())
}

/// The network namespaces of the pods that are recorded. Records that can't be read are passed over.
pub fn namespaces(state_dir: &Path) -> Vec<PathBuf> {
    match Attachments::new(state_dir).all() {
        Ok((records, _)) => records.iter().filter_map(namespace).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot read the records of the CNI plugin");
            Vec::new()
        }
    }
}

/// The file of a pod's network namespace, if it is known.
pub fn namespace(record: &protocol::Attachment) -> Option<PathBuf> {
    (!record.netns.is_empty()).then(|| PathBuf::from(&record.netns))
}

/// The pod of the API, if it is one.
pub fn owner(pod: &protocol::PodName) -> Option<Owner> {
    let name = || ObjectName { namespace: pod.namespace.as_str().into(), name: pod.name.as_str().into() };
    (!pod.name.is_empty()).then(|| Owner { pod: name(), uid: Uid::of(&pod.uid) })
}

/// The pod of a record as the maps know it; `owner` is whose policies hold for it.
pub fn facts(record: &protocol::Attachment, owner: Option<Owner>) -> Attachment {
    Attachment {
        addresses: record.addresses.iter().map(|address| Address::from(*address)).collect(),
        pod: Pod { ifindex: record.host_ifindex, pod_mac: record.pod_mac.0, host_mac: record.host_mac.0, ..Pod::default() },
        owner,
        host_ports: record.host_ports.iter().map(host_port).collect(),
    }
}

fn host_port(port: &protocol::HostPort) -> HostPort {
    let number = match port.protocol {
        protocol::Transport::Tcp => ip_protocol::TCP,
        protocol::Transport::Udp => ip_protocol::UDP,
        protocol::Transport::Sctp => ip_protocol::SCTP,
    };
    HostPort { address: port.host_ip.map(Address::from), port: port.host_port, protocol: number, container_port: port.container_port }
}

/// What the maps hold for a device. Without any entry its pod has no address, but keeps its programs. Its ports on the node are lost.
fn salvage(ifindex: u32, held: &MapImage) -> Attachment {
    let entries = held.pods.iter().filter(|(_, pod)| pod.ifindex == ifindex);
    let (addresses, pods): (Vec<_>, Vec<_>) = entries.map(|(key, pod)| (key.address, *pod)).unzip();
    let pod = pods.first().copied().unwrap_or(Pod { ifindex, ..Pod::default() });
    Attachment { addresses, pod, ..Attachment::default() }
}

/// The index of a device in our namespace.
pub fn device_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The indices of all devices in our namespace.
pub fn device_indices() -> nix::Result<BTreeSet<u32>> {
    Ok(nix::net::if_::if_nameindex()?.iter().map(|device| device.index()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_abi::PodKey;
    use std::fs;

    fn broken(folder: &Path, container_id: &str) -> AttachmentName {
        fs::create_dir_all(folder.join("attachments")).unwrap();
        fs::write(folder.join(format!("attachments/{container_id}@eth0.json")), "{").unwrap();
        AttachmentName { container_id: container_id.into(), ifname: "eth0".into() }
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(restore(folder.path(), |_| None).unwrap().len(), 0, "a node that never had a pod has no folder");
        fs::write(folder.path().join("attachments"), "").unwrap();
        assert!(restore(folder.path(), |_| None).is_err());
    }

    #[test]
    fn ports_of_the_node_become_facts() {
        let text = r#"{"containerID":"c1","ifname":"eth0","pod":{"namespace":"","name":"","uid":""},"netns":"","hostIfname":"ork0","hostIfindex":7,
            "hostMac":"02:00:00:00:00:01","podMac":"02:00:00:00:00:02","addresses":["10.0.0.2"],
            "hostPorts":[{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"192.0.2.1"},{"hostPort":80,"containerPort":8080,"protocol":"sctp"}]}"#;
        let ports = facts(&serde_json::from_str(text).unwrap(), None).host_ports;
        let expected = [
            HostPort { address: Some(Address::from_v4([192, 0, 2, 1])), port: 53, protocol: 17, container_port: 5353 },
            HostPort { address: None, port: 80, protocol: 132, container_port: 8080 },
        ];
        assert_eq!(ports, expected);
    }

    #[test]
    fn a_broken_record_keeps_what_the_maps_hold_for_its_device() {
        let folder = tempfile::tempdir().unwrap();
        let (name, gone) = (broken(folder.path(), "c1"), broken(folder.path(), "c2"));
        let device = orknet_cni::host_name(&name);
        let records = restore(folder.path(), |asked| (asked == device).then_some(7)).unwrap();
        assert_eq!(records.iter().map(Record::name).collect::<Vec<_>>(), [&name], "{gone:?} has no device");
        let pod = Pod { ifindex: 7, pod_mac: [2; 6], host_mac: [3; 6], ..Pod::default() };
        let key = |last| PodKey { address: Address::from_v4([10, 0, 0, last]) };
        let held = MapImage { pods: [(key(2), pod), (key(3), Pod { ifindex: 8, ..pod })].into(), ..MapImage::default() };
        assert_eq!(records[0].facts(&held, true), Attachment { addresses: vec![key(2).address], pod, ..Attachment::default() });
        let nothing = Attachment { pod: Pod { ifindex: 7, ..Pod::default() }, ..Attachment::default() };
        assert_eq!(records[0].facts(&MapImage::default(), true), nothing);
    }
}
