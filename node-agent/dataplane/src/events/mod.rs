//! What programs tell: the ring of events, what is told into it, and what was not told. One process reads the ring: what it has read, nobody
//! else reads. [`packet`] reads what an event shows of a frame, [`read`] the event itself, [`origin`] knows the Service that a socket asked for.

mod origin;
mod packet;
mod read;

use crate::{Dataplane, Error, bpffs::Pins};
use aya::maps::{Map, MapData, MapError, RingBuf};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use orknet_abi::{Count, DropReason, EVENTS, Event, Monitor, event_kind, lost};
use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd},
};

use origin::Origins;

pub use packet::{Packet, Transport};

/// An event, and what it shows of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub event: Event,
    /// `None` for a frame that is neither IPv4 nor IPv6, or too short to say from where to where it goes.
    pub packet: Option<Packet>,
    /// The Service's address and port that the packet's socket connected or sent to, where it speaks to the backend itself.
    pub front: Option<SocketAddr>,
}

impl Told {
    /// Why the packet was dropped or the call refused; `None` for other events, and for a reason that this version does not know.
    pub fn dropped(&self) -> Option<DropReason> {
        let is_drop = matches!(self.event.kind, event_kind::DROP | event_kind::REFUSED);
        DropReason::ALL.iter().find(|reason| is_drop && **reason as u32 == self.event.reason).copied()
    }
}

/// Events that programs could not tell since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// There were more in a tick than [`Monitor::per_tick`].
    pub rate: u64,
    /// Nobody had read for too long: the ring was full.
    pub full: u64,
}

/// The reading end of the ring; dropping it leaves the ring as it is.
pub struct Events {
    ring: RingBuf<MapData>,
    /// What sockets are remembered for, where programs run at sockets.
    origins: Option<Origins>,
}

impl Events {
    fn open(pins: &Pins) -> Result<Self, Error> {
        let failed = |error: &dyn fmt::Display| Error::map("open", EVENTS.name)(io::Error::other(error.to_string()));
        let data = MapData::from_pin(pins.map(EVENTS.name)).map_err(|error| failed(&error))?;
        let events = Self::over(Map::from_map_data(data).map_err(|error| failed(&error))?)?;
        Ok(Self { origins: Some(Origins::open(pins)?), ..events })
    }

    /// The reading end of a ring that need not be pinned.
    pub(crate) fn over(map: Map) -> Result<Self, Error> {
        let ring: Result<_, MapError> = map.try_into();
        let ring = ring.map_err(|error| Error::map("open", EVENTS.name)(io::Error::other(error.to_string())))?;
        Ok(Self { ring, origins: None })
    }

    /// Blocks until there are events, or `end` can be read or is closed at its other end; whether it was the former alone.
    pub fn wait(&self, end: BorrowedFd<'_>) -> Result<bool, Error> {
        let mut files = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN), PollFd::new(end, PollFlags::POLLIN)];
        match poll(&mut files, PollTimeout::NONE) {
            // A signal: nothing is there yet, and nobody has ended it.
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(Error::map("wait for", EVENTS.name)(error.into())),
            Ok(_) => Ok(!files[1].any().unwrap_or(true)),
        }
    }

    /// The next event, the oldest first; `None` if there is none now. What is no event of this version is passed over.
    pub fn take(&mut self) -> Option<Told> {
        loop {
            let entry = self.ring.next()?;
            if let Some(event) = read::event(&entry) {
                let shown = event.head.get(..event.head_bytes as usize).unwrap_or(&event.head);
                let packet = Packet::read(shown);
                let front =
                    packet.as_ref().filter(|_| event.cookie != 0).and_then(|packet| self.origins.as_ref()?.front(event.cookie, packet));
                return Some(Told { event, packet, front });
            }
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Dataplane {
    /// The ring that the programs tell their events into. Reading it is for one process, and one reader in it, at a time.
    pub fn events(&self) -> Result<Events, Error> {
        Events::open(&self.pins)
    }

    /// Says what programs are to tell from now on.
    pub fn tell_events(&self, what: Monitor) -> Result<(), Error> {
        self.reader().tables().monitor.put_one(&0, what)
    }
}

impl crate::Reader {
    /// How many events programs could not tell.
    pub fn untold_events(&self) -> Result<Untold, Error> {
        let counts = |index| -> Result<u64, Error> {
            Ok(self.tables().lost.get(&index)?.unwrap_or_default().iter().map(|count: &Count| count.packets).sum())
        };
        Ok(Untold { rate: counts(lost::RATE)?, full: counts(lost::FULL)? })
    }
}
