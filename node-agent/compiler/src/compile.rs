//! Everything at once: objects in, image out. The yardstick that the incremental [`crate::State`] is measured against.

use crate::facts::{Attachment, NodeFacts, ObjectName, ServiceFacts, SliceFacts};
use crate::fronts::fronts;
use crate::image::MapImage;
use orknet_abi::{Address, BackendKey, Node, Range, RangeKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that the maps depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    pub node: NodeFacts,
    pub services: BTreeMap<ObjectName, ServiceFacts>,
    pub slices: BTreeMap<ObjectName, SliceFacts>,
    /// By a name that is unique on the node: container and interface. No two have an address in common (see [`Attachment`]).
    pub attachments: BTreeMap<Arc<str>, Attachment>,
    pub ranges: BTreeMap<RangeKey, Range>,
    /// What programs must know of the node.
    pub settings: Option<Node>,
}

/// The image of these inputs. Lists are numbered from 1 in the order of the Services' entries, so equal inputs give equal images.
///
/// An address that two Services claim belongs to the one whose name comes first. That happens only for a moment, when one event of a
/// replacement has been seen and the other has not.
pub fn compile(inputs: &Inputs) -> MapImage {
    let mut image = MapImage { ranges: inputs.ranges.clone(), node: inputs.settings, ..MapImage::default() };
    for attachment in inputs.attachments.values() {
        image.pods.extend(attachment.entries());
    }
    let mut owners: BTreeMap<Address, &ObjectName> = BTreeMap::new();
    for (name, service) in &inputs.services {
        for &address in &service.cluster_addresses {
            owners.entry(address).or_insert(name);
        }
    }
    let mut slices: BTreeMap<(&str, &str), Vec<&SliceFacts>> = BTreeMap::new();
    for (name, slice) in &inputs.slices {
        slices.entry((&name.namespace, &slice.service)).or_default().push(slice);
    }
    let mut entries = BTreeMap::new();
    for (name, service) in &inputs.services {
        let own = slices.get(&(&*name.namespace, &*name.name)).map(Vec::as_slice).unwrap_or_default();
        entries.extend(fronts(service, own.iter().copied(), &inputs.node, |address| owners.get(&address) == Some(&name)));
    }
    let mut list = 0;
    for (key, front) in entries {
        if front.backends.is_empty() {
            image.services.insert(key, front.value(0));
            continue;
        }
        list += 1;
        image.services.insert(key, front.value(list));
        image.backends.extend((0..).map(|slot| BackendKey { list, slot }).zip(front.backends));
    }
    image
}
