//! [`Dataplane`]: the loaded programs of one node and the maps they read.

use crate::{
    Applied, Attachment, Config, DeviceAttach, Error, Hook, Reader, Xdp, apply,
    attach::{self, wire},
    bpffs::{self, Pins},
    capacity, cleanup,
    kernel::{self, Arrival},
    migrate, object,
    programs::Programs,
};
use orknet_abi::{Count, TrafficKey, direction};
use orknet_compiler::{Plan, Step};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A node's data plane. Dropping it detaches nothing: pins hold maps and links until [`cleanup`](crate::cleanup()).
pub struct Dataplane {
    pub(crate) pins: Pins,
    pin_dir: PathBuf,
    pub(crate) programs: Programs,
    reader: Reader,
    pub(crate) device_attach: DeviceAttach,
    pub(crate) xdp: Xdp,
    /// The devices that lead to the network, once they have been told.
    pub(crate) known_network_devices: Mutex<Option<BTreeSet<u32>>>,
    /// What drivers said that refused the program for frames from the wire, by device, where it takes the kernel's generic way.
    pub(crate) refused_wires: Mutex<BTreeMap<u32, wire::Refusal>>,
    /// Plans that are changing ways; held while the generation of ways is counted up.
    changing_ways: Mutex<u32>,
    /// Held while something is carried over from another version.
    carrying: Mutex<()>,
    adopted: bool,
    _reading: Option<crate::program_log::Reading>,
}

/// What a program for devices decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next program, else the stack, takes it.
    Next,
    /// It ends here.
    Drop,
    /// It goes into another device.
    Redirect,
    /// Something that Orknet's programs never say.
    Other(i32),
}

/// The outcome of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub verdict: Verdict,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// The packet's mark after it.
    pub mark: u32,
    /// Mean duration of one run.
    pub nanoseconds: u32,
}

impl Dataplane {
    /// Loads the programs; adopts the maps that are pinned below the pin directory, makes the others; puts the new programs into
    /// the links that are pinned. Sockets and packets see no gap. Takes some hundreds of milliseconds of CPU time, on all CPUs.
    ///
    /// Pinned maps of another layout or capacity, or that get their memory at another time, are set aside with their hooks, which go on working,
    /// and new maps are made: as with another version, [`Self::retire_other_versions`] ends it. What only the kernel knows is carried over.
    ///
    /// # Errors
    /// A kernel that lacks something, an object file that does not fit the ABI, a directory that can't be made.
    pub fn open(config: &Config) -> Result<Self, Error> {
        bpffs::ensure(&config.pin_dir)?;
        let pins = Pins::new(&config.pin_dir);
        let config = &capacity::scaled(config, &pins);
        if let Some(misfit) = object::misfit(config, &pins)? {
            let aside = pins.set_aside()?;
            tracing::warn!(%misfit, aside = %aside.display(), "making new maps; the old ones work on until these are filled");
        }
        pins.make()?;
        migrate::share(&config.pin_dir, &pins, |spec| object::capacity(config, spec))?;
        let adopted = pins.map(orknet_abi::SERVICES.name).exists();
        let former = migrate::former_flows(&config.pin_dir, &pins)?;
        let object::Loaded { programs, tables, reading } = object::load(config, &pins, former)?;
        let dataplane = Self {
            pins,
            pin_dir: config.pin_dir.clone(),
            programs,
            reader: Reader::over(tables),
            device_attach: config.device_attach,
            xdp: config.xdp,
            known_network_devices: Mutex::new(None),
            refused_wires: Mutex::default(),
            changing_ways: Mutex::new(0),
            carrying: Mutex::new(()),
            adopted,
            _reading: reading,
        };
        dataplane.carry_over()?;
        dataplane.forget_ways();
        attach::renew_links(&dataplane.programs, &dataplane.pins)?;
        Ok(dataplane)
    }

    /// Whether maps of an earlier process were found. If so, [`Reader::image`] says what they hold.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Read access to the maps.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Attaches the socket hooks to a cgroup v2 directory: they then see every socket of its processes and of those below.
    /// Links that are pinned for the same cgroup are kept; those for another one are moved.
    pub fn attach_cgroup(&self, cgroup: &Path) -> Result<(), Error> {
        attach::attach_cgroup(&self.programs, &self.pins, cgroup)
    }

    /// Attaches the programs for pods to the host's side of a pod's veth pair, by its index in the caller's network namespace.
    /// Calling it again is harmless, and needed after a restart where tcx is missing.
    pub fn attach_pod(&self, ifindex: u32) -> Result<Attachment, Error> {
        let traffic = &self.reader.tables().traffic;
        for direction in [direction::EGRESS, direction::INGRESS] {
            let key = TrafficKey { ifindex, direction };
            if traffic.get(&key)?.is_none() {
                traffic.put_one(&key, Count::default())?;
            }
        }
        let attached = attach::attach_device(&self.programs, &self.pins, ifindex, &Hook::DEVICES, self.device_attach);
        if attached.is_err() {
            // Neither half a pair of programs nor counters that stand for a device.
            let _ = self.detach_pod(ifindex);
        }
        attached
    }

    /// Takes the programs from a device and forgets its counters. A device that is gone, or was never attached, is fine.
    pub fn detach_pod(&self, ifindex: u32) -> Result<(), Error> {
        attach::detach_device(&self.pins, ifindex, &Hook::DEVICES)?;
        let keys = [direction::EGRESS, direction::INGRESS].map(|direction| TrafficKey { ifindex, direction });
        let mut failure = None;
        let traffic = &self.reader.tables().traffic;
        traffic.delete(&keys, |_, error| failure = Some(error));
        failure.map_or(Ok(()), |error| Err(Error::map("delete from", traffic.name())(error)))
    }

    /// The devices that the programs are attached to, also by an earlier process: to be compared with the pods there are. A
    /// device that has been removed since is no longer in it, but its pins and counters are until [`Self::detach_pod`], and
    /// [`Self::stale_devices`] names it.
    pub fn pod_devices(&self) -> Result<BTreeSet<u32>, Error> {
        let stale = self.stale_devices()?;
        Ok(self.counted_devices()?.into_iter().filter(|ifindex| !stale.contains(ifindex)).collect())
    }

    /// Devices that were attached and do not exist any more.
    pub fn stale_devices(&self) -> Result<BTreeSet<u32>, Error> {
        Ok(self.counted_devices()?.into_iter().filter(|ifindex| attach::device_name(*ifindex).is_err()).collect())
    }

    /// Writes a plan to the maps, in its order. Blocks for about a microsecond per step; what fails is reported, the rest is
    /// done, and nothing that is in use is taken away because of it.
    ///
    /// From the first write that changes ways to the last, programs ask for the way of every packet, and remember none: what they find is
    /// that of before or that of after, for each entry.
    pub fn apply(&self, plan: &Plan) -> Applied {
        apply::apply_around(self.reader.tables(), plan, changes_ways, &mut |is_changing| self.change_ways(is_changing))
    }

    /// Has programs ask for the ways of all flows anew. After about a second they would do so anyhow, so a failure is only logged.
    pub(crate) fn forget_ways(&self) {
        let plans = self.changing_ways.lock().unwrap_or_else(PoisonError::into_inner);
        self.count_ways(*plans > 0);
    }

    /// A plan begins to change ways, or has changed them.
    fn change_ways(&self, is_changing: bool) {
        let mut plans = self.changing_ways.lock().unwrap_or_else(PoisonError::into_inner);
        *plans = if is_changing { plans.saturating_add(1) } else { plans.saturating_sub(1) };
        self.count_ways(*plans > 0);
    }

    fn count_ways(&self, are_changing: bool) {
        let generation = &self.reader.tables().generation;
        let counted = generation.get_single(&0).and_then(|now| generation.put_one(&0, next_generation(now.unwrap_or(0), are_changing)));
        if let Err(error) = counted {
            tracing::warn!(%error, "ways that have changed are taken for a second more");
        }
    }

    /// Runs the program of a device hook on an Ethernet frame that came in at the loopback device (index 1), on the real maps.
    /// Nothing is sent, but counters count. `repeat` runs are timed; the verdict is the last one's.
    pub fn run(&self, hook: Hook, frame: &[u8], repeat: u32) -> Result<Ran, Error> {
        self.run_from(hook, &Arrival::default(), frame, repeat)
    }

    /// The same for a frame that came in elsewhere, or otherwise. Frames from the wire ([`Hook::FromWire`]) always come in at the
    /// loopback device.
    pub fn run_from(&self, hook: Hook, arrival: &Arrival, frame: &[u8], repeat: u32) -> Result<Ran, Error> {
        run_program(&self.programs, hook, arrival, frame, repeat)
    }

    /// Removes pins of other ABI versions: to be called when the hooks of this one are attached and its maps are filled.
    pub fn retire_other_versions(&self) -> Result<(), Error> {
        let others = self.other_versions()?;
        if others.is_empty() {
            return Ok(());
        }
        // Nearly all while their programs still work, then what these wrote meanwhile, and only then nobody needs their maps any more.
        self.carry_over()?;
        others.iter().try_for_each(|version| cleanup::remove_writing_links(version))?;
        self.carry_over()?;
        others.iter().try_for_each(|version| cleanup::remove_links(version))?;
        for version in others {
            migrate::forget_flows(&version, self.reader.tables(), |_, _| true)?;
            tracing::info!(path = %version.display(), "retiring the pins of another version");
            cleanup::remove_maps(&version)?;
        }
        Ok(())
    }

    /// Where other versions have their pins.
    pub(crate) fn other_versions(&self) -> Result<Vec<PathBuf>, Error> {
        bpffs::other_versions(&self.pin_dir, &self.pins)
    }

    fn carry_over(&self) -> Result<(), Error> {
        let _carrying = self.carrying();
        migrate::carry_over(&self.pin_dir, &self.pins, self.reader.tables())
    }

    /// Nothing is carried over from another version until this is dropped.
    pub(crate) fn carrying(&self) -> MutexGuard<'_, ()> {
        self.carrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted_devices(&self) -> Result<BTreeSet<u32>, Error> {
        Ok(self.reader.traffic()?.into_keys().map(|key| key.ifindex).collect())
    }
}

/// The generation after this one: odd while ways are changing, else even, whatever a process has left that died between the two.
fn next_generation(now: u32, are_changing: bool) -> u32 {
    let next = now.wrapping_add(1);
    if (next & 1 == 1) == are_changing { next } else { next.wrapping_add(1) }
}

/// Runs the program of a hook on a frame.
pub(crate) fn run_program(programs: &Programs, hook: Hook, arrival: &Arrival, frame: &[u8], repeat: u32) -> Result<Ran, Error> {
    let program = programs.get(hook)?;
    let told = (hook != Hook::FromWire).then_some(arrival);
    let outcome = kernel::test_run(program, frame, told, repeat).map_err(|source| Error::Run { hook, source })?;
    let verdict = match (hook, outcome.verdict as i32) {
        (Hook::FromWire, 2) => Verdict::Next,
        (Hook::FromWire, 1) => Verdict::Drop,
        (Hook::FromWire, 3 | 4) => Verdict::Redirect,
        (Hook::FromWire, other) => Verdict::Other(other),
        (_, -1) => Verdict::Next,
        (_, 2) => Verdict::Drop,
        (_, 7) => Verdict::Redirect,
        (_, other) => Verdict::Other(other),
    };
    Ok(Ran { verdict, frame: outcome.frame, mark: outcome.mark, nanoseconds: outcome.nanoseconds })
}

/// Whether packets whose way is known may go another way after it. Those of pairs of addresses do where an address becomes a Service's.
fn changes_ways(step: &Step) -> bool {
    match step {
        Step::PutPod(..) | Step::DeletePod(..) | Step::PutRange(..) | Step::DeleteRange(..) | Step::PutNode(..) => true,
        // Who the other end is, is part of what has been judged.
        Step::PutPeer(..) | Step::DeletePeer(..) => true,
        Step::PutService(key, _) => key.port_be == 0 && key.protocol == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_always_move_on_and_are_odd_while_ways_change() {
        for now in [0, 1, 6, 7, u32::MAX - 1, u32::MAX] {
            for are_changing in [false, true] {
                let next = next_generation(now, are_changing);
                assert!(next != now && (next & 1 == 1) == are_changing, "{now} {are_changing} {next}");
            }
        }
    }
}
