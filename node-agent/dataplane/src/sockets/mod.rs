//! Sockets that went through a Service to a backend that is gone: found in the maps that the socket hooks fill, ended in the network
//! namespaces where they live. No later packet of theirs would pass a hook, so nothing else would move them.

mod closed;
mod cookies;
mod diag;
mod namespaces;
mod open;
#[cfg(test)]
mod tests;
pub(crate) mod uncertain;

use crate::{
    Dataplane, Error,
    flows::{AskGone, Use},
    pace::{self, Pace, Rest, paced},
    table::Table,
};
pub use cookies::namespace_cookies_at;
use diag::{Diagnosis, Found};
use namespaces::Namespaces;
pub use open::{FirstRules, PodSockets};
use orknet_abi::{Address, Backend, Connection, SocketKey, SocketOrigin, connection_slot, protocol};
use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::PathBuf,
};

/// Names the files of the network namespaces in which sockets are looked for.
pub type NamespacePaths<'a> = dyn Fn() -> Vec<PathBuf> + 'a;

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
    /// Reads the maps of sockets, about 0.3 µs for each entry, and looks at each socket in each namespace, about a microsecond. `pace` is
    /// told in between, every millisecond of work or less, as it is of [`Self::sweep_flows`]. What is left when it ends the work is done
    /// the next time.
    ///
    /// # Errors
    /// A map that can't be read or written. A namespace that can't be entered is logged, and looked into again the next time.
    pub fn end_lost_sockets(
        &self,
        ask_gone: &mut AskGone<'_>,
        namespaces: &NamespacePaths<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<EndedSockets, Error> {
        let tables = self.reader().tables();
        Maps { sockets: &tables.sockets, connections: &tables.connections }.end_lost(ask_gone, namespaces, pace)
    }
}

/// What the socket hooks remember.
struct Maps<'a> {
    sockets: &'a Table<SocketKey, SocketOrigin>,
    connections: &'a Table<u32, Connection>,
}

impl Maps<'_> {
    fn end_lost(&self, ask_gone: &mut AskGone<'_>, namespaces: &NamespacePaths<'_>, pace: &mut Pace<'_>) -> Result<EndedSockets, Error> {
        let Some(lost) = paced(pace, |rest| self.lost(ask_gone, rest)) else { return Ok(EndedSockets::default()) };
        let (datagrams, streams) = lost?;
        if datagrams.is_empty() && streams.is_empty() {
            return Ok(EndedSockets::default());
        }
        let mut lost: Lost = datagrams.iter().map(|key| (key.cookie, protocol::UDP, key.address, key.port_be)).collect();
        lost.extend(streams.iter().map(|(used, cookie)| (*cookie, protocol::TCP, used.backend.address, used.backend.port_be)));
        let (ended, is_complete) = end_everywhere(&lost, namespaces(), pace);
        if is_complete {
            self.forget(&datagrams, streams.iter().map(|(_, cookie)| *cookie))?;
        }
        Ok(ended)
    }

    /// What leads to backends that are gone: UDP sockets, and TCP sockets with where they lead.
    fn lost(&self, ask_gone: &mut AskGone<'_>, rest: &mut Rest<'_>) -> Result<(Vec<SocketKey>, Streams), Error> {
        let mut uses = BTreeSet::new();
        pace::read(self.sockets, rest, |key, origin| _ = uses.insert(of_datagrams(&key, &origin)))?;
        pace::read(self.connections, rest, |_, connection| uses.extend(of_stream(&connection)))?;
        let gone = if uses.is_empty() { uses } else { ask_gone(&uses) };
        let (mut datagrams, mut streams) = (Vec::new(), Streams::new());
        if gone.is_empty() {
            return Ok((datagrams, streams));
        }
        // Read once more, since it is seldom needed: many sockets lead to few backends.
        pace::read(self.sockets, rest, |key, origin| datagrams.extend(gone.contains(&of_datagrams(&key, &origin)).then_some(key)))?;
        pace::read(self.connections, rest, |_, connection| {
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
fn end_everywhere(lost: &Lost, namespaces: Vec<PathBuf>, pace: &mut Pace<'_>) -> (EndedSockets, bool) {
    let mut ended = EndedSockets::default();
    let is_complete = Namespaces::at(namespaces).each(pace, &mut |rest| end_here(lost, &mut ended, rest));
    (ended, is_complete)
}

/// The same in the calling thread's namespace.
fn end_here(lost: &Lost, ended: &mut EndedSockets, rest: &mut Rest<'_>) -> io::Result<()> {
    /// Sockets that are ended in one piece of work; each takes some microseconds.
    const SOME: u64 = 32;
    let diagnosis = Diagnosis::open()?;
    for (protocol, count) in [(protocol::UDP, &mut ended.udp), (protocol::TCP, &mut ended.tcp)] {
        if !lost.iter().any(|(_, of, ..)| *of == protocol) {
            continue;
        }
        let is_lost = |socket: &Found| lost.contains(&(socket.cookie, protocol, socket.peer, socket.peer_port_be));
        let found = diagnosis.connected(protocol, rest)?;
        for (number, socket) in (1_u64..).zip(found.iter().filter(|socket| is_lost(socket))) {
            *count += u64::from(diagnosis.destroy(protocol, socket)?);
            if number % SOME == 0 && !rest() {
                return Ok(());
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
