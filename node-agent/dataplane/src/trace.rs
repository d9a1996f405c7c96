//! [`Tracer`]: the real programs over the real maps, for packets that somebody made, without a trace in anything that lives. A second load
//! of the same object reads the pinned maps that user space writes; what programs write, it writes into maps of its own, which end with it.
//! Flows that are known are looked up in the pinned map, and become the second load's own as they are used.

use crate::{
    Arrival, Error, Events, Hook, Ran, Reader, Told,
    bpffs::Pins,
    dataplane::run_program,
    object::{self, OBJECT},
    program_log,
    programs::Programs,
    table::{Table, open_checked},
};
use aya::{Ebpf, EbpfLoader, maps::Map};
use orknet_abi::{
    AFFINITY, AffinityChoice, AffinityKey, BACKENDS, CONNECTIONS, Count, DATAGRAMS, DEVICES, DROPS, DropReason, EVENTS, FLOWS, FORMER,
    FORMER_FLOWS, FRAGMENTS, GENERATION, MapSpec, NODE, PEERS, PODS, PORTS, RANGES, RULES, SERVICES, SOCKETS, SOURCES, TABLES, TRACE,
    TRANSLATED, UNCERTAIN, VERDICTS,
};
use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

/// What user space alone writes: used as it is pinned.
const SHARED: [&MapSpec; 14] =
    [&SERVICES, &BACKENDS, &TABLES, &SOURCES, &RANGES, &NODE, &PODS, &PEERS, &VERDICTS, &PORTS, &RULES, &UNCERTAIN, &DEVICES, &GENERATION];
/// Room for what one packet or a few leave behind, where the maps that live have much more.
const SMALL: [(&MapSpec, u32); 5] = [(&FLOWS, 1_024), (&FRAGMENTS, 1_024), (&SOCKETS, 1_024), (&DATAGRAMS, 1_024), (&CONNECTIONS, 1)];

/// What a program made of a packet, and what it told of it, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    pub ran: Ran,
    pub told: Vec<Told>,
    /// Why it does not go on: it was dropped, or answered by a refusal in its place.
    pub refused: Option<DropReason>,
}

/// A second load of a node's programs. Flows that packets open stay with it, so that answers find them.
#[derive(Debug)]
pub struct Tracer {
    programs: Programs,
    events: Events,
    drops: Table<u32, Count>,
    reader: Reader,
}

impl Tracer {
    /// Loads the programs beside those that work, over the maps that are pinned below the pin directory. Takes some tens of milliseconds,
    /// and as much again for the first packet at each hook.
    ///
    /// # Errors
    /// [`Error::NotPinned`] if no agent of this version has run with this directory; pinned maps of another layout; what else keeps
    /// programs from being loaded.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        object::check_present()?;
        let reader = Reader::open(pin_dir)?;
        let pins = Pins::new(pin_dir);
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        for spec in SHARED {
            // The loader would make and pin what is not there.
            open_checked(&pins.map(spec.name), spec, true)?;
            loader.map_pin_path(spec.name, pins.map(spec.name));
        }
        open_checked(&pins.map(FLOWS.name), &FLOWS, true)?;
        loader.map_pin_path(FORMER_FLOWS, pins.map(FLOWS.name));
        for (spec, capacity) in SMALL {
            loader.map_max_entries(spec.name, capacity);
        }
        loader.map_max_entries(AFFINITY.name, reader.tables().affinity.capacity());
        let (yes, level) = (1_u32, program_log::level(crate::ProgramLog::Off));
        loader.override_global(aya_log::LEVEL, &level, true).override_global(TRACE, &yes, true).override_global(FORMER, &yes, true);
        let mut object = loader.load(OBJECT).map_err(|error| Error::Load(Box::new(error)))?;
        take_after(&object, &reader)?;
        let ring = object.take_map(EVENTS.name).ok_or_else(|| Error::Load("the object has no ring of events".into()))?;
        let drops = own(&object, &DROPS)?;
        Ok(Self { programs: Programs::load(object, |_| false)?, events: Events::over(ring)?, drops, reader })
    }

    /// Runs the program of a device hook on an Ethernet frame that comes in, or leaves, on a device of the caller's network namespace.
    pub fn run(&mut self, hook: Hook, arrival: &Arrival, frame: &[u8]) -> Result<Traced, Error> {
        while self.events.take().is_some() {}
        let before = self.dropped()?;
        let ran = run_program(&self.programs, hook, arrival, frame, 1)?;
        let refused =
            self.dropped()?.into_iter().zip(before).find(|((_, after), (_, before))| after > before).map(|((reason, _), _)| reason);
        Ok(Traced { ran, told: std::iter::from_fn(|| self.events.take()).collect(), refused })
    }

    /// How many packets this load has dropped, by reason.
    fn dropped(&self) -> Result<Vec<(DropReason, u64)>, Error> {
        let packets = |reason: DropReason| -> Result<u64, Error> {
            Ok(self.drops.get(&(reason as u32))?.unwrap_or_default().iter().map(|count| count.packets).sum())
        };
        DropReason::ALL.iter().map(|reason| Ok((*reason, packets(*reason)?))).collect()
    }

    /// The maps that live.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

/// What programs remember of others than flows, and go by.
fn take_after(object: &Ebpf, reader: &Reader) -> Result<(), Error> {
    let live = reader.tables();
    let translated: Table<u32, u32> = own(object, &TRANSLATED)?;
    translated.put_one(&0, live.translated.get_single(&0)?.unwrap_or(0))?;
    let affinity: Table<AffinityKey, AffinityChoice> = own(object, &AFFINITY)?;
    let (mut keys, mut choices) = (Vec::new(), Vec::new());
    live.affinity.read_single(|key, choice| {
        keys.push(key);
        choices.push(choice);
    })?;
    let mut failure = None;
    affinity.put(&keys, &choices, |_, error| failure = Some(error));
    failure.map_or(Ok(()), |error| Err(Error::map("write", AFFINITY.name)(error)))
}

/// A map of the object's own.
fn own<K: crate::kernel::Plain, V: crate::kernel::Plain>(object: &Ebpf, spec: &'static MapSpec) -> Result<Table<K, V>, Error> {
    let failed = || Error::Load(format!("the object has no map {}", spec.name).into());
    let fd = object.map(spec.name).and_then(descriptor).ok_or_else(failed)?;
    fd.try_clone_to_owned().and_then(|fd| Table::over(spec, fd)).map_err(Error::map("open", spec.name))
}

fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}
