//! What is remembered of UDP sockets that are closed. Programs do not learn of the end of a socket, so the entries stay until newer ones
//! push them out, and with them those of sockets that are seldom heard of. While there is room that harms nobody and is left alone.

use super::{Diagnosis, Namespaces};
use crate::{Dataplane, Error, table::Table};
use orknet_abi::{AffinityChoice, AffinityKey, SocketKey, SocketOrigin};
use std::{collections::HashSet, path::PathBuf};

impl Dataplane {
    /// Forgets what is remembered of UDP sockets that are closed, in maps that are more than half full: what is left is of open sockets, or
    /// new. Open sockets are those in the namespace of the calling thread, in those at `namespaces`, and in those of all processes that this
    /// one may look at. If one of these cannot be looked into, nothing is forgotten. How many entries were.
    ///
    /// Reads two maps; blocks for some tens of milliseconds with 100,000 entries, and for about a microsecond per socket.
    ///
    /// # Errors
    /// A map that can't be read or written.
    pub fn forget_closed_sockets(&self, namespaces: &dyn Fn() -> Vec<PathBuf>) -> Result<u64, Error> {
        let tables = self.reader().tables();
        forget(&tables.sockets, &tables.datagrams, &|| Namespaces::of_processes_and(namespaces()))
    }
}

pub(super) fn forget(
    sockets: &Table<SocketKey, SocketOrigin>,
    datagrams: &Table<AffinityKey, AffinityChoice>,
    namespaces: &dyn Fn() -> Namespaces,
) -> Result<u64, Error> {
    // Entries before sockets: what opens meanwhile is not looked for.
    let (mut spoke, mut kept) = (Vec::new(), Vec::new());
    sockets.read_single(|key, _| spoke.push(key))?;
    datagrams.read_single(|key, _| kept.push(key))?;
    spoke = if is_crowded(spoke.len(), sockets.capacity()) { spoke } else { Vec::new() };
    kept = if is_crowded(kept.len(), datagrams.capacity()) { kept } else { Vec::new() };
    if spoke.is_empty() && kept.is_empty() {
        return Ok(0);
    }
    let mut open = HashSet::new();
    let mut look = || {
        open.extend(Diagnosis::open()?.datagram_sockets()?);
        Ok(())
    };
    if !namespaces().each(&mut look) {
        return Ok(0);
    }
    spoke.retain(|key| !open.contains(&key.cookie));
    kept.retain(|key| !open.contains(&cookie_of(key)));
    let mut failure = None;
    sockets.delete(&spoke, |_, error| failure = Some(Error::map("delete from", sockets.name())(error)));
    datagrams.delete(&kept, |_, error| failure = Some(Error::map("delete from", datagrams.name())(error)));
    failure.map_or(Ok((spoke.len() + kept.len()) as u64), Err)
}

/// Whether newer entries will soon push out old ones.
fn is_crowded(entries: usize, capacity: u32) -> bool {
    entries > capacity as usize / 2
}

/// The cookie that stands where a client's address would.
fn cookie_of(key: &AffinityKey) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = key.client.0;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
