//! What keeps a device that leads to the network from doing what the configuration wants of it, in words for a person who is to do
//! something about it.

use crate::{Error, attach};
use std::fmt;

/// What is wrong with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The device's name; where it has gone, its index.
    pub device: String,
    /// What comes of it.
    pub kind: TroubleKind,
    /// Why it is so.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

/// What comes of it, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TroubleKind {
    /// The programs for the network are not on it: what comes in there is not translated.
    NotServed,
    /// Programs are still on it and should not be.
    NotLeft,
    /// There is no program for frames from the wire, or none that could answer: the stack and the programs there serve them all the same.
    NotBeforeStack,
    /// The driver refused that program, and the kernel runs it after the driver.
    Generic,
    /// Its driver takes no frames from other devices' programs: these go there through the stack.
    TakesNoFrames,
    /// The same of frames of several pieces.
    TakesNoPieces,
}

impl TroubleKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::NotServed, Self::NotLeft, Self::NotBeforeStack, Self::Generic, Self::TakesNoFrames, Self::TakesNoPieces];

    /// Its name, as in reasons of events and labels of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotServed => "DeviceNotServed",
            Self::NotLeft => "DeviceNotLeft",
            Self::NotBeforeStack => "NoXdp",
            Self::Generic => "GenericXdp",
            Self::TakesNoFrames => "NoRedirects",
            Self::TakesNoPieces => "NoLargeRedirects",
        }
    }

    /// Whether the programs that all of it depends on are not where they should be. The other kinds cost speed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::NotServed | Self::NotLeft)
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::NotServed => "Services are not served to packets that come in there",
            Self::NotLeft => "programs stay on it that should not be there",
            Self::NotBeforeStack => "frames are served by the stack's programs, not by XDP",
            Self::Generic => "XDP takes the kernel's generic way",
            Self::TakesNoFrames => "frames from other devices go there through the stack",
            Self::TakesNoPieces => "large frames from other devices go there through the stack",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}, since {}; {}", self.device, self.kind.consequence(), self.why, self.remedy)
    }
}

impl Trouble {
    pub(crate) fn new(ifindex: u32, kind: TroubleKind, why: impl ToString, remedy: impl Into<String>) -> Self {
        let device = attach::device_name(ifindex).unwrap_or_else(|_| format!("device {ifindex}"));
        Self { device, kind, why: why.to_string(), remedy: remedy.into() }
    }
}

const LOOK: &str = "see the agent's and the kernel's log (`dmesg`)";

/// The programs for the network are not on a device.
pub(crate) fn not_served(ifindex: u32, error: &Error) -> Trouble {
    Trouble::new(ifindex, TroubleKind::NotServed, error, format!("{LOOK}; it is tried again"))
}

/// They could not be taken away.
pub(crate) fn not_left(ifindex: u32, error: &Error) -> Trouble {
    Trouble::new(ifindex, TroubleKind::NotLeft, error, format!("{LOOK}, and `bpftool net` for what is there; it is tried again"))
}

/// The program for frames from the wire could not even be tried.
pub(crate) fn not_before_stack(ifindex: u32, error: &Error) -> Trouble {
    Trouble::new(ifindex, TroubleKind::NotBeforeStack, error, format!("{LOOK}, or set dataplane.xdp: off"))
}
