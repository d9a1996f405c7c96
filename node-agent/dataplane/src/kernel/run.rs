//! Test runs: the real program on a packet that somebody made, `BPF_PROG_TEST_RUN`.
#![allow(unsafe_code)]

use super::syscall::{Attributes, Command, bpf};
use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Room for what a program may add to a frame.
const HEADROOM: usize = 256;

/// Runs a program for devices `repeat` times on a frame; answers its verdict, the frame after it, and nanoseconds per run.
pub(crate) fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, Vec<u8>, u32)> {
    let mut out = vec![0; frame.len() + HEADROOM];
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
        size_out: u32::try_from(out.len()).map_err(io::Error::other)?,
        data_in: frame.as_ptr().expose_provenance() as u64,
        data_out: out.as_mut_ptr().expose_provenance() as u64,
        repeat,
        ..TestRun::default()
    };
    bpf(&mut attributes)?;
    out.truncate(attributes.size_out as usize);
    Ok((attributes.verdict, out, attributes.duration))
}

/// `test` of `union bpf_attr`, without what other kinds of programs need.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context: [u64; 3],
}

// SAFETY: laid out as `test`; both buffers have the sizes that stand beside them and outlive the call.
unsafe impl Attributes for TestRun {
    const COMMAND: Command = Command::ProgTestRun;
}
