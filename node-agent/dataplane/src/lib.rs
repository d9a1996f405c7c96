//! The kernel's side of a node: loads the BPF programs, attaches them, pins maps and links, applies plans to the maps and reads
//! them back. The only crate that uses aya; nothing of aya shows in its interface.
//!
//! Decides nothing about Services or pods: what should be in the maps comes as a [`Plan`](orknet_compiler::Plan).
//!
//! Pins live in `<pin_dir>/v<ABI_VERSION>/maps/<MAP>` and `…/links/<hook>[-<ifindex>]`. A process that opens the same
//! directory again finds the maps as they were and replaces the programs in the links without a gap. Another `ABI_VERSION`, layout
//! or capacity makes a directory beside the old one; the old one keeps working until [`Dataplane::retire_other_versions`].
//!
//! All functions block on system calls, never on the network; none can be cancelled half-way.

mod apply;
mod attach;
mod bpffs;
mod capacity;
mod cleanup;
mod clients;
mod config;
mod dataplane;
mod error;
mod events;
mod features;
mod flows;
mod hook;
mod host;
mod kernel;
mod migrate;
mod network;
mod object;
mod pace;
mod program_log;
mod programs;
mod reader;
mod sockets;
mod table;
mod trace;
mod trouble;
mod wires;

pub use apply::{Applied, Failure, FailureCause};
pub use attach::{Attachment, is_attached};
pub use cleanup::cleanup;
pub use config::{Config, DeviceAttach, ProgramLog, Xdp};
pub use dataplane::{Dataplane, Ran, Verdict};
pub use error::Error;
pub use events::{Events, Packet, Told, Transport, Untold};
pub use flows::{AskGone, Swept, Use};
pub use hook::Hook;
pub use host::try_host;
pub use kernel::{Arrival, namespace_cookie};
pub use pace::Pace;
pub use reader::{MapUse, Reader};
pub use sockets::{EndedSockets, FirstRules, NamespacePaths, PodSockets, namespace_cookies_at};
pub use trace::{Traced, Tracer};
pub use trouble::{Trouble, TroubleKind};
