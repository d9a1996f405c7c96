//! Everything at once: objects in, image out. The yardstick that the incremental [`crate::State`] is measured against.

use crate::claims::{Claim, claims_of};
use crate::demand::{self, Rank};
use crate::facts::{Attachment, NodeFacts, ObjectName, Options, ServiceFacts, SliceFacts};
use crate::fronts::{Front, Ground, fronts};
use crate::hosts::host_fronts;
use crate::image::MapImage;
use crate::maglev::is_table_size;
use crate::policy::whole::{self, PolicyInputs};
use crate::tables::{self, Addresses};
use orknet_abi::{Backend, BackendKey, Node, Range, RangeKey, ServiceKey, SourceKey, TableKey};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// All that the maps depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    pub node: NodeFacts,
    pub options: Options,
    pub services: BTreeMap<ObjectName, ServiceFacts>,
    pub slices: BTreeMap<ObjectName, SliceFacts>,
    /// By a name that is unique on the node: container and interface. No two have an address in common (see [`Attachment`]).
    pub attachments: BTreeMap<Arc<str>, Attachment>,
    pub ranges: BTreeMap<RangeKey, Range>,
    /// What programs must know of the node.
    pub settings: Option<Node>,
    pub policy: PolicyInputs,
}

/// The image of these inputs. Lists, tables and sets are numbered from 1 in the order of the Services' entries, so equal inputs give
/// equal images.
pub fn compile(inputs: &Inputs) -> MapImage {
    let mut image = MapImage { ranges: inputs.ranges.clone(), node: inputs.settings, ..MapImage::default() };
    whole::put(&inputs.attachments, &inputs.policy, &mut image);
    let fronts = all_fronts(inputs);
    let size = image.node.map(|node| node.table_size).filter(|size| is_table_size(*size)).unwrap_or(0);
    let wanted: BTreeMap<Rank, ()> = fronts.values().filter_map(|front| rank(front, size)).map(|rank| (rank, ())).collect();
    let limit = demand::limit(&wanted, tables::most(inputs.options.table_room, size));
    let mut parts = Parts { size, limit, ..Parts::default() };
    for (key, front) in fronts {
        let list = parts.put_list(&front, &mut image);
        let table = parts.put_table(&front, &mut image);
        let sources = front.sources.as_ref().map_or(0, |ranges| parts.put_sources(ranges, &mut image));
        image.services.insert(key, front.value(list, table, sources));
    }
    image
}

fn all_fronts(inputs: &Inputs) -> BTreeMap<ServiceKey, Front> {
    let mut owners: BTreeMap<Claim, &ObjectName> = BTreeMap::new();
    for (name, service) in &inputs.services {
        for claim in claims_of(service) {
            owners.entry(claim).or_insert(name);
        }
    }
    let mut slices: BTreeMap<(&str, &str), Vec<&SliceFacts>> = BTreeMap::new();
    for (name, slice) in &inputs.slices {
        slices.entry((&name.namespace, &slice.service)).or_default().push(slice);
    }
    let ground = Ground { node: &inputs.node, options: &inputs.options, owner: |claim: &Claim| owners.get(claim).copied() };
    let mut entries = host_fronts(inputs.attachments.values(), &ground);
    for (name, service) in &inputs.services {
        let own = slices.get(&(&*name.namespace, &*name.name)).map(Vec::as_slice).unwrap_or_default();
        entries.extend(fronts(name, service, own.iter().copied(), &ground));
    }
    entries
}

/// The table that a front wants.
fn rank(front: &Front, size: u32) -> Option<Rank> {
    let addresses = front.table(size)?;
    Some((tables::rank(&addresses), addresses))
}

/// What has a number already.
#[derive(Default)]
struct Parts {
    lists: HashMap<Arc<[Backend]>, u32>,
    tables: HashMap<Addresses, u32>,
    sources: HashMap<Arc<[RangeKey]>, u32>,
    /// Positions of a table; 0 for no tables.
    size: u32,
    /// The first table that has no room.
    limit: Option<Rank>,
}

impl Parts {
    fn put_list(&mut self, front: &Front, image: &mut MapImage) -> u32 {
        if front.backends.is_empty() {
            return 0;
        }
        numbered(&mut self.lists, &front.backends, |list| {
            image.backends.extend((0..).map(|slot| BackendKey { list, slot }).zip(front.backends.iter().copied()));
        })
    }

    fn put_table(&mut self, front: &Front, image: &mut MapImage) -> u32 {
        let granted = rank(front, self.size).filter(|rank| self.limit.as_ref().is_none_or(|limit| rank < limit));
        granted.map_or(0, |(_, addresses)| {
            numbered(&mut self.tables, &addresses, |table| {
                image.tables.extend((0..).map(|chunk| TableKey { table, chunk }).zip(tables::chunks(&addresses, self.size)));
            })
        })
    }

    fn put_sources(&mut self, ranges: &Arc<[RangeKey]>, image: &mut MapImage) -> u32 {
        numbered(&mut self.sources, ranges, |set| image.sources.extend(ranges.iter().map(|range| SourceKey::new(set, range))))
    }
}

fn numbered<C: Clone + Eq + Hash>(known: &mut HashMap<C, u32>, content: &C, put: impl FnOnce(u32)) -> u32 {
    let next = known.len() as u32 + 1;
    let number = *known.entry(content.clone()).or_insert(next);
    if number == next {
        put(number);
    }
    number
}
