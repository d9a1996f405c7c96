//! Sockets that went through a Service to a backend that is gone: found in the maps that the socket hooks fill, ended in the network
//! namespaces where they live. No later packet of theirs would pass a hook, so nothing else would move them.

mod closed;
mod diag;
mod namespaces;
#[cfg(test)]
mod tests;

use crate::{
    Dataplane, Error,
    flows::{AskGone, Use},
    table::Table,
};
use diag::Diagnosis;
use namespaces::Namespaces;
use orknet_abi::{Address, Backend, Connection, SocketKey, SocketOrigin, connection_slot, protocol};
use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::PathBuf,
};

/// Sockets by number, protocol, and what they are connected to.
type Lost = HashSet<(u64, u8, Address, u16)>;

/// TCP sockets by number, and where they lead.
type Streams = Vec<(Use, u64)>;

/// What became of the sockets of backends that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedSockets {
    /// Connected UDP sockets that were destroyed.
    pub udp: u64,
    /// TCP connections that were reset.
    pub tcp: u64,
}

impl Dataplane {
    /// Ends the sockets that are connected, through a Service, to backends that `ask_gone` says are gone: their owners get
    /// ECONNABORTED and, when they connect again, another backend. Looks into the namespace of the calling thread and into those at
    /// `namespaces`, which is asked for paths only if there is something to look for.
    ///
    /// Reads the maps of sockets: blocks for some tens of milliseconds. In each namespace, for about a microsecond per socket there.
    ///
    /// # Errors
    /// A map that can't be read or written. A namespace that can't be entered is logged, and looked into again the next time.
    pub fn end_lost_sockets(&self, ask_gone: &mut AskGone<'_>, namespaces: &dyn Fn() -> Vec<PathBuf>) -> Result<EndedSockets, Error> {
        let tables = self.reader().tables();
        Maps { sockets: &tables.sockets, connections: &tables.connections }.end_lost(ask_gone, namespaces)
    }
}

/// What the socket hooks remember.
struct Maps<'a> {
    sockets: &'a Table<SocketKey, SocketOrigin>,
    connections: &'a Table<u32, Connection>,
}

impl Maps<'_> {
    fn end_lost(&self, ask_gone: &mut AskGone<'_>, namespaces: &dyn Fn() -> Vec<PathBuf>) -> Result<EndedSockets, Error> {
        let (datagrams, streams) = self.lost(ask_gone)?;
        if datagrams.is_empty() && streams.is_empty() {
            return Ok(EndedSockets::default());
        }
        let mut lost: Lost = datagrams.iter().map(|key| (key.cookie, protocol::UDP, key.address, key.port_be)).collect();
        lost.extend(streams.iter().map(|(used, cookie)| (*cookie, protocol::TCP, used.backend.address, used.backend.port_be)));
        let (ended, is_complete) = end_everywhere(&lost, namespaces());
        if is_complete {
            self.forget(&datagrams, streams.iter().map(|(_, cookie)| *cookie))?;
        }
        Ok(ended)
    }

    /// What leads to backends that are gone: UDP sockets, and TCP sockets with where they lead.
    fn lost(&self, ask_gone: &mut AskGone<'_>) -> Result<(Vec<SocketKey>, Streams), Error> {
        let mut uses = BTreeSet::new();
        self.sockets.read_single(|key, origin| _ = uses.insert(of_datagrams(&key, &origin)))?;
        self.connections.read_single(|_, connection| uses.extend(of_stream(&connection)))?;
        let gone = if uses.is_empty() { uses } else { ask_gone(&uses) };
        let (mut datagrams, mut streams) = (Vec::new(), Streams::new());
        if gone.is_empty() {
            return Ok((datagrams, streams));
        }
        // Read once more, since it is seldom needed: many sockets lead to few backends.
        self.sockets.read_single(|key, origin| datagrams.extend(gone.contains(&of_datagrams(&key, &origin)).then_some(key)))?;
        self.connections.read_single(|_, connection| {
            let lost = of_stream(&connection).filter(|used| gone.contains(used));
            streams.extend(lost.map(|used| (used, connection.cookie)));
        })?;
        Ok((datagrams, streams))
    }

    /// Sockets that are ended, or were over already, are not looked for again.
    fn forget(&self, datagrams: &[SocketKey], streams: impl Iterator<Item = u64>) -> Result<(), Error> {
        let mut failure = None;
        self.sockets.delete(datagrams, |_, error| failure = Some(error));
        for cookie in streams {
            let slot = connection_slot(cookie);
            // Another socket may have taken the slot since.
            if self.connections.get_single(&slot)?.is_some_and(|connection| connection.cookie == cookie) {
                self.connections.put_one(&slot, Connection::default())?;
            }
        }
        failure.map_or(Ok(()), |error| Err(Error::map("delete from", self.sockets.name())(error)))
    }
}

/// Ends the sockets in our namespace and in these; whether all namespaces could be looked into.
fn end_everywhere(lost: &Lost, namespaces: Vec<PathBuf>) -> (EndedSockets, bool) {
    let mut ended = EndedSockets::default();
    let is_complete = Namespaces::at(namespaces).each(&mut || end_here(lost, &mut ended));
    (ended, is_complete)
}

/// The same in the calling thread's namespace.
fn end_here(lost: &Lost, ended: &mut EndedSockets) -> io::Result<()> {
    let diagnosis = Diagnosis::open()?;
    for (protocol, count) in [(protocol::UDP, &mut ended.udp), (protocol::TCP, &mut ended.tcp)] {
        if !lost.iter().any(|(_, of, ..)| *of == protocol) {
            continue;
        }
        for socket in diagnosis.connected(protocol)? {
            if lost.contains(&(socket.cookie, protocol, socket.peer, socket.peer_port_be)) {
                *count += u64::from(diagnosis.destroy(protocol, &socket)?);
            }
        }
    }
    Ok(())
}

fn of_datagrams(key: &SocketKey, origin: &SocketOrigin) -> Use {
    Use {
        front: origin.address,
        front_port_be: origin.port_be,
        protocol: protocol::UDP,
        backend: Backend { address: key.address, port_be: key.port_be, reserved: 0 },
    }
}

/// None for a slot that no socket has.
fn of_stream(connection: &Connection) -> Option<Use> {
    (connection.cookie != 0).then_some(Use {
        front: connection.address,
        front_port_be: connection.port_be,
        protocol: protocol::TCP,
        backend: Backend { address: connection.backend, port_be: connection.backend_port_be, reserved: 0 },
    })
}
