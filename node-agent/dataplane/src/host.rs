//! Whether the kernel of this host has what the data plane needs: all of it is done once, where nobody sees it and nothing stays.

use crate::{Config, Dataplane, DeviceAttach, Error, ProgramLog, Xdp};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use orknet_abi::{CONNECTIONS, MAPS};
use std::{panic, path::Path, thread};

/// A directory that every host has; in the trial's own mount namespace, a BPF file system lies over it.
const COVERED: &str = "/run";
/// The loopback device's index in every network namespace.
const LOOPBACK: u32 = 1;
/// Room in maps that nothing is put into.
const CAPACITY: u32 = 1_024;

/// Loads the programs, pins them, and attaches those for devices, in a network and a mount namespace that end with the call. Needs
/// root; takes as long as loading does.
///
/// # Errors
/// What an agent on this host would fail of.
pub fn try_host(device_attach: DeviceAttach) -> Result<(), Error> {
    // A thread of its own: namespaces cannot be left again.
    thread::scope(|scope| {
        let trial = scope.spawn(|| {
            enter_namespaces()?;
            let sized = MAPS.iter().filter(|spec| **spec != CONNECTIONS);
            let capacities = sized.map(|spec| (spec.name.to_owned(), spec.capacity.min(CAPACITY))).collect();
            let dataplane = Dataplane::open(&Config {
                pin_dir: Path::new(COVERED).join("trial"),
                capacities,
                device_attach,
                xdp: Xdp::Off,
                redirect: true,
                program_log: ProgramLog::Off,
            })?;
            dataplane.attach_pod(LOOPBACK).map(drop)
        });
        trial.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

fn enter_namespaces() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).map_err(|_| Error::MissingFeature {
        feature: "network and mount namespaces, or the permission to make them",
        remedy: "run as root with CAP_SYS_ADMIN, on a kernel with CONFIG_NET_NS",
    })?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| Error::file("keep to itself what is mounted below", "/")(error.into()))?;
    mount(Some("bpf"), COVERED, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|_| Error::MissingFeature { feature: "the BPF file system", remedy: "run a kernel with CONFIG_BPF_SYSCALL" })
}
