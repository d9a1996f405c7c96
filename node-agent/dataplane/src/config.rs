//! What an operator can set about the data plane.

use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Settings of a node's data plane.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Directory of the pins; made if need be. If it is on no BPF file system, one is mounted there (or at `/sys/fs/bpf`, if it
    /// lies below that).
    pub pin_dir: PathBuf,
    /// Entries per map, by the map's name, instead of the ABI's defaults; that of FLOWS goes by the host's memory. A change of these makes new maps at the next start, and what
    /// the kernel remembered of sockets, clients and flows is carried over as far as there is room.
    pub capacities: BTreeMap<String, u32>,
    /// How programs get onto pod devices.
    pub device_attach: DeviceAttach,
    /// Whether Services are also served before the stack sees a frame (XDP), on the devices that lead to the network.
    pub xdp: Xdp,
    /// Whether packets go into pods and to neighbours past the stack, where it would send them the same way. Without, the stack sees them
    /// (its filters, its tools), and they cost more. The agent tells the programs with the node's settings.
    pub redirect: bool,
    /// What the programs write into the log, a line each: for looking closely, not for every day.
    pub program_log: ProgramLog,
}

/// What the programs write into the log. What they don't write costs nothing: the verifier takes it out when they are loaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ProgramLog {
    /// Nothing.
    #[default]
    Off,
    /// Dropped packets and refused calls.
    Drops,
    /// Translations too.
    All,
}

/// How the program for frames from the wire gets onto devices.
///
/// It sends on frames whose checksums are complete, as they are on a wire. Those of a veth pair whose other end leaves checksums to its
/// device go to the stack, as they do without it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// Not at all.
    #[default]
    Off,
    /// In the driver where it can, else in the kernel's generic way; so on veth devices, whose other end would have to be made ready.
    Auto,
    /// In the driver only.
    Native,
    /// In the kernel's generic way only.
    Generic,
}

/// How programs get onto pod devices.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DeviceAttach {
    /// tcx where the kernel has it (Linux 6.6), else clsact.
    #[default]
    Auto,
    /// tcx links only.
    Tcx,
    /// Filters on the clsact queueing discipline.
    Clsact,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pin_dir: PathBuf::from("/sys/fs/bpf/orknet"),
            capacities: BTreeMap::new(),
            device_attach: DeviceAttach::default(),
            xdp: Xdp::default(),
            redirect: true,
            program_log: ProgramLog::default(),
        }
    }
}
