//! A program of two instructions that lets everything pass: to find out where one can be attached without loading a real one.
#![allow(unsafe_code)]

use super::{
    link::pin,
    syscall::{Attributes, Command, bpf_fd},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// `BPF_PROG_TYPE_SCHED_CLS` in linux/bpf.h.
const CLASSIFIER: u32 = 3;
/// `r0 = -1; exit`: for tcx "the next program", for a filter "unspecified".
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// A loaded program for devices that does nothing.
#[derive(Debug)]
pub(crate) struct Passing(OwnedFd);

impl Passing {
    pub(crate) fn load() -> io::Result<Self> {
        let mut attributes = ProgLoad {
            kind: CLASSIFIER,
            count: PASS.len() as u32,
            instructions: PASS.as_ptr().expose_provenance() as u64,
            license: c"GPL".as_ptr().expose_provenance() as u64,
        };
        bpf_fd(&mut attributes).map(Self)
    }

    /// Pins it, so that a library can take it up.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        pin(self.0.as_fd(), path)
    }
}

impl AsFd for Passing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

// SAFETY: laid out as the part of the union for loading begins; the instructions are as many as is said, the license is a C string, and
// both are static.
unsafe impl Attributes for ProgLoad {
    const COMMAND: Command = Command::ProgLoad;
}
