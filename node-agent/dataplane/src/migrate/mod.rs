//! What only the kernel knows goes over from another version to ours: which Service a socket speaks to, the backends that clients keep,
//! flows. Everything else comes from plans anew.
//!
//! A map that means the same to both is simply shared: old and new programs see what the other writes. What is of another layout or
//! capacity, or gets its memory at another time, is copied, once when the maps are opened, so that programs that take over find it, and again
//! around the end of the old programs, which write into their own maps until then. What our maps know better stays. No copy is as quick as
//! packets: a flow that the old programs open may meet ours next, so until all flows are copied these look into the old map, too, if it has
//! our layout.

#[cfg(test)]
mod tests;

use crate::{
    Error,
    bpffs::{self, Pins},
    kernel::{MapFile, Plain, Walk, When},
    table::{Table, Tables, difference, open_checked},
};
use orknet_abi::{
    self as abi, Address, AffinityChoice, AffinityKey, Connection, Flow, FlowKey, MapKind, MapSpec, SocketOrigin, Way, client_kind,
};
use std::path::{Path, PathBuf};

/// Entries that are read at once.
const BATCH: usize = 4_096;

/// The key of clients' backends in version 1 of the ABI.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AffinityKeyV1 {
    cookie: u64,
    address: Address,
    port_be: u16,
    protocol: u8,
    client_kind: u8,
    reserved: u32,
}

const _: () = assert!(size_of::<AffinityKeyV1>() == 32);

/// The version of the ABI since which FLOWS means what it means now.
const FLOWS_SINCE: u64 = 2;

/// Maps that only the kernel fills, and since which version of the ABI they mean what they mean now. TRANSLATED speaks of FLOWS: without
/// it, programs would take answers for what nobody need look at.
const KEPT: [(&MapSpec, u64); 6] = [
    (&abi::SOCKETS, 1),
    (&abi::CONNECTIONS, 1),
    (&abi::FLOWS, FLOWS_SINCE),
    (&abi::TRANSLATED, 2),
    (&abi::DATAGRAMS, 2),
    (&abi::AFFINITY, 2),
];

/// Pins maps of the newest other version among ours, if ours are not there yet: those that mean the same, have the same layout and the
/// capacity that is `wanted`, and get their memory when ours do. Must be called before ours are made.
pub(crate) fn share(pin_dir: &Path, pins: &Pins, wanted: impl Fn(&MapSpec) -> u32) -> Result<(), Error> {
    for version in bpffs::other_versions(pin_dir, pins)? {
        for (spec, _) in KEPT.into_iter().filter(|(_, since)| bpffs::version_of(&version) >= Some(*since)) {
            let (theirs, ours) = (version.join("maps").join(spec.name), pins.map(spec.name));
            if ours.exists() || !theirs.exists() {
                continue;
            }
            match open_checked(&theirs, spec, false) {
                Ok(map) if difference(&map, spec, wanted(spec)).is_none() => {
                    map.pin(&ours).map_err(Error::file("pin a shared map at", &ours))?
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a map of another version is not shared"),
            }
        }
    }
    Ok(())
}

/// Where flows are pinned that programs of ours must look up while they take over: those of the newest other version, if they have our
/// layout and are not ours already. Must be called when what means the same is shared.
pub(crate) fn former_flows(pin_dir: &Path, pins: &Pins) -> Result<Option<PathBuf>, Error> {
    let ours = MapFile::open(&pins.map(abi::FLOWS.name), true).ok().map(|map| map.shape().id);
    let versions = bpffs::other_versions(pin_dir, pins)?.into_iter().filter(|version| bpffs::version_of(version) >= Some(FLOWS_SINCE));
    let mut pinned = versions.map(|version| version.join("maps").join(abi::FLOWS.name));
    Ok(pinned.find(|path| open_checked(path, &abi::FLOWS, true).is_ok_and(|map| Some(map.shape().id) != ours)))
}

/// Forgets those flows of another version that are over: because its programs are gone, or somebody in them is. Programs of ours would find
/// them there, and carrying over bring them back. What is ours, too, stays. How many entries. Blocks for a fraction of a microsecond for each.
pub(crate) fn forget_flows(version: &Path, tables: &Tables, is_over: impl Fn(&FlowKey, &Flow) -> bool) -> Result<u64, Error> {
    let path = version.join("maps").join(abi::FLOWS.name);
    if !path.exists() {
        return Ok(0);
    }
    let theirs = MapFile::open(&path, false).map_err(Error::file("open the pinned map", &path))?;
    if theirs.shape().id == tables.flows.id() || !holds::<FlowKey, Flow>(&theirs, tables.flows.kind()) {
        return Ok(0);
    }
    let (mut walk, mut forgotten) = (Walk::<FlowKey, Flow>::new(BATCH), 0);
    while let Some((keys, flows)) = theirs.next_batch(&mut walk).map_err(Error::map("read", abi::FLOWS.name))? {
        let over: Vec<FlowKey> = keys.iter().zip(flows).filter(|(key, flow)| is_over(key, flow)).map(|(key, _)| *key).collect();
        forgotten += over.len() as u64;
        // One that is gone already is as it should be; those behind it are not.
        let mut rest = &over[..];
        while let Err((done, _)) = theirs.delete(rest) {
            rest = &rest[(done + 1).min(rest.len())..];
        }
    }
    Ok(forgotten)
}

/// Carries over from every other directory of pins, the newest first. Repeating it is harmless. What can't be read or written is
/// logged: it must not keep a node from starting.
pub(crate) fn carry_over(pin_dir: &Path, pins: &Pins, tables: &Tables) -> Result<(), Error> {
    for version in bpffs::other_versions(pin_dir, pins)? {
        let pin = |spec: &abi::MapSpec| version.join("maps").join(spec.name);
        let outcomes = [
            (abi::SOCKETS.name, carry(&pin(&abi::SOCKETS), &tables.sockets, as_it_is, new_socket)),
            (abi::CONNECTIONS.name, carry(&pin(&abi::CONNECTIONS), &tables.connections, as_it_is, younger_socket)),
            // Before the flows that it speaks of.
            (abi::TRANSLATED.name, carry(&pin(&abi::TRANSLATED), &tables.translated, as_it_is, if_either)),
            (abi::FLOWS.name, carry(&pin(&abi::FLOWS), &tables.flows, as_it_is, flow_used_later)),
            (abi::DATAGRAMS.name, carry(&pin(&abi::DATAGRAMS), &tables.datagrams, as_it_is, choice_used_later)),
            (abi::AFFINITY.name, carry(&pin(&abi::AFFINITY), &tables.affinity, as_it_is, choice_used_later)),
            // Version 1 had both in one map.
            (abi::DATAGRAMS.name, carry(&pin(&abi::AFFINITY), &tables.datagrams, widened_socket, choice_used_later)),
            (abi::AFFINITY.name, carry(&pin(&abi::AFFINITY), &tables.affinity, widened_client, choice_used_later)),
        ];
        for (map, outcome) in outcomes {
            match outcome {
                Ok(0) => {}
                Ok(carried) => tracing::info!(map, carried, from = %version.display(), "carried over what only the kernel knows"),
                Err(error) => tracing::warn!(map, %error, from = %version.display(), "can't carry over what only the kernel knows"),
            }
        }
    }
    Ok(())
}

/// Carries one map over: `key` makes a key of ours, for what belongs into this map; `merge` says what is to be written for an entry of theirs and one of ours, if
/// anything. A map that is not there, that is shared, or whose entries are not these, has nothing to give. How many entries were written.
fn carry<Old: Plain, K: Plain, V: Plain>(
    pin: &Path,
    ours: &Table<K, V>,
    key: fn(Old) -> Option<K>,
    merge: fn(V, Option<V>) -> Option<V>,
) -> Result<u64, Error> {
    if !pin.exists() {
        return Ok(0);
    }
    let theirs = MapFile::open(pin, true).map_err(Error::file("open the pinned map", pin))?;
    if theirs.shape().id == ours.id() || !holds::<Old, V>(&theirs, ours.kind()) {
        return Ok(0);
    }
    let mut walk = Walk::<Old, V>::new(BATCH);
    let mut carried = 0;
    while let Some((keys, values)) = theirs.next_batch(&mut walk).map_err(Error::map("read", ours.name()))? {
        for (old, value) in keys.iter().zip(values) {
            if merge(*value, None).is_none() {
                continue;
            }
            let Some(key) = key(*old) else { continue };
            let own = ours.get_single(&key)?;
            if let Some(merged) = merge(*value, own) {
                let when = if own.is_none() { When::Absent } else { When::Any };
                carried += u64::from(ours.put_when(&key, merged, when)?);
            }
        }
    }
    Ok(carried)
}

/// Whether a map is of this kind and has entries of these sizes.
fn holds<K, V>(file: &MapFile, kind: MapKind) -> bool {
    let shape = file.shape();
    (shape.kind, shape.key_size as usize, shape.value_size as usize) == (kind as u32, size_of::<K>(), size_of::<V>())
}

fn as_it_is<K>(key: K) -> Option<K> {
    Some(key)
}

fn widened_socket(key: AffinityKeyV1) -> Option<AffinityKey> {
    (key.client_kind == client_kind::SOCKET).then(|| widened(key))
}

fn widened_client(key: AffinityKeyV1) -> Option<AffinityKey> {
    (key.client_kind != client_kind::SOCKET).then(|| widened(key))
}

/// A cookie is in the first eight bytes of a client.
fn widened(key: AffinityKeyV1) -> AffinityKey {
    let mut client = [0; 16];
    client[..8].copy_from_slice(&key.cookie.to_ne_bytes());
    AffinityKey {
        client: Address(client),
        address: key.address,
        port_be: key.port_be,
        protocol: key.protocol,
        client_kind: key.client_kind,
    }
}

fn new_socket(theirs: SocketOrigin, ours: Option<SocketOrigin>) -> Option<SocketOrigin> {
    ours.is_none().then_some(theirs)
}

/// Sockets share slots; the kernel counts cookies up. Every slot of ours is there, empty ones with cookie 0.
fn younger_socket(theirs: Connection, ours: Option<Connection>) -> Option<Connection> {
    (theirs.cookie > ours.map_or(0, |connection| connection.cookie)).then_some(theirs)
}

/// A flag that is set for good.
fn if_either(theirs: u32, ours: Option<u32>) -> Option<u32> {
    (theirs > ours.unwrap_or(0)).then_some(theirs)
}

fn flow_used_later(theirs: Flow, ours: Option<Flow>) -> Option<Flow> {
    ours.is_none_or(|flow| theirs.used_seconds > flow.used_seconds).then_some(Flow { way: Way::default(), ..theirs })
}

/// Lists have other numbers in other maps: the programs look for the place of a backend whose list is no list.
fn choice_used_later(theirs: AffinityChoice, ours: Option<AffinityChoice>) -> Option<AffinityChoice> {
    let is_later = ours.is_none_or(|choice| theirs.used_seconds > choice.used_seconds);
    is_later.then_some(AffinityChoice { list: 0, slot: 0, ..theirs })
}
