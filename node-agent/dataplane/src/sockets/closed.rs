//! What is remembered of UDP sockets that are closed. Programs do not learn of the end of a socket, so the entries stay until newer ones
//! push them out, and with them those of sockets that are seldom heard of. While there is room that harms nobody and is left alone.

use super::{Diagnosis, NamespacePaths, Namespaces};
use crate::{
    Dataplane, Error,
    pace::{self, BATCH, Pace, Rest, paced},
    table::Table,
};
use orknet_abi::{AffinityChoice, AffinityKey, SocketKey, SocketOrigin};
use std::collections::HashSet;

impl Dataplane {
    /// Forgets what is remembered of UDP sockets that are closed, in maps that are more than half full: what is left is of open sockets, or
    /// new. Open sockets are those in the namespace of the calling thread, in those at `namespaces`, and in those of all processes that this
    /// one may look at. If one of these cannot be looked into, nothing is forgotten. How many entries were.
    ///
    /// Reads two maps, about 0.3 µs for each entry, and looks at each socket, about a microsecond, at a `pace` as
    /// [`Self::end_lost_sockets`] does. If it is ended, nothing is forgotten.
    ///
    /// # Errors
    /// A map that can't be read or written.
    pub fn forget_closed_sockets(&self, namespaces: &NamespacePaths<'_>, pace: &mut Pace<'_>) -> Result<u64, Error> {
        let tables = self.reader().tables();
        forget(&tables.sockets, &tables.datagrams, &|| Namespaces::of_processes_and(namespaces()), pace)
    }
}

pub(super) fn forget(
    sockets: &Table<SocketKey, SocketOrigin>,
    datagrams: &Table<AffinityKey, AffinityChoice>,
    namespaces: &dyn Fn() -> Namespaces,
    pace: &mut Pace<'_>,
) -> Result<u64, Error> {
    // Entries before sockets: what opens meanwhile is not looked for.
    let (mut spoke, mut kept) = (Vec::new(), Vec::new());
    let read = paced(pace, |rest| {
        pace::read(sockets, rest, |key, _| spoke.push(key))?;
        pace::read(datagrams, rest, |key, _| kept.push(key))
    });
    let Some(read) = read else { return Ok(0) };
    read?;
    spoke = if is_crowded(spoke.len(), sockets.capacity()) { spoke } else { Vec::new() };
    kept = if is_crowded(kept.len(), datagrams.capacity()) { kept } else { Vec::new() };
    if spoke.is_empty() && kept.is_empty() {
        return Ok(0);
    }
    let mut open = HashSet::new();
    let mut look = |rest: &mut Rest<'_>| {
        open.extend(Diagnosis::open()?.datagram_sockets(rest)?);
        Ok(())
    };
    if !namespaces().each(pace, &mut look) {
        return Ok(0);
    }
    spoke.retain(|key| !open.contains(&key.cookie));
    kept.retain(|key| !open.contains(&cookie_of(key)));
    let mut failure = None;
    // What is not deleted when the work is ended is found again.
    let _ = paced(pace, |rest| {
        for keys in spoke.chunks(BATCH) {
            sockets.delete(keys, |_, error| failure = Some(Error::map("delete from", sockets.name())(error)));
            rest();
        }
        for keys in kept.chunks(BATCH) {
            datagrams.delete(keys, |_, error| failure = Some(Error::map("delete from", datagrams.name())(error)));
            rest();
        }
    });
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
