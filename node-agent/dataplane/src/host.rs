//! Whether the kernel of this host has what the data plane needs: asked for piece by piece with the smallest programs, where nobody sees it
//! and nothing stays. The real programs are not loaded; whether the verifier takes them, an agent finds out at its start.

use crate::{DeviceAttach, Error, attach, features, object};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{panic, path::Path, thread};

/// A directory that every host has; in the trial's own mount namespace, a BPF file system lies over it.
const COVERED: &str = "/run";
/// The loopback device's index in every network namespace.
const LOOPBACK: u32 = 1;

/// Asks the kernel for everything that programs need, pins something, and attaches a program that does nothing to a device, in a network and a
/// mount namespace that end with the call. Needs root; takes some ten milliseconds.
///
/// # Errors
/// What an agent on this host would fail of.
pub fn try_host(device_attach: DeviceAttach) -> Result<(), Error> {
    object::check_present()?;
    // A thread of its own: namespaces cannot be left again.
    thread::scope(|scope| {
        let trial = scope.spawn(|| {
            enter_namespaces()?;
            features::check_all()?;
            attach::try_device(LOOPBACK, device_attach, &Path::new(COVERED).join("trial"))
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
