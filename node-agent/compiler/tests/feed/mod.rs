//! YAML documents as changes, for golden tests.

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use orknet_abi::{Address, Pod};
use orknet_compiler::{Attachment, Change, Inputs, Names, NodeFacts, ObjectName, ServiceFacts, SliceFacts};
use serde::Deserialize;
use serde_yaml_ng::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// One object of a golden file.
pub enum Document {
    Service(ObjectName, Option<ServiceFacts>),
    Slice(ObjectName, Option<SliceFacts>),
    Attachment(Arc<str>, Attachment),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentDocument {
    name: String,
    addresses: Vec<IpAddr>,
    ifindex: u32,
    pod_mac: String,
    host_mac: String,
}

/// The first Node (without one: a node named `here`), and everything else.
pub fn documents(yaml: &str) -> (NodeFacts, Vec<Document>) {
    let mut names = Names::default();
    let mut node = None;
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document).unwrap();
        match value["kind"].as_str().unwrap() {
            "Node" => node = node.or(Some(NodeFacts::of(&serde_yaml_ng::from_value::<Node>(value).unwrap(), &mut names))),
            "Service" => {
                let service: Service = serde_yaml_ng::from_value(value).unwrap();
                let name = ObjectName::of(&service.metadata, &mut names);
                documents.push(Document::Service(name, ServiceFacts::of(&service, &mut names)));
            }
            "EndpointSlice" => {
                let slice: EndpointSlice = serde_yaml_ng::from_value(value).unwrap();
                let name = ObjectName::of(&slice.metadata, &mut names);
                documents.push(Document::Slice(name, SliceFacts::of(&slice, &mut names)));
            }
            "Attachment" => {
                let document: AttachmentDocument = serde_yaml_ng::from_value(value).unwrap();
                let pod = Pod { ifindex: document.ifindex, pod_mac: mac(&document.pod_mac), host_mac: mac(&document.host_mac) };
                let addresses = document.addresses.into_iter().map(Address::from).collect();
                documents.push(Document::Attachment(document.name.into(), Attachment { addresses, pod }));
            }
            other => panic!("golden files know no {other}"),
        }
    }
    (node.unwrap_or_else(|| NodeFacts { name: "here".into(), ..NodeFacts::default() }), documents)
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<_> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

impl Document {
    pub fn added(&self) -> Change {
        match self {
            Self::Service(name, facts) => Change::Service(name.clone(), facts.clone()),
            Self::Slice(name, facts) => Change::Slice(name.clone(), facts.clone()),
            Self::Attachment(name, facts) => Change::Attachment(name.clone(), Some(facts.clone())),
        }
    }

    pub fn removed(&self) -> Change {
        match self {
            Self::Service(name, _) => Change::Service(name.clone(), None),
            Self::Slice(name, _) => Change::Slice(name.clone(), None),
            Self::Attachment(name, _) => Change::Attachment(name.clone(), None),
        }
    }

    pub fn put(&self, inputs: &mut Inputs) {
        match self {
            Self::Service(name, facts) => inputs.services.extend(facts.clone().map(|facts| (name.clone(), facts))),
            Self::Slice(name, facts) => inputs.slices.extend(facts.clone().map(|facts| (name.clone(), facts))),
            Self::Attachment(name, facts) => drop(inputs.attachments.insert(name.clone(), facts.clone())),
        }
    }
}
